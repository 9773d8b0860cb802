"""The contract every registered system keeps."""

import subprocess
import sys

import numpy as np
import pytest

from mien.errors import MienError
from mien.parameters import Parameters
from mien.preprocessing.inputs import ArrayInputs, Inputs
from mien.systems import SYSTEMS, system

NAMES = sorted(SYSTEMS)


Clips = tuple[Inputs, np.ndarray, list[tuple[str, str]]]


def clips(name: str, n: int = 24) -> Clips:
    """Noise in the form a system reads: flow pictures, or several copies of small clips."""
    random = np.random.default_rng(0)
    y = np.arange(n) % 3
    x: Inputs
    if "features" in SYSTEMS[name].recipes:
        x = ArrayInputs(random.normal(size=(n, 12)).astype(np.float32))
    elif "flow" in SYSTEMS[name].recipes:
        picture = tuple(length or 3 for length in SYSTEMS[name].recipe("flow", fast(name)).shape)
        x = ArrayInputs(random.uniform(0, 255, size=(n, *picture)).astype(np.float32))
    elif not (recipe := SYSTEMS[name].recipe("frames", fast(name))).axes.startswith("K"):
        low, high = max(recipe.range[0], -1), min(recipe.range[1], 255)
        shape = (n, *(1 if length is None else length for length in recipe.shape))
        x = ArrayInputs(random.uniform(low, high, size=shape).astype(recipe.dtype))
    else:
        channels = 1 if name == "strcn-2018" else 3
        x = ArrayInputs(random.integers(0, 255, size=(n, 2, 8, 16, 12, channels), dtype=np.uint8), copies=2)
    return x, y, [("d", str(i % 6)) for i in range(n)]


def fast(name: str) -> Parameters:
    known = SYSTEMS[name].defaults
    wanted: dict[str, object] = {"epochs": 1, "maps": 4, "members": 1, "C": [1.0], "ridge": [1.0], "sparsity": [0.1]}
    if name == "lbp-tics":
        wanted |= {"size": [24, 20], "frames": 8, "blocks": [2, 2, 1]}
    same_kind = {k: v for k, v in wanted.items() if k in known and isinstance(v, list) == isinstance(known[k], list)}
    made: Parameters = SYSTEMS[name].with_parameters(same_kind)
    return made


@pytest.mark.parametrize("name", NAMES)
def test_fit_and_predict(name: str) -> None:
    x, y, groups = clips(name)
    classifier = SYSTEMS[name].build(3, fast(name)).fit(x, y, groups, seed=0)
    p = classifier.predict_proba(x[range(5)])
    assert p.shape == (5, 3)
    assert p.dtype == np.float32
    assert np.allclose(p.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_answer(name: str) -> None:
    x, y, groups = clips(name)
    first, second = (SYSTEMS[name].build(3, fast(name)).fit(x, y, groups, seed=4).predict_proba(x) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", NAMES)
def test_a_prediction_does_not_depend_on_the_clips_beside_it(name: str) -> None:
    x, y, groups = clips(name)
    classifier = SYSTEMS[name].build(3, fast(name)).fit(x, y, groups, seed=0)
    assert np.allclose(classifier.predict_proba(x)[3], classifier.predict_proba(x[[3]])[0], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_two_classes_work(name: str) -> None:
    x, y, groups = clips(name)
    p = SYSTEMS[name].build(2, fast(name)).fit(x, y % 2, groups, seed=0).predict_proba(x)
    assert p.shape == (24, 2)


@pytest.mark.parametrize("name", NAMES)
def test_is_documented(name: str) -> None:
    s = SYSTEMS[name]
    assert s.name == name
    assert s.title
    assert s.paper
    assert s.summary
    assert sys.modules[s.build.__module__].__doc__
    assert {"frames", "features"} & set(s.recipes)
    assert len({s.recipe(medium).fingerprint for medium in s.recipes}) == len(s.recipes)


@pytest.mark.parametrize(("name", "preset"), [(s.name, preset) for s in SYSTEMS.values() for preset in s.presets])
def test_presets_are_made_of_known_parameters(name: str, preset: str) -> None:
    s = SYSTEMS[name]
    merged = s.with_parameters({"preset": preset})
    assert set(s.presets[preset].values) < set(merged.model_fields_set) <= set(s.parameters.model_fields)
    assert merged.preset == preset
    assert s.presets[preset].summary.endswith(".")
    number = next(k for k, v in s.defaults.items() if type(v) is int)
    assert getattr(s.with_parameters({"preset": preset, number: "3"}), number) == 3
    recipe = s.recipe("frames", merged)
    assert all(n is not None and n > 0 for n in recipe.shape)
    s.build(3, merged)


def test_an_unknown_preset_is_told() -> None:
    with pytest.raises(MienError, match="preset"):
        SYSTEMS["strcn-g"].with_parameters({"preset": "papper"})


def test_unknown_system_suggests_the_nearest() -> None:
    with pytest.raises(MienError, match="`strcn-g`"):
        system("strcng")


def test_listing_systems_does_not_import_torch() -> None:
    code = "import sys, mien, mien.systems, mien.cli.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_flow_kernels_start_from_weights_for_units_of_their_own_kind() -> None:
    known = SYSTEMS["flow-kernels"]
    known.build(12, known.with_parameters({"start": "shipped-units"})).require_units()
    for parameters, words in (
        ({"start": "shipped"}, "strcn-g for classes"),
        ({"start": "shipped-classes"}, "flow-kernels for classes"),
        ({"start": "shipped-units", "smoothing": 2}, "another smoothing"),
        ({"start": "nowhere.safetensors"}, "no file"),
    ):
        with pytest.raises(MienError, match=words):
            known.build(12, known.with_parameters(parameters)).require_units()
