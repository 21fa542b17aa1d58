"""Reader of ScanNet++'s DSLR captures: dslr/nerfstudio/transforms_undistorted.json or transforms.json.

The files are nerfstudio's, but for where pictures and masks are, and for their held-out pictures, `test_frames`.
"""
from __future__ import annotations

import dataclasses
from pathlib import Path

from refcodec.datasets.layout import DatasetLayout, Draft, FrameSelection
from refcodec.datasets.naming import Names
from refcodec.datasets.transforms import Document, read_document, read_transforms
from refcodec.errors import DatasetError

# (Calibration, folders of pictures, of masks), undistorted first.
_VARIANTS = (
    ("transforms_undistorted.json", ("resized_undistorted_images", "undistorted_images"),
     ("resized_undistorted_masks", "undistorted_anon_masks")),
    ("transforms.json", ("resized_images", "original_images"), ("resized_anon_masks", "original_anon_masks")))


def find_scannetpp(root: Path) -> tuple[Path, Path, Path | None] | None:
    """(Calibration, folder of pictures, of masks)."""
    for base in (root / "dslr", root):
        for file, images, masks in _VARIANTS:
            folder = next((base / name for name in images if (base / name).is_dir()), None)
            if folder and (base / "nerfstudio" / file).is_file():
                mask = next((base / name for name in masks if (base / name).is_dir()), None)
                return base / "nerfstudio" / file, folder, mask
    return None


def read_scannetpp(root: Path, found: tuple[Path, Path, Path | None], selection: FrameSelection) -> Draft:
    """A static scene. Raises DatasetError as `read_transforms`."""
    path, pictures, masks = found
    train = read_document(path)
    folders = (pictures, *((masks,) if masks else ()))
    names = Names(*folders, extensions=True)
    if not train.content.get("mask_path") and masks is None:
        for item in train.items:
            item.pop("mask_path", None)
    elif masks is not None:
        for item in [*train.items, *_test(train)]:
            if isinstance(item.get("mask_path"), str):
                item["mask_path"] = str(masks / Path(item["mask_path"]).name)
    shared = {key: value for key, value in train.content.items() if key != "test_frames"}
    documents = [dataclasses.replace(train, content=shared, names=names)]
    if held_out := _test(train):
        documents.append(Document(path, shared | {"frames": held_out}, "test", None, names))
    draft = read_transforms(documents, selection)
    # Masks hide faces and signs that were made anonymous.
    draft.masks = "ignore"
    draft.assumptions.append(f"the pictures are those of {pictures.name}/")
    return draft


def _test(document: Document) -> list[dict[str, object]]:
    items = document.content.get("test_frames")
    if items is None:
        return []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise DatasetError("D02", "`test_frames` is no list of objects", document.path)
    return items


def _near(root: Path) -> str | None:
    base = root / "dslr" / "nerfstudio"
    if not base.is_dir():
        return None
    return ("dslr/nerfstudio/ is there, but not resized_undistorted_images/ with transforms_undistorted.json, nor "
            "resized_images/ with transforms.json")


LAYOUT = DatasetLayout(
    "ScanNet++", (("ScanNet++", "`dslr/nerfstudio/transforms_undistorted.json` with "
                                "`dslr/resized_undistorted_images/`, or "
                   "`transforms.json` with `dslr/resized_images/`, and their masks; `test_frames` are held out, "
                   "pictures "
                   "marked `is_bad` left out"),),
    find_scannetpp, read_scannetpp, _near, masks="ignore")
