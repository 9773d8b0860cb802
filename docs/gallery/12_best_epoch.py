"""What the best epoch on the test subject is worth.

A guesser knows only the frequencies of the classes. If it may guess again and keep the best guess for each subject,
as in papers that choose the best epoch on the test subject, its score climbs.
"""

import numpy as np
from matplotlib.figure import Figure

from mien.evaluation.leakage import best_epoch_bound


def draw() -> Figure:
    """UF1 of the guesser against the number of guesses, for 68 people with 2 to 11 clips each."""
    rng = np.random.default_rng(0)
    people = [("made", str(who)) for who in range(68) for _ in range(rng.integers(2, 12))]
    truth = rng.choice(3, len(people), p=(0.57, 0.25, 0.18))
    bound = best_epoch_bound(truth, people, draws=(1, 2, 5, 10, 20, 50, 100, 200, 400, 800))
    figure = Figure(figsize=(5.6, 3), layout="constrained")
    axis = figure.subplots()
    axis.semilogx(list(bound), list(bound.values()), marker="o", color="#b91c1c")
    axis.set(xlabel="guesses per subject, the best is kept", ylabel="UF1", ylim=(0, 1))
    axis.spines[["top", "right"]].set_visible(False)
    return figure
