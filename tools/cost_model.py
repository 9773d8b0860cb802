"""What large work would take: hours of video, and a grid of studies, in core-hours, GPU-hours, memory and disk.

python tools/cost_model.py            the tables
python tools/cost_model.py --write    puts them into docs/notebook/scale.md

Coefficients are in cost_model.toml: those measured are read from the pages of results, the others are estimates with
their reason. Every table says which is which.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from tables import find, number, path_of, search

from mien.datasets.base import card
from mien.systems import SYSTEMS

HERE = Path(__file__).resolve().parent
DOC = HERE.parent / "docs" / "notebook" / "scale.md"
HOURS = (10, 1_000, 100_000)
GPUS = (1, 8, 64)
FACTOR = 1.5
"""A prediction may miss a recorded run by this much."""


@dataclass(frozen=True, slots=True)
class Coefficient:
    """One number of the model.

    Attributes:
        value: In the unit that its name says.
        measured: Whether a page of results has it, for this very thing.
        source: The page, or what the estimate rests on.
    """

    value: float
    measured: bool
    source: str


def read(entry: Mapping[str, Any]) -> Coefficient:
    """A coefficient from its line in the file.

    Raises:
        LookupError: The page has no such cell.
    """
    if "value" in entry:
        return Coefficient(entry["value"], False, entry["why"])
    page = entry["page"]
    text = search(page, entry["pattern"]) if "pattern" in entry else find(page, entry["row"], entry["column"])
    value = (number(text) - entry.get("minus", 0)) * entry.get("times", 1)
    if "inverse" in entry:
        value = entry["inverse"] / value
    source = f"[{page}](../../{path_of(page).relative_to(HERE.parent).as_posix()})"
    if "guess" in entry:
        source += f", {entry['guess']}"
    return Coefficient(value, "guess" not in entry, source)


@cache
def settings() -> Mapping[str, Any]:
    """The file as it is."""
    with (HERE / "cost_model.toml").open("rb") as file:
        return tomllib.load(file)


def coefficient(part: str, name: str) -> float:
    """A coefficient by its place in the file."""
    return read(settings()[part][name]).value


@dataclass(frozen=True, slots=True)
class Study:
    """A system under some protocols, on some databases, with some seeds.

    Attributes:
        trainings: Folds times seeds.
        samples: Clips times copies times passes, over all of them; 0 for a system without a network.
        longest: Samples of the longest fold.
        train_hours: Of one core, with all passes.
        gpu_hours: Of one GPU.
        longest_hours: Of the longest fold, alone on a GPU; on a core for a system without a network.
        prepare_hours: Of one core, once for each clip.
        cache: Bytes of prepared inputs.
        rows: Rows of the ledgers.
    """

    trainings: int
    samples: float
    longest: float
    train_hours: float
    gpu_hours: float
    longest_hours: float
    prepare_hours: float
    cache: float
    rows: int


def n_folds(protocol: str, clips: int, subjects: int) -> int:
    """Folds of a protocol."""
    return {"loso": subjects, "lovo": clips, "lovo5": min(clips, 20), "kfold_subject": 5}[protocol]


def samples_of(name: str, clips: float) -> float:
    """Samples that a fold of so many training clips trains on, all passes and members together."""
    system, p = chosen(name)
    recipe = system.recipe("flow" if name in ("strcn-g", "ststnet") else "frames", p)
    copies = (recipe.shape[0] or 1) if recipe.axes.startswith("K") else 1
    mirrored = 2 if getattr(p, "mirror", False) else 1
    return float(clips * copies * mirrored * p.epochs * getattr(p, "members", 1))


def chosen(name: str) -> tuple[Any, Any]:
    """A system and its parameters, from "strcn-g" or "strcn-g preset=paper"."""
    system, _, preset = name.partition(" preset=")
    return SYSTEMS[system], SYSTEMS[system].with_parameters({"preset": preset} if preset else {})


def clip_hours(name: str, fps: float) -> float:
    """Core-hours to prepare one clip: face, alignment, magnification, flow, descriptor."""
    own = settings()["systems"][name]
    frames = fps * coefficient("prepare", "clip_seconds")
    each = coefficient("prepare", "face_ms") + coefficient("prepare", "align_ms")
    if own.get("magnified"):
        each += coefficient("prepare", "magnify_ms")
    spent = frames * each
    if "flows" in own:
        spent += own["pairs"] * coefficient("prepare", f"{own['flows']}_ms")
    if "descriptor" in own:
        spent += coefficient("prepare", "descriptor_scale") * number(
            find("descriptors", own["descriptor"], "ms, one thread")
        )
    return float(spent / 3.6e6)


def study(name: str, databases: Sequence[str], protocols: Sequence[str], seeds: int) -> Study:
    """What a system costs over databases, protocols and seeds."""
    system, p = chosen(name)
    own = settings()["systems"][name]
    recipe = system.recipe("frames", p)
    size = math.prod(n or 1 for n in recipe.shape) * {"float32": 4, "float16": 2, "uint8": 1}[recipe.dtype]
    cards = [c for d in databases if (c := card(d)).colour or name != "lbp-tics"]
    trainings, samples, longest, rows = 0, 0.0, 0.0, 0
    for one in cards:
        clips, subjects = one.expected["clips"], one.expected["subjects"]
        for protocol in protocols:
            folds = n_folds(protocol, clips, subjects)
            trainings += folds * seeds
            rows += clips * seeds
            if "rate" in own:
                # Every clip is in all folds but its own.
                samples += seeds * samples_of(name, clips * (folds - 1))
                longest = max(longest, samples_of(name, clips))
    prepare = sum((one.expected["clips"] * clip_hours(name, one.fps or 0) for one in cards), 0.0)
    cache = sum(one.expected["clips"] for one in cards) * size
    if "rate" not in own:
        fit = read(own["fit"]).value / 3600
        return Study(trainings, 0, 0, trainings * fit, 0, fit, prepare, cache, rows)
    flops, launch = coefficient("gpu", "flops") * coefficient("gpu", "share"), coefficient("gpu", "launch_us") * 1e-6
    computing = read(own["gflop"]).value * 1e9 / flops
    starting = read(own["launches"]).value * launch / p.batch_size
    shared = max(computing, starting / coefficient("gpu", "side_by_side"))
    return Study(
        trainings,
        samples,
        longest,
        samples / read(own["rate"]).value / 3600,
        samples * shared / 3600,
        longest * max(computing, starting) / 3600,
        prepare,
        cache,
        rows,
    )


def time(hours: float) -> str:
    """Hours as people say them."""
    for limit, unit, scale in ((1 / 30, "s", 3600), (2, "min", 60), (72, "h", 1), (24 * 365, "days", 1 / 24)):
        if hours < limit:
            return f"{three(hours * scale)} {unit}"
    return f"{three(hours / 24 / 365)} years"


def size(amount: float) -> str:
    """Bytes as people say them."""
    for limit, unit in ((1e6, "kB"), (1e9, "MB"), (1e12, "GB"), (1e15, "TB")):
        if amount < limit:
            return f"{three(amount * 1000 / limit)} {unit}"
    return f"{three(amount / 1e15)} PB"


def three(value: float) -> str:
    """Two digits and thousands: more would say what is not known."""
    if value <= 0:
        return "0"
    rounded = round(value, 1 - math.floor(math.log10(value)))
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:.2g}"


def rows(*lines: Sequence[object]) -> str:
    """A table; the first line is the head."""
    head, *rest = ([str(cell) for cell in line] for line in lines)
    marks = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, marks, *rest))


def video_core_hours(hours: float) -> float:
    """Core-hours for so many hours of film."""
    return hours * coefficient("video", "frames_per_second") * coefficient("video", "ms_per_frame") / 1000


def video_table() -> str:
    lines: list[Sequence[object]] = [
        ("hours of film", "core-hours", "2 cores", "64 cores", "1,024 cores", "memory, 64 cores",
         "film on disk", "answers", "intervals", "to look at them all")
    ]  # fmt: skip
    found = coefficient("video", "false_per_hour") + coefficient("video", "true_per_hour")
    for hours in HOURS:
        core = video_core_hours(hours)
        intervals = hours * found
        lines.append(
            (
                f"{hours:,}",
                three(core),
                time(hours / coefficient("video", "real_time")),
                time(core / 64),
                time(core / 1024),
                size(64 * coefficient("video", "process_mib") * 2**20),
                size(hours * 3600 * coefficient("video", "mbit_per_second") * 1e6 / 8),
                size(intervals * coefficient("video", "kb_per_interval") * 1000),
                three(intervals),
                time(intervals * coefficient("video", "review_seconds") / 3600),
            )
        )
    return rows(*lines)


def grids() -> dict[str, list[str]]:
    """Names of the systems of each grid: at their defaults, and in the sizes that papers print."""
    names = list(settings()["systems"])
    return {"defaults": [n for n in names if " " not in n], "as printed": [n for n in names if " " in n]}


def studied(name: str) -> Study:
    grid = settings()["grid"]
    return study(name, grid["databases"], grid["protocols"], grid["seeds"])


def systems_table() -> str:
    lines: list[Sequence[object]] = [
        ("system", "trainings", "clips prepared in", "trained on 2 cores in", "rate", "on one GPU in",
         "longest fold there", "cache")
    ]  # fmt: skip
    for name in (n for names in grids().values() for n in names):
        own, s = settings()["systems"][name], studied(name)
        source = read(own.get("rate") or own["fit"])
        lines.append(
            (
                name,
                f"{s.trainings:,}",
                time(s.prepare_hours / 2),
                time(s.train_hours / 2),
                "measured" if source.measured else "estimate",
                time(s.gpu_hours) if s.samples else "-",
                time(s.longest_hours) if s.samples else "-",
                size(s.cache),
            )
        )
    return rows(*lines)


@dataclass(frozen=True, slots=True)
class Total:
    """A whole grid: hours on each kind of machine, and bytes."""

    trainings: int
    cores_2: float
    gpus: Mapping[int, float]
    cache: float
    ledgers: float


def total(names: Sequence[str]) -> Total:
    """Sums over systems; nothing is faster than the longest fold."""
    studies = [studied(n) for n in names]
    cores = coefficient("gpu", "cores")
    gpu = sum(s.gpu_hours for s in studies)
    hosts = sum(s.prepare_hours + (0 if s.samples else s.train_hours) for s in studies)
    longest = max(s.longest_hours for s in studies)
    trainings = sum(s.trainings for s in studies)
    return Total(
        trainings,
        sum(s.train_hours + s.prepare_hours for s in studies) / 2,
        {n: max(gpu / n, hosts / (cores * n), longest) for n in GPUS},
        sum(s.cache for s in studies),
        sum(s.rows for s in studies) * coefficient("disk", "ledger_row") + trainings * coefficient("disk", "fold_log"),
    )


def grid_table() -> str:
    lines: list[Sequence[object]] = [
        ("grid", "systems", "trainings", "2 cores", *(f"{n} GPU{'s' if n > 1 else ''}" for n in GPUS), "cache",
         "ledgers and logs", "memory, 2 cores")
    ]  # fmt: skip
    for grid, names in grids().items():
        t = total(names)
        worker = coefficient("disk", "worker_mib")
        memory = size(2 * 2**20 * (worker if grid == "defaults" else worker + coefficient("disk", "large_mib")))
        lines.append(
            (grid, len(names), f"{t.trainings:,}", time(t.cores_2), *(time(t.gpus[n]) for n in GPUS), size(t.cache),
             size(t.ledgers), memory)
        )  # fmt: skip
    return rows(*lines)


@dataclass(frozen=True, slots=True)
class Check:
    """A run that was recorded, beside what the model says of it."""

    what: str
    predicted: float
    recorded: float

    @property
    def ratio(self) -> float:
        return self.predicted / self.recorded


def checks() -> list[Check]:
    """Runs whose time gave no coefficient.

    The film of the page's benchmark (`results/serve.md`) is not among them: its face is small and still, and
    `recognise` skips most searches in such a film, so that it takes half of what the model says.
    """

    def run(name: str) -> Check:
        clips, folds, seeds = (int(find("recorded_runs", f"{name} / loso", c)) for c in ("clips", "folds", "seeds"))
        samples = seeds * samples_of(name, clips * (folds - 1))
        seconds = samples / read(settings()["systems"][name]["rate"]).value
        recorded = number(find("recorded_runs", f"{name} / loso", "seconds of all folds"))
        return Check(f"{name}, {folds} folds of {clips} clips, seeds: {seeds}", seconds, recorded)

    film = number(find("recognise", "recognise / 1800", "film, s"))
    factor = number(find("recognise", "recognise / 1800", "by processor time of one core"))
    return [
        run("strcn-g"),
        Check(f"`mien recognise`, a film of {film:.0f} s", 3600 * video_core_hours(film / 3600), film / factor),
    ]


def seconds(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def checks_table() -> str:
    return rows(
        ("recorded run", "predicted, s", "recorded, s", "predicted / recorded"),
        *((c.what, seconds(c.predicted), seconds(c.recorded), f"{c.ratio:.2f}") for c in checks()),
    )


def coefficients_table() -> str:
    """Every coefficient outside the systems, with its source."""
    lines: list[Sequence[object]] = [("coefficient", "value", "", "from")]
    for part in ("video", "gpu", "prepare", "disk"):
        for name, entry in settings()[part].items():
            c = read(entry)
            value = f"{c.value:.3g}" if c.value < 1e6 else f"{c.value:.2e}"
            lines.append((f"{part}: {name}", value, "measured" if c.measured else "estimate", c.source))
    return rows(*lines)


def gpu_table() -> str:
    """How much of recognising a film its networks take: all that a GPU could take over."""
    frame = coefficient("video", "ms_per_frame") * coefficient("video", "frames_per_second")
    networks = coefficient("video", "looks_per_second") * coefficient("prepare", "face_ms")
    return rows(
        ("one second of film", "ms of one core"),
        ("all", f"{frame:,.0f}"),
        ("face networks", f"{networks:,.0f}"),
        ("faster at the most, if a GPU did these in no time", f"{frame / (frame - networks):.2f} times"),
    )


TABLES = {
    "video": video_table,
    "gpu": gpu_table,
    "grid": grid_table,
    "systems": systems_table,
    "checks": checks_table,
    "coefficients": coefficients_table,
}


def filled(doc: str) -> str:
    """The document with every table made anew between its marks."""

    def made(found: re.Match[str]) -> str:
        return f"<!-- table: {found[1]} -->\n\n{TABLES[found[1]]()}\n\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->.*?<!-- end -->", made, doc, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into docs/notebook/scale.md")
    if parser.parse_args().write:
        DOC.write_text(filled(DOC.read_text(encoding="utf-8")), encoding="utf-8")
        print(DOC)
        return
    for name, table in TABLES.items():
        print(f"## {name}\n\n{table()}\n")


if __name__ == "__main__":
    main()
