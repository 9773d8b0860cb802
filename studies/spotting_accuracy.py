"""How well spotters find known expressions in long films, with head motion and blinks.

python studies/spotting_accuracy.py [--minutes 5] [--fps 100] [--people 2] [--spotters flow-peaks lbp-chi2 mdmd]
                                    [--data NAME=FOLDER ...] [--out studies/results/spotting_accuracy.md]

Films of a drawn face (640x480, H.264) are made in a temporary folder; their truth is known. `--data` adds corpora in a
database's own layout (`mien synthesise --layout samm_lv`), scored by leave-one-subject-out.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from machine import stamp
from measure import arguments, publish

from spotting import stage

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "spotting"))
from staged import Film, frames

from mien.datasets import open_specs
from mien.evaluation.spotting.benchmark import spot_benchmark
from mien.evaluation.spotting.metrics import count
from mien.evaluation.spotting.report import spot_report
from mien.io.video import write_video
from mien.spotting import SPOTTERS
from mien.spotting.base import Spot
from mien.spotting.spot import spot


def truth(made: Film) -> list[Spot]:
    return [Spot(e.onset, e.apex, e.offset, "micro" if e.kind == "micro" else "macro") for e in made.events]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--fps", type=float, default=100)
    parser.add_argument("--people", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--spotters", nargs="+", default=["flow-peaks", "lbp-chi2", "mdmd"], choices=list(SPOTTERS))
    parser.add_argument("--data", nargs="*", default=[])
    given = parser.parse_args()
    lines = [
        "# Spotting: what is found",
        "",
        stamp(),
        f"{given.people} film(s) of a drawn face, {given.minutes:g} min, 640x480, {given.fps:g} frames/s, H.264; head "
        "motion and blinks; default parameters. Hit: intersection over union >= 0.5 within a kind.",
        "",
        "| spotter | micro F1 (hits/false/missed) | macro F1 | all F1 |",
        "|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = []
        for identity in range(20, 20 + given.people):
            one = stage(identity, given.minutes, given.fps)
            made.append((one, write_video(folder / f"{identity}.mp4", frames(one), fps=given.fps)))
            print(f"made {made[-1][1].name}", file=sys.stderr)
        for spotter in given.spotters:
            if SPOTTERS[spotter].train is not None:
                continue  # trained ones are scored by --data
            counts = count([(truth(one), spot(path, spotter).spots) for one, path in made])
            shown = [f"{c.f1:.3f} ({c.tp}/{c.fp}/{c.fn})" for c in counts.values()]
            lines.append(f"| {spotter} | {' | '.join(shown)} |")
            print(lines[-1], file=sys.stderr)
        for spec in given.data:
            lines += [
                "",
                f"`{spec.split('=')[0]}` layout, leave one subject out, thresholds from training subjects:",
                "",
            ]
            lines += ["| spotter | micro F1 (hits/false/missed) | macro F1 | all F1 |", "|---|---|---|---|"]
            for spotter in given.spotters:
                run = folder / f"{spec.split('=')[0]}-{spotter}"
                spot_benchmark(open_specs([spec]), spotter, run, jobs=given.threads)
                scores = spot_report(run)
                shown = [
                    f"{s['f1']:.3f} ({s['tp']}/{s['fp']}/{s['fn']})"
                    for s in (scores[k] for k in ("micro", "macro", "all"))
                ]
                lines.append(f"| {spotter} | {' | '.join(shown)} |")
                print(lines[-1], file=sys.stderr)
    publish(lines, given.out)


if __name__ == "__main__":
    main()
