"""What the convolutions of `mien.models.convolve` are worth: training of STRCN's presets with them and without.

python benchmarks/convolve.py [--turns 3] [--out benchmarks/results/convolve.md]

Each preset is fitted to random pictures of its own size by one thread, with the module's methods and with torch's own,
in turn; predictions of both are compared. Seconds are those of the processor.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch
from machine import stamp
from measure import arguments, publish, ratio

from mien.models import convolve
from mien.systems import system

CASES = {
    "pictures": ((3, 28, 28), 240, {"epochs": "4"}),
    "committee": ((3, 28, 28), 60, {"epochs": "2"}),
    "cpu": ((2, 75, 61), 96, {"epochs": "2"}),
    "paper": ((2, 300, 245), 12, {"epochs": "1"}),
}
"""Size of the pictures, how many, and what keeps the measurement short, by preset of strcn-g."""


def fitted(name: str, own: bool) -> tuple[float, np.ndarray]:
    """Seconds of processor of one fit, and the probabilities it gives."""
    shape, count, short = CASES[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, *shape)).astype(np.float32)
    y, groups = np.arange(count) % 3, [("noise", str(n % 6)) for n in range(count)]
    here = convolve._here
    if not own:
        setattr(convolve, "_here", lambda _: False)  # noqa: B010
    try:
        chosen = system("strcn-g")
        classifier = chosen.build(3, chosen.with_parameters({"preset": name, **short}))
        began = time.process_time()
        classifier.fit(x, y, groups)
        return time.process_time() - began, classifier.predict_proba(x)
    finally:
        setattr(convolve, "_here", here)  # noqa: B010


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# Convolutions",
        "",
        stamp(),
        "",
        "| preset of strcn-g | with, CPU s | torch's own, CPU s | times | largest difference of a probability |",
        "|---|---|---|---|---|",
    ]
    for name in CASES:
        taken: list[list[float]] = [[], []]
        found = [np.zeros(0), np.zeros(0)]
        for turn in range(given.turns + 1):
            for number, own in enumerate((True, False)):
                seconds, found[number] = fitted(name, own)
                if turn:
                    taken[number].append(seconds)
        with_, without = map(statistics.median, taken)
        gap = float(np.abs(found[0] - found[1]).max())
        lines.append(f"| {name} | {with_:.2f} | {without:.2f} | {ratio(taken)} | {gap:.1e} |")
        print(lines[-1], flush=True)
    publish(lines, given.out)


if __name__ == "__main__":
    main()
