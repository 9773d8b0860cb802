import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import LeaveOneGroupOut, train_test_split

from mien.errors import MienError
from mien.protocols.leakage import check_folds
from mien.protocols.splits import PROTOCOLS, fold_notes, make_folds
from mien.types import Clip, Sample


def sample(subject: str, name: str, label: int, dataset: str = "casme2", origin: str = "") -> Sample:
    return Sample(Clip(dataset, subject, name, None, ""), label, origin)


def table(n_subjects: int = 8, clips: int = 6, datasets: tuple[str, ...] = ("casme2", "samm")) -> list[Sample]:
    return [
        sample(f"s{s:02d}", f"c{c}", (s + c) % 3, datasets[s % len(datasets)])
        for s in range(n_subjects)
        for c in range(clips)
    ]


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_folds_are_disjoint_named_and_repeatable(name: str) -> None:
    samples = table()
    folds = make_folds(name, samples)
    assert folds == make_folds(name, samples)
    assert len({f.name for f in folds}) == len(folds)
    for fold in folds:
        assert not set(fold.train) & set(fold.test)
        assert list(fold.test) == sorted(fold.test)
        assert list(fold.train) == sorted(fold.train)
        assert set(fold.name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-+")
    errors = [
        p for p in check_folds(samples, folds, shares_subjects=PROTOCOLS[name].shares_subjects) if p.severity == "error"
    ]
    if name == "holdout_reddy":
        assert len(folds) == 1
    else:
        assert Counter(i for f in folds for i in f.test) == Counter(range(len(samples)))
    assert errors == []


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_a_protocol_that_shares_subjects_says_so(name: str) -> None:
    samples = table()
    shares = any(
        {samples[i].clip.person for i in f.train} & {samples[i].clip.person for i in f.test}
        for f in make_folds(name, samples)
    )
    assert shares == PROTOCOLS[name].shares_subjects
    assert shares == bool(PROTOCOLS[name].warning)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.integers(0, 2)), min_size=4, max_size=40),
)
def test_loso_is_leave_one_group_out(rows: list[tuple[str, int, int]]) -> None:
    samples = [sample(str(s), str(n), y, d) for n, (d, s, y) in enumerate(rows)]
    persons = list(dict.fromkeys(s.clip.person for s in samples))
    if len(persons) < 2 or len({s.label for s in samples}) < 2:
        with pytest.raises(MienError):
            make_folds("loso", samples)
        return
    groups = [persons.index(s.clip.person) for s in samples]
    expected = [tuple(test.tolist()) for _, test in LeaveOneGroupOut().split(samples, groups=groups)]
    assert [f.test for f in make_folds("loso", samples)] == expected


def test_same_print_in_two_databases_is_two_people() -> None:
    samples = [sample("sub01", f"c{k}", k % 2, d) for d in ("casme2", "smic_hs") for k in range(3)]
    assert [f.name for f in make_folds("loso", samples)] == ["casme2-sub01", "smic_hs-sub01"]


def test_names_that_become_equal_stay_unique() -> None:
    samples = [sample("a b", "1", 0), sample("a/b", "1", 1), sample("a_b", "1", 0)]
    assert len({f.name for f in make_folds("loso", samples)}) == 3


def test_lovo5_holds_out_five_percent() -> None:
    samples = [sample(str(n % 9), str(n), n % 3) for n in range(164)]
    folds = make_folds("lovo5", samples)
    assert len(folds) == 20
    assert {len(f.test) for f in folds} == {8, 9}
    assert folds != make_folds("lovo5", samples, seed="1")


def test_copies_stay_with_their_clip() -> None:
    clips = [sample(f"s{n % 5}", f"c{n}", n % 2) for n in range(20)]
    copies = [sample(s.clip.subject, f"{s.clip.name}+{k}", s.label, origin=s.clip.key) for s in clips for k in range(3)]
    for name in ("loso", "lovo", "lovo5", "kfold_subject", "holdout_reddy"):
        for fold in make_folds(name, clips + copies):
            both = [clips + copies][0]
            sides = [{both[i].origin or both[i].clip.key for i in side} for side in (fold.train, fold.test)]
            assert not sides[0] & sides[1]


def test_reddy_split_is_scikit_learns_and_has_the_published_counts() -> None:
    labels = [0] * 66 + [1] * 47 + [2] * 43
    samples = [sample("s", str(n), y) for n, y in enumerate(labels)]
    fold = make_folds("holdout_reddy", samples)[0]
    _, theirs = train_test_split(np.arange(156), test_size=0.2, random_state=4)
    assert fold.test == tuple(sorted(theirs.tolist()))
    assert [sum(labels[i] == c for i in fold.test) for c in range(3)] == [19, 6, 7]
    assert len(fold.test) == math.ceil(0.2 * 156)


def test_kfold_keeps_subjects_whole_and_classes_even() -> None:
    samples = [sample(f"s{n // 6:02d}", str(n), n % 3) for n in range(120)]
    folds = make_folds("kfold_subject", samples, k=4)
    for fold in folds:
        assert len({samples[i].clip.subject for i in fold.test}) == 5
        assert Counter(samples[i].label for i in fold.test) == {0: 10, 1: 10, 2: 10}


def test_cross_dataset_by_name_and_in_turn() -> None:
    samples = table(9, 4, ("casme2", "samm", "smic_hs"))
    names = [f.name for f in make_folds("cross_dataset", samples)]
    assert names == ["samm+smic_hs-to-casme2", "casme2+smic_hs-to-samm", "casme2+samm-to-smic_hs"]
    fold = make_folds("cross_dataset", samples, train="casme2", test="samm")[0]
    assert {samples[i].clip.dataset for i in fold.train} == {"casme2"}
    assert {samples[i].clip.dataset for i in fold.test} == {"samm"}


@pytest.mark.parametrize(
    ("name", "parameters", "samples", "words"),
    [
        ("loso", {}, [sample("a", "1", 0), sample("a", "2", 1)], "1 subject"),
        ("loso", {}, [sample("a", "1", 0), sample("b", "2", 0)], "1 class"),
        ("loso", {"k": 3}, table(), "no parameter 'k'"),
        ("kfold_subject", {"k": 50}, table(), "8 subjects"),
        ("kfold_subject", {"k": "many"}, table(), "cannot be read"),
        ("composite", {}, table(datasets=("samm",)), "one database"),
        ("cross_dataset", {"test": "sammm"}, table(), "`samm`"),
        ("cross_dataset", {"train": "samm", "test": "samm"}, table(), "both sides"),
        ("losso", {}, table(), "`loso`"),
        ("lovo5", {"share": 2}, table(), "between 0 and 1"),
    ],
)
def test_mistakes_have_three_parts(name: str, parameters: dict[str, object], samples: list[Sample], words: str) -> None:
    with pytest.raises(MienError) as caught:
        make_folds(name, samples, **parameters)
    assert words in str(caught.value)


def test_a_training_fold_without_a_class_is_noted() -> None:
    samples = [sample("a", "1", 2), sample("b", "1", 0), sample("c", "1", 1), sample("c", "2", 0)]
    notes = fold_notes(samples, make_folds("loso", samples))
    assert [(n.where, n.severity) for n in notes] == [("casme2-a", "note"), ("casme2-c", "note")]


def test_the_real_composite_has_sixty_eight_folds(composite: Path) -> None:
    from mien.datasets.flow_images import FlowImages

    labels = {"negative": 0, "positive": 1, "surprise": 2}
    samples = [Sample(c, labels[c.emotion], c.key) for c in FlowImages(composite).clips()]
    folds = make_folds("loso", samples)
    assert len(folds) == 68
    assert folds == make_folds("composite", samples)
    assert sum(len(f.test) <= 4 for f in folds) == 36
