"""Write an answer to files: tables, JSON, tiers for ELAN, a project for BORIS, a marked video, a page with pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from mien.errors import MienError
from mien.export.boris import write_boris
from mien.export.columns import require_parquet
from mien.export.elan import write_eaf
from mien.export.film import write_mp4
from mien.export.page import write_page
from mien.export.questions import write_questions
from mien.export.tables import write_csv, write_json, write_parquet
from mien.io.atomic import is_stream, require_writable_file
from mien.recognition.records import Answer

__all__ = [
    "ENDINGS", "WRITERS", "check_target", "write_boris", "write_csv", "write_eaf", "write_json", "write_mp4",
    "write_page", "write_parquet", "write_questions",
]  # fmt: skip

Progress = Callable[[float], None]

ENDINGS: Final[Mapping[str, str]] = {
    "csv": ".csv", "parquet": ".parquet", "json": ".json", "eaf": ".eaf", "boris": ".boris", "mp4": ".mp4",
    "html": ".html", "qa": ".jsonl",
}  # fmt: skip
"""File name extension of each kind of file; `boris` also writes tables, `.tsv`."""

WRITERS: Final[Mapping[str, Callable[[Answer, Path, Progress], Path]]] = {
    "csv": lambda answer, out, _: write_csv(answer, out),
    "parquet": lambda answer, out, _: write_parquet(answer, out),
    "json": lambda answer, out, _: write_json(answer, out),
    "eaf": lambda answer, out, _: write_eaf(answer, out),
    "boris": lambda answer, out, _: write_boris(answer, out),
    "qa": lambda answer, out, _: write_questions(answer, out),
    "mp4": write_mp4,
    "html": write_page,
}
"""Function that writes each kind of file. The third argument is called with the progress, 0 to 1."""

TABLES: Final[Mapping[str, Callable[[Answer, Path, bool], Path]]] = {"csv": write_csv, "parquet": write_parquet}
"""Function that writes each kind of table. The third argument asks for one row per frame and person."""


def check_target(out: Path, kind: str, source: str = "") -> None:
    """Check, before any work, that a file can be written.

    Args:
        out: The file.
        kind: Kind of the file, a key of `ENDINGS`.
        source: The video itself, which must not be overwritten.

    Raises:
        MienError: `out` is a folder, has another extension, cannot be written, or is the video itself; or a package is
            missing.

    Example:
        >>> check_target(Path("answer.txt"), "csv")
        Traceback (most recent call last):
        mien.errors.MienError: 'answer.txt' does not end in .csv. Expected: a name that ends in .csv. Try: `answer.csv`.
    """
    ending = ".tsv" if kind == "boris" and out.suffix.lower() == ".tsv" else ENDINGS[kind]
    if kind == "parquet":
        require_parquet()
    name = out.with_suffix(ending).name if out.name else f"answer{ending}"
    if out.is_dir():
        raise MienError(f"{str(out)!r} is a folder.", "a file to write.", f"`--{kind} {out / ('answer' + ending)}`.")
    if out.suffix.lower() != ending and not is_stream(out):
        raise MienError(f"{out.name!r} does not end in {ending}.", f"a name that ends in {ending}.", f"`{name}`.")
    if source and Path(source).exists() and out.exists() and out.samefile(source):
        raise MienError(f"{str(out)!r} is the video itself.", "another file.", f"`{out.stem}-marked{ending}`.")
    require_writable_file(out, f"`--{kind} {name}`.")
