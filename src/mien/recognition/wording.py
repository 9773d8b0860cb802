"""What must be said wherever an answer is shown: what the weights have seen, how often they err, what it is not."""

from __future__ import annotations

from typing import Final

from mien.classifiers.checkpoint import ModelCard

NOT: Final = (
    "An expression is not a feeling: people move their faces for many reasons and feel without moving them. "
    "This is no lie detector, and nothing to decide about a person with."
)

SPOTTING: Final = (
    "Finding is the hard part: on the public databases of long videos the best published methods reach an F1 of about "
    "0.2 to 0.4 for micro-expressions, so more than half of what a spotter reports may be something else."
)
"""MEGC 2020 to 2022; the scores are those of the baselines and winners of these challenges."""

LOCAL: Final = "Everything was computed on this machine; nothing was sent anywhere."


def trained_on(card: ModelCard) -> str:
    """What the weights have seen, in one or two sentences."""
    parts = [f"{d['clips']} clips of {d['subjects']} people ({d['dataset']})" for d in card.trained_on]
    text = f"The classes were named by {card.system}, trained on {' and '.join(parts) or 'nothing it tells of'}."
    if any(d.get("drawn") for d in card.trained_on):
        text += " Its training faces were made by a computer"
        tested = card.score.get("tested_on")
        text += f"; it was tested on real ones ({tested})." if tested else ": on real people it has not been tested."
    return text


def error_rate(card: ModelCard) -> str:
    """How often the weights' method is wrong, with its protocol."""
    score = card.score
    if not score:
        return "How often it is wrong has not been measured: read the classes as guesses."
    wrong, lazy = 100 * (1 - score["accuracy"]), 100 * (1 - score["majority_accuracy"])
    return (
        f"Under {score['protocol']} on {score['n_clips']} clips of {score['n_subjects']} people it named {wrong:.0f} "
        f"of 100 wrongly (always saying the commonest class: {lazy:.0f} of 100), UF1 {score['uf1']:.2f}. That was "
        f"on clips cut by people who knew where to look; on intervals that a program found it errs more often."
    )
