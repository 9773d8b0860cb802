"""Every deep system as ONNX: equality with torch, size, latency of torch, of onnxruntime and of its eight-bit variant.

python benchmarks/export.py [--quick] [--only SYSTEM ...] [--out benchmarks/results/export.md]

Networks of the default presets (`--quick`: the small ones), trained for one pass on noise: neither sizes nor times
depend on the weights. Times are medians of single calls on one thread. The largest difference of the eight-bit file is
that of noise, too: `mien export --int8 --clips` measures a trained network on real clips.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from machine import stamp
from measure import arguments, publish

from mien.classifiers.checkpoint import SHIPPED, ModelCard, versions
from mien.classifiers.net import NetClassifier
from mien.export.onnx import Measured, export_onnx, made_up_inputs
from mien.preprocessing.inputs import ArrayInputs
from mien.systems import SYSTEMS
from mien.systems.trained import load_checkpoint
from mien.types import Medium


def trained(name: str, quick: bool) -> tuple[NetClassifier, ModelCard] | None:
    """A deep system after one pass over noise; None for other systems."""
    system = SYSTEMS[name]
    wanted = {"epochs": 1, "device": "cpu", **({"preset": "small"} if quick and "small" in system.presets else {})}
    parameters = system.with_parameters({k: v for k, v in wanted.items() if k in system.defaults})
    classifier = system.build(3, parameters)
    if not isinstance(classifier, NetClassifier):
        return None
    medium: Medium = "flow" if "flow" in system.recipes else "frames"
    recipe = system.recipe(medium, parameters)
    shape = tuple(n for n in recipe.shape[recipe.axes.startswith("K") :] if n is not None)
    x = ArrayInputs(made_up_inputs(shape, recipe.range, 6))
    classifier.fit(x, np.arange(6) % 3, [("d", str(i)) for i in range(6)])
    card = ModelCard(
        name, parameters.model_dump(mode="json"), ("negative", "positive", "surprise"), "megc2019", (),
        {medium: recipe.fingerprint}, shape, 0,
        versions=versions(),
    )  # fmt: skip
    return classifier, card


def cells(rows: list[Measured]) -> list[str]:
    """The columns of one system."""
    torch_, float_, int8 = rows
    times = [
        " / ".join(
            f"{row.milliseconds[n]:.2f}" if row.milliseconds[n] < 100 else f"{row.milliseconds[n]:.0f}" for row in rows
        )
        for n in (1, 16)
    ]
    return [
        f"{float_.size / 2**20:.2f} / {int8.size / 2**20:.2f}",
        times[0],
        times[1],
        " / ".join(f"{torch_.milliseconds[n] / float_.milliseconds[n]:.1f}" for n in (1, 16)),
        f"{float_.difference:.0e}",
        f"{int8.difference:.2f}",
    ]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="small presets")
    parser.add_argument("--only", nargs="*", default=[], help="systems; default: every deep one")
    given = parser.parse_args()
    lines = [
        "# Deep systems as ONNX files",
        "",
        stamp(),
        "",
        f"{'Small' if given.quick else 'Default'} presets, one thread, milliseconds a call: "
        "torch / onnxruntime / onnxruntime with eight bits.",
        "",
        "| system | input | MiB, float / int8 | 1 clip | 16 clips | times faster than torch, 1 / 16 clips | "
        "largest difference from torch | same, int8 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only or SYSTEMS:
            one = trained(name, given.quick)
            if one is None:
                continue
            rows = export_onnx(*one, Path(folder) / f"{name}.onnx", int8=True, threads=1, seconds=0.5)
            shape = "x".join(str(n) for n in one[1].shape)
            lines.append(f"| {name} | {shape} | {' | '.join(cells(rows))} |")
            print(lines[-1], flush=True)
        if not given.only:
            classifier, card = load_checkpoint(SHIPPED)
            assert isinstance(classifier, NetClassifier)
            rows = export_onnx(classifier, card, Path(folder) / "shipped.onnx", int8=True, threads=1, seconds=0.5)
            members = len(classifier.models)
            lines.append(
                f"| {card.system}, the package's weights ({members} members) | "
                f"{'x'.join(map(str, card.shape))} | {' | '.join(cells(rows))} |"
            )
    publish(lines, given.out)


if __name__ == "__main__":
    main()
