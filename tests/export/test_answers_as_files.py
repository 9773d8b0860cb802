"""Answers written as table, JSON, ELAN tiers, marked video and page."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import played
import pytest
from PIL import Image
from pympi import Eaf

from mien.errors import MienError
from mien.export import WRITERS, check_target
from mien.export.page import MOST_PICTURED, clock, timeline, write_page
from mien.io.video import open_video, write_video
from mien.recognition import recognise
from mien.recognition.naming import open_namer
from mien.recognition.records import (
    Answer,
    Event,
    Moment,
    Place,
    Reason,
    Trace,
    Track,
    VideoFacts,
)

EYES = (124.0, 110.0, 198.0, 110.0)
WHY = Reason("macro", "It lasts 0.60 s & more: <b>ordinary</b>.")


def event(onset: int, apex: int, offset: int, *, named: bool = True, person: int = 1) -> Event:
    first, top, last = (Moment(i, i / 100) for i in (onset, apex, offset))
    shares = {"negative": 0.2, "positive": 0.7, "surprise": 0.1} if named else {}
    why = () if named else (WHY,)
    return Event(person, "micro" if named else "macro", first, top, last, False, False, 1.5, shares, why, (), EYES)


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    folder = tmp_path_factory.mktemp("files")
    film = write_video(folder / "a film.mp4", played.film(41, 140, [(40, 50, 62, "positive")]), 100)
    weights = played.chance_weights(folder / "w.safetensors")
    events = (event(40, 50, 62), event(70, 90, 130, named=False))
    trace = Trace(0, 1, (*(float(abs(n - 50) < 10) + 0.1 for n in range(139)), float("nan")), "units")
    track = Track(
        1, Moment(0, 0.0), Moment(139, 1.39), 140, 74.0, (), (Place(0, EYES), Place(100, None), Place(110, EYES)),
        events, trace,
    )  # fmt: skip
    video = VideoFacts(str(film), "a film", 240, 320, 140, 1.39, 100.0, False)
    return Answer(video, (track,), "flow-peaks", str(weights), open_namer(weights).card)


@pytest.fixture(scope="module")
def page(answer: Answer, tmp_path_factory: pytest.TempPathFactory) -> str:
    shares: list[float] = []
    out = write_page(answer, tmp_path_factory.mktemp("page") / "a.html", shares.append)
    assert shares[-1] == 1
    return out.read_text("utf-8")


def test_words_lead_to_their_definitions_on_the_page(page: str) -> None:
    linked = set(re.findall(r'href="#term-([\w-]+)"', page))
    assert set(re.findall(r'id="term-([\w-]+)"', page)) > linked > {"onset", "apex", "micro-expression"}


def test_table_has_a_row_per_interval(answer: Answer, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(WRITERS["csv"](answer, tmp_path / "a.csv", print).read_text())))
    assert [row["class"] for row in rows] == ["positive", ""]
    assert [int(row["apex_frame"]) for row in rows] == [50, 90]
    assert float(rows[0]["p_negative"]) == 0.2
    assert float(rows[0]["length_s"]) == pytest.approx(0.23)
    assert {row["interval_source"] for row in rows} == {
        "annotated" if event.given else "detected" for event in answer.events
    }
    assert rows[1]["abstained"] == "macro"
    assert rows[1]["p_negative"] == ""


def test_json_contains_the_whole_answer(answer: Answer, tmp_path: Path) -> None:
    plain = json.loads(WRITERS["json"](answer, tmp_path / "deep" / "a.json", print).read_text())
    assert plain["tracks"][0]["events"][0]["probabilities"]["positive"] == 0.7
    assert plain["tracks"][0]["trace"]["values"][-1] is None
    assert plain["card"]["system"] == "strcn-g"


def test_elan_file_reopens_with_the_same_content(answer: Answer, tmp_path: Path) -> None:
    out = WRITERS["eaf"](answer, tmp_path / "a.eaf", print)
    opened = Eaf(str(out))
    spans = opened.get_annotation_data_for_tier("person 1: expression")
    assert [(a, b, text) for a, b, text, *_ in spans] == [(400, 630, "micro"), (700, 1310, "macro")]
    named = opened.get_ref_annotation_data_for_tier("person 1: class (derived)")
    assert [(a, b, text) for a, b, text, *_ in named] == [(400, 630, "positive")]
    (why,) = opened.get_ref_annotation_data_for_tier("person 1: not named because")
    assert why[2] == WHY.text
    apexes = opened.get_annotation_data_for_tier("person 1: apex")
    assert [(a, b) for a, b, *_ in apexes] == [(500, 510), (900, 910)]
    (media,) = opened.get_linked_files()
    assert media["MEDIA_URL"].endswith("a%20film.mp4")
    assert media["MIME_TYPE"] == "video/mp4"
    assert "lie detector" in dict(opened.get_properties())["mien: what it is not"]


def test_elan_file_follows_the_rules_of_its_format(answer: Answer, tmp_path: Path) -> None:
    """The requirements of ELAN's schema: order of the parts, existing ids, ascending times."""
    root = ElementTree.parse(WRITERS["eaf"](answer, tmp_path / "a.eaf", print)).getroot()
    order = ["LICENSE", "HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "LOCALE", "LANGUAGE", "CONSTRAINT"]
    tags = [child.tag for child in root]
    assert [t for t in order if t in tags] == list(dict.fromkeys(tags))
    slots = {s.get("TIME_SLOT_ID"): int(s.get("TIME_VALUE", "-1")) for s in root.iter("TIME_SLOT")}
    assert min(slots.values()) >= 0
    types = {t.get("LINGUISTIC_TYPE_ID") for t in root.iter("LINGUISTIC_TYPE")}
    tiers = {t.get("TIER_ID") for t in root.iter("TIER")}
    ids = [a.get("ANNOTATION_ID") for a in root.iter() if a.get("ANNOTATION_ID")]
    assert len(set(ids)) == len(ids) > 0
    for tier in root.iter("TIER"):
        assert tier.get("LINGUISTIC_TYPE_REF") in types
        assert tier.get("PARENT_REF") in (None, *tiers)
    for span in root.iter("ALIGNABLE_ANNOTATION"):
        assert slots[span.get("TIME_SLOT_REF1")] < slots[span.get("TIME_SLOT_REF2")]
    for part in root.iter("REF_ANNOTATION"):
        assert part.get("ANNOTATION_REF") in ids


@pytest.mark.skipif("MIEN_EAF_SCHEMA" not in os.environ, reason="MIEN_EAF_SCHEMA names no copy of EAFv2.8.xsd")
def test_elan_file_is_valid_under_elans_own_schema(answer: Answer, tmp_path: Path) -> None:
    etree = pytest.importorskip("lxml.etree")
    schema = etree.XMLSchema(file=os.environ["MIEN_EAF_SCHEMA"])
    schema.assertValid(etree.parse(WRITERS["eaf"](answer, tmp_path / "a.eaf", print)))


def test_elan_intervals_that_touch_do_not_overlap(answer: Answer, tmp_path: Path) -> None:
    from dataclasses import replace

    close = replace(answer.tracks[0], events=(event(40, 50, 62), event(60, 64, 80)))
    out = WRITERS["eaf"](replace(answer, tracks=(close,)), tmp_path / "a.eaf", print)
    first, second = Eaf(str(out)).get_annotation_data_for_tier("person 1: expression")
    assert first[1] <= second[0]


def test_elan_intervals_follow_the_film_where_another_frame_rate_was_given(answer: Answer, tmp_path: Path) -> None:
    from dataclasses import replace

    slow = replace(answer, video=replace(answer.video, start=0.3, slower=8))
    tiers = Eaf(str(WRITERS["eaf"](slow, tmp_path / "a.eaf", print)))
    spans = tiers.get_annotation_data_for_tier("person 1: expression")
    assert [(a, b) for a, b, *_ in spans] == [(300 + 8 * 100, 300 + 8 * 330), (300 + 8 * 400, 300 + 8 * 1010)]
    film = write_video(tmp_path / "slow.mkv", [np.full((64, 64), 128, np.uint8)] * 30, 25)
    video = recognise(film, open_namer(answer.weights), fps=200).video
    assert (video.fps, video.slower) == (200, 8)
    assert recognise(film, open_namer(answer.weights)).video.slower == 1


def test_video_is_marked_during_expressions_only(answer: Answer, tmp_path: Path) -> None:
    film = open_video(WRITERS["mp4"](answer, tmp_path / "a.mp4", print))
    assert film.n_frames == 140
    assert film.fps == 100
    assert film.width == 320
    assert film.height > 240

    def marked(index: int) -> int:
        """Return the number of orange pixels, the colour of the box."""
        pixels = film.frame(index).pixels[:240].astype(int)
        return int(((pixels[..., 0] > 200) & (pixels[..., 2] < 120)).sum())

    assert marked(50) > 300
    assert marked(20) == 0
    original = open_video(answer.video.source).frame(105).pixels
    assert (
        np.abs(film.frame(105).pixels[:240].astype(int) - original).mean() < 3
    )  # the face is lost there: nothing is drawn


def test_page_loads_no_files_and_runs_no_scripts(page: str) -> None:
    assert "default-src 'none'" in page
    assert not re.search(r"<script|javascript:|@import|<link|<iframe|onload=", page, re.I)
    for address in re.findall(r"(?:src|href|srcset)=\"([^\"]*)\"", page):
        assert address.startswith(("data:image/webp;base64,", "#"))
    assert not re.search(r"url\((?!data:)", page)


def test_page_contains_the_pictures_of_each_interval(page: str) -> None:
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r"data:image/webp;base64,([^\"]*)", page)
    ]
    sizes = [(p.size, getattr(p, "n_frames", 1)) for p in pictures]
    loops = [n for _, n in sizes if n > 1]
    assert len(loops) == 2
    assert min(loops) >= 8  # equal frames are stored once
    assert len(sizes) - len(loops) in (10, 11)  # five each, and saliency of the named one where Captum is there
    assert len({size for size, n in sizes if n == 1}) <= len(loops)  # pictures of one interval are equally large
    onset, apex = (np.asarray(p.convert("L"), float) for p in pictures[:2])
    assert 0.2 < np.abs(onset - apex).mean() < 20


def test_page_works_with_the_keyboard(page: str) -> None:
    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.ids: set[str] = set()
            self.targets: list[str] = []
            self.unnamed = 0
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            given = dict(attrs)
            self.ids.add(given.get("id") or "")
            if tag == "a":
                self.targets.append((given.get("href") or "")[1:])
            if tag == "img" and not given.get("alt"):
                self.unnamed += 1

    reader = Reader()
    reader.feed(page)
    assert {"p1-f40", "p1-f70", "main"} <= set(reader.targets)
    assert set(reader.targets) <= reader.ids
    assert reader.unnamed == 0
    assert "prefers-color-scheme: dark" in page


def test_page_shows_the_cautions_and_escapes_text(page: str) -> None:
    assert "lie detector" in page
    assert "made by a computer" in page
    assert "has not been measured" in page
    assert "&lt;b&gt;ordinary" in page
    assert "<b>ordinary" not in page


def test_page_of_a_deleted_video_has_no_pictures_and_says_so(answer: Answer, tmp_path: Path) -> None:
    from dataclasses import replace

    gone = replace(answer, video=replace(answer.video, source=str(tmp_path / "gone.mp4")))
    text = write_page(gone, tmp_path / "a.html").read_text()
    assert "No pictures" in text
    assert "data:image" not in text
    with pytest.raises(MienError, match="no longer exists"):
        WRITERS["mp4"](gone, tmp_path / "a.mp4", print)


def test_classes_whose_names_carry_html_are_text_in_every_file(answer: Answer, tmp_path: Path) -> None:
    from dataclasses import replace

    from mien.export.page import page_body

    name = '"><img src=x onerror=alert(1)><script>alert(2)</script>&]]>'
    named = replace(event(40, 50, 62), probabilities={name: 0.7, "'-alert(3)-'": 0.3})
    hostile = replace(answer, tracks=(replace(answer.tracks[0], events=(named,)),))
    for text in (page_body(hostile, ({}, []), lambda file, _: file), WRITERS["html"](
        replace(hostile, video=replace(hostile.video, source="/nowhere")), tmp_path / "a.html", print
    ).read_text("utf-8")):  # fmt: skip
        assert "<script" not in text
        assert "<img src=x" not in text
        assert "&lt;img src=x onerror=alert(1)&gt;" in text
    eaf = WRITERS["eaf"](hostile, tmp_path / "a.eaf", print)
    assert name in "".join(ElementTree.parse(eaf).getroot().itertext())


def test_timeline_places_intervals_at_their_times(answer: Answer) -> None:
    drawn = timeline(answer, answer.tracks[0])
    assert drawn["bars"][0]["x"] == pytest.approx(1000 * 0.40 / 1.39, abs=0.1)
    assert drawn["bars"][0]["apex"] == pytest.approx(1000 * 0.50 / 1.39, abs=0.1)
    assert len(drawn["lines"]) == 1
    assert drawn["most"] == pytest.approx(1.1)
    assert MOST_PICTURED > 2


def test_clock_formats_seconds() -> None:
    assert [clock(s) for s in (3.5, 75, 3600 + 62.25)] == ["3.50 s", "1:15.00", "1:01:02.25"]


def test_output_files_are_checked_before_any_work(answer: Answer, tmp_path: Path) -> None:
    for out, kind in ((tmp_path, "html"), (tmp_path / "a.txt", "csv"), (Path(answer.video.source), "mp4")):
        with pytest.raises(MienError):
            check_target(out, kind, answer.video.source)
    (tmp_path / "file").write_text("")
    with pytest.raises(MienError, match="not a folder"):
        check_target(tmp_path / "file" / "a.csv", "csv")
    check_target(tmp_path / "new" / "a.csv", "csv")
