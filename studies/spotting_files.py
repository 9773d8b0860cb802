"""What choosing on the test subject is worth in spotting, and what post-processing learned on other subjects gives.

    python studies/spotting_files.py FOLDER [--out studies/results/spotting_files.md]

FOLDER holds the public files of MEGC 2020 (`truth`, `mdmd_frame_decisions`) and LGSNet's proposals
(`lgsnet_proposals`).
No network is run: only files that others published are counted.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from mien.evaluation.metrics import resamples
from mien.evaluation.referee.detections import read_detections
from mien.evaluation.referee.films import f1_of
from mien.evaluation.referee.frames import FrameRule, runs, suppress
from mien.evaluation.referee.names import Names
from mien.evaluation.referee.rules import count_by_rule, overlapping
from mien.evaluation.referee.truth import VideoTruth, video_truth

Ints = NDArray[np.int64]
Interval = tuple[Ints, Ints]
THRESHOLDS = np.round(np.arange(0.02, 0.62, 0.02), 2)
NMS = 0.2
RULES = ("one_to_one", "megc2020")


@dataclass(frozen=True, slots=True)
class Table:
    """Counts of every subject under every setting.

    Attributes:
        settings: What the second axis stands for.
        counts: (subjects, settings, 3): hits, false ones, missed ones.
    """

    settings: Sequence[tuple[float, ...]]
    counts: Ints

    def chosen_on_others(self, among: NDArray[np.bool_] | None = None) -> tuple[float, list[int]]:
        """F1 where each subject has the setting that is best on all others, and these settings."""
        allowed = np.ones(len(self.settings), bool) if among is None else among
        others = self.counts.sum(0)[None] - self.counts
        chosen = np.where(allowed, f1_of(others), -1).argmax(1)
        return float(f1_of(self.counts[np.arange(len(chosen)), chosen].sum(0))), chosen.tolist()

    def chosen_on_itself(self, among: NDArray[np.bool_] | None = None) -> float:
        """F1 where each subject has the setting that is best on it; of equal ones that of fewest false alarms."""
        allowed = np.ones(len(self.settings), bool) if among is None else among
        quiet = f1_of(self.counts) - 1e-9 * self.counts[..., 1]
        chosen = np.where(allowed, quiet, -1).argmax(1)
        return float(f1_of(self.counts[np.arange(len(chosen)), chosen].sum(0)))

    def one_for_all(self, among: NDArray[np.bool_]) -> float:
        """F1 of the best single setting over all subjects, which only the test subjects can tell."""
        return float(np.where(among, f1_of(self.counts.sum(0)), -1).max())

    def interval(self, rows: Ints) -> tuple[float, float]:
        """95 % interval of F1 over subjects, for counts (subjects, 3)."""
        low, high = np.quantile(f1_of(resamples(len(rows), 2000, 0) @ rows), [0.025, 0.975])
        return float(low), float(high)


def true_intervals(truth: VideoTruth, video: int, kind: str) -> Interval:
    spots = [s for s in truth.spots[video] if kind in ("all", s.kind)]
    return np.array([s.onset for s in spots], np.int64), np.array([s.offset for s in spots], np.int64)


def tally(true: Interval, found: Interval, rule: str) -> tuple[int, int, int]:
    count, _ = count_by_rule(rule, len(true[0]), len(found[0]), overlapping(true, found))
    return count.tp, count.fp, count.fn


# LGSNet


def proposals(folder: Path, rule: str) -> tuple[Table, list[str], VideoTruth]:
    """Counts of LGSNet's proposals for each epoch and threshold; expressions of both kinds together."""
    truth = video_truth(f"casme_sq={folder / 'truth' / 'cas_me_2.txt'}")
    names = Names(truth.keys)
    subjects = sorted({key[1] for key in truth.keys})
    epochs = sorted(p.stem for p in (folder / "lgsnet_proposals" / "subject_s15" / "test_detection").glob("*.txt"))
    counts = np.zeros((len(subjects), len(epochs) * len(THRESHOLDS), 3), np.int64)
    for row, subject in enumerate(subjects):
        videos = [n for n, key in enumerate(truth.keys) if key[1] == subject]
        for e, epoch in enumerate(epochs):
            file = folder / "lgsnet_proposals" / f"subject_{subject}" / "test_detection" / f"{epoch}.txt"
            found = read_detections([file], FrameRule())
            places = np.array([names.find(video) for video in found.video])
            onset, offset = (np.rint(v).astype(np.int64) for v in (found.onset, found.offset))
            score = np.array(found.score)
            for video in videos:
                inside = np.flatnonzero(places == video)
                kept = inside[suppress(onset[inside], offset[inside], score[inside], NMS)]
                true = true_intervals(truth, video, "all")
                for t, threshold in enumerate(THRESHOLDS):
                    use = kept[score[kept] >= threshold]
                    counts[row, e * len(THRESHOLDS) + t] += tally(true, (onset[use], offset[use]), rule)
    settings = [(float(e), float(t)) for e in range(len(epochs)) for t in THRESHOLDS]
    return Table(settings, counts), subjects, truth


def lgsnet(folder: Path) -> Iterator[str]:
    yield "## LGSNet's proposals, CAS(ME)^2, both kinds together"
    yield ""
    yield (
        f"{len(THRESHOLDS)} thresholds from {THRESHOLDS[0]} to {THRESHOLDS[-1]}, 30 epochs, suppression at IoU {NMS}. "
        "The paper prints .464."
    )
    yield ""
    yield "| choice | " + " | ".join(f"F1, {rule}" for rule in RULES) + " |"
    yield "|---|---|---|"
    tables = {rule: proposals(folder, rule)[0] for rule in RULES}
    any_table = tables[RULES[0]]
    epoch = np.array([s[0] for s in any_table.settings])
    threshold = np.array([s[1] for s in any_table.settings])
    last, half = epoch == epoch.max(), np.isclose(threshold, 0.3)
    rows: Mapping[str, Callable[[Table], float]] = {
        "epoch and threshold chosen on the other subjects": lambda t: t.chosen_on_others()[0],
        "last epoch, threshold chosen on the other subjects": lambda t: t.chosen_on_others(last)[0],
        "one epoch and threshold for all, best over the test subjects": lambda t: t.one_for_all(np.ones_like(last)),
        "last epoch, threshold of each test subject": lambda t: t.chosen_on_itself(last),
        "threshold 0.3, epoch of each test subject": lambda t: t.chosen_on_itself(half),
        "threshold 0.3, epoch chosen on the other subjects": lambda t: t.chosen_on_others(half)[0],
        "epoch and threshold of each test subject": lambda t: t.chosen_on_itself(),
    }
    for name, of in rows.items():
        yield f"| {name} | " + " | ".join(f"{of(tables[rule]):.3f}" for rule in RULES) + " |"
    yield ""
    chosen = any_table.chosen_on_others()[1]
    low, high = any_table.interval(any_table.counts[np.arange(len(chosen)), chosen])
    picks = sorted({any_table.settings[c] for c in chosen})
    yield f"Chosen on others (one_to_one): 95 % over subjects {low:.3f} to {high:.3f}; (epoch, threshold): {picks}."
    each = [
        float(np.where(last | True, f1_of(any_table.counts.sum(0)), -1)[epoch == e].max()) for e in np.unique(epoch)
    ]
    yield ""
    yield f"Best single threshold of each epoch, all subjects: {', '.join(f'{v:.3f}' for v in each)}."
    yield ""


# Post-processing of the baseline


DATABASES = {"casme_sq": ("cas_me_2", "ME2", 30), "samm_lv": ("samm_lv", "SAMM_MEGC", 200)}
OFFICIAL = {("casme_sq", "micro"): (7, 16), ("casme_sq", "macro"): (17, 1 << 30),
            ("samm_lv", "micro"): (47, 105), ("samm_lv", "macro"): (106, 1 << 30)}  # fmt: skip
P_ROWS = (1, 2, 3, 5, 8, 12, 16, 20, 25, 30)
GAPS = (0.0, 0.1, 0.2, 0.4)
SHORTEST = {"micro": (0.05, 0.1, 0.2, 0.25, 0.3), "macro": (0.1, 0.2, 0.35, 0.5, 0.7)}
PADS = (0.0, 0.05, 0.1, 0.2, 0.4)
LONGEST = {"micro": 0.8, "macro": 4.5}


def read_decisions(file: Path) -> dict[int, NDArray[np.bool_]]:
    table = loadmat(file)["predicts"]
    return {int(np.asarray(e[0]).squeeze()): np.asarray(e[2]).ravel().astype(bool) for e in table}


def bridged(decisions: NDArray[np.bool_], gap: int) -> Interval:
    """Runs of frames, numbered from 1, with gaps of up to `gap` frames bridged."""
    first, last = runs(decisions)
    if len(first) > 1 and gap:
        breaks = np.flatnonzero(first[1:] - last[:-1] - 1 > gap)
        first, last = first[np.r_[0, breaks + 1]], last[np.r_[breaks, len(last) - 1]]
    return first + 1, last + 1


def post_processed(folder: Path, name: str, kind: str, rule: str) -> tuple[Table, Ints]:
    """Counts of the baseline's frame decisions under every post-processing, and under the official one."""
    file, prefix, fps = DATABASES[name]
    truth = video_truth(f"{name}={folder / 'truth' / file}.txt")
    names = Names(truth.keys)
    subjects = sorted({key[1] for key in truth.keys})
    grid = list(itertools.product(P_ROWS, GAPS, SHORTEST[kind], PADS))
    counts = np.zeros((len(subjects), len(grid), 3), np.int64)
    official = np.zeros((len(subjects), 3), np.int64)
    longest = round(LONGEST[kind] * fps)
    for mat in sorted((folder / "mdmd_frame_decisions" / f"{prefix}_{kind}_results").glob("*_prd.mat")):
        video = names.find(mat.stem.removesuffix("_prd"))
        assert video is not None
        row, true = subjects.index(truth.keys[video][1]), true_intervals(truth, video, kind)
        decisions = read_decisions(mat)
        first, last = bridged(decisions[1], 0)
        low, high = OFFICIAL[name, kind]
        use = (last - first + 1 >= low) & (last - first + 1 <= high)
        official[row] += tally(true, (first[use], last[use]), rule)
        for n, (p, gap, shortest, pad) in enumerate(grid):
            first, last = bridged(decisions[p], round(gap * fps))
            length = last - first + 1
            use = (length >= round(shortest * fps)) & (length <= longest)
            grow = round(pad * fps)
            counts[row, n] += tally(true, (first[use] - grow, last[use] + grow), rule)
    return Table(grid, counts), official


def baseline(folder: Path) -> Iterator[str]:
    yield "## The MEGC 2020 baseline, other decisions from its frames"
    yield ""
    yield (
        "Row of the 99 thresholds, gap to bridge, shortest run and frames added on both sides, all chosen on the other "
        f"subjects of the database; runs longer than {LONGEST['micro']} s (micro) or {LONGEST['macro']} s (macro) are "
        "dropped. Counted as `megc2020`."
    )
    yield ""
    yield (
        "| database, kind | official | learned on others | 95 % of the difference | p, gap, shortest, added s (mostly) "
        "| best of each test subject |"
    )
    yield "|---|---|---|---|---|---|"
    for name in DATABASES:
        for kind in ("micro", "macro"):
            table, official = post_processed(folder, name, kind, "megc2020")
            f1, chosen = table.chosen_on_others()
            rows = table.counts[np.arange(len(chosen)), chosen]
            weights = resamples(len(rows), 2000, 0)
            low, high = np.quantile(f1_of(weights @ rows) - f1_of(weights @ official), [0.025, 0.975])
            often = max(set(chosen), key=chosen.count)
            yield (
                f"| {name}, {kind} | {float(f1_of(official.sum(0))):.4f} | {f1:.4f} | {low:+.4f} to {high:+.4f} | "
                f"{', '.join(f'{v:g}' for v in table.settings[often])} ({chosen.count(often)} of {len(chosen)}) | "
                f"{table.chosen_on_itself():.4f} |"
            )
    yield ""


def without_empty_videos(folder: Path) -> Iterator[str]:
    """What leaving out videos that show no expression of a kind is worth, on the official intervals."""
    yield "## Videos without an expression of the kind left out"
    yield ""
    yield "The official intervals of the baseline, counted as `megc2020`."
    yield ""
    yield "| database, kind | videos | F1 | videos with one | F1 of these alone |"
    yield "|---|---|---|---|---|"
    for name, (file, prefix, _) in DATABASES.items():
        truth = video_truth(f"{name}={folder / 'truth' / file}.txt")
        names = Names(truth.keys)
        for kind in ("micro", "macro"):
            low, high = OFFICIAL[name, kind]
            every = np.zeros((len(truth.keys), 3), np.int64)
            shown = np.zeros(len(truth.keys), bool)
            for path in (folder / "mdmd_intervals" / f"{prefix}_{kind}_txtClips" / "p1").glob("*.txt"):
                video = names.find(path.stem)
                assert video is not None
                lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
                table = np.array([[float(a), float(b)] for a, b, *_ in lines]).reshape(-1, 2).astype(np.int64)
                length = table[:, 1] - table[:, 0] + 1
                table = table[(length >= low) & (length <= high)]
                true = true_intervals(truth, video, kind)
                shown[video] = len(true[0]) > 0
                every[video] = tally(true, (table[:, 0], table[:, 1]), "megc2020")
            alone = float(f1_of(every[shown].sum(0)))
            yield f"| {name}, {kind} | {len(shown)} | {float(f1_of(every.sum(0))):.4f} | {shown.sum()} | {alone:.4f} |"
    yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    lines = ["# Spotting: choices on the test subject, and post-processing learned on others", ""]
    for part in (without_empty_videos, lgsnet, baseline):
        for line in part(given.folder):
            print(line, flush=True)
            lines.append(line)
    if given.out:
        given.out.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
