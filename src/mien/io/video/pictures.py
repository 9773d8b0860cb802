"""Picture files as films: a folder of frames, one picture, a list of paths."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.io.opencv import cv2
from mien.io.video.base import Pixels, Video, grey_of, natural_order, on_black, sizes_differ

PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".jp2"})
"""Endings of the files that count as frames in a folder."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class _PictureVideo(Video):
    """A film whose frames are picture files."""

    paths: tuple[Path, ...]
    rate: float | None

    @property
    def fps(self) -> float | None:
        return self.rate

    @property
    def n_frames(self) -> int:
        return len(self.paths)

    def _place(self, index: int) -> str:
        return f" ({self.paths[index].name})" if index < len(self.paths) else ""

    def _raw(self, start: int, stop: int | None, step: int) -> Generator[tuple[int, float, Path]]:
        for index in range(start, min(stop or len(self.paths), len(self.paths)), step):
            yield index, self.time_of(index), self.paths[index]

    def _pixels(self, raw: Path, grey: bool) -> Pixels | None:
        pixels = _picture(raw)
        if pixels is None:
            self._note(f"{raw.name} is no picture that can be read.")
            return None
        first = self.paths[0].name
        if pixels.shape[:2] != (self.height, self.width):
            raise sizes_differ(self.name, (self.height, self.width), pixels.shape[:2], first, raw.name)
        kind = "colour" if pixels.ndim == 3 else "grey", 8 * pixels.itemsize
        if kind[1] != self.depth or (kind[0] == "colour" and not self.colour):
            raise MienError(
                f"In {self.name!r}, {raw.name} is {kind[0]} of {kind[1]} bits, "
                f"{first} is {'colour' if self.colour else 'grey'} of {self.depth}.",
                "frames of one kind.",
                "one film per folder, or converting them all alike.",
            )
        if pixels.ndim == 2 and self.colour and not grey:
            return np.repeat(pixels[..., None], 3, -1)
        return grey_of(pixels) if grey and pixels.ndim == 3 else pixels


def frames_video(paths: Sequence[Path], fps: float | None, name: str) -> Video:
    """Return picture files as a video, in the order given; one picture is a video of one frame.

    Args:
        paths: PNG, JPEG, TIFF, BMP, WebP, PGM or PPM, all of one size and depth; grey ones among coloured ones become
            coloured.
        fps: Frames per second, where it is known.
        name: What to call it.

    Returns:
        The video; frames are read when they are asked for.

    Raises:
        MienError: No picture among them that can be read.

    Example:
        >>> import cv2
        >>> for n in range(3):
        ...     _ = cv2.imwrite(f"{n}.png", np.full((20, 30), 10 * n, np.uint8))
        >>> video = frames_video([Path("0.png"), Path("1.png"), Path("2.png")], fps=200, name="grey")
        >>> video.n_frames, video.frame(2).pixels.max(), video.time_of(2)
        (3, np.uint8(20), 0.01)
    """
    missing: list[str] = []
    for path in paths:
        pixels = _picture(path)
        if pixels is not None:
            height, width = pixels.shape[:2]
            film = _PictureVideo(
                name, height, width, pixels.ndim == 3, 8 * pixels.itemsize, tuple(Path(p) for p in paths), fps
            )
            for unread in missing:
                film._note(f"{unread} is no picture that can be read.")
            return film
        missing.append(Path(path).name)
    raise MienError(
        f"{name!r} holds no picture that can be read" + (f" ({missing[0]} is none)." if missing else "."),
        f"files ending in {', '.join(sorted(PICTURES))}, of 8 or 16 bits, directly in the folder.",
        "the folder that holds the frames of one film, or the path of a video file.",
    )


def pictures_in(folder: Path) -> list[Path]:
    """Picture files directly in a folder, in natural order.

    Raises:
        MienError: No right to read it.
    """
    try:
        found = [p for p in folder.iterdir() if p.suffix.lower() in PICTURES and not p.name.startswith(".")]
    except OSError as error:
        raise MienError(
            f"The folder {str(folder)!r} cannot be read ({error.strerror}).",
            "a folder with the right to read.",
            f"`ls -l {folder}`.",
        ) from None
    return sorted(found, key=lambda path: (natural_order(path.name), path.name))


def refuse_pages(path: Path) -> None:
    """Refuses a file of several pictures, of which the decoder would show the first alone.

    Raises:
        MienError: It holds more than one.
    """
    from PIL import Image

    pages = 1
    with suppress(Exception), Image.open(path) as picture:  # a damaged file: the decoder will say so
        if picture.format in ("TIFF", "WEBP", "PNG", "MPO"):
            pages = getattr(picture, "n_frames", 1)
    if pages > 1:
        raise MienError(
            f"{str(path)!r} holds {pages} pictures in one file.",
            "a video file, or a folder with one picture per file.",
            "saving the pages as files `001.png`, `002.png`, ...",
        )


def _forged_png(data: NDArray[np.uint8]) -> bool:
    """Whether a PNG has a chunk that claims to be longer than the file: its decoder would take that much memory."""
    place = len(_PNG)
    if data[:place].tobytes() != _PNG:
        return False
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4].tobytes(), "big")
        if length > len(data):
            return True
        place += 12 + length
    return False


def _picture(path: Path) -> Pixels | None:
    """A picture file as (H, W) or (H, W, 3) RGB; None where there is none, or not of 8 or 16 bits."""
    try:
        data = np.fromfile(path, np.uint8)  # cv2.imread knows no names outside ASCII on some systems
    except OSError:
        return None
    if not len(data) or _forged_png(data):
        return None
    # Only this way follows a JPEG's rotation tag; only the other keeps the transparency of a PNG.
    jpeg = data[:2].tobytes() == b"\xff\xd8"
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR if jpeg else cv2.IMREAD_UNCHANGED)
    except cv2.error:  # larger than `MOST_PIXELS`
        return None
    if pixels is None or not pixels.size or pixels.dtype not in (np.uint8, np.uint16):
        return None
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4):
        return None
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return on_black(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA))
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
    return np.asarray(pixels).reshape(pixels.shape[:2])
