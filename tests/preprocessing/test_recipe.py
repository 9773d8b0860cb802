from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mien.errors import MienError
from mien.motion.flow import REVISIONS
from mien.preprocessing import FLOW_PICTURE, Context, flow_from_frames
from mien.preprocessing.steps import centre_and_scale, scale_each_channel, shrink
from mien.types import Clip, Interval


def write_clip(folder: Path, shifts: list[float], interval: Interval | None, first_no: int = 10) -> Clip:
    noise = np.random.default_rng(0).normal(size=(80, 80)).astype(np.float32)
    face = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
    weight = cv2.GaussianBlur(np.pad(np.ones((20, 20), np.float32), 30), (0, 0), 8)
    ys, xs = np.mgrid[0:80, 0:80].astype(np.float32)
    paths = []
    for n, shift in enumerate(shifts):
        moved = cv2.remap(face, xs - shift * weight, ys, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        paths.append(folder / f"img{first_no + n}.png")
        Image.fromarray(np.clip(moved, 0, 255).astype(np.uint8)).save(paths[-1])
    numbers = tuple(range(first_no, first_no + len(shifts)))
    return Clip("casme2", "sub01", "EP01", interval, "happiness", frames=tuple(paths), frame_nos=numbers)


def test_flow_from_frames_of_a_known_motion(tmp_path: Path) -> None:
    clip = write_clip(tmp_path, [0, 1, 2, 1, 0], Interval(10, 12, 14))
    picture, interval = flow_from_frames("dis").run(clip)
    assert interval == "annotated"
    assert picture.shape == (3, 28, 28)
    assert picture.dtype == np.float32
    assert picture.min() == 0
    assert picture.max() == 255
    # The middle moves to the right: u is largest there.
    y, x = np.unravel_index(picture[0].argmax(), (28, 28))
    assert abs(int(y) - 14) < 5
    assert abs(int(x) - 14) < 5


@pytest.mark.parametrize("interval", [Interval(10, None, 14), None])
def test_a_missing_apex_is_detected_and_recorded(tmp_path: Path, interval: Interval | None) -> None:
    given, _ = flow_from_frames("dis").run(write_clip(tmp_path, [0, 1, 2, 1, 0], Interval(10, 12, 14)))
    found = flow_from_frames("dis").apply(write_clip(tmp_path, [0, 1, 2, 1, 0], interval))
    assert found.interval_source == "detected"
    assert found.interval == Interval(10, 12, 14)
    assert np.array_equal(given, found.array)


def test_frames_are_selected_by_number(tmp_path: Path) -> None:
    whole = write_clip(tmp_path, [0, 0, 0, 1, 2, 1], Interval(12, 14, 15))
    late = Clip(
        "casme2", "sub01", "EP01", Interval(12, 14, 15), "", frames=whole.frames[2:], frame_nos=(12, 13, 14, 15)
    )
    assert np.array_equal(flow_from_frames("dis").run(whole)[0], flow_from_frames("dis").run(late)[0])


def test_flow_from_frames_of_a_still_clip_is_constant(tmp_path: Path) -> None:
    picture, _ = flow_from_frames("tvl1").run(write_clip(tmp_path, [0, 0, 0], Interval(10, 11, 12)))
    assert (picture == 127.5).all()


def test_fingerprint_depends_on_every_parameter() -> None:
    prints = {flow_from_frames(*a).fingerprint for a in (("dis",), ("tvl1",), ("dis", 200), ("dis", 320, 56))}
    assert len(prints) == 4
    assert flow_from_frames("dis").fingerprint == flow_from_frames("dis").fingerprint


def test_a_revised_method_of_flow_changes_its_own_fingerprint_only(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {flow: flow_from_frames(flow).fingerprint for flow in ("classic_nl", "classic_nl_published", "tvl1")}
    monkeypatch.setitem(REVISIONS, "classic_nl", REVISIONS["classic_nl"] + 1)
    after = {flow: flow_from_frames(flow).fingerprint for flow in before}
    assert after.pop("classic_nl") != before.pop("classic_nl")
    assert after == before


def test_too_few_or_unreadable_frames_raise_mien_error(tmp_path: Path) -> None:
    clip = write_clip(tmp_path, [0], Interval(10, 10, 10))
    with pytest.raises(MienError, match="has 1 frame"):
        flow_from_frames("dis").run(clip)
    clip = write_clip(tmp_path, [0, 1, 2], Interval(10, 12, 12))
    clip.frames[2].write_bytes(b"no picture")
    with pytest.raises(MienError, match=r"img12\.png"):
        flow_from_frames("dis").run(clip)


def test_a_picture_of_another_size_raises_mien_error(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((30, 28, 3), np.uint8)).save(path)
    with pytest.raises(MienError, match="30, 28"):
        FLOW_PICTURE.run(Clip("samm", "006", "a", None, "negative", medium="flow", frames=(path,)))


def test_centre_and_scale_undoes_stretching() -> None:
    context = Context(Clip("d", "s", "c", None, ""))
    random = np.random.default_rng(0)
    motion = np.zeros((3, 28, 28))
    motion[:, 8:14, 4:12] = random.normal(size=(3, 6, 8))
    centred = centre_and_scale(scale_each_channel(motion, context), context)
    # The part that does not move is at zero, motion keeps its direction, the size is 1.
    assert np.abs(centred[:2, 20:]).max() < 1e-6
    assert (np.sign(centred[:2, 8:14, 4:12]) == np.sign(motion[:2, 8:14, 4:12])).all()
    assert np.sqrt((centred**2).mean((1, 2))) == pytest.approx(1, abs=1e-5)
    assert (centre_and_scale(np.full((3, 4, 4), 127.5), context) == 0).all()


def test_scale_each_channel_and_shrink() -> None:
    context = Context(Clip("d", "s", "c", None, ""))
    scaled = scale_each_channel(np.array([[[1.0, 3.0]], [[2.0, 2.0]]]), context)
    assert scaled.tolist() == [[[0.0, 255.0]], [[127.5, 127.5]]]
    pair = np.zeros((2, 50, 100), np.uint8)
    assert shrink(pair, context, longest=40).shape == (2, 20, 40)
    assert shrink(pair, context, longest=400).shape == (2, 50, 100)
