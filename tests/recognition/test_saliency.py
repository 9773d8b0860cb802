"""Saliency and attention: completeness, known answers, every deep system, and the command."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from mien.classifiers.augment import mirror_frames
from mien.classifiers.checkpoint import ModelCard, save_checkpoint
from mien.classifiers.net import NetClassifier
from mien.classifiers.schedule import Schedule
from mien.classifiers.training import predict
from mien.cli.main import app, main
from mien.datasets import open_dataset
from mien.errors import MienError
from mien.preprocessing.inputs import ArrayInputs, Inputs
from mien.recognition.saliency import METHODS, attribution, explain, heat_over, spread_out
from mien.synthesis.writer import write_corpus
from mien.systems import SYSTEMS

DEEP = [n for n in SYSTEMS if isinstance(SYSTEMS[n].build(3, SYSTEMS[n].with_parameters()), NetClassifier)]


class Corner(nn.Module):
    """A network whose scores depend on a single pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0]))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H, W, C) to (B, 2)."""
        return x[:, :, 1, 2].sum((1, 2))[:, None].square() * self.weight


def classifier_of(model: nn.Module, **settings: object) -> NetClassifier:
    made = NetClassifier(lambda _: model, Schedule(1, 4), **settings)  # type: ignore[arg-type]
    made.models = [model]
    return made


@pytest.mark.parametrize("method", METHODS)
def test_saliency_marks_only_the_pixels_that_matter(method: str) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 1))
    values = attribution(classifier_of(Corner()), x, 1, method)
    assert values.shape == x.shape
    where, when = spread_out(values, "KTHWC")
    assert where[1, 2] == pytest.approx(1)
    assert where.sum() == pytest.approx(1)
    assert when is not None
    assert when.sum() == pytest.approx(1)


def test_integrated_gradients_sum_to_the_score_difference() -> None:
    x = np.random.default_rng(1).normal(size=(3, 4, 5, 1)).astype(np.float32)
    model = Corner()
    values = attribution(classifier_of(model), x, 1, "integrated", 0.5)
    both = torch.from_numpy(np.stack([x, np.full_like(x, 0.5)]))
    high, low = model(both)[:, 1].tolist()
    assert values.sum() == pytest.approx(high - low, rel=1e-3)


def test_mirror_images_are_averaged_as_in_prediction() -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 1))
    where, _ = spread_out(attribution(classifier_of(Corner(), mirror=mirror_frames), x, 0, "gradient"), "THWC")
    marked = np.zeros((4, 5), bool)
    marked[1, 2] = True  # the middle column is its own mirror image
    assert (where[~marked] == 0).all()
    wide = np.random.default_rng(0).normal(size=(2, 4, 6, 1))
    where, _ = spread_out(attribution(classifier_of(Corner(), mirror=mirror_frames), wide, 0, "gradient"), "THWC")
    assert set(zip(*np.nonzero(where), strict=True)) == {(1, 2), (1, 3)}


def test_saliency_is_summed_along_named_axes() -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    size = np.abs(values) / np.abs(values).sum()
    where, when = spread_out(values, "CTHW")
    assert np.allclose(where, size.sum((0, 1)))
    assert when is not None
    assert np.allclose(when, size.sum((0, 2, 3)))
    where, _ = spread_out(values, "CTWH")
    assert np.allclose(where, size.sum((0, 1)).T)
    assert spread_out(np.zeros((3, 2, 2), np.float32), "CHW")[0].sum() == 0
    with pytest.raises(MienError, match="not a picture"):
        spread_out(values[0, 0], "NF")


def test_heat_over_leaves_the_face_where_the_map_is_zero() -> None:
    face = np.random.default_rng(0).integers(0, 255, (60, 50, 3), np.uint8)
    grey = heat_over(face, np.zeros((6, 5)))
    assert (np.ptp(grey, axis=-1) == 0).all()
    heat = np.zeros((12, 10))
    heat[9, 2] = 1
    drawn = heat_over(face, heat).astype(int)
    coloured = np.ptp(drawn, axis=-1) > 30
    assert coloured[43:53, 8:18].any()
    assert not coloured[:30].any()
    assert heat_over(None, heat).shape[2] == 3


def inputs_of(name: str) -> Inputs:
    """Noise of the shape that a small preset reads."""
    system = SYSTEMS[name]
    preset = {"preset": "small"} if "small" in system.presets else {}
    recipe = system.recipe("flow" if "flow" in system.recipes else "frames", system.with_parameters(preset))
    shape = tuple(n or 8 for n in recipe.shape)
    several = recipe.axes.startswith("K")
    array = np.random.default_rng(0).normal(size=(6, *shape)).astype(np.float32)
    return ArrayInputs(array[:, 0] if several and shape[0] == 1 else array, shape[0] if several else 1)


@pytest.mark.parametrize("name", DEEP)
def test_every_deep_system_is_explained_without_changing_its_weights(name: str) -> None:
    system = SYSTEMS[name]
    wanted = {"preset": "small", "epochs": 1, "members": 1, "maps": 4, "hidden": 8}
    given = {k: v for k, v in wanted.items() if k in system.defaults and (k != "preset" or "small" in system.presets)}
    parameters = system.with_parameters(given)
    x = inputs_of(name)
    classifier = system.build(2, parameters).fit(x, np.arange(6) % 2, [("d", str(i)) for i in range(6)], seed=0)
    assert isinstance(classifier, NetClassifier)
    before = {k: v.clone() for k, v in classifier.models[0].state_dict().items()}
    one = x.take([0])[0]
    values = attribution(classifier, one, 1, "gradient")
    assert values.shape == one.shape
    assert np.isfinite(values).all()
    assert np.abs(values).max() > 0
    assert all(torch.equal(v, before[k]) for k, v in classifier.models[0].state_dict().items())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A corpus of long faces in CASME II's layout, and an SMA-STN trained on it for a moment."""
    folder = tmp_path_factory.mktemp("explain")
    write_corpus("casme2", folder / "data", subjects=2, clips_per_subject=3, frames=8)
    clips = open_dataset("casme2", folder / "data").clips()
    system = SYSTEMS["sma-stn"]
    parameters = system.with_parameters({"preset": "small", "epochs": 2, "maps": 4, "draws": 1, "face": "none"})
    recipe = system.recipe("frames", parameters)
    x = ArrayInputs(np.stack([recipe.apply(c).array[0] for c in clips]))
    y = np.arange(len(clips)) % 3
    classifier = system.build(3, parameters).fit(x, y, [c.person for c in clips], seed=0)
    card = ModelCard(
        "sma-stn",
        parameters.model_dump(mode="json"),
        ("a", "b", "c"),
        "own",
        ({"dataset": "casme2", "clips": 6, "subjects": 2, "synthetic": True},),
        {},
        x.shape,
        0,
    )
    save_checkpoint(folder / "model.safetensors", classifier, card)
    return folder / "model.safetensors", folder / "data"


def test_explanation_matches_the_prediction(model: tuple[Path, Path]) -> None:
    from mien.systems.trained import load_checkpoint

    classifier, card = load_checkpoint(model[0])
    assert isinstance(classifier, NetClassifier)
    clip = open_dataset("casme2", model[1]).clips()[0]
    made = explain(classifier, card, clip)
    x = SYSTEMS["sma-stn"].recipe("frames", card.parameters).apply(clip).array[0].astype(np.float32)
    plain = predict(classifier.models[0], torch.from_numpy(x)[None], 1)[0]
    turned = predict(classifier.models[0], torch.from_numpy(x[:, :, ::-1].copy())[None], 1)[0]
    assert made.probabilities == pytest.approx(((plain + turned) / 2).tolist(), abs=1e-5)
    assert made.explained == int(np.argmax(made.probabilities))
    assert made.heat.shape == (48, 48)
    assert made.heat.sum() == pytest.approx(1, abs=1e-4)
    assert made.segments is not None
    assert made.segments.sum() == pytest.approx(1, abs=1e-5)
    assert made.names == ("segment 1", "segment 2", "whole clip")
    assert made.attention is not None
    assert made.attention.sum((1, 2)) == pytest.approx(np.ones(3), abs=1e-4)
    assert made.face is not None
    assert made.face.shape == (300, 245, 3)
    assert explain(classifier, card, clip, of="c").explained == 2
    with pytest.raises(MienError, match="class called 'd'"):
        explain(classifier, card, clip, of="d")
    with pytest.raises(MienError, match="`gradient`"):
        explain(classifier, card, clip, method="gradients")


def test_explain_command_skips_a_bad_clip_and_draws_the_others(model: tuple[Path, Path], tmp_path: Path) -> None:
    file, data = model
    clips = open_dataset("casme2", data).clips()
    bad = clips[1].frames[3]
    kept = bad.read_bytes()
    for frame in clips[1].frames:
        frame.write_bytes(b"no picture")
    words = [
        "explain",
        str(file),
        f"casme2={data}",
        "--clip",
        "casme2/01",
        "--out",
        str(tmp_path),
        "--method",
        "gradient",
    ]
    answer = CliRunner().invoke(app, [*words, "--json"])
    for frame in clips[1].frames:
        frame.write_bytes(kept)
    assert answer.exit_code == 1
    rows = json.loads(answer.stdout)["clips"]
    assert len(rows) == 3
    assert [("error" in row) for row in rows] == [False, True, False]
    assert set(rows[0]["segments"]) == {"segment 1", "segment 2", "whole clip"}
    assert Path(rows[0]["picture"]).read_bytes()[:4] == b"\x89PNG"
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_explain_command_rejects_wrong_arguments(
    model: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    settings = {"data": [{"name": "casme2", "root": "D"}], "system": "sma-stn", "labels": "strcn4"}
    (run / "run.json").write_text(json.dumps(settings))
    source = f"casme2={model[1]}"
    cases = {
        "mien train casme2=D --system sma-stn": [str(run), source],
        "There is no file": [str(tmp_path / "none.safetensors"), source],
        "None of 6 clips": [str(model[0]), source, "--clip", "nobody"],
    }
    for message, words in cases.items():
        monkeypatch.setattr("sys.argv", ["mien", "explain", *words, "--out", str(tmp_path / "out")])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_a_kernel_machine_has_nothing_to_look_into(tmp_path: Path) -> None:
    from mien.export.onnx import export_onnx
    from mien.synthesis.flow_images import write_flow_images
    from mien.systems.trained import load_checkpoint

    classifier, card = load_checkpoint("shipped-units")
    clip = write_flow_images(tmp_path / "pictures", subjects=1, clips_per_subject=1)[0]
    with pytest.raises(MienError, match="no network"):
        explain(classifier, card, clip)
    with pytest.raises(MienError, match="no trained network"):
        export_onnx(classifier, card, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
