"""Protocols: pure generators of folds from the table of samples. They never see pixels or predictions."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

import numpy as np

from mien.errors import MienError, unknown_name
from mien.registry import Registry
from mien.types import Fold, Sample

Key = TypeVar("Key", bound=Hashable)
_Split = TypeVar("_Split", bound=Callable[..., "list[Fold]"])

Held = list[tuple[str, list[int]]]
"""Names of folds with the indices of the samples each holds out."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """One way to divide clips.

    Attributes:
        name: Name on the command line.
        summary: What is held out, in one sentence.
        split: (samples, **parameters) to folds.
        shares_subjects: True where one person is on both sides of a fold.
        warning: Printed with every score made under it; None for sound protocols.
        parameters: Parameters with their defaults.
    """

    name: str
    summary: str
    split: Callable[..., list[Fold]]
    shares_subjects: bool = False
    warning: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


def make_folds(name: str, samples: Sequence[Sample], **parameters: Any) -> list[Fold]:
    """The folds of a protocol.

    Args:
        name: Name in `PROTOCOLS`.
        samples: Clips with their classes. Copies of a clip (same `origin`) are always held out together.
        parameters: Those of the protocol; text is read as the default's type.

    Returns:
        Folds with unique names; `train` and `test` are disjoint and ascending.

    Raises:
        MienError: Unknown name or parameter; one class only; fewer subjects, clips or databases than folds.
    """
    protocol = PROTOCOLS.get(name)
    given = dict(protocol.parameters)
    for key, value in parameters.items():
        if key not in given:
            raise MienError(
                f"{name} has no parameter {key!r}.",
                f"{', '.join(given) or 'no parameter'}.",
                f"`--protocol {name}`" + (f" --protocol-set {next(iter(given))}=..." if given else ""),
            )
        given[key] = _parameter(key, value, given[key])
    if len({s.label for s in samples}) < 2:
        raise MienError(
            f"{len(samples)} clip(s) of {len({s.label for s in samples})} class(es).",
            "clips of at least two classes.",
            "another label map, such as `--labels own`.",
        )
    folds = protocol.split(samples, **given)
    if not folds:
        raise MienError(
            f"{name} with {given} makes no fold.", "at least one fold.", f"`--protocol {name}` without --protocol-set."
        )
    for fold in folds:
        if not fold.train or not fold.test:
            side = "train on" if not fold.train else "test on"
            raise MienError(
                f"Fold {fold.name} has nothing to {side}.",
                "clips on both sides of every fold.",
                "fewer folds or more data, or another --protocol; `mien protocols` lists them.",
            )
    return folds


def _parameter(key: str, value: Any, default: Any) -> Any:
    """`value` as the type of `default`; seeds from 0, shares above 0 and at most a half."""
    kind = type(default)
    try:
        read = kind(value)
    except (TypeError, ValueError):
        read = None
    expected = {"int": "a whole number", "float": "a number", "str": "text"}[kind.__name__]
    right = read is not None and (kind is str or read == value or isinstance(value, str))
    if key == "seed":
        expected, right = "a whole number from 0 to 4294967295", right and 0 <= read < 2**32
    elif key == "share":
        expected, right = "a number above 0 and at most 0.5", right and 0 < read <= 0.5
    if not right:
        raise MienError(f"{key}={value!r} cannot be used.", f"{expected}.", f"`--protocol-set {key}={default}`.")
    return read


def lacking_classes(samples: Sequence[Sample], folds: Sequence[Fold]) -> dict[str, list[int]]:
    """Folds whose training clips lack a class that the table has, with the classes; allowed, but worth knowing."""
    classes = {s.label for s in samples}
    found = {fold.name: sorted(classes - {samples[i].label for i in fold.train}) for fold in folds}
    return {name: lacking for name, lacking in found.items() if lacking}


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", text).strip("_") or "x"


def _folds(samples: Sequence[Sample], held: Held, train: Mapping[str, list[int]] | None = None) -> list[Fold]:
    """Folds from what each holds out; training is everything else unless `train` says which."""
    names: set[str] = set()
    folds = []
    for wanted, test in held:
        name, n = _safe(wanted), 2
        # Some file systems do not tell S1 from s1.
        while name.lower() in names:
            name, n = f"{_safe(wanted)}-{n}", n + 1
        names.add(name.lower())
        out = set(test)
        rest = [i for i in (range(len(samples)) if train is None else train[wanted]) if i not in out]
        folds.append(Fold(name, tuple(rest), tuple(sorted(out))))
    return folds


def _by(samples: Sequence[Sample], key: Callable[[Sample], Key]) -> dict[Key, list[int]]:
    """Indices of samples with equal keys, in order of first appearance; a copy goes where its origin goes."""
    leads = {s.clip.key: s for s in samples if _origin(s) == s.clip.key}
    groups: dict[Key, list[int]] = {}
    for index, sample in enumerate(samples):
        # Copies whose origin is not in the table follow the first of them.
        groups.setdefault(key(leads.setdefault(_origin(sample), sample)), []).append(index)
    return groups


def _person(sample: Sample) -> tuple[str, str]:
    return sample.clip.person


def _origin(sample: Sample) -> str:
    return sample.origin or sample.clip.key


def loso(samples: Sequence[Sample]) -> list[Fold]:
    """Leave one (dataset, subject) out."""
    persons = _by(samples, _person)
    if len(persons) < 2:
        raise MienError(
            f"There is {len(persons)} subject.", "at least two subjects.", "more data, or `--protocol lovo` (leaky)."
        )
    return _folds(samples, [("-".join(person), test) for person, test in persons.items()])


def composite(samples: Sequence[Sample]) -> list[Fold]:
    """LOSO over several pooled databases, as in MEGC 2019: trained on all of them."""
    databases = {s.clip.dataset for s in samples}
    if len(databases) < 2:
        raise MienError(
            f"The clips come from one database ({', '.join(databases)}).",
            "clips of at least two.",
            "a second NAME=FOLDER, or `--protocol loso`.",
        )
    return loso(samples)


def lovo(samples: Sequence[Sample]) -> list[Fold]:
    """Leave one video out: one clip, with its copies."""
    return _folds(samples, list(_by(samples, _origin).items()))


def lovo5(samples: Sequence[Sample], seed: int = 0, share: float = 0.05) -> list[Fold]:
    """Leave a share of the videos out, 5 % in STRCN, over and over until each was out once."""
    clips = list(_by(samples, _origin).values())
    n_folds = min(len(clips), round(1 / share))
    order = np.random.default_rng(seed).permutation(len(clips))
    parts = np.array_split(order, n_folds)
    return _folds(samples, [(f"part{k + 1:02d}", [i for c in part for i in clips[c]]) for k, part in enumerate(parts)])


def kfold_subject(samples: Sequence[Sample], k: int = 5, seed: int = 0) -> list[Fold]:
    """k folds that never divide a subject, classes spread as evenly as subjects allow."""
    persons = _by(samples, _person)
    if not 2 <= k <= len(persons):
        raise MienError(
            f"k is {k} and there are {len(persons)} subjects.",
            f"k from 2 to {len(persons)}.",
            f"`--protocol-set k={max(2, min(5, len(persons)))}`.",
        )
    group = np.empty(len(samples), dtype=np.int64)
    # Subjects in a random order: the splitter breaks ties by it.
    for place, indices in zip(np.random.default_rng(seed).permutation(len(persons)), persons.values(), strict=True):
        group[indices] = place
    labels = np.array([s.label for s in samples])
    if np.bincount(labels)[np.unique(labels)].max() >= k:
        from sklearn.model_selection import StratifiedGroupKFold

        with warnings.catch_warnings():
            # Classes with fewer clips than folds are reported by `lacking_classes`.
            warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
            parts = [test.tolist() for _, test in StratifiedGroupKFold(k).split(labels, labels, group)]
    else:
        parts = [np.flatnonzero(group % k == n).tolist() for n in range(k)]
    return _folds(samples, [(f"fold{n + 1}", part) for n, part in enumerate(parts)])


def cross_dataset(samples: Sequence[Sample], train: str = "", test: str = "") -> list[Fold]:
    """Train on some databases, test on others; without names, each database in turn is the test set."""
    databases = _by(samples, lambda s: s.clip.dataset)
    if len(databases) < 2:
        raise MienError(
            f"The clips come from one database ({', '.join(databases)}).",
            "clips of at least two.",
            "a second NAME=FOLDER, or `--protocol loso`.",
        )
    sides = {
        side: list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
        for side, names in (("train", train), ("test", test))
    }
    for name in sides["train"] + sides["test"]:
        if name not in databases:
            raise unknown_name("database among the clips", name, databases, "mien datasets")
    both = set(sides["train"]) & set(sides["test"])
    if both:
        name = min(both)
        raise MienError(f"{name} is on both sides.", "different databases.", "`--protocol-set test=OTHER`.")
    held: Held = []
    rest: dict[str, list[int]] = {}
    for tested in [sides["test"]] if sides["test"] else [[n] for n in databases if n not in sides["train"]]:
        trained = sides["train"] or [n for n in databases if n not in tested]
        name = f"{'+'.join(trained)}-to-{'+'.join(tested)}"
        held.append((name, [i for n in tested for i in databases[n]]))
        rest[name] = sorted(i for n in trained for i in databases[n])
    return _folds(samples, held, rest)


def synthetic_to_real(samples: Sequence[Sample]) -> list[Fold]:
    """Train on synthetic clips and test on all real ones, whose labels are used for testing alone."""
    real = sorted({s.clip.dataset for s in samples} - {"synthetic"})
    if len(real) == len({s.clip.dataset for s in samples}) or not real:
        raise MienError(
            f"The clips come from {', '.join(real) or 'synthetic corpora alone'}.",
            "a synthetic corpus and at least one real database.",
            "`mien benchmark synthetic=CORPUS flow_images=FOLDER --protocol synthetic_to_real`.",
        )
    return cross_dataset(samples, "synthetic", ",".join(real))


def holdout_reddy(samples: Sequence[Sample], seed: int = 4, share: float = 0.2) -> list[Fold]:
    """The random 80/20 of clips of the MicroExpSTCNN paper: one permutation from numpy's old generator."""
    clips = list(_by(samples, _origin).values())
    n_test = int(np.ceil(share * len(clips)))
    order = np.random.RandomState(seed).permutation(len(clips))  # The published split comes from it.
    return _folds(samples, [("random20", [i for c in order[:n_test] for i in clips[c]])])


SHARED = "Subjects are shared between training and test: scores are not comparable with leave-one-subject-out."

_BUILTINS = {
    p.name: p
    for p in (
        Protocol("loso", "leave one subject out", loso),
        Protocol("composite", "several databases pooled, leave one subject out (MEGC 2019)", composite),
        Protocol("kfold_subject", "k folds of whole subjects", kfold_subject, parameters={"k": 5, "seed": 0}),
        Protocol(
            "cross_dataset",
            "train on some databases, test on others; by default each database in turn is the test set",
            cross_dataset,
            parameters={"train": "", "test": ""},
        ),
        Protocol("synthetic_to_real", "train on synthetic clips, test on every real one", synthetic_to_real),
        Protocol("lovo", "leave one video out", lovo, True, SHARED),
        Protocol(
            "lovo5",
            "leave 5 % of the videos out, in turn (STRCN's LOVO)",
            lovo5,
            True,
            SHARED,
            {"seed": 0, "share": 0.05},
        ),
        Protocol(
            "holdout_reddy",
            "the random 80/20 of clips of the MicroExpSTCNN paper",
            holdout_reddy,
            True,
            SHARED + " The paper also picked its best epoch on these very test clips; here the last epoch counts.",
            {"seed": 4, "share": 0.2},
        ),
    )
}


def _as_protocol(given: Any) -> Protocol:
    if not isinstance(given, Protocol):
        raise MienError(
            f"{given!r} is not a protocol but a {type(given).__name__}.",
            "a `mien.evaluation.protocols.Protocol`.",
            '`@register_protocol("my-protocol", summary=...)` above the function that makes its folds.',
        )
    return given


PROTOCOLS: Registry[Protocol] = Registry(
    "protocol",
    "mien.protocols",
    "mien protocols",
    builtins=_BUILTINS,
    accept=_as_protocol,
    aliases={
        "leaveonesubjectout": "loso",
        "subject": "loso",
        "leaveonevideoout": "lovo",
        "leaveoneout": "lovo",
        "loo": "lovo",
        "kfold": "kfold_subject",
        "crossvalidation": "kfold_subject",
        "megc2019": "composite",
        "cde": "composite",
        "cdmer": "cross_dataset",
        "crossdatabase": "cross_dataset",
        "synthetic": "synthetic_to_real",
        "holdout": "holdout_reddy",
    },
)
"""Every protocol, by name."""


@overload
def register_protocol(given: Protocol) -> Protocol: ...
@overload
def register_protocol(
    given: str,
    *,
    summary: str,
    shares_subjects: bool = ...,
    warning: str | None = ...,
    parameters: Mapping[str, Any] | None = ...,
) -> Callable[[_Split], _Split]: ...
def register_protocol(
    given: Protocol | str,
    *,
    summary: str = "",
    shares_subjects: bool = False,
    warning: str | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Any:
    """Register a protocol: called with it, or as the decorator of the function that makes its folds.

    Folds of any protocol are checked for leaks before a run begins: one whose folds share a subject has to say so.

    Args:
        given: The protocol; or its name, and what is given beside it is as in `Protocol`.

    Returns:
        The protocol; or a decorator that returns the function unchanged.

    Raises:
        MienError: It is no protocol, or its name is taken.

    Example:
        >>> from dataclasses import replace
        >>> mine = register_protocol(replace(PROTOCOLS["loso"], name="my-loso"))
        >>> "my-loso" in PROTOCOLS
        True
        >>> PROTOCOLS.unregister("my-loso")
    """
    if not isinstance(given, str):
        return PROTOCOLS.register(given)

    def decorate(split: _Split) -> _Split:
        PROTOCOLS.register(Protocol(given, summary, split, shares_subjects, warning, parameters or {}))
        return split

    return decorate
