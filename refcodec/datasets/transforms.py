"""Readers of the transforms.json family: nerfstudio, instant-ngp, Blender, sequences of them, rigs of videos.

Poses are camera-to-world with OpenGL axes, as `Camera` wants them; principal points
count from the outer corner of the top-left pixel.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from refcodec.datasets import checks
from refcodec.datasets.jsonfile import read_json
from refcodec.datasets.keys import check_keys
from refcodec.datasets.layout import (
    CubeAssumption,
    DatasetLayout,
    Draft,
    FrameDraft,
    FrameSelection,
    instants,
    numbered,
    select_frames,
)
from refcodec.datasets.lenses import Lens
from refcodec.datasets.model import Notice, Split, View
from refcodec.datasets.naming import Names, normalised
from refcodec.datasets.shots import Shot, read_shots
from refcodec.datasets.videos import is_video, video_header
from refcodec.errors import DatasetError

_RADIAL, _TANGENTIAL = ("k1", "k2", "k3", "k4", "k5", "k6"), ("p1", "p2")
_PERSPECTIVE_MODELS = ("PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV", "PERSPECTIVE")
_FISHEYE_MODELS = ("OPENCV_FISHEYE", "FISHEYE", "SIMPLE_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
_UNUSABLE = "\0unusable"  # key of a held-out document, with the error
_BLENDER_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Document:
    """One transforms file. frame: the number its name carries, in a file-per-frame sequence."""

    path: Path
    content: dict[str, Any]
    split: Split = "train"
    frame: int | None = None
    names: Names = field(default_factory=lambda: Names(Path()), compare=False)

    @property
    def items(self) -> list[dict[str, Any]]:
        """Entries of pictures; those of ScanNet++'s `test_frames` are held out."""
        listed: list[dict[str, Any]] = self.content["frames"]
        return listed


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
        return [read_document(root)] if root.suffix.lower() == ".json" else None
    if (root / "transforms.json").is_file():
        return [read_document(root / "transforms.json")]
    blender = {name: root / f"transforms_{name}.json" for name in _BLENDER_SPLITS}
    blender = {name: path for name, path in blender.items() if path.is_file()}
    if blender:
        return _blender_documents(blender)
    folders = [path for path in root.iterdir() if (path / "transforms.json").is_file()]
    by_number = numbered(folders, root)
    return [read_document(by_number[number] / "transforms.json", frame=number) for number in sorted(by_number)] or None


def find_numbered_documents(root: Path) -> list[Document] | None:
    """One numbered .json file a frame; None if there are none."""
    by_number = numbered(root.glob("*.json"), root)
    return [read_document(by_number[number], frame=number) for number in sorted(by_number)] or None


def _blender_documents(files: dict[str, Path]) -> list[Document]:
    """Train and held-out documents; the val split serves only where there is no test split."""
    held_out = "test" if "test" in files else "val"
    if "train" not in files:
        raise DatasetError("D08", "there is no transforms_train.json, so nothing to train on",
                           next(iter(files.values())).parent)
    documents = [read_document(files["train"])]
    if held_out in files:
        try:
            documents.append(read_document(files[held_out], split="test"))
        except DatasetError as error:
            # BlenderNeRF writes an empty list; a part that can't be read does not spoil the other.
            documents.append(Document(files[held_out], {"frames": [], _UNUSABLE: error}, "test"))
    return documents


def read_document(path: Path, split: Split = "train", frame: int | None = None) -> Document:
    """One transforms file. Raises DatasetError D02, D08."""
    content = read_json(path)
    if isinstance(content, list) and content and isinstance(content[0], dict) and "transform" in content[0]:
        raise DatasetError("D02", "a list of `transform`s, as nerfstudio's `ns-export cameras` writes it, without "
                           "intrinsics: the transforms.json of the data that the model was trained on is wanted", path)
    items = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise DatasetError("D02", "not a transforms file: it needs a `frames` list of objects", path)
    if not items:
        raise DatasetError("D08", "the `frames` list is empty", path)
    return Document(path, content, split, frame, Names(path.parent, extensions=True))


def read_transforms(documents: list[Document], selection: FrameSelection) -> Draft:
    """The chosen frames of a set of transforms files.

    Raises DatasetError D09, D10 and D13 for what concerns whole files; errors of single
    pictures and videos (D04 to D06, D09, D11) are collected in the draft.
    """
    given = len(documents)
    documents, notices, assumptions = _usable(documents)
    rates = [_positive(d.content[key], key, d.path) for d in documents
             for key in ("frame_rate", "fps") if d.content.get(key) is not None]
    rate = rates[0] if rates else None
    for document in documents:
        told, warned = check_keys(document.content, document.items, document.path)
        assumptions += [text for text in told if text not in assumptions]
        notices += [notice for notice in warned if notice.message not in {n.message for n in notices}]
    lists = {id(d): _Lists.of(d, notices) for d in documents}
    if any(_names_video(item) for d in documents for item in d.items):
        draft, used = _read_videos(documents, lists, selection, rate), documents
    else:
        draft, used = _read_pictures(documents, lists, selection, rate)
    draft.has_split = len({d.split for d in documents}) > 1 or any(own.held_out for own in lists.values())
    draft.foreign_poses = True
    draft.partial = len(documents) < given or any(own.unlisted for own in lists.values())
    left_out = sum(own.unlisted for own in lists.values())
    if left_out:
        assumptions.append(f"{left_out} pictures that neither `train_filenames` nor the lists of held-out ones name "
                           "are "
                           "left out")

    boxes = [b for b in map(_document_box, used) if b is not None]
    if boxes:
        draft.aabb = checks.union(boxes)
        if any(d.content.get("aabb") is None for d in used):
            assumptions.append(CubeAssumption(
                "the box is instant-ngp's cube of `aabb_scale`, which is often much too large"))
    draft.background = _background(documents[0])
    for document in documents:
        assumptions += [text for text in document.names.notes() if text not in assumptions]
    draft.assumptions[:0] = assumptions
    draft.notices[:0] = notices
    return draft


def _usable(documents: list[Document]) -> tuple[list[Document], list[Notice], list[str]]:
    """Documents that could be read, warnings about held-out ones that could not, and assumptions."""
    notices, told = [], []
    for document in documents:
        error = document.content.get(_UNUSABLE)
        if error is not None and error.code == "D08":
            told.append(f"{document.path.name} lists no pictures and is left out")
        elif error is not None:
            text = str(error).removeprefix(f"{error.code}: ").removesuffix(f" [{error.path}]")
            notices.append(Notice("W15", f"the held-out part can't be used: {text}", document.path))
    return [d for d in documents if _UNUSABLE not in d.content], notices, told


@dataclass
class _Lists:
    """nerfstudio's lists of file names. trained: None where the document does not say."""

    held_out: set[str]
    trained: set[str] | None
    unlisted: int = 0

    @classmethod
    def of(cls, document: Document, notices: list[Notice]) -> _Lists:
        """Raises DatasetError D08 where a list matches nothing; names that match nothing are warned of."""
        known = {normalised(name) for item in document.items if isinstance(name := item.get("file_path"), str)}
        found: dict[str, set[str]] = {}
        for key in ("test_filenames", "val_filenames", "train_filenames"):
            names = document.content.get(key)
            if not isinstance(names, list) or not names:
                continue
            wanted = {normalised(name) for name in names if isinstance(name, str)}
            unmatched = sorted(wanted - known)
            if unmatched and len(unmatched) == len(wanted):
                raise DatasetError("D08", f"`{key}` names {unmatched[0][:80]!r}, and no entry of `frames` has "
                                   f"{'that' if len(wanted) == 1 else 'any of its names'} as its `file_path`",
                                   document.path)
            if unmatched:
                notices.append(Notice("W15", f"`{key}` names {len(unmatched)} of {len(wanted)} pictures that no entry "
                                      f"has, {unmatched[0][:80]!r} first", document.path))
            found[key] = wanted & known
        held_out = found.get("test_filenames") or found.get("val_filenames") or set()
        lists = cls(held_out, found.get("train_filenames"))
        if lists.trained is not None:
            both = lists.trained & held_out
            if both:
                notices.append(Notice("W15", f"{len(both)} pictures are in `train_filenames` and held out too, "
                                      f"{sorted(both)[0][:80]!r} first: they are held out", document.path))
            lists.unlisted = sum(not lists.uses(item) for item in document.items)
        return lists

    def uses(self, item: dict[str, Any]) -> bool:
        name = item.get("file_path")
        return self.trained is None or not isinstance(name, str) or normalised(name) in self.trained | self.held_out


def _read_pictures(documents: list[Document], lists: dict[int, _Lists], selection: FrameSelection,
                   rate: float | None) -> tuple[Draft, list[Document]]:
    """The chosen frames of documents that name pictures, and the documents that they are in."""
    frames, is_sequence, instants_told = _group(documents, lists)
    chosen = select_frames(frames, selection, documents[0].path.parent)
    draft = Draft([], is_sequence, frame_rate=rate)
    draft.assumptions += instants_told
    for number in chosen:
        views = []
        for order, entry in enumerate(frames[number]):
            index = order if entry.camera_index is None else entry.camera_index
            split = _split_of(entry, lists)
            try:
                views.append(_view(entry, index, split))
            except DatasetError as error:
                (draft.held_out_problems if split == "test" else draft.problems).add(error)
        time = _frame_time(frames[number], number, rate)
        draft.frames.append(FrameDraft(number, time, views))
    if len(frames) > 1 and all(len(entries) == 1 for entries in frames.values()):
        raise DatasetError("D10", "every frame has one view only: a video from one camera (a monocular capture, as "
                           "D-NeRF's) is not a multi-view sequence, and what moved between its pictures can't be "
                           "reconstructed here", documents[0].path)
    return draft, list({id(e.document): e.document for number in chosen for e in frames[number]}.values())


def _read_videos(documents: list[Document], lists: dict[int, _Lists], selection: FrameSelection,
                 rate: float | None) -> Draft:
    """The chosen frames of documents whose entries name one video each."""
    path = documents[0].path
    if any(d.frame is not None for d in documents):
        raise DatasetError("D10", "videos hold many frames: name them in one transforms.json, not in a file a frame",
                           path)
    shots: list[Shot] = []
    errors: list[DatasetError] = []
    for document in documents:
        for item in document.items:
            entry = _Entry(document, item, None, None)
            if not lists[id(document)].uses(item):
                continue
            if not _names_video(item):
                raise DatasetError("D10", f"{entry.label()} is no video, but other entries name videos", path)
            index = item.get("camera", item.get("camera_index", len(shots) + len(errors)))
            try:
                view = _view(entry, checks.integer(index, "`camera`", "D10", path), _split_of(entry, lists))
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


def _split_of(entry: _Entry, lists: dict[int, _Lists]) -> Split:
    return "test" if normalised(entry.label()) in lists[id(entry.document)].held_out else entry.document.split


def _group(documents: list[Document], lists: dict[int, _Lists]) -> tuple[dict[int, list[_Entry]], bool, list[str]]:
    """Entries by frame number, whether this is a sequence, and what was assumed of it.

    Frames come from the file's name, or each entry's `frame`, or the ranks of its `time`, or the names of a standing
    rig's pictures.
    """
    frames: dict[int, list[_Entry]] = {}
    pending: list[tuple[float, _Entry]] = []
    kinds = set()
    for document in documents:
        for item in document.items:
            if item.get("is_bad") is True or not lists[id(document)].uses(item):
                continue
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
    if not frames:
        raise DatasetError("D08", "no picture is left of the `frames` list", documents[0].path)
    if kinds == {"static"} and (rig := _instants(frames[0])):
        for entry, (camera, number) in zip(frames.pop(0), rig, strict=True):
            entry.camera_index = camera
            frames.setdefault(number, []).append(entry)
        return frames, True, [f"the pictures are {len(frames)} instants of a standing rig of {len(rig) // len(frames)} "
                              "cameras, as their names and poses say: a folder a camera (give each entry `frame` to "
                              "say "
                              "otherwise)"]
    return frames, kinds != {"static"}, []


def _instants(entries: list[_Entry]) -> list[tuple[int, int]] | None:
    """(camera, frame) of each entry, where names and poses are those of a rig's instants."""
    try:
        poses = [np.array(e.item.get("transform_matrix"), np.float64).reshape(-1, 4)[:3] for e in entries]
    except (TypeError, ValueError, OverflowError):
        return None
    if any(e.camera_index is not None for e in entries) or not all(p.shape == (3, 4) and np.isfinite(p).all()
                                                                   for p in poses):
        return None
    return instants([e.label() for e in entries], poses)


def _frame_time(entries: list[_Entry], number: int, rate: float | None) -> float:
    times = {entry.time for entry in entries}
    if len(times) > 1:
        raise DatasetError("D10", f"the pictures of frame {number} have different times",
                           entries[0].document.path)
    time = times.pop()
    if time is not None:
        return time
    return number / rate if rate else float(number)


def _view(entry: _Entry, index: int, split: Split) -> View:
    path, label = entry.document.path, entry.label()
    image = _image_path(entry, "file_path")
    if image is None:
        raise DatasetError("D04", "a picture's entry has no `file_path`", path)
    to_world = checks.pose(entry.item.get("transform_matrix", entry.item.get("transform_matrix_start")), label, path)
    if entry.get("w") is not None and entry.get("h") is not None:
        width = checks.integer(entry.get("w"), "`w`", "D09", path)
        height = checks.integer(entry.get("h"), "`h`", "D09", path)
    else:
        header = video_header(image) if is_video(image) else checks.header_of(image)
        width, height = header.width, header.height
    fx = _focal(entry, "x", width)
    fy = _focal(entry, "y", height)
    if fx is None:
        fx = fy  # as instant-ngp has it
    if fx is None:
        raise DatasetError("D09", f"no focal length for {label}: give `fl_x` in pixels, `camera_angle_x` in radians or "
                           "`x_fov` in degrees", path)
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
        if source.get(f"{axis}_fov") is not None:
            degrees = checks.number(source[f"{axis}_fov"], f"`{axis}_fov`", "D09", path)
            if not 0 < degrees < 180:
                raise DatasetError("D09", f"`{axis}_fov` is {degrees:g}; degrees between 0 and 180", path)
            return size / 2 / math.tan(math.radians(degrees) / 2)
    return None


def _image_path(entry: _Entry, key: str) -> Path | None:
    """The file that an entry names, however it is spelled."""
    name = entry.item.get(key)
    if name is None:
        return None
    if not isinstance(name, str):
        raise DatasetError("D04", f"`{key}` is not a text", entry.document.path)
    return entry.document.names.where(name)  # a missing one is reported under the name that the file gives


def _lens_model(entry: _Entry) -> tuple[str, tuple[float, ...]]:
    """COLMAP's name and parameters of the entry's lens. Raises DatasetError D11."""
    path = entry.document.path
    value = {key: checks.number(entry.get(key) or 0, f"`{key}`", "D11", path) for key in _RADIAL + _TANGENTIAL}
    model = entry.get("camera_model")
    if isinstance(model, str):
        model = model.upper()
    if model is not None and model not in _PERSPECTIVE_MODELS + _FISHEYE_MODELS:
        raise DatasetError("D11", f"pictures of this kind of camera (camera_model {entry.get('camera_model')}) can't "
                                  "be "
                           "undistorted here: make perspective views of them first", path)
    listed = entry.get("distortion_params")
    if listed:
        # nerfstudio's order; FISHEYE624 has more, which its camera_model says.
        numbers = checks.array(listed, ((6,),), "`distortion_params`", "D11", path).tolist()
        if any(value.values()):
            raise DatasetError("D11", "`distortion_params` stands beside k1 to k6, p1, p2: leave one of them out", path)
        value.update(zip(("k1", "k2", "k3", "k4", "p1", "p2"), numbers))
    if entry.get("is_fisheye") or model in _FISHEYE_MODELS:
        beyond = [key for key in ("k5", "k6", *_TANGENTIAL) if value[key]]
        if beyond:
            raise DatasetError("D11", f"a fisheye lens has k1 to k4, but `{beyond[0]}` is given", path)
        return "OPENCV_FISHEYE", tuple(value[key] for key in _RADIAL[:4])
    beyond = [key for key in ("k4", "k5", "k6") if value[key]]
    if beyond and model != "FULL_OPENCV":
        # Programs differ in whether k4 multiplies r**8 or divides.
        raise DatasetError("D11", f"`{beyond[0]}` has a meaning only with camera_model FULL_OPENCV or a fisheye "
                                  "(Metashape's "
                           "k4 is a fourth radial term, which OpenCV lacks): calibrate with k1 to k3, or export "
                           "undistorted pictures", path)
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
    offset = checks.array(content.get("offset", [0.5, 0.5, 0.5]), ((3,), ()), "`offset`", "D13", path)
    offset = np.broadcast_to(offset, 3)
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


def _seen(root: Path) -> str | None:
    if not root.is_dir():
        return None
    others = sorted(p.name for p in root.glob("*.json") if p.is_file())
    if others:
        return f"{others[0]} is there, but no transforms.json (give the path of a file of another name)"
    return None


def _read_found(root: Path, documents: list[Document], selection: FrameSelection) -> Draft:
    return read_transforms(documents, selection)


LAYOUT = DatasetLayout(
    "transforms",
    (("nerfstudio, instant-ngp, sequence, rig of videos",
      "`transforms.json`, or the path of any one `.json` file like it"),
     ("Blender", "`transforms_train.json` with `transforms_test.json` or, where that is missing, "
                 "`transforms_val.json`"),
     ("a folder a frame", "`frame_0/transforms.json`, `frame_1/transforms.json`, …; the last number in the folder's "
                          "name "
                          "is the frame number")),
    find_documents, _read_found, _seen, "right, up, backwards", "the corner of the top-left pixel", "as it is", "auto")
NUMBERED = DatasetLayout(
    "transforms, a file a frame",
    (("a file a frame", "`000.json`, `001.json`, …; the last number in the file's name is the frame number"),),
    find_numbered_documents, _read_found, masks="auto")
