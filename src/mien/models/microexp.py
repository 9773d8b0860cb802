"""MicroExpSTCNN and MicroExpFuseNet (Reddy, Karri, Dubey, Mukherjee; IJCNN 2019, arXiv 1904.01390).

Both begin with one 3-D convolution of the grey clip itself, valid, then ReLU and a 3x3x3 max pool. Nearly all of the
arithmetic is there, and nearly all of the weights are in the dense layer behind it. Both are done in our own way on a
CPU, with the same result as written plainly (`plain` is that way, and what a GPU runs):

- The convolution is one matrix product per output frame. The pixels are laid out once per clip so that the rows of the
  patch matrix of frame t are a contiguous piece of memory, and those of t + 1 the same piece moved on: the overlap
  along time, fifteen-fold, is never copied. Columns are in pooling order, so that the maximum over a window is a
  maximum over whole rows, and places that no window covers are not computed at all.
- Of short or small clips, whose convolution fits into the processor's cache, each output frame is a 2-D convolution
  with the frames under the kernel as its channels instead (`by_frames`): faster still.
- Three output frames at a time are pooled while they are in the processor's cache; the convolution's output, a thousand
  times the size of what is kept of it, is never stored.
- ReLU after the pool is the same as before it, on a twenty-seventh of the numbers.
- The input needs no gradient.
- Under plain gradient descent the dense layer is updated within the backward pass (`Dense.rate`): its gradient, as
  large as its weights (0.7 GB), is never stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mien.errors import MienError
from mien.preprocessing.inputs import Inputs
from mien.preprocessing.regions import POOL, check_whole, pooled_shape

Centre = Literal["set", "onset"]


FEW = 1_000_000
"""Most values of a clip's convolution for which frames one by one are faster: they stay in the processor's cache."""
AT_ONCE = 4 * FEW
"""The same of the clips that are then done at once."""


def plain(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """What `conv_pool` computes, as PyTorch writes it."""
    maps = nn.functional.conv3d(x[:, None], weight, bias)
    return nn.functional.max_pool3d(torch.relu(maps), POOL).transpose(1, 2)


def by_frames(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same for short or small clips: each output frame is a 2-D convolution whose channels are its frames."""
    maps, _, time, height, width = weight.shape
    clips, _, rows, columns = x.shape
    steps = (x.shape[1] - time + 1) // POOL
    seen = x.unfold(1, time, 1)[:, : POOL * steps].reshape(-1, rows, columns, time).permute(0, 3, 1, 2)
    kernel = weight.view(maps, time, height, width).contiguous(memory_format=torch.channels_last)
    made = nn.functional.max_pool2d(nn.functional.conv2d(seen, kernel), POOL).permute(0, 2, 3, 1)
    made = made.reshape(clips, steps, POOL, *made.shape[1:])
    best = torch.maximum(torch.maximum(made[:, :, 0], made[:, :, 1]), made[:, :, 2])
    return (best + bias).relu_().permute(0, 1, 4, 2, 3)


def conv_pool(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Valid 3-D convolution of grey clips, ReLU, 3x3x3 max pool; see the module's text.

    Args:
        x: (B, T, H, W) float; one that wants a gradient takes the plain path; so does a graph that is being exported.
        weight: (M, 1, time, height, width) of the same type.
        bias: (M,).

    Returns:
        (B, T', M, H', W'), >= 0, with T' = (T - time + 1) // 3 and so on.
    """
    kernel = weight.shape[2:]
    if x.device.type != "cpu" or x.requires_grad or torch.compiler.is_exporting():
        return plain(x, weight, bias)
    values = len(weight) * math.prod(side - k + 1 for side, k in zip(x.shape[1:], kernel, strict=True))
    if values <= FEW:
        parts = torch.split(x, max(1, AT_ONCE // values))
        return torch.cat([by_frames(some, weight, bias) for some in parts])
    frames, rows, columns = pooled_shape(x.shape[1], x.shape[2], x.shape[3], (kernel[1], kernel[2], kernel[0]))
    pooled: Tensor = _ConvPool.apply(x, weight.flatten(1), tuple(kernel))  # type: ignore[no-untyped-call]
    pooled = pooled.view(len(x), frames, len(weight), rows, columns)
    return (pooled + bias[:, None, None]).relu_()


class _Patches:
    """The patch matrices of one clip: `at(t)` is (taps, 9 cells * windows), the columns of output frame t."""

    def __init__(self, x: Tensor, kernel: tuple[int, ...]) -> None:
        self.time, height, width = kernel
        frames, rows, columns = x.shape
        down, across = (rows - height + 1) // POOL, (columns - width + 1) // POOL
        self.windows = down * across
        # Pixels three apart, by where in a pooling window and under the kernel they lie: plane (a, b).
        self.planes = (height + POOL - 1, width + POOL - 1)
        self.grid = (down, across)
        self.taps = (height, width)
        self.rows = x.new_empty(frames, height, width, POOL, POOL, self.windows)
        self.sorted = x.new_empty(frames, *self.planes, down, across)

    def fill(self, x: Tensor) -> None:
        """Lay out one clip (T, H, W)."""
        frame, row, column = x.stride()
        self.sorted.copy_(
            x.as_strided(self.sorted.shape, (frame, row, column, POOL * row, POOL * column), x.storage_offset())
        )
        n, across = self.windows, self.planes[1]
        shape = self.rows.shape
        self.rows.copy_(self.sorted.as_strided(shape, (self.planes[0] * across * n, across * n, n, across * n, n, 1)))

    def at(self, t: int) -> Tensor:
        return self.rows[t : t + self.time].view(-1, POOL * POOL * self.windows)


def _over_cells(join: Callable[..., Tensor], slab: Tensor, out: Tensor) -> None:
    """Maximum or sum over the 27 cells of (3, M, 9, n), into (M, n); several times faster than torch's reductions."""
    one = join(slab[0], slab[1])
    join(one, slab[2], out=one)
    four = join(one[:, :4], one[:, 4:8])
    two = join(four[:, :2], four[:, 2:])
    join(two[:, 0], two[:, 1], out=out)
    join(out, one[:, 8], out=out)


class _ConvPool(torch.autograd.Function):
    """Convolution without bias and max pool: (B, T, H, W), (M, taps) to (B, T', M, windows)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, kernel: tuple[int, ...]) -> Tensor:
        clips, maps = len(x), len(weight)
        patches = _Patches(x[0], kernel)
        steps = (x.shape[1] - kernel[0] + 1) // POOL
        n = patches.windows
        pooled = x.new_empty(clips, steps, maps, n)
        slab = x.new_empty(POOL, maps, POOL * POOL, n)
        learns = ctx.needs_input_grad[1]
        # Which of its 27 values each window took; several where they tie.
        hits = torch.empty(clips if learns else 0, steps, *slab.shape, dtype=torch.bool)
        for clip in range(clips):
            patches.fill(x[clip])
            for step in range(steps):
                for t in range(POOL):
                    torch.mm(weight, patches.at(POOL * step + t), out=slab[t].view(maps, -1))
                best = pooled[clip, step]
                _over_cells(torch.maximum, slab, best)
                if learns:
                    torch.eq(slab, best[:, None], out=hits[clip, step])
        ctx.save_for_backward(x, hits)
        ctx.kernel, ctx.taps = kernel, weight.shape[1]
        return pooled

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient of the kernel."""
        x, hits = ctx.saved_tensors
        clips, steps, maps, n = grad.shape
        patches = _Patches(x[0], ctx.kernel)
        total = grad.new_zeros(maps, ctx.taps)
        slab, share = grad.new_empty(POOL, maps, POOL * POOL, n), grad.new_empty(maps, n)
        # Values that tie share the gradient: equal patches give the same sum whoever gets it.
        for clip in range(clips):
            patches.fill(x[clip])
            for step in range(steps):
                slab.copy_(hits[clip, step])
                _over_cells(torch.add, slab, share)
                torch.div(grad[clip, step], share, out=share)
                slab.mul_(share[:, None])
                for t in range(POOL):
                    total.addmm_(slab[t].view(maps, -1), patches.at(POOL * step + t).t())
        return None, total, None


class Dense(nn.Linear):
    """A dense layer that can take its steps of plain gradient descent within the backward pass.

    Attributes:
        rate: Learning rate of those steps; None leaves the weights to the optimiser.
    """

    rate: float | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(B, in) to (B, out)."""
        if self.rate is None or not (self.training and torch.is_grad_enabled()):
            return super().forward(x)
        made: Tensor = _SteppingDense.apply(x, self.weight, self.rate)  # type: ignore[no-untyped-call]
        return made + self.bias


class _SteppingDense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, rate: float) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.rate = rate
        return x @ weight.t()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient of the input from the weights as they were, which then take their step."""
        x, weight = ctx.saved_tensors
        back = grad @ weight if ctx.needs_input_grad[0] else None
        with torch.no_grad():
            weight.data.addmm_(grad.t(), x, alpha=-ctx.rate)
        return back, None, None


class _MicroExp(nn.Module):
    """What both networks share: grey levels to numbers about zero, the convolution, steps in the backward pass.

    The numbers by which grey levels are shifted and divided are learned from training clips (`learn_levels`) and are
    part of the state.
    """

    def __init__(
        self,
        n_classes: int,
        streams: int,
        shape: Sequence[int],
        kernel: Sequence[int],
        maps: int,
        centre: Centre,
        dropout: float,
    ) -> None:
        super().__init__()
        check_whole("maps", [maps], "[32]")
        if not 0 <= dropout < 1:
            raise MienError(f"dropout is {dropout}.", "a share from 0 to less than 1.", "`--set dropout=0.5`.")
        if n_classes < 2:
            raise MienError(f"{n_classes} class(es).", "at least two classes.", "another label map: `--labels own`.")
        if len(shape) != 3:
            raise MienError(f"Clips of shape {tuple(shape)}.", "frames, rows, columns.", "`mien systems`.")
        self.drop = nn.Dropout(dropout)
        self.pooled = pooled_shape(shape[0], shape[1], shape[2], kernel)
        self.centre = centre
        self.convolutions = nn.ModuleList(nn.Conv3d(1, maps, (kernel[2], kernel[0], kernel[1])) for _ in range(streams))
        self.n_features = maps * self.pooled[0] * self.pooled[1] * self.pooled[2]
        self.offset: Tensor
        self.factor: Tensor
        self.register_buffer("offset", torch.zeros(streams))
        self.register_buffer("factor", torch.ones(streams))

    def set_levels(self, offset: Tensor, factor: Tensor) -> None:
        """Takes what `learn_levels` found."""
        self.offset.copy_(offset)
        self.factor.copy_(factor)

    def step_at(self, rate: float | None) -> None:
        """Dense layers take steps of this learning rate by themselves; None leaves them to the optimiser."""
        for module in self.modules():
            if isinstance(module, Dense):
                module.rate = rate

    def stream(self, x: Tensor, n: int) -> Tensor:
        """Grey levels (B, T, H, W) of one stream to its flattened maps (B, n_features): time, map, row, column."""
        origin = x[:, :1] if self.centre == "onset" else self.offset[n]
        convolution = self.convolutions[n]
        made = conv_pool((x - origin) * self.factor[n], convolution.weight, convolution.bias)  # type: ignore[arg-type]
        return made.flatten(1)


class MicroExpSTCNN(_MicroExp):
    """One stream over the whole face (Table I).

    Args:
        n_classes: Classes C, >= 2.
        shape: (T, H, W) of a clip.
        kernel: (height, width, time) of the convolution.
        maps: Maps of the convolution.
        dense: Units of the hidden dense layer.
        dropout: Share of values dropped behind the pool and behind the hidden layer, in training.
        centre: See `learn_levels`.

    Source: Table I. As in the released code there is no dropout behind the last dense layer, which the table prints.
    First weights as Keras makes them for the released code: uniform after Glorot for the convolution, normal with
    standard deviation 0.05 for the dense layers, biases 0.
    """

    def __init__(
        self,
        n_classes: int,
        shape: Sequence[int],
        *,
        kernel: Sequence[int] = (3, 3, 15),
        maps: int = 32,
        dense: int = 128,
        dropout: float = 0.5,
        centre: Centre = "set",
    ) -> None:
        check_whole("dense", [dense], "[128]")
        super().__init__(n_classes, 1, shape, kernel, maps, centre, dropout)
        self.hidden = Dense(self.n_features, dense)
        self.classify = nn.Linear(dense, n_classes)
        glorot(self.convolutions)
        for layer in (self.hidden, self.classify):
            nn.init.normal_(layer.weight, std=0.05)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H, W) grey levels to logits (B, C)."""
        hidden = torch.relu(self.hidden(self.drop(self.stream(x, 0))))
        logits: Tensor = self.classify(self.drop(hidden))
        return logits


class MicroExpFuseNet(_MicroExp):
    """Two streams, eyes and mouth, joined early or late (Tables II and III).

    Args:
        n_classes: Classes C, >= 2.
        shape: (2, T, H, W) of a clip: eyes, mouth.
        fusion: "intermediate" joins the pooled maps, "late" the last hidden layers.
        kernel: (height, width, time) of the convolutions.
        maps: Maps of each.
        dense: Units of the two hidden dense layers, one after the other.
        dropout: Share of values dropped behind the pool and behind each hidden layer, in training.
        centre: See `learn_levels`.

    Source: Tables II and III; as in the released code the hidden layers are linear. First weights uniform after Glorot,
    biases 0.
    """

    def __init__(
        self,
        n_classes: int,
        shape: Sequence[int],
        *,
        fusion: Literal["intermediate", "late"] = "intermediate",
        kernel: Sequence[int] = (3, 3, 15),
        maps: int = 32,
        dense: Sequence[int] = (1024, 128),
        dropout: float = 0.5,
        centre: Centre = "set",
    ) -> None:
        check_whole("dense", dense, "[1024,128]")
        super().__init__(n_classes, 2, shape[1:], kernel, maps, centre, dropout)
        self.fusion = fusion
        towers, joined = (1, 2) if fusion == "intermediate" else (2, 1)
        self.wide = nn.ModuleList(Dense(joined * self.n_features, dense[0]) for _ in range(towers))
        self.narrow = nn.ModuleList(nn.Linear(dense[0], dense[1]) for _ in range(towers))
        self.classify = nn.Linear(towers * dense[1], n_classes)
        glorot(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2, T, H, W) grey levels to logits (B, C)."""
        streams = [self.drop(self.stream(x[:, n], n)) for n in range(2)]
        if self.fusion == "intermediate":
            streams = [torch.cat(streams, 1)]
        towers = zip(streams, self.wide, self.narrow, strict=True)
        hidden = [self.drop(narrow(self.drop(wide(stream)))) for stream, wide, narrow in towers]
        logits: Tensor = self.classify(torch.cat(hidden, 1))
        return logits


def glorot(module: nn.Module) -> None:
    """Weights uniform within the square root of 6 / (fan-in + fan-out), biases 0, of every layer in a module."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv3d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def learn_levels(inputs: Inputs, centre: Centre) -> tuple[Tensor, Tensor]:
    """By what the grey levels of clips are shifted and multiplied, from training clips; one number per stream.

    Args:
        inputs: Clips (T, H, W), or (streams, T, H, W).
        centre: "set": the mean of all grey levels is taken off, then all are divided by the largest that is left, as
            the paper does (on all clips, those of the test included). "onset": each clip's own first frame is taken
            off, then all are divided by the standard deviation of what is left.

    Returns:
        Offsets and factors (streams,) float32; a set without any difference has factor 1.
    """
    streams = 1 if len(inputs.shape) == 3 else inputs.shape[0]
    n = 0
    total, squares = torch.zeros(streams, dtype=torch.float64), torch.zeros(streams, dtype=torch.float64)
    largest = torch.full((streams,), -torch.inf, dtype=torch.float64)
    for clip in range(len(inputs)):
        levels = torch.from_numpy(inputs.take([clip])[0]).view(streams, inputs.shape[-3], -1)
        if centre == "onset":
            levels = levels - levels[:, :1]
        levels = levels.flatten(1)
        n += levels.shape[1]
        total += levels.sum(1, dtype=torch.float64)
        squares += levels.square().sum(1, dtype=torch.float64)
        largest = torch.maximum(largest, levels.amax(1).double())
    mean = total / n
    spread = (squares / n - mean.square()).clamp_(min=0).sqrt() if centre == "onset" else largest - mean
    factor = torch.where(spread > 0, 1 / spread.clamp(min=1e-12), torch.ones_like(spread))
    return mean.float(), factor.float()
