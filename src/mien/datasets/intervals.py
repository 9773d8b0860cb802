"""Onset, apex and offset of a row, and what to say where they cannot all be right."""

from __future__ import annotations

from collections.abc import Mapping

from mien.datasets.rows import whole_number
from mien.types import Interval


def read_interval(row: Mapping[str, str]) -> tuple[Interval | None, list[str]]:
    """Return onset, apex and offset of a row; what the sheet does not give is None, never 0.

    A missing offset (blank, 0, or before the onset) is the apex mirrored, 2 * apex - onset, as published spotting
    work on CAS(ME)^2 does; an apex outside onset..offset counts as missing.

    Returns:
        The interval, or None where onset, or both apex and offset, are missing or the onset lies after both; and
        remarks.

    Example:
        >>> read_interval({"onset": "3", "apex": "5", "offset": "9"})
        (Interval(onset=3, apex=5, offset=9), [])
    """
    onset, apex, offset = (whole_number(row.get(field, "")) for field in ("onset", "apex", "offset"))
    if onset is None or onset < 0:
        return None, [f"There is no onset ({row.get('onset', '')!r})."]
    apex = apex if apex and apex > 0 else None
    offset = offset if offset and offset > 0 else None
    if offset is not None and offset < onset and (apex is None or apex < onset):
        return None, [_too_late(onset, apex, offset)]
    notes: list[str] = []
    if offset is None or offset < onset:
        if apex is None or apex < onset:
            what = "no offset" if apex is None else f"no offset, and the onset {onset} lies after the apex {apex}"
            return None, [f"There is {what} ({row.get('offset', '')!r})."]
        printed = f"The offset {row.get('offset', '')!r} is not usable"
        if offset is not None:
            printed = f"The onset {onset} lies after the offset {offset}"
        notes.append(f"{printed}; 2 * apex - onset = {2 * apex - onset} is used.")
        offset = 2 * apex - onset
    if apex is not None and not onset <= apex <= offset:
        side = f"The onset {onset} lies after the apex {apex}; the apex" if apex < onset else f"The apex {apex}"
        where = "" if apex < onset else f" lies outside {onset}..{offset} and"
        notes.append(f"{side}{where} counts as missing.")
        apex = None
    return Interval(onset, apex, offset), notes


def _too_late(onset: int, apex: int | None, offset: int) -> str:
    """Return the remark on an onset after its apex and offset, with the likely number if one digit is wrong."""
    after = f"apex {apex} and offset {offset}" if apex is not None else f"offset {offset}"
    latest = offset if apex is None else min(apex, offset)
    digits = str(onset)
    likely = {int(digits[:i] + d + digits[i + 1 :]) for i in range(len(digits)) for d in "0123456789"}
    near = max((number for number in likely if number <= latest), default=None)
    guess = f"; probably {near}" if near is not None and latest - near < 10 * max(offset - latest, 100) else ""
    return f"The onset {onset} lies after {after}{guess}."
