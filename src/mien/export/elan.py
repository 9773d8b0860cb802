"""Write an answer as tiers for ELAN, the program that most people use to code faces by hand.

Each person has a tier for each action unit that occurs, whose values come from a controlled vocabulary of FACS names,
with a tier of details below it. Then a tier of expressions and, below it, tiers that ELAN keeps aligned with it: the
class, which is derived, its probability, and why no class is named. ELAN knows intervals only, so the apex is an
interval of one frame on a tier of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pympi import Eaf
from pympi.Elan import to_string

from mien.datasets.facs import facs_units, unit_name
from mien.export.columns import unit_details
from mien.export.tables import write
from mien.recognition import wording
from mien.recognition.records import Answer, Event, UnitAnswer, VideoFacts

VOCABULARY: Final = "FACS"
"""Name of the controlled vocabulary of action units."""

_KINDS = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".avi": "video/x-msvideo",
    ".mpg": "video/mpeg", ".mpeg": "video/mpeg", ".webm": "video/webm", ".mkv": "video/x-matroska",
}  # fmt: skip


def write_eaf(answer: Answer, out: Path, beside: str | None = None) -> Path:
    """Write an annotation document for ELAN 4.7 and later (EAF 2.8).

    Args:
        answer: The answer.
        out: The file, `.eaf`. It links the video by its absolute path and by its path relative to this file.
        beside: File name of the video, if this file will be stored in the same folder; its present path is then not
            linked.

    Returns:
        `out`.

    Raises:
        MienError: `out` cannot be written.

    Example:
        >>> path = write_eaf(answer, Path("face.eaf"))  # answer = mien.recognise("face.mkv")
        >>> "person 1: expression" in Eaf(str(path)).get_tier_names()
        True

    Source: https://www.mpi.nl/tools/elan/EAFv2.8.xsd
    """
    return write(out, eaf_bytes(answer, out, beside))


def eaf_bytes(answer: Answer, out: Path, beside: str | None = None) -> bytes:
    """Return the content of an annotation document; see `write_eaf`."""
    document = Eaf(author="mien")
    document.remove_tier("default")
    document.add_linguistic_type("part", constraints="Symbolic_Association", timealignable=False)
    film = Path(answer.video.source)
    if beside is not None:
        kind = _KINDS.get(Path(beside).suffix.lower(), "video/x-unknown")
        document.add_linked_file(f"./{quote(beside)}", relpath=f"./{quote(beside)}", mimetype=kind)
    elif film.is_file():
        film = film.resolve()
        relative = _relative(film, out.absolute().parent)
        document.add_linked_file(
            film.as_uri(), relpath=relative, mimetype=_KINDS.get(film.suffix.lower(), "video/x-unknown")
        )
    for name, text in (
        ("action units", wording.unit_weights(answer.unit_card, answer.units_off)),
        ("trained on", wording.trained_on(answer.card)),
        ("error rate", wording.error_rate(answer.card)),
        ("what it is not", wording.NOT),
    ):
        if text:
            document.add_property(f"mien: {name}", text)
    if answer.units:
        _vocabulary(document, answer.units)
    for track in answer.tracks:
        _unit_tiers(document, f"person {track.person}", track.events, answer.video)
        _tiers(document, f"person {track.person}", track.events, answer.video)
    if not answer.tracks:
        document.add_tier("no face")
    return bytes(to_string(document, encoding="UTF-8"))


def _vocabulary(document: Eaf, units: Sequence[int]) -> None:
    """Add the codes of the units that are answered, each for both sides of the face and for one."""
    document.add_language("eng", "http://cdb.iso.org/lg/CDB-00138502-001", "English (eng)")
    document.add_controlled_vocabulary(VOCABULARY)
    document.add_cv_description(
        VOCABULARY, "eng", "Action units of the Facial Action Coding System; L and R are the person's own sides."
    )
    for unit in units:
        known = facs_units().get(unit)
        words = f": {known.words}" if known else ""
        for code, side in ((f"AU{unit}", ""), (f"L{unit}", ", left side only"), (f"R{unit}", ", right side only")):
            document.add_cv_entry(VOCABULARY, f"cve-{code}", [(code, "eng", unit_name(unit) + side + words)])
    # pympi's own arguments for a type know no vocabulary.
    document.add_linguistic_type("action unit")
    document.linguistic_types["action unit"]["CONTROLLED_VOCABULARY_REF"] = VOCABULARY


def _unit_tiers(document: Eaf, person: str, events: tuple[Event, ...], video: VideoFacts) -> None:
    """Add a tier for each unit that occurs, with the details of each occurrence below it."""
    occurring: dict[int, list[tuple[Event, UnitAnswer]]] = {}
    for event in events:
        for unit in event.moved:
            occurring.setdefault(unit.unit, []).append((event, unit))
    for number, found in sorted(occurring.items()):
        tier = f"{person}: AU{number} {unit_name(number)}"
        document.add_tier(tier, ling="action unit", part=person)
        document.add_tier(f"{tier}, details", ling="part", parent=tier, part=person)
        end = -1
        for event, unit in found:
            first, last = span_of(event.onset.seconds, event.offset.seconds, video)
            first = max(first, end)
            end = max(last, first + 1)
            document.add_annotation(tier, first, end, unit.code)
            document.add_ref_annotation(f"{tier}, details", tier, (first + end) // 2, unit_details(unit))


def _tiers(document: Eaf, person: str, events: tuple[Event, ...], video: VideoFacts) -> None:
    kind = f"{person}: expression"
    document.add_tier(kind, part=person)
    parts = {name: f"{person}: {name}" for name in ("class (derived)", "probability", "not named because")}
    for tier in parts.values():
        document.add_tier(tier, ling="part", parent=kind, part=person)
    document.add_tier(f"{person}: apex", part=person)
    end = -1
    for event in events:
        first, last = span_of(event.onset.seconds, event.offset.seconds, video)
        # In ELAN, the annotations of one tier must not overlap.
        first = max(first, end)
        last = max(last, first + 1)
        document.add_annotation(kind, first, last, event.kind)
        values = {
            "class (derived)": event.said or None,
            "probability": ", ".join(f"{event.probabilities[name]:.2f}" for name in event.tied) or None,
            "not named because": " ".join(reason.text for reason in event.abstained) or None,
        }
        for name, value in values.items():
            if value is not None:
                document.add_ref_annotation(parts[name], kind, (first + last) // 2, value)
        apex = span_of(event.apex.seconds, event.apex.seconds, video)
        document.add_annotation(f"{person}: apex", max(apex[0], first), min(max(apex[1], first + 1), last), "apex")
        end = last


def span_of(first: float, last: float, video: VideoFacts) -> tuple[int, int]:
    """Return the milliseconds of the file from the beginning of one frame to the end of another.

    Args:
        first: Time of one frame, in seconds of the answer.
        last: Time of the other, in seconds of the answer.
        video: Facts about the video.
    """

    def played(seconds: float) -> int:
        # Players play the file at its own rate, also where the user gave another one.
        return max(0, round(1000 * (video.start + (seconds - video.start) * video.slower)))

    begin = played(first)
    return begin, max(begin + 1, played(last + 1 / video.fps))


def _relative(film: Path, folder: Path) -> str:
    import os

    try:
        path = os.path.relpath(film, folder.resolve())
    except ValueError:  # another drive
        return film.as_uri()
    relative = Path(path).as_posix()
    return relative if relative.startswith("..") else f"./{relative}"
