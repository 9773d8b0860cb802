"""Pages of methods have the same headings, and the glossary is where pages and reports look for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs_site import registry_facts, terms

from mien.evaluation.glossary import definitions, place
from mien.systems import SYSTEMS

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [page for page in sorted((DOCS / "methods").glob("*.md")) if page.read_text().startswith("---\nsystem:")]


def headings(text: str) -> list[str]:
    return re.findall(r"^## (.+)$", text, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_the_headings_of_all_in_their_order(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    name = re.findall(r"^system: (\S+)$", text, re.MULTILINE)[0]
    found = headings(text + "\n" + registry_facts.system_facts(name))
    kept = [h for h in found if h in ("Input", "Network", "Descriptor", "Method", "Training", "Scores")]
    assert kept in [["Input", kind, "Training", "Scores"] for kind in ("Network", "Descriptor", "Method")]
    assert found.index("Scores") < found.index("Differences from the paper")
    for heading, section in zip(found, re.split(r"^## .+$", text, flags=re.MULTILINE)[1:], strict=False):
        assert section.strip(), heading


def test_every_system_has_a_page_or_shares_one() -> None:
    pages = " ".join(page.read_text(encoding="utf-8") for page in (DOCS / "methods").glob("*.md"))
    assert [name for name in SYSTEMS if f"`{name}`" not in pages and f"system: {name}\n" not in pages] == []


def test_the_first_mention_of_a_word_is_a_link_and_code_headings_and_links_stay() -> None:
    text = (
        "---\nsystem: onset\n---\n# Onset\n\nThe `onset`, the [onset](x.md), *onset*, `--set\nonset=1`,\n"
        "the onset and the onset.\n\n"
        "| UF1 |\n|---|\n| UF1 and uf1 |\n\n```text\napex\n```\n\n<!-- apex --> **Micro-expressions**, LOSO-like.\n"
    )
    out = terms.linked(text, "guide/a.md")
    found = re.findall(r"\[([^\]]+)\]\(glossary.md#([\w-]+)\){ .term }", out)
    assert found == [("onset", "onset"), ("UF1", "uf1"), ("Micro-expressions", "micro-expression")]
    assert re.sub(r"\[([^\]]+)\]\(glossary.md#[\w-]+\){ .term }", r"\1", out) == text
    assert terms.linked(text, "notebook/a.md") == text


def test_words_that_are_looked_for_are_in_the_glossary() -> None:
    assert set(terms.SHOWN_AS) | terms.LEFT_OUT <= set(definitions())
    assert list(definitions()) == sorted(definitions(), key=str.casefold)
    assert len({place(name) for name in definitions()}) == len(definitions()) > 40
