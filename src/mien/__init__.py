"""Find and recognise facial micro-expressions, and score such methods honestly.

Your own video:
    recognise            Find the expressions in a video and name the micro-expressions.
    recognise_many       Do so for many videos: one table, one page each; resumes after a kill.
    spot                 Find micro- and macro-expressions in a video.
    open_video           Open a video, GIF, folder of pictures or camera.
    magnify              Magnify the small motions of a clip.
    magnify_video        Magnify the small motions of a video file.
    optical_flow         Compute the displacement of every pixel between two frames.
    optical_strain       Compute how much the skin stretches, from optical flow.
    find_apex            Find the frame where the motion is largest.

Databases:
    datasets             Return the databases mien reads, by name.
    open_dataset         Open your copy of a database.
    check                Check that a copy of a database is complete.
    synthesise           Write a synthetic database of moving faces.

Score:
    benchmark            Train and test a system on databases.
    report               Compute the scores of a run.
    score                Score predictions that others made.
    compare              Test whether one run is better than another.
    combine              Average the probabilities of several runs.
    systems              Return the methods that can be scored, by name.
    protocols            Return the ways to divide clips into training and test, by name.
    spotters             Return the methods that find expressions in long videos, by name.
    experiment           Reproduce a table or figure of a paper.

Inputs:
    prepare              Compute the input that a paper used.
    describe             Compute features of clips, such as LBP-TOP.
    descriptors          Return the features that can be computed, by name.
    recipes              Return the inputs that can be prepared, by name.

Your own methods:
    estimator_system     Make a system of a scikit-learn estimator or pipeline.
    register_system      Add a system under a name, for Python and the command line.
    register_dataset     Add a database.
    register_descriptor  Add a feature of clips.
    register_protocol    Add a way to divide clips into training and test.
    register_spotter     Add a method that finds expressions in long videos.
    register_flow        Add a method of optical flow.

More:
    train                Train a network on every clip and save it.
    load_checkpoint      Load a trained network and its card.
    read_card            Read what a checkpoint is, without its weights.
    explain              Show where a trained network looked.
    MienError            The error for mistakes of the user.

`help(mien.recognise)` explains one of them. Each is loaded when it is first used: `import mien` loads no other package.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mien.classifiers.checkpoint import read_card
    from mien.datasets import open_dataset, register_dataset
    from mien.datasets.base import Card
    from mien.datasets.check import check
    from mien.descriptors import Descriptor, register_descriptor
    from mien.descriptors.table import describe
    from mien.errors import MienError
    from mien.evaluation.combine import combine
    from mien.evaluation.compare import compare
    from mien.evaluation.experiments.grid import experiment
    from mien.evaluation.protocols import Protocol, register_protocol
    from mien.evaluation.referee.score import score
    from mien.evaluation.report import report
    from mien.evaluation.run import benchmark
    from mien.evaluation.train import train
    from mien.export.many import recognise_many
    from mien.io.video import open_video
    from mien.motion.apex import find_apex
    from mien.motion.flow import optical_flow, register_flow
    from mien.motion.magnify import magnify
    from mien.motion.strain import optical_strain
    from mien.preprocessing import NamedRecipe
    from mien.preprocessing.films import magnify_video
    from mien.preprocessing.prepare import prepare
    from mien.recognition.recognise import recognise
    from mien.recognition.saliency import explain
    from mien.spotting import Spotter, register_spotter
    from mien.spotting.spot import spot
    from mien.synthesis.corpus import synthesise
    from mien.systems import System, estimator_system, register_system
    from mien.systems.trained import load_checkpoint

__all__ = [
    "MienError",
    "benchmark",
    "check",
    "combine",
    "compare",
    "datasets",
    "describe",
    "descriptors",
    "estimator_system",
    "experiment",
    "explain",
    "find_apex",
    "load_checkpoint",
    "magnify",
    "magnify_video",
    "open_dataset",
    "open_video",
    "optical_flow",
    "optical_strain",
    "prepare",
    "protocols",
    "read_card",
    "recipes",
    "recognise",
    "recognise_many",
    "register_dataset",
    "register_descriptor",
    "register_flow",
    "register_protocol",
    "register_spotter",
    "register_system",
    "report",
    "score",
    "spot",
    "spotters",
    "synthesise",
    "systems",
    "train",
]

__version__ = "0.2.0"
"""The one place of the version: the package, `mien --version`, ledgers and checkpoints take it from here."""

MOST_PIXELS = 36_000_000
"""Largest picture or frame that is decoded, a little more than 8K: a small file can claim more and fill the memory."""

# OpenCV reads it once, when it is first imported.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))

_HOMES: Final = {
    "mien.classifiers.checkpoint": "read_card",
    "mien.datasets": "open_dataset register_dataset",
    "mien.datasets.check": "check",
    "mien.descriptors": "register_descriptor",
    "mien.descriptors.table": "describe",
    "mien.errors": "MienError",
    "mien.evaluation.combine": "combine",
    "mien.evaluation.compare": "compare",
    "mien.evaluation.experiments.grid": "experiment",
    "mien.evaluation.protocols": "register_protocol",
    "mien.evaluation.referee.score": "score",
    "mien.evaluation.report": "report",
    "mien.evaluation.run": "benchmark",
    "mien.evaluation.train": "train",
    "mien.export.many": "recognise_many",
    "mien.io.video": "open_video",
    "mien.motion.apex": "find_apex",
    "mien.motion.flow": "optical_flow register_flow",
    "mien.motion.magnify": "magnify",
    "mien.motion.strain": "optical_strain",
    "mien.preprocessing.films": "magnify_video",
    "mien.preprocessing.prepare": "prepare",
    "mien.recognition.recognise": "recognise",
    "mien.recognition.saliency": "explain",
    "mien.spotting": "register_spotter",
    "mien.spotting.spot": "spot",
    "mien.synthesis.corpus": "synthesise",
    "mien.systems": "estimator_system register_system",
    "mien.systems.trained": "load_checkpoint",
}
_HOME: Final = {name: module for module, names in _HOMES.items() for name in names.split()}
"""The module of each public name."""


def protocols() -> Mapping[str, Protocol]:
    """Return the ways to divide clips into training and test, by name.

    Returns:
        Each protocol, by the name that `benchmark` takes; plug-ins included.

    Example:
        >>> import mien
        >>> mien.protocols()["loso"].shares_subjects
        False
    """
    from mien.evaluation.protocols import PROTOCOLS

    return PROTOCOLS


def spotters() -> Mapping[str, Spotter]:
    """Return the methods that find expressions in long videos, by name.

    Returns:
        Each spotter, by the name that `spot` takes; plug-ins included.

    Example:
        >>> import mien
        >>> "flow-peaks" in mien.spotters()
        True
    """
    from mien.spotting import SPOTTERS

    return SPOTTERS


def recipes() -> Mapping[str, NamedRecipe]:
    """Return the inputs that `prepare` can compute, by name.

    Returns:
        Each recipe, by the name that `prepare` takes.

    Example:
        >>> import mien
        >>> "strcn-g" in mien.recipes()
        True
    """
    from mien.preprocessing import RECIPES

    return RECIPES


def _systems() -> Mapping[str, System]:
    """Return the methods that can be scored, by name.

    Returns:
        Each system, by the name that `benchmark` takes, imported when it is asked for; plug-ins included.

    Example:
        >>> import mien
        >>> "strcn-g" in mien.systems()
        True
    """
    from mien.systems import SYSTEMS

    return SYSTEMS


def _datasets() -> Mapping[str, Card]:
    """Return what there is to know of the databases mien reads, by name: title, licence, how to request a copy.

    Returns:
        The card of each database, by its id; plug-ins included.

    Example:
        >>> import mien
        >>> mien.datasets()["casme2"].title
        'CASME II'
    """
    from mien.datasets import DATASETS
    from mien.datasets.base import card

    return {name: card(name) for name in DATASETS}


def _descriptors() -> Mapping[str, Descriptor]:
    """Return the features that `describe` can compute, by name.

    Returns:
        Each descriptor, by the name that `describe` takes; plug-ins included.

    Example:
        >>> import mien
        >>> "lbp-top" in mien.descriptors()
        True
    """
    from mien.descriptors import DESCRIPTORS

    return DESCRIPTORS


if TYPE_CHECKING:
    systems, datasets, descriptors = _systems, _datasets, _descriptors

_LISTS: Final = {"mien.systems": _systems, "mien.datasets": _datasets, "mien.descriptors": _descriptors}
"""Packages that are also functions: `mien.systems()` lists what `mien.systems` holds."""


class _List(ModuleType):
    def __call__(self) -> Mapping[str, Any]:
        return _LISTS[self.__name__]()


class _Front(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        # Python sets a package's modules as its attributes when they are imported.
        if isinstance(value, ModuleType) and value.__name__ in _LISTS:
            value.__class__ = _List
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Front


def __getattr__(name: str) -> Any:
    if f"mien.{name}" in _LISTS:
        return import_module(f"mien.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
