"""Readers of the transforms.json family: nerfstudio, instant-ngp, Blender, sequences of them, rigs of videos.

Poses are camera-to-world with OpenGL axes, as `Camera` wants them; principal points
count from the outer corner of the top-left pixel.
"""
from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refcodec.datasets import checks
from refcodec.datasets.layout import Draft, FrameDraft, FrameSelection, numbered, select_frames
from refcodec.datasets.lenses import Lens
from refcodec.datasets.model import Split, View
from refcodec.datasets.shots import Shot, read_shots
from refcodec.datasets.videos import is_video, video_header
from refcodec.errors import DatasetError

_EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".PNG", ".JPG", ".JPEG")
_RADIAL, _TANGENTIAL = ("k1", "k2", "k3", "k4", "k5", "k6"), ("p1", "p2")
_PERSPECTIVE_MODELS = ("PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV", "PERSPECTIVE")
_FISHEYE_MODELS = ("OPENCV_FISHEYE", "FISHEYE", "SIMPLE_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
# Of instant-ngp and nerfstudio; pictures of these are no perspective views.
_REFUSED_FLAGS = ("ftheta_p0", "lat_long", "is_lat_long", "equirectangular")
_BLENDER_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Document:
    """One transforms file. frame: the number its name carries, in a file-per-frame sequence."""

    path: Path
    content: dict[str, Any]
    split: Split = "train"
    frame: int | None = None


@dataclass
class _Entry:
    """One picture's entry of a document, before its camera is made."""

    document: Document
    item: dict[str, Any]
    camera_index: int | None
    time: float | None

    def get(self, key: str, default: Any = None) -> Any:
        """A value of the entry, else of its document: per-picture values override shared ones."""
        return self.item.get(key, self.document.content.get(key, default))

    def label(self) -> str:
        return str(self.item.get("file_path", "an entry without file_path"))


def find_documents(root: Path) -> list[Document] | None:
    """The transforms files at `root` (a folder or one .json file); None if there are none.

    Looked for in this order: transforms.json; transforms_train/val/test.json; one folder
    a frame with a transforms.json each.
    """
    if root.is_file():
        return [_read(root)] if root.suffix.lower() == ".json" else None
    if (root / "transforms.json").is_file():
        return [_read(root / "transforms.json")]
    blender = {name: root / f"transforms_{name}.json" for name in _BLENDER_SPLITS}
    blender = {name: path for name, path in blender.items() if path.is_file()}
    if blender:
        return _blender_documents(blender)
    folders = [path for path in root.iterdir() if (path / "transforms.json").is_file()]
    by_number = numbered(folders, root)
    return [_read(by_number[number] / "transforms.json", frame=number) for number in sorted(by_number)] or None


def find_numbered_documents(root: Path) -> list[Document] | None:
    """One numbered .json file a frame; None if there are none."""
    by_number = numbered(root.glob("*.json"), root)
    return [_read(by_number[number], frame=number) for number in sorted(by_number)] or None


def _blender_documents(files: dict[str, Path]) -> list[Document]:
    """Train and held-out documents; the val split serves only where there is no test split."""
    held_out = "test" if "test" in files else "val"
    if "train" not in files:
        raise DatasetError("D08", "there is no transforms_train.json, so nothing to train on",
                           next(iter(files.values())).parent)
    documents = [_read(files["train"])]
    if held_out in files:
        documents.append(_read(files[held_out], split="test"))
    return documents


def _read(path: Path, split: Split = "train", frame: int | None = None) -> Document:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DatasetError("D02", f"can't read the file: {error.strerror}", path) from error
    except (ValueError, RecursionError) as error:
        raise DatasetError("D02", f"not valid JSON: {error}", path) from error
    items = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise DatasetError("D02", "not a transforms file: it needs a `frames` list of objects", path)
    if not items:
        raise DatasetError("D08", "the `frames` list is empty", path)
    return Document(path, content, split, frame)


def read_transforms(documents: list[Document], selection: FrameSelection) -> Draft:
    """The chosen frames of a set of transforms files.

    Raises DatasetError D09, D10 and D13 for what concerns whole files; errors of single
    pictures and videos (D04 to D06, D09, D11) are collected in the draft.
    """
    rates = [_positive(d.content[key], key, d.path) for d in documents
             for key in ("frame_rate", "fps") if d.content.get(key) is not None]
    rate = rates[0] if rates else None
    held_out = {id(d): _held_out_names(d) for d in documents}
    if any(_names_video(item) for d in documents for item in d.content["frames"]):
        draft, used = _read_videos(documents, held_out, selection, rate), documents
    else:
        draft, used = _read_pictures(documents, held_out, selection, rate)
    draft.has_split = len({d.split for d in documents}) > 1 or any(held_out.values())

    boxes = [b for b in map(_document_box, used) if b is not None]
    if boxes:
        draft.aabb = checks.union(boxes)
        if any(d.content.get("aabb") is None for d in used):
            draft.assumptions.append("the box is instant-ngp's cube of `aabb_scale`, which is often much too large")
    draft.background = _background(documents[0])
    return draft


def _read_pictures(documents: list[Document], held_out: dict[int, set[str]], selection: FrameSelection,
                   rate: float | None) -> tuple[Draft, list[Document]]:
    """The chosen frames of documents that name pictures, and the documents that they are in."""
    frames, is_sequence = _group(documents)
    chosen = select_frames(frames, selection, documents[0].path.parent)
    draft = Draft([], is_sequence, frame_rate=rate)
    for number in chosen:
        views = []
        for order, entry in enumerate(frames[number]):
            index = order if entry.camera_index is None else entry.camera_index
            try:
                views.append(_view(entry, index, _split_of(entry, held_out)))
            except DatasetError as error:
                draft.problems.add(error)
        time = _frame_time(frames[number], number, rate)
        draft.frames.append(FrameDraft(number, time, views))
    return draft, list({id(e.document): e.document for number in chosen for e in frames[number]}.values())


def _read_videos(documents: list[Document], held_out: dict[int, set[str]], selection: FrameSelection,
                 rate: float | None) -> Draft:
    """The chosen frames of documents whose entries name one video each."""
    path = documents[0].path
    if any(d.frame is not None for d in documents):
        raise DatasetError("D10", "videos hold many frames: name them in one transforms.json, not in a file a frame",
                           path)
    shots: list[Shot] = []
    errors: list[DatasetError] = []
    for document in documents:
        for item in document.content["frames"]:
            entry = _Entry(document, item, None, None)
            if not _names_video(item):
                raise DatasetError("D10", f"{entry.label()} is no video, but other entries name videos", path)
            index = item.get("camera", item.get("camera_index", len(shots) + len(errors)))
            try:
                view = _view(entry, checks.integer(index, "`camera`", "D10", path), _split_of(entry, held_out))
                first = checks.integer(item.get("frame", 0), "`frame`", "D10", path)
                if first < 0:
                    raise DatasetError("D10", f"`frame` is {first}; frame numbers start at 0", path)
                shots.append(Shot(view.camera, view.image, view.mask, view.camera_index, view.split, view.lens, first))
            except DatasetError as error:
                errors.append(error)
    if not shots:
        raise errors[0]
    draft = read_shots(shots, selection, path.parent, rate)
    draft.problems.errors += errors
    return draft


def _names_video(item: dict[str, Any]) -> bool:
    name = item.get("file_path")
    return isinstance(name, str) and is_video(name)


def _split_of(entry: _Entry, held_out: dict[int, set[str]]) -> Split:
    return "test" if entry.label() in held_out[id(entry.document)] else entry.document.split


def _group(documents: list[Document]) -> tuple[dict[int, list[_Entry]], bool]:
    """Entries by frame number, and whether this is a sequence.

    Frames come from the file's name, or each entry's `frame`, or the ranks of its `time`.
    """
    frames: dict[int, list[_Entry]] = {}
    pending: list[tuple[float, _Entry]] = []
    kinds = set()
    for document in documents:
        for item in document.content["frames"]:
            path = document.path
            camera = item.get("camera", item.get("camera_index"))
            time = item.get("time", document.content.get("time"))
            entry = _Entry(document, item,
                           None if camera is None else checks.integer(camera, "`camera`", "D10", path),
                           None if time is None else checks.number(time, "`time`", "D10", path))
            if document.frame is not None:
                kinds.add("file")
                frames.setdefault(document.frame, []).append(entry)
            elif "frame" in item:
                kinds.add("frame")
                number = checks.integer(item["frame"], "`frame`", "D10", path)
                if number < 0:
                    raise DatasetError("D10", f"`frame` is {number}; frame numbers start at 0", path)
                frames.setdefault(number, []).append(entry)
            elif entry.time is not None:
                kinds.add("time")
                pending.append((entry.time, entry))
            else:
                kinds.add("static")
                frames.setdefault(0, []).append(entry)
    if len(kinds) > 1:
        raise DatasetError("D10", "some pictures have a `frame` or `time` and others do not",
                           documents[0].path)
    rank = {time: i for i, time in enumerate(sorted({time for time, _ in pending}))}
    for time, entry in pending:
        frames.setdefault(rank[time], []).append(entry)
    return frames, kinds != {"static"}


def _frame_time(entries: list[_Entry], number: int, rate: float | None) -> float:
    times = {entry.time for entry in entries}
    if len(times) > 1:
        raise DatasetError("D10", f"the pictures of frame {number} have different times",
                           entries[0].document.path)
    time = times.pop()
    if time is not None:
        return time
    return number / rate if rate else float(number)


def _held_out_names(document: Document) -> set[str]:
    """nerfstudio's lists of file names: test, or val where there is no test."""
    for key in ("test_filenames", "val_filenames"):
        names = document.content.get(key)
        if isinstance(names, list) and names:
            return {name for name in names if isinstance(name, str)}
    return set()


def _view(entry: _Entry, index: int, split: Split) -> View:
    path, label = entry.document.path, entry.label()
    image = _image_path(entry, "file_path")
    if image is None:
        raise DatasetError("D04", "a picture's entry has no `file_path`", path)
    to_world = checks.pose(entry.item.get("transform_matrix"), label, path)
    if entry.get("w") is not None and entry.get("h") is not None:
        width = checks.integer(entry.get("w"), "`w`", "D09", path)
        height = checks.integer(entry.get("h"), "`h`", "D09", path)
    else:
        header = video_header(image) if is_video(image) else checks.header_of(image)
        width, height = header.width, header.height
    fx = _focal(entry, "x", width)
    fy = _focal(entry, "y", height)
    if fx is None:
        raise DatasetError("D09", f"no focal length for {label}: `fl_x` or `camera_angle_x`", path)
    cx = checks.number(entry.get("cx", width / 2), "`cx`", "D09", path)
    cy = checks.number(entry.get("cy", height / 2), "`cy`", "D09", path)
    name = entry.item.get("camera_label") or f"camera {index}"
    model, parameters = _lens_model(entry)
    lens = Lens(model, width, height, fx, fx if fy is None else fy, cx, cy, parameters)
    camera, distorted = checks.lens_camera(lens, to_world, str(name), path)
    return View(camera, image, _image_path(entry, "mask_path"), split, index, distorted)


def _focal(entry: _Entry, axis: str, size: int) -> float | None:
    path = entry.document.path
    # A picture's own value, of either kind, comes before the shared ones.
    for source in (entry.item, entry.document.content):
        if source.get(f"fl_{axis}") is not None:
            return checks.number(source[f"fl_{axis}"], f"`fl_{axis}`", "D09", path)
        if source.get(f"camera_angle_{axis}") is not None:
            angle = checks.number(source[f"camera_angle_{axis}"], f"`camera_angle_{axis}`", "D09", path)
            if not 0 < angle < math.pi:
                raise DatasetError("D09", f"`camera_angle_{axis}` is {angle:g}; radians between 0 and pi", path)
            return size / 2 / math.tan(angle / 2)
    return None


def _image_path(entry: _Entry, key: str) -> Path | None:
    """The file that an entry names, with the extension that it may have left out."""
    name = entry.item.get(key)
    if name is None:
        return None
    if not isinstance(name, str):
        raise DatasetError("D04", f"`{key}` is not a text", entry.document.path)
    path = entry.document.path.parent / name
    if os.path.isfile(path):
        return path
    for extension in _EXTENSIONS:
        candidate = Path(f"{path}{extension}")
        if os.path.isfile(candidate):
            return candidate
    return path  # reported as missing, under the name that the file gives


def _lens_model(entry: _Entry) -> tuple[str, tuple[float, ...]]:
    """COLMAP's name and parameters of the entry's lens. Raises DatasetError D11."""
    path = entry.document.path
    value = {key: checks.number(entry.get(key) or 0, f"`{key}`", "D11", path) for key in _RADIAL + _TANGENTIAL}
    model = entry.get("camera_model")
    refused = [flag for flag in _REFUSED_FLAGS if entry.get(flag)]
    if model is not None and model not in _PERSPECTIVE_MODELS + _FISHEYE_MODELS:
        refused.append(f"camera_model {model}")
    if refused:
        raise DatasetError("D11", f"pictures of this kind of camera ({', '.join(refused)}) can't be undistorted here: "
                           "make perspective views of them first", path)
    if entry.get("is_fisheye") or model in _FISHEYE_MODELS:
        beyond = [key for key in ("k5", "k6", *_TANGENTIAL) if value[key]]
        if beyond:
            raise DatasetError("D11", f"a fisheye lens has k1 to k4, but `{beyond[0]}` is given", path)
        return "OPENCV_FISHEYE", tuple(value[key] for key in _RADIAL[:4])
    beyond = [key for key in ("k4", "k5", "k6") if value[key]]
    if beyond and model != "FULL_OPENCV":
        # Programs differ in whether k4 multiplies r**8 or divides.
        raise DatasetError("D11", f"`{beyond[0]}` has a meaning only with camera_model FULL_OPENCV or a fisheye", path)
    return "FULL_OPENCV", tuple(value[key] for key in ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"))


def _document_box(document: Document) -> np.ndarray | None:
    """`aabb`, else instant-ngp's `aabb_scale`: a cube of that side in its unit space.

    instant-ngp maps a position to position * scale + offset (0.33 and 0.5 unless
    given) and centres the cube on 0.5.
    """
    content, path = document.content, document.path
    if content.get("aabb") is not None:
        return checks.box(content["aabb"], path)
    if content.get("aabb_scale") is None:
        return None
    side = _positive(content["aabb_scale"], "`aabb_scale`", path)
    scale = _positive(content.get("scale", 0.33), "`scale`", path)
    offset = checks.array(content.get("offset", [0.5, 0.5, 0.5]), ((3,),), "`offset`", "D13", path)
    return checks.box(np.stack([0.5 - side / 2 - offset, 0.5 + side / 2 - offset]) / scale, path)


def _background(document: Document) -> tuple[float, float, float] | None:
    value = document.content.get("background")
    if value is None:
        return None
    colour = checks.array(value, ((3,),), "`background`", "D14", document.path)
    if not ((colour >= 0) & (colour <= 1)).all():
        raise DatasetError("D14", "`background` is three numbers from 0 to 1", document.path)
    return tuple(colour.tolist())


def _positive(value: Any, what: str, path: Path) -> float:
    code = "D14" if what in ("frame_rate", "fps") else "D13"
    result = checks.number(value, what, code, path)
    if result <= 0:
        raise DatasetError(code, f"{what} is {result:g}; it must be positive", path)
    return result
