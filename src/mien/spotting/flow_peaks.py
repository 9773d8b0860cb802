"""The default spotter: bumps in the motion of facial regions, after head motion and blinks are removed.

Optical flow from a reference picture, at most `reference` seconds old, gives the motion of 14 regions of the skin. The
motion of the head is subtracted: a similarity fitted robustly to the whole face, then the remaining motion of the nose.
Each row contains the positions of 14 points of the skin relative to the head, in multiples of the distance between the
eyes.

An expression is a bump in these paths: the skin moves away and comes back. For several half widths w,
b(t) = x(t) - (x(t - w) + x(t + w)) / 2 is large at the apex. Projecting the paths on b gives one curve with little
noise, and the shape of the bump is tested on that curve: its height, its length, whether it rises and falls, whether it
is part of a longer one. Bumps near the eyes that coincide with a blink are dropped.

Regional flow relative to the nose, read as a path over time, comes from OF-FD (He, MEGC 2021) and SOFTNet (Liong et al.
2021); the rest is our own. docs/methods/spotting.md explains each part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mien.parameters import Parameters, unit
from mien.spotting.base import MACRO_LONGEST, MICRO_LONGEST, Kind, Rows, Spot, Spotter
from mien.spotting.face_stream import EYES, HEIGHT, WIDTH, Look, carried

Floats = NDArray[np.float32]
Complex = NDArray[np.complex128]

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
"""The regions, each with the iBUG 300-W landmarks whose mean is its centre."""

NEAR_EYES: Final = 7
"""The first 7 regions are so close to the eyes that a blink moves them."""

_NOSE = (28, 29, 30)
_SPREAD = 0.10 * EYES  # standard deviation of the weights of a region, in pixels
_GRID = 4  # pixels between the flow samples to which the motion of the head is fitted
_EVERY = 2  # the flow is computed at half the size, so that every second pixel tells all
_ROUNDS = 3
_MATTERS = 0.001  # distances between the eyes within 0.04 s: a quarter of the height of the smallest bump
_COMPLEX = np.array([1, 1j])


class FlowWatcher:
    """Makes rows of 2 x 14 + 1 numbers: x and y of each region, then the change of the eyes.

    x and y are in multiples of the distance between the eyes. The last number shows blinks: it is the mean difference
    between the grey levels of the eyes in two frames 0.05 s apart, divided by the standard deviation of those grey
    levels. Only moving eyelids change so much in so short a time.

    Args:
        fps: Frames per second.
        parameters: Uses `reference`, the seconds after which a new reference picture is taken.
    """

    def __init__(self, fps: float, parameters: Mapping[str, Any]) -> None:
        self._lifetime = max(1, round(parameters["reference"] * fps))
        self._lag = max(1, round(0.05 * fps))
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._reference: NDArray[np.uint8] | None = None
        self._age = 0
        self._base = np.zeros((len(REGIONS), 2), np.float32)
        self._last = self._base
        self._eyes: list[tuple[Floats, float]] = []

    def see(self, look: Look) -> list[Rows]:
        """Return the row of this frame; NaN without a face."""
        if look.picture is None or look.points is None:
            self._reference, self._eyes = None, []
            return [np.full(2 * len(REGIONS) + 1, np.nan, np.float32)]
        if look.fresh or self._reference is None:
            self._reference, self._age, self._eyes = look.picture, 0, []
            self._base = self._last = np.zeros((len(REGIONS), 2), np.float32)
            self._place(look.points)
        elif look.change is not None:
            # Align the reference with the new rectangle; the paths continue.
            self._reference = carried(self._reference, look.change)
            self._eyes = []
            self._place(look.points)
        assert self._reference is not None
        flow = self._flow.calc(self._reference, look.picture, None)
        self._last = self._base + self._regions(np.asarray(flow, np.float32))
        changed = self._eyes_changed(look.picture)
        self._age += 1
        if self._age >= self._lifetime:
            self._reference, self._age, self._base = look.picture, 0, self._last
        return [np.append(self._last.ravel(), np.float32(changed)).astype(np.float32)]

    def between(self, look: Look) -> Rows:
        """Return the row of a frame between the last two; its eyes are said not to have changed."""
        assert self._reference is not None
        assert look.picture is not None
        flow = self._flow.calc(self._reference, look.picture, None)
        return np.append(self._base + self._regions(np.asarray(flow, np.float32)), np.float32(0)).astype(np.float32)

    def moved(self, before: Rows, now: Rows) -> float:
        """Return how far any region has moved between two rows, in multiples of what matters."""
        return float(np.abs(now - before)[:-1].max()) / _MATTERS

    def finish(self) -> list[Rows]:
        """Return no rows: each frame has had its row at once."""
        return []

    def _place(self, points: Floats) -> None:
        """Compute where the regions, the nose and the eyes lie in the picture."""
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
        self._samples = (self._columns - self._centre[0]) + 1j * (self._rows - self._centre[1])
        self._away = (middles - self._centre) @ _COMPLEX
        boxes = []
        for lids in (points[36:42], points[42:48]):
            x0, y0 = np.maximum(lids.min(0) - EYES * np.array([0.02, 0.10]), 0).astype(int)
            x1, y1 = (lids.max(0) + EYES * np.array([0.02, 0.06])).astype(int) + 1
            boxes.append((slice(y0, max(y1, y0 + 2)), slice(x0, max(x1, x0 + 2))))
        self._boxes = boxes

    def _regions(self, flow: Floats) -> Floats:
        """Return the (14, 2) motion of the regions relative to the head, in multiples of the distance of the eyes."""
        moved = flow[::_EVERY, ::_EVERY].reshape(-1, 2)
        motion = (self._weights @ moved) @ _COMPLEX
        shift, turn = _robust(self._samples, flow[self._rows, self._columns] @ _COMPLEX)
        nose = ((self._nose @ moved) @ _COMPLEX)[0]  # there, the fitted motion of the head is `shift`
        left = (motion - (shift + turn * self._away) - (nose - shift)) / EYES
        return np.stack([left.real, left.imag], 1).astype(np.float32)

    def _eyes_changed(self, picture: NDArray[np.uint8]) -> float:
        now = np.concatenate([picture[box].ravel() for box in self._boxes]).astype(np.float32)
        now -= now.mean()
        self._eyes.append((now, float(now.std())))
        if len(self._eyes) <= self._lag:
            return 0.0
        before, spread = self._eyes.pop(0)
        return float(np.abs(now - before).mean() / max(spread, 1.0))


def _hills(middles: NDArray[Any], spread: float) -> Floats:
    """Return Gaussian weights around N points, each row summing to 1, for every second pixel of every second row."""
    y, x = np.arange(0, HEIGHT, _EVERY), np.arange(0, WIDTH, _EVERY)
    down = np.exp(-0.5 * ((y - middles[:, 1:]) / spread) ** 2)
    along = np.exp(-0.5 * ((x - middles[:, :1]) / spread) ** 2)
    hills = (down[:, :, None] * along[:, None]).reshape(len(middles), -1)
    return np.asarray(hills / np.maximum(hills.sum(1, keepdims=True), 1e-12), np.float32)


def _robust(places: Complex, seen: Complex) -> tuple[complex, complex]:
    """Fit the motion `shift + turn z` to what is seen at places z, by least squares with Cauchy weights.

    x + i y stands for a vector, so that a complex factor turns and scales. Expressions are outliers.
    """
    n = len(places)
    x, y, u, v = places.real, places.imag, seen.real, seen.imag
    # The sums over all places that the equations need, each times the weights: in real numbers, at once.
    terms = np.stack([np.ones(n), x, y, x * x + y * y, u, v, x * u + y * v, x * v - y * u], 1)
    weight = np.ones(n)
    shift = turn = 0j
    for _ in range(_ROUNDS):
        total, middle_x, middle_y, spread, *seen_sums = (weight @ terms).tolist()
        total, spread = total + 1e-6, spread + 1e-6
        middle, first, second = complex(middle_x, middle_y), complex(*seen_sums[:2]), complex(*seen_sums[2:])
        # [[total, middle], [conj(middle), spread]] (shift, turn) = (sum of w f, sum of w conj(z) f)
        below = total * spread - abs(middle) ** 2
        shift = (spread * first - middle * second) / below
        turn = (total * second - middle.conjugate() * first) / below
        left = seen - shift - turn * places
        square = left.real**2 + left.imag**2
        half = np.sqrt(np.partition(square, ((n - 1) // 2, n // 2))[[(n - 1) // 2, n // 2]]).mean()
        weight = 1 / (1 + square / max(1.5 * float(half), 0.02) ** 2)
    return shift, turn


# Rows to intervals

_HALF_WIDTHS: Final[tuple[tuple[float, Kind], ...]] = ((0.25, "micro"), (0.6, "macro"), (1.2, "macro"), (2.0, "macro"))


def decide(rows: Rows, fps: float, parameters: Mapping[str, Any]) -> list[Spot]:
    """Return the bumps of sufficient height and allowed length, in time order.

    Args:
        rows: (T, 29) rows of `FlowWatcher`.
        fps: Frames per second.
        parameters: As in `FLOW_PEAKS`.

    Example:
        >>> decide(np.zeros((200, 29), np.float32), 100, FLOW_PEAKS.with_parameters({}))
        []
    """
    lost = np.isnan(rows[:, 0])
    n = len(rows)
    if n < 3 or lost.all():
        return []
    paths = _bridged(rows[:, :-1], lost)
    paths = _smoothed(paths, max(parameters["smooth"] * fps, 0.3))
    blinking = _highest(np.nan_to_num(rows[:, -1]), round(0.12 * fps))
    found: list[_Bump] = []
    # A blink moves the brows but not nose, mouth and chin, so the two groups are searched separately.
    for columns, factor in ((slice(2 * NEAR_EYES, None), 1.0), (slice(0, 2 * NEAR_EYES), parameters["near_eyes"])):
        part = paths[:, columns]
        for half, kind in _HALF_WIDTHS:
            w = max(2, round(half * fps))
            bump = part - 0.5 * (_shifted(part, w) + _shifted(part, -w))
            size = np.hypot(bump[:, 0::2], bump[:, 1::2])
            strength = np.sort(size, 1)[:, -2:].mean(1)  # an expression moves at least two regions
            quiet = _mean(strength, round(4 * fps))
            reach = max(1, w // 2)
            tops = strength == _highest(strength, reach)
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
    """A candidate interval. A longer one contains more drift and noise, so it must be higher to win an overlap."""

    __slots__ = ("apex", "kind", "offset", "onset", "rank", "score")

    def __init__(self, onset: int, apex: int, offset: int, kind: Kind, height: float, least: float) -> None:
        self.onset, self.apex, self.offset, self.kind = onset, apex, offset, kind
        self.score = height / least
        self.rank = height / (offset - onset + 1) ** 0.15


def _measured(
    paths: Floats, bump: Floats, apex: int, w: int, fps: float, parameters: Mapping[str, Any], factor: float
) -> _Bump | None:
    """Measure the bump at `apex`: beginning, end and height; None if its shape is not that of an expression."""
    weights = np.hypot(bump[0::2], bump[1::2])
    kept = np.repeat(weights >= 0.4 * weights.max(), 2)
    pattern = np.where(kept, bump, 0)
    pattern = pattern / np.linalg.norm(pattern)
    reach = min(round(1.5 * w), round(MACRO_LONGEST * fps))
    first, last = max(0, apex - reach), min(len(paths), apex + reach + 1)
    path = paths[first:last] @ pattern
    top = apex - first
    # The apex of the projected path is near the maximum of b.
    near = slice(max(0, top - w // 2), top + w // 2 + 1)
    top = near.start + int(np.argmax(path[near]))
    sides = path[top::-1], path[top:]
    if min(map(len, sides)) < 2:
        return None
    heights = [float(path[top] - side.min()) for side in sides]
    height = min(heights)
    # A path that does not come back at least in part is a change of pose or of the neutral face.
    if height <= 0 or height < parameters["back"] * max(heights):
        return None
    feet = []
    for side, rise in zip(sides, heights, strict=True):
        foot = int(np.flatnonzero(side <= path[top] - (1 - parameters["foot"]) * rise)[0])
        # A slow drift moves the foot far out but hardly the half height; for a ramp, foot = 2 * half.
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
    """Return the strongest bump, then the strongest that does not overlap it, and so on; in time order."""
    kept: list[_Bump] = []
    for one in sorted(found, key=lambda b: (-b.rank, b.onset)):
        if not any(other.onset <= one.offset and one.onset <= other.offset for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda one: (one.onset, one.offset))


# Three filters over time, which repeat the first and the last row; scipy's take a second of CPU to load.
def _smoothed(paths: Floats, deviation: float) -> Floats:
    """Return paths (T, N) smoothed by a Gaussian of this standard deviation in rows."""
    reach = int(4 * deviation + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    weights /= weights.sum()
    padded = np.pad(paths.astype(np.float64), ((reach, reach), (0, 0)), mode="edge")
    found = weights[reach] * padded[reach : reach + len(paths)]
    for k in range(reach):  # the weights are symmetric
        found += weights[k] * (padded[k : k + len(paths)] + padded[2 * reach - k :][: len(paths)])
    return np.asarray(found, np.float32)


def _highest(curve: Floats, reach: int) -> Floats:
    """Return the largest of the values at most `reach` rows away from each of (T,)."""
    padded = np.pad(curve, reach, mode="edge")
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(1))


def _mean(curve: Floats, reach: int) -> Floats:
    """Return the mean of the values at most `reach` rows away from each of (T,)."""
    sums = np.cumsum(np.pad(curve.astype(np.float64), (reach + 1, reach), mode="edge"))
    return np.asarray((sums[2 * reach + 1 :] - sums[: len(curve)]) / (2 * reach + 1), np.float32)


def _shifted(paths: Floats, by: int) -> Floats:
    """Return paths shifted in time: row t + by at t; the first or last row is repeated beyond the ends."""
    index = np.clip(np.arange(len(paths)) + by, 0, len(paths) - 1)
    return paths[index]


def _bridged(paths: Floats, lost: NDArray[np.bool_]) -> Floats:
    """Fill frames without a face: the paths stay constant there and continue afterwards from the same value."""
    if not lost.any():
        return paths
    filled = paths.copy()
    steps = np.diff(filled, axis=0, prepend=filled[:1])
    steps[np.isnan(steps)] = 0
    return np.asarray(np.cumsum(steps, 0), np.float32)


class FlowPeaksParameters(Parameters):
    """Parameters of flow-peaks."""

    micro_height: Annotated[
        float,
        Field(
            gt=0,
            le=100,
            description="Least height of a micro-expression's bump.",
            json_schema_extra=unit("distances between the eyes"),
        ),
    ] = 0.004
    macro_height: Annotated[
        float,
        Field(
            gt=0,
            le=100,
            description="Least height of a macro-expression's bump.",
            json_schema_extra=unit("distances between the eyes"),
        ),
    ] = 0.012
    contrast: Annotated[
        float, Field(ge=0, le=1000, description="Least height of a bump relative to the mean around it.")
    ] = 1.5
    smooth: Annotated[
        float,
        Field(ge=0, le=10, description="Standard deviation of the smoothing over time.", json_schema_extra=unit("s")),
    ] = 0.02
    back: Annotated[float, Field(ge=0, le=1, description="Least share of the way that the path comes back.")] = 0.4
    foot: Annotated[float, Field(ge=0, lt=1, description="Share of the height at which a bump begins and ends.")] = 0.1
    shortest: Annotated[
        float, Field(ge=0, le=4, description="Shortest duration of an expression.", json_schema_extra=unit("s"))
    ] = 0.1
    near_eyes: Annotated[
        float, Field(ge=0, le=1000, description="Factor on the least heights of regions near the eyes.")
    ] = 1.5
    blink: Annotated[
        float, Field(ge=0, le=1000, description="Change of the eyes beyond which a bump near them is a blink.")
    ] = 0.3
    blink_height: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description="Height from which a bump near the eyes counts in spite of a blink.",
            json_schema_extra=unit("distances between the eyes"),
        ),
    ] = 0.06
    reference: Annotated[
        float,
        Field(
            gt=0, le=60, description="Time after which a new reference picture is taken.", json_schema_extra=unit("s")
        ),
    ] = 0.75


FLOW_PEAKS = Spotter(
    name="flow-peaks",
    title="Bumps in regional flow",
    paper="This library; regional flow relative to the nose after He (MEGC 2021, OF-FD) and Liong et al. (SOFTNet).",
    summary="Paths of 14 facial regions by optical flow, without head motion; bumps tested for shape; blinks left out.",
    departures=(),
    model=FlowPeaksParameters,
    watch=FlowWatcher,
    decide=decide,
    part=20.0,
    margin=10.0,
    enough=50.0,
    tuned={
        "micro": {"micro_height": (0.003, 0.004, 0.006, 0.008, 0.011, 0.015, 0.02, 0.028)},
        "macro": {"macro_height": (0.008, 0.012, 0.02, 0.03, 0.045, 0.065)},
    },
)
