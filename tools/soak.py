"""Killed at any moment, a run goes on and ends with the same bytes.

python tools/soak.py [--trials 100] [--workers 3] [--seed 0] [--out tools/results/soak.md]

A run of a small network on a written corpus is killed (SIGKILL) at random moments, begun again and killed again, one
to three times, then left to end. Compared with a run that was left alone: every file of the ledger, run.json and
clips.csv, byte for byte, after every kill and at the end; the names of all files; every row once. The state of an
unfinished training is written after every epoch here, not once a minute, so that kills also fall into its writing.

`--workers` adds trials with two worker processes of which only the parent is killed: the workers go on for a while
beside the run that takes over.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from machine import stamp

from mien.classifiers import training
from mien.datasets import open_specs
from mien.evaluation.ledger import read_ledger
from mien.evaluation.run import benchmark
from mien.io.atomic import LOCK, UNFINISHED
from mien.synthesis.flow_images import write_flow_images

PARAMETERS = {"preset": "pictures", "epochs": 5, "maps": 2, "layers": 1}
SUBJECTS, CLIPS = 4, 3


@dataclass
class Trial:
    """One run, killed and begun again.

    Attributes:
        kills: What was there at each kill.
        wrong: What was not as it should be; empty when all is well.
        seconds: From the first start to the end.
    """

    kills: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--workers", type=int, default=3, help="trials with two worker processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    # The state of a training after every epoch: a forked child has the same.
    assert training.fit.__kwdefaults__ is not None
    training.fit.__kwdefaults__["state_seconds"] = 0.0
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory(prefix="mien-soak-") as folder:
        place = Path(folder)
        os.environ["MIEN_CACHE"] = str(place / "cache")
        write_flow_images(place / "corpus", subjects=SUBJECTS, clips_per_subject=CLIPS, seed=0, layout="folders")
        run(place, "warm", 1)  # what is imported and made once, children then have
        length = taken(place, "whole", 1)
        beside = taken(place, "beside", 2) if options.workers else 0.0
        trials = [trial(place, f"run-{n}", 1, length, rng) for n in range(options.trials)]
        workers = [trial(place, f"workers-{n}", 2, beside, rng) for n in range(options.workers)]
    text = page(trials, workers, length, options.seed)
    print(text)
    if options.out:
        options.out.write_text(text)
    if any(each.wrong for each in (*trials, *workers)):
        sys.exit(1)


def run(place: Path, name: str, jobs: int) -> None:
    data = open_specs([f"flow_images={place / 'corpus'}"])
    benchmark(data, "strcn-g", place / name, parameters=PARAMETERS, jobs=jobs)


def taken(place: Path, name: str, jobs: int) -> float:
    """Seconds of a run that is left alone."""
    began = time.monotonic()
    ended(start(place, name, jobs))
    return time.monotonic() - began


def start(place: Path, name: str, jobs: int) -> int:
    """The run in a process of its own, forked from this one, which has imported everything."""
    process = os.fork()
    if process:
        return process
    try:
        with (place / f"{name}.log").open("a") as log:
            os.dup2(log.fileno(), 2)
            run(place, name, jobs)
    except BaseException:
        (place / f"{name}.error").write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)


def ended(process: int) -> int:
    """Waits; gives the exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def trial(place: Path, name: str, jobs: int, length: float, rng: np.random.Generator) -> Trial:
    """Kills a run one to three times, then lets it end."""
    made, began = Trial(), time.monotonic()
    left = int(rng.integers(1, 4))
    while True:
        process = start(place, name, jobs)
        if left:
            time.sleep(float(rng.uniform(0, length)))
            os.kill(process, signal.SIGKILL)
        status = ended(process)
        made.wrong += differences(place / name, place / "whole", whole=status == 0)
        if status == 0:
            break
        if status != -signal.SIGKILL:
            error = place / f"{name}.error"
            made.wrong.append(f"it ended with {status}: {error.read_text() if error.is_file() else ''}")
            break
        left -= 1
        made.kills.append(moment(place / name))
    made.seconds = time.monotonic() - began
    return made


def moment(run: Path) -> str:
    """What a kill left."""
    folds = len(list((run / "ledger").glob("s*.csv")))
    if not (run / "run.json").is_file():
        return "before the settings were written"
    if any(run.rglob(f".*{UNFINISHED}")):
        return "while a file was being written"
    if any((run / "unfinished").glob("*.safetensors")):
        return "between two epochs of a fold"
    return "before the first fold" if not folds else "between folds" if folds < SUBJECTS else "after the last fold"


def differences(run: Path, reference: Path, *, whole: bool) -> list[str]:
    """In what a run differs from one that was left alone; of an unfinished run only what is there is compared."""
    wrong = []
    for path in sorted(p for p in run.rglob("*") if p.is_file()):
        relative = path.relative_to(run)
        if path.name == LOCK or UNFINISHED in path.name or relative.parts[0] in ("log", "unfinished"):
            continue
        other = reference / relative
        if not other.is_file():
            wrong.append(f"{relative} is too many")
        elif path.read_bytes() != other.read_bytes():
            wrong.append(f"{relative} differs")
    if whole:
        names = [sorted(str(p.relative_to(r)) for p in r.rglob("*")) for r in (run, reference)]
        if names[0] != names[1]:
            wrong.append(f"other files: {sorted(set(names[0]) ^ set(names[1]))}")
        rows = Counter(row.key for row in read_ledger(run).rows)
        if len(rows) != SUBJECTS * CLIPS or set(rows.values()) != {1}:
            wrong.append(f"{len(rows)} clips, {sum(rows.values())} rows")
    return wrong


def page(trials: list[Trial], workers: list[Trial], length: float, seed: int) -> str:
    """The results."""
    both = [*trials, *workers]
    shown = ", ".join(f"{key} {value}" for key, value in PARAMETERS.items())
    good = sum(not each.wrong for each in both)
    moments = Counter(kill for each in both for kill in each.kills)
    lines = [
        "# Killed at random moments",
        "",
        stamp(),
        "",
        f"`python tools/soak.py --trials {len(trials)} --workers {len(workers)} --seed {seed}`: a run of strcn-g "
        f"({shown}), {SUBJECTS} folds, {length:.1f} s when left alone, killed (SIGKILL) one to three times and begun "
        "again.",
        "",
        "| trials | kills | ended with the same bytes | rows lost | rows doubled |",
        "|---|---|---|---|---|",
        *(
            f"| {len(some)} {kind} | {sum(len(t.kills) for t in some)} | {sum(not t.wrong for t in some)} | "
            f"{sum('rows' in ' '.join(t.wrong) for t in some)} | {sum('rows' in ' '.join(t.wrong) for t in some)} |"
            for kind, some in (("in one process", trials), ("with two workers, the parent killed", workers))
            if some
        ),
        "",
        "| what the kill left | kills |",
        "|---|---|",
        *(f"| {kind} | {n} |" for kind, n in moments.most_common()),
        "",
        f"{good} of {len(both)} trials ended with the bytes of the run that was left alone.",
        "",
    ]
    for each in both:
        lines += [f"- {problem}" for problem in each.wrong]
    return "\n".join(lines) + ("" if good == len(both) else "\n")


if __name__ == "__main__":
    main()
