"""A head in front of a camera: its frames, the exact motion between any two states, and its landmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError
from mien.synthesis.head.actions import GREATEST, Halves, moved_vertices
from mien.synthesis.head.identity import Identity, base_shape
from mien.synthesis.head.light import Light, brightness, lamp_reach, normals, open_sky
from mien.synthesis.head.mesh import head_mesh
from mien.synthesis.head.raster import Samples, rasterise
from mien.synthesis.head.skin import Looks, eyeball, looks_of

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Picture = NDArray[np.uint8]

_CENTRE: Final = (0.0, -25.0, 0.0)  # point at which the camera is directed: middle of the face, in mm from the eyes
_PIVOT: Final = (0.0, -70.0, -75.0)  # point about which the head turns: the top of the spine
_YAW, _PITCH, _ROLL = 45.0, 30.0, 45.0
TURN: Final = 35.0
"""Degrees by which an eye can turn."""

_MOUTH: Final = 0.15  # fraction of the ambient light that reaches the inside of an open mouth
_ROOMY: Final = 0.985  # an eyeball is slightly smaller than its socket, so that no lid cuts into it


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera straight in front of the face.

    Attributes:
        height: Height of the picture in pixels, at least 32.
        width: Width of the picture in pixels, at least 32.
        distance: Distance from the eyes in millimetres, 300 to 10,000; from nearby, noses look large.
        span: Height of the picture at the distance of the eyes, in millimetres, 120 to 2000.
        right: Displacement of the face to the right, in millimetres.
        down: Displacement of the face downwards, in millimetres.
        samples: Samples per pixel in each direction, 1 to 4.
    """

    height: int = 300
    width: int = 245
    distance: float = 900.0
    span: float = 275.0
    right: float = 0.0
    down: float = 0.0
    samples: int = 2

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 32 or not 300 <= self.distance <= 10_000 or not 120 <= self.span <= 2000:
            raise MienError(
                f"A camera of {self.height}x{self.width} pixels at {self.distance:g} mm that spans {self.span:g} mm.",
                "at least 32 pixels each way, a distance of 300 to 10000 mm, a span of 120 to 2000 mm.",
                "`Camera(height=300, width=245, distance=900, span=275)`.",
            )
        if self.samples not in (1, 2, 3, 4):
            raise MienError(f"{self.samples} samples per pixel.", "1, 2, 3 or 4.", "`samples=2`.")

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return self.height * self.distance / self.span

    def project(self, points: NDArray[np.floating[Any]]) -> tuple[Doubles, Doubles]:
        """Project points (N, 3) to the picture: (N, 2) in pixels, x then y, and one over their distance, (N,)."""
        p = np.asarray(points, np.float64) - _CENTRE
        nearness = 1 / (self.distance - p[:, 2])
        scale = self.focal * nearness
        x = (self.width - 1) / 2 + (p[:, 0] + self.right) * scale
        y = (self.height - 1) / 2 - (p[:, 1] - self.down) * scale
        return np.stack([x, y], -1), nearness


@dataclass(frozen=True, slots=True)
class Pose:
    """Rotation and displacement of a head.

    Attributes:
        yaw: Degrees; positive if the face turns to the right of the picture.
        pitch: Degrees; positive if the face looks up.
        roll: Degrees; positive if the face tilts to the right of the picture.
        right: Millimetres to the right of the picture.
        down: Millimetres downwards.
        nearer: Millimetres towards the camera.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    right: float = 0.0
    down: float = 0.0
    nearer: float = 0.0

    def __post_init__(self) -> None:
        if abs(self.yaw) > _YAW or abs(self.pitch) > _PITCH or abs(self.roll) > _ROLL:
            raise MienError(
                f"A head turned by yaw {self.yaw:g}, pitch {self.pitch:g}, roll {self.roll:g} degrees hides its face.",
                f"a yaw within {_YAW:g}, a pitch within {_PITCH:g} and a roll within {_ROLL:g} degrees.",
                "`Pose(yaw=15)`.",
            )

    def place(self, points: NDArray[np.floating[Any]]) -> Doubles:
        """Apply the pose to points (N, 3) of the head."""
        yaw, pitch, roll = np.radians([self.yaw, self.pitch, self.roll])
        sy, cy, sp, cp, sr, cr = np.sin(yaw), np.cos(yaw), np.sin(pitch), np.cos(pitch), np.sin(roll), np.cos(roll)
        about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
        turned = (np.asarray(points, np.float64) - _PIVOT) @ (about_z @ about_y @ about_x).T
        return np.asarray(turned + _PIVOT + [self.right, -self.down, self.nearer], np.float64)


@dataclass(frozen=True, slots=True)
class State:
    """The state of a head at one moment.

    Attributes:
        amounts: Amounts of action units or single actions; see `mien.synthesis.head.actions.moved_vertices`.
        pose: Pose of the head.
        gaze: Degrees by which both eyes turn to the right of the picture, and downwards.
    """

    amounts: Mapping[str, float | Halves] = field(default_factory=dict)
    pose: Pose = field(default_factory=Pose)
    gaze: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if max(abs(g) for g in self.gaze) > TURN:
            raise MienError(f"A gaze of {self.gaze} degrees.", f"-{TURN:g} to {TURN:g}.", "`gaze=(5, 0)`.")


class Head:
    """One person in front of one camera in one light. Everything that does not change between frames is computed once.

    Args:
        identity: The person.
        camera: The camera.
        light: The light.
        seed: Seed of the background.
    """

    def __init__(
        self, identity: Identity, camera: Camera | None = None, light: Light | None = None, *, seed: int = 0
    ) -> None:
        self.identity, self.camera, self.light = identity, camera or Camera(), light or Light()
        self._mesh = head_mesh()
        self._skin = base_shape(identity)
        self._eyes = [eyeball(self._skin, marks) for marks in self._mesh.eyes]
        self._seed = seed

    @cached_property
    def _looks(self) -> Looks:
        return looks_of(self.identity, self._mesh.ball)

    @cached_property
    def rest(self) -> Floats:
        """(V, 3) vertices of the neutral head with its hair, without eyeballs, in millimetres."""
        body = self._mesh.triangles[(self._mesh.triangles < len(self._skin)).all(1)]
        return np.asarray(self._skin + self._looks.lift[:, None] * normals(self._skin, body), np.float32)

    @property
    def eye_distance(self) -> float:
        """Distance between the centres of the eyeballs in millimetres."""
        return float(np.linalg.norm(self._eyes[1][0] - self._eyes[0][0]))

    @property
    def eye_radius(self) -> float:
        """Radius of an eyeball in millimetres."""
        return float(_ROOMY * (self._eyes[0][1] + self._eyes[1][1]) / 2)

    def vertices(self, state: State) -> Doubles:
        """Return the (V + E, 3) vertices in a state, in millimetres; the right and the left eyeball come last."""
        return state.pose.place(self._unposed(state))

    def _unposed(self, state: State) -> Doubles:
        right, down = state.gaze
        amounts = dict(state.amounts)
        # The lids follow the eyes.
        for way, angle in (("Down", down), ("Up", -down)):
            for side in ("Left", "Right"):
                action = f"eyeLook{way}{side}"
                if angle > 0 and action not in amounts:
                    amounts[action] = min(angle / abs(self._mesh.gaze[action][1]), GREATEST)
        moved = [self.rest + moved_vertices(amounts)]
        half = len(self._mesh.ball) // 2
        for side, (centre, radius), ball in zip(
            ("Right", "Left"), self._eyes, (self._mesh.ball[:half], self._mesh.ball[half:]), strict=True
        ):
            yaw, pitch = right, -down
            for action, (turned, raised) in self._mesh.gaze.items():
                amount = state.amounts.get(action, 0.0)
                if action.endswith(side) and amount:
                    strength = amount if isinstance(amount, float | int) else amount[side == "Left"]
                    yaw, pitch = yaw + strength * turned, pitch + strength * raised
            moved.append(centre + _ROOMY * radius * (ball @ _towards(yaw, pitch)))
        return np.concatenate(moved).astype(np.float64)

    @cached_property
    def _sky(self) -> Floats:
        rest = self._unposed(State()).astype(np.float32)
        sky = open_sky(rest, normals(rest, self._mesh.triangles), self._mesh.triangles)
        # The neutral mouth is closed; without this, an open mouth would be black inside.
        inside = np.maximum(self._mesh.masks["mouth"], self._mesh.part[: len(self.rest)] == 1)
        sky[: len(inside)] = np.maximum(sky[: len(inside)], _MOUTH * inside)
        return sky

    @cached_property
    def _reach(self) -> Floats:
        return lamp_reach(self._unposed(State()).astype(np.float32), self._mesh.triangles, self.light)

    @cached_property
    def _exposure(self) -> float:
        """Factor that brings the face to the middle of the brightness scale; dark skin stays darker."""
        lit = self._looks.picture[350:600, 350:650].mean() * (0.5 * self.light.lamp + 0.8 * self.light.room)
        return float(0.30 * (lit / 0.30) ** 0.55 / lit)

    @cached_property
    def _background(self) -> Floats:
        rng = np.random.default_rng(np.random.SeedSequence([self._seed, 33]))
        s = self.camera.samples
        height, width = self.camera.height * s, self.camera.width * s
        y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)[None]
        tone = rng.uniform(0.08, 0.55) * (1 + rng.uniform(-0.15, 0.15, 3))
        slope = rng.uniform(-0.2, 0.2, 2)
        return np.asarray(tone * (1 + slope[0] * x + slope[1] * y)[..., None], np.float32)

    def _see(self, state: State, samples: int) -> tuple[Doubles, Doubles, Samples]:
        """Return the vertices in space and in the picture, and the samples of a frame."""
        points = self.vertices(state)
        xy, nearness = self.camera.project(points)
        marks = xy[self._mesh.landmarks]
        inside = (marks >= 0) & (marks <= [self.camera.width - 1, self.camera.height - 1])
        if inside.all(1).mean() < 0.8:
            raise MienError(
                f"{(~inside.all(1)).sum()} of the 68 landmarks lie outside the picture.",
                "a pose and a camera that show the face.",
                "a larger `Camera(span=...)`, or a smaller movement in `Pose`.",
            )
        grid = xy * samples + (samples - 1) / 2
        shape = (self.camera.height * samples, self.camera.width * samples)
        return points, xy, rasterise(grid, nearness, self._mesh.triangles, shape)

    def frame(self, state: State | None = None) -> Picture:
        """Render a frame without noise, which is added by a sensor. The same arguments give the same bytes.

        Args:
            state: State of the head; None is neutral.

        Returns:
            (H, W, 3) RGB of 8 bits.
        """
        return np.asarray(self.picture(state) + 0.5, np.uint8)

    def picture(self, state: State | None = None) -> Floats:
        """Render a frame as `frame` does, (H, W, 3) RGB, 0..255, without rounding."""
        state = state or State()
        s = self.camera.samples
        points, _, seen = self._see(state, s)
        looks = self._looks
        normal = normals(points, self._mesh.triangles)
        eye = np.add(_CENTRE, (0.0, 0.0, self.camera.distance)) - points
        eye /= np.linalg.norm(eye, axis=1, keepdims=True)
        diffuse, shine = brightness(normal, self.light, self._sky, self._reach, eye.astype(np.float32))
        diffuse *= self._exposure
        shine *= 0.12 * self._exposure * looks.gloss
        carried = seen.carry(
            np.column_stack([looks.place, looks.tint * diffuse, looks.own * diffuse + shine[:, None]]),
            self._mesh.triangles,
        )
        colour = _look_up(looks.picture, carried[:, :2])
        colour *= carried[:, 2:5]
        colour += carried[:, 5:]
        light = self._background.copy()
        light.reshape(-1, 3)[seen.place] = colour
        return _develop(_shrink(light, s))

    def flow(self, before: State, after: State) -> tuple[Floats, NDArray[np.bool_]]:
        """Compute the true motion of every pixel from one state to another.

        Returns:
            (H, W, 2) in pixels, x then y: the point at (x, y) before is at (x, y) + flow[y, x] after; zero on the
            background. And (H, W) whether the pixel shows the head and is still visible afterwards.
        """
        shape = (self.camera.height, self.camera.width)
        points, _, seen = self._see(before, 1)
        moved, _, then = self._see(after, 2)
        start = self.camera.project(seen.points(points, self._mesh.triangles))[0]
        end, nearness = self.camera.project(seen.points(moved, self._mesh.triangles))
        flow, visible = np.zeros((shape[0] * shape[1], 2), np.float32), np.zeros(shape[0] * shape[1], bool)
        flow[seen.place] = end - start
        depth = np.zeros(shape[0] * shape[1] * 4, np.float32)
        depth[then.place] = then.nearness
        at = np.rint(end * 2 + 0.5).astype(int)
        inside = np.all((at >= 0) & (at < [shape[1] * 2, shape[0] * 2]), axis=1)
        at = np.where(inside[:, None], at, 0)
        # A tolerance of 1.5 mm, because on a slope the nearest sample is up to half a pixel away.
        there = depth[at[:, 1] * (2 * shape[1]) + at[:, 0]]
        hidden = (there > 0) & (1 / np.where(there > 0, there, 1) < 1 / nearness - 1.5)
        visible[seen.place] = inside & ~hidden
        return flow.reshape(*shape, 2), visible.reshape(shape)

    def landmarks(self, state: State | None = None) -> Floats:
        """Return the (68, 2) landmarks (iBUG 300-W) in pixels, x then y, visible or not."""
        return np.asarray(self.vertices_on_picture(state)[self._mesh.landmarks], np.float32)

    def vertices_on_picture(self, state: State | None = None) -> Doubles:
        """Return the positions of all vertices in the picture, (V + E, 2) in pixels, x then y."""
        return self.camera.project(self.vertices(state or State()))[0]

    def visible_vertices(self, state: State | None = None) -> NDArray[np.bool_]:
        """Return (V + E,) whether each vertex belongs to a visible triangle."""
        _, _, seen = self._see(state or State(), 1)
        out = np.zeros(len(self._mesh.part), bool)
        out[self._mesh.triangles[np.unique(seen.triangle)]] = True
        return out


def _towards(yaw: float, pitch: float) -> Doubles:
    """Return the (3, 3) rotation from straight ahead to a yaw and pitch in degrees, to multiply rows of points by."""
    yaw, pitch = float(np.radians(yaw)), float(np.radians(pitch))
    ahead = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    across = np.array([np.cos(yaw), 0, -np.sin(yaw)])
    return np.stack([across, np.cross(ahead, across), ahead])


def _look_up(picture: Floats, at: Floats) -> Floats:
    """Return (N, 3) the colours of a picture at positions (N, 2), bilinear."""
    n, row = len(at), 512
    flat = np.zeros((-(-n // row) * row, 2), np.float32)
    flat[:n] = at
    padded = flat.reshape(-1, row, 2)
    found = np.empty((len(padded) * row, 3), np.float32)
    # OpenCV accepts at most 32767 rows at a time.
    for start in range(0, len(padded), 16384):
        part = padded[start : start + 16384]
        colours = cv2.remap(picture, part[..., 0], part[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        found[start * row : start * row + colours.shape[0] * row] = colours.reshape(-1, 3)
    return found[:n]


def _shrink(samples: Floats, s: int) -> Floats:
    """Average s x s samples per pixel, with a tent filter that reaches to the centres of the neighbouring pixels."""
    if s == 1:
        return samples
    offset = (np.arange(2 * s) + 0.5) / s - 1 if s % 2 == 0 else np.arange(-s + 1, s) / s
    tent = (1 - np.abs(offset)).astype(np.float32)
    tent /= tent.sum()
    before = (len(tent) - s + 1) // 2 if s % 2 == 0 else (len(tent) - s) // 2
    height, width = samples.shape[0] // s, samples.shape[1] // s
    padded = cv2.copyMakeBorder(samples, before, before + s, before, before + s, cv2.BORDER_REPLICATE)
    rows = sum(w * padded[k : k + height * s : s] for k, w in enumerate(tent))
    return np.asarray(sum(w * rows[:, k : k + width * s : s] for k, w in enumerate(tent)), np.float32)


_STEPS: Final = 8192
_PER_STEP: Final = _STEPS / 3.0  # light above 3 is white
_TONE: Final = np.arange(_STEPS) / _PER_STEP
_SOFT: Final = np.where(_TONE > 0.7, 0.7 + 0.3 * np.tanh((_TONE - 0.7) / 0.3), _TONE)
_SRGB: Final = np.where(_SOFT <= 0.0031308, 12.92 * _SOFT, 1.055 * _SOFT ** (1 / 2.4) - 0.055)
_LEVELS: Final = (255 * _SRGB[:-1]).astype(np.float32)
_SLOPES: Final = (255 * np.diff(_SRGB)).astype(np.float32)


def _develop(light: Floats) -> Floats:
    """Convert light (from 0) to sRGB levels 0..255, compressing values above 0.7."""
    at = light * np.float32(_PER_STEP)
    np.clip(at, 0, _STEPS - 2, out=at)
    low = at.astype(np.int32)
    at -= low
    return np.asarray(_LEVELS.take(low) + at * _SLOPES.take(low), np.float32)
