"""`load_dataset`: find the layout, read it, settle splits and box, check every picture."""
from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from refcodec.datasets import checks
from refcodec.datasets.actorshq import is_actorshq, read_actorshq, scales_of
from refcodec.datasets.colmap import find_model, read_colmap
from refcodec.datasets.hull import foreground_box
from refcodec.datasets.layout import Draft, FrameDraft, FrameSelection
from refcodec.datasets.llff import FILE as LLFF_FILE, read_llff
from refcodec.datasets.model import Dataset, Frame
from refcodec.datasets.projections import find_idr, find_middlebury, read_idr, read_middlebury
from refcodec.datasets.rerf import is_nhr, is_rerf, read_nhr, read_rerf
from refcodec.datasets.transforms import find_documents, find_numbered_documents, read_transforms
from refcodec.errors import DatasetError

# Held-out views where neither the dataset nor the caller names any: every 7th camera of
# a sequence, every 8th picture of a static scene (the habit of LLFF and its successors).
_HOLDOUT_SEQUENCE, _HOLDOUT_STATIC = 7, 8
_OF_BOX = "the box "  # so begins the assumption of a box


def load_dataset(path: str | Path, *, frames: FrameSelection = None, holdout: Collection[int] | None = None,
                 aabb: ArrayLike | None = None) -> Dataset:
    """Load a static scene or a multi-view sequence; docs/datasets.md describes the layouts.

    frames: a slice counts positions in the sequence, a range names frame numbers.
    holdout: camera indices of the test views, in place of the dataset's own split; an
        empty collection trains on all views.
    aabb: (2, 3), in place of the dataset's box or the one its cameras suggest.

    Every chosen picture's header is read. Pixels are decoded only where the box is an assumption and there are
    masks: then it becomes the part of it that holds the foreground (`hull.foreground_box`).
    Raises DatasetError, code D01 to D16, for the first problem, with a count of the others.
    """
    source = Path(path)
    layout, draft = read_draft(source, frames)
    image_errors, has_masks = checks.image_problems(v for frame in draft.frames for v in frame.views)
    draft.problems.errors += image_errors
    draft.problems.raise_first()
    return within_foreground(settle(draft, layout, has_masks, source, holdout, aabb))


def within_foreground(dataset: Dataset) -> Dataset:
    """The dataset in the part of its box that holds the foreground, where the box is an assumption and masks tell."""
    assumed = next((text for text in dataset.assumptions if text.startswith(_OF_BOX)), None)
    if assumed is None or not dataset.has_masks:
        return dataset
    tight = foreground_box(dataset.frames, dataset.aabb)
    if tight is None:
        return dataset
    numbers = [f"{v:g}" for v in tight.ravel()]
    told = f"{assumed}; of it the part with foreground: --box {' '.join(numbers)}"
    return dataclasses.replace(dataset, aabb=np.array(numbers, np.float64).reshape(2, 3), assumptions=tuple(
        told if text == assumed else text for text in dataset.assumptions))


def read_draft(source: Path, frames: FrameSelection) -> tuple[str, Draft]:
    """The name of the layout found at `source`, and what its files say. Raises DatasetError."""
    try:
        return _read(source, frames)
    except OSError as error:
        raise DatasetError("D02", f"can't read: {error.strerror or error}", error.filename or source) from error


def settle(draft: Draft, layout: str, has_masks: bool, source: Path, holdout: Collection[int] | None,
           aabb: ArrayLike | None) -> Dataset:
    """The dataset of a draft without problems: rig, splits, box, background. Raises D08, D10, D13, D15."""
    _check_rig(draft.frames, source)
    loaded = _split(draft, holdout, source)
    cameras = [view.camera for frame in loaded for view in frame.views]
    assumptions = list(draft.assumptions)
    if aabb is not None:
        scene_box = checks.box(aabb, source)
        assumptions = [text for text in assumptions if not text.startswith(_OF_BOX)]
    elif draft.aabb is not None:
        scene_box = draft.aabb
    else:
        scene_box = checks.box_from_cameras(cameras, source)
        assumptions.append("the box is the cube around the largest ball that the median camera sees whole, where the "
                           "cameras' axes meet")
    checks.check_box((view.camera for view in loaded[0].views), scene_box, source)
    if holdout is None and not draft.has_split:
        every = _HOLDOUT_SEQUENCE if draft.is_sequence else _HOLDOUT_STATIC
        assumptions.append(f"every {every}th camera is held out")
    if any(view.lens is not None for frame in loaded for view in frame.views):
        assumptions.append("lens distortion is removed when the pictures are read")
    background = draft.background or ((1.0, 1.0, 1.0) if has_masks else (0.0, 0.0, 0.0))
    if draft.background is None:
        assumptions.append("the background is " + ("white, as there are masks" if has_masks else "black, as there is "
                                                   "no alpha"))
    return Dataset(loaded, np.asarray(scene_box, np.float64), background, draft.frame_rate, has_masks, source, layout,
                   tuple(assumptions))


def _read(source: Path, frames: FrameSelection) -> tuple[str, Draft]:
    if not source.exists():
        raise DatasetError("D01", "there is no such file or folder", source)
    if source.is_dir():
        if is_actorshq(source):
            return "ActorsHQ", read_actorshq(source, frames)
        if is_rerf(source):
            return "ReRF, prepared", read_rerf(source, frames)
        if is_nhr(source):
            return "ReRF, NHR", read_nhr(source, frames)
    elif source.suffix.lower() != ".json":
        raise DatasetError("D03", "of files, only .json files can be datasets", source)
    if documents := find_documents(source):
        return "transforms", read_transforms(documents, frames)
    if model := find_model(source):
        return "COLMAP", read_colmap(source, model, frames)
    if (source / LLFF_FILE).is_file():
        return "LLFF", read_llff(source, frames)
    if cameras := find_idr(source):
        return "DTU, NeuS", read_idr(source, cameras, frames)
    if cameras := find_middlebury(source):
        return "Middlebury", read_middlebury(source, cameras, frames)
    # After the calibrations of other programs, which may lie beside any number of JSON files.
    if documents := find_numbered_documents(source):
        return "transforms", read_transforms(documents, frames)
    if scales := scales_of(source):
        raise DatasetError("D03", f"an ActorsHQ sequence: choose one of its scales, {', '.join(scales)}", source)
    raise DatasetError("D03", "no known layout: looked for transforms.json, transforms_train.json, one transforms "
                       "file a frame, calibration.csv with rgbs/, cams_<frame>.json, CamPose.inf, a COLMAP model "
                       "in sparse/0, poses_bounds.npy, cameras.npz, *_par.txt", source)


def _check_rig(frames: list[FrameDraft], source: Path) -> None:
    """Every frame shows the same cameras, once each, at the same sizes."""
    if len(frames) > 1 and all(len(frame.views) == 1 for frame in frames):
        raise DatasetError("D10", "every frame has one view only: a video from one camera is not a "
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


def _split(draft: Draft, holdout: Collection[int] | None, source: Path) -> tuple[Frame, ...]:
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
        frames.append(Frame(frame.number, frame.time, tuple(views)))
    return tuple(frames)
