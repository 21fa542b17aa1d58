"""`load_dataset`: find the layout, read it, fit pictures to cameras, settle splits and box, check every picture."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from refcodec.datasets import checks
from refcodec.datasets.fitting import fit
from refcodec.datasets.hull import foreground_box
from refcodec.datasets.layout import (
    BoxAssumption,
    CubeAssumption,
    DatasetLayout,
    Draft,
    FrameDraft,
    FrameSelection,
    MaskOption,
)
from refcodec.datasets.model import Dataset, DatasetFrame
from refcodec.datasets.registry import find_layout
from refcodec.errors import DatasetError
from refcodec.rendering.cameras import Camera

# Held-out views where neither the dataset nor the caller names any: every 7th camera of
# a sequence, every 8th picture of a static scene (the habit of LLFF and its successors).
_HOLDOUT_SEQUENCE, _HOLDOUT_STATIC = 7, 8
_OTHER_BOX = " (--box gives another)"
_WORTH = 0.5  # of the volume of instant-ngp's cube: a box of more is no better


@dataclass
class Prepared:
    """A dataset as far as it was understood before splits and box are settled. errors: everything wrong so far."""

    layout: str
    draft: Draft
    errors: list[DatasetError]
    has_masks: bool


def load_dataset(path: str | Path, *, frames: FrameSelection = None, holdout: Collection[int] | None = None,
                 aabb: ArrayLike | None = None, masks: MaskOption = "auto") -> Dataset:
    """Load a static scene or a multi-view sequence; docs/datasets.md describes the layouts.

    frames: a slice counts positions in the sequence, a range names frame numbers.
    holdout: camera indices of the test views, in place of the dataset's own split; an
        empty collection trains on all views.
    aabb: (2, 3), in place of the dataset's box or the one its cameras suggest.
    masks: what mask files mean: "foreground", "ignore" (what is black is not trained on), "none" (they are not
        read), or "auto": as the layout has them, or as they look where the layout has both.

    Every chosen picture's header is read. Pixels are decoded only where the box is an assumption and there are
    masks: then it becomes the part of it that holds the foreground (`hull.foreground_box`); and a few masks to see
    what they mean. Raises DatasetError, code D01 to D17, for the first problem, with a count of the others.
    """
    source = Path(path)
    prepared = prepare(source, frames, masks)
    problems = checks.Problems()
    problems.errors = prepared.errors
    problems.raise_first()
    return within_foreground(settle(prepared.draft, prepared.layout, prepared.has_masks, source, holdout, aabb))


def prepare(source: Path, frames: FrameSelection, masks: MaskOption = "auto",
            on_header: Callable[[int, int, str], None] | None = None) -> Prepared:
    """Find and read a dataset, and fit its pictures to its cameras. Raises DatasetError where nothing can be read.

    on_header: called with the number of pictures whose header was read, of all, and the next one.
    """
    try:
        layout, draft = _read(source, frames)
        errors, has_masks = fit(draft, layout.masks, masks, on_header)
        return Prepared(layout.name, draft, [*draft.problems.errors, *errors], has_masks)
    except OSError as error:
        raise DatasetError("D02", f"can't read: {error.strerror or error}", error.filename or source) from error


def read_draft(source: Path, frames: FrameSelection) -> tuple[str, Draft]:
    """The name of the layout found at `source`, and what its files say. Raises DatasetError."""
    try:
        layout, draft = _read(source, frames)
    except OSError as error:
        raise DatasetError("D02", f"can't read: {error.strerror or error}", error.filename or source) from error
    return layout.name, draft


def _read(source: Path, frames: FrameSelection) -> tuple[DatasetLayout, Draft]:
    layout, found = find_layout(source)
    return layout, layout.read(source, found, frames)


def within_foreground(dataset: Dataset) -> Dataset:
    """The dataset in the part of its box that holds the foreground, where the box is an assumption and masks tell."""
    assumed = next((text for text in dataset.assumptions if isinstance(text, BoxAssumption)), None)
    if assumed is None or not dataset.has_masks:
        return dataset
    tight = foreground_box(dataset.frames, dataset.aabb)
    if tight is None:
        return dataset
    numbers = [f"{v:g}" for v in tight.ravel()]
    told = BoxAssumption(f"{assumed.removesuffix(_OTHER_BOX)}; of it the part with foreground: --box "
                         f"{' '.join(numbers)}")
    return dataclasses.replace(dataset, aabb=np.array(numbers, np.float64).reshape(2, 3), assumptions=tuple(
        told if text == assumed else text for text in dataset.assumptions))


def settle(draft: Draft, layout: str, has_masks: bool, source: Path, holdout: Collection[int] | None,
           aabb: ArrayLike | None) -> Dataset:
    """The dataset of a draft without problems: rig, splits, box, background. Raises D08, D10, D13, D15."""
    _check_rig(draft.frames, source)
    loaded = _split(draft, holdout, source)
    cameras = [view.camera for frame in loaded for view in frame.views]
    assumptions = [type(text)(text + _OTHER_BOX) if isinstance(text, BoxAssumption) else text
                   for text in draft.assumptions]
    if aabb is not None:
        scene_box = checks.box(aabb, source)
        assumptions = [text for text in assumptions if not isinstance(text, BoxAssumption)]
    elif draft.aabb is not None:
        scene_box, assumptions = _without_cube(draft.aabb, assumptions, cameras, source)
    else:
        if draft.foreign_poses:
            checks.check_axes(cameras, source)
        scene_box = checks.box_from_cameras(cameras, source)
        assumptions.append(BoxAssumption("the box is the cube around the largest ball that the median camera sees "
                                         "whole, where the cameras' axes meet" + _OTHER_BOX))
    checks.check_box([view.camera for view in loaded[0].views], scene_box, source)
    # What holds of most datasets first, what is peculiar to this one last, where it is seen.
    common = []
    if holdout is None and not draft.has_split:
        every = _HOLDOUT_SEQUENCE if draft.is_sequence else _HOLDOUT_STATIC
        common.append(f"every {every}th camera is held out (--holdout names others, or none)")
    if any(view.lens is not None for frame in loaded for view in frame.views):
        common.append("lens distortion is removed when the pictures are read (undistorted ones have to come without "
                      "k1, k2, …)")
    background = draft.background or ((1.0, 1.0, 1.0) if has_masks else (0.0, 0.0, 0.0))
    if draft.background is None:
        common.append("the background is " + ("white, as there are masks" if has_masks else "black, as there is no "
                                              "alpha") + " (`background` of a transforms file)")
    return Dataset(loaded, np.asarray(scene_box, np.float64), background, draft.frame_rate, has_masks, source, layout,
                   (*common, *assumptions), tuple(draft.notices))


def _without_cube(box: np.ndarray, assumptions: list[str], cameras: list[Camera], source: Path
                  ) -> tuple[np.ndarray, list[str]]:
    """A box that is no more than instant-ngp's cube becomes the one that the cameras suggest, if all stand in the cube.

    Most of such a cube is seen by no camera, and the field's resolution would be spread over it.
    """
    cube = next((text for text in assumptions if isinstance(text, CubeAssumption)), None)
    inside = all(((c.camera_to_world[:, 3] > box[0]) & (c.camera_to_world[:, 3] < box[1])).all() for c in cameras)
    if cube is None or not inside:
        return box, assumptions
    try:
        suggested = checks.box_from_cameras(cameras, source)
    except DatasetError:
        return box, assumptions
    low, high = np.maximum(box[0], suggested[0]), np.minimum(box[1], suggested[1])
    if not (low < high).all() or np.prod(high - low) > _WORTH * np.prod(box[1] - box[0]):
        return box, assumptions
    numbers = " ".join(f"{v:g}" for v in box.ravel())
    told = BoxAssumption(
            "the box is the cube around the largest ball that the median camera sees whole, where the cameras' axes "
            "meet, "
            f"instead of instant-ngp's cube of side {box[1][0] - box[0][0]:.3g}, within which all cameras stand (--box "
            f"{numbers} gives that)")
    return np.stack([low, high]), [told if text == cube else text for text in assumptions]


def _check_rig(frames: list[FrameDraft], source: Path) -> None:
    """Every frame shows the same cameras, once each, at the same sizes."""
    if len(frames) > 1 and all(len(frame.views) == 1 for frame in frames):
        raise DatasetError("D10", "every frame has one view only: a video from one camera (a monocular capture) is "
                                  "not a "
                           "multi-view sequence", source)
    first: dict[int, tuple[int, int]] = {}
    for frame in frames:
        rig = {view.camera_index: (view.camera.width, view.camera.height) for view in frame.views}
        if len(rig) != len(frame.views):
            raise DatasetError("D10", f"frame {frame.number} shows a camera more than once", source)
        first = first or rig
        if rig.keys() != first.keys():
            odd = sorted(rig.keys() ^ first.keys())[0]
            raise DatasetError("D10", f"the views differ between frames: camera {odd} is in only one of "
                               f"frames {frames[0].number} and {frame.number}", source)
        for index, size in rig.items():
            if size != first[index]:
                raise DatasetError("D10", f"the views differ between frames: camera {index} changes its "
                                   f"size at frame {frame.number}", source)


def _split(draft: Draft, holdout: Collection[int] | None, source: Path) -> tuple[DatasetFrame, ...]:
    """Frames with every view's split settled and views sorted by camera. Raises DatasetError D08."""
    indices = sorted(view.camera_index for view in draft.frames[0].views)
    if holdout is not None:
        test = set(holdout)
        unknown = sorted(test - set(indices))
        if unknown:
            raise DatasetError("D08", f"camera {unknown[0]} is to be held out but does not exist; the "
                               f"cameras are {indices[0]} to {indices[-1]}", source)
    elif draft.has_split:
        test = None
    else:
        test = set(indices[::_HOLDOUT_SEQUENCE if draft.is_sequence else _HOLDOUT_STATIC])

    frames = []
    for frame in draft.frames:
        views = sorted(frame.views, key=lambda view: view.camera_index)
        if test is not None:
            views = [dataclasses.replace(view, split="test" if view.camera_index in test else "train")
                     for view in views]
        if not any(view.split == "train" for view in views):
            raise DatasetError("D08", f"no view of frame {frame.number} is left to train on", source)
        frames.append(DatasetFrame(frame.number, frame.time, tuple(views)))
    return tuple(frames)
