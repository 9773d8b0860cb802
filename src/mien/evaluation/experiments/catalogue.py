"""The experiments: tables and figures of papers, each a data file that lists its rows."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from mien.errors import MienError, nearest_name, plain_name, unknown_name
from mien.parameters import Parameters
from mien.systems import SYSTEMS, System
from mien.types import Medium


@dataclass(frozen=True, slots=True)
class GridRow:
    """One line of an experiment.

    Attributes:
        name: As the paper names it; {maps} and other parameters of the system are filled in.
        system: The system that is run.
        set: Parameters that differ from the preset.
        small: Further ones under the small preset.
        pictures: Further ones on ready flow pictures.
        same_iterations: Train as many steps as the preset with all its copies would.
        identical_copies: Replace the preset's copies by as many that are the clip itself.
        x: Place on the axis of a figure; None takes the parameter that the experiment names.
        curve: Curve of a figure.
        with_weights: Preset to take where a file of weights is given; "" where that makes no difference.
        without_weights: Name of the row where none is given: another method than the paper's.
        ours: Whether the paper has no such row.
        id: Name by which claims refer to the row.
        second: Whether it reads a second set of flow pictures of the same clips.
        leak: Whether an experiment with `leaking="best_epoch"` measures that for it.
        claim: Name of the published result that belongs to it; "" takes the row's own name.
        same_training: Id of the row whose training gives this one's answers too: the same but for the epoch.
        protocols: Those of the experiment's protocols under which it is run; none takes all.
    """

    name: str
    system: str
    set: Mapping[str, Any] = field(default_factory=dict)
    small: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, Any] = field(default_factory=dict)
    same_iterations: bool = False
    identical_copies: bool = False
    x: float | None = None
    curve: str = ""
    with_weights: str = ""
    without_weights: str = ""
    ours: bool = False
    id: str = ""
    second: bool = False
    leak: bool = False
    claim: str = ""
    same_training: str = ""
    protocols: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement of a paper that two or more rows of an experiment decide.

    Attributes:
        name: Short name.
        says: The statement, in one sentence.
        pairs: (row that should score higher, row that should score lower), by their ids; all of them must hold.
        also: Further pairs that are compared and decide nothing.
        subjects: Protocols it is about: "new" where no subject is trained on and tested, "shared", or "any".
    """

    name: str
    says: str
    pairs: tuple[tuple[str, str], ...]
    also: tuple[tuple[str, str], ...] = ()
    subjects: Literal["new", "shared", "any"] = "any"


@dataclass(frozen=True, slots=True)
class Experiment:
    """One table or figure of a paper.

    Attributes:
        name: Name on the command line.
        title: As the paper calls it.
        paper: Citation.
        shows: What it compares, in a few words.
        protocols: Protocols it is run under.
        protocol_parameters: Parameters of these, by protocol.
        labels: Label map; where a database does not have it, its own default.
        rows: Lines of the table.
        axis: Title of a figure's axis; "" for a table.
        axis_parameter: Parameter that gives the place of a row on that axis.
        note: What the reader should know; may be "".
        leaking: Also score with leaks, to be put beside the first protocol: "holdout" as the MicroExp papers do
            (`mien.evaluation.leaking`), "best_epoch" with the epoch chosen on test subjects
            (`mien.evaluation.best_epoch`), for rows that ask for it; "" does neither.
        presets: Preset that the paper used on a database, where that differs from one to the next.
        set: Parameters of every row, unless others are given.
        claims: What the paper says about these rows.
    """

    name: str
    title: str
    paper: str
    shows: str
    protocols: tuple[str, ...]
    labels: str
    rows: tuple[GridRow, ...]
    axis: str = ""
    axis_parameter: str = ""
    note: str = ""
    leaking: Literal["", "holdout", "best_epoch"] = ""
    presets: Mapping[str, str] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    protocol_parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@cache
def experiments() -> Mapping[str, Experiment]:
    """Return all experiments by name."""
    folder = files("mien.evaluation.experiments")
    found = {}
    for file in sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name):
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        name = file.name.removesuffix(".toml")
        rows = tuple(GridRow(**row) for row in table.pop("rows"))
        claims = tuple(_claim(entry) for entry in table.pop("claims", ()))
        table["protocols"] = tuple(table["protocols"])
        found[name] = Experiment(name=name, rows=rows, claims=claims, **table)
    return found


def _claim(entry: Mapping[str, Any]) -> Claim:
    pairs = {key: tuple((a, b) for a, b in entry.get(key, ())) for key in ("pairs", "also")}
    return Claim(**{**entry, **pairs})


def find_experiment(name: str) -> Experiment:
    """Return an experiment by name.

    Raises:
        MienError: There is no such experiment.

    Example:
        >>> len(find_experiment("strcn-table2").rows)
        11
    """
    if name not in experiments():
        raise unknown_name("experiment", name, experiments(), "mien experiments")
    return experiments()[name]


def choose_rows(chosen: Experiment, only: Sequence[str] = (), skip: Sequence[str] = ()) -> tuple[GridRow, ...]:
    """Return the rows of an experiment that `only` names, without those that `skip` names.

    Args:
        chosen: The experiment.
        only: Names of rows or of systems, or ids of rows; none takes all rows.
        skip: Names of rows or of systems.

    Raises:
        MienError: A name is that of no row; no row is left.

    Example:
        >>> [row.name for row in choose_rows(find_experiment("strcn-table2"), only=["strcn-g", "Bi-WOOF"])]
        ['Bi-WOOF', 'STRCN-G']
    """

    names = [name_in_paper(row) for row in chosen.rows]

    def named(text: str, option: str) -> set[int]:
        wanted = plain_name(text)
        rows = {
            n
            for n, row in enumerate(chosen.rows)
            if wanted
            in map(plain_name, (names[n], row.system, row.without_weights or row.system, row.id or row.system))
        }
        if not rows:
            near = nearest_name(text, names) or difflib.get_close_matches(text, names, n=1, cutoff=0)[0]
            raise MienError(
                f"{chosen.name} has no row called {text!r}.", f"one of {'; '.join(names)}.", f"`{option} {near!r}`."
            )
        return rows

    kept = set().union(*(named(text, "--only") for text in only)) or set(range(len(names)))
    kept -= set().union(*(named(text, "--skip") for text in skip))
    if not kept:
        raise MienError("--only and --skip leave no row.", "at least one row.", "`--only` without `--skip`.")
    return tuple(row for n, row in enumerate(chosen.rows) if n in kept)


def name_in_paper(row: GridRow) -> str:
    """Return the name of a row under the paper's preset."""
    return row.name.format(**row.set) if "{" in row.name else row.name


def resolve(
    chosen: Experiment, row: GridRow, preset: str, common: Mapping[str, Any], medium: Medium
) -> tuple[GridRow, Parameters]:
    """Return a row with its final name and place on the axis, and the parameters of its system.

    Args:
        chosen: The experiment.
        row: One of its rows.
        preset: Preset of every system that has it. Ready flow pictures take the one that is made for them.
        common: Parameters for every system that has them; they go before the preset, the row before both.
        medium: Kind of the clips.

    Raises:
        MienError: The system refuses a parameter.
    """
    system: System[Any] = SYSTEMS[row.system]
    name = row.name
    if medium == "flow" and preset in ("paper", "small") and "pictures" in system.presets:
        preset = "pictures"
    if row.with_weights and common.get("weights"):
        preset = row.with_weights
    elif row.without_weights:
        name = row.without_weights
    given: dict[str, Any] = {"preset": preset} if preset in system.presets else {}
    given |= {k: v for k, v in {**chosen.set, **common}.items() if k in system.parameters.model_fields}
    full = system.with_parameters(given)
    given |= {**row.set, **(row.small if preset == "small" else {}), **(row.pictures if medium == "flow" else {})}
    values = dict(full)
    if row.same_iterations:
        given["repeats"] = len(values["alphas"]) * len(values["shares"])
    if row.identical_copies:
        given |= {name: values[name][:1] * len(values[name]) for name in ("alphas", "shares")}
    # A parameter that this system does not have would be a typing error in the grid.
    parameters: Parameters = system.with_parameters(given)
    values = dict(parameters)
    x = values.get(chosen.axis_parameter) if row.x is None and chosen.axis else row.x
    return replace(row, name=name.format(**values), x=x), parameters
