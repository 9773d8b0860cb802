"""Clips in which nothing moves are trained on and predicted with finite numbers, never NaN."""

from __future__ import annotations

import numpy as np
import pytest

from mien.preprocessing.inputs import ArrayInputs
from mien.systems import SYSTEMS


@pytest.mark.parametrize("name", ["strcn-g", "strcn-a", "strcn-2018"])
def test_training_on_still_clips_gives_finite_answers(name: str) -> None:
    system = SYSTEMS[name]
    parameters = system.with_parameters({"preset": "small", "epochs": "2", "maps": "4"})
    copies, *shape = (n or 1 for n in system.recipe("frames", parameters).shape)
    still = ArrayInputs(np.zeros((8, copies, *shape), np.float32), copies)
    y = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    classifier = system.build(3, parameters)
    classifier.fit(still, y, [("a", str(i % 4)) for i in range(8)], seed=0)
    p = classifier.predict_proba(still)
    assert np.isfinite(p).all()
    assert np.allclose(p.sum(1), 1, atol=1e-5)
    assert np.allclose(p, p[0], atol=1e-6)
