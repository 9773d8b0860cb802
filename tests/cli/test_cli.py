import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mien.cli.main import main
from mien.synthesis.flow_images import write_flow_images


def mien(*words: str) -> subprocess.CompletedProcess[str]:
    code = "from mien.cli.main import main; main()"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`mien` in this process: a process of its own takes two seconds to import what this one has."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["mien", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return subprocess.CompletedProcess(
            words, code if isinstance(code, int) else int(bool(code)), *capsys.readouterr()
        )

    return run


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    write_flow_images(root, subjects=5, clips_per_subject=6, seed=0, layout="folders")
    return root


def test_from_pictures_to_page(here: Callable[..., Any], pictures: Path, tmp_path: Path) -> None:
    run, page = tmp_path / "run", tmp_path / "report.html"
    first = mien(
        "benchmark", f"flow_images={pictures}", "--system", "flow-svm", "--out", str(run), "--jobs", "1", "--json"
    )
    assert first.returncode == 0, first.stderr
    answer = json.loads(first.stdout)
    keys = (
        "n_clips n_subjects accuracy uf1 uar f1_weighted f1_fold_mean majority_accuracy confusion per_class "
        "per_dataset protocol system seed"
    )
    assert set(keys.split()) <= set(answer)
    assert answer["n_clips"] == 30
    second = here("report", str(run), "--html", str(page), "--json")
    assert json.loads(second.stdout) == answer
    assert "<html" in page.read_text(encoding="utf-8")
    shown = here("report", str(run))
    assert "UF1" in shown.stdout
    compared = here("compare", str(run), str(run), "--json")
    assert compared.returncode == 0, compared.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("benchmark", "flow_images", "--system", "flow-svm", "--out", "x"), "NAME=FOLDER"),
        (("benchmark", "casme3=/x", "--system", "flow-svm", "--out", "x"), "casme3_a"),
        (("benchmark", "casme2=/nowhere", "--system", "flow-svm", "--out", "x"), "does not exist"),
        (("check", "samm=."), "samm"),
        (("report", "nowhere"), "not a run"),
        (("systems", "strcn"), "strcn-g"),
        (("datasets", "casmeII"), "casme2"),
    ],
)
def test_mistakes_exit_with_two_and_no_traceback(here: Callable[..., Any], words: tuple[str, ...], says: str) -> None:
    result = here(*words)
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert says in result.stderr.replace("\n", " ")
    assert result.stderr.count("Expected:") == 1
    assert result.stderr.count("Try:") == 1


@pytest.mark.parametrize("command", ["datasets", "systems", "protocols"])
def test_listings(here: Callable[..., Any], command: str) -> None:
    assert len(here(command).stdout) > 200
    assert len(json.loads(here(command, "--json").stdout)) >= 3


def test_synthesise_refuses_a_full_folder(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("kept")
    result = mien("synthesise", "--out", str(tmp_path))
    assert result.returncode == 2
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]


def test_check_says_what_is_wrong_with_exit_one(here: Callable[..., Any], tmp_path: Path) -> None:
    assert here("synthesise", "--out", str(tmp_path / "c"), "--subjects", "2", "--clips", "2").returncode == 0
    next((tmp_path / "c").rglob("*.jpg")).write_bytes(b"not a picture")
    result = here("check", f"casme2={tmp_path / 'c'}", "--json")
    assert result.returncode == 1, result.stderr
    assert json.loads(result.stdout)
