"""Random timelines: which action units show an emotion, how strongly and for how long, and what else the face does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from mien.datasets.action_units import parse_action_units
from mien.errors import MienError, unknown_name
from mien.synthesis.timeline import INTENSITY, Blink, Glance, Head, Kind, Movement, Timeline, action_units, read_table

_MICRO_SECONDS: Final = (0.08, 0.5)
_MACRO_SECONDS: Final = (0.5, 2.5)


@dataclass(frozen=True, slots=True)
class Manner:
    """How difficult a corpus is: distributions of everything that is random in a clip besides its emotion.

    Attributes:
        atypical: Fraction of the clips whose action units are those of another emotion, 0 to 1.
        coded: Fraction of the clips, 0 to 1, whose action units are taken from `tables/coded_units.toml`: what coders
            found in real databases, rare combinations more often than there. The others come from
            `tables/emotions.toml`.
        intensity: Median intensity of a micro-expression, 0.05 to 0.3.
        spread: Standard deviation of the logarithm of the intensity.
        asymmetry: Standard deviation of the asymmetry of a movement.
        blinks: Blinks per second. People at rest blink every three to four seconds, and more often when excited.
        lids: Probability of a small movement of the lids in each half second, 0 to 1.
        glances: Glances per second.
        drift: Median size of slow head movement in IOD, 0 to 0.05; see `Head`.
    """

    atypical: float = 0.08
    coded: float = 0.0
    intensity: float = 0.13
    spread: float = 0.45
    asymmetry: float = 0.15
    blinks: float = 0.4
    lids: float = 0.4
    glances: float = 0.3
    drift: float = 0.006

    def __post_init__(self) -> None:
        low, high = INTENSITY["micro"]
        parts = (self.atypical, self.coded, self.lids)
        sizes = (self.spread, self.asymmetry, self.blinks, self.glances, self.drift)
        if not low <= self.intensity <= high or min(*parts, *sizes) < 0 or max(parts) > 1 or self.drift > 0.05:
            raise MienError(
                f"A value is out of range: {self}.",
                f"an intensity of {low:g} to {high:g}; atypical, coded and lids of 0 to 1; others from 0, a drift "
                "up to 0.05.",
                "`Manner()`.",
            )


def emotions() -> tuple[str, ...]:
    """Return the names of the emotions that can be shown.

    Example:
        >>> "happiness" in emotions()
        True
    """
    return tuple(read_table("emotions"))


def draw_units(emotion: str, rng: np.random.Generator, atypical: float = 0.0, coded: float = 0.0) -> str:
    """Choose at random the action units that show an emotion, as a label sheet prints them ("6+12", "L12").

    Args:
        emotion: A name in `emotions()`, upper or lower case.
        rng: Random generator.
        atypical: Probability, 0 to 1, of taking the units of a random emotion instead.
        coded: Probability, 0 to 1, of taking the units from real label sheets, if these know the emotion.

    Raises:
        MienError: The emotion is unknown.

    Example:
        >>> draw_units("happiness", np.random.default_rng(1))
        '6+12+25'

    Source: `tables/emotions.toml`, `tables/coded_units.toml`.
    """
    table = read_table("emotions")
    name = emotion.lower()
    if name not in table:
        raise unknown_name("emotion", emotion, table, "mien.synthesis.acting.emotions()")
    if rng.random() < atypical:
        name = str(rng.choice([e for e in table if "shown" in table[e]]))
    while "mixture" in table[name]:
        name = _pick(table[name]["mixture"], rng)
    if coded and rng.random() < coded and name in read_table("coded_units"):
        # By the square root of their counts: rare units would hardly be seen otherwise.
        return _pick({units: n**0.5 for units, n in read_table("coded_units")[name]["shown"]}, rng)
    return _pick(dict(map(tuple, table[name]["shown"])), rng)


def _pick(weights: Mapping[str, float], rng: np.random.Generator) -> str:
    names, values = list(weights), np.array(list(weights.values()), float)
    return names[int(rng.choice(len(names), p=values / values.sum()))]


def draw_span(kind: Kind, fps: float, rng: np.random.Generator) -> tuple[int, int]:
    """Choose at random the frames from onset to apex, and from onset to offset, of one expression.

    A micro-expression lasts 0.08 to 0.5 s (median 0.32), a macro-expression 0.5 to 2.5 s. The apex is at about two
    fifths of the duration.

    Args:
        kind: "micro" or "macro".
        fps: Frames per second.
        rng: Random generator.

    Example:
        >>> apex, length = draw_span("micro", 200, np.random.default_rng(0))
        >>> 0 < apex < length <= 100
        True
    """
    median, spread, (low, high) = (0.32, 0.35, _MICRO_SECONDS) if kind == "micro" else (1.1, 0.4, _MACRO_SECONDS)
    seconds = float(np.clip(median * np.exp(spread * rng.normal()), low, high))
    length = max(3, round(seconds * fps))
    apex = round(length * float(np.clip(rng.normal(0.42, 0.12), 0.15, 0.8)))
    return min(max(apex, 1), length - 1), length


def draw_movements(
    units: str,
    onset: int,
    apex: int,
    offset: int,
    rng: np.random.Generator,
    *,
    kind: Kind = "micro",
    manner: Manner | None = None,
) -> tuple[Movement, ...]:
    """Make the movements of action units, with random intensity, asymmetry and small differences in time.

    The first unit keeps the given times; the others start up to a tenth of the length later and end up to a tenth
    earlier. Units that the synthetic faces cannot show are left out.

    Args:
        units: Action units, such as "4+L12".
        onset: Last frame before the movement.
        apex: Frame of the strongest movement.
        offset: First frame after the movement.
        rng: Random generator.
        kind: "micro" or "macro".
        manner: Distributions of the random values.

    Example:
        >>> [m.unit for m in draw_movements("6+12", 0, 20, 50, np.random.default_rng(0))]
        ['AU6', 'AU12']
    """
    manner = manner or Manner()
    low, high = INTENSITY[kind]
    median = manner.intensity if kind == "micro" else 0.55
    common = median * float(np.exp(manner.spread * rng.normal()))
    found: list[Movement] = []
    slack = (offset - onset) // 10
    for side, number in parse_action_units(units):
        intensity = float(np.clip(common * np.exp(0.2 * rng.normal()), low, high))
        asymmetry = float(np.clip(manner.asymmetry * rng.normal(), -0.6, 0.6))
        later, earlier = (int(rng.integers(slack + 1)) if found else 0 for _ in range(2))
        skew = float(rng.uniform(0.75, 1.35))
        if f"AU{number}" in action_units():
            start, end = min(onset + later, apex - 1), max(offset - earlier, apex + 1)
            half = None if side is None else "L" if side == "L" else "R"
            found.append(
                Movement(f"AU{number}", start, apex, end, intensity, half, asymmetry, kind, skew)  # type: ignore[arg-type]
            )
    return tuple(found)


def draw_surroundings(
    n_frames: int, fps: float, rng: np.random.Generator, manner: Manner | None = None
) -> tuple[tuple[Blink, ...], tuple[Glance, ...], Head]:
    """Make random blinks, small lid movements, glances and head motion for a number of frames.

    Args:
        n_frames: Number of frames.
        fps: Frames per second.
        rng: Random generator.
        manner: Distributions of the random values.
    """
    manner = manner or Manner()
    seconds = n_frames / fps
    blinks = []
    for _ in range(rng.poisson(manner.blinks * seconds)):
        down, up = max(1, round(rng.uniform(0.06, 0.12) * fps)), max(1, round(rng.uniform(0.12, 0.25) * fps))
        onset = int(rng.integers(n_frames))
        blinks.append((onset, onset + down, onset + down + up, float(rng.uniform(0.7, 1.0))))
    for _ in range(rng.binomial(max(1, round(2 * seconds)), manner.lids)):
        down, up = (max(2, round(rng.uniform(0.1, 0.5) * fps)) for _ in range(2))
        onset = int(rng.integers(n_frames))
        blinks.append((onset, onset + down, onset + down + up, float(rng.uniform(0.04, 0.25))))
    glances = [
        Glance(
            int(rng.integers(n_frames)),
            max(1, round(0.04 * fps)),
            float(np.clip(rng.normal(0, 0.02), -0.05, 0.05)),
            float(np.clip(rng.normal(0, 0.01), -0.03, 0.03)),
        )
        for _ in range(rng.poisson(manner.glances * seconds))
    ]
    head = Head(
        drift=float(np.clip(manner.drift * np.exp(0.6 * rng.normal()), 0, 0.1)),
        tremor=float(rng.uniform(0.0002, 0.0012)),
        tremor_hz=float(rng.uniform(7, 11)),
        breathing=float(rng.uniform(0.0005, 0.004)),
        breathing_hz=float(rng.uniform(0.2, 0.35)),
        seed=int(rng.integers(2**31)),
    )
    return tuple(Blink(*b) for b in blinks if b[1] < n_frames), tuple(glances), head


def draw_micro(
    emotion: str, fps: float, rng: np.random.Generator, *, manner: Manner | None = None, units: str | None = None
) -> tuple[Timeline, str]:
    """Make a random micro-expression, from its onset at frame 0 to its offset at the last frame.

    Args:
        emotion: A name in `emotions()`.
        fps: Frames per second.
        rng: Random generator.
        manner: Distributions of the random values.
        units: Action units to show; None chooses them at random.

    Returns:
        The timeline, and the action units that it shows.

    Example:
        >>> timeline, units = draw_micro("surprise", 200, np.random.default_rng(0), units="1+2")
        >>> timeline.units(), units
        ('1+2', '1+2')
    """
    manner = manner or Manner()
    units = units or draw_units(emotion, rng, manner.atypical, manner.coded)
    apex, length = draw_span("micro", fps, rng)
    movements = draw_movements(units, 0, apex, length, rng, manner=manner)
    blinks, glances, head = draw_surroundings(length, fps, rng, manner)
    return Timeline(length, fps, movements, blinks, glances, head), units
