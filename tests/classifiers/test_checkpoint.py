"""Trained networks as files: what is loaded predicts what was saved, and anything else is told."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open

from mien.classifiers.base import Classifier
from mien.classifiers.checkpoint import (
    SHIPPED,
    SHIPPED_CLASSES,
    SHIPPED_UNITS,
    UNITS,
    ModelCard,
    read_card,
    require_unseen,
    save_checkpoint,
    start_from,
    versions,
)
from mien.classifiers.flow_kernels import FlowKernels
from mien.datasets.action_units import parse_action_units
from mien.errors import MienError
from mien.preprocessing.inputs import ArrayInputs, Inputs
from mien.synthesis.acting import Manner
from mien.synthesis.flow_pictures import flow_corpus
from mien.systems import SYSTEMS
from mien.systems.trained import load_checkpoint

DEEP = ["strcn-g", "strcn-a", "strcn-2018", "ststnet", "sma-stn", "image-cnn"]


def trained(name: str) -> tuple[object, ModelCard, Inputs]:
    random = np.random.default_rng(0)
    x: Inputs
    if "flow" in SYSTEMS[name].recipes:
        x = ArrayInputs(random.normal(size=(12, 3, 28, 28)).astype(np.float32))
    else:
        channels = 1 if name == "strcn-2018" else 3
        x = ArrayInputs(random.integers(0, 255, (12, 2, 8, 16, 12, channels), dtype=np.uint8), copies=2)
    wanted = {"epochs": 2, "maps": 4, "members": 2}
    given = {k: v for k, v in wanted.items() if k in SYSTEMS[name].defaults}
    parameters = SYSTEMS[name].with_parameters(given)
    classifier = SYSTEMS[name].build(3, parameters).fit(x, np.arange(12) % 3, [("d", "s")] * 12, seed=1)
    card = ModelCard(
        name, parameters.model_dump(mode="json"), ("negative", "positive", "surprise"), "megc2019",
        ({"dataset": "smic_hs", "clips": 12, "subjects": 3, "synthetic": True},), {"flow": "abc"}, x.shape, 1,
        versions=versions(),
    )  # fmt: skip
    return classifier, card, x


@pytest.mark.parametrize("name", DEEP)
def test_a_loaded_network_predicts_as_the_saved_one(tmp_path: Path, name: str) -> None:
    classifier, card, x = trained(name)
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, classifier, card)  # type: ignore[arg-type]
    loaded, read = load_checkpoint(path, name, card.classes)
    assert read == card
    assert np.array_equal(loaded.predict_proba(x), classifier.predict_proba(x))  # type: ignore[attr-defined]
    assert b"pickle" not in path.read_bytes()


def test_a_card_of_an_earlier_version_is_read() -> None:
    with safe_open(SHIPPED, framework="np") as file:
        written = json.loads(file.metadata()["card"])["trained_on"][0]
    assert written["drawn"] is True
    (entry,) = read_card(SHIPPED).trained_on
    assert entry == {**{k: v for k, v in written.items() if k != "drawn"}, "synthetic": True}


def test_another_system_other_classes_and_damage_are_refused(tmp_path: Path) -> None:
    classifier, card, _ = trained("ststnet")
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, classifier, card)  # type: ignore[arg-type]
    with pytest.raises(MienError, match="checkpoint of ststnet"):
        load_checkpoint(path, "strcn-g")
    with pytest.raises(MienError, match="has the classes"):
        load_checkpoint(path, classes=("positive", "negative", "surprise"))
    save_checkpoint(path, classifier, replace(card, system="strcn-g", parameters=SYSTEMS["strcn-g"].defaults))  # type: ignore[arg-type]
    with pytest.raises(MienError, match="do not fit"):
        load_checkpoint(path)
    save_checkpoint(path, classifier, replace(card, format=2))  # type: ignore[arg-type]
    with pytest.raises(MienError, match="layout 2"):
        read_card(path)
    content = path.read_bytes()
    for broken in (content[:100], b"", b"not a file of tensors at all"):
        path.write_bytes(broken)
        with pytest.raises(MienError, match="damaged or a file of another kind"):
            read_card(path)
    with pytest.raises(MienError, match="There is no file"):
        read_card(tmp_path / "missing.safetensors")
    with pytest.raises(MienError, match=r"There is no file 'shiped-units'.*Try: `shipped-units`"):
        read_card("shiped-units")


def test_an_untrained_or_other_classifier_is_not_saved(tmp_path: Path) -> None:
    _, card, _ = trained("ststnet")
    for classifier in (SYSTEMS["ststnet"].build(3, SYSTEMS["ststnet"].with_parameters()), object()):
        with pytest.raises(MienError, match="no trained network"):
            save_checkpoint(tmp_path / "m.safetensors", classifier, card)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_training_on_from_a_checkpoint(tmp_path: Path) -> None:
    classifier, card, x = trained("strcn-g")
    path = tmp_path / "start.safetensors"
    save_checkpoint(path, classifier, card)  # type: ignore[arg-type]
    y, groups = np.arange(len(x)) % 3, [("a", str(i)) for i in range(len(x))]
    # A rate of zero leaves the weights as they were put there.
    still = SYSTEMS["strcn-g"].with_parameters({**card.parameters, "start": str(path), "lr": 0.0, "epochs": 1})
    again = SYSTEMS["strcn-g"].build(3, still)
    again.fit(x, y, groups, seed=5)
    before = dict(classifier.models[0].named_parameters())  # type: ignore[attr-defined]
    for name, value in again.models[0].named_parameters():  # type: ignore[attr-defined]
        assert (value == before[name]).all(), name
    two = SYSTEMS["strcn-g"].build(2, still)
    two.fit(x, y % 2, groups, seed=5)
    assert two.predict_proba(x).shape == (len(x), 2)
    for name, value in two.models[0].named_parameters():  # type: ignore[attr-defined]
        assert name.startswith("classify") or (value == before[name]).all()
    with pytest.raises(MienError, match="another network"):
        SYSTEMS["strcn-g"].build(3, still.model_copy(update={"maps": 6})).fit(x, y, groups)
    with pytest.raises(MienError, match="checkpoint of strcn-g"):
        start_from(str(path), "ststnet")


def test_weights_that_saw_the_database_under_test_are_refused(tmp_path: Path) -> None:
    classifier, card, _ = trained("strcn-g")
    path = tmp_path / "start.safetensors"
    seen = ({"dataset": "casme2", "clips": 9, "subjects": 3, "synthetic": False},)
    save_checkpoint(path, classifier, replace(card, trained_on=seen))  # type: ignore[arg-type]
    require_unseen(str(path), ["samm", "smic_hs"])
    with pytest.raises(MienError, match="casme2"):
        require_unseen(str(path), ["samm", "casme2"])


def test_a_committee_of_both_readings_comes_back_whole(tmp_path: Path) -> None:
    parameters = SYSTEMS["strcn-g"].with_parameters({"variant": "both", "members": 3, "maps": 4, "epochs": 1})
    x = ArrayInputs(np.random.default_rng(0).normal(size=(12, 3, 28, 28)).astype(np.float32))
    classifier = SYSTEMS["strcn-g"].build(3, parameters).fit(x, np.arange(12) % 3, [("d", "s")] * 12, seed=1)
    sizes = [sum(p.numel() for p in m.parameters()) for m in classifier.models]  # type: ignore[attr-defined]
    assert sizes[0] == sizes[2] != sizes[1]
    _, card, _ = trained("strcn-g")
    path = tmp_path / "both.safetensors"
    save_checkpoint(path, classifier, replace(card, parameters=parameters.model_dump(mode="json")))
    loaded, _ = load_checkpoint(path)
    assert np.array_equal(loaded.predict_proba(x), classifier.predict_proba(x))


def kernels(task: str, support: int = 0) -> tuple[FlowKernels, ModelCard, Inputs]:
    random = np.random.default_rng(0)
    # Ready pictures hold bytes; pictures from frames do not.
    x = random.integers(0, 256, (12, 3, 28, 28)).astype(np.float32)
    if task == "classes":
        x += random.normal(size=x.shape).astype(np.float32)
    y = np.arange(12) % 3 if task == "classes" else np.stack([np.arange(12) % n == 0 for n in (2, 3, 20)], 1)
    parameters = SYSTEMS["flow-kernels"].with_parameters({"support": support})
    classifier = SYSTEMS["flow-kernels"].build(3, parameters)
    assert isinstance(classifier, FlowKernels)
    classifier.fit(ArrayInputs(x), y.astype(np.int64), [("d", str(i % 4)) for i in range(12)])
    names = ("negative", "positive", "surprise") if task == "classes" else ("AU1", "AU2", "AU4")
    card = ModelCard(
        "flow-kernels", parameters.model_dump(mode="json"), names, "megc2019" if task == "classes" else "au12",
        ({"dataset": "smic_hs", "clips": 12, "subjects": 4, "synthetic": False},), {"flow": "abc"}, (3, 28, 28), 0,
        task=task,
    )  # fmt: skip
    return classifier, card, ArrayInputs(x)


@pytest.mark.parametrize("task", ["classes", UNITS])
@pytest.mark.parametrize("support", [0, 5])
def test_a_loaded_kernel_machine_predicts_as_the_saved_one(tmp_path: Path, task: str, support: int) -> None:
    classifier, card, x = kernels(task, support)
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, classifier, card)
    loaded, read = load_checkpoint(path, "flow-kernels", card.classes)
    assert read == card
    wanted = classifier.predict_proba(x)
    assert np.array_equal(loaded.predict_proba(x), wanted)
    if task == UNITS:
        assert np.array_equal(loaded.decide_units(wanted), classifier.decide_units(wanted))
    clips = support or 12
    assert path.stat().st_size < 3000 + clips * 28 * 28 * 3 * (4 if task == "classes" else 1) + clips * 3 * 8


def test_a_damaged_kernel_machine_is_refused(tmp_path: Path) -> None:
    classifier, card, _ = kernels(UNITS)
    good = classifier.saved_arrays()
    path = tmp_path / "model.safetensors"

    class Forged(FlowKernels):
        def saved_arrays(self) -> dict[str, NDArray[Any]]:
            return forged

    changes: list[dict[str, NDArray[Any]]] = [
        {"coefficients": good["coefficients"][:5]},
        {"coefficients": good["coefficients"] * np.nan},
        {"pictures": good["pictures"][:, :2]},
        {"pictures": good["pictures"][:0], "coefficients": good["coefficients"][:0]},
        {"thresholds": good["thresholds"][:2]},
        {"sharpness": np.ones(4)},
    ]
    for change in changes:
        forged = {**good, **change}
        save_checkpoint(path, Forged(3), card)
        with pytest.raises(MienError, match="do not fit"):
            load_checkpoint(path)
    forged = {"pictures": good["pictures"]}
    save_checkpoint(path, Forged(3), card)
    with pytest.raises(MienError, match="do not fit"):
        load_checkpoint(path)


def test_a_kernel_machine_before_fit_is_not_saved(tmp_path: Path) -> None:
    _, card, _ = kernels("classes")
    with pytest.raises(MienError, match="no trained network"):
        save_checkpoint(tmp_path / "m.safetensors", FlowKernels(3), card)
    assert not list(tmp_path.iterdir())


def test_the_card_of_units_has_the_figures_of_each() -> None:
    classifier, card = load_checkpoint("shipped-units")
    assert isinstance(classifier, Classifier)
    assert card.task == UNITS
    assert card.labels == "au12"
    assert tuple(card.score["per_au"]) == card.classes
    assert all(entry["synthetic"] for entry in card.trained_on)
    assert SHIPPED_UNITS.stat().st_size + SHIPPED_CLASSES.stat().st_size < 5e6


def test_the_shipped_classes_answer_probabilities() -> None:
    classifier, card = load_checkpoint("shipped-classes", "flow-kernels", ("negative", "positive", "surprise"))
    assert card.task == "classes"
    assert card.score["uf1"] > read_card("shipped").score["uf1"]
    corpus = flow_corpus(60, 9)
    answers = classifier.predict_proba(corpus.pictures())
    np.testing.assert_allclose(answers.sum(1), 1, rtol=1e-5)
    assert (answers.argmax(1) == corpus.labels).mean() > 0.6


def test_the_shipped_units_see_brows_rise() -> None:
    classifier, card = load_checkpoint("shipped-units")
    # A wide-eyed start of surprise on faces that they were not trained on.
    corpus = flow_corpus(40, 9, method="head", classes=("surprise",), manner=Manner(intensity=0.25, atypical=0))
    said = classifier.decide_units(classifier.predict_proba(corpus.pictures()))[:, card.classes.index("AU2")]
    true = np.array([2 in {number for _, number in parse_action_units(text)} for text in corpus.units])
    assert (said == true).mean() > 0.8


def test_a_card_with_an_unknown_task_or_without_figures_is_refused(tmp_path: Path) -> None:
    classifier, card, _ = kernels(UNITS)
    path = tmp_path / "model.safetensors"
    for change in ({"task": "feelings"}, {"score": {"uf1": 1.0}}):
        save_checkpoint(path, classifier, replace(card, **change))
        with pytest.raises(MienError, match="not a checkpoint"):
            read_card(path)
