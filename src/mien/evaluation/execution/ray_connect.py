"""connect(): start Ray on this machine, or join a cluster."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from mien.errors import MienError, install_extra
from mien.evaluation.execution.ray_executor import PATIENCE, RayExecutor, fits, resources
from mien.evaluation.execution.ray_tasks import Machine, differences, other_version, ray_module, this_machine
from mien.io.atomic import private_folder

STARTS: Final = 3
"""Attempts to start Ray on this machine: on a busy one, its processes may not find each other in time."""

PREFIX: Final = "mien-ray-"
"""Prefix of the names of Ray's folders."""


@contextmanager
def connect(
    address: str,
    *,
    gpus_per_fold: float = 0.0,
    jobs: int | None = None,
    patience: float = PATIENCE,
    on_warning: Callable[[str], None] | None = None,
) -> Iterator[RayExecutor]:
    """Run on Ray, on this machine or on an existing cluster; what is started here ends with the block.

    Ray is started or joined with the first task. A Ray that the program itself has started is used as it is.

    Args:
        address: "local"; HOST:PORT of a cluster that this machine belongs to; or "auto" for the cluster that runs here.
        gpus_per_fold: Share of a GPU for each fold, such as 0.25; 0 trains on the CPU.
        jobs: Folds at once; with "local" the number of processes, by default the number of cores.
        patience: Seconds to wait for the address and for the answer of each machine.
        on_warning: Called with a sentence if GPUs stay idle.

    Raises:
        MienError: The address is invalid, or Ray is not installed. With the first task: nothing answers at the address;
            a machine runs other versions; no GPU has room for a fold.
    """
    _require_address(address)
    if importlib.util.find_spec("ray") is None:
        raise MienError(
            "--ray needs Ray, which is not installed.",
            "the extra `cluster`; without --ray folds run in processes of this machine.",
            f"{install_extra('cluster')}.",
        )
    with ExitStack() as stack:

        def begin() -> None:
            _join(address, jobs, patience, stack)
            _greet(patience)
            _require_gpus(gpus_per_fold)
            gpus = sum(there.get("GPU", 0.0) for there in resources())
            if gpus and not gpus_per_fold and on_warning is not None:
                on_warning(f"{gpus:g} GPUs stay idle: without --gpus-per-fold, folds are trained on the CPU.")

        # With "local" Ray itself keeps to the number.
        yield RayExecutor(gpus_per_fold, None if address == "local" else jobs, begin, patience)


def _join(address: str, jobs: int | None, patience: float, stack: ExitStack) -> None:
    """Start or join Ray; what has to be undone at the end is put on the stack."""
    if address == "local":
        _guard()
    ray = ray_module()
    if ray.is_initialized():
        return
    given: dict[str, Any] = {}
    if address == "local":
        given = {"num_cpus": jobs or os.cpu_count(), "include_dashboard": False}
        given["_temp_dir"] = stack.enter_context(_private_folder())
    else:
        _require_answer(address, patience)
    terminate = signal.getsignal(signal.SIGTERM)
    stack.callback(ray.shutdown)
    try:
        for attempt in range(STARTS if address == "local" else 1):
            try:
                ray.init(address=address, log_to_driver=False, logging_level="CRITICAL", **given)
                break
            except Exception as error:  # Ray's own are of many kinds, Exception itself among them
                ray.shutdown()
                if attempt == STARTS - 1:
                    raise _did_not_start(error) from None
                if address != "local":
                    raise _cannot_connect(address, str(error)) from None
    finally:
        with suppress(ValueError, TypeError):  # not in the main thread, or a handler of another language
            signal.signal(signal.SIGTERM, terminate)
    if address == "local":
        _require_loopback()


def _require_address(address: str) -> None:
    host, mark, port = address.rpartition(":")
    if address in ("local", "auto") or (mark and host and "/" not in host and port.isdigit() and 0 < int(port) < 65536):
        return
    client = address.startswith("ray://")
    raise MienError(
        f"{address!r} is the address of a Ray client." if client else f"{address!r} is no address of a Ray cluster.",
        "local, auto, or HOST:PORT of a cluster that this machine belongs to.",
        "the same command on a machine of the cluster with `--ray auto`."
        if client
        else "`--ray local`, or `--ray HOST:6379` with what `ray start --head` printed.",
    )


def _guard() -> None:
    """Set what Ray reads when it is imported: no usage reports, 127.0.0.1 only, and a token of this program."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # On a busy machine Ray's helpers take longer to start than it would wait for them.
    os.environ.setdefault("RAY_agent_register_timeout_ms", "100000")
    os.environ.setdefault("RAY_worker_register_timeout_seconds", "180")
    # Without clusters Ray stays within the machine; on Linux it would otherwise listen on every network.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    if not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = os.urandom(32).hex()


def _require_loopback() -> None:
    ray = ray_module()

    address = ray.get_runtime_context().gcs_address
    if not address.startswith("127."):
        raise MienError(
            f"Ray would listen on {address}, which other machines can reach: it was imported before mien could say no.",
            "`mien.evaluation.execution.ray_connect.connect` before the first `import ray`.",
            "`RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0` in the environment of the program.",
        )


@contextmanager
def _private_folder() -> Iterator[str]:
    """Create a folder for Ray's sockets, logs and spilled objects: faces, which only this user may read."""
    # The names of sockets may have 107 characters, of which Ray takes some 65 and the folder some 25.
    place = Path(tempfile.gettempdir() if len(tempfile.gettempdir()) < 12 else "/tmp")
    with private_folder(PREFIX, place) as folder:
        yield f"{folder}/r"  # Ray opens its own folder to everyone


def _require_answer(address: str, patience: float) -> None:
    """Check that Ray runs at an address: Ray itself would wait for minutes, or end the program.

    Raises:
        MienError: Nothing answers in time, or not Ray.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=min(patience, 10.0)).close()
    except OSError as error:
        raise _cannot_connect(address, str(error)) from None
    # In a process of its own: where something other than Ray listens, Ray ends the process that asks.
    command = [sys.executable, "-c", "import sys, ray; ray.init(sys.argv[1], logging_level='CRITICAL')", address]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired:
        raise _cannot_connect(address, f"no answer within {patience:g} s") from None
    if asked.returncode:
        last = [line for line in asked.stderr.splitlines() if line.strip()][-1:] or ["not Ray"]
        raise _cannot_connect(address, last[0])


def _cannot_connect(address: str, why: str) -> MienError:
    return MienError(
        f"There is no Ray cluster to join at {address!r} ({_first_line(why)}).",
        "a cluster that this machine belongs to, of the same Ray and Python.",
        "`ray start --head` here or `ray start --address HOST:6379` for one that runs elsewhere, then `--ray auto`; "
        "or `--ray local`.",
    )


def _did_not_start(error: Exception) -> MienError:
    return MienError(
        f"Ray did not start on this machine in {STARTS} attempts ({_first_line(error)}).",
        "a machine that starts a few processes within half a minute.",
        "the same command when it is less busy; or without --ray.",
    )


def _first_line(error: Exception | str) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]


def _greet(patience: float) -> None:
    """Ask every machine what it runs.

    Raises:
        MienError: One runs other versions, or does not answer in time.
    """
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray = ray_module()

    def ask() -> Any:  # sent by value: it has to run where there is no mien, or another one
        import platform

        try:
            from mien.evaluation.execution.ray_tasks import this_machine
        except ImportError as error:
            return f"Python {platform.python_version()} without the mien that runs here ({error})"
        found = this_machine()
        return dict(found.versions), found.code

    asked = {}
    for node in ray.nodes():
        if node["Alive"]:
            place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=place)(ask)
            asked[task.remote()] = node["NodeManagerHostname"]
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=patience)
    for ref in answered:
        try:
            found = ray.get(ref)
        except RayError:
            continue  # lost since; folds find other machines
        other = found if isinstance(found, str) else differences(Machine(*found), this_machine())
        if other:
            raise other_version(asked[ref], other)
    if silent:
        raise MienError(
            f"The machine {asked[silent[0]]} does not answer within {patience:g} s.",
            "machines that can start a process of mien.",
            "`ray stop` on it; or the same command again, where it was only slow.",
        )


def _require_gpus(share: float) -> None:
    if not share:
        return
    gpus = [there.get("GPU", 0.0) for there in resources()]
    if share < 0 or not any(fits(n, share) for n in gpus):
        raise MienError(
            f"No machine has {share:g} of a GPU for a fold; the most is {max(gpus, default=0):g} GPUs.",
            "a share that fits, such as 0.25: four folds on one GPU.",
            "without --gpus-per-fold folds are trained on processors.",
        )
