"""Every stage from a video to the inputs of STRCN-G and STRCN-A, as pictures.

python examples/pictures.py [--video FILE] [--out FOLDER]

Without a video, a portrait in the public domain smiles by a pixel and a half for a third of a second, so that the
pictures may be shown anywhere. With one, keep them where faces are meant to be.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.face.landmarks import track_face
from mien.face.portrait import portrait
from mien.io.video import write_video
from mien.preprocessing import named_recipe
from mien.preprocessing.album import write_album
from mien.preprocessing.films import magnify_video
from mien.preprocessing.prepare import video_clip
from mien.systems import system
from mien.types import Clip

FPS, FRAMES, APEX = 100.0, 48, 20


def smiling_portrait(most: float = 1.5) -> Iterator[NDArray[np.uint8]]:
    """The portrait, whose mouth corners and cheeks rise by `most` pixels and sink again; with a little noise."""
    face = portrait()
    points = track_face([face]).ibug68()[0]
    size = float(np.linalg.norm(points[45] - points[36]))  # outer corners of the eyes
    height, width = face.shape[:2]
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    field = np.zeros((height, width, 2), np.float32)
    for point, outward in ((points[48], -1.0), (points[54], 1.0)):
        for (x, y), strength in (((point[0], point[1]), 1.0), ((point[0], point[1] - 0.35 * size), 0.5)):
            bump = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * (0.16 * size) ** 2))
            field += strength * bump[..., None] * np.float32([0.5 * outward, -0.85])
    field *= most / np.hypot(field[..., 0], field[..., 1]).max()
    random = np.random.default_rng(0)
    for t in range(FRAMES):
        strength = np.interp(t, [0, 6, APEX, 38, FRAMES], [0, 0, 1, 0.1, 0.1])
        share = np.float32(0.5 - 0.5 * np.cos(np.pi * strength))
        moved = cv2.remap(face, xs - share * field[..., 0], ys - share * field[..., 1], cv2.INTER_CUBIC)
        yield np.clip(moved + random.normal(0, 1.2, moved.shape), 0, 255).astype(np.uint8)


def write_all(clip: Clip, out: Path) -> None:
    """Albums of the recipes, less the stages they share, and the magnified video beside the original."""
    seen: set[str] = set()
    recipes = {name: named_recipe(name) for name in ("strcn-g", "strcn-a", "flow-28", "dynamic-image")}
    recipes["strcn-g-copies"] = system("strcn-g").recipe("frames")
    for name, recipe in recipes.items():
        for path in write_album(clip, recipe, out / name):
            stage = path.name.partition("-")[2]
            if stage in seen:
                path.unlink()
            else:
                seen.add(stage)
                print(path)
    assert clip.video is not None
    print(magnify_video(clip.video, out / "magnified.mp4", beside=True, slower=2, fps=clip.fps).path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/portrait"))
    given = parser.parse_args()
    if given.video is not None:
        write_all(video_clip(given.video), given.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        film = write_video(Path(folder) / "portrait.mkv", smiling_portrait(), FPS)
        write_all(video_clip(film), given.out)


if __name__ == "__main__":
    main()
