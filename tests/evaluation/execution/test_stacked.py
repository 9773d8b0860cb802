"""Folds trained as one program give what folds trained alone give; and the choice between the ways."""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mien.classifiers.net import NetClassifier
from mien.classifiers.schedule import Schedule, steps_of
from mien.classifiers.training import fit
from mien.datasets import open_dataset
from mien.errors import MienError
from mien.evaluation.execution import costs, stacked
from mien.evaluation.execution.costs import Costs, measure
from mien.evaluation.execution.stack import fit_stack
from mien.evaluation.execution.stacked import fit_folds
from mien.evaluation.ledger import read_ledger
from mien.evaluation.run import benchmark
from mien.models.rcn import RCN, Variant
from mien.models.ststnet import STSTNet
from mien.preprocessing.inputs import ArrayInputs
from mien.synthesis.flow_images import write_flow_images
from mien.systems import SYSTEMS


def ststnet() -> nn.Module:
    return STSTNet(3, size=13)


def rcn(variant: Variant) -> nn.Module:
    return RCN(3, 3, (13, 13), maps=4, layers=2, variant=variant)


def clips(n: int = 34, side: int = 13) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(5)
    return torch.randn(n, 3, side, side, generator=random, dtype=torch.float64), torch.randint(
        0, 3, (n,), generator=random
    )


@pytest.mark.parametrize(
    ("make", "schedule"),
    [
        (ststnet, Schedule(4, 12, "adam", 1e-3, shuffle=False)),
        (ststnet, Schedule(3, 12, "sgd", 1e-2, "cosine", loss="focal")),
        (lambda: rcn("paper"), Schedule(3, 12, "sgd", 1e-2, 0.8, weight_decay=5e-3, loss="balanced")),
        (lambda: rcn("authors-code"), Schedule(2, 12, "adam", 1e-3, weight_decay=1e-3)),
    ],
    ids=["ststnet", "ststnet-shuffled", "rcn", "rcn-authors"],
)
def test_a_stack_trains_as_each_fold_alone(make: object, schedule: Schedule) -> None:
    """In double precision, so that rounding cannot hide a difference; the last batches have 8, 10, 10 and 2 clips."""
    x, y = clips()
    random = np.random.default_rng(0)
    rows = [random.permutation(len(x))[:n] for n in (32, 34, 34, 26)]
    y[rows[3][:26]] = y[rows[3][:26]].clamp(max=1)  # One fold lacks a class.
    alone, together, orders = [], [], []
    for fold in range(len(rows)):
        torch.manual_seed(fold)
        model = make().double()  # type: ignore[operator]
        together.append(copy.deepcopy(model))
        orders.append(torch.Generator().set_state(torch.get_rng_state()))
        alone.append((model, fit(model, x[rows[fold]], y[rows[fold]], schedule)))
    curves = fit_stack(together, x, y, rows, schedule, orders, orders)
    for (model, losses), other, curve in zip(alone, together, curves, strict=True):
        assert np.allclose(losses, curve, rtol=1e-9)
        given = other.state_dict()
        for name, value in model.state_dict().items():
            assert torch.allclose(value, given[name], rtol=1e-7, atol=1e-10), name
    first, second = (m.state_dict() for m, _ in alone[1:3])
    assert any(not torch.equal(first[k], second[k]) for k in first)


def test_a_step_more_or_less_is_another_stack() -> None:
    x, y = clips()
    models, chance = [ststnet(), ststnet()], [torch.Generator(), torch.Generator()]
    with pytest.raises(ValueError, match="steps"):
        fit_stack(models, x, y, [np.arange(12), np.arange(14)], Schedule(1, 12), chance, chance)
    assert [steps_of(n, 12) for n in (2, 12, 13, 14, 24, 25)] == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("copies", [1, 2])
def test_classifiers_fitted_together_predict_as_those_fitted_alone(copies: int) -> None:
    """A committee of both variants, with mirror images and copies, folds of one and of two steps, few at a time."""
    parameters = SYSTEMS["strcn-g"].with_parameters(
        {
            "variant": "both",
            "members": 2,
            "maps": 4,
            "epochs": 2,
            "batch_size": 20 * copies,
            "device": "cpu",
            **({} if copies == 1 else {"layers": 1, "depth": 2}),
        }  # a plain convolution among them
    )
    random = np.random.default_rng(0)
    shape = (16, 3, 28, 28) if copies == 1 else (16, copies, 3, 28, 28)
    x = ArrayInputs(random.normal(size=shape).astype(np.float32), copies)
    y = np.arange(16) % 3
    trains = [np.arange(2, 16), np.arange(0, 10), np.arange(1, 14), np.arange(3, 15), np.arange(0, 11)]
    build = SYSTEMS["strcn-g"].build
    together = [build(3, parameters) for _ in trains]
    stacks = fit_folds(
        together,  # type: ignore[arg-type]
        x, y, trains, [3, 4, 5, 6, 7], device="cpu", most=2,
    )  # fmt: skip
    seen = [part for part, _ in stacks]
    assert sorted(f for part in seen for f in part) == [0, 1, 2, 3, 4]
    assert max(len(part) for part in seen) == 2
    for fold, train in enumerate(trains):
        alone = build(3, parameters).fit(x[train], y[train], [("d", "s")] * len(train), seed=fold + 3)
        assert np.allclose(alone.predict_proba(x), together[fold].predict_proba(x), atol=1e-4)
        assert np.allclose(alone.curves, together[fold].curves, rtol=1e-4)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    write_flow_images(root, subjects=4, clips_per_subject=6, seed=0, layout="folders")
    return root


@pytest.mark.parametrize(
    ("system", "parameters"),
    [("ststnet", {"epochs": 3, "batch_size": 10}), ("strcn-g", {"epochs": 2, "maps": 4, "device": "cpu"})],
)
def test_stacked_and_separate_folds_give_the_same_run(
    pictures: Path, tmp_path: Path, system: str, parameters: dict[str, object]
) -> None:
    data = [open_dataset("flow_images", pictures)]
    runs = {
        way: benchmark(data, system, tmp_path / way, parameters=parameters, seeds=(0, 1), jobs=2, folds=way)
        for way in ("stacked", "sequential")
    }
    a, b = runs["stacked"].rows, runs["sequential"].rows
    assert [(r.key, r.seed, r.fold, r.y_true) for r in a] == [(r.key, r.seed, r.fold, r.y_true) for r in b]
    assert np.allclose([r.probabilities for r in a], [r.probabilities for r in b], atol=1e-4)
    settings = [(tmp_path / way / "run.json").read_bytes() for way in runs]
    assert settings[0] == settings[1]
    told = json.loads((tmp_path / "stacked" / "log" / "folds.json").read_text())
    assert told["folds"] == "stacked"
    log = json.loads((tmp_path / "stacked" / "log" / "s1-f0002.json").read_text())
    assert log["stacked"] == 8
    assert len(log["loss"]) == parameters["epochs"]
    # A run of one kind goes on as another.
    (tmp_path / "sequential" / "ledger" / "s0-f0001.csv").unlink()
    benchmark(data, system, tmp_path / "sequential", parameters=parameters, jobs=2, folds="stacked")
    assert read_ledger(tmp_path / "sequential").complete


@pytest.mark.parametrize(
    ("system", "parameters", "says"),
    [
        ("strcn-g", {"shift": 1}, "at random"),
        ("strcn-g", {"dropout": 0.1}, "maps"),
        ("strcn-g", {"min_change": 0.1}, "min_change"),
        ("strcn-g", {"repeats": 2}, "counted"),
        ("flow-svm", {}, "no network"),
    ],
)
def test_folds_that_cannot_be_stacked_are_refused_before_training(
    pictures: Path, tmp_path: Path, system: str, parameters: dict[str, object], says: str
) -> None:
    data = [open_dataset("flow_images", pictures)]
    with pytest.raises(MienError, match=says) as caught:
        benchmark(data, system, tmp_path / "run", parameters=parameters, folds="stacked", jobs=1)
    assert "--folds auto" in caught.value.fix
    with pytest.raises(MienError, match="sequentially"):
        benchmark(data, system, tmp_path / "run", parameters=parameters, folds="sequentially", jobs=1)
    assert not list((tmp_path / "run").rglob("s*-f*.csv"))


def test_a_loss_that_is_not_finite_is_refused() -> None:
    x, y = clips()
    models, chance = [ststnet().double(), ststnet().double()], [torch.Generator(), torch.Generator()]
    rows = [np.arange(20), np.arange(5, 25)]
    with pytest.raises(MienError, match="after epoch"):
        fit_stack(models, x, y, rows, Schedule(30, 10, "sgd", 1e150), chance, chance)


def test_a_gpu_that_is_too_small_gets_half_the_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, tried = fit_stack, []

    def small(models: list[nn.Module], *others: object) -> object:
        tried.append(len(models))
        if len(models) > 2:
            raise torch.cuda.OutOfMemoryError
        return plain(models, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(stacked, "fit_stack", small)
    system = SYSTEMS["ststnet"]
    x = ArrayInputs(np.random.default_rng(0).uniform(0, 255, (12, 3, 28, 28)).astype(np.float32))
    classifiers = [system.build(3, system.with_parameters({"epochs": 1})) for _ in range(5)]
    stacks = fit_folds(
        classifiers,  # type: ignore[arg-type]
        x, np.arange(12) % 3, [np.arange(12)] * 5, list(range(5)), device="cpu",
    )  # fmt: skip
    with pytest.warns(UserWarning, match="5 folds at once: 2"):
        parts = [part for part, _ in stacks]
    assert parts == [[0, 1], [2], [3, 4]]
    assert tried == [5, 2, 3, 1, 2]
    assert all(len(c.models) == len(c.curves) == 1 for c in classifiers)  # type: ignore[attr-defined]


def test_the_choice_follows_the_costs() -> None:
    base = Costs(step=0.01, stacked=math.inf, steps=1600, folds=68, jobs=2)
    assert base.choice() == "processes"  # a CPU
    assert base.estimates()["processes"] == pytest.approx(costs.PROCESS_START + 0.01 * 1600 * 34)
    assert replace(base, stacked=0.02).choice() == "stacked"  # a GPU
    assert replace(base, steps=2).choice() == "sequential"  # too little to start processes for
    assert replace(base, jobs=1).choice() == "sequential"
    assert replace(base, stacked=0.6, jobs=8).choice() == "processes"  # a stack that loses to eight processes


def test_measuring_trains_nothing() -> None:
    system = SYSTEMS["ststnet"]
    classifier = system.build(3, system.with_parameters())
    assert isinstance(classifier, NetClassifier)
    x = ArrayInputs(np.random.default_rng(0).uniform(0, 255, (40, 3, 28, 28)).astype(np.float32))
    before = torch.get_rng_state()
    measured = measure(classifier, x, np.arange(40) % 3, [np.arange(36)] * 5, 2, "cpu")
    assert torch.equal(torch.get_rng_state(), before)
    assert not classifier.models
    assert measured.steps == 800
    assert 0 < measured.step < 5
    assert measured.stacked == math.inf
