"""SIGTERM and Ctrl-C: what is finished stays, the folder is unlocked, nothing runs on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mien.io.atomic import LOCK
from mien.synthesis.flow_images import write_flow_images

MAIN = "from mien.cli.main import main; main()"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    write_flow_images(root, subjects=8, clips_per_subject=4, seed=0, layout="folders")
    return root


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def has_ended(group: int) -> bool:
    """Whether no process of a group runs on, a few seconds later at most."""
    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def heed_interrupts() -> None:
    """Undo what a shell does to programs in the background, which ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(("number", "code", "jobs"), [(signal.SIGTERM, 143, 2), (signal.SIGINT, 130, 1)])
def test_a_benchmark_that_is_stopped_unlocks_its_folder(
    pictures: Path, tmp_path: Path, number: signal.Signals, code: int, jobs: int
) -> None:
    run = tmp_path / "run"
    words = ("benchmark", f"flow_images={pictures}", "--system", "ststnet", "--set", "epochs=100000", "--out", str(run))
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *words, "--jobs", str(jobs)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True, preexec_fn=heed_interrupts,
    )  # fmt: skip
    try:
        wait_for(run / "run.json", process)
        time.sleep(5)  # until it trains
        assert (run / LOCK).exists()
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == code, err
    assert out == ""
    assert err.splitlines()[-1] == "Stopped. Finished work is kept; the same command resumes from there."
    assert "Traceback" not in err
    assert not (run / LOCK).exists()
    assert has_ended(process.pid)


def test_a_server_that_is_stopped_deletes_uploads_and_says_so(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    words = ("serve", "--port", "0", "--runs", str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    first = process.stdout.readline()
    assert "http://127.0.0.1" in first
    time.sleep(1)
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "Stopped. All uploads" in out
    assert "Traceback" not in err
    assert not [each for each in tmp_path.iterdir() if each.name.startswith("mien")]
