"""Made-up corpora under a name of their own, and tests on real clips after training on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.datasets import open_specs
from mien.datasets.base import MARKER
from mien.errors import MienError
from mien.evaluation.planning import synthetic_settings
from mien.evaluation.protocols import make_folds
from mien.evaluation.run import benchmark
from mien.synthesis.corpus import synthesise
from mien.synthesis.flow_images import write_flow_images


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "corpus"
    synthesise("casme2", root, subjects=3, clips=6, seed=4, width=96, fps=100, faces="drawn", jobs=1)
    return root


def test_its_clips_are_nobody_elses(corpus: Path) -> None:
    made, inside = open_specs([f"synthetic={corpus}"])[0], open_specs([f"casme2={corpus}"])[0]
    assert made.is_synthetic
    assert {c.dataset for c in made.clips()} == {"synthetic"}
    assert [c.name for c in made.clips()] == [c.name for c in inside.clips()]
    # The rate at which it was made, not the one CASME II has.
    assert {c.fps for c in made.clips()} == {c.fps for c in inside.clips()} == {100}


def test_a_folder_that_was_not_made_and_a_damaged_one_are_told(tmp_path: Path, corpus: Path) -> None:
    with pytest.raises(MienError, match="holds no synthesis"):
        open_specs([f"synthetic={tmp_path}"])
    for content in ("{", "{}", "[1]"):
        (tmp_path / "synthesis.json").write_text(content)
        with pytest.raises(MienError, match="cannot be read"):
            open_specs([f"synthetic={tmp_path}"])


def test_trained_on_made_clips_tested_on_others(tmp_path: Path, corpus: Path) -> None:
    write_flow_images(tmp_path / "flow", subjects=3, clips_per_subject=3)
    (tmp_path / "flow" / MARKER).unlink()  # as if these were of real people
    data = open_specs([f"synthetic={corpus}", f"flow_images={tmp_path / 'flow'}"])
    ledger = benchmark(
        data, "strcn-g", tmp_path / "run", protocol="synthetic_to_real", labels="megc2019",
        parameters={"epochs": 1, "maps": 4}, jobs=1,
    )  # fmt: skip
    tested = {row.dataset for row in ledger.rows}
    assert tested
    assert "synthetic" not in tested
    assert not ledger.settings["synthetic"]  # scores are about those who were tested
    assert synthetic_settings({"a"}, {"a"}) == {"synthetic": True}
    assert synthetic_settings({"a"}, {"a", "b"}) == {"synthetic": True, "partly_synthetic": True}
    assert all(np.isfinite(row.probabilities).all() for row in ledger.rows)
    real = [s for d in data[1:] for s in d.clips()]
    assert len(ledger.rows) == len(real)


def test_both_sides_are_needed(corpus: Path) -> None:
    from mien.datasets.labels import samples

    with pytest.raises(MienError, match="synthetic corpora alone"):
        make_folds("synthetic_to_real", samples(open_specs([f"synthetic={corpus}"])[0].clips(), "megc2019"))
