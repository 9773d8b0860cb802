"""Preparing a database for STRCN end to end, against the plain chain of OpenCV calls that one would write.

python benchmarks/prepare.py [--subjects 2] [--clips 1] [--widths 320 640] [--turns 5] [--out FILE]

A synthetic database is written and prepared as `mien prepare` does it: files read, landmarks, crop, magnification, flow
or frames, `.npy` written. The plain chain reads the same files by `cv2.imread`, finds the landmarks in the first frame
with the same network, cuts out the rectangle of equation 1 by slicing and `cv2.resize`, magnifies frame by frame with
OpenCV's pyramid steps, once for each factor, and makes the same copies: flow by OpenCV's TV-L1 for each, or frames
interpolated by NumPy. STRCN-A is also prepared from frames of the second width. Both chains prepare each clip in turn,
on one thread; seconds are of the processor. Then both prepare the whole database in two processes. Presets: `cpu`, the
default on frames, with 6 or 8 copies of a clip, and `paper` with the 50 of the paper, for which one clip is prepared
once by STRCN-G.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import stamp
from magnify import opencv_magnify
from measure import arguments, publish
from numpy.typing import NDArray

from mien.face.crop import crop_box
from mien.face.detect import detect_faces
from mien.face.landmarks import ibug68
from mien.face.mesh import find_mesh, square_of_face, square_of_points
from mien.preprocessing.prepare import clips_of, prepare, prepare_clip
from mien.synthesis.corpus import synthesise
from mien.systems import system
from mien.systems.strcn_a import StrcnAParameters
from mien.systems.strcn_g import StrcnGParameters
from mien.types import Clip

HEIGHT, WIDTH = 300, 245

Bytes = NDArray[np.uint8]
Chain = Callable[[Clip, Any], NDArray[Any]]


def faces(clip: Clip) -> Bytes:
    """The frames from onset to offset, cut to the face."""
    assert clip.interval is not None
    wanted = range(clip.interval.onset, clip.interval.offset + 1)
    files = [str(file) for file, number in zip(clip.frames, clip.frame_nos, strict=True) if number in wanted]
    frames = [cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB) for file in files]
    face = detect_faces([frames[0]], small=False)[0][0]
    square = square_of_face(face)
    for _ in range(3):
        points, _ = find_mesh([frames[0]], [square])
        square = square_of_points(points[0])
    box = crop_box(ibug68(points[0])[36:48].reshape(2, 6, 2).mean(1))
    x, y = max(0, round(box.x)), max(0, round(box.y))
    rows, columns = slice(y, round(box.y + box.height)), slice(x, round(box.x + box.width))
    return np.stack([cv2.resize(frame[rows, columns], (WIDTH, HEIGHT)) for frame in frames])


def kept(length: int, share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Which frames a copy keeps: the first, and others at random."""
    if share == 1:
        return np.arange(length)
    others = rng.choice(np.arange(1, length), round(share * length) - 1, replace=False)
    return np.sort(np.append(others, 0))


def plain_g(clip: Clip, p: StrcnGParameters) -> NDArray[Any]:
    """(K, 2, H, W): flow from onset to apex of each copy; the apex is where the frame differs most from the first."""
    clear, rng, copies = faces(clip), np.random.default_rng(0), []
    for alpha in p.alphas:
        magnified = opencv_magnify(clear, alpha)
        grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in magnified])
        for share in p.shares:
            some = grey[kept(len(grey), share, rng)]
            apex = int(np.argmax([(frame.astype(np.float32) - some[0]).std() for frame in some]))
            flow = cv2.optflow.DualTVL1OpticalFlow_create().calc(some[0], some[max(1, apex)], None)
            copies.append(cv2.resize(flow, p.size[::-1], interpolation=cv2.INTER_AREA).transpose(2, 0, 1))
    return np.stack(copies)


def plain_a(clip: Clip, p: StrcnAParameters) -> NDArray[Any]:
    """(K, 30, 64, 48, 3): thirty frames of each copy, interpolated over time."""
    clear, rng, copies = faces(clip), np.random.default_rng(0), []
    for alpha in p.alphas:
        magnified = opencv_magnify(clear, alpha)
        small = np.stack([cv2.resize(frame, p.size[::-1], interpolation=cv2.INTER_AREA) for frame in magnified])
        for share in p.shares:
            some = small[kept(len(small), share, rng)].astype(np.float32)
            place = np.linspace(0, len(some) - 1, p.frames)
            below = np.minimum(place.astype(int), len(some) - 2)
            part = (place - below)[:, None, None, None]
            copies.append(np.round((1 - part) * some[below] + part * some[below + 1]).astype(np.uint8))
    return np.stack(copies)


def one_thread() -> None:
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def plain_file(chain: Chain, clip: Clip, parameters: Any, out: Path) -> tuple[int, ...]:
    one_thread()
    array = chain(clip, parameters)
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / f"{clip.subject}-{clip.name}.npy", array)
    return array.shape


WAYS: dict[str, tuple[str, dict[str, str], Chain]] = {
    "STRCN-G, its own flow (classic_nl_published)": ("strcn-g", {}, plain_g),
    "STRCN-G, flow by TV-L1 as in the plain chain": ("strcn-g", {"flow": "tvl1"}, plain_g),
    "STRCN-A": ("strcn-a", {}, plain_a),
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--subjects", type=int, default=2)
    parser.add_argument("--clips", type=int, default=1, help="of each subject")
    parser.add_argument("--widths", type=int, nargs=2, default=(320, 640), help="of frames; the second for STRCN-A")
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    lines = [
        "# Preparing a database for STRCN",
        "",
        "Seconds of a processor for each clip, both chains in turn, one thread; then seconds that pass for the whole "
        f"database in two processes, started anew. Medians, least to most. {stamp()}",
        "",
        "| recipe | preset | copies | mien, CPU s | plain, CPU s | times | mien, two processes, s | "
        "plain, two processes, s | times |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(None):
            for width in given.widths:
                out = Path(folder) / str(width)
                synthesise("casme2", out, subjects=given.subjects, clips=given.clips, width=width)
        narrow, wide = (clips_of(f"casme2={folder}/{width}") for width in given.widths)
        ways = [(name, narrow, *way) for name, way in WAYS.items()]
        ways.append((f"STRCN-A, frames {given.widths[1]} wide", wide, *WAYS["STRCN-A"]))
        for (name, clips, of, changed, chain), preset in itertools.product(ways, ("cpu", "paper")):
            chosen = system(of)
            parameters = chosen.with_parameters({"preset": preset, **changed})
            made = chosen.recipe("frames", parameters.model_dump())
            whole = preset == "cpu" or of == "strcn-a"
            prepare_clip(clips[0], made, Path(folder) / "ours", None, True) if whole else None  # imports, networks
            taken: list[list[float]] = [[], []]
            for clip in clips * given.turns if whole else clips[:1]:
                began = time.process_time()
                outcome = prepare_clip(clip, made, Path(folder) / "ours", None, True)
                taken[0].append(time.process_time() - began)
                began = time.process_time()
                shape = plain_file(chain, clip, parameters, Path(folder) / "plain")
                taken[1].append(time.process_time() - began)
                assert outcome.shape == shape, (outcome, shape)
            passed: list[list[float]] = [[], []]
            for turn in range(given.turns if whole else 0):
                began = time.perf_counter()
                prepare(clips, made, out=Path(folder) / f"{of}-{turn}-{len(lines)}", jobs=2)
                passed[0].append(time.perf_counter() - began)
                began = time.perf_counter()
                with ProcessPoolExecutor(2) as pool:
                    plain = functools.partial(plain_file, chain, parameters=parameters, out=Path(folder) / "plain")
                    list(pool.map(plain, clips))
                passed[1].append(time.perf_counter() - began)
            lines.append(f"| {name} | {preset} | {shape[0]} | {shown(taken)} | {shown(passed)} |")
            print(lines[-1], flush=True)
    frames = [clip.interval.offset - clip.interval.onset + 1 for clip in [*narrow, *wide] if clip.interval]
    lines += [
        "",
        f"{len(narrow)} clips of {min(frames)} to {max(frames)} frames, {given.widths[0]} pixels wide if nothing else "
        "is said; of STRCN-G under `paper` the first clip, once. The same in both: files, frames, the network for "
        "landmarks, factors, shares of the frames, size and number of copies. Not the same: mien searches landmarks in "
        "eight frames and more, to report where the face is lost, and warps the face to a reference; the plain chain "
        "does neither. mien computes the flow of a pair of frames once, however many copies share it, and all factors "
        "in one pass. With TV-L1, the same OpenCV call on 300x245 pixels takes most of the time in both chains: there, "
        "no chain is faster than copies per different pair. Of STRCN-A, reading files and reducing every magnified "
        "frame are the same OpenCV calls in both; the larger the frames, the more of the time is reading and warping "
        "them.",
    ]
    publish(lines, given.out)


def shown(times: list[list[float]]) -> str:
    """Cells: ours, plain, how many times longer the plain chain takes; empty if it was not timed."""
    if not times[0]:
        return " | | "
    cells = [f"{statistics.median(each):.2f} ({min(each):.2f}-{max(each):.2f})" for each in times]
    return " | ".join([*cells, f"{statistics.median(b / a for a, b in zip(*times, strict=True)):.2f}"])


if __name__ == "__main__":
    main()
