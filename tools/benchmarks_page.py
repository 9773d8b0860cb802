"""Writes benchmarks/README.md: every claim of speed beside its peer and the machine's bound, from the pages in results.

python tools/benchmarks_page.py [--print]

Nothing here is a figure: each row says which cell of which page holds it, and counts the operations and bytes of the
work from its shapes. A row whose page was not measured says so.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from measure import operations
from tables import find, number, page, search

README = Path(__file__).resolve().parents[1] / "benchmarks" / "README.md"


@dataclass(frozen=True, slots=True)
class Work:
    """What a piece of work costs at the very least.

    Attributes:
        operations: Multiplications and additions.
        bytes: Read and written, each value once.
        counted: What they are, in a few words.
    """

    operations: float
    bytes: float
    counted: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One row.

    Attributes:
        what: What is done.
        page: Page it was measured on.
        row: First cells of the row of ours.
        column: Column of ours.
        unit: None where the figure is a rate; else seconds in one of its unit, and the row is shown per second.
        peer: Name of the other way; "" where there is none.
        other: (row, column) of the other way.
        work: What one unit costs.
        threads: Threads that did it.
        amount: How many units the figure stands for.
        ratio: Column of how many times faster ours is, where the page has it from turn to turn.
    """

    what: str
    page: str
    row: str
    column: str
    unit: float | None = None
    peer: str = ""
    other: tuple[str, str] | None = None
    work: Callable[[], Work] | None = None
    threads: int = 1
    amount: float = 1
    ratio: str = ""

    def rate(self, row: str, column: str) -> float:
        """Units per second."""
        value = number(find(self.page, row, column, self.column))
        return self.amount * value if self.unit is None else self.amount / (value * self.unit)


MS = 1e-3
PIXELS = 300 * 245


def moved(per_pixel: float, pixels: float, what: str, operations: float = 0) -> Callable[[], Work]:
    """Work that is bounded by its bytes."""
    return lambda: Work(operations * pixels, per_pixel * pixels, what)


def counted(operations: float, size: float, what: str) -> Callable[[], Work]:
    return lambda: Work(operations, size, what)


def flow_pair() -> Work:
    """classic_nl: four levels by halves of two warps, then three at full size, with one solver cycle at the least."""
    areas = 2 * sum(4.0**-n for n in range(4)) + 3
    sampled, system, cycle, medians = 36 * 3 * 2, 100, 150, 50
    operations = PIXELS * areas * (sampled + system + cycle + medians)
    return Work(operations, PIXELS * (2 + 8), "sampling, one solver cycle and a median per warp")


@cache
def face_frame() -> Work:
    """Detector and mesh of one frame, counted by torch."""
    import torch

    from mien.face.detect import BlazeFace
    from mien.face.mesh import FaceMesh

    with torch.no_grad():
        work = operations(lambda: BlazeFace().eval()(torch.zeros(1, 3, 128, 128)))
        work += operations(lambda: FaceMesh().eval()(torch.zeros(1, 3, 192, 192)))
    return Work(work, 3 * (128**2 + 192**2) * 4, "both networks")


def answered_frame() -> Work:
    """A frame on its way to an answer: decoded, and four times a second its landmarks."""
    looks = face_frame().operations * 4 / 100
    return Work(looks, 640 * 480 * (1.5 + 1), "grey frame decoded, landmarks four times a second; flow left out")


def strcn(name: str, training: bool) -> Callable[[], Work]:
    """As the page counts it."""

    def work() -> Work:
        giga = number(find("strcn", f"{name} / {'training' if training else 'prediction'}", "GFLOP a sample"))
        return Work(giga * 1e9, 0, "torch's counter")

    return work


def microexp(system: str, preset: str, training: bool) -> Callable[[], Work]:
    """Convolution at the places that are pooled, then the dense layers.

    Training costs a convolution twice, as its input needs no gradient, and a dense layer three times.
    """

    def work() -> Work:
        from mien.systems import SYSTEMS

        p = SYSTEMS[system].with_parameters({"preset": preset})
        streams = 1 if system == "microexp-stcnn" else 2
        height, width, time = p.kernel
        cells = [(n - k + 1) // 3 for n, k in zip((p.frames, *p.size), (time, height, width), strict=True)]
        pooled = cells[0] * cells[1] * cells[2]
        convolution = streams * 2 * height * width * time * p.maps * pooled * 27
        first = (list(p.dense) if streams == 2 else [p.dense])[0]
        dense = streams * 2 * pooled * p.maps * first
        weights = streams * pooled * p.maps * first * 4
        total = 2 * convolution + 3 * dense if training else convolution + dense
        # A batch of 8 reads the weights once, and in training reads and writes them once more.
        return Work(total, weights * (3 if training else 1) / 8, "convolution and first dense layer")

    return work


def sma_stn(step: str, batch: int) -> Callable[[], Work]:
    """As the page counts it."""
    return lambda: Work(number(find("sma_stn", step, "GFLOP")) * 1e9 / batch, 0, "torch's counter")


def ststnet_pass() -> Work:
    """One pass over a fold; streams of 3x3 on 3 channels at 30x30: forward, and the gradient of the weights alone."""
    forward = 2 * 27 * 16 * 30 * 30 + 2 * 400 * 3
    return Work(2 * forward * 442 * 67 / 68, 0, "convolutions, forward and weights' gradient")


def lbp_top() -> Work:
    """Eight neighbours in three planes, half of them between four voxels: 7 operations, a comparison, a bit."""
    voxels = (64 - 6) * (112 - 6) ** 2
    return Work(voxels * 3 * (4 * 7 + 8 * 2), 64 * 112 * 112, "interpolation, comparison, one bit")


CLAIMS: Sequence[Claim] = (
    Claim("a film decoded to RGB, 400x300, frames", "video", "mien, RGB", "frames/s, median", None,
          "PyAV `to_ndarray`", ("PyAV `to_ndarray`, one thread, RGB", "frames/s, median"),
          moved(1.5 + 3, 400 * 300, "planes read, RGB written; decoding itself left out"), 2),
    Claim("the same beside OpenCV, frames", "video", "mien, RGB", "frames/s, median", None,
          "OpenCV", ("OpenCV VideoCapture, RGB", "frames/s, median"),
          moved(1.5 + 3, 400 * 300, "planes read, RGB written; decoding itself left out"), 2),
    Claim("face followed, 478 points, frames", "face",
          "batches of 32: detection in every frame, landmarks in a kept square", "frames/s", None,
          "frame by frame", ("one frame at a time: detection, then landmarks", "frames/s"), face_frame, 2),
    Claim("magnified by one factor, 300x245, frames", "magnify", "1 / mien", "frames/s", None,
          "plain, OpenCV", ("1 / plain, OpenCV", "frames/s"), moved(6, PIXELS, "frame read and written"), 2),
    Claim("magnified by ten factors, 300x245, frames", "magnify", "10 (5-14) / mien", "frames/s", None,
          "plain, OpenCV", ("10 (5-14) / plain, OpenCV", "frames/s"),
          moved(33, PIXELS, "frame read, ten written"), 2),
    Claim("100 frames to 30 (TIM), clips", "magnify", "TIM, 100 to 30 / mien", "ms", MS,
          "by SVD", ("TIM, 100 to 30 / plain, by SVD", "ms"),
          counted(2 * 30 * 100 * PIXELS * 3, 130 * PIXELS * 3 * 4, "one product, clip read, clip written"), 2),
    Claim("dynamic image of 100 frames, clips", "magnify", "dynamic image / mien", "ms", MS,
          "plain loop", ("dynamic image / plain loop", "ms"),
          counted(2 * 100 * PIXELS * 3, 100 * PIXELS * 3, "frames read once"), 2),
    Claim("classic_nl flow, 300x245, pairs", "flow", "mien / 16 / 300x245", "median s per pair", 1.0,
          "by elimination and sorting", ("plain / 1 / 300x245", "median s per pair"), flow_pair, 2),
    Claim("LBP-TOP, 64 frames of 112x112, clips", "descriptors", "lbp_top", "ms, one thread", MS,
          "plain loop", None, lbp_top),
    *(
        Claim(f"{name}, {'training' if training else 'prediction'}, samples", "strcn", name,
              "training, samples/s" if training else "prediction, samples/s", None,
              "plain PyTorch", (name, "plain" if training else "plain#2"), strcn(name, training),
              ratio="ratio" if training else "ratio#2")
        for name in ("STRCN-G, 28x28x3, M 24", "STRCN-G, 300x245x2, M 32", "STRCN-G, 300x245x2, M 128 (paper)",
                     "STRCN-A, 922x30x3, M 16", "STRCN-A, 922x30x3, M 128 (paper)")
        for training in (True, False)
    ),
    *(
        Claim(f"{name}, all cores, {'training' if training else 'prediction'}, samples", "whole_machine", name,
              "training" if training else "prediction", None,
              "plain PyTorch", (name, "plain" if training else "plain#2"), strcn(name, training), 2,
              ratio="ratio" if training else "ratio#2")
        for name in ("STRCN-G, 28x28x3, M 24", "STRCN-A, 922x30x3, M 16")
        for training in (True, False)
    ),
    *(
        Claim(f"{name}, {preset}, {'training' if training else 'prediction'}, clips", "microexp", f"{name} / {preset}",
              "training, clips/s" if training else "prediction, clips/s", None,
              "plain PyTorch", (f"{name} / {preset}", "plain" if training else "plain#2"),
              microexp(name, preset, training), ratio="ratio" if training else "ratio#2")
        for name in ("microexp-stcnn", "microexp-fusenet-intermediate")
        for preset in ("smic", "casme-sq")
        for training in (True, False)
    ),
    *(
        Claim(f"SMA-STN-style, {preset}, {what}, samples", "sma_stn", step, "ours, ms", MS, "plain PyTorch",
              (step, "plain, ms"), sma_stn(step, batch), 1, batch, "ratio")
        for preset, batch in (("small", 32), ("cpu", 32), ("resnet18", 4))
        for what, step in (("training", f"{preset}, training a batch of {batch}"),
                           ("prediction", f"{preset}, predicting a batch of {batch}"))
    ),
    Claim("STSTNet, LOSO of 442 clips, passes of a fold", "ststnet_loso", "mien, 2 processes of 1 thread", "seconds",
          1.0,
          "plain loop", ("plain sequential loop, 2 threads*", "seconds"),
          ststnet_pass, 2, 68 * 800),
    Claim("input read from the cache, 300x245x2, samples", "strcn",
          "300x245x2, 16-bit floats, 10 copies of 40 clips", "samples/s", None, "", None,
          moved(2 * 2 + 2 * 4, PIXELS, "16-bit read, 32-bit written")),
    Claim("a film sent to the local page, MiB", "serve", "sending 256 MiB to a file on disk", "measured",
          None, "", None,
          counted(0, 2 * 2**20, "read and written once")),
    Claim("from a video to an answer, 640x480 at 100 per second, frames", "recognise", "recognise / 30",
          "real-time factor", None, "", None, answered_frame, 2, 100),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bound:
    """What the machine can do with some threads: operations and bytes per second."""

    operations: float
    bytes: float

    def rate(self, work: Work) -> float:
        """Units per second, if either the operations or the bytes were all there is."""
        return 1 / max(work.operations / self.operations, work.bytes / self.bytes, 1e-30)


def bound(threads: int) -> Bound:
    """The best of one thread, as often as there are threads, or what they did together where that is more.

    A core that shares its units or its memory with another does less: a bound may be too high, never too low.
    """

    def most(*names: str) -> float:
        one, together = (
            max(number(find("peak", f"{name} / {n}", "at best")) for name in names)
            for n in (1, min(threads, cores_measured()))
        )
        return 1e9 * max(threads * one, together)

    return Bound(max(most("matrix product"), threads * product()), most("copy", "sum"))


def product() -> float:
    """Operations per second of one thread as STRCN's page has it: measured there too, and perhaps on a quieter day."""
    try:
        return 1e9 * number(search("strcn", r"reaches ([\d.]+) GFLOP/s"))
    except LookupError:
        return 0.0


def cores_measured() -> int:
    """Cores of the machine that the pages were measured on."""
    return int(search("peak", r"(\d+) cores"))


def shown(value: float) -> str:
    """Three digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 else f"{value:.1g}"


def line(claim: Claim) -> str:
    """A row of the table; what was not measured is said."""
    other = ratio = "-"
    try:
        ours = claim.rate(claim.row, claim.column)
        if claim.other:
            theirs = claim.rate(*claim.other)
            times = number(find(claim.page, claim.row, claim.ratio, claim.column)) if claim.ratio else ours / theirs
            other, ratio = f"{shown(theirs)} ({claim.peer})", f"{times:.2f}"
        elif claim.page == "descriptors":
            times = number(search("descriptors", r"([\d,]+) times as long"))
            other, ratio = f"{shown(ours / times)} ({claim.peer})", f"{times:,.0f}"
    except LookupError:
        return f"| {claim.what} | not measured | | | | | | |"
    limit = share = how = ""
    if claim.work:
        work = claim.work()
        most = bound(claim.threads).rate(work)
        limit, share, how = shown(most), f"{ours / most:.1%}" if ours < 0.1 * most else f"{ours / most:.0%}", told(work)
    return (
        f"| {claim.what} | {shown(ours)} | {other} | {ratio} | {limit} | {share} | {how} | "
        f"[{measured_at(claim.page)}](results/{claim.page}.md) |"
    )


def busy() -> list[str]:
    """A warning where the machine was not idle while its peaks were measured."""
    taken = number(search("peak", r"programs took ([\d.]+%)"))
    if taken <= 10:
        return []
    return [f"Other programs took {taken:.0f}% of the processor meanwhile: these peaks, and so the bounds, may be low."]


PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (0, ""))


def told(work: Work) -> str:
    """Operations and bytes, and what they are."""
    parts = []
    for value, unit in ((work.operations, "FLOP"), (work.bytes, "B")):
        if value:
            scale, letter = next((s, c) for s, c in PREFIXES if value >= s)
            parts.append(f"{value / (scale or 1):.3g} {letter}{unit}")
    return f"{', '.join(parts)}: {work.counted}"


def measured_at(name: str) -> str:
    """Commit of a page."""
    found = re.search(r"commit (\w+\+?)", page(name))
    return found.group(1) if found else "page"


def text() -> str:
    """The whole page."""
    peaks = [bound(n) for n in dict.fromkeys((1, cores_measured()))]
    told_peaks = "; ".join(
        f"{b.operations / 1e9:.0f} GFLOP/s and {b.bytes / 1e9:.1f} GB/s with {n} thread{'s' if n > 1 else ''}"
        for n, b in zip(dict.fromkeys((1, cores_measured())), peaks, strict=True)
    )
    head = [
        "# Benchmarks",
        "",
        "```console",
        "$ make bench                              # everything; stop it when you like, it goes on where it was",
        '$ make bench BENCH="--only strcn serve"   # some parts',
        '$ make bench BENCH="--quick"              # every part on a small scale, results untouched',
        "```",
        "",
        "Each part is a script of its own, compares with a peer or with the same thing written plainly, taking turns "
        "in the same run, and writes its page in `results/`; all pages are gathered in `results/<machine>-<commit>.md` "
        "with each part's seconds and peak memory. A part that fails is named there and the rest goes on.",
        "",
        "This page is made from those pages by `python tools/benchmarks_page.py` (a test compares them).",
        "",
        "## On a GPU",
        "",
        "```console",
        "$ PYTHONPATH=src python benchmarks/gpu.py FLOW_FOLDER --budget 480 --out benchmarks/results/gpu.md",
        "```",
        "",
        "One script for a machine that is at hand for minutes. It needs PyTorch, NumPy, SciPy, scikit-learn, Pillow "
        "and OpenCV, and nothing is installed: for what mien needs beside them `bare.py` stands in. It compares the "
        "answers of GPU and processor (every deep system, batched flow), STSTNet's leave-one-subject-out with a plain "
        "loop on "
        "the same GPU (`FLOW_FOLDER`: the flow pictures of the MEGC 2019 composite; left out without), and measures "
        "STRCN, HTNet and CausalNet in their published sizes: samples a second, hours, memory, the largest batch. The "
        "page is written after every line, so what was measured when the time is up is kept. Not part of `make bench`. "
        "No GPU has been measured yet: [scale](../docs/notebook/scale.md) marks its GPU columns as estimates. Without "
        "one, the script takes small presets on the processor, which shows only that it works.",
        "",
        "## Ours, a peer, and what the machine could do",
        "",
        "Units per second; higher is better. The bound is the rate at which the machine would do the operations, or "
        "move the bytes, of one unit if there were nothing else to do, whichever is lower. Operations are "
        "multiplications and additions, bytes are values read or written once; both are the least the work can "
        f"have, so a share is never flattered. Peaks, [measured](results/peak.md) at {measured_at('peak')}: "
        f"{told_peaks}.",
        *busy(),
        "",
        "| what, per second | mien | peer | times faster | bound | share of it | counted | measured at |",
        "|---|---:|---:|---:|---:|---:|---|---|",
    ]
    growth = [
        "",
        "Rows of deep systems are one thread each: folds are trained side by side, one thread per fold.",
        "",
        "## How cost grows",
        "",
        "With frames and pixels ([figures](results/growth.md)): decoding, magnification and interpolation in "
        "proportion; a face costs the same at any size, since it is cut out at the networks' own; memory stays "
        "level with length wherever frames are read one by one (interpolation needs the clip).",
        "",
        "![time and memory against frames and pixels](results/growth.png)",
        "",
        "With clips, folds and workers: a run of k folds over n clips trains n (k - 1) clips a pass, so its time "
        "is in proportion to clips and to folds. Folds are trained side by side, one thread each; every worker holds "
        "the libraries in memory once more.",
        "",
        "![training against clips, folds and workers](results/growth_training.png)",
        "",
        "With the length of a film and the size of its frames: [video](results/video.md). With maps and pixels of a "
        "network: [STRCN](results/strcn.md).",
        "",
        "![decoding](results/video.png)",
        "",
        "![a batch of STRCN-G](results/strcn.png)",
        "",
        "What 100,000 hours of video or a whole grid of studies would take: [scale](../docs/notebook/scale.md).",
    ]
    return "\n".join([*head, *(line(claim) for claim in CLAIMS), *growth]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", help="print it instead")
    if parser.parse_args().print:
        print(text(), end="")
    else:
        README.write_text(text(), encoding="utf-8")
        print(README)


if __name__ == "__main__":
    main()
