"""Checks shared by all layouts: values, poses, boxes and image headers (docs/datasets.md)."""
from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refcodec.datasets.lenses import Lens
from refcodec.datasets.model import TURNED, Dataset, ImageHeader, View, read_header
from refcodec.datasets.naming import names_beside
from refcodec.errors import DatasetError
from refcodec.rendering.cameras import Camera

# Poses written with few decimals, or as 16-bit floats, are made rotations; a scaled or sheared one is not.
_RIGID_TOLERANCE = 1e-2
_SAME_SCALE = 1e-3
_FARTHEST = 1e12  # units; single precision has no room for a scene there
_BOX_GRID = 9
_SEEING = 0.9  # of the cameras, that look at where their axes meet
_LOST = 0.5
AXES_HINT = "poses must be camera to world, with the axes right, up, backwards"


class Problems:
    """Collects errors, so that one run names all broken files."""

    def __init__(self) -> None:
        self.errors: list[DatasetError] = []

    def add(self, error: DatasetError) -> None:
        """Adds an error; one of a whole file is reported once, not for each of its pictures."""
        if str(error) not in {str(e) for e in self.errors}:
            self.errors.append(error)

    def raise_first(self) -> None:
        """Raise the first error, with a count of the others by code; nothing if there is none."""
        if not self.errors:
            return
        first, others = self.errors[0], self.errors[1:]
        if not others:
            raise first
        counts = {code: sum(e.code == code for e in others) for code in sorted({e.code for e in others})}
        message = str(first).removeprefix(f"{first.code}: ")
        summary = ", ".join(f"{n} x {code}" for code, n in counts.items())
        error = DatasetError(first.code, f"{message} (and {len(others)} more: {summary})")
        error.path = first.path
        raise error


def number(value: Any, what: str, code: str, path: Path) -> float:
    """`value` as a finite float. Raises DatasetError `code`."""
    try:
        result = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if not math.isfinite(result):
        raise DatasetError(code, f"{what} is {_short(value)}, not a finite number", path)
    return result


def integer(value: Any, what: str, code: str, path: Path) -> int:
    """`value` as an integer; 400.0 passes, 400.5 does not. Raises DatasetError `code`."""
    result = number(value, what, code, path)
    if result != int(result):
        raise DatasetError(code, f"{what} is {_short(value)}, not an integer", path)
    return int(result)


def array(value: Any, shapes: Iterable[tuple[int, ...]], what: str, code: str, path: Path) -> np.ndarray:
    """`value` as a float64 array of one of `shapes`. Raises DatasetError `code`."""
    try:
        result = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        result = np.empty(0)
    if result.shape not in shapes:
        wanted = " or ".join("x".join(map(str, shape)) for shape in shapes)
        raise DatasetError(code, f"{what} is not a {wanted} table of numbers", path)
    return result


def pose(value: Any, what: str, path: Path) -> np.ndarray:
    """A camera-to-world matrix, 4x4 or 3x4, as (3, 4) float64.

    Raises DatasetError D06 unless it is a rotation and a position.
    """
    matrix = array(value, ((4, 4), (3, 4)), f"the pose of {what}", "D06", path)
    rotation = matrix[:3, :3]
    if not np.isfinite(matrix).all():
        reason = "holds NaN or infinity"
    elif np.abs(matrix[:3, 3]).max() > _FARTHEST:
        reason = f"puts the camera {np.abs(matrix[:3, 3]).max():.3g} units away; check its unit"
    elif matrix.shape[0] == 4 and not np.allclose(matrix[3], (0, 0, 0, 1), atol=1e-6):
        reason = "has a last row other than 0 0 0 1"
    elif abs(np.linalg.det(rotation)) < 1e-6:
        reason = "is singular"
    elif np.abs(rotation).max() > 2 or np.abs(rotation.T @ rotation - np.eye(3)).max() > _RIGID_TOLERANCE:
        reason = _unrigid(rotation)
    elif np.linalg.det(rotation) < 0:
        reason = "mirrors (determinant -1)"
    else:
        result = matrix[:3].copy()
        if np.abs(rotation.T @ rotation - np.eye(3)).max() > 1e-6:
            left, _, right = np.linalg.svd(rotation)
            result[:, :3] = left @ right
        return result
    raise DatasetError("D06", f"the pose of {what} {reason}", path)


def _unrigid(rotation: np.ndarray) -> str:
    scales = np.linalg.norm(rotation, axis=0)
    if np.ptp(scales) < _SAME_SCALE * scales.max():
        return (f"scales by {scales.mean():.6g}; it must be a rotation and a position: divide the first three columns "
                "by "
                "that, the position stays")
    return "scales or shears; it must be a rotation and a position"


def camera(width: int, height: int, fx: float, fy: float, cx: float, cy: float,
           camera_to_world: np.ndarray, name: str, path: Path) -> Camera:
    """A Camera whose intrinsics make sense. Raises DatasetError D09."""
    values = (width, height, fx, fy, cx, cy)
    if not all(math.isfinite(value) for value in values):
        raise DatasetError("D09", f"the intrinsics of {name} hold NaN or infinity", path)
    if width < 1 or height < 1 or fx <= 0 or fy <= 0:
        raise DatasetError("D09", f"the size {width}x{height} and focal lengths {fx:g}, {fy:g} "
                           f"of {name} must be positive", path)
    return Camera(width, height, fx, fy, cx, cy, camera_to_world, name)


def lens_camera(lens: Lens, camera_to_world: np.ndarray, name: str, path: Path) -> tuple[Camera, Lens | None]:
    """The pinhole camera of a lens, and the lens where its pictures have to be resampled.

    Raises DatasetError D09, D11.
    """
    plain = camera(lens.width, lens.height, lens.fx, lens.fy, lens.cx, lens.cy, camera_to_world, name, path)
    if not all(math.isfinite(value) for value in lens.parameters):
        raise DatasetError("D11", f"the lens parameters of {name} hold NaN or infinity", path)
    if lens.is_pinhole:
        return plain, None
    return lens.undistorted(camera_to_world, name, path), lens


def box(value: Any, path: Path) -> np.ndarray:
    """An axis-aligned box as (2, 3) float64, low corner first. Raises DatasetError D13."""
    corners = array(value, ((2, 3), (6,)), "the box (aabb)", "D13", path).reshape(2, 3)
    if not np.isfinite(corners).all() or not (corners[0] < corners[1]).all():
        raise DatasetError("D13", "the box (aabb) must be finite, its low corner below its high one: "
                           f"{corners.tolist()}", path)
    return corners


def union(boxes: Sequence[np.ndarray]) -> np.ndarray:
    """The smallest box around all, (2, 3)."""
    low, high = zip(*boxes)
    return np.stack([np.min(low, 0), np.max(high, 0)])


def box_from_cameras(cameras: Iterable[Camera], path: Path) -> np.ndarray:
    """The box of an object-centred capture, from its cameras alone: (2, 3) float64.

    The centre is the point closest to all optical axes (least squares). The box is the
    cube around the largest ball at that centre that the median camera sees whole.
    Raises DatasetError D13 where the cameras do not look at a common place.
    """
    cameras = list(cameras)
    poses = np.array([c.camera_to_world for c in cameras])
    axes, positions = -poses[:, :, 2], poses[:, :, 3]
    # The projector onto the plane across each axis: sum(P_i) x = sum(P_i p_i).
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    system = across.sum(0)
    if np.linalg.cond(system) > 1e6:
        raise DatasetError("D13", "the cameras' axes are parallel, so they do not tell where the "
                           "scene is: give the box (aabb)", path)
    centre = np.linalg.solve(system, np.einsum("nij,nj->i", across, positions))
    radius = float(np.median([_visible_radius(c, centre) for c in cameras]))
    if radius < 0 and all(c.camera_to_world[:, 2] @ (centre - c.camera_to_world[:, 3]) > 0 for c in cameras):
        raise DatasetError("D13", f"all cameras look away from where their axes meet: {AXES_HINT}", path)
    if not 0 < radius < math.inf:
        raise DatasetError("D13", "the cameras do not look at a common place, so they do not tell "
                           "where the scene is: give the box (aabb)", path)
    return np.stack([centre - radius, centre + radius])


def sees(c: Camera, points: np.ndarray) -> np.ndarray:
    """Which of (n, 3) points in the world lie in the view frustum: (n,) bool."""
    u, v, depth = project(c, points)
    return (depth > 0) & (u >= 0) & (u <= c.width) & (v >= 0) & (v <= c.height)


def project(c: Camera, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixel coordinates and depth of (n, 3) points; the coordinates mean nothing where depth <= 0."""
    local = (points - c.camera_to_world[:, 3]) @ c.camera_to_world[:, :3]
    depth = -local[:, 2]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return c.fx * local[:, 0] / depth + c.cx, c.cy - c.fy * local[:, 1] / depth, depth


def box_points(box: np.ndarray, side: int) -> np.ndarray:
    """A regular grid over a box, its corners included: (side ** 3, 3)."""
    axes = [np.linspace(low, high, side) for low, high in box.T]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def sees_box(c: Camera, box: np.ndarray) -> bool:
    """Whether some of the box is in the view frustum, to within a grid and the picture's own rays."""
    position = c.camera_to_world[:, 3]
    if ((position >= box[0]) & (position <= box[1])).all() or sees(c, box_points(box, _BOX_GRID)).any():
        return True
    # A box smaller than the grid's gaps on the picture, or a camera with a long lens.
    u, v = np.meshgrid(np.linspace(0, c.width, _BOX_GRID), np.linspace(0, c.height, _BOX_GRID))
    local = np.stack([(u - c.cx) / c.fx, (c.cy - v) / c.fy, -np.ones_like(u)], -1).reshape(-1, 3)
    return bool(hits(position, local @ c.camera_to_world[:, :3].T, box).any())


def hits(origin: np.ndarray, directions: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Which of the rays from `origin` (3,) along (n, 3) directions meet the box: (n,) bool."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = (box[:, None, :] - origin) / directions  # (2, n, 3)
    near, far = np.nanmax(ends.min(0), -1), np.nanmin(ends.max(0), -1)
    met: np.ndarray = (far >= near) & (far > 0)
    return met


def check_box(cameras: Iterable[Camera], box: np.ndarray, path: Path) -> None:
    """Raises DatasetError D15 where no camera sees the box, or most would if their poses were meant otherwise."""
    cameras = list(cameras)
    seeing = sum(sees_box(c, box) for c in cameras)
    if seeing > _LOST * len(cameras):
        return
    other = next((why for why, turned in misread(cameras)
                  if sum(sees_box(c, box) for c in turned) >= max(_SEEING * len(cameras), 2 * seeing + 1)), None)
    if seeing and other is None:
        return
    reason = other or ("check its unit and that of the cameras' positions, and that " + AXES_HINT)
    told = "no camera sees" if not seeing else f"{len(cameras) - seeing} of {len(cameras)} cameras do not see"
    raise DatasetError("D15", f"{told} the box {np.round(box, 4).tolist()}; {reason}", path)


def check_axes(cameras: Sequence[Camera], path: Path) -> None:
    """Raises DatasetError D15 where cameras look at a common place only if their poses are meant otherwise."""
    cameras = list(cameras)
    if len(cameras) < 3 or _looking(cameras) >= _SEEING:
        return
    for why, turned in misread(cameras):
        if _looking(turned) >= _SEEING and _looking(cameras) <= _LOST:
            raise DatasetError("D15", f"the cameras do not look at a common place; {why}. If they do look outward, "
                                      "give "
                               "the box (--box)", path)


def misread(cameras: Sequence[Camera]) -> list[tuple[str, list[Camera]]]:
    """Common misreadings of poses, with the cameras that result: OpenCV's axes, world to camera, both."""
    def inverted(c: Camera) -> np.ndarray:
        rotation = c.camera_to_world[:, :3].T
        return np.column_stack([rotation, -rotation @ c.camera_to_world[:, 3]])

    flip, hint = np.array((1, -1, -1, 1)), AXES_HINT
    return [
        (f"most cameras have it behind them: the poses seem to have OpenCV's axes (right, down, forward); {hint}",
         [dataclasses.replace(c, camera_to_world=c.camera_to_world * flip) for c in cameras]),
        (f"the poses seem to be world to camera: invert them; {hint}",
         [dataclasses.replace(c, camera_to_world=inverted(c)) for c in cameras]),
        ("the poses seem to be world to camera, with OpenCV's axes (right, down, forward): invert and turn them; "
         f"{hint}",
         [dataclasses.replace(c, camera_to_world=inverted(c) * flip) for c in cameras]),
    ]


def _looking(cameras: Sequence[Camera]) -> float:
    """Share of the cameras that see the point closest to all axes, at some distance."""
    poses = np.array([c.camera_to_world for c in cameras])
    axes, positions = -poses[:, :, 2], poses[:, :, 3]
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    system = across.sum(0)
    if np.linalg.cond(system) > 1e6:
        return 0.0
    centre = np.linalg.solve(system, np.einsum("nij,nj->i", across, positions))
    distances = np.linalg.norm(positions - centre, axis=1)
    near = distances < 1e-3 * max(distances.max(), float(np.ptp(positions, axis=0).max()), 1e-12)
    return float(np.mean([bool(sees(c, centre[None])[0]) and not n for c, n in zip(cameras, near, strict=True)]))


def _visible_radius(c: Camera, centre: np.ndarray) -> float:
    """Distance from `centre` to the nearest side of the view frustum; negative outside it."""
    rotation, position = c.camera_to_world[:, :3], c.camera_to_world[:, 3]
    x, y, z = rotation.T @ (centre - position)
    slopes = ((-x, (c.width - c.cx) / c.fx), (x, c.cx / c.fx), (y, c.cy / c.fy), (-y, (c.height - c.cy) / c.fy))
    return min(float(-z * slope + side) / math.hypot(1, slope) for side, slope in slopes)


def find_image_problems(dataset: Dataset) -> list[DatasetError]:
    """Everything wrong with the images and masks of `dataset` that their headers show."""
    return [e for frame in dataset.frames for view in frame.views if (e := view_problem(view)) is not None]


def check_images(dataset: Dataset) -> None:
    """Open the header of every image and mask; no pixels are decoded.

    Raises DatasetError D04 (missing), D05 (unreadable), D07 (image size) or D12 (mask
    size): the first one found, with a count of the others.
    """
    problems = Problems()
    problems.errors = find_image_problems(dataset)
    problems.raise_first()


def view_problem(view: View, header: ImageHeader | None = None) -> DatasetError | None:
    """The error of a view's image or mask, None if there is none. header: of the image, if it has been read."""
    width, height = view.file_size
    try:
        header = header or header_of(view.image, position=view.image_position)
        found = upright(header, view.orientation)
        if found != (width, height):
            raise DatasetError("D07", f"the picture is {found[0]}x{found[1]}, the camera "
                                      f"{width}x{height}{_cause(view, header)}",
                               view.image)
        if view.mask is not None:
            mask = header_of(view.mask, "mask", view.mask_position)
            sizes = (width, height), (header.width, header.height)
            if (mask.width, mask.height) not in sizes and not view.mask_scaled:
                raise DatasetError("D12", f"the mask is {mask.width}x{mask.height}, its picture {width}x{height}",
                                   view.mask)
    except DatasetError as error:
        return error
    return None


def upright(header: ImageHeader, orientation: int) -> tuple[int, int]:
    """Width and height of a picture that is turned by an EXIF orientation."""
    return (header.height, header.width) if orientation in TURNED else (header.width, header.height)


def _cause(view: View, header: ImageHeader) -> str:
    width, height = view.file_size
    if (header.height, header.width) == (width, height):
        return ": it is turned by 90 degrees, and no EXIF orientation says so: turn the pictures as calibrated"
    factor = header.width / width
    if abs(factor * height - header.height) <= 1:
        return (f": {factor:.4g} times as large. Where all pictures are, intrinsics are scaled; here some are not: "
                "export "
                "them at one size")
    return ": scale w, h, focal lengths and principal point with the pictures"


def header_of(path: Path, what: str = "image", position: int | None = None) -> ImageHeader:
    """An image's header, or a video's. Raises DatasetError D04 (missing) or D05 (unreadable)."""
    if not os.path.isfile(path):  # unlike Path.is_file, False for names no file can have
        beside = names_beside(path)
        raise DatasetError("D04", f"the {what} is missing" + (f"; there is {beside}" if beside else ""), path)
    return read_header(path, position)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
