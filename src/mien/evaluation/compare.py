"""Paired comparison of two runs on the same clips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.table import Table
from scipy.stats import binomtest

from mien.errors import MienError
from mien.evaluation.ledger import Ledger, read_ledger
from mien.evaluation.metrics import NO_ANSWER, accuracy_of, counts_by_person, resamples, uar_of, uf1_of
from mien.evaluation.unit_compare import UnitComparison, compare_units, render_unit_comparison


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of run A with run B on the same clips.

    Attributes:
        n_clips: Clips both were tested on.
        uf1, uar, accuracy: (A, B), each the mean over the run's seeds, pooled over folds.
        uf1_difference: A minus B.
        uf1_interval: 95 % bootstrap interval of that difference, over subjects.
        accuracy_interval: The same of the difference in accuracy.
        uf1_seeds, accuracy_seeds: A minus B with each seed that both have.
        uf1_p: Share of bootstrap samples on the other side of zero, doubled; at most 1.
        only_a, only_b: Clips that only A, only B got right, by the mean probabilities of the seeds.
        mcnemar_p: Exact two-sided McNemar test of those two counts.
    """

    n_clips: int
    uf1: tuple[float, float]
    uar: tuple[float, float]
    accuracy: tuple[float, float]
    uf1_difference: float
    uf1_interval: tuple[float, float]
    accuracy_interval: tuple[float, float]
    uf1_seeds: tuple[float, ...]
    accuracy_seeds: tuple[float, ...]
    uf1_p: float
    only_a: int
    only_b: int
    mcnemar_p: float

    def __str__(self) -> str:
        """Return the comparison in three lines, as it is read in a paper."""
        low, high = self.uf1_interval
        return (
            f"UF1 {self.uf1[0]:.3f} and {self.uf1[1]:.3f}: difference {self.uf1_difference:+.3f}, "
            f"95 % over subjects {low:+.3f} to {high:+.3f}, p = {self.uf1_p:.3f}\n"
            f"UAR {self.uar[0]:.3f} and {self.uar[1]:.3f}; accuracy {self.accuracy[0]:.3f} and {self.accuracy[1]:.3f}\n"
            f"{self.n_clips} clips, {self.only_a} right in the first only, {self.only_b} in the second only: "
            f"McNemar's p = {self.mcnemar_p:.3f}"
        )


def _by_seed(ledger: Ledger, keys: list[str]) -> NDArray[np.float64]:
    """Return probabilities (seeds, clips, classes) in the order of `keys`; NaN where there is no answer."""
    place = {key: n for n, key in enumerate(keys)}
    out = np.full((len(ledger.seeds), len(keys), len(ledger.classes)), np.nan)
    for s, seed in enumerate(ledger.seeds):
        for row in ledger.of_seed(seed):
            if row.probabilities:
                out[s, place[row.key]] = row.probabilities
    return out


def _answers(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return class indices (..., clips) of probabilities (..., clips, classes); `NO_ANSWER` for NaN."""
    return np.where(np.isnan(probabilities[..., 0]), NO_ANSWER, probabilities.argmax(-1))


def compare(
    a: Ledger | str | Path, b: Ledger | str | Path, *, n: int = 2000, seed: int = 0
) -> Comparison | UnitComparison:
    """Compare two ledgers clip by clip.

    Scores are means over each run's seeds; the bootstrap draws persons, the same for both runs. McNemar's test needs
    one answer per clip and takes that of the seeds' mean probabilities. A clip that one run could not prepare is wrong
    there. Of runs about action units, AUC and F1 of each unit and their means are compared.

    Args:
        a: Folder of run A, or its complete ledger.
        b: Folder of run B, or its complete ledger, over the same clips, classes and true labels.
        n: Bootstrap samples.
        seed: Of the draws.

    Returns:
        The scores of both, their differences with intervals, and McNemar's test; of runs about action units, a
        `UnitComparison`.

    Raises:
        MienError: A run is unfinished, or the two differ in clips, classes or true labels.

    Example:
        >>> compare("runs/svm", "runs/bi-woof").n_clips
        12
    """
    a, b = (each if isinstance(each, Ledger) else read_ledger(Path(each)) for each in (a, b))
    for name, ledger in (("A", a), ("B", b)):
        if not ledger.complete or not ledger.rows:
            raise MienError(
                f"Run {name} is unfinished.", "two complete runs.", "the same `mien benchmark` again: it resumes."
            )
    if a.units != b.units:
        raise MienError(
            "One run is about action units, the other about classes.",
            "two runs of one kind.",
            "one label map for both runs.",
        )
    truth_a = {row.key: row.y_true for row in a.rows}
    truth_b = {row.key: row.y_true for row in b.rows}
    if a.classes != b.classes or truth_a != truth_b:
        differing = sorted(k for k in truth_a.keys() | truth_b.keys() if truth_a.get(k) != truth_b.get(k))
        what = f"{len(differing)} clips, first {differing[0]}" if differing else f"classes {a.classes} and {b.classes}"
        fix = "one label map for both runs."
        datasets = [sorted({row.dataset for row in ledger.rows}) for ledger in (a, b)]
        if datasets[0] != datasets[1]:
            fix = f"runs on the same databases; these are on {' and on '.join(', '.join(names) for names in datasets)}."
        raise MienError(f"The runs differ in {what}.", "the same clips with the same true classes.", fix)
    return (compare_units if a.units else compare_classes)(a, b, n=n, seed=seed)


def compare_classes(a: Ledger, b: Ledger, *, n: int = 2000, seed: int = 0) -> Comparison:
    """Compare two complete ledgers about the same classes of the same clips; see `compare`."""
    truth_a = {row.key: row.y_true for row in a.rows}
    keys = list(truth_a)
    persons = {row.key: (row.dataset, row.subject) for row in a.rows}
    index = {name: c for c, name in enumerate(a.classes)}
    y = np.array([index[truth_a[key]] for key in keys])
    c, people = len(a.classes), [persons[key] for key in keys]
    probabilities = [_by_seed(a, keys), _by_seed(b, keys)]
    tables = [
        np.stack([counts_by_person(y, _answers(p), people, c) for p in each]) for each in probabilities
    ]  # (seeds, persons, C, C + 1)
    weights = resamples(tables[0].shape[1], n, seed)
    point = [[float(of(t.sum(1)).mean()) for t in tables] for of in (uf1_of, uar_of, accuracy_of)]
    drawn = [np.einsum("np,spij->snij", weights, t, optimize=True) for t in tables]
    difference, accurate = (of(drawn[0]).mean(0) - of(drawn[1]).mean(0) for of in (uf1_of, accuracy_of))  # (n,)
    low, high = np.quantile(difference, [0.025, 0.975])
    low_accuracy, high_accuracy = np.quantile(accurate, [0.025, 0.975])
    both = [seed for seed in a.seeds if seed in b.seeds]
    places = [[ledger.seeds.index(seed) for seed in both] for ledger in (a, b)]
    by_seed = [
        tuple((of(tables[0].sum(1)[places[0]]) - of(tables[1].sum(1)[places[1]])).tolist())
        for of in (uf1_of, accuracy_of)
    ]
    # One is added to each count: a finite number of draws cannot show a probability of nothing.
    tail = (1 + min(int((difference <= 0).sum()), int((difference >= 0).sum()))) / (n + 1)
    right = [_answers(each.mean(0)) == y for each in probabilities]
    only_a, only_b = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    (uf1, uar, accuracy) = ((values[0], values[1]) for values in point)
    return Comparison(
        n_clips=len(keys),
        uf1=uf1,
        uar=uar,
        accuracy=accuracy,
        uf1_difference=uf1[0] - uf1[1],
        uf1_interval=(float(low), float(high)),
        accuracy_interval=(float(low_accuracy), float(high_accuracy)),
        uf1_seeds=by_seed[0],
        accuracy_seeds=by_seed[1],
        uf1_p=min(1.0, 2 * tail),
        only_a=only_a,
        only_b=only_b,
        mcnemar_p=p,
    )


def render_comparison(result: Comparison | UnitComparison, a: str, b: str) -> RenderableType:
    """Return a comparison as a table for the terminal."""
    if isinstance(result, UnitComparison):
        return render_unit_comparison(result, a, b)
    table = Table(title=f"A = {a}   B = {b}   {result.n_clips} clips", title_justify="left", box=None, padding=(0, 2))
    for heading in ("", "A", "B", "A - B"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, (first, second) in (("UF1", result.uf1), ("UAR", result.uar), ("accuracy", result.accuracy)):
        table.add_row(name, f"{first:.4f}", f"{second:.4f}", f"{first - second:+.4f}")
    low, high = result.uf1_interval
    table.add_row("[dim]UF1, 95 % over subjects", "", "", f"{low:+.4f} to {high:+.4f}")
    table.add_row("[dim]bootstrap p", "", "", f"{result.uf1_p:.3f}")
    table.add_row("[dim]right in one only", str(result.only_a), str(result.only_b), f"McNemar p {result.mcnemar_p:.3f}")
    return table
