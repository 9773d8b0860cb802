"""Where results cannot be written: refused before any work, in three parts, and nothing that was there is lost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.classifiers import training
from mien.classifiers.checkpoint import save_checkpoint
from mien.cli.main import main
from mien.errors import MienError
from mien.evaluation import train as module
from mien.evaluation.ledger import read_ledger
from mien.evaluation.run import benchmark
from mien.evaluation.train import train
from mien.io.atomic import UNFINISHED
from mien.io.video import write_video
from mien.synthesis.flow_images import write_flow_images
from mien.synthesis.writer import write_corpus

pytestmark = pytest.mark.skipif(os.name != "posix", reason="files of POSIX")

FILES = {
    "train": "train flow_images=/nowhere --system ststnet --out {}/m.safetensors",
    "report": "report /nowhere --html {}/r.html",
    "score": "score /nowhere.csv --truth casme2=/nowhere --html {}/s.html",
    "recognise csv": "recognise /nowhere.mp4 --csv {}/a.csv",
    "recognise json": "recognise /nowhere.mp4 --json-file {}/a.json",
    "recognise eaf": "recognise /nowhere.mp4 --eaf {}/a.eaf",
    "recognise boris": "recognise /nowhere.mp4 --boris {}/a.boris",
    "recognise mp4": "recognise /nowhere.mp4 --mp4 {}/a.mp4",
    "recognise html": "recognise /nowhere.mp4 --html {}/a.html",
    "magnify": "magnify /nowhere.mp4 --out {}/a.mp4",
    "flow": "flow /nowhere.png /nowhere.png --out {}/a.png",
    "flow array": "flow /nowhere.png /nowhere.png --out /tmp/a.png --array {}/a.npy",
    "describe": "describe /nowhere.mp4 --descriptor lbp-top --out {}/a.csv",
    "export": "export /nowhere.safetensors --onnx {}/a.onnx",
}
FOLDERS = {
    "benchmark": "benchmark flow_images=/nowhere --system flow-svm --out {}/new",
    "benchmark spot": "benchmark casme_sq=/nowhere --task spot --system flow-peaks --out {}/new",
    "experiment": "experiment strcn-table2 casme2=/nowhere --out {}/new",
    "synthesise": "synthesise --out {}/new --subjects 1 --clips 1 --width 48 --fps 30 --faces drawn --jobs 1",
    "prepare": "prepare /nowhere.mp4 --out {}/new",
    "prepare pictures": "prepare /nowhere.mp4 --pictures {}/new",
    "report svg": "report /nowhere --svg {}/new",
    "combine": "combine /nowhere /nowhere --out {}/new",
    "explain": "explain shipped flow_images=/nowhere --out {}/new",
}
COMMANDS = {**FILES, **FOLDERS}


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """`mien` in this process."""

    def run(words: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["mien", *words.split()])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return subprocess.CompletedProcess(words, code if isinstance(code, int) else 0, *capsys.readouterr())

    return run


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing can be made, also by root, whom permissions do not stop."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    folder.chmod(0o555)
    fixed = (
        os.geteuid() == 0 and not subprocess.run(["chattr", "+i", folder], capture_output=True, check=False).returncode
    )
    try:
        (folder / "probe").touch()
    except OSError:
        yield folder
    else:
        pytest.skip("no folder can be made read-only here")
    finally:
        if fixed:
            subprocess.run(["chattr", "-i", folder], check=True)
        folder.chmod(0o755)


@contextmanager
def file_size(most: int) -> Iterator[None]:
    """A limit on the size of files, as a full disk has one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def refused(result: subprocess.CompletedProcess[str], about: str) -> None:
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("Expected:") == result.stderr.count("Try:") == 1
    # Lines are broken anywhere to fit the terminal.
    assert "".join(about.split()) in "".join(result.stderr.split()), result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_read_only_folder_is_refused_before_the_input_is_read(
    here: Callable[[str], Any], read_only: Path, command: str
) -> None:
    """The inputs do not exist: that the target is what is complained of shows that it is tried first."""
    for folder in (read_only, read_only / "below"):
        refused(here(COMMANDS[command].format(folder)), "read-only")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_without_room_is_refused_before_the_input_is_read(
    here: Callable[[str], Any], tmp_path: Path, command: str
) -> None:
    with file_size(0):
        refused(here(COMMANDS[command].format(tmp_path)), "cannot be written (File too large)")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_where_a_folder_is_due_is_refused(here: Callable[[str], Any], tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("kept")
    refused(here(COMMANDS[command].format(tmp_path / "file")), "is not a folder")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("command", FILES)
def test_a_folder_where_a_file_is_due_is_refused(here: Callable[[str], Any], tmp_path: Path, command: str) -> None:
    words = FILES[command].format(tmp_path)
    place = next(Path(word) for word in words.split() if word.startswith(str(tmp_path)))
    place.mkdir()
    refused(here(words), "is a folder")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_folder_is_no_mistake(here: Callable[[str], Any], tmp_path: Path, command: str) -> None:
    """It is made when there is something to write: here the input is missing, and so the folder is."""
    result = here(COMMANDS[command].format(tmp_path / "a" / "b"))
    if command != "synthesise":
        assert result.returncode == 2
        assert str(tmp_path) not in result.stderr.replace("\n", ""), result.stderr
    assert command == "synthesise" or not (tmp_path / "a").exists()


# A disk that fills up while results are written


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flow pictures, a finished run, a film and two pictures."""
    root = tmp_path_factory.mktemp("inputs")
    write_flow_images(root / "pictures", subjects=4, clips_per_subject=3, seed=0, layout="folders")
    for name, system in (("run", "flow-svm"), ("other", "ststnet")):
        settings = {"epochs": 1} if system == "ststnet" else {}
        benchmark(f"flow_images={root / 'pictures'}", system, root / name, parameters=settings, jobs=1)
    train(f"flow_images={root / 'pictures'}", "ststnet", root / "m.safetensors", parameters={"epochs": 1})
    random = np.random.default_rng(0)
    write_video(root / "film.mkv", (random.integers(0, 255, (48, 48), np.uint8) for _ in range(40)), 100)
    write_corpus("casme_sq", root / "films", subjects=2, clips_per_subject=1, seed=0)
    rows = read_ledger(root / "run").rows
    (root / "answers.csv").write_text(
        "subject,clip,predicted\n" + "".join(f"{r.subject},{r.clip},{r.y_pred}\n" for r in rows)
    )
    return root


LATE = {
    "train": "train flow_images={0}/pictures --system ststnet --set epochs=1 --out {1}/m.safetensors",
    "report": "report {0}/run --html {1}/r.html",
    "report svg": "report {0}/run --svg {1}/figures",
    "recognise": "recognise {0}/film.mkv --csv {1}/a.csv --html {1}/a.html",
    "magnify": "magnify {0}/film.mkv --out {1}/a.mkv",
    "flow": "flow {0}/film.mkv --interval 2:30:20 --method dis --out {1}/a.png",
    "describe": "describe flow_images={0}/pictures --descriptor bi-woof --no-cache --jobs 1 --out {1}/a.csv",
    "benchmark": "benchmark flow_images={0}/pictures --system flow-svm --jobs 1 --out {1}/run",
    "benchmark spot": "benchmark casme_sq={0}/films --task spot --system flow-peaks --jobs 1 --out {1}/spot",
    "score": "score {0}/answers.csv --truth flow_images={0}/pictures --html {1}/s.html",
    "recognise many": "recognise {0}/film.mkv --jobs 1 --out {1}/all",
    "recognise json": "recognise {0}/film.mkv --json-file {1}/a.json",
    "recognise eaf": "recognise {0}/film.mkv --eaf {1}/a.eaf",
    "recognise boris": "recognise {0}/film.mkv --boris {1}/a.boris",
    "recognise mp4": "recognise {0}/film.mkv --mp4 {1}/a.mp4",
    "prepare pictures": "prepare {0}/film.mkv --set transform=none --set flow=dis --no-cache --pictures {1}/in",
    "synthesise": "synthesise --out {1}/c --subjects 1 --clips 1 --width 48 --fps 30 --faces drawn --jobs 1",
    "combine": "combine {0}/run {0}/other --out {1}/both",
    "prepare": "prepare {0}/film.mkv --recipe strcn-g --set transform=none --set flow=dis --no-cache --out {1}/in",
    "export": "export {0}/m.safetensors --onnx {1}/m.onnx",
    "experiment": "experiment leaderboard flow_images={0}/pictures --only flow-svm --jobs 1 --out {1}/e",
    "explain": "explain {0}/m.safetensors flow_images={0}/pictures --clip 001_001_0 --method gradient --out {1}/e",
}


@pytest.mark.parametrize("command", LATE)
def test_a_disk_that_fills_up_ends_in_three_parts_and_leaves_no_half_file(
    here: Callable[[str], Any], inputs: Path, tmp_path: Path, command: str
) -> None:
    with file_size(200):
        result = here(LATE[command].format(inputs, tmp_path))
    if command == "experiment":  # each row of its table is on its own
        assert result.returncode == 1
        assert "(Filetoolarge)" in "".join(result.stdout.split())
        assert "Traceback" not in result.stdout + result.stderr
    else:
        refused(result, "File too large")
    assert UNFINISHED not in result.stderr  # a name that nobody has heard of
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in left if path.name.endswith(UNFINISHED)]
    assert all(path.stat().st_size < 200 or path.suffix == ".jpg" for path in left)


def test_a_training_whose_result_cannot_be_written_is_resumed(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = training.fit.__kwdefaults__
    assert kept is not None
    monkeypatch.setitem(kept, "state_seconds", 0.0)
    data, settings = f"flow_images={inputs / 'pictures'}", {"epochs": 3}
    out = tmp_path / "m.safetensors"
    train(data, "ststnet", tmp_path / "whole.safetensors", parameters=settings, jobs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["whole.safetensors"]

    def blocked(path: Path, *given: Any) -> None:
        path.mkdir()
        save_checkpoint(path, *given)

    with monkeypatch.context() as patched:
        patched.setattr(module, "save_checkpoint", blocked)
        with pytest.raises(MienError, match="cannot be written"):
            train(data, "ststnet", out, parameters=settings, jobs=1)
    out.rmdir()
    states = [path.name for path in tmp_path.iterdir() if "unfinished" in path.name]
    assert states
    # Other settings neither use nor delete it.
    train(data, "ststnet", out, parameters={"epochs": 2}, jobs=1)
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == states
    train(data, "ststnet", out, parameters=settings, jobs=1)
    assert not [path.name for path in tmp_path.iterdir() if "unfinished" in path.name]
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


# What stands at the target


@pytest.mark.parametrize("ending", ["html", "mkv"])
def test_links_are_followed_and_pipes_and_devices_are_not_replaced(inputs: Path, tmp_path: Path, ending: str) -> None:
    from mien.evaluation.report_html import write_html
    from mien.io.atomic import write_atomically

    frames = [np.full((16, 16), n, np.uint8) for n in range(4)]

    def write(path: Path) -> None:
        if ending == "html":
            write_html([inputs / "run"], path)
        else:
            write_video(path, frames, 50)

    target, link, pipe = tmp_path / "below" / f"a.{ending}", tmp_path / f"link.{ending}", tmp_path / f"p.{ending}"
    link.symlink_to(Path("below") / target.name)
    write(link)
    assert link.is_symlink()
    assert target.is_file()
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as cat:
        write(pipe)
        piped = cat.communicate(timeout=60)[0]
    assert pipe.is_fifo()
    assert len(piped) == target.stat().st_size
    device = tmp_path / f"device.{ending}"
    device.symlink_to("/dev/full")
    with pytest.raises(MienError, match="it is a device"):
        write(device)
    circle = tmp_path / f"circle.{ending}"
    circle.symlink_to(circle.name)
    with pytest.raises(MienError, match="cannot be written"):
        write(circle)
    write_atomically(tmp_path / ("n" * 250), "a long name")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files of Linux")
def test_standard_output_is_written_to_wherever_it_leads(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mien.io.atomic import write_atomically\n"
        "sys.stdout.write('before '); write_atomically(Path('/dev/stdout'), 'the page'); print(' after')"
    )
    wanted = "kept before the page after\n"
    with (tmp_path / "file").open("w") as file:
        file.write("kept ")
        file.flush()
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert (tmp_path / "file").read_text() == wanted
    assert (
        "kept " + subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == wanted
    )
    with Path("/dev/full").open("w") as full:
        told = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert "No space left on device" in told.stderr


@pytest.mark.parametrize("words", ["systems --json", "recipes --help"])
def test_an_output_that_cannot_be_written_and_one_that_nobody_reads(words: str) -> None:
    code = [sys.executable, "-c", "from mien.cli.main import main; main()", *words.split()]
    with Path("/dev/full").open("w") as full:
        told = subprocess.run(code, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    refused(subprocess.CompletedProcess(code, told.returncode, "", told.stderr), "No space left")
    read, write = os.pipe()
    os.close(read)
    quiet = subprocess.run(code, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert quiet.stderr == ""
    assert quiet.returncode == (1 if "--help" in words else 141)
