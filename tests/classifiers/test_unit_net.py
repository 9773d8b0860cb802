"""Networks that learn several action units of a clip, one sigmoid each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mien.classifiers.checkpoint import UNITS, ModelCard, save_checkpoint, versions
from mien.classifiers.losses import UNIT_LOSSES, balanced_unit_loss, unit_loss
from mien.classifiers.unit_net import UnitNetClassifier
from mien.errors import MienError
from mien.evaluation.unit_metrics import auc
from mien.systems import system
from mien.systems.trained import load_checkpoint

QUICK = {"epochs": 14, "maps": 8}


def pictures(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64], list[tuple[str, str]]]:
    """Return pictures in which an upper part moves aside, a lower one up, both or neither; the lower one is rare."""
    rng = np.random.default_rng(seed)
    y = np.stack([rng.random(n) < 0.5, rng.random(n) < 0.15], axis=1)
    x = rng.normal(size=(n, 3, 28, 28)).astype(np.float32)
    x[y[:, 0], 0, 4:14, 8:20] += 3
    x[y[:, 1], 1, 14:24, 8:20] -= 3
    return x, y.astype(np.int64), [("d", f"s{i % 6}") for i in range(n)]


def test_balanced_loss_of_each_unit_counts_clips_with_and_without_it_alike() -> None:
    torch.manual_seed(0)
    logits, y = torch.randn(12, 3), torch.tensor([[1, 0, 0]] * 3 + [[0, 1, 0]] * 9)
    each = nn.functional.binary_cross_entropy_with_logits(logits, y.float(), reduction="none")
    wanted = [
        (each[:3, 0].mean() + each[3:, 0].mean()) / 2,
        (each[:3, 1].mean() + each[3:, 1].mean()) / 2,
        each[:, 2].mean(),  # nobody shows it
    ]
    assert torch.allclose(balanced_unit_loss(logits, y), torch.stack(wanted).mean())
    assert torch.allclose(unit_loss(logits, y), each.mean())


@pytest.fixture(scope="module")
def trained() -> UnitNetClassifier:
    classifier = system("strcn-g").build(2, system("strcn-g").with_parameters(QUICK))
    assert isinstance(classifier, UnitNetClassifier)
    return classifier.fit(*pictures(80, seed=0), seed=0)


def test_units_that_move_together_are_learned_each_by_itself(trained: UnitNetClassifier) -> None:
    x, y, _ = pictures(60, seed=1)
    probabilities = trained.predict_proba(x)
    assert probabilities.shape == (60, 2)
    assert (np.abs(probabilities.sum(1) - 1) > 0.2).any()
    assert min(auc(y[:, u] > 0, probabilities[:, u].astype(float)) for u in range(2)) > 0.9
    assert (trained.decide_units(probabilities) == y).mean() > 0.85
    assert trained.schedule.loss == "balanced"


def test_weights_are_read_back(trained: UnitNetClassifier, tmp_path: Path) -> None:
    card = ModelCard(
        "strcn-g", system("strcn-g").with_parameters(QUICK).model_dump(mode="json"), ("AU4", "AU12"), "au12", (), {},
        (3, 28, 28), 0, versions=versions(), task=UNITS,
    )  # fmt: skip
    save_checkpoint(tmp_path / "units.safetensors", trained, card)
    loaded, _ = load_checkpoint(tmp_path / "units.safetensors")
    x = pictures(9, seed=2)[0]
    probabilities = loaded.predict_proba(x)
    np.testing.assert_array_equal(probabilities, trained.predict_proba(x))
    np.testing.assert_array_equal(loaded.decide_units(probabilities), trained.decide_units(probabilities))


def test_same_network_learns_classes_as_before() -> None:
    classifier = system("strcn-g").build(2, system("strcn-g").with_parameters(QUICK))
    x, y, groups = pictures(40, seed=0)
    probabilities = classifier.fit(x, y[:, 0], groups).predict_proba(x)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)


def test_loss_of_classes_alone_is_refused_before_training() -> None:
    classifier = system("strcn-g").build(2, system("strcn-g").with_parameters({**QUICK, "loss": "focal"}))
    with pytest.raises(MienError, match="focal") as error:
        classifier.require_units()
    assert all(name in error.value.expected for name in UNIT_LOSSES)
