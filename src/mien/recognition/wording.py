"""The cautions shown with every answer: what the weights were trained on, how often they err, what an answer is not."""

from __future__ import annotations

from typing import Final

from mien.classifiers.checkpoint import ModelCard
from mien.spotting.published import PUBLISHED

SHORT: Final = "An expression is not a feeling, and this is not a lie detector."
"""The caution in one line, for small screens; `NOT` is the whole of it."""

NOT: Final = (
    f"{SHORT} People move their faces for many reasons, and feel without moving them. "
    "Do not use an answer to decide anything about a person."
)

SPOTTING: Final = f"Finding expressions is the hard part. {PUBLISHED}"

LOCAL: Final = "Everything was computed on this machine; nothing was sent anywhere."


def trained_on(card: ModelCard) -> str:
    """Return two or three sentences on what predicted the classes and what it was trained on.

    Args:
        card: The card of the weights.

    Example:
        >>> from mien.classifiers.checkpoint import SHIPPED, read_card
        >>> trained_on(read_card(SHIPPED)).partition(",")[0]
        'Classes are predicted by strcn-g'
    """
    parts = [f"{d['clips']} clips of {d['subjects']} people ({d['dataset']})" for d in card.trained_on]
    text = f"Classes are predicted by {card.system}, trained on {' and '.join(parts) or 'data that its card omits'}."
    if any(d["synthetic"] for d in card.trained_on):
        text += " The faces it was trained on are synthetic, made by a computer"
        tested = card.score.get("tested_on")
        text += (
            f"; it was tested on real faces ({tested})." if tested else ", and it has not been tested on real people."
        )
    return text


def error_rate(card: ModelCard) -> str:
    """Return how often the method of the weights was wrong, and under which protocol that was measured.

    Args:
        card: The card of the weights.
    """
    score = card.score
    if not score:
        return "The error rate of these weights has not been measured: read each class as a guess."
    wrong, constant = 100 * (1 - score["accuracy"]), 100 * (1 - score["majority_accuracy"])
    return (
        f"When it was tested on {score['n_clips']} clips of {score['n_subjects']} people (protocol "
        f"{score['protocol']}), {wrong:.0f} of 100 clips got the wrong class; always answering the most frequent class "
        f"is wrong for {constant:.0f} of 100. The macro F1 (UF1) was {score['uf1']:.2f}. Experts had marked the "
        f"beginning and end of those clips; where a program has to find them, expect more errors."
    )
