"""prepare_input(): the input of one clip, in any process of a run."""

from __future__ import annotations

import numpy as np

from mien.errors import MienError
from mien.evaluation.execution.base import ClipInput, InputTask
from mien.preprocessing.cache import source_digest
from mien.preprocessing.prepare import unexpected_failure
from mien.preprocessing.threads import use_one_thread


def prepare_input(task: InputTask) -> ClipInput | MienError:
    """Return the input of a clip, or why it cannot be output; a large input stays in the cache.

    Raises:
        MienError: The machine is at fault, not the clip: no memory, or no room on the disk.
    """
    clip = task.clip
    try:
        return _prepare(task)
    except MienError as error:
        return error
    except (OSError, MemoryError) as error:
        raise MienError(
            f"{clip.key} could not be output on this machine ({type(error).__name__}: {error}).",
            "room in memory and on the disk.",
            "`--jobs 1`, or `df` and `free` to see how much room is left; what is finished is kept.",
        ) from None
    except Exception as error:  # one clip must not stop the others
        return unexpected_failure(clip, error)


def _prepare(task: InputTask) -> ClipInput:
    use_one_thread()
    if task.clip.medium != "frames" and not task.large:
        output, digest = task.recipe.apply(task.clip), ""
    else:
        digest = source_digest(task.clip)
        output = task.cache.load_or_apply(task.clip, task.recipe)[0]
    array = None if task.large else np.asarray(output.array, np.float32)
    return ClipInput(array, output.interval_source, digest, output.notes)
