"""`mien`: one command per public function. Errors have three parts and exit with 2; `--json` prints data only."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import mien
from mien.cli import describe as describe_commands
from mien.cli import explain, export, inputs, recognise, serve, synthesise, watch
from mien.cli import spot as spot_commands
from mien.cli.cluster import GpusPerFold, Ray, cluster_of
from mien.cli.shell import Json, Settings, Specs, app, out, pairs, print_json, warn
from mien.errors import MienError

__all__ = [
    "app",
    "describe_commands",
    "explain",
    "export",
    "inputs",
    "main",
    "recognise",
    "serve",
    "spot_commands",
    "synthesise",
    "watch",
]


@app.callback(invoke_without_command=True)
def _start(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        out.print(mien.__version__)
        raise typer.Exit


@app.command()
def benchmark(
    data: Specs,
    system: Annotated[str, typer.Option(help="What to score; `mien systems` lists them.")],
    run: Annotated[Path, typer.Option("--out", help="Folder of the run; running again resumes it.")],
    protocol: Annotated[str, typer.Option(help="How clips are divided; `mien protocols` lists them.")] = "loso",
    labels: Annotated[str | None, typer.Option(help="Label map, e.g. megc2019, strcn4, casme2_5, own.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Training seed; repeat for several.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Folds side by side; default: the number of cores.")] = None,
    ray: Ray = None,
    gpus_per_fold: GpusPerFold = 0.0,
    folds: Annotated[
        str, typer.Option(help="How folds are trained: stacked (as one program), processes, sequential; or auto.")
    ] = "auto",
    settings: Settings = None,
    protocol_settings: Annotated[
        list[str] | None, typer.Option("--protocol-set", metavar="KEY=VALUE", help="A parameter of the protocol.")
    ] = None,
    shuffle_labels: Annotated[
        bool, typer.Option("--shuffle-labels", help="Permute the classes first: the score must fall to chance.")
    ] = False,
    task: Annotated[
        str, typer.Option(help="recognise; or spot: --system then names one of `mien spotters`.")
    ] = "recognise",
    weights: Annotated[
        str | None,
        typer.Option(help='With --task spot: name what is found, by a checkpoint or "shipped" (spot-then-recognise).'),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score a system on databases. Prints the report; only the ledger is stored."""
    if task not in ("recognise", "spot"):
        raise MienError(f"There is no task {task!r}.", "recognise or spot.", "`--task spot`.")
    if task == "spot":
        if ray is not None:
            raise MienError("--task spot does not work on Ray.", "--ray with --task recognise.", "without --ray.")
        spot_commands.benchmark_spots(
            data, system, run, protocol=protocol, protocol_parameters=pairs(protocol_settings, "--protocol-set"),
            seeds=tuple(seed or [0]), parameters=pairs(settings, "--set"), jobs=jobs, weights=weights, as_json=as_json,
        )  # fmt: skip
        return
    if weights is not None:
        raise MienError(
            "--weights serves --task spot: a recogniser is trained in each fold.",
            "no --weights.",
            "`--set start=FILE` to train on from a checkpoint, where the system can.",
        )
    from mien.datasets import open_specs
    from mien.evaluation.report import render_report, report_many
    from mien.evaluation.run import benchmark as run_benchmark

    with cluster_of(ray, gpus_per_fold, jobs) as cluster:
        run_benchmark(
            open_specs(data),
            system,
            run,
            protocol=protocol,
            labels=labels,
            seeds=tuple(seed or [0]),
            parameters=pairs(settings, "--set"),
            protocol_parameters=pairs(protocol_settings, "--protocol-set"),
            shuffle_labels=shuffle_labels,
            jobs=jobs,
            bars=not as_json and sys.stderr.isatty(),
            told=warn,
            cluster=cluster,
            folds=folds,
        )
    reports = report_many([run])
    if as_json:
        print_json(reports[0])
    else:
        out.print(render_report(reports[0]))
        out.print(f"[dim]A page with pictures: [/]mien report {run} --html {run}/report.html")


@app.command()
def experiment(
    name: Annotated[str, typer.Argument(help="Which table or figure; `mien experiments` lists them.")],
    data: Specs,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the runs; running again goes on there.")],
    small: Annotated[bool, typer.Option("--small", help="Small networks and inputs: minutes on a CPU.")] = False,
    preset: Annotated[str, typer.Option(help="Preset of the systems; the paper's own by default.")] = "paper",
    seed: Annotated[list[int] | None, typer.Option(help="Training seed; repeat for several.")] = None,
    settings: Settings = None,
    protocol: Annotated[
        list[str] | None, typer.Option(help="Protocol instead of the paper's; may be repeated.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Folds side by side; default: the number of cores.")] = None,
    ray: Ray = None,
    gpus_per_fold: GpusPerFold = 0.0,
    as_json: Json = False,
) -> None:
    """A table or figure of a paper, run on your databases and printed beside the paper's figures."""
    from mien.datasets import open_specs
    from mien.evaluation.experiments import grid
    from mien.motion.pictures import save

    with cluster_of(ray, gpus_per_fold, jobs) as cluster:
        cells = grid.experiment(
            name, open_specs(data), folder, preset="small" if small else preset, seeds=tuple(seed or [0]),
            parameters=pairs(settings, "--set"), protocols=protocol or (), jobs=jobs,
            bars=not as_json and sys.stderr.isatty(),
            told=None if as_json else lambda text: out.print(f"[dim]{escape(text)}"), cluster=cluster,
        )  # fmt: skip
    picture = save(grid.figure(name, cells), folder / f"{name}.png") if grid.experiments()[name].axis else None
    if as_json:
        print_json(grid.as_json(name, cells))
        return
    out.print(grid.render(name, cells))
    if picture:
        out.print(f"[dim]Picture:[/] {escape(str(picture))}")


@app.command()
def experiments(as_json: Json = False) -> None:
    """Tables and figures of papers that `mien experiment` runs."""
    from mien.evaluation.experiments.grid import experiments as known

    if as_json:
        print_json([{"name": e.name, "title": e.title, "shows": e.shows, "paper": e.paper} for e in known().values()])
        return
    for e in known().values():
        out.print(f"[bold]{e.name}[/]  {e.title}\n  [dim]{e.shows} · {e.paper}")


@app.command()
def train(
    data: Specs,
    system: Annotated[str, typer.Option(help="A deep system; `mien systems` lists them.")],
    target: Annotated[Path, typer.Option("--out", help="File to write, .safetensors.")],
    labels: Annotated[str | None, typer.Option(help="Label map, e.g. megc2019, strcn4, casme2_5, own.")] = None,
    seed: int = 0,
    settings: Settings = None,
    scored: Annotated[Path | None, typer.Option(help="A run of the same settings to quote.")] = None,
    licence: Annotated[str | None, typer.Option(help="Terms for the file, for its card.")] = None,
    as_json: Json = False,
) -> None:
    """Train on every clip and keep the network, with a card that says what it is. Scores nothing: see `benchmark`."""
    from mien.datasets import open_specs
    from mien.evaluation.train import train as train_all

    made = train_all(
        open_specs(data), system, target, labels=labels, seed=seed, parameters=pairs(settings, "--set"), scored=scored,
        licence=licence, bars=not as_json and sys.stderr.isatty(), told=warn,
    )  # fmt: skip
    _tell_card(asdict(made), target, as_json)


@app.command()
def card(
    file: Annotated[Path, typer.Argument(metavar="FILE", help='A checkpoint, or "shipped" for the package\'s own.')],
    as_json: Json = False,
) -> None:
    """What a checkpoint is: system, data, classes, score, licence. Reads no weight."""
    from mien.classifiers.checkpoint import checkpoint_file, read_card

    file = checkpoint_file(str(file))
    _tell_card(asdict(read_card(file)), file, as_json)


def _tell_card(card: dict[str, Any], file: Path, as_json: bool) -> None:
    if as_json:
        print_json({**card, "file": str(file)})
        return
    score = card["score"]
    measured = "not measured: --scored RUN quotes one"
    if score:
        measured = (
            f"{score['protocol']}: UF1 {score['uf1']:.3f}, UAR {score['uar']:.3f}, accuracy {score['accuracy']:.3f} "
            f"(majority {score['majority_accuracy']:.3f}), {score['averaging']}"
        )
    rows = {
        "file": str(file),
        "system": card["system"],
        "classes": ", ".join(card["classes"]) + f"  ({card['labels']})",
        "trained on": "; ".join(
            f"{d['dataset']}: {d['clips']} clips of {d['subjects']} subjects{' (drawn faces)' if d['drawn'] else ''}"
            for d in card["trained_on"]
        ),
        "score": measured,
        "licence": card["licence"],
        "versions": ", ".join(f"{k} {v}" for k, v in card["versions"].items()),
    }
    table = Table(box=None, show_header=False, padding=(0, 2))
    for left, right in rows.items():
        table.add_row(f"[dim]{left}", escape(right))
    out.print(table)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `mien benchmark` made.")],
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page.")] = None,
    as_json: Json = False,
) -> None:
    """Every score, table and picture of finished or unfinished runs, computed from their ledgers."""
    from mien.evaluation.spotting.ledger import is_spot_run

    if [is_spot_run(run) for run in runs] == [True] * len(runs):
        spot_commands.tell_spot_reports(runs, as_json)
        return
    from mien.evaluation.report import render_report, report_many

    reports = report_many(runs)
    if html is not None:
        from mien.evaluation.report_html import write_html

        write_html(runs, html)
    if as_json:
        print_json(reports[0] if len(reports) == 1 else reports)
        return
    for each in reports:
        out.print(render_report(each))
    if html is not None:
        out.print(f"The page: {html}")


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B")],
    as_json: Json = False,
) -> None:
    """Is one run better than another on the same clips? McNemar's test and a bootstrap over subjects."""
    from mien.evaluation.compare import compare as compare_ledgers
    from mien.evaluation.compare import render_comparison
    from mien.evaluation.ledger import read_ledger

    result = compare_ledgers(read_ledger(first), read_ledger(second))
    if as_json:
        print_json(asdict(result))
    else:
        out.print(render_comparison(result, str(first), str(second)))


@app.command()
def combine(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Finished runs over the same clips and folds.")],
    target: Annotated[Path, typer.Option("--out", help="Folder of the new run.")],
    as_json: Json = False,
) -> None:
    """Finished runs as one committee: the mean of their probabilities, with equal weights. Trains nothing."""
    from mien.evaluation.combine import combine as combine_runs
    from mien.evaluation.report import render_report, report_many

    combine_runs(runs, target)
    reports = report_many([target])
    if as_json:
        print_json(reports[0])
    else:
        out.print(render_report(reports[0]))


@app.command()
def check(
    data: Specs,
    deep: Annotated[bool, typer.Option(help="Decode every pixel of every frame.")] = False,
    as_json: Json = False,
) -> None:
    """Is this copy of a database whole? Layout, counts, frames, label sheet. Exit code 1 when something is wrong."""
    from mien.datasets import open_specs
    from mien.datasets.check import as_json as results_as_json
    from mien.datasets.check import check_many, render_check

    results = check_many(open_specs(data), deep=deep)
    if as_json:
        print_json(results_as_json(results))
    else:
        out.print(render_check(results))
    if not all(result.ok for result in results):
        raise typer.Exit(1)


@app.command()
def datasets(
    name: Annotated[str | None, typer.Argument(help="One database in full.")] = None, as_json: Json = False
) -> None:
    """Databases mien reads, their licences and how to ask for a copy."""
    from mien.datasets import DATASETS, label_maps_of
    from mien.datasets.base import card
    from mien.errors import unknown_name

    if name is not None and name not in DATASETS:
        raise unknown_name("dataset", name, DATASETS, "mien datasets")
    cards = [card(i) for i in ([name] if name else DATASETS)]
    if as_json:
        print_json([{**asdict(c), "label_maps": list(label_maps_of(c.id))} for c in cards])
        return
    if name:
        one = cards[0]
        table = Table(box=None, show_header=False, padding=(0, 2))
        rows = {
            "name": f"[bold]{one.title}[/] ({one.id})",
            "serves": ", ".join(one.task),
            "frames": f"{one.fps or 'various'} per second, {'colour' if one.colour else 'grey'}",
            "expected": ", ".join(f"{count} {what}" for what, count in one.expected.items()),
            "label maps": ", ".join(label_maps_of(one.id)),
            "licence": one.licence,
            "ask for it": one.request,
            "cite": one.citation,
        }
        for left, right in rows.items():
            table.add_row(f"[dim]{left}", right)
        out.print(table)
        return
    table = Table(title="Databases", title_justify="left", box=None, padding=(0, 2))
    for heading in ("name", "title", "serves", "fps", "clips", "subjects"):
        table.add_column(heading, justify="right" if heading in ("fps", "clips", "subjects") else "left")
    for c in cards:
        counts = (str(c.expected.get(k, "")) for k in ("clips", "subjects"))
        table.add_row(f"[bold]{c.id}", c.title, ", ".join(c.task), f"{c.fps:g}" if c.fps else "", *counts)
    out.print(table)
    out.print("[dim]Licence and how to ask for one: [/]mien datasets NAME")


@app.command()
def systems(
    name: Annotated[str | None, typer.Argument(help="One system in full.")] = None, as_json: Json = False
) -> None:
    """Methods mien can score, with their papers and every departure from them."""
    from mien.systems import SYSTEMS, system

    chosen = [system(name)] if name else list(SYSTEMS.values())
    if as_json:
        keys = ("name", "title", "paper", "summary", "departures", "parameters")
        print_json([{**{k: getattr(s, k) for k in keys}, "reads": list(s.recipes)} for s in chosen])
        return
    for s in chosen:
        out.print(f"[bold]{s.name}[/]  {s.summary}")
        out.print(f"  [dim]{s.paper}")
        if name:
            for departure in s.departures:
                out.print(f"  departs: {departure}")
            out.print("  parameters: " + ", ".join(f"{k}={json.dumps(v)}" for k, v in s.parameters.items()))
    if not name:
        out.print("[dim]Parameters and departures from the paper: [/]mien systems NAME")


@app.command()
def protocols(as_json: Json = False) -> None:
    """Ways to divide clips into training and test, leaky ones marked."""
    from mien.evaluation.protocols import PROTOCOLS

    if as_json:
        keys = ("name", "summary", "shares_subjects", "warning", "parameters")
        print_json([{k: getattr(p, k) for k in keys} for p in PROTOCOLS.values()])
        return
    for p in PROTOCOLS.values():
        out.print(f"[bold]{p.name}[/]  {p.summary}")
        if p.warning:
            out.print(f"  [yellow]{p.warning}")


def _fail(error: MienError) -> NoReturn:
    err = Console(stderr=True, highlight=False, markup=False)
    err.print(error.found, style="bold red")
    err.print("Expected: " + error.expected)
    err.print("Try:      " + error.fix)
    raise SystemExit(2)


def main() -> None:
    """Entry point: runs a command; a user's mistake prints three lines and exits with 2."""
    try:
        app()
    except MienError as error:
        _fail(error)
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. What was finished is kept; the same command goes on from there.\n")
        raise SystemExit(130) from None
