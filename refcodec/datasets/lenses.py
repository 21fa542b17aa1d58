"""Lens models, and pictures without their distortion (docs/datasets.md, Lenses).

Models and parameters are COLMAP's. Every model says where in the picture a direction
falls, which is what resampling needs; none has to be inverted.
"""
from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refcodec.errors import DatasetError
from refcodec.rendering.cameras import Camera

# name: (identifier in COLMAP's binary files, number of focal lengths, number of further parameters)
MODELS = {
    "SIMPLE_PINHOLE": (0, 1, 0), "PINHOLE": (1, 2, 0), "SIMPLE_RADIAL": (2, 1, 1), "RADIAL": (3, 1, 2),
    "OPENCV": (4, 2, 4), "OPENCV_FISHEYE": (5, 2, 4), "FULL_OPENCV": (6, 2, 8), "FOV": (7, 2, 1),
    "SIMPLE_RADIAL_FISHEYE": (8, 1, 1), "RADIAL_FISHEYE": (9, 1, 2), "THIN_PRISM_FISHEYE": (10, 2, 8),
    "RAD_TAN_THIN_PRISM_FISHEYE": (11, 2, 12), "SIMPLE_DIVISION": (12, 1, 1), "DIVISION": (13, 2, 1),
    "SIMPLE_FISHEYE": (14, 1, 0), "FISHEYE": (15, 2, 0), "EUCM": (16, 2, 2),
}
# Undistorting a wide fisheye at the resolution of its centre has no bound; the limit is this multiple of the field that
# the focal length alone would give.
_MAX_GROWTH = 2.0
_MIN_SHARE = 0.5  # of the undistorted picture's sides; parameters with which less is left are wrong
_SAMPLES = 65  # a side, where a whole picture is examined
_STRIP = 1 << 16  # pixels resampled at a time


@dataclass(frozen=True)
class Lens:
    """A camera with a lens, as a calibration describes it.

    model: a key of MODELS. width, height, fx, fy, cx, cy: of the picture as it was
    taken, pixels, the top-left pixel's centre at (0.5, 0.5). parameters: what the model
    has beyond these, in COLMAP's order.
    """

    model: str
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    parameters: tuple[float, ...] = ()

    @property
    def is_pinhole(self) -> bool:
        """Whether the picture is free of distortion already."""
        if self.model in ("SIMPLE_FISHEYE", "FISHEYE", "EUCM") or self.model.endswith("_FISHEYE"):
            return False
        return not any(self.parameters)

    def project(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixel coordinates of the directions (x right, y down, 1 forward), all of one shape."""
        with np.errstate(all="ignore"):  # what a model can't map comes out as NaN or infinity
            x, y = distort(self.model, self.parameters, x, y)
        return self.fx * x + self.cx, self.fy * y + self.cy

    def undistorted(self, camera_to_world: np.ndarray, name: str, path: Path) -> Camera:
        """The pinhole camera whose picture this lens's can be resampled to.

        It keeps focal lengths and principal axis; its picture is the largest rectangle
        (of the proportions of the axes' ends) that the lens's picture fills, and at most
        twice as far to each side as the focal length suggests.
        Raises DatasetError D11 where the model does not map the picture one to one.
        """
        try:
            width, height, cx, cy = _rectangle(self)
        except ValueError as error:
            values = ", ".join(f"{p:g}" for p in self.parameters)
            raise DatasetError("D11", f"the lens of {name} ({self.model} {values}) {error}", path) from error
        return Camera(width, height, self.fx, self.fy, cx, cy, camera_to_world, name)

    def _reach(self, dx: int, dy: int) -> float:
        """Distance to the picture's edge along an axis of the undistorted plane."""
        side = {(-1, 0): self.cx / self.fx, (1, 0): (self.width - self.cx) / self.fx,
                (0, -1): self.cy / self.fy, (0, 1): (self.height - self.cy) / self.fy}[dx, dy]

        def inside(t: float) -> bool:
            return bool(self._inside(*self.project(np.array([dx * t]), np.array([dy * t])))[0])

        steps = np.linspace(0, _MAX_GROWTH * side, 1025)
        within = self._inside(*self.project(dx * steps, dy * steps))
        if within.all():
            return float(steps[-1])
        first = int(np.argmin(within))
        if first == 0:
            return 0.0
        low, high = float(steps[first - 1]), float(steps[first])
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if inside(middle) else (low, middle)
        return low

    def _fills(self, sides: list[float], share: float) -> bool:
        """Whether the rectangle is covered by the picture, without folds."""
        left, right, up, down = (side * share for side in sides)
        x, y = np.meshgrid(np.linspace(-left, right, _SAMPLES), np.linspace(-up, down, _SAMPLES))
        u, v = self.project(x, y)
        if not self._inside(u, v).all():
            return False
        # Orientation of every cell of the mapped grid: a fold turns one over.
        mapped = np.stack([u, v])
        right, below = mapped[:, :-1, 1:] - mapped[:, :-1, :-1], mapped[:, 1:, :-1] - mapped[:, :-1, :-1]
        area = right[0] * below[1] - right[1] * below[0]
        return bool((area > 0).all())

    def _inside(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        slack = 1e-6  # pixels
        with np.errstate(invalid="ignore"):
            return (u >= -slack) & (u <= self.width + slack) & (v >= -slack) & (v <= self.height + slack)

    def resample(self, pixels: np.ndarray, camera: Camera, scale: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
        """A premultiplied (h, w, channels) float32 picture of this lens as `camera` sees it.

        Bilinear; beyond the outermost pixel centres the edge is repeated. camera: of
        `undistorted`, scaled or not, or any with the same principal axis. scale: of the
        picture's width and height against the lens's.
        """
        out = np.empty((camera.height, camera.width, pixels.shape[2]), np.float32)
        rows = max(1, _STRIP // camera.width)
        for top in range(0, camera.height, rows):
            y, x = np.mgrid[top:min(top + rows, camera.height), 0:camera.width] + 0.5
            u, v = self.project((x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy)
            out[top:top + rows] = _bilinear(pixels, u * scale[0] - 0.5, v * scale[1] - 0.5)
        return out

    def scaled(self, x: float, y: float, width: int, height: int) -> Lens:
        """The lens of pictures of another size, with `x` and `y` times the pixels along the axes."""
        return dataclasses.replace(self, width=width, height=height, fx=self.fx * x, fy=self.fy * y, cx=self.cx * x,
                                   cy=self.cy * y)


@functools.lru_cache(maxsize=1024)  # the views of a sequence share their lenses
def _rectangle(lens: Lens) -> tuple[int, int, float, float]:
    """Width, height and principal point of the undistorted picture. Raises ValueError."""
    left, right, up, down = sides = [lens._reach(*to) for to in ((-1, 0), (1, 0), (0, -1), (0, 1))]
    if min(sides) <= 0:
        raise ValueError("puts the principal point outside of its picture")
    low, high = 0.0, 1.0
    if not lens._fills(sides, high):
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if lens._fills(sides, middle) else (low, middle)
        high = low
    width, height = math.floor((left + right) * high * lens.fx + 1e-6), math.floor((up + down) * high * lens.fy + 1e-6)
    if high < _MIN_SHARE or width < 1 or height < 1:
        raise ValueError("does not map its picture one to one: calibrate again, or leave the parameters out if the "
                         "pictures are undistorted")
    return width, height, left * high * lens.fx, up * high * lens.fy


def _bilinear(picture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Values at (u, v), where pixel centres are integers."""
    height, width = picture.shape[:2]
    u, v = u.clip(0, width - 1), v.clip(0, height - 1)
    left, top = u.astype(np.int32), v.astype(np.int32)
    a, b = (u - left).astype(np.float32)[..., None], (v - top).astype(np.float32)[..., None]
    pixels = picture.reshape(-1, picture.shape[2])
    corner = top * np.int64(width) + left
    right, down = (left < width - 1).astype(np.int64), np.where(top < height - 1, width, 0)
    upper_left, lower_left = pixels.take(corner, 0), pixels.take(corner + down, 0)
    upper = upper_left + (pixels.take(corner + right, 0) - upper_left) * a
    lower = lower_left + (pixels.take(corner + down + right, 0) - lower_left) * a
    mixed: np.ndarray = upper + (lower - upper) * b
    return mixed


def distort(model: str, parameters: tuple[float, ...], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of directions (x, y, 1) on the image plane of focal length 1."""
    if model in ("SIMPLE_PINHOLE", "PINHOLE"):
        return x, y
    if model in ("SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV"):
        k1, k2, p1, p2, k3, k4, k5, k6 = (0.0,) * 8
        if model == "FULL_OPENCV":
            k1, k2, p1, p2, k3, k4, k5, k6 = parameters
        elif model == "OPENCV":
            k1, k2, p1, p2 = parameters
        else:
            k1, k2 = (*parameters, 0.0)[:2]
        r2 = x * x + y * y
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        return (x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y))
    if model == "FOV":
        (omega,) = parameters
        r = np.hypot(x, y)
        if omega == 0:
            return x, y
        steep = 2 * math.tan(omega / 2)
        scale = np.divide(np.arctan(r * steep), r * omega, out=np.full_like(r, steep / omega), where=r > 1e-9)
        return x * scale, y * scale
    if model in ("SIMPLE_DIVISION", "DIVISION"):
        (k,) = parameters
        scale = 2 / (1 + np.sqrt(1 - 4 * k * (x * x + y * y)))
        return x * scale, y * scale
    if model == "EUCM":
        alpha, beta = parameters
        scale = 1 / (alpha * np.sqrt(beta * (x * x + y * y) + 1) + 1 - alpha)
        return x * scale, y * scale
    return _distort_fisheye(model, parameters, x, y)


def _distort_fisheye(model: str, parameters: tuple[float, ...], x: np.ndarray,
                     y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The models of COLMAP's that act on angles: (x, y) scaled to have the angle as its length."""
    r = np.hypot(x, y)
    scale = np.divide(np.arctan(r), r, out=np.ones_like(r), where=r > 1e-9)
    x, y = x * scale, y * scale
    t2 = x * x + y * y
    if model == "RAD_TAN_THIN_PRISM_FISHEYE":
        *k, p0, p1, s0, s1, s2, s3 = parameters
        radial = 1 + t2 * (k[0] + t2 * (k[1] + t2 * (k[2] + t2 * (k[3] + t2 * (k[4] + t2 * k[5])))))
        x, y = x * radial, y * radial
        r2 = x * x + y * y
        return (x + 2 * p1 * x * y + p0 * (r2 + 2 * x * x) + r2 * (s0 + r2 * s1),
                y + 2 * p0 * x * y + p1 * (r2 + 2 * y * y) + r2 * (s2 + r2 * s3))
    if model == "THIN_PRISM_FISHEYE":
        k1, k2, p1, p2, k3, k4, sx, sy = parameters
    else:  # SIMPLE_FISHEYE and FISHEYE have none, the radial ones one or two, OpenCV's four
        k1, k2, k3, k4 = (*parameters, 0.0, 0.0, 0.0, 0.0)[:4]
        p1 = p2 = sx = sy = 0.0
    radial = 1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))
    return (x * radial + 2 * p1 * x * y + p2 * (t2 + 2 * x * x) + sx * t2,
            y * radial + 2 * p2 * x * y + p1 * (t2 + 2 * y * y) + sy * t2)
