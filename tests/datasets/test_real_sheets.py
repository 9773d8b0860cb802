"""Real label sheets with placeholder frames: what is read equals what openpyxl and csv alone count."""

from __future__ import annotations

import csv
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from mien.datasets import open_dataset
from mien.datasets.action_units import parse
from mien.datasets.check import check_dataset
from mien.datasets.labels import samples
from mien.datasets.official import OfficialDataset
from mien.datasets.releases import list_statuses

SHEETS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "label_sheets"

pytestmark = pytest.mark.skipif(not SHEETS.is_dir(), reason="the real label sheets are not beside the project")

Row = tuple[Any, ...]


@cache
def table(file: str, first: int, page: int = 0) -> list[Row]:
    """Rows of a sheet from its `first` row on, as openpyxl or csv gives them; blank ones left out."""
    path = SHEETS / file
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return [tuple(row) for row in list(csv.reader(lines))[first - 1 :] if any(row)]
    found = openpyxl.load_workbook(path, data_only=True).worksheets[page]
    return [row for row in found.iter_rows(min_row=first, values_only=True) if row[0] is not None]


@dataclass(frozen=True)
class Sheet:
    """A real sheet and how to count in it without the library.

    Attributes:
        files: Files to copy.
        rows: Its rows.
        place: Row -> (subject, folder below the copy, frame numbers that exist).
        subject, emotion, units, kind: Places of these columns; None where there is none.
    """

    files: tuple[str, ...]
    rows: Callable[[], list[Row]]
    place: Callable[[Row], tuple[str, str, tuple[int, ...]]]
    subject: int = 0
    emotion: int | None = None
    units: int | None = None
    kind: int | None = None


def whole(*values: object) -> tuple[int, ...]:
    return tuple(int(str(v)) for v in values if re.fullmatch("[0-9]+", str(v)) and int(str(v)) > 0)


def casme_sq_place(row: Row) -> tuple[str, str, tuple[int, ...]]:
    people = {str(r[2]): r[1] for r in table("CAS(ME)^2code_final(Updated).xlsx", 1, 1)}
    codes = {r[1]: r[0] for r in table("CAS(ME)^2code_final(Updated).xlsx", 1, 2)}
    subject = people[str(row[0])]
    video = f"{subject[1:]}_{codes[row[1].split('_')[0]]}film"
    return subject, f"rawpic/{subject}/{video}", whole(row[2], row[3], row[4])


CASME_SQ: dict[str, Any] = {"place": casme_sq_place, "emotion": 6, "units": 5, "kind": 7}

REAL = {
    "casme2": Sheet(
        ("CASME2-coding-20140508.xlsx", "CASME2-ObjectiveClasses.xlsx"),
        lambda: table("CASME2-coding-20140508.xlsx", 2),
        lambda r: (r[0], f"CASME2_RAW_selected/sub{r[0]}/{r[1]}", whole(*r[3:6])),
        emotion=8,
        units=7,
    ),
    "samm": Sheet(
        ("SAMM_Micro_FACS_Codes_v2.xlsx",),
        lambda: table("SAMM_Micro_FACS_Codes_v2.xlsx", 15),
        lambda r: (r[0], f"SAMM/{r[0]}/{r[1]}", whole(*r[3:6])),
        emotion=9,
        units=8,
    ),
    "samm_lv": Sheet(
        ("SAMM_LongVideos_V2_Release.csv",),
        lambda: table("SAMM_LongVideos_V2_Release.csv", 11),
        lambda r: (r[0], f"SAMM_longvideos/{'_'.join(r[1].split('_')[:2])}", whole(*r[3:6])),
        units=8,
        kind=7,
    ),
    "smic_hs": Sheet(
        ("SMIC-HS-E_annotation.xlsx",),
        lambda: table("SMIC-HS-E_annotation.xlsx", 2),
        lambda r: (f"s{r[0]}", f"HS_long/SMIC-HS-E/s{r[0]:02d}/{r[1]}", whole(*r[3:7])),
        emotion=13,
    ),
    "dfme": Sheet(
        ("DFME_training.xlsx",),
        lambda: table("DFME_training.xlsx", 2),
        lambda r: (r[0], f"train/{r[1]}", whole(*r[2:5])),
        emotion=5,
        units=8,
    ),
    "casme3_a": Sheet(
        ("cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",),
        lambda: table("cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", 2),
        lambda r: (
            r[0],
            f"Part_A_ME_clip/frame/{r[0].replace('NO', 'No')}_{r[1]}_{r[2]}",
            whole(*("2647" if n == "3647" else n for n in r[2:5])),
        ),
        emotion=7,
        units=5,
    ),
    "casme_sq": Sheet(
        ("CAS(ME)^2code_final(Updated).xlsx",), lambda: table("CAS(ME)^2code_final(Updated).xlsx", 1), **CASME_SQ
    ),
    "casme_sq csv": Sheet(
        ("CAS(ME)^2code_final(Updated).csv",), lambda: table("CAS(ME)^2code_final(Updated).csv", 1), **CASME_SQ
    ),
}


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, OfficialDataset]:
    """Each sheet beside empty files for the frames that it names."""
    opened = {}
    for name, sheet in REAL.items():
        root = tmp_path_factory.mktemp("copy")
        for file in sheet.files:
            shutil.copy(SHEETS / file, root / file)
        for _, folder, numbers in {sheet.place(row) for row in sheet.rows()}:
            (root / folder).mkdir(parents=True, exist_ok=True)
            for number in numbers:
                (root / folder / f"img{number}.jpg").touch()
        dataset = open_dataset(name.split()[0], root)
        assert isinstance(dataset, OfficialDataset)
        opened[name] = dataset
    return opened


def second(row: Row) -> bool:
    """Whether a row of SMIC-E names a second interval."""
    return len(row) == 16 and row[5] is not None and row[6] is not None


@pytest.mark.parametrize("name", REAL)
def test_rows_clips_and_subjects(name: str, copies: dict[str, OfficialDataset]) -> None:
    rows, dataset = REAL[name].rows(), copies[name]
    expressions = dataset.expressions()
    assert len(expressions) == len(rows) + sum(map(second, rows))
    assert len({c.key for c in expressions}) == len(expressions)
    assert {c.subject for c in expressions} == {REAL[name].place(row)[0] for row in rows}
    kind = REAL[name].kind
    words = ["macro" if kind is not None and "macro" in row[kind].lower() else "micro" for row in rows]
    extra = sum(map(second, rows))
    assert Counter(c.extra["kind"] for c in expressions) == Counter(words) + Counter(micro=extra)
    assert len(dataset.clips()) == words.count("micro")


@pytest.mark.parametrize("name", REAL)
def test_expressions_by_emotion(name: str, copies: dict[str, OfficialDataset]) -> None:
    sheet = REAL[name]
    if sheet.emotion is None:
        assert {c.emotion for c in copies[name].expressions()} == {""}
        return
    expected = Counter(str(row[sheet.emotion]).lower() for row in sheet.rows() for _ in range(1 + second(row)))
    assert Counter(c.emotion for c in copies[name].expressions()) == expected


@pytest.mark.parametrize("name", REAL)
def test_every_row_has_its_interval_and_its_frames(name: str, copies: dict[str, OfficialDataset]) -> None:
    dataset = copies[name]
    assert [c.key for c in dataset.expressions() if c.interval is None or not c.frames] == []
    for clip in dataset.clips():
        assert clip.interval is not None
        assert clip.interval.onset in clip.frame_nos or clip.interval.onset == 0


@pytest.mark.parametrize("name", [name for name, sheet in REAL.items() if sheet.units is not None])
def test_every_number_of_a_cell_of_action_units_is_read(name: str, copies: dict[str, OfficialDataset]) -> None:
    """Independent of the parser: every number in the cell, but counts such as "2x"."""
    sheet = REAL[name]
    assert sheet.units is not None
    printed = [str(row[sheet.units] or "") for row in sheet.rows()]
    total = 0
    for text in printed:
        wanted = [int(n) for n in re.findall(r"\d+(?!\d|x)", text)]
        found = []
        for unit in parse(text):
            found += [unit.number, *(other.number for reading in unit.alternatives for other in reading)]
        assert sorted(found) in (sorted(wanted), sorted({*wanted})) or sorted(set(found)) == sorted(set(wanted)), text
        total += len(set(found))
    counted = sum(len({int(n) for n in re.findall(r"\d+(?!\d|x)", text)}) for text in printed)
    assert total == counted
    cells = [c.extra.get("action_units_printed", c.action_units) for c in copies[name].expressions()]
    assert sum(bool(re.search(r"\d", text)) for text in cells) == sum(bool(re.search(r"\d", t)) for t in printed)


COUNTED = {
    ("casme2", "megc2019"): 145,
    ("casme2", "casme2_5"): 246,
    ("casme2", "strcn4"): 255,
    ("casme2", "objective"): 255,
    ("casme2", "objective5"): 185,
    ("samm", "megc2019"): 133,
    ("samm", "samm_5"): 136,
    ("samm", "strcn4"): 159,
    ("samm", "objective"): 159,
    ("samm", "objective5"): 68,
    ("smic_hs", "megc2019"): 162,
    ("smic_hs", "strcn4"): 162,
    ("dfme", "own"): 1856,
    ("dfme", "strcn4"): 1856,
    ("casme3_a", "own"): 860,
    ("casme3_a", "objective"): 860,
    ("casme3_a", "objective5"): 484,
    ("casme_sq", "own"): 57,
    ("casme_sq csv", "own"): 57,
}


@pytest.mark.parametrize(("name", "labels"), COUNTED)
def test_clips_of_each_label_map(name: str, labels: str, copies: dict[str, OfficialDataset]) -> None:
    assert len(samples(copies[name].clips(), labels, pytest.fail)) == COUNTED[name, labels]


def test_the_counts_of_label_maps_are_those_of_the_sheets() -> None:
    casme2 = Counter(r[8] for r in REAL["casme2"].rows())
    samm = Counter(r[9] for r in REAL["samm"].rows())
    classes = Counter(r[2] for r in table("CASME2-ObjectiveClasses.xlsx", 2))
    assert casme2.total() - casme2["others"] - casme2["fear"] - casme2["sadness"] - 2 == 145
    assert casme2.total() - casme2["fear"] - casme2["sadness"] == 246
    assert samm.total() - samm["Other"] == 133
    assert samm.total() - samm["Disgust"] - samm["Fear"] - samm["Sadness"] == 136
    assert sum(classes[k] for k in range(1, 6)) == 185
    assert sum(r[10] <= 5 for r in REAL["samm"].rows()) == 68
    assert sum(r[6] in ("I", "II", "III", "IV", "V") for r in REAL["casme3_a"].rows()) == 484


@pytest.mark.parametrize(
    ("name", "release", "lists"),
    [
        ("casme2", "2014-05-08", {"megc2019": True, "casme2_5": False, "objective5": None, "strcn4": False}),
        ("samm", "micro-movements", {"megc2019": True, "samm_5": None, "objective5": None, "strcn4": None}),
        ("smic_hs", "162 rows", {"megc2019": False, "strcn4": False}),
        ("dfme", "training part", {}),
        ("casme3_a", "version 2", {}),
        ("samm_lv", "502 rows", {}),
    ],
)
def test_the_check_names_the_release_and_the_published_lists(
    name: str, release: str, lists: dict[str, bool | None], copies: dict[str, OfficialDataset]
) -> None:
    result = check_dataset(copies[name])
    assert release in result.release
    assert {s.label_map: s.same for s in list_statuses(copies[name].clips())} == lists
    for text in result.lists:
        if lists[text.split(":")[0]] is False:
            assert "(" in text, "says why not"
    assert not any("no interval" in p.what or "Counts" in p.what for p in result.problems)


def test_the_second_intervals_of_smic_are_true_for_spotting(copies: dict[str, OfficialDataset]) -> None:
    from mien.evaluation.spotting.benchmark import filmed

    films = filmed([copies["smic_hs"]])
    assert len(films) == 162
    assert sum(len(film.true) for film in films) == 167
    assert {len(f.true) for f in films if f.clip.name in ("s20_ne_06", "s20_ne_09", "s20_sur_02")} == {2}


def test_the_long_videos_of_samm_hold_every_expression(copies: dict[str, OfficialDataset]) -> None:
    from mien.evaluation.spotting.benchmark import filmed

    films = filmed([copies["samm_lv"]])
    assert (len(films), sum(len(film.true) for film in films)) == (147, 502)
    twice = [c for c in copies["samm_lv"].expressions() if c.extra["video"] == "037_4" and "4_1" in c.name]
    assert [(c.name, c.extra["kind"]) for c in twice] == [("037_4_1", "micro"), ("037_4_1_macro", "macro")]


def test_frame_rates_of_dfme_are_those_of_the_rows(copies: dict[str, OfficialDataset]) -> None:
    assert Counter(c.fps for c in copies["dfme"].clips()) == {500: 695, 300: 605, 200: 556}


def test_the_slip_in_casme3_is_corrected_by_subject_and_clip(copies: dict[str, OfficialDataset]) -> None:
    clip = next(c for c in copies["casme3_a"].clips() if c.subject == "spNO.216" and c.name.startswith("d"))
    assert clip.interval is not None
    assert (clip.interval.onset, clip.interval.apex, clip.interval.offset) == (2647, 2668, 2694)
    notes = {p.where: p.what for p in copies["casme3_a"].problems()}
    assert "'3647' is read as '2647'" in notes[clip.key]
