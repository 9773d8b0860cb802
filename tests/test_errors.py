"""Errors of names: what is suggested."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from mien.datasets import DATASETS, open_dataset
from mien.datasets.labels import label_map
from mien.descriptors import descriptor
from mien.errors import MienError, nearest_name, unknown_name
from mien.evaluation.protocols import make_folds
from mien.systems import system


def test_an_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(MienError("a", "b", "c")))
    assert (error.found, error.expected, error.fix) == ("a", "b", "c")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("STRCN_G", "strcn-g"),
        ("strcng", "strcn-g"),
        ("STSTNet", "ststnet"),
        ("svm", "flow-svm"),
        ("strcn-g-v2", "strcn-g"),
    ],
)
def test_a_system_is_suggested_by_spelling_and_meaning(typed: str, meant: str) -> None:
    with pytest.raises(MienError) as caught:
        system(typed)
    assert caught.value.fix.startswith(f"`{meant}`")


@pytest.mark.parametrize(("typed", "meant"), [("loso_cv", "loso"), ("LOSO", "loso"), ("leave-one-video-out", "lovo")])
def test_a_protocol_is_suggested_by_spelling_and_meaning(typed: str, meant: str) -> None:
    with pytest.raises(MienError) as caught:
        make_folds(typed, [])
    assert caught.value.fix.startswith(f"`{meant}`")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("casme2_raw", "casme2"),
        ("CASME-2", "casme2"),
        ("sammlv", "samm_lv"),
        ("casme3", "casme3_a"),
        ("casmeii", "casme2"),
        ("CASME-II", "casme2"),
        ("CASME II", "casme2"),
        ("CAS(ME)^2", "casme_sq"),
        ("CAS(ME)²", "casme_sq"),
        ("4DME", "fourdme"),
    ],
)
def test_a_database_is_suggested_by_spelling_and_meaning(typed: str, meant: str) -> None:
    assert meant in DATASETS
    with pytest.raises(MienError) as caught:
        open_dataset(typed, Path())
    assert caught.value.fix.startswith(f"`{meant}`")


def test_a_descriptor_and_a_label_map_are_suggested() -> None:
    with pytest.raises(MienError, match="`bi-woof`"):
        descriptor("BiWOOF")
    with pytest.raises(MienError, match="`megc2019`"):
        label_map("MEGC-2019")
    with pytest.raises(MienError, match="`casme2_5`"):
        label_map("5-class")


def test_a_preset_is_suggested_by_meaning_where_it_exists() -> None:
    assert unknown_name("preset", "fast", ["paper", "small"], "mien systems x").fix.startswith("`small`")
    assert unknown_name("preset", "fast", ["paper"], "mien systems x").fix == "`mien systems x` for the list."


def test_nothing_is_suggested_for_a_name_like_no_other() -> None:
    assert nearest_name("zzz", ["casme2", "samm"]) is None
    assert nearest_name("", ["casme2", "samm"]) is None
    assert nearest_name("[/x]", []) is None
