"""The leaderboard as a page of the guide, from answers of `mien experiment leaderboard` that are kept small.

python studies/leaderboard.py [--keep RUNS] [--out docs/guide/leaderboard.md]

`--keep` stores the answers of finished seeds, and what choosing the epoch on test subjects gave, under
studies/results/leaderboard/, small enough to be committed. The page and its plot are made from what is stored there;
no run is started. A row without a stored run is printed as open.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from measure import arguments, publish

from mien.evaluation.compare import Comparison, compare
from mien.evaluation.experiments.catalogue import GridRow, experiments
from mien.evaluation.experiments.grid import slug
from mien.evaluation.experiments.leaderboard import claimed_uf1
from mien.evaluation.ledger import Ledger, Row, read_ledger
from mien.evaluation.report import read_logs, report

STORE = Path(__file__).resolve().parent / "results" / "leaderboard"
CLIPS = STORE / "clips.csv"
BOARD = experiments()["leaderboard"]
DATABASES = {"smic_hs": "SMIC", "casme2": "CASME II", "samm": "SAMM"}
COMMAND = "mien experiment leaderboard flow_images=FOLDER flow_images=SECOND --seed 0 --seed 1 --seed 2 --out RUNS"
TITLES = {"loso": "Leave one subject out", "kfold_subject": "Five folds by subject"}

COLUMNS = (
    "system", "claimed", "last epoch", "95 %", "UAR", *DATABASES.values(), "p", "inner epoch", "best test epoch",
    "seeds", "s per seed",
)  # fmt: skip
HEAD = """# Leaderboard

This page compares what published systems claim with what they reach when all are scored on the same clips and folds,
with the same averaging. The data are the MEGC 2019 composite as ready flow pictures: 442 clips of 68 subjects (SMIC,
CASME II, SAMM), three classes. All figures are UF1 from counts pooled over folds, unless a column says UAR.
`python studies/leaderboard.py` makes the page from the predictions in `studies/results/leaderboard/`, which come from

    {command}

- **claimed**: the published score, leave one subject out. The [page of each method](../methods/index.md) says how its
  epoch was chosen.
- **last epoch**: an honest score. Mean ± standard deviation over seeds, and the 95 % interval of a bootstrap over
  subjects.
- **inner epoch**: also an honest score. The epoch is chosen inside `fit`, on a third of the *training* subjects, and is
  the same for all seeds.
- **best test epoch**: the same training runs, with the epoch that is best on each test subject (the last one of equally
  good epochs), as in the public code of several systems. This is not a valid score; it shows what the choice is worth.
- **p**: p-value of the difference in UF1 from the best row of the table (last epoch), from a paired bootstrap over
  subjects.
- **s per seed**: seconds on one core for all folds of one seed.

If the name of a row states epochs, a learning rate, batches or a width, its training schedule is not the published one
but one that two cores can afford: STSTNet and RCN-A train for a quarter of the epochs at four times the learning rate,
SSSNet for half the epochs, OFF-ApexNet for one epoch in 25, and Dual-Inception and HTNet with larger or shuffled
batches at a higher learning rate.

Each schedule was fixed before its run, by training loss and UF1 on an inner split of training clips (which other folds
test), and not changed afterwards. For STSTNet, RCN-A, Dual-Inception and HTNet this was a split of the first of these
five folds (the curve of HTNet was not kept); for SSSNet and OFF-ApexNet, of the first of ten folds by subject, which
has 264 training clips instead of 237.

OFF-ApexNet was observed for 60 epochs only, while its loss was still falling; its 120 epochs are extrapolated and were
not tried before the run.

Leave-one-subject-out costs fourteen times as much as five folds, so networks are in the second table only. Do not
compare scores of the two tables: systems in the first train on more clips.
"""
GPU = "HTNet (139.6 M weights) and CausalNet (276.6 M) at their published width need a GPU: `--set preset=paper`."


@dataclass(frozen=True)
class Entry:
    """One row of a table, with its stored answers."""

    row: GridRow
    ledger: Ledger
    scores: Mapping[str, Any]
    seconds: float | None  # of one core, all folds of one seed


def keep(runs: Path) -> None:
    """Store the answers and seconds of each finished seed: one line a clip, a column a seed; and its leak.json."""
    STORE.mkdir(parents=True, exist_ok=True)
    for row in BOARD.rows:
        folder = runs / slug(row.name)
        for protocol in TITLES:
            for file in sorted(folder.glob(f"{protocol}/*/run.json")):
                keep_run(file, f"{row.id}.{protocol}")
            for file in sorted(folder.glob(f"leaking/{protocol}/*/leak.json")):
                found = json.loads(file.read_text(encoding="utf-8"))
                (STORE / f"{row.id}.{protocol}.leak.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def keep_run(file: Path, name: str) -> None:
    """Store a run, without seeds that lack a fold."""
    run, ledger = file.parent, read_ledger(file.parent)
    settings = json.loads(file.read_text(encoding="utf-8"))
    folds = {seed: {line.fold for line in ledger.rows if line.seed == seed} for seed in settings["seeds"]}
    whole = [seed for seed in settings["seeds"] if len(folds[seed]) == settings["n_folds"]]
    if len(whole) < len(folds):
        print(f"{run}: seeds {whole} of {list(folds)} are finished", file=sys.stderr, flush=True)
    if not whole:
        return
    settings["data"] = [{**entry, "root": ""} for entry in settings["data"]]
    for entry in settings["data"]:
        if "second_flow" in entry:
            entry["second_flow"] = Path(entry["second_flow"]).name  # the folder's own place is nobody's business
    settings["seeds"] = whole
    spent = [float(log["cpu_seconds"]) for log in read_logs(run).values() if "cpu_seconds" in log]
    clips = {line.key: line for line in sorted(ledger.rows, key=lambda line: line.key)}
    names = sorted({line.fold for line in clips.values()})
    write_clips([[line.dataset, line.subject, line.clip, line.y_true] for line in clips.values()])
    said = {(line.seed, line.key): line.y_pred[:1] or "-" for line in ledger.rows}
    about = {
        "cpu_seconds_per_fold": round(sum(spent) / len(spent), 2) if spent else None,
        "settings": settings,
        "folds": names,
        "fold_of_clip": " ".join(str(names.index(line.fold)) for line in clips.values()),
        "interval_source": sorted({line.interval_source for line in clips.values()}),
        "answers": {seed: "".join(said[seed, key] for key in clips) for seed in whole},
    }
    (STORE / f"{name}.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")


def write_clips(rows: Sequence[Sequence[str]]) -> None:
    """Store the clips with their classes, in the order of all answers."""
    if CLIPS.is_file():
        assert read_clips() == [list(row) for row in rows], "other clips than those of the stored answers"
        return
    with CLIPS.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([["dataset", "subject", "clip", "y_true"], *rows])


def read_clips() -> list[list[str]]:
    """Return dataset, subject, name and class of each clip."""
    with CLIPS.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))[1:]


def entry_of(row: GridRow, protocol: str) -> Entry | None:
    """Return the stored answers of a row as a ledger with its scores; None where there are none."""
    file = STORE / f"{row.id}.{protocol}.json"
    if not file.is_file():
        return None
    about = json.loads(file.read_text(encoding="utf-8"))
    settings, rows = about["settings"], []
    classes, (source,) = tuple(settings["classes"]), about["interval_source"]
    by_letter = {name[0]: name for name in classes}
    folds = [about["folds"][int(n)] for n in about["fold_of_clip"].split()]
    for seed, answers in about["answers"].items():
        for (dataset, subject, clip, truth), fold, letter in zip(read_clips(), folds, answers, strict=True):
            said = by_letter.get(letter, "")
            certain = tuple(float(each == said) for each in classes) if said else ()
            rows.append(Row(dataset, subject, clip, fold, int(seed), source, truth, said, certain))
    ledger, each = Ledger(settings, classes, tuple(rows), True), about["cpu_seconds_per_fold"]
    return Entry(row, ledger, report(ledger), None if each is None else each * settings["n_folds"])


def leak_of(row: GridRow, protocol: str) -> dict[str, Any] | None:
    """Return the stored leak.json of a row."""
    file = STORE / f"{row.id}.{protocol}.leak.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def inner_of(row: GridRow, protocol: str) -> Entry | None:
    """Return the row with the inner choice that belongs to a row, where it is stored."""
    found = [each for each in BOARD.rows if each.same_training == row.id]
    return entry_of(found[0], protocol) if found else None


def claimed(row: GridRow) -> str:
    """Return the UF1 that is printed elsewhere for a row."""
    uf1 = claimed_uf1(row.claim or row.name)
    return "" if uf1 is None else f"{uf1:.3f}"


def figure(scores: Mapping[str, Any]) -> str:
    """Return mean UF1 and its standard deviation over seeds."""
    return f"{scores['uf1']:.3f}" + (f" ± {scores['spread']['uf1']['sd']:.3f}" if "spread" in scores else "")


def best_test(leak: Mapping[str, Any] | None) -> float | None:
    """Return UF1 with the best test epoch of each subject, of equals the last."""
    return None if leak is None else float(leak["best_test_epoch_per_subject"]["latest_of_equals"]["uf1"])


def table(entries: Sequence[Entry], protocol: str) -> list[str]:
    """Return the table of one protocol, best first."""
    best = entries[0]
    rows = [COLUMNS]
    for each in entries:
        r = each.scores
        low, high = r["uf1_interval"]
        per = [f"{r['per_dataset'][name]['uf1']:.3f}" for name in DATABASES]
        inner, leaking = inner_of(each.row, protocol), best_test(leak_of(each.row, protocol))
        cells = [
            each.row.name, claimed(each.row), f"**{figure(r)}**", f"{low:.3f}-{high:.3f}", f"{r['uar']:.3f}", *per,
            "" if each is best else p_value(each.ledger, best.ledger), figure(inner.scores) if inner else "",
            "" if leaking is None else f"{leaking:.3f}", str(len(each.ledger.seeds)),
            "" if each.seconds is None else f"{each.seconds:.0f}",
        ]  # fmt: skip
        rows.append(tuple(cells))
    blank = ("",) * (len(COLUMNS) - 3)
    rows.append(("most frequent class", "", f"{best.scores['majority_uf1']:.3f}", *blank))
    rows.append(("guesses by class frequency", "", f"{1 / len(best.ledger.classes):.3f}", *blank))
    filled = [n for n in range(len(COLUMNS)) if any(row[n] for row in rows[1:])]
    lines = [f"| {' | '.join(row[n] for n in filled)} |" for row in rows]
    return [lines[0], "|---" * len(filled) + "|", *lines[1:]]


def sizes(entries: Sequence[Entry], protocol: str) -> list[str]:
    """Return the table of what choosing the epoch on test subjects is worth; [] where nothing is stored."""
    lines = []
    for each in entries:
        leak = leak_of(each.row, protocol)
        if leak is None:
            continue
        ways = leak["best_test_epoch_per_subject"]
        values = [
            leak["last_epoch"],
            leak["best_common_test_epoch"],
            *(ways[f"{which}_of_equals"] for which in ("earliest", "latest")),
        ]
        inner = inner_of(each.row, protocol)
        cells = [each.row.name, f"{values[0]['uf1']:.3f}", f"{inner.scores['uf1']:.3f}" if inner else ""]
        cells += [f"{value['uf1']:.3f}" for value in values[1:]] + [f"{values[3]['uf1'] - values[0]['uf1']:+.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    if not lines:
        return []
    return [
        "## What choosing the epoch on test subjects is worth",
        "",
        "UF1 of the same training runs, depending on how the epoch is chosen; means over seeds, five folds by subject. "
        "Only the first two columns are valid scores.",
        "",
        "| system | last | inner | one test epoch for all | best of each subject, first of equals "
        "| last of equals | gain |",
        "|---" * 7 + "|",
        *lines,
        "",
    ]  # fmt: skip


def costs(entries: Sequence[Entry]) -> list[str]:
    """Return what one subject left out would take with the schedule of each network, from the time of five folds."""
    lines = [
        "With the same schedule, leave-one-subject-out with three seeds (last epoch only) would take this long on one",
        "core; with the published schedule, longer in proportion to the epochs:",
        "",
    ]
    for each in sorted(
        (each for each in entries if each.row.leak and each.seconds), key=lambda each: each.seconds or 0
    ):
        settings = each.ledger.settings
        people = len({(row.dataset, row.subject) for row in each.ledger.rows})
        # Clips that are trained on, over all folds: (folds - 1) times the clips.
        hours = 3 * float(each.seconds or 0) * (people - 1) / (settings["n_folds"] - 1) / 3600
        lines.append(f"- {each.row.name}: {hours:.1f} h")
    return lines


def page() -> list[str]:
    """Return the page, and draw its plot."""
    lines = HEAD.format(command=COMMAND).splitlines()
    own = [row for row in BOARD.rows if not row.same_training]
    missing, drawn = [], []
    for protocol, title in TITLES.items():
        wanted = [row for row in own if not row.protocols or protocol in row.protocols]
        entries = [found for row in wanted if (found := entry_of(row, protocol)) is not None]
        entries.sort(key=lambda each: -each.scores["uf1"])
        stored = {each.row.id for each in entries}
        missing += [f"{row.name}, {title.lower()}" for row in wanted if row.id not in stored]
        for each in entries:
            if len(each.ledger.seeds) < 3 and not each.row.ours:
                missing.append(f"{each.row.name}, {title.lower()}: {len(each.ledger.seeds)} of 3 seeds")
            if each.row.leak and leak_of(each.row, protocol) is None:
                missing.append(f"{each.row.name}, {title.lower()}: best test epoch not computed yet")
        lines += ["", f"## {title}", "", *(table(entries, protocol) if entries else ["None yet."]), ""]
        if protocol == "kfold_subject" and entries:
            drawn = entries
            lines += [*costs(entries), ""]
            lines += ["![Claimed, honest and leaking UF1 of each system](leaderboard.png)", ""]
            lines += sizes(entries, protocol)
    if drawn:
        draw(drawn, "kfold_subject")
    lines += ["## Not run yet", "", *(f"- {each}" for each in missing), f"- {GPU}"]
    lines += ["- The networks with leave-one-subject-out: `--protocol loso`.", ""]
    return lines


def p_value(one: Ledger, best: Ledger) -> str:
    """Return the p-value of a paired comparison of UF1 with the best row."""
    found = compare(best, one)
    assert isinstance(found, Comparison)  # of classes
    return f"{found.uf1_p:.3f}"


def draw(entries: Sequence[Entry], protocol: str) -> None:
    """Draw claimed, honest and leaking UF1 beside each other, best honest first."""
    from matplotlib.figure import Figure

    blue, grey, red, green = "#2563eb", "#475569", "#d64832", "#15803d"
    sheet = Figure(figsize=(7.2, 1.2 + 0.36 * len(entries)), dpi=144, layout="constrained")
    axes = sheet.subplots()
    for y, each in enumerate(reversed(entries)):
        low, high = each.scores["uf1_interval"]
        axes.plot([low, high], [y, y], color=blue, lw=1.5)
        axes.plot(each.scores["uf1"], y, "o", color=blue, ms=5)
        inner, leaking, said = inner_of(each.row, protocol), best_test(leak_of(each.row, protocol)), claimed(each.row)
        if inner:
            axes.plot(inner.scores["uf1"], y, "D", color=green, ms=4, mfc="none")
        if said:
            axes.plot(float(said), y, "|", color=grey, ms=11, mew=2)
        if leaking is not None:
            axes.plot(leaking, y, "x", color=red, ms=6)
    axes.plot([], [], "o-", color=blue, ms=5, lw=1.5, label="last epoch, 95 % over subjects")
    axes.plot([], [], "D", color=green, ms=4, mfc="none", ls="none", label="inner epoch")
    axes.plot([], [], "|", color=grey, ms=9, mew=2, ls="none", label="claimed")
    axes.plot([], [], "x", color=red, ms=6, ls="none", label="leaking: best test epoch")
    axes.set_yticks(range(len(entries)), [fill(each.row.name, 34) for each in reversed(entries)], fontsize=7)
    axes.set_xlabel("UF1, five folds by subject (claimed: leave one subject out)", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(axis="x", color="#e2e8f0", lw=0.6)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_ylim(-0.6, len(entries) - 0.4)
    sheet.legend(fontsize=6.5, frameon=False, loc="outside upper right", ncols=4)
    sheet.savefig(Path(__file__).resolve().parents[1] / "docs" / "guide" / "leaderboard.png")


def main() -> None:
    """Store runs where asked to, and write the page."""
    parser = arguments(__doc__)
    parser.add_argument("--keep", type=Path, metavar="RUNS")
    given = parser.parse_args()
    if given.keep:
        keep(given.keep)
    publish(page(), given.out)


if __name__ == "__main__":
    main()
