"""Which flow method to take when: sharp edges of motion, fine and weak texture, noise and light, beside smooth faces.

python benchmarks/flow_edges.py [--seeds 3] [--first 0] [--out benchmarks/results/flow_edges.md]

Sharp: four patches in front of a background, each with a texture and a turn and shift of its own, so that the motion
jumps by up to six pixels from one pixel to the next, as where one thing moves in front of another. Smooth: the drawn
face of `moving_pair`, moved as muscles move skin. Every pair is changed in the same ways: noise of 2 and of 6 grey
levels, and light (gain, offset and a ramp). Errors are mean end-point errors in pixels over the points that are visible
in both frames; seconds are those of the processor with one thread, all methods in turn.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from machine import stamp
from measure import arguments, publish
from numpy.typing import NDArray

from mien.motion.flow import METHODS, optical_flow
from mien.synthesis.moving_pairs import moving_pair

HEIGHT, WIDTH = 200, 160
CHANGES = ("clean", "noise 2", "noise 6", "light")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """One thing in the scene; its motion is a turn about its centre and a shift."""

    texture: Callable[[Floats], Floats]
    centre: Floats
    half: Floats
    tilt: float
    turn: float
    shift: Floats

    def cover(self, points: Floats) -> Floats:
        """How much of each pixel it covers, 0..1; its border is about one pixel wide."""
        c, s = math.cos(self.tilt), math.sin(self.tilt)
        local = (points - self.centre) @ np.array([[c, -s], [s, c]])
        radius = ((np.abs(local) / self.half) ** 4).sum(-1) ** 0.25
        return np.asarray(1 / (1 + np.exp(np.clip(4 * (radius - 1) * self.half.min(), -50, 50))))

    def moved(self, points: Floats, sign: float = 1.0) -> Floats:
        """Where points go (+1), or come from (-1)."""
        c, s = math.cos(self.turn), sign * math.sin(self.turn)
        matrix = np.array([[c, s], [-s, c]])
        if sign > 0:
            return np.asarray((points - self.centre) @ matrix + self.centre + self.shift)
        return np.asarray((points - self.centre - self.shift) @ matrix + self.centre)


def waves(rng: np.random.Generator, shortest: float, longest: float, spread: float) -> Callable[[Floats], Floats]:
    """A texture of random waves, of a length in pixels and a standard deviation in grey levels."""
    length = np.exp(rng.uniform(np.log(shortest), np.log(longest), 80))
    angle, phase = rng.uniform(0, 2 * np.pi, (2, 80))
    turns = 2 * np.pi / length * np.stack([np.cos(angle), np.sin(angle)])
    height = length**0.5
    height *= spread / np.sqrt(0.5 * (height**2).sum())
    middle = rng.uniform(90, 165)

    def texture(points: Floats) -> Floats:
        angles = points[..., :1] * turns[0] + points[..., 1:] * turns[1] + phase
        return np.asarray(middle + np.cos(angles) @ height)

    return texture


def sharp_pair(seed: int) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Two frames before rounding, the flow of the first, and where it can be seen in both."""
    rng = np.random.default_rng([seed, 77])
    size = np.array([WIDTH, HEIGHT], float)
    kinds = [(2.5, 12, 25), (8, 50, 30), (3, 30, 8), (2.5, 40, 30)]
    layers = [Layer(waves(rng, 3, 50, 28), size / 2, 100 * size, 0.0, 0.0, rng.uniform(-1.5, 1.5, 2))]
    for kind in kinds:
        layers.append(
            Layer(
                waves(rng, *kind), size * rng.uniform(0.2, 0.8, 2), size * rng.uniform(0.12, 0.25, 2),
                rng.uniform(0, np.pi), rng.uniform(-0.03, 0.03), rng.uniform(-3, 3, 2),
            )
        )  # fmt: skip
    grid = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), -1).astype(float)
    first, second = np.zeros((HEIGHT, WIDTH)), np.zeros((HEIGHT, WIDTH))
    flow, valid = np.zeros((HEIGHT, WIDTH, 2)), np.ones((HEIGHT, WIDTH), bool)
    for layer in layers:
        before, source = layer.cover(grid), layer.moved(grid, -1)
        after = layer.cover(source)
        first = before * layer.texture(grid) + (1 - before) * first
        second = after * layer.texture(source) + (1 - after) * second
        flow = np.where((before > 0.5)[..., None], layer.moved(grid) - grid, flow)
        valid = np.where(before > 0.5, before > 0.99, valid & (before < 0.01))
    there = grid + flow
    for number, layer in enumerate(layers):  # is it hidden by something in front?
        own = np.isclose(flow, layer.moved(grid) - grid).all(-1)
        for front in layers[number + 1 :]:
            valid &= ~own | (front.cover(front.moved(there, -1)) < 0.01)
    inside = ((there >= 0) & (there <= size - 1)).all(-1)
    return first, second, flow, valid & inside


def smooth_pair(seed: int) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    pair = moving_pair("smooth", texture="face", height=HEIGHT, width=WIDTH, amplitude=1.0, seed=seed)
    return pair.first.astype(float), pair.second.astype(float), pair.flow.astype(float), pair.valid


def changed(first: Floats, second: Floats, how: str, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Both frames with noise, or the second in another light; rounded to 8 bits."""
    rng = np.random.default_rng([seed, 5])
    if how.startswith("noise"):
        spread = float(how.split()[1])
        first, second = (frame + spread * rng.standard_normal(frame.shape) for frame in (first, second))
    if how == "light":
        second = 1.06 * second - 4 + np.linspace(-10, 10, WIDTH)
    return tuple(np.clip(np.rint(f), 0, 255).astype(np.uint8) for f in (first, second))  # type: ignore[return-value]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="seed of the first scene of each kind")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    errors: dict[tuple[str, str, str], list[float]] = {}
    edges: dict[str, list[float]] = {}
    spent: dict[str, list[float]] = {}
    for seed in range(given.first, given.first + given.seeds):
        for world, pair in (("sharp", sharp_pair(seed)), ("smooth", smooth_pair(seed))):
            *frames, flow, valid = pair
            jump = np.hypot(*(np.linalg.norm(d, axis=-1) for d in np.gradient(flow, axis=(0, 1)))) > 0.5
            near = cv2.dilate(jump.astype(np.uint8), np.ones((11, 11), np.uint8)) > 0
            for how in CHANGES:
                first, second = changed(frames[0], frames[1], how, seed)
                for name in METHODS:
                    began = time.process_time()
                    found = optical_flow(first, second, name)
                    spent.setdefault(name, []).append(time.process_time() - began)
                    off = np.linalg.norm(found - flow, axis=-1)
                    errors.setdefault((name, world, how), []).append(float(off[valid].mean()))
                    if world == "sharp" and how == "clean":
                        edges.setdefault(name, []).append(float(off[valid & near].mean()))
    columns = [f"{world}, {how}" for world in ("smooth", "sharp") for how in CHANGES]
    lines = [
        "# Optical flow: smooth faces and sharp edges",
        "",
        f"{stamp()} {given.seeds} scenes of {HEIGHT}x{WIDTH} of each kind; mean end-point error in pixels.",
        "",
        "| method | " + " | ".join(columns) + " | within 5 px of a sharp edge, clean | CPU s per pair, median |",
        "|---" * (len(columns) + 3) + "|",
    ]
    for name in METHODS:
        cells = [f"{statistics.mean(errors[name, world, how]):.3f}" for world in ("smooth", "sharp") for how in CHANGES]
        lines.append(
            f"| {name} | {' | '.join(cells)} | {statistics.mean(edges[name]):.3f} | "
            f"{statistics.median(spent[name]):.2f} |"
        )
    publish(lines, given.out)


if __name__ == "__main__":
    main()
