"""`open_video`, the one door to every kind of video."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from mien.errors import MienError
from mien.io.atomic import at_home
from mien.io.video.base import Video
from mien.io.video.camera import open_camera
from mien.io.video.pictures import PICTURES, frames_video, pictures_in, refuse_pages


def open_video(source: str | Path | int | Sequence[str | Path], fps: float | None = None) -> Video:
    """Open anything that holds frames.

    Args:
        source: A video file or GIF, a folder of pictures (taken in natural order: img2 before img10; other files are
            passed over), one picture, a list of pictures, or a camera (`0` or `"camera:0"`).
        fps: Frames per second; replaces the timing of a file, whose frames then count as evenly spaced. Films of fast
            cameras are often stored to play slowly.

    Returns:
        The video; frames are read when they are asked for.

    Raises:
        MienError: Nothing there, or nothing in it that can be read as a frame.

    Example:
        >>> video = open_video("face.mkv")
        >>> video.n_frames, video.fps
        (14, 100.0)
    """
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise MienError(f"The frame rate {fps} was given.", "a number of frames per second above 0.", "`--fps 200`.")
    if isinstance(source, int):
        return open_camera(source, fps)
    if not isinstance(source, (str, Path)):
        paths = [Path(path) for path in source]
        return frames_video(paths, fps, paths[0].parent.name if paths else "")
    camera = re.fullmatch(r"camera:(\d+)", str(source))
    if camera:
        return open_camera(int(camera[1]), fps)
    path = at_home(source)
    try:
        folder, there = path.is_dir(), path.exists()
    except OSError:  # a name too long, no right to look
        folder, there = False, False
    if folder:
        return frames_video(pictures_in(path), fps, path.resolve().name)
    if not there:
        raise MienError(
            f"There is no {str(path)!r}.",
            "a video file, a folder of pictures, a GIF or `camera:0`.",
            f"`ls {path.parent}` to see what is there.",
        )
    require_file(path)
    if path.suffix.lower() in PICTURES:
        refuse_pages(path)
        return frames_video([path], fps, path.stem)
    from mien.io.video.film import open_film  # its decoder takes long to import

    return open_film(path, fps)


def require_file(path: Path) -> None:
    """Refuse a device or a pipe where a file or folder is due: some never end, and none can be read twice.

    Args:
        path: What is there.

    Raises:
        MienError: It is neither a file nor a folder.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise MienError(
            f"{str(path)!r} is a device or a pipe.",
            "a video file, a folder of pictures, a GIF or `camera:0`.",
            "store the video in a file first; a camera is `camera:0`.",
        )
