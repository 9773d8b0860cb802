"""Speed and memory of every descriptor on one clip of 64 frames, 112x112, and LBP-TOP against a loop.

python benchmarks/descriptors.py [--repeats N] [--out benchmarks/results/descriptors.md]

Each descriptor runs in a process of its own on one thread; the time is the least of the repeats, memory is the peak
above what imports and the clip take. The loop is plain Python over voxels, planes and neighbours, timed on a small part
of the same clip and told per voxel.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import cos, floor, pi, sin
from typing import Literal

import numpy as np
from machine import commit, machine, peak_mib
from measure import alone, arguments, publish
from numpy.typing import NDArray

T, H, W = 64, 112, 112


def grey_clip() -> NDArray[np.uint8]:
    """A drawn face that smiles."""
    from mien.synthesis.moving_face import render_clip

    return render_clip(0, "positive", interval_length=T, apex=30, size=H, seed=0, colour=False)


def colour_clip() -> NDArray[np.uint8]:
    """The same in colour."""
    from mien.synthesis.moving_face import render_clip

    return render_clip(0, "positive", interval_length=T, apex=30, size=H, seed=0, colour=True)


def lbp_top() -> Callable[[], object]:
    from mien.descriptors import lbp_top

    clip = grey_clip()
    return lambda: lbp_top(clip)


def lbp_sip() -> Callable[[], object]:
    from mien.descriptors import lbp_sip

    clip = grey_clip()
    return lambda: lbp_sip(clip)


def lbp_tics() -> Callable[[], object]:
    from mien.descriptors import lbp_tics, learn_colour_space

    clip = colour_clip()
    transform = learn_colour_space(clip[::8, ::4, ::4])
    return lambda: lbp_tics(clip, transform)


def stlbp_ip() -> Callable[[], object]:
    from mien.descriptors import stlbp_ip

    clip = grey_clip()
    return lambda: stlbp_ip(clip)


def hierarchical_stlbp_ip() -> Callable[[], object]:
    from mien.descriptors import hierarchical_stlbp_ip

    clip = grey_clip()
    return lambda: hierarchical_stlbp_ip(clip)


def higo_top() -> Callable[[], object]:
    from mien.descriptors import higo_top

    clip = grey_clip()
    return lambda: higo_top(clip)


def hog_top() -> Callable[[], object]:
    from mien.descriptors import hog_top

    clip = grey_clip()
    return lambda: hog_top(clip)


def flow_fields(against: Literal["first", "previous"]) -> NDArray[np.float32]:
    """DIS flow through the grey clip; all 63 fields."""
    from mien.motion.clip_flow import flows_of_clip

    return flows_of_clip(grey_clip(), "dis", against)


def hoof() -> Callable[[], object]:
    from mien.descriptors import hoof

    flow = flow_fields("first")[29]
    return lambda: hoof(flow)


def bi_woof() -> Callable[[], object]:
    from mien.descriptors import bi_woof

    flow = flow_fields("first")[29]
    return lambda: bi_woof(flow)


def mdmo() -> Callable[[], object]:
    from mien.descriptors import mdmo
    from mien.face.align import reference_face

    flows = flow_fields("first")
    landmarks = reference_face(300, 245) * 0.256 + [25, 28]  # about the drawn face
    return lambda: mdmo(flows, landmarks)


def fdm() -> Callable[[], object]:
    from mien.descriptors import fdm

    flows = flow_fields("previous")
    return lambda: fdm(flows)


def flows_dis() -> Callable[[], object]:
    from mien.motion.clip_flow import flows_of_clip

    clip = grey_clip()
    return lambda: flows_of_clip(clip, "dis")


# A row for each descriptor: its name, and what makes the call that is timed.
ROWS: Mapping[str, Callable[[], Callable[[], object]]] = {
    "lbp_top": lbp_top,
    "lbp_sip": lbp_sip,
    "lbp_tics": lbp_tics,
    "stlbp_ip": stlbp_ip,
    "hierarchical_stlbp_ip": hierarchical_stlbp_ip,
    "higo_top": higo_top,
    "hog_top": hog_top,
    "hoof (of the apex flow)": hoof,
    "bi_woof (of the apex flow)": bi_woof,
    "mdmo (of 63 flows)": mdmo,
    "fdm (of 63 flows)": fdm,
    "63 flows by dis, for mdmo and fdm": flows_dis,
}


def plain_lbp_top(clip: NDArray[np.uint8], radius: int = 3, neighbours: int = 8) -> NDArray[np.int64]:
    """LBP-TOP's counts for one block, voxel by voxel."""
    levels = clip.tolist()
    t1, h, w = clip.shape
    counts = np.zeros((3, 1 << neighbours), np.int64)
    for t in range(radius, t1 - radius):
        for y in range(radius, h - radius):
            for x in range(radius, w - radius):
                centre = levels[t][y][x]
                for plane in range(3):
                    code = 0
                    for p in range(neighbours):
                        a = round(radius * cos(2 * pi * p / neighbours), 5)
                        b = round(-radius * sin(2 * pi * p / neighbours), 5)
                        dt, dy, dx = ((0, b, a), (b, 0, a), (b, a, 0))[plane]
                        value = 0.0
                        ft, fy, fx = floor(dt), floor(dy), floor(dx)
                        for ct in (0, 1):
                            wt = dt - ft if ct else 1 - dt + ft
                            for cy in (0, 1):
                                wy = dy - fy if cy else 1 - dy + fy
                                for cx in (0, 1):
                                    weight = wt * wy * (dx - fx if cx else 1 - dx + fx)
                                    if weight:
                                        value += weight * levels[t + ft + ct][y + fy + cy][x + fx + cx]
                        code |= (value >= centre - 1e-9) << p
                    counts[plane, code] += 1
    return counts


def measure(name: str, repeats: int) -> dict[str, float]:
    """One descriptor in this process: milliseconds, megabytes, values; both cores with two clips at once."""
    run = ROWS[name]()
    before = peak_mib()
    values = np.size(np.asarray(run()))
    peak = peak_mib() - before
    times, busy, pairs = [], [], []
    for _ in range(repeats):
        started, worked = time.perf_counter(), time.thread_time()
        run()
        times.append(time.perf_counter() - started)
        busy.append(time.thread_time() - worked)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(max(1, repeats // 2)):
            started = time.perf_counter()
            list(pool.map(lambda _: run(), range(4)))
            pairs.append((time.perf_counter() - started) / 4)
    return {"ms": 1e3 * min(times), "cpu": 1e3 * min(busy), "two": 1e3 * min(pairs), "mib": peak, "values": values}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(json.dumps(measure(given.only, given.repeats)))
        return
    lines = [
        "# Descriptors",
        "",
        f"{datetime.date.today()}, commit {commit()}; {machine()}.",
        f"One clip of {T} frames, {H}x{W}; default parameters. `python benchmarks/descriptors.py`",
        "",
        "| descriptor | values | ms, one thread | of these, processor | ms, two threads | peak MiB above the clip |",
        "|---|---|---|---|---|---|",
    ]
    found = {}
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that measure
    for name in ROWS:
        said = alone(__file__, "--only", name, "--repeats", given.repeats)
        found[name] = row = json.loads(" ".join(said))
        lines.append(
            f"| {name} | {row['values']:,} | {row['ms']:.1f} | {row['cpu']:.1f} | {row['two']:.1f} | {row['mib']:.0f} |"
        )
        print(lines[-1], flush=True)
    small = grey_clip()[:10, :16, :16]
    started = time.perf_counter()
    counts = plain_lbp_top(small)
    per_voxel = (time.perf_counter() - started) / (4 * 10 * 10)
    from mien.descriptors import lbp_top as fast

    same = np.array_equal(fast(small, blocks=(1, 1, 1), mapping="full", normalise=False), counts.ravel())
    whole = per_voxel * (T - 6) * (H - 6) * (W - 6)
    lines += [
        "",
        f"LBP-TOP by a plain loop: {1e6 * per_voxel:.0f} us per voxel, {whole:.0f} s for the whole clip: "
        f"{1e3 * whole / found['lbp_top']['ms']:,.0f} times as long. Same counts on the part that was timed: "
        f"{'yes' if same else 'NO'}.",
    ]
    publish(lines, given.out)


if __name__ == "__main__":
    main()
