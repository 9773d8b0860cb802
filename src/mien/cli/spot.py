"""Commands that find expressions in long films: spot, spotters; and what `benchmark --task spot` and `report` show."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from mien.cli.shell import Json, app, out, pairs, print_json

WORDS = (
    "An expression is not a feeling: an interval says that a face moved, not what anybody felt. On people, spotters "
    "find micro-expressions with an F1 of 0.1 to 0.2: most of what they find is something else."
)
"""Said with every result."""


@app.command()
def spot(
    source: Annotated[str, typer.Argument(metavar="VIDEO", help="A video, a GIF, a folder of pictures.")],
    spotter: Annotated[str | None, typer.Option(help="How; `mien spotters` lists them and their default.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the spotter.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second, where the source does not tell.")] = None,
    as_json: Json = False,
) -> None:
    """Find micro- and macro-expressions in a film. Says why when there can be no answer."""
    from mien.io.video import open_video
    from mien.progress import Bars
    from mien.spotting import DEFAULT
    from mien.spotting.spot import spot as find

    video = open_video(source, fps)
    with Bars(show=not as_json and sys.stderr.isatty()) as bars:
        outcome = find(
            video,
            spotter or DEFAULT,
            parameters=pairs(settings, "--set"),
            progress=bars.start("frames", video.n_frames or 0),
        )
    if as_json:
        print_json({**asdict(outcome), "about": WORDS})
        return
    if outcome.abstained:
        out.print(f"[bold yellow]No answer.[/] {escape(outcome.abstained)}")
    else:
        assert outcome.fps is not None
        length = outcome.n_frames / outcome.fps
        kinds = {kind: sum(s.kind == kind for s in outcome.spots) for kind in ("micro", "macro")}
        out.print(
            f"[bold]{escape(outcome.name)}[/]: {kinds['micro']} micro- and {kinds['macro']} macro-expressions in "
            f"{outcome.n_frames} frames, {length:.1f} s at {outcome.fps:.4g} per second "
            f"[dim]({outcome.spotter}, {length / max(outcome.seconds, 1e-9):.1f} times real time)"
        )
        if outcome.spots:
            table = Table(box=None, padding=(0, 2))
            for heading in ("kind", "onset", "apex", "offset", "from", "lasts", "score"):
                table.add_column(heading, justify="left" if heading == "kind" else "right")
            for s in outcome.spots:
                table.add_row(
                    s.kind, str(s.onset), "" if s.apex is None else str(s.apex), str(s.offset),
                    f"{s.onset / outcome.fps:.2f} s", f"{s.n_frames / outcome.fps:.2f} s", f"{s.score:.2f}",
                )  # fmt: skip
            out.print(table)
    for note in outcome.notes:
        out.print(f"[yellow]note[/] {escape(note)}")
    out.print(f"[dim]{WORDS}")


@app.command()
def spotters(
    name: Annotated[str | None, typer.Argument(help="One spotter in full.")] = None, as_json: Json = False
) -> None:
    """Methods that find expressions in long films, with their papers and every departure from them."""
    from mien.spotting import DEFAULT, SPOTTERS
    from mien.spotting import spotter as named

    chosen = [named(name)] if name else list(SPOTTERS.values())
    if as_json:
        keys = ("name", "title", "paper", "summary", "departures", "parameters", "tuned")
        print_json([{**{k: getattr(s, k) for k in keys}, "trained": s.train is not None} for s in chosen])
        return
    for s in chosen:
        default = "  [dim](default)[/]" if s.name == DEFAULT else ""
        out.print(f"[bold]{s.name}[/]{default}  {escape(s.summary)}")
        out.print(f"  [dim]{escape(s.paper)}" + (" Has to be trained." if s.train else ""))
        if name:
            for departure in s.departures:
                out.print(f"  departs: {escape(departure)}")
            out.print("  parameters: " + ", ".join(f"{k}={json.dumps(v)}" for k, v in s.parameters.items()))
            for kind, grid in s.tuned.items():
                for key, values in grid.items():
                    tried = ", ".join(f"{v:g}" for v in values)
                    out.print(f"  chosen on training subjects by `benchmark` ({kind}): {key} of {tried}")
    if not name:
        out.print("[dim]Parameters and departures: [/]mien spotters NAME")


def benchmark_spots(
    data: Sequence[str],
    name: str,
    run: Path,
    *,
    protocol: str,
    protocol_parameters: Mapping[str, str],
    seeds: Sequence[int],
    parameters: Mapping[str, str],
    jobs: int | None,
    weights: str | None,
    as_json: bool,
) -> None:
    """What `mien benchmark ... --task spot` does."""
    from mien.datasets import open_specs
    from mien.evaluation.spotting.benchmark import spot_benchmark

    recogniser = None
    if weights is not None:
        from mien.recognition.spotted import spot_recogniser

        recogniser = spot_recogniser(weights, data)
    spot_benchmark(
        open_specs(data), name, run, protocol=protocol, protocol_parameters=protocol_parameters, seeds=seeds,
        parameters=parameters, recogniser=recogniser, jobs=jobs, bars=not as_json and sys.stderr.isatty(),
    )  # fmt: skip
    tell_spot_reports([run], as_json)


def tell_spot_reports(runs: Sequence[Path], as_json: bool) -> None:
    """What `mien report` shows of spotting runs."""
    from mien.evaluation.spotting.report import render_spot_report, reports

    found: list[dict[str, Any]] = reports(runs)
    if as_json:
        print_json(found[0] if len(found) == 1 else found)
        return
    for each in found:
        out.print(render_spot_report(each))
