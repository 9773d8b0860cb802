"""SMA-STN-style and image-cnn: speed against the same written plainly, memory of the largest presets.

python benchmarks/sma_stn.py [--out FILE]

The plain version is what one would write down: one dynamic image after another, frame after frame; the network in
torch's own memory layout and convolutions, nothing in place. It is the same function, in training too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from machine import peak_mib, stamp
from measure import BOUND, alone, arguments, in_turns, operations, peak_rate, publish, step_of
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.models.image_cnn import ImageCNN
from mien.models.resnet import BasicBlock, ResNet, Skip
from mien.models.sma_stn import SMASTN, NonLocal
from mien.motion.dssi import dssi, dssi_weights, sampled_rows
from mien.motion.rank_pooling import dynamic_image
from mien.systems import SYSTEMS


def plain_convolution(ours: nn.Conv2d) -> nn.Conv2d:
    """torch's own, with the same weights."""
    plain = nn.Conv2d(ours.in_channels, ours.out_channels, 3, ours.stride[0], 1, bias=False)
    plain.weight = ours.weight
    return plain


class PlainBlock(nn.Module):
    """A residual block with torch's own strided convolution, nothing in place."""

    def __init__(self, ours: BasicBlock) -> None:
        super().__init__()
        self.conv1, self.conv2 = plain_convolution(ours.conv1), plain_convolution(ours.conv2)
        self.bn1, self.bn2 = ours.bn1, ours.bn2
        self.downsample = None
        if ours.downsample is not None:
            skip, norm = ours.downsample.children()
            assert isinstance(skip, Skip)
            conv = nn.Conv2d(skip.in_channels, skip.out_channels, 1, skip.every, bias=False)
            conv.weight = skip.weight
            self.downsample = nn.Sequential(conv, norm)

    def forward(self, x: Tensor) -> Tensor:
        z = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        rest = x if self.downsample is None else self.downsample(x)
        return torch.relu(z + rest)


class PlainNonLocal(nn.Module):
    """Attention between places as convolutions, as in its paper's figure."""

    def __init__(self, ours: NonLocal) -> None:
        super().__init__()
        self.ours = ours

    def forward(self, x: Tensor) -> Tensor:
        theta, phi, g = self.ours.embed(x).flatten(2).chunk(3, 1)
        attention = torch.softmax(theta.transpose(1, 2) @ phi, 2)
        y = (g @ attention.transpose(1, 2)).view(x.shape[0], -1, *x.shape[2:])
        z: Tensor = x + self.ours.out(y)
        return z


class PlainSMASTN(nn.Module):
    """The same function."""

    def __init__(self, ours: SMASTN) -> None:
        super().__init__()
        self.ours = ours
        net: ResNet = ours.backbone
        stages = [PlainBlock(block) for block in net.modules() if isinstance(block, BasicBlock)]
        assert ours.spatial is not None
        self.body = nn.Sequential(net.conv1, net.bn1, nn.ReLU(), net.maxpool, *stages, PlainNonLocal(ours.spatial))
        for p in self.parameters():
            if p.dim() == 4:
                p.data = p.data.contiguous(memory_format=torch.contiguous_format)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.body(x.flatten(0, 1).permute(0, 3, 1, 2).contiguous() * self.ours.scale)
        pooled = maps.mean((2, 3)).view(*x.shape[:2], -1)
        assert self.ours.temporal is not None
        logits: Tensor = self.ours.classify((self.ours.temporal(pooled)[..., None] * pooled).sum(1))
        return logits


CASES = {"small": (48, 1, 8, "small", 32), "cpu": (64, 1, 16, "small", 32), "resnet18": (112, 3, 64, "resnet18", 4)}
"""Of each preset: side of an image, channels, maps, backbone, clips of a batch."""


def networks(preset: str) -> tuple[SMASTN, PlainSMASTN, Tensor, Tensor]:
    """Ours, plain with the same weights, clips, classes."""
    size, channels, maps, backbone, batch = CASES[preset]
    ours = SMASTN(5, channels, backbone, maps)
    plain = PlainSMASTN(SMASTN(5, channels, backbone, maps))
    plain.ours.load_state_dict(ours.state_dict())
    x = torch.randn(batch, 3 if preset == "small" else 4, size, size, channels)
    return ours, plain, x, torch.arange(batch) % 5


def step(model: nn.Module, x: Tensor, y: Tensor, training: bool) -> Callable[[], None]:
    return step_of(model, torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9), x, y, training)


def plain_images(frames: NDArray[np.float32], draws: int) -> NDArray[np.float32]:
    made = []
    for draw in range(draws):
        rng = None if draw == 0 else np.random.default_rng(draw)
        rows = sampled_rows(len(frames), "local-global", 3, 4, rng=rng)
        made.append(np.stack([dynamic_image(frames[r]) for r in rows]))
    return np.stack(made)


def our_images(frames: NDArray[np.float32], draws: int) -> NDArray[np.float32]:
    rngs = [None, *(np.random.default_rng(d) for d in range(1, draws))]
    return dssi(frames, np.concatenate([dssi_weights(len(frames), "local-global", 3, 4, rng=r) for r in rngs]))


def memory(name: str) -> None:
    """Prints MiB and seconds of one training step of a large preset, in this process."""
    torch.set_num_threads(1)
    before = peak_mib()
    p = SYSTEMS[name].with_parameters({"preset": "resnet18" if name == "sma-stn" else "vgg-face"})
    batch = p.batch_size
    model: SMASTN | ImageCNN
    if name == "sma-stn":
        model, x = SMASTN(5, 3, "resnet18", p.maps, deviation=p.de_loss), torch.randn(batch, 4, 112, 112, 3)
    else:
        model, x = ImageCNN(5, 3, "vgg-face", dropout=0.5), 255 * torch.rand(batch, p.frames, 224, 224, 3)
    y = torch.arange(batch) % 5
    optimiser = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, fused=True)
    for _ in range(2):
        began = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        model.objective(x, y, nn.functional.cross_entropy).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    print(peak_mib() - before, time.perf_counter() - began, batch)


def speed(turns: int, quick: bool) -> list[str]:
    peak = peak_rate()
    lines = [
        f"One thread; medians of {turns} turns, ours and plain in turn.",
        "",
        BOUND.format(peak / 1e9),
        "",
        "| step | ours, ms | plain, ms | ratio | GFLOP | ours, share of that rate | plain |",
        "|---|---|---|---|---|---|---|",
    ]
    frames = np.random.default_rng(0).uniform(0, 255, (64, 64, 64, 1)).astype(np.float32)
    assert np.isfinite(plain_images(frames, 4)).all()
    cases: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
        ("4 draws of 4 images, 64 frames of 64x64", lambda: our_images(frames, 4), lambda: plain_images(frames, 4))
    ]
    for preset in list(CASES)[: 1 if quick else 3]:
        ours, plain, x, y = networks(preset)
        batch = len(x)
        ours.eval(), plain.eval()
        assert torch.allclose(ours(x), plain(x), atol=1e-3)
        for training in (True, False):
            what = f"{preset}, {'training' if training else 'predicting'} a batch of {batch}"
            cases.append((what, step(ours, x, y, training), step(plain, x, y, training)))
    for what, ours_step, plain_step in cases:
        a, b = (statistics.median(times) for times in in_turns([ours_step, plain_step], turns))
        work = operations(plain_step)
        bound = f"{work / 1e9:.3g} | {work / a / peak:.0%} | {work / b / peak:.0%}" if work else "| |"
        lines.append(f"| {what} | {1000 * a:.1f} | {1000 * b:.1f} | {b / a:.2f} | {bound} |")
        print(lines[-1], flush=True)
    if quick:
        return lines
    lines += ["", "| largest preset | batch | MiB beyond the start | s per batch |", "|---|---|---|---|"]
    for name in ("sma-stn", "image-cnn"):
        mib, spent, held = alone(__file__, "--memory", name)
        lines.append(f"| {name} | {held} | {float(mib):.0f} | {float(spent):.1f} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--memory", choices=["sma-stn", "image-cnn"])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="the small preset alone, two turns")
    given = parser.parse_args()
    if given.memory:
        memory(given.memory)
        return
    torch.set_num_threads(1)
    lines = ["# SMA-STN-style and image-cnn: speed and memory", "", stamp()]
    lines += speed(2 if given.quick else given.turns, given.quick)
    publish(lines, given.out)


if __name__ == "__main__":
    main()
