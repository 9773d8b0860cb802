"""Scores of every flow system on the real MEGC 2019 composite, leave-one-subject-out, with the shuffled-label control.

python studies/flow_scores.py FLOW_FOLDER [--out studies/results/flow_scores.md] [--runs runs/flow_scores]

Resumes: a run that is there is not trained again. Peak memory is that of the whole process tree.
"""

from __future__ import annotations

import argparse
import datetime
import resource
import statistics
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from machine import commit, machine

from mien.datasets import open_specs
from mien.evaluation.report import report_many
from mien.evaluation.run import benchmark

PLAN: tuple[tuple[str, tuple[int, ...], bool], ...] = (
    ("flow-svm", (0, 1, 2), False),
    ("strcn-g", (0, 1, 2), False),
    ("ststnet", (0,), False),
    ("flow-svm", (0,), True),
    ("strcn-g", (0,), True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flow", type=Path)
    parser.add_argument("--out", type=Path, default=Path("studies/results/flow_scores.md"))
    parser.add_argument("--runs", type=Path, default=Path("runs/flow_scores"))
    parser.add_argument("--only", nargs="*", help="Systems to run; default: all.")
    given = parser.parse_args()
    lines = [
        "# Scores on the MEGC 2019 composite, leave one subject out",
        "",
        f"442 clips, 68 subjects, 3 classes; {machine()}; commit {commit()}; {datetime.date.today():%Y-%m-%d}.",
        "UF1 and UAR are pooled over folds; mean over seeds, with the standard deviation where there are several.",
        "The interval is a 95 % bootstrap over subjects. Settings come from the papers or inner splits by subject.",
        "",
        "| system | labels | seeds | UF1 | 95 % | UAR | accuracy | majority accuracy | SMIC | CASME II | SAMM | s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for system, seeds, shuffled in PLAN:
        if given.only and system not in given.only:
            continue
        run = given.runs / (system + ("-shuffled" if shuffled else ""))
        started = time.perf_counter()
        benchmark(
            open_specs([f"flow_images={given.flow}"]), system, run, seeds=seeds, shuffle_labels=shuffled, bars=True
        )
        seconds = time.perf_counter() - started
        r = report_many([run])[0]
        of_seed = [s["uf1"] for s in r.get("per_seed", [])]
        spread = f" ± {statistics.stdev(of_seed):.3f}" if len(of_seed) > 1 else ""
        per = [f"{r['per_dataset'][d]['uf1']:.3f}" for d in ("smic_hs", "casme2", "samm")]
        low, high = r["uf1_interval"]
        lines.append(
            f"| {system} | {'shuffled' if shuffled else 'true'} | {len(seeds)} | {r['uf1']:.4f}{spread} | "
            f"{low:.3f}-{high:.3f} | {r['uar']:.4f} | {r['accuracy']:.4f} | {r['majority_accuracy']:.4f} | "
            f"{' | '.join(per)} | {seconds:.0f} |"
        )
        print(lines[-1], flush=True)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    lines += [
        "",
        f"Peak memory: {own / 1024:.0f} MiB in the main process, {children / 1024:.0f} MiB in the largest worker.",
    ]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
