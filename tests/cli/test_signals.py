"""SIGTERM and Ctrl-C: what is finished stays, the folder is unlocked, nothing runs on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.cli.main import main
from mien.io.atomic import LOCK
from mien.synthesis.flow_images import write_flow_images

MAIN = "from mien.cli.main import main; main()"
STATES = "from mien.classifiers import training; training.fit.__kwdefaults__['state_seconds'] = 0.0; "
"""Before `MAIN`: the state of a training is written after each epoch, so that it can be seen that it trains."""

pytestmark = pytest.mark.skipif(os.name != "posix" or not shutil.which("pgrep"), reason="signals of POSIX")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    write_flow_images(root, subjects=8, clips_per_subject=4, seed=0, layout="folders")
    return root


def wait_for(what: Callable[[], object], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def is_training(run: Path, process: subprocess.Popen[str], jobs: int) -> bool:
    """Whether a fold has been trained for an epoch, or, in processes of their own, whether these have begun."""
    if jobs == 1:
        return any(run.glob("unfinished/*.safetensors"))
    begun = subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, text=True, check=False).stdout
    return len(begun.split()) > jobs


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
        [sys.executable, "-c", STATES + MAIN, *words, "--jobs", str(jobs)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heed_interrupts,
    )  # fmt: skip
    try:
        wait_for((run / "run.json").exists, process)
        wait_for(lambda: is_training(run, process, jobs), process)
        time.sleep(0.1)
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


@pytest.mark.parametrize(
    ("words", "resumes"),
    [("benchmark x=y", True), ("recognise a --out=b", True), ("recognise a --html b", False), ("spot a", False)],
)
def test_only_what_resumes_says_so(
    words: str, resumes: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mien.cli.commands.load_command", interrupted)
    monkeypatch.setattr(sys, "argv", ["mien", *words.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert ("resumes from there" in capsys.readouterr().err) is resumes


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
