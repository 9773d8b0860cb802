"""Pictures of every stage of a recipe on one clip, for `mien prepare --pictures`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien.motion import pictures
from mien.motion.apex import apex_curve
from mien.motion.heat_map import difference_heat, top_mask
from mien.preprocessing.base import Array, Context, Recipe, Step
from mien.preprocessing.steps import as_colour, clip_video
from mien.types import Clip

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_album(clip: Clip, recipe: Recipe, folder: Path) -> list[Path]:
    """Apply a recipe to a clip and write a picture after each of its steps, numbered in their order.

    Args:
        clip: The clip.
        recipe: The recipe.
        folder: Folder for the pictures; created if necessary.

    Returns:
        The files, in order.

    Raises:
        MienError: As `Recipe.apply`, or the folder cannot be written to.
    """
    album = _Album(folder)
    recipe.apply(clip, album.add_step)
    return album.written


MOST_COPIES = 6
"""Copies of a clip that are shown."""


class _Album:
    """Writes a picture after a step, by the method named after it; steps without one are skipped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before: Array = np.empty(0)
        self.written: list[Path] = []

    def add_step(self, step: Step, array: Array, context: Context) -> None:
        write = getattr(self, f"_{step.name}", None)
        if write is not None:
            write(array, context, step)
        self._before = array

    def _add(self, name: str, picture: pictures.Picture | Figure) -> None:
        path = self._folder / f"{len(self.written) + 1}-{name}.png"
        self.written.append(pictures.save(picture, path))

    def _aligned_face(self, frames: Array, context: Context, step: Step) -> None:
        if context.track is not None and context.rows:
            first = as_colour(clip_video(context.clip).frame(context.rows[0]).pixels)
            self._add("landmarks", pictures.landmarks_over(first, context.track.points[0]))
        self._add("aligned", pictures.strip(frames))

    def _magnify(self, frames: Array, context: Context, step: Step) -> None:
        self._add("magnified", pictures.figure_magnified(self._before, frames, step.parameters["alpha"]))

    def _apex_and_onset(self, pair: Array, context: Context, step: Step) -> None:
        curve = apex_curve(self._before)
        apex = int(np.argmax((self._before == pair[1]).reshape(len(self._before), -1).all(1)))
        self._add("apex", pictures.figure_apex(curve, apex, context.clip.fps))

    def _flow_of_pair(self, flow: Array, context: Context, step: Step) -> None:
        names = ("onset", f"apex ({context.interval_source})")
        self._add("flow", pictures.figure_flow(self._before[0], self._before[1], flow, names))

    def _flow_and_strain(self, channels: Array, context: Context, step: Step) -> None:
        self._add("channels", pictures.figure_maps(channels, ("u, px", "v, px", "strain"), signed=(True, True, False)))

    def _geometry_copies(self, copies: Array, context: Context, step: Step) -> None:
        named = [f"{a:g} times, {s:.0%}, px" for a in step.parameters["alphas"] for s in step.parameters["shares"]]
        shown = [np.hypot(*copy) for copy in copies[:MOST_COPIES]]
        self._add("copies", pictures.figure_maps(np.stack(shown), named[: len(shown)], (False,) * len(shown)))

    def _resize(self, frames: Array, context: Context, step: Step) -> None:
        self._add("small", pictures.strip(frames, 12, 1))

    def _to_length(self, frames: Array, context: Context, step: Step) -> None:
        shown: NDArray[np.uint8] = np.round(frames).astype(np.uint8)
        self._add("length", pictures.strip(shown, 15, 1))
        heat = difference_heat(frames)
        self._add("mask", pictures.figure_mask(shown[0], heat, top_mask(heat, 0.30)))

    def _pool_by_rank(self, image: Array, context: Context, step: Step) -> None:
        self._add("dynamic", pictures.figure_maps(image.mean(-1)[None], ("dynamic image",), signed=(True,)))

    def _eyes_and_mouth(self, crops: Array, context: Context, step: Step) -> None:
        if context.track is not None and context.rows:
            first = as_colour(clip_video(context.clip).frame(context.rows[0]).pixels)
            self._add("landmarks", pictures.landmarks_over(first, context.track.points[0]))
        larger = np.repeat(np.repeat(crops, 3, 2), 3, 3)
        both = np.pad(larger, ((0, 0), (0, 0), (0, 4), (0, 0)), constant_values=255)
        self._add("eyes-and-mouth", pictures.strip(np.concatenate([both[:, 0], both[:, 1]], 1)))

    def _to_frames(self, frames: Array, context: Context, step: Step) -> None:
        whole = frames if frames.ndim == 3 else frames.reshape(len(frames), -1, frames.shape[-1])
        self._add("frames", pictures.strip(np.round(whole).astype(np.uint8), len(whole), 1))
