"""The MicroExp papers' way to score: kept apart, its figures those of the network it watches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from mien.cli.main import app
from mien.datasets import open_dataset
from mien.errors import MienError
from mien.evaluation.experiments import grid, tables
from mien.evaluation.experiments.catalogue import Experiment, GridRow, experiments, resolve
from mien.evaluation.leaking import Leak, claims, leaking, render_leaks
from mien.evaluation.published.claims import published_rows
from mien.evaluation.run import benchmark
from mien.synthesis.writer import write_corpus

SETS: dict[str, Any] = {"preset": "small", "epochs": 4, "maps": 2, "lr": 0.003}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus("smic_hs", folder, subjects=4, clips_per_subject=6, seed=3)
    return folder


def test_the_accuracy_of_the_last_epoch_equals_that_of_the_benchmark(corpus: Path, tmp_path: Path) -> None:
    data = [open_dataset("smic_hs", corpus)]
    leak = leaking(data, "microexp-stcnn", tmp_path / "leak", parameters=SETS)
    assert len(leak.accuracy) == 4
    assert (leak.n_train, leak.n_test) == (19, 5)
    assert leak.shared == 5
    assert leak.best == max(leak.accuracy)
    assert leak.accuracy[leak.best_epoch - 1] == leak.best
    assert leak.last == pytest.approx((np.mean(leak.accuracy), np.std(leak.accuracy)))
    # Watching changes nothing: the same training, unwatched, ends with the same answers.
    from mien.evaluation.execution.processes import Processes
    from mien.evaluation.planning import make_plan
    from mien.evaluation.preparing import prepare_inputs
    from mien.progress import Bars

    plan = make_plan(data, "microexp-stcnn", protocol="holdout_reddy", parameters=SETS)
    with Bars(show=False) as bars:
        inputs = prepare_inputs(plan, Processes(1), bars).inputs
    fold = plan.folds[0]
    y = np.array([s.label for s in plan.samples])
    classifier = plan.system.build(3, plan.parameters)
    groups = [plan.samples[i].clip.person for i in fold.train]
    classifier.fit(inputs[fold.train], y[list(fold.train)], groups, seed=0)
    right = classifier.predict_proba(inputs[fold.test]).argmax(1) == y[list(fold.test)]
    assert leak.accuracy[-1] == right.mean()


def test_a_finished_leak_is_not_run_again_and_makes_no_ledger(corpus: Path, tmp_path: Path) -> None:
    data = [open_dataset("smic_hs", corpus)]
    first = leaking(data, "microexp-stcnn", tmp_path, parameters=SETS)
    before = (tmp_path / "leak.json").stat().st_mtime_ns
    assert leaking(data, "microexp-stcnn", tmp_path, parameters=SETS) == first
    assert (tmp_path / "leak.json").stat().st_mtime_ns == before
    assert "not a score" in json.loads((tmp_path / "leak.json").read_text())["what"]
    assert not list(tmp_path.glob("**/ledger"))
    told = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert isinstance(told.exception, MienError)
    with pytest.raises(MienError, match="other settings"):
        leaking(data, "microexp-stcnn", tmp_path, parameters={**SETS, "maps": 3})
    (tmp_path / "leak.json").write_text("{}")
    with pytest.raises(MienError, match="not as it was written"):
        leaking(data, "microexp-stcnn", tmp_path, parameters=SETS)


def test_only_one_network_can_be_watched(corpus: Path, tmp_path: Path) -> None:
    data = [open_dataset("smic_hs", corpus)]
    with pytest.raises(MienError, match="watched"):
        leaking(data, "flow-svm", tmp_path)
    with pytest.raises(MienError, match="watched"):
        leaking(data, "microexp-stcnn", tmp_path, parameters={**SETS, "members": 2})


def test_a_best_pass_lifts_guesses() -> None:
    """Why the warning: of hundred passes of guesses, the best is far above what guessing reaches."""
    random = np.random.default_rng(0)
    guesses = (random.integers(0, 3, (100, 32)) == random.integers(0, 3, 32)).mean(1)
    leak = Leak({}, tuple(guesses.tolist()), 0.4, 124, 32, 32)
    assert leak.best > 0.5
    assert abs(leak.last[0] - 1 / 3) < 0.1


def test_both_are_printed_beside_the_paper(corpus: Path, tmp_path: Path) -> None:
    rows = (GridRow("MicroExpSTCNN", "microexp-stcnn", {"epochs": 2, "maps": 2}),)
    made = Experiment("leaky", "Table 0", "none", "both", ("loso",), "own", rows, leaking="holdout")
    cells = grid.experiment(made, [open_dataset("smic_hs", corpus)], tmp_path, preset="small", jobs=1)
    assert isinstance(cells[0].leak, Leak)
    assert cells[0].result is not None
    console = Console(width=160, record=True)
    console.print(tables.render(made, cells))
    text = console.export_text()
    for piece in ("0.688", "0.625", "best epoch", "new subjects", "trained on", "comparable: no", "comparable: partly"):
        assert piece in text
    assert f"{cells[0].leak.best:.3f} ({cells[0].leak.best_epoch})" in text
    assert f"{cells[0].result['accuracy']:.3f}" in text
    content = json.loads(json.dumps(tables.as_json(made, cells)))
    assert content["cells"][0]["leaking"]["best"] == cells[0].leak.best


def test_every_row_of_the_papers_tables_is_printed() -> None:
    printed = {row.method: row for row in published_rows() if "Reddy" in row.source}
    for name in ("reddy-table5", "reddy-table9"):
        for row in experiments()[name].rows:
            assert f"{row.name}, best epoch" in printed
    assert printed["MicroExpSTCNN, kernel 7x7x3, best epoch"].accuracy == 0.7073
    settings = {"protocol": "holdout_reddy", "labels": "own", "datasets": ["smic_hs"]}
    best, last = claims(Leak(settings, (0.5,), 0.5, 1, 1, 1), "MicroExpFuseNet late")
    assert best is not None
    assert last is not None
    assert (best.accuracy, last.accuracy) == (0.6482, 0.5995)
    assert best.system == "microexp-fusenet-late"


def test_presets_of_the_tables_are_those_of_the_systems() -> None:
    chosen = experiments()["reddy-table5"]
    full = resolve(chosen, chosen.rows[0], chosen.presets["casme_sq"], {}, "frames")[1].model_dump()
    assert (full["frames"], full["stretch"]) == (96, True)
    assert resolve(chosen, chosen.rows[0], chosen.presets["smic_hs"], {}, "frames")[1].model_dump()["frames"] == 18


def test_nothing_run_is_a_dash() -> None:
    console = Console(width=160, record=True)
    for part in render_leaks("Table", [("MicroExpSTCNN", "smic_hs", None, None)]):
        console.print(part)
    text = console.export_text()
    assert "Table · smic_hs" in text
    assert "MicroExpSTCNN" in text


def test_an_ordinary_run_of_that_split_warns(corpus: Path, tmp_path: Path) -> None:
    ledger = benchmark(
        [open_dataset("smic_hs", corpus)], "microexp-stcnn", tmp_path, protocol="holdout_reddy", parameters=SETS, jobs=1
    )
    assert ledger.settings["protocol_warning"]
    assert ledger.settings["shares_subjects"]
