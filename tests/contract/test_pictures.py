"""Every public function on pictures gives the same answer for all types of pictures, or raises a three-part error.

One picture is passed as 8 bits, as 16 bits and as floating point in 0..255 and 0..1. A function either works on the
scale 0..255 whatever the type ("same"), answers in the unit of its input ("own unit": 257 or 1/255 times the answer for
8 bits), or refuses a type with a `MienError`. It never answers differently without a word.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from mien.descriptors import colour_space, gradients, integral_projection, lbp
from mien.errors import MienError
from mien.face import align, crop, detect, landmarks, mesh
from mien.face.portrait import portrait
from mien.motion import apex, classic_nl, clip_flow, dssi, flow, heat_map, interpolate, levels, magnify, rank_pooling
from mien.preprocessing import steps


def moving(colour: bool = False, n: int = 7) -> np.ndarray:
    """A textured picture (T, 40, 36) or (T, 40, 36, 3) of which a part moves by a pixel per frame."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:40, 0:36]
    frames = []
    for t in range(n):
        part = np.exp(-((x - 18) ** 2 + (y - 20) ** 2) / 60) * t * 0.4
        frames.append(128 + 50 * np.sin((x - part) / 3) + 40 * np.cos((y + 0.5 * part) / 4))
    clip = np.clip(np.round(np.stack(frames)), 0, 255)
    clip[0, 0, 0] = 255
    grey = clip.astype(np.uint8)
    if not colour:
        return grey
    colours = grey[..., None] * np.array([1.0, 0.8, 0.6]) + rng.integers(0, 9, (n, 40, 36, 3))
    return np.asarray(np.clip(colours, 0, 255), np.uint8)


KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "uint16": lambda p: p.astype(np.uint16) * np.uint16(257),
    "float32 in 0..255": lambda p: p.astype(np.float32),
    "float64 in 0..255": lambda p: p.astype(np.float64),
    "float32 in 0..1": lambda p: p.astype(np.float32) / np.float32(255),
    "float64 in 0..1": lambda p: p / 255,
}
UNIT = {"uint16": 257.0, "float32 in 0..1": 1 / 255, "float64 in 0..1": 1 / 255}
"""What an answer in the unit of the input is divided by, to compare it with that for 8 bits."""

GREY, COLOUR = moving(), moving(colour=True)
FACE = portrait()
POINTS = np.random.default_rng(1).uniform(2, 34, (20, 2))
MAP = align.fit_lwm(POINTS, POINTS + 1)
GREY_HEAT = heat_map.difference_heat(GREY)
BOX = crop.Box(3.2, 4.1, 20.0, 24.0, 0.1)
SQUARE = mesh.Square(160.0, 110.0, 150.0)


def boxes(faces: list[list[detect.Face]]) -> np.ndarray:
    return np.stack([face.box for group in faces for face in group])


def answer_or_error(function: Callable[[np.ndarray], Any], picture: np.ndarray) -> np.ndarray | MienError:
    try:
        return np.asarray(function(picture), np.float64)
    except MienError as error:
        return error


SAME: dict[str, tuple[np.ndarray, Callable[[np.ndarray], Any]]] = {
    **{
        f"optical_flow, {m}": (GREY, lambda p, m=m: flow.optical_flow(p[0], p[-1], m))  # type: ignore[misc]
        for m in ("tvl1", "dis", "dis_fine", "farneback", "deepflow", "classic_nl", "classic_nl_published")
    },
    "optical_flows": (GREY, lambda p: flow.optical_flows(p[:-1], p[1:], "dis")),
    "flows_of_clip": (GREY, clip_flow.flows_of_clip),
    "classic_nl, colour": (COLOUR, lambda p: classic_nl.classic_nl(p[0], p[-1])),
    "as_levels": (GREY, lambda p: levels.as_levels(p)[0]),
    "as_bytes": (GREY, lambda p: levels.as_bytes(p)[0]),
    "find_apex": (GREY, lambda p: apex.find_apex(p)),
    "find_apex, colour": (COLOUR, lambda p: apex.find_apex(p)),
    # Of pixels with equal heat, rounding may select another one: compare the heat that was selected.
    "top_mask": (GREY, lambda p: np.sort(GREY_HEAT[heat_map.top_mask(heat_map.difference_heat(p))])),
    "mean_heat per clip": (GREY, lambda p: heat_map.mean_heat([heat_map.difference_heat(p)], per_clip_max=True)),
    "detect_faces": (FACE, lambda p: boxes(detect.detect_faces([p]))),
    "find_mesh": (FACE, lambda p: mesh.find_mesh([p], [SQUARE])[0]),
    "track_face": (FACE, lambda p: landmarks.track_face([p]).points),
    "lbp_top": (GREY, lambda p: lbp.lbp_top(p, blocks=(2, 2, 1))),
    "lbp_sip": (GREY, lambda p: lbp.lbp_sip(p, blocks=(2, 2, 1))),
    "stlbp_ip": (GREY, lambda p: integral_projection.stlbp_ip(p, blocks=(2, 2))),
    "hierarchical_stlbp_ip": (
        GREY,
        lambda p: integral_projection.hierarchical_stlbp_ip(p, grids=((1, 1), (2, 2))),
    ),
    "higo_top": (GREY, lambda p: gradients.higo_top(p, blocks=(2, 2, 1))),
    "hog_top": (GREY, lambda p: gradients.hog_top(p, blocks=(2, 2, 1))),
    "hog_top, not normalised": (GREY, lambda p: gradients.hog_top(p, blocks=(2, 2, 1), normalise=False)),
    "lbp_tics": (COLOUR, lambda p: colour_space.lbp_tics(p, np.eye(3), blocks=(2, 2, 1))),
    "to_colour_space": (COLOUR, lambda p: colour_space.to_colour_space(p, np.eye(3))),
    "learn_colour_space": (COLOUR, colour_space.learn_colour_space),
    "as_grey": (COLOUR, lambda p: steps.as_grey(p[0])),
    "as_colour": (GREY, lambda p: steps.as_colour(p[0])),
}
OWN_UNIT: dict[str, tuple[np.ndarray, Callable[[np.ndarray], Any]]] = {
    "to_grey": (COLOUR, lambda p: levels.to_grey(p[0])),
    "apex_curve": (GREY, apex.apex_curve),
    "difference_heat": (COLOUR, heat_map.difference_heat),
    "dynamic_image": (GREY, rank_pooling.dynamic_image),
    "dssi": (GREY, lambda p: dssi.dssi(p, dssi.dssi_weights(7, "local", 2, 3))),
    "weigh_changes": (GREY, lambda p: interpolate.weigh_changes(np.ones((1, 7)), p)),
    "tim": (GREY, lambda p: interpolate.tim(p, 10)),
    "resample": (GREY, lambda p: interpolate.resample(p, 10)),
    "remove_frames": (GREY, lambda p: interpolate.remove_frames(p, 0.3, np.random.default_rng(0))),
    "temporal_jitter": (GREY, lambda p: interpolate.temporal_jitter(p, np.random.default_rng(0), 10)),
    "magnify": (COLOUR, magnify.magnify),
    "Magnifier": (GREY, lambda p: magnify.Magnifier(40, 36, False).push(p[0])),
    "align": (COLOUR, lambda p: align.align(p, MAP, (20, 18))),
    "crop": (GREY, lambda p: crop.crop(p, BOX, (14, 12))),
    "crop_frame": (COLOUR, lambda p: crop.crop_frame(p[0], BOX, (14, 12))),
}
ROUNDED = {"magnify", "Magnifier", "align", "crop", "crop_frame"}
"""Functions that answer in the type of the pictures, so that 8 bits are rounded (by OpenCV, in fixed point)."""


@cache
def answer_for_bytes(name: str) -> np.ndarray:
    picture, function = (SAME | OWN_UNIT)[name]
    return np.asarray(function(picture), np.float64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SAME)
def test_the_same_answer_for_every_type_or_an_error(name: str, kind: str) -> None:
    picture, function = SAME[name]
    expected = answer_for_bytes(name)
    answer = answer_or_error(function, KINDS[kind](picture))
    if isinstance(answer, MienError):
        assert all((answer.found, answer.expected, answer.fix))
        return
    assert answer == pytest.approx(expected, rel=1e-4, abs=2e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OWN_UNIT)
def test_the_answer_in_the_unit_of_the_pictures_or_an_error(name: str, kind: str) -> None:
    picture, function = OWN_UNIT[name]
    expected = answer_for_bytes(name)
    answer = answer_or_error(function, KINDS[kind](picture))
    if isinstance(answer, MienError):
        assert all((answer.found, answer.expected, answer.fix))
        return
    assert answer / UNIT.get(kind, 1.0) == pytest.approx(expected, rel=1e-4, abs=1.0 if name in ROUNDED else 2e-3)


def test_flow_of_pictures_in_0_to_1_is_not_refused() -> None:
    y, x = np.mgrid[0:64, 0:64]
    first, second = (128 + 60 * np.sin((x - dx) / 4) + 60 * np.cos(y / 5) for dx in (0, 1))
    for method in ("tvl1", "dis", "farneback"):
        found = flow.optical_flow(first / 255, second / 255, method)
        assert np.median(found[..., 0]) == pytest.approx(1, abs=0.15)


def test_every_public_function_on_pictures_is_here() -> None:
    tested = {name.split(",")[0].split(" per")[0] for name in (*SAME, *OWN_UNIT)}
    # Functions whose arrays are no pictures (flow, weights, points), those that yield frame by frame what `align` and
    # `crop` return, and the steps of these two.
    others = {"align_clip", "crop_clip", "check_type", "reduce", "sampled", "square_of_face", "square_of_points"}
    for module in (apex, clip_flow, dssi, flow, heat_map, interpolate, levels, magnify, rank_pooling, align, crop,
                   detect, mesh, landmarks, lbp, gradients, integral_projection, colour_space):  # fmt: skip
        for name, function in vars(module).items():
            if name.startswith("_") or not inspect.isfunction(function) or function.__module__ != module.__name__:
                continue
            takes = {"frames", "frame", "clip", "clips", "picture", "pictures", "first", "firsts", "pixels"}
            parameters = inspect.signature(function).parameters
            annotated = [str(parameters[p].annotation) for p in takes & set(parameters)]
            if any("Array" in a or "Picture" in a or "Iterable" in a for a in annotated) and name not in others:
                assert name in tested, f"{module.__name__}.{name}"
