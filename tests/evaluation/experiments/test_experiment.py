"""A paper's tables as grids of runs: every cell well formed, run once, printed beside the paper."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file
from typer.testing import CliRunner

from mien.cli.main import app
from mien.datasets import open_dataset
from mien.errors import MienError
from mien.evaluation.experiments import grid, tables
from mien.evaluation.experiments.catalogue import Experiment, GridRow, choose_rows, experiments, resolve
from mien.evaluation.experiments.grid import experiment
from mien.evaluation.protocols import PROTOCOLS
from mien.evaluation.published.claims import published_rows
from mien.evaluation.run import benchmark
from mien.preprocessing.inputs import ArrayInputs
from mien.synthesis.writer import write_corpus
from mien.systems import SYSTEMS

FLAT = {"face": "none", "size": [24, 20], "alphas": [8.0], "shares": [1.0, 0.8], "mirror": False}
"""Parameters under which the small preset of STRCN-G is prepared and trained in a moment."""

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
    for preset in ("paper", "small"):
        rows = []
        for row in chosen.rows:
            default = SYSTEMS[row.system].defaults.get("preset")
            final, parameters = resolve(chosen, row, preset, {}, "frames")
            assert parameters.model_dump().get("preset") in (preset, default, row.set.get("preset"))
            assert (final.x is None) == (not chosen.axis)
            rows.append(final)
        assert len({row.name for row in rows}) == len(rows)
    for claim in chosen.claims:
        assert {name for pair in (*claim.pairs, *claim.also) for name in pair} <= {row.id for row in chosen.rows}


@pytest.mark.parametrize("name", [e.name for e in TABLES])
def test_rows_have_the_names_under_which_the_paper_prints_them(name: str) -> None:
    printed = {row.method.removesuffix(", best epoch") for row in published_rows()}
    assert {row.name for row in experiments()[name].rows if not row.ours} <= printed


def test_without_augmentation_trains_as_many_batches() -> None:
    chosen = experiments()["strcn-table4"]
    row = next(r for r in chosen.rows if r.name == "STRCN-G without augmentation")
    full = SYSTEMS["strcn-g"].with_parameters({"preset": "paper"})
    bare = resolve(chosen, row, "paper", {}, "frames")[1]
    assert bare.model_dump()["alphas"] == (8.0,)
    assert bare.model_dump()["repeats"] == 50
    assert bare.model_dump()["epochs"] == full.epochs


@pytest.mark.parametrize("system", ["strcn-g", "strcn-a"])
def test_rows_with_and_without_augmentation_take_the_same_steps_at_the_papers_schedule(system: str) -> None:
    chosen = experiments()["strcn-table4"]
    random = np.random.default_rng(0)
    shape = (2, 8, 7) if system == "strcn-g" else (6, 8, 7, 3)
    clips = random.integers(0, 200, (2, *shape)).astype(np.float32)
    inputs = {
        "": ArrayInputs(clips[:, None] + random.normal(0, 5, (2, 50, *shape)).astype(np.float32), copies=50),
        " without augmentation": ArrayInputs(clips),
        ", identical copies (control)": ArrayInputs(np.repeat(clips[:, None], 50, 1), copies=50),
    }
    logs = {}
    for row in chosen.rows:
        name = row.name.removeprefix(SYSTEMS[system].title)
        if row.system == system and name in inputs:
            parameters = resolve(chosen, row, "paper", {"maps": 1, "layers": 1}, "frames")[1]
            classifier = SYSTEMS[system].build(3, parameters)
            logs[name] = classifier.fit(inputs[name], np.arange(2), [("d", "s")] * 2).fit_log()
    epochs, steps_an_epoch = 40, 2 * 50 // 20
    assert [log["steps"] for log in logs.values()] == [[epochs * steps_an_epoch]] * 3
    bare, control = logs[" without augmentation"], logs[", identical copies (control)"]
    assert control == bare
    assert logs[""] != bare


def test_a_row_of_a_small_run_is_named_by_its_own_maps() -> None:
    chosen = experiments()["strcn-fig7"]
    final = [resolve(chosen, row, "small", {}, "frames")[0] for row in chosen.rows]
    assert [row.name for row in final if row.system == "strcn-a"][-1] == "STRCN-A, M = 32"
    assert [row.x for row in final if row.system == "strcn-a"] == [2, 4, 8, 16, 32]


def test_the_image_cnn_is_the_papers_only_with_its_weights() -> None:
    chosen = experiments()["strcn-table2"]
    row = next(r for r in chosen.rows if r.system == "image-cnn")
    scratch = resolve(chosen, row, "paper", {}, "frames")
    assert "scratch" in scratch[0].name
    assert scratch[0].name not in {published.method for published in published_rows()}
    given = resolve(chosen, row, "small", {"weights": "vgg_face.safetensors"}, "frames")
    assert given[0].name == "Image-based CNN"
    values = given[1].model_dump()
    assert (values["preset"], values["lr"], values["batch_size"], values["dropout"]) == ("vgg-face", 1e-3, 2, 0.5)


def test_rows_are_chosen_by_name_or_system() -> None:
    chosen = experiments()["strcn-table2"]
    assert [row.name for row in choose_rows(chosen, only=["strcn-g", "LBP-TOP"])] == ["LBP-TOP", "STRCN-G"]
    assert len(choose_rows(chosen, skip=["mdmo"])) == 10
    assert [row.set["maps"] for row in choose_rows(experiments()["strcn-fig7"], only=["STRCN-A, M = 64"])] == [64]
    with pytest.raises(MienError, match="'STRCN-H'") as caught:
        choose_rows(chosen, only=["STRCN-H"])
    assert "'STRCN-" in caught.value.fix
    with pytest.raises(MienError, match="leave no row"):
        choose_rows(chosen, only=["mdmo"], skip=["mdmo"])


TINY = Experiment(
    "tiny", "Table 0", "none", "two cells", ("kfold_subject",), "strcn4",
    (
        GridRow("STRCN-G", "strcn-g", {"maps": 4, "epochs": 1}, x=1, curve="G"),
        GridRow("STRCN-G without balanced loss", "strcn-g", {"maps": 4, "epochs": 1, "loss": "cross_entropy"}, x=2),
        GridRow("Nothing yet", "nothing-yet", x=3),
    ),
    "x", "", "A note.",
)  # fmt: skip
"""Two cells that train in a second, and one that cannot be run."""


def printed(chosen: Experiment, cells: list[grid.Cell]) -> str:
    console = Console(width=140, record=True)
    console.print(tables.render(chosen, cells))
    return console.export_text()


def test_cells_are_run_once_and_printed(corpus: Path, tmp_path: Path) -> None:
    data = [open_dataset("casme2", corpus)]
    told: list[str] = []

    def run() -> list[grid.Cell]:
        return experiment(TINY, data, tmp_path, preset="small", parameters=FLAT, jobs=1, on_warning=told.append)

    cells = run()
    assert [cell.result is not None for cell in cells] == [True, True, False]
    assert any("Nothing yet" in text and "no such system" in text for text in told)
    assert cells[0].result is not None
    assert cells[0].result["system"] == "strcn-g"
    assert "no such system" in cells[2].why
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("**/ledger/*.csv")}
    again = run()
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("**/ledger/*.csv")} == before
    assert again[0].result == cells[0].result
    text = printed(TINY, cells)
    assert "STRCN-G without balanced" in text
    assert "most frequent class" in text
    assert "not run: this version has no" in text
    assert "A note." in text
    assert f"{cells[0].result['accuracy']:.3f}" in text
    content = tables.as_json(TINY, cells)
    assert [cell["why_not"] == "" for cell in content["cells"]] == [True, True, False]
    json.dumps(content)
    axes = tables.figure(TINY, cells).axes
    assert len(axes) == 1
    assert len(axes[0].lines) >= 4


def test_several_seeds_are_printed_as_mean_and_spread(corpus: Path, tmp_path: Path) -> None:
    data = [open_dataset("casme2", corpus)]
    cells = experiment(
        TINY, data, tmp_path, preset="small", parameters=FLAT, jobs=1, seeds=(0, 1), only=["STRCN-G"]
    )  # fmt: skip
    result = cells[0].result
    assert result is not None
    text = printed(TINY, cells)
    assert f"{result['accuracy']:.3f}" in text
    assert f"±{result['spread']['accuracy']['sd']:.3f}" in text
    assert "mean ± sd of 2 seeds" in text
    assert tables.as_json(TINY, cells)["cells"][0]["spread"] == result["spread"]


def test_the_formula_of_the_paper_is_printed_beside_macro_f1(corpus: Path, tmp_path: Path) -> None:
    cells = experiment(
        "strcn-ablation", [open_dataset("casme2", corpus)], tmp_path, preset="small", jobs=1,
        parameters={**FLAT, "epochs": 1}, protocols=["kfold_subject"], protocol_parameters={"k": "2"}, only=["STRCN-G"],
    )  # fmt: skip
    result = cells[0].result
    assert result is not None
    assert result["folds"]["total"] == 2
    assert result["f1_micro"] == result["accuracy"]
    assert "summed TP, FP" in printed(experiments()["strcn-ablation"], cells)


def test_a_failure_is_the_reason_of_its_cell_alone(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **settings: Any) -> Any:
        if settings["parameters"].loss == "cross_entropy":
            raise RuntimeError("the disk melted")
        return benchmark(*args, **settings)

    monkeypatch.setattr("mien.evaluation.experiments.grid.benchmark", broken)
    sets = [word for k, v in FLAT.items() for word in ("--set", f"{k}={v if isinstance(v, str) else json.dumps(v)}")]
    words = ["experiment", "strcn-ablation", f"casme2={corpus}", "--small", "--out", str(tmp_path), *sets]
    rows = ["--only", "without balanced loss", "--only", "1 recurrent layer", "--set", "epochs=1"]
    done = CliRunner().invoke(app, [*words, *rows, "--protocol", "kfold_subject", "--jobs", "1", "--json"])
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    cells = json.loads(done.stdout)["cells"]
    assert [(cell["row"], cell["failed"]) for cell in cells] == [
        ("without balanced loss", True),
        ("1 recurrent layer", False),
    ]
    assert cells[0]["why_not"] == "RuntimeError: the disk melted"
    assert "uf1" in cells[1]


def test_what_the_pictures_lack_is_known_before_any_work(composite: Path, tmp_path: Path) -> None:
    data = open_dataset("flow_images", composite)
    planned = grid.plan_cells(experiments()["strcn-table4"], [data], tmp_path)
    assert {each.row.name for each in planned if not each.why} == {"STRCN-G", "STRCN-G without balanced loss"}
    reasons = {each.row.name: each.why for each in planned if each.why}
    assert "cannot read ready flow pictures" in reasons["STRCN-A"]
    assert "alphas needs frames" in reasons["STRCN-G without augmentation"]
    assert not list(tmp_path.iterdir())


def test_mistakes_are_refused_before_any_work(corpus: Path, tmp_path: Path) -> None:
    data = [open_dataset("casme2", corpus)]

    def refused(match: str, name: str = "strcn-table2", **given: Any) -> MienError:
        with pytest.raises(MienError, match=match) as caught:
            experiment(name, data, tmp_path / "runs", **{"preset": "small", "jobs": 1, **given})
        assert not (tmp_path / "runs").exists()
        return caught.value

    assert "'STRCN-G'" in refused("no row called 'STRCN_GG'", only=["STRCN_GG"]).fix
    assert "alphas" in refused("no parameter of these systems", parameters={"alphs": [8]}).fix
    assert "loso" in refused("no protocol", protocols=["losso"]).fix
    refused("vgg", parameters={"weights": str(tmp_path / "vgg.safetensors")})
    other = tmp_path / "other.safetensors"
    save_file({"conv.weight": torch.zeros(3)}, other)
    refused("not of VGG-16", parameters={"weights": str(other)}, only=["image-cnn"])
    refused("k is 9", protocols=["kfold_subject"], protocol_parameters={"k": "9"})


def test_an_experiment_continued_with_other_settings_is_refused(corpus: Path, tmp_path: Path) -> None:
    data = [open_dataset("casme2", corpus)]
    one = {"preset": "small", "jobs": 1, "only": ["STRCN-G"]}
    experiment(TINY, data, tmp_path, parameters=FLAT, **one)  # type: ignore[arg-type]
    before = {p: p.read_bytes() for p in tmp_path.glob("**/*.csv")}
    with pytest.raises(MienError, match="shift is 0 there and 1 now"):
        experiment(TINY, data, tmp_path, parameters={**FLAT, "shift": 1}, **one)  # type: ignore[arg-type]
    assert {p: p.read_bytes() for p in tmp_path.glob("**/*.csv")} == before


def test_an_unknown_experiment_is_told(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="strcn-table2"):
        experiment("strcn-table", [], tmp_path)


def test_train_and_card(corpus: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    data, model, run = f"casme2={corpus}", tmp_path / "m.safetensors", tmp_path / "run"
    sets = ["--set", "preset=pictures", "--set", "epochs=1", "--set", "maps=4"]
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
    assert "differs in parameters" in other.exception.found
    svm = runner.invoke(app, ["train", data, "--system", "flow-svm", "--out", str(model)])
    assert isinstance(svm.exception, MienError)
