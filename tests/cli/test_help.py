"""`mien --help`, its groups, completion of names, and paths with square brackets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mien
from mien.cli import completion
from mien.cli.commands import GROUPS, load_command
from mien.cli.main import app
from mien.datasets.flow_images import FlowImages
from mien.evaluation.run import benchmark
from mien.io.video import write_video
from mien.synthesis.flow_images import write_flow_images
from mien.synthesis.moving_face import render_clip

runner = CliRunner(env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
COMMANDS = [name for commands in GROUPS.values() for name in commands]


def run(*words: object) -> str:
    result = runner.invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.stdout


def test_commands_stand_in_groups_in_the_order_of_need() -> None:
    text = run("--help")
    places = [text.index(f"─ {group} ─") for group in GROUPS]
    assert places == sorted(places)
    listed = re.findall(r"^│ (\w+) +[A-Z]", text, re.MULTILINE)
    assert listed == COMMANDS


def test_version_is_printed() -> None:
    assert re.fullmatch(rf"mien {re.escape(mien.__version__)}( \([0-9a-f]{{7,}}\+?\))?", run("--version").strip())


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_and_each_of_its_options(command: str) -> None:
    text = run(command, "--help")
    assert max(map(len, text.splitlines())) <= 80
    (first,) = (group[command][1] for group in GROUPS.values() if command in group)
    assert re.match(r"[A-Z][a-z]+ ", first)
    assert first.endswith(".")
    assert all(parameter.help for parameter in load_command(command).params)


def test_names_are_completed() -> None:
    assert completion.complete_system("strcn-") == ["strcn-g", "strcn-a", "strcn-2018"]
    assert completion.complete_data("casme2") == ["casme2="]
    assert "loso" in completion.complete_protocol("l")
    assert "megc2019" in completion.complete_labels("m")
    assert completion.complete_recipe("strcn-") == ["strcn-g", "strcn-a"]
    assert completion.complete_descriptor("mdm") == ["mdmo"]
    assert completion.complete_spotter("flow") == ["flow-peaks"]
    assert "tvl1" in completion.complete_flow("")
    assert "strcn-table2" in completion.complete_experiment("strcn")


def test_folders_are_completed_after_the_equals_sign(tmp_path: Path) -> None:
    (tmp_path / "CASMEII").mkdir()
    (tmp_path / "file").touch()
    assert completion.complete_data(f"casme2={tmp_path}/") == [f"casme2={tmp_path}/CASMEII/"]
    assert completion.complete_data(f"casme2={tmp_path}/nothing/") == []


def test_the_shell_completes_presets_of_the_system_on_the_line() -> None:
    line = "mien benchmark --system strcn-g --set preset="
    env = {"_MIEN_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": "5"}
    result = runner.invoke(app, [], prog_name="mien", env=env)
    assert "preset=paper" in result.stdout
    assert "preset=small" in result.stdout


@pytest.fixture(scope="module")
def bracketed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that markup could trip over in its name."""
    root = tmp_path_factory.mktemp("names") / "a" / "[" / "x] [bold]b[" / "red] :smile:"
    write_flow_images(root / "pictures", subjects=3, clips_per_subject=4, seed=0, layout="folders")
    frames = render_clip(0, "positive", interval_length=14, apex=7, size=96, seed=0, colour=True)
    write_video(root / "[face].mkv", frames, 100)
    benchmark(FlowImages(root / "pictures"), "flow-svm", root / "[run]", jobs=1)
    return root


COMMAND_LINES = {
    "benchmark": ("flow_images={root}/pictures", "--system", "flow-svm", "--out", "{root}/[run]"),
    "report": ("{root}/[run]", "--html", "{root}/[r].html"),
    "compare": ("{root}/[run]", "{root}/[run]"),
    "combine": ("{root}/[run]", "{root}/[run]", "--out", "{root}/[both]"),
    "check": ("flow_images={root}/pictures",),
    "spot": ("{root}/[face].mkv",),
    "magnify": ("{root}/[face].mkv", "--out", "{root}/[large].mkv"),
    "flow": ("{root}/[face].mkv", "--method", "dis", "--out", "{root}/[flow].png"),
    "prepare": ("{root}/[face].mkv", "--recipe", "aligned", "--set", "transform=none", "--out", "{root}/[inputs]"),
    "describe": ("{root}/[face].mkv", "--descriptor", "hoof", "--set", "flow=dis", "--out", "{root}/[f].csv"),
    "cache": ("--cache", "{root}/[cache]"),
    "synthesise": ("--out", "{root}/[faces]", "--subjects", "1", "--clips", "1", "--width", "48", "--faces", "drawn"),
    "train": (
        "flow_images={root}/pictures", "--system", "ststnet", "--set", "epochs=1", "--out", "{root}/[w].safetensors",
    ),
}  # fmt: skip
SHOWS_A_PATH = {"magnify", "flow", "prepare", "describe", "cache", "synthesise", "benchmark", "train", "report"}


@pytest.mark.parametrize("command", COMMAND_LINES)
def test_square_brackets_in_paths_are_printed_as_they_are(command: str, bracketed: Path) -> None:
    words = [word.format(root=bracketed) for word in COMMAND_LINES[command]]
    text = "".join(run(command, *words).split())
    if command in SHOWS_A_PATH:
        assert "".join(str(bracketed).split()) in text
    assert "Traceback" not in text


@pytest.mark.parametrize("command", ["recognise", "spot", "report", "card", "recipes", "systems", "datasets"])
def test_square_brackets_in_a_name_that_does_not_exist_are_printed(command: str) -> None:
    from mien.errors import MienError

    result = runner.invoke(app, [command, "[/x]"])
    assert isinstance(result.exception, MienError)
    assert "[/x]" in result.exception.found
