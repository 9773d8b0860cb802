"""Which action units `recognise` says moved in synthetic films with known units, found by itself; F1 for each unit.

python studies/units_in_films.py [--seed 0] [--out studies/results/units_in_films.md]

Micro-expressions at 100 and 200 frames per second, 320x240 to 1280x720, one and two people; longer expressions at 25
and 30 frames per second, as a webcam records them. Heads drift and breathe all the time, people blink between
expressions. Nothing is chosen by these figures.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import numpy as np
from machine import stamp
from measure import arguments, publish

from mien.datasets.action_units import parse_action_units
from mien.datasets.facs import unit_name
from mien.io.video import write_video
from mien.recognition import Answer, Event, recognise
from mien.recognition.naming import Namer, open_namer
from mien.recognition.units import UnitReader, measured_auc, open_units
from mien.synthesis.acting import draw_movements, draw_span, draw_units
from mien.synthesis.face import draw_identity
from mien.synthesis.puppet import film, puppet
from mien.synthesis.sensor import draw_sensor
from mien.synthesis.shape import Crop
from mien.synthesis.timeline import Blink, Head, Kind, Movement, Timeline, action_units

CLASSES = {
    "happiness": "positive", "surprise": "surprise", "disgust": "negative", "repression": "negative",
    "anger": "negative", "contempt": "negative", "fear": "negative", "sadness": "negative",
}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """One expression that a person of a film shows: frames, class, and its units with their sides."""

    person: int
    onset: int
    offset: int
    named: str
    units: dict[int, str]


@dataclass(frozen=True)
class Film:
    """One film to make."""

    name: str
    kind: Kind
    fps: float
    width: int
    height: int
    people: int
    expressions: int


FILMS = (
    Film("320x240, 100 fps", "micro", 100, 320, 240, 1, 8),
    Film("640x480, 200 fps", "micro", 200, 640, 480, 1, 8),
    Film("640x480, 100 fps, two people", "micro", 100, 640, 480, 2, 6),
    Film("1280x720, 100 fps, two people", "micro", 100, 1280, 720, 2, 5),
    Film("320x240, 25 fps", "macro", 25, 320, 240, 1, 10),
    Film("640x480, 30 fps", "macro", 30, 640, 480, 1, 10),
    Film("640x480, 30 fps, two people", "macro", 30, 640, 480, 2, 8),
)


def acted(one: Film, person: int, seed: int) -> tuple[Timeline, list[Shown]]:
    """What one person does: expressions in turn, a blink in every other pause."""
    rng = np.random.default_rng([seed, person, one.width, round(one.fps)])
    at = round(0.6 * one.fps)
    movements: list[Movement] = []
    blinks, shown = [], []
    for n in range(one.expressions):
        emotion = list(CLASSES)[(n + 3 * person + seed) % len(CLASSES)]
        units = draw_units(emotion, rng)
        apex, length = draw_span(one.kind, one.fps, rng)
        made = draw_movements(units, at, at + apex, at + length, rng, kind=one.kind)
        movements += made
        sides = {number: side or "both" for side, number in parse_action_units(units)}
        shown.append(
            Shown(
                person,
                at,
                at + length,
                CLASSES[emotion],
                {u: s for u, s in sides.items() if f"AU{u}" in action_units()},
            )
        )
        at += length
        if n % 2:
            blinks.append(Blink(at + round(0.25 * one.fps), at + round(0.33 * one.fps), at + round(0.5 * one.fps)))
        at += round((0.9 if one.kind == "micro" else 1.5) * one.fps)
    return Timeline(at, one.fps, tuple(movements), tuple(blinks), head=Head(seed=seed + person)), shown


def pictures(one: Film, seed: int, shown: list[Shown]) -> Iterator[np.ndarray]:
    """Frames of all people side by side; the shortest timeline ends the film."""
    streams = []
    for person in range(one.people):
        rng = np.random.default_rng([seed, person, one.height])
        width = one.width // one.people
        timeline, expressions = acted(one, person, seed)
        shown += expressions
        face = draw_identity(rng, "photo")
        across = float(rng.uniform(3.0, 3.6)) if one.people > 1 else float(rng.uniform(3.6, 4.4))
        body = puppet(
            face, crop=Crop(across, across * one.height / width, 0.4), width=width, height=one.height, colour=False
        )
        streams.append(film(body, timeline, draw_sensor(rng), rng))
    for frames in zip(*streams, strict=False):
        yield np.hstack(frames)


def matched(answer: Answer, shown: list[Shown], one: Film) -> list[tuple[Shown | None, Event | None]]:
    """Pairs of shown and found expressions that overlap by half of either; the others alone."""
    places = {t.person: t.places[0].eyes[0] for t in answer.tracks if t.places and t.places[0].eyes}
    order = {person: round(x // (one.width / one.people)) for person, x in places.items()}
    left, pairs = list(answer.events), []
    for each in shown:
        best, most = None, 0.3
        for event in left:
            if order.get(event.person) != each.person:
                continue
            both = min(event.offset.index, each.offset) - max(event.onset.index, each.onset) + 1
            either = max(event.offset.index, each.offset) - min(event.onset.index, each.onset) + 1
            if both / either > most:
                best, most = event, both / either
        if best is not None:
            left.remove(best)
        pairs.append((each, best))
    return [*pairs, *((None, event) for event in left)]


def f1(counts: Counter[str]) -> float:
    """F1 from hits, false alarms and misses."""
    return 2 * counts["hit"] / max(1, 2 * counts["hit"] + counts["false"] + counts["missed"])


def study(
    one: Film, seed: int, folder: Path, namer: Namer, reader: UnitReader
) -> tuple[list[tuple[Shown | None, Event | None]], int]:
    """Make one film and answer it; return the pairs and the number of expressions shown within the film."""
    shown: list[Shown] = []
    path = write_video(folder / "film.mp4", pictures(one, seed, shown), one.fps)
    answer = recognise(path, namer, unit_weights=reader)
    shown = [each for each in shown if each.offset < answer.video.n_frames - one.fps * 0.3]
    return matched(answer, shown, one), len(shown)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    namer, reader = open_namer(None), open_units(all_units=True)
    began = time.process_time()
    rows, per_unit = [], {kind: {u: Counter[str]() for u in reader.units} for kind in ("micro", "macro")}
    everything: dict[str, Counter[str]] = {"micro": Counter(), "macro": Counter()}
    with tempfile.TemporaryDirectory() as name:
        for one in FILMS:
            pairs, n = study(one, given.seed, Path(name), namer, reader)
            counts, found_only = Counter[str](), Counter[str]()
            for each, event in pairs:
                said = {u.unit for u in event.moved} if event is not None else set()
                true = set(each.units) & set(reader.units) if each is not None else set()
                for unit in said | true:
                    what = "hit" if unit in said & true else "false" if unit in said else "missed"
                    per_unit[one.kind][unit][what] += 1
                    counts[what] += 1
                    if each is not None and event is not None:
                        found_only[what] += 1
                tally = everything[one.kind]
                if each is not None and event is not None:
                    tally["found"] += 1
                    for unit, side in each.units.items():
                        read = next((u for u in event.units if u.unit == unit and u.present), None)
                        if read is not None:
                            key = "both" if side == "both" else "one"
                            true_side = {"L": "left", "R": "right"}.get(side, "both")
                            tally[f"side {key}"] += 1
                            tally[f"side {key} right"] += read.side == true_side
                            tally[f"side {key} wrong half"] += {read.side, true_side} == {"left", "right"}
                    if event.probabilities:
                        best = max(event.probabilities, key=lambda c: event.probabilities[c])
                        tally["named"] += 1
                        tally["named right"] += best == each.named
            found = sum(each is not None and event is not None for each, event in pairs)
            false = sum(each is None for each, _ in pairs)
            rows.append(
                f"| {one.name} | {one.kind} | {n} | {found} | {false} | {f1(found_only):.2f} | {f1(counts):.2f} |"
            )
            print(rows[-1], f"{time.process_time() - began:.0f} s", file=sys.stderr, flush=True)
    lines = [
        "# Action units in films, found without help",
        "",
        stamp(),
        f"`python studies/units_in_films.py --seed {given.seed}`, {time.process_time() - began:.0f} s of the "
        "processor. Weights of the package; units, sides and intensities at random; heads drift and breathe, people "
        "blink between expressions.",
        "",
        "| film | kind | shown | found | found besides | F1 of units in what was found | F1 with what was missed |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        "| unit | AUC on real clips | F1, micro | hits/false/missed | F1, longer, 25 and 30 fps | hits/false/missed |",
        "|---|---|---|---|---|---|",
    ]
    for unit in sorted(reader.units):
        auc = measured_auc(reader.card, unit)
        cells = [f"AU{unit} {unit_name(unit)}", "-" if auc is None else f"{auc:.2f}"]
        for kind in ("micro", "macro"):
            c = per_unit[kind][unit]
            cells += [f"{f1(c):.2f}", f"{c['hit']}/{c['false']}/{c['missed']}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for kind, t in everything.items():
        lines.append(
            f"- {kind}: of {t['side one']} units of one side that were said to be present, {t['side one right']} had "
            f"the right side and {t['side one wrong half']} the wrong half; of {t['side both']} of both sides, "
            f"{t['side both right']} were said to be on both."
        )
    t = everything["micro"]
    lines.append(
        f"- The weights for classes, which are all that was said before units, named {t['named']} of {t['found']} "
        f"micro-expressions that were found, {t['named right']} of them with the class of the emotion that was acted."
    )
    publish(lines, given.out)


if __name__ == "__main__":
    main()
