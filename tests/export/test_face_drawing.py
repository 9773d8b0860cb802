"""The drawing of a face with the units that moved."""

from __future__ import annotations

import itertools
import re

from mien.datasets.facs import unit_name
from mien.export.face_drawing import HEIGHT, face_drawing, in_words
from mien.recognition.records import UnitAnswer, UnitSide

ALL = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17)


def moved(unit: int, side: UnitSide = "both", probability: float = 0.9, present: bool = True) -> UnitAnswer:
    return UnitAnswer(unit, unit_name(unit), probability, side, 1.0, present)


def test_a_side_is_drawn_on_that_side_of_the_picture() -> None:
    for side, on_right in (("left", True), ("right", False)):
        (region,) = face_drawing([moved(12, side)]).regions  # type: ignore[arg-type]
        assert all((spot.x > 150) == on_right for spot in region.spots)
    (both,) = face_drawing([moved(12)]).regions
    assert len({spot.x > 150 for spot in both.spots}) == 2


def test_brows_are_above_eyes_above_mouth() -> None:
    heights = [face_drawing([moved(unit)]).regions[0].spots[0].y for unit in (1, 5, 12, 17)]
    assert heights == sorted(heights)


def test_what_moved_is_stronger_than_what_did_not_and_drawn_last() -> None:
    drawing = face_drawing([moved(12, probability=0.6), moved(15, probability=0.59, present=False)])
    assert [region.unit.unit for region in drawing.regions] == [15, 12]
    assert drawing.regions[0].opacity < drawing.regions[1].opacity
    assert [label.text for label in drawing.labels] == ["AU12"]
    assert "AU15" not in drawing.title


def test_labels_do_not_overlap_and_stay_inside() -> None:
    drawing = face_drawing([moved(unit) for unit in ALL])
    heights = sorted(label.y for label in drawing.labels)
    assert len(heights) == len(ALL)
    assert all(later - earlier >= 12 for earlier, later in itertools.pairwise(heights))
    assert heights[0] > 8
    assert heights[-1] < HEIGHT


def test_lines_are_finite_and_closed_where_they_should_be() -> None:
    for name, path in face_drawing([]).lines:
        numbers = [float(each) for each in re.findall(r"-?\d+\.\d+", path)]
        assert all(-20 < number < 320 for number in numbers)
        assert path.endswith("Z") == (name in ("outline", "eye", "lips"))


def test_units_without_a_drawing_are_left_out() -> None:
    assert face_drawing([moved(99)]).regions == ()
    assert in_words(moved(99)) == "this unit has no description here"
