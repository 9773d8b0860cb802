"""Published networks train and answer on real flow pictures, where these are at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.datasets import open_specs
from mien.systems import system

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FIRST, SECOND = DATA / "megc2019_flow", DATA / "megc2019_flow_b"
SETS: dict[str, dict[str, Any]] = {
    "sssnet": {"preset": "pictures"},
    "off-apexnet": {},
    "rcn": {},
    "dual-inception": {"batch_size": 8},
    "off-tanet": {},
    "htnet": {"preset": "small"},
    "causalnet": {"preset": "small"},
}


@pytest.mark.skipif(not SECOND.is_dir(), reason="the real flow pictures are not here")
@pytest.mark.parametrize("name", SETS)
def test_a_network_trains_and_answers_on_real_pictures(name: str) -> None:
    dataset = open_specs([f"flow_images={FIRST}"], {}, SECOND if name == "causalnet" else None)[0]
    clips = dataset.clips()[::25]
    method = system(name)
    p = method.with_parameters({**SETS[name], "epochs": 2}, ("flow",))
    recipe = method.recipe("flow", p)
    x = np.stack([recipe.apply(clip).array for clip in clips]).astype(np.float32)
    assert x.min() >= recipe.range[0]
    assert x.max() <= recipe.range[1]
    classes = sorted({clip.emotion for clip in clips if clip.emotion})
    assert len(classes) == 3
    y = np.array([classes.index(clip.emotion or "") for clip in clips])
    made = method.build(3, p).fit(x, y, [clip.person for clip in clips], seed=0)
    answers = made.predict_proba(x)
    assert np.allclose(answers.sum(1), 1, atol=1e-5)
    assert np.ptp(answers, axis=0).max() > 1e-4  # not one answer for all
