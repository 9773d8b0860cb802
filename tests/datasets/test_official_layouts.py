"""Each official layout, written and read back; label sheets looked at by an independent reader; damaged copies."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from openpyxl.worksheet.worksheet import Worksheet
from PIL import Image

from mien.datasets import DATASETS, open_dataset, open_specs, parse_spec
from mien.datasets.action_units import clean_action_units
from mien.datasets.base import card
from mien.datasets.labels import label_maps_of, samples
from mien.datasets.layout import Correction, correct, layout
from mien.datasets.official import OfficialDataset, pictures, read_interval
from mien.datasets.rows import rows_by_title
from mien.datasets.sheet import cell_text, find_sheet, read_cells
from mien.errors import MienError
from mien.evaluation.spotting.benchmark import filmed
from mien.synthesis.writer import OFFICIAL, write_corpus
from mien.types import Clip, Interval

SUBJECTS, CLIPS, FRAMES = 3, 5, 6
GREY = {"smic_nir", "samm", "samm_lv", "fourdme"}
LONG = {"casme_sq", "samm_lv"}
SMIC = ("smic_hs", "smic_vis", "smic_nir")

Copy = Callable[[str], Path]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[Clip]]]:
    written = {}
    for name in OFFICIAL:
        root = tmp_path_factory.mktemp(name)
        written[name] = (
            root,
            write_corpus(name, root, subjects=SUBJECTS, clips_per_subject=CLIPS, size=16, frames=FRAMES),
        )
    return written


@pytest.fixture
def copy(corpora: dict[str, tuple[Path, list[Clip]]], tmp_path: Path) -> Copy:
    """A copy of a corpus that a test may damage."""

    def make(name: str) -> Path:
        return Path(shutil.copytree(corpora[name][0], tmp_path / name))

    return make


def edit(path: Path, change: Callable[[Worksheet], None]) -> None:
    book = openpyxl.load_workbook(path)
    change(book.worksheets[0])
    book.save(path)


def test_all_databases_and_the_flow_pictures_are_registered() -> None:
    expected = {*SMIC, "casme", "casme2", "samm", "casme_sq", "samm_lv", "mmew", "casme3_a", "casme3_c", "dfme"}
    expected |= {"fourdme", "flow_images"}
    assert set(DATASETS) == {*expected, "synthetic", "features"}
    assert set(OFFICIAL) == expected - {"flow_images"}
    for name in DATASETS:
        facts = card(name)
        assert facts.id == DATASETS[name].id == name
        assert name in ("synthetic", "features") or facts.expected["clips"] > 50
        assert min(len(facts.licence), len(facts.request), len(facts.citation)) > 30


@pytest.mark.parametrize("name", OFFICIAL)
def test_what_was_written_is_read_back(name: str, corpora: dict[str, tuple[Path, list[Clip]]]) -> None:
    root, written = corpora[name]
    dataset = open_dataset(name, root)
    assert dataset.clips() == written
    assert len(written) == SUBJECTS * CLIPS
    assert len({clip.key for clip in written}) == len(written)
    assert len({clip.person for clip in written}) == SUBJECTS
    assert dataset.problems() == []
    for clip in written:
        assert clip.interval is not None
        assert clip.frame_nos == tuple(range(clip.interval.onset, clip.interval.offset + 1))
        assert len(clip.frames) == len(clip.frame_nos) == FRAMES
        assert all(path.is_file() for path in clip.frames)
        assert clip.fps == card(name).fps
        assert clip.extra["kind"] == "micro"
        assert (clip.interval.apex is None) == (name in {*SMIC, "casme3_c"})
    with Image.open(written[0].frames[0]) as picture:
        assert picture.size == (16, 16)
        assert picture.mode == ("L" if name in GREY else "RGB")
    assert card(name).colour == (name not in GREY)


@pytest.mark.parametrize("name", OFFICIAL)
def test_every_label_map_of_a_database_finds_two_classes(
    name: str, corpora: dict[str, tuple[Path, list[Clip]]]
) -> None:
    for labels in label_maps_of(name):
        assert len({s.label for s in samples(corpora[name][1], labels)}) >= 2, labels


# Titles and places below are typed from the databases' own documentation, not taken from the tables.
TITLES = {
    "casme": (1, "casme.xlsx", "Subject|Filename||OnsetF|ApexF1|ApexF2|OffsetF||AU|Emotion"),
    "casme2": (
        1,
        "CASME2-coding-20140508.xlsx",
        "Subject|Filename||OnsetFrame|ApexFrame|OffsetFrame||Action Units|Estimated Emotion",
    ),
    "samm": (
        14,
        "SAMM_Micro_FACS_Codes_v2.xlsx",
        "Subject|Filename|Inducement Code|Onset Frame|Apex Frame|Offset Frame|Duration|Micro|Action Units|"
        "Estimated Emotion|Objective Classes|Notes",
    ),
    "samm_lv": (
        10,
        "SAMM_LongVideos_V2_Release.xlsx",
        "Subject|Filename|Inducement Code|Onset|Apex|Offset|Duration|Type|Action Units|Notes",
    ),
    "mmew": (
        1,
        "MMEW_Micro_Exp.xlsx",
        "Subject|Filename|OnsetFrame|ApexFrame|OffsetFrame|Action Units|Estimated Emotion|remarks",
    ),
    "casme3_a": (
        1,
        "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",
        "Subject|Filename|Onset|Apex|Offset|AU|Objective class|emotion",
    ),
}


@pytest.mark.parametrize("name", TITLES)
def test_sheets_have_the_official_titles_in_the_official_row(
    name: str, corpora: dict[str, tuple[Path, list[Clip]]]
) -> None:
    root, written = corpora[name]
    row, file, titles = TITLES[name]
    sheet = openpyxl.load_workbook(root / file).worksheets[0]
    header = [cell.value or "" for cell in sheet[row]]
    assert "|".join(str(title) for title in header) == titles
    first = {title: cell.value for title, cell in zip(header, sheet[row + 1], strict=True)}
    onset = next(first[title] for title in ("OnsetF", "OnsetFrame", "Onset Frame", "Onset") if title in first)
    assert written[0].interval is not None
    assert onset == written[0].interval.onset
    assert sheet.max_row >= row + len(written)


@pytest.mark.parametrize(
    ("name", "cell", "subject"), [("samm", "A15", "006"), ("samm_lv", "A11", "006"), ("casme2", "A2", "01")]
)
def test_subjects_are_text_where_the_official_cell_is(
    name: str, cell: str, subject: str, corpora: dict[str, tuple[Path, list[Clip]]]
) -> None:
    sheet = openpyxl.load_workbook(corpora[name][0] / layout(name).writes).worksheets[0]
    assert sheet[cell].value == subject


def test_smic_and_4dme_sheets(corpora: dict[str, tuple[Path, list[Clip]]]) -> None:
    smic = openpyxl.load_workbook(corpora["smic_nir"][0] / "SMIC-NIR-E_annotation.xlsx").worksheets[0]
    assert {"Subject", "Filename", "OnsetF", "OffsetF", "Emotion"} <= {cell.value for cell in smic[1]}
    fourdme = openpyxl.load_workbook(corpora["fourdme"][0] / "4DME_Labelling_Micro_release v1.xlsx").worksheets[0]
    assert [cell.value for cell in fourdme[1]][:8] == [
        "sub_ID",
        "fold",
        "fold_name",
        "Onset",
        "Apex",
        "Offset",
        "AUs",
        "Emotion",
    ]


def test_casme_sq_has_three_sheets_without_headers(corpora: dict[str, tuple[Path, list[Clip]]]) -> None:
    root, written = corpora["casme_sq"]
    book = openpyxl.load_workbook(root / "CAS(ME)^2code_final.xlsx")
    assert book.sheetnames[1:] == ["naming rule1", "naming rule2"]
    first = [cell.value for cell in book.worksheets[0][1]]
    assert len(first) == 9
    assert first[:2] == [1, "disgust1_1"]
    assert first[7] == "micro-expression"
    assert [cell.value for cell in book.worksheets[1][1]] == [15, "s15", 1]
    assert [cell.value for cell in book.worksheets[2][1]] == ["0101", "disgust1"]
    assert written[0].subject == "s15"
    assert written[0].frames[0].parts[-4:-1] == ("rawpic", "s15", "15_0101disgustingteeth")


def test_casme2_objective_classes_come_from_their_own_sheet(copy: Copy) -> None:
    root = copy("casme2")
    assert {clip.extra["objective"] for clip in open_dataset("casme2", root).clips()} == {"1", "2", "3", "5"}
    edit(root / "CASME2-ObjectiveClasses.xlsx", lambda s: s.delete_rows(2))
    (note,) = open_dataset("casme2", root).problems()
    assert (note.severity, "1 of 15 clips" in note.what, "01/EP01_01f" in note.what) == ("note", True, True)
    (root / "CASME2-ObjectiveClasses.xlsx").unlink()
    assert all("objective" not in clip.extra for clip in open_dataset("casme2", root).clips())


@pytest.mark.parametrize("name", sorted(LONG))
def test_long_videos_hold_their_expressions(name: str, corpora: dict[str, tuple[Path, list[Clip]]]) -> None:
    dataset = open_dataset(name, corpora[name][0])
    assert isinstance(dataset, OfficialDataset)
    videos = {(clip.subject, clip.name): clip for clip in dataset.videos()}
    assert len(videos) == 3 * SUBJECTS
    assert all(video.interval is None and video.emotion == "" for video in videos.values())
    expressions = dataset.expressions()
    assert {clip.extra["kind"] for clip in expressions} == {"micro", "macro"}
    for clip in expressions:
        video = videos[clip.subject, clip.extra["video"]]
        assert video.frame_nos == tuple(range(1, len(video.frames) + 1))
        assert clip.interval is not None
        assert clip.frames == video.frames[clip.interval.onset - 1 : clip.interval.offset]
    quiet = set(videos) - {(clip.subject, clip.extra["video"]) for clip in expressions}
    assert len(quiet) == SUBJECTS


@pytest.mark.parametrize("name", SMIC)
def test_smic_videos_are_micro_and_non_micro(name: str, corpora: dict[str, tuple[Path, list[Clip]]]) -> None:
    videos = open_dataset(name, corpora[name][0]).videos()
    kinds = [video.extra["kind"] for video in videos]
    assert (kinds.count("micro"), kinds.count("non_micro")) == (SUBJECTS * CLIPS, SUBJECTS)


def test_smic_needs_no_sheet(copy: Copy) -> None:
    root = copy("smic_hs")
    with_sheet = open_dataset("smic_hs", root).clips()
    (root / "SMIC-HS-E_annotation.xlsx").unlink()
    assert open_dataset("smic_hs", root).clips() == with_sheet


def test_smic_sheet_narrows_a_clip_and_loses_to_other_frame_numbers(copy: Copy) -> None:
    root = copy("smic_hs")
    before = {clip.name: clip for clip in open_dataset("smic_hs", root).clips()}
    sheet = root / "SMIC-HS-E_annotation.xlsx"

    def shift(page: Worksheet) -> None:
        for cell, by in (("C2", 2), ("C3", 100_000), ("D3", 100_000)):
            page[cell] = page[cell].value + by

    edit(sheet, shift)
    rows = openpyxl.load_workbook(sheet).worksheets[0]
    after = {clip.name: clip for clip in open_dataset("smic_hs", root).clips()}
    narrowed, other = (str(rows[f"B{row}"].value) for row in (2, 3))
    assert len(after[narrowed].frames) == FRAMES - 2
    assert after[narrowed].frames == before[narrowed].frames[2:]
    assert after[other] == before[other]


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path: Path) -> None:
    def pixels(seed: int, folder: str) -> list[bytes]:
        clips = write_corpus("samm", tmp_path / folder, subjects=1, clips_per_subject=2, seed=seed, size=16, frames=4)
        return [path.read_bytes() for clip in clips for path in clip.frames]

    assert pixels(1, "a") == pixels(1, "b")
    assert pixels(1, "a") != pixels(2, "c")


def test_two_databases_share_no_picture(corpora: dict[str, tuple[Path, list[Clip]]]) -> None:
    first, second = (
        {np.asarray(Image.open(c.frames[0])).tobytes() for c in corpora[n][1]} for n in ("casme", "casme2")
    )
    assert not first & second


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dataset_id": "casme3"}, "casme3_a"),
        ({"dataset_id": "flow_images"}, "official layout"),
        ({"subjects": 0}, "subjects=1"),
        ({"frames": 2}, "frames=4"),
    ],
)
def test_writer_answers_wrong_arguments(change: dict[str, object], says: str, tmp_path: Path) -> None:
    arguments: dict[str, object] = {"dataset_id": "samm", "subjects": 1, "clips_per_subject": 1, **change}
    with pytest.raises(MienError, match=says):
        write_corpus(root=tmp_path / "new", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


# Damaged copies


@pytest.mark.parametrize("name", [name for name in OFFICIAL if name not in SMIC])
def test_a_missing_sheet_tells_what_is_there(name: str, copy: Copy) -> None:
    root = copy(name)
    (root / layout(name).writes).unlink()
    with pytest.raises(MienError) as caught:
        open_dataset(name, root)
    assert layout(name).roots[0].split("/")[0] in caught.value.found
    assert layout(name).sheets[0] in caught.value.expected
    assert layout(name).writes in caught.value.fix


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_wrong_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    with pytest.raises(MienError, match="holiday/"):
        open_dataset(name, tmp_path)
    with pytest.raises(MienError, match="does not exist"):
        open_dataset(name, tmp_path / "nowhere")


def test_frames_missing_altogether(copy: Copy) -> None:
    root = copy("samm")
    shutil.rmtree(root / "SAMM_CROP")
    with pytest.raises(MienError, match="SAMM_CROP, SAMM"):
        open_dataset("samm", root).clips()


@pytest.mark.parametrize(("name", "cell", "title"), [("casme2", "E1", "Apex Frames"), ("samm", "J14", "Emotion Guess")])
def test_a_renamed_column_is_named_with_the_nearest(name: str, cell: str, title: str, copy: Copy) -> None:
    root = copy(name)
    sheet = root / layout(name).writes
    official = str(openpyxl.load_workbook(sheet).worksheets[0][cell].value)
    edit(sheet, lambda s: s.__setitem__(cell, title))
    with pytest.raises(MienError) as caught:
        open_dataset(name, root).clips()
    assert repr(official) in caught.value.found
    assert title in caught.value.found
    assert caught.value.fix == f"rename {title!r} to {official!r}."


def test_titles_may_differ_in_case_and_spaces(copy: Copy) -> None:
    root = copy("samm")
    before = open_dataset("samm", root).clips()
    edit(root / "SAMM_Micro_FACS_Codes_v2.xlsx", lambda s: s.__setitem__("J14", "  estimated   EMOTION "))
    assert open_dataset("samm", root).clips() == before


def test_a_sheet_saved_as_csv_reads_the_same(copy: Copy) -> None:
    root = copy("casme2")
    before = open_dataset("casme2", root).clips()
    sheet = root / "CASME2-coding-20140508.xlsx"
    lines = [",".join(f'"{cell}"' for cell in row) for row in read_cells(sheet)]
    sheet.with_suffix(".csv").write_text("\n".join(lines), encoding="utf-8-sig")
    sheet.unlink()
    assert open_dataset("casme2", root).clips() == before


def test_a_sheet_that_is_no_spreadsheet(copy: Copy) -> None:
    root = copy("mmew")
    (root / "MMEW_Micro_Exp.xlsx").write_bytes(b"not a spreadsheet")
    with pytest.raises(MienError, match="cannot be read"):
        open_dataset("mmew", root).clips()


def test_an_empty_sheet(copy: Copy) -> None:
    root = copy("mmew")
    edit(root / "MMEW_Micro_Exp.xlsx", lambda s: s.delete_rows(2, s.max_row))
    with pytest.raises(MienError, match="no row with a subject"):
        open_dataset("mmew", root).clips()


def test_casme_sq_without_its_naming_sheets(copy: Copy) -> None:
    root = copy("casme_sq")
    path = root / "CAS(ME)^2code_final.xlsx"
    book = openpyxl.load_workbook(path)
    book.remove(book.worksheets[2])
    book.save(path)
    with pytest.raises(MienError, match="naming rule2"):
        open_dataset("casme_sq", root).clips()


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_missing_clip_folder_gives_a_clip_without_frames(
    name: str, copy: Copy, corpora: dict[str, tuple[Path, list[Clip]]]
) -> None:
    root, written = copy(name), corpora[name][1]
    shutil.rmtree(root / written[0].frames[0].parent.relative_to(corpora[name][0]))
    read = {clip.key: clip for clip in open_dataset(name, root).clips()}
    assert set(read) == {clip.key for clip in written}
    gone = read[written[0].key]
    assert (gone.frames, gone.frame_nos) == ((), ())
    assert (gone.interval, gone.emotion) == (written[0].interval, written[0].emotion)


def test_a_clip_in_a_longer_video_gets_its_interval_in_numeric_order(tmp_path: Path) -> None:
    written = write_corpus("casme2", tmp_path, subjects=1, clips_per_subject=1, size=16, frames=4)
    (tmp_path / "Cropped").rename(tmp_path / "CASME2-RAW")
    folder = tmp_path / "CASME2-RAW" / "sub01" / written[0].name
    onset = written[0].frame_nos[0]
    for no in (onset - 1, onset + 4, onset + 1000):
        shutil.copy(folder / f"reg_img{onset}.jpg", folder / f"img{no}.jpg")
    (folder / "notes.txt").write_text("no picture")
    (folder / "cover.jpg").write_bytes(b"")
    clip = open_dataset("casme2", tmp_path).clips()[0]
    assert clip.frame_nos == written[0].frame_nos
    assert [path.name for path in clip.frames] == [path.name for path in written[0].frames]
    assert [no for no, _ in pictures(folder)] == [onset - 1, *clip.frame_nos, onset + 4, onset + 1000]


def test_the_long_videos_of_smic_e_are_spotted_in(tmp_path: Path) -> None:
    folder = tmp_path / "HS_long" / "SMIC-HS-E"
    rows = [["Subject", "Filename", "OnsetF", "OffsetF", "TotalMF1", "Emotion", "FirstF", "LastF", "TotalVL"]]
    for subject, name, onset in (("s01", "s01_sur_01", 12), ("s01", "s01_ne_02", 30), ("s02", "s02_po_01", 20)):
        (folder / subject / name).mkdir(parents=True)
        for no in range(5, 60):
            Image.fromarray(np.full((8, 8), no, np.uint8)).save(folder / subject / name / f"image{no:06d}.jpg")
        word = {"sur": "surprise", "ne": "negative", "po": "positive"}[name.split("_")[1]]
        rows.append([int(subject[1:]), name, onset, onset + 9, 10, word, 5, 59, 55])  # type: ignore[list-item]
    book = openpyxl.Workbook()
    assert isinstance(book.active, Worksheet)
    for row in rows:
        book.active.append(row)
    book.save(tmp_path / "SMIC-HS-E_annotation.xlsx")
    dataset = open_dataset("smic_hs", tmp_path)
    films = {film.clip.name: film for film in filmed([dataset])}
    assert {name: len(film.clip.frames) for name, film in films.items()} == dict.fromkeys(
        ("s01_sur_01", "s01_ne_02", "s02_po_01"), 55
    )
    assert [(s.onset, s.offset, s.kind, s.emotion) for s in films["s01_ne_02"].true] == [(25, 34, "micro", "negative")]


def test_the_cropped_frames_come_before_the_raw_ones(copy: Copy) -> None:
    root = copy("fourdme")
    shutil.copytree(root / "gray_micro_crop", root / "gray_micro")
    dataset = open_dataset("fourdme", root)
    assert {clip.frames[0].parents[2].name for clip in dataset.clips()} == {"gray_micro_crop"}
    shutil.rmtree(root / "gray_micro_crop")
    assert {c.frames[0].parents[2].name for c in open_dataset("fourdme", root).clips()} == {"gray_micro"}


def test_mmew_others_may_lie_in_repression(copy: Copy) -> None:
    root = copy("mmew")
    (root / "Micro_Expression" / "others").rename(root / "Micro_Expression" / "repression")
    others = [clip for clip in open_dataset("mmew", root).clips() if clip.emotion == "others"]
    assert others
    assert all(len(clip.frames) == FRAMES for clip in others)


def test_odd_numbers_are_none_and_told(copy: Copy, corpora: dict[str, tuple[Path, list[Clip]]]) -> None:
    root = copy("casme2")

    def damage(sheet: Worksheet) -> None:
        sheet["E2"] = "/"  # no apex
        sheet["F3"] = 0  # no offset
        sheet["E4"] = 9999  # apex outside
        sheet["D5"] = "?"  # no onset

    edit(root / "CASME2-coding-20140508.xlsx", damage)
    dataset = open_dataset("casme2", root)
    clips = dataset.clips()
    assert [clip.key for clip in clips] == [clip.key for clip in corpora["casme2"][1]]
    assert clips[0].interval is not None
    assert clips[0].interval.apex is None
    mirrored = clips[1].interval
    assert mirrored is not None
    assert mirrored.apex is not None
    assert mirrored.offset == 2 * mirrored.apex - mirrored.onset
    assert clips[2].interval is not None
    assert clips[2].interval.apex is None
    assert clips[3].interval is None
    assert len(clips[3].frames) == FRAMES
    told = {problem.where: problem.what for problem in dataset.problems()}
    assert set(told) == {clips[i].key for i in (1, 2, 3)}
    assert "9999" in told[clips[2].key]


@pytest.mark.parametrize(
    ("onset", "apex", "offset", "expected"),
    [
        ("3", "5", "9", Interval(3, 5, 9)),
        ("3.0", "5", "9", Interval(3, 5, 9)),
        ("0", "5", "9", Interval(0, 5, 9)),
        ("3", "0", "9", Interval(3, None, 9)),
        ("3", "", "9", Interval(3, None, 9)),
        ("3", "5", "0", Interval(3, 5, 7)),
        ("3", "5", "1", Interval(3, 5, 7)),
        ("3", "2", "9", Interval(3, None, 9)),
        ("3", "", "", None),
        ("", "5", "9", None),
        ("-1", "5", "9", None),
    ],
)
def test_read_interval(onset: str, apex: str, offset: str, expected: Interval | None) -> None:
    interval, notes = read_interval({"onset": onset, "apex": apex, "offset": offset})
    assert interval == expected
    assert bool(notes) == (expected is None or apex == "2" or offset in {"0", "1"})


def test_a_clip_named_twice_is_an_error(copy: Copy) -> None:
    root = copy("samm")
    edit(root / "SAMM_Micro_FACS_Codes_v2.xlsx", lambda s: s.__setitem__("B16", s["B15"].value))
    errors = [p for p in open_dataset("samm", root).problems() if p.severity == "error"]
    assert [p.where for p in errors] == ["samm/006/006_1_1"]


# Corrections

MISTAKE = Correction("01", "EP01_01f", "offset", "40", "91", "a digit was lost", "the owners")


@pytest.mark.parametrize(
    ("subject", "clip", "offset", "expected"),
    [
        ("01", "EP01_01f", "40", "91"),
        ("01", "EP01_01f", "91", "91"),
        ("01", "EP01_01f", "85", "85"),
        ("02", "EP01_01f", "40", "40"),
        ("01", "EP02_01f", "40", "40"),
    ],
)
def test_a_correction_needs_subject_clip_and_printed_value(subject: str, clip: str, offset: str, expected: str) -> None:
    row, applied = correct({"clip": clip, "offset": offset}, subject, [MISTAKE])
    assert row["offset"] == expected
    assert bool(applied) == (offset != expected)


def test_an_applied_correction_is_read_and_told(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    root = copy("casme2")
    before = open_dataset("casme2", root).clips()[0]
    assert before.interval is not None
    printed = str(before.interval.offset)
    wrong = Correction(before.subject, before.name, "offset", printed, str(before.interval.offset - 2), "why", "who")
    changed = replace(layout("casme2"), corrections=(wrong,))
    monkeypatch.setattr("mien.datasets.official.layout", lambda _: changed)
    dataset = open_dataset("casme2", root)
    interval = dataset.clips()[0].interval
    assert interval is not None
    assert interval.offset == before.interval.offset - 2
    assert [(p.where, p.severity) for p in dataset.problems()] == [(before.key, "note")]


# Text


def test_stray_spaces_and_capitals_are_cleaned(copy: Copy) -> None:
    root = copy("samm")
    before = open_dataset("samm", root).clips()

    def damage(sheet: Worksheet) -> None:
        sheet["B15"] = f" {sheet['B15'].value}  "
        sheet["J15"] = " ANGER "

    edit(root / "SAMM_Micro_FACS_Codes_v2.xlsx", damage)
    assert open_dataset("samm", root).clips() == before


@pytest.mark.parametrize(
    ("printed", "cleaned"),
    [
        ("4+7", "4+7"),
        ("4 + L12", "4+L12"),
        ("4,7", "4+7"),
        ("4\uff0c7", "4+7"),
        ("R12 or R15", "R12"),
        ("4+R12 or R15", "4+R12"),
        ("AU4(k)+AU7", "AU7"),
        ("", ""),
    ],
)
def test_clean_action_units(printed: str, cleaned: str) -> None:
    assert clean_action_units(printed) == cleaned


def test_the_printed_action_units_are_kept_when_they_change(copy: Copy) -> None:
    root = copy("samm")
    edit(root / "SAMM_Micro_FACS_Codes_v2.xlsx", lambda s: s.__setitem__("I15", "R12 or R15"))
    clip = open_dataset("samm", root).clips()[0]
    assert clip.action_units == "R12"
    assert clip.extra["action_units_printed"] == "R12 or R15"


@pytest.mark.parametrize(("value", "text"), [(4.0, "4"), (4.5, "4.5"), (None, ""), ("  a \n b ", "a b"), (7, "7")])
def test_cell_text(value: object, text: str) -> None:
    assert cell_text(value) == text


def test_find_sheet_prefers_the_order_given_and_the_newest(tmp_path: Path) -> None:
    (tmp_path / "annotation").mkdir()
    for name in ("A-2014.xlsx", "A-2019.XLSX", "~$A-2020.xlsx", "annotation/B.csv"):
        (tmp_path / name).touch()
    found = find_sheet(tmp_path, ["b.xlsx", "A-*"])
    assert found == tmp_path / "annotation" / "B.csv"
    newest = find_sheet(tmp_path, ["a-*.xlsx"])
    assert newest == tmp_path / "A-2019.XLSX"
    assert find_sheet(tmp_path, ["C"]) is None


def test_rows_by_title_drops_closing_remarks() -> None:
    cells = [["Subject", "File"], ["1", "a"], ["", ""], ["The end", ""]]
    assert rows_by_title(cells, {"subject": ("subject",), "clip": ("file",)}, {}, Path("x")) == [
        {"subject": "1", "clip": "a"}
    ]


# Specs


def test_specs(corpora: dict[str, tuple[Path, list[Clip]]]) -> None:
    assert parse_spec("casme2=/data/a=b") == ("casme2", Path("/data/a=b"))
    opened = open_specs([f"{name}={corpora[name][0]}" for name in ("samm", "casme2")])
    assert [d.id for d in opened] == ["samm", "casme2"]
    for wrong in ("casme2", "=/data", "casme2="):
        with pytest.raises(MienError, match="NAME=FOLDER"):
            parse_spec(wrong)
    with pytest.raises(MienError, match="`casme2`"):
        open_dataset("casme_2", Path())


def test_reading_datasets_does_not_import_torch() -> None:
    code = "import sys, mien.synthesis.writer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
