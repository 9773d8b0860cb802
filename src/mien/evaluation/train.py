"""train(): train a system on all clips of databases and write a checkpoint. For scores, see `benchmark`."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mien.classifiers.checkpoint import CLASSES, UNITS, ModelCard, save_checkpoint, versions
from mien.classifiers.state import delete_states
from mien.datasets import Databases, open_specs
from mien.datasets.base import Dataset
from mien.errors import MienError
from mien.evaluation.execution.processes import Processes
from mien.evaluation.ledger import read_settings
from mien.evaluation.planning import Plan, make_plan
from mien.evaluation.preparing import prepare_inputs
from mien.evaluation.report import report_many
from mien.io.atomic import require_writable_file
from mien.parameters import Parameters
from mien.progress import Bars
from mien.systems.base import System


def train(
    data: Databases,
    system: str | System,
    out: str | Path,
    *,
    labels: str | None = None,
    seed: int = 0,
    parameters: Mapping[str, Any] | Parameters | None = None,
    scored: Path | None = None,
    licence: str | None = None,
    jobs: int | None = None,
    bars: bool = False,
    on_warning: Callable[[str], None] | None = None,
) -> ModelCard:
    """Train a system on all clips, and write a checkpoint with its card.

    Args:
        data: NAME=FOLDER, an open dataset, or several of these.
        system: Name of a deep system, or flow-kernels.
        out: The `.safetensors` file.
        labels: Label map, as in `benchmark`.
        seed: Training seed.
        parameters: Parameters that differ from the defaults.
        scored: Folder of a benchmark run of the same settings, whose score the card quotes.
        licence: Terms for the file, for the card.
        jobs: Clips prepared side by side; None takes the number of cores.
        bars: Show progress on the terminal.
        on_warning: Called with a sentence when clips could not be prepared; the card counts those that were trained on.

    Returns:
        The card that was written with the weights.

    Raises:
        MienError: As `benchmark`; `scored` is another run; the system has no network to save; `out` cannot be written.

    Example:
        >>> card = train("flow_images=pictures", "ststnet", "ststnet.safetensors", parameters={"epochs": 1}, jobs=1)
        >>> card.classes
        ('negative', 'positive', 'surprise')
    """
    out = Path(out)
    require_target(out)
    data = open_specs(data)
    plan = make_plan(data, system, labels=labels, parameters=parameters)
    score = {} if scored is None else _score(plan, scored)
    classifier = plan.build()
    if not classifier.can_be_saved:
        raise MienError(
            f"{plan.system.name} holds no network to save.",
            "a deep system, or flow-kernels.",
            "`mien systems`, e.g. strcn-g.",
        )
    with Bars(show=bars) as shown:
        failures: dict[str, MienError] = {}
        prepared = prepare_inputs(plan, Processes(jobs or os.cpu_count() or 1), shown, failures)
        inputs, n_clips = prepared.inputs, len(plan.samples)
        if failures:
            usable = prepared.usable(range(n_clips))
            plan = replace(plan, samples=tuple(plan.samples[i] for i in usable))
            inputs = inputs[usable]
            if on_warning is not None:
                first = next(iter(failures))
                on_warning(
                    f"{len(failures)} of {n_clips} clips could not be prepared and are not trained on: "
                    f"{', '.join(failures)}. The first: {failures[first].found}"
                )
        done = 0

        def share(value: float) -> None:
            nonlocal done
            advance(int(100 * value) - done)
            done = int(100 * value)

        advance = shown.start("training, %", 100)
        classifier.state_file = _state_file(out, plan, seed)
        classifier.fit(inputs, plan.targets(), [s.clip.person for s in plan.samples], seed=seed, progress=share)
    card = ModelCard(
        system=plan.system.name,
        parameters=plan.parameters.model_dump(mode="json"),
        classes=plan.classes,
        labels=plan.settings["labels"],
        trained_on=_trained_on(plan, data),
        recipes=plan.settings["recipes"],
        shape=tuple(inputs.shape),
        seed=seed,
        score=score,
        versions=versions(),
        task=UNITS if plan.units else CLASSES,
    )
    if licence is not None:
        card = replace(card, licence=licence)
    save_checkpoint(out, classifier, card)
    delete_states(classifier.state_file)
    return card


def require_target(out: str | Path) -> None:
    """Refuse, before any work, a file in which no checkpoint could be written.

    Raises:
        MienError: A folder, a device, no room, or no right to write there.
    """
    require_writable_file(out, "`--out model.safetensors`.")


def _state_file(out: Path, plan: Plan, seed: int) -> Path:
    """Return the path for the state of an unfinished training: another one for other settings or clips."""
    same = {key: plan.settings[key] for key in ("system", "parameters", "labels", "recipes")}
    clips = [(sample.clip.key, sample.label) for sample in plan.samples]
    digest = hashlib.sha256(json.dumps([same, clips, seed], sort_keys=True).encode()).hexdigest()[:12]
    return out.with_name(f"{out.name[:200]}.unfinished-{digest}")


def _trained_on(plan: Plan, data: Sequence[Dataset]) -> tuple[dict[str, Any], ...]:
    clips = Counter(s.clip.dataset for s in plan.samples)
    people = {s.clip.person for s in plan.samples}
    synthetic = any(d.is_synthetic for d in data)
    return tuple(
        {"dataset": name, "clips": n, "subjects": sum(p[0] == name for p in people), "synthetic": synthetic}
        for name, n in sorted(clips.items())
    )


def _score(plan: Plan, run: Path) -> dict[str, Any]:
    """Return the score of a run of the same settings."""
    there = read_settings(run)
    if there.get("shuffle_labels"):
        raise MienError(
            f"The labels of the run {str(run)!r} were shuffled.",
            "a run with the true labels.",
            "`mien benchmark` without --shuffle-labels first, or no --scored.",
        )
    names = {"system": "system", "parameters": "parameters", "labels": "labels", "clip_table": "clips"}
    differs = [name for key, name in names.items() if there.get(key) != plan.settings[key]]
    if differs:
        raise MienError(
            f"The run {str(run)!r} differs in {' and '.join(differs)}.",
            "a run of the same system, parameters, labels and clips.",
            "`mien benchmark` with the same settings first, or no --scored.",
        )
    measured = report_many([run])[0]
    units = ("mean_auc", "mean_f1", "always_yes_f1", "per_au")
    classes = ("uf1", "uar", "accuracy", "majority_accuracy")
    keys = ("protocol", "n_clips", "n_subjects", *(units if plan.units else classes))
    return {key: measured[key] for key in keys} | {"averaging": "counts pooled over folds", "seeds": there["seeds"]}
