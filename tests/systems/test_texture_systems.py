"""Texture systems from frames to leave-one-subject-out on a written corpus: above chance; at chance when shuffled."""

from pathlib import Path

import numpy as np
import pytest

from mien.classifiers.colour_texture import ColourTexture
from mien.datasets import open_dataset
from mien.errors import MienError
from mien.evaluation.report import report
from mien.evaluation.run import benchmark
from mien.preprocessing.inputs import ArrayInputs
from mien.synthesis.moving_face import render_clip
from mien.synthesis.writer import write_corpus
from mien.systems import SYSTEMS

SIZE = [96, 96]
QUICK: dict[str, object] = {"preset": "small", "face": "none", "size": SIZE}
COSTS = [1.0, 100.0]
SYSTEM_SETTINGS: dict[str, dict[str, object]] = {
    "lbp-top": {"C": COSTS},
    "lbp-sip": {"C": COSTS},
    "lbp-tics": {"frames": 9, "size": [64, 64], "C": COSTS},
    "stlbp-ip": {"C": COSTS},
    "hierarchical-stlbp-ip": {"ridge": [1.0], "sparsity": [0.1]},
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus("smic_hs", folder, subjects=6, clips_per_subject=9, seed=0, size=96, frames=12)
    return folder


@pytest.mark.parametrize("name", SYSTEM_SETTINGS)
def test_scores_above_chance_and_shuffled_labels_at_chance(name: str, corpus: Path, tmp_path: Path) -> None:
    uf1 = {}
    for shuffled in (False, True):
        ledger = benchmark(
            [open_dataset("smic_hs", corpus)],
            name,
            tmp_path / str(shuffled),
            parameters={**QUICK, **SYSTEM_SETTINGS[name]},
            shuffle_labels=shuffled,
            jobs=1,
        )
        uf1[shuffled] = report(ledger)["uf1"]
    # Three classes of 18 clips: chance is 1/3, and guesses exceed 1/2 once in a hundred times.
    assert uf1[False] > 0.5
    assert uf1[True] < 0.5


@pytest.mark.parametrize(("classifier", "settings"), [("mkl", {"C": [100.0]}), ("forest", {"trees": 60})])
def test_other_classifiers_work_from_the_command_line_s_parameters(
    classifier: str, settings: dict[str, object], corpus: Path, tmp_path: Path
) -> None:
    given = {**QUICK, "classifier": classifier, **settings}
    data = [open_dataset("smic_hs", corpus)]
    ledger = benchmark(data, "stlbp-ip", tmp_path / "run", parameters=given, jobs=1)
    assert report(ledger)["uf1"] > 0.5


@pytest.mark.parametrize("name", SYSTEM_SETTINGS)
def test_recipes_declare_what_they_make(name: str, corpus: Path) -> None:
    clip = open_dataset("smic_hs", corpus).clips()[0]
    for preset in ("paper", "small"):
        parameters = SYSTEMS[name].with_parameters({"preset": preset, "face": "none"})
        recipe = SYSTEMS[name].recipe("frames", parameters)
        made = recipe.apply(clip).array
        assert made.shape == recipe.shape
        assert made.min() >= recipe.range[0]
        assert made.max() <= recipe.range[1]
        assert made.dtype == recipe.dtype


def test_the_colour_space_sees_training_clips_alone() -> None:
    """Test clips of another colour change nothing about the transform; predictions are made one clip at a time."""
    clips = np.stack(
        [
            render_clip(i % 4, ("positive", "surprise")[i % 2], interval_length=9, apex=4, size=24, seed=i, colour=True)
            for i in range(8)
        ]
    )
    y, groups = np.arange(8) % 2, [("d", str(i % 4)) for i in range(8)]
    build = SYSTEMS["lbp-tics"].build
    parameters = SYSTEMS["lbp-tics"].with_parameters({"blocks": "[1, 1, 1]", "C": "[10.0]"})
    first, second = build(2, parameters), build(2, parameters)
    assert isinstance(first, ColourTexture)
    assert isinstance(second, ColourTexture)
    first.fit(ArrayInputs(clips[:6]), y[:6], groups[:6], seed=1)
    second.fit(clips[:6].astype(np.float32), y[:6], groups[:6], seed=1)
    first.predict_proba(ArrayInputs(255 - clips[6:, ..., ::-1]))
    assert np.array_equal(first.transform_, second.transform_)
    assert np.array_equal(first.predict_proba(clips.astype(np.float32)), second.predict_proba(ArrayInputs(clips)))


def test_grey_databases_are_refused_where_colour_is_due() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (6, 9, 24, 24, 1)).repeat(3, -1).astype(np.uint8)
    parameters = SYSTEMS["lbp-tics"].with_parameters({"blocks": "[1, 1, 1]"})
    with pytest.raises(MienError, match=r"no colour.*lbp-top"):
        SYSTEMS["lbp-tics"].build(2, parameters).fit(ArrayInputs(grey), np.arange(6) % 2, [("d", "s")] * 6)


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("lbp-top", {"kernel": "rbf"}, "kernel is 'rbf'"),
        ("stlbp-ip", {"classifier": "net"}, "classifier is 'net'"),
        ("lbp-tics", {"frames": 0}, "frames is 0"),
        ("lbp-top", {"face": "yes"}, "face is 'yes'"),
    ],
)
def test_wrong_words_are_told(name: str, given: dict[str, object], says: str) -> None:
    with pytest.raises(MienError, match=says):
        SYSTEMS[name].recipe("frames", SYSTEMS[name].with_parameters(given))
