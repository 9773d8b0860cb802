"""Label maps on clips made by hand, with the published counts."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import openpyxl
import pytest

from mien.datasets.labels import LABEL_MAPS, label_map, label_maps_of, left_out, own_labels, parse_action_units, samples
from mien.errors import MienError
from mien.types import Clip

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def clip(dataset: str, emotion: str, name: str = "c", subject: str = "01", objective: str = "") -> Clip:
    extra = {"objective": objective} if objective else {}
    return Clip(dataset, subject, name, None, emotion, frames=(Path("f"),), extra=extra)


def counts(clips: list[Clip], name: str) -> dict[str, int]:
    classes = label_map(name).classes
    labels = [sample.label for sample in samples(clips, name)]
    return {each: labels.count(i) for i, each in enumerate(classes)}


def many(dataset: str, numbers: dict[str, int]) -> list[Clip]:
    return [clip(dataset, emotion, f"{emotion}{i}") for emotion, n in numbers.items() for i in range(n)]


CASME2 = {"happiness": 32, "disgust": 64, "repression": 27, "surprise": 25, "others": 99, "fear": 2, "sadness": 7}
SAMM = {
    "anger": 57,
    "contempt": 12,
    "disgust": 9,
    "fear": 8,
    "sadness": 6,
    "happiness": 26,
    "surprise": 15,
    "other": 26,
}
SMIC = {"negative": 70, "positive": 51, "surprise": 43}


def listed() -> list[tuple[str, str, str, int]]:
    """The published list of 442: (dataset, subject, clip, label) in this library's spelling of names."""
    names = {"smic": "smic_hs"}
    with (REAL / "megc2019_flow" / "clips.csv").open(encoding="utf-8-sig", newline="") as file:
        return [
            (
                names.get(row["dataset"], row["dataset"]),
                re.sub("^s0*(?=[0-9])", "s", row["sub"].removeprefix("sub")),
                re.sub("^s0*(?=[0-9])", "s", row["filename_o"]),
                int(row["label"]),
            )
            for row in csv.DictReader(file)
        ]


@pytest.mark.skipif(not REAL.is_dir(), reason="the published list is not beside the project")
def test_the_megc2019_composite_is_the_published_list_key_by_key_and_label_by_label() -> None:
    sheets = REAL / "label_sheets"
    casme2 = openpyxl.load_workbook(sheets / "CASME2-coding-20140508.xlsx").worksheets[0]
    samm = openpyxl.load_workbook(sheets / "SAMM_Micro_FACS_Codes_v2.xlsx").worksheets[0]
    smic = openpyxl.load_workbook(sheets / "SMIC-HS-E_annotation.xlsx", data_only=True).worksheets[0]
    rows = [
        *(("casme2", str(r[0]), r[1], r[8]) for r in casme2.iter_rows(min_row=2, values_only=True)),
        *(("samm", str(r[0]), r[1], r[9]) for r in samm.iter_rows(min_row=15, values_only=True)),
        *(("smic_hs", f"s{r[0]}", r[1], r[13]) for r in smic.iter_rows(min_row=2, values_only=True) if r[0]),
    ]
    clips = [clip(d, str(emotion).lower(), str(name), subject) for d, subject, name, emotion in rows]
    found = {(s.clip.dataset, s.clip.subject, s.clip.name, s.label) for s in samples(clips, "megc2019")}
    published = set(listed())
    assert len(published) == 442
    assert {p for p in published if p[0] != "smic_hs"} == {f for f in found if f[0] != "smic_hs"}
    assert found <= published
    assert {p[:3] for p in published - found} == {("smic_hs", "s1", "s1_ne_02"), ("smic_hs", "s2", "s2_sur_05")}


def test_a_clip_of_the_same_name_elsewhere_is_another_clip() -> None:
    others = [clip("casme2", "disgust", "EP12_01f", "05"), clip("samm", "anger", "EP02_07", "24")]
    assert len(samples(others, "megc2019")) == 2


@pytest.mark.parametrize("name", ["megc2019", "casme2_5"])
def test_a_sheet_that_relabels_clips_of_a_published_list_is_said(name: str) -> None:
    earlier = [clip("casme2", "sadness", each, "24") for each in ("EP07_01", "EP07_04f", "EP10_03")]
    later = [replace(each, emotion="surprise") for each in earlier]
    with pytest.warns(UserWarning, match="EP07_04f is surprise here and sadness there"):
        assert samples(later, name) == []
    said: list[str] = []
    assert samples(later, name, said.append) == []
    assert len(said) == 1
    assert samples(earlier, name, pytest.fail) == []


def test_clips_that_a_map_leaves_out_are_counted_by_reason() -> None:
    clips = [*many("casme2", {"others": 3, "happiness": 2, "": 1}), clip("casme2", "disgust", "EP09_05f", "05")]
    assert left_out(clips, "megc2019") == {
        "others is no class": 3,
        "no emotion in the label sheet": 1,
        "not in the published list of megc2019": 1,
    }
    assert left_out(clips[:5], "own") == {}


def test_ready_flow_pictures_keep_their_class() -> None:
    flow = [Clip("casme2", "sub01", e, None, e, medium="flow") for e in ("surprise", "negative", "positive")]
    assert [s.label for s in samples(flow, "megc2019")] == [2, 0, 1]
    assert label_map("megc2019").classes == ("negative", "positive", "surprise")


def test_five_classes() -> None:
    five = counts(many("casme2", CASME2), "casme2_5")
    assert five == {"happiness": 32, "surprise": 25, "disgust": 64, "repression": 27, "others": 99}
    assert sum(five.values()) == 247
    five = counts(many("samm", SAMM), "samm_5")
    assert five == {"anger": 57, "contempt": 12, "happiness": 26, "surprise": 15, "other": 26}
    assert sum(five.values()) == 136


def test_strcn4() -> None:
    assert label_map("strcn4").classes == ("positive", "negative", "surprise", "other")
    assert counts(many("casme2", CASME2), "strcn4") == {"positive": 32, "negative": 73, "surprise": 25, "other": 126}
    assert counts(many("samm", SAMM), "strcn4") == {"positive": 26, "negative": 92, "surprise": 15, "other": 26}
    assert counts(many("smic_hs", SMIC), "strcn4") == {"positive": 51, "negative": 70, "surprise": 43, "other": 0}
    assert counts([clip("fourdme", "positive & surprise"), clip("casme", "tense")], "strcn4")["other"] == 1


@pytest.mark.parametrize(
    ("printed", "all_seven", "first_five"), [("1", 0, 0), ("V", 4, 4), ("7", 6, None), ("", None, None)]
)
def test_objective_classes(printed: str, all_seven: int | None, first_five: int | None) -> None:
    one = clip("samm", "anger", objective=printed)
    assert label_map("objective").of(one) == all_seven
    assert label_map("objective5").of(one) == first_five


def test_own_labels_are_those_that_occur() -> None:
    clips = [
        clip("mmew", "surprise", "a"),
        clip("mmew", "", "b"),
        clip("mmew", "anger", "c"),
        clip("mmew", "anger", "d"),
    ]
    assert own_labels(clips).classes == ("anger", "surprise")
    kept = samples(clips, "own")
    assert [(s.clip.name, s.label, s.origin) for s in kept] == [
        ("a", 1, "mmew/01/a"),
        ("c", 0, "mmew/01/c"),
        ("d", 0, "mmew/01/d"),
    ]
    assert samples([], "own") == []


def test_class_names_map_to_themselves_for_any_dataset() -> None:
    assert [s.label for s in samples([clip("synthetic", "positive"), clip("synthetic", "none", "n")], "megc2019")] == [
        1
    ]


def test_unknown_maps_are_answered_with_the_nearest() -> None:
    with pytest.raises(MienError) as caught:
        samples([], "megc2020")
    assert "`megc2019`" in caught.value.fix


def test_every_rule_leads_to_a_class_and_every_map_tells_its_source() -> None:
    for each in LABEL_MAPS.values():
        assert each.source
        for rule in each.rules.values():
            assert set(rule.values()) <= set(each.classes)
    assert label_maps_of("samm_lv") == ()
    assert {"own", "megc2019", "casme2_5", "strcn4"} <= set(label_maps_of("casme2"))


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("4+L12", ((None, 4), ("L", 12))),
        ("AU4 + AU7B", ((None, 4), (None, 7))),
        ("R12A", (("R", 12),)),
        ("r14", (("R", 14),)),
        ("L10", (("L", 10),)),
        ("1+2\uff0c5", ((None, 1), (None, 2), (None, 5))),
        ("R12 or R15", (("R", 12),)),
        ("AU4(k)+AU17", ((None, 17),)),
        ("12", ((None, 12),)),
        ("", ()),
        ("0", ()),
        ("?", ()),
    ],
)
def test_parse_action_units(text: str, units: tuple[tuple[str | None, int], ...]) -> None:
    assert parse_action_units(text) == units
