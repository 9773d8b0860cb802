"""Synthetic flow pictures: format, reproducibility and classes."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mien.errors import MienError
from mien.preprocessing.named import CENTRED_FLOW_PICTURE
from mien.synthesis.acting import Manner
from mien.synthesis.flow_pictures import MEGC2019, disturbed, flow_corpus


def test_pictures_have_the_format_of_the_published_ones() -> None:
    corpus = flow_corpus(24, 1)
    assert corpus.channels.shape == (24, 3, 28, 28)
    assert corpus.classes == MEGC2019 == ("negative", "positive", "surprise")
    pictures = corpus.pictures()
    assert (pictures.min((2, 3)) == 0).all()
    assert (pictures.max((2, 3)) == 255).all()
    assert (pictures == np.rint(pictures)).all()
    centred = corpus.pictures(centred=True)
    np.testing.assert_allclose((centred**2).mean((2, 3)), 1, rtol=1e-4)
    assert np.abs(np.median(centred[:, :2], (2, 3))).max() < 1e-5
    low, high = CENTRED_FLOW_PICTURE.range
    assert low <= centred.min() <= centred.max() <= high
    assert list(corpus.subjects) == [i // 6 for i in range(24)]


def test_longer_corpus_begins_with_the_shorter_one_for_any_number_of_jobs() -> None:
    short, long = flow_corpus(10, 2), flow_corpus(40, 2, jobs=2)
    np.testing.assert_array_equal(short.channels, long.channels[:10])
    np.testing.assert_array_equal(short.labels, long.labels[:10])
    assert short.units == long.units[:10]
    assert np.abs(flow_corpus(10, 3).channels - short.channels).max() > 0


def test_classes_can_be_learned_but_not_perfectly() -> None:
    train, test = flow_corpus(300, 0), flow_corpus(200, 1)
    model = LogisticRegression(C=0.01, max_iter=300).fit(train.pictures(centred=True).reshape(300, -1), train.labels)
    score = model.score(test.pictures(centred=True).reshape(200, -1), test.labels)
    assert 0.6 < score < 0.95


def test_smaller_intensity_moves_less_and_other_classes_are_possible() -> None:
    weak, strong = (
        np.abs(
            flow_corpus(30, 0, manner=Manner(intensity=i, spread=0, blinks=0, lids=0, drift=0)).channels[:, :2]
        ).max()
        for i in (0.06, 0.28)
    )
    assert strong > 1.5 * weak
    two = flow_corpus(8, 0, classes=("repression", "contempt"), size=16)
    assert two.channels.shape == (8, 3, 16, 16)
    assert set(two.labels) <= {0, 1}
    assert flow_corpus(0).pictures().shape == (0, 3, 28, 28)
    often = flow_corpus(60, 0, balanced=False).labels
    assert (often == 0).mean() > 0.4


def test_measured_pictures_resemble_the_exact_ones() -> None:
    calm = Manner(intensity=0.25, spread=0, atypical=0, blinks=0, lids=0, glances=0, drift=0.001)
    exact, measured = (
        flow_corpus(4, 5, method=m, classes=("surprise",), manner=calm).pictures(centred=True)
        for m in ("exact", "dis_fine")
    )
    # Other crops and other noise, so only the mean over pictures is compared.
    a, b = (np.abs(p[:, 1]).mean(0).ravel() for p in (exact, measured))
    assert np.corrcoef(a, b)[0, 1] > 0.4


def test_distortion_is_small_and_smooth() -> None:
    rng = np.random.default_rng(0)
    noise = np.stack([disturbed(np.zeros((60, 50, 2)), 25.0, rng) for _ in range(40)])
    assert 0.01 < noise.std() < 0.3
    assert np.abs(np.diff(noise, axis=1)).mean() < 0.3 * np.abs(noise).mean()


@pytest.mark.parametrize("method", ["head", "mixed"])
def test_heads_move_as_the_units_say(method: str) -> None:
    calm = Manner(intensity=0.25, spread=0, atypical=0, blinks=0, lids=0, glances=0, drift=0.001, asymmetry=0)
    corpus = flow_corpus(24, 5, method=method, classes=("surprise",), manner=calm)
    raised = np.array(["1+2" in text for text in corpus.units])
    v = corpus.pictures(centred=True)[raised][:, 1]
    assert len(v) > 6
    assert v[:, :6].mean() < -0.5 < v[:, 12:].mean()  # brows go up, the rest stays
    both = flow_corpus(12, 5, method="mixed", clips_per_subject=3, manner=calm).channels
    exact, head = (flow_corpus(12, 5, method=m, clips_per_subject=3, manner=calm).channels for m in ("exact", "head"))
    np.testing.assert_array_equal(both[[0, 1, 2, 6, 7, 8]], exact[[0, 1, 2, 6, 7, 8]])
    np.testing.assert_array_equal(both[[3, 4, 5, 9, 10, 11]], head[[3, 4, 5, 9, 10, 11]])


def test_varied_pictures_keep_their_units_and_have_finer_detail() -> None:
    plain, vary = (flow_corpus(40, 6, vary=v) for v in (False, True))
    assert plain.units == vary.units
    np.testing.assert_array_equal(plain.labels, vary.labels)
    fine = [np.abs(np.diff(c.pictures(), axis=-1)).mean() for c in (plain, vary)]
    assert fine[1] > 1.3 * fine[0]
    assert vary.pictures().min() == 0
    assert vary.pictures().max() == 255


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(MienError, match="method"):
        flow_corpus(1, method="guess")
    with pytest.raises(MienError, match="surprise"):
        flow_corpus(1, classes=("suprise",))
    with pytest.raises(MienError, match="pictures"):
        flow_corpus(-1)
