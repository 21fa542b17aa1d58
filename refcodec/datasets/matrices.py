"""Common to layouts with matrices in OpenCV's convention: intrinsics, world-to-camera poses, tables of numbers."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from refcodec.datasets import checks
from refcodec.datasets.jsonfile import read_text
from refcodec.errors import DatasetError

_MAX_SKEW = 1e-4  # of the focal length


def intrinsics(value: Any, what: str, path: Path) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy of a 3x3 or 4x4 matrix in pixels. Raises DatasetError D09."""
    matrix = checks.array(value, ((3, 3), (4, 4), (3, 4)), f"the intrinsics of {what}", "D09", path)
    if not np.isfinite(matrix).all():
        raise DatasetError("D09", f"the intrinsics of {what} hold NaN or infinity", path)
    if abs(matrix[0, 1]) > _MAX_SKEW * abs(matrix[0, 0]):
        raise DatasetError("D09", f"the intrinsics of {what} are skewed", path)
    return float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2])


def from_world_to_camera(value: Any, what: str, path: Path) -> np.ndarray:
    """Camera to world (3, 4), OpenGL axes, out of world to camera (4x4, 3x4), OpenCV axes. Raises DatasetError D06."""
    matrix = checks.pose(value, what, path)  # the same checks: a rotation and a translation
    rotation = matrix[:, :3]
    return np.column_stack([rotation.T * (1, -1, -1), -rotation.T @ matrix[:, 3]])


def from_opencv(value: Any, what: str, path: Path) -> np.ndarray:
    """Camera to world (3, 4), OpenGL axes, out of the same with OpenCV axes. Raises DatasetError D06."""
    matrix = checks.pose(value, what, path)
    return np.ascontiguousarray(matrix * (1, -1, -1, 1))


def numbers_of(path: Path) -> list[float]:
    """All numbers of a text file. Raises DatasetError D02."""
    try:
        return [float(word) for word in read_text(path).split()]
    except ValueError as error:
        raise DatasetError("D02", f"not a table of numbers: {error}", path) from error
