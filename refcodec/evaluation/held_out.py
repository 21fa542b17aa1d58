"""Quality of a decoded field on views that training has not seen."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..fields import Ops, build
from ..rendering.cameras import Camera
from ..rendering.march import render_camera
from ..rendering.pictures import composite
from ..syntax.headers import SequenceHeader
from .metrics import mask_box, psnr


def view_psnr(header: SequenceHeader, tensors: Sequence[np.ndarray], occupancy: np.ndarray | None,
              views: Iterable[tuple[Camera, np.ndarray]], ops: Ops | None) -> tuple[float | None, float | None]:
    """Mean PSNR in dB over views: of whole pictures, and inside the boxes of the masks.

    header: as the scene sees it. tensors: reconstructed int32 (C, z, y, x). views: cameras
    with straight-alpha sRGB pictures (h, w, 4) in [0, 1]. ops: array library of the field.
    None where there is no view, or none with a mask of its own.
    """
    values = [t.astype(np.float32) * np.float32(2.0**-i.frac_bits) for t, i in zip(tensors, header.tensors)]
    field, background = build(header, values, ops), [c / 255 for c in header.background]
    whole, boxed = [], []
    for camera, rgba in views:
        picture, truth = render_camera(field, occupancy, camera, header).rgb, composite(rgba, background)
        whole.append(psnr(picture, truth))
        if rgba[..., 3].min() < 1 and mask_box(rgba[..., 3]) is not None:
            boxed.append(psnr(picture, truth, mask=rgba[..., 3]))
    return (float(np.mean(whole)) if whole else None), (float(np.mean(boxed)) if boxed else None)
