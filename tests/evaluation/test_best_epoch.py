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
from mien.systems import SYSTEMS

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
        assert found.seeds[0]["epoch_of_subject"][fold.replace("-", "/", 1)] == best[0] + 1
    for scores, said in ((found.last, answers[-1]), (found.earliest, earliest), (found.latest, latest)):
        assert scores["uf1"] == pytest.approx(f1_score(truth, said, average="macro"), abs=1e-5)
        assert scores["uar"] == pytest.approx(recall_score(truth, said, average="macro"), abs=1e-5)
    common = [f1_score(truth, row, average="macro") for row in answers]
    assert found.seeds[0]["common_epoch"] == int(np.argmax(common)) + 1
    assert found.common["uf1"] == pytest.approx(max(common), abs=1e-5)
    assert found.latest["accuracy"] == found.earliest["accuracy"] >= found.last["accuracy"]


def test_it_is_no_ledger_it_resumes_and_other_settings_are_refused(data: list[Dataset], tmp_path: Path) -> None:
    first = best_epoch(data, "ststnet", tmp_path, parameters={**SETS, "epochs": 2})
    assert {path.name for path in tmp_path.iterdir()} >= {"leak.json", "answers"}
    assert not (tmp_path / "ledger").exists()
    with pytest.raises(MienError):
        report(tmp_path)
    content = json.loads((tmp_path / "leak.json").read_text(encoding="utf-8"))
    assert content["protocol"] == "best_test_epoch"
    assert "not a score" in content["what"]
    assert best_epoch(data, "ststnet", tmp_path, parameters={**SETS, "epochs": 2}) == first
    # Killed before the end: folds that are there are not trained again.
    (tmp_path / "leak.json").unlink()
    kept = sorted((tmp_path / "answers").glob("s0-*.json"))
    kept[0].unlink()
    stamps = [path.stat().st_mtime_ns for path in kept[1:]]
    assert best_epoch(data, "ststnet", tmp_path, parameters={**SETS, "epochs": 2}) == first
    assert [path.stat().st_mtime_ns for path in kept[1:]] == stamps
    with pytest.raises(MienError, match="other settings"):
        best_epoch(data, "ststnet", tmp_path, parameters={**SETS, "epochs": 3})
    with pytest.raises(MienError, match="not one network"):
        best_epoch(data, "flow-svm", tmp_path / "svm")


def test_one_training_fills_the_ledgers_that_two_runs_would_have(data: list[Dataset], tmp_path: Path) -> None:
    inner = {**SETS, "choose_epoch": "inner", "inner_folds": 3, "inner_splits": 1}
    k: dict[str, Any] = {"protocol": "kfold_subject", "protocol_parameters": {"k": 2}, "seeds": (0, 3)}
    for name, own in (("last", SETS), ("inner", inner)):
        benchmark(data, "ststnet", tmp_path / f"plain-{name}", parameters=own, jobs=1, **k)
    parameters = SYSTEMS["ststnet"].with_parameters(inner)
    found = best_epoch(
        data, "ststnet", tmp_path / "leak", parameters=SETS, last=tmp_path / "last",
        inner=(tmp_path / "inner", parameters), **k,
    )  # fmt: skip
    for name in ("last", "inner"):
        files = sorted((tmp_path / f"plain-{name}" / "ledger").iterdir())
        assert len(files) == 4
        for file in files:
            assert (tmp_path / name / "ledger" / file.name).read_text() == file.read_text()
        for file in (tmp_path / f"plain-{name}" / "log").iterdir():
            plain, shared = (
                json.loads((tmp_path / run / "log" / file.name).read_text()) for run in (f"plain-{name}", name)
            )
            assert all(plain.get(key) == shared.get(key) for key in ("fold", "loss", "steps", "chosen"))
        # What is there is not trained again, and the run resumes as any other.
        assert benchmark(data, "ststnet", tmp_path / name, parameters=SETS if name == "last" else inner, **k).complete
    assert found.last["uf1"] == pytest.approx(report(tmp_path / "last")["uf1"], abs=1e-6)
    # A seed more keeps those that are there.
    more = best_epoch(data, "ststnet", tmp_path / "leak", parameters=SETS, **{**k, "seeds": (1,)})
    assert set(more.seeds) == {0, 1, 3}
    assert more.seeds[3] == found.seeds[3]
    with pytest.raises(MienError, match="other steps"):
        best_epoch(
            data, "ststnet", tmp_path / "no", parameters=SETS,
            inner=(tmp_path / "no-inner", SYSTEMS["ststnet"].with_parameters({**inner, "epochs": 5})), **k,
        )  # fmt: skip


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
    cells = grid.experiment(few, [f"flow_images={pictures}"], tmp_path / "one", protocols=["loso"], jobs=1)
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
    halves = replace(few, rows=few.rows[-1:], protocol_parameters={"kfold_subject": {"k": 2}})
    console.print(tables.render(halves, grid.experiment(halves, [f"flow_images={pictures}"], tmp_path / "k", jobs=1)))
    assert "0.735" in console.export_text()  # claimed for another protocol, which the page says
    both = grid.experiment(
        few, [f"flow_images={pictures}"], tmp_path / "two", second_flow=pictures, protocols=["loso"], jobs=1
    )
    assert [cell.why for cell in both] == ["", "", ""]


def test_rows_that_share_a_training_differ_in_the_choice_of_the_epoch_alone() -> None:
    chosen = find_experiment("leaderboard")
    rows = {row.id: row for row in chosen.rows}
    shared = [row for row in chosen.rows if row.same_training]
    assert len(rows) == len(chosen.rows)
    assert shared
    for row in shared:
        other = rows[row.same_training]
        assert {**other.set, "choose_epoch": "inner", "inner_splits": 1} == row.set
        assert (other.system, other.second, other.claim) == (row.system, row.second, row.claim)
        assert other.leak


def test_rows_keep_to_their_protocols_unless_one_is_asked_for(pictures: Path, tmp_path: Path) -> None:
    chosen = find_experiment("leaderboard")
    few = replace(
        chosen, protocol_parameters={"kfold_subject": {"k": 2}},
        rows=tuple(row for row in chosen.rows if row.id in ("flow-kernels", "ststnet")),
    )  # fmt: skip
    data = [f"flow_images={pictures}"]
    own = grid.plan_cells(few, data, tmp_path)
    assert [(cell.row.id, cell.protocol) for cell in own] == [
        ("flow-kernels", "loso"), ("flow-kernels", "kfold_subject"), ("ststnet", "kfold_subject"),
    ]  # fmt: skip
    assert [len(cell.plan.folds) for cell in own if cell.plan] == [4, 2, 2]
    asked = grid.plan_cells(few, data, tmp_path, protocols=["loso"])
    assert [(cell.row.id, cell.protocol) for cell in asked] == [("flow-kernels", "loso"), ("ststnet", "loso")]


def test_two_sets_of_pictures_are_a_database_and_its_second_flow() -> None:
    chosen = find_experiment("leaderboard")
    specs = ["flow_images=a", "flow_images=b"]
    assert grid.two_sets(chosen, specs) == (["flow_images=a"], Path("b"))
    assert grid.two_sets(find_experiment("strcn-table2"), specs) == (specs, None)
    assert grid.two_sets(chosen, specs[:1]) == (specs[:1], None)
