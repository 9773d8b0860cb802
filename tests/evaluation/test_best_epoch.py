"""The epoch chosen on test subjects: measured beside a plain recount, and never in a ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import f1_score, recall_score

from mien.datasets import open_dataset
from mien.datasets.base import Dataset
from mien.errors import MienError
from mien.evaluation.best_epoch import best_epoch
from mien.evaluation.experiments import grid, tables
from mien.evaluation.experiments.catalogue import find_experiment
from mien.evaluation.report import report
from mien.evaluation.run import benchmark
from mien.synthesis.flow_images import write_flow_images

SETS: dict[str, Any] = {"epochs": 6, "lr": 1e-3, "batch_size": 16}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_flow_images(folder, subjects=4, clips_per_subject=5, seed=0, layout="folders")
    return folder


@pytest.fixture(scope="module")
def data(pictures: Path) -> list[Dataset]:
    return [open_dataset("flow_images", pictures)]


def answers_by_epoch(data: list[Dataset]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The answers of runs that end after each epoch: a training is the beginning of a longer one."""
    found = []
    for epochs in range(1, 7):
        run = data[0].root.parent / f"run-{epochs}"
        ledger = benchmark(data, "ststnet", run, parameters={**SETS, "epochs": epochs}, jobs=1)
        rows = sorted(ledger.rows, key=lambda row: row.key)
        found.append([ledger.classes.index(row.y_pred) for row in rows])
    return np.array(found), np.array([ledger.classes.index(row.y_true) for row in rows]), [row.fold for row in rows]


def test_three_ways_to_choose_the_epoch_beside_a_plain_recount(data: list[Dataset], tmp_path: Path) -> None:
    found = best_epoch(data, "ststnet", tmp_path, parameters=SETS)
    answers, truth, folds = answers_by_epoch(data)
    earliest, latest = np.zeros_like(truth), np.zeros_like(truth)
    for fold in set(folds):
        of = np.array([each == fold for each in folds])
        right = [(row[of] == truth[of]).sum() for row in answers]
        best = [n for n, count in enumerate(right) if count == max(right)]
        earliest[of], latest[of] = answers[best[0]][of], answers[best[-1]][of]
        assert found.epochs[fold] == best[0] + 1
    for scores, said in ((found.last, answers[-1]), (found.earliest, earliest), (found.latest, latest)):
        assert scores["uf1"] == pytest.approx(f1_score(truth, said, average="macro"), abs=1e-5)
        assert scores["uar"] == pytest.approx(recall_score(truth, said, average="macro"), abs=1e-5)
    common = [f1_score(truth, row, average="macro") for row in answers]
    assert found.common_epoch == int(np.argmax(common)) + 1
    assert found.common["uf1"] == pytest.approx(max(common), abs=1e-5)
    assert found.latest["accuracy"] == found.earliest["accuracy"] >= found.last["accuracy"]


def test_it_is_no_ledger_it_resumes_and_other_settings_are_refused(data: list[Dataset], tmp_path: Path) -> None:
    first = best_epoch(data, "ststnet", tmp_path, parameters={**SETS, "epochs": 2})
    assert {path.name for path in tmp_path.iterdir()} >= {"leak.json", "unfinished"}
    assert not (tmp_path / "ledger").exists()
    with pytest.raises(MienError):
        report(tmp_path)
    content = json.loads((tmp_path / "leak.json").read_text(encoding="utf-8"))
    assert content["protocol"] == "best_test_epoch"
    assert "not a score" in content["what"]
    assert best_epoch(data, "ststnet", tmp_path, parameters={**SETS, "epochs": 2}) == first
    # Killed before the end: folds that are there are not trained again.
    (tmp_path / "leak.json").unlink()
    kept = sorted((tmp_path / "unfinished").glob("fold-*.json"))
    kept[0].unlink()
    stamps = [path.stat().st_mtime_ns for path in kept[1:]]
    assert best_epoch(data, "ststnet", tmp_path, parameters={**SETS, "epochs": 2}) == first
    assert [path.stat().st_mtime_ns for path in kept[1:]] == stamps
    with pytest.raises(MienError, match="other settings"):
        best_epoch(data, "ststnet", tmp_path, parameters={**SETS, "epochs": 3})
    with pytest.raises(MienError, match="not one network"):
        best_epoch(data, "flow-svm", tmp_path / "svm")


def test_the_epoch_chosen_inside_is_left_out_of_it(data: list[Dataset], tmp_path: Path) -> None:
    short = {**SETS, "epochs": 2}
    plain = best_epoch(data, "ststnet", tmp_path / "a", parameters=short)
    inner = best_epoch(data, "ststnet", tmp_path / "b", parameters={**short, "choose_epoch": "inner"})
    assert inner.latest == plain.latest


def test_the_leaderboard_puts_claimed_honest_and_leaking_side_by_side(pictures: Path, tmp_path: Path) -> None:
    chosen = find_experiment("leaderboard")
    quick = [
        replace(row, set={**row.set, **({"epochs": 2} if row.id == "ststnet" else {})})
        for row in chosen.rows
        if row.id in ("flow-kernels", "flow-kernels-both", "ststnet")
    ]
    few = replace(chosen, rows=tuple(quick))
    cells = grid.experiment(few, [f"flow_images={pictures}"], tmp_path / "one", jobs=1)
    why = {cell.row.id: cell.why for cell in cells}
    assert "second" in why["flow-kernels-both"]
    assert why["ststnet"] == why["flow-kernels"] == ""
    content = tables.as_json(few, cells)["cells"]
    leaks = {cell["row"]: cell.get("leaking") for cell in content}
    assert leaks["flow-kernels"] is None
    assert leaks["STSTNet"]["protocol"] == "best_test_epoch"
    console = Console(width=100, record=True)
    console.print(tables.render(few, cells))
    text = console.export_text()
    assert "0.735" in text  # what STSTNet claims
    assert "second set of flow pictures" in " ".join(text.split())
    assert f"{leaks['STSTNet']['best_test_epoch_per_subject']['latest_of_equals']['uf1']:.3f}" in text
    both = grid.experiment(few, [f"flow_images={pictures}"], tmp_path / "two", second_flow=pictures, jobs=1)
    assert [cell.why for cell in both] == ["", "", ""]


def test_two_sets_of_pictures_are_a_database_and_its_second_flow() -> None:
    chosen = find_experiment("leaderboard")
    specs = ["flow_images=a", "flow_images=b"]
    assert grid.two_sets(chosen, specs) == (["flow_images=a"], Path("b"))
    assert grid.two_sets(find_experiment("strcn-table2"), specs) == (specs, None)
    assert grid.two_sets(chosen, specs[:1]) == (specs[:1], None)
