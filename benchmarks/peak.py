"""What this machine can do at best: the bound that the other figures are held against.

python benchmarks/peak.py [--turns 40] [--out FILE]

Operations: products of two square matrices of 32-bit floats. Bytes: a large array copied (read and written) and
summed (read alone). The best turn counts, as a bound should; many short ones find a quiet moment on a busy machine.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from machine import cores, stamp
from measure import arguments, in_turns, publish

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


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--turns", type=int, default=40)
    given = parser.parse_args()
    lines = [
        "# What the machine can do",
        "",
        stamp(),
        f"Best of {given.turns} turns; products of {SIDE}x{SIDE} 32-bit floats; {MIB} MiB copied or summed.",
        "",
        "| what | threads | at best | unit |",
        "|---|---|---|---|",
    ]
    for threads in dict.fromkeys((1, cores())):
        torch.set_num_threads(threads)
        for name, (call, amount, unit) in works().items():
            (taken,) = in_turns([call], given.turns)
            lines.append(f"| {name} | {threads} | {amount / min(taken):.1f} | {unit} |")
    publish(lines, given.out)


if __name__ == "__main__":
    main()
