"""Speed of the deep systems' networks on all cores, against the same networks written plainly.

python benchmarks/whole_machine.py [--quick] [--out benchmarks/results/whole_machine.md]

Ours: a network in a process of its own on each core, one thread each, as `mien benchmark` trains folds. Plain: one
program, whose operations torch divides between the cores by itself, as a training script does that sets nothing. The
plain networks are those of the pages strcn, microexp and sma_stn, where both are timed on one thread.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable

import microexp
import sma_stn
import strcn
import torch
from machine import stamp
from measure import arguments, publish, rates, ratio, tell_rates

from mien.systems import SYSTEMS

Made = tuple[Callable[[], None], int]


def of_strcn(case: tuple[object, ...]) -> Callable[[bool, bool], Made]:
    def make(mine: bool, training: bool) -> Made:
        ours, plain, x, y = strcn.networks(case)
        return strcn.step(ours if mine else plain, x, y, training), len(x)

    return make


def of_microexp(name: str, preset: str) -> Callable[[bool, bool], Made]:
    def make(mine: bool, training: bool) -> Made:
        ours, plain, shape = microexp.networks(name, preset)
        momentum = SYSTEMS[name].with_parameters({"preset": preset}).momentum
        x, y = torch.rand(microexp.BATCH, *shape), torch.randint(0, 3, (microexp.BATCH,))
        return microexp.step(ours if mine else plain, x, y, momentum, training), len(x)

    return make


def of_sma_stn(preset: str) -> Callable[[bool, bool], Made]:
    def make(mine: bool, training: bool) -> Made:
        ours, plain, x, y = sma_stn.networks(preset)
        return sma_stn.step(ours if mine else plain, x, y, training), len(x)

    return make


CASES: dict[str, Callable[[bool, bool], Made]] = {
    **{case[0]: of_strcn(case) for case in strcn.CASES},
    **{f"{name}, {preset}": of_microexp(name, preset) for name in microexp.NETWORKS for preset in microexp.PRESETS},
    **{f"sma-stn, {preset}": of_sma_stn(preset) for preset in sma_stn.CASES},
}


def cells(name: str, training: bool, turns: int, seconds: float) -> list[str]:
    """Samples per second of ours and plain, and the ratio with its range."""
    what = "training" if training else "prediction"
    ways = [
        (os.cpu_count() or 1, ("--rate", name, "ours", what, seconds)),
        (1, ("--rate", name, "plain", what, seconds)),
    ]
    ours, plain = rates(__file__, ways, turns)
    return [*(f"{statistics.median(r):,.1f}" for r in (ours, plain)), ratio([plain, ours])]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rate", nargs=4, metavar=("CASE", "WHOSE", "WHAT", "SECONDS"), help="for its own processes")
    parser.add_argument("--quick", action="store_true", help="three small networks, one short turn")
    given = parser.parse_args()
    if given.rate:
        name, whose, what, seconds = given.rate
        if whose == "ours":
            torch.set_num_threads(1)
        tell_rates(*CASES[name](whose == "ours", what == "training"), float(seconds))
        return
    turns, seconds = (1, 0.5) if given.quick else (3, 3.0)
    lines = [
        "# Deep systems on all cores",
        "",
        stamp(),
        "",
        f"Samples per second of the whole machine; medians of {turns} turns of at least {seconds:g} s, ours and plain "
        "in turn (range of the ratio). Ours: one network on each core, one thread each, as folds are trained. Plain: "
        "one program that leaves the cores to torch.",
        "",
        "| network | training | plain | ratio | prediction | plain | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    quick = [strcn.CASES[0][0], "microexp-stcnn, small", "sma-stn, small"]
    for name in quick if given.quick else CASES:
        row = [cell for training in (True, False) for cell in cells(name, training, turns, seconds)]
        lines.append(f"| {name} | {' | '.join(row)} |")
        print(lines[-1], flush=True)
    publish(lines, given.out)


if __name__ == "__main__":
    main()
