"""Figures of the report as inline SVG; the style sheet of the page sets their colours, light or dark.

The SVGs stretch to the width they are given and hold no text, which would stretch too: words stand beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

MOST_POINTS = 240


def score_bar(
    value: float,
    tick: float | None = None,
    interval: Sequence[float] | None = None,
    baseline: str = "majority baseline",
) -> Markup:
    """Draw a score as a bar on 0..1, with a tick at a baseline and a line over a confidence interval.

    Args:
        value: The score, 0..1.
        tick: The baseline, 0..1; None draws none.
        interval: (low, high), 0..1; None draws none.
        baseline: What the tick is.
    """
    label = f"{value:.3f} on a scale from 0 to 1"
    parts = [
        '<rect class="track" x="0" y="6" width="100" height="8"/>',
        f'<rect class="fill" x="0" y="6" width="{100 * value:.2f}" height="8"/>',
    ]
    if interval is not None:
        low, high = (100 * min(max(bound, 0.0), 1.0) for bound in interval)
        parts.append(f'<rect class="whisker" x="{low:.2f}" y="1" width="{max(high - low, 0.3):.2f}" height="2.5"/>')
        label += f", interval {interval[0]:.3f} to {interval[1]:.3f}"
    if tick is not None:
        parts.append(f'<rect class="tick" x="{min(100 * tick, 99.4):.2f}" y="4" width="0.6" height="12"/>')
        label += f", {baseline} {tick:.3f}"
    return Markup(
        '<svg class="bar" viewBox="0 0 100 16" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(label, Markup("".join(parts)))


def interval_dot(value: float, interval: Sequence[float] | None, tick: float) -> Markup:
    """Draw a score as a dot on 0..1, with a line over its confidence interval and a tick at guessing.

    Args:
        value: The score, 0..1.
        interval: (low, high), 0..1; None draws none.
        tick: What guessing gives, 0..1.
    """
    label = f"{value:.3f} on a scale from 0 to 1"
    parts = [
        '<rect class="rail" x="0" y="7.5" width="100" height="1"/>',
        f'<rect class="tick" x="{100 * tick - 0.2:.2f}" y="4" width="0.4" height="8"/>',
    ]
    if interval is not None:
        low, high = (100 * min(max(bound, 0.0), 1.0) for bound in interval)
        parts.append(f'<rect class="whisker" x="{low:.2f}" y="6.5" width="{max(high - low, 0.3):.2f}" height="3"/>')
        label += f", interval {interval[0]:.3f} to {interval[1]:.3f}"
    parts.append(f'<rect class="point" x="{min(max(100 * value - 1, 0), 98):.2f}" y="2" width="2" height="12" rx="1"/>')
    return Markup(
        '<svg class="dot" viewBox="0 0 100 16" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(label, Markup("".join(parts)))


def subject_bars(entries: Sequence[Mapping[str, Any]], mean: float) -> Markup:
    """Draw one bar per subject: its width is the number of clips, its height the share that is right.

    So the area is the number of clips that are right. A line crosses at the accuracy over all clips.

    Args:
        entries: What `mien.evaluation.report.per_subject` gives for one database.
        mean: Accuracy over all clips of the database, 0..1.
    """
    total = sum(entry["n_clips"] for entry in entries)
    bars, x = [], 0.0
    for entry in entries:
        width = 100 * entry["n_clips"] / total
        height = 100 * entry["accuracy"]
        title = f"{entry['subject']}: {entry['n_right']} of {entry['n_tested']} right"
        gap = min(0.25, width / 4)
        bars.append(
            Markup('<g><title>{}</title><rect class="track" x="{:.3f}" y="0" width="{:.3f}" height="100"/>').format(
                title, x, width - gap
            )
            + Markup('<rect class="fill" x="{:.3f}" y="{:.2f}" width="{:.3f}" height="{:.2f}"/></g>').format(
                x, 100 - height, width - gap, height
            )
        )
        x += width
    line = Markup('<rect class="tick" x="0" y="{:.2f}" width="100" height="1.2"/>').format(
        min(max(100 - 100 * mean - 0.6, 0), 98.8)
    )
    best, worst = entries[0], entries[-1]
    label = (
        f"Accuracy of {len(entries)} subjects, from {best['accuracy']:.2f} ({best['subject']}) "
        f"to {worst['accuracy']:.2f} ({worst['subject']}); over all clips {mean:.3f}"
    )
    return Markup(
        '<svg class="subjects" viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="{}">{}{}</svg>'
    ).format(label, Markup("").join(bars), line)


@dataclass(frozen=True, slots=True)
class CurveFigure:
    """A curve over epochs, with the labels of its axes.

    Attributes:
        svg: The picture.
        top: Value at its upper edge.
        bottom: Value at its lower edge.
        epochs: Last epoch on its right edge.
        n: How many folds it is made of.
        last: Mean over folds in their last common epoch.
    """

    svg: Markup
    top: float
    bottom: float
    epochs: int
    n: int
    last: float


def curve_figure(curves: Sequence[Sequence[float]], name: str) -> CurveFigure | None:
    """Draw the mean over folds as a line, the middle 80 % as a band, for the epochs that all folds have.

    Args:
        curves: One value per epoch for each fold.
        name: What the curve is, for readers who cannot see it.

    Returns:
        None when there is nothing to draw: no fold, or fewer than two epochs.
    """
    curves = [curve for curve in curves if len(curve) > 0]
    epochs = min((len(curve) for curve in curves), default=0)
    if epochs < 2:
        return None
    values = np.array([curve[:epochs] for curve in curves], dtype=np.float64)
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) == 0:
        return None
    mean, (low, high) = values.mean(axis=0), np.quantile(values, (0.1, 0.9), axis=0)
    bottom, top = min(0.0, float(low.min())), float(max(high.max(), mean.max()))
    span = (top - bottom) or 1.0
    shown = np.unique(np.linspace(0, epochs - 1, min(epochs, MOST_POINTS)).round().astype(int))

    def points(row: Any, order: Any) -> str:
        return " ".join(f"{100 * i / (epochs - 1):.2f},{100 * (top - row[i]) / span:.2f}" for i in order)

    band = f"{points(high, shown)} {points(low, shown[::-1])}"
    svg = Markup(
        '<svg class="curve" viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<polygon class="band" points="{}"/><polyline class="line" points="{}"/></svg>'
    ).format(
        f"{name}: mean over {len(values)} folds from {mean[0]:.3f} in epoch 1 to {mean[-1]:.3f} in epoch {epochs}",
        band,
        points(mean, shown),
    )
    return CurveFigure(svg, top, bottom, epochs, len(values), float(mean[-1]))


def shade(count: int, total: int, *, right: bool) -> Markup:
    """Return the style of a cell of a confusion matrix: one hue on the diagonal, one off it, by row share."""
    return Markup("--share:{:.3f};--hue:var(--{})").format(
        count / total if total else 0.0, "accent" if right else "miss"
    )
