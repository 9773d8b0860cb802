"""`mien recognise VIDEO... --out FOLDER`: many videos in one command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mien.cli.cluster import cluster_of
from mien.cli.shell import failure, print_json, say
from mien.errors import MienError

if TYPE_CHECKING:
    from mien.export.many import Film

FAILED = 1
"""Exit status if some film could not be read; the others were answered."""


def one_video(videos: Sequence[str], many: Mapping[str, object]) -> str:
    """Return the video of a command without --out.

    Args:
        videos: What was given.
        many: Options for many videos, with what was given for them.

    Raises:
        MienError: There is no video, or there are several; or an option for many was given.
    """
    wrong = [option for option, value in many.items() if value is not None]
    if wrong:
        raise MienError(
            f"{wrong[0]} is for answers in a folder, and there is no --out.",
            "--out with a folder.",
            f"the same command with `--out answers`, or without {wrong[0]}.",
        )
    if len(videos) == 1 and not videos[0].startswith("@"):
        return videos[0]
    if not videos:
        raise MienError("There is no video.", "a video, or several and a folder.", "`mien recognise interview.mp4`.")
    raise MienError(
        f"{len(videos)} videos were given and no folder." if len(videos) > 1 else f"{videos[0]} is a list of videos.",
        "--out with a folder for the answers about several videos.",
        "`mien recognise films/*.mp4 --out answers`.",
    )


def recognise_films(
    videos: Sequence[str],
    out: Path,
    *,
    alone: Mapping[str, object],
    ray: str | None,
    jobs: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Analyse many videos and print the result of each.

    Args:
        videos: Files, folders of pictures, patterns and lists.
        out: The folder.
        alone: Options for a single video, with what was given for them.
        ray: See `mien.cli.cluster`.
        jobs: Films at once.
        as_json: Print JSON only.
        **options: See `mien.export.many.recognise_many`.

    Raises:
        MienError: See `mien.export.many.recognise_many`; or an option for a single video was given.
    """
    from mien.export.many import recognise_many

    wrong = [option for option, value in alone.items() if value is not None]
    if wrong:
        raise MienError(
            f"{wrong[0]} is for a single video, and --out answers several into a folder.",
            "--files for other files of each video; the table of all is always written.",
            f"`--out {out} --files html,json,eaf,boris` without {wrong[0]}, or the video without --out.",
        )
    with cluster_of(ray, jobs=jobs) as cluster:
        films = recognise_many(videos, out, jobs=jobs, bars=True, executor=cluster, **options)
    failed = [film for film in films if film.error is not None]
    if as_json:
        rows = [
            {
                "film": film.name, "path": str(film.path), "folder": str(film.folder), "resumed": film.resumed,
                "error": film.error,
            }
            for film in films
        ]  # fmt: skip
        print_json({"out": str(out), "n_films": len(films), "n_failed": len(failed), "films": rows})
    else:
        _show(films, failed, out, str(options["table"]))
    if failed:
        raise typer.Exit(FAILED)


def _show(films: Sequence[Film], failed: Sequence[Film], out: Path, table: str) -> None:
    from mien.recognition import wording

    before = sum(film.resumed for film in films)
    say(
        f"{len(films) - len(failed)} of {len(films)} films answered",
        f", {before} of them before." if before else ".",
    )
    say(("Expressions: ", "dim"), str(out / f"events.{table}"))
    say(("Films: ", "dim"), str(out / "films.csv"))
    say(("Pages and answers: ", "dim"), str(out / "films"))
    if failed:
        say((f"{len(failed)} could not be read:", "bold red"))
        for film in failed:
            assert film.error is not None
            failure(str(film.path), film.error)
    say((wording.NOT, "dim"))
