"""`mien synthesise`: a synthetic database of moving faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.completion import complete_dataset
from mien.cli.shell import Json, print_json, say


def synthesise(
    folder: Annotated[Path, typer.Option("--out", help="Folder to write. The same command again resumes it.")],
    layout: Annotated[
        str,
        typer.Option(
            help="Database whose layout is used; `mien datasets` lists them.", autocompletion=complete_dataset
        ),
    ] = "casme2",
    subjects: Annotated[int, typer.Option(help="Number of subjects.")] = 8,
    clips: Annotated[int, typer.Option(help="Micro-expressions per subject.")] = 9,
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same database.")] = 0,
    width: Annotated[int, typer.Option(help="Width of a frame in pixels.")] = 160,
    fps: Annotated[float | None, typer.Option(help="Frames per second; default: that of the database.")] = None,
    faces: Annotated[
        str, typer.Option(help="Faces: any, photo (one portrait, varied), head (3D model) or drawn.")
    ] = "any",
    portrait: Annotated[
        Path | None, typer.Option(help="Your own neutral portrait, from which all faces are made.")
    ] = None,
    balance: Annotated[str, typer.Option(help="Classes: equal, or published (as in the real database).")] = "equal",
    jobs: Annotated[int, typer.Option(help="Videos made at the same time; -1 for one per core.")] = -1,
    as_json: Json = False,
) -> None:
    """Write a synthetic database of moving faces in the layout of a real one. No licence needed.

    The true flow, landmarks and intervals are written beside it.
    """
    from mien.progress import Bars
    from mien.synthesis.corpus import synthesise as write

    with Bars() as bars:
        advance: list[Callable[[int], None]] = []
        before = 0

        def set_done(done: int, total: int) -> None:
            nonlocal before
            if not advance:
                advance.append(bars.start("videos", total))
            advance[0](done - before)
            before = done

        made = write(
            layout, folder, subjects=subjects, clips=clips, seed=seed, width=width, fps=fps, faces=faces,
            portrait=portrait, balance=balance, jobs=jobs, progress=set_done,
        )  # fmt: skip
    if as_json:
        print_json({**asdict(made), "root": str(made.root), "out": str(folder)})
        return
    shown = f"{made.n_clips} micro-expressions" + (f" and {made.n_macro} macro-expressions" if made.n_macro else "")
    say(f"{shown} of {made.n_subjects} subjects in {made.n_films} videos: {layout}={folder}")
    say((f"True flow, landmarks and timelines: {folder}/truth", "dim"))
    say(("Score a system on it: ", "dim"), f"mien benchmark {layout}={folder} --system flow-svm --out runs/first")
