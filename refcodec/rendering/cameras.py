"""Pinhole cameras and their rays (spec chapter 9.1)."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UsageError


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera.

    width, height: pixels.
    fx, fy, cx, cy: focal lengths and principal point in pixels; the centre of the
        top-left pixel is at (0.5, 0.5).
    camera_to_world: 3x4 float64, columns right, up, backwards (OpenGL axes: the
        camera looks along its own -z) and the camera's position.
    name: a label for people. scene: of the file, that it looks at.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    camera_to_world: np.ndarray
    name: str = ""
    scene: int = 0

    def rays(self) -> tuple[np.ndarray, np.ndarray]:
        """Origins and unit directions of all pixels, row by row: two (h*w, 3) float32 (R-RND-03)."""
        x, y = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        local = np.stack(
            [(x - self.cx) / self.fx, -(y - self.cy) / self.fy, -np.ones_like(x)], axis=-1
        ).reshape(-1, 3)
        direction = local @ np.asarray(self.camera_to_world)[:3, :3].T
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        origin = np.broadcast_to(np.asarray(self.camera_to_world)[:3, 3], direction.shape)
        return origin.astype(np.float32), direction.astype(np.float32)

    def scaled(self, factor: float) -> Camera:
        """The same camera with its picture resized by `factor`. Raises UsageError where no pixel is left."""
        w, h = round(self.width * factor), round(self.height * factor)
        if w < 1 or h < 1:
            raise UsageError(f"a picture of {self.width}x{self.height} has no pixel left at 1/{1 / factor:g} of it")
        sx, sy = w / self.width, h / self.height
        return Camera(w, h, self.fx * sx, self.fy * sy, self.cx * sx, self.cy * sy,
                      self.camera_to_world, self.name, self.scene)
