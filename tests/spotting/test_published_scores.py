"""The published scores of spotters are stated in one place and quoted elsewhere."""

from __future__ import annotations

from pathlib import Path

from mien.cli.spot import caution
from mien.recognition.wording import SPOTTING
from mien.spotting.published import BEST_F1_ALL, MICRO_F1, PUBLISHED

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_published_scores_are_the_same_on_the_command_line_in_answers_and_in_the_docs() -> None:
    assert PUBLISHED in caution()
    assert PUBLISHED in SPOTTING
    page = " ".join((DOCS / "methods" / "spotting.md").read_text("utf-8").split())
    for low, high in (MICRO_F1, BEST_F1_ALL):
        assert f"{low:g} to {high:g}" in PUBLISHED
        assert f"{low:g} to {high:g}" in page
