"""What workers of Ray run: folds, and the preparation of clips."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

import mien
from mien.errors import MienError
from mien.evaluation.execution.base import ClipInput, FoldResult, InputTask, RunInputs
from mien.evaluation.execution.folds import train_fold
from mien.evaluation.execution.inputs import prepare_input
from mien.evaluation.planning import Plan
from mien.preprocessing import Recipe
from mien.preprocessing.cache import Cache, default_folder, source_files
from mien.preprocessing.inputs import Indices, as_array, cached_inputs
from mien.preprocessing.prepare import Outcome, prepare_array
from mien.types import Clip

if TYPE_CHECKING:
    from mien.progress import Slot

PACKAGES: Final = ("torch", "numpy", "scipy", "scikit-learn", "opencv-contrib-python-headless")
"""Packages whose versions decide the last digits of a result."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine runs, as far as a ledger can depend on it.

    Attributes:
        versions: Versions of Python, mien and the packages that compute.
        code: Digest of the source files of mien: a working copy keeps its version while it changes.
    """

    versions: Mapping[str, str]
    code: str


@cache
def this_machine() -> Machine:
    """Return what this machine runs."""
    versions = {"Python": ".".join(map(str, sys.version_info[:2])), "mien": mien.__version__}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            # torch appends its build after a plus sign; the versions for CPU and CUDA count as the same.
            versions[name] = version(name).partition("+")[0]
    digest = hashlib.sha256()
    folder = Path(mien.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return Machine(versions, digest.hexdigest()[:16])


def differences(there: Machine, here: Machine) -> str:
    """Return in words how a worker differs from the command; "" where it does not."""
    keys = dict.fromkeys([*here.versions, *there.versions])
    found = [
        f"{key} {there.versions.get(key, 'missing')} (here {here.versions.get(key, 'missing')})"
        for key in keys
        if there.versions.get(key) != here.versions.get(key)
    ]
    if not found and there.code != here.code:
        found = [f"another copy of mien {here.versions['mien']}, with other code"]
    return ", ".join(found)


def require_same(expected: Machine) -> None:
    """Refuse to compute where other versions are installed than where the command runs.

    Raises:
        MienError: They differ.
    """
    found = differences(this_machine(), expected)
    if found:
        raise other_version(socket.gethostname(), found)


def other_version(name: str, found: str) -> MienError:
    """Return the error for a machine that differs from that of the command."""
    return MienError(
        f"The machine {name} runs {found}.",
        "the same mien, Python and packages on every machine, or the ledger would depend on where a fold ran.",
        "`pip install -c constraints.txt '.[cluster]'` from the same files on each, then `ray stop` and `ray start`.",
    )


def run_fold(
    plan: Plan,
    inputs: RunInputs,
    seed: int,
    number: int,
    slot: Slot | None,
    state: Path | None,
    mark: str,
    gpus: float,
    expected: Machine,
) -> FoldResult:
    """Train and test a fold; see `train_fold`.

    Args:
        plan, inputs, seed, number, slot: See `train_fold`.
        state: Where the state of an unfinished fold is stored, if the folder is shared with this worker.
        mark: Name of the file in that folder by which this shows.
        gpus: Share of a GPU that the fold was given.
        expected: What the command runs.

    Raises:
        MienError: This machine runs other versions; or what the fold raises.
    """
    require_same(expected)
    if not gpus:
        # A fold that was given no GPU must not find one.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # States help only where the next attempt, perhaps on another machine, finds them.
    shared = state is not None and (state.parent / mark).is_file()
    return train_fold(plan, inputs, seed, number, slot, state if shared else None)


def run_input(
    task: InputTask, folder: Path | None, size: tuple[int, int] | None, expected: Machine
) -> tuple[Any, ClipInput | MienError | None]:
    """Prepare the input of a clip.

    Args:
        task: The clip.
        folder: Folder of the cache; None takes that of this machine.
        size: `size_of` the clip where the command runs; None there if it is missing.
        expected: What the command runs.

    Returns:
        (array, the rest), (None, why the clip cannot be prepared), or (None, None) where its files are not here.
    """
    require_same(expected)
    if size is not None and size_of(task.clip) != size:
        return None, None
    store = Cache(folder or default_folder())
    made = prepare_input(replace(task, cache=store))
    if isinstance(made, MienError):
        return None, made
    array = cached_inputs([task.clip], task.recipe, store, [made.digest]).all_copies(0) if task.large else made.array
    return array, replace(made, array=None)


def run_prepare(
    clip: Clip, recipe: Recipe, store: Cache | None, size: tuple[int, int] | None, wanted: bool, expected: Machine
) -> tuple[NDArray[Any] | None, Outcome | None]:
    """Prepare a clip for `mien prepare`; see `run_input`."""
    require_same(expected)
    if size is not None and size_of(clip) != size:
        return None, None
    outcome, array = prepare_array(clip, recipe, store, alone=True)
    return array if wanted else None, outcome


def run_task(
    function: Callable[[Any], Any], task: Any, clip: Clip, size: tuple[int, int] | None, expected: Machine
) -> tuple[None, Any]:
    """Apply a function to a task about a clip; see `run_input`. The first of the two results is always None."""
    require_same(expected)
    if size is not None and size_of(clip) != size:
        return None, None
    return None, function(task)


def size_of(clip: Clip) -> tuple[int, int] | None:
    """Return the number of files of a clip and their total size in bytes; None where one is missing."""
    try:
        sizes = [path.stat().st_size for path in source_files(clip)]
    except OSError:
        return None
    return len(sizes), sum(sizes)


@dataclass(frozen=True)
class StoredInputs:
    """Inputs in Ray's object store; each is copied to a machine when a batch first needs it.

    Attributes:
        refs: Reference to the array of each clip; None for a clip that could not be prepared.
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
        ray = ray_module()

        rows = [int(i) for i in clips]
        which = np.broadcast_to(np.asarray(copies), len(rows))
        wanted = sorted(set(rows))
        # Kept for one batch only, so that the store can free memory.
        arrays = dict(zip(wanted, ray.get([self.refs[i] for i in wanted]), strict=True))
        batch = np.empty((len(rows), *self.shape), np.float32)
        for place, (clip, copy) in enumerate(zip(rows, which, strict=True)):
            batch[place] = arrays[clip][copy] if self.copies > 1 else arrays[clip]
        return batch

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return as_array(self).astype(dtype or np.float32, copy=False)


def ray_module() -> Any:
    """Import Ray when it is first needed: that takes a second, and Ray reads its environment then."""
    import ray

    return ray
