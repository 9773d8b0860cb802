"""What pages of the guide take for granted: databases under /data, films, predictions, runs; written, and small."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import acted
import cv2
import numpy as np
from openpyxl import Workbook
from scipy.io import savemat

import mien
from mien.datasets import open_dataset
from mien.datasets.base import table
from mien.datasets.labels import samples
from mien.io.video import write_video
from mien.synthesis.corpus import synthesise
from mien.synthesis.flow_images import write_flow_images

LAYOUTS: Final = {
    "CASMEII": "casme2",
    "SAMM": "samm",
    "SMIC": "smic_hs",
    "SAMM_LV": "samm_lv",
    "CASME_sq": "casme_sq",
}
"""Folders in /data that the pages name, and the databases whose layout they have."""

SMILE: Final = ("12", 40, 55, 73, 0.3)
"""Unit, onset, apex, offset and intensity."""


def film(path: Path) -> None:
    """A face that smiles for a third of a second."""
    path.symlink_to(write_video(path.parent / f"{path.stem}.film.mp4", acted.acted([SMILE], 110, 100), 100))


def database(path: Path) -> None:
    layout = LAYOUTS[path.name]
    long = layout in ("samm_lv", "casme_sq")
    synthesise(layout, path, subjects=3, clips=2 if long else 3, width=112, faces="photo", fps=100, quiet=0.3)


def flow_pictures(path: Path) -> None:
    write_flow_images(path, subjects=6, clips_per_subject=6, seed=0)


def unit_sheet(path: Path) -> None:
    """A label sheet of CASME II with the action units of the flow pictures that are called after it."""
    header = table("casme2")["sheet"]["header"]
    book = Workbook()
    page = book.worksheets[0]
    page.append(header)
    units = {"positive": "6+12", "negative": "4", "surprise": "1+2"}
    for clip in open_dataset("flow_images", material(path.parent, "FOLDER")).clips():
        if clip.dataset == "casme2":
            name = clip.name.removeprefix(f"{clip.subject}_")
            page.append([clip.subject.removeprefix("sub"), name, "", 1, 5, 9, "", units[clip.emotion], "others"])
    book.save(path)


def predictions(path: Path) -> None:
    """Predictions for the clips of the written CASME II, some of them wrong."""
    clips = open_dataset("casme2", material(path.parent, "data/CASMEII")).clips()
    lines = ["subject,clip,prediction"]
    for n, each in enumerate(samples(clips, "megc2019")):
        lines.append(f"{each.clip.subject},{each.clip.name},{('negative', 'positive', 'surprise')[n % 3]}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def log(path: Path) -> None:
    path.write_text("casme2 sub01\nEP02_01f 1 1\nEP03_02 0 1\ncasme2 sub02\nEP01_01 2 2\n", encoding="utf-8")


def intervals(path: Path) -> None:
    """Intervals in the long videos of the written CAS(ME)^2: one in each, of half a second."""
    videos = open_dataset("casme_sq", material(path.parent, "data/CASME_sq")).videos()
    lines = ["subject,video,kind,onset,offset", *(f"{each.subject},{each.name},micro,20,70" for each in videos)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def run(path: Path) -> None:
    data = f"flow_images={material(path.parents[1], 'FOLDER')}"
    mien.benchmark(data, "flow-svm", path, seeds=[{"a": 0, "b": 1}[path.name]], jobs=1)


def picture(path: Path) -> None:
    moved = list(acted.acted([("12", 1, 10, 20, 0.3)], 11, 100))
    cv2.imwrite(str(path), moved[{"ONSET.png": 0, "APEX.png": 10}[path.name]])


def weights(path: Path) -> None:
    data = f"flow_images={material(path.parent, 'FOLDER')}"
    mien.train(data, "strcn-g", path, parameters={"epochs": "1", "maps": "4"}, jobs=1)


def features(path: Path) -> None:
    """A matrix of features in the order of the sheet of the written CASME II."""
    n = len(open_dataset("casme2", material(path.parent, "data/CASMEII")).clips())
    savemat(path, {"feature": np.random.default_rng(0).normal(size=(n, 6))})


def sheet(path: Path) -> None:
    path.symlink_to(material(path.parent, "data/CASMEII") / path.name)


MAKERS: Final[Mapping[str, Callable[[Path], None]]] = {
    **{f"data/{name}": database for name in LAYOUTS},
    **dict.fromkeys(("interview.mp4", "my_video.mp4", "VIDEO", "films/a.mp4", "clip.mov"), film),
    **dict.fromkeys(("runs/a", "runs/b"), run),
    **dict.fromkeys(("ONSET.png", "APEX.png"), picture),
    "FOLDER": flow_pictures,
    "CASME2-coding-20190701.xlsx": unit_sheet,
    "model.safetensors": weights,
    "theirs.csv": predictions,
    "mine.csv": predictions,
    "log.txt": log,
    "intervals.csv": intervals,
    "CASME2_feature.mat": features,
    "CASME2-coding-20140508.xlsx": sheet,
}


def material(root: Path, name: str) -> Path:
    """Return what a page names, written when it is first asked for."""
    path = root / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        MAKERS[name](path)
    return path
