"""The state of an unfinished training as a file, so that a stopped training can be resumed."""

from __future__ import annotations

import glob
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mien.io.atomic import write_atomically

if TYPE_CHECKING:  # a run of a system without a network needs no torch, which takes a second to load
    import torch
    from torch import Tensor, nn


def write_state(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, losses: Sequence[float]) -> None:
    """Write all that the rest of a training depends on: weights, optimiser state, random state, losses so far."""
    import torch
    from safetensors.torch import save

    tensors = {f"model.{k}": v.contiguous() for k, v in model.state_dict().items()}
    for place, state in optimiser.state_dict()["state"].items():
        tensors.update(
            {f"optimiser.{place}.{k}": v.contiguous() for k, v in state.items() if isinstance(v, torch.Tensor)}
        )
    tensors["chance"] = torch.get_rng_state()
    write_atomically(path, save(tensors, metadata={"losses": json.dumps(list(losses))}))


def delete_states(state_file: Path) -> None:
    """Delete the states of a training, of all members, whose result is written.

    Args:
        state_file: That of the classifier, `Classifier.state_file`.
    """
    for path in state_file.parent.glob(f"{glob.escape(state_file.name)}-*.safetensors"):
        with suppress(OSError):
            path.unlink()


def read_state(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> list[float]:
    """Restore what `write_state` wrote, and return the losses so far.

    Returns:
        The mean loss of each finished epoch; [] where there is no state, or where it is damaged or belongs to another
        network: nothing is changed then.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    current = model.state_dict()
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    weights: dict[str, Tensor] = {}
    states: dict[int, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            losses = [float(loss) for loss in json.loads(file.metadata()["losses"])]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        chance = tensors.pop("chance")
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "model":
                weights[rest] = tensor
                continue
            place, _, key = rest.partition(".")
            own = parameters[int(place)]
            if tensor.dim():
                # Files are row-major; a fused optimiser pairs numbers by their place in memory.
                tensor = torch.empty_like(own).copy_(tensor.reshape(own.shape))
            states.setdefault(int(place), {})[key] = tensor
        same = {k: (v.shape, v.dtype) for k, v in weights.items()} == {
            k: (v.shape, v.dtype) for k, v in current.items()
        }
        known = torch.get_rng_state()
        if not same or (chance.shape, chance.dtype) != (known.shape, known.dtype):
            return []
        torch.Generator().set_state(chance)  # refuses numbers that no generator can be in
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, RuntimeError, RecursionError):
        return []
    model.load_state_dict(weights)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": states})
    torch.set_rng_state(chance)
    return losses
