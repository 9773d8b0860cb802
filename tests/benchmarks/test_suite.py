"""The suite of benchmarks: its driver survives bad parts and resumes; what is told of results is what they say."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TOOLS = BENCHMARKS.parent / "tools"
sys.path.append(str(BENCHMARKS))


def module(name: str, folder: Path = BENCHMARKS) -> ModuleType:
    """A script by path: the names of some are those of other modules."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


suite = module("all")
tables = module("tables")
cost_model = module("cost_model", TOOLS)

PAGE = """# One

| a | b | b |
|---|---:|---|
| x | 1,250.5 (3-4) | 2 |
| **y** | 12% | 1e-3 |

words: 7 of them

| a | c |
|---|---|
| x | 5 |
"""

GOOD = """
import argparse, pathlib
p = argparse.ArgumentParser(); p.add_argument("--out", type=pathlib.Path); p.add_argument("--n", default="1")
g = p.parse_args()
print("working")
g.out.write_text("# Good\\n\\n## Part\\n\\n| what | n |\\n|---|---|\\n| n | " + g.n + " |\\n")
g.out.with_suffix(".png").write_bytes(b"picture")
"""
BAD = "import sys\nprint('half a table')\nsys.exit('the disk is on fire')\n"
SLOW = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])\n"


def test_tables_are_read_as_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "one.md").write_text(PAGE)
    monkeypatch.setattr(tables, "FOLDERS", (tmp_path,))
    first, second = tables.tables(PAGE)
    assert first.head == ("a", "b", "b#2")
    assert first.rows[1] == ("y", "12%", "1e-3")
    assert tables.find("one", "x", "b") == "1,250.5 (3-4)"
    assert tables.find("one", "x / 1,250.5 (3-4)", "b#2") == "2"
    assert tables.find("one", "x", "c") == second.rows[0][1] == "5"
    assert tables.find("one", "y*", "b") == "12%"
    assert tables.search("one", r"words: (\d+)") == "7"
    assert [tables.number(t) for t in ("1,250.5 (3-4)", "12%", "1e-3", "-2 to 3")] == [1250.5, 12, 1e-3, -2]
    for row, column in (("z", "b"), ("x", "a")):  # none, and one in each table
        with pytest.raises(LookupError):
            tables.find("one", row, column)
    with pytest.raises(LookupError):
        tables.number("none")
    with pytest.raises(LookupError):
        tables.find("not measured", "x", "b")


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> argparse.Namespace:
    """A suite of four small parts, in a folder of its own."""
    for name, text in {"good": GOOD, "bad": BAD, "slow": SLOW}.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(suite, "HERE", tmp_path)
    monkeypatch.setattr(suite, "ROOT", tmp_path)
    monkeypatch.setattr(suite, "QUICK", tmp_path / "quick")
    monkeypatch.setattr(suite, "commit", lambda: "abc1234")
    monkeypatch.setattr(suite, "taken_by_others", lambda: 0.25)
    monkeypatch.setattr(
        suite,
        "PARTS",
        {"bad": suite.Part(), "slow": suite.Part(), "good": suite.Part(("--n", "2"), ("--n", "1")),
         "flows": suite.Part(("FLOW",), None)},
    )  # fmt: skip
    return argparse.Namespace(
        quick=False, again=False, flow=tmp_path / "none", limit=120.0, results=tmp_path / "results"
    )


def test_bad_parts_are_named_and_the_rest_is_kept(
    parts: argparse.Namespace, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    parts.results.mkdir()
    (parts.results / "bad.md").write_text("of an earlier commit")
    suite.suite(["bad", "good", "flows"], parts)
    parts.limit = 1.0
    done = suite.suite(["slow"], parts)
    parts.limit = 120.0
    assert done["bad"].failed == "Ended with 1.\nhalf a table\nthe disk is on fire"
    assert (parts.results / "bad.md").read_text() == "of an earlier commit"
    assert done["slow"].failed.startswith("Stopped after 1 s.")
    assert 1 <= done["slow"].seconds < 59
    assert "No flow pictures" in done["flows"].failed
    assert not done["good"].failed
    assert done["good"].mib > 1
    assert (parts.results / "good.png").read_bytes() == b"picture"
    (page,) = parts.results.glob("*-abc1234.md")
    text = page.read_text()
    assert suite.outcomes(page) == done
    assert "the disk is on fire" in text
    assert "of an earlier commit" not in text
    assert "| n | 2 |" in text
    assert "\n#### Part" in text
    assert text.count("**failed**") == 3
    # Only what failed is tried again, and the good part's figures stay.
    capsys.readouterr()
    (tmp_path / "bad.py").write_text(GOOD.replace("Good", "Mended"))
    again = suite.suite(["bad", "good"], parts)
    assert "good: measured at this commit" in capsys.readouterr().out
    assert not again["bad"].failed
    assert again["good"] == done["good"]
    assert again["slow"].failed  # not asked for, still told
    assert "Mended" in page.read_text()
    # A name that is asked for with --again is measured.
    parts.again = True
    suite.suite(["good"], parts)
    assert "measured at this commit" not in capsys.readouterr().out


def test_a_small_scale_leaves_results_alone(parts: argparse.Namespace, tmp_path: Path) -> None:
    parts.quick = True
    done = suite.suite(["good", "flows"], parts)
    assert list(done) == ["good"]
    assert not parts.results.exists()
    assert "| n | 1 |" in (tmp_path / "quick" / "good.md").read_text()


def test_changed_files_are_measured_each_time(
    parts: argparse.Namespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suite, "commit", lambda: "abc1234+")
    for _ in range(2):
        suite.suite(["good"], parts)
    assert "measured at this commit" not in capsys.readouterr().out
    assert list(parts.results.glob("*-abc1234-changed.md"))


NOT_PARTS = {"all", "bare", "gpu", "machine", "measure", "tables"}
"""The suite itself, shared code, and what is for a machine with a GPU."""


def test_every_script_is_a_part() -> None:
    there = {path.stem for path in BENCHMARKS.glob("*.py")}
    real = module("all")
    assert there - NOT_PARTS == set(real.PARTS), "PARTS in benchmarks/all.py lists every script."


def test_the_readme_is_what_the_results_say() -> None:
    readme = module("benchmarks_page", TOOLS)
    assert (BENCHMARKS / "README.md").read_text() == readme.text(), "`python tools/benchmarks_page.py` writes it anew."


def test_counts_by_hand_are_those_of_torch() -> None:
    import torch
    from torch import nn

    readme = module("benchmarks_page", TOOLS)
    conv, dense = nn.Conv3d(1, 32, (15, 3, 3)), nn.Linear(32 * 1 * 20 * 20, 128)

    def forward() -> None:
        with torch.no_grad():
            # 18 frames leave 3 places in time after the kernel and one pool, as 64 pixels leave 60 of 62.
            dense(nn.functional.max_pool3d(conv(torch.zeros(1, 1, 17, 62, 62)), 3).flatten(1))

    assert readme.microexp("microexp-stcnn", "smic", False)().operations == readme.operations(forward)


def test_the_model_predicts_recorded_runs() -> None:
    found = cost_model.checks()
    assert len(found) >= 2
    for check in found:
        assert 1 / cost_model.FACTOR < check.ratio < cost_model.FACTOR, check.what


def test_the_document_has_the_models_tables() -> None:
    doc = cost_model.DOC.read_text()
    assert set(cost_model.TABLES) == {t for t in cost_model.TABLES if f"<!-- table: {t} -->" in doc}
    assert cost_model.filled(doc) == doc, "`python tools/cost_model.py --write` writes them anew."


def test_training_grows_with_folds_as_folds_are_counted() -> None:
    one = cost_model.study("ststnet", ["samm"], ["kfold_subject"], 1)
    # 159 clips in 5 folds, each clip in 4 of them, 800 passes.
    assert one.samples == 159 * 4 * 800
    assert one.trainings == 5
    more = cost_model.study("ststnet", ["samm", "casme2"], ["kfold_subject", "loso"], 3)
    assert more.trainings == 3 * (5 + 29 + 5 + 26)
    assert more.samples == 3 * 800 * (159 * (4 + 28) + 255 * (4 + 25))
    assert more.prepare_hours > one.prepare_hours
    # Copies, mirror images: STRCN-G's picture and its mirror image for 20 passes.
    assert cost_model.samples_of("strcn-g", 10) == 10 * 2 * 20
    assert cost_model.samples_of("strcn-g preset=paper", 10) == 10 * 50 * 40


def test_people_read_hours_and_bytes() -> None:
    assert [cost_model.time(h) for h in (0.001, 0.5, 30, 100, 20000)] == [
        "3.6 s",
        "30 min",
        "30 h",
        "4.2 days",
        "2.3 years",
    ]
    assert [cost_model.size(b) for b in (2e3, 2.5e6, 34e9, 180e12, 4e15)] == [
        "2 kB",
        "2.5 MB",
        "34 GB",
        "180 TB",
        "4 PB",
    ]


@pytest.mark.parametrize("mine", [True, False])
@pytest.mark.parametrize("name", ["STRCN-G, 28x28x3, M 24", "microexp-stcnn, small", "sma-stn, small"])
def test_networks_of_the_benchmarks_take_a_step_and_predict(name: str, mine: bool) -> None:
    cases = module("whole_machine").CASES
    for training in (True, False):
        step, samples = cases[name](mine, training)
        step()
        assert samples > 0
