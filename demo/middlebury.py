"""Makes a dataset out of one of the Middlebury multi-view stereo sets: photographs on black, a `_par.txt`.

    python demo/middlebury.py templeSparseRing temple --box -0.073568 0.021728 -0.012445 0.028855 0.181892 0.062736 \\
        --scale 12 --test templeSR0005.png templeSR0013.png

OUT gets RGBA pictures and a `transforms.json`. Background is what is dark and reaches a corner of the picture (the
object lies on a dark cloth), what is black wherever it is (openings that one sees through), and every pixel whose ray
misses the box. `--box` is in the set's README; its centre becomes the origin.
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from refcodec.datasets import checks
from refcodec.rendering.cameras import Camera

_DARK, _BLACK = 64, 16  # brightest channel of the background: from the corners, and enclosed
_CLOSING = 9  # pixels across which the object's outline is closed, and dark spots are the object's
_MARGIN = 1.03  # of the box


def brighter(picture: Image.Image, than: int) -> Image.Image:
    """255 where the picture is brighter, and across gaps of `_CLOSING` pixels."""
    bright = Image.fromarray((np.asarray(picture).max(2) > than).astype(np.uint8) * 255)
    return bright.filter(ImageFilter.MaxFilter(_CLOSING)).filter(ImageFilter.MinFilter(_CLOSING))


def alpha_of(picture: Image.Image, in_box: np.ndarray) -> Image.Image:
    """255 where the object is, with dark places inside it. in_box: bool (h, w), pixels whose rays meet the box."""
    outline = brighter(picture, _DARK)
    width, height = outline.size
    for corner in ((0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)):
        if outline.getpixel(corner) == 0:
            ImageDraw.floodfill(outline, corner, 128)
    found = (np.asarray(outline) != 128) & (np.asarray(brighter(picture, _BLACK)) == 255) & in_box
    return Image.fromarray(found.astype(np.uint8) * 255)


def meets(entry: dict[str, Any], size: tuple[int, int], box: np.ndarray) -> np.ndarray:
    """Which pixels of an entry's picture have rays that meet the box: bool (h, w)."""
    width, height = size
    pose = np.array(entry["transform_matrix"])[:3]
    camera = Camera(width, height, *(entry[key] for key in ("fl_x", "fl_y", "cx", "cy")), pose)
    origins, directions = camera.rays()
    return checks.hits(origins[0], directions, box).reshape(height, width)


def entry(line: str, centre: np.ndarray, scale: float) -> dict[str, Any]:
    """An entry of `frames` from a line of `_par.txt`: name, K, R, t; x = K (R X + t), first pixel at (0, 0)."""
    name, *numbers = line.split()
    values = np.array([float(n) for n in numbers])
    k, r, t = values[:9].reshape(3, 3), values[9:18].reshape(3, 3), values[18:]
    pose = np.eye(4)
    pose[:3, :3] = r.T @ np.diag([1.0, -1.0, -1.0])
    pose[:3, 3] = (-r.T @ t - centre) * scale
    return {"file_path": name, "fl_x": k[0, 0], "fl_y": k[1, 1], "cx": k[0, 2] + 0.5, "cy": k[1, 2] + 0.5,
            "transform_matrix": pose.tolist()}


def cameras_of(source: Path) -> Path:
    """The set's `_par.txt`."""
    found = sorted(source.glob("*_par.txt"))
    if len(found) != 1:
        raise SystemExit(f"{source} should hold one file *_par.txt; it has {len(found)}")
    return found[0]


def convert(source: Path, out: Path, box: np.ndarray, scale: float, test: list[str]) -> None:
    """box: (2, 3), in the set's units. scale: of the dataset's units to those. test: pictures to hold out."""
    lines = cameras_of(source).read_text().splitlines()[1:]
    centre = box.mean(0)
    frames = [entry(line, centre, scale) for line in lines if line.strip()]
    aabb = (box - centre) * scale * _MARGIN
    out.mkdir(parents=True, exist_ok=True)
    for frame in frames:
        picture = Image.open(source / frame["file_path"]).convert("RGB")
        picture.putalpha(alpha_of(picture, meets(frame, picture.size, aabb)))
        picture.save(out / frame["file_path"])
    (out / "transforms.json").write_text(json.dumps(dict(aabb=aabb.tolist(), background=[0, 0, 0], test_filenames=test,
                                                         frames=frames), indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder of the set")
    parser.add_argument("out", type=Path)
    parser.add_argument("--box", type=float, nargs=6, required=True, help="low corner, high corner")
    parser.add_argument("--scale", type=float, default=1.0, help="units of the dataset in one of the set's")
    parser.add_argument("--test", nargs="*", default=[], help="pictures to hold out")
    arguments = parser.parse_args()
    convert(arguments.source, arguments.out, np.reshape(arguments.box, (2, 3)), arguments.scale, arguments.test)


if __name__ == "__main__":
    main()
