"""`mien synthesise`: a corpus of moving faces in a database's own layout."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from mien.cli.shell import Json, app, out, print_json


@app.command()
def synthesise(
    folder: Annotated[Path, typer.Option("--out", help="Folder to write; running again resumes it.")],
    layout: Annotated[str, typer.Option(help="Official layout; `mien datasets` lists them.")] = "casme2",
    subjects: Annotated[int, typer.Option(help="Number of subjects.")] = 8,
    clips: Annotated[int, typer.Option(help="Micro-expressions of each.")] = 9,
    seed: Annotated[int, typer.Option(help="Which corpus.")] = 0,
    width: Annotated[int, typer.Option(help="Width of a frame in pixels.")] = 160,
    fps: Annotated[float | None, typer.Option(help="Frames per second; by default the database's own.")] = None,
    faces: Annotated[str, typer.Option(help="any, photo (one portrait changed), head (modelled) or drawn.")] = "any",
    portrait: Annotated[Path | None, typer.Option(help="A neutral portrait of your own to make all faces of.")] = None,
    balance: Annotated[str, typer.Option(help="equal, or published: as often as in the real database.")] = "equal",
    jobs: Annotated[int, typer.Option(help="Films made side by side; -1 for one per core.")] = -1,
    as_json: Json = False,
) -> None:
    """Write a corpus of moving faces in a database's own layout, the exact truth beside it. No licence needed."""
    from mien.progress import Bars
    from mien.synthesis.corpus import synthesise as write

    with Bars(not as_json and sys.stderr.isatty()) as bars:
        advance: list[Callable[[int], None]] = []
        before = 0

        def told(done: int, total: int) -> None:
            nonlocal before
            if not advance:
                advance.append(bars.start("films", total))
            advance[0](done - before)
            before = done

        made = write(
            layout, folder, subjects=subjects, clips=clips, seed=seed, width=width, fps=fps, faces=faces,
            portrait=portrait, balance=balance, jobs=jobs, progress=told,
        )  # fmt: skip
    if as_json:
        print_json({**asdict(made), "root": str(made.root), "out": str(folder)})
        return
    shown = f"{made.n_clips} micro-expressions" + (f" and {made.n_macro} macro-expressions" if made.n_macro else "")
    out.print(f"{shown} of {made.n_subjects} subjects in {made.n_films} films: {layout}={escape(str(folder))}")
    out.print(f"[dim]The true flow, landmarks and timelines: {escape(str(folder))}/truth")
    out.print(
        f"[dim]Score something on it: [/]mien benchmark {layout}={escape(str(folder))} --system flow-svm "
        "--out runs/first"
    )
