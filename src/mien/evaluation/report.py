"""The report of a run: all scores, computed from its ledger.

All scores pool the clips of all folds of one seed first and are computed once, which is what the field's UF1 means;
`f1_fold_mean`, the mean over folds, is there to show how much that choice alone moves.
"""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.console import Group

from mien.errors import MienError
from mien.evaluation.ledger import FAILED, Ledger, Row, read_ledger
from mien.evaluation.metrics import METRICS as METRICS_OF
from mien.evaluation.metrics import bootstrap_interval, scores, tally
from mien.evaluation.published.claims import published_for
from mien.evaluation.report_text import render_report as render_class_report
from mien.evaluation.unit_report import render_unit_report, unit_results, unit_summary
from mien.registry import is_import_path

VERDICTS = ("yes", "partly", "no")
AVERAGING = "pooled over folds"
SPREAD = ("uf1", "uar", "accuracy", "f1_micro", "f1_weighted", "f1_fold_mean")
_NEEDED = ("system", "system_title", "protocol", "labels", "datasets", "data", "parameters", "version")
METRICS = (*SPREAD, "macro_precision", "majority_accuracy", "majority_uf1")


def report(
    ledger: Ledger | str | Path, curves: Mapping[str, Mapping[str, Any]] | None = None, *, run: Path | None = None
) -> dict[str, Any]:
    """Return all scores of one run, ready for JSON.

    With several seeds every score is the mean over the seeds, `seed` is their list, `per_seed` holds the scores of
    each and `spread` their standard deviation, minimum and maximum; confusion counts are summed over the seeds.

    Args:
        ledger: Folder of the run, or its ledger.
        curves: Logs of the folds by name (`s0-f0003`), as `read_logs` gives them; None leaves out `training`, or
            reads them from the folder.
        run: Folder of the run, for the command that makes it again.

    Returns:
        A clip that could not be prepared counts as wrong in every score; `failed` names such clips and holds the
        scores of the others alone. Scores are shares in 0..1. `uf1_interval` is the 95 % interval of a bootstrap over
        subjects, who bring their clips of all seeds with them: it shows how much the choice of subjects matters,
        `spread` how much the seed does.

    Raises:
        MienError: No fold is finished yet.

    Example:
        >>> scores = report("runs/svm")
        >>> scores["protocol"], scores["n_subjects"]
        ('loso', 3)
    """
    if not isinstance(ledger, Ledger):
        run = Path(ledger)
        ledger, curves = read_ledger(run), curves or read_logs(run)
    settings = ledger.settings
    where = str(run) if run is not None else "RUN"
    _require_scores(ledger, where)
    done = len({(row.seed, row.fold) for row in ledger.rows})
    total = settings["n_folds"] * len(settings["seeds"])
    result: dict[str, Any] = {
        "system": settings["system"],
        "system_title": settings["system_title"],
        "preset": settings["parameters"].get("preset"),
        "protocol": settings["protocol"],
        "seed": ledger.seeds[0] if len(settings["seeds"]) == 1 else list(ledger.seeds),
        "label_map": settings["labels"],
        "classes": list(ledger.classes),
        "datasets": list(settings["datasets"]),
        "averaging": AVERAGING,
        "n_clips": len({row.key for row in ledger.rows}),
        "n_subjects": len({(row.dataset, row.subject) for row in ledger.rows}),
        **(unit_results(ledger) if ledger.units else class_results(ledger)),
        "failed": _failed(ledger),
        "interval_source": _interval_sources(ledger),
        "complete": ledger.complete,
        "folds": {"done": done, "total": total, "missing": total - done},
        "shuffled_labels": bool(settings.get("shuffle_labels", False)),
        "synthetic": bool(settings.get("synthetic", False)),
        **({"partly_synthetic": True} if settings.get("partly_synthetic") else {}),
        "lacking": dict(settings.get("lacking", {})),
        "left_out": dict(settings.get("left_out", {})),
        "remarks": list(settings.get("remarks", ())),
        "shares_subjects": bool(settings.get("shares_subjects", False)),
        "warning": settings.get("protocol_warning"),
        "data": [dict(entry) for entry in settings["data"]],
        "parameters": dict(settings["parameters"]),
        "protocol_parameters": dict(settings.get("protocol_parameters") or {}),
        "version": settings["version"],
        "clip_table": settings.get("clip_table"),
        "run": where,
        "command": reproduce(settings, where),
    }
    if curves:
        result["training"] = _training(curves)
    result["warnings"] = warnings_of(result)
    nothing = ledger.units or result["shuffled_labels"] or result["synthetic"]
    result["published"] = [] if nothing else _published(settings, result)
    return result


def summary(ledger: Ledger) -> dict[str, Any]:
    """Return what a list of runs shows of one run: the keys of `report` without those that take long to compute.

    Raises:
        MienError: No fold is finished yet.
    """
    _require_scores(ledger, "RUN")
    settings = ledger.settings
    shown: dict[str, Any] = {
        "system": settings["system"],
        "protocol": settings["protocol"],
        "label_map": settings["labels"],
        "datasets": list(settings["datasets"]),
        "n_clips": len({row.key for row in ledger.rows}),
        "complete": ledger.complete,
        "shuffled_labels": bool(settings.get("shuffle_labels", False)),
        "shares_subjects": bool(settings.get("shares_subjects", False)),
        "synthetic": bool(settings.get("synthetic", False)),
        "partly_synthetic": bool(settings.get("partly_synthetic", False)),
    }
    if ledger.units:
        return shown | unit_summary(ledger)
    tables = [tally(*ledger.labels(ledger.of_seed(seed)), len(ledger.classes)) for seed in ledger.seeds]
    scored = {name: fmean(float(METRICS_OF[name](table)) for table in tables) for name in ("uf1", "uar")}
    return shown | scored | {"uf1_interval": _uf1_interval(ledger)}


def _require_scores(ledger: Ledger, where: str) -> None:
    settings = ledger.settings
    missing = [key for key in _NEEDED if key not in settings]
    if missing:
        raise MienError(
            f"The settings of {where!r} lack {missing[0]}.",
            "run.json as `mien benchmark` wrote it.",
            "run.json from a run with the same settings; or a new --out folder.",
        )
    if not ledger.rows:
        raise MienError(
            f"{where!r} holds no finished fold.",
            f"predictions of up to {settings['n_folds']} folds.",
            f"`{reproduce(settings, where)}`: it resumes that run.",
        )


def _uf1_interval(ledger: Ledger) -> list[float]:
    y_true, y_pred = ledger.labels(ledger.rows)
    return list(bootstrap_interval(y_true, y_pred, [(row.dataset, row.subject) for row in ledger.rows], metric="uf1"))


def class_results(ledger: Ledger) -> dict[str, Any]:
    """Scores of a run about classes, their interval over subjects, and with several seeds their spread."""
    per_seed = [{"seed": seed, **_scores(ledger, ledger.of_seed(seed))} for seed in ledger.seeds]
    result: dict[str, Any] = {**_mean_scores(per_seed), "uf1_interval": _uf1_interval(ledger)}
    if len(per_seed) > 1:
        result["per_seed"] = per_seed
        result["spread"] = {
            name: {"sd": stdev(values), "min": min(values), "max": max(values)}
            for name in SPREAD
            for values in [[entry[name] for entry in per_seed]]
        }
    return result


def render_report(result: Mapping[str, Any]) -> Group:
    """Return a report as tables for the terminal.

    Args:
        result: What `report` returns.
    """
    return render_unit_report(result) if "mean_f1" in result else render_class_report(result)


def _interval_sources(ledger: Ledger) -> dict[str, int]:
    """Return how many clips have their onset and apex from each source."""
    return dict(sorted(Counter({row.key: row.interval_source for row in ledger.rows}.values()).items()))


def _failed(ledger: Ledger) -> dict[str, Any]:
    """Return the clips that could not be prepared, why, and the scores of the others alone; {} where all could."""
    keys = list(dict.fromkeys(row.key for row in ledger.rows if row.interval_source == FAILED))
    left_out = [key for key in ledger.failures if key not in keys]  # never tested, but not trained on either
    if not keys and not left_out:
        return {}
    if ledger.units:
        return {
            "n_clips": len(keys) + len(left_out),
            "n_tested": len(keys),
            "clips": _why(ledger, keys, left_out),
            "without_them": {},
        }
    others = [[row for row in ledger.of_seed(seed) if row.interval_source != FAILED] for seed in ledger.seeds]
    alone = [_scores(ledger, rows) for rows in others if rows]
    return {
        "n_clips": len(keys) + len(left_out),
        "n_tested": len(keys),
        "clips": _why(ledger, keys, left_out),
        "without_them": {name: fmean(each[name] for each in alone) for name in SPREAD} if alone else {},
    }


def _why(ledger: Ledger, keys: Sequence[str], left_out: Sequence[str]) -> dict[str, str]:
    return {key: ledger.failures.get(key, "") for key in (*keys, *left_out)}


def _scores(ledger: Ledger, rows: Sequence[Row]) -> dict[str, Any]:
    y_true, y_pred = ledger.labels(rows)
    return scores(
        y_true,
        y_pred,
        [row.fold for row in rows],
        ledger.classes,
        [row.dataset for row in rows],
        [(row.dataset, row.subject) for row in rows],
    )


def _mean_scores(per_seed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return scores as means over seeds, and confusion matrices as sums."""
    first = per_seed[0]
    if len(per_seed) == 1:
        return {k: first[k] for k in (*METRICS, "confusion", "per_class", "per_dataset")}
    names = sorted({name for entry in per_seed for name in entry["per_dataset"]})
    return {
        **{k: fmean(entry[k] for entry in per_seed) for k in METRICS},
        "confusion": _sum([entry["confusion"] for entry in per_seed]),
        "per_class": {
            name: _mean([entry["per_class"][name] for entry in per_seed], counts=("support",))
            for name in first["per_class"]
        },
        "per_dataset": {
            name: _mean(
                [e["per_dataset"][name] for e in per_seed if name in e["per_dataset"]], counts=("n_clips", "n_subjects")
            )
            for name in names
        },
    }


def _mean(entries: Sequence[Mapping[str, Any]], counts: Sequence[str]) -> dict[str, Any]:
    """Return the mean of each score, the largest of each count (unfinished seeds have fewer), sums of confusions."""
    merged: dict[str, Any] = {}
    for key in entries[0]:
        values = [entry[key] for entry in entries]
        if key == "confusion":
            merged[key] = _sum(values)
        elif key == "unanswered":
            merged[key] = sum(values)
        elif key in counts:
            merged[key] = max(values)
        else:
            merged[key] = fmean(values)
    return merged


def _sum(matrices: Sequence[Sequence[Sequence[int]]]) -> list[list[int]]:
    return [[sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]


def _training(curves: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Summarise the logs of training: hours, epochs, first and last loss (means over folds)."""
    seconds = [float(log["seconds"]) for log in curves.values() if "seconds" in log]
    losses = [log["loss"] for log in curves.values() if log.get("loss")]
    summary: dict[str, Any] = {"seconds": sum(seconds), "seconds_per_fold": fmean(seconds) if seconds else 0.0}
    if losses:
        summary |= {
            "epochs": max(len(loss) for loss in losses),
            "first_loss": fmean(loss[0] for loss in losses),
            "last_loss": fmean(loss[-1] for loss in losses),
        }
    return summary


def warnings_of(result: Mapping[str, Any]) -> list[str]:
    """Return warnings about the scores, in full sentences."""
    found = []
    if result["shuffled_labels"]:
        found.append(
            "The labels were shuffled before training: these scores show what chance gives, not what the system can do."
        )
    if result["synthetic"]:
        some = "Some of the tested" if result.get("partly_synthetic") else "The"
        found.append(f"{some} faces are synthetic: these scores do not apply to real people.")
    if result["warning"]:
        found.append(str(result["warning"]))
    elif result["shares_subjects"]:
        found.append(f"Under {result['protocol']} the same subjects are trained on and tested on: scores are too high.")
    if result["failed"]:
        found.append(_failure_warning(result))
    if not result["complete"]:
        folds = result["folds"]
        found.append(
            f"The run is not finished: {folds['missing']} of {folds['total']} folds are missing. "
            "Scores are those of the clips tested so far."
        )
    found += result.get("remarks", ())
    if result["lacking"]:
        folds = result["lacking"]
        named = ", ".join(f"{name} (no {', '.join(classes)})" for name, classes in list(folds.items())[:3])
        more = f" and {len(folds) - 3} more" if len(folds) > 3 else ""
        found.append(f"In some folds no training clip shows a class that is tested: {named}{more}.")
    if "mean_f1" in result:
        if (
            result["mean_f1"] is not None
            and result["mean_f1"] <= result["always_yes_f1"]
            and not result["shuffled_labels"]
        ):
            found.append("The mean F1 is not above that of always answering that every unit is present.")
    elif result["accuracy"] <= result["majority_accuracy"] and not result["shuffled_labels"]:
        found.append("The accuracy is not above that of always answering the most frequent class.")
    return found


def _failure_warning(result: Mapping[str, Any]) -> str:
    failed = result["failed"]
    n, clips = failed["n_clips"], list(failed["clips"].items())
    named = "; ".join(f"{key}" + (f" ({why.rstrip('.')})" if why else "") for key, why in clips[:3])
    more = f"; and {n - 3} more, all in failed.json of the run" if n > 3 else ""
    text = f"{n} clip{'s' if n > 1 else ''} could not be prepared and {'were' if n > 1 else 'was'} not trained on. "
    alone = failed["without_them"]
    if failed["n_tested"] and alone:
        text += (
            f"Where tested, {'they count' if n > 1 else 'it counts'} as wrong: UF1 {result['uf1']:.3f}, accuracy "
            f"{result['accuracy']:.3f}; of the other clips alone UF1 {alone['uf1']:.3f}, accuracy "
            f"{alone['accuracy']:.3f}. "
        )
    return f"{text}{named}{more}."


def _published(settings: Mapping[str, Any], result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return published rows beside the scores of this run; comparable methods first, then by score."""
    rows = []
    for row in published_for(settings):
        ours = result if row.column == "all" else result["per_dataset"].get(row.column, {})
        entry = asdict(row)
        entry |= {key: list(entry[key]) for key in ("label_maps", "datasets", "presets")}
        entry["same_system"] = row.system != "" and row.system == settings["system"]
        entry["ours"] = {name: ours.get(name) for name in ("accuracy", "uf1", "uar")}
        rows.append(entry)
    best = {row["method"]: row["uf1"] or row["accuracy"] or 0.0 for row in rows if row["column"] == "all"}
    return sorted(
        rows, key=lambda row: (VERDICTS.index(row["comparable"]), -best.get(row["method"], 0.0), row["method"])
    )


def reproduce(settings: Mapping[str, Any], out: str = "RUN") -> str:
    """Return the command that repeats a run; parameters at their defaults are left out."""
    from mien.systems import SYSTEMS

    if "members" in settings:
        return shlex.join(["mien", "combine", *settings["runs"], "--out", out])
    known = SYSTEMS.get(settings["system"], None)
    chosen = settings["parameters"]
    preset = {"preset": chosen["preset"]} if known and chosen.get("preset") in known.presets else {}
    defaults = known.with_parameters(preset).model_dump(mode="json") if known else {}
    if known and "preset" in defaults:
        defaults["preset"] = known.default_preset(settings.get("recipes", ()))
    words = ["mien", "benchmark", *(f"{entry['name']}={entry['root']}" for entry in settings["data"])]
    for entry in settings["data"]:
        for name, sheet in entry.get("label_sheets", {}).items():
            words += ["--label-sheet", f"{name}={sheet}"]
        if "second_flow" in entry:
            words += ["--second-flow", entry["second_flow"]]
    given = settings.get("system_origin", {}).get("given", "")
    named = given if is_import_path(given) else settings["system"]
    words += ["--system", named, "--protocol", settings["protocol"], "--labels", settings["labels"]]
    for seed in settings["seeds"]:
        words += ["--seed", str(seed)]
    for key, value in settings["parameters"].items():
        if key not in defaults or defaults[key] != value:
            words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    for key, value in (settings.get("protocol_parameters") or {}).items():
        words += ["--protocol-set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    if settings.get("shuffle_labels"):
        words.append("--shuffle-labels")
    return shlex.join([*words, "--out", out])


def per_subject(ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    """Return clips and right predictions of each subject, over all seeds, by database; the best subjects first.

    Returns:
        Database -> list of {subject, n_clips, n_tested, n_right, accuracy}.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    people: dict[tuple[str, str], list[Row]] = {}
    for row in ledger.rows:
        people.setdefault((row.dataset, row.subject), []).append(row)
    for (dataset, subject), rows in sorted(people.items()):
        right = sum(row.y_true == row.y_pred for row in rows)
        found.setdefault(dataset, []).append(
            {
                "subject": subject,
                "n_clips": len({row.key for row in rows}),
                "n_tested": len(rows),
                "n_right": right,
                "accuracy": right / len(rows),
            }
        )
    for entries in found.values():
        entries.sort(key=lambda entry: (-entry["accuracy"], entry["subject"]))
    return found


def read_logs(run: Path) -> dict[str, dict[str, Any]]:
    """Read the logs of the finished folds of a run by name (`s0-f0003`): seconds, loss of each epoch.

    Raises:
        MienError: A log is not JSON.
    """
    logs = {}
    for path in sorted((Path(run) / "log").glob("s*-f*.json")):
        try:
            logs[path.stem] = _log(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError, OverflowError) as error:
            raise MienError(
                f"{path} is not as it was written ({error}).",
                "the log as it was written.",
                f"`rm {shlex.quote(str(path))}`: no score needs it.",
            ) from None
    return logs


def _log(found: Any) -> dict[str, Any]:
    """Check the numbers of a log; raise TypeError or ValueError."""
    if not isinstance(found, dict):
        raise TypeError("no settings in it")
    kept = dict(found)
    if "seconds" in kept:
        kept["seconds"] = float(kept["seconds"])
    for key in ("loss", "inner_uf1"):
        if key in kept:
            kept[key] = [float(value) for value in kept[key]]
            if not all(map(math.isfinite, kept[key])):
                raise ValueError(f"{key} is no number")
    if not math.isfinite(kept.get("seconds", 0.0)):
        raise ValueError("seconds is no number")
    return kept


def report_many(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the reports of several runs, in the given order.

    Raises:
        MienError: A folder is not a run, or holds no finished fold.
    """
    return [report(read_ledger(run), read_logs(run), run=Path(run)) for run in runs]
