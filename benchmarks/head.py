"""The three-dimensional head: is its motion exact, is it a face, how strongly do units move it, how fast is it drawn.

python benchmarks/head.py [--people 12] [--quick] [--pictures docs/pictures/head] [--out benchmarks/results/head.md]

Accuracy: mean end-point error in pixels between the exact motion and the flow that a method finds between two frames
of 300x245, over pixels inside the landmarks' outline that are seen in both, and over those that move by 0.3 and more.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from machine import peak_mib, stamp
from measure import arguments, publish
from numpy.typing import NDArray

from mien.errors import MienError
from mien.face.landmarks import track_face
from mien.motion.flow import optical_flows
from mien.motion.pictures import flow_colours
from mien.synthesis.fields import face_frame
from mien.synthesis.head import Camera, Head, Pose, State, head_units, random_identity
from mien.synthesis.head.clip import draw_head

METHODS = ("dis", "dis_fine", "classic_nl")
SHOWN: dict[str, dict[str, float]] = {
    "AU12, 0.15": {"AU12": 0.15},
    "AU1+2, 0.2": {"AU1": 0.2, "AU2": 0.2},
    "AU4+7, 0.2": {"AU4": 0.2, "AU7": 0.2},
    "AU15+17, 0.2": {"AU15": 0.2, "AU17": 0.2},
    "AU12, 0.1 and the head moves": {"AU12": 0.1},
}
SHEET: tuple[dict[str, float], ...] = (
    {},
    {"AU1": 0.8, "AU2": 0.8},
    {"AU12": 0.7, "AU6": 0.5},
    {"AU9": 0.9, "AU4": 0.7, "AU7": 0.5},
)


def grey(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(picture @ np.array([0.299, 0.587, 0.114]), np.float32)


def accuracy(people: int, methods: tuple[str, ...]) -> list[str]:
    lines = ["| motion | largest, px | " + " | ".join(f"{m}: face | {m}: moving" for m in methods) + " |"]
    lines.append("|---|---|" + "---|---|" * len(methods))
    for name, amounts in SHOWN.items():
        sizes, errors = [], {m: ([], []) for m in methods}  # type: ignore[var-annotated]
        for seed in range(people):
            head, pose = draw_head(np.random.default_rng([seed, 1]))
            moved = Pose(pose.yaw + 0.2, pose.pitch, pose.roll, 0.3) if "head" in name else pose
            before, after = State(pose=pose), State(amounts, moved)
            truth, visible = head.flow(before, after)
            hull = cv2.convexHull(head.landmarks(before).astype(np.int32))
            face = cv2.fillConvexPoly(np.zeros(truth.shape[:2], np.uint8), hull, 1).astype(bool) & visible
            size = np.linalg.norm(truth, axis=-1)
            sizes.append(size[face].max())
            a, b = grey(head.frame(before))[None], grey(head.frame(after))[None]
            for method in methods:
                error = np.linalg.norm(optical_flows(a, b, method)[0] - truth, axis=-1)
                errors[method][0].append(error[face].mean())
                errors[method][1].append(error[face & (size >= 0.3)].mean())
        found = " | ".join(f"{np.mean(errors[m][i]):.3f}" for m in methods for i in (0, 1))
        lines.append(f"| {name} | {np.mean(sizes):.1f} | {found} |")
        print(lines[-1])
    return lines


def tracked(people: int) -> str:
    found, off = 0, []
    for seed in range(people):
        head, pose = draw_head(np.random.default_rng(seed))
        state = State(pose=pose)
        try:
            points = track_face([head.frame(state)]).ibug68()[0]
        except MienError:
            continue
        found += 1
        truth = head.landmarks(state)
        off.append(np.linalg.norm(points - truth, axis=1)[17:].mean() / face_frame(truth).iod)
    return (
        f"mien's tracker finds the face of {found} of {people} random people, lights and poses; its points in the face "
        f"lie {100 * np.mean(off):.1f} % of the distance between the eyes from the mesh's "
        f"(at most {100 * np.max(off):.1f} %)."
    )


def strengths(people: int) -> list[str]:
    lines = ["| unit | at 0.05 | at 0.13 | at 0.3 |", "|---|---|---|---|"]
    heads = [Head(random_identity(seed)) for seed in range(people)]
    for unit in head_units():
        cells = []
        for intensity in (0.05, 0.13, 0.3):
            moved = [h.vertices_on_picture(State({unit: intensity})) - h.vertices_on_picture(State()) for h in heads]
            cells.append(f"{np.mean([np.linalg.norm(m, axis=1).max() for m in moved]):.2f}")
        lines.append(f"| {unit} | {' | '.join(cells)} |")
    return lines


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Processor time of one thread: unlike the clock it does not change when the machine is busy with other things."""
    spent = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return statistics.median(spent)


def speed(rounds: int) -> list[str]:
    cv2.setNumThreads(1)
    identity = random_identity(1)
    lines = ["| what | ms of one core | a second |", "|---|---|---|"]

    def row(name: str, work: Callable[[], object]) -> None:
        taken = seconds(work, rounds)
        lines.append(f"| {name} | {1000 * taken:.1f} | {1 / taken:.1f} |")
        print(lines[-1])

    row("a new person: shape, skin, hair", lambda: Head(identity))
    row("a new person and the first frame, with its shadows", lambda: Head(identity).frame())
    smile = State({"AU12": 0.2})
    for samples in (1, 2, 3):
        head = Head(identity, Camera(samples=samples))
        head.frame()
        row(f"a frame of 300x245, {samples} samples each way", lambda head=head: head.frame(smile))  # type: ignore[misc]
    head = Head(identity)
    row("exact motion between two states", lambda: head.flow(State(), smile))
    lines += ["", f"Peak memory of all of this: {peak_mib():.0f} MiB."]
    return lines


def draw_pictures(folder: Path) -> None:
    """Twelve people with four expressions each; one micro-expression with its motion."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in range(12):
        head, pose = draw_head(np.random.default_rng([seed, 2]), Camera(height=200, width=164, samples=3))
        rows.append(np.hstack([head.frame(State(amounts, pose)) for amounts in SHEET]))
    sheet = np.vstack([np.hstack(rows[i : i + 2]) for i in range(0, 12, 2)])
    cv2.imwrite(str(folder / "people.jpg"), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    head = Head(random_identity(6), seed=6)
    before, after = State(), State({"AU1": 0.2, "AU2": 0.2, "AU12": 0.1})
    truth, _ = head.flow(before, after)
    a, b = head.frame(before), head.frame(after)
    found = optical_flows(grey(a)[None], grey(b)[None], "dis_fine")[0]
    largest = float(np.linalg.norm(truth, axis=-1).max())
    shown = [a, b, flow_colours(truth, largest), flow_colours(found, largest)]
    cv2.imwrite(str(folder / "motion.png"), np.hstack(shown)[..., ::-1])


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--quick", action="store_true", help="no classic_nl, three people, two rounds")
    parser.add_argument("--pictures", type=Path)
    given = parser.parse_args()
    if given.pictures:
        draw_pictures(given.pictures)
    people, rounds = (3, 2) if given.quick else (given.people, 9)
    methods = METHODS[:-1] if given.quick else METHODS
    lines = [
        "# The head: accuracy and speed",
        "",
        stamp(),
        "",
        f"## Flow found between its frames, against its exact motion ({people} people)",
        "",
        *accuracy(people, methods),
        "",
        "## Is it a face?",
        "",
        tracked(people if given.quick else 50),
        "",
        f"## Largest motion of any point in pixels at 300x245 ({people} people)",
        "",
        *strengths(people),
        "",
        "## Speed",
        "",
        *speed(rounds),
    ]
    publish(lines, given.out)


if __name__ == "__main__":
    main()
