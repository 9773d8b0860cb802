"""What a GPU gives: the same answers as the processor, how fast, and how much memory. Ready for a machine that is lent.

PYTHONPATH=src python benchmarks/gpu.py [FLOW_FOLDER] [--budget 480] [--device cuda] [--out benchmarks/results/gpu.md]

Needs PyTorch, NumPy, SciPy, scikit-learn, Pillow and OpenCV; whatever else mien needs may be missing (`bare.py`). Reads
no film. FLOW_FOLDER holds the flow pictures of the MEGC 2019 composite; without it their part is left out. Each part
gets its share of the budget and does what it can in it, and the page is written again after every line: what was
measured before the time was up is kept.

Without a GPU it runs on the processor, and takes the small presets: that shows that the script works and nothing else.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from bare import STOOD_IN  # before anything of mien
from machine import commit, cores, processor, resident_mib
from measure import in_turns, ratio
from numpy.typing import NDArray
from torch import nn

from mien.classifiers.net import NetClassifier
from mien.classifiers.training import fit, predict
from mien.io.atomic import write_atomically
from mien.preprocessing.inputs import ArrayInputs
from mien.systems import SYSTEMS
from mien.types import Medium

TABLE_2 = {"SMIC-HS": (164, 16), "CASME II": (255, 26), "SAMM": (159, 29)}
"""Clips and subjects of the databases of STRCN's Table II, in the releases that the dataset tables describe."""

COMPOSITE = (442, 68)
"""Clips and subjects of the MEGC 2019 composite."""


@dataclass
class Page:
    """The page of results, written again after each line.

    Attributes:
        device: "cuda" or "cpu".
        small: Whether the small presets are taken.
        out: Where the page goes; None only prints.
        ends: When the budget is spent, on the clock of `time.monotonic`.
        flow: Folder of flow pictures.
        workers: Folds of STSTNet side by side.
    """

    device: str
    small: bool
    out: Path | None
    ends: float
    flow: Path | None
    workers: int
    lines: list[str] = field(default_factory=list)

    def add(self, *lines: str) -> None:
        """Add lines, print them and write the page."""
        self.lines += lines
        print(*lines, sep="\n", flush=True)
        if self.out:
            write_atomically(self.out, "\n".join(self.lines) + "\n")

    def left(self, share: float) -> float:
        """When a part has to end that may take a share of the time that is left."""
        now = time.monotonic()
        return now + share * max(0.0, self.ends - now)

    def preset(self, large: str) -> str:
        """The preset to measure: the published size on a GPU, a small one elsewhere."""
        return "small" if self.small else large


def wait(device: str) -> None:
    """Wait until the device has done what it was asked."""
    if device == "cuda":
        torch.cuda.synchronize()


def synchronised(call: Callable[[], object], device: str) -> Callable[[], None]:
    """A call that returns when the device is done."""

    def run() -> None:
        call()
        wait(device)

    return run


@contextmanager
def measured_memory(device: str) -> Iterator[Callable[[], float]]:
    """Yield a function that returns the most MiB that tensors took since then; of the process, on a processor."""
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield lambda: (torch.cuda.max_memory_allocated() - before) / 2**20
    else:
        yield resident_mib


class TimeIsUp(Exception):
    """Ends a training whose part of the budget is spent."""


def network_of(name: str, given: dict[str, Any], device: str) -> tuple[NetClassifier, tuple[int, ...], Any]:
    """An untrained deep system, the shape of one copy of its input with the copies in front, and its recipe."""
    system = SYSTEMS[name]
    medium: Medium = "flow" if "flow" in system.recipes else "frames"
    if given.get("preset") == "paper" and "frames" in system.recipes:
        medium = "frames"
    p = system.with_parameters({**given, "device": device}, (medium,))
    classifier = system.build(3, p)
    assert isinstance(classifier, NetClassifier)
    recipe = system.recipe(medium, p)
    return classifier, tuple(n or 1 for n in recipe.shape), recipe


def deep_systems() -> list[str]:
    """Names of all systems whose classifier is a network."""
    return [
        name for name in SYSTEMS if isinstance(SYSTEMS[name].build(3, SYSTEMS[name].with_parameters({})), NetClassifier)
    ]


def inputs_like(recipe: Any, shape: tuple[int, ...], clips: int) -> ArrayInputs:
    """Smooth random input in the range of a recipe; at most two copies of a clip."""
    copies = shape[0] if recipe.axes.startswith("K") else 1
    shape = shape[1:] if recipe.axes.startswith("K") else shape
    low, high = recipe.range
    low, high = max(low, -5.0), min(high, 255.0)  # flow is given a wide range and keeps to a few pixels
    kept = min(copies, 2)
    values = np.random.default_rng(0).uniform(low, high, (clips * kept, *shape)).astype(np.float32)
    return ArrayInputs(values.reshape(clips, kept, *shape), kept) if kept > 1 else ArrayInputs(values)


def without_chance(model: nn.Module) -> bool:
    """Whether nothing in a network is drawn at random while it trains."""
    return not any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in model.modules())


def equality(page: Page, until: float) -> None:
    """Whether both devices give the same answers: of one network, and of two trained from one start."""
    page.add(
        "",
        "## The same answers",
        "",
        "Probabilities of one trained network on both devices, and the mean losses of three epochs trained from one "
        "start on each (left out where dropout draws on the device). The largest difference is shown.",
        "",
        "| system | preset | probabilities | losses, relative | s |",
        "|---|---|---:|---:|---:|",
    )
    clips = 6
    compared: list[float] = []
    for name in deep_systems():
        if compared and time.monotonic() > until:
            page.add(f"| {name} | time is up | | | |")
            continue
        began = time.monotonic()
        system = SYSTEMS[name]
        given: dict[str, Any] = {"preset": "small"} if "small" in system.presets else {}
        if "dropout" in system.parameters.model_fields:
            given["dropout"] = 0.0
        y, people = np.arange(clips) % 3, [("d", str(n)) for n in range(clips)]
        trained = []
        for device in ("cpu", page.device):
            classifier, shape, recipe = network_of(name, given, device)
            classifier.schedule = replace(classifier.schedule, epochs=3, min_change=0.0, steps=0, repeats=1)
            x = inputs_like(recipe, shape, clips)
            classifier.fit(x, y, people, seed=1)
            trained.append(classifier)
        ours, theirs = trained
        answers = ours.predict_proba(x)
        moved = copy.copy(ours)
        moved.device = page.device
        moved.models = [copy.deepcopy(model).to(page.device) for model in ours.models]
        difference = float(np.abs(moved.predict_proba(x) - answers).max())
        compared.append(difference)
        losses = "-"
        if all(map(without_chance, ours.models)):
            a, b = np.asarray(ours.curves), np.asarray(theirs.curves)
            losses = f"{np.max(np.abs(a - b) / np.maximum(np.abs(a), 1e-6)):.1e}"
        spent = time.monotonic() - began
        page.add(f"| {name} | {given.get('preset', 'default')} | {difference:.1e} | {losses} | {spent:.1f} |")
    page.add("", f"Largest difference of a probability, {len(compared)} systems: **{max(compared):.1e}**.")


def moving_pairs(count: int, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pairs of textured pictures, the second moved by up to two pixels, smoothly."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    firsts, seconds = [], []
    for _ in range(count):
        picture = cv2.GaussianBlur(rng.uniform(0, 255, (height, width)).astype(np.float32), (0, 0), 1.5)
        picture = 255 * (picture - picture.min()) / np.ptp(picture)
        dx, dy = (2 * np.sin(x / width * 6 + a) * np.cos(y / height * 5 + b) for a, b in rng.uniform(0, 6, (2, 2)))
        places = (np.float32(x - dx), np.float32(y - dy))
        firsts.append(picture)
        seconds.append(cv2.remap(picture, *places, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))
    return np.stack(firsts).astype(np.uint8), np.clip(np.stack(seconds), 0, 255).astype(np.uint8)


def flow(page: Page, until: float) -> None:
    """Batched flow: the same as the processor's, and how many pairs a second."""
    from mien.motion.classic_nl import classic_nl
    from mien.motion.flow import CLASSIC

    height, width = (32, 40) if page.small else (300, 245)
    sizes = (1, 2) if page.small else (1, 16, 64)
    page.add(
        "",
        f"## Batched flow, {height}x{width}",
        "",
        "| method | pairs at once | pairs/s | processor, pairs/s | times faster | largest difference, px | MiB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    )
    firsts, seconds = moving_pairs(max(sizes), height, width)
    for method, settings in CLASSIC.items():
        compared = min(2, max(sizes))
        began = time.perf_counter()
        reference = classic_nl(firsts[:compared], seconds[:compared], **settings)
        own = compared / (time.perf_counter() - began)
        for size in sizes:
            if size > 1 and time.monotonic() > until:
                page.add(f"| {method} | {size} | time is up | | | | |")
                break
            compute = partial(classic_nl, firsts[:size], seconds[:size], device=page.device, at_once=size, **settings)
            with measured_memory(page.device) as memory:
                found = compute()  # warms up as well
                began = time.perf_counter()
                found = compute()
                rate = size / (time.perf_counter() - began)
                same = min(size, compared)
                difference = float(np.abs(found[:same] - reference[:same]).max())
                page.add(
                    f"| {method} | {size} | {rate:.3g} | {own:.3g} | {rate / own:.2f} | {difference:.1e} "
                    f"| {memory():.0f} |"
                )
    page.add("", f"The processor's figure: {cores()} cores, {compared} pairs side by side.")


def fold_worker(given: argparse.Namespace) -> None:
    """Trains some folds of STSTNet, one after another, as `mien benchmark --jobs` does in each of its processes."""
    from mien.evaluation.execution.folds import train_fold, write_fold

    plan, ready = composite(given.flow, given.device)
    for number in given.folds:
        result = train_fold(plan, ready, 0, number)
        wait(given.device)
        write_fold(given.run, result)
        print(number, flush=True)


def composite(folder: Path, device: str) -> tuple[Any, Any]:
    """The plan of STSTNet's leave-one-subject-out on flow pictures, and its inputs."""
    from mien.datasets import open_specs
    from mien.evaluation.execution.base import RunInputs
    from mien.evaluation.planning import make_plan

    plan = make_plan(open_specs([f"flow_images={folder}"]), "ststnet", parameters={"device": device})
    recipe = plan.system.recipe("flow", plan.parameters)
    inputs = np.stack([recipe.run(sample.clip)[0] for sample in plan.samples])
    return plan, RunInputs(ArrayInputs(inputs), tuple("ready" for _ in inputs))


def plain_seconds(x: torch.Tensor, y: torch.Tensor, epochs: int, device: str) -> float:
    """Seconds of plain epochs of STSTNet as its paper draws it; one epoch of warm-up is not counted."""
    from ststnet_loso import Plain

    model = Plain().to(device)
    optimiser = torch.optim.Adam(model.parameters(), 5e-5)
    began = 0.0
    for epoch in range(epochs + 1):
        if epoch == 1:
            wait(device)
            began = time.perf_counter()
        for start in range(0, len(x), 256):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[start : start + 256]), y[start : start + 256]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    wait(device)
    return time.perf_counter() - began


def ststnet(page: Page, until: float) -> None:
    """Whole leave-one-subject-out of STSTNet against a plain sequential loop on the same device."""
    page.add("", "## STSTNet, leave-one-subject-out on the MEGC 2019 composite", "")
    folder, workers = page.flow, page.workers
    if folder is None or not folder.is_dir():
        page.add("Left out: the folder of flow pictures was not given.")
        return
    from mien.evaluation.execution.folds import train_fold
    from mien.evaluation.ledger import read_ledger
    from mien.evaluation.report import report
    from mien.evaluation.run import open_run

    plan, ready = composite(folder, page.device)
    epochs, folds = plan.parameters.epochs, len(plan.folds)
    x = torch.from_numpy(np.asarray(ready.inputs)).to(page.device)
    y = torch.tensor([sample.label for sample in plan.samples], device=page.device)
    sequential_ends = time.monotonic() + 0.4 * (until - time.monotonic())
    ours: list[float] = []
    plain: list[float] = []
    tried = 0
    page.add(
        f"{folds} folds of {epochs} epochs. The plain loop runs some of its epochs in every fold, scaled to all.", ""
    )
    for number in range(folds):
        if number and time.monotonic() + 2 * (ours[-1] if ours else 0) > sequential_ends:
            break
        train = list(plan.folds[number].train)
        some = max(2, min(40, epochs))
        plain.append(plain_seconds(x[train], y[train], some, page.device) * epochs / some)
        if page.small:  # a whole fold would take longer than the budget
            plan_of_few = replace(plan, parameters=plan.system.with_parameters({"epochs": 20, "device": page.device}))
            began = time.perf_counter()
            train_fold(plan_of_few, ready, 0, number)
            ours.append((time.perf_counter() - began) * epochs / 20)
        else:
            began = time.perf_counter()
            train_fold(plan, ready, 0, number)
            wait(page.device)
            ours.append(time.perf_counter() - began)
        tried = number + 1
    page.add(
        "| | s a fold | all folds, s | times faster |",
        "|---|---:|---:|---:|",
        f"| plain loop, one fold after another, measured in {tried} | {statistics.median(plain):.2f} "
        f"| {statistics.median(plain) * folds:.0f} | 1 |",
        f"| mien, one fold after another, measured in {tried} | {statistics.median(ours):.2f} "
        f"| {statistics.median(ours) * folds:.0f} | {ratio([ours, plain])} |",
    )
    if page.small:
        page.add("", "Mien's folds were cut short as well; side by side was left out.")
        return
    run = Path(tempfile.mkdtemp(prefix="mien-gpu-")) / "run"
    open_run(run, plan)
    began = time.monotonic()
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(folder), "--device", page.device, "--run", str(run), "--folds",
             *map(str, range(n, folds, workers))], stdout=subprocess.PIPE, text=True,
        )
        for n in range(workers)
    ]  # fmt: skip
    try:
        for process in processes:
            process.wait(max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass
    spent = time.monotonic() - began
    done = 0
    for process in processes:
        process.kill()
        done += len(process.communicate()[0].split())
    if done:
        whole = spent * folds / done
        page.add(
            f"| mien, {workers} processes side by side, {done} of {folds} folds in {spent:.0f} s, their start included "
            f"| {spent * workers / done:.2f} | {whole:.0f} | {statistics.median(plain) * folds / whole:.2f} |"
        )
    ledger = read_ledger(run)
    if ledger.complete:
        scores = report(ledger)
        page.add("", f"The score of that run: UF1 {scores['uf1']:.4f}, UAR {scores['uar']:.4f}.")


def training_rate(
    classifier: NetClassifier, recipe: Any, shape: tuple[int, ...], batch: int, device: str, until: float
) -> tuple[float, float, float]:
    """Samples a second of training by mien's own loop and of predicting, and the MiB of training."""
    torch.manual_seed(0)
    model = classifier.make(inputs_like(recipe, shape, 3)).to(device)
    shape = shape[1:] if recipe.axes.startswith("K") else shape
    x = torch.randn(2 * batch, *shape, device=device)
    y = torch.arange(2 * batch, device=device) % 3
    seen: list[float] = []

    def look(_: nn.Module, epoch: int) -> None:
        wait(device)
        seen.append(time.perf_counter())
        if (epoch >= 3 and time.monotonic() > until) or epoch >= 30:
            raise TimeIsUp

    schedule = replace(classifier.schedule, epochs=1000, batch_size=batch, min_change=0.0, steps=0, repeats=1, lr=1e-5)
    with measured_memory(device) as memory:
        with suppress(TimeIsUp):
            fit(model, x, y, schedule, augment=classifier.augment, on_epoch=look)
        took = memory()
    trains = 2 * batch / statistics.median(np.diff(seen))
    answer = synchronised(lambda: predict(model, x, len(x), batch), device)
    (times,) = in_turns([answer], 3)
    return trains, len(x) / statistics.median(times), took


def fold_hours(samples_per_clip: float, rate: float, clips: int, subjects: int) -> float:
    """Hours of a leave-one-subject-out run: every clip is in all folds but its own."""
    return clips * (subjects - 1) * samples_per_clip / rate / 3600


def networks(page: Page, until: float) -> None:
    """STRCN, HTNet and CausalNet in the published sizes: samples a second, hours and memory."""
    page.add(
        "",
        f"## Networks of the published size{' (small presets here)' if page.small else ''}",
        "",
        "Mien's own training loop on input that lies on the device; batches of the preset. Hours are those of every "
        "epoch of the preset on one device, one fold after another, input prepared: for STRCN of Table II (SMIC-HS, "
        "CASME II and SAMM), whose stop rule may end a fold sooner; for the others of the MEGC 2019 composite.",
        "",
        "| system | batch | training, samples/s | predicting, samples/s | MiB | hours |",
        "|---|---:|---:|---:|---:|---:|",
    )
    for place, name in enumerate(("strcn-g", "strcn-a", "htnet", "causalnet")):
        if place and time.monotonic() > until:
            page.add(f"| {name} | time is up | | | | |")
            continue
        given = {"preset": page.preset("paper")}
        classifier, shape, recipe = network_of(name, given, page.device)
        copies = shape[0] if recipe.axes.startswith("K") else 1
        p = SYSTEMS[name].with_parameters(given)
        batch = min(classifier.schedule.batch_size, 4 if page.small else COMPOSITE[0])
        own_end = time.monotonic() + (until - time.monotonic()) / 3
        trains, answers, took = training_rate(classifier, recipe, shape, batch, page.device, own_end)
        seen = copies * p.epochs * (2 if getattr(p, "mirror", False) else 1)
        databases = list(TABLE_2.values()) if name.startswith("strcn") else [COMPOSITE]
        hours = sum(fold_hours(seen, trains, *counts) for counts in databases)
        page.add(f"| {name} | {batch} | {trains:.3g} | {answers:.3g} | {took:.0f} | {hours:.3g} |")


def plain_strcn(page: Page, until: float) -> None:
    """STRCN's networks beside the same written plainly, on the device, in turn."""
    import strcn

    page.add(
        "",
        "## STRCN beside plain PyTorch",
        "",
        "| network | batch | training, samples/s | plain | times faster | predicting, samples/s | plain | times |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    )
    names = ("M 8 (small)",) if page.small else ("M 128 (paper)",)
    for case in (c for c in strcn.CASES if c[0].endswith(names)):
        batch = 4 if page.small else 20
        ours, plain, x, y = strcn.networks((*case[:-1], batch))
        cells = []
        for training in (True, False):
            calls: list[Callable[[], object]] = [
                synchronised(strcn.step(m.to(page.device), x.to(page.device), y.to(page.device), training), page.device)
                for m in (ours, plain)
            ]
            times = in_turns(calls, 3)
            fast, slow = (batch / statistics.median(t) for t in times)
            cells += [f"{fast:.3g}", f"{slow:.3g}", ratio(times)]
        page.add(f"| {case[0]} | {batch} | " + " | ".join(cells) + " |")


def largest_batch(page: Page, until: float) -> None:
    """Batches twice as large each time, until memory or time is up."""
    page.add(
        "",
        "## Batch and memory",
        "",
        "| network | batch | training, samples/s | MiB |",
        "|---|---:|---:|---:|",
    )
    names = ("strcn-g", "strcn-a", "htnet")
    for place, name in enumerate(names):
        own_end = time.monotonic() + (until - time.monotonic()) / (len(names) - place)
        given = {"preset": page.preset("paper")}
        classifier, shape, recipe = network_of(name, given, page.device)
        batch = 2 if page.small else 16
        tried = 0
        while (not tried or time.monotonic() < own_end) and batch <= (4 if page.small else 1 << 15):
            tried += 1
            try:
                step_end = time.monotonic() + 2
                trains, _, took = training_rate(classifier, recipe, shape, batch, page.device, min(own_end, step_end))
            except torch.cuda.OutOfMemoryError:
                page.add(f"| {name} | {batch} | does not fit | |")
                break
            page.add(f"| {name} | {batch} | {trains:.3g} | {took:.0f} |")
            batch *= 2
        if page.device == "cuda":
            torch.cuda.empty_cache()


def machine_lines(device: str) -> list[str]:
    """What was measured on."""
    lines = [f"{processor()}, {cores()} cores, Python {sys.version.split()[0]}, torch {torch.__version__}."]
    if device == "cuda":
        gpu = torch.cuda.get_device_properties(0)
        lines.append(
            f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, {gpu.multi_processor_count} multiprocessors, CUDA "
            f"{torch.version.cuda}; TF32 in products {torch.backends.cuda.matmul.allow_tf32}, in convolutions "
            f"{torch.backends.cudnn.allow_tf32}."
        )
    else:
        lines.append("**No GPU: small presets on the processor. This shows that the script works; no figure is one.**")
    return lines


PARTS: Sequence[tuple[float, Callable[[Page, float], None]]] = (
    (0.15, equality),
    (0.15, flow),
    (0.45, ststnet),
    (0.4, networks),
    (0.4, plain_strcn),
    (0.9, largest_batch),
)
"""Each part, and its share of the time that is left when its turn comes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flow", type=Path, nargs="?", help="flow pictures of the MEGC 2019 composite")
    parser.add_argument("--budget", type=float, default=480, help="seconds for all parts together")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--commit", default="", help="name of the sources, where there is no git")
    parser.add_argument("--workers", type=int, default=min(8, cores()), help="folds of STSTNet side by side")
    parser.add_argument("--only", nargs="+", choices=[part.__name__ for _, part in PARTS], metavar="PART")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--folds", type=int, nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    began = time.monotonic()
    os.environ.setdefault("MIEN_CACHE", tempfile.mkdtemp(prefix="mien-gpu-cache-"))
    if given.folds:
        fold_worker(given)
        return
    page = Page(given.device, given.device == "cpu", given.out, began + given.budget, given.flow, given.workers)
    page.add(
        "# On a GPU",
        "",
        *machine_lines(given.device),
        f"Commit {given.commit or commit()}; {time.strftime('%Y-%m-%d')}; budget {given.budget:g} s. "
        f"Missing packages, stood in for: {', '.join(STOOD_IN) or 'none'}.",
    )
    for share, part in PARTS:
        if given.only and part.__name__ not in given.only:
            continue
        try:
            part(page, page.left(share))
        except Exception as error:  # a part that fails leaves the others their time
            page.add("", f"Failed: {type(error).__name__}: {error}", "", "```", traceback.format_exc(limit=-4), "```")
    page.add("", f"All parts took {time.monotonic() - began:.0f} s.")


if __name__ == "__main__":
    main()
