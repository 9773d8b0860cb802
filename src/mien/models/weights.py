"""Loading of weights from a local file into a network. Tensors that do not match are an error, never skipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from mien.errors import MienError


def weights_file(path: str | Path) -> Path:
    """Return a path after checking that the file exists.

    Raises:
        MienError: There is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise MienError(
            f"There is no weights file {str(path)!r}.",
            "a .safetensors file on this machine; nothing is downloaded.",
            "`--set weights=FILE`, or without it to train from scratch.",
        )
    return path


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a `.safetensors` file.

    Raises:
        MienError: There is no such file, or it has another format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    weights_file(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise MienError(
            f"{str(path)!r} is not a safetensors file ({error}).",
            "a .safetensors file; pickled .pth and .pt files can run code and are not read.",
            'if you trust the file: `python -c "import torch; from safetensors.torch import save_file; '
            f"save_file(torch.load('{path.name}', weights_only=True), 'weights.safetensors')\"`.",
        ) from None


def load_backbone(
    net: nn.Module, path: Path, what: str, ignored: tuple[str, ...] = (), rename: Callable[[str], str] = lambda n: n
) -> None:
    """Load weights from a file into a network, in place.

    Args:
        net: The network.
        path: A `.safetensors` file.
        what: Name of the architecture, for the error.
        ignored: Prefixes of names that are not loaded, such as those of the last layer.
        rename: Function from a name in the file to the name in the network.

    Raises:
        MienError: As `read_weights`; tensors are missing, unknown or of another shape.
    """
    tensors = {rename(name): tensor for name, tensor in read_weights(path).items()}
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(ignored)}
    state = net.state_dict()
    wanted = {name: tensor for name, tensor in state.items() if not name.startswith(ignored)}
    for name, tensor in tensors.items():
        first = wanted.get(name)
        # For a grey input, the first convolution is summed over the three colours.
        if first is not None and first.dim() == 4 and first.shape[1] == 1 and tensor.shape[1:2] == (3,):
            tensors[name] = tensor.sum(1, keepdim=True)
    problem = _misfit(tensors, wanted)
    if problem:
        raise MienError(
            f"The weights in {str(path)!r} are not of {what}: {problem}.",
            f"every tensor of {what}, under torchvision's names.",
            "the file of that architecture, or another `--set backbone=`.",
        )
    net.load_state_dict({**state, **tensors})


def _misfit(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """Describe the first tensor that does not match, or return ""."""
    # Files of older torch versions lack the counter of batches, which is not used.
    missing = [n for n in wanted if n not in tensors and not n.endswith("num_batches_tracked")]
    unknown = [n for n in tensors if n not in wanted]
    if missing:
        return f"{missing[0]} is missing" + (f", and {len(missing) - 1} more" if len(missing) > 1 else "")
    if unknown:
        return f"{unknown[0]} is unknown"
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            return f"{name} is {tuple(tensor.shape)}, not {tuple(wanted[name].shape)}"
    return ""
