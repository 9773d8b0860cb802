"""A paper's tables as grids of runs: every cell well formed, run once, printed beside the paper."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien.cli.main import app
from mien.datasets import open_dataset
from mien.errors import MienError
from mien.evaluation.experiments import grid
from mien.evaluation.experiments.grid import Experiment, GridRow, experiment, experiments
from mien.evaluation.protocols import PROTOCOLS
from mien.evaluation.published.claims import published_rows
from mien.synthesis.writer import write_corpus
from mien.systems import SYSTEMS

TABLES = [e for e in experiments().values() if "-table" in e.name]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus("casme2", folder, subjects=5, clips_per_subject=4, seed=0)
    return folder


@pytest.mark.parametrize("name", experiments())
def test_grids_are_well_formed(name: str) -> None:
    chosen = experiments()[name]
    assert set(chosen.protocols) <= set(PROTOCOLS)
    assert len({row.name for row in chosen.rows}) == len(chosen.rows)
    for row in chosen.rows:
        assert (row.x is None) == (not chosen.axis)
        if row.system in SYSTEMS:
            for preset in ("paper", "small"):
                default = SYSTEMS[row.system].defaults.get("preset")
                assert grid._parameters(row, preset, {}).model_dump().get("preset") in (preset, default)


@pytest.mark.parametrize("name", [e.name for e in TABLES])
def test_rows_have_the_names_under_which_the_paper_prints_them(name: str) -> None:
    printed = {row.method.removesuffix(", best epoch") for row in published_rows()}
    assert {row.name for row in experiments()[name].rows} <= printed


def test_without_augmentation_trains_as_many_batches() -> None:
    row = next(r for r in experiments()["strcn-table4"].rows if r.name == "STRCN-G without augmentation")
    full = SYSTEMS["strcn-g"].with_parameters({"preset": "paper"})
    bare = SYSTEMS["strcn-g"].with_parameters(grid._parameters(row, "paper", {}).model_dump())
    assert bare.alphas == (8.0,)
    assert bare.epochs == 50 * full.epochs


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """An experiment of two cells that train in a second, and one that cannot be run."""
    rows = (
        GridRow("STRCN-G", "strcn-g", {"maps": 4, "epochs": 1}, x=1, curve="G"),
        GridRow("STRCN-G without balanced loss", "strcn-g", {"maps": 4, "epochs": 1, "loss": "cross_entropy"}, x=2),
        GridRow("Nothing yet", "nothing-yet", x=3),
    )
    made = Experiment("tiny", "Table 0", "none", "two cells", ("kfold_subject",), "strcn4", rows, "x", "A note.")
    monkeypatch.setattr(grid, "experiments", lambda: {**experiments(), "tiny": made})
    return "tiny"


def test_cells_are_run_once_and_printed(corpus: Path, tmp_path: Path, tiny: str) -> None:
    data = [open_dataset("casme2", corpus)]
    told: list[str] = []
    parameters = {"face": "none", "mirror": False}
    cells = experiment(tiny, data, tmp_path, preset="pictures", parameters=parameters, jobs=1, on_warning=told.append)
    assert len(told) == 3
    assert [cell.result is not None for cell in cells] == [True, True, False]
    assert cells[0].result is not None
    assert cells[0].result["system"] == "strcn-g"
    assert "no such system" in cells[2].why
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("**/ledger/*.csv")}
    again = experiment(tiny, data, tmp_path, preset="pictures", parameters=parameters, jobs=1)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("**/ledger/*.csv")} == before
    assert again[0].result == cells[0].result
    from rich.console import Console

    console = Console(width=140, record=True)
    console.print(grid.render(tiny, cells))
    text = console.export_text()
    assert "STRCN-G without balanced loss" in text
    assert "majority class" in text
    assert "Nothing yet (this version has no such system)" in text
    assert "A note." in text
    assert f"{cells[0].result['accuracy']:.3f}" in text
    content = grid.as_json(tiny, cells)
    assert [cell["why_not"] == "" for cell in content["cells"]] == [True, True, False]
    json.dumps(content)
    axes = grid.figure(tiny, cells).axes
    assert len(axes) == 1
    assert len(axes[0].lines) >= 4


def test_ready_flow_is_no_input_for_appearance(composite: Path, tmp_path: Path) -> None:
    data = open_dataset("flow_images", composite)
    assert "cannot read" in grid._cannot(GridRow("STRCN-A", "strcn-a"), data)


def test_an_unknown_experiment_is_told(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="strcn-table2"):
        experiment("strcn-table", [], tmp_path)


def test_train_and_card(corpus: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    data, model, run = f"casme2={corpus}", tmp_path / "m.safetensors", tmp_path / "run"
    sets = ["--set", "epochs=1", "--set", "maps=4"]
    scored = ["benchmark", data, "--system", "strcn-g", "--protocol", "kfold_subject", "--out", str(run), "--json"]
    assert runner.invoke(app, [*scored, *sets]).exit_code == 0
    made = runner.invoke(
        app, ["train", data, "--system", "strcn-g", "--out", str(model), "--scored", str(run), *sets, "--json"]
    )
    assert made.exit_code == 0, made.output
    card = json.loads(runner.invoke(app, ["card", str(model), "--json"]).stdout)
    assert card["trained_on"] == [{"dataset": "casme2", "clips": 20, "subjects": 5, "synthetic": True}]
    assert card["score"]["protocol"] == "kfold_subject"
    assert "strcn-g" in runner.invoke(app, ["card", str(model)]).stdout
    other = runner.invoke(app, ["train", data, "--system", "strcn-g", "--out", str(model), "--scored", str(run)])
    assert isinstance(other.exception, MienError)
    assert "another parameters" in other.exception.found
    svm = runner.invoke(app, ["train", data, "--system", "flow-svm", "--out", str(model)])
    assert isinstance(svm.exception, MienError)
