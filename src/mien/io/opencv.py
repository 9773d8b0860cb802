"""OpenCV, loaded when it is first used: lists of systems and datasets need none of it, and it takes a while."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any


class _Late:
    """A module that is imported when one of its names is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._module: ModuleType | None = None

    def __getattr__(self, wanted: str) -> Any:
        if self._module is None:
            self._module = importlib.import_module(self._name)
        return getattr(self._module, wanted)


if TYPE_CHECKING:
    import cv2
else:
    cv2 = _Late("cv2")

__all__ = ["cv2"]
