"""Three machines trained on synthetic pictures, against the same written plainly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mien.classifiers.checkpoint import read_card
from mien.classifiers.flow_ensemble import CLASSES, FlowEnsemble, centred
from mien.errors import MienError
from mien.preprocessing import CENTRED_FLOW_PICTURE, FLOW_PICTURE
from mien.recognition.naming import open_namer
from mien.recognition.units import open_units
from mien.recognition.wording import trained_on
from mien.synthesis.flow_pictures import FlowCorpus, flow_corpus
from mien.synthesis.timeline import read_table
from mien.systems import SYSTEMS
from mien.systems.trained import load_checkpoint

PEOPLE = [("synthetic", "1")]


@pytest.fixture(scope="module")
def corpus() -> FlowCorpus:
    return flow_corpus(24, 17)


def built(n_classes: int = 3, **given: object) -> FlowEnsemble:
    system = SYSTEMS["flow-ensemble"]
    made = system.build(n_classes, system.with_parameters(given))
    assert isinstance(made, FlowEnsemble)
    return made


def test_the_answer_is_the_mean_of_logarithms_and_the_root_of_the_shares(corpus: FlowCorpus) -> None:
    x, y = corpus.pictures(), corpus.labels
    found = built(class_shares=(6, 1, 2)).fit(x, y, PEOPLE * len(x)).predict_proba(x)
    network = load_checkpoint("shipped")[0].predict_proba(corpus.pictures(centred=True))
    kernels = load_checkpoint("shipped-classes")[0].predict_proba(x)
    units = load_checkpoint("shipped-units")[0].answers(x)  # type: ignore[attr-defined]
    by_units = LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000).fit(units, y).predict_proba(units)
    wanted = (network * kernels * by_units) ** (1 / 3) * np.sqrt([6, 1, 2])
    np.testing.assert_allclose(found, wanted / wanted.sum(1, keepdims=True), rtol=1e-4)
    assert (found.argmax(1) == y).mean() > 0.6


def test_a_larger_share_makes_a_class_more_probable(corpus: FlowCorpus) -> None:
    x, y = corpus.pictures()[:12], corpus.labels[:12]
    equal, more = (built(class_shares=s).fit(x, y, PEOPLE * 12).predict_proba(x) for s in ((1, 1, 1), (1, 4, 1)))
    assert (more[:, 1] > equal[:, 1]).all()
    np.testing.assert_allclose(more[:, 1] / more[:, 0], 2 * equal[:, 1] / equal[:, 0], rtol=1e-4)


def test_the_network_gets_centred_pictures() -> None:
    x = flow_corpus(3, 2).pictures()
    assert np.array_equal(centred(x), flow_corpus(3, 2).pictures(centred=True))
    assert CENTRED_FLOW_PICTURE.steps[:-1] == FLOW_PICTURE.steps


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")])
def test_other_classes_follow_from_the_units_alone(names: tuple[str, ...], corpus: FlowCorpus) -> None:
    x = corpus.pictures()[:12]
    y = np.arange(12) % len(names)
    made = built(len(names))
    made.class_names = names
    found = made.fit(x, y, PEOPLE * len(x)).predict_proba(x)
    units = load_checkpoint("shipped-units")[0].answers(x)  # type: ignore[attr-defined]
    wanted = LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000).fit(units, y).predict_proba(units)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_class_without_clips_and_training_clips_of_one_class(corpus: FlowCorpus) -> None:
    x = corpus.pictures()[:8]
    made = built(4)
    made.class_names = ("a", "b", "c", "d")
    assert (made.fit(x, np.arange(8) % 2, PEOPLE * 8).predict_proba(x)[:, 2:] < 1e-3).all()
    assert (made.fit(x, np.ones(8, np.int64), PEOPLE * 8).predict_proba(x)[:, 1] > 0.99).all()
    assert made.predict_proba(x[:0]).shape == (0, 4)


def test_the_default_shares_are_those_of_the_coded_clips() -> None:
    counts = np.zeros(3)
    for emotion, row in read_table("coded_units").items():
        if emotion != "others":
            counts[{"happiness": 1, "surprise": 2}.get(emotion, 0)] += sum(n for _, n in row["shown"])
    assert tuple(np.round(counts / counts.sum(), 1)) == built().shares


@pytest.mark.parametrize("opened", [open_namer, open_units])
def test_a_name_that_is_nearly_a_packaged_one_is_suggested(opened: Callable[[str], object]) -> None:
    with pytest.raises(MienError, match="There is no file 'shipped-ensembl'") as caught:
        opened("shipped-ensembl")
    assert caught.value.fix == "`shipped-ensemble`."


def test_pictures_of_another_shape_are_refused() -> None:
    with pytest.raises(MienError, match=r"has the shape \(2, 6, 28, 28\)"):
        built().fit(np.zeros((2, 6, 28, 28), np.float32), np.array([0, 1]), PEOPLE * 2)


def test_the_shipped_ensemble_names_classes_by_default() -> None:
    namer, card = open_namer(None), read_card("shipped-ensemble")
    assert namer.card == card
    assert namer.reads_pair
    assert namer.notes == ()
    assert card.classes == CLASSES
    assert all(entry["synthetic"] for entry in card.trained_on)
    assert "(synthetic), 4000 clips of 668 people (synthetic) and 6000 clips" in trained_on(card)
    assert card.score["uf1"] > max(read_card(name).score["uf1"] for name in ("shipped", "shipped-classes"))
    corpus = flow_corpus(30, 9)
    assert (namer.classifier.predict_proba(corpus.pictures()).argmax(1) == corpus.labels).mean() > 0.7


def test_the_figure_of_the_card_on_real_pictures() -> None:
    folder = Path(__file__).parents[2].parent / "shared" / "data" / "megc2019_flow"
    if not folder.is_dir():
        pytest.skip("no flow pictures here")
    from sklearn.metrics import f1_score

    from mien.datasets import open_specs
    from mien.evaluation.planning import make_plan

    plan = make_plan(open_specs(f"flow_images={folder}"), "flow-ensemble")
    classifier, card = load_checkpoint("shipped-ensemble")
    x = np.stack([FLOW_PICTURE.run(sample.clip)[0] for sample in plan.samples]).astype(np.float32)
    said = classifier.predict_proba(x).argmax(1)
    assert f1_score(plan.targets(), said, average="macro") == pytest.approx(card.score["uf1"], abs=0.005)
