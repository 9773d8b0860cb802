"""Check of a copy of a database: release, counts, intervals, pictures and people, for `mien check`."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any, Final

from PIL import Image
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mien import MOST_PIXELS
from mien.datasets import Databases, open_specs
from mien.datasets.base import Dataset
from mien.datasets.flow_images import read_flow_picture
from mien.datasets.people import same_people
from mien.datasets.releases import Release, differences, known_counts, list_statuses, nearest
from mien.errors import MienError
from mien.types import Clip, Problem

SHOWN: Final = 20
"""How many problems `render_check` prints."""

MOST_ABSENT: Final = 3
"""Up to how many clips without pictures are named one by one."""

Progress = Callable[[int, int], None]
"""Called with the number of pictures checked so far and the total."""

_Person = tuple[str, str]
_Owned = tuple[_Person, str]
_Printed = tuple[str, set[str]]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of checking one copy.

    Attributes:
        dataset: Dataset id.
        title: The database's own name.
        root: Folder that was checked.
        n_clips: Micro-expression clips found.
        n_subjects: Different (dataset, subject) among them.
        n_videos: Whole videos found.
        emotions: Clips of each emotion as the database prints it, most frequent first.
        problems: Errors first, then notes.
        release: Which known release of the database the copy is; "" where it is none of them.
        lists: How the clips compare with each published list they are meant for.
        left_out: What a run cannot use -> how many, such as {"macro-expressions without an interval": 3}.
    """

    dataset: str
    title: str
    root: Path
    n_clips: int
    n_subjects: int
    n_videos: int
    emotions: Mapping[str, int]
    problems: tuple[Problem, ...]
    release: str = ""
    lists: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no problem is an error."""
        return all(problem.severity != "error" for problem in self.problems)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Facts about one picture file; `fault` is "" for a good one."""

    size: tuple[int, int] = (0, 0)
    mode: str = ""
    digest: str = ""
    fault: str = ""


def check_dataset(dataset: Dataset, *, deep: bool = False, progress: Progress | None = None) -> CheckResult:
    """Look for everything that would make results on this copy wrong or impossible.

    Which known release it is and what differs from it, rows without an interval, intervals, missing frames, the header
    of each picture, the pixels of the first, apex and last one of each clip, names used twice, the same picture under
    two people, and the dataset's own problems.

    Args:
        dataset: The copy.
        deep: Decode every pixel of every picture.
        progress: Told how many pictures are done, as (done, all).

    Raises:
        MienError: The clips cannot be listed at all.
    """
    return _check(dataset, deep, progress)[0]


def check(datasets: Databases, *, deep: bool = False, progress: Progress | None = None) -> list[CheckResult]:
    """Check each dataset by itself, then what goes wrong only when they are pooled: shared keys, shared pictures.

    A problem between two datasets stands with the later one.

    Args:
        datasets: NAME=FOLDER, an open dataset, or several of these, in the order of the results.
        deep: Decode every pixel of every picture.
        progress: Told how many pictures of the present dataset are done, as (done, all).

    Returns:
        The result of each dataset, in their order.

    Raises:
        MienError: The clips of a dataset cannot be listed at all.

    Example:
        >>> [(result.dataset, result.ok) for result in check("casme2=CASMEII")]
        [('casme2', True)]
    """
    opened = open_specs(datasets)
    results: list[CheckResult] = []
    earlier: list[Clip] = []
    owners: dict[str, dict[_Person, str]] = {}
    for dataset in opened:
        result, clips, digests = _check(dataset, deep, progress)
        common = owners.keys() & digests.keys()
        found = [
            *_shared_keys(earlier, clips),
            *_shared_pictures(pair for d in common for pair in product(owners[d].items(), digests[d].items())),
            *_same_people(earlier, clips),
            *_same_print(product(_printed(earlier), _printed(clips))),
        ]
        for digest, people in digests.items():
            owners.setdefault(digest, {}).update(people)
        earlier += clips
        results.append(replace(result, problems=_ordered([*result.problems, *found])))
    return results


def _check(
    dataset: Dataset, deep: bool, progress: Progress | None
) -> tuple[CheckResult, list[Clip], dict[str, dict[_Person, str]]]:
    clips, videos = dataset.clips(), dataset.videos()
    seen = _look_at(clips, videos, deep, progress)
    digests: dict[str, dict[_Person, str]] = defaultdict(dict)
    for clip in clips:
        if clip.frames and (digest := seen[clip.frames[0]].digest):
            digests[digest].setdefault(clip.person, clip.key)
    expressions = dataset.expressions()
    counts = _counts(clips, videos, expressions)
    known = known_counts(dataset.id, dataset.card)
    release = next((r for r in known if not differences(counts, r)), None)
    lost = _without_interval(expressions)
    found = [
        *_count_problems(dataset, counts, known, release),
        *_lost_problems(dataset, lost, expressions),
        *_name_problems(clips),
        *_absent_problems(dataset, [clip for clip in clips if not clip.frames]),
        *(problem for clip in clips for problem in _interval_problems(clip)),
        *(problem for clip in videos if not clip.frames for problem in _no_frames(clip)),
        *_picture_problems(clips, videos, seen),
        *_shared_pictures(pair for people in digests.values() for pair in combinations(people.items(), 2)),
        *_same_print(combinations(_printed(clips), 2)),
        *dataset.problems(),
    ]
    result = CheckResult(
        dataset=dataset.id,
        title=dataset.card.title,
        root=dataset.root,
        n_clips=len(clips),
        n_subjects=len({clip.person for clip in clips}),
        n_videos=len(videos),
        emotions=dict(Counter(clip.emotion for clip in clips).most_common()),
        problems=_ordered(found),
        release=release.title if release and release.name != "published" else "",
        lists=() if dataset.is_synthetic else tuple(_list_lines(clips, release)),
        left_out={f"{kind}-expressions without an interval": len(keys) for kind, keys in lost.items()},
    )
    return result, clips, digests


def _ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: problem.severity != "error"))


def _counts(clips: Sequence[Clip], videos: Sequence[Clip], expressions: Sequence[Clip]) -> Counter[str]:
    counts: Counter[str] = Counter(
        clips=len(clips),
        videos=len(videos),
        subjects=len({clip.person for clip in (*clips, *videos)}),
        expressions=len(expressions),
        macro=sum(clip.extra.get("kind") == "macro" for clip in expressions),
    )
    for clip in clips:
        # A word counts once for a clip, though it may be its emotion and its kind.
        counts.update({word for word in (clip.emotion, clip.dataset, clip.extra.get("kind", "")) if word})
    return counts


def _count_problems(
    dataset: Dataset, counts: Mapping[str, int], known: Sequence[Release], release: Release | None
) -> Iterator[Problem]:
    """Report counts that no known release has; a note for a synthetic corpus, which is small by choice."""
    if release is not None or not known:
        return
    if dataset.is_synthetic:
        yield Problem(str(dataset.root), "A synthetic corpus: its counts are not those of a release.", "note")
        return
    near = nearest(counts, known)
    where = "" if near.name == "published" else f" The nearest known release is {near.title}."
    wrong = ", ".join(differences(counts, near))
    yield Problem(str(dataset.root), f"Counts are not the published ones: {wrong}.{where}", "error")


def _without_interval(expressions: Sequence[Clip]) -> dict[str, list[str]]:
    """Return the keys of expressions without an interval, by kind; ready flow pictures need none."""
    lost: dict[str, list[str]] = defaultdict(list)
    for clip in expressions:
        if clip.interval is None and clip.medium == "frames":
            lost[clip.extra.get("kind", "micro")].append(clip.key)
    return dict(lost)


def _lost_problems(
    dataset: Dataset, lost: Mapping[str, Sequence[str]], expressions: Sequence[Clip]
) -> Iterator[Problem]:
    for kind, keys in lost.items():
        of = sum(clip.extra.get("kind", "micro") == kind for clip in expressions)
        some = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
        text = f"{len(keys)} of {of} {kind}-expressions have no interval; spotting leaves them out: {some}."
        yield Problem(str(dataset.root), text)


def _absent_problems(dataset: Dataset, absent: Sequence[Clip]) -> Iterator[Problem]:
    """Report clips without pictures: one by one if there are few, else once, with the folder that was searched."""
    if len(absent) <= MOST_ABSENT:
        for clip in absent:
            yield from _no_frames(clip)
        return
    place = dataset.expected_at(absent[0])
    looked = f" Looked in {place}." if place else ""
    some = ", ".join(clip.key for clip in absent[:3])
    yield Problem(str(dataset.root), f"{len(absent)} clips have no pictures, such as {some}.{looked}")


def _list_lines(clips: Sequence[Clip], release: Release | None) -> Iterator[str]:
    for status in list_statuses(clips):
        if not status.comparable:
            continue
        reason = release.lists.get(status.label_map, "") if release and status.same is False else ""
        yield f"{status} ({reason})" if reason else str(status)


def _same_people(earlier: Sequence[Clip], clips: Sequence[Clip]) -> Iterator[Problem]:
    """Report people who are in two of the folders under two names."""
    before = {clip.person for clip in earlier}
    for names in same_people([*earlier, *clips]):
        if any(name in before for name in names) and any(name not in before for name in names):
            text = "One person under two names; pooled, a fold would be tested on whom it was trained on."
            yield Problem(" and ".join("/".join(name) for name in names), text)


def _name_problems(clips: Sequence[Clip]) -> Iterator[Problem]:
    for key, times in Counter(clip.key for clip in clips).items():
        if times > 1:
            yield Problem(key, f"{times} clips of one subject have this name.")


def _no_frames(clip: Clip) -> Iterator[Problem]:
    if clip.medium == "features":
        return
    yield Problem(clip.key, "The clip has no pictures." if clip.interval or clip.medium == "flow" else "No pictures.")


def _interval_problems(clip: Clip) -> Iterator[Problem]:
    """Report onset, apex and offset out of order, and frames of the interval that are missing."""
    numbers = clip.frame_nos
    if clip.medium == "frames" and clip.frames and len(numbers) != len(clip.frames):
        yield Problem(clip.key, f"{len(clip.frames)} pictures have {len(numbers)} frame numbers.")
    if any(b <= a for a, b in pairwise(numbers)):
        yield Problem(clip.key, "The frame numbers do not ascend.")
    if clip.interval is None:
        return
    onset, apex, offset = clip.interval.onset, clip.interval.apex, clip.interval.offset
    if onset > offset:
        yield Problem(clip.key, f"The onset {onset} is after the offset {offset}.")
        return
    if apex is not None and not onset <= apex <= offset:
        yield Problem(clip.key, f"The apex {apex} is outside onset to offset, {onset} to {offset}.")
    if numbers:
        absent = sorted(set(range(onset, offset + 1)) - set(numbers))
        if absent:
            of = offset - onset + 1
            yield Problem(clip.key, f"{len(absent)} of {of} frames are missing: {_runs(absent)}.")


def _runs(numbers: Sequence[int]) -> str:
    """Return ascending numbers as runs: "3-7, 9"; at most five runs."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    text = ", ".join("-".join(map(str, run)) for run in runs[:5])
    return f"{text}, ..." if len(runs) > 5 else text


def _look_at(clips: Sequence[Clip], videos: Sequence[Clip], deep: bool, progress: Progress | None) -> dict[Path, _Seen]:
    """Open each picture once. Of long videos, only the first and last one unless `deep`."""
    decode: dict[Path, bool] = {}
    first: set[Path] = set()
    flow: set[Path] = set()
    for clip in clips:
        decode.update((path, True) for path in _key_frames(clip))
        for path in clip.frames:
            decode.setdefault(path, deep)
        first.update(clip.frames[:1])
        flow.update(clip.frames if clip.medium == "flow" else ())
    for video in videos:
        decode.update((path, True) for path in (*video.frames[:1], *video.frames[-1:]))
        if deep:
            decode.update((path, True) for path in video.frames)
    paths = list(decode)
    seen: dict[Path, _Seen] = {}
    # Decoding leaves Python's lock alone, so threads help; more than a few only wait for the disk.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for path, picture in zip(
            paths, pool.map(lambda p: _look(p, decode[p], p in first, p in flow), paths), strict=True
        ):
            seen[path] = picture
            if progress is not None:
                progress(len(seen), len(paths))
    return seen


def _key_frames(clip: Clip) -> list[Path]:
    """Return the first, apex and last picture of the interval, or of the clip if it has none."""
    interval = clip.interval
    if not clip.frames or interval is None or len(clip.frame_nos) != len(clip.frames):
        return [*clip.frames[:1], *clip.frames[-1:]]
    path_of = dict(zip(clip.frame_nos, clip.frames, strict=True))
    wanted = (interval.onset, interval.apex, interval.offset)
    found = [path_of[number] for number in wanted if number is not None and number in path_of]
    return [clip.frames[0], *found, clip.frames[-1]]


def _look(path: Path, decode: bool, digest: bool, flow: bool) -> _Seen:
    try:
        if path.stat().st_size == 0:
            return _Seen(fault="The picture is empty (0 bytes).")
        with Image.open(path) as picture:
            size, mode = picture.size, picture.mode
            if size[0] * size[1] > MOST_PIXELS:
                raise ValueError(f"it claims {size[0]}x{size[1]} pixels")
            if decode and not flow:
                picture.load()
        if flow:
            read_flow_picture(path)
        print_of = hashlib.sha256(path.read_bytes()).hexdigest() if digest else ""
        return _Seen(size, mode, print_of)
    except FileNotFoundError:
        return _Seen(fault="The picture is not there.")
    except MienError as error:
        return _Seen(fault=error.found)
    # Decoders raise whatever broke inside them; each of these is a broken file and not a fault of the check.
    except Exception as error:
        return _Seen(fault=f"The picture cannot be read ({str(error).replace(repr(str(path)), 'it')}).")


def _picture_problems(clips: Sequence[Clip], videos: Sequence[Clip], seen: Mapping[Path, _Seen]) -> Iterator[Problem]:
    for path, picture in seen.items():
        if picture.fault:
            yield Problem(str(path), picture.fault)
    for clip in (*clips, *videos):
        good = [seen[path] for path in clip.frames if path in seen and not seen[path].fault]
        for what, kinds in (("sizes", {f"{p.size[0]}x{p.size[1]}" for p in good}), ("modes", {p.mode for p in good})):
            if len(kinds) > 1:
                yield Problem(clip.key, f"Its pictures have different {what}: {', '.join(sorted(kinds))}.")
    flow = Counter(seen[p].size for c in clips if c.medium == "flow" for p in c.frames if not seen[p].fault)
    if len(flow) > 1:
        sizes = ", ".join(f"{width}x{height} ({n})" for (width, height), n in flow.most_common(5))
        yield Problem("flow pictures", f"They have {len(flow)} different sizes: {sizes}.", "note")


def _shared_pictures(pairs: Iterable[tuple[_Owned, _Owned]]) -> Iterator[Problem]:
    """Report pictures with the same bytes under two people, one problem for each pair of people."""
    examples: dict[tuple[_Person, _Person], list[str]] = defaultdict(list)
    for (a, key_a), (b, key_b) in pairs:
        if a != b:
            examples[a, b].append(f"{key_a} and {key_b}")
    for (a, b), keys in sorted(examples.items()):
        count = f"{len(keys)} pictures are" if len(keys) > 1 else "one picture is"
        text = f"May be one person under two names: {count} the same to the byte, such as in {min(keys)}."
        yield Problem(f"{'/'.join(a)} and {'/'.join(b)}", text)


def _shared_keys(earlier: Sequence[Clip], clips: Sequence[Clip]) -> Iterator[Problem]:
    shared = sorted({clip.key for clip in earlier} & {clip.key for clip in clips})
    if shared:
        text = f"{len(shared)} clip(s) are in two of the folders under one key, so they cannot be pooled."
        yield Problem(shared[0], text)


def _printed(clips: Sequence[Clip]) -> list[_Printed]:
    """Return the subjects of each database as printed."""
    printed: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        printed[clip.dataset].add(clip.subject)
    return sorted(printed.items())


def _same_print(pairs: Iterable[tuple[_Printed, _Printed]]) -> Iterator[Problem]:
    """Note subjects that are printed the same in two databases; their keys differ by the database."""
    for (a, subjects_a), (b, subjects_b) in pairs:
        both = sorted(subjects_a & subjects_b)
        if a != b and both:
            some = ", ".join(both[:3]) + (", ..." if len(both) > 3 else "")
            text = f"{len(both)} subject(s) are printed the same in both ({some}); they count as different people."
            yield Problem(f"{a} and {b}", text, "note")


def as_json(results: Sequence[CheckResult]) -> dict[str, Any]:
    """Return the results as JSON values, with every problem."""
    return {
        "ok": all(result.ok for result in results),
        "datasets": [
            {
                "dataset": result.dataset,
                "title": result.title,
                "root": str(result.root),
                "ok": result.ok,
                "n_clips": result.n_clips,
                "n_subjects": result.n_subjects,
                "n_videos": result.n_videos,
                "emotions": dict(result.emotions),
                "release": result.release,
                "lists": list(result.lists),
                "left_out": dict(result.left_out),
                "problems": [{"where": p.where, "what": p.what, "severity": p.severity} for p in result.problems],
            }
            for result in results
        ],
    }


def render_check(results: Sequence[CheckResult]) -> RenderableType:
    """Return a table with one line per database, its release, and the first problems, to be printed by rich."""
    lines = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (("database", "left"), ("folder", "left"), ("clips", "right"), ("subjects", "right")):
        lines.add_column(title, justify="right" if justify == "right" else "left", overflow="fold")
    lines.add_column("emotions", overflow="fold")
    lines.add_column("verdict", no_wrap=True)
    for result in results:
        errors = sum(problem.severity == "error" for problem in result.problems)
        notes = len(result.problems) - errors
        counts = [f"{n} {word}{'s' if n > 1 else ''}" for n, word in ((errors, "error"), (notes, "note")) if n]
        verdict = Text(", ".join(counts) or "complete", style="red" if errors else "green")
        emotions = ", ".join(f"{name or 'none'} {n}" for name, n in result.emotions.items())
        cells = (result.title, str(result.root), str(result.n_clips), str(result.n_subjects), emotions)
        # Text and not str: names on disk may look like markup.
        lines.add_row(*(Text(cell) for cell in cells), verdict)
    problems = [(result, problem) for result in results for problem in result.problems]
    problems.sort(key=lambda pair: pair[1].severity != "error")
    parts: list[RenderableType] = [lines]
    for result in results:
        facts = [f"release: {result.release}"] if result.release else []
        facts += [f"list {text}" for text in result.lists]
        if facts:
            parts += [Text(), Text(result.title, style="bold"), *(Text(f"  {fact}") for fact in facts)]
    if problems:
        below = Table(box=None, pad_edge=False, show_header=False)
        below.add_column(no_wrap=True)
        below.add_column(overflow="fold", ratio=2)
        below.add_column(overflow="fold", ratio=3)
        for result, problem in problems[:SHOWN]:
            style = "red" if problem.severity == "error" else "yellow"
            where = problem.where.removeprefix(f"{result.root}{os.sep}")
            below.add_row(Text(problem.severity, style=style), Text(where), Text(problem.what))
        parts += [Text(), below]
    if len(problems) > SHOWN:
        parts.append(Text(f"and {len(problems) - SHOWN} more; --json lists all"))
    return Group(*parts)
