"""Camera paths for novel views: orbits and interpolation through given cameras."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from refcodec.errors import UsageError
from refcodec.rendering.cameras import Camera

Vector = Sequence[float] | np.ndarray  # (x, y, z), scene coordinates


def look_at(position: Vector, target: Vector, up: Vector) -> np.ndarray:
    """Pose (3, 4) of a camera at `position` that looks at `target` (OpenGL axes, spec 9.1).

    Raises UsageError where the viewing direction is undefined or parallel to `up`.
    """
    eye, middle, upwards = (np.asarray(v, np.float64) for v in (position, target, up))
    backwards = eye - middle
    right = np.cross(upwards, backwards)
    scale = np.linalg.norm(upwards) * np.linalg.norm(backwards)
    if not np.linalg.norm(right) > 1e-9 * scale:
        raise UsageError("the camera looks along the up axis (or nowhere): choose another elevation")
    backwards /= np.linalg.norm(backwards)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(backwards, right), backwards, eye], axis=1)


def orbit(
    box_min: Vector,
    box_max: Vector,
    count: int,
    *,
    width: int,
    height: int,
    up: Vector = (0.0, 0.0, 1.0),
    elevation: float = 15.0,
    radius: float | None = None,
    field_of_view: float = 40.0,
    start: float = 0.0,
    turns: float = 1.0,
) -> list[Camera]:
    """`count` cameras on a circle around the box, all looking at its centre.

    box_min, box_max: (3,) scene units. elevation, field_of_view (vertical), start: degrees.
    radius: scene units; by default the box's circumscribed sphere just fits the picture.
    The last camera is one step short of closing the circle, so that a video loops.
    Raises UsageError for values that make no camera.
    """
    box_min, box_max, up = (np.asarray(v, np.float64) for v in (box_min, box_max, up))
    if count < 1 or width < 1 or height < 1:
        raise UsageError("an orbit needs at least one camera of at least one pixel")
    if not 0 < field_of_view < 180:
        raise UsageError(f"the field of view must lie between 0 and 180 degrees, not {field_of_view}")
    if not np.linalg.norm(up) > 0:
        raise UsageError("the up axis must not be zero")
    focal = 0.5 * height / math.tan(math.radians(field_of_view) / 2)
    if radius is None:
        half_angle = math.atan(0.5 * min(width, height) / focal)
        radius = 0.5 * float(np.linalg.norm(box_max - box_min)) / math.sin(half_angle)
    if not radius > 0:
        raise UsageError(f"the orbit's radius must be positive, not {radius}")

    up = up / np.linalg.norm(up)
    # Any direction across `up` may be the first one; take the axis least aligned with it.
    first = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
    first /= np.linalg.norm(first)
    second = np.cross(up, first)
    centre, tilt = (box_min + box_max) / 2, math.radians(elevation)
    cameras = []
    for i in range(count):
        angle = math.radians(start + 360.0 * turns * i / count)
        across = math.cos(angle) * first + math.sin(angle) * second
        position = centre + radius * (math.cos(tilt) * across + math.sin(tilt) * up)
        pose = look_at(position, centre, up)
        cameras.append(
            Camera(width, height, focal, focal, width / 2, height / 2, pose, f"orbit {i}")
        )
    return cameras


def interpolate(cameras: Sequence[Camera], count: int, *, closed: bool = False) -> list[Camera]:
    """`count` cameras along a smooth path through the given ones.

    Positions follow a Catmull-Rom spline, orientations the shortest rotation between
    neighbours, focal lengths and principal points a straight line, picture sizes the
    first camera's. An open path starts at the first camera and ends at the last; a
    closed one returns to the first and stops one step short of it.
    Raises UsageError for fewer than two cameras or pictures.
    """
    if len(cameras) < 2 or count < 2:
        raise UsageError("interpolation needs at least two cameras and at least two pictures")
    size = cameras[0]
    # Intrinsics in pixels of the first camera's picture.
    lenses = [
        np.array([c.fx, c.cx, c.fy, c.cy])
        * np.repeat([size.width / c.width, size.height / c.height], 2)
        for c in cameras
    ]
    poses = [np.asarray(c.camera_to_world, np.float64)[:3] for c in cameras]
    rotations = [_quaternion(pose[:, :3]) for pose in poses]
    last = len(cameras) - 1

    def at(i: int) -> int:
        return i % len(cameras) if closed else min(max(i, 0), last)

    path = []
    stops = np.linspace(0, len(cameras) if closed else last, count, endpoint=not closed)
    for number, stop in enumerate(stops):
        i = min(int(stop), last if closed else last - 1)
        u = stop - i
        a, b = at(i), at(i + 1)
        corners = [poses[at(i + k)][:, 3] for k in (-1, 0, 1, 2)]
        pose = np.empty((3, 4))
        pose[:, :3] = _rotation(_slerp(rotations[a], rotations[b], u))
        pose[:, 3] = _catmull_rom(corners, u)
        fx, cx, fy, cy = (1 - u) * lenses[a] + u * lenses[b]
        path.append(
            replace(size, fx=fx, cx=cx, fy=fy, cy=cy, camera_to_world=pose, name=f"path {number}")
        )
    return path


def _catmull_rom(p: Sequence[np.ndarray], u: float) -> np.ndarray:
    point: np.ndarray = 0.5 * (
        2 * p[1]
        + (p[2] - p[0]) * u
        + (2 * p[0] - 5 * p[1] + 4 * p[2] - p[3]) * u**2
        + (3 * p[1] - p[0] - 3 * p[2] + p[3]) * u**3
    )
    return point


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """Unit quaternion (w, x, y, z) of a rotation matrix.

    It is the eigenvector of the greatest eigenvalue of a symmetric matrix (Bar-Itzhack
    2000), which needs no distinction of cases and tolerates rounded matrices.
    """
    m = rotation
    k = np.array(
        [
            [m[0, 0] + m[1, 1] + m[2, 2], 0, 0, 0],
            [m[2, 1] - m[1, 2], m[0, 0] - m[1, 1] - m[2, 2], 0, 0],
            [m[0, 2] - m[2, 0], m[1, 0] + m[0, 1], m[1, 1] - m[0, 0] - m[2, 2], 0],
            [
                m[1, 0] - m[0, 1],
                m[2, 0] + m[0, 2],
                m[2, 1] + m[1, 2],
                m[2, 2] - m[0, 0] - m[1, 1],
            ],
        ]
    )
    return np.linalg.eigh(k, UPLO="L")[1][:, -1]


def _rotation(q: np.ndarray) -> np.ndarray:
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _slerp(a: np.ndarray, b: np.ndarray, u: float) -> np.ndarray:
    cosine = float(a @ b)
    if cosine < 0:  # q and -q are the same rotation: go the shorter way
        b, cosine = -b, -cosine
    angle = math.acos(min(cosine, 1.0))
    if angle < 1e-6:
        return a
    return (math.sin((1 - u) * angle) * a + math.sin(u * angle) * b) / math.sin(angle)
