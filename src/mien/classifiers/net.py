"""NetClassifier: the classifier of every deep system."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mien.classifiers.augment import Augmentation, Mirror
from mien.classifiers.base import Classifier, Clips, Progress
from mien.classifiers.batches import Batches, CopyBatches, FirstCopies
from mien.classifiers.schedule import Schedule, steps_of
from mien.classifiers.training import device_of, fit, predict
from mien.errors import MienError
from mien.preprocessing.inputs import Inputs, as_inputs

IN_MEMORY = 1 << 29
"""Bytes of training input that are kept in memory; more is read batch by batch."""


@dataclass
class NetClassifier(Classifier):
    """One or several networks, trained by `fit`; their probabilities are averaged.

    Args:
        make: Builds the untrained network for some inputs. It may learn from them: they are training clips only.
        schedule: How it is trained.
        scale: (offset, factor): the network sees (x - offset) * factor.
        mirror: If given, every training clip is also used mirrored, and each prediction is averaged with that of the
            mirrored clip.
        members: Number of networks, each trained from its own seed.
        augment: Changes each batch of training input; keeps its shape.
        device: "cpu", "cuda", or "auto".
        batch_size: Clips at once when predicting.
        state_file: See `Classifier`; the number of the member is appended to the name.
        remake: Builds the network that some weights belong to, where `make` learns from its inputs.
        pairs: Whether a training row holds two copies of its clip, (2, *shape): one and the next.
        chosen: What `fit_log` records as chosen, such as which of several networks it is.
        start: Loads weights into an untrained network, to fine-tune it.
        views: Views of a clip when predicting, the clip itself among them; their probabilities are averaged.
        others: Further ways to build the network: members are built by `make` and by these in turn.

    Attributes:
        on_epoch: Called by `fit` after each epoch, as in `mien.classifiers.training.fit`.
        curves: Mean loss per epoch of the last fit, one list per member.
        models: The trained networks, one per member.
        smaller_batch: Batch size of the last fit, where a GPU's memory was too small for that of the schedule.
        steps: Steps of gradient descent of the last fit, by member.
    """

    can_be_saved: ClassVar[bool] = True

    make: Callable[[Inputs], nn.Module]
    schedule: Schedule
    scale: tuple[float, float] = (0.0, 1.0)
    mirror: Mirror | None = None
    members: int = 1
    augment: Augmentation | None = None
    device: str = "cpu"
    batch_size: int = 512
    state_file: Path | None = None
    remake: Callable[[Inputs, Mapping[str, Tensor]], nn.Module] | None = None
    start: Callable[[nn.Module], None] | None = None
    others: Sequence[Callable[[Inputs], nn.Module]] = ()
    views: Sequence[Mirror] = ()
    pairs: bool = False
    chosen: Mapping[str, Any] | None = None
    on_epoch: Callable[[nn.Module, int], None] | None = field(default=None, init=False)
    curves: list[list[float]] = field(default_factory=list, init=False)
    models: list[nn.Module] = field(default_factory=list, init=False)
    smaller_batch: int | None = field(default=None, init=False)
    steps: list[int] = field(default_factory=list, init=False)

    @property
    def several_labels(self) -> bool:
        """Whether a clip may have several labels; see `mien.classifiers.unit_net`."""
        return False

    def _build(self, inputs: Inputs, member: int) -> nn.Module:
        return (self.make, *self.others)[member % (1 + len(self.others))](inputs)

    def restore(self, inputs: Inputs, weights: Mapping[str, Tensor], member: int = 0) -> nn.Module:
        """Return a network with given weights, for inputs of some shape.

        Raises:
            RuntimeError: The weights belong to another network.
        """
        self.device = device_of(self.device)
        if self.remake is None:
            _require_fit(lambda: self._build(inputs, member), weights)
        model = self._build(inputs, member) if self.remake is None else self.remake(inputs, weights)
        model.load_state_dict(dict(weights))
        return model.to(self.device)

    def _finish(self, x: NDArray[np.float32]) -> Tensor:
        offset, factor = self.scale
        return ((torch.from_numpy(np.ascontiguousarray(x)).float() - offset) * factor).to(self.device)

    def fit(
        self,
        x: Clips,
        y: NDArray[np.int64],
        groups: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """Train on clips, all copies of them; see `Classifier.fit`.

        Args:
            x: (N, ...) input.
            y: (N,) class indices.
            groups: Not used.
            seed: The same seed on the same machine gives the same weights.
            progress: Called with the share that is done.

        Raises:
            MienError: The loss is no longer finite, or the memory of a GPU is too small for batches of two clips.
        """
        self.device = device_of(self.device)
        inputs = as_inputs(x)
        rows = CopyBatches(inputs, self._finish, self.mirror, self.pairs)
        targets = rows.labels(torch.from_numpy(np.asarray(y, dtype=np.int64))).to(self.device)
        # Input that fits is read at once; a full slice holds all rows in order.
        small = len(rows) * 4 * math.prod(inputs.shape) * (2 if self.pairs else 1) <= IN_MEMORY
        source: Tensor | Batches = rows[slice(None)] if small else rows
        self.models, self.curves, self.steps, self.smaller_batch = [], [], [], None
        with torch.random.fork_rng(devices=[] if self.device == "cpu" else None):
            for member in range(self.members):

                def share(done: float, member: int = member) -> None:
                    if progress is not None:
                        progress((member + done) / self.members)

                model, losses = self._fit_member(member, inputs, source, targets, seed, share)
                self.curves.append(losses)
                taken = len(losses) * steps_of(
                    len(targets) * self.schedule.repeats, self.smaller_batch or self.schedule.batch_size
                )
                self.steps.append(min(taken, self.schedule.steps or taken))
                self.models.append(model)
        return self

    def fit_log(self) -> dict[str, Any]:
        """Return the mean loss of each epoch over the members, the steps of each, `chosen`, and `smaller_batch`.

        Each only where known.
        """
        record: dict[str, Any] = {}
        if self.curves:
            shortest = min(len(curve) for curve in self.curves)
            record["loss"] = np.mean([curve[:shortest] for curve in self.curves], axis=0).round(6).tolist()
        if self.steps:
            record["steps"] = self.steps
        if self.chosen is not None:
            record["chosen"] = self.chosen
        if self.smaller_batch is not None:
            record["smaller_batch"] = self.smaller_batch
        return record

    def _fit_member(
        self, member: int, inputs: Inputs, source: Tensor | Batches, targets: Tensor, seed: int, progress: Progress
    ) -> tuple[nn.Module, list[float]]:
        """Return a trained member and its losses; it restarts with half the batch where a GPU's memory is too small."""
        while True:
            schedule = replace(self.schedule, batch_size=self.smaller_batch or self.schedule.batch_size)
            torch.manual_seed(int(np.random.SeedSequence([seed, member]).generate_state(1)[0]))
            model = self._build(inputs, member)
            if self.start is not None:
                self.start(model)
            # A state belongs to one batch size.
            size = f"-b{self.smaller_batch}" if self.smaller_batch else ""
            state = self.state_file and self.state_file.with_name(f"{self.state_file.name}-{member}{size}.safetensors")
            try:
                model = model.to(self.device)
                losses = fit(
                    model, source, targets, schedule, augment=self.augment, progress=progress, state_file=state,
                    on_epoch=self.on_epoch,
                )  # fmt: skip
                return model, losses
            except torch.cuda.OutOfMemoryError:
                if state:
                    state.unlink(missing_ok=True)
            # Outside the handler: its traceback holds on to tensors.
            del model
            torch.cuda.empty_cache()
            self.smaller_batch = min(schedule.batch_size, len(targets)) // 2
            if self.smaller_batch < 2:
                raise MienError(
                    "The GPU's memory is too small even for batches of two clips.",
                    "room for the network and a batch.",
                    "`--set device=cpu`; fewer folds on one GPU (a larger --gpus-per-fold, or fewer --jobs); "
                    "or a smaller preset.",
                )
            warnings.warn(
                f"The GPU's memory is too small for batches of {schedule.batch_size} clips: training starts again "
                f"with {self.smaller_batch}, which is another setting than the one asked for.",
                stacklevel=3,
            )

    def probabilities_of(self, model: nn.Module, x: Clips) -> NDArray[np.float32]:
        """Return what `predict_proba` of this network would, amid its training; it stays in training mode."""
        trained, self.models = self.models, [model]
        try:
            return self.predict_proba(x)
        finally:
            self.models = trained
            model.train()

    def predict_proba(self, x: Clips) -> NDArray[np.float32]:
        """Return class probabilities (N, C) of copy 0 of each clip; rows sum to 1."""
        inputs = as_inputs(x)
        n = len(inputs)
        mirrors = [] if self.mirror is None else [self.mirror]
        looks: list[tuple[Mirror, ...]] = [(view,) for view in self.views] or [()]
        looks += [(mirror, *look) for mirror in mirrors for look in looks]
        views: list[Batches] = [FirstCopies(inputs, self._finish, look) for look in looks]
        total = sum(
            predict(model, view, n, self.batch_size, self.several_labels) for model in self.models for view in views
        )
        assert isinstance(total, Tensor)
        return (total / (len(self.models) * len(views))).cpu().numpy()


class _Unfilled(TorchFunctionMode):
    """Leaves new weights as they are: without memory, drawing them loads torch's compiler, which takes a second."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return args[0] if func in _DRAWS else func(*args, **(kwargs or {}))


_DRAWS = (Tensor.normal_, Tensor.uniform_)


def _require_fit(build: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> None:
    """Refuse weights of other shapes before memory is allocated: a forged file may ask for a network of any size.

    Raises:
        RuntimeError: They are of another network.
    """
    try:
        with torch.device("meta"), _Unfilled():
            wanted = {name: tensor.shape for name, tensor in build().state_dict().items()}
    except (RuntimeError, TypeError, ValueError):
        return  # It depends on more than shapes: `load_state_dict` will check.
    for name in wanted.keys() | weights.keys():
        if name not in wanted or name not in weights or wanted[name] != weights[name].shape:
            raise RuntimeError(f"{name} differs")
