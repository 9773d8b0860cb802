"""MicroExpSTCNN and MicroExpFuseNet (Reddy, Karri, Dubey, Mukherjee; IJCNN 2019, arXiv 1904.01390).

Both start with one 3-D convolution of the grey clip without padding, ReLU, and 3x3x3 max pooling. Nearly all of the
computing time is spent there, and nearly all of the weights are in the dense layer after it. Both are implemented for
CPUs as follows, with the same result as the plain implementation (`plain`, which a GPU uses):

- The convolution is one matrix product per output frame. The pixels are arranged once per clip so that the rows of the
  patch matrix of frame t are a contiguous block of memory, and those of frame t + 1 the same block shifted. The
  fifteen-fold overlap along time is thus never copied. Columns are in order of pooling, so that the maximum over a
  window is a maximum over whole rows, and positions that no window covers are not computed.
- For short or small clips, whose convolution fits into the processor's cache, each output frame is a 2-D convolution
  with the frames under the kernel as channels (`by_frames`), which is faster still.
- Three output frames at a time are pooled while they are in the cache. The output of the convolution, a thousand times
  larger than that of the pooling, is never stored.
- ReLU is applied after pooling, which gives the same result with 27 times fewer numbers.
- The input needs no gradient.
- Under plain gradient descent the dense layer is updated within the backward pass (`Dense.rate`), so that its gradient,
  as large as its weights (0.7 GB), is never stored.
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
"""Maximum number of values of a clip's convolution for `by_frames`, which is faster while they fit into the cache."""
AT_ONCE = 4 * FEW
"""Maximum number of values of the clips that `by_frames` processes at a time."""


def plain(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute `conv_pool` with PyTorch's own layers."""
    maps = nn.functional.conv3d(x[:, None], weight, bias)
    return nn.functional.max_pool3d(torch.relu(maps), POOL).transpose(1, 2)


def by_frames(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute `conv_pool` for short or small clips: each output frame is a 2-D convolution over frames as channels."""
    maps, _, time, height, width = weight.shape
    clips, _, rows, columns = x.shape
    steps = (x.shape[1] - time + 1) // POOL
    windows = x.unfold(1, time, 1)[:, : POOL * steps].reshape(-1, rows, columns, time).permute(0, 3, 1, 2)
    kernel = weight.view(maps, time, height, width).contiguous(memory_format=torch.channels_last)
    made = nn.functional.max_pool2d(nn.functional.conv2d(windows, kernel), POOL).permute(0, 2, 3, 1)
    made = made.reshape(clips, steps, POOL, *made.shape[1:])
    best = torch.maximum(torch.maximum(made[:, :, 0], made[:, :, 1]), made[:, :, 2])
    return (best + bias).relu_().permute(0, 1, 4, 2, 3)


def conv_pool(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute a 3-D convolution of grey clips without padding, ReLU and 3x3x3 max pooling.

    See the docstring of this module for the method.

    Args:
        x: (B, T, H, W) float. If it requires a gradient, or during export, the plain implementation is used.
        weight: (M, 1, time, height, width) of the same type.
        bias: (M,).

    Returns:
        (B, T', M, H', W'), >= 0, with T' = (T - time + 1) // 3, and H' and W' likewise.
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
    """The patch matrices of one clip. `at(t)` is that of output frame t, (kernel size, 9 cells * windows)."""

    def __init__(self, x: Tensor, kernel: tuple[int, ...]) -> None:
        self.time, height, width = kernel
        frames, rows, columns = x.shape
        down, across = (rows - height + 1) // POOL, (columns - width + 1) // POOL
        self.windows = down * across
        # Plane (a, b) holds every third pixel, starting at row a and column b.
        self.planes = (height + POOL - 1, width + POOL - 1)
        self.grid = (down, across)
        self.taps = (height, width)
        self.rows = x.new_empty(frames, height, width, POOL, POOL, self.windows)
        self.sorted = x.new_empty(frames, *self.planes, down, across)

    def fill(self, x: Tensor) -> None:
        """Arrange one clip (T, H, W)."""
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
    """Reduce the 27 cells of (3, M, 9, n) to (M, n) by maximum or sum, several times faster than torch's reductions."""
    one = join(slab[0], slab[1])
    join(one, slab[2], out=one)
    four = join(one[:, :4], one[:, 4:8])
    two = join(four[:, :2], four[:, 2:])
    join(two[:, 0], two[:, 1], out=out)
    join(out, one[:, 8], out=out)


class _ConvPool(torch.autograd.Function):
    """Convolution without bias, and max pooling: (B, T, H, W) and (M, kernel size) to (B, T', M, windows)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, kernel: tuple[int, ...]) -> Tensor:
        clips, maps = len(x), len(weight)
        patches = _Patches(x[0], kernel)
        steps = (x.shape[1] - kernel[0] + 1) // POOL
        n = patches.windows
        pooled = x.new_empty(clips, steps, maps, n)
        slab = x.new_empty(POOL, maps, POOL * POOL, n)
        learns = ctx.needs_input_grad[1]
        # Which of its 27 values each window selected; several if they are equal.
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
        """Return the gradient of the kernel."""
        x, hits = ctx.saved_tensors
        clips, steps, maps, n = grad.shape
        patches = _Patches(x[0], ctx.kernel)
        total = grad.new_zeros(maps, ctx.taps)
        slab, share = grad.new_empty(POOL, maps, POOL * POOL, n), grad.new_empty(maps, n)
        # Equal values share the gradient.
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
        rate: Learning rate of these steps; None leaves the weights to the optimiser.
    """

    rate: float | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in) to (B, out)."""
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
        """Return the gradient of the input, then update the weights."""
        x, weight = ctx.saved_tensors
        back = grad @ weight if ctx.needs_input_grad[0] else None
        with torch.no_grad():
            weight.data.addmm_(grad.t(), x, alpha=-ctx.rate)
        return back, None, None


class _MicroExp(nn.Module):
    """The common part of both networks: normalisation of grey levels, convolution, and steps in the backward pass.

    The offset and factor of the normalisation are learned from training clips (`learn_levels`) and are part of the
    network's state.
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
            raise MienError(f"dropout is {dropout}.", "a probability from 0 to below 1.", "`--set dropout=0.5`.")
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
        """Set the result of `learn_levels`."""
        self.offset.copy_(offset)
        self.factor.copy_(factor)

    def step_at(self, rate: float | None) -> None:
        """Let dense layers update themselves with this learning rate; None leaves them to the optimiser."""
        for module in self.modules():
            if isinstance(module, Dense):
                module.rate = rate

    def stream(self, x: Tensor, n: int) -> Tensor:
        """Map grey levels (B, T, H, W) of stream n to its features (B, n_features): time, map, row, column."""
        origin = x[:, :1] if self.centre == "onset" else self.offset[n]
        convolution = self.convolutions[n]
        made = conv_pool((x - origin) * self.factor[n], convolution.weight, convolution.bias)  # type: ignore[arg-type]
        return made.flatten(1)


class MicroExpSTCNN(_MicroExp):
    """One stream over the whole face (Table I).

    Args:
        n_classes: Number of classes, C, >= 2.
        shape: (T, H, W) of a clip.
        kernel: (height, width, time) of the convolution.
        maps: Number of feature maps of the convolution.
        dense: Number of units of the hidden dense layer.
        dropout: Dropout probability after pooling and after the hidden layer.
        centre: See `learn_levels`.

    Source: Table I. As in the released code there is no dropout after the last dense layer, which the table prints.
    Weights are initialised as Keras does for the released code: Glorot uniform for the convolution, normal with
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
        """Map grey levels (B, T, H, W) to logits (B, C)."""
        hidden = torch.relu(self.hidden(self.drop(self.stream(x, 0))))
        logits: Tensor = self.classify(self.drop(hidden))
        return logits


class MicroExpFuseNet(_MicroExp):
    """Two streams, eyes and mouth, that are fused early or late (Tables II and III).

    Args:
        n_classes: Number of classes, C, >= 2.
        shape: (2, T, H, W) of a clip: eyes, mouth.
        fusion: "intermediate" concatenates the pooled maps, "late" the last hidden layers.
        kernel: (height, width, time) of the convolutions.
        maps: Number of feature maps of each convolution.
        dense: Numbers of units of the two hidden dense layers.
        dropout: Dropout probability after pooling and after each hidden layer.
        centre: See `learn_levels`.

    Source: Tables II and III. As in the released code the hidden layers are linear. Weights are initialised with Glorot
    uniform, biases with 0.
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
        """Map grey levels (B, 2, T, H, W) to logits (B, C)."""
        streams = [self.drop(self.stream(x[:, n], n)) for n in range(2)]
        if self.fusion == "intermediate":
            streams = [torch.cat(streams, 1)]
        towers = zip(streams, self.wide, self.narrow, strict=True)
        hidden = [self.drop(narrow(self.drop(wide(stream)))) for stream, wide, narrow in towers]
        logits: Tensor = self.classify(torch.cat(hidden, 1))
        return logits


def glorot(module: nn.Module) -> None:
    """Initialise all layers of a module: weights uniform within sqrt(6 / (fan-in + fan-out)), biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv3d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def learn_levels(inputs: Inputs, centre: Centre) -> tuple[Tensor, Tensor]:
    """Learn from training clips how grey levels are normalised: an offset and a factor for each stream.

    Args:
        inputs: Clips (T, H, W), or (streams, T, H, W).
        centre: "set": the mean of all grey levels is subtracted, and the result divided by its maximum, as in the paper
            (which uses all clips, including test clips). "onset": the first frame of each clip is subtracted, and the
            result divided by the standard deviation.

    Returns:
        Offsets and factors, each (streams,) float32. The factor is 1 if all levels are equal.
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
