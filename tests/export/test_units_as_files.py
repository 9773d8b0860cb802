"""Action units in ELAN tiers, BORIS projects and tables, read back by programs that are not ours."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import acted
import numpy as np
import played
import pytest
from pympi import Eaf

from mien.classifiers.checkpoint import SHIPPED_UNITS, read_card
from mien.datasets.facs import unit_name
from mien.export import WRITERS, check_target, write_csv, write_parquet
from mien.export.boris import events_as_tsv, project_text
from mien.export.columns import Column, Rows, as_csv, event_rows
from mien.io.video import write_video
from mien.recognition import recognise
from mien.recognition.records import Answer, Event, Moment, Reason, Track, UnitAnswer, VideoFacts

EYES = (124.0, 110.0, 198.0, 110.0)
BROW = UnitAnswer(1, unit_name(1), 0.12, "both", 0.3, False, 0.98)
SMILE = UnitAnswer(12, unit_name(12), 0.93, "left", 2.5, True, 0.81)
FROWN = UnitAnswer(4, unit_name(4), 0.71, "both", 1.25, True, 0.97)


def event(onset: int, apex: int, offset: int, *units: UnitAnswer, person: int = 1) -> Event:
    first, top, last = (Moment(i, i / 100) for i in (onset, apex, offset))
    shares = {"negative": 0.2, "positive": 0.7, "surprise": 0.1} if units else {}
    why = () if units else (Reason("input", "The frames cannot be read."),)
    return Event(person, "micro", first, top, last, False, False, 1.5, shares, why, (), EYES, units)


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    film = write_video(tmp_path_factory.mktemp("films") / "=a film.mkv", played.film(41, 60, []), 100)
    first = (
        event(10, 14, 19, BROW, replace(FROWN, present=False, probability=0.4), SMILE),
        event(19, 22, 30, BROW, FROWN, SMILE), event(40, 44, 49),
    )  # fmt: skip
    ends = Moment(0, 0.0), Moment(59, 0.59)
    gap = (Moment(52, 0.52), Moment(54, 0.54))
    tracks = (
        Track(1, *ends, 60, 74.0, (gap,), (), first, None),
        Track(2, Moment(5, 0.05), ends[1], 55, 74.0, (), (), (event(20, 25, 33, BROW, FROWN, person=2),), None),
    )
    video = VideoFacts(str(film), "=a film", 240, 320, 60, 0.59, 100.0, False)
    card = read_card("shipped")
    return Answer(
        video, tracks, "flow-peaks", "w", card, unit_weights="u", unit_card=read_card(SHIPPED_UNITS), units=(1, 4, 12)
    )


def test_elan_has_a_tier_for_each_unit_that_occurs(answer: Answer, tmp_path: Path) -> None:
    opened = Eaf(str(WRITERS["eaf"](answer, tmp_path / "a.eaf", print)))
    tiers = [name for name in opened.get_tier_names() if ": AU" in name and "details" not in name]
    assert tiers == [
        "person 1: AU4 brow lowerer", "person 1: AU12 lip corner puller", "person 2: AU4 brow lowerer",
    ]  # fmt: skip
    smiles = opened.get_annotation_data_for_tier("person 1: AU12 lip corner puller")
    assert [(a, b, text) for a, b, text, *_ in smiles] == [(100, 200, "L12"), (200, 310, "L12")]
    (frown,) = opened.get_annotation_data_for_tier("person 1: AU4 brow lowerer")
    assert frown[2] == "AU4"
    (details,) = opened.get_ref_annotation_data_for_tier("person 2: AU4 brow lowerer, details")
    assert "0.71" in details[2]
    assert "1.2 % of the distance" in details[2]
    classes = opened.get_ref_annotation_data_for_tier("person 1: class (derived)")
    assert [text for *_, text, _ in classes] == ["positive", "positive"]


def test_values_of_unit_tiers_come_from_a_vocabulary_of_facs_names(answer: Answer, tmp_path: Path) -> None:
    path = WRITERS["eaf"](answer, tmp_path / "a.eaf", print)
    opened = Eaf(str(path))
    (name,) = opened.get_controlled_vocabulary_names()
    entries = [values[0] for values, _ in opened.get_cv_entries(name).values()]
    described = {code: words for code, _, words in entries}
    assert set(described) == {f"{letter}{n}" for n in (1, 4, 12) for letter in ("AU", "L", "R")}
    assert described["L12"].startswith("lip corner puller, left side only: the corners of the mouth")
    (kind,) = {
        opened.get_parameters_for_tier(t)["LINGUISTIC_TYPE_REF"]
        for t in opened.get_tier_names()
        if t[10:12] == "AU" and "details" not in t
    }
    assert opened.get_parameters_for_linguistic_type(kind)["CONTROLLED_VOCABULARY_REF"] == name
    # What ELAN's schema asks of a vocabulary with languages: order, existing languages, unique ids.
    root = ElementTree.parse(path).getroot()
    tags = list(dict.fromkeys(child.tag for child in root))
    order = ["HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "LANGUAGE", "CONSTRAINT", "CONTROLLED_VOCABULARY"]
    assert [tag for tag in tags if tag in order] == order
    languages = {each.get("LANG_ID") for each in root.iter("LANGUAGE")}
    ids = [each.get("CVE_ID") for each in root.iter("CV_ENTRY_ML")]
    assert len(set(ids)) == len(ids) == 9
    assert {each.get("LANG_REF") for each in root.iter("CVE_VALUE")} <= languages


def read_as_boris(project: dict[str, Any]) -> dict[str, list[tuple[str, str, str, float, float]]]:
    """Read every field that BORIS 7 to 10 read when they open a project and check it, as their documents describe.

    Returns:
        For each observation, (subject, behaviour, modifier, start, stop) of each state, paired by order.
    """
    assert tuple(map(int, project["project_format_version"].split("."))) <= (7, 0)
    for key in ("time_format", "project_name", "project_date", "project_description", "independent_variables",
                "coding_map", "behaviors_coding_map", "converters", "behavioral_categories"):  # fmt: skip
        assert key in project
    subjects = {each["name"] for each in project["subjects_conf"].values()}
    assert all({"key", "name", "description"} <= set(each) for each in project["subjects_conf"].values())
    ethogram = {each["code"]: each for each in project["behaviors_conf"].values()}
    keys = [each["key"] for each in ethogram.values()] + [each["key"] for each in project["subjects_conf"].values()]
    assert len(set(keys)) == len(keys)
    for behaviour in ethogram.values():
        assert {"type", "key", "code", "description", "category", "modifiers", "excluded", "coding map"} <= set(
            behaviour
        )
        assert behaviour["type"] in ("State event", "Point event")
        assert behaviour["category"] in project["behavioral_categories"]
        for modifiers in behaviour["modifiers"].values():
            assert modifiers["type"] == 0
            assert all(not set("(|),`~") & set(value) for value in modifiers["values"])
    read: dict[str, list[tuple[str, str, str, float, float]]] = {}
    for name, observation in project["observations"].items():
        assert name == name.strip()
        assert {"date", "description", "time offset", "independent_variables", "close_behaviors_between_videos",
                "visualize_spectrogram", "media_creation_date_as_offset"} <= set(observation)  # fmt: skip
        if observation["type"] == "MEDIA":
            assert set(observation["file"]) == set("12345678")
            (path,) = (path for player in observation["file"].values() for path in player)
            assert Path(path).is_file()
            info = observation["media_info"]
            assert info["length"][path] > 0
            assert info["fps"][path] > 0
            assert info["hasVideo"][path] is True
            assert info["hasAudio"][path] is False
            assert info["offset"]["1"] == 0
        else:
            assert observation["type"] == "IMAGES"
            assert all(Path(folder).is_dir() for folder in observation["directories_list"])
        began: dict[tuple[str, str], tuple[str, float]] = {}
        read[name] = []
        times = [each[0] for each in observation["events"]]
        assert times == sorted(times)
        for seconds, subject, code, modifier, comment, frame, *picture in observation["events"]:
            assert subject in subjects
            assert isinstance(comment, str)
            assert isinstance(frame, int)
            assert all(Path(each).is_file() for each in picture)
            if ethogram[code]["type"] == "Point event":
                continue
            if (subject, code) in began:
                side, start = began.pop((subject, code))
                assert side == modifier
                read[name].append((subject, code, modifier, start, seconds))
            else:
                began[subject, code] = modifier, seconds
        assert not began, "a state is not paired"
    return read


def test_boris_project_has_all_that_boris_reads(answer: Answer, tmp_path: Path) -> None:
    project = json.loads(WRITERS["boris"](answer, tmp_path / "a.boris", print).read_text("ascii"))
    (states,) = read_as_boris(project).values()
    assert [s for s in states if s[1].startswith("AU")] == [
        ("person 1", "AU12", "left", 0.1, 0.2), ("person 1", "AU04", "both", 0.19, 0.31),
        ("person 1", "AU12", "left", 0.201, 0.31), ("person 2", "AU04", "both", 0.2, 0.34),
    ]  # fmt: skip
    assert [s[1] for s in states].count("micro") == 4
    described = {each["code"]: each["description"] for each in project["behaviors_conf"].values()}
    assert described["AU12"].startswith("lip corner puller")
    comments = [each[4] for each in project["observations"]["=a film"]["events"] if each[2] == "AU12"]
    assert comments[0].startswith("probability 0.93, strength 2.5 %")
    assert comments[0].endswith("AUC on real clips 0.81")


def test_boris_project_of_many_films_and_of_pictures(answer: Answer, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    import cv2

    for n in range(60):
        cv2.imwrite(str(folder / f"{n:03d}.png"), np.full((8, 8), n, np.uint8))
    slow = replace(answer, video=replace(answer.video, start=0.1, slower=4))
    pictures = replace(answer, video=replace(answer.video, source=str(folder), name="pictures"))
    names = ["a film", "a film-2", "pictures"]
    read = read_as_boris(json.loads(project_text([answer, slow, pictures], names, "study")))
    assert list(read) == names
    # At the file's own clock, which starts at 0.1 s and runs four times slower.
    start, stop = next((s[3], s[4]) for s in read["a film-2"] if s[1] == "AU04" and s[0] == "person 2")
    assert (start, stop) == (0.5, 1.06)
    assert len(read["pictures"]) == len(read["a film"])


def test_tabular_events_of_boris(answer: Answer, tmp_path: Path) -> None:
    out = tmp_path / "a.tsv"
    check_target(out, "boris")
    rows = list(csv.DictReader(io.StringIO(WRITERS["boris"](answer, out, print).read_text()), delimiter="\t"))
    smile = [row for row in rows if row["Behavior"] == "AU12"]
    assert [(row["Behavior type"], float(row["Time"])) for row in smile] == [
        ("START", 0.1), ("STOP", 0.2), ("START", 0.201), ("STOP", 0.31),
    ]  # fmt: skip
    assert smile[0]["Modifier #1"] == "left"
    assert smile[0]["Observation id"] == "'=a film", "no formula"
    assert {row["Behavior type"] for row in rows if row["Behavior"] == "apex"} == {"POINT"}
    assert events_as_tsv([], []).count("\n") == 1


def test_table_has_columns_as_known_from_other_programs(answer: Answer, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(write_csv(answer, tmp_path / "a.csv").read_text())))
    assert [row["AU12"] for row in rows] == ["0.9300", "0.9300", "", ""]
    assert [row["AU12_c"] for row in rows] == ["1", "1", "", ""]
    assert (rows[0]["AU12_side"], rows[0]["AU12_strength"], rows[0]["AU01_c"]) == ("left", "2.500", "0")
    assert rows[0]["video"] == "'=a film"
    without = replace(answer, units=(), tracks=(replace(answer.tracks[0], events=(event(1, 2, 3),)),))
    assert not any(column.name.startswith("AU") for column in event_rows([without]).columns)


def test_near_ties_are_said_as_such_in_every_file(answer: Answer, tmp_path: Path) -> None:
    tie = replace(event(10, 14, 19, SMILE), probabilities={"negative": 0.47, "positive": 0.48, "surprise": 0.05})
    tied = replace(answer, tracks=(replace(answer.tracks[0], events=(tie,)),))
    (row,) = csv.DictReader(io.StringIO(write_csv(tied, tmp_path / "a.csv").read_text()))
    assert row["class"] == "positive or negative"
    opened = Eaf(str(WRITERS["eaf"](tied, tmp_path / "a.eaf", print)))
    (said,) = opened.get_ref_annotation_data_for_tier("person 1: class (derived)")
    (shares,) = opened.get_ref_annotation_data_for_tier("person 1: probability")
    assert (said[2], shares[2]) == ("positive or negative", "0.48, 0.47")
    assert "mien: action units" in dict(opened.get_properties())
    project = json.loads(WRITERS["boris"](tied, tmp_path / "a.boris", print).read_text())
    comments = [each[4] for each in project["observations"]["=a film"]["events"] if each[2] == "micro"]
    assert comments[0] == "class (derived): positive or negative, probability 0.48, 0.47"


def test_frames_have_the_units_of_the_expression_that_lasts(answer: Answer, tmp_path: Path) -> None:
    text = write_csv(answer, tmp_path / "a.csv", per_frame=True).read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 60 + 55
    first = rows[:60]
    assert [float(row["timestamp"]) for row in first] == pytest.approx([n / 100 for n in range(60)])
    assert [n for n, row in enumerate(first) if row["AU12_c"] == "1"] == list(range(10, 31))
    assert [n for n, row in enumerate(first) if row["AU04_c"] == "1"] == list(range(19, 31))
    assert [n for n, row in enumerate(first) if row["AU04"] == ""] == list(range(40, 50)), "units not known"
    assert float(first[15]["AU04"]) == 0.4
    assert float(first[35]["AU04"]) == 0
    assert [n for n, row in enumerate(first) if row["success"] == "0"] == [52, 53, 54]
    assert {row["face_id"] for row in rows[60:]} == {"2"}
    assert rows[60]["frame"] == "5"


def test_parquet_holds_the_same_table(answer: Answer, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    for per_frame in (False, True):
        read = parquet.read_table(write_parquet(answer, tmp_path / "a.parquet", per_frame)).to_pydict()
        text = write_csv(answer, tmp_path / "a.csv", per_frame).read_text()
        rows = list(csv.DictReader(io.StringIO(text)))
        assert list(read) == list(rows[0])
        for name, cells in read.items():
            for cell, row in zip(cells, rows, strict=True):
                if cell is None:
                    assert row[name] == ""
                elif isinstance(cell, str):
                    assert row[name].removeprefix("'") == cell
                else:
                    assert float(row[name]) == pytest.approx(cell, abs=1e-3)


@pytest.mark.parametrize("per_frame", [False, True])
def test_pandas_reads_the_tables(per_frame: bool, answer: Answer, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(write_csv(answer, tmp_path / "a.csv", per_frame))
    assert table["AU12"].dtype == float
    same = pandas.read_parquet(write_parquet(answer, tmp_path / "a.parquet", per_frame))
    assert list(table.columns) == list(same.columns)
    assert table["AU12"].sum() == pytest.approx(same["AU12"].sum(), abs=0.01)
    assert math.isclose(table["AU12_c"].sum(), 21 if per_frame else 2)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_texts_that_spreadsheets_would_compute_become_texts(text: str) -> None:
    table = Rows((Column("a", "text"), Column("b", "number", 1)), [(text, -1.0)])
    _, row = csv.reader(io.StringIO(as_csv(table), newline=""))
    assert row[0][0] in "' "
    assert row[1] == "-1.0"


def test_files_of_a_real_answer_say_what_it_says(tmp_path: Path) -> None:
    film = write_video(tmp_path / "acted.mkv", acted.acted([("4", 40, 55, 70, 0.3)], 110, 100), 100)
    answer = recognise(film, played.chance_weights(tmp_path / "w.safetensors"))
    moved = [unit for each in answer.events for unit in each.moved]
    assert 4 in {unit.unit for unit in moved}
    opened = Eaf(str(WRITERS["eaf"](answer, tmp_path / "a.eaf", print)))
    tiers = [name for name in opened.get_tier_names() if ": AU" in name and "details" not in name]
    codes = [annotation[2] for tier in tiers for annotation in opened.get_annotation_data_for_tier(tier)]
    assert sorted(codes) == sorted(unit.code for unit in moved)
    project = json.loads(WRITERS["boris"](answer, tmp_path / "a.boris", print).read_text())
    (states,) = read_as_boris(project).values()
    assert sorted((code, side) for _, code, side, *_ in states if side) == sorted(
        (f"AU{unit.unit:02d}", unit.side) for unit in moved
    )
    rows = list(csv.DictReader(io.StringIO(write_csv(answer, tmp_path / "a.csv").read_text())))
    assert sum(int(row["AU04_c"]) for row in rows) == sum(unit.unit == 4 for unit in moved)
    assert {name[:4] for name in rows[0] if name.startswith("AU")} == {f"AU{unit:02d}" for unit in answer.units}
