"""Liong, See and Wong, "Shallow optical flow three-stream CNN for macro- and micro-expression spotting from long
videos", ICIP 2021.

The input is the flow from each frame to the frame k later, without the motion of the nose, with the eyes masked and
only brows and mouth kept. A small network predicts whether an expression is in progress. It is trained on
pseudo-labels: 1 if the window overlaps a true interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import uniform_filter1d

from mien.motion.strain import optical_strain
from mien.parameters import Parameters
from mien.spotting.base import KINDS, Kind, Rows, Seconds, Spot, Spotter, Threshold
from mien.spotting.face_stream import EYES, HEIGHT, WIDTH, Look
from mien.spotting.peaks import PARTS_DEPARTURE, Curve, Delayed, RecentPictures, around_peaks, both_kinds, half_window

Floats = NDArray[np.float32]

SIZE: Final = 42
"""Height and width of the network's input."""

_PER_KIND: Final = 3 * SIZE * SIZE
_MASK: Final = 0.06 * EYES  # margin of the eye mask around the lids; 15 pixels of 128 in the authors' code


def three_regions(flow: NDArray[Any], points: Floats) -> Floats:
    """Make the input of the network from the optical flow of a face.

    Args:
        flow: (HEIGHT, WIDTH, 2) flow in pixels.
        points: (68, 2) landmarks in pixels.

    Returns:
        (3, 42, 42): u and v in multiples of the distance between the eyes, and strain (no unit). Both brows are in the
        upper half, the mouth is in the lower half.

    Source: section 2.2 of the paper.
    """
    nose = _box(points[27:36], 0.0)
    still = (flow - flow[nose].reshape(-1, 2).mean(0)) / EYES
    seen = np.dstack([still, optical_strain(still * EYES, "small")]).astype(np.float32)
    for lids in (points[36:42], points[42:48]):
        seen[_box(lids, _MASK)] = 0
    half = SIZE // 2
    brows = [
        _resized(seen[_box(np.concatenate([brow, lids]), 0.08 * EYES)], half, half)
        for brow, lids in ((points[17:22], points[36:42]), (points[22:27], points[42:48]))
    ]
    mouth = _resized(seen[_box(points[48:68], 0.12 * EYES)], half, SIZE)
    return np.ascontiguousarray(np.concatenate([np.concatenate(brows, 1), mouth]).transpose(2, 0, 1))


def _box(points: Floats, margin: float) -> tuple[slice, slice]:
    low, high = points.min(0) - margin, points.max(0) + margin
    x0, y0 = (int(np.clip(v, 0, n - 3)) for v, n in zip(low, (WIDTH, HEIGHT), strict=True))
    x1, y1 = (int(np.clip(np.ceil(v), lo + 2, n - 1)) for v, lo, n in zip(high, (x0, y0), (WIDTH, HEIGHT), strict=True))
    return slice(y0, y1 + 1), slice(x0, x1 + 1)


def _resized(picture: Floats, height: int, width: int) -> Floats:
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=cv2.INTER_LINEAR))


class SoftWatcher(Delayed):
    """Makes rows of 2 x 3 x 42 x 42 numbers in half precision: the input of the network for the window of each kind."""

    def __init__(self, fps: float, parameters: Mapping[str, Any]) -> None:
        super().__init__(fps, parameters)
        self._held = RecentPictures(max(self._k) + 1)
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._newest: Floats | None = None

    def _keep(self, look: Look | None) -> None:
        self._held.add(look)
        if look is not None:
            # All pictures are aligned with the newest crop rectangle, so its landmarks fit all of them.
            self._newest = look.points

    def _row(self) -> Rows:
        first = len(self._held) - 1 - max(self._k)
        row: Rows = np.full(2 * _PER_KIND, np.nan, np.float16)
        for column, k in enumerate(self._k):
            if first < 0 or self._newest is None:
                continue
            now, later = self._held[first], self._held[first + k]
            if now is not None and later is not None:
                flow = np.asarray(self._flow.calc(now, later, None))
                row[column * _PER_KIND : (column + 1) * _PER_KIND] = three_regions(flow, self._newest).ravel()
        return row


def pseudo_labels(n: int, true: Sequence[Spot], k: int, kind: Kind) -> NDArray[np.float32]:
    """Return (n,) labels: 1 if the window of frames i to i + k overlaps a true interval of this kind, else 0.

    Args:
        n: Number of frames.
        true: True intervals.
        k: Length of the window in frames.
        kind: Kind of the expressions.

    Example:
        >>> pseudo_labels(8, [Spot(4, None, 5, "micro")], 2, "micro").tolist()
        [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]

    Source: section 2.3 of the paper: "1" wherever the intersection over union is above 0.
    """
    labels = np.zeros(n, np.float32)
    for spot in true:
        if spot.kind == kind:
            labels[max(spot.onset - k, 0) : spot.offset + 1] = 1
    return labels


class SoftModel:
    """Two trained networks, one for each kind."""

    def __init__(self, networks: Sequence[Any]) -> None:
        self.networks = list(networks)

    def score(self, rows: Rows) -> Rows:
        """Return (T, 2) scores for (T, 2 x 3 x 42 x 42) inputs; NaN where the input is NaN."""
        import torch

        scores = np.full((len(rows), len(KINDS)), np.nan, np.float32)
        for column, network in enumerate(self.networks):
            part = rows[:, column * _PER_KIND : (column + 1) * _PER_KIND]
            known = np.flatnonzero(~np.isnan(part[:, 0]))
            network.eval()
            with torch.inference_mode():
                for start in range(0, len(known), 512):
                    some = known[start : start + 512]
                    x = torch.from_numpy(np.asarray(part[some], np.float32)).view(-1, 3, SIZE, SIZE)
                    scores[some, column] = network(x * SCALE)[:, 0].numpy()
        return scores


SCALE: Final = 20.0
"""Factor applied to the inputs: a motion by 1/20 of the distance between the eyes becomes 1."""


def train(
    rows: Sequence[Rows],
    true: Sequence[Sequence[Spot]],
    fps: Sequence[float],
    parameters: Mapping[str, Any],
    seed: int,
) -> SoftModel:
    """Train one network for each kind, on equal numbers of frames with and without an expression.

    Args:
        rows: Inputs of each training video.
        true: True expressions of each training video.
        fps: Frames per second of each training video.
        parameters: As in `SOFTNET`.
        seed: The same seed gives the same networks on the same machine.
    """
    import torch

    from mien.classifiers.schedule import Schedule
    from mien.classifiers.training import fit
    from mien.models.softnet import SoftNet

    rng = np.random.default_rng([seed, 3])
    schedule = Schedule(
        epochs=int(parameters["epochs"]), batch_size=int(parameters["batch_size"]), lr=parameters["lr"],
        momentum=parameters["momentum"], loss="squared",
    )  # fmt: skip
    networks = []
    for column, kind in enumerate(KINDS):
        places: dict[int, list[tuple[int, int]]] = {0: [], 1: []}
        for v, (part, spots, rate) in enumerate(zip(rows, true, fps, strict=True)):
            labels = pseudo_labels(len(part), spots, half_window(parameters[f"{kind}_seconds"], rate), kind)
            known = ~np.isnan(part[:, column * _PER_KIND])
            for label in (0, 1):
                places[label] += [(v, int(i)) for i in np.flatnonzero(known & (labels == label))]
        n = min(len(places[0]), len(places[1]), int(parameters["samples"]) // 2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence([seed, column]).generate_state(1)[0]))
            network = SoftNet(SIZE)
            if n > 0:
                chosen = [places[label][i] for label in (0, 1) for i in rng.permutation(len(places[label]))[:n]]
                x = np.stack([rows[v][i, column * _PER_KIND : (column + 1) * _PER_KIND] for v, i in chosen])
                y = torch.cat([torch.zeros(n), torch.ones(n)])
                inputs = torch.from_numpy(x.astype(np.float32)).view(-1, 3, SIZE, SIZE) * SCALE
                fit(network, inputs, y, schedule)
            else:  # no training frames of this kind: the network never finds any
                torch.nn.init.zeros_(network.score.weight)
                torch.nn.init.zeros_(network.score.bias)
        networks.append(network)
    return SoftModel(networks)


def decide(rows: Rows, fps: float, parameters: Mapping[str, Any]) -> list[Spot]:
    """Return intervals around the peaks of the smoothed scores.

    Args:
        rows: (T, 2) scores.
        fps: Frames per second.
        parameters: As in `SOFTNET`.

    Source: section 2.4 of the paper.
    """

    def one(curve: Curve, kind: Kind) -> list[Spot]:
        k = half_window(parameters[f"{kind}_seconds"], fps)
        known = ~np.isnan(curve)
        if known.sum() < 2 * k + 1:
            return []
        level = float(curve[known].mean())
        filled = np.where(known, curve, level)
        smooth = uniform_filter1d(filled, 2 * k + 1, mode="nearest")
        return around_peaks(smooth, parameters["p"], k, kind)

    return both_kinds(rows, one)


class SoftnetParameters(Parameters):
    """Parameters of softnet."""

    micro_seconds: Seconds = 0.4
    macro_seconds: Seconds = 1.3
    p: Threshold = 0.55
    epochs: Annotated[int, Field(ge=1, le=100_000, description="Times that training sees every frame.")] = 10
    batch_size: Annotated[int, Field(ge=1, le=1_000_000, description="Frames in each training step.")] = 12
    lr: Annotated[float, Field(ge=0, le=100, description="Learning rate.")] = 5e-4
    momentum: Annotated[float, Field(ge=0, lt=1, description="Momentum of gradient descent.")] = 0.0
    samples: Annotated[int, Field(ge=2, le=1_000_000_000, description="Most frames that are trained on.")] = 20000


SOFTNET = Spotter(
    name="softnet",
    title="SOFTNet",
    paper="Liong, See and Wong, ICIP 2021 (arXiv 2106.06489).",
    summary="A small three-stream network over flow and strain of brows and mouth, trained on pseudo-labels.",
    departures=(
        "DIS flow instead of TV-L1, which is hundreds of times slower.",
        "The authors' code scales every flow picture to the same range; here motion is measured in multiples of the "
        "distance between the eyes, because spotting depends on how large it is.",
        "k is half of 0.4 s for micro- and half of 1.3 s for macro-expressions; the paper uses half of the mean "
        "duration in each database, computed from the annotations of all subjects.",
        "Videos faster than 30 frames per second are reduced to about 30: the windows are in seconds, and of SAMM's "
        "200 frames per second, neighbours are nearly equal.",
        "Equal numbers of frames with and without an expression, at most 20,000 together.",
        PARTS_DEPARTURE,
    ),
    model=SoftnetParameters,
    watch=SoftWatcher,
    decide=decide,
    part=120.0,
    margin=4.0,
    train=train,
    rate=30.0,
)
