"""How well published spotters do on people: the one place that states it. Commands, pages and files quote it.

Sources, micro F1 on CAS(ME)^2 / SAMM-LV: .0082 / .0364 (MDMD, baseline of MEGC 2020), .1965 / .2162 (He, OF-FD, MEGC
2021), .2275 / .1969 (TSMSNet, 2021). Micro and macro together: .0376 / .0445 (MDMD), .3436 / .3638 (OF-FD), .3514
overall (winner of MEGC 2022, other test videos), .464 / .388 (LGSNet, 2022).
"""

from typing import Final

MICRO_F1: Final = (0.01, 0.23)
"""Lowest and highest published F1 for micro-expressions alone (CAS(ME)^2 and SAMM-LV, MEGC 2020 and 2021)."""

BEST_F1_ALL: Final = (0.34, 0.46)
"""F1 of the best published methods for micro- and macro-expressions together, by database."""

PUBLISHED: Final = (
    f"On the public databases of long videos, published methods find micro-expressions with an F1 of {MICRO_F1[0]:g} "
    f"to {MICRO_F1[1]:g}; the best reach {BEST_F1_ALL[0]:g} to {BEST_F1_ALL[1]:g} for micro- and macro-expressions "
    f"together. So most intervals that a spotter reports as micro-expressions are something else."
)
"""The fact in words."""
