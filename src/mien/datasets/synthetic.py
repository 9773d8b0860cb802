"""Corpora that `mien synthesise` wrote, under a name of their own, so that they can stand beside the real database."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

from mien.datasets.base import MANIFEST, Dataset
from mien.errors import MienError
from mien.types import Clip, Problem


class Synthetic(Dataset):
    """A synthetic corpus in any official layout; its clips belong to `synthetic`, not to that database.

    Args:
        root: Folder that `mien synthesise` wrote.

    Raises:
        MienError: It did not.
    """

    id = "synthetic"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        if not self.manifest:
            raise MienError(
                f"{str(root)!r} holds no {MANIFEST}.",
                "a folder that `mien synthesise` wrote.",
                f"`mien synthesise --out {root}-made --layout casme2`, or the database's own name before the `=`.",
            )
        _ = self._inside

    @cached_property
    def _inside(self) -> Dataset:
        from mien.datasets import DATASETS

        return DATASETS[self.manifest["layout"]](self.root)

    def clips(self) -> list[Clip]:
        """Return all micro-expressions, in the order of the label sheet."""
        return [replace(clip, dataset=self.id) for clip in self._inside.clips()]

    def expressions(self) -> list[Clip]:
        """Return all expressions, macro-expressions included."""
        return [replace(clip, dataset=self.id) for clip in self._inside.expressions()]

    def videos(self) -> list[Clip]:
        """Return the long videos for spotting."""
        return [replace(clip, dataset=self.id) for clip in self._inside.videos()]

    def problems(self) -> list[Problem]:
        """Return the problems that the layout's own reader finds."""
        return self._inside.problems()
