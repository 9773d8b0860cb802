"""What a paper says about its rows: judged on paired differences, only where both rows could be run."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mien.cli.main import app
from mien.datasets import open_dataset
from mien.evaluation.compare import Comparison, compare
from mien.evaluation.experiments import grid
from mien.evaluation.experiments.catalogue import experiments
from mien.evaluation.experiments.claims import _verdict, judge, render_judgements
from mien.synthesis.writer import write_corpus

CLAIMS = experiments()["strcn-claims"]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("claims")
    write_corpus("casme2", root / "casme2", subjects=4, clips_per_subject=3, seed=0, size=64, frames=8)
    sets = ("epochs=1", "face=none", "alphas=[8.0]", "shares=[1.0,0.8]")
    words = ["experiment", "strcn-claims", f"casme2={root / 'casme2'}", "--small", "--out", str(root / "runs")]
    words += [word for each in sets for word in ("--set", each)]
    words += [word for row in ("g", "a", "g-plain", "g-0") for word in ("--only", row)]
    words += ["--protocol", "kfold_subject", "--protocol-set", "k=2", "--seed", "0", "--seed", "1", "--jobs", "1"]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, (done.exception, done.output)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_each_claim_has_a_difference_an_interval_and_a_verdict(judged: dict[str, Any]) -> None:
    claims = {each["claim"]: each for each in judged["claims"]}
    assert set(claims) == {"G above A", "balanced loss", "recurrent layers"}
    runs = {cell["row"]: cell["run"] for cell in judged["cells"]}
    for each in claims.values():
        assert each["verdict_uf1"] in ("supported", "not supported", "undecided")
        (pair,) = each["pairs"]
        result = compare(runs[pair["better"]], runs[pair["worse"]])
        assert isinstance(result, Comparison)
        assert pair["comparison"]["uf1_difference"] == result.uf1_difference
        assert pair["comparison"]["uf1_interval"] == list(result.uf1_interval)
        assert pair["comparison"]["accuracy_interval"] == list(result.accuracy_interval)
        assert len(pair["comparison"]["uf1_seeds"]) == 2
        assert sum(result.uf1_seeds) / 2 == pytest.approx(result.uf1_difference)
        assert sum(result.accuracy_seeds) / 2 == pytest.approx(result.accuracy[0] - result.accuracy[1])


def test_every_difference_must_lie_on_the_side_of_the_claim() -> None:
    assert _verdict([(0.1, 0.2), (0.01, 0.3)]) == "supported"
    assert _verdict([(0.1, 0.2), (-0.01, 0.3)]) == "undecided"
    assert _verdict([(0.1, 0.2), (-0.3, -0.01)]) == "not supported"
    assert _verdict([]) == "not judged"


def test_on_ready_pictures_those_that_apply_are_judged(composite: Path, tmp_path: Path) -> None:
    planned = grid.plan_cells(CLAIMS, [open_dataset("flow_images", composite)], tmp_path, protocols=["kfold_subject"])
    run = {each.row.id for each in planned if not each.why}
    assert run == {row.id for row in CLAIMS.rows if row.system == "strcn-g"} - {"g-bare"}
    assert next(each.row.name for each in planned if each.row.id == "g-narrow") == "STRCN-G, 12 maps"
    cells = [grid.Cell(p.row, p.protocol, p.data.id, p.run, None, p.why or "not here") for p in planned]
    found = judge(CLAIMS, cells)
    assert {each.claim.name for each in found} == {c.name for c in CLAIMS.claims} - {"A above G"}
    assert {each.uf1 for each in found} == {"not judged"}
    console = Console(width=100, record=True)
    console.print(render_judgements(found))
    assert "not compared, STRCN-A" in " ".join(console.export_text().split())
