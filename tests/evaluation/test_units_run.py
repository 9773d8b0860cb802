"""Benchmarks of action units: on the real flow pictures with the databases' own label sheets, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openpyxl
import pytest
from sklearn.metrics import f1_score, roc_auc_score

import mien
from mien.datasets import open_specs
from mien.datasets.labels import left_out, samples
from mien.datasets.unit_labels import parse_label_sheets, with_units
from mien.errors import MienError
from mien.evaluation.leakage import check_ledger
from mien.evaluation.ledger import Ledger, read_ledger
from mien.evaluation.planning import make_plan
from mien.evaluation.report import render_report, report, reproduce
from mien.evaluation.unit_report import objective_class
from mien.evaluation.units import unit_answer_problem, unit_arrays, units_from_text
from mien.preprocessing import FLOW_PICTURES
from mien.systems.trained import load_checkpoint
from mien.types import Clip

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SHEETS = {
    "casme2": SHARED / "label_sheets" / "CASME2-coding-20140508.xlsx",
    "samm": SHARED / "label_sheets" / "SAMM_Micro_FACS_Codes_v2.xlsx",
}
UNITS = [1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17]


@pytest.fixture(scope="module")
def sheets() -> dict[str, Path]:
    if not all(path.is_file() for path in SHEETS.values()):
        pytest.skip("the real label sheets are not beside the project")
    return SHEETS


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("units") / "run"


@pytest.fixture(scope="module")
def ledger(composite: Path, sheets: dict[str, Path], finished: Path) -> Ledger:
    """Ten folds by subject on the 278 real clips of CASME II and SAMM."""
    return mien.benchmark(
        open_specs(f"flow_images={composite}", sheets),
        "flow-kernels",
        finished,
        labels="au12",
        protocol="kfold_subject",
        protocol_parameters={"k": 10},
        jobs=1,
    )


def test_real_pictures_get_the_units_of_their_rows(composite: Path, sheets: dict[str, Path]) -> None:
    clips = {clip.name: clip.action_units for clip in open_specs(f"flow_images={composite}", sheets)[0].clips()}
    sheet = openpyxl.load_workbook(sheets["casme2"], data_only=True).active
    assert sheet is not None
    rows = list(sheet.iter_rows(values_only=True))
    column = [str(cell).strip() for cell in rows[0]].index("Action Units")
    checked = 0
    for row in rows[1:]:
        name = f"sub{int(str(row[0])):02d}_{row[1]}" if row[0] is not None else ""
        if name in clips and str(row[column]).replace("+", "").isdigit():
            assert clips[name] == str(row[column])
            checked += 1
    assert checked > 100
    table = samples(open_specs(f"flow_images={composite}", sheets)[0].clips(), "au12")
    assert len(table) == 278
    shown = np.array([sample.units for sample in table]).sum(0).tolist()
    assert shown == [25, 25, 82, 12, 16, 76, 18, 23, 58, 22, 18, 27]


def test_units_of_real_clips_are_told_apart_by_subjects_left_out(ledger: Ledger) -> None:
    result = report(ledger)
    assert (result["n_clips"], result["n_subjects"]) == (278, 52)
    assert result["mean_auc"] > 0.85
    assert result["mean_f1"] > 0.5 > 0.21 > result["always_yes_f1"]
    assert min(result["per_au"][unit]["auc"] for unit in ("AU1", "AU2", "AU4", "AU17")) > 0.9
    assert set(result["per_dataset"]) == {"casme2", "samm"}
    assert result["objective"]["accuracy"] > result["objective"]["majority_accuracy"]


def test_ledger_holds_what_the_scores_are_computed_from(ledger: Ledger) -> None:
    truth, probabilities, decisions = unit_arrays(ledger.rows, ledger.classes)
    result = report(ledger)
    for place, unit in enumerate(ledger.classes):
        assert result["per_au"][unit]["auc"] == pytest.approx(roc_auc_score(truth[:, place], probabilities[:, place]))
        assert result["per_au"][unit]["f1"] == pytest.approx(f1_score(truth[:, place], decisions[:, place]))


def test_report_shows_every_unit_and_both_constant_answers(ledger: Ledger) -> None:
    from rich.console import Console

    console = Console(width=100, record=True)
    console.print(render_report(report(ledger)))
    text = console.export_text()
    assert all(f"AU{unit} " in text for unit in UNITS)
    assert "always yes" in text
    assert "bootstrap over subjects" in text


def test_weights_for_units_are_trained_and_loaded(
    composite: Path, sheets: dict[str, Path], ledger: Ledger, finished: Path, tmp_path: Path
) -> None:
    data, file = open_specs(f"flow_images={composite}", sheets), tmp_path / "units.safetensors"
    with pytest.raises(MienError, match="differs in parameters"):
        mien.train(data, "flow-kernels", file, labels="au12", parameters={"ridge": 2}, scored=finished)
    card = mien.train(data, "flow-kernels", file, labels="au12", scored=finished, jobs=1)
    loaded, read = load_checkpoint(file, "flow-kernels")
    assert read == card
    assert (card.task, card.classes) == ("units", tuple(f"AU{n}" for n in UNITS))
    assert card.score["mean_auc"] == report(ledger)["mean_auc"]
    plan = make_plan(data, "flow-kernels", labels="au12")
    x = np.stack([FLOW_PICTURES.run(s.clip)[0] for s in plan.samples]).astype(np.float32)
    probabilities = loaded.predict_proba(x)
    # Its own training clips; thresholds are those for subjects left out.
    assert roc_auc_score(plan.targets()[:, 2], probabilities[:, 2]) > 0.99
    assert f1_score(plan.targets()[:, 2], loaded.decide_units(probabilities)[:, 2]) > 0.9


def test_shuffled_units_fall_to_chance(composite: Path, sheets: dict[str, Path], tmp_path: Path) -> None:
    shuffled = mien.benchmark(
        open_specs(f"flow_images={composite}", sheets), "flow-kernels", tmp_path / "run", labels="au12",
        protocol="kfold_subject", protocol_parameters={"k": 5}, jobs=1, shuffle_labels=True,
    )  # fmt: skip
    result = report(shuffled)
    assert 0.4 < result["mean_auc"] < 0.6
    assert result["warnings"]


def test_run_resumes_with_the_same_ledger(
    composite: Path, sheets: dict[str, Path], ledger: Ledger, tmp_path: Path
) -> None:
    def run() -> Ledger:
        return mien.benchmark(
            open_specs(f"flow_images={composite}", sheets), "flow-kernels", tmp_path / "run", labels="au12",
            protocol="kfold_subject", protocol_parameters={"k": 10}, jobs=1,
        )  # fmt: skip

    assert run().rows == ledger.rows
    removed = sorted((tmp_path / "run" / "ledger").iterdir())[3]
    kept = removed.read_bytes()
    removed.unlink()
    assert not read_ledger(tmp_path / "run").complete
    assert run().complete
    assert removed.read_bytes() == kept


def test_truth_that_was_changed_by_hand_is_found(composite: Path, sheets: dict[str, Path], ledger: Ledger) -> None:
    from dataclasses import replace

    plan = make_plan(
        open_specs(f"flow_images={composite}", sheets), "flow-kernels", labels="au12", protocol="kfold_subject",
        protocol_parameters={"k": 10},
    )  # fmt: skip
    assert [p for p in check_ledger(ledger, plan.samples, plan.folds) if p.severity == "error"] == []
    first = replace(ledger.rows[0], y_true="none" if ledger.rows[0].y_true != "none" else "AU1")
    changed = replace(ledger, rows=(first, *ledger.rows[1:]))
    assert any(p.severity == "error" for p in check_ledger(changed, plan.samples, plan.folds))


def test_second_flow_pictures_are_read_by_flow_kernels_and_refused_by_others(
    composite: Path, sheets: dict[str, Path]
) -> None:
    second = SHARED / "megc2019_flow_b"
    if not second.is_dir():
        pytest.skip("the second set of real flow pictures is not beside the project")
    data = open_specs(f"flow_images={composite}", sheets, second)
    settings = make_plan(data, "flow-kernels", labels="au12").settings
    assert settings["second_flow"]
    command = reproduce(settings)
    assert f"--second-flow {second}" in command
    assert all(f"--label-sheet {name}={sheet}" in command for name, sheet in sheets.items())
    clip = data[0].clips()[0]
    assert [path.stem.strip() for path in clip.frames] == [clip.name, clip.name]
    with pytest.raises(MienError, match="one flow picture"):
        make_plan(data, "flow-svm", labels="megc2019")


def test_system_that_learns_classes_refuses_units(composite: Path, sheets: dict[str, Path]) -> None:
    with pytest.raises(MienError, match="learns classes"):
        make_plan(open_specs(f"flow_images={composite}", sheets), "flow-svm", labels="au12")


def test_pictures_without_label_sheets_have_no_units(composite: Path) -> None:
    with pytest.raises(MienError, match="no clip with coded action units") as error:
        make_plan(open_specs(f"flow_images={composite}"), "flow-kernels", labels="au12")
    assert "--label-sheet" in error.value.fix


def test_sheet_of_other_videos_is_refused(composite: Path, sheets: dict[str, Path]) -> None:
    with pytest.raises(MienError):
        make_plan(open_specs(f"flow_images={composite}", {"casme2": sheets["samm"]}), "flow-kernels", labels="au12")
    clips = [Clip("casme2", "sub99", "sub99_EP01_01", None, "negative", medium="flow")]
    with pytest.raises(MienError, match="holds none of the 1 clips"):
        with_units(clips, {"casme2": sheets["casme2"]})


@pytest.mark.parametrize("texts", [["casme2"], ["=x"], ["casme2=a", "casme2=b"]])
def test_label_sheets_that_cannot_be_read_from_the_command_line_are_refused(texts: list[str]) -> None:
    with pytest.raises(MienError):
        parse_label_sheets(texts)


def test_clips_without_coded_units_are_counted() -> None:
    clips = [
        Clip("samm", "006", f"006_1_{n}", None, "anger", action_units=units) for n, units in enumerate(("4", "", "4+7"))
    ]
    assert left_out(clips, "au12") == {"no action units in the label sheet": 1}
    assert [sample.units[2] for sample in samples(clips, "au12")] == [True, True]


def test_clip_whose_units_are_all_others_shows_none_of_the_twelve() -> None:
    (sample,) = samples([Clip("samm", "006", "006_1_2", None, "other", action_units="25+43")], "au12")
    assert not any(sample.units)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("AU1+AU4", ""), ("none", ""), ("AU4+AU1", "predicts units"), ("AU3", "predicts units"), ("", "predicts units")],
)
def test_answer_names_units_in_order(text: str, problem: str) -> None:
    assert unit_answer_problem(text, [0.1, 0.2], ["AU1", "AU4"])[: len("predicts units")] == problem


def test_label_of_units_is_read_back() -> None:
    assert units_from_text("AU1+AU12", ["AU1", "AU4", "AU12"]).tolist() == [True, False, True]
    with pytest.raises(ValueError, match="AU99"):
        units_from_text("AU99", ["AU1"])


@pytest.mark.parametrize(
    ("units", "wanted"),
    [((6, 12), "I"), ((1, 2), "II"), ((4,), "III"), ((9,), "IV"), ((15, 17), "V"), ((1, 2, 4), "VI"), ((), "VII")],
)
def test_objective_classes_follow_the_published_table(units: tuple[int, ...], wanted: str) -> None:
    assert objective_class(units) == wanted
