"""Names of action units, and in plain words what each does to the face; the table is `tables/facs.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class FacsUnit:
    """One action unit of the Facial Action Coding System (FACS).

    Attributes:
        number: FACS number.
        name: FACS name, such as "brow lowerer".
        words: What a viewer sees, in plain words.
        muscle: What pulls.
    """

    number: int
    name: str
    words: str
    muscle: str

    @property
    def code(self) -> str:
        """The unit as it is usually written, such as "AU4"."""
        return f"AU{self.number}"


@cache
def facs_units() -> Mapping[int, FacsUnit]:
    """Return the action units that have a name here, by their FACS number.

    Example:
        >>> facs_units()[4].words
        'the eyebrows are drawn down and together'
    """
    text = (resources.files("mien.datasets") / "tables" / "facs.toml").read_text(encoding="utf-8")
    return {int(number): FacsUnit(int(number), **entry) for number, entry in tomllib.loads(text).items()}


def unit_name(number: int) -> str:
    """Return the FACS name of an action unit; "AU99" for one without a name here.

    Args:
        number: FACS number.

    Example:
        >>> unit_name(12), unit_name(99)
        ('lip corner puller', 'AU99')
    """
    known = facs_units().get(number)
    return known.name if known else f"AU{number}"
