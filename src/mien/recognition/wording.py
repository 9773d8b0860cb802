"""The cautions shown with every answer: what the weights were trained on, how often they err, what an answer is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mien.classifiers.checkpoint import UNITS, ModelCard
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
    """Return two or three sentences on what predicted the classes or units and what it was trained on.

    Args:
        card: The card of the weights.

    Example:
        >>> from mien.classifiers.checkpoint import SHIPPED, read_card
        >>> trained_on(read_card(SHIPPED)).partition(",")[0]
        'Classes are predicted by strcn-g'
    """
    parts = [f"{d['clips']} clips of {d['subjects']} people ({d['dataset']})" for d in card.trained_on]
    what = "Action units" if card.task == UNITS else "Classes"
    seen = " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:]))) or "data that its card omits"
    text = f"{what} are predicted by {card.system}, trained on {seen}."
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


def unit_weights(card: ModelCard | None, off: Sequence[int]) -> str:
    """Return what weights for action units were trained on, how often they are right, and which units are off.

    Args:
        card: The card of the weights; None, where there are none, gives "".
        off: Numbers of the units that are not answered.
    """
    if card is None:
        return ""
    parts = [trained_on(card)]
    if card.score:
        parts.append(
            f"Of two real clips, one with a unit and one without, they give the right one the higher probability in "
            f"{100 * card.score['mean_auc']:.0f} of 100 pairs (mean of {card.score.get('units_scored', 'all')} units; "
            f"50 is chance). A probability is one as if half of all expressions showed the unit; most units are rarer."
        )
    else:
        parts.append("How often they are right has not been measured.")
    if off:
        names = ", ".join(f"AU{unit}" for unit in off)
        parts.append(f"{names}: not answered, because on real clips they are little better than chance (AUC below .7).")
    return " ".join(parts)


COLUMNS: Final = (
    "Action units: probability; the person's own side; largest motion of the skin, in percent of the distance between "
    "the eyes; of 100 pairs of real clips, one with the unit and one without, how many were ordered rightly."
)
"""What the figures beside a unit are."""


def right_on_real(card: ModelCard | None, unit: int) -> str:
    """Return how often the weights are right about one unit on real clips, in a few words.

    Args:
        card: The card of the weights.
        unit: FACS number.

    Example:
        >>> from mien.classifiers.checkpoint import read_card
        >>> right_on_real(read_card("shipped-units"), 99)
        'not measured on real clips'
    """
    figures = {} if card is None else card.score.get("per_au", {}).get(f"AU{unit}", {})
    if figures.get("auc") is None:
        return "not measured on real clips"
    text = f"right in {100 * figures['auc']:.0f} of 100 pairs of real clips"
    if figures["support"] < 10:
        return f"{text}, of which only {figures['support']} showed it"
    if figures.get("precision") is None or figures.get("recall") is None:
        return text
    return (
        f"{text}; {100 * figures['precision']:.0f}\N{NO-BREAK SPACE}% of those said to show it did, and "
        f"{100 * figures['recall']:.0f}\N{NO-BREAK SPACE}% of those that did were found"
    )


def heading(about: str) -> str:
    """Return the words in front of a reason, of this kind, that concerns a whole video or person."""
    return "No micro-expressions." if about == "frame_rate" else "No answer."
