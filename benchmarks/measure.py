"""What the benchmarks share: calls timed in turn, one point in a process of its own, a page written."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


def in_turns(calls: Sequence[Callable[[], object]], turns: int) -> list[list[float]]:
    """Seconds of each call, every one once per turn, after one round that does not count.

    Taking turns lets all of them meet the same machine.
    """
    found: list[list[float]] = [[] for _ in calls]
    for turn in range(turns + 1):
        for taken, call in zip(found, calls, strict=True):
            began = time.perf_counter()
            call()
            if turn:
                taken.append(time.perf_counter() - began)
    return found


def ratio(times: Sequence[Sequence[float]], middle: float | None = None) -> str:
    """How many times longer the second of two takes: the median over turns, or `middle`, and least to most."""
    ratios = [b / a for a, b in zip(*times, strict=True)]
    return f"{statistics.median(ratios) if middle is None else middle:.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def step_of(model: nn.Module, optimiser: Optimizer, x: Tensor, y: Tensor, training: bool) -> Callable[[], None]:
    """One batch of training or of prediction."""
    import torch
    from torch.nn.functional import cross_entropy

    def train() -> None:
        model.train()
        optimiser.zero_grad()
        cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    def predict() -> None:
        model.eval()
        with torch.inference_mode():
            model(x)

    return train if training else predict


def operations(work: Callable[[], object]) -> float:
    """Floating point operations of a step written plainly: multiplications and additions of convolutions, products."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def peak_rate(side: int = 2048) -> float:
    """Operations per second of a large matrix product: what one thread of this machine can do at best."""
    import torch

    a, b = torch.randn(side, side), torch.randn(side, side)
    (seconds,) = in_turns([lambda: torch.mm(a, b)], 7)
    return 2 * side**3 / min(seconds)


BOUND = (
    "One thread reaches {:.0f} GFLOP/s in a large matrix product. A plain network above two thirds of that cannot be "
    "made 1.5 times faster without doing fewer operations. Operations are those of the plain network for both."
)
"""What a table says beside shares of `peak_rate`."""


def alone(script: str, *words: object) -> list[str]:
    """Runs a benchmark again in a process of its own, so that its peak memory is its own.

    Returns:
        The words it prints.

    Raises:
        SystemExit: It failed; told with the last of what it said.
    """
    done = subprocess.run([sys.executable, script, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join(done.stderr.splitlines()[-3:])
        raise SystemExit(f"{Path(script).name} {' '.join(map(str, words))} ended with {done.returncode}:\n{last}")
    return done.stdout.split()


def rates(script: str, ways: Sequence[tuple[int, Sequence[object]]], turns: int) -> list[list[float]]:
    """Samples per second of several ways to do the same, each in processes of its own, in turn.

    Args:
        script: A benchmark that calls `tell_rates` when it is given the words of a way.
        ways: How many processes at once, and the words for each.
        turns: How often each way is measured.

    Returns:
        For each way what its processes did together, at every turn.

    Raises:
        SystemExit: One of them failed.
    """
    groups = [
        [
            subprocess.Popen(
                [sys.executable, script, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(n)
        ]
        for n, words in ways
    ]
    found: list[list[float]] = [[] for _ in ways]
    try:
        for turn in range(turns + 1):  # at the first each tells that it is ready
            for group, taken in zip(groups, found, strict=True):
                for process in group if turn else ():
                    assert process.stdin is not None
                    process.stdin.write("go\n")
                    process.stdin.flush()
                told = [process.stdout.readline() for process in group if process.stdout is not None]
                if not all(told):
                    raise SystemExit(f"{Path(script).name}: a process ended before it was asked to.")
                if turn:
                    taken.append(sum(map(float, told)))
    finally:
        for process in (p for group in groups for p in group):
            process.kill()
            process.communicate()
    return found


def tell_rates(step: Callable[[], object], batch: int, seconds: float) -> None:
    """Prints that it is ready, then for each line of the standard input its samples per second, over some seconds."""
    step()
    print("ready", flush=True)
    for _ in sys.stdin:
        n, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            step()
            n += 1
        print(n * batch / spent, flush=True)


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser with `--out`, for the page."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="page to write")
    return parser


def publish(lines: Sequence[str], out: Path | None) -> None:
    """Prints a page, and writes it where a file is given."""
    text = "\n".join(lines).rstrip("\n") + "\n"
    print(text, end="")
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
