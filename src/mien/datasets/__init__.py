"""Databases in their owners' own layout: which there are, and how to open a copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from mien.datasets.base import Dataset, add_table, card, read_table
from mien.datasets.labels import label_maps_of
from mien.datasets.official import OfficialDataset
from mien.errors import MienError
from mien.io.atomic import at_home
from mien.registry import Registry

__all__ = ["DATASETS", "Databases", "label_maps_of", "open_dataset", "open_specs", "parse_spec", "register_dataset"]


def _accept(given: Any) -> type[Dataset]:
    """Return the class of a dataset from a class, or from a table alone, which is read as every official layout is."""
    if isinstance(given, type) and issubclass(given, Dataset):
        found: type[Dataset] = given
    elif isinstance(given, Traversable):
        found = _from_table(given)
    else:
        raise MienError(
            f"{given!r} is no dataset.",
            "a subclass of `mien.datasets.base.Dataset`, or the path of a table (TOML).",
            "`register_dataset(table=Path('my_database.toml'))`.",
        )
    name = getattr(found, "id", None)
    if not isinstance(name, str):
        raise MienError(
            f"The dataset class {found.__name__} has no id.",
            "a class attribute `id`, such as `id = 'my_database'`.",
            "name it in the class.",
        )
    if found.table_file is not None and name not in DATASETS.builtins:
        add_table(name, found.table_file)
    card(name)  # what the table lacks is said while it is known who brings it
    return found


def _from_table(table: Traversable) -> type[Dataset]:
    name = str(read_table(table).get("card", {}).get("id", Path(table.name).stem))
    return type(name, (OfficialDataset,), {"id": name, "table_file": table, "__module__": __name__})


DATASETS: Registry[type[Dataset]] = Registry(
    "dataset",
    "mien.datasets",
    "mien datasets",
    builtins={
        "smic_hs": "mien.datasets.smic:SmicHs",
        "smic_vis": "mien.datasets.smic:SmicVis",
        "smic_nir": "mien.datasets.smic:SmicNir",
        "casme": "mien.datasets.casme:Casme",
        "casme2": "mien.datasets.casme:Casme2",
        "casme_sq": "mien.datasets.casme_sq:CasmeSq",
        "samm": "mien.datasets.samm:Samm",
        "samm_lv": "mien.datasets.samm:SammLongVideos",
        "mmew": "mien.datasets.mmew:Mmew",
        "casme3_a": "mien.datasets.casme3:Casme3A",
        "casme3_c": "mien.datasets.casme3:Casme3C",
        "dfme": "mien.datasets.dfme:Dfme",
        "fourdme": "mien.datasets.fourdme:FourDme",
        "flow_images": "mien.datasets.flow_images:FlowImages",
        "features": "mien.datasets.features:Features",
        "synthetic": "mien.datasets.synthetic:Synthetic",
    },
    accept=_accept,
    name_of=lambda found: found.id,
    aliases={
        "casmeii": "casme2",
        "casme1": "casme",
        "casmesq": "casme_sq",
        "casmesquare": "casme_sq",
        "casme22": "casme_sq",
        "CAS(ME)^2": "casme_sq",
        "CAS(ME)^3": "casme3_a",
        "cas(me)^3": "casme3_a",
        "cas(me)3": "casme3_a",
        "casme3": "casme3_a",
        "smic": "smic_hs",
        "sammlongvideos": "samm_lv",
        "sammlv": "samm_lv",
        "4dme": "fourdme",
        "megc2019": "flow_images",
    },
)
"""Every database mien reads, by id: those of this package, registered ones, and those of installed packages."""


def register_dataset(cls: type[Dataset] | None = None, *, table: Traversable | None = None) -> type[Dataset]:
    """Register a database from outside this package: a table, and where needed a class. Works as a class decorator.

    With a table alone, the database is read as every official layout is (`mien.datasets.official`); its id is the `id`
    in the table's `[card]`, else the file's name. A class that has a table names it here or as `table_file`.

    Args:
        cls: Subclass of `mien.datasets.base.Dataset` (mostly of `OfficialDataset`) with an `id`.
        table: Its TOML file: a `Path`, or a resource from `importlib.resources.files`.

    Returns:
        The class.

    Raises:
        MienError: It is no dataset, its table lacks something, or the id is taken.

    Example:
        >>> from mien.datasets.base import Dataset
        >>> register_dataset(table=Path("my_database.toml"))  # doctest: +SKIP
        <class 'mien.datasets.my_database'>
    """
    if cls is None:
        if table is None:
            raise MienError(
                "register_dataset was given neither a class nor a table.",
                "a table (TOML), a class, or both.",
                "`register_dataset(table=Path('my_database.toml'))`.",
            )
        cls = _from_table(table)
    elif table is not None:
        cls.table_file = table
    return DATASETS.register(cls)


def open_dataset(name: str, root: str | Path) -> Dataset:
    """Open one copy of a database.

    Args:
        name: Dataset id, or the import path `package.module:attribute` of a dataset's class.
        root: Folder that holds the copy.

    Returns:
        The dataset; its clips are listed when they are asked for.

    Raises:
        MienError: There is no such dataset, or the folder does not hold it.

    Example:
        >>> open_dataset("casme2", "CASMEII").clips()[0].dataset
        'casme2'
    """
    return DATASETS.get(name)(Path(root))


def parse_spec(spec: str) -> tuple[str, Path]:
    """Return `casme2=/data/x` as the dataset's name and its folder; "~" stands for the home folder.

    Args:
        spec: NAME=FOLDER.

    Returns:
        (name, folder); neither has to exist.

    Raises:
        MienError: There is no "=", or nothing on one side of it.

    Example:
        >>> parse_spec("casme2=/data/CASMEII")[0]
        'casme2'
    """
    name, equals, folder = (part.strip() for part in spec.partition("="))
    if not (name and equals and folder):
        example = f"{name or 'casme2'}={folder or '/path/to/the/folder'}"
        raise MienError(f"{spec!r} does not say which database lies where.", "NAME=FOLDER.", f"`{example}`.")
    return name, at_home(folder)


Databases = str | Dataset | Sequence[str | Dataset]
"""What functions take as their data: "casme2=/data/CASMEII", an open dataset, or several of these."""


def open_specs(
    specs: Databases, label_sheets: Mapping[str, Path] | None = None, second_flow: Path | None = None
) -> list[Dataset]:
    """Open several copies, each given as NAME=FOLDER; datasets that are open stay as they are.

    Args:
        specs: See `Databases`.
        label_sheets: Dataset id to label sheet, for the action units of ready flow pictures.
        second_flow: Folder of a second flow picture of each clip.

    Returns:
        The datasets, in the order of the specs.

    Raises:
        MienError: A spec is wrong, one folder does not hold its database, or there are label sheets or second pictures
            and no flow pictures.

    Example:
        >>> [dataset.id for dataset in open_specs(["casme2=CASMEII"])]
        ['casme2']
    """
    each = [specs] if isinstance(specs, str | Dataset) else specs
    opened = [spec if isinstance(spec, Dataset) else open_dataset(*parse_spec(spec)) for spec in each]
    if label_sheets or second_flow is not None:
        from mien.datasets.features import Features
        from mien.datasets.flow_images import FlowImages

        pictures = [dataset for dataset in opened if isinstance(dataset, FlowImages)]
        features = [dataset for dataset in opened if isinstance(dataset, Features)]
        for each_file in features:
            each_file.label_sheets = dict(label_sheets or {})
        if not pictures and not (features and second_flow is None):
            raise MienError(
                f"--{'label-sheet' if label_sheets else 'second-flow'} is for ready flow pictures, and none are given.",
                "flow_images=FOLDER.",
                "without it: the other databases have their own label sheets.",
            )
        for dataset in pictures:
            dataset.label_sheets, dataset.second = dict(label_sheets or {}), second_flow
    return opened
