"""Datasets with a sparse model of COLMAP: a static scene, or the instants of a standing rig."""
from __future__ import annotations

from pathlib import Path

from refcodec.datasets.colmap_model import FILES, find_model, read_model
from refcodec.datasets.colmap_sequences import as_instants, as_rig
from refcodec.datasets.layout import DatasetLayout, Draft, FrameSelection, select_frames


def read_colmap(root: Path, model: Path, selection: FrameSelection) -> Draft:
    """The model's pictures, by name: a static scene, or the instants of a standing rig.

    Raises DatasetError D02, D08, D10; single views' are collected.
    """
    draft = read_model(root, model)
    return as_rig(draft, selection) or as_instants(draft, selection) or _static(draft, selection, root)


def _static(draft: Draft, selection: FrameSelection, root: Path) -> Draft:
    select_frames([0], selection, root)
    return draft


def _near(root: Path) -> str | None:
    for folder in (root / name for name in ("sparse/0", "sparse", "colmap/sparse/0", "")):
        there = [p.name for p in sorted(folder.glob("*"))
                 if p.stem in (*FILES, "points3D") and p.suffix in (".bin", ".txt")]
        if there and folder.is_dir():
            missing = [name for name in FILES if not any(t.startswith(f"{name}.") for t in there)]
            where = folder.relative_to(root)
            lacking = " and no ".join(missing) or "pair of one kind"
            return f"{where}/ holds {', '.join(there)}, but no {lacking} (.bin or .txt)"
    if (root / "database.db").is_file():
        return "database.db is there, but no sparse/: COLMAP's mapper has not run, or has failed"
    return "sparse/ is there, but holds no model" if (root / "sparse").is_dir() else None


LAYOUT = DatasetLayout(
    "COLMAP",
    (("COLMAP", "a sparse model, binary or text, in `sparse/0`, `sparse`, `colmap/sparse/0`, `dense/sparse`, "
      "`distorted/sparse/0` or the folder itself, of several (`sparse/0`, `sparse/1`, …) the one with the most "
      "pictures; pictures in `images/`, `input/` or beside (or `images_2/`, …, with intrinsics scaled), masks as "
      "`masks/NAME.png`"),
     ("a rig that COLMAP has calibrated", "the same, where `images/CAMERA/0000.png`, `images/CAMERA/0001.png`, … are "
      "instants, or the model has one picture `CAMERA.png` for each video `CAMERA.mp4` or folder `CAMERA/` of "
      "pictures")),
    find_model, read_colmap, _near, "right, down, forward", "the corner", "as it is", "auto")
