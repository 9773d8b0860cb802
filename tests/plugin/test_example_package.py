"""The package of `examples/plugin` is installed beside mien, and each thing it brings is used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import openpyxl
import pytest
from typer.testing import CliRunner

import mien
from mien.cli.main import app
from mien.datasets import open_dataset
from mien.descriptors import descriptor
from mien.evaluation.protocols import make_folds
from mien.evaluation.run import benchmark
from mien.face.portrait import portrait
from mien.io.video import open_video
from mien.registry import import_object
from mien.spotting.spot import spot
from mien.systems import system

pytest_plugins = "plugin_packages"

runner = CliRunner()
Use = Callable[[Path], None]


def run(*words: object) -> str:
    result = runner.invoke(app, [str(w) for w in words])
    assert result.exception is None, result.exception
    return result.stdout


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures of a face that moves by a few pixels once."""
    folder = tmp_path_factory.mktemp("faces")
    face = portrait()[..., ::-1]
    for t in range(40):
        shift = 3 * np.exp(-(((t - 25) / 2) ** 2))
        moved = cv2.warpAffine(face, np.array([[1, 0, 0], [0, 1, shift]], np.float64), (320, 320), borderMode=1)
        cv2.imwrite(str(folder / f"{t:03d}.png"), moved)
    return folder


@pytest.fixture(scope="module")
def dfme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of two subjects as the sheet of DFME has them; ten pictures each."""
    root = tmp_path_factory.mktemp("dfme")
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    rows = [["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "EmotionId", "Fps", "AU"]]
    for n in range(6):
        subject, clip = f"sub{3 + n // 3:04d}", f"sub{3 + n // 3:04d}_{n % 3:02d}"
        rows.append([subject, clip, 2, 5, 8, ("anger", "disgust")[n % 2], n % 2, (200, 500)[n // 3], "4+7"])  # type: ignore[list-item]
        (root / clip).mkdir()
        for t in range(10):
            cv2.imwrite(str(root / clip / f"{t}.png"), np.roll(portrait()[..., ::-1], t // 3, 0))
    for row in rows:
        sheet.append(row)
    book.save(root / "DFME_training.xlsx")
    return root


def test_the_package_is_apart_from_mien_and_lists_its_five_things(example_site: Path) -> None:
    assert not list(Path(mien.__file__).parent.rglob("*mien_example_plugin*"))
    source = str(Path(mien.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(example_site), source]), "OMP_NUM_THREADS": "1"}
    listing = subprocess.run(
        [sys.executable, "-c", "from mien.cli.main import main; main()", "systems", "off_apexnet_plugin", "--json"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(listing.stdout)[0]["title"] == "OFF-ApexNet"


def test_the_system_is_scored_from_the_command_line_and_from_python(
    example_site: Path, installed: Use, flow_pictures: Path, tmp_path: Path
) -> None:
    installed(example_site)
    words = ("--system", "off_apexnet_plugin", "--set", "epochs=2", "--labels", "own", "--jobs", 1, "--json")
    report = json.loads(run("benchmark", f"flow_images={flow_pictures}", *words, "--out", tmp_path / "a"))
    assert report["system"] == "off_apexnet_plugin"
    assert report["n_clips"] == 30
    data = [open_dataset("flow_images", flow_pictures)]
    benchmark(
        data, system("off_apexnet_plugin"), tmp_path / "b", labels="own", parameters={"epochs": 2}, jobs=1
    )  # fmt: skip
    rows = [(path / "ledger" / "s0-f0000.csv").read_bytes() for path in (tmp_path / "a", tmp_path / "b")]
    assert rows[0] == rows[1]
    origin = json.loads((tmp_path / "a" / "run.json").read_text())["system_origin"]
    assert origin == {"package": "mien-example-plugin", "version": "0.1.0", "given": "off_apexnet_plugin"}


def test_the_network_has_the_weights_of_the_published_layers(example_site: Path, installed: Use) -> None:
    installed(example_site)
    network = import_object("mien_example_plugin.off_apexnet:OffApexNet")(3)
    assert sum(p.numel() for p in network.parameters()) == 2_664_475


def test_the_database_is_read_checked_and_named(example_site: Path, installed: Use, dfme: Path) -> None:
    installed(example_site)
    clips = open_dataset("dfme_plugin", dfme).clips()
    assert [clip.key for clip in clips][:2] == ["dfme_plugin/sub0003/sub0003_00", "dfme_plugin/sub0003/sub0003_01"]
    assert {clip.fps for clip in clips} == {200.0, 500.0}
    assert all(len(clip.frames) == 7 and clip.action_units == "4+7" for clip in clips)
    assert json.loads(run("datasets", "dfme_plugin", "--json"))[0]["expected"] == {"clips": 1856, "subjects": 176}
    checked = runner.invoke(app, ["check", f"dfme_plugin={dfme}", "--json"])
    assert json.loads(checked.stdout)


def test_the_real_sheet_of_the_database_is_read(example_site: Path, installed: Use, tmp_path: Path) -> None:
    sheet = Path(__file__).resolve().parents[3] / "shared" / "data" / "label_sheets" / "DFME_training.xlsx"
    if not sheet.is_file():
        pytest.skip("the real label sheets are not beside the project")
    installed(example_site)
    (tmp_path / sheet.name).symlink_to(sheet)
    (tmp_path / "training").mkdir()
    clips = open_dataset("dfme_plugin", tmp_path).clips()
    assert len(clips) == 1856
    assert len({clip.person for clip in clips}) == 176
    assert {clip.fps for clip in clips} == {200.0, 300.0, 500.0}


def test_a_system_of_mien_is_scored_on_the_database(
    example_site: Path, installed: Use, dfme: Path, tmp_path: Path
) -> None:
    installed(example_site)
    words = ("--system", "bi-woof", "--protocol", "subject_halves", "--labels", "own", "--jobs", 1, "--json")
    report = json.loads(
        run(
            "benchmark",
            f"dfme_plugin={dfme}",
            *words,
            "--set",
            "face=none",
            "--set",
            "flow=dis",
            "--out",
            tmp_path / "run",
        )
    )
    assert report["datasets"] == ["dfme_plugin"]
    assert report["n_clips"] == 6


def test_the_descriptor_measures_clips(example_site: Path, installed: Use, dfme: Path, tmp_path: Path) -> None:
    installed(example_site)
    target = tmp_path / "features.csv"
    words = ("--descriptor", "flow-extremes", "--set", "blocks=2", "--set", "face=none", "--set", "flow=dis")
    run("describe", f"dfme_plugin={dfme}", *words, "--jobs", 1, "--out", target)
    lines = target.read_text().splitlines()
    assert len(lines) == 7
    assert lines[0].endswith("flow_extremes_2,flow_extremes_3")
    assert descriptor("flow-extremes").function(np.ones((8, 8, 2), np.float32), blocks=2) == pytest.approx([2**0.5] * 4)


def test_the_protocol_divides_subjects(example_site: Path, installed: Use, flow_pictures: Path) -> None:
    installed(example_site)
    from mien.datasets.labels import samples

    table = samples(open_dataset("flow_images", flow_pictures).clips(), "own")
    folds = make_folds("subject_halves", table)
    assert sorted(i for fold in folds for i in fold.test) == list(range(len(table)))
    for fold in folds:
        people = [{table[i].clip.person for i in side} for side in (fold.train, fold.test)]
        assert not people[0] & people[1]
    assert "subject_halves" in run("protocols")


def test_the_spotter_finds_the_movement(example_site: Path, installed: Use, faces: Path) -> None:
    installed(example_site)
    found = json.loads(run("spot", faces, "--spotter", "still-face", "--fps", 30, "--json"))
    assert found["spotter"] == "still-face"
    outcome = spot(open_video(str(faces), 30.0), "still-face")
    assert any(s.onset <= 27 and s.offset >= 22 for s in outcome.spots)


def test_what_was_installed_is_gone_with_its_package() -> None:
    from mien.errors import MienError

    with pytest.raises(MienError, match="no system called 'off_apexnet_plugin'"):
        system("off_apexnet_plugin")
