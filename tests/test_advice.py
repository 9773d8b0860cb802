"""What an error says to type can be typed, and helps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.classifiers.checkpoint import read_card
from mien.errors import MienError, install_extra
from mien.evaluation.compare import compare
from mien.evaluation.ledger import read_ledger
from mien.evaluation.run import benchmark
from mien.io.video.write import write_outlined
from mien.motion.flow import optical_flow
from mien.synthesis.flow_images import write_flow_images
from mien.systems import SYSTEMS


def test_a_name_that_is_near_none_suggests_none() -> None:
    with pytest.raises(MienError) as caught:
        SYSTEMS["strcn-g"].with_parameters({"foo": "1"})
    assert "--set" not in caught.value.fix
    with pytest.raises(MienError) as caught:
        SYSTEMS["strcn-g"].with_parameters({"epoch": "1"})
    assert caught.value.fix == "`--set epochs=1`."


@pytest.mark.parametrize(("name", "says"), [("raft", "method='tvl1'"), ("deepflo", "method='deepflow'")])
def test_python_is_advised_in_python(name: str, says: str) -> None:
    still = np.zeros((20, 20))
    with pytest.raises(MienError) as caught:
        optical_flow(still, still, name)
    assert says in caught.value.fix
    assert "mien flow" not in caught.value.fix


def test_a_file_of_another_kind_is_no_riddle(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"GIF89a" * 100)
    with pytest.raises(MienError, match="a file of another kind") as caught:
        read_card(tmp_path / "w.safetensors")
    assert "header" not in caught.value.found


def test_extras_are_installed_by_the_names_of_their_packages() -> None:
    """The name of the extra works from the source folder only."""
    assert "uvicorn" in install_extra("web")
    assert "pyarrow" in install_extra("table")
    assert install_extra("none") == "`pip install mien[none]`"


def test_runs_say_what_is_wrong_with_them(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        write_flow_images(tmp_path / name, subjects=4, clips_per_subject=3, seed=seed, layout="folders")
    pictures = f"flow_images={tmp_path / 'a'}"
    with pytest.raises(MienError, match="cannot read ready flow pictures") as caught:
        benchmark(pictures, "lbp-top", tmp_path / "r", jobs=1)
    assert "casme2=FOLDER" in caught.value.fix
    benchmark(pictures, "flow-svm", tmp_path / "one", jobs=1)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for path in [*(tmp_path / "two" / "ledger").iterdir(), tmp_path / "two" / "run.json"]:
        path.write_text(path.read_text().replace("smic", "samm"))
    (tmp_path / "two" / "clips.csv").unlink()
    datasets = [json.loads((tmp_path / name / "run.json").read_text())["datasets"] for name in ("one", "two")]
    assert datasets[0] != datasets[1]
    with pytest.raises(MienError, match="differ in") as caught:
        compare(tmp_path / "one", tmp_path / "two")
    assert "on the same databases" in caught.value.fix
    table = tmp_path / "one" / "clips.csv"
    table.write_bytes(table.read_bytes()[:-20])
    with pytest.raises(MienError, match=r"clips\.csv was cut or changed"):
        read_ledger(tmp_path / "one")


@pytest.mark.parametrize("width", [320, 640, 1280, 1920])
def test_labels_in_films_are_readable(width: int) -> None:
    """Letters keep their colour, and each is surrounded by the dark outline, on a light ground and on a dark one."""
    scale = max(0.42, width / 1400)
    for ground in (255, 0, 128):
        picture = np.full((width // 4, width, 3), ground, np.uint8)
        write_outlined(picture, "1: micro, surprise 0.62", (10, width // 8), scale, (255, 200, 60))
        letters = (np.abs(picture.astype(int) - (255, 200, 60)).max(-1) < 40).astype(np.uint8)
        assert letters.sum() > 100
        rim = cv2.dilate(letters, np.ones((3, 3), np.uint8)) - letters
        beside = picture[rim == 1].astype(int)
        # What touches a letter is dark or on its way there: no light ground shines through.
        assert (beside.min(-1) < 128).mean() > 0.9
