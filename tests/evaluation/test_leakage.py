import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.errors import MienError
from mien.evaluation import leakage, metrics
from mien.evaluation.leakage import best_epoch_bound, check_classifier, check_folds, check_ledger, check_step, pitfalls
from mien.evaluation.ledger import Ledger, Row
from mien.evaluation.protocols import make_folds
from mien.types import Clip, Fold, Sample


def sample(subject: str, name: str, label: int, dataset: str = "casme2", origin: str = "") -> Sample:
    return Sample(Clip(dataset, subject, name, None, ""), label, origin)


SAMPLES = [sample(f"s{n % 4}", f"c{n}", n % 2) for n in range(12)]
FOLDS = make_folds("loso", SAMPLES)


def errors(samples: list[Sample], folds: list[Fold], **kwargs: bool) -> str:
    return " | ".join(f"{p.where}: {p.what}" for p in check_folds(samples, folds, **kwargs) if p.severity == "error")


def test_sound_folds_are_silent() -> None:
    assert check_folds(SAMPLES, FOLDS) == []


def test_planted_leaks_in_folds_are_found() -> None:
    first = FOLDS[0]
    assert "training and test" in errors(SAMPLES, [replace(first, train=(*first.train, first.test[0])), *FOLDS[1:]])
    crossed = Fold("x", tuple(range(0, 6)), tuple(range(6, 12)))
    assert "subject(s) are in training and test" in errors(SAMPLES, [crossed])
    assert errors(SAMPLES, [crossed], shares_subjects=True) == ""
    assert "tested 2 times" in errors(SAMPLES, [*FOLDS, first])
    assert "never tested" in errors(SAMPLES, FOLDS[:2])


@pytest.mark.parametrize("index", [-1, len(SAMPLES)])
def test_an_index_outside_the_table_is_found(index: int) -> None:
    """-1 would silently be the last clip."""
    broken = replace(FOLDS[0], train=(index, *FOLDS[0].train))
    assert "outside the 12 clips" in errors(SAMPLES, [broken, *FOLDS[1:]])


def test_a_copy_on_the_other_side_is_found() -> None:
    copies = [*SAMPLES, sample("other", "c0+mirror", 0, origin=SAMPLES[0].clip.key)]
    folds = [Fold("a", (12, *FOLDS[0].train), FOLDS[0].test)]
    assert f"copies of {SAMPLES[0].clip.key}" in errors(copies, folds)


def test_a_clip_that_stands_twice_is_found() -> None:
    assert "stands 2 times" in errors([*SAMPLES, SAMPLES[0]], FOLDS)


def test_colliding_prints_and_families_are_noted() -> None:
    samples = [sample("sub01", f"{n}", n % 2, d) for d in ("casme", "casme2") for n in range(2)]
    notes = check_folds(samples, make_folds("loso", samples))
    assert {p.severity for p in notes} == {"note"}
    text = " ".join(p.what for p in notes)
    assert "printed in two databases" in text
    assert "may share people" in text


def ledger(samples: list[Sample] = SAMPLES) -> Ledger:
    rows = tuple(
        Row(
            "casme2",
            samples[i].clip.subject,
            samples[i].clip.name,
            fold.name,
            0,
            "annotated",
            "ab"[samples[i].label],
            "a",
            (0.7, 0.3),
        )
        for fold in FOLDS
        for i in fold.test
    )
    return Ledger({"seeds": [0]}, ("a", "b"), rows, True)


def test_a_sound_ledger_has_only_the_note_it_deserves() -> None:
    assert [(p.severity, p.what) for p in check_ledger(ledger(), SAMPLES, FOLDS)] == [
        ("note", "class b is never predicted")
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y_true": "b"}, "the table says a"),
        ({"fold": "casme2-s3"}, "was tested in fold"),
        ({"probabilities": (0.7, 0.7)}, "sum to 1.400"),
        ({"y_pred": "b"}, "most probable"),
        ({"y_pred": "c"}, "predicts c; classes: a, b"),
        ({"probabilities": (1.0,)}, "1 probabilities"),
        ({"probabilities": (float("nan"), float("nan"))}, "no number"),
        ({"probabilities": (1.2, -0.2)}, "negative"),
        ({"clip": "nobody"}, "not in the clip table"),
        ({"interval_source": "detected"}, "mixed origin"),
    ],
)
def test_planted_faults_in_a_ledger_are_found(change: dict[str, Any], words: str) -> None:
    sound = ledger()
    broken = replace(sound, rows=(replace(sound.rows[0], **change), *sound.rows[1:]))
    assert words in " | ".join(p.what for p in check_ledger(broken, SAMPLES, FOLDS))


def test_labels_taken_by_position_are_found() -> None:
    """Rows sorted differently from the table, classes filled in by place."""
    sound = ledger()
    shifted = [row.y_true for row in sound.rows[1:]] + [sound.rows[0].y_true]
    broken = replace(sound, rows=tuple(replace(r, y_true=y) for r, y in zip(sound.rows, shifted, strict=True)))
    assert any("the table says" in p.what for p in check_ledger(broken, SAMPLES, FOLDS))


def test_probabilities_equal_to_nine_digits_are_both_the_greatest() -> None:
    sound = ledger()
    tied = replace(sound, rows=tuple(replace(r, probabilities=(0.5, 0.5), y_pred="b") for r in sound.rows))
    assert {p.severity for p in check_ledger(tied, SAMPLES, FOLDS)} == {"note"}


def test_missing_and_doubled_rows_are_found() -> None:
    sound = ledger()
    text = " | ".join(
        p.what for p in check_ledger(replace(sound, rows=sound.rows[1:] + sound.rows[-1:]), SAMPLES, FOLDS)
    )
    assert "has no row" in text
    assert "has 2 rows" in text


def test_a_step_with_a_memory_is_found() -> None:
    clips = [np.full((2, 3), float(n)) for n in range(3)]
    seen: list[float] = []

    def running_mean(clip: np.ndarray) -> np.ndarray:
        seen.append(float(clip.mean()))
        return np.asarray(clip - np.mean(seen))

    assert check_step(running_mean, clips)
    assert check_step(lambda clip: clip - clip.mean(), clips) == []


def test_a_step_that_keeps_its_first_clip_is_found() -> None:
    class FirstMean:
        mean: float | None = None

        def __call__(self, clip: np.ndarray) -> np.ndarray:
            self.mean = float(clip.mean()) if self.mean is None else self.mean
            return np.asarray(clip - self.mean)

    assert check_step(FirstMean(), [np.full((2, 3), float(n)) for n in range(3)])


def test_a_step_cannot_be_checked_with_one_clip() -> None:
    for clips in ([np.zeros(2)], [np.zeros(2), np.zeros(2)]):
        with pytest.raises(MienError, match="two different clips"):
            check_step(lambda clip: clip, clips)


@pytest.mark.parametrize("step", ["flow", "strain"])
def test_the_steps_that_systems_use_have_no_memory(step: str) -> None:
    from mien.motion.flow import optical_flow
    from mien.motion.strain import optical_strain

    random = np.random.default_rng(0)
    if step == "flow":
        pairs = [random.integers(0, 255, (2, 40, 40), dtype=np.uint8) for _ in range(3)]
        assert check_step(lambda pair: optical_flow(pair[0], pair[1]), pairs) == []
    else:
        assert check_step(optical_strain, [random.normal(size=(9, 9, 2)) for _ in range(3)]) == []


class Nearest:
    def fit(self, x: np.ndarray, y: np.ndarray, groups: object, *, seed: int = 0) -> "Nearest":
        self.centres = np.stack([x[y == c].mean(0) for c in range(2)])
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        distance = ((x[:, None] - self.centres) ** 2).sum(-1)
        return np.asarray(np.exp(-distance) / np.exp(-distance).sum(1, keepdims=True))


def test_statistics_of_all_clips_are_found() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(12, 4))
    y = np.array([s.label for s in SAMPLES])
    groups = [s.clip.person for s in SAMPLES]

    class Peeking(Nearest):
        def fit(self, x_train: np.ndarray, y: np.ndarray, groups: object, *, seed: int = 0) -> "Peeking":
            self.mean = np.nan_to_num(x).mean(0)
            super().fit(x_train - self.mean, y, groups)
            return self

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            return super().predict_proba(x - 2 * self.mean)

    class TestScaled(Nearest):
        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            return super().predict_proba(x - x.mean(0))

    before = x.copy()
    assert check_classifier(Nearest, x, y, groups, FOLDS[0]) == []
    assert "destroyed" in check_classifier(Peeking, x, y, groups, FOLDS[0])[0].what
    assert "beside it" in check_classifier(TestScaled, x, y, groups, FOLDS[0])[0].what
    assert np.array_equal(x, before)


def problems_of(make: Any, x: np.ndarray, y: np.ndarray) -> str:
    x_before, y_before = x.copy(), y.copy()
    people = [("casme2", f"s{n // 8}") for n in range(len(y))]
    fold = Fold("casme2-s2", tuple(range(16)), tuple(range(16, 24)))
    text = " | ".join(p.what for p in check_classifier(make, x, y, people, fold))
    assert np.array_equal(x, x_before)
    assert np.array_equal(y, y_before)
    return text


def test_a_classifier_that_looks_elsewhere_is_found() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(24, 4)), random.integers(0, 2, 24)
    test = range(16, 24)

    class BestEpoch(Nearest):
        """Many random directions; keeps the one that answers the test clips best."""

        def fit(self, x_train: np.ndarray, y_train: np.ndarray, groups: object, *, seed: int = 0) -> "BestEpoch":
            epochs = np.random.default_rng(seed).normal(size=(30, 2, 4))
            super().fit(x_train, y_train, groups)
            start, right = self.centres, []
            for epoch in epochs:
                self.centres = start + epoch
                right.append((self.predict_proba(x[test]).argmax(1) == y[test]).mean())
            self.centres = start + epochs[int(np.argmax(right))]
            return self

    class AllLabels(Nearest):
        """Weighs by everyone's classes."""

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            return super().predict_proba(x) * self.weight

        def fit(self, x: np.ndarray, y_train: np.ndarray, groups: object, *, seed: int = 0) -> "AllLabels":
            self.weight = 1 / np.bincount(y, minlength=2)
            super().fit(x, y_train, groups)
            return self

    class Strict(Nearest):
        """Scales by all clips and refuses what is no number."""

        def fit(self, x_train: np.ndarray, y: np.ndarray, groups: object, *, seed: int = 0) -> "Strict":
            if not np.isfinite(x).all():
                raise ValueError("Input contains NaN.")
            super().fit(x_train, y, groups)
            return self

    class Neighbours(Nearest):
        """Looks at all clips while it predicts."""

        def predict_proba(self, given: np.ndarray) -> np.ndarray:
            return super().predict_proba(given - np.nan_to_num(x).mean(0))

    class Unseeded(Nearest):
        def fit(self, x: np.ndarray, y: np.ndarray, groups: object, *, seed: int = 0) -> "Unseeded":
            super().fit(x + np.random.default_rng().normal(size=x.shape), y, groups)
            return self

    assert problems_of(Nearest, x, y) == ""
    assert "when the classes of test clips are destroyed" in problems_of(BestEpoch, x, y)
    assert problems_of(AllLabels, x, y) == "predictions change when the classes of test clips are destroyed elsewhere"
    assert "fails when test clips are destroyed" in problems_of(Strict, x, y)
    assert problems_of(Neighbours, x, y) == "predictions change when test clips are destroyed elsewhere"
    assert "leaks cannot be seen" in problems_of(Unseeded, x, y)


def test_choosing_the_epoch_on_the_test_subject_lifts_a_guesser() -> None:
    random = np.random.default_rng(7)
    y = random.choice(3, size=442, p=[0.57, 0.25, 0.18])
    persons = [("d", str(n // 6)) for n in range(442)]
    bound = best_epoch_bound(y, persons, draws=(1, 20, 400), repeats=3)
    assert bound[1] == pytest.approx(1 / 3, abs=0.06)
    assert bound[1] < bound[20] < bound[400]
    assert bound[400] > 0.6


def test_the_figure_for_the_real_composite(composite: Path) -> None:
    from mien.datasets.flow_images import FlowImages

    clips = FlowImages(composite).clips()
    index = {"negative": 0, "positive": 1, "surprise": 2}
    bound = best_epoch_bound(np.array([index[c.emotion] for c in clips]), [c.person for c in clips], (1, 800), 3)
    assert bound[1] == pytest.approx(0.34, abs=0.04)
    assert bound[800] == pytest.approx(0.83, abs=0.03)


def test_sixteen_pitfalls_each_with_an_answer() -> None:
    assert [p.number for p in pitfalls()] == list(range(1, 17))
    assert all(p.title and p.answer and p.by in ("design", "check", "report") for p in pitfalls())


def test_the_functions_that_the_answers_name_exist() -> None:
    named = [name for p in pitfalls() for name in re.findall(r"\b(?:check|best|f1)_\w+", p.answer)]
    assert set(named) >= {"check_folds", "check_ledger", "check_step", "check_classifier", "best_epoch_bound"}
    assert [name for name in named if not callable(getattr(leakage, name, getattr(metrics, name, None)))] == []


def test_the_page_on_leaks_says_what_the_table_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "guide" / "leaks.md").read_text(encoding="utf-8")
    assert [p.number for p in pitfalls() if f"| {p.number} | {p.title} | {p.answer} |" not in page] == []
