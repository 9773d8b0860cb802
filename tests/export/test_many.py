"""Many films in one command: one table, one page each; kills, bad films and mistakes cost as little as they can."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import played
import pytest
from typer.testing import CliRunner

import mien
from mien.cli.main import app
from mien.errors import MienError
from mien.export import many
from mien.export.film_list import films_of, names_of
from mien.export.many import FilmTask, recognise_many
from mien.io.atomic import lock_run
from mien.io.video import write_video

runner = CliRunner()


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("films")
    played.chance_weights(made / "w.safetensors")
    for name, seed in (("a/face", 1), ("b/face", 2)):
        (made / name).parent.mkdir()
        parts = [(30, 40, 52, "positive")]
        write_video(made / f"{name}.mkv", played.film(41, 90, parts, seed=seed), 100)
    for name in ("grey2", "grey10"):
        write_video(made / f"{name}.mkv", [np.full((64, 64), 128, np.uint8)] * 20, 100)
    return made


def answer_all(films: Path, out: Path, *more: str | Path, **options: Any) -> list[many.Film]:
    sources = [films / "a" / "face.mkv", films / "b" / "face.mkv", f"{films}/grey*.mkv", *more]
    return recognise_many(sources, out, films / "w.safetensors", files=(), **{"jobs": 1, **options})


@pytest.fixture(scope="module")
def answered(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reference") / "answers"
    answer_all(films, out)
    return out


def tables(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in ("events.csv", "films.csv")}


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(encoding="utf-8")))


def test_one_table_for_all_and_a_folder_for_each(films: Path, answered: Path) -> None:
    told = rows(answered / "films.csv")
    names = [row["film"] for row in told]
    assert names[2:] == ["grey2", "grey10"], "in the order of people, not of letters"
    assert len(set(names)) == 4
    assert all(name.startswith("face-") for name in names[:2]), "films of one name do not overwrite each other"
    assert {row["read"] for row in told} == {"yes"}
    assert [row["expressions"] for row in told] == ["1", "1", "0", "0"]
    events = rows(answered / "events.csv")
    assert [row["film"] for row in events] == names[:2]
    assert "No face was found" in told[2]["reasons"]
    assert {path.name for path in (answered / "films" / "grey2").iterdir()} == {".film.json", "grey2.json"}
    alone = mien.recognise(films / "a" / "face.mkv", films / "w.safetensors")
    assert [event.onset.index for event in alone.events] == [int(events[0]["onset_frame"])]


def test_a_boris_project_is_made_of_stored_answers(
    films: Path, answered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(answered, tmp_path / "answers")
    monkeypatch.setattr(many, "answer_film", lambda task: pytest.fail("answered again"))
    sources = [films / "a" / "face.mkv", films / "grey2.mkv"]
    made = recognise_many(sources, out, films / "w.safetensors", files=["json", "boris"], jobs=1)
    assert list(json.loads((out / "events.boris").read_text())["observations"]) == [film.name for film in made]
    assert len(rows(out / "events.csv")) == 1, "the films that the last command named"


def test_the_same_command_again_answers_nothing_anew(
    films: Path, answered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tables(answered)
    monkeypatch.setattr(many, "answer_film", lambda task: pytest.fail("answered again"))
    assert all(film.resumed for film in answer_all(films, answered))
    assert tables(answered) == before


def test_every_kind_of_file(films: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    kinds = ["html", "json", "eaf", "boris"]
    (film,) = recognise_many(
        films / "a" / "face.mkv", tmp_path / "out", films / "w.safetensors", files=kinds, table="parquet",
        per_frame=True, jobs=1,
    )  # fmt: skip
    found = {path.name for path in film.folder.iterdir()}
    assert found == {".film.json", "face.json", "face.html", "face.eaf", "face-frames.parquet"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "settings.json", "films", "events.parquet", "films.csv", "events.boris",
    }  # fmt: skip
    assert "../" * 3 in (film.folder / "face.eaf").read_text(), "the film as seen from the folder"
    assert list(json.loads((tmp_path / "out" / "events.boris").read_text())["observations"]) == ["face"]


def command(films: Path, out: Path, *more: str | Path) -> list[str]:
    sources = (films / "a" / "face.mkv", films / "b" / "face.mkv", f"{films}/grey*.mkv")
    words = ("recognise", *sources, "--out", out, "--weights", films / "w.safetensors", "--files", "json", *more)
    return [str(word) for word in words]


def test_killed_and_resumed_gives_the_same_table(films: Path, answered: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers"
    words = [sys.executable, "-c", "from mien.cli.main import main; main()", *command(films, out, "--jobs", "1")]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ))
    end = time.monotonic() + 300
    while time.monotonic() < end and process.poll() is None and not list(out.glob("films/*/.film.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = list(out.glob("films/*/.film.json"))
    assert finished, process.stderr.read() if process.stderr else ""
    times = [path.stat().st_mtime_ns for path in finished]
    (out / "films" / "half").mkdir()
    (out / "films" / "half" / ".half.json-x.part").write_text("{")
    result = runner.invoke(app, command(films, out, "--jobs", "1"))
    assert result.exit_code == 0, result.output
    assert [path.stat().st_mtime_ns for path in finished] == times
    assert not list(out.rglob("*.part"))
    assert (out / "events.csv").read_bytes() == (answered / "events.csv").read_bytes()
    assert (out / "films.csv").read_bytes() == (answered / "films.csv").read_bytes()


def test_a_bad_film_costs_only_itself(films: Path, answered: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mkv"
    bad.write_text("not a film\n" * 50)
    out = tmp_path / "answers"
    result = runner.invoke(app, command(films, out, "--json", "--jobs", "1", "--list", tmp_path / "films.txt"))
    assert isinstance(result.exception, MienError), "the list is not there yet"
    (tmp_path / "films.txt").write_text(f"# what to read\n\n{bad}\n", encoding="utf-8-sig")
    result = runner.invoke(app, command(films, out, "--json", "--jobs", "1", "--list", tmp_path / "films.txt"))
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["n_films"], told["n_failed"]) == (5, 1)
    assert (out / "events.csv").read_bytes() == (answered / "events.csv").read_bytes()
    (row,) = (row for row in rows(out / "films.csv") if row["read"] == "no")
    assert (row["film"], row["path"]) == ("bad", str(bad))
    assert "bad.mkv" in row["found"]
    assert row["try"]
    # Once it can be read, the same command answers it, and only it.
    shutil.copy(films / "grey2.mkv", bad)
    result = runner.invoke(app, command(films, out, "--json", "--jobs", "1", "--list", tmp_path / "films.txt"))
    assert result.exit_code == 0
    assert [film["resumed"] for film in json.loads(result.stdout)["films"]] == [True] * 4 + [False]


def numbered_or_dead(place: int, task: FilmTask) -> tuple[int, Mapping[str, bytes] | MienError]:
    if task.name == "grey2":
        os._exit(1)
    return place, many.answer_film(task)


@pytest.mark.slow
def test_several_processes_give_the_same_table_also_where_a_film_kills_one(
    films: Path, answered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_all(films, tmp_path / "whole", jobs=2)
    assert tables(tmp_path / "whole") == tables(answered)
    monkeypatch.setattr(many, "_numbered", numbered_or_dead)
    told = answer_all(films, tmp_path / "answers", jobs=2)
    assert [film.error is not None for film in told] == [False, False, True, False]
    assert told[2].error is not None
    assert "died" in told[2].error[0]
    assert (tmp_path / "answers" / "events.csv").read_bytes() == (answered / "events.csv").read_bytes()


def test_other_settings_and_changed_films_are_refused(films: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    shutil.copy(films / "grey2.mkv", film)
    out = tmp_path / "answers"
    recognise_many([film], out, films / "w.safetensors", files=["json"], jobs=1)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for changed, words in (
        ({"fps": 50.0}, "fps is null there and 50.0 now"),
        ({"files": ["html"]}, "files"),
        ({"weights": None}, "weights"),
        ({"anyway": True}, "anyway is false there and true now"),
    ):
        options: dict[str, Any] = {"weights": films / "w.safetensors", "files": ["json"], "jobs": 1} | changed
        with pytest.raises(MienError, match="other settings") as caught:
            recognise_many([film], out, **options)
        assert words in caught.value.found
        assert "--out" in caught.value.fix
    with lock_run(out), pytest.raises(MienError, match="Another process") as caught:
        recognise_many([film], out, films / "w.safetensors", files=["json"], jobs=1)
    assert f"ls {out}" in caught.value.fix
    os.utime(film, (1, 1))
    assert recognise_many([film], out, films / "w.safetensors", files=["json"], jobs=1)[0].resumed, "the same content"
    shutil.copy(films / "grey10.mkv", film)
    with film.open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(MienError, match="has changed"):
        recognise_many([film], out, films / "w.safetensors", files=["json"], jobs=1)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_mistakes_are_found_before_any_work(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "answer_film", lambda task: pytest.fail("work began"))
    film = films / "grey2.mkv"
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("")
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    (tmp_path / "missing.txt").write_text(f"{film}\nnone.mp4\nneither.mp4\n")
    (tmp_path / "picture.txt").write_bytes(b"\xff\xfe\x00\x81")
    for sources, out, options, words in (
        ([f"@{tmp_path / 'missing.txt'}"], "answers", {}, "2 of 3 films cannot be found: 'none.mp4', 'neither.mp4'"),
        ([f"@{tmp_path / 'empty.txt'}"], "answers", {}, "names no video"),
        ([f"@{tmp_path / 'picture.txt'}"], "answers", {}, "not UTF-8"),
        ([f"@{tmp_path / 'nowhere.txt'}"], "answers", {}, "cannot be read"),
        ([], "answers", {}, "no video"),
        ([f"{tmp_path}/*.mp4"], "answers", {}, "cannot be found"),
        ([film], "file/answers", {}, "cannot be written"),
        ([film], "full", {}, "not empty"),
        ([film], "answers", {"files": ["doc"]}, "'doc' is not a kind"),
        ([film], "answers", {"table": "xlsx"}, "'xlsx' is not a kind"),
        ([film], "answers", {"spotter": "nobody"}, "nobody"),
    ):  # fmt: skip
        with pytest.raises(MienError) as caught:
            recognise_many(sources, tmp_path / out, films / "w.safetensors", **({"jobs": 1} | options))
        assert words in caught.value.found
        assert caught.value.fix
        assert not (tmp_path / "answers" / "films").exists()


@pytest.mark.parametrize(
    "words",
    [(), ("x.mp4", "y.mp4"), ("@x.txt",), ("x.mp4", "--jobs", "2"), ("x.mp4", "--out", "o", "--csv", "a.csv"),
     ("x.mp4", "--out", "o", "--interval", "1:2")],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(words: tuple[str, ...]) -> None:
    result = runner.invoke(app, ["recognise", *words])
    assert isinstance(result.exception, MienError)
    assert "--out" in result.exception.expected + result.exception.fix + result.exception.found or not words


def test_lists_patterns_and_folders(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list.txt").write_text("one.mkv\r\n\r\n# two.mkv\r\nhere.mkv\r\n")
    (tmp_path / "one.mkv").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "here.mkv").write_text("")
    (tmp_path / "[x].mkv").write_text("")
    monkeypatch.chdir(tmp_path / "folder")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_text("")
    found = films_of(["@../list.txt", "../one.mkv", "../pictures", "../[x].mkv"])
    assert [path.name for path in found] == ["one.mkv", "here.mkv", "pictures", "[x].mkv"]
    assert films_of([tmp_path]) == [tmp_path / "[x].mkv", tmp_path / "one.mkv"], "a folder of films"
    assert [path.name for path in films_of([f"{films}/**/*.mkv"])] == [
        "face.mkv",
        "face.mkv",
        "grey2.mkv",
        "grey10.mkv",
    ]


def test_names_stay_when_films_are_added(tmp_path: Path) -> None:
    one, two = tmp_path / "a" / "x.mp4", tmp_path / "b" / "X.avi"
    out = tmp_path / "films"
    assert names_of([one], out) == ["x"]
    (out / "x").mkdir(parents=True)
    (out / "x" / ".film.json").write_text(json.dumps({"film": str(one)}))
    first, second = names_of([one, two], out)
    assert first == "x"
    assert second.startswith("X-")
    odd = tmp_path / "c" / "../ .mp4"
    (name,) = names_of([odd], out)
    assert name
    assert "/" not in name


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `cluster` is not installed")
@pytest.mark.slow
def test_the_same_table_on_ray(films: Path, answered: Path, tmp_path: Path) -> None:
    from mien.evaluation.execution.ray_connect import connect

    with connect("local", jobs=2, patience=240) as cluster:
        try:
            cluster.begin()
        except MienError as error:
            if "did not start" not in error.found:
                raise
            pytest.skip("the machine is too busy for Ray's processes to find each other")
        answer_all(films, tmp_path / "answers", executor=cluster)
    assert tables(tmp_path / "answers") == tables(answered)


def test_a_film_taken_for_a_list_is_refused_with_an_advice_that_does_not_overwrite_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.export.film_list.LONGEST_LIST", 1000)
    for name, content in (("binary.mp4", b"\xff\xfe\x00" * 9), ("long.txt", b"a.mp4\n" * 1000), ("empty.txt", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MienError) as caught:
            films_of([f"@{tmp_path / name}"])
        assert name not in caught.value.fix
