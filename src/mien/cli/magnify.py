"""Commands that show motion: magnify, flow."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.completion import complete_flow
from mien.cli.inputs import Fps, IntervalText, VideoSource, read_interval
from mien.cli.shell import Json, note, print_json, say
from mien.errors import MienError


def magnify(
    source: VideoSource,
    target: Annotated[Path, typer.Option("--out", help="File to write: .mp4, .mkv (lossless) or .gif.")],
    alpha: Annotated[float, typer.Option(min=0, help="Magnification factor.")] = 8.0,
    band: Annotated[str | None, typer.Option(metavar="LOW:HIGH", help="Frequency band to magnify, in hertz.")] = None,
    r1: Annotated[float, typer.Option(help="Coefficient of the fast low-pass filter, without --band.")] = 0.4,
    r2: Annotated[float, typer.Option(help="Coefficient of the slow low-pass filter, without --band.")] = 0.05,
    wavelength: Annotated[
        float, typer.Option(help="Spatial cut-off in pixels; finer detail is magnified less.")
    ] = 16.0,
    beside: Annotated[bool, typer.Option("--beside", help="Put the original on the left.")] = False,
    slower: Annotated[float, typer.Option(min=0.01, help="Slow-motion factor.")] = 1.0,
    fps: Fps = None,
    as_json: Json = False,
) -> None:
    """Magnify the small motions of a video (Eulerian video magnification)."""
    from mien.io.atomic import require_writable_file
    from mien.io.video import open_video
    from mien.preprocessing.films import magnify_video
    from mien.progress import Bars

    limits = None
    if band is not None:
        match = re.fullmatch(r"([\d.]+):([\d.]+)", band)
        if not match:
            raise MienError(f"--band {band!r} is not a band.", "LOW:HIGH in hertz.", "`--band 1.5:10`.")
        limits = float(match[1]), float(match[2])
    require_writable_file(target, "`--out large.mp4`.")
    n = open_video(source, fps=fps).n_frames
    with Bars() as bars:
        film = magnify_video(
            source, target, alpha=alpha, r1=r1, r2=r2, band=limits, wavelength=wavelength, beside=beside,
            slower=slower, fps=fps, progress=bars.start("frames", n or 0),
        )  # fmt: skip
    if as_json:
        print_json({**asdict(film), "path": str(film.path)})
        return
    height, width = film.size
    say(f"{film.n_frames} frames of {width}x{height}, motion magnified {alpha:g} times: {film.path}")
    for text in film.notes:
        note(text)


def flow(
    sources: Annotated[
        list[str], typer.Argument(metavar="FIRST SECOND | VIDEO", help="Two pictures, or a video with --interval.")
    ],
    target: Annotated[Path, typer.Option("--out", help="Picture to write: both frames, flow and strain.")],
    method: Annotated[
        str,
        typer.Option(
            help="Method: classic_nl, classic_nl_published, classic_l, tvl1, dis, dis_fine, farneback, deepflow.",
            autocompletion=complete_flow,
        ),
    ] = "classic_nl",
    array: Annotated[
        Path | None, typer.Option(help="Also write the flow as .npy: height x width x 2, in pixels.")
    ] = None,
    interval: IntervalText = None,
    face: Annotated[bool, typer.Option("--face", help="Crop and align the face to 300x245 first.")] = False,
    as_json: Json = False,
) -> None:
    """Compute optical flow and strain between two frames, as a picture.

    Of a video: from onset to apex, which are detected unless --interval gives them.
    """
    import numpy as np

    from mien.io.atomic import require_writable_file, write_atomically, writing
    from mien.motion.flow import FLOWS, METHODS
    from mien.motion.pictures import figure_flow, require_picture_file, save
    from mien.motion.strain import optical_strain
    from mien.preprocessing.pairs import flow_between
    from mien.preprocessing.prepare import npy_bytes

    if method not in METHODS:
        FLOWS.get(method)
    require_picture_file(target)
    if array is not None:
        require_writable_file(array, "`--array flow.npy`.")
    result = flow_between(sources, method=method, interval=read_interval(interval), face=face)
    save(figure_flow(result.first, result.second, result.flow, result.names), target)
    if array is not None:
        with writing(array, "`--array flow.npy`."):
            write_atomically(array, npy_bytes(result.flow))
    length = np.hypot(result.flow[..., 0], result.flow[..., 1])
    strain = optical_strain(result.flow)
    figures = {
        "method": method,
        "first": result.names[0],
        "second": result.names[1],
        "size": list(result.flow.shape[:2]),
        "median_px": float(np.median(length)),
        "p99_px": float(np.percentile(length, 99)),
        "p99_strain": float(np.percentile(strain, 99)),
        "picture": str(target),
        "notes": list(result.notes),
    }
    if as_json:
        print_json(figures)
        return
    say(
        f"{result.names[0]} to {result.names[1]}: median motion {figures['median_px']:.2f} px, "
        f"99th percentile {figures['p99_px']:.2f} px, strain {figures['p99_strain']:.3f}"
    )
    for text in result.notes:
        note(text)
    say(("Picture: ", "dim"), str(target))
