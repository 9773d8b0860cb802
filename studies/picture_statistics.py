"""How synthetic flow pictures differ from real ones in statistics that need no label.

python studies/picture_statistics.py FLOW_FOLDER [--pictures 600] [--out studies/results/picture_statistics.md]

The ranges of `src/mien/synthesis/tables/pictures.toml` come from these. Of the real pictures, only those of CASME II
are looked at.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from machine import commit

from mien.datasets import open_specs
from mien.motion.strain import optical_strain
from mien.preprocessing import FLOW_PICTURES
from mien.synthesis.acting import Manner
from mien.synthesis.flow_pictures import flow_corpus

Floats = NDArray[np.float64]
FINE = 0.2  # cycles per pixel
EYES = (np.s_[4:10, 2:9], np.s_[4:10, 19:26])  # where the blinks of CASME II are


def about_zero(pictures: Floats) -> Floats:
    """Return u and v about their medians, each of unit root mean square."""
    motion = pictures[:, :2] - np.median(pictures[:, :2], axis=(2, 3), keepdims=True)
    return np.asarray(motion / np.maximum(np.sqrt((motion**2).mean((2, 3), keepdims=True)), 1e-9))


def fine_energy(channel: Floats) -> Floats:
    """Return the share of energy above `FINE` of each picture (N, H, W)."""
    centred = channel - channel.mean((1, 2), keepdims=True)
    power = np.abs(np.fft.fft2(centred)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(channel.shape[1]), np.fft.fftfreq(channel.shape[2])))
    return np.asarray((power * (frequency > FINE)).sum((1, 2)) / np.maximum(power.sum((1, 2)), 1e-9))


def affine_share(motion: Floats) -> Floats:
    """Return the share of the motion of each picture that an affine field explains."""
    y, x = np.mgrid[: motion.shape[2], : motion.shape[3]]
    basis, _ = np.linalg.qr(np.column_stack([np.ones(x.size), x.ravel(), y.ravel()]).astype(float))
    flat = motion.reshape(len(motion), 2, -1)
    fitted = ((flat @ basis) ** 2).sum((1, 2))
    return np.asarray(fitted / np.maximum((flat**2).sum((1, 2)), 1e-9))


def affine_part(motion: Floats, channel: int, axis: int) -> Floats:
    """Return the share of the energy of u (0) or v (1) that changes evenly along x (0) or y (1)."""
    along = np.mgrid[-1 : 1 : motion.shape[2] * 1j, -1 : 1 : motion.shape[3] * 1j][1 - axis].ravel()
    flat = motion[:, channel].reshape(len(motion), -1)
    return np.asarray((flat @ (along / np.linalg.norm(along))) ** 2 / np.maximum((flat**2).sum(1), 1e-9))


def at_eyes(motion: Floats) -> Floats:
    """Return the share of energy in the boxes of the eyes."""
    energy = (motion**2).sum(1)
    return np.asarray(sum(energy[:, rows, columns].sum((1, 2)) for rows, columns in EYES) / energy.sum((1, 2)))


def one_sided(motion: Floats) -> Floats:
    """Return the difference of the energies of both halves over their sum."""
    energy = (motion**2).sum(1)
    half = energy.shape[2] // 2
    left, right = energy[:, :, :half].sum((1, 2)), energy[:, :, half:].sum((1, 2))
    return np.asarray(np.abs(left - right) / (left + right))


def strain_angle(pictures: Floats, motion: Floats) -> Floats:
    """Return the angle in degrees whose tangent is the ratio of v to u with which the strain agrees best."""
    angles = np.arange(15, 85, 5)
    found = []
    for picture, (u, v) in zip(pictures, motion, strict=True):
        fits = [
            np.corrcoef(optical_strain(np.dstack([np.cos(a) * u, np.sin(a) * v]), "small").ravel(), picture[2].ravel())[
                0, 1
            ]
            for a in np.radians(angles)
        ]
        found.append(angles[int(np.argmax(fits))])
    return np.array(found, float)


def _part(pictures: Floats, motion: Floats, channel: int, axis: int) -> Floats:
    return affine_part(motion, channel, axis)


STATISTICS: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "energy of u above .2 cycles a pixel": lambda p, m: fine_energy(m[:, 0]),
    "energy of v above .2": lambda p, m: fine_energy(m[:, 1]),
    "energy of strain above .2": lambda p, m: fine_energy(p[:, 2]),
    "peak over rms of u": lambda p, m: np.abs(m[:, 0]).max((1, 2)),
    "median over rms of size of u": lambda p, m: np.median(np.abs(m[:, 0]), (1, 2)),
    "affine share of motion": lambda p, m: affine_share(m),
    **{
        f"of {'uv'[channel]} along {'xy'[axis]}": partial(_part, channel=channel, axis=axis)
        for channel in (0, 1)
        for axis in (0, 1)
    },
    "energy at the eyes": lambda p, m: at_eyes(m),
    "one-sidedness": lambda p, m: one_sided(m),
    "angle of v over u by strain, degrees": strain_angle,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("studies/results/picture_statistics.md"))
    given = parser.parse_args()
    clips = [c for c in open_specs(f"flow_images={given.folder}")[0].clips() if c.dataset == "casme2"]
    sets = {f"CASME II ({len(clips)})": np.stack([FLOW_PICTURES.run(c)[0] for c in clips]).astype(float)}
    training = Manner(coded=0.5, blinks=1.0, lids=0.3, asymmetry=0.2)  # as in studies/unit_weights.py
    for name, vary, manner in (
        ("true motion, distorted", False, Manner(coded=0.5)),
        ("as the weights are trained on", True, training),
    ):
        corpus = flow_corpus(given.pictures, 71, method="mixed", manner=manner, vary=vary)
        sets[name] = corpus.pictures().astype(float)
    lines = [
        "# Real and synthetic flow pictures, without labels",
        "",
        f"Commit {commit()}; {datetime.date.today():%Y-%m-%d}; {given.pictures} synthetic pictures. Lower decile, "
        "median and upper decile over pictures. `python studies/picture_statistics.py FLOW_FOLDER`",
        "",
        f"| | {' | '.join(sets)} |",
        f"|---|{'---|' * len(sets)}",
    ]
    motions = {name: about_zero(pictures) for name, pictures in sets.items()}
    for name, statistic in STATISTICS.items():
        cells = []
        for each, pictures in sets.items():
            low, middle, high = np.quantile(statistic(pictures, motions[each]), (0.1, 0.5, 0.9))
            digits = 0 if high > 20 else 1 if high > 2 else 2
            cells.append(f"{low:.{digits}f} / {middle:.{digits}f} / {high:.{digits}f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
