"""A loaded dataset: frames, each a set of calibrated views (docs/datasets.md)."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from refcodec.datasets.lenses import Lens
from refcodec.datasets.pixels import TURNED, ImageHeader, area_mean, load_view, load_views, read_header, straight
from refcodec.rendering.cameras import Camera

__all__ = ["Dataset", "DatasetFrame", "ImageHeader", "MaskUse", "Notice", "Split", "TURNED", "View", "downscale_rgba",
           "load_views", "read_header"]

Split = Literal["train", "test"]
MaskUse = Literal["foreground", "ignore"]


@dataclass(frozen=True)
class Notice:
    """A warning about a dataset. code: W.., see docs/datasets.md; frame, camera: which one, None: all or several."""

    code: str
    message: str
    path: Path | None = None
    frame: int | None = None
    camera: int | None = None


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
    orientation: EXIF's number for how the stored picture is turned to be the calibrated one; 1: not at all.
    mask_use: "foreground": the mask multiplies alpha. "ignore": what it leaves black is neither
        trained on nor compared. mask_inverted: black is visible, anything else hidden.
    mask_scaled: the mask has another size than the picture and is to be scaled.
    """

    camera: Camera
    image: Path
    mask: Path | None
    split: Split
    camera_index: int
    lens: Lens | None = None
    image_position: int | None = None
    mask_position: int | None = None
    orientation: int = 1
    mask_use: MaskUse = "foreground"
    mask_inverted: bool = False
    mask_scaled: bool = False

    def load(self, downscale: float = 1) -> np.ndarray:
        """The picture as (h, w, 4) float32: straight-alpha sRGB RGBA in [0, 1].

        Alpha is 1 where the file has none; a foreground mask multiplies it. `downscale` averages
        areas of premultiplied colour (JPEGs are decoded at a reduced size where that is exact
        enough); the result has the size of `camera.scaled(1 / downscale)`. A lens's distortion
        is removed. `load_views` loads several at a time.
        Raises DatasetError D04 (missing), D05 (unreadable), D07 (image size), D12 (mask
        size), D16 (a video, without PyAV), and ValueError for a downscale below 1.
        """
        if not downscale >= 1:
            raise ValueError("downscale must be at least 1")
        return load_view(self, downscale)[0]

    def kept(self, downscale: float = 1) -> np.ndarray | None:
        """The pixels of `load` that count, bool (h, w): not hidden by a mask that says what to ignore. None: all."""
        if self.mask is None or self.mask_use != "ignore":
            return None
        return load_view(self, downscale)[1]

    @property
    def file_size(self) -> tuple[int, int]:
        """Width and height of the file's picture, upright as it was calibrated."""
        taken_by = self.lens or self.camera
        return taken_by.width, taken_by.height


@dataclass(frozen=True)
class DatasetFrame:
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
    has_masks: every view of the chosen frames has alpha or a mask of its foreground.
    source: what was given to `load_dataset`.
    layout: its name in docs/datasets.md. assumptions: what the files do not say and was
        taken to be so, for people, with the option that changes it. notices: warnings.
    """

    frames: tuple[DatasetFrame, ...]
    aabb: np.ndarray
    background: tuple[float, float, float]
    frame_rate: float | None
    has_masks: bool
    source: Path
    layout: str = ""
    assumptions: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()


def downscale_rgba(rgba: np.ndarray, width: int, height: int) -> np.ndarray:
    """Area-average a straight-alpha (h, w, 4) picture to (height, width, 4) float32.

    Colour is averaged premultiplied, so that what hides behind transparent pixels does
    not bleed into edges; pixels that end up with no coverage are (0, 0, 0, 0).
    """
    premultiplied = np.asarray(rgba, np.float32).copy()
    premultiplied[..., :3] *= premultiplied[..., 3:]
    return straight(area_mean(premultiplied, width, height))
