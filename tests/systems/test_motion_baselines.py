"""Bi-WOOF, MDMO and FDM from frames to leave-one-subject-out on a written corpus; shuffled labels at chance."""

from pathlib import Path

import numpy as np
import pytest

from mien.classifiers.linear_svm import LinearSvm
from mien.classifiers.texture_svm import KernelSvm
from mien.datasets import open_dataset
from mien.errors import MienError
from mien.evaluation.report import report
from mien.evaluation.run import benchmark
from mien.synthesis.flow_images import write_flow_images
from mien.synthesis.writer import write_corpus
from mien.systems import SYSTEMS
from mien.types import Clip

QUICK = {
    "bi-woof": {"preset": "small", "face": "none", "size": [64, 64], "blocks": [6, 6], "inner_repeats": 1},
    "fdm": {"face": "none", "size": [64, 64], "cuboids": [2, 6, 6], "inner_repeats": 1},
}


def scores(
    root: Path, out: Path, system: str, parameters: dict[str, object], shuffle: bool = False
) -> dict[str, float]:
    data = [open_dataset("casme2", root)]
    ledger = benchmark(data, system, out, labels="megc2019", parameters=parameters, shuffle_labels=shuffle, jobs=1)
    made = report(ledger)
    return {key: made[key] for key in ("uf1", "accuracy", "majority_accuracy")}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("small")
    write_corpus("casme2", root, subjects=5, clips_per_subject=5, size=80, frames=8)
    return root


@pytest.mark.parametrize("system", sorted(QUICK))
def test_from_frames_to_loso(system: str, small: Path, tmp_path: Path) -> None:
    straight = scores(small, tmp_path / "run", system, QUICK[system])
    shuffled = scores(small, tmp_path / "shuffled", system, QUICK[system], shuffle=True)
    assert straight["uf1"] > 0.75
    assert straight["accuracy"] > straight["majority_accuracy"] + 0.2
    assert shuffled["uf1"] < 0.55


@pytest.mark.slow
@pytest.mark.parametrize("system", ["bi-woof", "mdmo", "fdm"])
def test_from_frames_to_loso_with_the_face_found(system: str, tmp_path: Path) -> None:
    write_corpus("casme2", tmp_path / "data", subjects=6, clips_per_subject=6, size=112, frames=12)
    settings: dict[str, object] = {"preset": "small"} if system == "bi-woof" else {}
    straight = scores(tmp_path / "data", tmp_path / "run", system, settings)
    shuffled = scores(tmp_path / "data", tmp_path / "shuffled", system, settings, shuffle=True)
    assert straight["uf1"] > 0.8
    assert shuffled["uf1"] < 0.55


def test_bi_woof_reads_ready_flow_pictures(tmp_path: Path) -> None:
    write_flow_images(tmp_path / "pictures", subjects=5, clips_per_subject=6, seed=0, layout="folders")
    data = open_dataset("flow_images", tmp_path / "pictures")
    ledger = benchmark([data], "bi-woof", tmp_path / "run", parameters={"inner_repeats": 1}, jobs=1)
    assert report(ledger)["uf1"] > 0.7
    assert {row.interval_source for row in ledger.rows} == {"ready"}


def test_a_picture_without_motion_is_zero(tmp_path: Path) -> None:
    from PIL import Image

    still = tmp_path / "still.png"
    Image.fromarray(np.full((28, 28, 3), 127, np.uint8)).save(still)
    clip = Clip("casme2", "sub01", "still", None, "", medium="flow", frames=(still,))
    vector, _ = SYSTEMS["bi-woof"].recipe("flow").run(clip)
    assert vector.shape == (512,)
    assert not vector.any()


def test_the_recipe_says_what_it_makes() -> None:
    for name in ("bi-woof", "mdmo", "fdm"):
        recipe = SYSTEMS[name].recipe("frames")
        assert recipe.axes == "D"
        assert recipe.shape == {"bi-woof": (512,), "mdmo": (72,), "fdm": (512,)}[name]
    assert SYSTEMS["bi-woof"].recipe("frames", {"blocks": [5, 5]}).shape == (200,)


def test_bi_woof_of_the_tables_has_the_kernel_of_the_lbp_rows_and_the_flow_of_strcn_g() -> None:
    system = SYSTEMS["bi-woof"]
    tables = system.with_parameters({}, ("frames",))
    assert (tables.preset, tables.blocks) == ("strcn", (8, 8))
    machine = system.build(3, tables)
    assert isinstance(machine, KernelSvm)
    lbp = SYSTEMS["lbp-top"].build(3, SYSTEMS["lbp-top"].with_parameters({}))
    assert isinstance(lbp, KernelSvm)
    assert (machine.kernel, machine.gamma, machine.shift, machine.degree) == ("poly", 0.22, 0.0, 2)
    assert (machine.costs, machine.balanced) == (lbp.costs, lbp.balanced)
    paper = SYSTEMS["strcn-g"].with_parameters({"preset": "paper"})
    assert (tables.flow, tables.apex, tables.exaggeration) == (paper.flow, paper.apex, paper.exaggeration)
    for preset in ("authors", "pictures"):
        assert isinstance(system.build(3, system.with_parameters({"preset": preset})), LinearSvm)
    with pytest.raises(MienError, match="mirror=false has no effect in bi-woof"):
        tables.require_effect(["mirror"], "bi-woof", ["frames"])


def test_bi_woof_keeps_its_linear_machine_on_ready_flow_pictures() -> None:
    pictures = SYSTEMS["bi-woof"].with_parameters({}, ("flow",))
    assert (pictures.preset, pictures.kernel, pictures.balanced) == ("pictures", "linear", False)
