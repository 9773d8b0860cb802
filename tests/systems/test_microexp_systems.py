"""MicroExp's systems from frames to scores, on drawn faces in three layouts."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from mien.classifiers.net import NetClassifier
from mien.datasets import open_dataset
from mien.errors import MienError
from mien.evaluation.report import report
from mien.evaluation.run import benchmark
from mien.evaluation.train import train
from mien.synthesis.writer import write_corpus
from mien.systems import SYSTEMS
from mien.systems.trained import load_checkpoint

NAMES = ("microexp-stcnn", "microexp-fusenet-intermediate", "microexp-fusenet-late")
LAYOUTS = ("casme_sq", "smic_hs", "casme2")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A small corpus in some layout, written when it is first asked for."""

    @cache
    def written(layout: str) -> Path:
        root = tmp_path_factory.mktemp(layout)
        write_corpus(layout, root, subjects=4, clips_per_subject=6, seed=5)
        return root

    return written


def loso(system: str, layout: str, root: Path, out: Path, shuffled: bool = False, epochs: int = 40) -> dict[str, float]:
    data = [open_dataset(layout, root)]
    parameters = {"preset": "small", "epochs": epochs}
    ledger = benchmark(data, system, out, labels="megc2019", parameters=parameters, shuffle_labels=shuffled, jobs=1)
    assert ledger.complete
    assert ledger.settings["n_folds"] == 4
    return report(ledger)


def unlikely(result: dict[str, float]) -> float:
    """Share of right answers that a constant one reaches less than once in a thousand times."""
    p, n = float(result["majority_accuracy"]), result["n_clips"]
    return p + 3.1 * math.sqrt(p * (1 - p) / n)


def test_new_subjects_are_recognised_above_chance(corpus: Callable[[str], Path], tmp_path: Path) -> None:
    result = loso("microexp-stcnn", "smic_hs", corpus("smic_hs"), tmp_path / "run", epochs=25)
    assert result["accuracy"] > unlikely(result)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("system", NAMES)
def test_every_system_on_every_layout(system: str, layout: str, corpus: Callable[[str], Path], tmp_path: Path) -> None:
    real = loso(system, layout, corpus(layout), tmp_path / "real")
    assert real["accuracy"] > unlikely(real)
    control = loso(system, layout, corpus(layout), tmp_path / "control", shuffled=True)
    assert control["accuracy"] < unlikely(control)


def test_a_kept_network_answers_as_before(tmp_path: Path) -> None:
    write_corpus("smic_hs", tmp_path / "few", subjects=2, clips_per_subject=3, seed=5)
    data = [open_dataset("smic_hs", tmp_path / "few")]
    sets = {"preset": "small", "epochs": 1, "maps": 2}
    card = train(data, "microexp-fusenet-late", tmp_path / "m.safetensors", parameters=sets, jobs=1)
    assert card.shape == (2, 16, 20, 20)
    kept, _ = load_checkpoint(tmp_path / "m.safetensors", "microexp-fusenet-late")
    assert isinstance(kept, NetClassifier)
    model = kept.models[0]
    # The levels of the training clips travel with the weights.
    assert float(model.get_buffer("factor").min()) > 0
    assert not np.allclose(model.get_buffer("factor").numpy(), 1)
    assert kept.predict_proba(np.zeros((1, *card.shape), np.float32)).shape == (1, len(card.classes))
    with pytest.raises(MienError, match="classes"):
        load_checkpoint(tmp_path / "m.safetensors", classes=("positive", "negative"))


def test_short_clips_are_refused_unless_asked_for(corpus: Callable[[str], Path]) -> None:
    clip = open_dataset("smic_hs", corpus("smic_hs")).clips()[0]
    system = SYSTEMS["microexp-stcnn"]
    given = {"kernel": [3, 3, 17], "frames": 20}
    with pytest.raises(MienError, match="17, the length of the temporal kernel"):
        system.recipe("frames", given).apply(clip)
    made = system.recipe("frames", {**given, "stretch": True}).apply(clip)
    assert made.array.shape == (20, 64, 64)
    assert any("16 frames were interpolated to 20" in note for note in made.notes)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kernel": [3, 3, 40]}, "leaves nothing"),
        ({"kernel": [3, 3]}, "3 whole numbers"),
        ({"kernel": 3}, "3 whole numbers"),
        ({"size": 64}, "2 whole numbers"),
        ({"frames": 0}, "from 1"),
        ({"time": "backwards"}, "time is"),
        ({"centre": "nose"}, "centre is"),
    ],
)
def test_parameters_that_cannot_be(given: dict[str, object], told: str) -> None:
    for name in NAMES:
        with pytest.raises(MienError, match=told):
            SYSTEMS[name].recipe("frames", given)
