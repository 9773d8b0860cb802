"""Table II of STRCN on SMIC, CASME II and SAMM in one command: a figure or a reason in every cell, whatever happens."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mien.cli.main import app
from mien.synthesis.writer import write_corpus

QUICK = ("--small", "--set", "face=none", "--set", "epochs=1", "--jobs", "1", "--json")
DATABASES = ("smic_hs", "casme2", "samm")
KILLED = ("lbp-tics", "bi-woof", "strcn-g")
"""Rows of the run that is killed."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("three")
    for name in DATABASES:
        write_corpus(name, root / name, subjects=2, clips_per_subject=3, size=64, frames=8)
    return [f"{name}={root / name}" for name in DATABASES]


@pytest.fixture(scope="module")
def whole(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The cells of the whole table."""
    out = tmp_path_factory.mktemp("runs")
    done = CliRunner().invoke(app, ["experiment", "strcn-table2", *data, "--out", str(out), *QUICK])
    assert done.exit_code == 0, (done.exception, done.output)
    cells: list[dict[str, Any]] = json.loads(done.stdout)["cells"]
    return cells


def test_every_cell_has_a_figure_or_a_reason(whole: list[dict[str, Any]]) -> None:
    assert len(whole) == 11 * 3
    assert len({(cell["row"], cell["data"]) for cell in whole}) == 11 * 3
    for cell in whole:
        assert ("uf1" in cell) != bool(cell["why_not"]), cell
    reasons = {(cell["row"], cell["data"]): cell["why_not"] for cell in whole if cell["why_not"]}
    assert "grey" in reasons.pop(("LBP-TICS", "samm"))
    assert not reasons


def test_figures_of_the_paper_beside_a_small_run_are_marked(whole: list[dict[str, Any]]) -> None:
    printed = [cell for cell in whole if cell["system"] in ("strcn-g", "strcn-a") and cell["published"]]
    assert len(printed) == 2 * 3
    assert all("preset is small" in cell["published"]["not_comparable"] for cell in printed)
    assert all(not cell["published"]["not_comparable"] for cell in whole if cell["row"] == "LBP-TOP")


def test_a_killed_experiment_ends_with_the_same_table(
    whole: list[dict[str, Any]], data: list[str], tmp_path: Path
) -> None:
    rows = [word for row in KILLED for word in ("--only", row)]
    words = ["experiment", "strcn-table2", *data, "--out", str(tmp_path / "run"), *rows, *QUICK]
    process = subprocess.Popen(
        [sys.executable, "-c", "from mien.cli.main import main; main()", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    while len(list(tmp_path.glob("run/**/ledger/*.csv"))) < 4:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(tmp_path.glob("run/**/ledger/*.csv"))) < 8 * 2
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (done.exception, done.output)

    def table(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**cell, "run": ""} for cell in cells]

    asked = [cell for cell in whole if cell["system"] in KILLED]
    assert table(json.loads(done.stdout)["cells"]) == table(asked)
