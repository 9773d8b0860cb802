"""mien: find and recognise facial micro-expressions, and score such methods honestly."""

__version__ = "0.1.0"
