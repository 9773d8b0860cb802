"""A protocol: train on one half of the subjects, test on the other, and the other way round."""

from collections.abc import Sequence

from mien.evaluation.protocols import Protocol
from mien.types import Fold, Sample


def subject_halves(samples: Sequence[Sample]) -> list[Fold]:
    """Return two folds; subjects alternate, in alphabetical order.

    Args:
        samples: Clips with their classes.
    """
    people = sorted({s.clip.person for s in samples})
    halves = [[i for i, s in enumerate(samples) if people.index(s.clip.person) % 2 == side] for side in (0, 1)]
    return [Fold(f"half{side + 1}", train=tuple(halves[1 - side]), test=tuple(halves[side])) for side in (0, 1)]


SUBJECT_HALVES = Protocol("subject_halves", "train on one half of the subjects, test on the other", subject_halves)
