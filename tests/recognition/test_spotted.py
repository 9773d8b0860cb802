"""Spot-then-recognise on the long videos of a database."""

from pathlib import Path

import numpy as np
import pytest
from played import film
from typer.testing import CliRunner

from mien.classifiers.checkpoint import SHIPPED
from mien.cli.main import app
from mien.datasets import open_specs
from mien.errors import MienError
from mien.evaluation.spotting.benchmark import Recogniser, filmed, spot_benchmark
from mien.evaluation.spotting.ledger import read_spots
from mien.evaluation.spotting.metrics import analysis_f1, strs
from mien.evaluation.spotting.report import spot_report
from mien.io.video import write_video
from mien.recognition.spotted import NameSpot, spot_recogniser
from mien.spotting.base import Spot
from mien.synthesis.writer import write_corpus
from mien.types import Clip


def say_positive(clip: Clip, spot: Spot) -> str:
    return "positive" if spot.onset < 40 else ""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("casme_sq")
    write_corpus("casme_sq", root, subjects=2, clips_per_subject=3, seed=0)
    return root


def test_emotions_are_mapped_to_the_classes_of_the_weights(corpus: Path) -> None:
    data = open_specs([f"casme_sq={corpus}"])
    own = [s.emotion for f in filmed(data) for s in f.true]
    mapped = [s.emotion for f in filmed(data, "megc2019") for s in f.true]
    assert "others" in own
    assert [w if w != "others" else "" for w in own] == mapped


def test_found_intervals_are_classified_and_scored(corpus: Path, tmp_path: Path) -> None:
    recogniser = Recogniser(say_positive, "megc2019", {"weights": "by hand", "labels": "megc2019"})
    data = open_specs([f"casme_sq={corpus}"])
    ledger = spot_benchmark(data, "flow-peaks", tmp_path / "run", recogniser=recogniser, jobs=1)
    found = [row for row in ledger.rows if row.role == "found"]
    assert all(row.emotion == "" for row in found if row.kind == "macro")
    assert {row.emotion for row in found if row.kind == "micro"} <= {"positive", ""}
    report = spot_report(tmp_path / "run")
    assert report["strs"] == strs(read_spots(tmp_path / "run").films(0))
    shown = CliRunner().invoke(app, ["report", str(tmp_path / "run")])
    assert "Spot then recognise" in shown.output
    with pytest.raises(MienError, match="other settings"):
        spot_benchmark(data, "flow-peaks", tmp_path / "run", jobs=1)


def test_analysis_score_counts_classified_hits_only() -> None:
    def at(onset: int, emotion: str) -> Spot:
        return Spot(onset, None, onset + 9, "micro", 1.0, emotion)

    true = [at(0, "positive"), at(20, "negative"), at(40, "surprise"), at(60, ""), at(80, "negative")]
    found = [at(0, "positive"), at(20, "negative"), at(40, ""), at(60, "negative"), at(120, "surprise")]
    made = strs([(true, found)])
    assert made["spot_f1"] == pytest.approx(2 * 4 / (2 * 4 + 1 + 1))
    assert made["named"] == 3  # the hit without a true emotion does not count
    precision, recall = np.mean([1, 1, 0]), np.mean([1, 1, 0])
    assert made["analysis_f1"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert made["majority_f1"] == pytest.approx(analysis_f1([("a", "a"), ("b", "a"), ("c", "a")]))


def test_shipped_weights_classify_a_face_but_not_a_dark_video(tmp_path: Path) -> None:
    shown = list(film(7, 40, [(5, 18, 34, "positive")]))
    face = write_video(tmp_path / "face.mkv", shown, 100.0)
    dark = write_video(tmp_path / "dark.mkv", [np.zeros_like(f) for f in shown], 100.0)
    name, spot = NameSpot(SHIPPED), Spot(5, 18, 34, "micro")
    assert name(Clip("d", "s", "c", None, "", video=face, fps=100.0), spot) in ("negative", "positive", "surprise")
    assert name(Clip("d", "s", "c", None, "", video=dark, fps=100.0), spot) == ""


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    write_corpus("samm_lv", tmp_path / "lv", subjects=2, clips_per_subject=2, frames=16, size=64)
    spec = f"samm_lv={tmp_path / 'lv'}"
    with pytest.raises(MienError, match="has an emotion"):
        spot_benchmark(
            open_specs([spec]), "flow-peaks", tmp_path / "run", recogniser=spot_recogniser("shipped", [spec])
        )
    refused = CliRunner().invoke(
        app, ["benchmark", spec, "--system", "flow-svm", "--weights", "shipped", "--out", str(tmp_path / "x")]
    )
    assert refused.exit_code == 2 or isinstance(refused.exception, MienError)
    with pytest.raises(MienError):
        spot_recogniser(str(tmp_path / "none.safetensors"), [spec])
