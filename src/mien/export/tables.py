"""Write an answer as a table of its expressions or frames, or completely as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from mien.export.columns import as_csv, as_parquet, event_rows, frame_rows
from mien.io.atomic import unwritable, write_atomically
from mien.recognition.records import Answer, as_json


def write_csv(answer: Answer, out: Path, per_frame: bool = False) -> Path:
    """Write a table with one row per expression; an answer without expressions gives the header only.

    Columns: video, person, kind, onset, apex and offset as frame numbers and in seconds, length in seconds, whether
    the interval was annotated or detected, and the score of the spotter. For each action unit `AU01` ...: its
    probability (`AU01`, as py-feat names it), whether it is present (`AU01_c`, as OpenFace names it), the person's
    side that moved (`AU01_side`) and how far the skin moved, in percent of the distance between the eyes
    (`AU01_strength`; not OpenFace's `AU01_r`, an intensity from 0 to 5). Then the class, one column `p_CLASS` for
    the probability of each class, why no class is named, and notes. A text that a spreadsheet would take for a formula
    gets an apostrophe.

    Args:
        answer: The answer.
        out: The file, `.csv`.
        per_frame: Write one row per frame and person instead: `frame` from 0, `timestamp` in seconds, `face_id`,
            `success` (1 where the face is in view), the kind of expression, and `AU01`, `AU01_c` ... of the expression
            that lasts, 0 where there is none.

    Returns:
        `out`.

    Raises:
        MienError: `out` cannot be written.

    Example:
        >>> path = write_csv(answer, Path("face.csv"))  # answer = mien.recognise("face.mkv")
        >>> path.read_text(encoding="utf-8-sig").split(",")[:4]
        ['video', 'person', 'kind', 'onset_frame']
    """
    return write(out, as_csv(frame_rows(answer) if per_frame else event_rows([answer])))


def write_parquet(answer: Answer, out: Path, per_frame: bool = False) -> Path:
    """Write the table of `write_csv` as a Parquet file, with numbers as they are and empty cells as null.

    Args:
        answer: The answer.
        out: The file, `.parquet`.
        per_frame: See `write_csv`.

    Returns:
        `out`.

    Raises:
        MienError: `out` cannot be written, or the package pyarrow is not installed.

    Example:
        >>> path = write_parquet(answer, Path("face.parquet"))  # answer = mien.recognise("face.mkv")
        >>> import pandas
        >>> pandas.read_parquet(path)["offset_frame"].tolist()
        [13]
    """
    return write(out, as_parquet(frame_rows(answer) if per_frame else event_rows([answer])))


def write_json(answer: Answer, out: Path) -> Path:
    """Write the whole answer as JSON, as `mien recognise --json` prints it.

    Args:
        answer: The answer.
        out: The file, `.json`.

    Returns:
        `out`.

    Raises:
        MienError: `out` cannot be written.

    Example:
        >>> path = write_json(answer, Path("face.json"))  # answer = mien.recognise("face.mkv")
        >>> json.loads(path.read_text())["n_events"]
        1
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
        write_atomically(out, content)
    except OSError as error:
        raise unwritable(out, error, "another folder.") from None
    return out
