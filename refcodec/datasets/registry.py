"""All layouts, in the order in which they are looked for; the documentation's tables and the schema come from here.

`python -m refcodec.datasets.registry` rewrites both (docs/datasets.md between its markers, dataset.schema.json).
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from refcodec.datasets import (
    actorshq,
    colmap,
    colmap_sequences,
    easyvolcap,
    llff,
    mvhumannet,
    mvsnet,
    nsvf,
    panoptic,
    polycam,
    projections,
    rerf,
    scannetpp,
    sdfstudio,
    transforms,
)
from refcodec.datasets.layout import DatasetLayout
from refcodec.errors import DatasetError

# Calibrations of one program's own come before those that many programs write; one file a frame comes last, as
# numbered JSON files lie beside calibrations of other programs.
LAYOUTS: tuple[DatasetLayout, ...] = (
    actorshq.LAYOUT, rerf.PREPARED, rerf.PUBLISHED, panoptic.LAYOUT, mvhumannet.LAYOUT, easyvolcap.LAYOUT,
    sdfstudio.LAYOUT, scannetpp.LAYOUT, transforms.LAYOUT, colmap_sequences.FOLDERS, colmap.LAYOUT, llff.LAYOUT,
    projections.DTU, projections.MIDDLEBURY, nsvf.LAYOUT, polycam.LAYOUT, mvsnet.LAYOUT, transforms.NUMBERED)
_MARKS = ("<!-- layouts: from refcodec/datasets/registry.py -->", "<!-- conventions: from "
                                                                  "refcodec/datasets/registry.py -->")
_END = "<!-- end -->"


def find_layout(source: Path) -> tuple[DatasetLayout, Any]:
    """The first layout that `source` has, and what it found. Raises DatasetError D01, D03."""
    if not source.exists():
        raise DatasetError("D01", "there is no such file or folder", source)
    if not source.is_dir() and source.suffix.lower() != ".json":
        raise DatasetError("D03", "of files, only .json files can be datasets; give the folder that it is in", source)
    for layout in LAYOUTS:
        if source.is_dir() or layout is transforms.LAYOUT:
            found = layout.find(source)
            if found is not None:
                return layout, found
    raise DatasetError("D03", _unknown(source), source)


def _unknown(source: Path) -> str:
    near = [f"{layout.name}: {told}" for layout in LAYOUTS if (told := layout.near(source))]
    if near:
        return "no known layout. What came near: " + "; ".join(near)
    entries = sorted(path.name + "/" * path.is_dir() for path in source.iterdir() if not path.name.startswith("."))
    seen = ", ".join(entries[:6]) + (f" and {len(entries) - 6} more" if len(entries) > 6 else "")
    inner = [path.name for path in sorted(source.iterdir()) if path.is_dir() and _known(path)]
    if inner:
        return f"no known layout here, but in {', '.join(inner[:4])}: give the path of one scene"
    above = source.resolve().parent
    if above != source.resolve() and _known(above):
        return f"no known layout here, but the folder above is a dataset: give {above}"
    return ("no known layout: there is no calibration of any kind known (transforms.json, a COLMAP model, "
            f"poses_bounds.npy, …; docs/datasets.md has them all), only {seen or 'an empty folder'}. Pictures alone "
            "need poses first: COLMAP, or nerfstudio's ns-process-data")


def _known(folder: Path) -> bool:
    try:
        return any(layout.find(folder) is not None for layout in LAYOUTS[:-1])
    except DatasetError:
        return True
    except OSError:
        return False


# ---- Documentation and schema ------------------------------------------------


def layout_table() -> str:
    lines = ["| layout | files |", "|---|---|"]
    return "\n".join(lines + [f"| {name} | {files} |" for layout in LAYOUTS for name, files in layout.rows])


def convention_table() -> str:
    groups: dict[tuple[str, str, str], list[str]] = {}
    for layout in LAYOUTS:
        if layout.axes:
            groups.setdefault((layout.axes, layout.pixels, layout.world), []).append(layout.name)
    lines = ["| layout | camera axes | pixels are counted from | world |", "|---|---|---|---|"]
    return "\n".join(lines + [f"| {', '.join(names)} | {' | '.join(what)} |" for what, names in groups.items()])


def documented(text: str) -> str:
    """A page with its tables between the markers as the registry has them."""
    for mark, table in zip(_MARKS, (layout_table(), convention_table()), strict=True):
        before, rest = text.split(mark + "\n", 1)
        text = before + mark + "\n" + table + "\n" + rest[rest.index(_END):]
    return text


def with_layouts(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of `dataset check --json` with the layouts that there are."""
    names = list(dict.fromkeys(layout.name for layout in LAYOUTS))
    return schema | {"properties": schema["properties"] | {"layout": {"enum": [*names, None]}}}


def _main() -> None:
    package = Path(__file__).resolve().parent.parent
    page, schema = package.parent / "docs/datasets.md", package / "schemas/dataset.schema.json"
    page.write_text(documented(page.read_text("utf-8")), "utf-8")
    schema.write_text(json.dumps(with_layouts(json.loads(schema.read_text("utf-8"))), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    _main()
