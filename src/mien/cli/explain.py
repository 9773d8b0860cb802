"""`mien explain`: where a trained network looked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.inputs import Fps, IntervalText, read_interval
from mien.cli.shell import Json, note, print_json, say
from mien.errors import MienError

if TYPE_CHECKING:
    from mien.types import Clip


def explain(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A file that `mien train` wrote.")],
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help="Videos, or databases as NAME=FOLDER.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for one picture per clip.")],
    of: Annotated[str | None, typer.Option("--of", help="Class to explain; default: the predicted one.")] = None,
    method: Annotated[str, typer.Option(help="Saliency method: integrated, gradient or smooth.")] = "integrated",
    clip: Annotated[
        list[str] | None, typer.Option(help="Only clips whose key contains this text; may be repeated.")
    ] = None,
    interval: IntervalText = None,
    fps: Fps = None,
    as_json: Json = False,
) -> None:
    """Show where a trained network looked, as a picture per clip.

    Saliency over the face; for sma-stn also attention and the weights of the segments.
    """
    from mien.io.atomic import require_writable_folder
    from mien.motion.pictures import save
    from mien.preprocessing.prepare import clips_of
    from mien.recognition.saliency import as_json as numbers
    from mien.recognition.saliency import explain as explain_clip
    from mien.recognition.saliency import figure
    from mien.systems.trained import load_checkpoint

    refuse_run(model)
    require_writable_folder(folder, "`--out explained`.")
    classifier, card = load_checkpoint(model)
    clips = _chosen(clips_of(sources, read_interval(interval), fps), clip or [])
    rows: list[dict[str, Any]] = []
    for each in clips:
        try:
            made = explain_clip(classifier, card, each, of=of, method=method)
            path = save(figure(made, f"{each.key} · {card.system}"), folder / f"{_slug(each.key)}.png")
        except MienError as error:
            if len(clips) == 1:
                raise
            rows.append({"clip": each.key, "error": [error.found, error.expected, error.fix]})
            if not as_json:
                say((each.key, "bold red"), f"  {error.found}\n    Try: {error.fix}")
            continue
        rows.append(numbers(made, path))
        if not as_json:
            p = made.probabilities[made.explained]
            say((each.key, "bold"), f"  {made.classes[made.explained]} {p:.2f}  {path}")
            for text in made.notes:
                note(text)
    if as_json:
        print_json({"model": str(model), "system": card.system, "clips": rows})
    if any("error" in row for row in rows):
        raise typer.Exit(1)


def refuse_run(model: Path) -> None:
    """Refuse the folder of a run, which holds a ledger and no network.

    Raises:
        MienError: It is one; the error says how to train a network with its settings.
    """
    settings = model / "run.json"
    if not settings.is_file():
        return
    try:
        run = json.loads(settings.read_text(encoding="utf-8"))
        data = " ".join(f"{d['name']}={d['root']}" for d in run["data"])
        command = f"mien train {data} --system {run['system']} --labels {run['labels']} --out model.safetensors"
    except (ValueError, KeyError, TypeError):
        command = "mien train NAME=FOLDER --system SYSTEM --out model.safetensors"
    raise MienError(f"{str(model)!r} is a run, and runs keep no networks.", "a file of weights.", f"`{command}` first.")


def _chosen(clips: list[Clip], wanted: list[str]) -> list[Clip]:
    kept = [c for c in clips if not wanted or any(text in c.key for text in wanted)]
    if not kept:
        raise MienError(
            f"None of {len(clips)} clips has {' or '.join(wanted) or 'a name'} in its key.",
            "DATASET/SUBJECT/CLIP, or part of it.",
            f"`--clip {clips[0].key}`." if clips else "`mien check NAME=FOLDER`.",
        )
    return kept


def _slug(key: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", key)
