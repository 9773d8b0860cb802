"""Pictures of every stage from a video to a network's input: landmarks, alignment, magnification, flow, strain, mask.

Most functions return an RGB array (H, W, 3) in 0..255. The `figure_*` functions return a labelled matplotlib figure.
`save` writes either to a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.io.atomic import is_stream, require_writable_file, write_atomically
from mien.motion.strain import optical_strain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Picture = NDArray[np.uint8]

_WHEEL: Final = ((15, (1, 0, 0), (1, 1, 0)), (6, (1, 1, 0), (0, 1, 0)), (4, (0, 1, 0), (0, 1, 1)),
                 (11, (0, 1, 1), (0, 0, 1)), (13, (0, 0, 1), (1, 0, 1)), (6, (1, 0, 1), (1, 0, 0)))  # fmt: skip
"""Steps from colour to colour round the wheel of Baker et al., "A database and evaluation methodology for optical
flow", IJCV 2011, which most papers use."""

_ENDINGS: Final = (".png", ".jpg", ".jpeg", ".svg", ".pdf")
_INK, _QUIET = "#1b1f24", "#6b7280"


def _circle_colours() -> NDArray[np.float64]:
    parts = [np.linspace(first, last, steps, endpoint=False) for steps, first, last in _WHEEL]
    return np.concatenate(parts)


def flow_colours(flow: NDArray[np.floating], largest: float | None = None) -> Picture:
    """Draw a flow field in colours: the hue is the direction, white is no motion, full colour is `largest` pixels.

    Args:
        flow: (H, W, 2) displacement in pixels, x then y.
        largest: Displacement in pixels that gets full colour; larger ones get darker. None takes the 99th percentile of
            this field.

    Returns:
        (H, W, 3) RGB, uint8.

    Example:
        >>> import numpy as np
        >>> from mien.motion.pictures import flow_colours
        >>> flow_colours(np.full((1, 1, 2), (2.0, 0.0)), largest=2.0).tolist()
        [[[255, 0, 0]]]

    Source: the colour wheel of Baker et al., IJCV 2011.
    """
    field = np.asarray(flow, np.float64)
    length = np.hypot(field[..., 0], field[..., 1])
    if largest is None:
        largest = float(np.percentile(length, 99))
    if largest <= 0:
        largest = 1.0
    colours = _circle_colours()
    n = len(colours)
    place = (np.arctan2(-field[..., 1], -field[..., 0]) / np.pi + 1) / 2 * (n - 1)
    low = np.floor(place).astype(int)
    share = (place - low)[..., None]
    colour = colours[low] * (1 - share) + colours[(low + 1) % n] * share
    radius = (length / largest)[..., None]
    colour = np.where(radius <= 1, 1 - np.minimum(radius, 1) * (1 - colour), 0.75 * colour)
    return np.asarray(np.round(255 * colour), np.uint8)


def flow_wheel(size: int = 64) -> Picture:
    """Draw the legend of `flow_colours`: a disk whose points are coloured as motion away from its centre.

    Args:
        size: Width and height in pixels. The rim stands for the largest displacement.

    Returns:
        (size, size, 3) RGB, uint8.

    Example:
        >>> from mien.motion.pictures import flow_wheel
        >>> flow_wheel(32).shape
        (32, 32, 3)
    """
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    field = np.stack(np.meshgrid(axis, axis), -1)
    wheel = flow_colours(field, 1.0)
    wheel[np.hypot(field[..., 0], field[..., 1]) > 1] = 255
    return wheel


def scalar_colours(
    values: NDArray[Any], low: float | None = None, high: float | None = None, colours: str = "magma"
) -> Picture:
    """Draw a map of numbers in colours.

    Args:
        values: (H, W) numbers; NaN is drawn grey.
        low: Number that gets the first colour; None takes the minimum.
        high: Number that gets the last colour; None takes the maximum.
        colours: Name of a matplotlib colour map.

    Returns:
        (H, W, 3) RGB, uint8.

    Example:
        >>> import numpy as np
        >>> from mien.motion.pictures import scalar_colours
        >>> scalar_colours(np.array([[0.0, np.nan]]))[0, 1].tolist()
        [128, 128, 128]
    """
    from matplotlib import colormaps

    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    low = float(values[known].min(initial=np.inf)) if low is None else low
    high = float(values[known].max(initial=-np.inf)) if high is None else high
    share = np.clip((np.where(known, values, low) - low) / (high - low), 0, 1) if high > low else np.zeros(values.shape)
    picture = np.asarray(np.round(255 * colormaps[colours](share)[..., :3]), np.uint8)
    picture[~known] = 128
    return picture


def mask_over(face: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Picture:
    """Draw a mask on a face: everything outside is faded, and the border is marked.

    Args:
        face: (H, W) or (H, W, 3), uint8.
        mask: (h, w) of any size; it is enlarged to the size of the face.

    Returns:
        (H, W, 3) RGB, uint8.

    Example:
        >>> import numpy as np
        >>> from mien.motion.pictures import mask_over
        >>> mask_over(np.zeros((40, 30), np.uint8), np.ones((4, 3), bool)).shape
        (40, 30, 3)
    """
    picture = _rgb(face).astype(np.float32)
    size = picture.shape[1::-1]
    inside = np.asarray(cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST))
    picture[inside == 0] = 0.3 * picture[inside == 0] + 0.7 * 255
    edges, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    result = np.asarray(picture, np.uint8)
    cv2.drawContours(result, edges, -1, (214, 72, 50), 1, cv2.LINE_AA)
    return result


def landmarks_over(
    frame: NDArray[np.uint8], points: NDArray[np.floating], colour: Sequence[int] = (57, 208, 163)
) -> Picture:
    """Draw landmarks on a frame as small dots.

    Args:
        frame: (H, W) or (H, W, 3), uint8.
        points: (P, 2) in pixels, x then y; NaN is left out.
        colour: RGB of the dots, 0..255.

    Returns:
        (H, W, 3) RGB, uint8.

    Example:
        >>> import numpy as np
        >>> from mien.motion.pictures import landmarks_over
        >>> picture = landmarks_over(np.zeros((9, 9), np.uint8), np.array([[4.0, 2.0]]), colour=(255, 0, 0))
        >>> int(picture[2, 4, 0]), int(picture[7, 7, 0])
        (255, 0)
    """
    picture = np.array(_rgb(frame))
    extent = np.ptp(points[np.isfinite(points).all(-1)], axis=0).max(initial=1)
    radius = max(0.8, float(extent) / 220)
    for x, y in points[np.isfinite(points).all(-1)]:
        # Drawn to a sixteenth of a pixel, so that dots do not jump from frame to frame.
        centre = (round(16 * x), round(16 * y))
        cv2.circle(picture, centre, round(16 * radius), tuple(int(c) for c in colour), -1, cv2.LINE_AA, 4)
    return picture


def strip(frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], n: int = 8, gap: int = 4) -> Picture:
    """Draw n evenly spaced frames of a clip side by side on white.

    Args:
        frames: (T, H, W) or (T, H, W, 3), uint8.
        n: Number of frames, at most T.
        gap: White pixels between two frames.

    Returns:
        (H, n (W + gap) - gap, 3) RGB, uint8.

    Example:
        >>> import numpy as np
        >>> from mien.motion.pictures import strip
        >>> strip(np.zeros((9, 6, 4), np.uint8), n=3, gap=2).shape
        (6, 16, 3)
    """
    rows = np.unique(np.linspace(0, len(frames) - 1, min(n, len(frames))).round().astype(int))
    pictures = [_rgb(frames[row]) for row in rows]
    height, width = pictures[0].shape[:2]
    result = np.full((height, len(pictures) * (width + gap) - gap, 3), 255, np.uint8)
    for place, picture in enumerate(pictures):
        result[:, place * (width + gap) : place * (width + gap) + width] = picture
    return result


def time_slice(frames: NDArray[np.uint8], row: int) -> Picture:
    """Draw one row of pixels through time. Movement shows as wavy lines.

    Args:
        frames: (T, H, W) or (T, H, W, 3), uint8.
        row: Index of the row.

    Returns:
        (W, T, 3) RGB, uint8, with time to the right.

    Example:
        >>> import numpy as np
        >>> from mien.motion.pictures import time_slice
        >>> time_slice(np.zeros((9, 6, 4), np.uint8), row=2).shape
        (4, 9, 3)
    """
    return (
        np.ascontiguousarray(_rgb(frames[:, row]).transpose(1, 0, 2))
        if frames.ndim == 4
        else _rgb(np.ascontiguousarray(frames[:, row].T))
    )


def beside(first: NDArray[np.uint8], second: NDArray[np.uint8], gap: int = 4) -> Picture:
    """Draw two pictures of equal height side by side.

    Args:
        first: (H, W) or (H, W, 3), uint8.
        second: (H, W') or (H, W', 3), uint8.
        gap: White pixels between them.

    Returns:
        (H, W + gap + W', 3) RGB, uint8.

    Example:
        >>> import numpy as np
        >>> from mien.motion.pictures import beside
        >>> beside(np.zeros((6, 4), np.uint8), np.zeros((6, 5, 3), np.uint8), gap=1).shape
        (6, 10, 3)
    """
    left, right = _rgb(first), _rgb(second)
    return np.hstack([left, np.full((left.shape[0], gap, 3), 255, np.uint8), right])


# Figures


def figure_flow(
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    flow: NDArray[np.floating],
    titles: tuple[str, str] = ("onset", "apex"),
) -> Figure:
    """Draw two frames, the flow between them with its colour wheel, and the strain.

    Args:
        first: (H, W) or (H, W, 3), uint8.
        second: The later frame, of the same shape.
        flow: (H, W, 2) displacement in pixels, x then y.
        titles: Titles of the two frames.
    """
    length = np.hypot(flow[..., 0], flow[..., 1])
    largest = max(float(np.percentile(length, 99)), 1e-6)
    figure, axes = _panels(4, first.shape[:2])
    _show(axes[0], _rgb(first), titles[0])
    _show(axes[1], _rgb(second), titles[1])
    _show(axes[2], flow_colours(flow, largest), "optical flow")
    inset = axes[2].inset_axes((0.76, 0.0, 0.24, 0.24 * flow.shape[1] / flow.shape[0]))
    inset.imshow(np.dstack([flow_wheel(128), _disc(128)]))
    inset.axis("off")
    axes[2].text(0.5, -0.03, f"full colour: {largest:.1f} pixels", transform=axes[2].transAxes, ha="center", va="top",
                 fontsize=8, color=_QUIET)  # fmt: skip
    strain = optical_strain(flow)
    high = max(float(np.percentile(strain, 99.5)), 1e-6)
    _show(axes[3], scalar_colours(strain, 0, high), "optical strain")
    axes[3].text(0.5, -0.03, f"brightest: {100 * high:.1f} % stretch", transform=axes[3].transAxes, ha="center",
                 va="top", fontsize=8, color=_QUIET)  # fmt: skip
    return figure


def figure_mask(face: NDArray[np.uint8], heat: NDArray[np.floating], mask: NDArray[np.bool_]) -> Figure:
    """Draw a face, its heat map, and the pixels that a mask selects, as Fig. 5 of STRCN does.

    Args:
        face: (H, W) or (H, W, 3), uint8.
        heat: (H, W) from `mien.motion.heat_map.difference_heat` or `mean_heat`.
        mask: (H, W) from `mien.motion.heat_map.top_mask`.
    """
    figure, axes = _panels(3, face.shape[:2])
    _show(axes[0], _rgb(face), "onset")
    _show(axes[1], scalar_colours(heat), "difference heat map")
    # Enlarged, so that the drawn border of the mask does not hide what is inside it.
    factor = max(1, round(480 / face.shape[0]))
    large = np.asarray(cv2.resize(face, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST))
    _show(axes[2], mask_over(large, mask), f"mask, {mask.mean():.0%} of {mask.size} pixels")
    return figure


def figure_maps(maps: NDArray[np.floating], titles: Sequence[str], signed: Sequence[bool] | None = None) -> Figure:
    """Draw maps of numbers side by side, each with its own colour bar.

    Args:
        maps: (C, H, W).
        titles: One title for each map.
        signed: For each map, whether to draw it around zero (blue below, white at zero, red above); None for no map.
    """
    figure, axes = _panels(len(maps), maps.shape[1:], extra=0.55)
    for place, (values, title) in enumerate(zip(maps, titles, strict=True)):
        if signed is not None and signed[place]:
            high = float(np.abs(values).max()) or 1.0
            image = axes[place].imshow(values, cmap="RdBu_r", vmin=-high, vmax=high, interpolation="nearest")
        else:
            image = axes[place].imshow(values, cmap="magma", interpolation="nearest")
        bar = figure.colorbar(image, ax=axes[place], fraction=0.046, pad=0.03)
        bar.ax.tick_params(labelsize=7, colors=_QUIET)
        bar.outline.set_visible(False)
        axes[place].set_title(title, fontsize=9, color=_INK)
        axes[place].axis("off")
    return figure


def figure_magnified(
    original: NDArray[np.uint8], magnified: NDArray[np.uint8], alpha: float, rows: Sequence[int] | None = None
) -> Figure:
    """Draw frames of a clip above the same frames magnified, and one row of pixels through time (Fig. 4 of STRCN).

    Args:
        original: (T, H, W) or (T, H, W, 3), uint8.
        magnified: The magnified clip, of the same shape.
        alpha: Magnification factor, for the title.
        rows: Indices of the frames to show; None shows five evenly spaced ones.
    """
    n, height, width = original.shape[:3]
    shown = list(np.unique(np.linspace(0, n - 1, 5).round().astype(int))) if rows is None else list(rows)
    # Of all rows of pixels, show the one that changes most over time.
    change = np.abs(magnified.astype(np.float32) - magnified[:1]).mean(axis=(0, *range(2, magnified.ndim)))
    line = int(np.argmax(change))
    from matplotlib.figure import Figure as NewFigure

    cell = 1.55
    figure = NewFigure(
        figsize=(cell * (len(shown) + 1.6), 2 * cell * height / width + 0.55), dpi=144, layout="constrained"
    )
    grid = figure.subplots(2, len(shown) + 1, width_ratios=[*[1.0] * len(shown), 1.5])
    for axes, clip, name in zip(grid, (original, magnified), ("original", f"magnified, {alpha:g} times"), strict=True):
        for place, row in enumerate(shown):
            _show(axes[place], _rgb(clip[row]), f"frame {row}" if clip is original else "")
            if place == 0:
                axes[place].axhline(line, color="#d64832", lw=0.8)
                axes[place].text(-0.06, 0.5, name, transform=axes[place].transAxes, rotation=90, ha="right",
                                 va="center", fontsize=9, color=_INK)  # fmt: skip
        axes[-1].imshow(time_slice(clip, line), aspect="auto", extent=(0, n, width, 0))
        axes[-1].set_title("the marked row through time" if clip is original else "", fontsize=9, color=_INK)
        axes[-1].set_yticks([])
        axes[-1].tick_params(labelsize=7, colors=_QUIET)
        for side in axes[-1].spines.values():
            side.set_visible(False)
        if clip is magnified:
            axes[-1].set_xlabel("frame", fontsize=8, color=_QUIET)
    return figure


def figure_apex(curve: NDArray[np.floating], apex: int, fps: float | None = None) -> Figure:
    """Draw the difference to the first frame over time, with the apex marked (STRCN, equation 5).

    Args:
        curve: (T,) from `mien.motion.apex.apex_curve`.
        apex: Index of the apex.
        fps: Frames per second; if given, the apex is also labelled in seconds.
    """
    from matplotlib.figure import Figure as NewFigure

    figure = NewFigure(figsize=(5.4, 2.1), dpi=144, layout="constrained")
    axes = figure.subplots()
    axes.plot(curve, color="#2563eb", lw=1.6)
    axes.fill_between(np.arange(len(curve)), curve, color="#2563eb", alpha=0.08)
    axes.axvline(apex, color="#d64832", lw=1)
    when = f" ({apex / fps:.2f} s)" if fps else ""
    axes.annotate(f"apex, frame {apex}{when}", (apex, float(curve[apex])), xytext=(6, 2), textcoords="offset points",
                  fontsize=8, color="#d64832", ha="left" if apex < 0.7 * len(curve) else "right")  # fmt: skip
    axes.set_xlim(0, max(len(curve) - 1, 1))
    axes.set_ylim(0, float(np.max(curve)) * 1.25 + 1e-9)
    axes.set_xlabel("frame", fontsize=8, color=_QUIET)
    axes.set_ylabel("difference from frame 0", fontsize=8, color=_QUIET)
    axes.tick_params(labelsize=7, colors=_QUIET)
    for name, side in axes.spines.items():
        side.set_visible(name in ("left", "bottom"))
        side.set_color("#d1d5db")
    return figure


def require_picture_file(path: Path) -> None:
    """Refuse, before any work, a file in which no picture could be written.

    Raises:
        MienError: An unknown ending, a folder, or no right to write there.
    """
    if path.suffix.lower() not in _ENDINGS and not is_stream(path):
        raise MienError(
            f"The picture {str(path)!r} ends in {path.suffix or 'nothing'!r}.",
            f"one of {', '.join(_ENDINGS)}.",
            f"`--out {path.with_suffix('.png').name if path.name else 'picture.png'}`.",
        )
    require_writable_file(path, "`--out picture.png`.")


def save(picture: Picture | Figure, path: Path) -> Path:
    """Write a picture or a figure to a file. The file type follows from the ending of its name.

    Args:
        picture: (H, W, 3) RGB, uint8, or a matplotlib figure.
        path: Ends in .png or .jpg; for figures also .svg or .pdf.

    Returns:
        The path.

    Raises:
        MienError: An unknown ending, or no permission to write there.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from mien.motion.pictures import save
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(np.zeros((4, 4, 3), np.uint8), Path(folder) / "black.png").name
        'black.png'
    """
    import io

    require_picture_file(path)
    buffer = io.BytesIO()
    kind = path.suffix.lower().lstrip(".") or "png"
    try:
        if isinstance(picture, np.ndarray):
            from PIL import Image

            Image.fromarray(picture).save(buffer, format={"jpg": "jpeg"}.get(kind, kind))
        else:
            picture.savefig(
                buffer,
                format=kind,
                bbox_inches="tight",
                pad_inches=0.06,
                metadata={"Software": None} if kind == "png" else None,
            )
        write_atomically(path, buffer.getvalue())
    except (KeyError, ValueError, OSError) as error:
        raise MienError(
            f"The picture {str(path)!r} cannot be written ({error}).",
            "a name that ends in .png or .jpg, in a folder that you may write to.",
            f"`--out {path.with_suffix('.png').name}`.",
        ) from None
    return path


def _rgb(picture: NDArray[np.uint8]) -> Picture:
    return np.repeat(picture[..., None], 3, -1) if picture.shape[-1] != 3 or picture.ndim == 2 else picture


def _disc(size: int) -> Picture:
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    radius = np.hypot(*np.meshgrid(axis, axis))
    return np.asarray(255 * np.clip((1 - radius) * size / 2, 0, 1), np.uint8)


def _panels(n: int, shape: tuple[int, ...], extra: float = 0.0) -> tuple[Figure, Sequence[Axes]]:
    from matplotlib.figure import Figure as NewFigure

    height, width = shape
    cell = 2.3
    figure = NewFigure(figsize=((cell + extra) * n, cell * height / width + 0.5), dpi=144, layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, n)))


def _show(axes: Axes, picture: Picture, title: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_title(title, fontsize=9, color=_INK)
    axes.axis("off")
