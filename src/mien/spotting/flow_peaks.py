"""The spotter this library offers first: bumps in how regions of the face move, head motion and blinks taken out.

Every frame's flow from a reference picture of the same face, at most `reference` seconds old, gives how the skin of 14
regions has moved. The head's own motion, a similarity fitted robustly to the whole face and then the motion of the
nose, is taken away; so a row of numbers is the path of 14 points of skin upon the head, in distances of the eyes.

An expression is a bump in these paths: away and back. For some half widths w, b(t) = x(t) - (x(t - w) + x(t + w)) / 2
is large at its apex; the paths projected on b show the bump with the least noise, and there its shape is tested: how
high, how long, does it rise and fall, is it part of a longer one. Bumps near the eyes that come with a blink are left
out.

The idea of regional flow relative to the nose, read as a path over time, is that of OF-FD (He, MEGC 2021) and SOFTNet
(Liong et al. 2021); the rest is our own. docs/spotting.md tells what each part is worth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, uniform_filter1d

from mien.spotting.base import MACRO_LONGEST, MICRO_LONGEST, Kind, Rows, Spot, Spotter
from mien.spotting.face_stream import EYES, HEIGHT, WIDTH, Look, carried

Floats = NDArray[np.float32]

REGIONS: Final[Mapping[str, tuple[int, ...]]] = {
    "brow, outer, image-left": (17, 18),
    "brow, middle, image-left": (19,),
    "brow, inner, image-left": (20, 21),
    "brow, inner, image-right": (22, 23),
    "brow, middle, image-right": (24,),
    "brow, outer, image-right": (25, 26),
    "between the brows": (21, 22),
    "wing of the nose, image-left": (31,),
    "wing of the nose, image-right": (35,),
    "mouth corner, image-left": (48,),
    "mouth corner, image-right": (54,),
    "upper lip": (50, 51, 52),
    "lower lip": (56, 57, 58),
    "chin": (7, 8, 9, 57),
}
"""Regions and the points of iBUG 300-W in whose middle each lies."""

NEAR_EYES: Final = 7
"""So many of the first regions lie close enough to the eyes for a blink to pull at them."""

_NOSE = (28, 29, 30)
_SPREAD = 0.10 * EYES  # standard deviation of a region's weights, pixels
_GRID = 4  # pixels between the samples of the flow that the head's motion is fitted to
_ROUNDS = 3


class FlowWatcher:
    """Rows of 2 x 14 + 1 numbers: x then y of each region, in distances of the eyes; then how the eyes have changed.

    The last number is the mean difference of the eyes' grey levels between two frames 0.05 s apart, in standard
    deviations of the grey levels around the eyes: lids, and nothing else on a face, change so much so fast.

    Args:
        fps: Frames per second.
        parameters: `reference`, seconds after which the reference picture is taken anew.
    """

    def __init__(self, fps: float, parameters: Mapping[str, Any]) -> None:
        self._hold = max(1, round(parameters["reference"] * fps))
        self._lag = max(1, round(0.05 * fps))
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._reference: NDArray[np.uint8] | None = None
        self._age = 0
        self._base = np.zeros((len(REGIONS), 2), np.float32)
        self._last = self._base
        self._eyes: list[tuple[Floats, float]] = []

    def see(self, look: Look) -> list[Rows]:
        """This frame's row; NaN without a face."""
        if look.picture is None or look.points is None:
            self._reference, self._eyes = None, []
            return [np.full(2 * len(REGIONS) + 1, np.nan, np.float32)]
        if look.fresh or self._reference is None:
            self._reference, self._age, self._eyes = look.picture, 0, []
            self._base = self._last = np.zeros((len(REGIONS), 2), np.float32)
            self._place(look.points)
        elif look.change is not None:
            # The same reference in the new rectangle; the way so far is kept.
            self._reference = carried(self._reference, look.change)
            self._eyes = []
            self._place(look.points)
        assert self._reference is not None
        flow = self._flow.calc(self._reference, look.picture, None)
        self._last = self._base + self._regions(np.asarray(flow, np.float32))
        changed = self._eyes_changed(look.picture)
        self._age += 1
        if self._age >= self._hold:
            self._reference, self._age, self._base = look.picture, 0, self._last
        return [np.append(self._last.ravel(), np.float32(changed)).astype(np.float32)]

    def finish(self) -> list[Rows]:
        """Nothing is owed: every frame has its row at once."""
        return []

    def _place(self, points: Floats) -> None:
        """Where the regions, the nose and the eyes lie in the picture."""
        middles = np.array([points[list(of)].mean(0) for of in REGIONS.values()])
        self._weights = _hills(middles, _SPREAD)
        self._nose = _hills(points[list(_NOSE)], _SPREAD).mean(0, keepdims=True)
        y, x = np.mgrid[_GRID // 2 : HEIGHT : _GRID, _GRID // 2 : WIDTH : _GRID]
        low, high = points[:, 0].min(), points[:, 0].max()
        top, bottom = points[17:27, 1].min() - 0.25 * EYES, points[8, 1]
        inside = (x > low + 2) & (x < high - 2) & (y > top) & (y < bottom - 2)
        for lids in (points[36:42], points[42:48]):
            middle = lids.mean(0)
            inside &= np.hypot((x - middle[0]) / 0.32, (y - middle[1]) / 0.20) > EYES
        mouth = points[48:60]
        inside &= ~(
            (np.abs(x - mouth[:, 0].mean()) < 0.55 * np.ptp(mouth[:, 0]))
            & (np.abs(y - mouth[:, 1].mean()) < 0.5 * np.ptp(mouth[:, 1]) + 3)
        )
        self._rows, self._columns = y[inside], x[inside]
        self._centre = points[list(_NOSE)].mean(0)
        # u = a + c x - s y, v = b + s x + c y
        x, y = self._columns - self._centre[0], self._rows - self._centre[1]
        one, none = np.ones(len(x)), np.zeros(len(x))
        self._design = np.concatenate([np.stack([one, none, x, -y], 1), np.stack([none, one, y, x], 1)])
        away = middles - self._centre
        n = len(away)
        self._at_regions = np.stack(
            [
                np.stack([np.ones(n), np.zeros(n), away[:, 0], -away[:, 1]], 1),
                np.stack([np.zeros(n), np.ones(n), away[:, 1], away[:, 0]], 1),
            ],
            1,
        )
        boxes = []
        for lids in (points[36:42], points[42:48]):
            x0, y0 = np.maximum(lids.min(0) - EYES * np.array([0.02, 0.10]), 0).astype(int)
            x1, y1 = (lids.max(0) + EYES * np.array([0.02, 0.06])).astype(int) + 1
            boxes.append((slice(y0, max(y1, y0 + 2)), slice(x0, max(x1, x0 + 2))))
        self._boxes = boxes

    def _regions(self, flow: Floats) -> Floats:
        """(14, 2) motion of the regions without the head's, in distances of the eyes."""
        motion = self._weights @ flow.reshape(-1, 2)
        samples = flow[self._rows, self._columns]
        head = _robust(self._design, np.concatenate([samples[:, 0], samples[:, 1]]))
        nose = self._nose @ flow.reshape(-1, 2)  # at the centre of the fit the head moves by its first two numbers
        moved = motion - (self._at_regions @ head) - (nose[0] - head[:2])
        return np.asarray(moved / EYES, np.float32)

    def _eyes_changed(self, picture: NDArray[np.uint8]) -> float:
        now = np.concatenate([picture[box].ravel() for box in self._boxes]).astype(np.float32)
        now -= now.mean()
        self._eyes.append((now, float(now.std())))
        if len(self._eyes) <= self._lag:
            return 0.0
        before, spread = self._eyes.pop(0)
        return float(np.abs(now - before).mean() / max(spread, 1.0))


def _hills(middles: NDArray[Any], spread: float) -> Floats:
    """(N, HEIGHT * WIDTH) Gaussian weights about N points, each summing to 1."""
    y, x = np.arange(HEIGHT), np.arange(WIDTH)
    down = np.exp(-0.5 * ((y - middles[:, 1:]) / spread) ** 2)
    along = np.exp(-0.5 * ((x - middles[:, :1]) / spread) ** 2)
    hills = (down[:, :, None] * along[:, None]).reshape(len(middles), -1)
    return np.asarray(hills / np.maximum(hills.sum(1, keepdims=True), 1e-12), np.float32)


def _robust(design: NDArray[Any], seen: NDArray[Any]) -> NDArray[np.float64]:
    """Least squares with Cauchy's weights, both components of a sample sharing one: an expression is an outlier."""
    n = len(seen) // 2
    weight = np.ones(n)
    found = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        weighted = design * np.concatenate([weight, weight])[:, None]
        found = np.linalg.solve(weighted.T @ design + 1e-6 * np.eye(design.shape[1]), weighted.T @ seen)
        off = seen - design @ found
        length = np.hypot(off[:n], off[n:])
        weight = 1 / (1 + (length / max(1.5 * float(np.median(length)), 0.02)) ** 2)
    return np.asarray(found)


# Rows to intervals

_HALF_WIDTHS: Final[tuple[tuple[float, Kind], ...]] = ((0.25, "micro"), (0.6, "macro"), (1.2, "macro"), (2.0, "macro"))


def decide(rows: Rows, fps: float, parameters: Mapping[str, Any]) -> list[Spot]:
    """Bumps of the right height and length, in time order.

    Args:
        rows: (T, 29), see `FlowWatcher`.
        fps: Frames per second.
        parameters: As in `FLOW_PEAKS`.
    """
    lost = np.isnan(rows[:, 0])
    n = len(rows)
    if n < 3 or lost.all():
        return []
    paths = _bridged(rows[:, :-1], lost)
    paths = gaussian_filter1d(paths, max(parameters["smooth"] * fps, 0.3), axis=0, mode="nearest")
    blinking = maximum_filter1d(np.nan_to_num(rows[:, -1]), 2 * round(0.12 * fps) + 1, mode="nearest")
    found: list[_Bump] = []
    # A blink pulls at the brows but not at nose, mouth and chin: either group is looked at without the other.
    for columns, factor in ((slice(2 * NEAR_EYES, None), 1.0), (slice(0, 2 * NEAR_EYES), parameters["near_eyes"])):
        part = paths[:, columns]
        for half, kind in _HALF_WIDTHS:
            w = max(2, round(half * fps))
            bump = part - 0.5 * (_shifted(part, w) + _shifted(part, -w))
            size = np.hypot(bump[:, 0::2], bump[:, 1::2])
            strength = np.sort(size, 1)[:, -2:].mean(1)  # an expression moves two regions at least
            quiet = uniform_filter1d(strength, 2 * round(4 * fps) + 1, mode="nearest")
            reach = max(1, w // 2)
            tops = strength == maximum_filter1d(strength, 2 * reach + 1, mode="nearest")
            tops &= (strength >= factor * parameters[f"{kind}_height"]) & ~lost
            tops &= strength >= parameters["contrast"] * quiet
            if columns.start == 0:
                tops &= (blinking <= parameters["blink"]) | (strength >= parameters["blink_height"])
            for apex in np.flatnonzero(tops):
                one = _measured(part, bump[apex], int(apex), w, fps, parameters, factor)
                if one is not None and not lost[one.onset : one.offset + 1].any():
                    found.append(one)
    chosen = _strongest(found)
    return [Spot(b.onset, b.apex, b.offset, b.kind, round(b.score, 4)) for b in chosen]


class _Bump:
    """A candidate. Of two that overlap, the longer must be higher by some: it takes in drift and noise besides."""

    __slots__ = ("apex", "kind", "offset", "onset", "rank", "score")

    def __init__(self, onset: int, apex: int, offset: int, kind: Kind, height: float, least: float) -> None:
        self.onset, self.apex, self.offset, self.kind = onset, apex, offset, kind
        self.score = height / least
        self.rank = height / (offset - onset + 1) ** 0.15


def _measured(
    paths: Floats, bump: Floats, apex: int, w: int, fps: float, parameters: Mapping[str, Any], factor: float
) -> _Bump | None:
    """Feet, length and height of the bump at `apex`, on the paths projected on it; None where it is no bump."""
    weights = np.hypot(bump[0::2], bump[1::2])
    kept = np.repeat(weights >= 0.4 * weights.max(), 2)
    pattern = np.where(kept, bump, 0)
    pattern = pattern / np.linalg.norm(pattern)
    reach = min(round(1.5 * w), round(MACRO_LONGEST * fps))
    first, last = max(0, apex - reach), min(len(paths), apex + reach + 1)
    path = paths[first:last] @ pattern
    top = apex - first
    # The apex of the path itself lies near that of the bump's contrast.
    near = slice(max(0, top - w // 2), top + w // 2 + 1)
    top = near.start + int(np.argmax(path[near]))
    sides = path[top::-1], path[top:]
    if min(map(len, sides)) < 2:
        return None
    heights = [float(path[top] - side.min()) for side in sides]
    height = min(heights)
    # Away and back: what does not come back at least in part is a change of the head or of the face at rest.
    if height <= 0 or height < parameters["back"] * max(heights):
        return None
    feet = []
    for side, rise in zip(sides, heights, strict=True):
        foot = int(np.flatnonzero(side <= path[top] - (1 - parameters["foot"]) * rise)[0])
        # A slow drift moves the foot far out but hardly the half height; a ramp is twice as long as its half.
        half = int(np.flatnonzero(side <= path[top] - 0.5 * height)[0])
        feet.append(max(1, min(foot, round(2.2 * half))))
    onset, offset = first + top - feet[0], first + top + feet[1]
    seconds = (offset - onset + 1) / fps
    if seconds > MACRO_LONGEST or seconds < parameters["shortest"]:
        return None
    kind: Kind = "micro" if seconds <= MICRO_LONGEST + 1 / fps else "macro"
    strength = float(np.sort(weights)[-2:].mean())
    least = factor * parameters[f"{kind}_height"]
    return _Bump(onset, first + top, offset, kind, strength, least) if strength >= least else None


def _strongest(found: list[_Bump]) -> list[_Bump]:
    """The strongest, the strongest of those that do not overlap it, and so on; in time order."""
    kept: list[_Bump] = []
    for one in sorted(found, key=lambda b: (-b.rank, b.onset)):
        if not any(other.onset <= one.offset and one.onset <= other.offset for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda one: (one.onset, one.offset))


def _shifted(paths: Floats, by: int) -> Floats:
    """Row t + by at t; beyond the ends the end's own row."""
    index = np.clip(np.arange(len(paths)) + by, 0, len(paths) - 1)
    return paths[index]


def _bridged(paths: Floats, lost: NDArray[np.bool_]) -> Floats:
    """Paths that run on level over frames without a face, and start after them where they stopped."""
    if not lost.any():
        return paths
    filled = paths.copy()
    steps = np.diff(filled, axis=0, prepend=filled[:1])
    steps[np.isnan(steps)] = 0
    return np.asarray(np.cumsum(steps, 0), np.float32)


FLOW_PEAKS = Spotter(
    name="flow-peaks",
    title="Bumps in regional flow",
    paper="This library; regional flow relative to the nose after He (MEGC 2021, OF-FD) and Liong et al. (SOFTNet).",
    summary="Paths of 14 facial regions by optical flow, without head motion; bumps tested for shape; blinks left out.",
    departures=(),
    parameters={
        "micro_height": 0.004,
        "macro_height": 0.012,
        "contrast": 1.5,
        "smooth": 0.02,
        "back": 0.4,
        "foot": 0.1,
        "shortest": 0.1,
        "near_eyes": 1.5,
        "blink": 0.3,
        "blink_height": 0.06,
        "reference": 0.75,
    },
    watch=FlowWatcher,
    decide=decide,
    part=20.0,
    margin=10.0,
    tuned={
        "micro": {"micro_height": (0.003, 0.004, 0.006, 0.008, 0.011, 0.015, 0.02, 0.028)},
        "macro": {"macro_height": (0.008, 0.012, 0.02, 0.03, 0.045, 0.065)},
    },
)
