"""The example of descriptors by themselves does what it says."""

import runpy
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "descriptors.py"


def test_the_example_of_descriptors_runs() -> None:
    names = runpy.run_path(str(EXAMPLE))
    assert names["leave_one_subject_out"]() > 0.8
    picture = names["regions_picture"](320)
    assert picture.shape == (320, 320, 3)
    # The borders of the regions.
    assert 300 < (picture > 250).all(-1).sum() < 6000
