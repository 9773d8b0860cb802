"""mien: find and recognise facial micro-expressions, and score such methods honestly."""

import os

__version__ = "0.1.0"

MOST_PIXELS = 36_000_000
"""Largest picture or frame that is decoded, a little more than 8K: a small file can claim more and fill the memory."""

# OpenCV reads it once, when it is first imported.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))
