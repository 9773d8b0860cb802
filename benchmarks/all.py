"""The whole suite of speed and memory, as one command that can be stopped and goes on where it was.

python benchmarks/all.py [--quick] [--only NAME ...] [--again] [--flow FOLDER] [--limit 7200]

Each part runs in a process of its own and writes its page in benchmarks/results. All pages are gathered in
`results/<machine>-<commit>.md`, with the seconds and the peak memory of each part; a part that fails is named there,
with the last of what it said, and the others are kept. A part that was measured at this commit is not measured again
(unless files under src differ from the commit, or with --again). `--quick` tries every part on a small scale and
leaves the results alone: it writes under runs/bench-quick.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from machine import commit, cores, processor, stamp, taken_by_others

from mien.io.atomic import write_atomically

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results"
QUICK = ROOT / "runs" / "bench-quick"
FLOW = ROOT.parent / "shared" / "data" / "megc2019_flow"


@dataclass(frozen=True, slots=True)
class Part:
    """One script of the suite.

    Attributes:
        words: What follows the script; "FLOW" stands for the folder of real flow pictures.
        quick: The same on a small scale; None where there is no small scale.
    """

    words: tuple[str, ...] = ()
    quick: tuple[str, ...] | None = ("--quick",)


PARTS: Mapping[str, Part] = {
    "peak": Part(quick=("--seconds", "0.2")),
    "start": Part(quick=("--turns", "1")),
    "video": Part(quick=("--frames", "100", "--turns", "1")),
    "face": Part(quick=("--rounds", "1")),
    "magnify": Part(quick=("--turns", "1", "--frames", "10")),
    "flow": Part(),
    "flow_edges": Part(quick=("--seeds", "1")),
    "score": Part(),
    "growth": Part(),
    "strcn": Part(),
    "descriptors": Part(quick=("--repeats", "1")),
    "floors": Part(quick=("--turns", "1")),
    "sma_stn": Part(),
    "microexp": Part(),
    "serve": Part(quick=("--mib", "8")),
    "synthesis": Part(("--real", "FLOW"), ("--quick",)),
    "head": Part(("--pictures", "docs/pictures/head")),
    "spotting": Part(
        ("--minutes", "5", "--people", "2", "--growth", "1", "30"),
        ("--minutes", "0.25", "--people", "1", "--spotters", "flow-peaks"),
    ),
    "recognise": Part(("--seconds", "30", "--long", "1800"), ("--seconds", "10", "--long", "20")),
    "ststnet_loso": Part(("FLOW",), None),
    "export": Part(),
    "prepare": Part(quick=("--subjects", "1", "--clips", "1", "--turns", "1")),
    "whole_machine": Part(),
    "ray_folds": Part(quick=("--subjects", "4", "--epochs", "5", "--workers", "1", "2")),
}
"""Every part, the shortest first."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a part went.

    Attributes:
        name: The part.
        seconds: From its start to its end.
        mib: Peak memory of its largest process.
        others: Share of the processor that other programs took just before.
        failed: "" where it ended well; else what happened, and the last lines it said.
    """

    name: str
    seconds: float
    mib: float
    others: float
    failed: str = ""


def run(name: str, words: Sequence[str], out: Path, limit: float, log: Path) -> Outcome:
    """Runs one part; its page and pictures replace those in `out` only where it ends well.

    Args:
        name: The script, less its ending.
        words: Its arguments.
        out: Folder of pages.
        limit: Seconds after which it is stopped.
        log: What it says goes here.
    """
    others = taken_by_others()
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mien-bench-") as made, log.open("wb") as said:
        command = [sys.executable, str(HERE / f"{name}.py"), *words, "--out", str(Path(made) / f"{name}.md")]
        began = time.monotonic()
        # A group of its own, so that what it started can be stopped with it.
        child = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT, start_new_session=True)
        stopped = False
        try:
            while not (ended := os.wait4(child.pid, os.WNOHANG))[0]:
                if not stopped and time.monotonic() - began > limit:
                    stopped = True
                    os.killpg(child.pid, signal.SIGKILL)
                time.sleep(0.05)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
        seconds = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(ended[1])
        mib = ended[2].ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
        pages = sorted(Path(made).iterdir())
        failed = ""
        if stopped:
            failed = f"Stopped after {limit:g} s."
        elif child.returncode:
            failed = f"Ended with {child.returncode}."
        elif not any(page.name == f"{name}.md" for page in pages):
            failed = "It wrote no page."
        if failed:
            last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
            return Outcome(name, seconds, mib, others, "\n".join([failed, *last]))
        for page in pages:
            shutil.move(page, out / page.name)
        return Outcome(name, seconds, mib, others)


MARK = re.compile(r"^<!-- part (\{.*\}) -->$", re.MULTILINE)


def outcomes(page: Path) -> dict[str, Outcome]:
    """What a gathered page says of each part; {} where there is none."""
    if not page.is_file():
        return {}
    found = (json.loads(text) for text in MARK.findall(page.read_text(encoding="utf-8")))
    return {one["name"]: Outcome(**one) for one in found}


def gathered(done: Mapping[str, Outcome], pages: Path, title: str) -> str:
    """One page of all parts: how each went, then each one's own page.

    Args:
        done: Parts that were run.
        pages: Folder of their own pages.
        title: Machine, commit and day.
    """
    lines = [
        "# The suite of benchmarks",
        "",
        title,
        "Peak memory is that of a part's largest process; others: processor time taken by other programs just before.",
        "",
        "| part | seconds | peak MiB | others | |",
        "|---|---:|---:|---:|---|",
    ]
    sections = []
    for name in (n for n in PARTS if n in done):
        one = done[name]
        how = "**failed**" if one.failed else ""
        lines.append(f"| [{name}](#{name}) | {one.seconds:.0f} | {one.mib:.0f} | {one.others:.0%} | {how} |")
        sections += ["", f"<!-- part {json.dumps(asdict(one))} -->", f"## {name}", ""]
        if one.failed:
            sections += ["Failed:", "", "```", *one.failed.splitlines(), "```"]
        else:
            own = (pages / f"{name}.md").read_text(encoding="utf-8").rstrip()
            sections.append(re.sub(r"^(#+) ", r"##\1 ", own, flags=re.MULTILINE))
    return "\n".join([*lines, *sections]) + "\n"


def suite(names: Sequence[str], given: argparse.Namespace) -> dict[str, Outcome]:
    """Runs parts one after another, writing the gathered page after each."""
    # Others may commit while this runs: what is measured is called what it was at the start.
    at, title, folder = commit(), stamp(), QUICK if given.quick else given.results
    folder.mkdir(parents=True, exist_ok=True)
    slug = re.sub(r"[^a-z0-9]+", "-", f"{processor()} {cores()} cores".lower()).strip("-")
    page = folder / f"{slug}-{at.replace('+', '-changed')}.md"
    done = outcomes(page)
    known = at != "none" and not at.endswith("+") and not given.again
    for place, name in enumerate(names, 1):
        told = f"[{place}/{len(names)}] {name}"
        part = PARTS[name]
        chosen = part.quick if given.quick else part.words
        if chosen is None:
            print(f"{told}: no small scale", flush=True)
            continue
        if known and name in done and not done[name].failed and (folder / f"{name}.md").is_file():
            print(f"{told}: measured at this commit", flush=True)
            continue
        if "FLOW" in chosen and not given.flow.is_dir():
            done[name] = Outcome(name, 0, 0, 0, f"No flow pictures in {given.flow}; --flow FOLDER names them.")
        else:
            words = [str(given.flow) if word == "FLOW" else word for word in chosen]
            done[name] = run(name, words, folder, given.limit, ROOT / "runs" / "bench-logs" / f"{name}.log")
        one = done[name]
        how = f"FAILED: {one.failed.splitlines()[0]}" if one.failed else f"{one.seconds:.0f} s, {one.mib:.0f} MiB"
        print(f"{told}: {how}", flush=True)
        write_atomically(page, gathered(done, folder, title))
    print(page)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="every part on a small scale")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--again", action="store_true", help="measure what was measured at this commit, too")
    parser.add_argument("--flow", type=Path, default=FLOW, help="real flow pictures of the MEGC 2019 composite")
    parser.add_argument("--limit", type=float, default=7200, help="seconds a part may take")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    names = given.only or list(PARTS)
    done = suite(names, given)
    if not given.quick:
        # What is told from the results is told anew.
        for words in (["benchmarks_page.py"], ["cost_model.py", "--write"]):
            subprocess.run([sys.executable, str(ROOT / "tools" / words[0]), *words[1:]], cwd=ROOT, check=False)
    failed = [name for name in names if name in done and done[name].failed]
    if failed:
        raise SystemExit(f"{len(failed)} of {len(names)} parts failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
