"""How time and memory grow with frames and pixels, and those of training with clips, folds and workers.

python benchmarks/growth.py [--quick] [--out FILE]
python benchmarks/growth.py --draw benchmarks/results/growth.md     the pictures anew, from a page's figures

Each point runs in a process of its own, so that its peak memory is its own; with --out pictures are drawn beside it.
Training is STSTNet's, 40 passes, through `benchmark`: preparing, folds side by side, the ledger. Folds are whole
subjects, so that the number of clips stays the same while that of the folds grows.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from machine import cores, peak_mib, stamp, taken_by_others
from measure import alone, arguments, publish
from tables import number, tables

PARTS = ("decoding", "face and landmarks", "magnification", "classic_nl", "time to 30 frames")
FRAMES = (50, 100, 200, 400)
SIZES = ((150, 122), (300, 245), (600, 490))
EPOCHS = 40
BUSY = 0.2
"""Share of the processor that other programs may take while workers are measured."""
# Clips, folds, workers. The largest number of workers is more than most laptops have cores.
TRAININGS = {
    "clips": tuple((n, 4, 1) for n in (48, 96, 192, 384)),
    "folds": tuple((96, n, 1) for n in (2, 4, 8, 16)),
    "workers": tuple((96, 16, n) for n in (1, 2, 4)),
}


def work(part: str, frames: int, height: int, width: int, folder: Path) -> tuple[Callable[[], object], int]:
    """What to time, and for how many frames (or pairs) it stands."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
    if part == "decoding":
        from mien.io.video import open_video, write_video

        film = write_video(folder / "film.mp4", (np.roll(noise, n, 1) for n in range(frames)), 100)
        return lambda: sum(1 for _ in open_video(film).frames()), frames
    if part == "face and landmarks":
        import cv2

        from mien.face.landmarks import track_face
        from mien.face.portrait import portrait

        face = cv2.resize(portrait(), (width, height))
        return lambda: track_face(np.roll(face, n % 3, 1) for n in range(frames)), frames
    if part == "magnification":
        from mien.motion.magnify import Magnifier

        def magnified() -> None:
            magnifier = Magnifier(height, width, True)
            for n in range(frames):
                magnifier.push(np.roll(noise, n, 1))

        return magnified, frames
    if part == "classic_nl":
        from mien.motion.classic_nl import classic_nl
        from mien.synthesis.moving_pairs import moving_pair

        pair = moving_pair("smooth", height=height, width=width)
        n = max(1, frames // 50)
        return lambda: classic_nl(np.stack([pair.first] * n), np.stack([pair.second] * n)), n
    from mien.motion.interpolate import resample

    clip = np.stack([np.roll(noise, n, 1) for n in range(frames)])
    return lambda: resample(clip, 30), frames


def point(part: str, frames: int, height: int, width: int) -> None:
    """Prints median seconds, count and MiB of one point; the first call warms up."""
    with tempfile.TemporaryDirectory() as folder:
        run, n = work(part, frames, height, width, Path(folder))
        run()
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
    print(statistics.median(seconds), n, peak_mib())


def training(clips: int, folds: int, workers: int, turns: int) -> None:
    """Prints median seconds of a whole run, mean processor seconds of this process, and MiB of all together.

    The first run starts the workers and does not count.
    """
    from joblib.externals.loky import get_reusable_executor

    from mien.datasets import open_dataset
    from mien.evaluation.run import benchmark
    from mien.synthesis.flow_images import write_flow_images

    seconds, worked = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "pictures"
        write_flow_images(data, subjects=clips // 3, clips_per_subject=3)
        for turn in range(turns + 1):
            if turn == 1:
                worked = -time.process_time()
            began = time.perf_counter()
            benchmark(
                [open_dataset("flow_images", data)],
                "ststnet",
                Path(folder) / f"run{turn}",
                protocol="kfold_subject",
                protocol_parameters={"k": folds},
                parameters={"epochs": EPOCHS},
                jobs=workers,
            )
            if turn:
                seconds.append(time.perf_counter() - began)
    worked += time.process_time()
    children = 0.0
    if workers > 1:
        get_reusable_executor().shutdown(wait=True)  # Only those that ended are counted.
        children = workers * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(statistics.median(seconds), worked / turns, peak_mib() + children)


def trained(clips: int, folds: int, workers: int, spent: float, worked: float, memory: float) -> str:
    """A row of the second table; processor time is told of one worker, which starts no other process."""
    each = 1000 * worked / (clips * (folds - 1) * EPOCHS)
    own = (f"{worked:.2f}", f"{each:.3f}") if workers == 1 else ("-", "-")
    return f"| ststnet | {clips} | {folds} | {workers} | {spent:.2f} | {own[0]} | {memory:.0f} | {own[1]} |"


def draw(page: Path) -> None:
    """Pictures of a page's tables, beside it."""
    parts, whole = tables(page.read_text(encoding="utf-8"))
    rows = []
    for part, n, size, seconds, _, memory in parts.rows:
        height, width = map(int, size.split("x"))
        rows.append((part, int(n), height, width, number(seconds), number(memory)))
    draw_parts(rows, page.with_suffix(".png"))
    runs = []
    for _, clips, folds, workers, seconds, worked, memory, _ in whole.rows:
        point = (int(clips), int(folds), int(workers))
        runs.append((point, number(seconds), number(worked) if worked != "-" else 0.0, number(memory)))
    draw_training(runs, page.with_name(f"{page.stem}_training.png"))


def draw_parts(rows: Sequence[tuple[str, int, int, int, float, float]], path: Path) -> None:
    """Time and memory of the chain's parts against frames and against pixels."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=(10, 5.6), dpi=130, layout="constrained")
    axes = figure.subplots(2, 2, sharex="col")
    for part in dict.fromkeys(r[0] for r in rows):
        by_frames = sorted(r for r in rows if r[0] == part and r[2:4] == (300, 245))
        least = min(r[1] for r in by_frames)
        # Two pairs of classic_nl stand for 100 frames.
        middle = 2 * least
        by_size = sorted((r for r in rows if r[0] == part and r[1] == middle), key=lambda r: r[2])
        for column, some in enumerate((by_frames, by_size)):
            x = [r[1] / least if column == 0 else r[2] * r[3] for r in some]
            axes[0, column].plot(x, [r[4] for r in some], "-o", ms=3.5, lw=1.3, label=part)
            axes[1, column].plot(x, [r[5] for r in some], "-o", ms=3.5, lw=1.3, label=part)
    pixels = sorted({r[2] * r[3] for r in rows})
    along = (
        ((1, 2, 4, 8), "times as many frames of 300x245; 1 is 50 frames, or 1 pair for classic_nl"),
        (
            pixels,
            "pixels a frame; 100 frames, or 2 pairs for classic_nl",
        ),
    )
    for column, (ticks, label) in enumerate(along):
        for row, what in enumerate(("seconds", "peak memory, MiB")):
            panel = axes[row, column]
            panel.set_xscale("log")
            panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
            panel.xaxis.set_minor_locator(NullLocator())
            panel.tick_params(labelsize=7.5)
            panel.grid(axis="y", lw=0.4, alpha=0.5)
            panel.spines[["top", "right"]].set_visible(False)
            if row == 0:
                panel.set_yscale("log")
                panel.set_yticks([0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"])
                panel.yaxis.set_minor_locator(NullLocator())
                panel.set_ylim(0.008, 10)
            else:
                panel.set_ylim(0)
                panel.set_xlabel(label, fontsize=8)
            if column == 0:
                panel.set_ylabel(what, fontsize=8)
    axes[0, 1].legend(fontsize=7.5, frameon=False, ncols=3, loc="upper left")
    figure.savefig(path, metadata={"Software": None})


Run = tuple[tuple[int, int, int], float, float, float]
"""Clips, folds and workers; seconds, processor seconds of one worker, MiB."""


def draw_training(runs: Sequence[Run], path: Path) -> None:
    """Processor seconds against clips and folds, seconds against workers where they were measured, and memory."""
    from matplotlib.figure import Figure

    there = {what: [r for r in runs if r[0] in points] for what, points in TRAININGS.items()}
    there = {what: some for what, some in there.items() if len(some) > 1}
    labels = {
        "clips": "clips, 4 folds, 1 worker",
        "folds": "folds, 96 clips, 1 worker",
        "workers": f"workers on {cores()} cores, 16 folds, 96 clips",
    }
    figure = Figure(figsize=(3.4 * len(there), 2.9), dpi=130, layout="constrained")
    for panel, (what, some) in zip(figure.subplots(1, len(there)), there.items(), strict=True):
        n = list(TRAININGS).index(what)
        some = sorted(some)
        x, memory = [r[0][n] for r in some], [r[3] for r in some]
        seconds = [r[1] if what == "workers" else r[2] for r in some]
        # Work in proportion, from the last point: clips and folds less one; workers share what one does.
        amount = [v - (what == "folds") for v in x]
        share = [seconds[0] / v if what == "workers" else seconds[-1] * v / amount[-1] for v in amount]
        panel.plot(x, share, ":", lw=1.1, color="#888", label="in proportion")
        panel.plot(x, seconds, "-o", ms=3.5, lw=1.3, color="#2563eb")
        panel.set_xlim(0, 1.04 * x[-1])
        panel.set_xticks(x, [f"{v:g}" for v in x])
        panel.set_xlabel(labels[what], fontsize=8)
        panel.set_ylim(0)
        panel.set_ylabel("seconds" if what == "workers" else "processor seconds", fontsize=8, color="#2563eb")
        other = panel.twinx()
        other.plot(x, memory, "--s", ms=3, lw=1.1, color="#d64832")
        other.set_ylim(0, 1.3 * max(memory))
        other.set_ylabel("MiB of all processes", fontsize=8, color="#d64832")
        for each in (panel, other):
            each.tick_params(labelsize=7.5)
            each.spines["top"].set_visible(False)
        panel.legend(fontsize=7, frameon=False, loc="lower right")
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="the fewest frames and clips")
    parser.add_argument("--draw", type=Path)
    parser.add_argument("--point", nargs=4)
    parser.add_argument("--train", nargs=4, type=int)
    given = parser.parse_args()
    if given.point:
        point(given.point[0], *(int(v) for v in given.point[1:]))
        return
    if given.train:
        training(*given.train)
        return
    if given.draw:
        draw(given.draw)
        return
    turns = 1 if given.quick else 3
    lines = [
        "# How cost grows",
        "",
        stamp(),
        "Medians of 3; peak memory is that of the whole process, imports included.",
        "",
        "| part | frames | size | seconds | per second | peak MiB |",
        "|---|---|---|---|---|---|",
    ]
    sizes = [] if given.quick else [(100, h, w) for h, w in SIZES if h != 300]
    few = 2 if given.quick else 4
    for part in PARTS:
        for frames, height, width in [(n, 300, 245) for n in FRAMES[:few]] + sizes:
            spent, count, memory = alone(__file__, "--point", part, frames, height, width)
            seconds, n = float(spent), int(count)
            cells = f"{part} | {n} | {height}x{width} | {seconds:.3f} | {n / seconds:.1f} | {float(memory):.0f}"
            lines.append(f"| {cells} |")
            print(lines[-1], file=sys.stderr, flush=True)
    taken = taken_by_others()
    # Folds side by side on cores that others use say nothing about folds side by side.
    asked = [what for what in TRAININGS if what != "workers" or taken < BUSY]
    lines += [
        "",
        f"Whole runs of STSTNet, {EPOCHS} passes, on made flow pictures of 28x28, median of {turns}; memory of all "
        f"processes together; other programs took {taken:.0%} of the processor before"
        + ("." if "workers" in asked else ": several workers are to be measured on an idle machine."),
        "",
        "| training | clips | folds | workers | seconds | processor s | MiB | processor ms per clip and pass |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for clips, folds, workers in dict.fromkeys(p for what in asked for p in TRAININGS[what][:few]):
        wall, worked, most = map(float, alone(__file__, "--train", clips, folds, workers, turns))
        lines.append(trained(clips, folds, workers, wall, worked, most))
        print(lines[-1], file=sys.stderr, flush=True)
    if given.out:
        name = given.out.stem
        lines += ["", f"![parts]({name}.png)", "", f"![training]({name}_training.png)"]
    publish(lines, given.out)
    if given.out:
        draw(given.out)


if __name__ == "__main__":
    main()
