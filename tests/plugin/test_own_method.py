"""A scikit-learn pipeline, as it is, becomes a system; so do objects and import paths."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

import mien
from mien.datasets import DATASETS, open_dataset
from mien.errors import MienError
from mien.evaluation.protocols import PROTOCOLS
from mien.evaluation.run import benchmark
from mien.motion.flow import FLOWS
from mien.preprocessing import FLOW_PICTURE
from mien.spotting import SPOTTERS
from mien.systems import SYSTEMS, System, estimator_system, system

pytest_plugins = "plugin_packages"

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own_method.py"
TEXT = """
from sklearn.naive_bayes import GaussianNB
from mien.systems import estimator_system, system

MINE = estimator_system("mine", GaussianNB(), recipe=system("flow-svm"))

def made():
    return MINE

NUMBER = 7
"""


def test_ten_lines_score_a_pipeline_as_it_is(
    flow_pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["own_method.py", f"flow_images={flow_pictures}", str(tmp_path / "run")])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert "my-pipeline" in capsys.readouterr().out
    origin = json.loads((tmp_path / "run" / "run.json").read_text())["system_origin"]
    assert origin["package"] == "scikit-learn"
    assert "LogisticRegression(max_iter=500)" in origin["estimator"]


def test_the_ledger_does_not_depend_on_jobs(flow_pictures: Path, tmp_path: Path) -> None:
    mine = estimator_system("forest", RandomForestClassifier(10), recipe=system("flow-svm"))
    data = [open_dataset("flow_images", flow_pictures)]
    for jobs in (1, 2):
        benchmark(data, mine, tmp_path / str(jobs), labels="own", jobs=jobs)
    first, second = (
        {p.name: p.read_bytes() for p in (tmp_path / n / "ledger").iterdir()} for n in ("1", "2")
    )  # fmt: skip
    assert first == second


def test_other_settings_of_the_estimator_are_another_run(flow_pictures: Path, tmp_path: Path) -> None:
    data = [open_dataset("flow_images", flow_pictures)]
    for smoothing, works in ((1.0, True), (1.0, True), (2.0, False)):
        mine = estimator_system("mine", LogisticRegression(C=smoothing), recipe=system("flow-svm"))
        if works:
            benchmark(data, mine, tmp_path / "run", labels="own", jobs=1)
        else:
            with pytest.raises(MienError, match=r"C=2\.0"):
                benchmark(data, mine, tmp_path / "run", labels="own", jobs=1)


def test_an_import_path_is_scored_from_the_command_line_in_several_processes(
    flow_pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "my_methods.py").write_text(TEXT)
    environment = {**os.environ, "PYTHONPATH": str(Path(mien.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    words = ["--system", "my_methods:MINE", "--labels", "own", "--jobs", "2", "--out", "run", "--json"]
    start = ("from mien.cli.main import main", "import sys; sys.path.remove('') if '' in sys.path else None", "main()")
    made = subprocess.run(
        [sys.executable, "-c", "; ".join(start), "benchmark", f"flow_images={flow_pictures}", *words],
        env=environment, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["system"] == "mine"
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["system_origin"]["given"] == "my_methods:MINE"


def test_an_import_path_may_name_a_function_that_returns_the_system(
    package: Callable[..., Path], flow_pictures: Path, tmp_path: Path
) -> None:
    package("methods", TEXT)
    assert SYSTEMS.get("methods:made").name == SYSTEMS.get("methods:MINE").name == "mine"
    for wrong, found in (
        ("methods:NUMBER", "7 is not a system but a int. It is from the package methods 1.2.3"),
        ("methods:MINA", "There is no 'MINA' in the package methods 1.2.3"),
        ("methods.sub:MINE", "There is no module 'methods.sub' in the package methods 1.2.3"),
        ("nowhere_at_all:MINE", "There is no module 'nowhere_at_all'"),
    ):
        with pytest.raises(MienError) as error:
            SYSTEMS.get(wrong)
        assert error.value.found.startswith(found)
    with pytest.raises(MienError) as error:
        SYSTEMS.get("methods:MINA")
    assert "`methods:MINE`" in error.value.fix
    assert "methods/__init__.py" in error.value.found


def test_probabilities_are_calibrated_where_the_estimator_has_none(flow_pictures: Path, tmp_path: Path) -> None:
    calibrated = make_pipeline(StandardScaler(), CalibratedClassifierCV(LinearSVC(), ensemble=False, cv=2))
    mine = estimator_system("calibrated", calibrated, recipe={"flow": FLOW_PICTURE})
    ledger = benchmark([open_dataset("flow_images", flow_pictures)], mine, tmp_path / "run", labels="own", jobs=1)
    assert np.mean([row.y_true == row.y_pred for row in ledger.rows]) > 0.6


@pytest.mark.parametrize("estimator", [LinearSVC(), SVC(), make_pipeline(StandardScaler(), LinearSVC())])
def test_an_estimator_without_probabilities_is_refused(estimator: object) -> None:
    with pytest.raises(MienError) as error:
        estimator_system("mine", estimator, recipe=system("flow-svm"))
    assert "SVC" in error.value.found
    assert "the package scikit-learn" in error.value.found
    assert "_classes.py" in error.value.found
    assert "has no predict_proba" in error.value.found
    assert "CalibratedClassifierCV" in error.value.fix


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (LogisticRegression, "LogisticRegression from the package scikit-learn"),
        (StandardScaler(), "has no predict_proba"),
        (3, "has no fit"),
    ],
)
def test_what_is_no_estimator_is_refused(wrong: object, found: str) -> None:
    with pytest.raises(MienError, match=found):
        estimator_system("mine", wrong, recipe=system("flow-svm"))


def test_a_recipe_whose_shape_depends_on_the_clip_is_refused() -> None:
    with pytest.raises(MienError, match="depends on the clip"):
        estimator_system("mine", LogisticRegression(), recipe="aligned")
    with pytest.raises(MienError, match="no recipe called"):
        estimator_system("mine", LogisticRegression(), recipe="flow-29")
    with pytest.raises(MienError, match="is not a recipe but a int"):
        estimator_system("mine", LogisticRegression(), recipe=3)  # type: ignore[arg-type]


def test_an_estimator_in_the_place_of_a_system_is_refused(flow_pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(MienError, match="LogisticRegression from the package scikit-learn") as error:
        benchmark([open_dataset("flow_images", flow_pictures)], LogisticRegression(), tmp_path / "run")
    assert "estimator_system" in error.value.fix
    assert not (tmp_path / "run").exists()


def test_an_object_with_the_name_of_a_system_of_mien_is_refused(flow_pictures: Path, tmp_path: Path) -> None:
    mine: System = estimator_system("flow-svm", LogisticRegression(), recipe=system("flow-svm"))
    with pytest.raises(MienError, match="is called 'flow-svm', as one of this package"):
        benchmark([open_dataset("flow_images", flow_pictures)], mine, tmp_path / "run")


def test_a_name_that_a_file_gives_never_runs_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text("raise SystemExit('planted')")
    monkeypatch.chdir(tmp_path)
    for registry in (SYSTEMS, DATASETS, SPOTTERS, PROTOCOLS, FLOWS):
        with pytest.raises(MienError, match="called 'planted:MINE'"):
            registry["planted:MINE"]
        assert registry.get("planted:MINE", None) is None
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "synthesis.json").write_text('{"layout": "planted:MINE", "fps": 100}')
    with pytest.raises(MienError, match="called 'planted:MINE'"):
        open_dataset("synthetic", tmp_path / "corpus").clips()
    assert "planted" not in sys.modules


def test_the_readme_shows_lines_that_run(
    flow_pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (EXAMPLE.parents[1] / "README.md").read_text("utf-8")
    (block,) = [part.split("```")[0] for part in text.split("```python\n") if "estimator_system(" in part]
    assert len([line for line in block.splitlines() if line]) <= 10
    block = block.replace("casme2=/data/CASMEII", f"flow_images={flow_pictures}")
    exec(block.replace("runs/mine", str(tmp_path / "run")), {})
    assert 0 <= float(capsys.readouterr().out) <= 1
