"""`mien recognise` and `mien watch` from the command line: what they print, write and exit with."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import av
import numpy as np
import played
import pytest
from typer.testing import CliRunner

from mien.classifiers.checkpoint import SHIPPED, SHIPPED_UNITS
from mien.cli.main import app
from mien.cli.watch import spark
from mien.errors import MienError
from mien.io.video import write_video

runner = CliRunner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("command")
    played.chance_weights(made / "w.safetensors")
    write_video(made / "film.mkv", played.film(41, 200, [(60, 78, 95, "positive")]), 100)
    return made


def run(*words: object) -> tuple[int, str]:
    result = runner.invoke(app, [str(w) for w in words])
    if isinstance(result.exception, MienError):
        return 2, f"{result.exception.found} {result.exception.expected} {result.exception.fix}"
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


def test_every_file_in_one_go(folder: Path, tmp_path: Path) -> None:
    kinds = {"csv", "parquet", "eaf", "boris", "mp4", "html"}
    files = {kind: tmp_path / f"a.{kind}" for kind in kinds}
    options = [word for kind, out in files.items() for word in (f"--{kind}", out)]
    code, text = run(
        "recognise", folder / "film.mkv", "--weights", folder / "w.safetensors", "--json-file", tmp_path / "a.json",
        "--interval", "60:95", *options, "--json",
    )  # fmt: skip
    assert code == 0
    told = json.loads(text)
    assert told["n_events"] == 1
    assert told["tracks"][0]["events"][0]["given"]
    assert "lie detector" in told["says"]["not"]
    assert set(told["files"]) == kinds | {"json"}
    for out in (*files.values(), tmp_path / "a.json"):
        assert out.stat().st_size > 200
    assert json.loads((tmp_path / "a.json").read_text())["n_events"] == 1


def test_tables_per_frame(folder: Path, tmp_path: Path) -> None:
    code, _ = run(
        "recognise", folder / "film.mkv", "--weights", folder / "w.safetensors", "--interval", "60:95:78",
        "--csv", tmp_path / "a.csv", "--per-frame",
    )  # fmt: skip
    assert code == 0
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert [int(row["frame"]) for row in rows if row["kind"] == "micro"] == list(range(60, 96))


def test_the_table_and_what_must_be_said(folder: Path) -> None:
    code, text = run("recognise", folder / "film.mkv", "--weights", folder / "w.safetensors", "--fps", 30)
    assert code == 0
    words = " ".join(text.split())
    assert "No micro-expressions. " in words
    assert "this video has 30" in words
    assert "Action units are predicted by flow-kernels" in words
    assert "not a lie detector" in words
    assert "made by a computer" in words
    assert "has not been measured" in words


@pytest.mark.parametrize("kind", ["empty", "text", "sound", "none"])
def test_what_is_no_video_is_refused(kind: str, folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    if kind == "empty":
        bad.write_bytes(b"")
    elif kind == "text":
        bad.write_text("not a film\n" * 50)
    elif kind == "sound":
        with av.open(str(bad), "w") as container:
            stream = container.add_stream("aac", 48000)
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), "fltp", "mono")
            sound.sample_rate = 48000
            container.mux([*stream.encode(sound), *stream.encode(None)])
    code, text = run("recognise", bad, "--weights", folder / "w.safetensors")
    assert code == 2
    assert "bad.mp4" in text


@pytest.mark.parametrize(
    "words",
    [
        ("--interval", "95:60"),
        ("--interval", "60:4000"),
        ("--spotter", "nobody"),
        ("--spotter", "softnet"),
        ("--set", "nothing=1"),
        ("--csv", "a.txt"),
        ("--boris", "a.txt"),
        ("--per-frame",),
        ("--weights", "none.safetensors"),
        ("--weights", SHIPPED_UNITS),
        ("--unit-weights", SHIPPED),
    ],
)
def test_mistakes_say_what_to_type(words: tuple[str, ...], folder: Path) -> None:
    weights = () if "--weights" in words else ("--weights", folder / "w.safetensors")
    code, text = run("recognise", folder / "film.mkv", *weights, *words)
    assert code == 2
    assert "`" in text


def test_watching_a_film_finds_what_is_in_it(folder: Path) -> None:
    words = ("watch", "--file", folder / "film.mkv", "--weights", folder / "w.safetensors", "--every-frame")
    code, text = run(*words, "--json")
    assert code == 0
    *events, end = (json.loads(line) for line in text.splitlines())
    assert end["n_frames"] == 200
    assert end["dropped"] == 0
    assert len(events) == 1
    assert 55 < events[0]["onset"]["index"] < 70
    assert abs(events[0]["apex"]["index"] - 78) <= 3
    assert sum(events[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_watching_in_real_time_counts_every_frame(folder: Path) -> None:
    code, text = run(
        "watch", "--file", folder / "film.mkv", "--weights", folder / "w.safetensors", "--seconds", 1.5, "--json"
    )
    assert code == 0
    end = json.loads(text.splitlines()[-1])
    assert end["n_frames"] > 0
    assert end["n_frames"] + end["dropped"] >= 150
    code, text = run("watch", "--file", folder / "film.mkv", "--weights", folder / "w.safetensors", "--seconds", 0.5)
    assert code == 0
    assert "dropped" in text


def test_watching_refuses_two_sources(folder: Path) -> None:
    code, text = run("watch", "--file", "a.mp4", "--camera", 1, "--weights", folder / "w.safetensors")
    assert code == 2
    assert "one of them" in text


def test_spark() -> None:
    assert spark([0.0, 1.0, float("nan"), 0.5]) == " █·▄"
    assert spark([]) == ""
    assert spark([0.0, 0.0]) == "  "
