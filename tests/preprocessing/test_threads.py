"""Worker processes: results in order, and no worker that outlives the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch
from joblib import delayed

from mien.preprocessing.threads import in_processes, one_thread

WORK = """
import os, time
from joblib import delayed
from mien.preprocessing.threads import in_processes
for number in in_processes([delayed(os.getpid)() for _ in range(4)], 2):
    print(number, flush=True)
print("ready", flush=True)
time.sleep(120)
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_tasks(jobs: int) -> None:
    assert list(in_processes((delayed(pow)(n, 2) for n in range(7)), jobs)) == [n**2 for n in range(7)]


def test_relative_paths_are_those_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in workers that were started while the program stood in another one."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name.txt").write_text(name)
        monkeypatch.chdir(tmp_path / name)
        read = (delayed(Path.read_text)(Path("name.txt")) for _ in range(2))
        assert list(in_processes(read, 2)) == [name, name]


@pytest.mark.parametrize("given", [None, "3", "4,2"])
def test_one_thread_within_a_block_also_for_torch_loaded_there(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    threads = torch.get_num_threads(), cv2.getNumThreads()
    try:
        with one_thread():
            assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)
        assert (torch.get_num_threads(), cv2.getNumThreads()) == threads
        monkeypatch.delitem(sys.modules, "torch")
        with one_thread():
            assert os.environ["OMP_NUM_THREADS"] == "1"  # what torch reads when it is loaded
            sys.modules["torch"] = torch
        assert os.environ.get("OMP_NUM_THREADS") == given
        assert torch.get_num_threads() == (3 if given == "3" else 2)
    finally:
        sys.modules["torch"] = torch
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_workers_of_a_killed_process_end_and_close_its_pipes() -> None:
    process = subprocess.Popen([sys.executable, "-c", WORK], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    workers = set(map(int, iter(lambda: process.stdout.readline().strip(), "ready")))  # type: ignore[union-attr]
    assert workers
    assert process.pid not in workers
    os.kill(process.pid, signal.SIGKILL)
    # The pipe ends only when no worker holds it.
    assert process.communicate(timeout=60)[0] == ""
