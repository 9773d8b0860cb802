"""How long a run takes on this machine and how much memory it needs, from one clip and a short fold."""

from __future__ import annotations

import copy
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.classifiers.base import Classifier
from mien.errors import MienError
from mien.evaluation.ledger import fold_file
from mien.evaluation.planning import Plan
from mien.evaluation.preparing import IN_MEMORY
from mien.parameters import Parameters
from mien.preprocessing.base import Recipe
from mien.preprocessing.cache import Cache, default_folder, entry_path, source_digest
from mien.preprocessing.inputs import ArrayInputs
from mien.preprocessing.threads import one_thread
from mien.types import Clip

LONG: Final = 3600.0
"""Seconds beyond which a run says how long it will take before it begins."""

CLIPS: Final = 24
"""Clips of the fold that is measured where a classifier is no network."""

PROCESS_START: Final = 3.0
"""Seconds until worker processes have imported what a fold needs."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured for one system on one database.

    Attributes:
        clip: Seconds to prepare one clip.
        cached: Share of the clips whose input is in the cache already, of a few that were looked up.
        step: Seconds of one step of a network; 0 for other classifiers.
        fit: Seconds to fit one clip with another classifier; 0 for networks.
        rise: Bytes that a fold, or the preparation of a clip, takes beyond what the process holds.
        input_bytes: Bytes of one clip's input.
        once: Seconds for one clip that another classifier takes in the first fold only, because folds share them.
    """

    clip: float
    cached: float
    step: float
    fit: float
    rise: int
    input_bytes: int
    once: float = 0.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a run takes, and what it needs.

    Attributes:
        prepare: Seconds to prepare the clips that are not in the cache.
        train: Seconds to train and test the folds that are missing.
        folds: Number of these folds, over all seeds.
        clips: Number of clips.
        memory: Bytes of memory at once, over all processes.
    """

    prepare: float
    train: float
    folds: int
    clips: int
    memory: int

    @property
    def seconds(self) -> float:
        """Return the seconds of the whole run."""
        return self.prepare + self.train

    def as_json(self) -> dict[str, float | int]:
        """Return all of it, ready for JSON; times in hours, memory in GiB."""
        return {
            "hours": self.seconds / 3600,
            "hours_prepare": self.prepare / 3600,
            "hours_train": self.train / 3600,
            "folds": self.folds,
            "clips": self.clips,
            "memory_gib": self.memory / 2**30,
        }

    def __str__(self) -> str:
        """Say it in one sentence."""
        return (
            f"About {in_words(self.seconds)} on this machine ({in_words(self.prepare)} to prepare {self.clips} clips, "
            f"{in_words(self.train)} to train {self.folds} folds) and {self.memory / 2**30:.1f} GiB of memory."
        )


def in_words(seconds: float) -> str:
    """Return a duration in words.

    Example:
        >>> in_words(9000), in_words(200), in_words(4)
        ('2.5 hours', '3 minutes', '4 seconds')
    """
    if seconds >= LONG:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"


def estimate(
    plan: Plan, todo: Sequence[tuple[int, int]], jobs: int | None = None, costs: Costs | None = None
) -> Estimate:
    """Estimate a run on this machine.

    Args:
        plan: The run.
        todo: (seed, number) of the folds that are missing.
        jobs: Folds at once; None takes the number of cores.
        costs: What was measured; None measures it.

    Returns:
        The estimate. A network may stop earlier (`min_change`); the time of other classifiers is taken to grow with the
        number of clips, which is too little where it grows faster.
    """
    if not todo:
        return Estimate(0.0, 0.0, 0, len(plan.samples), 0)
    found = measure(plan) if costs is None else costs
    jobs = max(1, min(jobs or os.cpu_count() or 1, len(todo)))
    clips = len(plan.samples)
    prepare = found.clip * clips * (1 - found.cached) / min(jobs, clips)
    folds = [_seconds_of_fold(plan, len(plan.folds[number].train), found) for _, number in todo]
    train = max(sum(folds) / jobs, max(folds)) + (PROCESS_START if jobs > 1 else 0) + found.once * clips
    inputs = found.input_bytes * clips
    base = _memory("VmRSS") * (1 + (jobs if jobs > 1 else 0))
    memory = base + jobs * found.rise + (inputs if inputs <= IN_MEMORY else 0)
    return Estimate(prepare, train, len(todo), clips, memory)


def estimate_run(plan: Plan, out: Path, jobs: int | None = None) -> Estimate:
    """Estimate what is missing of the run in a folder; see `estimate`."""
    folds = range(len(plan.folds))
    todo = [(s, n) for s in plan.settings["seeds"] for n in folds if not fold_file(out, s, n).is_file()]
    return estimate(plan, todo, jobs)


def measure(plan: Plan, trained: dict[Any, tuple[float, float, float, int]] | None = None) -> Costs:
    """Prepare one clip and train a few steps, or a small fold, and return what each takes.

    Args:
        plan: The run.
        trained: What training took in earlier calls. It is not measured again for the same system, with the same
            parameters, number of classes and shape of the input; the databases may differ.
    """
    clip = sorted((s.clip for s in plan.samples), key=lambda c: len(c.frames))[len(plan.samples) // 2]
    recipe = plan.system.recipe(clip.medium, plan.parameters)
    copies = recipe.shape[0] or 1 if recipe.axes.startswith("K") else 1
    with one_thread(), _peak() as prepared:
        array, seconds = _prepare(plan, clip, copies)
    one = array[0] if recipe.axes.startswith("K") else array
    trained = {} if trained is None else trained
    key = (plan.system.name, plan.parameters.model_dump_json(), len(plan.classes), one.shape, copies)
    if key not in trained:
        with one_thread(), _peak() as rise:
            times = _train(plan.build(), np.asarray(one, np.float32), copies, len(plan.classes))
        trained[key] = (*times, rise[0])
    step, fit, once, most = trained[key]
    size = 4 * one.size * copies
    return Costs(seconds, _cached(plan, recipe), step, fit, max(prepared[0], most), size, once)


def _prepare(plan: Plan, clip: Clip, copies: int) -> tuple[NDArray[Any], float]:
    """Return the input of a clip in one copy, and the seconds that all copies take."""
    values = dict(plan.parameters)
    first: dict[str, Any] = {n: values[n][:1] for n in ("alphas", "shares") if copies > 1 and n in values}
    single: Parameters = plan.parameters.model_copy(update=first)
    times = [time.perf_counter()]
    recipe = plan.system.recipe(clip.medium, single)
    array = recipe.apply(clip, lambda *_: times.append(time.perf_counter())).array
    # The face is brought into place once, for all copies.
    once = times[1] - times[0] if len(times) > 2 else 0.0
    return array, once + (times[-1] - times[0] - once) * (copies if first else 1)


def _train(classifier: Classifier, one: NDArray[np.float32], copies: int, classes: int) -> tuple[float, float, float]:
    """Return the seconds of a step of a network, or those per clip of another classifier in a fold and once."""
    networks = sys.modules.get("mien.classifiers.net")  # where it is not loaded, neither need torch be
    if networks is not None and isinstance(classifier, networks.NetClassifier):
        return _step(classifier, one, copies), 0.0, 0.0
    random = np.random.default_rng(0)
    spread = 0.1 * max(float(one.std()), 1e-3)
    x = (one + random.normal(0, spread, (CLIPS, *one.shape))).astype(np.float32)
    y = np.arange(CLIPS) % classes
    groups = [("", str(n // classes % 4)) for n in range(CLIPS)]

    def timed() -> float:
        started = time.perf_counter()
        with suppress(MienError):  # of random clips: the run itself will say what is wrong with its own
            classifier.fit(x, y, groups, seed=0).predict_proba(x[:2])
        return (time.perf_counter() - started) / CLIPS

    # A first call loads weights and fills caches, as the first fold will.
    first = timed()
    again = min(timed(), first) if first * CLIPS < 30 else first
    return 0.0, again, first - again


def _step(classifier: Any, one: NDArray[np.float32], copies: int) -> float:
    import torch

    probe = classifier.without_choice() if hasattr(classifier, "without_choice") else copy.copy(classifier)
    probe.members, probe.others = 1, ()
    clips = max(2, -(-classifier.schedule.batch_size // copies))
    shape = (clips, *((copies,) if copies > 1 else ()), *one.shape)
    inputs = ArrayInputs(np.broadcast_to(one, shape), copies)
    y = np.arange(clips) % 2

    def timed(steps: int) -> float:
        probe.schedule = replace(classifier.schedule, steps=steps, repeats=1)
        started = time.perf_counter()
        with suppress(MienError):  # one clip again and again is nothing to learn from
            probe.fit(inputs, y, [("", str(n)) for n in range(clips)], seed=0)
        return time.perf_counter() - started

    with torch.random.fork_rng():
        # A first call chooses algorithms and fills caches.
        first = timed(1)
        alone = timed(1) if first < 20 else first
        return alone if alone > 2 else max(timed(9) - alone, 1e-6) / 8


def _seconds_of_fold(plan: Plan, clips: int, costs: Costs) -> float:
    if not costs.step:
        return costs.fit * clips
    classifier = plan.build()
    return costs.step * steps_of_fold(plan, classifier, clips)


def steps_of_fold(plan: Plan, classifier: Any, clips: int) -> int:
    """Return the most steps that the networks of one fold take on some number of training clips."""
    from mien.classifiers.schedule import steps_of

    recipe = plan.system.recipe(plan.samples[0].clip.medium, plan.parameters)
    copies = (recipe.shape[0] or 1 if recipe.axes.startswith("K") else 1) * (1 if classifier.mirror is None else 2)
    schedule = classifier.schedule.for_rows(clips * copies)
    each = schedule.steps or schedule.epochs * steps_of(clips * copies * schedule.repeats, schedule.batch_size)
    # With k inner folds, k networks see (k - 1) / k of the clips each, and one at most all of them.
    return int(each * classifier.members * getattr(classifier, "inner_folds", 1))


def _cached(plan: Plan, recipe: Recipe) -> float:
    """Return the share of the clips whose input is in the cache, of at most five that are looked up."""
    if plan.samples[0].clip.medium == "flow":
        return 0.0
    cache, some = Cache(default_folder()), [s.clip for s in plan.samples[:: max(1, len(plan.samples) // 5)]][:5]
    return sum(entry_path(cache, recipe, source_digest(clip)).is_file() for clip in some) / len(some)


@contextmanager
def _peak() -> Iterator[list[int]]:
    """Yield a list whose first entry is, afterwards, by how many bytes the memory of this process rose at most."""
    rise = [0]
    with suppress(OSError):  # without it, the highest value since the process began counts
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _memory("VmRSS")
    yield rise
    rise[0] = max(0, _memory("VmHWM") - before)


def _memory(name: str) -> int:
    """Return a size of this process in bytes; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def warn_if_long(seconds: float, about: str, shorter: str, on_warning: Callable[[str], None]) -> None:
    """Say how long work will take, where that is over an hour, and how to make it shorter."""
    if seconds >= LONG and math.isfinite(seconds):
        on_warning(f"{about} Shorter: {shorter}. What is finished is kept: stop it at any time, and resume.")


def shorter(plan: Plan) -> str:
    """Return what would make a run shorter, as it is typed."""
    ways = []
    preset = getattr(plan.parameters, "preset", "")
    ways += [f"`--set preset={name}`" for name in ("small", "cpu") if name in plan.system.presets and preset == "paper"]
    if plan.settings["protocol"] in ("loso", "lovo", "composite"):
        ways.append("`--protocol kfold_subject`")
    if len(plan.settings["seeds"]) > 1:
        ways.append("one seed")
    return ", ".join([*ways, "`--ray HOST:PORT` on more machines, or a GPU"])
