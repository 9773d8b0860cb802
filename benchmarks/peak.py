"""What this machine can do at best: the bound that the other figures are held against.

python benchmarks/peak.py [--seconds 4] [--out FILE]

Operations: products of two square matrices of 32-bit floats. Bytes: a large array copied (read and written) and
summed (read alone). The best turn counts, as a bound should. A busy neighbour core halves it: measure on an idle
machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from machine import cores, stamp, taken_by_others
from measure import arguments, publish

SIDE = 1536
MIB = 192  # Larger than any cache.


def works() -> dict[str, tuple[Callable[[], object], float, str]]:
    """Name of each: the call, how much it does in units of 1e9, and the unit."""
    a, b, c = (torch.randn(SIDE, SIDE) for _ in range(3))
    large = torch.zeros(MIB << 18)
    other = torch.zeros_like(large)
    size = MIB * 2**20 / 1e9
    return {
        "matrix product": (lambda: torch.mm(a, b, out=c), 2 * SIDE**3 / 1e9, "GFLOP/s"),
        "copy": (lambda: other.copy_(large), 2 * size, "GB/s"),
        "sum": (lambda: large.sum(), size, "GB/s"),
    }


def least(call: Callable[[], object], seconds: float) -> float:
    """Seconds of the fastest call among as many as fit into some seconds."""
    found, until = float("inf"), time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        call()
        found = min(found, time.perf_counter() - began)
    return found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=4, help="for each figure")
    given = parser.parse_args()
    lines = [
        "# What the machine can do",
        "",
        stamp(),
        f"Best of {given.seconds:g} s each; products of {SIDE}x{SIDE} 32-bit floats; {MIB} MiB copied or summed. Other "
        f"programs took {taken_by_others():.0%} of the processor before.",
        "",
        "| what | threads | at best | unit |",
        "|---|---|---|---|",
    ]
    for threads in dict.fromkeys((1, cores())):
        torch.set_num_threads(threads)
        for name, (call, amount, unit) in works().items():
            lines.append(f"| {name} | {threads} | {amount / least(call, given.seconds):.1f} | {unit} |")
    publish(lines, given.out)


if __name__ == "__main__":
    main()
