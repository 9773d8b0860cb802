"""RayExecutor: folds and preparation on Ray, on the cores of this machine or on many machines.

The process of the command makes the plan and writes all files. Workers receive prepared inputs through Ray's object
store, which copies them to a machine once, and return the text of a fold's files; no folder need be shared between
machines. A fold whose worker or machine is lost is trained again elsewhere from the same seed, with the same rows.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from mien.errors import MienError
from mien.evaluation.execution.base import ClipInput, Executor, FoldResult, InputTask, RunInputs
from mien.evaluation.execution.folds import state_file
from mien.evaluation.execution.ray_tasks import (
    StoredInputs,
    ray_module,
    run_fold,
    run_input,
    run_prepare,
    run_task,
    size_of,
    this_machine,
)
from mien.evaluation.planning import Plan
from mien.preprocessing import Recipe
from mien.preprocessing.cache import Cache, default_folder
from mien.preprocessing.inputs import Inputs, cached_inputs
from mien.preprocessing.prepare import Outcome
from mien.types import Clip

if TYPE_CHECKING:
    from mien.progress import Slot

RETRIES: Final = 5
"""How often a fold or a clip is started again after its worker or machine was lost."""

PATIENCE: Final = 60.0
"""Seconds that machines have to answer before anything is computed."""

AHEAD: Final = 2
"""Tasks submitted to Ray per place, so that no place waits for the next one."""

LOST: Final = "lost"
"""Stands for the result of a worker that died each time."""


@dataclass(frozen=True)
class RayExecutor(Executor):
    """Runs on Ray; see `mien.evaluation.execution.ray_connect.connect`. It also serves `mien.preprocessing.prepare`.

    Attributes:
        gpus_per_fold: Share of a GPU for each fold; 0 trains on the CPU.
        jobs: Folds at once; None takes as many as the machines have room for.
        join: Starts or joins Ray; called once, before the first task.
        patience: Seconds without room on any machine after which the work is given up.
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
        """Start or join Ray, unless that was done.

        Raises:
            MienError: See `connect`.
        """
        with self._joining:
            if not self._joined.is_set():
                self.join()
                self._joined.set()

    @property
    def places(self) -> int:
        """Folds that the machines have room for now, at least 1; machines may join and leave."""
        self.begin()
        return max(1, room_for(self.gpus_per_fold))

    def stop(self) -> None:
        """End the work that other threads have asked for."""
        self.stopped.set()

    def inputs(self, tasks: Sequence[InputTask]) -> Iterator[ClipInput | MienError | None]:
        """See `Executor`; the array of a large input is a reference into the object store."""
        self.begin()
        expected, folder = this_machine(), _cache_folder()

        def arguments(task: InputTask, size: tuple[int, int] | None) -> tuple[Any, ...]:
            return task, folder, size, expected

        for task, array, rest in self._in_order(run_input, tasks, lambda task: task.clip, arguments):
            if rest is LOST:
                yield None
            elif isinstance(rest, MienError):
                yield rest
            else:
                yield replace(rest, array=array if task.large else _get(array, task.clip.key))

    def gather(self, tasks: Sequence[InputTask], made: Sequence[ClipInput]) -> Inputs:
        """Return inputs that refer to the object store."""
        facts = cached_inputs((), tasks[0].recipe, Cache(default_folder()), ())
        return StoredInputs(tuple(one.array for one in made), facts.shape, facts.copies)

    def folds(
        self,
        plan: Plan,
        inputs: RunInputs,
        todo: Sequence[tuple[int, int]],
        out: Path,
        slot: Callable[[int], Slot],
    ) -> Iterator[FoldResult]:
        """See `Executor`.

        Raises:
            MienError: What a fold raises; or a fold lost its worker `RETRIES` times.
        """
        self.begin()
        ray, expected = ray_module(), this_machine()
        mark = _mark(out)
        task = self._task(run_fold, num_gpus=self.gpus_per_fold)
        shared = ray.put(plan), ray.put(inputs)
        waiting = deque(enumerate(todo))
        running: dict[Any, int] = {}
        alone: float | None = None
        try:
            while waiting or running:
                room = (self.jobs or AHEAD * self.places) - len(running)
                for place, (seed, number) in [waiting.popleft() for _ in range(min(room, len(waiting)))]:
                    state = state_file(out.resolve(), seed, number)
                    ref = task.remote(*shared, seed, number, slot(place), state, mark, self.gpus_per_fold, expected)
                    running[ref] = number
                # The machines are counted again every second: more may have joined.
                for ref in ray.wait(list(running), timeout=1.0)[0]:
                    yield _get(ref, f"fold {plan.folds[running.pop(ref)].name}")
                alone = self._require_room(alone)
        finally:
            _cancel(running)
            with suppress(OSError):
                (out / "unfinished" / mark).unlink()

    def prepare(
        self, clips: Sequence[Clip], recipe: Recipe, store: Cache | None, arrays: bool
    ) -> Iterator[tuple[Outcome | None, NDArray[Any] | None]]:
        """See `mien.preprocessing.prepare.ClipExecutor`."""
        self.begin()
        expected = this_machine()

        def arguments(clip: Clip, size: tuple[int, int] | None) -> tuple[Any, ...]:
            return clip, recipe, store, size, arrays, expected

        for clip, array, outcome in self._in_order(run_prepare, clips, lambda clip: clip, arguments):
            if outcome is LOST:
                yield None, None
            else:
                yield outcome, _get(array, clip.key) if arrays and outcome.error is None else None

    def spread(
        self, function: Callable[[Any], Any], tasks: Sequence[Any], clip_of: Callable[[Any], Clip]
    ) -> Iterator[tuple[Any, Any]]:
        """Apply a function of mien to tasks, each about one clip; a task runs where the files of its clip are.

        Args:
            function: Returns something else than None, and raises nothing.
            tasks: Its arguments.
            clip_of: Returns the clip of a task.

        Yields:
            Each task with its result, as they finish; with None if its worker died each time.
        """
        self.begin()
        expected = this_machine()

        def arguments(task: Any, size: tuple[int, int] | None) -> tuple[Any, ...]:
            return function, task, clip_of(task), size, expected

        for task, _, result in self._in_order(run_task, tasks, clip_of, arguments, ordered=False):
            yield task, None if result is LOST else result

    def _require_room(self, alone_since: float | None) -> float | None:
        """Return since when no machine has had room; None where one has.

        Raises:
            MienError: The work was stopped, or no machine has had room for `patience` seconds.
        """
        if self.stopped.is_set():
            raise MienError(
                "The run was stopped.", "a run to its end.", "the same command again, which resumes where it stopped."
            )
        if room_for(self.gpus_per_fold):
            return None
        now = time.monotonic()
        if alone_since is not None and now - alone_since > self.patience:
            raise _no_machine(self.patience)
        return alone_since or now

    def _task(self, function: Callable[..., Any], **options: Any) -> Any:
        return ray_module().remote(num_cpus=1, max_retries=RETRIES, retry_exceptions=False, **options)(function)

    def _in_order(
        self, function: Callable[..., Any], items: Sequence[Any], clip_of: Callable[[Any], Clip],
        arguments: Callable[[Any, tuple[int, int] | None], tuple[Any, ...]], ordered: bool = True,
    ) -> Iterator[tuple[Any, Any, Any]]:  # fmt: skip
        """Yield (item, reference to its array, the rest) of each item, if `ordered` in order; some are computed ahead.

        A clip whose files a machine does not have is prepared on the machine of the command.
        """
        ray = ray_module()
        task = self._task(function, num_returns=2)
        waiting, running = deque(items), deque[_Ahead]()
        alone: float | None = None
        try:
            while waiting or running:
                while waiting and len(running) < (self.jobs or 2 * AHEAD * self.places):
                    item = waiting.popleft()
                    size = size_of(clip_of(item))
                    given = arguments(item, size)
                    sent = _on_this_machine(task, function, given) if size is None else task.remote(*given)
                    running.append(_Ahead(item, *sent))
                unsettled = {ahead.rest: ahead for ahead in running if ahead.found is None}
                for rest in ray.wait(list(unsettled), timeout=1.0)[0] if unsettled else ():
                    ahead = unsettled[rest]
                    ahead.found = _get(rest, "", lost=LOST)
                    if ahead.found is None:
                        ahead.array, ahead.rest = _on_this_machine(task, function, arguments(ahead.item, None))
                ready = takewhile(_is_found, running) if ordered else filter(_is_found, running)
                for ahead in list(ready):
                    running.remove(ahead)
                    yield ahead.item, ahead.array, ahead.found
                alone = self._require_room(alone)
        finally:
            _cancel(ahead.rest for ahead in running)


@dataclass(eq=False)
class _Ahead:
    """A clip that is being prepared: references to its array and to the rest, and the rest once it is there."""

    item: Any
    array: Any
    rest: Any
    found: Any = None


def _is_found(ahead: _Ahead) -> bool:
    return ahead.found is not None


def resources() -> list[Mapping[str, float]]:
    """Return the resources of each machine."""
    return [node["Resources"] for node in ray_module().nodes() if node["Alive"]]


def room_for(gpus_per_fold: float) -> int:
    """Return the folds that all machines together have room for."""
    total = 0
    for there in resources():
        free = there.get("CPU", 0.0)
        if gpus_per_fold:
            free = min(free, fits(there.get("GPU", 0.0), gpus_per_fold))
        total += int(free)
    return total


def fits(gpus: float, share: float) -> int:
    """Return the folds that the GPUs of a machine have room for: a fold takes part of one GPU, or whole ones."""
    return int(gpus) * int(1 / share + 1e-9) if share <= 1 else int(gpus / share)


def _cache_folder() -> Path | None:
    """Return the cache that `$MIEN_CACHE` names; None lets every machine use its own."""
    return default_folder() if os.environ.get("MIEN_CACHE") else None


def _mark(out: Path) -> str:
    """Create a file by which a worker sees that it shares the folder of the run; return its unique name."""
    name = f"shared-{os.getpid()}-{os.urandom(8).hex()}"
    folder = out / "unfinished"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    return name


def _on_this_machine(task: Any, function: Callable[..., Any], given: tuple[Any, ...]) -> tuple[Any, Any]:
    """Run a task on the machine of the command; in the command itself where Ray may not compute there."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray = ray_module()
    own = ray.get_runtime_context().get_node_id()
    if any(node["NodeID"] == own and node["Resources"].get("CPU", 0) >= 1 for node in ray.nodes()):
        first, second = task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(own, soft=False)).remote(*given)
        return first, second
    array, rest = function(*given)
    return ray.put(array), ray.put(rest)


def _cancel(refs: Any) -> None:
    ray = ray_module()

    for ref in list(refs):
        with suppress(Exception):
            ray.cancel(ref, force=True)


def _get(ref: Any, what: str, lost: str = "") -> Any:
    """Return the result of a task, or `lost`, if given, where its worker died.

    Raises:
        MienError: The task failed.
    """
    from ray.exceptions import RayError, RayTaskError

    ray = ray_module()
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


def _no_machine(patience: float) -> MienError:
    return MienError(
        f"For {patience:g} s no machine of the cluster has had a processor for a fold.",
        "at least one, with the GPUs that were asked for.",
        "`ray start --address HOST:PORT` on a machine, and the same command again: what is finished is kept.",
    )
