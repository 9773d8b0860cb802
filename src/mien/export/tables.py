"""Write an answer as a table of its intervals, or completely as JSON."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from mien.io.atomic import unwritable, write_atomically
from mien.recognition.records import Answer, as_json


def write_csv(answer: Answer, out: Path) -> Path:
    """Write a table with one row per interval; an answer without intervals gives the header only.

    Columns: video, person, kind, onset, apex and offset as frame numbers and in seconds, length in seconds, whether
    the interval was given or found, the score of the spotter, the class, one column `p_CLASS` for the probability of
    each class, and why no class is named.

    Args:
        answer: The answer.
        out: The file, `.csv`.

    Returns:
        `out`.

    Raises:
        MienError: `out` cannot be written.
    """
    classes = answer.card.classes
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    moments = ("onset", "apex", "offset")
    writer.writerow(
        ("video", "person", "kind", *(f"{m}_frame" for m in moments), *(f"{m}_s" for m in moments), "length_s",
         "interval", "score", "class", *(f"p_{name}" for name in classes), "abstained", "why", "notes")
    )  # fmt: skip
    for event in answer.events:
        times = [getattr(event, m) for m in moments]
        writer.writerow(
            (
                answer.video.name, event.person, event.kind, *(m.index for m in times),
                *(f"{m.seconds:.4f}" for m in times), f"{event.seconds:.4f}", "given" if event.given else "found",
                "" if event.score is None else f"{event.score:.3f}", event.label or "",
                *(f"{event.probabilities[name]:.4f}" if event.probabilities else "" for name in classes),
                " ".join(reason.about for reason in event.abstained),
                " ".join(reason.text for reason in event.abstained), " ".join(event.notes),
            )
        )  # fmt: skip
    return write(out, buffer.getvalue())


def write_json(answer: Answer, out: Path) -> Path:
    """Write the whole answer as JSON, as `mien recognise --json` prints it.

    Args:
        answer: The answer.
        out: The file, `.json`.

    Returns:
        `out`.

    Raises:
        MienError: `out` cannot be written.
    """
    return write(out, json.dumps(as_json(answer), indent=2, ensure_ascii=False) + "\n")


def write(out: Path, content: str | bytes) -> Path:
    """Write a file completely or not at all, and create its folder if necessary.

    Args:
        out: The file.
        content: Its content; text is written as UTF-8.

    Raises:
        MienError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(Path(folder) / "new" / "a.txt", "text").read_text()
        'text'
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, content)
    except OSError as error:
        raise unwritable(out, error, "another folder.") from None
    return out
