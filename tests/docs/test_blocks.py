"""Blocks of the guide and the README: each command line is understood, each name exists, pages run on small data."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from joblib.externals.loky import get_reusable_executor
from typer.main import get_command
from typer.testing import CliRunner

import mien
from mien.cli.main import app
from mien.datasets import label_maps_of
from mien.synthesis.corpus import synthesise

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs" / "start").glob("*.md")),
    *sorted((ROOT / "docs" / "guide").glob("*.md")),
]

RUN = {"docs/start/first-result.md", "docs/guide/own-method.md", "docs/guide/teach.md"}
"""Pages whose blocks run from top to bottom, on a written corpus where they need a licensed database."""

NOT_RUN = {
    "README.md": "tests/plugin/test_own_method.py runs its lines",
    "docs/start/install.md": "installs",
    "docs/guide/casme2.md": "benchmarks of the whole database",
    "docs/guide/samm.md": "benchmarks of the whole database",
    "docs/guide/smic.md": "benchmarks of the whole database",
    "docs/guide/paper.md": "reads runs that are not there; tests/evaluation/test_paper.py writes each form",
    "docs/guide/databases.md": "tests/datasets reads such tables and codes",
    "docs/guide/recognise.md": "needs a film; tests/recognition covers them",
    "docs/guide/many-videos.md": "needs films; tests/recognition covers them",
    "docs/guide/score.md": "needs predictions; tests/evaluation/referee covers them",
    "docs/guide/inputs.md": "needs a film; tests/preprocessing covers them",
    "docs/guide/synthesis.md": "tests/synthesis covers them",
    "docs/guide/saliency.md": "needs a trained network; tests/recognition/test_saliency.py covers them",
    "docs/guide/export.md": "needs a trained network; tests/export covers them",
    "docs/guide/serve.md": "a server that does not end; tests/web covers it",
    "docs/guide/cluster.md": "needs a cluster; tests/evaluation/execution covers them",
    "docs/guide/commands.md": "needs a licensed database; its commands are those of the other pages",
    "docs/guide/weights.md": "trains on whole corpora; its page in the notebook has the measured result",
    "docs/guide/units.md": "needs films and a licensed database; tests/recognition covers them",
    "docs/guide/surviving.md": "kills processes; tests/evaluation/test_surviving.py covers them",
}
"""Pages with blocks that are only read here, and why."""

ELSEWHERE = {"off_apexnet_plugin"}
"""Names of the example package, which is not installed here."""


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str


def blocks(path: Path) -> Iterator[Block]:
    text = path.read_text(encoding="utf-8")
    for match in re.finditer(r"^( *)```(console|python)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        plain = "\n".join(line.removeprefix(match[1]) for line in match[3].split("\n"))
        page = path.relative_to(ROOT).as_posix()
        yield Block(page, text.count("\n", 0, match.start()) + 1, match[2], plain)


BLOCKS = [block for page in PAGES for block in blocks(page)]


def command_lines(block: Block) -> list[list[str]]:
    """The `mien` lines of a console block, as words."""
    joined = re.sub(r"\\\n\s*", " ", block.text)
    lines = [line[2:] for line in joined.split("\n") if line.startswith("$ mien ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


COMMANDS = [
    pytest.param(words, id=f"{block.page}:{block.line} {' '.join(words)[:50]}")
    for block in BLOCKS
    if block.language == "console"
    for words in command_lines(block)
]


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_line_is_understood_and_its_names_exist(words: list[str]) -> None:
    group: Any = get_command(app)
    if words[0] in ("--version", "--help"):
        return
    command = group.commands[words[0]]
    given = command.make_context(words[0], words[1:]).params
    maps = {name for dataset in mien.datasets() for name in label_maps_of(dataset)}
    for key, known in (("system", mien.systems()), ("protocol", mien.protocols()), ("labels", maps)):
        for name in [given[key]] if given.get(key) and isinstance(given[key], str) else []:
            assert name in known or name in ELSEWHERE or name in mien.spotters()
    for word in words[1:]:
        if found := re.fullmatch(r"([a-z]\w*)=(/data/.*|corpus)", word):
            assert found[1] in mien.datasets()


@pytest.mark.parametrize(
    "block", [pytest.param(b, id=f"{b.page}:{b.line}") for b in BLOCKS if b.language == "python"]
)  # fmt: skip
def test_every_python_block_compiles_and_what_it_takes_from_mien_exists(block: Block) -> None:
    if block.text.lstrip().startswith(">>>"):
        pytest.skip("a session with its output")
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mien"):
            module = __import__(str(node.module), fromlist=[alias.name for alias in node.names])
            assert all(hasattr(module, alias.name) for alias in node.names)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "mien":
            assert hasattr(mien, node.attr)


def test_every_page_with_blocks_is_run_or_says_why_not() -> None:
    pages = {block.page for block in BLOCKS}
    assert pages <= RUN | set(NOT_RUN)
    assert not RUN & set(NOT_RUN)


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(RUN))
def test_the_blocks_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get_reusable_executor().shutdown(wait=True)  # workers of another test stand in its folder
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    if "synthesise" not in (ROOT / page).read_text(encoding="utf-8"):
        synthesise("casme2", "corpus", subjects=4, clips=6, width=96, faces="drawn")
    names: dict[str, Any] = {}
    for block in blocks(ROOT / page):
        if block.language == "python":
            text = block.text.replace("/data/CASMEII", "corpus").replace('"corpus", subjects', '"again", subjects')
            exec(compile(text.replace('"runs/first"', '"runs/again"'), block.page, "exec"), names)
            continue
        for words in command_lines(block):
            if ELSEWHERE & set(words):
                continue
            if words[0] == "benchmark" and "/data/CASMEII" in " ".join(words):
                words += ["--labels", "megc2019"]
            result = CliRunner().invoke(app, [word.replace("/data/CASMEII", "corpus") for word in words])
            assert result.exit_code == 0, (words, result.output, result.exception)
