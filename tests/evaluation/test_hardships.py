"""What goes wrong while a run is at work: killed spotting, data taken away, a checkpoint that claims to be huge."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from mien.cli.main import main
from mien.datasets import open_specs
from mien.errors import MienError
from mien.evaluation.execution.processes import Processes
from mien.evaluation.ledger import read_ledger
from mien.evaluation.run import benchmark
from mien.evaluation.spotting import benchmark as spotting
from mien.evaluation.spotting.benchmark import spot_benchmark
from mien.evaluation.train import train
from mien.io.atomic import UNFINISHED
from mien.synthesis.flow_images import write_flow_images
from mien.synthesis.writer import write_corpus
from mien.systems.trained import load_checkpoint

SPOT = """
import sys
from mien.datasets import open_specs
from mien.evaluation.spotting.benchmark import spot_benchmark
print("ready", flush=True)
spot_benchmark(open_specs([f"casme_sq={sys.argv[1]}"]), "flow-peaks", sys.argv[2], jobs=1)
"""


def rows_of(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "ledger").iterdir())}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("films") / "casme_sq"
    write_corpus("casme_sq", root, subjects=2, clips_per_subject=2, seed=0)
    return root


@pytest.fixture(scope="module")
def spotted(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was left alone."""
    out = tmp_path_factory.mktemp("spotted") / "run"
    spot_benchmark(open_specs([f"casme_sq={films}"]), "flow-peaks", out, jobs=1)
    return out


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_killed_spotting_ends_with_the_same_bytes(films: Path, spotted: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", SPOT, films, out], stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        until = time.monotonic() + 60
        while not list(out.glob("rows/*.json")) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    before = {path: path.read_bytes() for path in out.rglob("*.csv")}
    spot_benchmark(open_specs([f"casme_sq={films}"]), "flow-peaks", out, jobs=1)
    assert rows_of(out) == rows_of(spotted)
    assert all(path.read_bytes() == content for path, content in before.items())
    assert not list(out.rglob(f"*{UNFINISHED}"))


def test_a_page_as_a_file_about_spotting_is_refused_and_not_forgotten(
    spotted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mien", "report", str(spotted), "--html", str(tmp_path / "r.html")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "no page as a file" in capsys.readouterr().err


def test_films_that_are_taken_away_stop_the_run_and_it_resumes(
    films: Path, spotted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No film gets "no answer" for good because a disk was pulled out."""
    away, out, watched = films.with_name("away"), tmp_path / "run", spotting._watched

    def pulled(film: Any, *more: Any) -> str:
        note = watched(film, *more)
        if films.exists():
            films.rename(away)
        return note

    data = open_specs([f"casme_sq={films}"])
    monkeypatch.setattr(spotting, "_watched", pulled)
    try:
        with pytest.raises(MienError, match="no longer exists") as caught:
            spot_benchmark(data, "flow-peaks", out, jobs=1)
    finally:
        away.rename(films)
    assert "resumes" in caught.value.fix
    monkeypatch.undo()
    spot_benchmark(data, "flow-peaks", out, jobs=1)
    assert rows_of(out) == rows_of(spotted)


def test_pictures_that_are_taken_away_stop_the_run_and_it_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No clip counts as wrong because a disk was pulled out."""
    pictures, away, out = tmp_path / "data" / "pictures", tmp_path / "away", tmp_path / "run"
    write_flow_images(pictures, subjects=3, clips_per_subject=3, seed=0, layout="folders")
    inputs = Processes.inputs

    def pulled(self: Processes, tasks: Any) -> Iterator[Any]:
        for one in inputs(self, tasks):
            if pictures.exists():
                pictures.rename(away)
            yield one

    data = open_specs([f"flow_images={pictures}"])
    monkeypatch.setattr(Processes, "inputs", pulled)
    with pytest.raises(MienError, match="no longer exists"):
        benchmark(data, "flow-svm", out, jobs=1)
    assert not (out / "failed.json").exists()
    monkeypatch.undo()
    away.rename(pictures)
    assert benchmark(data, "flow-svm", out, jobs=1).complete
    assert not read_ledger(out).failures


def test_a_checkpoint_of_a_network_of_absurd_size_is_refused_in_little_memory(tmp_path: Path) -> None:
    write_flow_images(tmp_path / "pictures", subjects=3, clips_per_subject=3, seed=0, layout="folders")
    small = {"preset": "pictures", "epochs": 1, "maps": 2, "layers": 1}
    train(f"flow_images={tmp_path / 'pictures'}", "strcn-g", tmp_path / "m.safetensors", parameters=small)
    with safe_open(tmp_path / "m.safetensors", framework="np") as kept:
        about, arrays = dict(kept.metadata()), {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118
    card = json.loads(about["card"])
    card["parameters"] |= {"maps": 4096, "layers": 4}  # several GiB
    save_file(arrays, tmp_path / "huge.safetensors", {"card": json.dumps(card)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MienError, match="do not fit strcn-g"):
        load_checkpoint(tmp_path / "huge.safetensors")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
