"""Speed of STRCN's networks against the same networks written plainly, and of inputs read from the cache.

python benchmarks/strcn.py [--out FILE]

The plain version is what one would write from Table I: default memory layout, ReLU where the table has it, nothing in
place. Both are timed in turn on one thread, same batch, same optimiser.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import peak_mib, stamp
from measure import BOUND, alone, arguments, in_turns, operations, peak_rate, publish, ratio, step_of
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.models.rcn import RCN
from mien.preprocessing import Context, Recipe, Step
from mien.preprocessing.cache import Cache, source_digest
from mien.preprocessing.inputs import cached_inputs
from mien.types import Clip


class PlainLayer(nn.Module):
    """Equations 6 and 7."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.feed = nn.Conv2d(maps, maps, 1)
        self.back = nn.Conv2d(maps, maps, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(maps) for _ in range(4))

    def forward(self, u: Tensor) -> Tensor:
        drive = self.feed(u)
        v = torch.relu(self.norms[0](drive))
        for norm in list(self.norms)[1:]:
            v = torch.relu(norm(drive + self.back(v)))
        return v


class PlainAuthors(nn.Module):
    """The released wiring."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.feed = nn.Conv2d(maps, maps, 1, bias=False)
        self.back = nn.ModuleList(nn.Conv2d(maps, maps, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(maps) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norms[0](self.feed(x)))
        for back, norm in zip(self.back, list(self.norms)[1:], strict=True):
            h = torch.relu(norm(back(h + x)))
        return h


class Plain(nn.Module):
    """Table I, or the released network."""

    def __init__(self, like: RCN, channels: int, maps: int, paper: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, maps, 5 if paper else 3, padding=0 if paper else 1, bias=paper)
        self.norm = nn.BatchNorm2d(maps)
        layer = PlainLayer if paper else PlainAuthors
        self.layers = nn.ModuleList(layer(maps) for _ in like.blocks)
        self.pools = like.pools
        self.out = nn.Linear(maps, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        for n, pool in enumerate(self.pools):
            x = nn.functional.max_pool2d(x, pool)
            if n < len(self.layers):
                x = self.layers[n](x)
        return self.out(x.mean((2, 3)))  # type: ignore[no-any-return]


def step(model: nn.Module, x: Tensor, y: Tensor, training: bool) -> Callable[[], None]:
    """One batch of training or of prediction; the fused optimiser is part of ours."""
    optimiser = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, fused=isinstance(model, RCN))
    return step_of(model, optimiser, x, y, training)


def constant(_: NDArray[Any], context: Context, *, copies: int, height: int, width: int) -> NDArray[np.float32]:
    """A step whose result has the size of a real one."""
    return np.full((copies, 2, height, width), 0.5, np.float32)


def reading(folder: Path, height: int, width: int, clips: int = 40, copies: int = 10) -> float:
    """Samples per second that reach a trainer from the cache, in random order."""
    step = Step("constant", constant, {"copies": copies, "height": height, "width": width})
    recipe = Recipe((step,), "KCHW", (copies, 2, height, width), (0, 1), "float16")
    cache, made = Cache(folder / "cache"), []
    for n in range(clips):
        path = folder / f"{height}-{n}.png"
        path.write_bytes(f"{height} {n}".encode())
        made.append(Clip("synthetic", "s", str(n), None, "", frames=(path,)))
        cache.load_or_apply(made[-1], recipe)
    inputs = cached_inputs(made, recipe, cache, [source_digest(c) for c in made])
    random = np.random.default_rng(0)
    began, n = time.perf_counter(), 0
    while time.perf_counter() - began < 2:
        inputs.take(random.integers(0, clips, 20), random.integers(0, copies, 20))
        n += 20
    return n / (time.perf_counter() - began)


CASES = (
    ("STRCN-G, 28x28x3, M 24", "paper", "geometry", 3, (28, 28), 24, 20),
    ("STRCN-G, 75x61x2, M 8 (small)", "paper", "geometry", 2, (75, 61), 8, 20),
    ("STRCN-G, 300x245x2, M 32", "paper", "geometry", 2, (300, 245), 32, 8),
    ("STRCN-G, 300x245x2, M 128 (paper)", "paper", "geometry", 2, (300, 245), 128, 4),
    ("STRCN-G, 300x245x2, M 128, authors' code", "authors-code", "geometry", 2, (300, 245), 128, 4),
    ("STRCN-A, 922x30x3, M 16", "paper", "appearance", 3, (922, 30), 16, 20),
    ("STRCN-A, 922x30x3, M 128 (paper)", "paper", "appearance", 3, (922, 30), 128, 4),
)


def networks(case: tuple[Any, ...]) -> tuple[RCN, Plain, Tensor, Tensor]:
    """Ours, plain, pictures, classes of one of `CASES`."""
    _, variant, kind, channels, size, maps, batch = case
    ours = RCN(4, channels, size, maps, variant=variant, kind=kind)
    plain = Plain(ours, channels, maps, variant == "paper")
    return ours, plain, torch.randn(batch, channels, *size), torch.randint(0, 4, (batch,))


MAPS = (8, 16, 32, 64, 128)
SIZES = ((28, 28), (75, 61), (150, 122), (300, 245))


def cost(maps: int, height: int, width: int, batch: int = 8) -> None:
    """Prints seconds and MiB of one training batch of STRCN-G, beyond what the process needs before."""
    torch.set_num_threads(1)
    before = peak_mib()
    batches = step(
        RCN(4, 2, (height, width), maps), torch.randn(batch, 2, height, width), torch.arange(batch) % 4, True
    )
    (seconds,) = in_turns([batches], 3)
    print(statistics.median(seconds), peak_mib() - before)


def measured_cost(maps: int, height: int, width: int) -> tuple[float, float]:
    """`cost` in a process of its own."""
    seconds, mib = alone(__file__, "--cost", maps, height, width)
    return float(seconds), float(mib)


def draw(rows: list[tuple[int, int, int, float, float]], path: Path) -> None:
    """Time and memory of a training batch against maps and against pixels."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    figure = Figure(figsize=(10, 3.2), dpi=130, layout="constrained")
    by_maps = [(maps, seconds, memory) for maps, height, _, seconds, memory in rows if height == 75]
    by_size = [(height * width, seconds, memory) for maps, height, width, seconds, memory in rows if maps == 32]
    along = ((by_maps, "maps M, 75x61x2"), (by_size, "pixels, M = 32"))
    for axes, (points, what) in zip(figure.subplots(1, 2), along, strict=True):
        points = sorted(points)
        x = [p[0] for p in points]
        axes.plot(x, [1000 * p[1] for p in points], "-o", ms=3.5, lw=1.3, color="#2563eb")
        axes.set_ylabel("ms per batch of 8", fontsize=8, color="#2563eb")
        other = axes.twinx()
        other.plot(x, [p[2] for p in points], "--s", ms=3, lw=1.1, color="#d64832")
        other.set_ylabel("MiB per batch", fontsize=8, color="#d64832")
        for each in (axes, other):
            each.set_xscale("log")
            each.tick_params(labelsize=7, which="both")
            each.spines["top"].set_visible(False)
        axes.set_xticks(x, [f"{v:,}" for v in x])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        other.set_ylim(0)
        axes.set_xlabel(what, fontsize=8)
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--cost", nargs=3, type=int)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="the two small networks, two turns, no growth")
    given = parser.parse_args()
    if given.cost:
        cost(*given.cost)
        return
    torch.set_num_threads(1)
    given.turns = 2 if given.quick else given.turns
    lines = [
        "# STRCN: speed of the networks",
        "",
        stamp(),
        f"One thread; medians of {given.turns} batches, ours and plain in turn; plain: the same in plain PyTorch.",
        "",
        "| network | batch | training, samples/s | plain | ratio | prediction, samples/s | plain | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    peak, bounds = peak_rate(), []
    for case in CASES[:2] if given.quick else CASES:
        ours, plain, x, y = networks(case)
        name, maps, batch = case[0], case[5], len(x)
        cells = []
        for training in (True, False):
            turns = given.turns if maps < 100 else max(3, given.turns // 2)
            steps: list[Callable[[], object]] = [step(m, x, y, training) for m in (ours, plain)]
            times = in_turns(steps, turns)
            fast, slow = (batch / statistics.median(t) for t in times)
            work = operations(step(plain, x, y, training)) / batch
            bounds.append((name, training, work, work * fast / peak, work * slow / peak))
            cells += [f"{fast:.1f}", f"{slow:.1f}", ratio(times, fast / slow)]
        lines.append(f"| {name} | {batch} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    lines += [
        "",
        f"Peak memory of the whole run: {peak_mib():.0f} MiB.",
        "",
        f"How much is left to gain: {BOUND.format(peak / 1e9)}",
        "",
        "| network | | GFLOP a sample | ours, share of that rate | plain |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {'training' if training else 'prediction'} | {work / 1e9:.3g} | {mine:.0%} | {plain:.0%} |"
            for name, training, work, mine, plain in bounds
        ),
        "",
        "| input read from the cache | samples/s |",
        "|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for height, width in ((28, 28), (75, 61), (300, 245)):
            rate = reading(Path(folder), height, width)
            lines.append(f"| {height}x{width}x2, 16-bit floats, 10 copies of 40 clips | {rate:,.0f} |")
    lines += ["", "| STRCN-G, training a batch of 8 | ms | MiB |", "|---|---|---|"]
    rows = []
    points = [(m, (75, 61)) for m in MAPS] + [(32, size) for size in SIZES if size != (75, 61)]
    for maps, (height, width) in [] if given.quick else points:
        seconds, memory = measured_cost(maps, height, width)
        rows.append((maps, height, width, seconds, memory))
        lines.append(f"| {height}x{width}x2, M {maps} | {1000 * seconds:.0f} | {memory:.0f} |")
    if given.out and rows:
        draw(rows, given.out.with_suffix(".png"))
        lines += ["", f"![cost]({given.out.with_suffix('.png').name})"]
    publish(lines, given.out)


if __name__ == "__main__":
    main()
