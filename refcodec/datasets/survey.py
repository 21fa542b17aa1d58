"""`refcodec dataset check`: the interpretation of a dataset, and all its errors and warnings.

Errors are those that `load_dataset` raises (D01 to D17), all of them at once. Warnings
(W01 to W18) are found on reading and by looking at cameras, box and pixels; docs/datasets.md lists both.
"""
from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from refcodec.datasets import checks, hull
from refcodec.datasets.layout import Draft, FrameDraft, FrameSelection, MaskOption
from refcodec.datasets.loading import prepare, settle, within_foreground
from refcodec.datasets.model import Dataset, DatasetFrame, Notice, View
from refcodec.datasets.pixels import load_view
from refcodec.errors import DatasetError
from refcodec.rendering.cameras import Camera

OnProgress = Callable[[int, int, str], None]
THUMBNAIL = 192  # pixels, the longer side
_VIEW_RECALL = 0.6  # of the foreground, that the hull has to explain
_MIN_TRAIN_VIEWS = 8
_DARK = 0.02  # mean of sRGB values
_FLAT = 1.5 / 255  # standard deviation
_FULL = 0.999
_OUTSIDE = 0.02  # of the foreground
_MIN_BOX_IN_VIEW, _MIN_BOX_AREA = 0.25, 0.01
_SAME_POSE = 1e-6
_THREADS = 8
_TIGHTER = 0.5  # of the box's volume: what is worth saying


@dataclass(frozen=True)
class DatasetFinding:
    """An error or a warning. code: D.. (an error: the dataset can't be used) or W.. (a warning)."""

    code: str
    message: str
    path: Path | None = None
    frame: int | None = None
    camera: int | None = None

    @property
    def is_error(self) -> bool:
        return self.code.startswith("D")


@dataclass
class SurveyedView:
    """Statistics of a view's pixels.

    thumbnail: (h, w, 4) float32, straight alpha, at most THUMBNAIL pixels to a side.
    coverage: share of the picture with alpha above one half.
    """

    view: View
    frame: int
    thumbnail: np.ndarray
    coverage: float
    digest: bytes

    def finding(self, code: str, message: str) -> DatasetFinding:
        return DatasetFinding(code, message, self.view.image, self.frame, self.view.camera_index)


@dataclass
class Survey:
    """The result of a check.

    views: of the first frame, as far as they were understood. box: (2, 3), or None where
    there is none. tight_box: of the foreground of the sampled frames, where it is much
    smaller than the box and masks tell. dataset: None where it can't be used. blind: indices of the cameras
    that do not see the box.
    """

    source: Path
    layout: str | None = None
    numbers: list[int] = field(default_factory=list)
    views: tuple[View, ...] = ()
    box: np.ndarray | None = None
    dataset: Dataset | None = None
    tight_box: np.ndarray | None = None
    moving: list[int] = field(default_factory=list)
    blind: list[int] = field(default_factory=list)
    findings: list[DatasetFinding] = field(default_factory=list)
    pictures: list[SurveyedView] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        return not any(finding.is_error for finding in self.findings)

    def add(self, error: DatasetError) -> None:
        message = str(error).removeprefix(f"{error.code}: ").removesuffix(f" [{error.path}]")
        self.findings.append(DatasetFinding(error.code, message, Path(error.path) if error.path else None))


def survey(path: str | Path, *, frames: FrameSelection = None, holdout: Collection[int] | None = None,
           aabb: ArrayLike | None = None, samples: int = 3, masks: MaskOption = "auto",
           on_progress: OnProgress | None = None) -> Survey:
    """Look a dataset over; arguments as of `load_dataset`. Never raises DatasetError.

    samples: how many frames have their pixels looked at, evenly chosen from first to last. 0: none, not even to
        find the foreground that an assumed box shrinks to.
    on_progress: called with the number of pictures looked at, of all, and the next one;
        first for all headers, then for the pixels of the samples.
    """
    result = Survey(Path(path))
    try:
        prepared = prepare(result.source, frames, masks, on_progress)
    except DatasetError as error:
        result.add(error)
        return result
    result.layout, draft, has_masks = prepared.layout, prepared.draft, prepared.has_masks
    for problem in prepared.errors:
        result.add(problem)
    result.findings += map(_finding, draft.notices)
    result.numbers = [frame.number for frame in draft.frames]
    first = draft.frames[0].views
    try:
        dataset = settle(draft, result.layout, has_masks, result.source, holdout, aabb)
        if result.usable and samples:
            dataset = within_foreground(dataset)
    except DatasetError as error:
        # Views that could not be read are missing from their frames: that is no error of its own.
        if not (prepared.errors and error.code in ("D08", "D10")):
            result.add(error)
        result.views = tuple(sorted(first, key=lambda view: view.camera_index))
        result.box = _box(draft, aabb, result)
    else:
        result.views, result.box = dataset.frames[0].views, dataset.aabb
        if result.usable:
            result.dataset = dataset
    _look_at_cameras(result, draft.frames)
    unreadable = {finding.path for finding in result.findings if finding.is_error}
    _look_at_pictures(result, draft.frames, has_masks, unreadable, samples, on_progress)
    return result


def warnings_of(dataset: Dataset, samples: int = 1, on_progress: OnProgress | None = None) -> list[DatasetFinding]:
    """The warnings of `survey` about a loaded dataset, W01 to W18; samples: frames whose pixels are looked at."""
    result = Survey(dataset.source, dataset.layout, [frame.number for frame in dataset.frames], dataset.frames[0].views,
                    dataset.aabb, dataset)
    result.findings += map(_finding, dataset.notices)
    _look_at_cameras(result, dataset.frames)
    _look_at_pictures(result, dataset.frames, dataset.has_masks, set(), samples, on_progress)
    return result.findings


def _finding(notice: Notice) -> DatasetFinding:
    return DatasetFinding(notice.code, notice.message, notice.path, notice.frame, notice.camera)


def _counted(views: Sequence[tuple[int, View]], what: str, on_progress: OnProgress | None) -> Iterator[View]:
    """The views of (frame number, view), reporting each."""
    for done, (number, view) in enumerate(views):
        if on_progress:
            on_progress(done, len(views), f"{what}frame {number}, camera {view.camera_index}")
        yield view


def _box(draft: Draft, aabb: ArrayLike | None, result: Survey) -> np.ndarray | None:
    """The box to draw where the dataset as a whole has errors."""
    try:
        if aabb is not None:
            return checks.box(aabb, result.source)
        if draft.aabb is not None:
            return draft.aabb
        return checks.box_from_cameras([view.camera for view in result.views], result.source) if result.views else None
    except DatasetError:
        return None


# ---- Cameras -----------------------------------------------------------------


def _look_at_cameras(result: Survey, frames: Sequence[FrameDraft | DatasetFrame]) -> None:
    add = result.findings.append
    views = result.views
    train = sum(view.split == "train" for view in views)
    if result.dataset and train < _MIN_TRAIN_VIEWS:
        add(DatasetFinding("W01", f"{train} views to train on are few; expect holes"))
    if result.dataset and train == len(views):
        add(DatasetFinding("W02", "no view is held out, so the quality can't be measured"))
    seen: list[View] = []
    for view in views:
        twin = next((other for other in seen if _same_camera(view.camera, other.camera)), None)
        if twin:
            add(DatasetFinding("W03", f"cameras {twin.camera_index} and {view.camera_index} have the same pose and "
                               "intrinsics", camera=view.camera_index))
        seen.append(view)
    start = {view.camera_index: view.camera.camera_to_world for view in views}
    result.moving = sorted({view.camera_index for frame in frames for view in frame.views
                            if view.camera_index not in start
                            or not np.array_equal(view.camera.camera_to_world, start[view.camera_index])})
    if result.box is None:
        return
    box, points = result.box, checks.box_points(result.box, 9)
    shares, areas, within = [], [], []
    for view in views:
        c = view.camera
        position = c.camera_to_world[:, 3]
        if not checks.sees_box(c, box):
            result.blind.append(view.camera_index)
        if ((position > box[0]) & (position < box[1])).all():
            within.append(view.camera_index)
            continue
        if view.camera_index not in result.blind:
            shares.append(checks.sees(c, points).mean())
        u, v, depth = checks.project(c, points)
        if (depth > 0).all():
            extent = [np.ptp(values.clip(0, size)) / size for values, size in ((u, c.width), (v, c.height))]
            areas.append(extent[0] * extent[1])
    if within:
        add(DatasetFinding("W05", f"{_cameras(within, views)} inside the box", camera=within[0]))
    if len(result.blind) == len(views):
        return  # D15 says so
    if result.blind:
        hint = f": check that {checks.AXES_HINT}" if len(result.blind) > len(views) / 2 else ""
        add(DatasetFinding("W04", f"{_cameras(result.blind, views)} turned away from the box or beside it{hint}",
                           camera=result.blind[0]))
    if shares and np.median(shares) < _MIN_BOX_IN_VIEW:
        add(DatasetFinding("W06", f"the median camera sees {np.median(shares):.0%} of the box: it is far larger than "
                               "what the cameras show, and the field's resolution is spread over it"))
    if areas and np.median(areas) < _MIN_BOX_AREA:
        add(DatasetFinding("W07", f"the box covers {np.median(areas):.2%} of the median picture: it is very small or "
                               "far away"))


def _cameras(indices: list[int], views: Sequence[View]) -> str:
    """"camera 3 of 28 is" or "12 of 28 cameras (0, 3, 5, …) are"."""
    if len(indices) == 1:
        return f"camera {indices[0]} is"
    named = ", ".join(map(str, indices[:8])) + ", …" * (len(indices) > 8)
    return f"{len(indices)} of {len(views)} cameras ({named}) are"


def _same_camera(a: Camera, b: Camera) -> bool:
    scale = max(1e-12, float(np.abs(a.camera_to_world[:, 3]).max()))
    return ((a.width, a.height, a.fx, a.fy, a.cx, a.cy) == (b.width, b.height, b.fx, b.fy, b.cx, b.cy)
            and np.abs(a.camera_to_world[:, :3] - b.camera_to_world[:, :3]).max() < _SAME_POSE
            and np.abs(a.camera_to_world[:, 3] - b.camera_to_world[:, 3]).max() < _SAME_POSE * scale)


# ---- Pictures ----------------------------------------------------------------


def _look_at_pictures(result: Survey, frames: Sequence[FrameDraft | DatasetFrame], has_masks: bool,
                      unreadable: set[Path | None], samples: int,
                      on_progress: OnProgress | None) -> None:
    chosen = sorted({round(i) for i in np.linspace(0, len(frames) - 1, min(samples, len(frames)))}) if samples else []
    if result.dataset:  # with the splits settled
        frames = result.dataset.frames
    views = [(frames[i].number, view) for i in chosen for view in sorted(frames[i].views, key=lambda v: v.camera_index)]
    views = [(number, view) for number, view in views if not unreadable & {view.image, view.mask}]
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        jobs = [pool.submit(_picture, view, number) for number, view in views]
        for job, _ in zip(jobs, _counted(views, "", on_progress), strict=True):
            try:
                result.pictures.append(job.result())
            except DatasetError as error:
                result.add(error)
                result.dataset = None
    _look_at_pixels(result, has_masks)
    box = result.box
    for number in sorted({picture.frame for picture in result.pictures}):
        own = [picture for picture in result.pictures if picture.frame == number]
        _look_for_copies(result, own)
        if has_masks and box is not None:
            _look_at_masks(result, box, own)
    tight = result.tight_box
    if tight is not None and box is not None and np.prod(np.ptp(tight, 0) / np.ptp(box, 0)) > _TIGHTER:
        result.tight_box = None
    for index in sorted({picture.view.camera_index for picture in result.pictures}):
        own = [picture for picture in result.pictures if picture.view.camera_index == index]
        if len(own) > 1 and len({picture.digest for picture in own}) == 1:
            result.findings.append(DatasetFinding("W11", f"camera {index} shows the same picture in the frames "
                                           f"{', '.join(str(p.frame) for p in own)}", own[0].view.image, camera=index))


def _picture(view: View, number: int) -> SurveyedView:
    downscale = max(1.0, max(view.camera.width, view.camera.height) / THUMBNAIL)
    rgba, kept = load_view(view, downscale)
    digest = hashlib.sha256(np.round(rgba * 255).astype(np.uint8).data).digest()
    shown = (rgba[..., 3] > 0.5) if kept is None else (rgba[..., 3] > 0.5) & kept
    return SurveyedView(view, number, rgba, float(shown.mean()), digest)


def _look_at_pixels(result: Survey, has_masks: bool) -> None:
    for picture in result.pictures:
        name = f"of camera {picture.view.camera_index} in frame {picture.frame}"
        visible = picture.thumbnail[picture.thumbnail[..., 3] > 0.5][:, :3]
        if has_masks and not picture.coverage:
            result.findings.append(picture.finding("W08", f"the mask {name} is empty"))
        elif has_masks and picture.coverage > _FULL:
            result.findings.append(picture.finding("W09", f"the mask {name} covers the whole picture"))
        if len(visible) and visible.mean() < _DARK:
            result.findings.append(picture.finding("W10", f"the picture {name} is black or nearly so"))
        elif len(visible) > 1 and visible.std() < _FLAT:
            result.findings.append(picture.finding("W10", f"the picture {name} shows one colour"))


def _look_for_copies(result: Survey, pictures: list[SurveyedView]) -> None:
    first: dict[bytes, SurveyedView] = {}
    for picture in pictures:
        other = first.setdefault(picture.digest, picture)
        if other is not picture and picture.coverage:
            result.findings.append(picture.finding(
                "W11", f"cameras {other.view.camera_index} and {picture.view.camera_index} show the same picture in "
                f"frame {picture.frame}"))


def _look_at_masks(result: Survey, box: np.ndarray, pictures: list[SurveyedView]) -> None:
    """Whether one frame's masks, the poses and the box agree."""
    number = pictures[0].frame
    usable = [p for p in pictures if 0 < p.coverage <= _FULL and p.view.camera_index not in result.blind]
    outside = []
    for picture in usable:
        rays = _foreground_rays(picture)
        if not len(rays):
            continue
        c = picture.view.camera
        missed = 1 - checks.hits(c.camera_to_world[:, 3], rays, box).mean()
        if missed > _OUTSIDE:
            outside.append((missed, picture))
    if outside:
        worst, picture = max(outside, key=lambda item: item[0])
        result.findings.append(picture.finding(
            "W12", f"in frame {number} the foreground of {len(outside)} of {len(usable)} views reaches beyond the box, "
            f"most with camera {picture.view.camera_index}: {worst:.0%}"))
    if len(usable) < hull.MIN_VIEWS:
        return
    seen = hull.visual_hull([p.view.camera for p in usable], [hull.coarse_mask(p.thumbnail[..., 3]) for p in usable],
                            box)
    if seen is None:
        return
    if not seen.agrees:
        result.findings.append(DatasetFinding(
            "W13", f"in frame {number} what all masks have in common explains {np.median(seen.recalls):.0%} of the "
            "median view's foreground: poses, box or masks do not belong together", frame=number))
        return
    if not outside and seen.bounds is not None:
        tight = result.tight_box
        result.tight_box = seen.bounds if tight is None else checks.union([tight, seen.bounds])
    for picture, recall in zip(usable, seen.recalls, strict=True):
        if recall < _VIEW_RECALL:
            result.findings.append(picture.finding(
                "W13", f"in frame {number} the other views explain {recall:.0%} of the foreground of camera "
                f"{picture.view.camera_index}: its pose or its mask is wrong"))


def _foreground_rays(picture: SurveyedView) -> np.ndarray:
    """Directions through the thumbnail's pixels that are wholly foreground: (n, 3)."""
    c, (height, width) = picture.view.camera, picture.thumbnail.shape[:2]
    y, x = np.nonzero(picture.thumbnail[..., 3] > 0.95)
    u, v = (x + 0.5) * c.width / width, (y + 0.5) * c.height / height
    local = np.stack([(u - c.cx) / c.fx, (c.cy - v) / c.fy, -np.ones_like(u)], -1)
    rays: np.ndarray = local @ c.camera_to_world[:, :3].T
    return rays


# ---- Report ------------------------------------------------------------------


def report(result: Survey, files: list[str]) -> dict[str, Any]:
    """The survey as refcodec/schemas/dataset.schema.json describes it; files: what was drawn."""
    from refcodec import __version__

    return {
        "tool": {"name": "refcodec", "version": __version__},
        "path": str(result.source),
        "usable": result.usable,
        "layout": result.layout,
        "dataset": _described(result) if result.views else None,
        "findings": [{"code": f.code, "severity": "error" if f.is_error else "warning", "message": f.message,
                      "path": str(f.path) if f.path else None, "frame": f.frame, "camera": f.camera}
                     for f in result.findings],
        "pictures_read": len(result.pictures),
        "files": files,
    }


def _described(result: Survey) -> dict[str, Any]:
    dataset, box = result.dataset, result.box
    return {
        "frames": {"count": len(result.numbers), "first": result.numbers[0], "last": result.numbers[-1]},
        "frame_rate": dataset.frame_rate if dataset else None,
        "views": len(result.views),
        "train": sum(view.split == "train" for view in result.views) if dataset else None,
        "test": sum(view.split == "test" for view in result.views) if dataset else None,
        "masks": dataset.has_masks if dataset else None,
        "background": list(dataset.background) if dataset else None,
        "box": box.tolist() if box is not None else None,
        "tight_box": result.tight_box.tolist() if result.tight_box is not None else None,
        "assumptions": list(dataset.assumptions) if dataset else [],
        "cameras": [{
            "index": view.camera_index, "name": view.camera.name, "split": view.split,
            "width": view.camera.width, "height": view.camera.height,
            **{key: float(getattr(view.camera, key)) for key in ("fx", "fy", "cx", "cy")},
            "lens": view.lens.model if view.lens else None,
            "position": view.camera.camera_to_world[:, 3].tolist(),
            "direction": (-view.camera.camera_to_world[:, 2]).tolist(),
            "moves": view.camera_index in result.moving,
            "sees_box": None if box is None else view.camera_index not in result.blind,
        } for view in result.views],
    }
