"""Make a small sequence out of a large one: fewer frames, smaller pictures, one transforms.json.

    python demo/prepare.py DATASET OUT --frames 0:8 --downscale 2

reads any layout of docs/datasets.md and writes the sequence layout with RGBA pictures
(masks become alpha). demo/fox was made so.
"""
from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from refcodec.datasets import Dataset, load_dataset
from refcodec.errors import RefcodecError
from refcodec.rendering.cameras import Camera


def parse_frames(_context: click.Context, _parameter: click.Parameter, text: str | None) -> slice | None:
    """"20:40" to a slice over the sequence."""
    if text is None:
        return None
    try:
        first, last = (int(part) if part else None for part in text.split(":"))
    except ValueError as error:
        raise click.BadParameter("expected FIRST:LAST, such as 0:8") from error
    return slice(first, last)


def intrinsics(camera: Camera) -> dict[str, Any]:
    return {"w": camera.width, "h": camera.height, "fl_x": camera.fx, "fl_y": camera.fy,
            "cx": camera.cx, "cy": camera.cy}


def write_sequence(dataset: Dataset, out: Path, downscale: float = 1) -> None:
    """Write `dataset` to the new folder `out`, which appears only when it is complete."""
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "frames").mkdir(parents=True)
    cameras = [view.camera.scaled(1 / downscale) for view in dataset.frames[0].views]
    shared = intrinsics(cameras[0])
    document: dict[str, Any] = shared | {"aabb": dataset.aabb.tolist(), "background": list(dataset.background)}
    if dataset.frame_rate is not None:
        document["frame_rate"] = dataset.frame_rate
    entries, held_out = [], []
    for frame in dataset.frames:
        for view in frame.views:
            name = f"frames/f{frame.number:03d}_c{view.camera_index:02d}.png"
            rgba = np.round(view.load(downscale) * 255).astype(np.uint8)
            Image.fromarray(rgba).save(partial / name, optimize=True)
            camera = view.camera.scaled(1 / downscale)
            pose = np.vstack([camera.camera_to_world, (0, 0, 0, 1)]).tolist()
            own = {key: value for key, value in intrinsics(camera).items() if value != shared[key]}
            entries.append({"file_path": name, "frame": frame.number, "time": frame.time,
                            "camera": view.camera_index, **own, "transform_matrix": pose})
            if view.split == "test":
                held_out.append(name)
    document["test_filenames"] = held_out
    # One line a picture keeps the file readable and its differences small.
    head = json.dumps(document, indent=1)[:-2]
    lines = ",\n  ".join(json.dumps(entry) for entry in entries)
    (partial / "transforms.json").write_text(f'{head},\n "frames": [\n  {lines}\n ]\n}}\n')
    partial.rename(out)


@click.command(help=__doc__)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--frames", callback=parse_frames, metavar="FIRST:LAST", help="Positions in the sequence.")
@click.option("--downscale", type=click.FloatRange(min=1), default=1, show_default=True)
def main(dataset: Path, out: Path, frames: slice | None, downscale: float) -> None:
    if out.exists():
        raise click.ClickException(f"{out} exists")
    try:
        write_sequence(load_dataset(dataset, frames=frames), out, downscale)
    except RefcodecError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
