"""Anything that shows a face over time, as one kind of thing: files, folders of pictures, GIFs, a camera.

Opening reads the header and the first frame. Everything else is decoded when it is asked for, one frame at a time, so
memory does not grow with the length of a film (but for 8 bytes a frame once its timestamps are needed).

What pixels mean, everywhere in mien: RGB or grey, upright (rotation tags of phones are applied), 8 bits as uint8,
deeper ones as uint16 stretched to the whole range 0..65535. Transparent parts are laid on black. Interlaced frames are
given as stored, both fields woven; pixels that are not square stay as they are.
"""

from mien.io.video.base import (
    ENOUGH_FPS,
    READ_LIMIT,
    Frame,
    Pixels,
    Video,
    frame_rate_warning,
    natural_order,
    to_uint8,
)
from mien.io.video.open import open_video
from mien.io.video.pictures import PICTURES, frames_video
from mien.io.video.write import write_video

__all__ = [
    "ENOUGH_FPS", "PICTURES", "READ_LIMIT", "Frame", "Pixels", "Video", "frame_rate_warning", "frames_video",
    "natural_order", "open_video", "to_uint8", "write_video",
]  # fmt: skip
