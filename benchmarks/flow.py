"""Accuracy of every flow method on pairs with known motion, and speed and memory of classic_nl against a plain version.

python benchmarks/flow.py [--picture FILE]... [--quick] [--out benchmarks/results/flow.md]

Accuracy: mean end-point error in pixels over valid pixels of 300x245, by kind of pair; each kind is shown by a drawn
face, waves and every picture given, with the largest displacement 0.5 and 2 pixels, two seeds each.
Plain: the same steps for one pair at a time, with every linear system solved by sparse elimination and the weighted
median by sorting. Each figure of speed comes from a process of its own, as does its peak of memory above what the
imports take.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import peak_mib, resident_mib, stamp
from measure import alone, arguments, publish
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor

from mien.motion.classic_nl import classic_nl, median, step
from mien.motion.flow import METHODS, optical_flows
from mien.synthesis.moving_pairs import KINDS, TEXTURES, MovingPair, moving_pair

HEIGHT, WIDTH = 300, 245
VARIANTS: dict[str, dict[str, Any]] = {
    "classic_nl, Charbonnier": {"penalty": "charbonnier"},
}


def plain_solve(data: Tensor, right: Tensor, down: Tensor, side: Tensor, tolerance: float) -> Tensor:
    """What `classic_nl.solver.solve` does, by elimination."""
    out = np.empty(side.shape, np.float32)
    for b in range(side.shape[1]):
        a, r, d = (part[:, b].double().cpu().numpy() for part in (data, right, down))
        diagonal = a[:2] + r + d
        diagonal[..., 1:] += r[..., :-1]
        diagonal[:, 1:] += d[:, :-1]
        width, n = r.shape[-1], diagonal.size
        bands = [diagonal.ravel(), -r.ravel()[:-1], -d.ravel()[:-width], a[2].ravel()]
        upper = sparse.diags_array(bands[1:], offsets=[1, width, n // 2], shape=(n, n))
        matrix = upper + upper.T + sparse.diags_array(bands[0])
        out[:, b] = spsolve(matrix.tocsc(), side[:, b].double().cpu().numpy().ravel()).reshape(out[:, b].shape)
    return torch.from_numpy(out)


def plain_median(values: Tensor, weights: Tensor) -> Tensor:
    """What `classic_nl.median.weighted_median` does, by sorting."""
    ordered, order = values.sort(1)
    total = weights.gather(1, order).cumsum(1)
    return ordered.gather(1, (total < 0.5 * total[:, -1:]).sum(1, keepdim=True))[:, 0]


def picture(path: Path) -> NDArray[np.float64]:
    """The middle of a picture or of a video's first frame, grey, shrunk so that 300x245 just fits."""
    import av
    import cv2

    with av.open(str(path)) as container:
        grey = next(container.decode(video=0)).to_ndarray(format="gray")
    scale = max(HEIGHT / grey.shape[0], WIDTH / grey.shape[1])
    if scale < 1:
        grey = np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    top, left = (grey.shape[0] - HEIGHT) // 2, (grey.shape[1] - WIDTH) // 2
    return grey[top : top + HEIGHT, left : left + WIDTH].astype(np.float64)


def accuracy(pictures: list[Path], quick: bool) -> list[str]:
    textures: list[str | NDArray[np.float64]] = [*TEXTURES, *(picture(p) for p in pictures)]
    errors: dict[str, dict[str, list[float]]] = {}
    seconds: dict[str, list[float]] = {}
    for kind in KINDS:
        pairs = [
            moving_pair(kind, texture=t, height=HEIGHT, width=WIDTH, amplitude=a, seed=s)
            for t in textures
            for a in (0.5, 2.0)
            for s in ((3,) if quick else (3, 4))
        ]
        firsts, seconds_ = np.stack([p.first for p in pairs]), np.stack([p.second for p in pairs])
        for name in (*METHODS, *VARIANTS):
            started = time.perf_counter()
            if name in VARIANTS:
                flows = classic_nl(firsts, seconds_, **VARIANTS[name])
            else:
                flows = optical_flows(firsts, seconds_, name)
            seconds.setdefault(name, []).append((time.perf_counter() - started) / len(pairs))
            found = [
                float(np.linalg.norm(f - p.flow, axis=-1)[p.valid].mean()) for f, p in zip(flows, pairs, strict=True)
            ]
            errors.setdefault(name, {})[kind] = found
    lines = [
        "| end-point error, px | " + " | ".join(KINDS) + " | **average** | worst pair | ms per pair |",
        "|---" * (len(KINDS) + 4) + "|",
    ]
    averages = {name: statistics.mean(statistics.mean(e) for e in by.values()) for name, by in errors.items()}
    for name in sorted(averages, key=averages.__getitem__):
        by = errors[name]
        cells = " | ".join(f"{statistics.mean(by[kind]):.3f}" for kind in KINDS)
        worst = max(max(e) for e in by.values())
        spent = 1000 * statistics.median(seconds[name])
        lines.append(f"| {name} | {cells} | **{averages[name]:.4f}** | {worst:.2f} | {spent:.0f} |")
    offered = min(METHODS, key=averages.__getitem__)
    lines += ["", f"Lowest average of the methods offered by name: **{offered}**."]
    return lines


def one(spec: dict[str, Any]) -> dict[str, Any]:
    """One measurement, in this process."""
    pairs = np.load(spec["pairs"])
    firsts, seconds, true, valid = (pairs[name] for name in ("first", "second", "flow", "valid"))
    if spec["plain"]:
        setattr(step, "solve", plain_solve)  # noqa: B010
        setattr(median, "weighted_median", plain_median)  # noqa: B010
        setattr(median, "medians_by_sorting", median.medians_by_halving)  # noqa: B010
    classic_nl(firsts[0, :32, :32], seconds[0, :32, :32], device=spec["device"])
    if Path("/proc/self/clear_refs").is_file():
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before, taken, flow = resident_mib(), [], true
    for _ in range(spec["repeats"]):
        started = time.perf_counter()
        flow = classic_nl(firsts, seconds, device=spec["device"])
        taken.append((time.perf_counter() - started) / len(firsts))
    peak = peak_mib() - before
    if spec["device"] != "cpu":
        peak = torch.cuda.max_memory_allocated() / 2**20
    return {"seconds": taken, "mib": peak, "error": float(np.linalg.norm(flow - true, axis=-1)[valid].mean())}


def measure(batch: int, height: int, width: int, repeats: int, plain: bool, device: str) -> dict[str, Any]:
    pairs = [moving_pair("noise_1", height=height, width=width, amplitude=1.0, seed=s) for s in range(batch)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.npz"
        first, second, flow, valid = (np.stack([getattr(p, n) for p in pairs]) for n in MovingPair.__slots__)
        np.savez(file, first=first, second=second, flow=flow, valid=valid)
        spec = {"pairs": str(file), "repeats": repeats, "plain": plain, "device": device}
        result: dict[str, Any] = json.loads(" ".join(alone(__file__, "--one", json.dumps(spec))))
    return result


def speed(quick: bool, device: str) -> list[str]:
    repeats = 2 if quick else 5
    lines = [
        "| classic_nl | pairs at once | pixels | median s per pair | least - most | MiB above imports | error, px |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = [(1, HEIGHT, WIDTH, False), (4, HEIGHT, WIDTH, False), (16, HEIGHT, WIDTH, False)]
    rows += [(4, HEIGHT // 2, WIDTH // 2, False), (4, HEIGHT * 2, WIDTH * 2, False), (1, HEIGHT, WIDTH, True)]
    medians: dict[tuple[int, int, bool], float] = {}
    for batch, height, width, plain in rows:
        got = measure(
            batch, height, width, 1 if plain and quick else min(repeats, 3) if plain else repeats, plain, device
        )
        taken = got["seconds"]
        medians[batch, height, plain] = statistics.median(taken)
        lines.append(
            f"| {'plain' if plain else 'mien'} | {batch} | {height}x{width} | {statistics.median(taken):.3f} | "
            f"{min(taken):.3f} - {max(taken):.3f} | {got['mib']:.0f} | {got['error']:.4f} |"
        )
        print(lines[-1], flush=True)
    ratio = medians[1, HEIGHT, True] / medians[16, HEIGHT, False]
    growth = medians[4, HEIGHT * 2, False] / medians[4, HEIGHT // 2, False]
    return [
        *lines,
        "",
        f"Plain / mien in a batch of 16: **{ratio:.1f}**. Sixteen times the pixels take {growth:.1f} times as long.",
    ]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--picture", type=Path, action="append", default=[], help="A picture or video to move as well.")
    parser.add_argument("--device", default="cpu", help="Where classic_nl is timed.")
    parser.add_argument("--quick", action="store_true", help="One seed, few repeats.")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(json.loads(given.one))))
        return
    timed = speed(given.quick, given.device)
    table = accuracy(given.picture, given.quick)
    lines = [
        "# Optical flow",
        "",
        stamp(),
        f"Textures: {', '.join([*TEXTURES, *(p.name for p in given.picture)])}.",
        "",
        "## Accuracy",
        "",
        *table,
        "",
        f"## Speed of classic_nl ({given.device})",
        "",
        *timed,
    ]
    publish(lines, given.out)


if __name__ == "__main__":
    main()
