"""Commands that turn videos and databases into inputs: prepare, magnify, flow, recipes, cache."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from mien.cli.cluster import Ray, cluster_of
from mien.cli.shell import Json, app, out, pairs, print_json
from mien.errors import MienError

if TYPE_CHECKING:
    from mien.preprocessing.prepare import Outcome
    from mien.types import Clip, Interval

CacheFolder = Annotated[
    Path | None, typer.Option("--cache", help="Where prepared inputs are kept. Default: $MIEN_CACHE, else the user's.")
]
IntervalText = Annotated[
    str | None, typer.Option("--interval", metavar="ONSET:OFFSET[:APEX]", help="Part of a video, frames from 0.")
]
Fps = Annotated[float | None, typer.Option(help="Frames per second, where the source does not tell.")]


def read_interval(text: str | None) -> Interval | None:
    """`ONSET:OFFSET[:APEX]` as an interval.

    Raises:
        MienError: It is not that, or the frames are out of order.
    """
    from mien.types import Interval

    if text is None:
        return None
    match = re.fullmatch(r"(\d+):(\d+)(?::(\d+))?", text.strip())
    if match:
        onset, offset, apex = (None if g is None else int(g) for g in match.groups())
        assert onset is not None
        assert offset is not None
        if onset < offset and (apex is None or onset < apex <= offset):
            return Interval(onset, apex, offset)
    raise MienError(
        f"--interval {text!r} is not an interval.",
        "onset before offset, the apex between them: ONSET:OFFSET or ONSET:OFFSET:APEX, frames counted from 0.",
        "`--interval 10:40` or `--interval 10:40:22`.",
    )


def clips_of(sources: Iterable[str], interval: Interval | None, fps: float | None) -> list[Clip]:
    """Clips of databases (NAME=FOLDER) and videos (paths), in the order given.

    Raises:
        MienError: No such file, folder or database.
    """
    from mien.datasets import DATASETS, open_specs
    from mien.preprocessing.prepare import video_clip

    clips: list[Clip] = []
    for source in sources:
        name, mark, _ = source.partition("=")
        if mark and (name in DATASETS or not Path(source).exists()):
            clips += [clip for data in open_specs([source]) for clip in data.clips()]
        else:
            clips.append(video_clip(source, interval, fps))
    return clips


@app.command()
def prepare(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Videos, or databases as NAME=FOLDER.")],
    recipe: Annotated[str, typer.Option(help="What to make; `mien recipes` lists them.")] = "strcn-g",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the recipe.")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Folder for one .npy per clip and index.csv.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder for a picture of every stage of every clip.")] = None,
    interval: IntervalText = None,
    fps: Fps = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Clips side by side; default: the number of cores.")] = None,
    cache: CacheFolder = None,
    cache_limit: Annotated[
        float, typer.Option(min=0, envvar="MIEN_CACHE_GIB", help="GiB that the cache may take.")
    ] = 20.0,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Keep nothing but what --out asks for.")] = False,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Make the input a paper used, from your own video or a whole database. Running again goes on where it stopped."""
    from mien.preprocessing import named_recipe
    from mien.preprocessing.cache import Cache, default_folder
    from mien.preprocessing.prepare import prepare as prepare_clips
    from mien.progress import Bars

    chosen = named_recipe(recipe, **pairs(settings, "--set"))
    clips = clips_of(sources, read_interval(interval), fps)
    if not clips:
        raise MienError("There is no clip in what was given.", "at least one.", "`mien check NAME=FOLDER`.")
    store = None if no_cache else Cache(cache or default_folder(), int(cache_limit * 2**30))
    with cluster_of(ray, jobs=jobs) as cluster, Bars(show=not as_json and sys.stderr.isatty()) as bars:
        outcomes = prepare_clips(
            clips,
            chosen,
            out=folder,
            cache=store,
            jobs=jobs or os.cpu_count() or 1,
            progress=bars.start("clips", len(clips)),
            cluster=cluster,
        )
        if pictures is not None:
            from mien.preprocessing.album import write_album

            meter = bars.start("pictures", len(clips))
            for clip, outcome in zip(clips, outcomes, strict=True):
                if outcome.error is None:
                    write_album(clip, chosen, pictures if len(clips) == 1 else pictures / clip.key.replace("/", "-"))
                meter(1)
    failed = [outcome for outcome in outcomes if outcome.error]
    if as_json:
        print_json({"recipe": recipe, "fingerprint": chosen.fingerprint, "clips": [asdict(o) for o in outcomes]})
    else:
        _tell(outcomes, recipe, folder, pictures)
    if failed:
        # One clip alone is a user's mistake like any other; in a batch the rest is kept and the list is the result.
        raise typer.Exit(2 if len(outcomes) == 1 else 1)


def _tell(outcomes: list[Outcome], recipe: str, folder: Path | None, pictures: Path | None) -> None:
    done = [o for o in outcomes if o.error is None]
    again = sum(o.cached for o in done)
    if len(outcomes) == 1 and done:
        shape = " x ".join(map(str, done[0].shape or ()))
        out.print(f"[bold]{recipe}[/] {shape}, onset and apex {done[0].interval_source}, {done[0].seconds:.1f} s")
    else:
        out.print(
            f"{len(done)} of {len(outcomes)} clips prepared"
            + (f", {again} of them kept from before." if again else ".")
        )
    told: dict[str, int] = {}
    for outcome in done:
        for note in outcome.notes:
            told[note] = told.get(note, 0) + 1
    for note, times in told.items():
        out.print(f"[yellow]note[/] {escape(note)}" + (f" [dim]({times} clips)" if times > 1 else ""))
    if folder is not None and done:
        out.print(f"[dim]Arrays and index.csv:[/] {escape(str(folder))}")
    if pictures is not None and done:
        out.print(f"[dim]Pictures:[/] {escape(str(pictures))}")
    failed = [o for o in outcomes if o.error]
    if failed:
        out.print(f"[bold red]{len(failed)} failed:[/]" if len(outcomes) > 1 else "[bold red]Failed:[/]")
        for outcome in failed:
            assert outcome.error is not None
            found, expected, fix = map(escape, outcome.error)
            out.print(f"  [bold]{escape(outcome.key)}[/]  {found}\n    Expected: {expected}\n    Try:      {fix}")


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="One recipe in full.")] = None, as_json: Json = False
) -> None:
    """Inputs that `mien prepare` makes, each step and parameter of them."""
    from mien.errors import unknown_name
    from mien.preprocessing import RECIPES

    if name is not None and name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES, "mien recipes")
    chosen = [RECIPES[name]] if name else list(RECIPES.values())
    if as_json:
        rows = []
        for r in chosen:
            made = r.make(r.parameters)
            rows.append(
                {
                    "name": r.name,
                    "summary": r.summary,
                    "source": r.source,
                    "axes": made.axes,
                    "shape": made.shape,
                    "parameters": dict(r.parameters),
                    "steps": [{"name": s.name, **dict(s.parameters)} for s in made.steps],
                }
            )
        print_json(rows)
        return
    for r in chosen:
        made = r.make(r.parameters)
        shape = " x ".join("T" if n is None else str(n) for n in made.shape)
        out.print(f"[bold]{r.name}[/]  {r.summary}")
        out.print(f"  [dim]{made.axes} {shape} {made.dtype} · {escape(r.source)}")
        if name:
            for step in made.steps:
                given = ", ".join(f"{k}={v}" for k, v in step.parameters.items())
                out.print(f"  step {step.name}" + (f"  [dim]{escape(given)}" if given else ""))
            out.print("  parameters: " + ", ".join(f"{k}={v}" for k, v in r.parameters.items()))
    if not name:
        out.print("[dim]Steps and parameters: [/]mien recipes NAME")


@app.command()
def magnify(
    source: Annotated[str, typer.Argument(metavar="VIDEO", help="A video, a GIF, a folder of pictures.")],
    target: Annotated[Path, typer.Option("--out", help="File to write: .mp4 to look at, .mkv without loss, .gif.")],
    alpha: Annotated[float, typer.Option(min=0, help="How many times larger motions become.")] = 8.0,
    band: Annotated[str | None, typer.Option(metavar="LOW:HIGH", help="Motions to magnify, in hertz.")] = None,
    r1: Annotated[float, typer.Option(help="Fast low-pass, where no band is given.")] = 0.4,
    r2: Annotated[float, typer.Option(help="Slow low-pass, where no band is given.")] = 0.05,
    wavelength: Annotated[float, typer.Option(help="Detail finer than this, in pixels, is magnified less.")] = 16.0,
    beside: Annotated[bool, typer.Option("--beside", help="The original to the left.")] = False,
    slower: Annotated[float, typer.Option(min=0.01, help="How many times slower it plays.")] = 1.0,
    fps: Fps = None,
    as_json: Json = False,
) -> None:
    """Make the small motions of a video large enough to see (Eulerian magnification), frame by frame."""
    from mien.io.video import open_video
    from mien.preprocessing.films import magnify_video
    from mien.progress import Bars

    limits = None
    if band is not None:
        match = re.fullmatch(r"([\d.]+):([\d.]+)", band)
        if not match:
            raise MienError(f"--band {band!r} is not a band.", "LOW:HIGH in hertz.", "`--band 1.5:10`.")
        limits = float(match[1]), float(match[2])
    n = open_video(source, fps=fps).n_frames
    with Bars(show=not as_json and sys.stderr.isatty()) as bars:
        film = magnify_video(
            source, target, alpha=alpha, r1=r1, r2=r2, band=limits, wavelength=wavelength, beside=beside,
            slower=slower, fps=fps, progress=bars.start("frames", n or 0),
        )  # fmt: skip
    if as_json:
        print_json({**asdict(film), "path": str(film.path)})
        return
    height, width = film.size
    out.print(f"{film.n_frames} frames of {width}x{height}, motions {alpha:g} times larger: {escape(str(film.path))}")
    for note in film.notes:
        out.print(f"[yellow]note[/] {escape(note)}")


@app.command()
def flow(
    sources: Annotated[
        list[str], typer.Argument(metavar="FIRST SECOND | VIDEO", help="Two pictures, or a video with --interval.")
    ],
    target: Annotated[Path, typer.Option("--out", help="Picture to write: both frames, flow, strain.")],
    method: Annotated[
        str, typer.Option(help="classic_nl, classic_l, tvl1, dis, dis_fine, farneback, deepflow.")
    ] = "classic_nl",
    array: Annotated[
        Path | None, typer.Option(help="Also the flow itself, as .npy: height x width x 2, pixels.")
    ] = None,
    interval: IntervalText = None,
    face: Annotated[bool, typer.Option("--face", help="Crop and align the face first, to 300x245.")] = False,
    as_json: Json = False,
) -> None:
    """Optical flow and strain between two frames, as a picture. Of a video: from onset to apex, found if not given."""
    import numpy as np

    from mien.motion.pictures import figure_flow, save
    from mien.motion.strain import optical_strain
    from mien.preprocessing.pairs import flow_between

    result = flow_between(sources, method=method, interval=read_interval(interval), face=face)
    save(figure_flow(result.first, result.second, result.flow, result.names), target)
    if array is not None:
        from mien.io.atomic import unwritable, write_atomically
        from mien.preprocessing.prepare import npy_bytes

        try:
            write_atomically(array, npy_bytes(result.flow))
        except OSError as error:
            raise unwritable(array, error, "`--array flow.npy`.") from None
    length = np.hypot(result.flow[..., 0], result.flow[..., 1])
    strain = optical_strain(result.flow)
    figures = {
        "method": method,
        "first": result.names[0],
        "second": result.names[1],
        "size": list(result.flow.shape[:2]),
        "median_px": float(np.median(length)),
        "p99_px": float(np.percentile(length, 99)),
        "p99_strain": float(np.percentile(strain, 99)),
        "picture": str(target),
        "notes": list(result.notes),
    }
    if as_json:
        print_json(figures)
        return
    out.print(
        f"{result.names[0]} to {result.names[1]}: median motion {figures['median_px']:.2f} px, "
        f"99th percentile {figures['p99_px']:.2f} px, strain {figures['p99_strain']:.3f}"
    )
    for note in result.notes:
        out.print(f"[yellow]note[/] {escape(note)}")
    out.print(f"[dim]Picture:[/] {escape(str(target))}")


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete every prepared input.")] = False,
    folder: CacheFolder = None,
    as_json: Json = False,
) -> None:
    """Prepared inputs kept on this machine: where, how many, how large. They hold faces; `--clear` deletes them."""
    from mien.preprocessing.cache import Cache, default_folder

    store = Cache(folder or default_folder())
    entries, size = store.size()
    if clear:
        store.clear()
    if as_json:
        print_json({"folder": str(store.folder), "entries": entries, "bytes": size, "cleared": clear})
        return
    table = Table(box=None, show_header=False, padding=(0, 2))
    for left, right in {
        "folder": escape(str(store.folder)),
        "deleted" if clear else "inputs": f"{entries}, {size / 2**20:.1f} MiB",
    }.items():
        table.add_row(f"[dim]{left}", right)
    out.print(table)
