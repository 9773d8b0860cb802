"""Action units as label sheets print them, and as numbers."""

from __future__ import annotations

import re
import unicodedata

_UNCERTAIN = re.compile(r"\(\s*k\s*\)", re.IGNORECASE)
_ALTERNATIVE = re.compile(r"\s+or\s+", re.IGNORECASE)
_UNIT = re.compile(r"(?:AU)?\s*([LR]?)\s*(?:AU)?\s*(\d+)", re.IGNORECASE)


def clean_action_units(text: str) -> str:
    """One spelling for a cell of action units: parts joined by "+", no spaces.

    Full-width signs become plain ones. Of "R12 or R15" the first named unit stays. Units marked "(k)" (4DME's mark for
    an uncertain one) are left out, as in published comparisons on that database.
    """
    # Chinese input methods leave full-width signs in several sheets; NFKC makes them plain.
    parts = re.split(r"[+,;&、]", unicodedata.normalize("NFKC", text))
    kept = (_ALTERNATIVE.split(part.strip())[0] for part in parts if not _UNCERTAIN.search(part))
    return "+".join(re.sub(r"\s+", "", part) for part in kept if part.strip())


def parse_action_units(text: str) -> tuple[tuple[str | None, int], ...]:
    """Action units of a label sheet as (side, number) pairs, in the order printed.

    Args:
        text: Such as "4+L12", "AU4 + AU7B" or "R12 or R15". Letters after a number are intensities and are dropped.

    Returns:
        Pairs whose side is "L", "R" or None for both; empty for "", "0" and text without a number.
    """
    units: list[tuple[str | None, int]] = []
    for part in clean_action_units(text).split("+"):
        match = _UNIT.match(part)
        if match and int(match[2]):
            units.append((match[1].upper() or None, int(match[2])))
    return tuple(units)
