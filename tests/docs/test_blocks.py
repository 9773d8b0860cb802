"""The guide and the README do what they print: their blocks run on small written data, and what they name exists.

A block that cannot run here is preceded by a comment that says why: `<!-- not run: needs docker -->`; a comment
`<!-- not run, lines with WORD: why -->` leaves out the lines that contain the word. All other blocks of a page run from
top to bottom in one folder, in this process.
"""

from __future__ import annotations

import ast
import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from material import MAKERS, material
from typer.testing import CliRunner

import mien
from mien.cli.commands import load_command
from mien.cli.main import app
from mien.datasets import DATASETS, label_maps_of

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *(page for folder in ("start", "guide", "methods") for page in sorted((ROOT / "docs" / folder).glob("*.md"))),
]

SLOW = {
    "README.md",
    "docs/start/first-result.md",
    *(f"docs/guide/{name}.md" for name in ("cluster", "commands", "export", "inputs", "many-videos", "own-method")),
    *(f"docs/guide/{name}.md" for name in ("paper", "recognise", "samm", "surviving", "synthesis", "teach", "weights")),
    "docs/methods/microexp-stcnn.md",
    "docs/methods/spotting.md",
}
"""Pages that would make the suite long; the others together take less than 20 seconds."""

SMALL = {
    r"(benchmark|train) (?!flow_images).*strcn-g": "--set preset=pictures --set flow=dis --set maps=4 --set epochs=1",
    r"(benchmark|train) flow_images.*strcn-g": "--set epochs=1",
    r"synthesise .*--subjects 20": "--subjects 3 --clips 3 --width 96",
    r"synthesise ": "--jobs 1",
    r"experiment reddy": "--small --set epochs=1",
}
"""What is added to commands so that they are quick."""


class Block(NamedTuple):
    """A fenced block of a page, and what keeps it or some of its lines from being run."""

    page: str
    line: int
    language: str
    text: str
    why_not: str
    lines_with: str
    title: str


def blocks(path: Path) -> Iterator[Block]:
    text = path.read_text(encoding="utf-8")
    mark = r"(?:^ *<!-- not run(?:, lines with (?P<word>\S+))?: (?P<why>[^\n]+) -->\n+)?"
    head = r"^(?P<indent> *)```(?P<language>console|bash|sh|python|pycon|toml)(?: title=\"(?P<title>\S+)\")?\n"
    fence = head + r"(?P<text>.*?)^ *```$"
    for match in re.finditer(mark + fence, text, re.MULTILINE | re.DOTALL):
        plain = "\n".join(line.removeprefix(match["indent"]) for line in match["text"].split("\n"))
        line = text.count("\n", 0, match.start("language")) + 1
        page = path.relative_to(ROOT).as_posix()
        language = match["language"].replace("pycon", "python")
        yield Block(page, line, language, plain, match["why"] or "", match["word"] or "", match["title"] or "")


BLOCKS = [block for page in PAGES for block in blocks(page)]


def command_lines(block: Block) -> list[str]:
    """The lines of a console block that are typed, without prompt and remark."""
    joined = re.sub(r"\\\n\s*", " ", block.text)
    return [re.sub(r"\s+# .*", "", line[2:]) for line in joined.split("\n") if line.startswith("$ ")]


COMMANDS = [
    pytest.param(shlex.split(line)[1:], id=f"{block.page}:{block.line} {line[5:50]}")
    for block in BLOCKS
    if block.language not in ("python", "toml")
    for line in command_lines(block)
    if line.startswith("mien ")
]


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_line_is_understood_and_its_names_exist(words: list[str]) -> None:
    if words[0] in ("--version", "--help"):
        return
    given = load_command(words[0]).make_context(words[0], words[1:]).params
    maps = {name for dataset in mien.datasets() for name in label_maps_of(dataset)}
    for key, known in (("system", mien.systems()), ("protocol", mien.protocols()), ("labels", maps)):
        for name in [given[key]] if given.get(key) and isinstance(given[key], str) else []:
            assert name in known or name in mien.spotters() or name == "off_apexnet_plugin"  # of the example package
    for word in words[1:]:
        if found := re.fullmatch(r"([a-z]\w*)=(/data/.*|corpus)", word):
            assert found[1] in mien.datasets()


@pytest.mark.parametrize("block", [pytest.param(b, id=f"{b.page}:{b.line}") for b in BLOCKS if b.why_not])
def test_a_block_that_is_not_run_names_what_exists(block: Block) -> None:
    if block.language != "python":
        assert command_lines(block)
        for file in re.findall(r"(?<![\w/$~-])(?:docker|examples|studies|tools)/[\w./-]+|constraints\.txt", block.text):
            if "results" not in file:
                assert (ROOT / file).exists(), file
        return
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mien"):
            module = __import__(str(node.module), fromlist=[alias.name for alias in node.names])
            assert all(hasattr(module, alias.name) for alias in node.names)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "mien":
            assert hasattr(mien, node.attr)


@pytest.fixture(scope="session")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("materials")


def take_for_granted(text: str, materials: Path, folder: Path) -> None:
    """Write what a page names and does not make itself: databases into `materials`, the rest, linked, into `folder`."""
    for name in MAKERS:
        if name.startswith("data/"):
            if re.search(rf"/{name}\b", text):
                material(materials, name)
        elif f"--out {name}" not in text and (
            re.search(rf"(?<![\w/-]){re.escape(name)}\b", text) or ("/" in name and f"{Path(name).parent}/*" in text)
        ):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).symlink_to(material(materials, name))


def run_commands(block: Block, materials: Path) -> None:
    for line in command_lines(block):
        if block.lines_with and block.lines_with in line:
            continue
        if line.startswith("python tools/"):
            done = subprocess.run([sys.executable, *shlex.split(line)[1:]], cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, f"{block.page}:{block.line} {line}\n{done.stdout}\n{done.stderr}"
            continue
        assert line.startswith("mien "), f"{block.page}:{block.line}: say why this is not run: {line}"
        words = shlex.split(line.replace("/data/", f"{materials}/data/"))[1:]
        for pattern, more in SMALL.items():
            words += shlex.split(more) if re.match(pattern, line[5:]) else []
        matched = [sorted(map(str, Path.cwd().glob(word))) if "*" in word else [word] for word in words]
        result = CliRunner().invoke(app, [word for each in matched for word in each])
        assert result.exit_code == 0, f"{block.page}:{block.line} {words}\n{result.output}\n{result.exception!r}"


PAGES_THAT_RUN = sorted({block.page for block in BLOCKS if not block.why_not or block.lines_with})


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * (page in SLOW)) for page in PAGES_THAT_RUN]
)
def test_the_blocks_of_a_page_run(page: str, materials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIEN_CACHE", str(materials / "cache"))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # no worker processes: their start takes longer than the work
    run = [block for block in blocks(ROOT / page) if not block.why_not or block.lines_with]
    take_for_granted("\n".join(block.text for block in run), materials, tmp_path)
    known = set(mien.datasets())
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in run:
        if block.title:
            Path(block.title).write_text(block.text, encoding="utf-8")
        elif block.language != "python":
            run_commands(block, materials)
        elif block.text.startswith(">>>"):
            session = doctest.DocTestParser().get_doctest(block.text, {}, page, page, block.line)
            assert not doctest.DocTestRunner().run(session).failed
        else:
            exec(compile(block.text.replace("/data/", f"{materials}/data/"), f"{page}:{block.line}", "exec"), names)
    for name in set(mien.datasets()) - known:
        DATASETS.unregister(name)


def test_most_blocks_run() -> None:
    marked = [block for block in BLOCKS if block.why_not and not block.lines_with]
    assert len(BLOCKS) - len(marked) > 3 * len(marked)
    assert set(PAGES_THAT_RUN) > SLOW
