"""Databases in their owners' own layout: what they are, how to open them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mien.datasets.base import Dataset
from mien.datasets.casme import Casme, Casme2
from mien.datasets.casme3 import Casme3A
from mien.datasets.casme_sq import CasmeSq
from mien.datasets.flow_images import FlowImages
from mien.datasets.fourdme import FourDme
from mien.datasets.labels import label_maps_of
from mien.datasets.mmew import Mmew
from mien.datasets.samm import Samm, SammLongVideos
from mien.datasets.smic import SmicHs, SmicNir, SmicVis
from mien.datasets.synthetic import Synthetic
from mien.errors import MienError, unknown_name
from mien.io.atomic import at_home

__all__ = ["DATASETS", "Databases", "label_maps_of", "open_dataset", "open_specs", "parse_spec"]

_ALL: tuple[type[Dataset], ...] = (
    SmicHs,
    SmicVis,
    SmicNir,
    Casme,
    Casme2,
    CasmeSq,
    Samm,
    SammLongVideos,
    Mmew,
    Casme3A,
    FourDme,
    FlowImages,
    Synthetic,
)

DATASETS: dict[str, type[Dataset]] = {each.id: each for each in _ALL}
"""Every database mien reads, by id."""


def open_dataset(name: str, root: str | Path) -> Dataset:
    """One copy of a database.

    Args:
        name: Dataset id.
        root: Folder that holds the copy.

    Raises:
        MienError: There is no such dataset, or the folder does not hold it.
    """
    if name not in DATASETS:
        raise unknown_name("dataset", name, DATASETS, "mien datasets")
    return DATASETS[name](Path(root))


def parse_spec(spec: str) -> tuple[str, Path]:
    """`casme2=/data/x` as the dataset's name and its folder; "~" stands for the home folder.

    Raises:
        MienError: There is no "=", or nothing on one side of it.
    """
    name, equals, folder = (part.strip() for part in spec.partition("="))
    if not (name and equals and folder):
        example = f"{name or 'casme2'}={folder or '/path/to/the/folder'}"
        raise MienError(f"{spec!r} does not say which database lies where.", "NAME=FOLDER.", f"`{example}`.")
    return name, at_home(folder)


Databases = str | Dataset | Sequence[str | Dataset]
"""What functions take as their data: "casme2=/data/CASMEII", an open dataset, or several of these."""


def open_specs(specs: Databases) -> list[Dataset]:
    """Open several copies, each given as NAME=FOLDER; datasets that are open stay as they are.

    Raises:
        MienError: A spec is wrong, or one folder does not hold its database.
    """
    each = [specs] if isinstance(specs, str | Dataset) else specs
    return [spec if isinstance(spec, Dataset) else open_dataset(*parse_spec(spec)) for spec in each]
