import numpy as np
import pytest
from sklearn.svm import SVC

from mien.classifiers import svm as module
from mien.classifiers.inner_folds import few_clips
from mien.classifiers.svm import Mirror, RbfSvm, _winner, mirror_flow


def clips(n: int = 60, signal: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str]]]:
    random = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = random.normal(size=(n, 3, 4, 4)).astype(np.float32) * 20 + 127
    x[:, 1, 0, :] += signal * 40 * y[:, None]
    return x, y, [("d", str(i % 10)) for i in range(n)]


def test_equals_scikit_learn_with_the_same_settings() -> None:
    x, y, groups = clips()
    ours = RbfSvm(3, costs=(2.0,), gammas=(1.0,)).fit(x, y, groups)
    flat = x.reshape(60, -1)
    scaled = (flat - flat.mean(0)) / flat.std(0)
    theirs = SVC(C=2.0, gamma=1 / 48).fit(scaled, y)
    new = clips(seed=1)[0]
    expected = theirs.predict((new.reshape(60, -1) - flat.mean(0)) / flat.std(0))
    assert (ours.predict_proba(new).argmax(1) == expected).all()


def test_probabilities_sum_to_one_and_learn() -> None:
    x, y, groups = clips()
    machine = RbfSvm(3).fit(x, y, groups)
    p = machine.predict_proba(clips(seed=2)[0])
    assert np.allclose(p.sum(1), 1, atol=1e-6)
    assert (p.argmax(1) == y).mean() > 0.8
    assert machine.chosen[0] in machine.costs


def test_settings_come_from_inner_folds_by_subject() -> None:
    """Every subject has copies of one clip: folds by clip would find the narrowest kernel perfect."""
    random = np.random.default_rng(0)
    subjects = np.repeat(np.arange(20), 6)
    y = subjects % 2
    x = (random.normal(size=(20, 48))[subjects] + 0.01 * random.normal(size=(120, 48))).astype(np.float32)
    machine = RbfSvm(2, costs=(10.0,), gammas=(0.1, 100.0)).fit(
        x.reshape(120, 3, 4, 4), y, [("d", str(s)) for s in subjects]
    )
    folds = machine._inner_folds(y.astype(np.int64), subjects.astype(np.int64), 0)
    assert folds
    for train, test in folds:
        assert not set(subjects[train]) & set(subjects[test])


@pytest.mark.parametrize("mirror", [None, mirror_flow])
def test_of_many_clips_the_settings_are_chosen_on_some_and_all_are_learnt(
    mirror: Mirror | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y, groups = clips(90)
    new = clips(seed=1)[0]
    alone = RbfSvm(3, costs=(2.0,), gammas=(1.0,), mirror=mirror).fit(x, y, groups).predict_proba(new).argmax(1)
    monkeypatch.setattr("mien.classifiers.svm.MOST_COMPARED", 40)
    seen: list[int] = []
    compared = module._square_distances

    def counted(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        seen.append(len(a))
        return compared(a, b)

    monkeypatch.setattr(module, "_square_distances", counted)
    few = RbfSvm(3, costs=(2.0,), gammas=(1.0,), mirror=mirror).fit(x, y, groups)
    # The same machine, though no table of all pairs was made.
    assert (few.predict_proba(new).argmax(1) == alone).all()
    searched = RbfSvm(3, mirror=mirror).fit(x, y, groups)
    assert (searched.predict_proba(new).argmax(1) == np.arange(60) % 3).mean() > 0.8
    assert max(seen) <= 40


def test_few_clips_are_those_of_whole_subjects() -> None:
    subjects = np.arange(200) % 20
    for seed in range(5):
        few = few_clips(subjects, 65, seed)
        assert len(few) == 60
        assert len(set(subjects[few])) == 6
    assert len(few_clips(np.array([0] * 50 + [1] * 50), 30, 0)) == 30


def test_a_class_the_training_clips_lack_is_never_predicted() -> None:
    x, y, groups = clips()
    keep = y != 1
    machine = RbfSvm(3).fit(x[keep], y[keep], [g for g, k in zip(groups, keep, strict=True) if k])
    p = machine.predict_proba(x)
    assert (p[:, 1] == 0).all()
    assert np.isfinite(p).all()


def test_mirrored_clips_get_the_same_decision() -> None:
    x, y, groups = clips()
    machine = RbfSvm(3, costs=(1.0,), gammas=(1.0,), mirror=mirror_flow).fit(x, y, groups)
    assert np.allclose(machine.predict_proba(x), machine.predict_proba(mirror_flow(x)), atol=1e-6)
    assert np.array_equal(mirror_flow(mirror_flow(x)), x)


@pytest.mark.parametrize("subjects", [1, 2])
def test_few_subjects_do_not_crash(subjects: int) -> None:
    x, y, _ = clips(12)
    machine = RbfSvm(3).fit(x, y, [("d", str(i % subjects)) for i in range(12)])
    assert machine.predict_proba(x).shape == (12, 3)


def test_softest_setting_within_one_standard_error_of_the_best_is_taken() -> None:
    uf1s = [[0.60, 0.62, 0.61], [0.65, 0.66, 0.64], [0.60, 0.70, 0.68], [0.66, 0.67, 0.55]]
    assert _winner(uf1s, simplest=False) == 2
    assert _winner(uf1s, simplest=True) == 1
    assert _winner([[0.5], [0.6]], simplest=True) == 1
