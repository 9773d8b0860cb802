"""`mien describe` and the table behind it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from mien.cli.main import app
from mien.descriptors import DESCRIPTORS, descriptor
from mien.descriptors.table import COLUMNS, check_target, describe, write_table
from mien.errors import MienError
from mien.io.video import write_video
from mien.preprocessing.prepare import video_clip
from mien.synthesis.flow_images import write_flow_images
from mien.synthesis.moving_face import render_clip
from mien.synthesis.writer import write_corpus
from mien.types import Interval

runner = CliRunner()


def run(*words: object) -> tuple[int, str]:
    result = runner.invoke(app, [str(w) for w in words])
    if isinstance(result.exception, MienError):
        return 2, f"{result.exception.found} {result.exception.expected} {result.exception.fix}"
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = render_clip(0, "positive", interval_length=14, apex=7, size=96, seed=0, colour=True)
    return write_video(tmp_path_factory.mktemp("film") / "face.mkv", frames, 100)


@pytest.mark.parametrize("name", sorted(DESCRIPTORS))
def test_every_descriptor_reads_a_video(name: str, film: Path) -> None:
    quick = {"flow": "dis"} if "flow" in DESCRIPTORS[name].parameters.model_fields else {}
    table = describe([video_clip(film, Interval(0, 7, 13))], name, quick)
    (row,) = table.rows
    assert row.error is None
    assert row.vector is not None
    assert row.vector.ndim == 1
    assert np.isfinite(row.vector).all()
    assert row.vector.any()
    assert set(table.parameters) == set(DESCRIPTORS[name].parameters.model_fields)


def test_the_table_is_the_same_in_every_format(film: Path, tmp_path: Path) -> None:
    words = ("describe", film, "--descriptor", "hoof", "--interval", "0:13:7", "--set", "flow=dis", "--no-cache")
    for suffix in ("parquet", "csv", "npz"):
        code, text = run(*words, "--out", tmp_path / f"f.{suffix}", "--json")
        assert code == 0
        told = json.loads(text)
        assert (told["n_clips"], told["n_features"], told["failed"]) == (1, 8, [])
        assert told["parameters"]["flow"] == "dis"
    packed = np.load(tmp_path / "f.npz")
    table = parquet.read_table(tmp_path / "f.parquet")
    with (tmp_path / "f.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert table.column_names == list(line) == [*COLUMNS, *(f"hoof_{i}" for i in range(8))]
    (row,) = table.to_pylist()
    assert (row["clip"], row["onset"], row["apex"], row["offset"], row["interval_source"]) == (
        "face",
        0,
        7,
        13,
        "annotated",
    )
    for i in range(8):
        assert row[f"hoof_{i}"] == packed["features"][0, i] == pytest.approx(float(line[f"hoof_{i}"]), abs=1e-7)
    about = json.loads(table.schema.metadata[b"mien"])
    assert about == json.loads(str(packed["about"]))
    assert about["descriptor"] == "hoof"


def test_a_whole_database_and_one_bad_clip(tmp_path: Path) -> None:
    clips = write_corpus("casme2", tmp_path / "data", subjects=2, clips_per_subject=2, size=64, frames=6)
    for picture in clips[1].frames:
        picture.write_bytes(b"no picture")
    words = ("describe", f"casme2={tmp_path / 'data'}", "--descriptor", "bi-woof", "--set", "face=none")
    small = ("--set", "flow=dis", "--set", "size=[64,64]", "--cache", tmp_path / "cache", "--jobs", "1")
    code, text = run(*words, *small, "--out", tmp_path / "f.parquet", "--json")
    assert code == 1
    assert [entry["clip"] for entry in json.loads(text)["failed"]] == [clips[1].key]
    rows = parquet.read_table(tmp_path / "f.parquet").to_pylist()
    kept = [clips[0], *clips[2:]]
    assert [(r["dataset"], r["subject"], r["clip"], r["emotion"]) for r in rows] == [
        (c.dataset, c.subject, c.name, c.emotion) for c in kept
    ]


def test_ready_flow_pictures(tmp_path: Path) -> None:
    write_flow_images(tmp_path / "pictures", subjects=2, clips_per_subject=3, seed=0, layout="folders")
    source = f"flow_images={tmp_path / 'pictures'}"
    code, text = run("describe", source, "--descriptor", "bi-woof", "--out", tmp_path / "f.npz", "--no-cache")
    assert code == 0
    assert "6 of 6" in text
    assert np.load(tmp_path / "f.npz")["features"].shape == (6, 512)
    code, text = run("describe", source, "--descriptor", "mdmo", "--out", tmp_path / "g.npz")
    assert code == 2
    assert "needs frames" in text


def test_no_face_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    film = write_video(tmp_path / "grey.mkv", np.full((4, 96, 96, 3), 99, np.uint8), 100)
    code, text = run("describe", film, "--descriptor", "mdmo", "--out", tmp_path / "f.csv", "--no-cache")
    assert code == 2
    assert "No face" in text
    assert not (tmp_path / "f.csv").exists()
    with pytest.raises(MienError, match="No clip could be described"):
        write_table(describe([video_clip(film)], "mdmo"), tmp_path / "f.csv")


def test_a_still_clip_gives_zeros(tmp_path: Path) -> None:
    frame = render_clip(0, "none", interval_length=2, apex=1, size=96, seed=0, colour=True)[:1]
    film = write_video(tmp_path / "still.mkv", np.repeat(frame, 6, 0), 100)
    assert not describe([video_clip(film)], "mdmo").features.any()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--descriptor", "mdm", "--out", "f.csv"), "`mdmo`"),
        (("--descriptor", "mdmo", "--out", "f.txt"), r".parquet, .csv, .npz"),
        (("--descriptor", "mdmo", "--out", "f.csv", "--set", "bin=4"), "bins"),
        (("--descriptor", "hoof", "--out", "f.csv", "--set", "face=cut"), "lwm, crop, none"),
        (("--descriptor", "fdm", "--out", "f.csv", "--set", "against=next"), "first, previous"),
    ],
)
def test_mistakes_are_told_before_any_work(
    words: tuple[str, ...], says: str, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = run("describe", film, *words)
    assert code == 2
    assert says in text


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "f.csv", tmp_path):
        with pytest.raises(MienError, match=r"--out"):
            check_target(path.with_suffix(".csv") if path.is_file() else path)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(MienError, match="is a folder"):
        check_target(tmp_path / "folder.csv")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.descriptors.table.find_spec", lambda _: None)
    with pytest.raises(MienError, match="pyarrow, which is not installed"):
        check_target(tmp_path / "f.parquet")
    check_target(tmp_path / "f.csv")


def test_descriptors_are_listed() -> None:
    code, text = run("descriptors", "--json")
    assert code == 0
    assert {d["name"] for d in json.loads(text)} == set(DESCRIPTORS)
    code, text = run("descriptors", "mdmo")
    assert "Number of directions" in text
    with pytest.raises(MienError, match="`bi-woof`"):
        descriptor("biwoof")
