"""Speed and memory of MicroExp's networks against the same networks written plainly.

python benchmarks/microexp.py [--out FILE]

The plain version is what one writes from the papers' tables: `nn.Conv3d`, ReLU, `nn.MaxPool3d`, `nn.Linear`, SGD.
Both are timed in turn on one thread, same batch of 8 clips; ours trains as `fit` does, with the dense layers' steps in
the backward pass. Peak memory is that of a process of its own that trains three batches through `NetClassifier`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from machine import peak_mib, stamp
from measure import BOUND, alone, arguments, in_turns, operations, peak_rate, publish, ratio, step_of
from torch import Tensor, nn

from mien.models.microexp import MicroExpFuseNet, MicroExpSTCNN, conv_pool
from mien.systems import SYSTEMS

BATCH = 8
NETWORKS = ("microexp-stcnn", "microexp-fusenet-intermediate", "microexp-fusenet-late")
PRESETS = ("small", "smic", "casme-sq")
KERNELS = ((3, 3, 3), (3, 3, 15), (5, 5, 15), (7, 7, 19))
Step = Callable[[], None]


class PlainStream(nn.Sequential):
    """Convolution, ReLU, pool, dropout, flatten."""

    def __init__(self, maps: int, kernel: list[int]) -> None:
        height, width, frames = kernel
        convolution = nn.Conv3d(1, maps, (frames, height, width))
        super().__init__(convolution, nn.ReLU(), nn.MaxPool3d(3), nn.Dropout(0.5), nn.Flatten())


class Plain(nn.Module):
    """Any of the three networks."""

    def __init__(self, name: str, p: Any, features: int) -> None:
        super().__init__()
        maps, kernel = p.maps, p.kernel
        self.n_streams = 1 if name == "microexp-stcnn" else 2
        self.streams = nn.ModuleList(PlainStream(maps, kernel) for _ in range(self.n_streams))
        self.late = name.endswith("late")
        if self.n_streams == 1:
            units = p.dense
            self.towers = nn.ModuleList([nn.Sequential(nn.Linear(features, units), nn.ReLU(), nn.Dropout(0.5))])
            self.out = nn.Linear(units, 3)
            return
        wide, narrow = p.dense
        n, joined = (2, features) if self.late else (1, 2 * features)
        self.towers = nn.ModuleList(
            nn.Sequential(nn.Linear(joined, wide), nn.Dropout(0.5), nn.Linear(wide, narrow), nn.Dropout(0.5))
            for _ in range(n)
        )
        self.out = nn.Linear(n * narrow, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None] if self.n_streams == 1 else x
        made = [stream(x[:, n : n + 1]) for n, stream in enumerate(self.streams)]
        if not self.late:
            made = [torch.cat(made, 1)]
        joined = torch.cat([tower(m) for tower, m in zip(self.towers, made, strict=True)], 1)
        return self.out(joined)  # type: ignore[no-any-return]


def networks(name: str, preset: str) -> tuple[MicroExpSTCNN | MicroExpFuseNet, Plain, tuple[int, ...]]:
    """Ours, plain, and the shape of a clip."""
    p = SYSTEMS[name].with_parameters({"preset": preset})
    settings = {k: getattr(p, k) for k in ("kernel", "maps", "dense", "dropout", "centre")}
    shape = (p.frames, *p.size)
    ours: MicroExpSTCNN | MicroExpFuseNet
    if name == "microexp-stcnn":
        ours = MicroExpSTCNN(3, shape, **settings)
    else:
        shape = (2, *shape)
        ours = MicroExpFuseNet(3, shape, fusion="late" if name.endswith("late") else "intermediate", **settings)
    return ours, Plain(name, p, ours.n_features), shape


def step(model: nn.Module, x: Tensor, y: Tensor, momentum: float, training: bool) -> Step:
    """One batch as `fit` trains it, or of prediction."""
    optimiser = torch.optim.SGD(model.parameters(), 1e-4, momentum=momentum, fused=hasattr(model, "step_at"))
    if isinstance(model, MicroExpSTCNN | MicroExpFuseNet) and not momentum:
        model.step_at(1e-4)
    return step_of(model, optimiser, x, y, training)


def convolution(kernel: tuple[int, int, int], side: int, frames: int, clips: int = 2) -> tuple[Step, Step]:
    """Forward and backward of the first layer, ReLU and pool included: ours, and `nn.Conv3d`."""
    height, width, time_ = kernel
    layer = nn.Conv3d(1, 32, (time_, height, width))
    x = torch.randn(clips, frames, side, side)
    assert layer.bias is not None
    weight, bias = layer.weight, layer.bias

    def ours() -> None:
        layer.zero_grad()
        conv_pool(x, weight, bias).sum().backward()  # type: ignore[no-untyped-call]

    def naive() -> None:
        layer.zero_grad()
        nn.functional.max_pool3d(torch.relu(layer(x[:, None])), 3).sum().backward()  # type: ignore[no-untyped-call]

    return ours, naive


def memory(name: str, preset: str, plain: bool) -> None:
    """Prints the peak memory in MiB of a process that trains three batches."""
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    system = SYSTEMS[name]
    p = system.with_parameters({"preset": preset, "epochs": 1})
    shape = system.recipe("frames", p).shape
    x = random.integers(0, 255, (3 * BATCH, *(n or 1 for n in shape))).astype(np.float32)
    y = np.arange(len(x)) % 3
    before = peak_mib()
    if plain:
        _, model, _ = networks(name, preset)
        optimiser = torch.optim.SGD(model.parameters(), 0.01, momentum=p.momentum)
        for start in range(0, len(x), BATCH):
            optimiser.zero_grad()
            batch = (torch.from_numpy(x[start : start + BATCH]) - 127) / 128
            nn.functional.cross_entropy(model(batch), torch.from_numpy(y[start : start + BATCH])).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    else:
        system.build(3, p).fit(x, y, [("d", "s")] * len(x))
    print(peak_mib(), before)


def measured_memory(name: str, preset: str, plain: bool) -> float:
    return float(alone(__file__, "--memory", name, preset, "plain" if plain else "ours")[0])


def compared(times: list[list[float]], clips: int) -> str:
    """Clips per second of both, and the ratio with its range, as cells of a table."""
    fast, slow = (clips / statistics.median(t) for t in times)
    return f"{fast:,.1f} | {slow:,.1f} | {ratio(times)}"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--memory", nargs=3)
    parser.add_argument("--quick", action="store_true", help="the small presets alone, two turns, no memory")
    given = parser.parse_args()
    if given.memory:
        memory(given.memory[0], given.memory[1], given.memory[2] == "plain")
        return
    torch.set_num_threads(1)
    given.turns = 2 if given.quick else given.turns
    lines = [
        "# MicroExpSTCNN and MicroExpFuseNet: speed and memory",
        "",
        stamp(),
        f"One thread; medians of {given.turns}, ours and plain in turn (range of the ratio); batches of {BATCH} clips.",
        "",
        "First convolution with ReLU and pool, forward and backward, 64x64x96, 32 maps:",
        "",
        "| kernel | clips/s | nn.Conv3d | ratio |",
        "|---|---|---|---|",
    ]
    for kernel in KERNELS[:1] if given.quick else KERNELS:
        times = in_turns(convolution(kernel, 64, 96), given.turns)
        lines.append(f"| {'x'.join(map(str, kernel))} | {compared(times, 2)} |")
        print(lines[-1], flush=True)
    lines += [
        "",
        "| network | preset | parameters | training, clips/s | plain | ratio | prediction, clips/s | plain | ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    peak, bounds = peak_rate(), []
    for name in NETWORKS:
        for preset in PRESETS[:1] if given.quick else PRESETS:
            ours, plain, shape = networks(name, preset)
            momentum = SYSTEMS[name].with_parameters({"preset": preset}).momentum
            x, y = torch.rand(BATCH, *shape), torch.randint(0, 3, (BATCH,))
            cells = []
            for training in (True, False):
                steps = [step(m, x, y, momentum, training) for m in (ours, plain)]
                times = in_turns(steps, given.turns)
                cells.append(compared(times, BATCH))
                work = operations(steps[1])
                rates = " | ".join(f"{work / statistics.median(t) / peak:.0%}" for t in times)
                what = "training" if training else "prediction"
                bounds.append(f"| {name}, {preset} | {what} | {work / BATCH / 1e9:.3g} | {rates} |")
            n = sum(p.numel() for p in ours.parameters())
            lines.append(f"| {name} | {preset} | {n:,} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    lines += [
        "",
        BOUND.format(peak / 1e9),
        "",
        "| network | | GFLOP a clip | ours, share of that rate | plain |",
        "|---|---|---|---|---|",
        *bounds,
    ]
    lines += ["", "| trained through `fit` | peak MiB | plain |", "|---|---|---|"]
    for name in () if given.quick else NETWORKS:
        ours_mib, plain_mib = (measured_memory(name, "casme-sq", plain) for plain in (False, True))
        lines.append(f"| {name}, casme-sq, batch {BATCH} | {ours_mib:,.0f} | {plain_mib:,.0f} |")
        print(lines[-1], flush=True)
    publish(lines, given.out)


if __name__ == "__main__":
    main()
