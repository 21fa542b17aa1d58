"""The visual hull of a frame's masks, coarsely: where the foreground is, and how well masks, poses and box agree."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from refcodec.datasets import checks
from refcodec.datasets.model import DatasetFrame, View
from refcodec.rendering.cameras import Camera

MIN_VIEWS = 4
MIN_RECALL = 0.7  # of the median view's foreground, that the hull has to explain
_PICTURE = 48  # pixels along the coarse masks
_CELL, _SIDES = 1.5, (16, 80)  # distance of the hull's points in these pixels; points along the box
_SEEN = 0.25  # of the views (or MIN_VIEWS of them) must show a point that is to count: one view alone carves nothing
_DISSENT = 0.1  # of the views may deny a point of the hull: masks have holes


class Hull(NamedTuple):
    """recalls: for each view the share of its foreground, within the box, that the hull of all projects onto.
    bounds: (2, 3), the hull's box; None where the hull is empty."""

    recalls: list[float]
    bounds: np.ndarray | None

    @property
    def agrees(self) -> bool:
        """Whether the hull explains most of the median view's foreground."""
        return float(np.median(self.recalls)) >= MIN_RECALL


def coarse_mask(alpha: np.ndarray, share: float = 0.5) -> np.ndarray:
    """Mask of the squares, `_PICTURE` along the longer side, in which more than `share` of the pixels have alpha above
    a half."""
    step = max(1, -(-max(alpha.shape) // _PICTURE))
    h, w = -(-alpha.shape[0] // step), -(-alpha.shape[1] // step)
    padded = np.pad(alpha > 0.5, ((0, h * step - alpha.shape[0]), (0, w * step - alpha.shape[1])))
    mask: np.ndarray = padded.reshape(h, step, w, step).mean((1, 3)) > share
    return mask


def visual_hull(cameras: Sequence[Camera], masks: Sequence[np.ndarray], box: np.ndarray) -> Hull | None:
    """The hull, within `box` (2, 3), of the `coarse_mask` of each camera.

    None where the box is too large for the hull's points to lie as close as the masks' pixels.
    """
    cells = []
    for c, mask in zip(cameras, masks, strict=True):
        distance = max(1e-12, float(np.linalg.norm(c.camera_to_world[:, 3] - box.mean(0))))
        cells.append(c.fx * mask.shape[1] / c.width / distance)
    side = int(np.ceil(float((box[1] - box[0]).max()) * np.median(cells) / _CELL)) + 1
    if side > _SIDES[1]:
        return None
    side = max(side, _SIDES[0])
    points = checks.box_points(box, side)
    votes, seen, places = np.zeros(len(points), int), np.zeros(len(points), int), []
    for c, mask in zip(cameras, masks, strict=True):
        u, v, _ = checks.project(c, points)
        inside = checks.sees(c, points)
        rows = np.where(inside, v * mask.shape[0] / c.height, 0).astype(int).clip(0, mask.shape[0] - 1)
        columns = np.where(inside, u * mask.shape[1] / c.width, 0).astype(int).clip(0, mask.shape[1] - 1)
        places.append((inside, rows, columns))
        seen += inside
        votes += inside & _grown(mask)[rows, columns]
    hull = (seen >= min(MIN_VIEWS, _SEEN * len(cameras))) & (seen - votes <= _DISSENT * seen)
    recalls = []
    for mask, (inside, rows, columns) in zip(masks, places, strict=True):
        of_box, covered = np.zeros_like(mask), np.zeros_like(mask)
        of_box[rows[inside], columns[inside]] = True
        covered[rows[hull & inside], columns[hull & inside]] = True
        wanted = mask & of_box
        recalls.append(float(_grown(covered)[wanted].mean()) if wanted.any() else 1.0)
    if not hull.any():
        return Hull(recalls, None)
    cell, own = (box[1] - box[0]) / (side - 1), points[hull]
    return Hull(recalls, np.stack([np.maximum(own.min(0) - cell, box[0]), np.minimum(own.max(0) + cell, box[1])]))


def foreground_box(frames: Iterable[DatasetFrame], box: np.ndarray) -> np.ndarray | None:
    """The part of `box` that holds the foreground of all frames' training views: (2, 3).

    None where masks do not tell, or contradict each other. Decodes every training view of the frames.
    """
    found = []
    with ThreadPoolExecutor() as pool:
        for frame in frames:
            views = frame.split("train")
            told = [(view.camera, mask) for view, mask in zip(views, pool.map(_mask_of, views))
                    if mask.any() and not mask.all()]
            hull = (visual_hull([camera for camera, _ in told], [mask for _, mask in told], box)
                    if len(told) >= MIN_VIEWS else None)
            if hull is None or hull.bounds is None or not hull.agrees:
                return None
            found.append(hull.bounds)
    return checks.union(found)


def _mask_of(view: View) -> np.ndarray:
    return coarse_mask(view.load()[..., 3], 0)  # nothing is too thin to count


def _grown(mask: np.ndarray) -> np.ndarray:
    """One pixel to every side: the hull's points are as coarse as the masks."""
    padded = np.pad(mask, 1)
    neighbours = [padded[y:y + mask.shape[0], x:x + mask.shape[1]] for y in range(3) for x in range(3)]
    grown: np.ndarray = np.max(neighbours, axis=0)
    return grown
