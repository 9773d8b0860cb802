"""Tables and figures for papers: the numbers are those of the report, and the caption says what they are."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from mien.cli.main import app
from mien.errors import MienError
from mien.evaluation.paper import caption, csv_table, latex_table, write_svg


def report_of(run: str, **other: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "run": run, "system": "my_system", "protocol": "loso", "datasets": ["casme2"], "label_map": "megc2019",
        "preset": None, "seed": 0, "classes": ["negative", "positive", "surprise"], "averaging": "pooled over folds",
        "n_clips": 145, "n_subjects": 24, "uf1": 0.7123, "uar": 0.7045, "accuracy": 0.75, "majority_uf1": 0.25,
        "uf1_interval": [0.61, 0.8], "confusion": [[70, 10, 8], [9, 20, 3], [2, 3, 20]], "complete": True,
        "shares_subjects": False, "synthetic": False, "shuffled_labels": False,
    }  # fmt: skip
    return found | other


UNITS = {"mean_auc": 0.87, "mean_f1": 0.5, "intervals": {"mean_auc": [0.8, 0.9]}, "classes": ["AU1", "AU12"]}


def test_the_caption_says_protocol_averaging_and_interval() -> None:
    said = caption([report_of("a")])
    for words in ("pooled over folds", "95 % interval of UF1", "bootstrap over subjects", "Protocol: loso", "casme2"):
        assert words in said
    assert "negative, positive, surprise" in said
    assert "UNFINISHED" not in said
    assert "UNFINISHED" in caption([report_of("a", complete=False)])
    assert "not comparable" in caption([report_of("a", shares_subjects=True)])
    assert "mean and standard deviation" in caption([report_of("a", seed=[0, 1, 2])])
    assert "mean AUC and mean F1" in caption([report_of("a", **UNITS)])


def test_what_differs_between_runs_is_a_column_and_not_in_the_caption() -> None:
    reports = [report_of("a"), report_of("b", protocol="composite", seed=[0, 1], spread={"uf1": {"sd": 0.02}})]
    assert "Protocol: as in the column" in caption(reports)
    table = latex_table(reports)
    assert "System & Protocol & Seeds & Clips" in table
    assert r"0.712 $\pm$ 0.020 [0.610, 0.800]" in table


def test_the_latex_table_has_as_many_cells_as_columns_and_escapes_names() -> None:
    table = latex_table([report_of("a"), report_of("b", label_map="50%_map")])
    (columns,) = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", table)
    rows = [line for line in table.splitlines() if line.endswith(r" \\")]
    assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {len(columns)}
    assert r"my\_system" in table
    assert r"50\%\_map" in table
    assert not re.search(r"(?<!\\)[%_#]", table.replace(r"\begin{table}", ""))


def test_csv_holds_the_numbers_of_the_report() -> None:
    reports = [report_of("a"), report_of("b", uf1=0.5)]
    rows = list(csv.DictReader(io.StringIO(csv_table(reports))))
    assert [float(row["UF1"]) for row in rows] == pytest.approx([0.7123, 0.5])
    assert rows[0]["UF1 low"] == "0.6100"
    assert {row["caption"] for row in rows} == {caption(reports)}


def test_figures_hold_their_caption_as_text_and_are_the_same_each_time(tmp_path: Path) -> None:
    reports = [report_of("runs/a"), report_of("other/a", uf1=0.6)]
    paths = write_svg(reports, tmp_path / "one")
    assert [path.name for path in paths] == ["scores.svg", "confusion-a.svg", "confusion-a-2.svg"]
    for path in paths:
        words = " ".join(" ".join(ElementTree.parse(path).getroot().itertext()).split())
        assert "pooled over folds" in words
        assert "Protocol: loso" in words
        assert "my_system" in words
    assert "70" in "".join(ElementTree.parse(paths[1]).getroot().itertext())
    again = write_svg(reports, tmp_path / "two")
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]
    assert [path.name for path in write_svg([report_of("u", **UNITS)], tmp_path / "units")] == ["scores.svg"]


def test_runs_of_both_kinds_are_refused(tmp_path: Path) -> None:
    both = [report_of("a"), report_of("b", **UNITS)]
    for write in (latex_table, lambda reports: write_svg(reports, tmp_path / "none")):
        with pytest.raises(MienError, match="action units"):
            write(both)
    assert not (tmp_path / "none").exists()


def test_names_in_figures_are_distinct_and_do_not_overlap(tmp_path: Path) -> None:
    many = [f"class number {n}" for n in range(12)]
    paths = write_svg(
        [report_of("runs/a"), report_of("runs/b", classes=many, confusion=np.eye(12).tolist())], tmp_path / "one"
    )
    words = " ".join(ElementTree.parse(paths[0]).getroot().itertext())
    assert "my_system: a" in words
    assert "my_system: b" in words
    turned = [each.get("transform", "") for each in ElementTree.parse(paths[2]).getroot().iter() if each.text in many]
    assert sum("rotate(-90" in each for each in turned) == 12


def test_the_command_prints_one_form() -> None:
    result = CliRunner().invoke(app, ["report", "RUN", "--latex", "--csv"])
    assert isinstance(result.exception, MienError)
    assert "one of --json, --latex and --csv" in str(result.exception)
