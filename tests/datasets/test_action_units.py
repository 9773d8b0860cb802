"""One parser of action units for all databases: sides, modifiers, intensities, alternatives, uncertainty."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.datasets.action_units import ActionUnit, clean_action_units, numbers, parse, parse_action_units


def told(units: tuple[ActionUnit, ...]) -> str:
    """Units with their alternatives and marks, as one text."""
    parts = []
    for unit in units:
        others = "".join("{" + told(reading) + "}" for reading in unit.alternatives)
        parts.append(unit.code + others + "".join(f"[{mark}]" for mark in unit.marks))
    return " ".join(parts)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("12A", "12A"),
        ("4A/B", "4A/B"),
        ("A1B+A2C", "A1B A2C"),
        ("B18+25", "B18 25"),
        ("T18+39", "T18 39"),
        ("A/L12", "A12{L12}"),
        ("(A/R)14B", "A14B{R14B}"),
        ("(L/A)12(B/A)", "L12B/A{A12B/A}"),
        ("A(4B/C)+5B", "A4B/C 5B"),
        ("(R6 or R12) + R15", "R6{R12} R15"),
        ("R14A or 17A or 24A", "R14A{17A}{24A}"),
        ("R(12or14)B", "R12B{R14B}"),
        ("4B+12(B/C)+17B+(23/24) ", "4B 12B/C 17B 23{24}"),
        ("6B+12B+15C+26+((8+25)or(50))", "6B 12B 15C 26 8{50} 25"),
        ("(1B+2A)or(loses AU4)", "1B{4[lost]} 2A"),
        ("10or11", "10{11}"),
        ("14\\23", "14{23}"),
        ("4D+ref(6)+7C+43E", "4D 6[ref] 7C 43E"),
        ("6C/D+ref(7)12E+25", "6C/D 7[ref] 12E 25"),
        ("9A ref (L12 or L10)", "9A L12{L10}[ref]"),
        ("12B ?", "12B[?]"),
        ("31?", "31[?]"),
        ("AU4(k)+AU17", "4[k] 17"),
        ("26+ADR30", "26 ADR30"),
        ("1+2+5+AD38+M58", "1 2 5 AD38 M58"),
        ("L1+R4+R7", "L1 R4 R7"),
        ("4,24,6+12+15", "4 24 6 12 15"),
        ("1+2\uff0c5", "1 2 5"),
        ("\uff14+\uff17", "4 7"),
        ("r14 + l12", "R14 L12"),
        ("AU L4 + LAU7", "L4 L7"),
        ("subject do 2x  R2(C and then B)", "R2C/B"),
        ("twice - L1B+L2B+25", "L1B L2B 25"),
        ("7B+double 45", "7B 45"),
        ("80 (big swallow) ", "80"),
        ("R14+17+soft focus", "R14 17"),
        ("7A/B+L10A/B)+ref(11)+12C", "7A/B L10A/B 11[ref] 12C"),
        ("Chewing", ""),
        ("reaction?", ""),
        ("NULL", ""),
        ("0", ""),
        ("?", ""),
        ("", ""),
    ],
)
def test_cells_as_sheets_print_them(printed: str, expected: str) -> None:
    assert told(parse(printed)) == expected


def test_what_a_unit_keeps() -> None:
    left, asymmetric, doubted = parse("L12A/B + A14 + (17 or 19)")
    assert (left.number, left.side, left.modifier, left.intensity) == (12, "L", None, ("A", "B"))
    assert (asymmetric.side, asymmetric.modifier, asymmetric.uncertain) == (None, "A", False)
    assert (doubted.number, doubted.uncertain, doubted.alternatives[0][0].number) == (17, True, 19)
    assert all(unit.counts for unit in (left, asymmetric, doubted))
    assert not parse("4(k)")[0].counts
    assert not parse("loses 4")[0].counts


def test_the_first_alternative_counts_where_one_is_needed() -> None:
    assert parse_action_units("A/L12 + R14 or 15") == ((None, 12), ("R", 14))
    assert clean_action_units("(R6 or R12) + R15 + 7(B/C)") == "R6+R15+7B/C"
    assert numbers(parse("A1B+A2C+AD38+4(k)")) == {1, 2}


@given(st.text(alphabet="0123456789LRATBCDE+/()?, orkefAUDMx-\\", max_size=40))
def test_any_text_is_read_without_an_error(text: str) -> None:
    units = parse(text)
    assert all(1 <= unit.number <= 99 for unit in units)
    assert clean_action_units(text) == clean_action_units(clean_action_units(text)) or "AU" in text.upper()


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "L", "R", "A", "T", "B"]), st.integers(1, 99), st.sampled_from(["", *"ABCDE"])),
        max_size=6,
    )
)
def test_codes_are_read_back(units: list[tuple[str, int, str]]) -> None:
    printed = [f"{side}{number}{intensity}" for side, number, intensity in units]
    assert [unit.code for unit in parse("+".join(printed))] == printed
