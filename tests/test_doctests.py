"""The examples in docstrings give what they say.

Each module's examples run in a folder of their own that holds `face.mkv`, a short video; `CASMEII`, a synthetic copy of
CASME II; `pictures`, flow pictures; and the finished runs `runs/svm` and `runs/bi-woof`. `answer` is what
`mien.recognise` says about the video.
"""

from __future__ import annotations

import doctest
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest

import mien
from mien.evaluation.run import benchmark
from mien.io.video import write_video
from mien.recognition import Answer
from mien.synthesis.flow_images import write_flow_images
from mien.synthesis.moving_face import render_clip
from mien.synthesis.writer import write_corpus
from mien.types import Interval

SOURCE = Path(mien.__file__).parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


def _modules_with_examples() -> list[str]:
    found = [path for path in sorted(SOURCE.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
    parts = [path.relative_to(SOURCE.parent).with_suffix("").parts for path in found]
    return [".".join(each[:-1] if each[-1] == "__init__" else each) for each in parts]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("examples")
    frames = render_clip(0, "positive", interval_length=14, apex=7, size=96, seed=0, colour=True)
    write_video(made / "face.mkv", frames, 100)
    write_corpus("casme2", made / "CASMEII", subjects=2, clips_per_subject=2, size=64, frames=6)
    write_flow_images(made / "pictures", subjects=3, clips_per_subject=4, seed=0, layout="folders")
    for name, system in (("svm", "flow-svm"), ("bi-woof", "bi-woof")):
        benchmark(f"flow_images={made / 'pictures'}", system, made / "runs" / name, jobs=1)
    return made


@pytest.fixture(scope="module")
def answer(folder: Path) -> Answer:
    found = mien.recognise(folder / "face.mkv", interval=Interval(0, 7, 13), anyway=True)
    return replace(found, video=replace(found.video, source="face.mkv"))


@pytest.mark.parametrize("name", _modules_with_examples())
def test_examples_in_docstrings(
    name: str, folder: Path, answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    module = import_module(name)
    found = doctest.testmod(module, optionflags=FLAGS, extraglobs={"np": np, "mien": mien, "answer": answer})
    assert found.attempted > 0
    assert found.failed == 0


def test_every_public_name_has_an_example() -> None:
    packages = [import_module(f"mien.{path.parent.name}") for path in SOURCE.glob("*/__init__.py")]
    packages.append(import_module("mien.io.video"))
    lacking = [
        f"{package.__name__}.{name}"
        for package in (mien, *packages)
        for name in getattr(package, "__all__", ())
        if isinstance(thing := getattr(package, name), type | FunctionType) and ">>> " not in (thing.__doc__ or "")
    ]
    assert lacking == []
