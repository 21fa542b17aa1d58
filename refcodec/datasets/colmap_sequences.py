"""Sequences that COLMAP has calibrated: a model a frame, the instants of a standing rig, a rig and its videos."""
from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from refcodec.datasets.colmap_model import find_model, read_model
from refcodec.datasets.layout import (
    DatasetLayout,
    Draft,
    FrameDraft,
    FrameSelection,
    RigCamera,
    instants,
    numbered,
    pictures_in,
    rig_draft,
    select_frames,
)
from refcodec.datasets.model import View
from refcodec.datasets.shots import Shot, read_shots
from refcodec.datasets.videos import is_video
from refcodec.errors import DatasetError

_RIG_SHARE = 0.9  # of the cameras, that must have a folder or a video


def find_frame_folders(root: Path) -> dict[int, tuple[Path, Path | None]] | None:
    """{frame: (folder, model)} of folders such as colmap_0/ or frame000000/, a model each or in the first."""
    if not root.is_dir():
        return None
    folders = [path for path in root.iterdir() if path.is_dir() and any(c.isdigit() for c in path.name)
               and ((path / "sparse").is_dir() or (path / "images").is_dir() or (path / "input").is_dir())]
    if len(folders) < 2:
        return None
    models = {folder: find_model(folder) for folder in folders}
    if not any(models.values()):
        return None
    by_number = numbered(folders, root)
    found = {number: (folder, models[folder]) for number, folder in sorted(by_number.items())}
    return found if next(iter(found.values()))[1] else None


def read_frame_folders(root: Path, found: dict[int, tuple[Path, Path | None]], selection: FrameSelection) -> Draft:
    """The chosen frames; cameras are told by their pictures' names. Raises DatasetError D02, D08, D10."""
    chosen = select_frames(found, selection, root)
    first_folder, first_model = next(iter(found.values()))
    assert first_model is not None
    draft = Draft([], is_sequence=len(found) > 1)
    index_of: dict[str, int] = {}
    shared: Draft | None = None
    for number in chosen:
        folder, model = found[number]
        if model is not None:
            own = read_model(folder, model)
        else:  # a standing rig, calibrated once
            shared = shared or read_model(first_folder, first_model)
            own = _moved(shared, first_folder, folder)
        draft.problems.errors += own.problems.errors
        draft.notices += [n for n in own.notices if n not in draft.notices]
        views = []
        for view in own.frames[0].views:
            index = index_of.setdefault(_camera_name(view.camera.name, number), len(index_of))
            views.append(dataclasses.replace(view, camera_index=index))
        draft.frames.append(FrameDraft(number, float(number), views))
        if draft.aabb is None:
            draft.aabb = own.aabb
            draft.assumptions += [text for text in own.assumptions if text not in draft.assumptions]
    if shared is not None:
        draft.assumptions.append(f"the calibration of {first_folder.name}/ is that of all frames")
    return draft


def _camera_name(name: str, number: int) -> str:
    """A picture's name without its frame's number, which some have in it."""
    stem = Path(name.replace("\\", "/"))
    padded = f"{number:06d}"
    return str(stem.with_name(stem.stem.replace(padded, ""))) if padded in stem.stem else str(stem.with_suffix(""))


def _moved(draft: Draft, old: Path, new: Path) -> Draft:
    views = [dataclasses.replace(view, image=new / view.image.relative_to(old),
                                 mask=new / view.mask.relative_to(old) if view.mask else None)
             for view in draft.frames[0].views]
    return Draft([FrameDraft(0, 0.0, views)], is_sequence=False)


def as_instants(draft: Draft, selection: FrameSelection) -> Draft | None:
    """A model of images/cam00/0000.png, images/cam00/0001.png, … as a sequence; None where it is none."""
    views = draft.frames[0].views
    found = instants([v.camera.name for v in views], [v.camera.camera_to_world for v in views]) if views else None
    if not found:
        return None
    frames: dict[int, list[View]] = {}
    for view, (camera, number) in zip(views, found, strict=True):
        frames.setdefault(number, []).append(dataclasses.replace(view, camera_index=camera))
    chosen = select_frames(frames, selection, views[0].image.parent)
    told = (f"the pictures are {len(frames)} instants of a standing rig of {len(frames[chosen[0]])} cameras, as their "
            "names and poses say: a folder a camera (rename the folders to say otherwise)")
    return dataclasses.replace(draft, frames=[FrameDraft(n, float(n), frames[n]) for n in chosen], is_sequence=True,
                               assumptions=[told, *draft.assumptions])


def as_rig(draft: Draft, selection: FrameSelection) -> Draft | None:
    """A model with one picture a camera, of which the other instants lie beside: a folder or a video a camera."""
    views = draft.frames[0].views
    cameras, shots = [], []
    for view in views:
        name = Path(view.camera.name.replace("\\", "/"))
        bases = list(dict.fromkeys([*list(view.image.parents)[:3]]))
        if len(name.parts) > 1:
            folder = view.image.parent
            pictures = numbered(pictures_in(folder), folder) if folder.is_dir() else {}
        else:
            folder = next((f for base in bases for top in ("", "frames", "images", "videos")
                           if (f := base / top / name.stem).is_dir() and f != view.image.parent), Path())
            pictures = numbered(pictures_in(folder), folder) if folder.name else {}
        if len(pictures) > 1:
            cameras.append(RigCamera(view.camera_index, view.camera, pictures, None, view.lens))
            continue
        video = next((v for base in bases for top in ("", "videos", "video") if (base / top).is_dir()
                      for v in sorted((base / top).glob(f"{_escaped(name.stem)}.*")) if is_video(v)), None)
        if video:
            shots.append(Shot(view.camera, video, None, view.camera_index, lens=view.lens))
    root = views[0].image.parent if views else Path()
    needed = max(2, math.ceil(_RIG_SHARE * len(views)))
    named = [Path(v.camera.name.replace("\\", "/")) for v in views]
    names = {str(path.parent) for path in named if len(path.parts) > 1}
    if len(cameras) >= needed and (not names or len(names) == len(views)):
        try:
            rig = rig_draft(cameras, selection, root)
        except DatasetError:
            if names:  # folders of unrelated pictures
                return None
            raise
    elif len(shots) >= needed and not draft.problems.errors:
        rig = read_shots(shots, selection, root)
    else:
        return None
    rig.problems.errors[:0] = draft.problems.errors
    rig.aabb, rig.notices = draft.aabb, [n for n in draft.notices if n.code != "W17"]
    what = "videos" if shots and not cameras else "folders of pictures"
    rig.assumptions[:0] = [f"the model calibrates a standing rig; each camera's instants are in the {what} of its name",
                           *draft.assumptions]
    return rig


def _escaped(stem: str) -> str:
    return "".join(f"[{c}]" if c in "[]*?" else c for c in stem)


FOLDERS = DatasetLayout(
    "COLMAP, a folder a frame",
    (("a COLMAP model a frame", "`colmap_0/`, `colmap_1/`, … or `frame000000/`, …, each with `sparse/0` and "
                                "`images/`; a "
      "frame without a model has the first's"),),
    find_frame_folders, read_frame_folders, masks="auto")
