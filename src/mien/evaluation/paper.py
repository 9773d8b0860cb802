"""Reports as a paper needs them: a table for LaTeX, the same as CSV, figures as SVG.

Each comes with a caption that says protocol, averaging and interval, because a number without them means nothing. What
all runs share stands in the caption; what differs between them becomes a column.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mien.errors import MienError
from mien.io.atomic import write_atomically, writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Report = Mapping[str, Any]

_SHARED: Final[dict[str, Callable[[Report], str]]] = {
    "protocol": lambda report: report["protocol"],
    "databases": lambda report: ", ".join(report["datasets"]),
    "labels": lambda report: report["label_map"],
    "preset": lambda report: report["preset"] or "",
    "seeds": lambda report: ", ".join(map(str, _seeds(report))),
}
"""What the runs of a table may share: heading to the words of a run."""

SVG_FIX: Final = "`--svg figures`."

_ESCAPED: Final = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def _seeds(report: Report) -> list[int]:
    return list(report["seed"]) if isinstance(report["seed"], list) else [report["seed"]]


def _is_units(report: Report) -> bool:
    return "mean_f1" in report


def _scores(report: Report) -> dict[str, float]:
    if _is_units(report):
        return {"mean AUC": report["mean_auc"], "mean F1": report["mean_f1"]}
    return {"UF1": report["uf1"], "UAR": report["uar"], "accuracy": report["accuracy"]}


def _interval(report: Report) -> tuple[float, float]:
    low, high = report["intervals"]["mean_auc"] if _is_units(report) else report["uf1_interval"]
    return float(low), float(high)


def _differing(reports: Sequence[Report]) -> list[str]:
    return [name for name, words in _SHARED.items() if len({words(report) for report in reports}) > 1]


def _check(reports: Sequence[Report]) -> None:
    if len({_is_units(report) for report in reports}) > 1:
        raise MienError(
            "Some of these runs are about classes, others about action units.",
            "runs of one kind: their scores are different numbers.",
            "`mien report` once for the runs of each kind.",
        )


def caption(reports: Sequence[Report]) -> str:
    """Return the caption of a table or figure: scores and their averaging, interval, protocol, databases and classes.

    Args:
        reports: What `mien.evaluation.report.report` returns, one or more, all about classes or all about units.

    Raises:
        MienError: Runs about classes and about action units together.
    """
    _check(reports)
    first = reports[0]
    differing = _differing(reports)
    names = list(_scores(first))
    parts = [
        f"{', '.join(names[:-1])} and {names[-1]} {first['averaging']}; in brackets the 95 % interval of {names[0]}"
    ]
    parts[0] += " by a bootstrap over subjects."
    several = [len(_seeds(report)) for report in reports]
    if max(several) > 1:
        parts.append("Of several seeds: mean and standard deviation.")
    shared = {name: words(first) for name, words in _SHARED.items() if name not in differing}
    parts.append(f"Protocol: {shared.get('protocol', 'as in the column')}.")
    parts.append(f"Databases: {shared.get('databases', 'as in the column')}.")
    what = "Action units" if _is_units(first) else "Classes"
    if "labels" in shared:
        parts.append(f"{what} ({shared['labels']}): {', '.join(first['classes'])}.")
    if not all(report["complete"] for report in reports):
        parts.append("UNFINISHED: some folds are missing.")
    if any(report["shares_subjects"] for report in reports):
        parts.append("People are in training and test: not comparable with scores on new people.")
    if any(report["synthetic"] for report in reports):
        parts.append("Synthetic faces: nothing here is said about people.")
    if any(report["shuffled_labels"] for report in reports):
        parts.append("Runs with shuffled labels are a check, no result.")
    return " ".join(parts)


def _name(report: Report) -> str:
    return str(report["system"]) + (" (shuffled labels)" if report["shuffled_labels"] else "")


def _distinct_names(reports: Sequence[Report]) -> list[str]:
    """Return the names of runs, with the names of their folders where systems have several."""
    names = [_name(report) for report in reports]
    if len(set(names)) == len(names):
        return names
    return [f"{name}: {Path(report['run']).name}" for name, report in zip(names, reports, strict=True)]


def csv_table(reports: Sequence[Report]) -> str:
    """Return one row per run: what it is, its scores, their interval, and the caption in the last column.

    Args:
        reports: As for `caption`.
    """
    said = caption(reports)
    rows = []
    for report in reports:
        row: dict[str, object] = {"run": report["run"], "system": _name(report)}
        row |= {name: words(report) for name, words in _SHARED.items()}
        row |= {"clips": report["n_clips"], "subjects": report["n_subjects"]}
        for name, value in _scores(report).items():
            row[name] = f"{value:.4f}"
        first = next(iter(_scores(report)))
        low, high = _interval(report)
        spread = report.get("spread", {}).get("mean_auc" if _is_units(report) else "uf1", {})
        row |= {f"{first} low": f"{low:.4f}", f"{first} high": f"{high:.4f}"}
        row |= {f"{first} sd": f"{spread['sd']:.4f}" if spread else "", "caption": said}
        rows.append(row)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def latex_table(reports: Sequence[Report]) -> str:
    r"""Return a table for LaTeX with `\usepackage{booktabs}`, a row per run, and its caption.

    Args:
        reports: As for `caption`.
    """
    differing = _differing(reports)
    names = list(_scores(reports[0]))
    headings = ["System", *(name.capitalize() for name in differing), "Clips", "Subjects", *names]
    lines = [
        r"\begin{table}",
        rf"  \caption{{{_escaped(caption(reports))}}}",
        rf"  \begin{{tabular}}{{{'l' * (1 + len(differing))}{'r' * (2 + len(names))}}}",
        r"    \toprule",
        "    " + " & ".join(map(_escaped, headings)) + r" \\",
        r"    \midrule",
    ]
    for report in reports:
        cells = [_name(report), *(_SHARED[name](report) for name in differing)]
        numbers = [str(report["n_clips"]), str(report["n_subjects"]), *_cells(report)]
        lines.append("    " + " & ".join([*map(_escaped, cells), *numbers]) + r" \\")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}", ""])


def _cells(report: Report) -> list[str]:
    low, high = _interval(report)
    spread = report.get("spread", {})
    keys = ("mean_auc", "mean_f1") if _is_units(report) else ("uf1", "uar", "accuracy")
    cells = []
    for place, (key, value) in enumerate(zip(keys, _scores(report).values(), strict=True)):
        cell = f"{value:.3f}" + (rf" $\pm$ {spread[key]['sd']:.3f}" if key in spread else "")
        cells.append(cell + (f" [{low:.3f}, {high:.3f}]" if place == 0 else ""))
    return cells


def _escaped(text: str) -> str:
    return "".join(_ESCAPED.get(sign, sign) for sign in text)


def write_svg(reports: Sequence[Report], folder: Path) -> list[Path]:
    """Write figures as SVG: the scores with their intervals, and for runs about classes a confusion matrix each.

    The caption stands in each file twice: as text below the figure and as its description. Text stays text.

    Args:
        reports: As for `caption`.
        folder: Folder to write to; it is made.

    Returns:
        The files, `scores.svg` first.

    Raises:
        MienError: Runs of both kinds, or the folder cannot be written.
    """
    _check(reports)
    written = [(_drawn_scores(reports), folder / "scores.svg", caption(reports))]
    names: set[str] = set()
    for report in reports:
        if _is_units(report):
            continue
        stem = re.sub(r"[^\w-]+", "-", Path(report["run"]).name) or "run"
        name = next(n for n in (stem, *(f"{stem}-{k}" for k in range(2, len(reports) + 2))) if n not in names)
        names.add(name)
        written.append((_drawn_confusion(report), folder / f"confusion-{name}.svg", caption([report])))
    with writing(folder, SVG_FIX):
        for figure, path, said in written:
            write_atomically(path, _svg(figure, said))
    return [path for _, path, _ in written]


def _svg(figure: Figure, said: str) -> str:
    import textwrap

    import matplotlib

    width = float(figure.get_size_inches()[0])
    figure.supxlabel("\n".join(textwrap.wrap(said, int(16 * width))), fontsize=7, x=0.02, ha="left", color="#4b5563")
    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mien", "font.family": "sans-serif"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Description": said})
    return out.getvalue()


def _drawn_scores(reports: Sequence[Report]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 1.5 + 0.42 * len(reports)), layout="constrained")
    axes = figure.subplots()
    score = next(iter(_scores(reports[0])))
    for place, report in enumerate(reversed(reports)):
        value, (low, high) = _scores(report)[score], _interval(report)
        axes.barh(place, value, height=0.55, color="#9ca3af" if report["shuffled_labels"] else "#0f766e")
        axes.plot([low, high], [place, place], color="#111827", linewidth=1.4)
        axes.text(1.01, place, f"{value:.3f}", va="center", fontsize=8)
        chance = 0.5 if _is_units(report) else report["majority_uf1"]
        axes.plot([chance, chance], [place - 0.38, place + 0.38], color="#b91c1c", linewidth=1, linestyle=":")
    axes.set_yticks(range(len(reports)), _distinct_names(reports)[::-1], fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_xlabel(
        f"{score} (dotted: {'guessing' if _is_units(reports[0]) else 'the most frequent class'})", fontsize=8
    )
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _drawn_confusion(report: Report) -> Figure:
    from matplotlib.figure import Figure

    counts = np.asarray(report["confusion"], float)
    longest = max(map(len, report["classes"]))
    # Names beside each other may be as wide as the cells alone allow.
    upright = longest > 10 or len(counts) > 7
    cells, names = 0.62 * len(counts), 0.075 * longest
    figure = Figure(
        figsize=(max(cells + names + 0.7, 4.2), cells + (names if upright else 0.2) + 1.5), layout="constrained"
    )
    axes = figure.subplots()
    rows = np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(counts / rows, cmap="Greens", vmin=0, vmax=1.25)
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, f"{count:.0f}", ha="center", va="center", fontsize=9)
    places = range(len(counts))
    axes.set_xticks(places, report["classes"], fontsize=8, rotation=90 if upright else 0)
    axes.set_yticks(places, report["classes"], fontsize=8)
    axes.set_xlabel("answer", fontsize=8)
    axes.set_ylabel("truth", fontsize=8)
    axes.set_title(_name(report), fontsize=9)
    return figure
