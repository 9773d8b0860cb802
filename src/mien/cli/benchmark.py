"""`mien benchmark`: scores a system on databases; `mien experiment`: the tables and figures of papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.cluster import GpusPerFold, Ray, cluster_of
from mien.cli.completion import complete_experiment, complete_labels, complete_method, complete_protocol
from mien.cli.shell import Json, Settings, Specs, out, pairs, print_json, say, show, warn
from mien.cli.spot import benchmark_spots
from mien.errors import MienError, unknown_name

Estimate = Annotated[
    bool, typer.Option("--estimate", help="Say how long it takes here and how much memory it needs; run nothing.")
]
SecondFlow = Annotated[
    Path | None, typer.Option(help="Folder of a second flow picture of each clip, with the same names.")
]

TASKS = ("recognise", "spot")
NO_ESTIMATE = "--estimate measures this machine, not those of --ray."


def benchmark(
    data: Specs,
    system: Annotated[
        str, typer.Option(help="System to score; `mien systems` lists them.", autocompletion=complete_method)
    ],
    run: Annotated[Path, typer.Option("--out", help="Folder of the run. The same command again resumes it.")],
    protocol: Annotated[
        str,
        typer.Option(
            help="How clips are divided into training and test; see `mien protocols`.",
            autocompletion=complete_protocol,
        ),
    ] = "loso",
    labels: Annotated[
        str | None,
        typer.Option(
            help="Label map, e.g. megc2019, strcn4, casme2_5, own; `mien datasets NAME` lists them.",
            autocompletion=complete_labels,
        ),
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Training seed; repeat for several.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Folds at the same time; default: the number of cores.")] = None,
    ray: Ray = None,
    gpus_per_fold: GpusPerFold = 0.0,
    label_sheet: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE", help="Label sheet with the action units of ready flow pictures; repeat for several."
        ),
    ] = None,
    second_flow: SecondFlow = None,
    settings: Settings = None,
    protocol_settings: Annotated[
        list[str] | None,
        typer.Option("--protocol-set", metavar="KEY=VALUE", help="Change a parameter of the protocol."),
    ] = None,
    shuffle_labels: Annotated[
        bool, typer.Option("--shuffle-labels", help="Permute the labels first; the score should fall to chance.")
    ] = False,
    task: Annotated[str, typer.Option(help="recognise; or spot: --system then names a spotter.")] = "recognise",
    weights: Annotated[
        str | None,
        typer.Option(help='With --task spot: a checkpoint, or "shipped", that names classes.'),
    ] = None,
    estimate: Estimate = False,
    as_json: Json = False,
) -> None:
    """Train and test a system on databases, and print its scores."""
    if task not in TASKS:
        raise unknown_name("task", task, TASKS, "mien benchmark --help")
    if task == "spot":
        if ray is not None:
            raise MienError("--task spot does not run on Ray.", "--ray with --task recognise.", "without --ray.")
        benchmark_spots(
            data, system, run, protocol=protocol, protocol_parameters=pairs(protocol_settings, "--protocol-set"),
            seeds=tuple(seed or [0]), parameters=pairs(settings, "--set"), jobs=jobs, weights=weights, as_json=as_json,
        )  # fmt: skip
        return
    if weights is not None:
        raise MienError(
            "--weights is for --task spot; here a system is trained anew in each fold.",
            "no --weights.",
            "`--set start=FILE` to start from a checkpoint, where the system can.",
        )
    from mien.datasets import open_specs
    from mien.datasets.unit_labels import parse_label_sheets
    from mien.evaluation.ledger import require_place
    from mien.evaluation.report import render_report, report_many
    from mien.evaluation.run import benchmark as run_benchmark

    if not estimate:
        require_place(run)
    opened = open_specs(data, parse_label_sheets(label_sheet or []), second_flow)
    if estimate and ray is not None:
        raise MienError(NO_ESTIMATE, "--estimate without --ray.", "the same command without --ray.")
    if ray is None:
        from mien.evaluation.estimate import estimate_run, shorter, warn_if_long
        from mien.evaluation.planning import make_plan

        plan = make_plan(
            opened, system, protocol=protocol, labels=labels, seeds=tuple(seed or [0]),
            parameters=pairs(settings, "--set"), protocol_parameters=pairs(protocol_settings, "--protocol-set"),
            shuffle_labels=shuffle_labels,
        )  # fmt: skip
        found = estimate_run(plan, run, jobs)
        if estimate:
            if as_json:
                print_json(found.as_json())
            else:
                say(str(found))
            return
        warn_if_long(found.seconds, str(found), shorter(plan), warn)
    with cluster_of(ray, gpus_per_fold, jobs) as cluster:
        run_benchmark(
            opened,
            system,
            run,
            protocol=protocol,
            labels=labels,
            seeds=tuple(seed or [0]),
            parameters=pairs(settings, "--set"),
            protocol_parameters=pairs(protocol_settings, "--protocol-set"),
            shuffle_labels=shuffle_labels,
            jobs=jobs,
            bars=True,
            on_warning=warn,
            executor=cluster,
        )
    reports = report_many([run])
    if as_json:
        print_json(reports[0])
    else:
        show(render_report(reports[0]))
        say(("A page with figures: ", "dim"), f"mien report {run} --html {run}/report.html")


def experiment(
    name: Annotated[
        str,
        typer.Argument(
            help="Table or figure of a paper; `mien experiments` lists them.", autocompletion=complete_experiment
        ),
    ],
    data: Specs,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the runs. The same command again resumes them.")],
    small: Annotated[bool, typer.Option("--small", help="Small networks and inputs: minutes on a CPU.")] = False,
    preset: Annotated[str, typer.Option(help="Preset of the systems; default: that of the paper.")] = "paper",
    seed: Annotated[list[int] | None, typer.Option(help="Training seed; repeat for several.")] = None,
    settings: Settings = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="Protocol instead of the paper's; may be repeated.", autocompletion=complete_protocol),
    ] = None,
    protocol_settings: Annotated[
        list[str] | None,
        typer.Option("--protocol-set", metavar="KEY=VALUE", help="Change a parameter of the protocols that have it."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="ROW", help="Run only this row, by name or system; may be repeated.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="ROW", help="Leave out this row, by name or system; may be repeated.")
    ] = None,
    second_flow: SecondFlow = None,
    jobs: Annotated[int | None, typer.Option(help="Folds at the same time; default: the number of cores.")] = None,
    ray: Ray = None,
    gpus_per_fold: GpusPerFold = 0.0,
    estimate: Estimate = False,
    as_json: Json = False,
) -> None:
    """Reproduce a table or figure of a paper on your databases."""
    from mien.evaluation.experiments import claims, estimates, grid, tables
    from mien.evaluation.experiments.catalogue import find_experiment
    from mien.motion.pictures import save

    chosen = find_experiment(name)
    if second_flow is None:
        data, second_flow = grid.two_sets(chosen, data)
    if estimate and ray is not None:
        raise MienError(NO_ESTIMATE, "--estimate without --ray.", "the same command without --ray.")
    if not estimate:
        grid.require_folder(folder)
    seeds = tuple(seed or [0])
    planned = grid.plan_cells(
        chosen, data, folder, preset="small" if small else preset, seeds=seeds, parameters=pairs(settings, "--set"),
        protocols=protocol or (), protocol_parameters=pairs(protocol_settings, "--protocol-set"), only=only or (),
        skip=skip or (), second_flow=second_flow,
    )  # fmt: skip
    if estimate:
        found = estimates.estimate_cells(planned, seeds, jobs)
        if as_json:
            print_json(estimates.as_json(found))
        else:
            show(estimates.render_estimates(chosen.title, found))
        return
    if ray is None:
        estimates.warn_before(planned, seeds, jobs, warn)
    with cluster_of(ray, gpus_per_fold, jobs) as cluster:
        cells = grid.run_cells(
            chosen, planned, folder, seeds=seeds, jobs=jobs, bars=True,
            on_warning=None if as_json else lambda text: say((text, "dim")), executor=cluster,
        )  # fmt: skip
    picture = save(tables.figure(chosen, cells), folder / f"{name}.png") if chosen.axis else None
    judged = claims.judge(chosen, cells)
    if as_json:
        more = {"claims": claims.judgements_as_json(judged)} if chosen.claims else {}
        print_json({**tables.as_json(chosen, cells), **more})
    else:
        show(tables.render(chosen, cells))
        if judged:
            show(claims.render_judgements(judged))
        if picture:
            say(("Figure: ", "dim"), str(picture))
    if any(cell.failed for cell in cells):
        raise typer.Exit(1)


def experiments(as_json: Json = False) -> None:
    """List the tables and figures that `mien experiment` reproduces."""
    from mien.evaluation.experiments.catalogue import experiments as known

    if as_json:
        print_json([{"name": e.name, "title": e.title, "shows": e.shows, "paper": e.paper} for e in known().values()])
        return
    for e in known().values():
        say((e.name, "bold"), f"  {e.title}\n  ", (f"{e.shows} · {e.paper}", "dim"))
    out.print()
    say(("Run one: ", "dim"), "mien experiment NAME casme2=/data/CASMEII --out runs/NAME")
