"""A film's file, without decoding: opening it safely, when its frames are shown, where decoding can begin."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from mien import MOST_PIXELS

_NOT_FILMS: Final = frozenset({"tty", "concat", "hls", "lavfi"})
"""FFmpeg takes a text file for a film of a terminal, and a play list for an order to open other files."""

_STRICT: Final = {"err_detect": "explode", "max_pixels": str(MOST_PIXELS)}
"""Damage that a decoder notices is an error, else it paints over it and tells nobody; so is a frame beyond all size."""

_HOLDS_BOXES: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"})
"""Parts of an MP4 on the way to its tables of frames."""

_EBML: Final = 0x1A45DFA3
_SEGMENT: Final = 0x18538067
_CLUSTER: Final = 0x1F43B675
_BLOCK: Final = 0xA3
_PARTS: Final = frozenset(
    {_EBML, _SEGMENT, _CLUSTER, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
    | {_BLOCK, 0xE7, 0xA0, 0xAB, 0xA7, 0x5854, 0xEC, 0xBF}
)
"""Names of what may stand in a Matroska file, in its segment, and in a cluster of frames."""

_MOST_BOXES: Final = 2_000_000
"""Parts that an MP4 may have: some in every second of a film that was sent in fragments."""


class Scan(NamedTuple):
    """All that the packets of a file tell without decoding: when each frame is shown, and where decoding can begin."""

    times: NDArray[np.int64]  # presentation times of the frames, ascending, in ticks; empty when the packets lack them
    keys: NDArray[np.int64]  # those of the key frames, ascending
    tick: float  # seconds
    n_frames: int | None
    rate: float | None
    variable: bool | None
    start: float  # seconds from the start of the file's clock to the first frame
    shown: NDArray[
        np.int64
    ]  # when frames are shown, in ticks; also known where packets do not tell frames by their times
    cut: bool  # whether packets at the end are missing; only known where `times` is empty
    unsure: NDArray[np.bool_]  # whether each frame is lost or built upon a lost one; empty if none is


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its video stream; pictures of album covers do not count. Raises FFmpegError."""
    facts = path.stat()
    if _claims_too_much(path, facts.st_size, facts.st_mtime_ns):
        raise av.InvalidDataError(0, "it claims more frames than it has bytes")
    # Only this file: a play list may not make mien read others, or fetch them.
    options = {"protocol_whitelist": "file"}
    with av.open(str(path.resolve()), options=options, metadata_errors="replace") as container:
        # A stream of an unknown codec has no decoder.
        known: list[Any] = [s for s in container.streams.video if s.codec_context is not None]
        films = [s for s in known if not s.disposition & av.stream.Disposition.attached_pic]
        if container.format.name in _NOT_FILMS or not films:
            raise av.InvalidDataError(0, "no video stream")
        films[0].codec_context.options = _STRICT
        yield container, films[0]


@lru_cache(maxsize=16)
def _claims_too_much(path: Path, size: int, changed: int) -> bool:
    """Whether the tables of an MP4 name more frames than it has bytes for: FFmpeg would make room for all of them.

    Args:
        path: The file.
        size: Its bytes.
        changed: When it was, so that another file of this name is looked at anew.
    """
    parts = [(0, size)]
    with path.open("rb") as file:
        for _ in range(_MOST_BOXES):
            while parts and parts[-1][0] + 8 > parts[-1][1]:
                parts.pop()
            if not parts:
                return False
            at, end = parts.pop()
            file.seek(at)
            head = file.read(24)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            length = length or end - at
            if length < 8 or not (kind.isalnum() and kind.isascii()):
                if not at:
                    return False  # another kind of file
                continue
            parts.append((at + length, end))
            if kind in _HOLDS_BOXES:
                parts.append((at + 8, min(at + length, end)))
            elif kind == b"stsz":  # version and flags, the size of all frames or 0, their number
                each, count = (int.from_bytes(head[n : n + 4], "big") for n in (12, 16))
                if count * max(each, 1) > size:
                    return True
            elif kind == b"trun" and int.from_bytes(head[12:16], "big") > size:
                return True
    return True


def packets_of(container: InputContainer, stream: VideoStream, careful: bool) -> Iterator[av.Packet[VideoStream]]:
    """The packets, up to where the file can be read."""
    try:
        for packet in container.demux(stream):
            # An empty packet marks a dropped frame; a decoder would take it for the end.
            if packet.size or packet.dts is None:
                yield packet
    except av.FFmpegError:
        if not careful:
            raise


def scan(path: Path, first: int | None, fields: bool, note: Callable[[str], None]) -> Scan:
    """Walks through the packets of a film's file.

    Args:
        path: The file.
        first: Presentation time of the first frame that can be decoded, in ticks; None where it has none.
        fields: Whether two packets may make one frame.
        note: Takes a sentence for each thing that is missing.

    Raises:
        FFmpegError: The file is not what it was on opening.
    """
    times, keys, n, hidden, early = array("q"), array("q"), 0, 0, 0
    damaged = False  # are packets missing or incomplete
    slots = array("q")  # when packets are decoded
    timed = not fields
    broken, after = False, None  # is the last packet incomplete; when it, or the one after it, would be decoded
    with opened(path) as (container, stream):
        for packet in packets_of(container, stream, careful=True):
            if packet.size:
                broken = packet.is_corrupt
                after = packet.dts if broken or packet.dts is None else packet.dts + (packet.duration or 0)
            if packet.is_discard or not packet.size or packet.is_corrupt:
                hidden += packet.is_discard
                damaged = damaged or broken
                continue
            n += 1
            if packet.dts is not None:
                slots.append(packet.dts)
            if packet.pts is None or first is None:
                timed = False
            elif packet.pts < first:
                early += 1
            else:
                times.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
        rates = [float(rate) for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate) if rate]
        tick = float(stream.time_base or 0)
        claimed, length = stream.frames - hidden, _length(stream)
        # The clock starts with the earliest stream, for example with sound that begins before the picture.
        zero = None if container.start_time is None else container.start_time / av.time_base
        shown, cut = np.zeros(0, np.int64), False
        if container.format.name == "avi" and stream.codec_context.has_b_frames:
            # AVI keeps no order of showing: beside B-frames its times are those of decoding, under another name.
            timed, shown = False, _reordered(slots, n)
            first = int(shown[0]) if len(shown) else stream.start_time
            cut = broken or claimed > (after or 0)  # the frames that an AVI dropped count in its header
            if cut and claimed > n:
                note(f"The file says it has {claimed} frames, {n} are there.")
        elif after is not None and first is not None:
            # Where a file was cut, frames that it has may be shown after some that it lacks, so that their numbers are
            # not known: all that it lacks would be decoded, and so shown, no sooner than `after`.
            said = claimed > 0 or length is not None  # does the file tell how many there should be
            ends = claimed > n or _ends_early(times, length, tick, rates) if said else _gap(times, after, tick, rates)
            if broken or ends or _lacks_bytes(path):
                known = max(after, first)
                kept = array("q", (moment for moment in times if moment <= known))
                keys = array("q", (moment for moment in keys if moment <= known))
                n, times = n - len(times) + len(kept), kept
    unsure = np.zeros(0, bool)
    order, key_order = np.sort(np.asarray(times, np.int64)), np.sort(np.asarray(keys, np.int64))
    if not timed or len(order) != n - early or (np.diff(order) == 0).any():
        none = np.zeros(0, np.int64)
        start = 0.0 if zero is None or first is None else first * tick - zero
        varies = True if len(shown) else None
        return Scan(
            none, none, tick, None if fields else n, rates[0] if rates else None, varies, start, shown, cut, unsure
        )
    gaps = bool(rates) and len(order) > 1 and np.diff(order).max() * tick * rates[0] > 1.5
    if gaps and (damaged or _broken_inside(path)):
        left, order = order, _with_lost(order, 1 / (tick * rates[0]))
        unsure = _after_lost(order, left, key_order)
        n = len(order) + early
    if early:
        note(f"{early} packet(s) before the first whole picture cannot be decoded.")
    seconds = (order - order[0]) * tick
    steady = [rate for rate in rates if np.abs(seconds * rate - np.arange(len(order))).max() <= tick * rate + 1e-6]
    mean = (len(order) - 1) / seconds[-1] if len(order) > 1 else None
    rate = steady[0] if steady else mean
    # The frames that an AVI dropped count in its header.
    spanned = round(seconds[-1] * rates[0]) + 1 if rates else n
    if claimed > max(n, spanned):
        note(f"The file says it has {claimed} frames, {n} are there.")
    elif length and steady and _ends_early(times, length, tick, steady):
        last = max(order[-1] * tick, seconds[-1])
        note(f"The file says it lasts {length:.2f} s, its last frame is at {last:.2f} s: it ends too early.")
    start = 0.0 if zero is None else float(order[0]) * tick - zero
    return Scan(
        order, key_order, tick, len(order), rate, not steady if len(order) > 2 else None, start, order, False, unsure
    )


def _reordered(slots: Sequence[int], n: int) -> NDArray[np.int64]:
    """Return when frames are shown, from when they are decoded; empty if no frame was dropped between them.

    A frame is shown when the next one has been decoded, at the earliest.
    """
    decoded = np.sort(np.asarray(slots, np.int64))
    if len(decoded) != n or n < 2 or (np.diff(decoded) == 1).all() or (np.diff(decoded) < 1).any():
        return np.zeros(0, np.int64)
    return np.append(decoded[1:] - 1, decoded[-1])


def _with_lost(order: NDArray[np.int64], each: float) -> NDArray[np.int64]:
    """Return the times of the frames of a damaged film and of those that it lost: the others keep their numbers.

    Args:
        order: Times of the frames that are left, ascending, in ticks.
        each: Ticks from one frame to the next.

    Returns:
        The times; unchanged where the frames were not evenly spaced: how many were lost is not known then.
    """
    numbers = np.rint((order - order[0]) / each).astype(np.int64)
    if np.abs(order - order[0] - numbers * each).max() > 1 or (np.diff(numbers) < 1).any() or numbers[-1] > 10**7:
        return order
    every = order[0] + np.rint(np.arange(numbers[-1] + 1) * each).astype(np.int64)
    every[numbers] = order
    return np.asarray(every)


def _after_lost(order: NDArray[np.int64], left: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each frame whether it was lost or follows a lost one before the next key frame; empty if none was."""
    if len(order) == len(left):
        return np.zeros(0, bool)
    unsure = ~np.isin(order, left)
    ends = np.append(keys, order[-1] + 1)
    for lost in np.flatnonzero(unsure):
        unsure[lost : np.searchsorted(order, ends[np.searchsorted(ends, order[lost])])] = True
    return unsure


def _ends_early(times: Sequence[int], length: float | None, tick: float, rates: Sequence[float]) -> bool:
    """Return whether the last of some frames is shown well before the end that the header states."""
    # FFmpeg counts the length from 0, mkvmerge from the first frame: what the file lacks under both is missing.
    return (
        bool(length and times and rates)
        and (length or 0) - max(max(times), max(times) - min(times)) * tick > 2.5 / rates[0]
    )


def _lacks_bytes(path: Path) -> bool:
    """Return whether a Matroska file is shorter than its header states."""
    with path.open("rb") as file:
        head, segment = _element(file), None
        if head is not None and head[0] == _EBML and head[1] is not None:
            file.seek(head[1], 1)
            segment = _element(file)
        if segment is None or segment[1] is None:
            return False  # another kind of file, or a live recording
        return file.tell() + segment[1] > path.stat().st_size


def _broken_inside(path: Path) -> bool:
    """Return whether something stands in a Matroska file, before its end, that is no part of one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        part = _element(file)
        if part is None or part[0] != _EBML:
            return False
        file.seek(0)
        while file.tell() < size:
            part = _element(file)
            if part is None or part[0] not in _PARTS:
                return True
            if part[0] not in (_SEGMENT, _CLUSTER):
                if part[1] is None:
                    return True
                begin = file.tell()
                if part[0] == _BLOCK and file.read(1) == b"\0":  # it belongs to no track
                    return True
                file.seek(begin + part[1])
    return False


def _element(file: BinaryIO) -> tuple[int, int | None] | None:
    """Return the name and the length of a part of a Matroska file, read from its beginning; None if not stated."""
    numbers = []
    for marked in (True, False):
        first = int.from_bytes(file.read(1), "big")
        if not first:
            return None
        more = 8 - first.bit_length()  # the leading zeros tell how many bytes follow
        rest = file.read(more)
        if len(rest) < more:
            return None
        numbers.append(int.from_bytes(bytes([first if marked else first & ((1 << (7 - more)) - 1)]) + rest, "big"))
    name, length = numbers
    return name, None if length == (1 << 7 * (more + 1)) - 1 else length


def _gap(times: Sequence[int], after: int, tick: float, rates: Sequence[float]) -> bool:
    """Whether frames shown after a moment follow each other at more than the usual distance."""
    late = sorted(times)[-(1 + sum(moment > after for moment in times)) :]
    return bool(rates) and any((b - a) * tick > 1.5 / rates[0] for a, b in pairwise(late))


def _length(stream: VideoStream) -> float | None:
    """Return the seconds up to the end of the last frame, as the header of a Matroska file states."""
    clock = re.match(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    return 3600 * int(clock[1]) + 60 * int(clock[2]) + float(clock[3]) if clock else None
