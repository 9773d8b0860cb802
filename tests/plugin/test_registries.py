"""What a registry does with names, and with plug-ins that are broken."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import mien
from mien.cli.main import app
from mien.datasets import open_dataset
from mien.descriptors import DESCRIPTORS, register_descriptor
from mien.errors import MienError
from mien.evaluation.protocols import PROTOCOLS, Protocol, register_protocol
from mien.evaluation.run import benchmark
from mien.motion.flow import FLOWS, optical_flow, register_flow
from mien.registry import Registry, is_import_path
from mien.spotting import SPOTTERS, register_spotter
from mien.systems import SYSTEMS, System, register_system, system
from mien.types import Fold

pytest_plugins = "plugin_packages"

Package = Callable[..., Path]
SYSTEM = """
from sklearn.naive_bayes import GaussianNB
from mien.systems import estimator_system, system

MINE = estimator_system("mine", GaussianNB(), recipe=system("flow-svm"))
"""


@pytest.fixture
def words() -> Registry[object]:
    return Registry("word", "mien.words", "mien words", builtins={"pi": "math:pi", "one": 1.0}, aliases={"PI!": "pi"})


@pytest.fixture
def kept() -> Iterator[None]:
    """What a test registers is gone after it."""
    yield
    for registry in (SYSTEMS, DESCRIPTORS, PROTOCOLS, SPOTTERS, FLOWS):
        for name in [n for n in registry._registered if n.startswith("test-")]:
            registry.unregister(name)


def test_what_a_package_brings_is_imported_when_it_is_asked_for() -> None:
    source = str(Path(mien.__file__).parents[1])
    code = (
        "import sys; from mien.systems import SYSTEMS; names = list(SYSTEMS); "
        "print(len(names), 'mien.systems.flow_svm' in sys.modules, 'torch' in sys.modules); "
        "SYSTEMS['flow-svm']; print('mien.systems.flow_svm' in sys.modules, 'mien.systems.strcn_g' in sys.modules)"
    )
    made = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = made.stdout.splitlines()
    assert first.split()[1:] == ["False", "False"]
    assert int(first.split()[0]) >= 18
    assert second == "True False"


def test_a_registry_is_a_mapping(words: Registry[object]) -> None:
    assert list(words) == ["pi", "one"]
    assert len(words) == 2
    assert "pi" in words
    assert "tau" not in words
    assert words["pi"] == words.get("pi") == pytest.approx(3.14159, abs=1e-5)
    assert words.get("tau", None) is None
    assert words.get("math:tau") == pytest.approx(6.28318, abs=1e-5)
    assert words.get("math:tau", None) is None
    words.register(6.28, name="tau")
    assert dict(words)["tau"] == 6.28
    words.unregister("tau")
    assert "tau" not in words


def test_an_unknown_name_suggests_the_nearest_by_spelling_and_by_meaning(words: Registry[object]) -> None:
    for typed in ("Pi", "pi!", "PII"):
        with pytest.raises(MienError) as error:
            words[typed]
        assert "`pi`, or `mien words`" in error.value.fix
    with pytest.raises(MienError) as error:
        SYSTEMS["STRCN_G"]
    assert error.value.fix.startswith("`strcn-g`")


def test_the_decorator_takes_a_name_and_leaves_the_thing_as_it_is(words: Registry[object]) -> None:
    @words.register("double")
    def double(x: int) -> int:
        return 2 * x

    assert words["double"] is double
    assert double(2) == 4
    assert words.origin("double").file == __file__


def test_a_name_is_taken_once(words: Registry[object]) -> None:
    words.register(1, name="two")
    with pytest.raises(MienError) as error:
        words.register(2, name="two")
    assert error.value.found.count("test_registries.py") == 2
    with pytest.raises(MienError, match="Two words are called 'pi'"):
        words.register(3, name="pi")
    for wrong in ("", "a b", "a=b", "a:b", "-a"):
        with pytest.raises(MienError, match="is called"):
            words.register(3, name=wrong)
    with pytest.raises(MienError, match="is called None"):
        words.register(3)


def test_import_paths_are_told_from_names() -> None:
    assert all(map(is_import_path, ("a:b", "a.b:c", "a_1.b:c.d")))
    assert not any(map(is_import_path, ("a", "a:", ":b", "a:b:c", "a-b:c", "flow-svm", "a b:c")))


def test_every_kind_can_be_registered_in_python(kept: None) -> None:
    @register_system
    def mine() -> System:
        from sklearn.naive_bayes import GaussianNB

        from mien.systems import estimator_system

        return estimator_system("test-system", GaussianNB(), recipe="flow-28")

    @register_descriptor("test-means", summary="means", source="none", reads="grey")
    def means(frames: np.ndarray, *, parts: int = 2) -> np.ndarray:
        return np.array([part.mean() for part in np.array_split(frames, parts)])

    @register_protocol("test-one-fold", summary="one fold", shares_subjects=True, warning="An example.")
    def one_fold(samples: object) -> list[Fold]:
        return [Fold("one", (0,), (1,))]

    @register_flow("test-still")
    def still(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.zeros((*first.shape, 2))

    assert system("test-system").name == "test-system"
    assert DESCRIPTORS["test-means"].parameters.defaults()["parts"] == 2
    assert PROTOCOLS["test-one-fold"].split is one_fold
    face = np.zeros((20, 20), np.uint8)
    assert optical_flow(face, face, "test-still").shape == (20, 20, 2)
    assert DESCRIPTORS["test-means"].function is means


@pytest.mark.parametrize(
    ("register", "kind"),
    [
        (register_system, "system"),
        (register_spotter, "spotter"),
        (register_protocol, "protocol"),
        (register_descriptor, "descriptor"),
    ],
)
def test_what_is_of_another_kind_is_refused(register: Callable[[object], object], kind: str) -> None:
    with pytest.raises(MienError, match=f"3 is not a {kind} but a int. It is from") as error:
        register(3)
    assert "test_registries.py" in error.value.found


def test_a_flow_method_that_fails_or_lies_is_named_with_its_file(kept: None) -> None:
    face = np.zeros((20, 20), np.uint8)
    register_flow("test-small")(lambda first, second: np.zeros((2, 2), np.float32))
    register_flow("test-nan")(lambda first, second: np.full((*first.shape, 2), np.nan, np.float32))
    register_flow("test-broken")(lambda first, second: np.float32(1 / 0))  # type: ignore[type-var]
    for name, found in (
        ("test-small", "the shape \\(2, 2\\)"),
        ("test-nan", "not finite"),
        ("test-broken", "ZeroDivisionError"),
    ):
        with pytest.raises(MienError, match=found) as error:
            optical_flow(face, face, name)
        assert "test_registries.py" in error.value.found
    with pytest.raises(MienError, match="no flow method called 'tvl2'") as error:
        optical_flow(face, face, "tvl2")
    assert error.value.fix == "`method='tvl1'`."


def test_an_installed_package_brings_its_system(package: Package) -> None:
    file = package("mine-package", SYSTEM, systems="mine = mine_package:MINE")
    assert "mine" in SYSTEMS
    assert SYSTEMS["mine"].name == "mine"
    assert "mine" in list(SYSTEMS)
    origin = SYSTEMS.origin("mine")
    assert (origin.package, origin.version, origin.file) == ("mine-package", "1.2.3", str(file))
    assert not SYSTEMS.problems()


def test_an_entry_point_may_name_a_module_that_registers(package: Package) -> None:
    package("mine-package", f"{SYSTEM}\nfrom mien.systems import register_system\nregister_system(MINE)\n",
            systems="mine = mine_package")  # fmt: skip
    try:
        assert SYSTEMS["mine"].name == "mine"
    finally:
        SYSTEMS.unregister("mine")


@pytest.mark.parametrize(
    ("code", "entry", "found"),
    [
        (
            "import nothing_of_this_name",
            "mine = broken_package:MINE",
            "ModuleNotFoundError: No module named",
        ),
        ("1 / 0", "mine = broken_package:MINE", "line 1: ZeroDivisionError"),
        ("def f(:", "mine = broken_package:MINE", "line 1: SyntaxError"),
        ("raise SystemExit(3)", "mine = broken_package:MINE", "SystemExit: 3"),
        ("", "mine = broken_package:MINE", "is to be 'MINE' in the package broken-package 1.2.3"),
        ("MINE = 7", "mine = broken_package:MINE", "7 is not a system but a int. It is from"),
        ("", "mine = broken_package.sub:MINE", "There is no module 'broken_package.sub'"),
        ("", "mine = broken_package", "registered no such system"),
        ("def MINE(): return 1 / 0", "mine = broken_package:MINE", "failed in .* line 1: ZeroDivisionError"),
        (SYSTEM, "other = broken_package:MINE", "calls itself 'mine'"),
    ],
)
def test_a_plug_in_that_fails_is_named_with_its_package_and_file_and_breaks_nothing_else(
    package: Package, code: str, entry: str, found: str
) -> None:
    file = package("broken-package", code, systems=entry)
    name = entry.partition(" ")[0]
    with pytest.raises(MienError, match=found) as error:
        system(name)
    assert "broken-package" in error.value.found
    assert str(file) in error.value.found
    assert error.value.expected
    assert error.value.fix
    listing = CliRunner().invoke(app, ["systems"])
    assert listing.exit_code == 0
    assert "flow-svm" in listing.stdout
    assert "broken-package" in listing.stderr
    assert name not in list(SYSTEMS)
    assert len(SYSTEMS.problems()) == 1


def test_two_plug_ins_with_one_name_are_refused_naming_both(package: Package) -> None:
    files = [package(name, SYSTEM, systems=f"mine = {name}:MINE") for name in ("first", "second")]
    with pytest.raises(MienError, match="Two systems are called 'mine'") as error:
        system("mine")
    for name, file in zip(("first", "second"), files, strict=True):
        assert f"the package {name} 1.2.3 ({file})" in error.value.found
        assert f"pip uninstall {name}" in error.value.fix or name == "first"
    assert "flow-svm" in list(SYSTEMS)


def test_a_plug_in_with_the_name_of_a_system_of_mien_is_refused(package: Package) -> None:
    file = package("impostor", SYSTEM.replace('"mine"', '"flow-svm"'), systems="flow-svm = impostor:MINE")
    assert SYSTEMS["flow-svm"].title == "Flow picture + RBF SVM"
    (problem,) = SYSTEMS.problems()
    assert "Two systems are called 'flow-svm'" in problem.found
    assert str(file) in problem.found
    assert "flow_svm.py" in problem.found


OUTSIDE = """
from mien.classifiers.base import Classifier
from mien.preprocessing import FLOW_PICTURE, Recipe, Step
from mien.systems import estimator_system
from sklearn.naive_bayes import GaussianNB
from dataclasses import replace

RECIPE = FLOW_PICTURE
MINE = estimator_system("mine", GaussianNB(), recipe=RECIPE)

def halved(array, context):
    return array[:, ::2]

def broken(array, context):
    raise RuntimeError("no such thing")

SHAPE = replace(MINE, recipes={"flow": lambda _: replace(RECIPE, steps=(*RECIPE.steps, Step("halved", halved)))})
STEP = replace(MINE, recipes={"flow": lambda _: replace(RECIPE, steps=(*RECIPE.steps, Step("broken", broken)))})
MAKER = replace(MINE, recipes={"flow": lambda _: 1 / 0})
KIND = replace(MINE, recipes={"flow": lambda _: "flow-28"})
AXES = replace(MINE, recipes={"flow": lambda _: replace(RECIPE, axes="HW")})
BUILD = replace(MINE, build=lambda n, p: 1 / 0)
WHAT = replace(MINE, build=lambda n, p: GaussianNB())

class Wrong(Classifier):
    def __init__(self, n, failing):
        self.n, self.failing = n, failing
    def fit(self, x, y, groups, *, seed=0, progress=None):
        if self.failing:
            raise RuntimeError("out of ideas")
        return self
    def predict_proba(self, x):
        import numpy as np
        return np.full((len(x), self.n), np.nan)

FIT = replace(MINE, build=lambda n, p: Wrong(n, True))
ANSWER = replace(MINE, build=lambda n, p: Wrong(n, False))
"""


@pytest.mark.parametrize(
    ("which", "found"),
    [
        ("SHAPE", r"declares the shape \(3, 28, 28\) \(CHW\) and makes \(3, 14, 28\) of"),
        ("STEP", "The step 'broken' of the recipe of the system 'mine' .* RuntimeError: no such thing"),
        ("MAKER", "The recipe of the system 'mine' .* ZeroDivisionError"),
        ("KIND", "The recipe of the system 'mine' .* is a str"),
        ("AXES", r"declares the axes 'HW' and the shape \(3, 28, 28\)"),
        ("BUILD", "build of the system 'mine' .* ZeroDivisionError"),
        ("WHAT", "build of the system 'mine' .* returned a GaussianNB"),
    ],
)
def test_a_system_that_is_not_what_it_declares_is_refused_before_anything_is_trained(
    package: Package, flow_pictures: Path, tmp_path: Path, which: str, found: str
) -> None:
    file = package("outside-package", OUTSIDE)
    data = [open_dataset("flow_images", flow_pictures)]
    with pytest.raises(MienError, match=found) as error:
        benchmark(data, f"outside_package:{which}", tmp_path / "run", labels="own", jobs=1)
    assert "outside-package 1.2.3" in error.value.found
    assert str(file) in error.value.found
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize(
    ("which", "found"),
    [
        ("FIT", "fit of the system 'mine' .* RuntimeError: out of ideas"),
        ("ANSWER", "predict_proba of .*nan, nan, nan"),
    ],
)
def test_a_classifier_that_fails_while_it_is_trained_is_named_with_its_file(
    package: Package, flow_pictures: Path, tmp_path: Path, which: str, found: str
) -> None:
    file = package("outside-package", OUTSIDE)
    data = [open_dataset("flow_images", flow_pictures)]
    with pytest.raises(MienError, match=found) as error:
        benchmark(data, f"outside_package:{which}", tmp_path / "run", labels="own", jobs=1)
    assert "outside-package 1.2.3" in error.value.found
    assert str(file) in error.value.found


def test_a_protocol_that_leaks_is_refused_wherever_it_is_from(kept: None, flow_pictures: Path, tmp_path: Path) -> None:
    register_protocol(Protocol("test-leak", "an even split", lambda s: [Fold("one", tuple(range(0, len(s), 2)), (1,))]))
    data = [open_dataset("flow_images", flow_pictures)]
    with pytest.raises(MienError, match="The folds leak"):
        benchmark(data, "flow-svm", tmp_path / "run", protocol="test-leak", labels="own")
