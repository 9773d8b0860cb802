"""Exported systems answer as torch does, say what they are, and are not written where they would not."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mien.classifiers.checkpoint import ModelCard, save_checkpoint, versions
from mien.classifiers.net import NetClassifier
from mien.cli.main import app
from mien.errors import MienError
from mien.export import onnx as onnx_export
from mien.export.onnx import (
    TOLERANCE,
    Answer,
    export_onnx,
    made_up_inputs,
    quantised,
    recipe_of,
    require_deep,
)
from mien.export.onnx_file import OnnxClassifier
from mien.preprocessing.inputs import ArrayInputs
from mien.systems import SYSTEMS
from mien.systems.trained import load_checkpoint
from mien.types import Medium

pytest.importorskip("onnxruntime")

DEEP = [n for n in SYSTEMS if isinstance(SYSTEMS[n].build(3, SYSTEMS[n].with_parameters()), NetClassifier)]
CLASSES = ("negative", "positive", "surprise")


def test_onnxruntime_collects_nothing(tmp_path: Path) -> None:
    """Its file of what it would send to its makers is not made."""
    code = "from mien.export.onnx_file import needed; needed('onnxruntime').SessionOptions()"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", code], env={**environment, "TMPDIR": str(tmp_path)}, check=True)
    assert not list(tmp_path.iterdir())


def trained(name: str, **more: Any) -> tuple[NetClassifier, ModelCard]:
    """A system trained for a moment on noise, at its smallest preset."""
    system = SYSTEMS[name]
    wanted = {"preset": "small", "epochs": 1, "maps": 4, "layers": 1, "device": "cpu", **more}
    known = {k: v for k, v in wanted.items() if k in system.defaults and (k != "preset" or v in system.presets)}
    parameters = system.with_parameters(known)
    medium: Medium = "flow" if "flow" in system.recipes else "frames"
    recipe = system.recipe(medium, parameters)
    shape = tuple(n or 8 for n in recipe.shape)
    shape = shape[1:] if recipe.axes.startswith("K") else shape
    x = ArrayInputs(made_up_inputs(shape, recipe.range, 9))
    classifier = system.build(3, parameters).fit(x, np.arange(9) % 3, [("d", str(i)) for i in range(9)], seed=0)
    assert isinstance(classifier, NetClassifier)
    card = ModelCard(
        name, parameters.model_dump(mode="json"), CLASSES, "megc2019",
        ({"dataset": "casme2", "clips": 9, "subjects": 9, "synthetic": True},),
        {medium: recipe.fingerprint}, shape, 0, licence="For tests.", versions=versions(),
    )  # fmt: skip
    return classifier, card


@pytest.fixture(autouse=True, scope="module")
def operators_read_once() -> Iterator[None]:
    """Torch reads onnxscript's thousand operators anew at each export: half a second, which a user pays once."""
    from torch.onnx._internal.exporter import _registration

    table = _registration.ONNXRegistry
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(table, "from_torchlib", staticmethod(cache(table.from_torchlib)))
        yield


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "causalnet" else []) for name in DEEP]
)
def test_every_deep_system_answers_as_in_torch(name: str, tmp_path: Path) -> None:
    settings: dict[str, dict[str, Any]] = {
        "strcn-g": {"variant": "both", "members": 3, "layers": 0, "test_shift": 1},
        "causalnet": {"preset": "small"},
        "htnet": {"preset": "small"},
    }
    classifier, card = trained(name, **settings.get(name, {}))
    file = tmp_path / "model.onnx"
    rows = export_onnx(classifier, card, file, int8=True, seconds=0.001)
    made = OnnxClassifier(file)
    assert made.classes == CLASSES
    assert made.shape == card.shape
    x = made_up_inputs(card.shape, recipe_of(card).range, 6, seed=7)
    for batch in (x[:1], x[1:]):
        got, wanted = made.predict_proba(batch), classifier.predict_proba(batch)
        assert got.dtype == np.float32
        assert np.abs(got - wanted).max() <= TOLERANCE
        assert np.allclose(got.sum(1), 1, atol=1e-5)
    assert np.ptp(made.predict_proba(x), axis=0).max() > 1e-3  # Not one answer for all.
    assert [row.name for row in rows] == ["torch", "onnxruntime", "int8"]
    assert rows[1].difference <= TOLERANCE
    if name == "strcn-g":
        assert len(classifier.models) == 3
        assert classifier.mirror is not None
    small = OnnxClassifier(tmp_path / "model.int8.onnx")
    p = small.predict_proba(x)
    assert np.allclose(p.sum(1), 1, atol=1e-4)
    assert small.metadata["precision"] == "int8"
    assert float(small.metadata["largest_difference"]) == pytest.approx(rows[2].difference, rel=0.01)
    assert b"Quantize" in (tmp_path / "model.int8.onnx").read_bytes()
    for row in rows:
        assert set(row.milliseconds) == {1, 16}
        assert min(row.milliseconds.values()) > 0


@pytest.fixture(scope="module")
def ststnet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint and its exported file."""
    folder = tmp_path_factory.mktemp("onnx")
    classifier, card = trained("ststnet")
    save_checkpoint(folder / "model.safetensors", classifier, card)
    export_onnx(classifier, card, folder / "model.onnx")
    return folder / "model.safetensors", folder / "model.onnx"


def test_the_file_says_what_it_is(ststnet: tuple[Path, Path]) -> None:
    _, card = load_checkpoint(ststnet[0])
    told = OnnxClassifier(ststnet[1]).metadata
    assert json.loads(told["classes"]) == list(CLASSES)
    assert json.loads(told["recipes"]) == dict(card.recipes)
    assert told["recipe"] == recipe_of(card).fingerprint == card.recipes["flow"]
    assert told["axes"] == "NCHW"
    assert json.loads(told["range"]) == [0.0, 255.0]
    assert told["precision"] == "float32"
    assert float(told["largest_difference"]) <= TOLERANCE
    kept = json.loads(told["card"])
    assert (kept["system"], kept["licence"], kept["seed"]) == ("ststnet", "For tests.", 0)
    assert kept["trained_on"][0]["dataset"] == "casme2"


def test_one_network_is_the_whole_classifier() -> None:
    """Scale, members and mirror image as in `predict_proba`; without the mirror image it would differ."""
    classifier, card = trained("strcn-g", members=2, test_shift=1)
    classifier.scale = (2.0, 0.25)
    assert classifier.mirror is not None
    assert len(classifier.views) == 5
    x = made_up_inputs(card.shape, (-3, 7), 4)
    with torch.inference_mode():
        got = Answer(classifier)(torch.from_numpy(x)).numpy()
    assert np.abs(got - classifier.predict_proba(x)).max() < 1e-6
    classifier.mirror = None
    assert np.abs(got - classifier.predict_proba(x)).max() > TOLERANCE


def test_a_file_that_answers_otherwise_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, card = trained("ststnet")
    whole = onnx_export.Answer.forward
    monkeypatch.setattr(onnx_export.Answer, "forward", lambda self, x: whole(self, x * 0.5))
    with pytest.raises(MienError, match="differ from torch's"):
        export_onnx(classifier, card, tmp_path / "a.onnx", int8=True)
    assert not list(tmp_path.iterdir())


def test_made_up_inputs_fill_the_range() -> None:
    x = made_up_inputs((50, 40), (-28, 28), 6)
    assert x.dtype == np.float32
    assert -28 <= x.min() < -27
    assert 27 < x.max() <= 28
    assert [round(float(np.abs(one).max()), 1) for one in x[:3]] == [28.0, 2.8, 0.3]
    grey = made_up_inputs((50, 40), (0, 255), 3)
    assert np.abs(grey[2] - 127.5).max() < 1.3


def test_other_shapes_and_no_clips(ststnet: tuple[Path, Path]) -> None:
    made = OnnxClassifier(ststnet[1])
    assert made.predict_proba(np.empty((0, 3, 28, 28))).shape == (0, 3)
    for shape in ((3, 28, 28), (2, 3, 28, 27), ()):
        with pytest.raises(MienError, match="shape"):
            made.predict_proba(np.zeros(shape))


def test_mistakes_are_told_in_three_parts(ststnet: tuple[Path, Path], tmp_path: Path) -> None:
    classifier, card = load_checkpoint(ststnet[0])
    cases: list[tuple[Any, ModelCard, Path, str]] = [
        (classifier, card, ststnet[1], "there already"),
        (classifier, card, tmp_path, "is a folder"),
        (classifier, card, tmp_path / "model.pt", "no .onnx file"),
        (
            SYSTEMS["ststnet"].build(3, SYSTEMS["ststnet"].with_parameters(card.parameters)),
            card,
            tmp_path / "a.onnx",
            "no trained network",
        ),
        (object(), card, tmp_path / "a.onnx", "no trained network"),
        (classifier, ModelCard(**{**vars_of(card), "shape": (3, 20, 28)}), tmp_path / "a.onnx", "shape"),
        (classifier, ModelCard(**{**vars_of(card), "classes": ("a", "b")}), tmp_path / "a.onnx", "classes"),
    ]
    for one, its_card, out, says in cases:
        with pytest.raises(MienError, match=says):
            export_onnx(one, its_card, out)
    with pytest.raises(MienError, match="flow-svm has no network"):
        require_deep(ModelCard(**{**vars_of(card), "system": "flow-svm", "parameters": SYSTEMS["flow-svm"].defaults}))
    (tmp_path / "b.onnx").write_bytes(b"not a graph")
    for path in (tmp_path / "b.onnx", tmp_path / "missing.onnx"):
        with pytest.raises(MienError, match="cannot be read"):
            OnnxClassifier(path)


def vars_of(card: ModelCard) -> dict[str, Any]:
    return {name: getattr(card, name) for name in card.__slots__}


def test_a_missing_package_names_the_extra(
    ststnet: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, card = load_checkpoint(ststnet[0])
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MienError) as caught:
        export_onnx(classifier, card, tmp_path / "a.onnx")
    assert "onnxscript" in caught.value.found
    assert "pip install" in caught.value.fix


def test_the_command(ststnet: tuple[Path, Path], tmp_path: Path) -> None:
    run = CliRunner().invoke
    file, threads = tmp_path / "new" / "model.onnx", torch.get_num_threads()
    result = run(app, ["export", str(ststnet[0]), "--onnx", str(file), "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["system"] == "ststnet"
    assert [way["name"] for way in told["ways"]] == ["torch", "onnxruntime"]
    assert told["ways"][1]["difference"] <= TOLERANCE
    assert file.is_file()
    assert torch.get_num_threads() == threads
    again = run(app, ["export", str(ststnet[0]), "--onnx", str(file)])
    assert isinstance(again.exception, MienError)
    shown = run(app, ["export", str(ststnet[0]), "--onnx", str(tmp_path / "b.onnx")])
    assert all(word in shown.stdout for word in ("torch", "onnxruntime", "MiB", "differs by"))


def test_eight_bits_fit_the_clips_that_set_them(ststnet: tuple[Path, Path]) -> None:
    classifier, card = load_checkpoint(ststnet[0])
    x = np.random.default_rng(1).normal(128, 6, (20, *card.shape)).astype(np.float32)
    content = ststnet[1].read_bytes()
    elsewhere = made_up_inputs(card.shape, (0, 2550), 20)
    near, far = (OnnxClassifier(quantised(content, ranges)).predict_proba(x) for ranges in (x, elsewhere))
    wanted = classifier.predict_proba(x)
    assert np.abs(near - wanted).mean() < np.abs(far - wanted).mean()
    alone = OnnxClassifier(quantised(content, x)).predict_proba(x[3:4])
    assert np.allclose(alone[0], near[3], atol=1e-6)  # The clips beside it change nothing.
