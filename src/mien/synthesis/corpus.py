"""Write corpora of synthetic faces in the layout of a database, with the exact ground truth: `mien synthesise`.

The whole corpus is planned first, from the seed alone. Then the videos are made, several in parallel; each is complete
when its file of ground truth is written. So an interrupted run resumes where it stopped and ends with the same bytes.
"""

from __future__ import annotations

import json
import multiprocessing
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from joblib import delayed
from numpy.typing import NDArray
from safetensors.numpy import save

from mien.datasets.action_units import parse_action_units
from mien.datasets.base import MANIFEST, MARKER
from mien.errors import MienError
from mien.io.atomic import require_writable_folder, write_atomically, writing
from mien.io.video import frames_video, to_uint8
from mien.preprocessing.threads import in_processes
from mien.synthesis.acting import Manner, draw_movements, draw_span, draw_surroundings, draw_units
from mien.synthesis.face import SOURCES, draw_identity, face_from
from mien.synthesis.neutral_face import Face
from mien.synthesis.puppet import film, puppet
from mien.synthesis.rig import motion
from mien.synthesis.sensor import Sensor, draw_sensor
from mien.synthesis.shape import Crop, draw_crop
from mien.synthesis.timeline import Kind, Movement, Timeline, read_table
from mien.synthesis.writer import Cells, Release, naming, release, write_sheets

TRUTH: Final = "truth"
"""Folder in the root with one file of ground truth for each folder of frames."""

_MARK: Final = (
    "Made by mien's generator. The faces are drawn, modelled, or one public-domain photograph changed; "
    "nobody showed these expressions. Scores on them say nothing about real data.\n"
)
_OWN_MARK: Final = (
    "Made by mien's generator from a portrait given by its user, changed at random. Nobody showed these expressions. "
    "Scores on them say nothing about real data.\n"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that determines the bytes of a corpus.

    Attributes:
        layout: Id of an official layout.
        subjects: Number of subjects.
        clips: Micro-expressions of each subject.
        seed: Seed of the corpus.
        width: Width of a frame in pixels.
        fps: Frames per second.
        faces: Source of the faces, one of `mien.synthesis.face.SOURCES`.
        portrait: Path of a photograph to make faces from; None takes the one of the package.
        balance: "equal": emotions take turns; "published": as often as in the real database.
        quiet: Median length of the neutral parts of a long video, in seconds.
        manner: How difficult the corpus is.
    """

    layout: str
    subjects: int
    clips: int
    seed: int
    width: int
    fps: float
    faces: str = "any"
    portrait: str | None = None
    balance: str = "equal"
    quiet: float = 1.5
    manner: Manner = field(default_factory=Manner)


@dataclass(frozen=True, slots=True)
class Reel:
    """One folder of frames that is to be made.

    Attributes:
        folder: The folder.
        names: Returns the file name of the frame with an index.
        subject: Number of the subject, from 0.
        turn: Number of the reel within its subject, from 0.
        timeline: What the face does.
        spans: Kind, onset, apex and offset of each expression, as indices of frames.
    """

    folder: Path
    names: Callable[[int], str]
    subject: int
    turn: int
    timeline: Timeline
    spans: tuple[tuple[Kind, int, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """Facts about a corpus.

    Attributes:
        layout: Id of its layout.
        root: Its folder.
        n_subjects: Number of subjects.
        n_clips: Number of micro-expressions.
        n_macro: Number of macro-expressions.
        n_films: Number of videos, that is, folders of frames.
        n_frames: Number of frames.
        n_made: Number of videos made by this call; the others existed before.
    """

    layout: str
    root: Path
    n_subjects: int
    n_clips: int
    n_macro: int
    n_films: int
    n_frames: int
    n_made: int


def synthesise(
    layout: str,
    root: str | Path,
    *,
    subjects: int = 8,
    clips: int = 9,
    seed: int = 0,
    width: int = 200,
    fps: float | None = None,
    faces: str = "any",
    portrait: Path | None = None,
    balance: str = "equal",
    quiet: float = 1.5,
    manner: Manner | None = None,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Write a corpus of synthetic faces in the official layout of a database, label sheet included.

    The same arguments give the same bytes for any number of jobs, and finish a corpus that was begun with them.

    The folder `truth/` contains a safetensors file per folder of frames: flow from onset to apex of each expression, in
    pixels, at the pixels of frame 0 ("flow", (expressions, H, W, 2), half precision); 68 landmarks in every frame
    ("landmarks", (T, 68, 2)); "activations" of movements, "closures" of the eyes; timeline as JSON in the metadata.

    Args:
        layout: Id of an official layout (`mien datasets`).
        root: Folder to write into: new, empty, or an unfinished corpus of the same arguments.
        subjects: Number of subjects.
        clips: Micro-expressions of each subject; each long video also shows a macro-expression.
        seed: Seed of the corpus.
        width: Width of a frame in pixels, 48 to 2000; the height follows from the crop of the subject.
        fps: Frames per second, 15 to 500; None takes those of the database.
        faces: "any", "photo", "head" or "drawn"; see `draw_identity`.
        portrait: A photograph of a neutral face to make all faces from.
        balance: "equal" or "published".
        quiet: Median length of the neutral parts of a long video, in seconds.
        manner: How difficult the corpus is.
        jobs: Number of videos made in parallel, one frame of each in memory.
        progress: Called with the number of finished videos and the number of all videos.

    Returns:
        What was written: the numbers of subjects, clips and films.

    Raises:
        MienError: An unknown layout, a number out of range, no face in the portrait, or something else in the folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = synthesise("casme2", folder, subjects=2, clips=1, width=48, fps=30, faces="drawn")
        >>> made.n_subjects, made.n_clips
        (2, 2)
    """
    corpus = release(layout, Path(root))
    rate = float(fps or corpus.card.fps or 100.0)
    plan = Plan(
        layout, subjects, clips, seed, width, rate, faces, None if portrait is None else str(portrait), balance, quiet,
        manner or Manner(),
    )  # fmt: skip
    _check(plan)
    require_writable_folder(corpus.root, "`--out` with another folder.")
    given = _portrait(plan.portrait)
    with writing(corpus.root, "the same command where there is room: it resumes; or `--out` with another folder."):
        return _write(corpus, plan, given, jobs, progress)


def _write(
    corpus: Release, plan: Plan, given: Face | None, jobs: int, progress: Callable[[int, int], None] | None
) -> Written:
    """Write what is missing of a corpus."""
    _open(corpus.root, plan, given)
    reels, rows = _plan(corpus, plan)
    waiting = [reel for reel in reels if not _truth_path(corpus.root, reel).is_file()]
    there = len(reels) - len(waiting)
    if progress:
        progress(there, len(reels))
    work = (delayed(_shoot)(reel, plan, corpus.root, corpus.card.colour) for reel in waiting)
    made = in_processes(work, jobs, order="generator_unordered")
    for done, _ in enumerate(made, there + 1):
        if progress:
            progress(done, len(reels))
    write_sheets(corpus, rows, plan.subjects)
    kinds = [kind for reel in reels for kind, *_ in reel.spans]
    frames = sum(reel.timeline.n_frames for reel in reels)
    micro, macro = kinds.count("micro"), kinds.count("macro")
    return Written(plan.layout, corpus.root, plan.subjects, micro, macro, len(reels), frames, len(waiting))


def _check(plan: Plan) -> None:
    ranges: tuple[tuple[str, float, float, float], ...] = (
        ("subjects", plan.subjects, 1, 999),
        ("clips", plan.clips, 1, 99),
        ("width", plan.width, 48, 2000),
        ("fps", plan.fps, 15, 500),
        ("quiet", plan.quiet, 0.2, 60),
        ("seed", plan.seed, 0, 2**31),
    )
    for name, value, low, high in ranges:
        if not low <= value <= high:
            raise MienError(
                f"{name} is {value:g}.", f"{low:g} to {high:g}.", f"`{name}={min(max(value, low), high):g}`."
            )
    for name, choice, known in (
        ("faces", plan.faces, SOURCES),
        ("balance", plan.balance, ("equal", "published")),
    ):
        if choice not in known:
            raise MienError(f"{name} is {choice!r}.", f"one of {', '.join(known)}.", f"`--{name} {known[0]}`.")


@lru_cache(maxsize=1)
def _portrait(path: str | None) -> Face | None:
    """Read the face in the photograph of the user."""
    if path is None:
        return None
    stored = Path(path)
    if not stored.is_file():
        raise MienError(f"There is no picture {path!r}.", "a JPEG or PNG file of a face.", "`--portrait face.jpg`.")
    picture = to_uint8(frames_video([stored], None, stored.name).frame(0).pixels)
    return face_from(picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, -1), stored.name)


def _open(root: Path, plan: Plan, given: Face | None) -> None:
    """Prepare the folder, or check that it contains an unfinished corpus of the same plan."""
    settings = asdict(plan)
    if given is not None:
        settings["portrait"] = f"{Path(plan.portrait or '').name}, {zlib.crc32(given.image.tobytes()):08x}"
    text = json.dumps(settings, indent=1) + "\n"
    manifest = root / MANIFEST
    if root.exists() and (not root.is_dir() or any(p for p in root.iterdir() if not p.name.startswith("."))):
        if not manifest.is_file():
            raise MienError(f"{str(root)!r} is not empty.", "a new or empty folder.", f"`--out {root}-2`.")
        if manifest.read_text(encoding="utf-8") != text:
            try:
                before = dict(json.loads(manifest.read_text(encoding="utf-8")))
            except (ValueError, TypeError, RecursionError):
                raise MienError(
                    f"{str(manifest)!r} was changed or damaged.",
                    "the settings with which the corpus was made.",
                    f"`--out {root}-2`.",
                ) from None
            differs = [k for k in settings if before.get(k) != json.loads(text)[k]]
            raise MienError(
                f"{str(root)!r} contains a corpus made with other values of {', '.join(differs)}.",
                "a new folder, or the arguments of that corpus.",
                f"`--out {root}-2`, or the values in {manifest}.",
            )
        return
    write_atomically(root / MARKER, _MARK if given is None else _OWN_MARK)
    write_atomically(manifest, text)


# Planning


def _rng(plan: Plan, *what: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([plan.seed, zlib.crc32(plan.layout.encode()), *what]))


def _plan(corpus: Release, plan: Plan) -> tuple[list[Reel], list[Cells]]:
    return _plan_long(corpus, plan) if corpus.videos else _plan_short(corpus, plan)


def _emotions(corpus: Release, plan: Plan) -> Iterator[Mapping[str, str]]:
    """Yield the expression of one clip after the other, without end."""
    rng = _rng(plan, 5)
    shown = corpus.expressions
    counts = read_table("published")["classes"].get(plan.layout, {})
    weights = np.array([float(counts.get(e["emotion"].lower(), 1)) for e in shown])
    turn = 0
    while True:
        if plan.balance == "published" and counts:
            yield shown[int(rng.choice(len(shown), p=weights / weights.sum()))]
        else:
            yield shown[turn % len(shown)]
            turn += 1


def _labels(expression: Mapping[str, str], units: str) -> dict[str, str]:
    """Return the entries of the label sheet for an expression with these units."""
    labels = {**expression, "action_units": units} if "action_units" in expression else dict(expression)
    if "objective" in expression:
        labels["objective"] = str(objective_class(units))
    return labels


def objective_class(units: str) -> int:
    """Return the objective class, 1 to 7, of action units as label sheets print them.

    Args:
        units: Action units, such as "6+12".

    Example:
        >>> objective_class("6+12")
        1

    Source: Davison, Merghani and Yap, Journal of Imaging 4(10), 2018, table 2.
    """
    bare = "+".join(str(number) for number in sorted({number for _, number in parse_action_units(units)}))
    classes = read_table("objective")
    return next((i for i, name in enumerate(classes, 1) if bare in classes[name]), 7)


def _asked(expression: Mapping[str, str]) -> str:
    """Return the emotion to show; if the database prints none, the one that stands for its movement."""
    return expression["emotion"].lower() or expression["face"]


def _plan_short(corpus: Release, plan: Plan) -> tuple[list[Reel], list[Cells]]:
    reels: list[Reel] = []
    rows: list[Cells] = []
    emotions = _emotions(corpus, plan)
    for s in range(plan.subjects):
        rng = _rng(plan, s, 1)
        onset = int(rng.integers(1, 60))
        for c in range(plan.clips):
            expression = next(emotions)
            units = draw_units(_asked(expression), rng, plan.manner.atypical)
            apex, length = draw_span("micro", plan.fps, rng)
            movements = draw_movements(units, 0, apex, length, rng, manner=plan.manner)
            timeline = Timeline(length, plan.fps, movements, *draw_surroundings(length, plan.fps, rng, plan.manner))
            fields = naming(corpus, s, c, onset, expression)
            folder = corpus.frame_root / corpus.layout.folders[0].format(**fields)
            picture = corpus.layout.picture
            reels.append(
                Reel(folder, _Names(picture, fields, onset), s, c, timeline, (("micro", 0, apex, length - 1),))
            )
            rows.append(
                {
                    **{name: text for name, text in _labels(expression, units).items() if name not in {"face", "code"}},
                    "subject": corpus.write.get("subject", "").format(**fields) or fields["number"],
                    "clip": fields["clip"],
                    "onset": onset,
                    "apex": onset + apex,
                    "apex2": onset + apex + 1,
                    "offset": onset + length - 1,
                }
            )
            onset += length + int(rng.integers(5, 40))
        if "non_micro" in corpus.write:
            length = max(8, round(rng.uniform(0.3, 0.7) * plan.fps))
            timeline = Timeline(length, plan.fps, (), *draw_surroundings(length, plan.fps, rng, plan.manner))
            subject = corpus.layout.subject.format(corpus.write["first_subject"] + s)
            folder = corpus.frame_root / corpus.write["non_micro"].format(subject=subject)
            reels.append(Reel(folder, _Names(corpus.layout.picture, {}, 1), s, plan.clips, timeline))
    return reels, rows


@dataclass(frozen=True, slots=True)
class _Names:
    """File names of frames that are numbered from `first`."""

    picture: str
    fields: Mapping[str, Any]
    first: int

    def __call__(self, index: int) -> str:
        return self.picture.format(**{**self.fields, "no": self.first + index})


def _plan_long(corpus: Release, plan: Plan) -> tuple[list[Reel], list[Cells]]:
    reels: list[Reel] = []
    rows: list[Cells] = []
    emotions = _emotions(corpus, plan)
    for s in range(plan.subjects):
        number = corpus.write["first_subject"] + s
        subject = f"s{number:02d}" if corpus.layout.positions else corpus.layout.subject.format(number)
        first, second, quiet = corpus.videos
        half = (plan.clips + 1) // 2
        for v, (video, micros) in enumerate(((first, half), (second, plan.clips - half), (quiet, 0))):
            rng = _rng(plan, s, 2, v)
            kinds: list[Kind] = [] if video is quiet else [*["micro"] * micros, "macro"]  # type: ignore[list-item]
            rng.shuffle(kinds)
            shown = [next(emotions) for _ in kinds]
            timeline, spans, units = _long_timeline(plan, kinds, shown, rng)
            name = video["folder"].format(subject=subject, number=number)
            folder = corpus.frame_root / (f"{subject}/{name}" if corpus.layout.positions else name)
            reels.append(Reel(folder, _Names(corpus.layout.picture, {"video": name}, 1), s, v, timeline, tuple(spans)))
            for k, ((kind, onset, apex, offset), expression, seen) in enumerate(zip(spans, shown, units, strict=True)):
                clip = corpus.write["clip"].format(**{"stimulus": "", **video, "video": name, "k": k + 1})
                printed = s + 1 if corpus.layout.positions else number
                times = {"onset": onset + 1, "apex": apex + 1, "offset": offset + 1}
                labels = _labels(expression, seen)
                rows.append({**labels, "subject": printed, "clip": clip, **times, "kind": corpus.write[kind]})
    return reels, rows


def _long_timeline(
    plan: Plan, kinds: Sequence[Kind], shown: Sequence[Mapping[str, str]], rng: np.random.Generator
) -> tuple[Timeline, list[tuple[Kind, int, int, int]], list[str]]:
    def pause() -> int:
        return max(4, round(plan.quiet * float(np.exp(0.4 * rng.normal())) * plan.fps))

    movements: list[Movement] = []
    spans: list[tuple[Kind, int, int, int]] = []
    shown_units: list[str] = []
    at = pause()
    for kind, expression in zip(kinds, shown, strict=True):
        units = draw_units(_asked(expression), rng, plan.manner.atypical)
        apex, length = draw_span(kind, plan.fps, rng)
        movements += draw_movements(units, at, at + apex, at + length, rng, kind=kind, manner=plan.manner)
        spans.append((kind, at, at + apex, at + length - 1))
        shown_units.append(units)
        at += length + pause()
    at += 0 if kinds else 3 * pause()
    surroundings = draw_surroundings(at, plan.fps, rng, plan.manner)
    return Timeline(at, plan.fps, tuple(movements), *surroundings), spans, shown_units


# Rendering


@dataclass(frozen=True, slots=True)
class _Session:
    """Face, crop and camera of a subject, the same in all its videos."""

    face: Face
    crop: Crop
    sensor: Sensor


@lru_cache(maxsize=1)
def _session(plan: Plan, subject: int) -> _Session:
    rng = _rng(plan, subject, 3)
    return _Session(draw_identity(rng, plan.faces, _portrait(plan.portrait)), draw_crop(rng, 0.7), draw_sensor(rng))


def _truth_path(root: Path, reel: Reel) -> Path:
    return root / TRUTH / f"{reel.folder.relative_to(root).as_posix().replace('/', '.')}.safetensors"


def _shoot(reel: Reel, plan: Plan, root: Path, colour: bool) -> None:
    if multiprocessing.parent_process() is not None:
        cv2.setNumThreads(1)  # the parallel processes use all cores already
    session = _session(plan, reel.subject)
    body = puppet(session.face, crop=session.crop, width=plan.width, colour=colour)
    reel.folder.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(film(body, reel.timeline, session.sensor, _rng(plan, reel.subject, 4, reel.turn))):
        path = reel.folder / reel.names(index)
        stored = frame[..., ::-1] if colour else frame
        done, code = cv2.imencode(path.suffix, stored, [cv2.IMWRITE_JPEG_QUALITY, 95])
        if not done:
            raise MienError(f"Frames of {body.shape} cannot be stored as {path.suffix}.", "a JPEG.", "another width.")
        path.write_bytes(code.tobytes())
    moving = motion(body.rig, reel.timeline)
    # The flow starts at the onset: earlier motion of head and face does not belong to the expression.
    flows = [moving.flow(apex) - moving.flow(onset) for _, onset, apex, _ in reel.spans]
    frames = np.arange(reel.timeline.n_frames)
    truth: dict[str, NDArray[Any]] = {
        "flow": np.stack(flows).astype(np.float16) if flows else np.zeros((0, *body.rig.shape, 2), np.float16),
        "landmarks": np.concatenate([moving.landmarks(part) for part in _parts(frames)]),
        "activations": reel.timeline.activations().astype(np.float32),
        "closures": reel.timeline.closures().astype(np.float32),
        "gaze": reel.timeline.gaze().astype(np.float32),
        "head": reel.timeline.head_path().astype(np.float32),
    }
    metadata = {
        "timeline": asdict(reel.timeline),
        "spans": reel.spans,
        "face": session.face.name,
        "sensor": asdict(session.sensor),
    }
    # A single entry, because the order of several entries is not reproducible.
    write_atomically(_truth_path(root, reel), save(truth, {"json": json.dumps(metadata)}))


def _parts(frames: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    cuts = [*range(0, len(frames), 512), len(frames)]
    return [frames[a:b] for a, b in pairwise(cuts)]
