import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.classifiers.base import Classifier
from mien.datasets import open_dataset, open_specs
from mien.errors import MienError
from mien.evaluation.execution.base import RunInputs
from mien.evaluation.execution.folds import train_fold
from mien.evaluation.ledger import read_ledger
from mien.evaluation.planning import make_plan
from mien.evaluation.run import benchmark
from mien.preprocessing.inputs import ArrayInputs, as_array
from mien.synthesis.flow_images import write_flow_images
from mien.systems import SYSTEMS
from mien.types import Fold, IntervalSource

FAST = {"epochs": 2, "maps": 4}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    write_flow_images(root, subjects=6, clips_per_subject=6, seed=0, layout="folders")
    return root


def ledger_bytes(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "ledger").iterdir())}


def test_every_clip_is_tested_once_and_the_ledger_says_how(pictures: Path, tmp_path: Path) -> None:
    ledger = benchmark([open_dataset("flow_images", pictures)], "strcn-g", tmp_path / "run", parameters=FAST, jobs=1)
    assert ledger.complete
    assert len({row.key for row in ledger.rows}) == len(ledger.rows) == 36
    assert {row.interval_source for row in ledger.rows} == {"ready"}
    for row in ledger.rows:
        assert sum(row.probabilities) == pytest.approx(1, abs=1e-5)
        assert row.y_pred == ledger.classes[int(np.argmax(row.probabilities))]


def test_the_ledger_does_not_depend_on_jobs(pictures: Path, tmp_path: Path) -> None:
    data = [open_dataset("flow_images", pictures)]
    benchmark(data, "strcn-g", tmp_path / "one", parameters=FAST, jobs=1)
    benchmark(data, "strcn-g", tmp_path / "two", parameters=FAST, jobs=2)
    assert ledger_bytes(tmp_path / "one") == ledger_bytes(tmp_path / "two")


def test_running_again_trains_nothing(pictures: Path, tmp_path: Path) -> None:
    data = [open_dataset("flow_images", pictures)]
    benchmark(data, "flow-svm", tmp_path / "run", jobs=1)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*") if p.is_file()}
    benchmark(data, "flow-svm", tmp_path / "run", jobs=1)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*") if p.is_file()} == before


def test_a_parameter_of_the_protocol_given_as_text_is_the_same(pictures: Path, tmp_path: Path) -> None:
    data = [open_dataset("flow_images", pictures)]
    given: list[Any] = ["2", 2, 3]
    first, again = (
        benchmark(data, "flow-kernels", tmp_path, protocol="kfold_subject", protocol_parameters={"k": k}, jobs=1)
        for k in given[:2]
    )
    assert again.rows == first.rows
    with pytest.raises(MienError, match="k is '2' there and 3 now"):
        benchmark(data, "flow-kernels", tmp_path, protocol="kfold_subject", protocol_parameters={"k": 3}, jobs=1)


def test_a_seed_can_be_added(pictures: Path, tmp_path: Path) -> None:
    data = [open_dataset("flow_images", pictures)]
    benchmark(data, "strcn-g", tmp_path / "run", parameters=FAST, jobs=1)
    first = ledger_bytes(tmp_path / "run")
    ledger = benchmark(data, "strcn-g", tmp_path / "run", parameters=FAST, seeds=(1,), jobs=1)
    assert ledger.seeds == (0, 1)
    assert first.items() <= ledger_bytes(tmp_path / "run").items()


def test_refused_parameters_leave_no_folder_behind(pictures: Path, tmp_path: Path) -> None:
    data = [open_dataset("flow_images", pictures)]
    for wrong in ({"variant": "neither"}, {"decay": "slowly"}):
        with pytest.raises(MienError):
            benchmark(data, "strcn-g", tmp_path / "run", parameters={**FAST, **wrong}, jobs=1)
        assert not (tmp_path / "run" / "run.json").exists()
        assert not (tmp_path / "run" / "clips.csv").exists()


def test_other_settings_are_refused_and_nothing_is_touched(pictures: Path, tmp_path: Path) -> None:
    data = [open_dataset("flow_images", pictures)]
    benchmark(data, "flow-svm", tmp_path / "run", jobs=1)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(MienError, match="other settings: system"):
        benchmark(data, "strcn-g", tmp_path / "run", jobs=1)
    with pytest.raises(MienError, match="shuffle_labels"):
        benchmark(data, "flow-svm", tmp_path / "run", shuffle_labels=True, jobs=1)
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before


def test_a_folder_that_is_not_a_run_is_left_alone(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(MienError, match="not a run"):
        benchmark([open_dataset("flow_images", pictures)], "flow-svm", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_shuffled_labels_keep_the_counts_and_change_the_rows(pictures: Path) -> None:
    data = [open_dataset("flow_images", pictures)]
    straight, shuffled = make_plan(data, "flow-svm"), make_plan(data, "flow-svm", shuffle_labels=True)
    labels = [[s.label for s in p.samples] for p in (straight, shuffled)]
    assert sorted(labels[0]) == sorted(labels[1])
    assert labels[0] != labels[1]
    assert [s.clip.key for s in straight.samples] == [s.clip.key for s in shuffled.samples]


def test_fit_never_sees_a_test_clip(pictures: Path) -> None:
    """Test rows replaced by NaN while fitting change nothing: what fit gets are the training rows."""
    plan = make_plan([open_dataset("flow_images", pictures)], "flow-svm")
    inputs = np.stack([plan.system.recipe("flow").run(s.clip)[0] for s in plan.samples])
    seen: list[np.ndarray] = []

    class Spy(Classifier):
        def fit(self, x: Any, y: Any, groups: object, **_: object) -> "Spy":
            seen.append(as_array(x))
            return self

        def predict_proba(self, x: Any) -> np.ndarray:
            return np.full((len(x), 3), 1 / 3, np.float32)

    spied = replace(plan, system=replace(plan.system, build=lambda *_: Spy()))
    fold: Fold = plan.folds[0]
    inputs[list(fold.test)] = np.nan
    sources: list[IntervalSource] = ["ready" for _ in inputs]
    train_fold(spied, RunInputs(ArrayInputs(inputs), tuple(sources)), 0, 0)
    assert np.isfinite(seen[0]).all()
    assert len(seen[0]) == len(fold.train)


def test_a_system_that_is_not_registered_is_scored(pictures: Path, tmp_path: Path) -> None:
    data = [open_dataset("flow_images", pictures)]
    own = replace(SYSTEMS["flow-svm"], name="mine")
    ledger = benchmark(data, own, tmp_path / "mine", jobs=2)
    assert ledger.settings["system"] == "mine"
    assert ledger.rows == benchmark(data, "flow-svm", tmp_path / "registered", jobs=1).rows


def test_a_row_changed_by_hand_is_found(pictures: Path, tmp_path: Path) -> None:
    data = [open_dataset("flow_images", pictures)]
    benchmark(data, "flow-svm", tmp_path / "run", jobs=1)
    path = sorted((tmp_path / "run" / "ledger").iterdir())[0]
    text = path.read_text(encoding="utf-8")
    clip = next(csv.DictReader(text.splitlines()))
    other = next(name for name in ("negative", "positive") if name != clip["y_true"])
    path.write_text(
        text.replace(f"{clip['y_true']},{clip['y_pred']}", f"{other},{clip['y_pred']}", 1), encoding="utf-8"
    )
    with pytest.raises(MienError, match="the table says"):
        benchmark(data, "flow-svm", tmp_path / "run", jobs=1)


def test_clip_table_is_written(pictures: Path, tmp_path: Path) -> None:
    benchmark([open_dataset("flow_images", pictures)], "flow-svm", tmp_path / "run", jobs=1)
    with (tmp_path / "run" / "clips.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 36
    assert {row["label"] for row in rows} == {"negative", "positive", "surprise"}


COMMAND = """
import sys
from pathlib import Path
from typing import Any
from mien.evaluation.run import benchmark
from mien.classifiers.base import Classifier
from mien.datasets import open_dataset
benchmark([open_dataset("flow_images", Path(sys.argv[1]))], "strcn-g", Path(sys.argv[2]),
          parameters={"epochs": 6, "maps": 8}, jobs=1)
"""


def test_a_killed_run_resumes_to_the_same_ledger(pictures: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    data = [open_dataset("flow_images", pictures)]
    parameters = {"epochs": 6, "maps": 8}
    process = subprocess.Popen([sys.executable, "-c", COMMAND, str(pictures), str(killed)])
    deadline = time.monotonic() + 600
    while len(list((killed / "ledger").glob("*.csv"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = len(list((killed / "ledger").glob("*.csv")))
    assert 2 <= done < 6
    assert not read_ledger(killed).complete
    benchmark(data, "strcn-g", killed, parameters=parameters, jobs=2)
    benchmark(data, "strcn-g", whole, parameters=parameters, jobs=1)
    assert ledger_bytes(killed) == ledger_bytes(whole)
    assert json.loads((killed / "run.json").read_text()) == json.loads((whole / "run.json").read_text())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"system": "ststnte"}, "ststnet"),
        ({"protocol": "losso"}, "loso"),
        ({"labels": "megc2020"}, "megc2019"),
        ({"parameters": {"epoch": "3"}}, "epochs"),
        ({"parameters": {"epochs": "many"}}, "whole number"),
        ({"parameters": {"epochs": "2.5"}}, "whole number"),
        ({"parameters": {"shuffle": "perhaps"}}, "true or false"),
        ({"labels": "objective"}, "no clip at all"),
    ],
)
def test_unknown_names_and_values_are_refused_in_three_parts(
    pictures: Path, change: dict[str, object], words: str
) -> None:
    arguments: dict[str, object] = {"system": "ststnet", **change}
    with pytest.raises(MienError) as caught:
        make_plan([open_dataset("flow_images", pictures)], **arguments)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert caught.value.found
    assert caught.value.expected
    assert caught.value.fix


def test_one_class_and_one_subject_are_refused(tmp_path: Path) -> None:
    write_flow_images(tmp_path, subjects=3, clips_per_subject=6, seed=0, layout="folders")
    for folder in tmp_path.glob("*/u_test/*"):
        if folder.name != "1":
            for picture in folder.iterdir():
                picture.unlink()
    with pytest.raises(MienError, match="only one class"):
        make_plan(open_specs([f"flow_images={tmp_path}"]), "flow-svm")


def test_a_database_given_twice_is_refused(pictures: Path) -> None:
    data = [open_dataset("flow_images", pictures)] * 2
    with pytest.raises(MienError, match="given twice"):
        make_plan(data, "flow-svm")


def test_unreadable_pictures_alone_name_the_first_file(tmp_path: Path) -> None:
    write_flow_images(tmp_path / "data", subjects=4, clips_per_subject=6, seed=0, layout="folders")
    for broken in sorted((tmp_path / "data").glob("sub*/u_test/*/*.png"), reverse=True):
        broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(MienError) as caught:
        benchmark([open_dataset("flow_images", tmp_path / "data")], "flow-svm", tmp_path / "run", jobs=1)
    assert broken.name in caught.value.found
