"""Kills, full disks, wrong clocks, two at once, files changed by hand: nothing is lost, nothing doubled."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dying import answered

from mien.datasets import open_specs
from mien.datasets.base import Dataset
from mien.errors import MienError
from mien.evaluation.ledger import fold_file, open_folder, read_ledger
from mien.evaluation.report import report_many
from mien.evaluation.run import benchmark
from mien.io.atomic import LOCK, UNFINISHED, lock_run, write_atomically
from mien.preprocessing.cache import Cache
from mien.preprocessing.prepare import run_parallel
from mien.synthesis.flow_images import write_flow_images

SOAK = Path(__file__).parents[2] / "tools" / "soak.py"
posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    write_flow_images(root, subjects=4, clips_per_subject=3, seed=0, layout="folders")
    return root


def opened(root: Path) -> list[Dataset]:
    return open_specs([f"flow_images={root}"])


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    benchmark(opened(corpus), "flow-svm", out, jobs=1)
    return out


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A finished run that may be spoilt."""
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def ledger_bytes(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "ledger").iterdir()}


@posix
def test_killed_runs_of_the_soak_end_with_the_same_bytes(tmp_path: Path) -> None:
    words = [sys.executable, str(SOAK), "--trials", "3", "--workers", "0", "--out", str(tmp_path / "soak.md")]
    told = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "3 of 3 trials ended with the bytes" in (tmp_path / "soak.md").read_text()


# Two at once

HOLD = """
import sys, time
from pathlib import Path
from typing import Any
from mien.io.atomic import lock_run
with lock_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@posix
def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(corpus: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(MienError, match=rf"Another process is at work on .*process {other.pid} on"):
        benchmark(opened(corpus), "flow-svm", out, jobs=1)
    assert [path.name for path in out.iterdir()] == [LOCK]
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    other.stdout.close()
    assert (out / LOCK).is_file()
    benchmark(opened(corpus), "flow-svm", out, jobs=1)
    assert ledger_bytes(out) == ledger_bytes(whole)
    assert not (out / LOCK).exists()


def test_a_folder_is_locked_once_and_unlocked_again(tmp_path: Path) -> None:
    with lock_run(tmp_path / "a") as alone:
        assert alone
        with pytest.raises(MienError, match="at work"), lock_run(tmp_path / "a"):
            pass
        with lock_run(tmp_path / "b") as beside:
            assert beside
    with lock_run(tmp_path / "a"):
        pass
    assert not list((tmp_path / "a").iterdir())


# Full disks, folders that cannot be written


@contextmanager
def small_files(most: int) -> Iterator[None]:
    """No file may grow beyond some bytes: what a full disk does, on any machine."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@posix
@pytest.mark.parametrize(("begun", "most"), [(False, 0), (False, 700), (True, 0), (True, 200)])
def test_a_full_disk_stops_with_a_message_and_the_run_resumes_later(
    corpus: Path, whole: Path, run: Path, tmp_path: Path, begun: bool, most: int
) -> None:
    out = run if begun else tmp_path / "fresh"
    if begun:
        shutil.rmtree(run / "ledger")  # settings are there, rows are to be written
    with small_files(most), pytest.raises(MienError) as caught:
        benchmark(opened(corpus), "flow-svm", out, jobs=1)
    assert "cannot be written" in caught.value.found
    assert "df -h" in caught.value.fix
    assert not list(out.rglob(f"*{UNFINISHED}"))
    benchmark(opened(corpus), "flow-svm", out, jobs=1)
    assert ledger_bytes(out) == ledger_bytes(whole)


@posix
def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    write_atomically(tmp_path / "f", "old")
    with small_files(10), pytest.raises(OSError, match="File too large"):
        write_atomically(tmp_path / "f", "new" * 100)
    assert (tmp_path / "f").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs a file system of its own")
def test_a_really_full_disk(corpus: Path, tmp_path: Path) -> None:
    command = "from mien.cli.main import main; main()"
    small = tmp_path / "small"
    script = f'mkdir -p {small} && mount -t tmpfs -o size=16k none {small} && exec "$@"'
    words = ["unshare", "-rm", "sh", "-c", script, "sh", sys.executable, "-c", command, "benchmark"]
    tried = subprocess.run([*words[:4], f"mkdir -p {small} && mount -t tmpfs none {small}"], capture_output=True)
    if tried.returncode:
        pytest.skip("this machine lets nobody mount")
    words += [f"flow_images={corpus}", "--system", "flow-svm", "--out", str(small / "run"), "--jobs", "1"]
    told = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 2, told.stderr
    assert "No space left on device" in told.stderr
    assert "Traceback" not in told.stderr


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder that nobody can write to, not even whoever may everything."""
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture
def public(whole: Path) -> Iterator[Path]:
    """A finished run in a place that every user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="mien-test-"))
    folder.chmod(0o755)
    shutil.copytree(whole, folder / "run")
    yield folder
    shutil.rmtree(folder)


@posix
def test_a_finished_run_can_be_read_where_nothing_can_be_written(public: Path, corpus: Path) -> None:
    shutil.copytree(corpus, public / "corpus")
    (public / "corpus").chmod(0o755)
    data = opened(public / "corpus")
    with read_only(public / "run"):
        assert benchmark(data, "flow-svm", public / "run", jobs=1).complete
        assert report_many([public / "run"])[0]["n_clips"] == 12
    fold_file(public / "run", 0, 1).unlink()
    with read_only(public / "run"), pytest.raises(MienError, match=r"cannot be written( or read)? \(Permission denied"):
        benchmark(data, "flow-svm", public / "run", jobs=1)
    benchmark(data, "flow-svm", public / "run", jobs=1)


# Clocks


@pytest.mark.parametrize("moment", [0.0, 4e9])
def test_file_times_do_not_decide_what_is_finished(corpus: Path, whole: Path, run: Path, moment: float) -> None:
    for number in (0, 2):
        fold_file(run, 0, number).unlink()
    for n, path in enumerate(sorted(run.rglob("*"))):
        os.utime(path, (moment + 1000 * (n % 3),) * 2)
    benchmark(opened(corpus), "flow-svm", run, jobs=1)
    assert ledger_bytes(run) == ledger_bytes(whole)


def test_an_entry_from_the_future_does_not_outlive_all_others(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=1000)
    (tmp_path / "r").mkdir()
    for n, age in enumerate((-1e9, 50.0, 100.0)):
        path = tmp_path / "r" / f"{n}.safetensors"
        path.write_bytes(bytes(400))
        os.utime(path, (time.time() - age,) * 2)
    cache._make_room(400)
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["1.safetensors"]


# Files changed by hand


def changed(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[: text.rindex(",")], "not as it was written"),
        (lambda text: "", "not as it was written"),
        (lambda text: text + "\n".join(text.splitlines()[1:2]), "a second time"),
        (changed(",0,ready,", ",1,ready,"), "a row of seed 1"),
        (changed(",0,ready,", ",0,ready,,"), "number of cells"),
        (changed("ready,negative,", "ready,sad,"), "true class 'sad'"),
        (changed("fold,seed", "fold,seeds"), "columns"),
        (lambda text: text.rpartition(",")[0] + ",0.6\n", "sum to"),
        (lambda text: text.rpartition(",")[0] + ",x\n", "could not convert"),
        (lambda text: text.rpartition(",")[0] + ",nan\n", "no number"),
    ],
)
def test_rows_changed_by_hand_are_refused_and_trained_again(
    corpus: Path, whole: Path, run: Path, change: Callable[[str], str], words: str
) -> None:
    path = fold_file(run, 0, 1)
    path.write_text(change(path.read_text()))
    looks: list[Callable[[], object]] = [
        lambda: read_ledger(run),
        lambda: benchmark(opened(corpus), "flow-svm", run, jobs=1),
    ]
    for look in looks:
        with pytest.raises(MienError, match=words) as caught:
            look()
        assert path.name in caught.value.found
        assert caught.value.fix.startswith("move the file away")
    path.unlink()
    benchmark(opened(corpus), "flow-svm", run, jobs=1)
    assert ledger_bytes(run) == ledger_bytes(whole)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seeds": [0]}', '{"seeds": "0", "n_folds": 4}', "[" * 100_000])
def test_settings_changed_by_hand_are_refused(run: Path, text: str) -> None:
    (run / "run.json").write_text(text)
    with pytest.raises(MienError, match=r"run\.json"):
        report_many([run])


def test_a_run_that_claims_a_billion_folds_is_read_at_once(run: Path) -> None:
    settings = (run / "run.json").read_text().replace('"n_folds": 4', '"n_folds": 1000000000')
    (run / "run.json").write_text(settings)
    assert not read_ledger(run).complete


# Processes that die


@posix
def test_a_task_that_takes_its_process_down_costs_no_other(tmp_path: Path) -> None:
    from joblib import delayed

    tasks = [delayed(answered)(n) for n in (1, 2, 3, 5)]
    assert list(run_parallel(tasks, 2)) == [10, None, 30, None]


def test_a_run_that_was_killed_before_its_settings_were_written_begins_again(tmp_path: Path) -> None:
    def open_it(table: str = "a,b\n") -> dict[str, Any]:
        return open_folder(
            tmp_path / "run", {"system": "x", "seeds": [0], "n_folds": 1}, "clips.csv", table, lambda *_: []
        )

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").write_text("process 1")
    (tmp_path / "run" / ".run.json-ab.part").write_text("{")
    (tmp_path / "run" / "clips.csv").write_text("a,b\n")
    assert open_it()["seeds"] == [0]
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(MienError, match="is not a run"):  # the table of another run, or a file of somebody's
        open_it("a,c\n")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(MienError, match="is not a run"):
        open_it()
