"""A clip that cannot be prepared costs no other clip its answer, and never raises a score."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import accuracy_score, f1_score, recall_score
from typer.testing import CliRunner

from mien.cli.main import app
from mien.datasets import open_specs
from mien.datasets.base import Dataset
from mien.errors import MienError
from mien.evaluation.combine import combine
from mien.evaluation.compare import compare_classes
from mien.evaluation.ledger import Row, failures_file, fold_file, read_ledger, rows_as_csv
from mien.evaluation.report import render_report, report_many
from mien.evaluation.report_html import write_html
from mien.evaluation.run import benchmark
from mien.evaluation.train import train
from mien.synthesis.flow_images import write_flow_images
from mien.synthesis.writer import write_corpus


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("flow") / "data"
    write_flow_images(root, subjects=6, clips_per_subject=6, seed=0, layout="folders")
    return root


def picture_of(root: Path) -> Path:
    """A picture of the third subject, whose database has another one."""
    return sorted(sorted(p for p in root.iterdir() if p.is_dir())[2].glob("u_test/*/*.png"))[1]


def opened(root: Path) -> list[Dataset]:
    return open_specs([f"flow_images={root}"])


@pytest.fixture(scope="module")
def broken(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("flow") / "broken"
    shutil.copytree(sound, root)
    path = picture_of(root)
    path.write_bytes(path.read_bytes()[:60])
    return root


@pytest.fixture(scope="module")
def run(broken: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    said: list[str] = []
    benchmark(opened(broken), "flow-svm", out, jobs=1, on_warning=said.append)
    assert len(said) == 1
    assert said[0].startswith("1 of 36 clips could not be prepared")
    return out


def test_others_are_answered_as_if_the_clip_were_not_there(sound: Path, run: Path, tmp_path: Path) -> None:
    without = tmp_path / "without"
    shutil.copytree(sound, without)
    picture_of(without).unlink()
    benchmark(opened(without), "flow-svm", tmp_path / "run", jobs=1)
    ledger = read_ledger(run)
    assert ledger.complete
    failed = [row for row in ledger.rows if row.interval_source == "failed"]
    assert [(row.y_pred, row.probabilities) for row in failed] == [("", ())]
    assert len(ledger.rows) == 36
    assert tuple(row for row in ledger.rows if row not in failed) == read_ledger(tmp_path / "run").rows


def test_a_failed_clip_counts_as_wrong_and_both_scores_are_reported(run: Path) -> None:
    ledger = read_ledger(run)
    y, p = [row.y_true for row in ledger.rows], [row.y_pred or "none" for row in ledger.rows]
    result = report_many([run])[0]
    assert result["uf1"] == pytest.approx(f1_score(y, p, average="macro", labels=ledger.classes))
    assert result["uar"] == pytest.approx(recall_score(y, p, average="macro", labels=ledger.classes))
    assert result["accuracy"] == pytest.approx(accuracy_score(y, p))
    assert result["n_clips"] == 36
    kept = [(a, b) for a, b in zip(y, p, strict=True) if b != "none"]
    alone = result["failed"]["without_them"]
    assert alone["accuracy"] == pytest.approx(np.mean([a == b for a, b in kept]))
    assert alone["uf1"] == pytest.approx(f1_score(*zip(*kept, strict=True), average="macro"))
    assert alone["accuracy"] >= result["accuracy"]
    assert np.sum(result["confusion"]) == 35
    assert sum(entry["unanswered"] for entry in result["per_class"].values()) == 1
    assert sum(entry["support"] for entry in result["per_class"].values()) == 36
    key = next(row.key for row in ledger.rows if not row.y_pred)
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as shown:
        console.print(render_report(result))
    assert "1 clip could not be prepared" in shown.get()
    assert key in shown.get()
    assert "no answer" in shown.get()
    page = write_html([run], run.parent / "page.html").read_text()
    assert key in page
    assert "no answer" in page


def test_the_run_names_the_clip_and_why(run: Path, broken: Path) -> None:
    entries = json.loads(failures_file(run).read_text())
    assert [entry["clip"] for entry in entries] == [row.key for row in read_ledger(run).rows if not row.y_pred]
    assert picture_of(broken).name in entries[0]["found"]
    assert entries[0]["fix"]


def test_the_same_clips_fail_in_every_fold(sound: Path, broken: Path, run: Path, tmp_path: Path) -> None:
    begun, data = tmp_path / "begun", tmp_path / "data"
    shutil.copytree(run, begun)
    shutil.copytree(broken, data)
    whole = fold_file(begun, 0, 1).read_bytes()
    fold_file(begun, 0, 1).unlink()
    benchmark(opened(data), "flow-svm", begun, jobs=1)
    assert fold_file(begun, 0, 1).read_bytes() == whole
    fold_file(begun, 0, 1).unlink()
    shutil.copy(picture_of(sound), picture_of(data))  # mended meanwhile
    with pytest.raises(MienError, match=r"could not be prepared when this run began, and can now"):
        benchmark(opened(data), "flow-svm", begun, jobs=1)
    assert not fold_file(begun, 0, 1).exists()
    # Nothing finished: the run begins again, with all clips.
    shutil.rmtree(begun / "ledger")
    (begun / "unfinished").mkdir()
    (begun / "unfinished" / "s0-f0000-0.safetensors").write_bytes(b"of other clips")
    assert all(row.y_pred for row in benchmark(opened(data), "flow-svm", begun, jobs=1).rows)
    assert not (begun / "unfinished").exists()
    fold_file(begun, 0, 1).unlink()
    picture_of(data).write_bytes(b"")
    with pytest.raises(MienError, match=r"could be prepared when this run began, and cannot now"):
        benchmark(opened(data), "flow-svm", begun, jobs=1)


def test_a_database_without_a_readable_clip_stops_the_run(sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound, tmp_path / "data")
    for path in (tmp_path / "data").glob("s[0-9]*/u_test/*/*.png"):
        path.write_bytes(b"")
    with pytest.raises(MienError, match=r"None of the 12 clips of smic_hs"):
        benchmark(opened(tmp_path / "data"), "flow-svm", tmp_path / "run", jobs=1)
    assert not failures_file(tmp_path / "run").exists()


def test_runs_with_a_failed_clip_are_compared_and_combined(sound: Path, run: Path, tmp_path: Path) -> None:
    benchmark(opened(sound), "flow-svm", tmp_path / "whole", jobs=1)
    whole, part = read_ledger(tmp_path / "whole"), read_ledger(run)
    told = compare_classes(part, whole, n=50)
    assert told.n_clips == 36
    assert told.accuracy[0] == pytest.approx(np.mean([row.y_true == row.y_pred for row in part.rows]))
    assert told.accuracy[1] == pytest.approx(np.mean([row.y_true == row.y_pred for row in whole.rows]))
    key = next(row.key for row in part.rows if not row.y_pred)
    both = {row.key: row for row in combine([run, tmp_path / "whole"], tmp_path / "both").rows}
    alone = next(row for row in whole.rows if row.key == key)
    assert (both[key].y_pred, both[key].interval_source) == (alone.y_pred, "ready")
    shutil.copytree(run, tmp_path / "again")
    none = {row.key: row for row in combine([run, tmp_path / "again"], tmp_path / "none").rows}
    assert (none[key].y_pred, none[key].interval_source) == ("", "failed")


def test_training_on_all_leaves_it_out_and_counts_right(broken: Path, tmp_path: Path) -> None:
    said: list[str] = []
    card = train(
        opened(broken), "ststnet", tmp_path / "w.safetensors", parameters={"epochs": 2}, jobs=1, on_warning=said.append
    )
    assert sum(entry["clips"] for entry in card.trained_on) == 35
    assert "1 of 36 clips could not be prepared" in said[0]


def test_a_clip_of_frames_that_fails_is_told_on_the_command_line(tmp_path: Path) -> None:
    write_corpus("casme2", tmp_path / "data", subjects=3, clips_per_subject=3, seed=1)
    folder = sorted(p for p in (tmp_path / "data").rglob("*") if p.is_dir() and list(p.glob("*.jpg")))[0]
    for frame in folder.iterdir():
        frame.write_bytes(b"no picture")
    words = ["benchmark", f"casme2={tmp_path / 'data'}", "--system", "flow-svm", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, [*words, "--jobs", "1", "--labels", "megc2019", "--json"])
    assert result.exit_code == 0, result.exception
    told = json.loads(result.stdout)
    assert told["failed"]["n_clips"] == 1
    assert told["interval_source"]["failed"] == 1
    assert "could not be prepared" in result.stderr


def test_a_failed_row_with_an_answer_is_refused(tmp_path: Path) -> None:
    row = Row("casme2", "s", "c", "f", 0, "failed", "a", "a", (1.0, 0.0))
    (tmp_path / "ledger").mkdir()
    (tmp_path / "run.json").write_text(json.dumps({"classes": ["a", "b"], "seeds": [0], "n_folds": 1}))
    fold_file(tmp_path, 0, 0).write_text(rows_as_csv([row], ("a", "b")))
    with pytest.raises(MienError, match="could not be prepared, yet predicts 'a'"):
        read_ledger(tmp_path)


def test_notes_of_a_recipe_are_reported_and_stored(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    write_corpus("casme2", root, subjects=3, clips_per_subject=3, seed=0, frames=8, size=48)
    given = {"preset": "small", "face": "none", "epochs": "1", "segments": "3"}  # 8 frames for three segments of four
    said: list[str] = []
    for _ in range(2):  # the second time from the cache
        benchmark(
            open_specs([f"casme2={root}"]), "sma-stn", tmp_path / f"run{len(said)}", parameters=given, jobs=1,
            on_warning=said.append,
        )  # fmt: skip
    assert len(said) == 2
    assert all("fewer than 4" in text and "9 clip(s)" in text for text in said)
    kept = json.loads((tmp_path / "run0" / "notes.json").read_text())
    assert len(kept) == 9
    assert all(notes for notes in kept.values())
