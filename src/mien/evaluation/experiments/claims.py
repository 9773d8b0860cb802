"""What a paper says about its rows, judged on the runs of an experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mien.errors import MienError
from mien.evaluation.compare import Comparison, compare
from mien.evaluation.experiments.catalogue import Claim, Experiment
from mien.evaluation.experiments.grid import Cell
from mien.evaluation.experiments.tables import NAME_WIDTH
from mien.evaluation.ledger import Ledger
from mien.evaluation.protocols import PROTOCOLS

if TYPE_CHECKING:
    from rich.console import Group

Verdict = Literal["supported", "not supported", "undecided", "not judged"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows of an experiment, compared clip by clip.

    Attributes:
        better: Row that should score higher.
        worse: Row that should score lower.
        decides: Whether the verdict depends on this pair.
        result: The comparison, `better` being A; None where one of the rows could not be run.
        why: The reason, where there is no comparison.
    """

    better: str
    worse: str
    decides: bool
    result: Comparison | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One claim on one database under one protocol.

    Attributes:
        claim: The claim.
        protocol: Protocol of the runs.
        data: Database id.
        pairs: The pairs of the claim.
        uf1, accuracy: The verdict by each score.
    """

    claim: Claim
    protocol: str
    data: str
    pairs: tuple[Pair, ...]
    uf1: Verdict
    accuracy: Verdict


def judge(chosen: Experiment, cells: Sequence[Cell], ledgers: Mapping[Path, Ledger] | None = None) -> list[Judgement]:
    """Judge what a paper says about the rows of an experiment.

    A claim is supported where the 95 % interval over subjects of every difference that decides it lies above zero, not
    supported where that of one of them lies below zero, and undecided otherwise. Differences are means over seeds, of
    the same clips and with the same subjects drawn for both rows. Pairs that could not be run decide nothing.

    Args:
        chosen: The experiment.
        cells: Its cells.
        ledgers: Ledgers of runs that are not in their folders.

    Returns:
        A judgement per claim, protocol and database; a claim about new or shared subjects is judged under such
        protocols alone.
    """
    found = []
    for protocol, data in dict.fromkeys((cell.protocol, cell.data) for cell in cells):
        by_id = {cell.row.id: cell for cell in cells if (cell.protocol, cell.data) == (protocol, data)}
        shares = PROTOCOLS.get(protocol).shares_subjects
        for claim in chosen.claims:
            if claim.subjects != "any" and (claim.subjects == "shared") != shares:
                continue
            pairs = [
                _pair(by_id, names, decides, ledgers or {})
                for decides, listed in ((True, claim.pairs), (False, claim.also))
                for names in listed
                if set(names) <= by_id.keys()
            ]
            if pairs:
                results = [pair.result for pair in pairs if pair.decides and pair.result is not None]
                verdicts = (
                    _verdict([r.uf1_interval for r in results]),
                    _verdict([r.accuracy_interval for r in results]),
                )
                found.append(Judgement(claim, protocol, data, tuple(pairs), *verdicts))
    return found


def _pair(by_id: Mapping[str, Cell], names: tuple[str, str], decides: bool, ledgers: Mapping[Path, Ledger]) -> Pair:
    better, worse = (by_id[name] for name in names)
    why = next((f"{cell.row.name}: {cell.why}" for cell in (better, worse) if cell.why), "")
    result = None
    if not why:
        try:
            compared = compare(*(ledgers.get(cell.run, cell.run) for cell in (better, worse)))
            result = compared if isinstance(compared, Comparison) else None
            why = "" if result else "runs about action units"
        except MienError as error:  # clips that only one of them could prepare, for example
            why = error.found.rstrip(".")
    return Pair(better.row.name, worse.row.name, decides, result, why)


def _verdict(intervals: Sequence[tuple[float, float]]) -> Verdict:
    if not intervals:
        return "not judged"
    if any(high < 0 for _, high in intervals):
        return "not supported"
    return "supported" if all(low > 0 for low, _ in intervals) else "undecided"


def judgements_as_json(judged: Sequence[Judgement]) -> list[dict[str, Any]]:
    """Return judgements, ready for JSON."""
    return [
        {
            "claim": each.claim.name,
            "says": each.claim.says,
            "protocol": each.protocol,
            "data": each.data,
            "verdict_uf1": each.uf1,
            "verdict_accuracy": each.accuracy,
            "pairs": [
                {
                    "better": pair.better,
                    "worse": pair.worse,
                    "decides": pair.decides,
                    "why_not": pair.why,
                    "comparison": None if pair.result is None else asdict(pair.result),
                }
                for pair in each.pairs
            ],
        }
        for each in judged
    ]


def lines_of(pair: Pair) -> list[tuple[str, str, str, str, str]]:
    """Return (score, A and B, difference, interval, differences per seed) of a comparison, as text."""
    if pair.result is None:
        return []
    r = pair.result
    scores = (
        ("UF1", r.uf1, r.uf1_interval, r.uf1_seeds),
        ("accuracy", r.accuracy, r.accuracy_interval, r.accuracy_seeds),
    )
    return [
        (
            score,
            f"{a:.3f} {b:.3f}",
            f"{a - b:+.3f}",
            f"{low:+.3f} to {high:+.3f}",
            " ".join(f"{d:+.3f}" for d in seeds),
        )
        for score, (a, b), (low, high), seeds in scores
    ]


COLOURS = {"supported": "green", "not supported": "red", "undecided": "yellow", "not judged": "dim"}


def render_judgements(judged: Sequence[Judgement]) -> Group:
    """Return judgements for the terminal: a table per protocol and database."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    for protocol, data in dict.fromkeys((each.protocol, each.data) for each in judged):
        title = Text(f"What the paper says · {protocol} · {data}")
        table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
        table.add_column("", width=NAME_WIDTH, overflow="fold")
        for heading in ("", "A     B", "A - B", "95 % interval"):
            table.add_column(heading, justify="right", no_wrap=True)
        for each in judged:
            if (each.protocol, each.data) != (protocol, data):
                continue
            table.add_row(Text(each.claim.says, "bold"), *([""] * 4))
            by_score = {"UF1": each.uf1, "accuracy": each.accuracy}
            verdict = Text.assemble(
                *(part for score, v in by_score.items() for part in ((f"{score}: {v}  ", COLOURS[v]),))
            )
            table.add_row(verdict, *([""] * 4))
            for pair in each.pairs:
                name = Text(f"  {pair.better} - {pair.worse}", "" if pair.decides else "dim")
                if pair.why:
                    table.add_row(Text.assemble(name, (f"\n  not compared, {pair.why}", "yellow")), *([""] * 4))
                for n, (score, both, difference, interval, _) in enumerate(lines_of(pair)):
                    table.add_row("" if n else name, Text(score, "dim"), both, difference, interval)
        parts.append(table)
    note = (
        "Intervals over subjects. Supported: that of every difference lies above 0; not supported: one lies below 0. "
        "Differences are means over seeds; dim pairs decide nothing."
    )
    return Group(*parts, Text(note, "dim"))
