"""SMA-STN-style and the image-based CNN from frames to scores, and the steps they read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.datasets import open_dataset
from mien.errors import MienError
from mien.evaluation.experiments.catalogue import experiments
from mien.evaluation.report import report
from mien.evaluation.run import benchmark
from mien.motion.dssi import dssi_weights
from mien.preprocessing.base import Context
from mien.preprocessing.sampled import segmented_images, spread_frames
from mien.synthesis.writer import write_corpus
from mien.systems import SYSTEMS
from mien.types import Clip

CLIP = Clip("d", "s", "c", None, "")
RANDOM = np.random.default_rng(0)


def images(frames: np.ndarray, context: Context, **changes: object) -> np.ndarray:
    given = {
        "size": [12, 10], "sampling": "local-global", "segments": 3, "n": 4, "whole": True, "draws": 3,
        "until": "offset", "colour": False, "fill": "none", **changes,
    }  # fmt: skip
    return np.asarray(segmented_images(frames, context, **given))  # type: ignore[arg-type]


def test_images_are_those_of_the_small_grey_frames() -> None:
    frames = RANDOM.integers(0, 256, (20, 24, 20, 3), np.uint8)
    made = images(frames, Context(CLIP))
    assert made.shape == (3, 4, 12, 10, 1)
    grey = np.round(frames @ np.array([0.299, 0.587, 0.114])).reshape(20, 12, 2, 10, 2).mean((2, 4))
    expected = np.tensordot(dssi_weights(20, "local-global", 3, 4), grey, 1)
    assert np.abs(made[0, ..., 0] - expected).max() < 0.6  # grey levels are rounded
    assert np.abs(made[1] - made[0]).max() > 1  # draws differ
    assert np.array_equal(made, images(frames, Context(CLIP)))
    colour = images(frames, Context(CLIP), colour=True)
    per_channel = frames.reshape(20, 12, 2, 10, 2, 3).mean((2, 4))
    assert np.abs(colour[0] - np.tensordot(dssi_weights(20, "local-global", 3, 4), per_channel, 1)).max() < 1e-2


def test_a_still_clip_gives_nothing_and_the_apex_can_be_the_end() -> None:
    still = np.repeat(RANDOM.integers(0, 256, (1, 24, 20, 3), np.uint8), 20, 0)
    assert (images(still, Context(CLIP)) == 0).all()
    still[12:] = 0
    assert (images(still, Context(CLIP, apex=10), until="apex") == 0).all()
    assert np.abs(images(still, Context(CLIP, apex=10))).max() > 1


def test_short_clips_are_refused_or_told() -> None:
    frames = RANDOM.integers(0, 256, (3, 24, 20, 3), np.uint8)
    with pytest.raises(MienError, match=r"3 frame\(s\) for 3 segments") as told:
        images(frames, Context(CLIP))
    assert "fill=linear" in told.value.fix
    context = Context(CLIP)
    assert images(frames, context, fill="linear").shape == (3, 4, 12, 10, 1)
    assert "interpolated to 4" in context.notes[0]
    context = Context(CLIP)
    images(RANDOM.integers(0, 256, (8, 24, 20, 3), np.uint8), context)
    assert "fewer than 4" in context.notes[0]


def test_frames_are_spread_and_repeats_are_told() -> None:
    frames = np.arange(30, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    context = Context(CLIP, rows=tuple(range(100, 130)))
    made = spread_frames(frames, context, n=3, size=[4, 4], colour=False)
    assert made[:, 0, 0, 0].tolist() == [4, 14, 24]
    assert context.rows == (104, 114, 124)
    assert context.notes == []
    made = spread_frames(frames[:2], context, n=4, size=[4, 4], colour=True)
    assert made[:, 0, 0, 0].tolist() == [0, 0, 1, 1]
    assert "more than once" in context.notes[0]


def test_the_reconstruction_is_called_one() -> None:
    system = SYSTEMS["sma-stn"]
    assert "RECONSTRUCTION" in system.summary
    assert "reconstruction" in system.title
    rows = experiments()["sma-stn-ablation"].rows
    assert {row.set["stma"] for row in rows} == {"none", "spatial", "temporal", "both"}
    assert {row.set["de_loss"] for row in rows} == {"none", "centres", "neutral", "draws"}
    for change, told in (({"segments": 0}, "segments is 0"), ({"sampling": "loco"}, "sampling is 'loco'")):
        with pytest.raises(MienError, match=told):
            system.recipe("frames", change)


def scores(layout: str, folder: Path, system: str, subjects: int, clips: int, **settings: object) -> dict[str, float]:
    root = folder / layout
    if not root.exists():
        write_corpus(layout, root, subjects=subjects, clips_per_subject=clips, seed=0)
    shuffle = bool(settings.pop("shuffle", False))
    ledger = benchmark(
        [open_dataset(layout, root)], system, folder / f"run-{layout}-{shuffle}", labels="strcn4",
        parameters={"preset": "small", **settings}, jobs=1, shuffle_labels=shuffle,
    )  # fmt: skip
    made = report(ledger)
    return {**made, "chance": 1 / len(made["per_class"])}


def test_from_frames_to_a_score_above_chance(tmp_path: Path) -> None:
    made = scores("smic_hs", tmp_path, "sma-stn", 4, 6, face="none", epochs=12)
    assert made["uar"] > made["chance"] + 0.15, made


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["casme_sq", "smic_hs", "casme2"])
@pytest.mark.parametrize("name", ["sma-stn", "image-cnn"])
def test_every_layout_beats_chance_and_shuffled_labels_do_not(layout: str, name: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 15, "lr": 0.02, "size": [64, 64]} if name == "image-cnn" else {}
    size = (12, 9) if name == "image-cnn" else (8, 6)
    made = scores(layout, tmp_path, name, *size, **settings)
    assert made["uar"] > made["chance"] + 0.1, made
    shuffled = scores(layout, tmp_path, name, *size, shuffle=True, **settings)
    assert shuffled["uar"] < made["chance"] + 0.15, shuffled
