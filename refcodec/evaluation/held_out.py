"""Quality of a decoded field on held-out views."""
from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from ..arrays import A, Array
from ..fields import Ops, build, choose_ops
from ..rendering.cameras import Camera
from ..rendering.march import render_camera
from ..rendering.pictures import composite
from ..syntax.headers import SequenceHeader
from .metrics import psnr

HeldOut = tuple[Camera, np.ndarray] | tuple[Camera, np.ndarray, np.ndarray | None]


def view_psnr(header: SequenceHeader, tensors: Sequence[np.ndarray], occupancy: np.ndarray | None,
              views: Iterable[HeldOut], ops: Ops[A]) -> tuple[float | None, float | None]:
    """Mean PSNR in dB over views: of whole pictures, and inside the boxes of the masks.

    header: as the scene sees it. tensors: reconstructed int32 (C, z, y, x). views: cameras
    with straight-alpha sRGB pictures (h, w, 4) in [0, 1], and the pixels that count, bool
    (h, w), if not all. ops: array library of the field.
    None where there is no view, or none with a mask of its own.
    """
    values = [t.astype(np.float32) * np.float32(2.0**-i.frac_bits) for t, i in zip(tensors, header.tensors)]
    whole, boxed = [], []
    for rendered in render_views(header, values, occupancy, views, ops):
        if rendered.kept is not None:
            if rendered.kept.any():
                whole.append(psnr(rendered.picture[rendered.kept][None], rendered.truth[rendered.kept][None]))
            continue
        whole.append(psnr(rendered.picture, rendered.truth))
        if rendered.mask is not None:
            boxed.append(psnr(rendered.picture, rendered.truth, mask=rendered.mask))
    return (float(np.mean(whole)) if whole else None), (float(np.mean(boxed)) if boxed else None)


@dataclass(frozen=True, slots=True)
class RenderedView:
    """A view as the field shows it and as it is: (h, w, 3) sRGB in [0, 1] on the background.

    mask: (h, w) alpha, None where the view has none, or an empty one. seconds: of rendering. kept: the pixels that
    count, bool (h, w), None: all.
    """

    picture: np.ndarray
    truth: np.ndarray
    mask: np.ndarray | None
    seconds: float
    kept: np.ndarray | None = None


def render_views(header: SequenceHeader, values: Sequence[np.ndarray], occupancy: np.ndarray | None,
                 views: Iterable[HeldOut], ops: Ops[A]) -> Iterator[RenderedView]:
    """Renders a field from the cameras of views. values: float32 (C, z, y, x); the rest as in `view_psnr`."""
    field, background = build(header, values, ops), [c / 255 for c in header.background]
    for camera, rgba, *rest in views:
        started = time.perf_counter()
        picture = render_camera(field, occupancy, camera, header).rgb
        yield RenderedView(picture, composite(rgba, background), view_mask(rgba), time.perf_counter() - started,
                           rest[0] if rest else None)


def view_mask(rgba: np.ndarray) -> np.ndarray | None:
    """The alpha (h, w) of a view (h, w, 4), None where nothing is transparent, or everything."""
    alpha = rgba[..., 3]
    return alpha if alpha.min() < 1 and (alpha > 0).any() else None


def device_ops(device: str) -> Ops[Array]:
    """The array library that renders on a device: `TorchOps` for a GPU, `NumpyOps` for the CPU. Raises
    UsageError."""
    if device == "cpu":
        return choose_ops("numpy")
    from ..encoder.devices import pick_device
    from ..fields import TorchOps

    found = pick_device(device)
    return choose_ops("numpy") if found == "cpu" else cast("Ops[Array]", TorchOps(found))
