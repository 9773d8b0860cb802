"""Scores of detected intervals that others publish."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.evaluation.metrics import resamples
from mien.evaluation.referee.detections import Detections, Lengths, each_length, read_detections
from mien.evaluation.referee.frames import FrameRule, suppress
from mien.evaluation.referee.names import Names
from mien.evaluation.referee.rules import RULES, count_by_rule, overlapping
from mien.evaluation.referee.truth import Truths, VideoTruth, video_truth
from mien.evaluation.spotting.metrics import Count, analysis_f1, as_scores
from mien.spotting.base import KINDS, Spot

FramesFrom = Literal["truth", "0", "1"]
TOGETHER: Final = "all"
"""Kind of expressions that are not told apart."""


@dataclass(frozen=True, slots=True)
class Film:
    """One video with its true and its detected intervals of one kind.

    Attributes:
        true: Number, onset, offset: (N,) each.
        found: The same of the detected ones.
        emotions: True emotions, and recognised ones.
    """

    true: tuple[NDArray[np.int64], NDArray[np.int64]]
    found: tuple[NDArray[np.int64], NDArray[np.int64]]
    emotions: tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Matched:
    """Predictions beside the videos of a truth.

    Attributes:
        truth: The truth.
        films: (place of the video, kind) to its intervals; every video has one for each kind.
        kinds: Kinds that are scored: "micro" and "macro", or "all" where they are not told apart.
        said: What was assumed, in full sentences.
        warnings: What a reader must know, in full sentences.
        form: What the files are, in words.
        n_found: Number of intervals that are scored.
        unseen: Videos that do not occur in the predictions.
    """

    truth: VideoTruth
    films: Mapping[tuple[int, str], Film]
    kinds: tuple[str, ...]
    said: tuple[str, ...]
    warnings: tuple[str, ...]
    form: str
    n_found: int
    unseen: tuple[int, ...]
    recognised: bool = field(default=False)


def match_videos(
    predictions: Sequence[Path],
    truth: Truths,
    *,
    frames_from: FramesFrom = "truth",
    kind: str = "",
    lengths: Lengths | None = None,
    settings: FrameRule | None = None,
) -> Matched:
    """Read predictions and put them beside the videos of a truth.

    Args:
        predictions: Files or folders.
        truth: As `mien.evaluation.referee.truth.video_truth` takes it.
        frames_from: What the predictions call the first frame: "0", "1", or "truth" for the truth's own numbers.
        kind: Kind of all intervals, for files that tell none.
        lengths: Lengths in frames that count, by kind; None takes what the form calls for.
        settings: How frame scores become intervals, and what is dropped of intervals with scores.

    Raises:
        MienError: A file cannot be read, or names a video that the truth has not.
    """
    rule = settings or FrameRule()
    known = video_truth(truth)
    found = read_detections(predictions, rule, kind)
    said, warned = [*known.said, *found.said], []
    names = Names(known.keys)
    databases = {key[0] for key in known.keys}
    told = {d for d, _, _ in found.files}
    foreign = {d for d in told if d} - databases
    by_name = foreign != told  # else every file names a database that the truth calls otherwise
    foreign = foreign if by_name else set()
    if foreign:
        said.append(f"Predictions for {', '.join(sorted(foreign))}, which is not among the truth, are left out.")
    place_of = {
        place: names.find(place[2], place[1], place[0] if by_name else "")
        for place in found.files
        if place[0] not in foreign
    }
    unknown = [place for place, at in place_of.items() if at is None]
    if unknown:
        example = "/".join(filter(None, unknown[0]))
        raise MienError(
            f"{len(unknown)} video(s) of the predictions are not in the truth, such as {example!r}.",
            f"videos such as {'/'.join(known.keys[0])}, among them those without an expression.",
            "correct the names; a truth that is a file lists videos without an expression as rows without an onset.",
        )
    if names.loosely:
        asked_name, key = next(iter(names.loosely.items()))
        said.append(
            f"{len(names.loosely)} of {len(place_of)} video names were found by their numbers: {asked_name} is taken "
            f"for {'/'.join(key)}."
        )
    unseen = tuple(sorted(set(range(len(known.keys))) - {p for p in place_of.values() if p is not None}))
    if unseen:
        warned.append(
            f"{len(unseen)} of {len(known.keys)} videos of the truth do not occur in the predictions "
            f"({'/'.join(known.keys[unseen[0]])} first): they are scored as videos in which nothing was found."
        )
    kinds, kind_said = _kinds(known, found, kind)
    said += kind_said
    keep = np.array([d not in foreign for d in found.dataset], bool)
    video = np.array(
        [place_of[key] if ok else -1 for ok, key in
         zip(keep, zip(found.dataset, found.subject, found.video, strict=True), strict=True)],
        np.int64,
    )  # fmt: skip
    onset, offset = np.array(found.onset), np.array(found.offset)
    if (onset[keep] % 1 != 0).any() or (offset[keep] % 1 != 0).any():
        said.append("Onsets and offsets that are no whole numbers were rounded to the nearest frame.")
    first, last = np.rint(onset).astype(np.int64), np.rint(offset).astype(np.int64)
    shift = _shift(known, frames_from)
    first, last = first + shift[video], last + shift[video]
    said.append(_frames_said(frames_from))
    of_kind = np.array(found.kind if kinds != (TOGETHER,) else [TOGETHER] * len(found.kind))
    score = np.array(found.score)
    keep &= _long_enough(found, first, last, np.array(found.kind), lengths, known, video, said)
    if rule.at is not None and not np.isnan(score).all():
        keep &= ~(score < rule.at)
        said.append(f"Intervals of a score below {rule.at:g} are left out.")
    twice = len(video[keep]) - len(set(zip(video[keep], of_kind[keep], first[keep], last[keep], strict=True)))
    if twice:
        warned.append(f"{twice} intervals are there twice; each counts.")
    emotion = np.array(found.emotion, object)
    films = {}
    order = np.flatnonzero(keep)[np.argsort(video[keep], kind="stable")]
    starts = np.searchsorted(video[order], np.arange(len(known.keys) + 1))
    dropped = 0
    for place, spots in enumerate(known.spots):
        inside = order[starts[place] : starts[place + 1]]
        for name in kinds:
            rows = inside[of_kind[inside] == name]
            if rule.nms is not None and len(rows):
                scores = np.nan_to_num(score[rows])
                chosen = np.sort(suppress(first[rows], last[rows], scores, rule.nms))
                dropped += len(rows) - len(chosen)
                rows = rows[chosen]
            films[place, name] = _film(spots, name, first[rows], last[rows], tuple(emotion[rows]))
    if rule.nms is not None:
        said.append(f"Non-maximum suppression at IoU {rule.nms:g} dropped {dropped} intervals.")
    n_found = sum(len(film.found[0]) for film in films.values())
    return Matched(
        known, films, kinds, tuple(said), tuple(warned), found.form, n_found, unseen, any(map(bool, found.emotion))
    )


def _film(
    spots: Sequence[Spot], kind: str, first: NDArray[np.int64], last: NDArray[np.int64], emotions: tuple[str, ...]
) -> Film:
    mine = [s for s in spots if kind in (TOGETHER, s.kind)]
    true = (np.array([s.onset for s in mine], np.int64), np.array([s.offset for s in mine], np.int64))
    return Film(true, (first, last), (tuple(s.emotion for s in mine), emotions))


def _kinds(known: VideoTruth, found: Detections, kind: str) -> tuple[tuple[str, ...], list[str]]:
    if kind and known.kinds:
        return (kind,), [f"Only the {kind}-expressions of the truth are scored (--kind)."]
    told = sum(map(bool, found.kind))
    if known.kinds and told == len(found.kind):
        return KINDS, []
    if told and told < len(found.kind):
        raise MienError(
            f"{len(found.kind) - told} of {len(found.kind)} intervals have no kind, the others have one.",
            "a kind for each interval, or for none.",
            "fill the column `kind`, or remove it.",
        )
    why = "the truth states no kinds" if not known.kinds else "the predictions state no kinds"
    return (TOGETHER,), [f"Micro- and macro-expressions are scored together: {why}."]


def _shift(known: VideoTruth, frames_from: FramesFrom) -> NDArray[np.int64]:
    """Return what is added to the frame numbers of each video's predictions."""
    if frames_from == "truth":
        return np.zeros(len(known.keys), np.int64)
    return np.array([(1 if first is None else first) - int(frames_from) for first in known.first], np.int64)


def _frames_said(frames_from: FramesFrom) -> str:
    if frames_from == "truth":
        return (
            "Frame numbers were taken to be those of the truth; --frames-from 0 or 1 where the predictions count the "
            "frames of a video from there."
        )
    return f"The predictions count the frames of a video from {frames_from} (--frames-from)."


def _long_enough(
    found: Detections,
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    kinds: NDArray[np.str_],
    lengths: Lengths | None,
    known: VideoTruth,
    video: NDArray[np.int64],
    said: list[str],
) -> NDArray[np.bool_]:
    """Return which intervals have a length that counts."""
    keep = np.ones(len(first), bool)
    length = last - first + 1
    rules = {"": lengths} if lengths is not None else found.lengths
    of_dataset = np.array(found.dataset)
    for dataset, by_kind in rules.items():
        inside = np.ones(len(first), bool) if not dataset else of_dataset == dataset
        if not inside.any():
            continue
        for kind, (shortest, longest) in by_kind.items():
            mine = inside & ((kinds == kind) | (kind == TOGETHER))
            keep &= ~mine | ((length >= shortest) & (length <= (longest or 1 << 62)))
        why = "--length" if lengths is not None else f"as the challenge took them from these files of {dataset}"
        said.append(f"Lengths that count, in frames: {', '.join(each_length(by_kind))} ({why}).")
    return keep


# Scores


def film_scores(matched: Matched, rule: str, *, draws: int = 2000) -> dict[str, Any]:
    """Return all scores of matched predictions, ready for JSON.

    Args:
        matched: What `match_videos` gives.
        rule: Name of a rule of spotting.
        draws: Bootstrap samples of the interval of F1 over subjects.
    """
    keys, kinds = matched.truth.keys, matched.kinds
    by_rule = {name: _counts(matched, name) for name, each in RULES.items() if each.task == "spotting"}
    counts, pairs = by_rule[rule]
    total = _total(counts, kinds)
    with_expression = {place for place, spots in enumerate(matched.truth.spots) if spots}
    alone = _total({k: v for k, v in counts.items() if k[0] in with_expression}, kinds)
    datasets = list(dict.fromkeys(key[0] for key in keys))
    warnings = list(matched.warnings)
    if any(count.fp < 0 for count in total.values()):
        warnings.append(
            "Under this rule one detection hits several true intervals, so that there are more hits than detections."
        )
    if matched.truth.synthetic:
        warnings.append("The faces are synthetic: these scores do not apply to real people.")
    scored = as_scores(total)
    intervals = _intervals(matched, counts, draws)
    result: dict[str, Any] = {
        "task": "spot",
        "rule": rule,
        "rule_text": RULES[rule].summary,
        "rule_source": RULES[rule].source,
        "form": matched.form,
        "n_videos": len(keys),
        "n_subjects": len({key[:2] for key in keys}),
        "n_videos_without_expression": len(keys) - len(with_expression),
        "n_videos_not_predicted": len(matched.unseen),
        "n_found": matched.n_found,
        "kinds": list(kinds),
        **{kind: {**scores, "f1_interval": intervals[kind]} for kind, scores in scored.items()},
        "per_dataset": {
            name: as_scores(_total({k: v for k, v in counts.items() if keys[k[0]][0] == name}, kinds))
            for name in datasets
        },
        "by_rule": {name: as_scores(_total(each, kinds)) for name, (each, _) in by_rule.items()},
        "videos_with_expression_alone": as_scores(alone),
        "per_subject": _per_subject(matched, counts),
        "assumed": list(matched.said),
        "warnings": warnings,
        "synthetic": matched.truth.synthetic,
    }
    if matched.recognised and any(s.emotion for spots in matched.truth.spots for s in spots):
        kind = kinds[0]
        named = [pair for place, name, pair in pairs if name == kind and pair[0]]
        analysis = analysis_f1(named)
        result["strs"] = {"kind": kind, "spot_f1": scored[kind]["f1"], "analysis_f1": analysis,
                          "strs": scored[kind]["f1"] * analysis, "named": len(named)}  # fmt: skip
    return result


Counts = Mapping[tuple[int, str], Count]
Named = list[tuple[int, str, tuple[str, str]]]


def _counts(matched: Matched, rule: str) -> tuple[dict[tuple[int, str], Count], Named]:
    """Return the counts of each video and kind under a rule, and (video, kind, emotions) of each hit."""
    counts: dict[tuple[int, str], Count] = {}
    named: Named = []
    for key, film in matched.films.items():
        pairs = overlapping(film.true, film.found)
        counts[key], hits = count_by_rule(rule, len(film.true[0]), len(film.found[0]), pairs)
        named += [(*key, (film.emotions[0][t], film.emotions[1][f])) for t, f in hits]
    return counts, named


def _total(counts: Counts, kinds: Sequence[str]) -> dict[str, Count]:
    """Return the sum of each kind, and "all"."""
    sums = {kind: np.zeros(3, np.int64) for kind in kinds}
    for (_, kind), count in counts.items():
        sums[kind] += (count.tp, count.fp, count.fn)
    total = {kind: Count(*map(int, each)) for kind, each in sums.items()}
    if TOGETHER not in total:
        total[TOGETHER] = Count(*map(int, sum(sums.values(), np.zeros(3, np.int64))))
    return total


def by_subject(matched: Matched, counts: Counts) -> tuple[list[tuple[str, str]], dict[str, NDArray[np.int64]]]:
    """Return the subjects, and for each kind (subjects, 3): hits, false ones, missed ones."""
    people = list(dict.fromkeys(key[:2] for key in matched.truth.keys))
    place = {person: n for n, person in enumerate(people)}
    tables = {kind: np.zeros((len(people), 3), np.int64) for kind in dict.fromkeys((*matched.kinds, TOGETHER))}
    for (video, kind), count in counts.items():
        for name in {kind, TOGETHER}:
            tables[name][place[matched.truth.keys[video][:2]]] += (count.tp, count.fp, count.fn)
    return people, tables


def f1_of(sums: NDArray[Any]) -> NDArray[np.float64]:
    """Return F1 of counts (..., 3); 0 where there is nothing to find and nothing was found."""
    total = 2 * sums[..., 0] + sums[..., 1] + sums[..., 2]
    return np.asarray(2 * sums[..., 0] / np.where(total > 0, total, 1))


def _intervals(matched: Matched, counts: Counts, draws: int) -> dict[str, list[float]]:
    """Return the 95 % interval of F1 of each kind, by a bootstrap over subjects."""
    people, tables = by_subject(matched, counts)
    weights = resamples(len(people), draws, 0)
    return {
        kind: [float(v) for v in np.quantile(f1_of(weights @ table), [0.025, 0.975])] for kind, table in tables.items()
    }


def _per_subject(matched: Matched, counts: Counts) -> list[dict[str, Any]]:
    people, tables = by_subject(matched, counts)
    videos = Counter(key[:2] for key in matched.truth.keys)
    return [
        {"dataset": person[0], "subject": person[1], "n_videos": videos[person],
         **{name: int(n) for name, n in zip(("tp", "fp", "fn"), tables[TOGETHER][row], strict=True)},
         "f1": float(f1_of(tables[TOGETHER][row]))}
        for row, person in enumerate(people)
    ]  # fmt: skip


def compare_films(a: Matched, b: Matched, rule: str, *, draws: int = 2000) -> dict[str, Any]:
    """Compare two people's predictions on the same videos: F1 of each kind, and a paired bootstrap over subjects.

    Raises:
        MienError: They are scored on other videos or other kinds.
    """
    if a.truth.keys != b.truth.keys or a.kinds != b.kinds:
        raise MienError(
            f"A is scored on {', '.join(a.kinds)} of {len(a.truth.keys)} videos, B on {', '.join(b.kinds)} of "
            f"{len(b.truth.keys)}.",
            "two files that both state kinds, or both do not, and one truth.",
            "--kind for the file that does not state them.",
        )
    people, first = by_subject(a, _counts(a, rule)[0])
    _, second = by_subject(b, _counts(b, rule)[0])
    weights = resamples(len(people), draws, 0)
    result: dict[str, Any] = {"task": "spot", "rule": rule, "n_videos": len(a.truth.keys), "n_subjects": len(people)}
    for kind in first:
        drawn = f1_of(weights @ first[kind]) - f1_of(weights @ second[kind])
        tail = (1 + min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))) / (draws + 1)
        point = [float(f1_of(each[kind].sum(0))) for each in (first, second)]
        low, high = np.quantile(drawn, [0.025, 0.975])
        result[kind] = {"f1": point, "difference": point[0] - point[1], "interval": [float(low), float(high)],
                        "p": min(1.0, 2 * tail)}  # fmt: skip
    return result
