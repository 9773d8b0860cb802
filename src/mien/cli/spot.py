"""Commands that find expressions in long videos: spot, spotters; and the spotting side of `benchmark` and `report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from mien.cli.completion import complete_spotter
from mien.cli.inputs import Fps, VideoSource
from mien.cli.parameters import parameters_as_json, show_parameters
from mien.cli.shell import Json, listed, note, out, pairs, print_json, say, show, warn


def caution() -> str:
    """Return the caution shown with every result."""
    from mien.spotting.published import PUBLISHED

    return f"An expression is not a feeling: an interval says that a face moved, not what anybody felt. {PUBLISHED}"


def spot(
    source: VideoSource,
    spotter: Annotated[
        str | None, typer.Option(help="Method; `mien spotters` lists them.", autocompletion=complete_spotter)
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a parameter of the spotter; may be repeated."),
    ] = None,
    fps: Fps = None,
    as_json: Json = False,
) -> None:
    """Find micro- and macro-expressions in a video."""
    from mien.io.video import open_video
    from mien.progress import Bars
    from mien.spotting import DEFAULT
    from mien.spotting.spot import spot as find

    video = open_video(source, fps)
    with Bars() as bars:
        outcome = find(
            video,
            spotter or DEFAULT,
            parameters=pairs(settings, "--set"),
            progress=bars.start("frames", video.n_frames or 0),
        )
    if as_json:
        plain = asdict(outcome)
        times = plain.pop("times")
        plain["spots"] = [
            {**s, "onset_s": onset, "apex_s": apex, "offset_s": offset}
            for s, (onset, apex, offset) in zip(plain["spots"], times, strict=True)
        ]
        print_json({**plain, "about": caution()})
        return
    if outcome.abstained:
        say(("No answer. ", "bold yellow"), outcome.abstained)
    else:
        assert outcome.fps is not None
        length = outcome.n_frames / outcome.fps
        kinds = {kind: sum(s.kind == kind for s in outcome.spots) for kind in ("micro", "macro")}
        say(
            (outcome.name, "bold"),
            f": {kinds['micro']} micro- and {kinds['macro']} macro-expressions in {outcome.n_frames} frames, "
            f"{length:.1f} s at {outcome.fps:.4g} per second ",
            (f"({outcome.spotter}, {length / max(outcome.seconds, 1e-9):.1f} times real time)", "dim"),
        )
        if outcome.spots:
            table = Table(box=None, padding=(0, 2))
            for heading in ("kind", "onset", "apex", "offset", "from", "lasts", "score"):
                table.add_column(heading, justify="left" if heading == "kind" else "right")
            for s, (begin, _, _) in zip(outcome.spots, outcome.times, strict=True):
                table.add_row(
                    s.kind, str(s.onset), "" if s.apex is None else str(s.apex), str(s.offset),
                    f"{begin:.2f} s", f"{s.n_frames / outcome.fps:.2f} s", f"{s.score:.2f}",
                )  # fmt: skip
            out.print(table)
    for text in outcome.notes:
        note(text)
    say((caution(), "dim"))


def spotters(
    name: Annotated[
        str | None, typer.Argument(help="Spotter to show in full.", autocompletion=complete_spotter)
    ] = None,
    as_json: Json = False,
) -> None:
    """List the methods that find expressions in long videos, with their papers and differences from them."""
    from mien.spotting import DEFAULT, SPOTTERS
    from mien.spotting import spotter as named

    chosen = [named(name)] if name else listed(SPOTTERS)
    if as_json:
        keys = ("name", "title", "paper", "summary", "departures", "tuned")
        print_json(
            [
                {**{k: getattr(s, k) for k in keys}, "trained": s.train is not None, **parameters_as_json(s.model)}
                for s in chosen
            ]
        )
        return
    for s in chosen:
        say((s.name, "bold"), ("  (default)" if s.name == DEFAULT else "", "dim"), f"  {s.summary}")
        say((f"  {s.paper}", "dim"), " Has to be trained." if s.train else "")
        if name:
            for departure in s.departures:
                say(f"  differs from the paper: {departure}")
            show_parameters(s.model)
            for kind, grid in s.tuned.items():
                for key, values in grid.items():
                    tried = ", ".join(f"{v:g}" for v in values)
                    say(f"  chosen on training subjects by `benchmark` ({kind}): {key} of {tried}")
    if not name:
        say(("Parameters and differences from the paper: ", "dim"), "mien spotters NAME")


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
    """Run `mien benchmark --task spot` and print its scores."""
    from mien.datasets import open_specs
    from mien.evaluation.ledger import require_place
    from mien.evaluation.spotting.benchmark import spot_benchmark

    require_place(run)
    recogniser = None
    if weights is not None:
        from mien.recognition.spotted import spot_recogniser

        recogniser = spot_recogniser(weights, data)
    spot_benchmark(
        open_specs(data), name, run, protocol=protocol, protocol_parameters=protocol_parameters, seeds=seeds,
        parameters=parameters, recogniser=recogniser, jobs=jobs, bars=True, on_warning=warn,
    )  # fmt: skip
    show_spot_reports([run], as_json)


def show_spot_reports(runs: Sequence[Path], as_json: bool) -> None:
    """Print the scores of spotting runs."""
    from mien.evaluation.spotting.report import render_spot_report, reports

    found: list[dict[str, Any]] = reports(runs)
    if as_json:
        print_json(found[0] if len(found) == 1 else found)
        return
    for each in found:
        show(render_spot_report(each))
