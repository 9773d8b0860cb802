"""What a run leaves out is counted and said: in the check, before the run, and in the report."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest

from mien.datasets import open_dataset, open_specs
from mien.datasets.base import MARKER
from mien.datasets.check import check, check_dataset
from mien.datasets.people import same_people
from mien.errors import MienError
from mien.evaluation.ledger import read_ledger
from mien.evaluation.planning import make_plan
from mien.evaluation.report import report
from mien.evaluation.report_text import render_report
from mien.evaluation.run import benchmark
from mien.evaluation.spotting.benchmark import spot_benchmark
from mien.evaluation.spotting.report import spot_report
from mien.synthesis.writer import write_corpus
from mien.types import Clip


def relabel(root: Path, clip: str, emotion: str) -> None:
    """Give the first clip of subject 01 another name and emotion, as the sheet of 2019 does with subject 24."""
    sheet = root / "CASME2-coding-20140508.xlsx"
    book = openpyxl.load_workbook(sheet)
    row = book.worksheets[0][2]
    old = row[1].value
    row[0].value, row[1].value, row[8].value = "24", clip, emotion
    book.save(sheet)
    (root / "Cropped" / "sub24").mkdir()
    (root / "Cropped" / "sub01" / str(old)).rename(root / "Cropped" / "sub24" / clip)


def test_a_relabelled_sheet_is_said_before_the_run_and_in_the_report(tmp_path: Path) -> None:
    root = tmp_path / "casme2"
    write_corpus("casme2", root, subjects=3, clips_per_subject=6, size=24, frames=6)
    (root / MARKER).unlink()
    relabel(root, "EP07_04f", "surprise")
    data = open_specs([f"casme2={root}"])
    said: list[str] = []
    benchmark(data, "flow-svm", tmp_path / "run", labels="casme2_5", jobs=1, on_warning=said.append)
    assert any("24/EP07_04f is surprise here and sadness there" in text for text in said)
    result = report(read_ledger(tmp_path / "run"))
    assert result["left_out"] == {"not in the published list of casme2_5": 1}
    assert any("EP07_04f" in text for text in result["warnings"])
    again: list[str] = []
    benchmark(data, "flow-svm", tmp_path / "run", labels="casme2_5", jobs=1, on_warning=again.append)
    assert any("EP07_04f" in text for text in again), "a run that resumes says it too"
    from rich.console import Console

    console = Console(width=150)
    with console.capture() as capture:
        console.print(render_report(result))
    assert "1 (not in the published list of casme2_5)" in " ".join(capture.get().split())


def test_one_person_under_two_names_cannot_be_pooled(tmp_path: Path) -> None:
    for name in ("smic_hs", "smic_vis"):
        write_corpus(name, tmp_path / name, subjects=3, clips_per_subject=3, size=16, frames=6)
    specs = [f"{name}={tmp_path / name}" for name in ("smic_hs", "smic_vis")]
    with pytest.raises(MienError, match=r"3 subject\(s\) exist in two of the databases.*smic_hs/s1 is smic_vis/s1"):
        make_plan(open_specs(specs), "flow-svm", protocol="composite")
    assert any("One person under two names" in p.what for p in check(specs)[1].problems)


def test_the_same_person_is_known_in_whatever_spelling() -> None:
    def clip(dataset: str, subject: str) -> Clip:
        return Clip(dataset, subject, "a", None, "")

    pairs = [
        ("casme2", "01"),
        ("casme2", "sub01"),
        ("casme", "01"),
        ("samm", "006"),
        ("samm_lv", "006"),
        ("mmew", "006"),
    ]
    assert same_people([clip(*pair) for pair in pairs]) == [
        (("casme2", "01"), ("casme2", "sub01")),
        (("samm", "006"), ("samm_lv", "006")),
    ]
    assert same_people([clip("casme", "01"), clip("casme2", "01"), clip("mine", "01")]) == []


def test_expressions_without_an_interval_are_said_before_spotting_and_in_its_report(tmp_path: Path) -> None:
    root = tmp_path / "casme_sq"
    write_corpus("casme_sq", root, subjects=2, clips_per_subject=2, size=24, frames=6)
    sheet = root / "CAS(ME)^2code_final.xlsx"
    book = openpyxl.load_workbook(sheet)
    book.worksheets[0]["D1"] = book.worksheets[0]["E1"] = None
    book.save(sheet)
    dataset = open_dataset("casme_sq", root)
    result = check_dataset(dataset)
    assert result.left_out == {"micro-expressions without an interval": 1}
    assert any(p.severity == "error" and "1 of 4 micro-expressions have no interval" in p.what for p in result.problems)
    said: list[str] = []
    spot_benchmark([dataset], "mdmd", tmp_path / "run", jobs=1, on_warning=said.append)
    assert said == ["Left out of the truth: 1 micro-expression(s) of casme_sq without an interval. See `mien check`."]
    assert spot_report(tmp_path / "run")["left_out"] == {"micro-expression(s) of casme_sq without an interval": 1}
