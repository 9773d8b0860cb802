import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.errors import MienError, unknown_name
from mien.evaluation.ledger import Row, fold_file, read_ledger, read_settings, rows_as_csv
from mien.io.atomic import write_atomically
from mien.progress import Meter

CLASSES = ("negative", "positive")


def row(clip: str, fold: str = "a", seed: int = 0) -> Row:
    p = np.float32(1) / np.float32(3)
    return Row("casme2", 'sub"1,\n', clip, fold, seed, "annotated", "negative", "positive", (float(p), float(1 - p)))


def run_of(tmp_path: Path, folds: int = 2) -> Path:
    write_atomically(tmp_path / "run.json", json.dumps({"classes": CLASSES, "seeds": [0], "n_folds": folds}))
    return tmp_path


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    for n, fold in enumerate("ab"):
        write_atomically(fold_file(run, 0, n), rows_as_csv([row(f"{fold} y ", fold), row(f"é{fold}", fold)], CLASSES))
    ledger = read_ledger(run)
    assert ledger.complete
    assert [(r.clip, r.fold) for r in ledger.rows] == [("a y ", "a"), ("éa", "a"), ("b y ", "b"), ("éb", "b")]
    assert {r.subject for r in ledger.rows} == {'sub"1,\n'}
    assert np.float32(ledger.rows[0].probabilities[0]) == np.float32(1) / np.float32(3)


def test_the_column_and_values_of_earlier_versions_are_read(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    rows = [row("a"), replace(row("b"), interval_source="detected"), replace(row("c"), interval_source="ready")]
    now = rows_as_csv(rows, CLASSES)
    former = now.replace("interval_source", "interval").replace("annotated", "given").replace("detected", "found")
    write_atomically(fold_file(run, 0, 0), former)
    write_atomically(fold_file(run, 0, 1), rows_as_csv([row("new", "b")], CLASSES))
    mixed = read_ledger(run).rows
    write_atomically(fold_file(run, 0, 0), now)
    assert mixed == read_ledger(run).rows
    assert [r.interval_source for r in mixed] == ["annotated", "detected", "ready", "annotated"]


def test_settings_of_earlier_versions_are_read(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    settings = json.loads((run / "run.json").read_text())
    write_atomically(run / "run.json", json.dumps({**settings, "drawn": True}))
    assert read_settings(run) == {**settings, "synthetic": True}


def test_an_unknown_interval_source_is_named(tmp_path: Path) -> None:
    run = run_of(tmp_path, folds=1)
    write_atomically(fold_file(run, 0, 0), rows_as_csv([row("c")], CLASSES).replace("annotated", "guessed"))
    with pytest.raises(MienError, match="'guessed' is not one of annotated, detected, ready, failed"):
        read_ledger(run)


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    write_atomically(fold_file(run, 0, 1), rows_as_csv([row("x")], CLASSES))
    ledger = read_ledger(run)
    assert not ledger.complete
    assert len(ledger.rows) == 1


def test_a_ledger_edited_by_hand_is_named(tmp_path: Path) -> None:
    run = run_of(tmp_path, folds=1)
    write_atomically(fold_file(run, 0, 0), "dataset,clip\n1,2\n")
    with pytest.raises(MienError, match=r"s0-f0000\.csv"):
        read_ledger(run)


def test_a_folder_without_settings_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="not a run"):
        read_ledger(tmp_path)
    (tmp_path / "run.json").write_text("{half")
    with pytest.raises(MienError, match="not JSON"):
        read_ledger(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "f.txt"
    write_atomically(target, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(target, "\ud800")
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f.txt"]


def test_meter_adds_up_what_slots_report() -> None:
    with Meter(4) as meter:
        meter.slot(0)(1.0)
        meter.slot(2)(0.5)
        assert meter.done == pytest.approx(1.5)
        late = meter.slot(3)
    late(1.0)  # The run that asked is gone: nothing happens.


def test_unknown_names_get_the_nearest() -> None:
    error = unknown_name("system", "strcn_g", ["ststnet", "strcn-g"], "mien systems")
    assert error.fix.startswith("`strcn-g`")
    assert "mien systems" in unknown_name("system", "zzz", ["a"], "mien systems").fix
