"""Examples do what they say."""

import runpy
from itertools import islice
from pathlib import Path

import numpy as np

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_the_portrait_smiles_and_nothing_else_moves() -> None:
    names = runpy.run_path(str(EXAMPLES / "pictures.py"))
    frames = np.stack(list(islice(names["smiling_portrait"](), names["APEX"] + 1))).astype(float)
    assert frames.shape[1:] == (320, 320, 3)
    change = np.abs(frames[-1] - frames[0]).mean(-1)
    mouth, forehead = change[140:165, 125:195], change[60:90, 120:200]
    noise = 2 * 1.2 / np.sqrt(np.pi)  # mean difference of two noisy pictures
    assert np.percentile(mouth, 95) > 4 * noise
    assert forehead.mean() < 1.3 * noise
