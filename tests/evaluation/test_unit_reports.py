"""Pages, comparisons, committees, estimates and refusals of runs about action units, on synthetic pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from PIL import Image

import mien
from mien.datasets.flow_images import FlowImages
from mien.errors import MienError
from mien.evaluation.compare import compare
from mien.evaluation.estimate import estimate_run
from mien.evaluation.ledger import Ledger, read_ledger
from mien.evaluation.planning import make_plan
from mien.evaluation.report import render_report, report
from mien.evaluation.report_html import write_html
from mien.evaluation.unit_compare import UnitComparison
from mien.evaluation.unit_metrics import unit_scores
from mien.evaluation.units import unit_arrays, units_from_text
from mien.synthesis.flow_images import write_flow_images
from mien.types import Clip

UNSEEN = dict.fromkeys(range(0, 36, 5), "4+12")
"""Clips whose units their pictures do not show, so that not every answer is right."""
SHOWN = {"positive": "6+12", "negative": "4", "surprise": "1+2"}


class WithUnits(FlowImages):
    """Synthetic flow pictures whose units follow from the emotion that was drawn; some clips have their own."""

    own: Mapping[int, str] = MappingProxyType({})

    def clips(self) -> list[Clip]:
        return [
            replace(clip, action_units=self.own.get(n, SHOWN[clip.emotion])) for n, clip in enumerate(super().clips())
        ]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noisy(tmp_path_factory.mktemp("pictures"), 30)


def noisy(root: Path, sd: float) -> Path:
    """Write synthetic pictures with noise."""
    write_flow_images(root, subjects=6, clips_per_subject=6, seed=0)
    rng = np.random.default_rng(0)
    for path in sorted(path for clip in FlowImages(root).clips() for path in clip.frames):
        picture = np.asarray(Image.open(path), np.float64)
        Image.fromarray((picture + rng.normal(0, sd, picture.shape)).clip(0, 255).astype(np.uint8)).save(path)
    return root


def data_of(pictures: Path, own: dict[int, str] | None = None) -> list[WithUnits]:
    data = WithUnits(pictures)
    data.own = own or {}
    return [data]


@pytest.fixture(scope="module")
def runs(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run, and one of noisier pictures; both leave one subject out."""
    root = tmp_path_factory.mktemp("runs")
    for name, folder in (("good", pictures), ("noisier", noisy(tmp_path_factory.mktemp("noisier"), 250))):
        mien.benchmark(data_of(folder, UNSEEN), "flow-kernels", root / name, labels="au12", jobs=1)
    return root / "good", root / "noisier"


class Texts(HTMLParser):
    """Collects the cells of a page, and what its pictures say to those who cannot see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.labels: list[str] = []
        self.loads: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        for name, value in attrs:
            if name == "aria-label":
                self.labels.append(value or "")
            if name in ("src", "srcset") or (name == "href" and not (value or "").startswith("#")):
                self.loads.append(value or "")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def test_page_of_a_run_has_every_unit_with_its_scores_and_loads_nothing(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    page = Texts(write_html([runs[0]], tmp_path / "page.html").read_text())
    result = report(runs[0])
    shown = {name: row for name, row in result["per_au"].items() if row["support"]}
    assert set(shown) == {"AU1", "AU2", "AU4", "AU6", "AU12"}
    for name, row in shown.items():
        plot = next(cells for cells in page.rows if cells[0].startswith(name) and len(cells) == 5)
        assert plot[3] == f"{row['auc']:.3f}"
        answers = next(cells for cells in page.rows if cells[0] == name and len(cells) == 9)
        assert answers[2] == f"{row['f1']:.3f}"
        assert answers[4] == f"{row['always_yes_f1']:.3f}"
        assert answers[7] == f"{row['average_precision']:.3f}"
        low, high = row["auc_interval"]
        assert any(f"interval {low:.3f} to {high:.3f}" in label for label in page.labels)
    assert any("AU12lip corner puller" in cells[0] for cells in page.rows if cells)
    assert page.loads == []


def test_page_of_several_runs_compares_them_and_mixes_with_runs_about_classes(
    runs: tuple[Path, Path], pictures: Path, tmp_path: Path
) -> None:
    mien.benchmark(f"flow_images={pictures}", "flow-kernels", tmp_path / "classes", jobs=1)
    text = write_html([*runs, tmp_path / "classes"], tmp_path / "page.html").read_text()
    page = Texts(text)
    assert any(cells[:4] == ["Run", "AU1", "AU2", "AU4"] for cells in page.rows)
    auc = report(runs[1])["per_au"]["AU4"]
    assert any(cells[0] == "noisier" and cells[3] == f"{auc['auc']:.3f}{auc['f1']:.3f}" for cells in page.rows if cells)
    assert "3 runs side by side" in text
    assert any("UF1" in cells for cells in page.rows)
    assert any("AUC" in cells for cells in page.rows)


def test_json_has_what_people_ask_for(runs: tuple[Path, Path]) -> None:
    result = json.loads(json.dumps(report(runs[0])))
    assert result.keys() >= {"mean_auc", "mean_f1", "per_au", "per_dataset", "objective", "intervals"}
    assert result["mean_auc"] > 0.8
    assert result["per_au"]["AU5"]["auc"] is None
    assert sum(row["support"] for row in result["objective"]["per_class"].values()) == 36
    assert result["per_dataset"]["samm"]["per_au"]["AU4"]["auc_interval"] is not None


def test_difference_of_a_run_to_itself_is_nothing(runs: tuple[Path, Path]) -> None:
    same = compare(runs[0], runs[0], n=200)
    assert isinstance(same, UnitComparison)
    assert (same.mean_auc.difference, same.mean_f1.interval, same.mean_auc.p) == (0.0, (0.0, 0.0), 1.0)


def test_compared_scores_are_those_of_the_reports(runs: tuple[Path, Path]) -> None:
    found = compare(runs[0], runs[1], n=200)
    assert isinstance(found, UnitComparison)
    good, noisier = (report(run) for run in runs)
    assert (found.mean_auc.a, found.mean_auc.b) == pytest.approx((good["mean_auc"], noisier["mean_auc"]))
    assert (found.mean_f1.a, found.mean_f1.b) == pytest.approx((good["mean_f1"], noisier["mean_f1"]))
    assert found.per_au["AU4"]["f1"].b == pytest.approx(noisier["per_au"]["AU4"]["f1"])
    assert found.per_au["AU5"]["auc"].difference is None
    assert found.mean_f1.difference == pytest.approx(good["mean_f1"] - noisier["mean_f1"])
    assert found.mean_f1.interval is not None
    assert found.mean_f1.interval[0] < good["mean_f1"] - noisier["mean_f1"] < found.mean_f1.interval[1]


def test_interval_of_a_difference_equals_a_loop_over_drawn_people(runs: tuple[Path, Path]) -> None:
    from mien.evaluation.metrics import resamples

    found = compare(*runs, n=60, seed=3)
    assert isinstance(found, UnitComparison)
    ledgers = [read_ledger(run) for run in runs]
    people = list(dict.fromkeys((r.dataset, r.subject) for r in ledgers[0].rows))
    differences = []
    for drawn in resamples(len(people), 60, 3):
        scores = []
        for ledger in ledgers:
            rows = [r for r in ledger.rows for _ in range(drawn[people.index((r.dataset, r.subject))])]
            arrays = unit_arrays(rows, ledger.classes)
            part = unit_scores(
                *arrays, ledger.classes, [r.dataset for r in rows], [(r.dataset, r.subject) for r in rows]
            )
            scores.append(np.mean([part["per_au"][f"AU{n}"]["f1"] for n in (1, 2, 4, 6, 12)]))
        differences.append(scores[0] - scores[1])
    assert found.mean_f1.interval == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])))


def test_runs_about_units_and_about_classes_are_not_compared(
    runs: tuple[Path, Path], pictures: Path, tmp_path: Path
) -> None:
    classes = mien.benchmark(f"flow_images={pictures}", "flow-kernels", tmp_path / "classes", jobs=1)
    with pytest.raises(MienError, match="about classes"):
        compare(read_ledger(runs[0]), classes)


def test_committee_has_mean_probabilities_and_the_answer_of_the_majority(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    made = mien.combine([*runs, runs[0]], tmp_path / "both")
    members = [{row.key: row for row in read_ledger(run).rows} for run in (*runs, runs[0])]
    for row in made.rows:
        listed = [member[row.key] for member in members]
        assert row.probabilities == pytest.approx(np.mean([r.probabilities for r in listed], axis=0), abs=1e-6)
        votes = np.mean([units_from_text(r.y_pred, made.classes) for r in listed], axis=0)
        np.testing.assert_array_equal(units_from_text(row.y_pred, made.classes), votes > 0.5)
    result = report(tmp_path / "both")
    assert result["mean_auc"] > 0.7
    assert "mien combine" in result["command"]


def test_page_of_runs_lists_a_run_about_units(runs: tuple[Path, Path]) -> None:
    from mien.web.reports import Shelf

    row = next(row for row in Shelf(runs[0].parent).rows() if row.name == "good")
    result = report(runs[0])
    assert (row.kind, row.score, row.second) == ("units", result["mean_auc"], result["mean_f1"])
    assert row.low is not None
    assert row.low <= row.score
    page, kind = Shelf(runs[0].parent).page(["good", "noisier"])
    assert kind == "report"
    assert "AUC of each unit" in page


def test_estimate_of_a_run_about_units_knows_its_folds(pictures: Path, tmp_path: Path) -> None:
    plan = make_plan(data_of(pictures), "flow-kernels", labels="au12")
    found = estimate_run(plan, tmp_path / "none", 1)
    assert found.folds == 6
    assert 0 < found.train < 600


def test_unit_of_one_clip_is_scored_and_its_fold_said_to_lack_it(pictures: Path, tmp_path: Path) -> None:
    ledger = mien.benchmark(data_of(pictures, {7: "4+9"}), "flow-kernels", tmp_path / "run", labels="au12", jobs=1)
    result = report(ledger)
    assert result["per_au"]["AU9"]["support"] == 1
    assert result["per_au"]["AU9"]["auc"] is not None
    assert np.isfinite(result["mean_auc"])
    assert any("AU9" in text and "no training clip shows" in text for text in result["warnings"])
    assert render_report(result)


def test_several_seeds_are_averaged_unit_by_unit(runs: tuple[Path, Path]) -> None:
    good, noisier = (read_ledger(run) for run in runs)
    rows = [replace(row, seed=seed) for seed, each in enumerate((good, noisier)) for row in each.rows]
    both = report(Ledger({**good.settings, "seeds": [0, 1]}, good.classes, tuple(rows), True))
    first, second = report(runs[0]), report(runs[1])
    assert both["mean_auc"] == pytest.approx((first["mean_auc"] + second["mean_auc"]) / 2)
    assert both["per_au"]["AU4"]["f1"] == pytest.approx(
        (first["per_au"]["AU4"]["f1"] + second["per_au"]["AU4"]["f1"]) / 2
    )
    assert both["per_au"]["AU4"]["support"] == first["per_au"]["AU4"]["support"]
    assert both["spread"]["mean_f1"]["sd"] > 0


@pytest.mark.parametrize("own", [dict.fromkeys(range(36), "25+43"), {n: "25" if n else "4" for n in range(36)}])
def test_units_that_nobody_or_one_clip_shows_are_refused(pictures: Path, tmp_path: Path, own: dict[int, str]) -> None:
    with pytest.raises(MienError, match="no unit is shown by 2") as error:
        mien.benchmark(data_of(pictures, own), "flow-kernels", tmp_path / "run", labels="au12", jobs=1)
    assert error.value.expected
    assert error.value.fix
    assert not (tmp_path / "run").exists()


def test_bad_label_sheets_and_maps_exit_with_2_and_leave_nothing(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mien.cli.main import main

    sheet = tmp_path / "sheet.csv"
    sheet.write_text("Subject,Filename,Action Units\n1,EP01_01,4\n")
    start = ["benchmark", f"flow_images={pictures}", "--system", "flow-kernels", "--out", str(tmp_path / "run")]
    for more, found in (
        (["--labels", "au21"], "au12"),
        (["--labels", "au12"], "--label-sheet"),
        (["--labels", "au12", "--label-sheet", f"casme2={tmp_path / 'none.xlsx'}"], "none.xlsx"),
        (["--labels", "au12", "--label-sheet", f"casme3={sheet}"], "casme2"),
        (["--labels", "au12", "--label-sheet", f"casme2={sheet}"], "no column"),
    ):
        monkeypatch.setattr("sys.argv", ["mien", *start, *more])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 2
        text = capsys.readouterr().err
        assert "Expected:" in text
        assert "Try:" in text
        assert found in text
    assert not (tmp_path / "run").exists()
