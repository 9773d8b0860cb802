"""Commands that turn videos and databases into inputs: prepare, recipes, cache."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from mien.cli.cluster import Ray, cluster_of
from mien.cli.completion import complete_recipe
from mien.cli.parameters import parameters_as_json, show_parameters
from mien.cli.shell import Jobs, Json, failure, note, out, pairs, pairs_table, print_json, say
from mien.errors import MienError

if TYPE_CHECKING:
    from mien.preprocessing.prepare import Outcome
    from mien.types import Interval

CacheFolder = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder of prepared inputs; default: $MIEN_CACHE, or the cache of your user account."),
]
IntervalText = Annotated[
    str | None,
    typer.Option("--interval", metavar="ONSET:OFFSET[:APEX]", help="Part of a video, in frames counted from 0."),
]
Fps = Annotated[float | None, typer.Option(help="Frames per second, if the file does not say or is wrong.")]
VideoSource = Annotated[str, typer.Argument(metavar="VIDEO", help="A video, a GIF, a folder of pictures, or camera:0.")]


def read_interval(text: str | None) -> Interval | None:
    """Read `ONSET:OFFSET[:APEX]`.

    Raises:
        MienError: The text has another form, or the frames are out of order.
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


def prepare(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help="Videos, or databases as NAME=FOLDER.")],
    recipe: Annotated[
        str, typer.Option(help="Recipe; `mien recipes` lists them.", autocompletion=complete_recipe)
    ] = "strcn-g",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a parameter of the recipe; may be repeated."),
    ] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Folder for one .npy per clip and index.csv.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder for a picture of every step of every clip.")] = None,
    interval: IntervalText = None,
    fps: Fps = None,
    jobs: Jobs = None,
    cache: CacheFolder = None,
    cache_limit: Annotated[
        float, typer.Option(min=0, envvar="MIEN_CACHE_GIB", help="Largest size of the cache, in GiB.")
    ] = 20.0,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Store nothing but what --out asks for.")] = False,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Compute the input that a paper used, from your own video or a database.

    The same command again resumes where it stopped.
    """
    from mien.io.atomic import require_writable_folder
    from mien.preprocessing import named_recipe
    from mien.preprocessing.cache import Cache, default_folder
    from mien.preprocessing.prepare import clips_of
    from mien.preprocessing.prepare import prepare as prepare_clips
    from mien.progress import Bars

    chosen = named_recipe(recipe, **pairs(settings, "--set"))
    for option, given in (("--out", folder), ("--pictures", pictures)):
        if given is not None:
            require_writable_folder(given, f"`{option}` with another folder.")
    clips = clips_of(sources, read_interval(interval), fps)
    if not clips:
        raise MienError("There is no clip in what was given.", "at least one.", "`mien check NAME=FOLDER`.")
    store = None if no_cache else Cache(cache or default_folder(), int(cache_limit * 2**30))
    with cluster_of(ray, jobs=jobs) as cluster, Bars() as bars:
        outcomes = prepare_clips(
            clips,
            chosen,
            out=folder,
            cache=store,
            jobs=jobs or os.cpu_count() or 1,
            progress=bars.start("clips", len(clips)),
            executor=cluster,
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
        _show(outcomes, recipe, folder, pictures)
    if failed:
        # One clip alone is a user's mistake like any other; in a batch the rest is kept and the list is the result.
        raise typer.Exit(2 if len(outcomes) == 1 else 1)


def _show(outcomes: list[Outcome], recipe: str, folder: Path | None, pictures: Path | None) -> None:
    done = [o for o in outcomes if o.error is None]
    again = sum(o.cached for o in done)
    if len(outcomes) == 1 and done:
        shape = " x ".join(map(str, done[0].shape or ()))
        say((recipe, "bold"), f" {shape}, onset and apex {done[0].interval_source}, {done[0].seconds:.1f} s")
    else:
        say(f"{len(done)} of {len(outcomes)} clips prepared" + (f", {again} of them from the cache." if again else "."))
    times = Counter(text for outcome in done for text in outcome.notes)
    for text, n in times.items():
        note(text, f" ({n} clips)" if n > 1 else "")
    if folder is not None and done:
        say(("Arrays and index.csv: ", "dim"), str(folder))
    if pictures is not None and done:
        say(("Pictures: ", "dim"), str(pictures))
    failed = [o for o in outcomes if o.error]
    if failed:
        say((f"{len(failed)} failed:" if len(outcomes) > 1 else "Failed:", "bold red"))
        for outcome in failed:
            assert outcome.error is not None
            failure(outcome.key, outcome.error)


def recipes(
    name: Annotated[str | None, typer.Argument(help="Recipe to show in full.", autocompletion=complete_recipe)] = None,
    as_json: Json = False,
) -> None:
    """List the inputs that `mien prepare` computes, with their steps and parameters."""
    from mien.errors import unknown_name
    from mien.preprocessing import RECIPES

    if name is not None and name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES, "mien recipes")
    chosen = [RECIPES[name]] if name else list(RECIPES.values())
    if as_json:
        rows = []
        for r in chosen:
            made = r.recipe()
            rows.append(
                {
                    "name": r.name,
                    "summary": r.summary,
                    "source": r.source,
                    "axes": made.axes,
                    "shape": made.shape,
                    **parameters_as_json(r.parameters),
                    "steps": [{"name": s.name, **dict(s.parameters)} for s in made.steps],
                }
            )
        print_json(rows)
        return
    for r in chosen:
        made = r.recipe()
        shape = " x ".join("T" if n is None else str(n) for n in made.shape)
        say((r.name, "bold"), f"  {r.summary}\n  ", (f"{made.axes} {shape} {made.dtype} · {r.source}", "dim"))
        if name:
            for step in made.steps:
                given = ", ".join(f"{k}={v}" for k, v in step.parameters.items())
                say(f"  step {step.name}  ", (given, "dim"))
            show_parameters(r.parameters)
    if not name:
        say(("Steps and parameters: ", "dim"), "mien recipes NAME")


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete every prepared input.")] = False,
    folder: CacheFolder = None,
    as_json: Json = False,
) -> None:
    """Show where prepared inputs are stored and how large they are, or delete them.

    They hold pictures of faces.
    """
    from mien.preprocessing.cache import Cache, default_folder

    store = Cache(folder or default_folder())
    entries, size = store.size()
    if clear:
        store.clear()
    if as_json:
        print_json({"folder": str(store.folder), "entries": entries, "bytes": size, "cleared": clear})
        return
    rows: dict[str, str | Text] = {
        "folder": str(store.folder),
        "deleted" if clear else "inputs": f"{entries}, {size / 2**20:.1f} MiB",
    }
    out.print(pairs_table(rows))
