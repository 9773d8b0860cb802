"""The motion of a head without its looks: what flow pictures need, and a hundred times quicker than frames."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mien.synthesis.fields import eye_centres
from mien.synthesis.head.identity import random_identity
from mien.synthesis.head.raster import rasterise
from mien.synthesis.head.scene import Camera, Head, Pose, State
from mien.synthesis.shape import Crop

Floats = NDArray[np.float32]

_AIM = 25.0  # millimetres below the eyes at which a camera is directed


class BareHead(Head):
    """A person without hair, skin colour and light, whose motion can be computed and who cannot be rendered."""

    @cached_property
    def rest(self) -> Floats:
        """(V, 3) vertices of the neutral head, without eyeballs, in millimetres."""
        return self._skin

    @cached_property
    def eyes(self) -> NDArray[np.float64]:
        """(2,) middle between the eye centres of the landmarks in millimetres, x and y, and their distance."""
        points = self._skin[self._mesh.landmarks, :2].astype(np.float64)
        right, left = eye_centres(points)
        return np.array([*(right + left) / 2, np.linalg.norm(left - right)])

    def seen_in(self, crop: Crop, width: int, distance: float) -> BareHead:
        """Return this head before a camera whose picture is a crop of the face.

        Args:
            crop: The crop.
            width: Width of the picture in pixels.
            distance: Distance of the camera in millimetres.
        """
        height = crop.shape(width)[0]
        x, y, iod = self.eyes
        span = crop.height * iod
        camera = Camera(
            height=height,
            width=width,
            distance=distance,
            span=span,
            right=crop.right * iod - x,
            down=y + _AIM - span * (0.5 - crop.eyes),
            samples=1,
        )
        return BareHead(self.identity, camera, self.light)

    def exact_flow(self, before: State, after: State) -> Floats:
        """Compute the motion of every pixel, (H, W, 2), as `Head.flow`, also where most of the head is cut off."""
        shape = (self.camera.height, self.camera.width)
        start, nearness = self.camera.project(self.vertices(before))
        end, _ = self.camera.project(self.vertices(after))
        seen = rasterise(start, nearness, self._mesh.triangles, shape)
        flow = np.zeros((shape[0] * shape[1], 2), np.float32)
        flow[seen.place] = seen.carry(end - start, self._mesh.triangles)
        return flow.reshape(*shape, 2)


def random_bare_head(face: np.random.Generator, crop: Crop, width: int) -> tuple[BareHead, Pose]:
    """Make a random person, seen slightly from aside, whose face fills a crop; the head is rolled as the crop.

    Args:
        face: Random generator of the person, the distance of the camera and the pose.
        crop: The crop.
        width: Width of the picture in pixels.

    Example:
        >>> head, pose = random_bare_head(np.random.default_rng(0), Crop(), 64)
        >>> before, after = State(pose=pose), State({"AU12": 0.2}, pose)
        >>> head.exact_flow(before, after).shape
        (78, 64, 2)
    """
    person, distance = random_identity(int(face.integers(2**31))), float(face.uniform(600, 1400))
    yaw, pitch = (float(x) for x in face.normal(0, [4.0, 3.0]).clip(-10, 10))
    pose = Pose(yaw=yaw, pitch=pitch, roll=float(np.degrees(crop.roll)))
    return BareHead(person).seen_in(crop, width, distance), pose
