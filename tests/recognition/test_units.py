"""Action units: read from the motion between two frames, whatever the frame rate and the size of the motion."""

from __future__ import annotations

import json
from pathlib import Path

import acted
import cv2
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from mien.classifiers.checkpoint import SHIPPED, SHIPPED_UNITS
from mien.errors import MienError
from mien.face.landmarks import track_face
from mien.io.video import write_video
from mien.recognition import recognise
from mien.recognition.naming import open_namer
from mien.recognition.records import UnitAnswer
from mien.recognition.skin import face_pair, relative_to_head, similarity, skin_motion
from mien.recognition.units import LEAST_AUC, UnitReader, measured_auc, open_units, side_of


@pytest.fixture(scope="module")
def reader() -> UnitReader:
    return open_units(all_units=True)


def pair(units: str, intensity: float, scale: float = 1.0, fps: float = 5.0, drift: float = 0.002) -> list[np.ndarray]:
    frames = list(acted.acted([(units, 0, 1, 2, intensity)], 2, fps, drift=drift))
    if scale == 1:
        return frames
    return [cv2.resize(f, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for f in frames]


def answers(reader: UnitReader, frames: list[np.ndarray]) -> dict[int, UnitAnswer]:
    face = face_pair((frames[0], frames[1]), track_face(frames), (0, 1))
    return {answer.unit: answer for answer in reader.answer(face)}


@pytest.mark.parametrize("intensity", [0.12, 0.7])
def test_known_units_are_read_from_small_and_large_motion(reader: UnitReader, intensity: float) -> None:
    for units in ("12", "4", "1+2"):
        read = answers(reader, pair(units, intensity))
        true = {int(number) for number in units.split("+")}
        assert true <= {unit for unit, answer in read.items() if answer.present}
        others = [answer.probability for unit, answer in read.items() if unit not in true]
        assert min(read[unit].probability for unit in true) > np.median(others) + 0.3


@pytest.mark.parametrize("side", ["L", "R"])
def test_side_is_the_persons_own(reader: UnitReader, side: str) -> None:
    read = answers(reader, pair(f"{side}12", 0.25))[12]
    assert read.side == {"L": "left", "R": "right"}[side]
    assert read.code == f"{side}12"
    assert answers(reader, pair("12", 0.25))[12].side == "both"


def test_strength_follows_the_motion_and_not_the_resolution(reader: UnitReader) -> None:
    weak, strong, large = (
        answers(reader, frames)[12].strength
        for frames in (pair("12", 0.1), pair("12", 0.3), pair("12", 0.1, scale=3.0))
    )
    assert 2.3 < strong / weak < 3.7
    assert large == pytest.approx(weak, rel=0.25)


def test_motion_of_15_pixels_and_more_is_followed(reader: UnitReader) -> None:
    """The strength of a smile that moves the skin by 40 pixels, in a face with 400 pixels between the eyes."""
    small, huge = (answers(reader, pair("12", 0.6, scale=scale))[12] for scale in (1.0, 5.0))
    assert huge.strength / 100 * 400 > 30
    assert huge.strength == pytest.approx(small.strength, rel=0.25)
    assert huge.present


def test_motion_of_the_head_is_subtracted() -> None:
    frames = pair("12", 0.2)
    turned = cv2.warpAffine(
        frames[1],
        np.array([[1.0, -0.03, 9.0], [0.03, 1.0, -5.0]]),
        frames[1].shape[::-1],
        borderMode=cv2.BORDER_REPLICATE,
    )
    still, moving = (
        skin_motion(face, face.pair, "tvl1")
        for second in (frames[1], turned)
        for face in [face_pair((frames[0], second), track_face([frames[0], second]), (0, 1))]
    )
    assert np.percentile(np.hypot(*moving.flow.transpose(2, 0, 1)), 50) / moving.iod < 0.004
    largest = [float(np.percentile(np.hypot(*m.flow.transpose(2, 0, 1)), 99)) / m.iod for m in (still, moving)]
    assert largest[1] == pytest.approx(largest[0], rel=0.35)


def test_a_similarity_is_found_exactly() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(100, 30, (68, 2))
    matrix = np.array([[1.1, -0.2, 5.0], [0.2, 1.1, -3.0]])
    assert similarity(points, points @ matrix[:, :2].T + matrix[:, 2]) == pytest.approx(matrix)
    grid = np.stack(np.meshgrid(np.arange(200.0), np.arange(200.0)), -1)
    flow = (grid @ matrix[:, :2].T + matrix[:, 2] - grid).astype(np.float32)
    assert np.abs(relative_to_head(flow, points)).max() < 1e-2


def test_units_little_better_than_chance_are_off(tmp_path: Path) -> None:
    """A unit is off below an AUC of .7, on at .7, and on where nobody measured it."""
    with safe_open(SHIPPED_UNITS, framework="np") as file:
        card = json.loads(file.metadata()["card"])
    for unit, auc in (("AU6", 0.699), ("AU9", 0.7), ("AU17", None)):
        card["score"]["per_au"][unit]["auc"] = auc
    weights = tmp_path / "units.safetensors"
    save_file(load_file(SHIPPED_UNITS), weights, {"card": json.dumps(card)})
    shown, everything = open_units(weights), open_units(weights, all_units=True)
    assert shown.off == (6,)
    assert shown.shown == (1, 2, 4, 5, 7, 9, 10, 12, 14, 15, 17)
    assert everything.off == ()
    assert set(everything.shown) == {6, *shown.shown}


def test_units_of_the_package_that_are_off_are_those_below_the_least_auc() -> None:
    shown = open_units()
    assert set(shown.off) == {u for u in shown.units if (measured_auc(shown.card, u) or 1) < LEAST_AUC}


def test_sides_need_twice_the_motion() -> None:
    assert [side_of(*each) for each in ((2, 1), (1, 2.1), (1.9, 1), (0, 0))] == ["left", "right", "both", "both"]


def test_a_webcam_gets_units_of_longer_expressions(reader: UnitReader, tmp_path: Path) -> None:
    """At 25 frames per second there are no micro-expressions, and an answer all the same."""
    parts = [("L12", 20, 34, 52, 0.6), ("1+2", 80, 92, 112, 0.5)]
    answer = recognise(
        write_video(tmp_path / "webcam.mp4", acted.acted(parts, 140, 25, drift=0.004), 25), unit_weights=reader
    )
    assert [reason.about for reason in answer.reasons] == ["frame_rate"]
    assert answer.units == reader.shown
    assert answer.unit_card == reader.card
    smile, brows = answer.events
    assert (smile.kind, brows.kind) == ("macro", "macro")
    assert {unit.code for unit in smile.moved} >= {"L12"}
    assert {unit.unit for unit in brows.moved} >= {1, 2}
    assert smile.probabilities == {}
    assert [reason.about for reason in smile.abstained] == ["macro"]


def test_weights_of_the_other_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MienError, match=r"predict classes .*--weights"):
        open_units(SHIPPED)
    with pytest.raises(MienError, match=r"predict action units .*--unit-weights"):
        open_namer(SHIPPED_UNITS)
    with pytest.raises(MienError, match="There is no file"):
        open_units(tmp_path / "none.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(SHIPPED_UNITS.read_bytes()[:5000])
    with pytest.raises(MienError, match=r"damaged or a file of another kind"):
        open_units(broken)
