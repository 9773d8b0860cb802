from pathlib import Path

import numpy as np
import pytest

from mien.datasets import open_specs
from mien.errors import MienError
from mien.evaluation.combine import combine
from mien.evaluation.ledger import read_ledger
from mien.evaluation.report import report
from mien.evaluation.run import benchmark
from mien.synthesis.flow_images import write_flow_images


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    root = tmp_path_factory.mktemp("combine")
    write_flow_images(root / "data", subjects=4, clips_per_subject=6, seed=0, layout="folders")
    data = open_specs([f"flow_images={root / 'data'}"])
    benchmark(data, "strcn-g", root / "net", parameters={"epochs": 2, "maps": 4}, seeds=(0, 1), jobs=1)
    quick = {"C": [1.0], "gamma": [0.3], "inner_repeats": 1}
    benchmark(data, "flow-svm", root / "svm", parameters=quick, jobs=1)
    benchmark(data, "flow-svm", root / "shuffled", parameters=quick, shuffle_labels=True, jobs=1)
    return root / "net", root / "svm", root / "shuffled"


def test_probabilities_are_the_mean_of_means(runs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    net, svm, _ = runs
    both = combine([net, svm], tmp_path / "both")
    nets, svms = read_ledger(net), read_ledger(svm)
    for row in both.rows:
        first = np.mean([r.probabilities for r in nets.rows if r.key == row.key], axis=0)
        second = next(r.probabilities for r in svms.rows if r.key == row.key)
        assert row.probabilities == pytest.approx((first + np.array(second)) / 2, abs=1e-6)
        assert row.y_pred == both.classes[int(np.argmax(row.probabilities))]
    assert both.complete
    assert {r.key: r.y_true for r in both.rows} == {r.key: r.y_true for r in svms.rows}
    assert report(both)["n_clips"] == 24


def test_one_run_with_several_seeds_is_a_committee(runs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    assert len(combine([runs[0]], tmp_path / "seeds").rows) == 24


def test_what_cannot_be_combined_is_refused(runs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    net, svm, shuffled = runs
    with pytest.raises(MienError, match="differ in clip_table"):
        combine([svm, shuffled], tmp_path / "x")
    with pytest.raises(MienError, match="one member"):
        combine([svm], tmp_path / "x")
    with pytest.raises(MienError, match="not empty"):
        combine([net, svm], svm)
    assert not (tmp_path / "x").exists()
