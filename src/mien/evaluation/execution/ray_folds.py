"""Folds, grids and preparation on Ray: cores of this machine, or many machines. The ledger is that of a local run.

The process of the command decides everything and writes everything. Workers are handed prepared inputs through Ray's
object store, which brings them to a machine once and lets all folds there read the same memory, and give back what a
fold's files hold. So no folder need be shared between machines. A fold whose worker or machine is lost is trained
again elsewhere, from its own seed: the same rows.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

import mien
from mien.errors import MienError
from mien.evaluation.execution.folds import FoldDone, state_file, train_fold
from mien.evaluation.planning import Plan
from mien.evaluation.preparing import Made, prepare_input
from mien.io.atomic import sweep_left_behind
from mien.preprocessing import Recipe
from mien.preprocessing.cache import Cache, default_folder, source_files
from mien.preprocessing.inputs import Indices, Inputs, as_array, cached_inputs
from mien.preprocessing.prepare import Outcome, prepare_array
from mien.types import Clip, IntervalSource

if TYPE_CHECKING:
    from mien.progress import Slot

RETRIES: Final = 5
"""Times that a fold or a clip is begun again after its worker or machine was lost."""

PATIENCE: Final = 60.0
"""Seconds that machines have to answer before anything is computed."""

AHEAD: Final = 2
"""Tasks handed to Ray per place that can run one, so that none waits for the next."""

STARTS: Final = 3
"""Attempts to start Ray on this machine: on a busy one its processes do not always find each other in time."""

LOST: Final = "lost"
"""Stands for what a worker would have given that died each time."""

PREFIX: Final = "mien-ray-"
"""How the folders of Ray's processes begin."""

PACKAGES: Final = ("torch", "numpy", "scipy", "scikit-learn", "opencv-contrib-python-headless")
"""Packages whose versions decide the last digits of a result."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a worker runs, as far as it can change a ledger.

    Attributes:
        versions: Of Python, mien and the packages that compute.
        code: Digest of mien's own files: a working copy keeps its version while it changes.
    """

    versions: Mapping[str, str]
    code: str


@cache
def this_machine() -> Machine:
    """What runs here."""
    versions = {"Python": ".".join(map(str, sys.version_info[:2])), "mien": mien.__version__}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            # torch names its build after a plus sign: the same version for processors and for CUDA.
            versions[name] = version(name).partition("+")[0]
    digest = hashlib.sha256()
    folder = Path(mien.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return Machine(versions, digest.hexdigest()[:16])


def differences(there: Machine, here: Machine) -> str:
    """What a worker has that is not what the command has, told for people; "" where nothing is."""
    keys = dict.fromkeys([*here.versions, *there.versions])
    told = [
        f"{key} {there.versions.get(key, 'missing')} (here {here.versions.get(key, 'missing')})"
        for key in keys
        if there.versions.get(key) != here.versions.get(key)
    ]
    if not told and there.code != here.code:
        told = [f"another copy of mien {here.versions['mien']}, with other code"]
    return ", ".join(told)


# What runs on a worker


def _require_same(expected: Machine) -> None:
    told = differences(this_machine(), expected)
    if told:
        raise _other_version(socket.gethostname(), told)


def _other_version(name: str, told: str) -> MienError:
    return MienError(
        f"The machine {name} runs {told}.",
        "the same mien, Python and packages on every machine, or the ledger would depend on where a fold ran.",
        "`pip install -c constraints.txt '.[cluster]'` from the same files on each, then `ray stop` and `ray start`.",
    )


def _fold(
    plan: Plan,
    inputs: Inputs,
    intervals: Sequence[IntervalSource],
    seed: int,
    number: int,
    slot: Slot | None,
    keep: Path | None,
    mark: str,
    gpus: float,
    expected: Machine,
) -> FoldDone:
    _require_same(expected)
    if not gpus:
        # A fold that was given no GPU must not find one.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # States are worth keeping only where the next attempt, perhaps on another machine, finds them.
    shared = keep is not None and (keep.parent / mark).is_file()
    return train_fold(plan, seed, number, inputs, intervals, slot, keep if shared else None)


def _input(
    recipe: Recipe, clip: Clip, folder: Path | None, size: tuple[int, int] | None, large: bool, expected: Machine
) -> tuple[Any, tuple[IntervalSource, str, tuple[str, ...]] | MienError | None]:
    """(array, what else `prepare_input` gives), (None, why not), or (None, None) where the files are not here."""
    _require_same(expected)
    if size is not None and _size(clip) != size:
        return None, None
    store = Cache(folder or default_folder())
    made = prepare_input(recipe, clip, store, large)
    if isinstance(made, MienError):
        return None, made
    array, interval, digest, notes = made
    if large:
        array = cached_inputs([clip], recipe, store, [digest]).all_copies(0)
    return array, (interval, digest, notes)


def _prepared(
    recipe: Recipe, clip: Clip, store: Cache | None, size: tuple[int, int] | None, wanted: bool, expected: Machine
) -> tuple[NDArray[Any] | None, Outcome | None]:
    _require_same(expected)
    if size is not None and _size(clip) != size:
        return None, None
    outcome, array = prepare_array(clip, recipe, store, alone=True)
    return array if wanted else None, outcome


def _size(clip: Clip) -> tuple[int, int] | None:
    """Number of a clip's files and their bytes; None where one is missing. The same path may be another disk."""
    try:
        sizes = [path.stat().st_size for path in source_files(clip)]
    except OSError:
        return None
    return len(sizes), sum(sizes)


@dataclass(frozen=True)
class StoredInputs:
    """Inputs in Ray's object store, each brought to a machine when a batch first asks for it.

    Attributes:
        refs: Where each clip's array is; None for a clip that could not be prepared.
        shape: See `Inputs`.
        copies: See `Inputs`.
    """

    refs: tuple[Any, ...]
    shape: tuple[int, ...]
    copies: int

    def __len__(self) -> int:
        return len(self.refs)

    def __getitem__(self, clips: Indices) -> StoredInputs:
        return replace(self, refs=tuple(self.refs[int(i)] for i in clips))

    def take(self, clips: Indices, copies: Indices | int = 0) -> NDArray[np.float32]:
        """See `Inputs`."""
        ray = _ray()

        rows = [int(i) for i in clips]
        which = np.broadcast_to(np.asarray(copies), len(rows))
        wanted = sorted(set(rows))
        # Held for one batch only, so that the store may make room.
        arrays = dict(zip(wanted, ray.get([self.refs[i] for i in wanted]), strict=True))
        batch = np.empty((len(rows), *self.shape), np.float32)
        for place, (clip, copy) in enumerate(zip(rows, which, strict=True)):
            batch[place] = arrays[clip][copy] if self.copies > 1 else arrays[clip]
        return batch

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return as_array(self).astype(dtype or np.float32, copy=False)


# What runs in the command


@dataclass(frozen=True)
class RayCluster:
    """A connection to Ray, for `mien.evaluation.run.benchmark` and `mien.preprocessing.prepare.prepare`; see `connect`.

    Attributes:
        gpus_per_fold: Share of a GPU for each fold; 0 trains on processors.
        jobs: Folds at once; None takes what the machines have room for.
        join: Starts or joins Ray; called once, before the first work.
        patience: Seconds that no machine may have room before work is given up.
        stopped: See `stop`.
    """

    gpus_per_fold: float
    jobs: int | None
    join: Callable[[], None]
    patience: float = PATIENCE
    stopped: threading.Event = field(default_factory=threading.Event)
    _joined: threading.Event = field(default_factory=threading.Event)
    _joining: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Starts or joins Ray, where that has not been done.

        Raises:
            MienError: See `connect`.
        """
        with self._joining:
            if not self._joined.is_set():
                self.join()
                self._joined.set()

    @property
    def places(self) -> int:
        """Folds that the machines have room for now, at least 1; machines may come and go."""
        self.begin()
        return max(1, _room(self.gpus_per_fold))

    def stop(self) -> None:
        """Ends what other threads have asked for."""
        self.stopped.set()

    def inputs(self, work: Sequence[tuple[Recipe, Clip, Cache, bool]]) -> Iterator[Made | MienError | None]:
        """See `mien.evaluation.execution.cluster.Cluster`; a large input is a reference into the object store."""
        self.begin()
        expected, folder = this_machine(), _cache_folder()

        def arguments(item: tuple[Recipe, Clip, Cache, bool], size: tuple[int, int] | None) -> tuple[Any, ...]:
            recipe, clip, _, large = item
            return recipe, clip, folder, size, large, expected

        for (_, clip, _, large), array, rest in self._in_order(_input, work, lambda item: item[1], arguments):
            if rest is LOST:
                yield None
            elif isinstance(rest, MienError):
                yield rest
            else:
                yield (array if large else _get(array, clip.key)), *rest

    def gather(self, recipe: Recipe, refs: Sequence[Any]) -> Inputs:
        """References to large inputs, as inputs."""
        facts = cached_inputs((), recipe, Cache(default_folder()), ())
        return StoredInputs(tuple(refs), facts.shape, facts.copies)

    def folds(
        self,
        plan: Plan,
        out: Path,
        todo: Sequence[tuple[int, int]],
        inputs: Inputs,
        intervals: Sequence[IntervalSource],
        slot: Callable[[int], Slot],
    ) -> Iterator[tuple[int, int, FoldDone]]:
        """(seed, number, what to write) of each fold, as they finish.

        Raises:
            MienError: What a fold raises; or a fold lost its worker again and again.
        """
        self.begin()
        ray, expected = _ray(), this_machine()
        mark = _mark(out)
        task = self._task(_fold, num_gpus=self.gpus_per_fold)
        shared = ray.put(plan), ray.put(inputs), ray.put(list(intervals))
        waiting = deque(enumerate(todo))
        running: dict[Any, tuple[int, int]] = {}
        alone: float | None = None
        try:
            while waiting or running:
                room = (self.jobs or AHEAD * self.places) - len(running)
                for place, (seed, number) in [waiting.popleft() for _ in range(min(room, len(waiting)))]:
                    keep = state_file(out.resolve(), seed, number)
                    ref = task.remote(*shared, seed, number, slot(place), keep, mark, self.gpus_per_fold, expected)
                    running[ref] = seed, number
                # Every second the machines are counted again: more may have come.
                for ref in ray.wait(list(running), timeout=1.0)[0]:
                    seed, number = running.pop(ref)
                    yield seed, number, _get(ref, f"fold {plan.folds[number].name}")
                alone = self._go_on(alone)
        finally:
            _cancel(running)
            with suppress(OSError):
                (out / "unfinished" / mark).unlink()

    def prepare(
        self, clips: Sequence[Clip], recipe: Recipe, store: Cache | None, arrays: bool
    ) -> Iterator[tuple[Outcome | None, NDArray[Any] | None]]:
        """See `mien.preprocessing.prepare.Cluster`."""
        self.begin()
        expected = this_machine()

        def arguments(clip: Clip, size: tuple[int, int] | None) -> tuple[Any, ...]:
            return recipe, clip, store, size, arrays, expected

        for clip, array, outcome in self._in_order(_prepared, clips, lambda clip: clip, arguments):
            if outcome is LOST:
                yield None, None
            else:
                yield outcome, _get(array, clip.key) if arrays and outcome.error is None else None

    def _go_on(self, alone_since: float | None) -> float | None:
        """Ends the work where it was stopped, or no machine has had room for long; gives since when none has.

        Raises:
            MienError: Either.
        """
        if self.stopped.is_set():
            raise MienError("This was stopped.", "nothing.", "the same command again: what is finished is kept.")
        if _room(self.gpus_per_fold):
            return None
        now = time.monotonic()
        if alone_since is not None and now - alone_since > self.patience:
            raise _no_machine(self.patience)
        return alone_since or now

    def _task(self, function: Callable[..., Any], **options: Any) -> Any:
        return _ray().remote(num_cpus=1, max_retries=RETRIES, retry_exceptions=False, **options)(function)

    def _in_order(
        self, function: Callable[..., Any], items: Sequence[Any], clip_of: Callable[[Any], Clip],
        arguments: Callable[[Any, tuple[int, int] | None], tuple[Any, ...]],
    ) -> Iterator[tuple[Any, Any, Any]]:  # fmt: skip
        """(item, reference to its array, the rest) of each item, in order; some are computed ahead.

        Where a machine does not have a clip's files, the one that runs the command prepares it.
        """
        ray = _ray()
        task = self._task(function, num_returns=2)
        waiting, running = deque(items), deque[_Ahead]()
        alone: float | None = None
        try:
            while waiting or running:
                while waiting and len(running) < (self.jobs or 2 * AHEAD * self.places):
                    item = waiting.popleft()
                    size = _size(clip_of(item))
                    given = arguments(item, size)
                    sent = _on_this_machine(task, function, given) if size is None else task.remote(*given)
                    running.append(_Ahead(item, *sent))
                unsettled = {ahead.rest: ahead for ahead in running if ahead.found is None}
                for rest in ray.wait(list(unsettled), timeout=1.0)[0] if unsettled else ():
                    ahead = unsettled[rest]
                    ahead.found = _get(rest, "", lost=LOST)
                    if ahead.found is None:
                        ahead.array, ahead.rest = _on_this_machine(task, function, arguments(ahead.item, None))
                while running and running[0].found is not None:
                    ahead = running.popleft()
                    yield ahead.item, ahead.array, ahead.found
                alone = self._go_on(alone)
        finally:
            _cancel(ahead.rest for ahead in running)


@dataclass
class _Ahead:
    """A clip on its way: the references to its array and to the rest, and the rest once it is there."""

    item: Any
    array: Any
    rest: Any
    found: Any = None


def _resources() -> list[Mapping[str, float]]:
    """What each machine has."""
    return [node["Resources"] for node in _ray().nodes() if node["Alive"]]


def _room(gpus_per_fold: float) -> int:
    """Folds that all machines have room for."""
    total = 0
    for there in _resources():
        free = there.get("CPU", 0.0)
        if gpus_per_fold:
            free = min(free, _fits(there.get("GPU", 0.0), gpus_per_fold))
        total += int(free)
    return total


def _fits(gpus: float, share: float) -> int:
    """Folds that a machine's GPUs hold: a fold lies on one GPU, or on whole ones."""
    return int(gpus) * int(1 / share + 1e-9) if share <= 1 else int(gpus / share)


def _cache_folder() -> Path | None:
    """The cache that was asked for; None lets every machine use its own."""
    return default_folder() if os.environ.get("MIEN_CACHE") else None


def _mark(out: Path) -> str:
    """A file by which a worker sees whether it shares the run's folder; its name is never used twice."""
    name = f"shared-{os.getpid()}-{os.urandom(8).hex()}"
    folder = out / "unfinished"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    return name


def _on_this_machine(task: Any, function: Callable[..., Any], given: tuple[Any, ...]) -> tuple[Any, Any]:
    """A task sent to the machine of the command; run by the command itself where Ray may not compute there."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray = _ray()
    own = ray.get_runtime_context().get_node_id()
    if any(node["NodeID"] == own and node["Resources"].get("CPU", 0) >= 1 for node in ray.nodes()):
        first, second = task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(own, soft=False)).remote(*given)
        return first, second
    array, rest = function(*given)
    return ray.put(array), ray.put(rest)


def _cancel(refs: Any) -> None:
    ray = _ray()

    for ref in list(refs):
        with suppress(Exception):
            ray.cancel(ref, force=True)


def _get(ref: Any, what: str, lost: str = "") -> Any:
    """The result of a task; what went wrong there, in three parts. `lost`, where given, is for a worker that died."""
    from ray.exceptions import RayError, RayTaskError

    ray = _ray()
    try:
        return ray.get(ref)
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, MienError):
            raise cause from None
        if isinstance(cause, ImportError):
            raise MienError(
                f"A machine of the cluster cannot run mien ({cause}).",
                "mien and its extra `cluster` on every machine.",
                "`pip install -c constraints.txt '.[cluster]'` there, then `ray stop` and `ray start`.",
            ) from None
        raise
    except RayError as error:
        if lost:
            return lost
        raise MienError(
            f"The worker of {what} was lost {RETRIES + 1} times ({type(error).__name__}).",
            "workers that live as long as their work; memory is the usual reason.",
            "the same command again: what is finished is kept. Fewer folds at once: --jobs, or a larger "
            "--gpus-per-fold.",
        ) from None


# Connecting


@contextmanager
def connect(
    address: str,
    *,
    gpus_per_fold: float = 0.0,
    jobs: int | None = None,
    patience: float = PATIENCE,
    on_warning: Callable[[str], None] | None = None,
) -> Iterator[RayCluster]:
    """Ray on this machine, or a cluster that runs already; what was started here ends with the block.

    Nothing is started or joined before the first work. A Ray that the program itself has started is used as it is.

    Args:
        address: "local"; HOST:PORT of a cluster that this machine belongs to; or "auto" for the one that runs here.
        gpus_per_fold: Share of a GPU for each fold, such as 0.25; 0 trains on processors.
        jobs: Folds at once; with "local" the number of processes, None being the number of cores.
        patience: Seconds to wait for the address and for each machine's answer.
        on_warning: Called with a sentence where GPUs stay idle.

    Raises:
        MienError: It is no address, or Ray is not installed. With the first work: nothing answers at the address; a
            machine runs something else; no GPU has room for a fold.
    """
    _require_address(address)
    if importlib.util.find_spec("ray") is None:
        raise MienError(
            "--ray needs Ray, which is not installed.",
            "the extra `cluster`; without --ray folds run in processes of this machine.",
            "`pip install 'mien[cluster]'`.",
        )
    with ExitStack() as stack:

        def begin() -> None:
            _join(address, jobs, patience, stack)
            _greet(patience)
            _require_gpus(gpus_per_fold)
            gpus = sum(there.get("GPU", 0.0) for there in _resources())
            if gpus and not gpus_per_fold and on_warning is not None:
                on_warning(f"{gpus:g} GPUs stay idle: without --gpus-per-fold, folds are trained on processors.")

        # With "local" Ray itself keeps to the number.
        yield RayCluster(gpus_per_fold, None if address == "local" else jobs, begin, patience)


def _join(address: str, jobs: int | None, patience: float, stack: ExitStack) -> None:
    """Starts Ray or joins it; what has to be undone at the end is put on the stack."""
    if address == "local":
        _guard()
    ray = _ray()
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
    """What Ray reads when it is imported: it reports to nobody, listens on 127.0.0.1 and obeys this program alone."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # On a busy machine Ray's helpers take longer to start than it would wait for them.
    os.environ.setdefault("RAY_agent_register_timeout_ms", "100000")
    os.environ.setdefault("RAY_worker_register_timeout_seconds", "180")
    # "No cluster" is how Ray is told to stay within the machine; on Linux it would listen on every network.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    if not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = os.urandom(32).hex()


def _require_loopback() -> None:
    ray = _ray()

    address = ray.get_runtime_context().gcs_address
    if not address.startswith("127."):
        raise MienError(
            f"Ray would listen on {address}, which other machines can reach: it was imported before mien could say no.",
            "`mien.evaluation.execution.ray_folds.connect` before the first `import ray`.",
            "`RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0` in the environment of the program.",
        )


def _ray() -> Any:
    """Ray, imported when it is first needed: it takes a second, and reads its environment then."""
    import ray

    return ray


@contextmanager
def _private_folder() -> Iterator[str]:
    """A folder for Ray's sockets, logs and what does not fit in memory: faces, which only this user may read."""
    # The names of sockets may have 107 characters, of which Ray takes some 65 and the folder some 25.
    place = Path(tempfile.gettempdir() if len(tempfile.gettempdir()) < 12 else "/tmp")
    sweep_left_behind(PREFIX, place)
    folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=place)
    try:
        yield f"{folder}/r"  # Ray opens its own folder to everyone
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require_answer(address: str, patience: float) -> None:
    """Asks whether Ray is at an address: Ray itself would wait for minutes, or end the program.

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
    # In a process of its own: where something else than Ray listens, Ray ends the process that asked.
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


def _no_machine(patience: float) -> MienError:
    return MienError(
        f"For {patience:g} s no machine of the cluster has had a processor for a fold.",
        "at least one, with the GPUs that were asked for.",
        "`ray start --address HOST:PORT` on a machine, and the same command again: what is finished is kept.",
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
    """Asks every machine what it runs.

    Raises:
        MienError: One runs something else, or does not answer in time.
    """
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray = _ray()

    def ask() -> Any:  # sent by value: it has to run where there is no mien, or another one
        import platform

        try:
            from mien.evaluation.execution.ray_folds import this_machine
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
        told = found if isinstance(found, str) else differences(Machine(*found), this_machine())
        if told:
            raise _other_version(asked[ref], told)
    if silent:
        raise MienError(
            f"The machine {asked[silent[0]]} does not answer within {patience:g} s.",
            "machines that can start a process of mien.",
            "`ray stop` on it; or the same command again, where it was only slow.",
        )


def _require_gpus(share: float) -> None:
    if not share:
        return
    gpus = [there.get("GPU", 0.0) for there in _resources()]
    if share < 0 or not any(_fits(n, share) for n in gpus):
        raise MienError(
            f"No machine has {share:g} of a GPU for a fold; the most is {max(gpus, default=0):g} GPUs.",
            "a share that fits, such as 0.25: four folds on one GPU.",
            "without --gpus-per-fold folds are trained on processors.",
        )
