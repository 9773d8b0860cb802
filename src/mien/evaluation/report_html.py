"""The report as one HTML file that loads nothing: no script, no font, no picture from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from mien.datasets.facs import facs_units
from mien.errors import MienError
from mien.evaluation.figures import curve_figure, interval_dot, score_bar, shade, subject_bars
from mien.evaluation.glossary import Words
from mien.evaluation.ledger import Ledger, read_ledger
from mien.evaluation.report import per_subject, read_logs, report
from mien.evaluation.report_text import no_answers, share
from mien.evaluation.unit_report import interval_text
from mien.io.atomic import require_writable_file, write_atomically, writing

_FIX: Final = "`--html report.html`."


def require_target(out: Path) -> None:
    """Refuse, before any work, a file in which no page could be written.

    Raises:
        MienError: A folder, or no right to write there.
    """
    require_writable_file(out, f"`--html {out / 'report.html'}`." if out.is_dir() else _FIX)


def write_html(runs: Sequence[Path], out: Path) -> Path:
    """Write one self-contained page about one or several runs.

    Args:
        runs: Folders that `mien benchmark` made; several get a table that compares them, then a section each.
        out: The file to write; folders above it are made.

    Returns:
        `out`.

    Raises:
        MienError: No run is given, a folder is not a run, a run holds no finished fold, or `out` cannot be written.
    """
    if not runs:
        raise MienError(
            "No run is given.", "at least one folder that `mien benchmark` made.", "`mien report RUN --html FILE`."
        )
    out = Path(out)
    require_target(out)
    return write_sections([_section(Path(run), number) for number, run in enumerate(runs, start=1)], out)


def write_sections(sections: Sequence[Mapping[str, Any]], out: Path) -> Path:
    """Write one page about what `section` returned for each run; return `out`."""
    environment = Environment(
        loader=PackageLoader("mien.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["share"] = share
    environment.filters["span"] = _span
    environment.filters["no_answers"] = no_answers
    environment.filters["interval"] = interval_text
    environment.globals.update(
        score_bar=score_bar,
        shade=shade,
        interval_dot=interval_dot,
        unit_name=_unit_name,
        shares_of=_shares_of,
        words=Words(),
    )
    page = environment.get_template("report.html.j2").render(
        sections=sections, mixed=_mixed([section["r"] for section in sections])
    )
    with writing(out, _FIX):
        write_atomically(out, page)
    return out


def _section(run: Path, number: int) -> dict[str, Any]:
    """Return what the template shows about one run."""
    ledger, logs = read_ledger(run), read_logs(run)
    return section(ledger, report(ledger, logs, run=run), logs, run.resolve().name, number)


def section(
    ledger: Ledger, result: Mapping[str, Any], logs: Mapping[str, Mapping[str, Any]], name: str, number: int
) -> dict[str, Any]:
    """Return what the template shows about one ledger and its report."""
    people = {} if ledger.units else per_subject(ledger)
    return {
        "id": f"run-{number}",
        "name": name,
        "r": result,
        "subjects": [
            {
                "dataset": dataset,
                "n": len(entries),
                "people": [{**e, "width": 100 * e["n_clips"] / sum(o["n_clips"] for o in entries)} for e in entries],
                "svg": subject_bars(entries, result["per_dataset"][dataset]["accuracy"]),
                "none_right": sum(entry["n_right"] == 0 for entry in entries),
                "all_right": sum(entry["n_right"] == entry["n_tested"] for entry in entries),
            }
            for dataset, entries in people.items()
        ],
        "curves": [
            {"title": title, "figure": figure}
            for key, title in (("loss", "Training loss"), ("inner_uf1", "UF1 on inner subjects"))
            for figure in [curve_figure([log[key] for log in logs.values() if log.get(key)], title)]
            if figure is not None
        ],
        "published": _published(result),
    }


def _unit_name(name: str) -> str:
    """Return what FACS calls a unit ("AU12"); "" where it is not known."""
    number = name.removeprefix("AU")
    known = facs_units().get(int(number)) if number.isdigit() else None
    return known.name if known else ""


def _shares_of(result: Mapping[str, Any]) -> float:
    """Return the mean average precision of guessing: the mean share of clips with a unit, of the units scored."""
    return fmean(row["share"] for row in result["per_au"].values() if row["support"])


def _published(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one entry per method with the UF1 of each database, in the order of the report."""
    methods: dict[tuple[str, str], dict[str, Any]] = {}
    for row in result["published"]:
        entry = methods.setdefault((row["method"], row["source"]), {**row, "columns": {}})
        if row["column"] == "all":
            entry.update({key: row[key] for key in ("accuracy", "uf1", "uar", "uar_true")})
        else:
            entry["columns"][row["column"]] = row["uf1"]
    return list(methods.values())


def _mixed(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the settings in which runs differ so that their scores are not comparable."""
    kinds = {"clips": "clip_table", "classes": "classes", "protocols": "protocol"}
    return [name for name, key in kinds.items() if len({str(result[key]) for result in results}) > 1]


def _span(seconds: float) -> str:
    """Return a length of time in words: `3 h 12 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
