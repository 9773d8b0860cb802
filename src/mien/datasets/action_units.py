"""Action units as label sheets print them: one parser for every database.

What the marks mean, as the sheets' own keys and the FACS manual say: before the number, `L` and `R` are sides, `A` is
asymmetric (on both sides, stronger on one), `T` is the top and `B` the bottom of the lips; after it, `A` to `E` are
intensities. "/", "or" and parentheses give alternatives, `(k)` (4DME) and "?" mark an uncertain unit, `ref(...)`
(SAMM) a unit given for reference. `AD` is an action descriptor and `M` a movement of the head.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, Literal

Side = Literal["L", "R"]
Modifier = Literal["A", "T", "B"]
Kind = Literal["AU", "AD", "M"]

_TOKEN: Final = re.compile(r"[0-9]+|[A-Za-z]+|\S")
_PREFIX: Final = re.compile(r"(AU|AD|M)?([LRATB])?(AU|AD)?")
_NO_UNIT: Final = frozenset({"null", "none", "nan", "na"})
_JOINS: Final = frozenset("+,;&、-_.:")
_HIGHEST: Final = 99
_MOST_CHARACTERS: Final = 2000


@dataclass(frozen=True, slots=True)
class ActionUnit:
    """One action unit of a label sheet.

    Attributes:
        number: FACS number, 1 to 99.
        side: "L" or "R" where the sheet names one side; None for both.
        modifier: "A" asymmetric, "T" top, "B" bottom; None without one.
        intensity: The letters A to E that were printed, the preferred one first; empty where none was.
        alternatives: Other readings of this unit, each of one or more units; empty where the coder was sure.
        marks: Further marks: "?" or "k" (uncertain), "ref" (given for reference), "lost" (the unit ends).
        kind: "AU"; "AD" for an action descriptor, "M" for a movement of the head.
    """

    number: int
    side: Side | None = None
    modifier: Modifier | None = None
    intensity: tuple[str, ...] = ()
    alternatives: tuple[tuple[ActionUnit, ...], ...] = ()
    marks: tuple[str, ...] = ()
    kind: Kind = "AU"

    @property
    def uncertain(self) -> bool:
        """Whether the sheet marks the unit as uncertain or gives an alternative."""
        return bool(self.alternatives) or "?" in self.marks or "k" in self.marks

    @property
    def counts(self) -> bool:
        """Whether the unit counts as present: not marked "(k)", as in published work on 4DME, and not lost."""
        return "k" not in self.marks and "lost" not in self.marks

    @property
    def code(self) -> str:
        """The unit in one spelling: kind where it is not AU, side or modifier, number, intensity ("L12A/B")."""
        kind = "" if self.kind == "AU" else self.kind
        return f"{kind}{self.side or self.modifier or ''}{self.number}{'/'.join(self.intensity)}"


def parse(text: str) -> tuple[ActionUnit, ...]:
    """Return the action units of one cell of a label sheet, in the order printed.

    Of alternatives, the first is in the result and holds the others. Words that name no unit ("glare", "chewing") are
    skipped.

    Args:
        text: The cell, such as "4+L12", "AU4 + AU7B", "(R6 or R12) + R15", "A1B+A2C" or "4D+ref(6)+7(B/C)".

    Returns:
        The units; empty for "", "0", "?", "NULL" and text without a unit.

    Example:
        >>> [unit.code for unit in parse("A/L12 + 7(B/C)")]
        ['A12', '7B/C']
        >>> parse("R12 or R15")[0].alternatives[0][0].code
        'R15'
    """
    return _parsed(unicodedata.normalize("NFKC", text)[:_MOST_CHARACTERS])


@cache
def _parsed(text: str) -> tuple[ActionUnit, ...]:
    if text.strip().lower() in _NO_UNIT:
        return ()
    return tuple(_Parser(text).sequence())


def clean_action_units(text: str) -> str:
    """Return one spelling of a cell: the units that count, by "+" and without spaces, alternatives by their first.

    Args:
        text: The cell, as the sheet prints it.

    Example:
        >>> clean_action_units("(R6 or R12) + R15")
        'R6+R15'
    """
    prefix = "AU" if re.search(r"AU\s*[LR]?\s*[0-9]", text, re.IGNORECASE) else ""
    units = (unit for unit in parse(text) if unit.counts)
    return "+".join((prefix if unit.kind == "AU" else "") + unit.code for unit in units)


def parse_action_units(text: str) -> tuple[tuple[str | None, int], ...]:
    """Return the action units of a cell that count, as (side, number) pairs in the order printed.

    Args:
        text: Such as "4+L12", "AU4 + AU7B" or "R12 or R15". Intensities and modifiers are dropped; see `parse`.

    Returns:
        Pairs whose side is "L", "R" or None for both; empty for "", "0" and text without a number.

    Example:
        >>> parse_action_units("4+L12")
        ((None, 4), ('L', 12))
    """
    return tuple((unit.side, unit.number) for unit in parse(text) if unit.counts and unit.kind == "AU")


class _Parser:
    """Reads one cell from left to right. What cannot be a unit is skipped, so any text can be parsed."""

    def __init__(self, text: str) -> None:
        self.tokens = [part for token in _TOKEN.findall(text) for part in _words(token)]
        self.at = 0

    def sequence(self, closing: bool = False) -> list[ActionUnit]:
        """Return the units up to the end, or to the parenthesis that closes the group."""
        units: list[ActionUnit] = []
        lost = False
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token == ")" and closing:
                break
            if token == "?" and units:
                units[-1] = _marked(units[-1], "?")
                self.at += 1
            elif token.lower() in ("loses", "lose", "lost"):
                lost = True
                self.at += 1
            else:
                found = self.choice()
                units += (_marked(unit, "lost") for unit in found) if lost else found
        return units

    def choice(self) -> list[ActionUnit]:
        """Return one item with the alternatives that follow it; the first one is preferred."""
        readings = [self.item()]
        while self.at < len(self.tokens) and self._is_or(self.at):
            self.at += 1
            readings.append(self.item())
        readings = [reading for reading in readings if reading]
        if not readings:
            return []
        first, *others = readings
        if others:
            # "R12/15" and "R(12or14)" mean one side.
            first = [replace(first[0], alternatives=(*first[0].alternatives, *map(tuple, others))), *first[1:]]
        return first

    def item(self) -> list[ActionUnit]:
        """Return a group in parentheses or one unit. Any other word is skipped and gives nothing."""
        start = self.at
        while self._peek() == "-":
            self.at += 1
        prefixes = self._prefixes()
        token = self._peek()
        if token == "(":
            self.at += 1
            inside = self.sequence(closing=True)
            self.at += self._peek() == ")"
            for prefix in reversed(prefixes):
                inside = [_prefixed(unit, prefix) for unit in inside]
            return self._suffixed(inside) if inside else []
        if token.isdigit():
            # "2x" counts how often a unit was seen.
            if self._peek(1).lower() in ("x", "times"):
                self.at += 2
                return []
            number = int(token) if len(token) < 4 else 0
            self.at += 1
            if not 0 < number <= _HIGHEST:
                return []
            readings = [_prefixed(ActionUnit(number), prefix) for prefix in prefixes or [""]]
            unit = readings[0]
            if len(readings) > 1:
                unit = replace(unit, alternatives=tuple((reading,) for reading in readings[1:]))
            return self._suffixed([unit])
        if self.at == start or not prefixes:
            self.at = max(self.at, start)
            word = self._peek().lower()
            self.at += 1
            if word == "ref":
                marked = [_marked(unit, "ref") for unit in self.item()]
                # "6C/D+ref(7)12E" lacks a plus: what follows is a unit of its own.
                return marked
        return []

    def _prefixes(self) -> list[str]:
        """Return the letters before a number: one, or alternatives ("A/", "(A/R)")."""
        at = self.at
        wrapped = self._peek() == "("
        at += wrapped
        found: list[str] = []
        while True:
            letters = ""
            while at < len(self.tokens) and _PREFIX.fullmatch(letters + self.tokens[at].upper()):
                letters += self.tokens[at].upper()
                at += 1
            if not letters:
                return []
            found.append(letters)
            if at < len(self.tokens) and self._is_or(at):
                at += 1
                continue
            break
        if wrapped:
            if at >= len(self.tokens) or self.tokens[at] != ")":
                return []
            at += 1
        if at >= len(self.tokens) or not (self.tokens[at].isdigit() or (self.tokens[at] == "(" and not wrapped)):
            return []
        self.at = at
        return found

    def _suffixed(self, units: list[ActionUnit]) -> list[ActionUnit]:
        """Return the units with the intensity and the marks that follow them."""
        letters = self._intensity()
        if letters:
            units = [_intense(unit, letters) for unit in units]
        while True:
            if self._peek() == "?":
                self.at += 1
                units = [_marked(unit, "?") for unit in units]
            elif self._peek() == "(" and self._peek(1).lower() == "k" and self._peek(2) == ")":
                self.at += 3
                units = [_marked(unit, "k") for unit in units]
            else:
                return units

    def _intensity(self) -> tuple[str, ...]:
        """Return the letters A to E after a number, with or without parentheses; not those of the next unit."""
        at = self.at
        wrapped = self._peek() == "("
        at += wrapped
        letters: list[str] = []
        while at < len(self.tokens) and re.fullmatch("[A-Ea-e]", self.tokens[at]):
            if not wrapped and at + 1 < len(self.tokens) and self.tokens[at + 1].isdigit():
                break
            letters.append(self.tokens[at].upper())
            self.at = at = at + 1
            while at < len(self.tokens) and (
                self._is_or(at) or (wrapped and self.tokens[at].lower() in ("and", "then", "-"))
            ):
                at += 1
        if wrapped:
            if not letters or self.at >= len(self.tokens) or self.tokens[self.at] != ")":
                if letters:
                    self.at -= 1  # as it was: no group of letters alone
                return ()
            self.at += 1
        return tuple(letters)

    def _is_or(self, at: int) -> bool:
        return self.tokens[at].lower() == "or" or self.tokens[at] in "/\\|"

    def _peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ""


def _words(token: str) -> Iterable[str]:
    """Split an intensity from an "or" that follows it directly: "Aor" is "A", "or"."""
    glued = re.fullmatch(r"([A-Ea-e])(or)(.*)", token)
    return [part for part in glued.groups() if part] if glued and not glued[3].islower() else [token]


def _prefixed(unit: ActionUnit, prefix: str) -> ActionUnit:
    match = _PREFIX.fullmatch(prefix)
    if match is None:
        return unit
    kind: Kind = "AD" if "AD" in (match[1], match[3]) else "M" if match[1] == "M" else unit.kind
    letter = match[2]
    side: Side | None = "L" if letter == "L" else "R" if letter == "R" else unit.side
    modifier: Modifier | None = unit.modifier
    if letter in ("A", "T", "B"):
        modifier = "A" if letter == "A" else "T" if letter == "T" else "B"
    others = tuple(tuple(_prefixed(other, prefix) for other in reading) for reading in unit.alternatives)
    return replace(unit, kind=kind, side=side, modifier=modifier, alternatives=others)


def _intense(unit: ActionUnit, letters: tuple[str, ...]) -> ActionUnit:
    others = tuple(tuple(_intense(other, letters) for other in reading) for reading in unit.alternatives)
    return replace(unit, intensity=unit.intensity or letters, alternatives=others)


def _marked(unit: ActionUnit, mark: str) -> ActionUnit:
    return unit if mark in unit.marks else replace(unit, marks=(*unit.marks, mark))


def numbers(units: Sequence[ActionUnit]) -> frozenset[int]:
    """Return the numbers of the units that count.

    Args:
        units: What `parse` returned.

    Example:
        >>> sorted(numbers(parse("4+R7A")))
        [4, 7]
    """
    return frozenset(unit.number for unit in units if unit.counts and unit.kind == "AU")
