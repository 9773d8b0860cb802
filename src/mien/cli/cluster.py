"""Options of the commands that can run on Ray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.shell import warn
from mien.errors import MienError

if TYPE_CHECKING:
    from mien.evaluation.execution.ray_executor import RayExecutor

Ray = Annotated[
    str | None,
    typer.Option("--ray", metavar="local|HOST:PORT", help="Run on Ray: on this machine or a cluster."),
]
GpusPerFold = Annotated[
    float, typer.Option("--gpus-per-fold", min=0, help="With --ray: share of a GPU per fold, e.g. 0.25.")
]


@contextmanager
def cluster_of(
    address: str | None, gpus_per_fold: float = 0.0, jobs: int | None = None
) -> Iterator[RayExecutor | None]:
    """Connect to the machines that the options name; None without --ray.

    Raises:
        MienError: As `mien.evaluation.execution.ray_connect.connect`; a share of a GPU without --ray.
    """
    if address is None:
        if gpus_per_fold:
            raise MienError(
                "--gpus-per-fold says how Ray shares GPUs, and there is no --ray.",
                "both or neither; without --ray a system uses the GPU by itself (`--set device=auto`).",
                f"`--ray local --gpus-per-fold {gpus_per_fold:g}`.",
            )
        yield None
        return
    from mien.evaluation.execution.ray_connect import connect

    with connect(address, gpus_per_fold=gpus_per_fold, jobs=jobs, on_warning=warn) as cluster:
        yield cluster
