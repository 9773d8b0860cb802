"""Whether post-processing learned on other subjects helps our own spotters, as it helps the MEGC 2020 baseline.

    mien synthesise --layout casme_sq --subjects 6 --clips 6 --out FOLDER
    python studies/spotting_decisions.py casme_sq=FOLDER [--out studies/results/spotting_decisions.md]

The second corpus is that of `--seed 1`, its result studies/results/spotting_decisions_second.md.

One subject is left out. Before: thresholds chosen on the other subjects, as `benchmark --task spot` chooses them.
After: gap to bridge, shortest interval and time added at both ends are chosen together with the threshold, from the
values of `spotting_files.py`. Of equal ones the one that changes least is kept.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from machine import stamp
from measure import arguments, publish
from spotting_files import GAPS, LONGEST, PADS, SHORTEST

from mien.datasets import open_specs
from mien.evaluation.metrics import resamples
from mien.evaluation.referee.films import f1_of
from mien.evaluation.spotting.benchmark import Filmed, filmed, fit_parameters
from mien.evaluation.spotting.metrics import match
from mien.io.video import frames_video, to_uint8
from mien.spotting import SPOTTERS
from mien.spotting.base import KINDS, Kind, Rows, Spot, Spotter, decide_all
from mien.spotting.spot import in_frames, watch, why_abstain

Stage = tuple[float, float, float]
"""Gap to bridge, shortest interval and time added at both ends, in seconds."""
AS_IT_IS: Stage = (0.0, 0.0, 0.0)
Ints = NDArray[np.int64]


def staged(spots: Sequence[Spot], kind: Kind, fps: float, n_frames: int, stage: Stage) -> list[Spot]:
    """Return the intervals of a kind: near ones joined, short and long ones dropped, the rest grown at both ends."""
    gap, shortest, pad = (round(seconds * fps) for seconds in stage)
    joined: list[Spot] = []
    for one in sorted((s for s in spots if s.kind == kind), key=lambda s: s.onset):
        if joined and gap and one.onset - joined[-1].offset - 1 <= gap:
            best = max(joined[-1], one, key=lambda s: s.score)
            joined[-1] = replace(best, onset=joined[-1].onset, offset=max(joined[-1].offset, one.offset))
        else:
            joined.append(one)
    kept = [s for s in joined if shortest <= s.n_frames <= round(LONGEST[kind] * fps)] if stage != AS_IT_IS else joined
    return [replace(s, onset=max(0, s.onset - pad), offset=min(n_frames - 1, s.offset + pad)) for s in kept]


@dataclass
class Study:
    """Films with the rows of one spotter, and what was decided and counted of them so far."""

    spotter: Spotter
    films: Sequence[Filmed]
    rows: Sequence[Rows]
    decided: dict[Any, list[Spot]] = field(default_factory=dict)
    counted: dict[Any, Ints] = field(default_factory=dict)

    def spots(self, film: int, settings: Mapping[str, Any]) -> list[Spot]:
        """Return the intervals of a film, in its own frames."""
        key = film, tuple(settings.values())
        if key not in self.decided:
            clip = self.films[film].clip
            assert clip.fps is not None
            hop = self.spotter.hop(clip.fps)
            found = decide_all(self.spotter, self.rows[film], clip.fps / hop, settings) if len(self.rows[film]) else []
            self.decided[key] = [in_frames(s, hop, len(clip.frames)) for s in found]
        return self.decided[key]

    def count(self, film: int, settings: Mapping[str, Any], kind: Kind, stage: Stage) -> Ints:
        """Return hits, false ones and missed ones of a kind."""
        key = film, tuple(settings.values()), kind, stage
        if key not in self.counted:
            clip = self.films[film].clip
            assert clip.fps is not None
            found = staged(self.spots(film, settings), kind, clip.fps, len(clip.frames), stage)
            true = [s for s in self.films[film].true if s.kind == kind]
            hits = len(match(true, found))
            self.counted[key] = np.array([hits, len(found) - hits, len(true) - hits], np.int64)
        return self.counted[key]

    def fit(self, train: Sequence[int], stages: Mapping[Kind, Sequence[Stage]]) -> tuple[dict[str, Any], list[Stage]]:
        """Choose thresholds and stage of each kind, one kind after the other, by F1 on training films."""
        picked, chosen = self.spotter.parameters, []
        for kind in KINDS:
            ((key, values),) = self.spotter.tuned[kind].items()
            default = picked[key]
            choices = list(product(dict.fromkeys((default, *values)), stages[kind]))

            def worth(choice: tuple[float, Stage], key: str = key, kind: Kind = kind, default: float = default) -> Any:
                value, stage = choice
                total = sum(self.count(film, {**picked, key: value}, kind, stage) for film in train)
                return float(f1_of(np.asarray(total))), -sum(stage), value == default, -abs(value - default)

            picked[key], stage = max(choices, key=worth)
            chosen.append(stage)
        return picked, chosen


def watched(film: Filmed, chosen: Spotter) -> Rows:
    """Return the rows of a film; none where the spotter abstains."""
    clip = film.clip
    assert clip.fps is not None
    video = frames_video(clip.frames, clip.fps, clip.name)
    rows, faces = watch((to_uint8(f.pixels) for f in video.frames(grey=True)), clip.fps, chosen, chosen.parameters)
    made = list(rows)
    return np.stack(made) if not why_abstain(faces, len(clip.frames), clip.fps) else np.empty((0, 1), np.float32)


def compared(study: Study) -> list[str]:
    """Return the lines of a spotter: micro, macro and both, before and after."""
    subjects = sorted({film.clip.subject for film in study.films})
    stages: dict[Kind, list[Stage]] = {k: [*product(GAPS, (0.0, *SHORTEST[k]), PADS)] for k in KINDS}
    counts = np.zeros((2, len(subjects), len(KINDS), 3), np.int64)
    often: dict[Kind, list[Stage]] = {kind: [] for kind in KINDS}
    for s, subject in enumerate(subjects):
        test = [n for n, film in enumerate(study.films) if film.clip.subject == subject]
        train = [n for n in range(len(study.films)) if n not in test]
        for way, allowed in enumerate(({kind: [AS_IT_IS] for kind in KINDS}, stages)):
            settings, picked = study.fit(train, allowed)
            for k, kind in enumerate(KINDS):
                counts[way, s, k] = sum(study.count(film, settings, kind, picked[k]) for film in test)
                if way:
                    often[kind].append(picked[k])
            if not way and study.spotter.hop(30) == 1:
                same = [n for n in train if len(study.rows[n])]
                rates = [float(study.films[n].clip.fps or 0) for n in same]
                true = [study.films[n].true for n in same]
                assert settings == fit_parameters(
                    study.spotter, [study.rows[n] for n in same], true, rates, study.spotter.parameters
                ), "other thresholds than those of the benchmark"
    weights, lines = resamples(len(subjects), 2000, 0), []
    for k, name in enumerate((*KINDS, "both")):
        before, after = counts[:, :, k] if k < len(KINDS) else counts.sum(2)
        low, high = np.quantile(f1_of(weights @ after) - f1_of(weights @ before), [0.025, 0.975])
        values = [float(f1_of(each.sum(0))) for each in (before, after)]
        shown = [f"{v:.3f} ({'/'.join(map(str, c.sum(0)))})" for v, c in zip(values, (before, after), strict=True)]
        picks = ""
        if k < len(KINDS):
            chosen = often[KINDS[k]]
            mostly = max(dict.fromkeys(chosen), key=chosen.count)
            picks = f"{', '.join(f'{v:g}' for v in mostly)} ({chosen.count(mostly)} of {len(chosen)})"
        lines.append(
            f"| {study.spotter.name}, {name} | {' | '.join(shown)} | {values[1] - values[0]:+.3f} | "
            f"{low:+.3f} to {high:+.3f} | {picks} |"
        )
    return lines


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("data", metavar="NAME=FOLDER")
    parser.add_argument("--spotters", nargs="+", default=["flow-peaks", "mdmd"], choices=list(SPOTTERS))
    given = parser.parse_args()
    films, began = filmed(open_specs([given.data])), time.process_time()
    people = {film.clip.subject for film in films}
    numbers = [sum(s.kind == kind for film in films for s in film.true) for kind in KINDS]
    lines = [
        "# Spotting: post-processing learned on other subjects, for our own spotters",
        "",
        stamp(),
        f"Synthetic films in the layout of {given.data.split('=')[0]}: {len(films)} films of {len(people)} subjects, "
        f"{sum(len(film.clip.frames) for film in films)} frames, {numbers[0]} micro- and {numbers[1]} "
        "macro-expressions. One subject left out; matched one to one at an IoU of 0.5. The interval is that of a "
        "paired bootstrap over subjects.",
        "",
        "| spotter, kind | before: F1 (hits/false/missed) | after | difference | 95 % "
        "| gap, shortest, added s (mostly) |",
        "|---|---|---|---|---|---|",
    ]
    for name in given.spotters:
        study = Study(SPOTTERS[name], films, [watched(film, SPOTTERS[name]) for film in films])
        for line in compared(study):
            print(line, flush=True)
            lines.append(line)
    print(f"{time.process_time() - began:.0f} s of CPU", file=sys.stderr)
    publish(lines, given.out)


if __name__ == "__main__":
    main()
