"""What a dataset is once loaded: frames, each a set of calibrated views (docs/datasets.md)."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from refcodec.datasets.lenses import Lens
from refcodec.datasets.videos import read_picture, video_header
from refcodec.errors import DatasetError
from refcodec.rendering.cameras import Camera

Split = Literal["train", "test"]

# 16-bit and floating-point pictures: Pillow would clip them to 8 bits without a word.
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True)
class View:
    """One picture of one frame, and the camera that took it.

    camera: intrinsics and pose at the full size of the picture that `load` gives.
    image: the picture, any 8-bit format that Pillow reads, or a video.
    mask: a picture whose first channel is the foreground's coverage, a video of such, or None.
    split: "train", or "test" for held-out views.
    camera_index: which camera of the rig; the same in every frame.
    lens: how the file's picture is distorted; None where it is the camera's.
    image_position, mask_position: which picture of a video, in presentation order from
        0; None for files of one picture.
    """

    camera: Camera
    image: Path
    mask: Path | None
    split: Split
    camera_index: int
    lens: Lens | None = None
    image_position: int | None = None
    mask_position: int | None = None

    def load(self, downscale: float = 1) -> np.ndarray:
        """The picture as (h, w, 4) float32: straight-alpha sRGB RGBA in [0, 1].

        Alpha is 1 where the file has none; a mask multiplies it. `downscale` averages
        areas of premultiplied colour; the result has the size of
        `camera.scaled(1 / downscale)`. A lens's distortion is removed.
        Raises DatasetError D04 (missing), D05 (unreadable), D07 (image size), D12 (mask
        size), D16 (a video, without PyAV), and ValueError for a downscale below 1.
        """
        if not downscale >= 1:
            raise ValueError("downscale must be at least 1")
        size = self.file_size
        rgba = _read_pixels(self.image, self.image_position, "RGBA", size, "D07").astype(np.float32) / 255
        if self.mask is not None:
            coverage = _read_pixels(self.mask, self.mask_position, "RGB", size, "D12")[..., 0]
            rgba[..., 3] *= coverage.astype(np.float32) / 255
        if self.lens is not None:
            rgba = self.lens.resample(rgba, self.camera)
        if downscale == 1:
            return rgba
        target = self.camera.scaled(1 / downscale)
        return downscale_rgba(rgba, target.width, target.height)

    @property
    def file_size(self) -> tuple[int, int]:
        """Width and height of the file's picture."""
        taken_by = self.lens or self.camera
        return taken_by.width, taken_by.height


@dataclass(frozen=True)
class Frame:
    """One instant. `number` orders the frames; `time` is the dataset's own time stamp."""

    number: int
    time: float
    views: tuple[View, ...]

    def split(self, name: Split) -> tuple[View, ...]:
        """The views of one split, by camera index."""
        return tuple(view for view in self.views if view.split == name)


@dataclass(frozen=True)
class Dataset:
    """A multi-view sequence (or a static scene: one frame).

    aabb: (2, 3) float64, lowest and highest corner of the scene's box.
    background: sRGB in 0..1, what transparent pixels are to be composited on.
    frame_rate: frames a second, None where the dataset does not say.
    has_masks: every view of the chosen frames has alpha or a mask.
    source: what was given to `load_dataset`.
    layout: its name in docs/datasets.md. assumptions: what the files do not say and was
        taken to be so, for people.
    """

    frames: tuple[Frame, ...]
    aabb: np.ndarray
    background: tuple[float, float, float]
    frame_rate: float | None
    has_masks: bool
    source: Path
    layout: str = ""
    assumptions: tuple[str, ...] = ()


def downscale_rgba(rgba: np.ndarray, width: int, height: int) -> np.ndarray:
    """Area-average a straight-alpha (h, w, 4) picture to (height, width, 4) float32.

    Colour is averaged premultiplied, so that what hides behind transparent pixels does
    not bleed into edges; pixels that end up with no coverage are (0, 0, 0, 0).
    """
    premultiplied = np.asarray(rgba, np.float64).copy()
    premultiplied[..., :3] *= premultiplied[..., 3:]
    rows = _area_weights(rgba.shape[0], height)
    columns = _area_weights(rgba.shape[1], width)
    mean = np.einsum("yh,hwc->ywc", rows, premultiplied, optimize=True)
    mean = np.einsum("xw,ywc->yxc", columns, mean, optimize=True)
    alpha = mean[..., 3:]
    mean[..., :3] = np.divide(mean[..., :3], alpha, out=np.zeros_like(mean[..., :3]), where=alpha > 0)
    resized: np.ndarray = mean.clip(0, 1).astype(np.float32)
    return resized


def _area_weights(size: int, target: int) -> np.ndarray:
    """(target, size): the share of each source pixel in each target pixel; rows sum to 1."""
    edges = np.linspace(0, size, target + 1)
    pixel = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return overlap.clip(min=0) * (target / size)


@dataclass(frozen=True)
class ImageHeader:
    """What the head of an image file says, without its pixels."""

    width: int
    height: int
    has_alpha: bool


def read_header(path: Path, position: int | None = None) -> ImageHeader:
    """Size and alpha of an image without decoding it, or of a video's. Raises DatasetError D05."""
    if position is not None:
        header = video_header(path)
        return ImageHeader(header.width, header.height, header.has_alpha)
    try:
        with Image.open(path) as image:
            has_alpha = "A" in image.getbands() or "transparency" in image.info
            width, height, mode = *image.size, image.mode
    except Exception as error:  # Pillow's parsers raise many types on damaged files
        raise DatasetError("D05", f"can't read the image: {error}", path) from error
    if mode in _DEEP_MODES:
        raise DatasetError("D05", f"pixels of type {mode}; 8 bits per channel are supported", path)
    return ImageHeader(width, height, has_alpha)


def _read_pixels(path: Path, position: int | None, mode: str, size: tuple[int, int], size_code: str) -> np.ndarray:
    header = read_header(path, position)
    if (header.width, header.height) != size:
        raise DatasetError(size_code, f"the picture is {header.width}x{header.height}, "
                           f"the camera {size[0]}x{size[1]}", path)
    if position is not None:
        return read_picture(path, position, mode)
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode))
    except Exception as error:  # truncated or damaged pixel data
        raise DatasetError("D05", f"can't decode the image: {error}", path) from error
