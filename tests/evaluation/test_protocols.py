import math
import warnings
from collections import Counter
from collections.abc import Hashable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import LeaveOneGroupOut, train_test_split

from mien.errors import MienError
from mien.evaluation.leakage import check_folds
from mien.evaluation.protocols import PROTOCOLS, lacking_classes, make_folds
from mien.types import Clip, Sample

ANYWHERE = sorted(set(PROTOCOLS) - {"synthetic_to_real"})
"""Protocols that ask for no particular database."""


def sample(subject: str, name: str, label: int, dataset: str = "casme2", origin: str = "") -> Sample:
    return Sample(Clip(dataset, subject, name, None, ""), label, origin)


def table(n_subjects: int = 8, clips: int = 6, datasets: tuple[str, ...] = ("casme2", "samm")) -> list[Sample]:
    return [
        sample(f"s{s:02d}", f"c{c}", (s + c) % 3, datasets[s % len(datasets)])
        for s in range(n_subjects)
        for c in range(clips)
    ]


@pytest.mark.parametrize("name", ANYWHERE)
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


@pytest.mark.parametrize("name", ANYWHERE)
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


ROWS = st.lists(
    st.tuples(st.sampled_from(["casme2", "samm"]), st.integers(0, 4), st.integers(0, 2), st.integers(0, 2)),
    min_size=12,
    max_size=40,
)


def random_table(rows: list[tuple[str, int, int, int]]) -> list[Sample]:
    """Clips of two databases, some with up to two copies, in the order drawn."""
    samples = []
    for n, (dataset, subject, label, copies) in enumerate(rows):
        samples.append(sample(f"s{subject}", str(n), label, dataset))
        key = samples[-1].clip.key
        samples += [sample(f"s{subject}", f"{n}+{c}", label, dataset, key) for c in range(copies)]
    return samples


@pytest.mark.parametrize("name", ANYWHERE)
@settings(max_examples=25, deadline=None)
@given(rows=ROWS)
def test_every_protocol_on_any_table(name: str, rows: list[tuple[str, int, int, int]]) -> None:
    samples = random_table(rows)
    parameters = {"k": 2} if name == "kfold_subject" else {}
    if len({s.clip.dataset for s in samples}) < 2 or len({s.label for s in samples}) < 2:
        with pytest.raises(MienError):
            # One database alone is a mistake only where several are asked for; one class alone always is.
            make_folds("composite", samples)
        return
    folds = make_folds(name, samples, **parameters)
    assert folds == make_folds(name, samples, **parameters)
    tested: Counter[int] = Counter()
    for fold in folds:
        tested.update(fold.test)
        assert fold.train
        assert fold.test
        if name == "holdout_reddy" or not PROTOCOLS[name].shares_subjects:
            assert len(fold.train) + len(fold.test) == len(samples)
        origins = [{samples[i].origin or samples[i].clip.key for i in side} for side in (fold.train, fold.test)]
        assert not origins[0] & origins[1]
        if not PROTOCOLS[name].shares_subjects:
            people = [{samples[i].clip.person for i in side} for side in (fold.train, fold.test)]
            assert not people[0] & people[1]
    if name != "holdout_reddy":
        assert tested == Counter(range(len(samples)))


def held_out(samples: list[Sample], name: str) -> dict[str, set[str]]:
    return {f.name: {samples[i].clip.key for i in f.test} for f in make_folds(name, samples)}


@pytest.mark.parametrize("name", ["loso", "composite", "lovo", "cross_dataset"])
@settings(max_examples=20, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_what_is_held_out_does_not_depend_on_the_order_of_the_table(name: str, random: Random) -> None:
    samples = table()
    shuffled = random.sample(samples, len(samples))
    assert sorted(map(sorted, held_out(samples, name).values())) == sorted(
        map(sorted, held_out(shuffled, name).values())
    )


@pytest.mark.parametrize("name", ["loso", "composite", "lovo"])
def test_a_further_subject_changes_no_other_fold(name: str) -> None:
    samples = table()
    more = [*samples[:7], sample("new", "c0", 1), *samples[7:]]
    before, after = held_out(samples, name), held_out(more, name)
    assert after.items() > before.items()
    assert len(after) == len(before) + 1


def test_loso_lovo_and_cross_dataset_by_plain_loops() -> None:
    samples = random_table([("casme2" if n % 3 else "samm", n % 4, n % 3, n % 2) for n in range(18)])
    keys: dict[str, Sequence[Hashable]] = {
        "loso": [s.clip.person for s in samples],
        "lovo": [s.origin or s.clip.key for s in samples],
        "cross_dataset": [s.clip.dataset for s in samples],
    }
    for name, values in keys.items():
        expected = []
        for value in dict.fromkeys(values):
            test = tuple(i for i in range(len(samples)) if values[i] == value)
            expected.append((tuple(i for i in range(len(samples)) if i not in test), test))
        assert [(f.train, f.test) for f in make_folds(name, samples)] == expected


def test_same_print_in_two_databases_is_two_people() -> None:
    samples = [sample("sub01", f"c{k}", k % 2, d) for d in ("casme2", "smic_hs") for k in range(3)]
    assert [f.name for f in make_folds("loso", samples)] == ["casme2-sub01", "smic_hs-sub01"]


def test_names_that_become_equal_stay_unique() -> None:
    samples = [sample(s, "1", n % 2) for n, s in enumerate(("a b", "a/b", "a_b", "A_b"))]
    assert len({f.name.lower() for f in make_folds("loso", samples)}) == 4


def test_people_whose_joined_ids_are_equal_stay_two() -> None:
    samples = [sample("b-c", "1", 0, "a"), sample("c", "1", 1, "a-b"), sample("d", "1", 1, "a")]
    assert len(make_folds("loso", samples)) == 3


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
        both = copies + clips
        for fold in make_folds(name, both):
            sides = [{both[i].origin or both[i].clip.key for i in side} for side in (fold.train, fold.test)]
            assert not sides[0] & sides[1]


@pytest.mark.parametrize("name", ["loso", "composite", "kfold_subject", "cross_dataset"])
def test_a_copy_under_another_subject_or_database_goes_with_its_origin(name: str) -> None:
    samples = table()
    stray = sample("augmented", "copy", samples[0].label, "copies", samples[0].clip.key)
    for both in ([stray, *samples], [*samples, stray]):
        place, origin = both.index(stray), both.index(samples[0])
        for fold in make_folds(name, both):
            assert (place in fold.test) == (origin in fold.test)
            assert (place in fold.train) == (origin in fold.train)


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


def test_a_rare_class_makes_no_foreign_warning() -> None:
    samples = [sample(f"s{n % 6}", str(n), 0 if n else 1) for n in range(24)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(make_folds("kfold_subject", samples)) == 5


def test_synthetic_to_real_trains_on_all_that_is_made_and_on_nothing_else() -> None:
    samples = table(9, datasets=("casme2", "synthetic", "samm"))
    (fold,) = make_folds("synthetic_to_real", samples)
    made = [i for i, s in enumerate(samples) if s.clip.dataset == "synthetic"]
    assert list(fold.train) == made
    assert sorted([*fold.train, *fold.test]) == list(range(len(samples)))
    for datasets in (("synthetic",), ("casme2", "samm")):
        with pytest.raises(MienError, match="The clips come from"):
            make_folds("synthetic_to_real", table(datasets=datasets))


def test_cross_dataset_by_name_and_in_turn() -> None:
    samples = table(9, 4, ("casme2", "samm", "smic_hs"))
    names = [f.name for f in make_folds("cross_dataset", samples)]
    assert names == ["samm+smic_hs-to-casme2", "casme2+smic_hs-to-samm", "casme2+samm-to-smic_hs"]
    fold = make_folds("cross_dataset", samples, train="casme2, casme2", test=" samm,")[0]
    assert fold.name == "casme2-to-samm"
    assert len(set(fold.train)) == len(fold.train)
    assert {samples[i].clip.dataset for i in fold.train} == {"casme2"}
    assert {samples[i].clip.dataset for i in fold.test} == {"samm"}


@pytest.mark.parametrize(
    ("name", "parameters", "samples", "words"),
    [
        ("loso", {}, [sample("a", "1", 0), sample("a", "2", 1)], "1 subject"),
        ("loso", {}, [sample("a", "1", 0), sample("b", "2", 0)], "1 class"),
        ("loso", {"k": 3}, table(), "no parameter 'k'"),
        ("kfold_subject", {"k": 50}, table(), "8 subjects"),
        ("kfold_subject", {"k": "many"}, table(), "k='many' cannot be used"),
        ("kfold_subject", {"k": 2.5}, table(), "a whole number"),
        ("kfold_subject", {"k": None}, table(), "a whole number"),
        ("lovo5", {"seed": -1}, table(), "from 0"),
        ("holdout_reddy", {"share": "-0.2"}, table(), "at most 0.5"),
        ("holdout_reddy", {"share": float("nan")}, table(), "at most 0.5"),
        ("composite", {}, table(datasets=("samm",)), "one database"),
        ("cross_dataset", {"test": "sammm"}, table(), "`samm`"),
        ("cross_dataset", {"train": "samm", "test": "samm"}, table(), "both sides"),
        ("cross_dataset", {"train": "casme2, samm"}, table(), "makes no fold"),
        ("losso", {}, table(), "`loso`"),
        ("lovo5", {"share": 2}, table(), "at most 0.5"),
    ],
)
def test_mistakes_have_three_parts(name: str, parameters: dict[str, object], samples: list[Sample], words: str) -> None:
    with pytest.raises(MienError) as caught:
        make_folds(name, samples, **parameters)
    assert words in str(caught.value)


def test_a_training_fold_without_a_class_is_noted() -> None:
    samples = [sample("a", "1", 2), sample("b", "1", 0), sample("c", "1", 1), sample("c", "2", 0)]
    assert lacking_classes(samples, make_folds("loso", samples)) == {"casme2-a": [2], "casme2-c": [1]}


def test_the_real_composite_has_sixty_eight_folds(composite: Path) -> None:
    from mien.datasets.flow_images import FlowImages

    labels = {"negative": 0, "positive": 1, "surprise": 2}
    samples = [Sample(c, labels[c.emotion], c.key) for c in FlowImages(composite).clips()]
    folds = make_folds("loso", samples)
    assert len(folds) == 68
    assert folds == make_folds("composite", samples)
    assert sum(len(f.test) <= 4 for f in folds) == 36
