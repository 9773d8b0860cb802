"""The generator: speed, memory, accuracy of its truth, and how like real flow pictures its own are.

python benchmarks/synthesis.py [--real FOLDER] [--pictures docs/pictures/synthesis] [--quick] [--out FILE]

Speed: frames of 300x245 in colour, sensor included, in one process and in two. Memory: peak of a process that writes
a corpus, for two sizes of it. Truth: classic_nl between onset and apex against the true flow. Likeness: each flow
picture is centred as `CENTRED_FLOW_PICTURE` does; compared are the mean sizes of u, v and strain at each pixel, by
class.
The labels of the real pictures serve this comparison alone; nothing in the generator was set by it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
from machine import commit, machine
from measure import arguments, publish
from numpy.typing import NDArray
from PIL import Image

from mien.datasets import open_specs
from mien.datasets.labels import samples
from mien.motion.flow import optical_flow
from mien.preprocessing.base import Context
from mien.preprocessing.steps import centre_and_scale, flow_picture
from mien.synthesis.acting import Manner, draw_micro, draw_span
from mien.synthesis.face import draw_identity
from mien.synthesis.flow_pictures import MEGC2019, flow_corpus
from mien.synthesis.puppet import clean_frames, film, puppet
from mien.synthesis.rig import motion
from mien.synthesis.sensor import Sensor
from mien.synthesis.timeline import Blink, Head, Timeline, movements_of, read_table

SIZE = (300, 245)
REGIONS = {"brows and forehead": (0, 6), "eyes": (6, 10), "nose and cheeks": (10, 17), "mouth and chin": (17, 28)}
"""Rows of a 28x28 picture."""

_WRITE = """
import sys
from pathlib import Path
from machine import peak_mib
from mien.synthesis.corpus import synthesise
made = synthesise("casme2", Path(sys.argv[1]), subjects=int(sys.argv[2]), clips=6, width=160, faces="photo")
print(made.n_frames, peak_mib())
"""


def filmed(seed: int) -> int:
    """Makes 200 frames of one micro-expression."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(seed)
    body = puppet(draw_identity(rng, "photo"), width=SIZE[1], height=SIZE[0])
    timeline = Timeline(200, 200, movements_of("6+12", onset=0, apex=40, offset=90, intensity=0.15))
    started = time.perf_counter()
    assert sum(1 for _ in film(body, timeline, Sensor(), rng)) == 200
    return int(1e6 * (time.perf_counter() - started))


def speed() -> list[str]:
    """Frames and pictures a second."""
    filmed(0)
    alone = 200 / (min(filmed(s) for s in (1, 2, 3)) / 1e6)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(filmed, (0, 1)))
        both = max(sum(200e6 / t for t in pool.map(filmed, pair)) for pair in ((2, 3), (4, 5)))
    started = time.perf_counter()
    flow_corpus(200, 1)
    exact = 200 / (time.perf_counter() - started)
    started = time.perf_counter()
    flow_corpus(12, 1, method="tvl1")
    measured = 12 / (time.perf_counter() - started)
    return [
        "| what | a second |",
        "|---|---:|",
        f"| frames of {SIZE[0]}x{SIZE[1]}, colour, one process | {alone:.0f} |",
        f"| the same, two processes | {both:.0f} |",
        f"| flow pictures, exact, one process | {exact:.0f} |",
        f"| flow pictures, rendered and measured with TV-L1, one process | {measured:.1f} |",
    ]


def memory(sizes: tuple[int, ...]) -> list[str]:
    """Peak of processes that write corpora of so many subjects."""
    lines = ["| subjects | frames | peak, MiB |", "|---:|---:|---:|"]
    for subjects in sizes:
        with tempfile.TemporaryDirectory() as folder:
            call = [sys.executable, "-c", _WRITE, f"{folder}/c", str(subjects)]
            done = subprocess.run(call, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
            frames, peak = done.stdout.split()
        lines.append(f"| {subjects} | {frames} | {float(peak):.0f} |")
    return lines


def truth() -> list[str]:
    """Mean end-point error of flow methods, without noise and with that of a camera."""
    lines = [
        "| action units | largest motion, px | classic_nl, no noise | with noise | TV-L1 |",
        "|---|---:|---:|---:|---:|",
    ]
    rng = np.random.default_rng(4)
    body = puppet(draw_identity(rng, "photo"), width=SIZE[1], height=SIZE[0], colour=False)
    for units in ("6+12", "4+7", "1+2+5", "15+17", "9", "25+26"):
        moves = movements_of(units, onset=0, apex=10, offset=20, intensity=0.2)
        timeline = Timeline(21, 200, moves, head=Head(0.003, 0.0005, 9, 0.001, 0.3, 1))
        moving = motion(body.rig, timeline)
        true, seen = moving.flow(10), moving.visible(10)
        seen[:8], seen[-8:], seen[:, :8], seen[:, -8:] = (False,) * 4
        pair = list(clean_frames(body, moving, np.array([0, 10])))
        noisy = [np.clip(f + rng.normal(0, 1.5, f.shape), 0, 255) for f in pair]
        errors = [
            float(np.linalg.norm(optical_flow(frames[0], frames[1], method) - true, axis=-1)[seen].mean())
            for frames, method in ((pair, "classic_nl"), (noisy, "classic_nl"), (noisy, "tvl1"))
        ]
        largest = float(np.linalg.norm(true, axis=-1).max())
        lines.append(f"| {units} | {largest:.2f} | " + " | ".join(f"{e:.3f}" for e in errors) + " |")
    return lines


def durations() -> list[str]:
    """Drawn lengths beside published ones."""
    rng = np.random.default_rng(0)
    spans = np.array([draw_span("micro", 200, rng) for _ in range(5000)]) / 200
    quantiles = [np.quantile(spans[:, i], (0.05, 0.5, 0.95)) for i in (0, 1)]
    lines = ["| seconds | low | middle | high | source |", "|---|---:|---:|---:|---|"]
    for name, (low, middle, high) in zip(("drawn, onset to apex", "drawn, onset to offset"), quantiles, strict=True):
        lines.append(f"| {name} (5, 50, 95 %) | {low:.3f} | {middle:.3f} | {high:.3f} | |")
    for each in read_table("published")["duration"]:
        lines.append(f"| {each['what']} | {each['low']:g} | | {each['high']:g} | {each['source']} |")
    apex = np.mean(spans[:, 0] / spans[:, 1])
    amplitudes = []
    for seed in range(60):
        timeline, _ = draw_micro(str(rng.choice(MEGC2019)), 200, np.random.default_rng(seed))
        amplitudes.append(max(m.intensity for m in timeline.movements))
    lines += [
        "",
        f"The apex lies {apex:.2f} of the way. Strongest unit of a clip: median {np.median(amplitudes):.3f} of its",
    ]
    lines += [
        f"greatest movement, 5 to 95 %: {np.quantile(amplitudes, 0.05):.3f} to {np.quantile(amplitudes, 0.95):.3f}."
    ]
    return lines


Maps = dict[str, NDArray[np.float64]]


def real_pictures(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The composite's pictures, centred, and their labels."""
    (dataset,) = open_specs([f"flow_images={folder}"])
    kept = samples(dataset.clips(), "megc2019")
    contexts = [Context(s.clip) for s in kept]
    pictures = [centre_and_scale(flow_picture(np.empty(0), c), c) for c in contexts]
    return np.stack(pictures), np.array([s.label for s in kept])


def mean_maps(pictures: NDArray[np.float32], labels: NDArray[np.int64]) -> Maps:
    """(3, 28, 28) mean size of u, v and strain for each class and for all; strain counted from its least value."""
    size = np.abs(pictures).astype(np.float64)
    size[:, 2] = pictures[:, 2] - pictures[:, 2].min((1, 2), keepdims=True)
    maps = {name: size[labels == k].mean(0) for k, name in enumerate(MEGC2019)}
    # The mean over classes, so that how often each occurs does not matter.
    maps["all"] = np.mean(list(maps.values()), axis=0)
    return maps


def likeness(sets: dict[str, Maps]) -> list[str]:
    """Correlation of maps with the real ones, and how much of the motion lies where."""
    real = sets["real"]
    lines = ["| | map | " + " | ".join(MEGC2019) + " | all |", "|---|---|---:|---:|---:|---:|"]
    for name, maps in sets.items():
        if name == "real":
            continue
        for c, channel in enumerate(("u", "v", "strain")):
            found = [np.corrcoef(maps[k][c].ravel(), real[k][c].ravel())[0, 1] for k in (*MEGC2019, "all")]
            lines.append(f"| {name} | {channel} | " + " | ".join(f"{x:.2f}" for x in found) + " |")
    lines += ["", "Share of the squared mean motion (u and v) by rows of the face:", ""]
    lines += ["| | class | " + " | ".join(REGIONS) + " |", "|---|---|" + "---:|" * len(REGIONS)]
    for name, maps in sets.items():
        for k in (*MEGC2019, "all"):
            energy = (maps[k][:2] ** 2).sum(0)
            parts = [energy[a:b].sum() / energy.sum() for a, b in REGIONS.values()]
            lines.append(f"| {name} | {k} | " + " | ".join(f"{x:.2f}" for x in parts) + " |")
    return lines


def draw_maps(sets: dict[str, Maps], path: Path) -> None:
    """The maps side by side: one row per class, real first."""
    figure, axes = plt.subplots(len(MEGC2019), 3 * len(sets), figsize=(1.45 * 3 * len(sets), 4.9), layout="constrained")
    for row, k in zip(axes, MEGC2019, strict=True):
        for j, (name, maps) in enumerate(sets.items()):
            for c, channel in enumerate(("|u|", "|v|", "strain")):
                axis = row[3 * j + c]
                axis.imshow(maps[k][c], cmap="magma", vmin=0)
                axis.set_xticks([])
                axis.set_yticks([])
                if k == MEGC2019[0]:
                    axis.set_title(f"{name}\n{channel}" if c == 1 else f"\n{channel}", fontsize=9)
                if not j and not c:
                    axis.set_ylabel(k, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_clips(folder: Path) -> None:
    """Short animated clips: three sources of faces, micro and magnified to full strength, and the true flow."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed, source in ((4, "photo"), (11, "photo"), (1, "head"), (3, "drawn")):
        rng = np.random.default_rng(seed)
        body = puppet(draw_identity(rng, source), width=170, height=208)
        rows.append([next(clean_frames(body, motion(body.rig, Timeline(2, 50)), np.array([0])))])
    people = np.hstack([np.clip(r[0], 0, 255) for r in rows]).astype(np.uint8)
    Image.fromarray(people).save(folder / "people.png")
    for name, units in (("happiness", "6+12"), ("surprise", "1+2+5"), ("disgust", "4+9"), ("sadness", "1+4+15")):
        rng = np.random.default_rng(4)
        body = puppet(
            draw_identity(rng, "photo" if name in ("happiness", "disgust") else "head"), width=170, height=208
        )
        panes = []
        for intensity, kind in ((0.2, "micro"), (0.85, "macro")):
            moves = movements_of(units, onset=4, apex=16, offset=34, intensity=intensity, kind=kind)
            timeline = Timeline(40, 60, moves, (Blink(34, 36, 39, 0.9),) if kind == "macro" else (), head=Head(seed=2))
            panes.append([np.clip(f, 0, 255) for f in clean_frames(body, motion(body.rig, timeline), np.arange(40))])
        frames = [Image.fromarray(np.hstack(pair).astype(np.uint8)) for pair in zip(*panes, strict=True)]
        frames[0].save(
            folder / f"{name}.webp", save_all=True, append_images=frames[1:], duration=40, loop=0, quality=60
        )


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--real", type=Path, help="the MEGC 2019 composite as flow pictures")
    parser.add_argument("--pictures", type=Path, help="folder for the pictures of the documentation")
    parser.add_argument("--quick", action="store_true", help="a tenth of the pictures")
    given = parser.parse_args()
    n = (600, 60) if given.quick else (6000, 600)
    text = ["# The generator", "", f"{machine()}; commit {commit()}. `python benchmarks/synthesis.py`", ""]
    text += ["## Speed", "", *speed(), "", "## Memory does not grow with the corpus", "", *memory((1, 4)), ""]
    text += ["## The truth is true: mean error in pixels at 300x245", "", *truth(), ""]
    text += ["## Lengths and strengths", "", *durations(), ""]
    sets: dict[str, Maps] = {}
    if given.real:
        sets["real"] = mean_maps(*real_pictures(given.real))
    for name, method, count in (("exact", "exact", n[0]), ("measured", "tvl1", n[1])):
        made = flow_corpus(count, 7, method=method, manner=Manner(), jobs=2)
        sets[name] = mean_maps(made.pictures(centred=True), made.labels)
    if given.real:
        text += ["## Where faces move: made pictures against the MEGC 2019 composite", ""]
        text += [
            f"{n[0]} exact and {n[1]} measured pictures (TV-L1). Correlation over the 784 pixels of the mean maps:"
        ]
        text += ["", *likeness(sets), ""]
    if given.pictures:
        if given.real:
            draw_maps(sets, given.pictures / "maps.png")
        draw_clips(given.pictures)
    publish(text, given.out)


if __name__ == "__main__":
    main()
