"""Worker processes: results in order, and no worker that outlives the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from joblib import delayed

from mien.preprocessing.threads import in_processes

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
