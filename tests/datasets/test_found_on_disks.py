"""Sheets and folders as they are on people's disks, each with what must be read from it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from PIL import Image

from mien.datasets import open_dataset
from mien.datasets.check import check_dataset
from mien.datasets.labels import samples
from mien.datasets.official import OfficialDataset
from mien.errors import MienError
from mien.evaluation.spotting.benchmark import filmed
from mien.types import Clip, Interval


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.lstrip("\n"), encoding=encoding)
    return path


def frames(folder: Path, numbers: Iterable[int], name: str = "img{}.jpg") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        rng = np.random.default_rng([number, *str(folder).encode()])
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(folder / name.format(number))


def official(name: str, root: Path) -> OfficialDataset:
    dataset = open_dataset(name, root)
    assert isinstance(dataset, OfficialDataset)
    return dataset


def spans(clips: Iterable[Clip]) -> list[tuple[str, str, Interval | None, int]]:
    return [(c.name, c.extra["kind"], c.interval, len(c.frames)) for c in clips]


CASME2 = "Subject,Filename,,OnsetFrame,ApexFrame,OffsetFrame,,Action Units,Estimated Emotion"
SQ = [
    ["1", "happy1_1", "11", "15", "19", "6+12", "positive", "micro-expression", "happiness"],
    ["1", "happy1_2", "31", "36", "0", "12", "positive", "macro-expression", "happiness"],
]


def test_one_name_for_a_micro_and_a_macro_expression_is_a_note_and_both_are_kept(tmp_path: Path) -> None:
    remarks = "remarks\n" * 9
    write(
        tmp_path / "SAMM_LongVideos_V2_Release.csv",
        f"{remarks}Subject,Filename,Inducement Code,Onset,Apex,Offset,Duration,Type,Action Units,Notes\n"
        "902,902_4_1,4,48,52,57,10,Micro - 1/2,24,\n902,902_4_1,4,47,54,65,19,Macro,24,\n",
    )
    frames(tmp_path / "SAMM_longvideos" / "902_4", range(40, 70), "902_4_{:04d}.jpg")
    dataset = official("samm_lv", tmp_path)
    assert spans(dataset.expressions()) == [
        ("902_4_1", "micro", Interval(48, 52, 57), 10),
        ("902_4_1_macro", "macro", Interval(47, 54, 65), 19),
    ]
    assert [(p.severity, "twice" in p.what) for p in dataset.problems()] == [("note", True)]
    assert len(filmed([dataset])[0].true) == 2
    errors = [p for p in check_dataset(dataset).problems if p.severity == "error"]
    assert [p.what.split(":")[0] for p in errors] == ["Counts are not the published ones"]


@pytest.mark.parametrize("slash", ["/", "\\"])
@pytest.mark.parametrize("path", [True, False])
def test_a_csv_of_the_first_sheet_of_casme_sq(slash: str, path: bool, tmp_path: Path) -> None:
    rows = [[*row, "9", f"s15{slash}15_0502funnyerrors"] if path else row for row in SQ]
    write(tmp_path / "CAS(ME)^2code_final(Updated).csv", "\n".join(map(",".join, rows)), "utf-8-sig")
    frames(tmp_path / "rawpic" / "s15" / "15_0502funnyerrors", range(1, 60), "img{:03d}.jpg")
    dataset = official("casme_sq", tmp_path)
    assert spans(dataset.expressions()) == [
        ("happy1_1", "micro", Interval(11, 15, 19), 9),
        ("happy1_2", "macro", Interval(31, 36, 41), 11),
    ]
    assert {(c.subject, c.extra["video"]) for c in dataset.expressions()} == {("s15", "15_0502funnyerrors")}


def casme_sq_book(path: Path, rows: list[list[object]], formats: dict[str, str]) -> None:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for title, lines in (
        ("CASFEcode_final", rows),
        ("naming rule1", [[15, "s15", 1]]),
        ("naming rule2", [["0502", "happy1"]]),
    ):
        sheet = book.create_sheet(title)
        for line in lines:
            sheet.append(line)
    for cell, number_format in formats.items():
        book.worksheets[0][cell].number_format = number_format
    book.save(path)


def numbers(onset: object, offset: object) -> list[list[object]]:
    return [
        [1, "happy1_1", onset, 15, 19, "6+12", "positive", "micro-expression", "happiness"],
        [1, "happy1_2", 30.8, 36, offset, 12, "positive", "macro-expression", "happiness"],
    ]


def test_numbers_are_what_the_spreadsheet_shows(tmp_path: Path) -> None:
    casme_sq_book(tmp_path / "CAS(ME)^2code_final.xlsx", numbers(11.2, "41.0"), {"C1": "0", "C2": "#,##0"})
    frames(tmp_path / "rawpic" / "s15" / "15_0502funnyerrors", range(1, 60), "img{:03d}.jpg")
    assert [c.interval for c in official("casme_sq", tmp_path).expressions()] == [
        Interval(11, 15, 19),
        Interval(31, 36, 41),
    ]


@pytest.mark.parametrize(
    ("onset", "number_format", "says"),
    [
        (11.2, "0.0", "'11.2'"),
        (11.2, "General", "'11.2'"),
        ("eleven", "General", "'eleven'"),
        ("11a", "General", "'11a'"),
        ("=5+6", "General", "formula =5+6"),
        (11, "yyyy-mm-dd", "date 1900-01-11"),
        ("#N/A", "General", "#N/A"),
    ],
)
def test_a_number_that_cannot_be_meant_is_named_with_sheet_row_and_column(
    onset: object, number_format: str, says: str, tmp_path: Path
) -> None:
    formats = {"C1": number_format, "C2": "0"}
    casme_sq_book(tmp_path / "CAS(ME)^2code_final.xlsx", numbers(onset, 41), formats)
    frames(tmp_path / "rawpic" / "s15" / "15_0502funnyerrors", range(1, 60), "img{:03d}.jpg")
    with pytest.raises(MienError) as caught:
        official("casme_sq", tmp_path).expressions()
    assert says in caught.value.found
    assert "sheet 'CASFEcode_final'" in caught.value.found
    assert "row 1, column C (onset)" in caught.value.found


def test_folders_whose_case_differs_and_an_onset_that_is_a_slip(tmp_path: Path) -> None:
    write(
        tmp_path / "cas(me)3_part_A_ME_label_JpgIndex_v2.csv",
        "Subject,Filename,Onset,Apex,Offset,AU,Objective class,emotion\nspNO.901,a,10,14,20,12,I,happy\n"
        "spNO.902,d,3647,2668,2694,38,VII,others\nspNO.216,d,3647,2668,2694,38,VII,others\n",
    )
    root = tmp_path / "Part_A_ME_clip" / "frame"
    frames(root / "spNo.901_a_10", range(10, 21), "{}.jpg")
    frames(root / "spNo.902_d_3647", range(2647, 2695), "{}.jpg")
    frames(root / "spNo.216_d_3647", range(2647, 2695), "{}.jpg")
    dataset = official("casme3_a", tmp_path)
    first, second, third = dataset.expressions()
    assert (first.interval, len(first.frames)) == (Interval(10, 14, 20), 11)
    assert (second.interval, len(second.frames)) == (None, 48)
    assert (third.interval, len(third.frames)) == (Interval(2647, 2668, 2694), 48)
    said = {p.where: p.what for p in dataset.problems()}
    assert said[second.key] == "The onset 3647 lies after apex 2668 and offset 2694; probably 2647."
    assert said[third.key].startswith("onset '3647' is read as '2647'")
    result = check_dataset(dataset)
    assert result.left_out == {"micro-expressions without an interval": 1}
    lost = next(p for p in result.problems if "no interval" in p.what)
    assert (lost.severity, second.key in lost.what) == ("error", True)


def test_the_sheet_of_2019_brings_objective_classes_and_relabels_clips(tmp_path: Path) -> None:
    write(
        tmp_path / "CASME2-coding-20190701.csv",
        f"{CASME2},Objective Classes\n24,EP07_01,,24,41,66,,1,surprise,5\n24,EP10_03,,34,56,76,,1+2,surprise,2\n"
        "25,EP03_01,,1,5,9,,4,others,3\n",
    )
    for subject, name, numbers_ in (
        ("24", "EP07_01", (24, 66)),
        ("24", "EP10_03", (34, 76)),
        ("25", "EP03_01", (1, 9)),
    ):
        frames(tmp_path / "Cropped" / f"sub{subject}" / name, numbers_)
    clips = official("casme2", tmp_path).clips()
    assert [s.label for s in samples(clips, "objective")] == [4, 1, 2]
    with pytest.warns(UserWarning, match="not the one that the list of megc2019 was made from"):
        assert samples(clips, "megc2019") == []


def test_second_intervals_of_smic_e(tmp_path: Path) -> None:
    write(
        tmp_path / "HS_long" / "SMIC-HS-E_annotation.csv",
        "Subject,Filename,,OnsetF,OffsetF,Onset2F,Offset2F,Onset3F,Offset3F,,FirstF,LastF,TotalMF1,TotalMF2,TotalMF3,"
        "TotalVL,Emotion\n3,s3_ne_02,,1020,1040,1060,1080,,,,1001,1100,21,21,,100,negative\n"
        "4,s4_po_01,,2020,2040,,,,,,2001,2100,21,,,100,positive\n",
    )
    for subject, name, first in (("s03", "s3_ne_02", 1001), ("s04", "s4_po_01", 2001)):
        frames(tmp_path / "HS_long" / "SMIC-HS-E" / subject / name, range(first, first + 100), "image{:06d}.jpg")
    dataset = official("smic_hs", tmp_path)
    found = {film.clip.name: [(s.onset, s.offset) for s in film.true] for film in filmed([dataset])}
    assert found == {"s3_ne_02": [(19, 39), (59, 79)], "s4_po_01": [(19, 39)]}
    assert [c.name for c in dataset.clips()] == ["s3_ne_02", "s4_po_01"]
    assert len({c.key for c in dataset.expressions()}) == 3


@pytest.mark.parametrize(
    "name", ["SMIC_VIS_E_annotation.csv", "SMIC-VIS-E_annotation.csv", "smic-vis-e annotation.csv"]
)
@pytest.mark.parametrize("clip", ["s15_sur_01", "S15_sur_01"])
def test_names_of_smic_sheets(name: str, clip: str, tmp_path: Path) -> None:
    write(
        tmp_path / "VIS_long" / name,
        "Subject,Filename,,OnsetF,OffsetF,Onset2F,Offset2F,,FirstF,TotalMF1,TotalMF2,TotalVL,Emotion\n"
        f"15,{clip},,110,118,,,,101,9,,40,surprise\n",
    )
    folder = tmp_path / "VIS_long" / "SMIC-VIS-E" / "VIS" / "s15" / "s15_sur_01"
    frames(folder, range(101, 141), "image{:06d}.jpg")
    (only,) = official("smic_vis", tmp_path).clips()
    assert (only.subject, only.interval, len(only.frames)) == ("s15", Interval(110, None, 118), 9)


@pytest.mark.parametrize(
    ("dataset", "sheet", "text", "folder", "doubled"),
    [
        (
            "casme2",
            "CASME2-coding-20140508.csv",
            f"{CASME2}\n06,EP01_01,,1,5,9,,12,happiness\n",
            "sub06/EP01_01",
            "CASME2_RAW_selected",
        ),
        ("casme2", "CASME2-coding-20140508.csv", f"{CASME2}\nsub06,EP01_01,,1,5,9,,12,x\n", "Sub06/ep01_01", "cropped"),
        ("casme_sq", "CAS(ME)2code_final.csv", "\n".join(map(",".join, SQ)), "s15/15_0502funnyerrors", "rawpic"),
        (
            "samm",
            "SAMM_Micro_FACS_Codes_v2.csv",
            "Subject,Filename,Onset Frame,Apex Frame,Offset Frame,Action Units,Estimated Emotion\n"
            "6,006_1_2,1,5,9,4,Anger\n",
            "006/006_1_2",
            "SAMM",
        ),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_doubled_folders(
    dataset: str, sheet: str, text: str, folder: str, doubled: str, inside: bool, tmp_path: Path
) -> None:
    frames(tmp_path / doubled / doubled / folder, range(1, 60))
    write((tmp_path / doubled if inside else tmp_path) / sheet, text)
    assert len(official(dataset, tmp_path).clips()[0].frames) == 9
    if inside:
        assert len(official(dataset, tmp_path / doubled).clips()[0].frames) == 9


def test_a_doubled_folder_of_smic(tmp_path: Path) -> None:
    frames(tmp_path / "SMIC_all_raw" / "SMIC_all_raw" / "HS" / "s1" / "micro" / "negative" / "s1_ne_01", range(5, 9))
    (only,) = official("smic_hs", tmp_path).clips()
    assert (only.key, len(only.frames)) == ("smic_hs/s1/s1_ne_01", 4)


def test_where_no_frame_is_found_the_folder_is_named_once(tmp_path: Path) -> None:
    rows = "".join(f"06,EP01_{i:02d},,1,5,9,,12,happiness\n" for i in range(1, 31))
    write(tmp_path / "CASME2-coding-20140508.csv", f"{CASME2}\n{rows}")
    frames(tmp_path / "Cropped" / "people" / "6", range(3))
    problems = [p for p in check_dataset(official("casme2", tmp_path)).problems if "pictures" in p.what]
    assert len(problems) == 1
    assert "30 clips have no pictures" in problems[0].what
    assert f"{tmp_path / 'Cropped'}: sub06/EP01_01" in problems[0].what


# Bad input


def test_the_sheet_of_another_database_is_refused(tmp_path: Path) -> None:
    rows = "".join(f"1,S01-01-{i:03d},,1,5,9,,12,happiness\n" for i in range(3))
    write(tmp_path / "CASME2-coding-20140508.csv", f"{CASME2}\n{rows}")
    with pytest.raises(MienError, match=r"not the label sheet of casme2.*S01-01-000"):
        official("casme2", tmp_path).clips()


@pytest.mark.parametrize(
    ("sheet", "columns", "row", "other"),
    [
        (
            "SAMM_LongVideos_V2_Release.csv",
            "Subject,Filename,Onset Frame,Apex Frame,Offset Frame,Action Units,Estimated Emotion",
            "006,006_1_2,1,5,9,4,Anger",
            "samm",
        ),
        (
            "SAMM_LongVideos_V2_Release.csv",
            "Subject,Filename,OnsetFrame,ApexFrame,OffsetFrame,Emotion,EmotionId,Fps,AU",
            "sub0003,sub0003_01,1,5,9,anger,0,500,23",
            "dfme",
        ),
    ],
)
def test_a_sheet_with_the_columns_of_another_database_names_it(
    sheet: str, columns: str, row: str, other: str, tmp_path: Path
) -> None:
    write(tmp_path / sheet, f"{columns}\n{row}\n")
    with pytest.raises(MienError, match=f"has the columns of {other}, not those of samm_lv") as caught:
        official("samm_lv", tmp_path).expressions()
    assert f"`{other}=FOLDER`" in caught.value.fix


def test_two_releases_side_by_side_are_refused_and_two_copies_of_one_are_not(tmp_path: Path) -> None:
    frames(tmp_path / "Cropped" / "sub24" / "EP07_01", range(1, 10))
    first = write(tmp_path / "CASME2-coding-20140508.csv", f"{CASME2}\n24,EP07_01,,1,5,9,,1,sadness\n")
    shutil.copy(first, tmp_path / "CASME2-coding-20140508 (1).csv")
    assert len(official("casme2", tmp_path).clips()) == 1
    write(tmp_path / "CASME2-coding-20190701.csv", f"{CASME2}\n24,EP07_01,,1,5,9,,1,surprise\n")
    with pytest.raises(MienError, match=r"two label sheets that differ: .*2014.*2019"):
        official("casme2", tmp_path)


def test_a_clip_twice_with_different_labels_is_refused(tmp_path: Path) -> None:
    frames(tmp_path / "Cropped" / "sub06" / "EP01_01", range(1, 10))
    write(
        tmp_path / "CASME2-coding-20140508.csv",
        f"{CASME2}\n06,EP01_01,,1,5,9,,12,happiness\n06,EP01_01,,1,5,9,,12,disgust\n",
    )
    with pytest.raises(MienError, match=r"twice, in rows 2 and 3: emotion 'happiness' and 'disgust'"):
        official("casme2", tmp_path).clips()


@pytest.mark.parametrize("content", ["", "\n\n\n", CASME2, " \n,,,\n"])
def test_an_empty_sheet_is_refused(content: str, tmp_path: Path) -> None:
    frames(tmp_path / "Cropped" / "sub06" / "EP01_01", range(1, 10))
    (tmp_path / "CASME2-coding-20140508.csv").write_text(content, encoding="utf-8")
    with pytest.raises(MienError, match=r"no row with a subject|no column"):
        official("casme2", tmp_path).clips()


def test_a_workbook_with_a_password_is_refused(tmp_path: Path) -> None:
    frames(tmp_path / "Cropped" / "sub06" / "EP01_01", range(1, 10))
    container = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504) + "EncryptedPackage".encode("utf-16-le") + bytes(480)
    (tmp_path / "CASME2-coding-20140508.xlsx").write_bytes(container)
    with pytest.raises(MienError, match="protected by a password") as caught:
        official("casme2", tmp_path).clips()
    assert "without" in caught.value.fix


@pytest.mark.parametrize("cell", ["4-Jul", "Jul-04", "2019-04-07", "4/7/2019"])
def test_action_units_that_a_spreadsheet_took_for_a_date_are_refused(cell: str, tmp_path: Path) -> None:
    frames(tmp_path / "Cropped" / "sub06" / "EP01_01", range(1, 10))
    write(tmp_path / "CASME2-coding-20140508.csv", f"{CASME2}\n06,EP01_01,,1,5,9,,{cell},happiness\n")
    with pytest.raises(MienError, match=r"row 2, column H \(Action Units\): the date"):
        official("casme2", tmp_path).clips()


def test_the_case_of_a_name_does_not_bring_a_clip_into_a_published_list(tmp_path: Path) -> None:
    frames(tmp_path / "Cropped" / "sub05" / "EP09_05f", range(1, 10))
    write(tmp_path / "CASME2-coding-20140508.csv", f"{CASME2}\n05,ep09_05F,,1,5,9,,4,disgust\n")
    (clip,) = official("casme2", tmp_path).clips()
    assert len(clip.frames) == 9
    assert samples([clip], "megc2019", pytest.fail) == []


def test_a_row_without_a_subject_is_named(tmp_path: Path) -> None:
    frames(tmp_path / "Cropped" / "sub06" / "EP01_01", range(1, 10))
    write(
        tmp_path / "CASME2-coding-20140508.csv",
        f"{CASME2}\n06,EP01_01,,1,5,9,,12,happiness\n,EP01_02,,1,5,9,,12,happiness\n\nThe end,,,,,,,,\n",
    )
    with pytest.raises(MienError, match=r"row 3, column A \(Subject\)"):
        official("casme2", tmp_path).clips()
