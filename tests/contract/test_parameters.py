"""Parameters of every registered system: described, ranged, refused when illegal, and never without an effect."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from mien.classifiers.net import NetClassifier
from mien.cli.main import main
from mien.descriptors import DESCRIPTORS
from mien.errors import MienError
from mien.parameters import OnlyIf, Parameters
from mien.preprocessing import RECIPES
from mien.preprocessing.inputs import ArrayInputs
from mien.spotting import SPOTTERS
from mien.synthesis.flow_images import write_flow_images
from mien.systems import SYSTEMS
from mien.types import Medium

MODELS = {
    **{f"system {name}": SYSTEMS[name].parameters for name in SYSTEMS},
    **{f"descriptor {name}": DESCRIPTORS[name].parameters for name in DESCRIPTORS},
    **{f"spotter {name}": SPOTTERS[name].model for name in SPOTTERS},
    **{f"recipe {name}": RECIPES[name].parameters for name in RECIPES},
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_flow_images(folder, subjects=3, clips_per_subject=3, seed=0, layout="folders")
    return folder


@pytest.mark.parametrize("owner", MODELS)
def test_every_parameter_has_a_sentence_and_a_range(owner: str) -> None:
    model = MODELS[owner]
    for name in model.model_fields:
        schema = model.schema_of(name)
        assert not schema["description"][0].islower(), name
        assert schema["description"].endswith("."), name
        assert model.range_of(name) != "text", name
        bounded = {"enum", "minimum", "exclusiveMinimum", "maxLength", "items", "prefixItems", "anyOf"} & set(schema)
        assert bounded or schema["type"] == "boolean", name


def illegal(schema: dict[str, Any]) -> str:
    """A value that no parameter of this schema takes."""
    if schema.get("type") == "string":
        return "/no/such/choice-or-file"
    if "minimum" in schema:
        return str(schema["minimum"] - 1)
    return "-1" if schema.get("type") != "boolean" else "maybe"


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_an_illegal_value_of_each_parameter_exits_with_2_and_three_parts(
    name: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = SYSTEMS[name].parameters
    for key in model.model_fields:
        words = ["mien", "benchmark", f"flow_images={pictures}", "--system", name, "--out", str(tmp_path / "run")]
        monkeypatch.setattr(sys, "argv", [*words, "--set", f"{key}={illegal(model.schema_of(key))}"])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr().err
        assert ended.value.code == 2, key
        assert "Expected: " in told, key
        assert "Try: " in told, key
        assert not (tmp_path / "run").exists()


def others(schema: dict[str, Any], now: Any) -> Iterator[Any]:
    """Legal values of a schema other than the present one."""
    kind = schema.get("type")
    if "enum" in schema:
        yield from (value for value in schema["enum"] if value != now)
    elif kind == "boolean":
        yield not now
    elif kind in ("integer", "number"):
        step = 1 if kind == "integer" else 0.125
        yield now + step
        yield now - step
        yield now + 2 * step  # what has to be odd
    elif "anyOf" in schema:
        yield 2
    elif kind == "array":
        if isinstance(now[0], tuple):
            yield now[:-1]
        elif "prefixItems" in schema:
            yield (now[0] + 2, *now[1:])
            yield (*now[:-1], now[-1] + 1)
        else:
            yield (now[0] * 0.75, *now[1:])
    else:
        yield {"cosine": "0.5", "tvl1": "dis"}.get(now, "0.25" if now.replace(".", "").isdigit() else "tvl1")


def look(value: Any) -> Any:
    """What a classifier is made of, as something that can be compared. Closures over parameters say nothing."""
    if isinstance(value, partial):
        return value.func.__name__, look(value.args), look(value.keywords)
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return value.__qualname__, [look(cell) for cell in cells if not isinstance(cell, Parameters | FunctionType)]
    if isinstance(value, dict):
        return {key: look(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [look(each) for each in value]
    if hasattr(value, "__dict__") and not isinstance(value, type):
        return type(value).__name__, look(vars(value))
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def network(classifier: Any, shape: tuple[int, ...], copies: int) -> Any:
    """The untrained network for some clips: its layers, and its numbers."""
    import torch

    random = np.random.default_rng(0)
    clips = random.normal(size=(4, copies, *shape)).astype(np.float32)
    if len(shape) > 3:  # frames, in which regions move, more in some clips than in others
        clips = gaussian_filter1d(gaussian_filter1d(clips, 1.5, axis=-2), 1.5, axis=-3)
    clips = np.clip(127 + 100 * clips * np.array([0.2, 3, 1, 0.5]).reshape(4, *[1] * (clips.ndim - 1)), 0, 255)
    inputs = ArrayInputs(clips if copies > 1 else clips[:, 0], copies)
    torch.manual_seed(0)
    made = [make(inputs) for make in (classifier.make, *classifier.others)]
    plain = [
        {k: v for k, v in vars(m).items() if isinstance(v, bool | int | float | str)}
        for net in made
        for m in net.modules()
    ]
    state = [{k: (tuple(v.shape), v.double().numpy().tobytes()) for k, v in m.state_dict().items()} for m in made]
    return [str(m) for m in made], plain, state


def made(name: str, p: Any, medium: Medium, *, deep: bool) -> Any:
    """Everything that parameters decide: recipe, classifier, network."""
    system = SYSTEMS[name]
    recipe = system.recipe(medium, p)
    classifier: Any = system.build(3, p)
    if not isinstance(classifier, NetClassifier):
        inner = look(classifier.classifier()) if hasattr(classifier, "classifier") else None
        return recipe.fingerprint, look(classifier), inner
    skipped = ("make", "others", "remake")
    parts = {key: look(value) for key, value in vars(classifier).items() if key not in skipped}
    if not deep:
        return recipe.fingerprint, parts
    lead = recipe.axes.startswith("K")
    shape = tuple(n or 8 for n in recipe.shape[lead:])
    return recipe.fingerprint, parts, network(classifier, shape, recipe.shape[0] or 1 if lead else 1)


WEIGHTS = {"start", "weights"}
"""Files: what they change is tested where they are read."""


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_each_parameter_changes_something_or_is_refused(name: str) -> None:
    system = SYSTEMS[name]
    seen: set[str] = set()
    cheap: list[str | None] = [each for each in system.presets if each in ("small", "pictures", "strcn")]
    for preset in cheap or [None]:
        given: dict[str, Any] = {"preset": preset} if preset else {}
        for medium in system.recipes:
            base = system.with_parameters(given)
            whole = made(name, base, medium, deep=True)
            for key in set(system.parameters.model_fields) - WEIGHTS - {"preset"}:
                if base.idle(key, [medium]):
                    # Where it has no effect it is refused, and where it would have one, its condition can be met.
                    with pytest.raises(MienError, match=key):
                        base.require_effect([key], name, [medium])
                    continue
                assert changes(name, given, key, medium, whole), f"{key} changes nothing with {given} on {medium}"
                seen.add(key)
    missing = set(system.parameters.model_fields) - seen - WEIGHTS - {"preset"}
    for key in missing:
        assert any(changes_beside(name, key, medium) for medium in system.recipes), f"{key} never changes anything"


def changes(name: str, given: dict[str, Any], key: str, medium: Medium, whole: Any) -> bool:
    system = SYSTEMS[name]
    base = system.with_parameters(given)
    for value in others(system.parameters.schema_of(key), getattr(base, key)):
        try:
            p = system.with_parameters({**given, key: value})
            shallow = made(name, p, medium, deep=False)
            if shallow[:2] != whole[:2] or made(name, p, medium, deep=True) != whole:
                return True
        except MienError:
            continue
    return False


def changes_beside(name: str, key: str, medium: Medium) -> bool:
    """Whether a parameter has an effect beside one other that its condition asks for."""
    system = SYSTEMS[name]
    small = {"preset": "small"} if "small" in system.presets else {}
    for also, schema in ((k, system.parameters.schema_of(k)) for k in system.parameters.model_fields):
        for value in schema.get("enum", ()) or ((2,) if also == "frames" else ()):
            given: dict[str, Any] = {**small, also: value}
            for more in ({}, {"kernel": "poly"}, {"kernel": "chi2"}):
                if not set(more) <= set(system.parameters.model_fields):
                    continue
                p = system.with_parameters({**given, **more})
                if p.idle(key, [medium]) is None:
                    return changes(name, {**given, **more}, key, medium, made(name, p, medium, deep=True))
    return False


def reading(name: str) -> set[str]:
    """The parameters of a system that need frames: how its input is made from them."""
    model = SYSTEMS[name].parameters
    marks = {key: [m for m in model.model_fields[key].metadata if isinstance(m, OnlyIf)] for key in model.model_fields}
    return {key for key, found in marks.items() if any(mark.medium == "frames" for mark in found)}


@pytest.mark.parametrize("name", [name for name in SYSTEMS if "frames" in SYSTEMS[name].recipes])
def test_by_default_what_reads_frames_changes_the_recipe_and_is_refused_on_ready_pictures(name: str) -> None:
    system = SYSTEMS[name]
    base = system.with_parameters({}, ("frames",))
    usual = system.recipe("frames", base).fingerprint
    for key in reading(name):
        if base.idle(key, ["frames"]) is None:
            values = list(others(system.parameters.schema_of(key), getattr(base, key)))
            assert any(fingerprint(name, key, value) not in (usual, None) for value in values), key
    if "flow" in system.recipes:
        on_pictures = system.with_parameters({}, ("flow",))
        for key in reading(name):
            with pytest.raises(MienError, match=rf"^{key}=.*no effect in {name}"):
                on_pictures.require_effect([key], name, ["flow"])


def fingerprint(name: str, key: str, value: Any) -> str | None:
    """The recipe from frames with one parameter set; None where that is refused."""
    system = SYSTEMS[name]
    try:
        return system.recipe("frames", system.with_parameters({key: value}, ("frames",))).fingerprint
    except MienError:
        return None


def test_strcn_g_on_frames_follows_the_paper_and_on_ready_pictures_refuses_what_it_cannot_do() -> None:
    system = SYSTEMS["strcn-g"]
    frames, flow = system.with_parameters({}, ("frames",)), system.with_parameters({}, ("flow",))
    assert (frames.preset, flow.preset) == ("cpu", "pictures")
    assert system.with_parameters({}, ("frames", "flow")).preset == "pictures"
    recipe = system.recipe("frames", frames)
    assert [step.name for step in recipe.steps] == ["aligned_face", "geometry_copies"]
    assert recipe.steps[0].parameters["transform"] == "lwm"
    assert recipe.steps[1].parameters["method"] == "classic_nl_published"
    assert recipe.steps[1].parameters["apex"] == "found"
    assert {"face", "alphas", "apex", "size", "shares"} < reading("strcn-g")
    for key in ("face", "alphas", "apex", "size", "shares"):
        assert frames.idle(key, ["frames"]) is None
