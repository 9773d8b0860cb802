"""Commands that make inputs: what they print, write and exit with."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mien.cli.inputs import read_interval
from mien.cli.main import app
from mien.errors import MienError
from mien.io.video import open_video, write_video
from mien.motion.flow import METHODS
from mien.preprocessing import RECIPES
from mien.synthesis.moving_face import render_clip
from mien.systems import SYSTEMS
from mien.types import Interval

runner = CliRunner()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = render_clip(0, "positive", interval_length=14, apex=7, size=96, seed=0, colour=True)
    return write_video(tmp_path_factory.mktemp("film") / "face.mkv", frames, 100)


def run(*words: object) -> tuple[int, str]:
    result = runner.invoke(app, [str(w) for w in words])
    if isinstance(result.exception, MienError):
        return 2, f"{result.exception.found} {result.exception.expected} {result.exception.fix}"
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


def test_prepare_writes_arrays_an_index_and_pictures(film: Path, tmp_path: Path) -> None:
    words = ("prepare", film, "--recipe", "strcn-g", "--set", "transform=none", "--set", "flow=dis")
    code, text = run(*words, "--out", tmp_path / "out", "--pictures", tmp_path / "album", "--json")
    assert code == 0
    (told,) = json.loads(text)["clips"]
    array = np.load(tmp_path / "out" / told["file"])
    assert array.shape == (2, 300, 245)
    assert array.dtype == np.float32
    assert np.abs(array).max() > 0.5
    assert told["interval_source"] == "detected"
    (row,) = csv.DictReader((tmp_path / "out" / "index.csv").open())
    assert (row["onset"], row["offset"], row["detected"]) == ("0", "13", "onset apex offset")
    assert 0 < int(row["apex"]) <= 13
    assert told["interval"] == {name: int(row[name]) for name in ("onset", "apex", "offset")}
    names = [p.name for p in sorted((tmp_path / "album").iterdir())]
    assert names == ["1-aligned.png", "2-magnified.png", "3-apex.png", "4-flow.png"]
    again = json.loads(run(*words, "--out", tmp_path / "out", "--json")[1])["clips"][0]
    assert again["cached"]
    assert again["interval"] == told["interval"]


def test_prepare_lists_what_failed_and_keeps_the_rest(film: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video at all")
    words = ("--recipe", "aligned", "--set", "transform=none", "--no-cache", "--jobs", 1)
    code, text = run("prepare", film, bad, *words, "--out", tmp_path / "out")
    assert code == 1
    assert "1 of 2 clips prepared" in text
    assert "1 failed" in text
    assert "bad" in text
    assert len(list((tmp_path / "out").glob("**/*.npy"))) == 1
    assert run("prepare", bad, *words)[0] == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("prepare", "nothing.mp4"), "There is no"),
        (("prepare", "{film}", "--recipe", "strcn"), "strcn-"),
        (("prepare", "{film}", "--set", "alhpa=3"), "alpha"),
        (("prepare", "{film}", "--set", "transform=twist"), "lwm"),
        (("prepare", "{film}", "--interval", "9:3"), "onset before offset"),
        (("flow", "a.png", "--out", "x.png"), "There is no"),
        (("flow", "{film}", "--out", "x.png", "--method", "raft"), "classic_nl"),
        (("magnify", "{film}", "--out", "x.mp4", "--band", "3"), "LOW:HIGH"),
        (("magnify", "{film}", "--out", "x.mp4", "--band", "3:80"), "half the frame rate"),
        (("recipes", "strcn"), "strcn-"),
    ],
)
def test_mistakes_are_told_in_three_parts(film: Path, words: tuple[str, ...], told: str) -> None:
    code, text = run(*(word.format(film=film) for word in words))
    assert code == 2
    assert told in text


def test_magnify_keeps_every_frame(film: Path, tmp_path: Path) -> None:
    code, text = run("magnify", film, "--out", tmp_path / "big.mkv", "--beside", "--slower", 2, "--json")
    told = json.loads(text)
    assert (code, told["n_frames"]) == (0, 14)
    made = open_video(tmp_path / "big.mkv")
    assert made.n_frames == 14
    assert (made.height, made.width) == (96, 192)
    assert made.fps == pytest.approx(50)


def test_flow_of_a_video_and_of_two_pictures(film: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "f.png", "--array", tmp_path / "f.npy", "--json")
    code, text = run("flow", film, "--method", "dis", *out)
    assert code == 0
    told = json.loads(text)
    flow = np.load(tmp_path / "f.npy")
    assert flow.shape == (96, 96, 2)
    assert told["p99_px"] == pytest.approx(np.percentile(np.hypot(flow[..., 0], flow[..., 1]), 99))
    assert (tmp_path / "f.png").stat().st_size > 10_000
    from PIL import Image

    for name, index in (("a", 0), ("b", 7)):
        Image.fromarray(open_video(film).frame(index).pixels).save(tmp_path / f"{name}.png")
    both = (tmp_path / "a.png", tmp_path / "b.png")
    pair = json.loads(run("flow", *both, "--method", "dis", "--out", tmp_path / "g.png", "--json")[1])
    assert pair["first"] == "a.png"
    assert pair["p99_px"] == pytest.approx(told["p99_px"], rel=0.3)


def test_one_flow_is_that_of_the_recipe_the_system_and_the_help() -> None:
    paper = SYSTEMS["strcn-g"].with_parameters({"preset": "paper"}).flow
    assert paper == SYSTEMS["strcn-g"].with_parameters({}, ("frames",)).flow == "classic_nl_published"
    assert RECIPES["strcn-g"].parameters.defaults()["flow"] == paper
    words = re.sub(r"[^\w]+", " ", run("flow", "--help")[1]).split()
    assert set(METHODS) <= set(words)


def test_recipes_and_cache_tell_what_there_is(film: Path, tmp_path: Path) -> None:
    assert {r["name"] for r in json.loads(run("recipes", "--json")[1])} >= {"strcn-g", "strcn-a", "aligned"}
    assert "aligned_face" in run("recipes", "strcn-g")[1]
    words = ("--recipe", "aligned", "--set", "transform=none", "--cache", tmp_path / "cache", "--json")
    run("prepare", film, *words)
    assert json.loads(run("cache", "--cache", tmp_path / "cache", "--json")[1])["entries"] == 1
    run("cache", "--cache", tmp_path / "cache", "--clear")
    assert json.loads(run("cache", "--cache", tmp_path / "cache", "--json")[1])["entries"] == 0


def test_intervals() -> None:
    assert read_interval(None) is None
    assert read_interval("3:9") == Interval(3, None, 9)
    assert read_interval("3:9:5") == Interval(3, 5, 9)
    for wrong in ("3", "9:3", "3:9:3", "3:9:10", "a:b", "-1:4"):
        with pytest.raises(MienError):
            read_interval(wrong)
