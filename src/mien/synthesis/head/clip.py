"""Animate the three-dimensional head by a timeline, with the same interface as the warped photograph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mien.synthesis.head.actions import GREATEST, Halves
from mien.synthesis.head.identity import random_identity
from mien.synthesis.head.light import Light
from mien.synthesis.head.scene import TURN, Camera, Head, Pose, State
from mien.synthesis.neutral_face import Face
from mien.synthesis.timeline import Timeline

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class HeadMotion:
    """All motion of a head in a timeline; `flow`, `visible` and `landmarks` are as in `mien.synthesis.rig.Motion`.

    Attributes:
        head: The person and the camera.
        timeline: The timeline.
        pose: Pose of the head at frame 0; the head motion of the timeline is added.
    """

    head: Head
    timeline: Timeline
    pose: Pose = field(default_factory=Pose)

    def states(self, frames: NDArray[np.integer]) -> Iterator[State]:
        """Yield the state of the head in some frames."""
        activations, closures = self.timeline.activations(frames), self.timeline.closures(frames)
        gaze, path = self.timeline.gaze(frames), self.timeline.head_path(frames)
        iod, radius = self.head.eye_distance, self.head.eye_radius
        for t in range(len(frames)):
            amounts: dict[str, Halves] = {}
            for movement, activation in zip(self.timeline.movements, activations[t], strict=True):
                before, halves = amounts.get(movement.unit, (0.0, 0.0)), movement.halves()
                right, left = (min(b + float(activation) * h, GREATEST) for b, h in zip(before, halves, strict=True))
                amounts[movement.unit] = (right, left)
            if closures[t] > 0:
                amounts["AU45"] = (float(closures[t]), float(closures[t]))
            turn = np.degrees(np.arcsin((gaze[t] * iod / radius).clip(-1, 1))).clip(-TURN, TURN)
            right, down, roll, nearer, yaw, pitch = path[t]
            pose = Pose(
                yaw=self.pose.yaw + float(np.degrees(yaw)),
                pitch=self.pose.pitch - float(np.degrees(pitch)),
                roll=self.pose.roll + float(np.degrees(roll)),
                right=self.pose.right + float(right) * iod,
                down=self.pose.down + float(down) * iod,
                nearer=self.pose.nearer + float(nearer) * self.head.camera.distance,
            )
            yield State(amounts, pose, (float(turn[0]), float(turn[1])))

    def flow(self, frame: int) -> Floats:
        """Return (H, W, 2) the exact motion of each pixel from frame 0 to a frame, in pixels; 0 on the background."""
        before, after = self.states(np.array([0, frame]))
        return self.head.flow(before, after)[0]

    def visible(self, frame: int) -> NDArray[np.bool_]:
        """Return (H, W) whether a pixel of frame 0 shows the head and is still visible."""
        before, after = self.states(np.array([0, frame]))
        return self.head.flow(before, after)[1]

    def landmarks(self, frames: NDArray[np.integer]) -> Floats:
        """Return (T, 68, 2) landmarks (iBUG 300-W) in pixels, x then y."""
        return np.stack([self.head.landmarks(state) for state in self.states(frames)])

    def clean_frames(self, frames: NDArray[np.integer] | None = None) -> Iterator[Floats]:
        """Yield frames without camera effects: (H, W, 3) RGB, 0..255, not rounded.

        Args:
            frames: Numbers of the frames; None takes all frames of the timeline.
        """
        wanted = np.arange(self.timeline.n_frames) if frames is None else frames
        yield from map(self.head.picture, self.states(wanted))


def draw_head(rng: np.random.Generator, camera: Camera | None = None) -> tuple[Head, Pose]:
    """Make a random person, light and slightly turned head, as in front of a laboratory camera.

    Args:
        rng: Random generator.
        camera: The camera; None takes one at a random distance.
    """
    light = Light(
        azimuth=float(rng.uniform(-45, 45)),
        elevation=float(rng.uniform(10, 55)),
        lamp=float(rng.uniform(0.35, 0.85)),
        room=float(rng.uniform(0.4, 0.7)),
        warmth=float(rng.uniform(-1, 1)),
    )
    camera = camera or Camera(distance=float(rng.uniform(600, 1400)))
    yaw, pitch, roll = (float(x) for x in rng.normal(0, [4.0, 3.0, 2.0]).clip(-10, 10))
    person = random_identity(int(rng.integers(2**31)))
    return Head(person, camera, light, seed=int(rng.integers(2**31))), Pose(yaw=yaw, pitch=pitch, roll=roll)


def head_face(rng: np.random.Generator) -> Face:
    """Make a still picture of a random person, with exact landmarks, for the generator that warps photographs.

    The eyes are about 200 pixels apart, as in the other faces of that generator. It scales them down, so one sample per
    pixel is enough.

    Args:
        rng: Random generator.
    """
    camera = Camera(height=960, width=800, distance=float(rng.uniform(600, 1400)), span=290.0, samples=1)
    head, _ = draw_head(rng, camera)
    state = State(pose=Pose(pitch=float(rng.normal(0, 2))))
    return Face(head.picture(state), head.landmarks(state).astype(np.float64), f"head {head.identity.seed}")
