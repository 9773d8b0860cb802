"""Films whose clock does not start with the picture, and their times as ffprobe states them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

SOUND: Final = ("-f", "lavfi", "-i", "sine=duration=3")
_BOTH: Final = ("-map", "0:v", "-map", "1:a", "-fps_mode", "passthrough")
_H264: Final = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "14", "-bf", "3", "-g", "100", "-pix_fmt", "yuv420p")
_LATE: Final = (("-itsoffset", "0.8"), (*SOUND,), (*_BOTH, *_H264, "-c:a", "aac"))

KINDS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]] = {
    "late.mp4": _LATE,
    "late.mov": _LATE,
    "late.mkv": _LATE,
    "late.ts": _LATE,
    "late.webm": (("-itsoffset", "0.8"), SOUND, (*_BOTH, "-c:v", "libvpx", "-b:v", "2M", "-c:a", "libvorbis")),
    "late.avi": (("-itsoffset", "0.8"), SOUND, (*_BOTH, "-c:v", "ffv1", "-c:a", "pcm_s16le")),
    "fragments.mp4": (
        ("-itsoffset", "0.8"),
        SOUND,
        (*_BOTH, *_H264, "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"),
    ),
    "late sound.mp4": ((), ("-itsoffset", "0.3", *SOUND), (*_BOTH, *_H264, "-c:a", "aac")),
    "b-frames.mp4": ((), (), _H264),
    "b-frames.mkv": ((), (), _H264),
    "starts at 5.mp4": ((), (), (*_H264, "-output_ts_offset", "5")),
    "starts at 5.mkv": ((), (), (*_H264, "-output_ts_offset", "5")),
    "starts at 5.ts": ((), (), (*_H264, "-output_ts_offset", "5")),
    "uneven.mp4": (
        ("-itsoffset", "0.4"),
        SOUND,
        (*_BOTH, "-vf", "setpts=PTS+floor(N/10)*0.03/TB", *_H264, "-c:a", "aac"),
    ),
}
"""Options of ffmpeg for each film: before its first input, of its second, and of the result."""

CUT: Final = {"edit list.mp4": "0.13", "edit list.mov": "0.13"}
"""Films cut at a time without encoding: an edit list hides the frames between the key frame and the cut."""

EVERY: Final = (*KINDS, *CUT)


def need_ffmpeg() -> None:
    """Skip the test if ffmpeg is missing; where tests run automatically, that is a failure."""
    if shutil.which("ffmpeg") and shutil.which("ffprobe"):
        return
    if os.environ.get("CI"):
        pytest.fail("ffmpeg and ffprobe are not installed")
    pytest.skip("ffmpeg and ffprobe are not installed")


def make(kind: str, source: Path, folder: Path) -> Path:
    """Make a film of some kind from another one, which has a constant rate and no sound."""
    need_ffmpeg()
    out = folder / kind
    if kind in CUT:
        whole = folder / f"whole-{kind}"
        ffmpeg("-i", str(source), *SOUND, *_BOTH, *_H264, "-c:a", "aac", str(whole))
        ffmpeg("-ss", CUT[kind], "-i", str(whole), "-c", "copy", str(out))
    else:
        before, second, after = KINDS[kind]
        ffmpeg(*before, "-i", str(source), *second, *after, str(out))
    return out


def ffmpeg(*options: str) -> None:
    subprocess.run(["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *options], check=True, timeout=60)


def times(path: Path) -> list[float]:
    """Return the times that players show for the frames of a film: `pts_time - format.start_time` of ffprobe."""
    need_ffmpeg()
    asked = "format=start_time:frame=pts_time"
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", asked, "-of", "json", str(path)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    said = json.loads(done.stdout)
    start = float(said["format"]["start_time"])
    return [float(frame["pts_time"]) - start for frame in said["frames"]]
