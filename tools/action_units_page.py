"""What each action unit moves: synthetic faces beside the mean of real clips, for docs/methods/action-units.md.

python tools/action_units_page.py FLOW_FOLDER casme2=SHEET

The real fields are means over the clips of CASME II in a folder of ready flow pictures: what each unit adds to the
motion of its clips, by least squares on all units at once. Writes docs/pictures/action-units/*.png and prints the table
of the page from the card of the weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image

from mien.classifiers.checkpoint import SHIPPED_UNITS, read_card
from mien.datasets import open_specs
from mien.datasets.labels import label_map
from mien.datasets.unit_labels import parse_label_sheets
from mien.evaluation.planning import make_plan
from mien.motion.strain import optical_strain
from mien.preprocessing import FLOW_PICTURES
from mien.synthesis.head.actions import unit_table
from mien.synthesis.head.bare import BareHead
from mien.synthesis.head.identity import mean_identity
from mien.synthesis.head.scene import State
from mien.synthesis.rig import motion, rig
from mien.synthesis.shape import Crop, neutral_points
from mien.synthesis.timeline import STILL, Timeline, movements_of

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "action-units"
PAGES = {"upper": ("AU1", "AU2", "AU4", "AU5", "AU6", "AU7"), "lower": ("AU9", "AU10", "AU12", "AU14", "AU15", "AU17")}
CROP = Crop(width=1.74, height=2.5, eyes=0.25)
"""About that of the pictures of CASME II, by the places of its blinks."""
SIDE = 28
RIDGE = 1.0
FEWEST = 10
"""Clips below which a mean is noise."""

Floats = NDArray[np.float64]


def warped(unit: str) -> Floats:
    """Return the field of a unit on the mean drawn face, (28, 28, 2)."""
    shape = CROP.shape(SIDE)
    timeline = Timeline(
        21, 200, movements_of(unit.removeprefix("AU"), onset=0, apex=10, offset=20, intensity=0.2), head=STILL
    )
    return square(motion(rig(CROP.place(neutral_points(), shape), shape), timeline).flow(10))


def head(unit: str) -> Floats:
    """Return the field of a unit on the mean three-dimensional head, (28, 28, 2)."""
    face = BareHead(mean_identity()).seen_in(CROP, 64, 1000.0)
    return square(face.exact_flow(State(), State({unit: 0.2})))


def square(flow: NDArray[np.floating]) -> Floats:
    """Return a field as 28x28, about its median, as pictures are."""
    import cv2

    small = np.asarray(cv2.resize(flow.astype(np.float64), (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    return np.asarray(small - np.median(small, (0, 1)))


def on_one_scale(picture: Floats) -> Floats:
    """Return the (28, 28, 2) motion of a stretched picture, with the ratio of v to u that its strain agrees with."""
    u, v, strain = picture
    u, v = (each - np.median(each) for each in (u, v))
    u, v = u / max(u.std(), 1e-6), v / max(v.std(), 1e-6)
    fits = []
    for angle in np.radians(np.arange(20, 85, 5)):
        field = np.dstack([np.cos(angle) * u, np.sin(angle) * v])
        fits.append((np.corrcoef(optical_strain(field, "small").ravel(), strain.ravel())[0, 1], field))
    best = max(fits, key=lambda fit: fit[0])[1]
    return np.asarray(best / np.sqrt(np.mean(best**2)))


def real(folder: Path, sheets: list[str]) -> dict[str, tuple[int, Floats]]:
    """Return the number of clips of each unit, and what the unit adds to their motion, (28, 28, 2)."""
    plan = make_plan(open_specs(f"flow_images={folder}", parse_label_sheets(sheets)), "flow-kernels", labels="au12")
    clips = [s for s in plan.samples if s.clip.dataset == "casme2"]
    fields = np.stack([on_one_scale(FLOW_PICTURES.run(s.clip)[0].astype(np.float64)) for s in clips])
    shown = np.array([s.units for s in clips], float)
    design = np.column_stack([shown, np.ones(len(clips))])
    penalty = RIDGE * np.diag([1.0] * shown.shape[1] + [0.0])
    found = np.linalg.solve(design.T @ design + penalty, design.T @ fields.reshape(len(clips), -1))
    names = plan.classes
    return {n: (int(shown[:, i].sum()), found[i].reshape(SIDE, SIDE, 2)) for i, n in enumerate(names)}


def arrows(axes: Axes, field: Floats, colour: str) -> None:
    """Draw a field over the outline of the mean face."""
    scale = np.array([SIDE / CROP.width, SIDE / CROP.height])
    points = neutral_points() * scale + [SIDE / 2 - 0.5, CROP.eyes * SIDE - 0.5]
    for line in (range(17), range(17, 22), range(22, 27), [*range(27, 31)], range(31, 36), [*range(36, 42), 36],
                 [*range(42, 48), 42], [*range(48, 60), 48]):  # fmt: skip
        axes.plot(*points[list(line)].T, color="#9aa4b2", linewidth=0.9)
    size = np.linalg.norm(field, axis=-1)
    axes.imshow(size, cmap="Greys", vmin=0, vmax=2.2 * size.max(), interpolation="bilinear")
    y, x = np.mgrid[:SIDE, :SIDE]
    step = field / max(np.quantile(size, 0.99), 1e-9) * 2.4
    strong = size > 0.12 * size.max()
    axes.quiver(
        x[strong], y[strong], step[strong, 0], step[strong, 1], angles="xy", scale_units="xy", scale=1,
        color=colour, width=0.007, headwidth=3.6,
    )  # fmt: skip
    axes.set(xlim=(-0.5, SIDE - 0.5), ylim=(SIDE - 0.5, -0.5), xticks=[], yticks=[], aspect=CROP.height / CROP.width)
    for edge in axes.spines.values():
        edge.set_color("#d0d5dd")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sheet", nargs="+", metavar="casme2=SHEET")
    given = parser.parse_args()
    measured = real(given.folder, given.sheet)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for page, units in PAGES.items():
        figure, grid = plt.subplots(3, len(units), figsize=(2.05 * len(units), 9.2))
        for column, unit in enumerate(units):
            n, field = measured[unit]
            for row, each in enumerate((warped(unit), head(unit), field)):
                axes = grid[row, column]
                if row == 2 and n < FEWEST:
                    axes.text(0.5, 0.5, f"{n} clips:\nno mean", ha="center", va="center", transform=axes.transAxes)
                    axes.set(xticks=[], yticks=[], aspect=CROP.height / CROP.width)
                    for edge in axes.spines.values():
                        edge.set_color("#d0d5dd")
                else:
                    arrows(axes, each, "#1f6feb" if row < 2 else "#c2410c")
                if row == 2:
                    axes.set_xlabel(f"{n} clips", fontsize=9)
            grid[0, column].set_title(f"{unit}\n{unit_table()[unit]['name']}", fontsize=10)
        for row, name in enumerate(("warped photograph", "3-D head", "CASME II, mean")):
            grid[row, 0].set_ylabel(name, fontsize=10)
        figure.tight_layout(h_pad=0.6, w_pad=0.5)
        figure.savefig(FOLDER / f"{page}.png", dpi=100)
        plt.close(figure)
        Image.open(FOLDER / f"{page}.png").convert("RGB").quantize(48).save(FOLDER / f"{page}.png", optimize=True)
    score = read_card(SHIPPED_UNITS).score
    print("| unit | clips | AUC | average precision | precision | recall | F1 | always yes |\n" + "|---" * 8 + "|")
    for name in label_map("au12").classes:
        row = score["per_au"][name]
        keys = ("auc", "average_precision", "precision", "recall", "f1", "always_yes_f1")
        print(f"| {name} | {row['support']} | " + " | ".join(f"{row[key]:.2f}" for key in keys) + " |")


if __name__ == "__main__":
    main()
