"""How long a run takes: known before it begins, from one clip and a few steps."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien.cli.main import app
from mien.datasets import open_dataset
from mien.evaluation.estimate import Costs, estimate, measure, steps_of_fold, warn_if_long
from mien.evaluation.planning import Plan, make_plan
from mien.synthesis.writer import write_corpus

SETS = {"preset": "small", "face": "none", "size": [24, 20]}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("estimated")
    write_corpus("casme2", root, subjects=3, clips_per_subject=4, seed=0, size=64, frames=8)
    return root


@pytest.fixture(scope="module")
def plan(corpus: Path) -> Plan:
    return make_plan([open_dataset("casme2", corpus)], "strcn-g", labels="strcn4", parameters=SETS)


def test_steps_are_those_that_training_takes(plan: Plan) -> None:
    classifier = plan.system.build(4, plan.parameters)
    inputs = 8 * 6 * 2  # clips, copies, mirror images
    assert steps_of_fold(plan, classifier, 8) == plan.parameters.model_dump()["epochs"] * -(-inputs // 20)


def test_time_and_memory_follow_from_what_was_measured(plan: Plan) -> None:
    costs = Costs(clip=2.0, cached=0.5, step=0.1, fit=0.0, rise=1 << 20, input_bytes=1 << 20)
    todo = [(seed, number) for seed in (0, 1) for number in range(3)]
    one = estimate(plan, todo, 1, costs)
    assert one.folds == 6
    assert one.prepare == pytest.approx(2.0 * 12 / 2)
    classifier = plan.system.build(4, plan.parameters)
    assert one.train == pytest.approx(6 * 0.1 * steps_of_fold(plan, classifier, 8))
    assert one.memory > 13 << 20
    # What the first fold loads, all others find ready.
    loading = estimate(plan, todo, 1, replace(costs, once=0.25))
    assert loading.train == pytest.approx(one.train + 0.25 * 12)
    assert estimate(plan, [], 1, costs).seconds == 0
    assert estimate(plan, todo, 2, costs).prepare == one.prepare / 2


def test_networks_and_other_classifiers_are_measured(plan: Plan, corpus: Path) -> None:
    network = measure(plan)
    assert network.step > 0
    assert network.clip > 0
    assert network.input_bytes == 4 * 6 * 2 * 24 * 20
    other = measure(
        make_plan([open_dataset("casme2", corpus)], "bi-woof", labels="strcn4", parameters={"face": "none"})
    )
    assert other.fit > 0
    assert other.once >= 0
    assert other.step == 0


def test_over_an_hour_is_said_with_what_is_shorter() -> None:
    said: list[str] = []
    warn_if_long(3599, "Less.", "`--small`", said.append)
    assert not said
    warn_if_long(7200, "About 2.0 hours.", "`--small`", said.append)
    assert said == ["About 2.0 hours. Shorter: `--small`. What is finished is kept: stop it at any time, and resume."]


def test_the_commands_estimate_and_run_nothing(corpus: Path, tmp_path: Path) -> None:
    sets = [word for k, v in SETS.items() for word in ("--set", f"{k}={v if isinstance(v, str) else json.dumps(v)}")]
    words = [f"casme2={corpus}", "--out", str(tmp_path / "run"), "--estimate", "--json", "--jobs", "1"]
    one = CliRunner().invoke(app, ["benchmark", *words, "--system", "strcn-g", *sets])
    assert one.exit_code == 0, (one.exception, one.output)
    assert json.loads(one.stdout)["folds"] == 3
    many = CliRunner().invoke(app, ["experiment", "strcn-table3", *words, "--small", "--only", "strcn-g", *sets[2:]])
    assert many.exit_code == 0, (many.exception, many.output)
    (cell,) = json.loads(many.stdout)["cells"]
    assert cell["hours"] > 0
    both = ["--protocol", "loso", "--protocol", "kfold_subject", "--protocol-set", "k=2"]
    many = CliRunner().invoke(app, ["experiment", "strcn-table3", *words, "--small", "--only", "strcn-g", *both])
    first, second = json.loads(many.stdout)["cells"]
    assert first["hours_prepare"] > second["hours_prepare"] == 0
    assert not (tmp_path / "run").exists()
