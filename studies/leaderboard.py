"""The leaderboard as a page of the guide, from answers of `mien experiment leaderboard` that are kept small.

python studies/leaderboard.py [--keep RUNS] [--out docs/guide/leaderboard.md]

`--keep` stores the answers of finished runs, and what choosing the epoch on test subjects gave, under
studies/results/leaderboard/, small enough to be committed. The page and its plot are made from what is stored there;
no run is started. A row without a stored run is printed as open.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from measure import arguments, publish

from mien.evaluation.compare import Comparison, compare
from mien.evaluation.experiments.catalogue import experiments
from mien.evaluation.experiments.grid import slug
from mien.evaluation.ledger import Ledger, Row, read_ledger
from mien.evaluation.published.claims import published_rows
from mien.evaluation.report import read_logs, report

STORE = Path(__file__).resolve().parent / "results" / "leaderboard"
BOARD = experiments()["leaderboard"]
DATABASES = {"smic_hs": "SMIC", "casme2": "CASME II", "samm": "SAMM"}
COMMAND = "mien experiment leaderboard flow_images=FOLDER flow_images=SECOND --seed 0 --seed 1 --seed 2 --out RUNS"

COLUMNS = (
    "system", "claimed UF1", "honest UF1", "95 %", "UAR", *DATABASES.values(), "p", "leaking UF1", "seeds", "s a seed",
)  # fmt: skip
HEAD = """# Leaderboard

MEGC 2019 composite on ready flow pictures: 442 clips of SMIC, CASME II and SAMM, three classes, one of 68 subjects
left out at a time. Every row has the same clips, folds and averaging. Made by `python studies/leaderboard.py` from the
answers in `studies/results/leaderboard/`, which come from

    {command}

- **claimed**: what is printed elsewhere. How its epoch was chosen stands on the system's page (`docs/methods/`).
- **honest**: nothing is chosen by a test subject. Mean ± standard deviation over seeds; 95 % interval of a bootstrap
  over subjects. Rows called *inner epoch* choose the epoch inside `fit`, on left-out subjects of the training clips.
- **leaking**: the same network, seed 0, with the epoch that is best on each test subject, as the public code of several
  systems has it. It is no score; it shows what that choice is worth.
- **p**: bootstrap over subjects of the difference in UF1 from the best row, paired.

## Honest scores
"""
GPU = "HTNet (139.6 M weights) and CausalNet (276.6 M) at their published width want a GPU: `--set preset=paper`."


def keep(runs: Path) -> None:
    """Store the answers and seconds of each finished run: one line a clip, a column a seed; and its leak.json."""
    STORE.mkdir(parents=True, exist_ok=True)
    for row in BOARD.rows:
        folder = runs / slug(row.name)
        for file in sorted(folder.glob("loso/*/run.json")):
            run, ledger = file.parent, read_ledger(file.parent)
            if not ledger.complete:
                print(f"left out, not finished: {run}", flush=True)
                continue
            settings = json.loads(file.read_text(encoding="utf-8"))
            settings["data"] = [{**entry, "root": ""} for entry in settings["data"]]
            logs = read_logs(run).values()
            about = {"seconds": round(sum(float(log.get("seconds", 0)) for log in logs)), "settings": settings}
            (STORE / f"{row.id}.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
            answers: dict[tuple[str, ...], dict[int, str]] = {}
            for line in ledger.rows:
                key = (line.dataset, line.subject, line.clip, line.fold, line.interval_source, line.y_true)
                answers.setdefault(key, {})[line.seed] = line.y_pred
            with (STORE / f"{row.id}.csv").open("w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow(["dataset", "subject", "clip", "fold", "interval_source", "y_true", *ledger.seeds])
                writer.writerows([*key, *(by[seed] for seed in ledger.seeds)] for key, by in answers.items())
        for file in sorted(folder.glob("leaking/*/leak.json")):
            found = json.loads(file.read_text(encoding="utf-8"))
            (STORE / f"{row.id}-leak.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def ledger_of(name: str) -> tuple[Ledger, int]:
    """Return the stored answers of a row as a ledger, and the seconds that its folds took, over all seeds."""
    about = json.loads((STORE / f"{name}.json").read_text(encoding="utf-8"))
    settings, rows = about["settings"], []
    classes = tuple(settings["classes"])
    with (STORE / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            for seed in settings["seeds"]:
                said = line[str(seed)]
                given = (line["dataset"], line["subject"], line["clip"], line["fold"], seed)
                certain = tuple(float(each == said) for each in classes) if said else ()
                rows.append(Row(*given, line["interval_source"], line["y_true"], said, certain))  # type: ignore[arg-type]
    return Ledger(settings, classes, tuple(rows), True), int(about["seconds"])


def claimed(method: str, column: str) -> str:
    """Return the UF1 that a paper claims on the composite, or on one of its databases."""
    for row in published_rows():
        if row.method == method and row.protocol == "composite" and row.column == column and row.uf1 is not None:
            return f"{row.uf1:.3f}"
    return ""


def page() -> list[str]:
    """Return the page, and draw its plot."""
    names = [row.id for row in BOARD.rows if (STORE / f"{row.id}.csv").is_file()]
    stored = {name: ledger_of(name) for name in names}
    results = {name: report(ledger) for name, (ledger, _) in stored.items()}
    order = sorted(names, key=lambda name: -results[name]["uf1"])
    rows = {row.id: row for row in BOARD.rows}
    best = order[0] if order else ""
    lines = HEAD.format(command=COMMAND).splitlines()
    lines += ["", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"] if names else ["", "None yet."]
    leaks = {name: read_leak(name) for name in rows}
    for name in order:
        r, (ledger, seconds) = results[name], stored[name]
        spread = f" ± {r['spread']['uf1']['sd']:.3f}" if "spread" in r else ""
        low, high = r["uf1_interval"]
        per = " | ".join(f"{r['per_dataset'][each]['uf1']:.3f}" for each in DATABASES)
        p = "" if name == best else p_value(ledger, stored[best][0])
        leak = leaks[name]
        said = f"{leak['best_test_epoch_per_subject']['latest_of_equals']['uf1']:.3f}" if leak else ""
        method = rows[name].claim or rows[name].name
        lines.append(
            f"| {rows[name].name} | {claimed(method, 'all')} | **{r['uf1']:.3f}**{spread} | {low:.3f}-{high:.3f} | "
            f"{r['uar']:.3f} | {per} | {p} | {said} | {len(ledger.seeds)} | {seconds / len(ledger.seeds):.0f} |"
        )
    known = results[best] if best else None
    if known:
        lines += [f"| most frequent class | | {known['majority_uf1']:.3f} | | | | | | | | | |"]
    missing = [row for row in BOARD.rows if row.id not in names]
    lines += [
        "",
        "Seconds are those of all folds of one seed, one thread each, on a machine that did other work too.",
        "",
    ]
    measured = {name: leak for name, leak in leaks.items() if leak}
    if measured:
        lines += ["## What choosing the epoch on test subjects is worth", ""]
        lines += ["UF1 of one training, seed 0, by the way in which its epoch is chosen.", ""]
        lines += ["| system | last | best for each subject, first of equals | last of equals | one epoch for all |"]
        lines += ["|---" * 5 + "|"]
        for name, leak in measured.items():
            ways = leak["best_test_epoch_per_subject"]
            figures = (leak["last_epoch"], ways["earliest_of_equals"], ways["latest_of_equals"])
            cells = " | ".join(f"{each['uf1']:.3f}" for each in (*figures, leak["best_common_test_epoch"]))
            lines.append(f"| {rows[name].name} | {cells} |")
        lines.append("")
    if order:
        draw(order, results, measured, rows)
        lines += ["![Claimed, honest and leaking UF1 of each system](leaderboard.png)", ""]
    lines += ["## Open", ""]
    lines += [f"- {row.name}: not run yet" for row in missing] or ["Nothing: every row has been run."]
    lines += [f"- {GPU}", "- Rows with fewer than three seeds, or without a leaking figure, as the table shows.", ""]
    return lines


def read_leak(name: str) -> dict[str, Any] | None:
    """Return the stored leak.json of a row."""
    file = STORE / f"{name}-leak.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def p_value(one: Ledger, best: Ledger) -> str:
    """Return the p-value of a paired comparison of UF1 with the best row."""
    found = compare(best, one)
    assert isinstance(found, Comparison)  # of classes
    return f"{found.uf1_p:.3f}"


def draw(order: list[str], results: Mapping[str, Any], leaks: Mapping[str, Any], rows: Mapping[str, Any]) -> None:
    """Draw claimed, honest and leaking UF1 beside each other, best honest first."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 0.9 + 0.3 * len(order)), dpi=144, layout="constrained")
    axes = figure.subplots()
    for y, name in enumerate(reversed(order)):
        r = results[name]
        low, high = r["uf1_interval"]
        axes.plot([low, high], [y, y], color="#2563eb", lw=1.5, label="95 % over subjects" if y == 0 else None)
        axes.plot(r["uf1"], y, "o", color="#2563eb", ms=5, label="honest" if y == 0 else None)
        value = claimed(rows[name].claim or rows[name].name, "all")
        if value:
            axes.plot(float(value), y, "|", color="#475569", ms=11, mew=2)
        if name in leaks:
            axes.plot(
                leaks[name]["best_test_epoch_per_subject"]["latest_of_equals"]["uf1"], y, "x", color="#d64832", ms=6
            )
    axes.plot([], [], "|", color="#475569", ms=11, mew=2, label="claimed")
    axes.plot([], [], "x", color="#d64832", ms=6, ls="none", label="leaking: best test epoch")
    axes.set_yticks(range(len(order)), [rows[name].name for name in reversed(order)], fontsize=7)
    axes.set_xlabel("UF1, MEGC 2019 composite, one subject left out", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(axis="x", color="#e2e8f0", lw=0.6)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_ylim(-0.6, len(order) - 0.4)
    figure.legend(fontsize=6.5, frameon=False, loc="outside upper right", ncols=4)
    figure.savefig(Path(__file__).resolve().parents[1] / "docs" / "guide" / "leaderboard.png")


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
