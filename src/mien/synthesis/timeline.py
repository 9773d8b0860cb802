"""Timelines: what a face does and when. Action units, blinks, glances and small head motion, as frozen records.

Values do not depend on the size of the picture: intensities are fractions of the greatest movement of an action unit,
and lengths are multiples of the distance between the eyes (IOD, interocular distance). All times are in frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from tomllib import loads
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from mien.datasets.action_units import parse_action_units
from mien.errors import MienError, unknown_name

Kind = Literal["micro", "macro"]
Side = Literal["L", "R"]

INTENSITY: Final = {"micro": (0.05, 0.3), "macro": (0.3, 1.0)}
"""Lowest and highest intensity of each kind of movement, as a fraction of the greatest movement of the unit."""

HEAD: Final = ("right", "down", "roll", "nearer", "yaw", "pitch")
"""Columns of `Timeline.head_path`, in IOD, IOD, radians, fractions of the size, radians, radians."""


@cache
def read_table(name: str) -> dict[str, Any]:
    """Read the data file `tables/<name>.toml` of this package."""
    return loads((files("mien.synthesis") / "tables" / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def action_units() -> tuple[str, ...]:
    """Return the names of the action units that the synthetic faces can show ("AU1", ...).

    Example:
        >>> "AU12" in action_units()
        True
    """
    return tuple(read_table("action_units"))


@dataclass(frozen=True, slots=True)
class Movement:
    """The movement of one action unit from onset to offset; the face is neutral before and after.

    Attributes:
        unit: A name in `action_units()`.
        onset: Last frame before any movement.
        apex: Frame of the strongest movement.
        offset: First frame without any movement.
        intensity: Fraction of the greatest movement of the unit; the range depends on `kind`, see `INTENSITY`.
        side: The person's own left or right half only; None for both halves.
        asymmetry: -1 to 1; positive if the person's left half moves more: (1 + a) against (1 - a) times the intensity.
        kind: "micro" or "macro".
        skew: Shape of the rise, 0.5 to 2; above 1 it starts slowly.
    """

    unit: str
    onset: int
    apex: int
    offset: int
    intensity: float
    side: Side | None = None
    asymmetry: float = 0.0
    kind: Kind = "micro"
    skew: float = 1.0

    def __post_init__(self) -> None:
        if self.unit not in action_units():
            raise unknown_name("action unit", self.unit, action_units(), "mien.synthesis.timeline.action_units()")
        _check_order(self.unit, self.onset, self.apex, self.offset)
        if self.kind not in INTENSITY:
            raise unknown_name("kind of movement", self.kind, INTENSITY, "kind='micro'")
        low, high = INTENSITY[self.kind]
        if not low <= self.intensity <= high:
            raise MienError(
                f"{self.unit} has the intensity {self.intensity:g} in a {self.kind}-expression.",
                f"{low:g} to {high:g} of the greatest movement of the unit.",
                f"`intensity={min(max(self.intensity, low), high):g}`"
                + (", or `kind='macro'`." if self.kind == "micro" and self.intensity > high else "."),
            )
        if not -1 <= self.asymmetry <= 1 or not 0.5 <= self.skew <= 2 or self.side not in ("L", "R", None):
            raise MienError(
                f"{self.unit} has asymmetry {self.asymmetry:g}, skew {self.skew:g}, side {self.side!r}.",
                "an asymmetry of -1 to 1, a skew of 0.5 to 2, and the side L, R or None.",
                "`asymmetry=0.1, skew=1.0, side=None`.",
            )

    def halves(self) -> tuple[float, float]:
        """Return the relative strength of the person's right and left half; their mean is 1 if both move."""
        right, left = (float(self.side in (None, half)) for half in ("R", "L"))
        return right * (1 - self.asymmetry), left * (1 + self.asymmetry)

    def curve(self, frames: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the activation 0..1 at frame times (T,): a smooth rise to the apex and a smooth fall to 0."""
        return _hill(frames, self.onset, self.apex, self.offset, self.skew)


@dataclass(frozen=True, slots=True)
class Blink:
    """A blink: both upper lids go down and up again.

    Attributes:
        onset: Last frame before the lids move.
        apex: Frame at which the lids are lowest.
        offset: First frame at which the lids are up again.
        closure: Fraction of the eye opening that is covered, above 0, at most 1.
    """

    onset: int
    apex: int
    offset: int
    closure: float = 1.0

    def __post_init__(self) -> None:
        _check_order("A blink", self.onset, self.apex, self.offset)
        if not 0 < self.closure <= 1:
            raise MienError(f"A blink closes {self.closure:g} of the eye.", "above 0, at most 1.", "`closure=1`.")

    def curve(self, frames: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the closure 0..1 at frame times (T,)."""
        return self.closure * _hill(frames, self.onset, self.apex, self.offset, 1.0)


@dataclass(frozen=True, slots=True)
class Glance:
    """A glance: the eyes turn within a few frames, and stay there.

    Attributes:
        onset: Frame at which the eyes start to turn.
        length: Frames that the turn takes, at least 1.
        right: Displacement of the irises to the right of the picture in IOD, at most 0.08.
        down: Displacement of the irises downwards in IOD, at most 0.08.
    """

    onset: int
    length: int
    right: float
    down: float

    def __post_init__(self) -> None:
        if self.length < 1 or abs(self.right) > 0.08 or abs(self.down) > 0.08:
            raise MienError(
                f"A glance of {self.length} frame(s) by {self.right:g}, {self.down:g}.",
                "at least one frame, and at most 0.08 of the distance between the eyes in each direction.",
                "`length=8, right=0.02, down=0`.",
            )

    def path(self, frames: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the (T, 2) displacement of the irises in IOD, x then y."""
        share = np.clip((frames - self.onset) / self.length, 0, 1)
        return np.asarray((share * share * (3 - 2 * share))[:, None] * (self.right, self.down))


@dataclass(frozen=True, slots=True)
class Head:
    """Motion of a head that tries to keep still: drift, tremor and breathing, all zero at frame 0.

    Attributes:
        drift: Size of slow movement in IOD (and of slow rotation, in radians), 0 to 0.2.
        tremor: Amplitude of the tremor in IOD, 0 to 0.2.
        tremor_hz: Frequency of the tremor.
        breathing: Amplitude of the nod caused by breathing in IOD, 0 to 0.2.
        breathing_hz: Frequency of the breathing.
        seed: Seed of the path, from 0.
    """

    drift: float = 0.006
    tremor: float = 0.0006
    tremor_hz: float = 9.0
    breathing: float = 0.002
    breathing_hz: float = 0.27
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = (self.drift, self.tremor, self.breathing)
        if min(sizes) < 0 or max(sizes) > 0.2 or min(self.tremor_hz, self.breathing_hz) <= 0 or self.seed < 0:
            raise MienError(
                f"A head that drifts by {self.drift:g}, trembles by {self.tremor:g} at {self.tremor_hz:g} Hz and "
                f"breathes by {self.breathing:g} at {self.breathing_hz:g} Hz, seed {self.seed}.",
                "sizes of 0 to 0.2 of the distance between the eyes, frequencies above 0, a seed from 0.",
                "`Head()`, or `STILL` for a head that does not move.",
            )

    def path(self, frames: NDArray[np.floating[Any]], fps: float) -> NDArray[np.float64]:
        """Return the (T, 6) position of the head at frame times (T,), with the columns `HEAD`."""
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, 77]))
        seconds = np.append(np.asarray(frames, np.float64), 0.0) / fps
        total = np.zeros((len(seconds), len(HEAD)))
        # A sum of slow waves resembles the random walk of a head, and can be computed for any single frame.
        for low, high, size in ((0.05, 0.2, 1.0), (0.2, 0.6, 0.5), (0.6, 1.6, 0.2)):
            hertz, phase = rng.uniform(low, high, len(HEAD)), rng.uniform(0, 2 * np.pi, len(HEAD))
            height = self.drift * size * rng.normal(0, 1, len(HEAD)).clip(-2, 2)
            total += height * np.sin(2 * np.pi * hertz * seconds[:, None] + phase)
        phase = rng.uniform(0, 2 * np.pi, 3)
        beat = self.tremor_hz * rng.uniform(0.8, 1.25, 2)
        for column in (0, 1):
            total[:, column] += self.tremor * np.sin(2 * np.pi * beat[column] * seconds + phase[column])
        breath = np.sin(2 * np.pi * self.breathing_hz * seconds + phase[2])
        total[:, 1] += self.breathing * breath
        total[:, 5] += 0.5 * self.breathing * breath
        return np.asarray(total[:-1] - total[-1])


STILL: Final = Head(0.0, 0.0, 9.0, 0.0, 0.27, 0)
"""A head that does not move at all."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything that a face does in a clip or a long video. Frame 0 shows the neutral face at rest.

    Attributes:
        n_frames: Length in frames.
        fps: Frames per second, 1 to 1000.
        movements: Movements of action units.
        blinks: Blinks.
        glances: Turns of the eyes.
        head: Motion of the head.

    Example:
        >>> Timeline(60, 200, movements_of("4+L12", onset=5, apex=25, offset=50, intensity=0.15)).units()
        '4+L12'
    """

    n_frames: int
    fps: float
    movements: tuple[Movement, ...] = ()
    blinks: tuple[Blink, ...] = ()
    glances: tuple[Glance, ...] = ()
    head: Head = field(default_factory=Head)

    def __post_init__(self) -> None:
        if self.n_frames < 1 or not 1 <= self.fps <= 1000:
            raise MienError(
                f"A timeline of {self.n_frames} frame(s) at {self.fps:g} per second.",
                "at least one frame, and 1 to 1000 per second.",
                "`Timeline(n_frames=60, fps=200)`.",
            )
        timed: list[Movement | Blink] = [*self.movements, *self.blinks]
        for each in timed:
            if each.apex > self.n_frames - 1:
                raise MienError(
                    f"The apex of {_name(each)} is frame {each.apex} of a timeline of {self.n_frames} frames.",
                    f"an apex up to frame {self.n_frames - 1}.",
                    f"`n_frames={each.offset + 1}`, or an earlier apex.",
                )
        for glance in self.glances:
            if not 0 <= glance.onset < self.n_frames:
                raise MienError(
                    f"A glance starts at frame {glance.onset} of a timeline of {self.n_frames} frames.",
                    f"a frame of 0 to {self.n_frames - 1}.",
                    "an earlier glance.",
                )

    def activations(self, frames: NDArray[np.integer[Any]] | None = None) -> NDArray[np.float64]:
        """Return (T, movements) the intensity of each movement times its curve, in some frames or all."""
        at = self._times(frames)
        columns = [m.intensity * m.curve(at) for m in self.movements]
        return np.stack(columns, 1) if columns else np.zeros((len(at), 0))

    def closures(self, frames: NDArray[np.integer[Any]] | None = None) -> NDArray[np.float64]:
        """Return (T,) the fraction of the eye opening that blinks cover, 0..1."""
        at = self._times(frames)
        return np.asarray(np.max([np.zeros(len(at)), *(b.curve(at) for b in self.blinks)], axis=0))

    def gaze(self, frames: NDArray[np.integer[Any]] | None = None) -> NDArray[np.float64]:
        """Return (T, 2) the displacement of the irises in IOD, x then y."""
        at = self._times(frames)
        return np.asarray(np.sum([np.zeros((len(at), 2)), *(g.path(at) for g in self.glances)], axis=0))

    def head_path(self, frames: NDArray[np.integer[Any]] | None = None) -> NDArray[np.float64]:
        """Return (T, 6) the position of the head, with the columns `HEAD`."""
        return self.head.path(self._times(frames), self.fps)

    def units(self) -> str:
        """Return the action units as label sheets print them, such as "4+L12"."""
        codes = [f"{m.side or ''}{m.unit.removeprefix('AU')}" for m in self.movements]
        return "+".join(dict.fromkeys(codes))

    def _times(self, frames: NDArray[np.integer[Any]] | None) -> NDArray[np.float64]:
        return np.asarray(np.arange(self.n_frames) if frames is None else frames, np.float64)


def movements_of(units: str, **given: Any) -> tuple[Movement, ...]:
    """Make movements of the same times and intensity for several action units.

    Args:
        units: Action units as label sheets print them, such as "4+L12".
        **given: The other attributes of `Movement`.

    Raises:
        MienError: The faces cannot show one of the units, or a value is out of range.

    Example:
        >>> [(m.unit, m.side) for m in movements_of("4+L12", onset=5, apex=25, offset=50, intensity=0.15)]
        [('AU4', None), ('AU12', 'L')]
    """
    return tuple(Movement(unit=f"AU{number}", side=_side(side), **given) for side, number in parse_action_units(units))


def _side(text: str | None) -> Side | None:
    return "L" if text == "L" else "R" if text == "R" else None


def _name(each: Movement | Blink) -> str:
    return each.unit if isinstance(each, Movement) else "a blink"


def _check_order(what: str, onset: int, apex: int, offset: int) -> None:
    if not 0 <= onset < apex < offset:
        raise MienError(
            f"{what} has its onset at frame {onset}, its apex at {apex} and its offset at {offset}.",
            "an onset from frame 0, then the apex, then the offset.",
            f"`onset={max(onset, 0)}, apex={max(onset, 0) + 10}, offset={max(onset, 0) + 25}`.",
        )


def _hill(frames: NDArray[np.floating[Any]], onset: int, apex: int, offset: int, skew: float) -> NDArray[np.float64]:
    rise = np.clip((frames - onset) / (apex - onset), 0, 1) ** skew
    fall = np.clip((offset - frames) / (offset - apex), 0, 1)
    share = np.where(frames <= apex, rise, fall)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * share))
