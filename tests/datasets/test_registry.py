"""Databases from outside the package: a table, a class, an installed package."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.datasets import DATASETS, label_maps_of, open_dataset, open_specs, register_dataset
from mien.datasets.base import card, family_of
from mien.datasets.check import check_dataset
from mien.datasets.labels import own_labels, samples
from mien.datasets.official import OfficialDataset
from mien.errors import MienError
from mien.evaluation.leakage import check_folds
from mien.evaluation.protocols import make_folds

TABLE = """
[card]
id = "mine"
title = "My database"
task = ["recognition"]
licence = "Mine."
request = "Ask me."
citation = "Me."
fps = 120
colour = false
labels = "strcn4"
family = "casme"

[card.expected]
clips = 4

[sheet]
files = ["mine_labels"]

[columns]
subject = "Person"
clip = "Clip"
onset = "On"
apex = "Top"
offset = "Off"
emotion = "Feeling"

[subject]
number = "p{:02d}"

[frames]
roots = ["frames"]
folders = ["{subject}/{clip}"]

[label_maps.strcn4]
joy = "positive"
worry = "negative"
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of that database, and its table beside it."""
    rng = np.random.default_rng(0)
    lines = ["Person,Clip,On,Top,Off,Feeling"]
    for person in (1, 2):
        for name, feeling in (("a", "joy"), ("b", "worry")):
            folder = tmp_path / "copy" / "frames" / f"p{person:02d}" / name
            folder.mkdir(parents=True)
            for number in range(3, 8):
                Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(folder / f"{number}.png")
            lines.append(f"{person},{name},3,5,7,{feeling}")
    (tmp_path / "copy" / "mine_labels.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "mine.toml").write_text(TABLE, encoding="utf-8")
    return tmp_path / "copy"


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    for name in ("mine", "other"):
        DATASETS.unregister(name)


def test_a_table_alone_is_a_database(copy: Path) -> None:
    found = register_dataset(table=copy.parent / "mine.toml")
    assert found.id == "mine"
    assert "mine" in DATASETS
    dataset = open_specs([f"mine={copy}"])[0]
    clips = dataset.clips()
    assert [(c.key, c.fps, len(c.frames), c.emotion) for c in clips] == [
        ("mine/p01/a", 120, 5, "joy"),
        ("mine/p01/b", 120, 5, "worry"),
        ("mine/p02/a", 120, 5, "joy"),
        ("mine/p02/b", 120, 5, "worry"),
    ]
    assert check_dataset(dataset).problems == ()


def test_label_maps_take_a_database_they_never_heard_of(copy: Path) -> None:
    register_dataset(table=copy.parent / "mine.toml")
    clips = open_dataset("mine", copy).clips()
    assert label_maps_of("mine") == ("own", "strcn4")
    assert own_labels(clips).classes == ("joy", "worry")
    assert [s.label for s in samples(clips, "own")] == [0, 1, 0, 1]
    assert [s.label for s in samples(clips, "strcn4")] == [0, 1, 0, 1], "the table has rules of its own"


def test_families_of_subjects_are_part_of_the_table(copy: Path) -> None:
    register_dataset(table=copy.parent / "mine.toml")
    assert family_of("mine") == family_of("casme2") == "casme"
    assert family_of("nobody") == ""
    clips = open_dataset("mine", copy).clips()
    other = [type(c)("casme2", f"{i:02d}", c.name, None, c.emotion) for i, c in enumerate(clips)]
    table = samples([*clips, *other], "own")
    assert any("may share people" in p.what for p in check_folds(table, make_folds("loso", table)))


def test_a_class_with_a_table(copy: Path) -> None:
    @register_dataset
    class Mine(OfficialDataset):
        """A database with a rule that no table can say."""

        id = "mine"
        table_file = copy.parent / "mine.toml"

        def _subject(self, row: object) -> str:
            return f"person{super()._subject(row)}"  # type: ignore[arg-type]

        def _fields(self, row: object, subject: str) -> dict[str, str]:
            return super()._fields(row, subject.removeprefix("person"))  # type: ignore[arg-type]

    assert DATASETS["mine"] is Mine
    assert {c.subject for c in open_dataset("mine", copy).clips()} == {"personp01", "personp02"}


def test_an_import_path_and_an_installed_package(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = copy.parent / "site"
    package = site / "my_package"
    package.mkdir(parents=True)
    (package / "mine.toml").write_text(TABLE, encoding="utf-8")
    (package / "__init__.py").write_text(
        "from importlib.resources import files\n\nTABLE = files('my_package') / 'mine.toml'\n", encoding="utf-8"
    )
    info = site / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[mien.datasets]\nmine = my_package:TABLE\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    DATASETS.refresh()
    try:
        assert len(open_specs([f"my_package:TABLE={copy}"])[0].clips()) == 4
        assert len(open_dataset("mine", copy).clips()) == 4
        assert "mine" in set(DATASETS)
        assert DATASETS.origin("mine").package == "my-package"
    finally:
        sys.modules.pop("my_package", None)
        monkeypatch.undo()
        importlib.invalidate_caches()
        DATASETS.refresh()


def test_a_name_that_is_taken_leaves_the_database_as_it_is(copy: Path) -> None:
    taken = copy.parent / "taken.toml"
    taken.write_text(TABLE.replace('id = "mine"', 'id = "casme2"'), encoding="utf-8")
    with pytest.raises(MienError, match="casme2"):
        register_dataset(table=taken)
    assert card("casme2").title == "CASME II"


@pytest.mark.parametrize(
    ("text", "says"),
    [("[card", "cannot be read"), ("[sheet]", "not complete"), (TABLE.replace("licence", "license"), "license")],
)
def test_a_table_that_lacks_something_is_named(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(MienError, match=says) as caught:
        register_dataset(table=tmp_path / "mine.toml")
    assert "mine.toml" in caught.value.found


def test_a_table_without_columns_says_so_when_it_is_opened(copy: Path) -> None:
    register_dataset(table=copy.parent / "mine.toml")
    table = copy.parent / "other.toml"
    table.write_text(TABLE.replace('"mine"', '"other"').replace("[frames]", "[pictures]"), encoding="utf-8")
    register_dataset(table=table)
    with pytest.raises(MienError, match=r"other\.toml.*frames"):
        open_dataset("other", copy)


def test_what_is_no_dataset_is_refused() -> None:
    with pytest.raises(MienError, match="is no dataset"):
        register_dataset(int)  # type: ignore[arg-type]
    with pytest.raises(MienError, match="neither a class nor a table"):
        register_dataset()
