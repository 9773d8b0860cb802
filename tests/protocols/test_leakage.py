from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.benchmark.ledger import Ledger, Row
from mien.protocols.leakage import best_epoch_bound, check_classifier, check_folds, check_ledger, check_step, pitfalls
from mien.protocols.splits import make_folds
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
            "given",
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
        ({"clip": "nobody"}, "not in the clip table"),
        ({"interval": "found"}, "mixed origin"),
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
