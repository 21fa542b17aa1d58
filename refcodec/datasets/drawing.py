"""Drawings of a dataset: its cameras and box from three sides, and its pictures with the box in them."""
from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from refcodec.datasets.model import View
from refcodec.datasets.survey import THUMBNAIL, Survey
from refcodec.files import replacing
from refcodec.rendering.cameras import Camera

_PANEL, _MARGIN = 520, 36
_PLANES = ((0, 1, "x, y"), (0, 2, "x, z"), (1, 2, "y, z"))
_PAPER, _INK, _GREY = (255, 255, 255), (30, 30, 30), (150, 150, 150)
_COLOURS = {"train": (40, 90, 200), "test": (220, 130, 0), "blind": (210, 30, 40)}
_BOX = (20, 150, 60)
_BEHIND = (96, 96, 104)  # what transparent pixels are shown on
_EDGES = [(a, b) for a, b in itertools.combinations(range(8), 2) if (a ^ b).bit_count() == 1]
_MAX_PICTURES = 64


def draw_cameras(result: Survey, path: Path) -> None:
    """Cameras as pyramids along their views, and the box, seen along each axis; one scale for all. A PNG."""
    positions = np.array([view.camera.camera_to_world[:, 3] for view in result.views])
    corners = _corners(result.box) if result.box is not None else np.empty((0, 3))
    centre = corners.mean(0) if len(corners) else positions.mean(0)
    size = float(np.median(np.linalg.norm(positions - centre, axis=1))) * 0.18 or 1.0
    frusta = [_frustum(view.camera, size) for view in result.views]
    everything = np.concatenate([corners, *frusta])
    low, high = everything.min(0), everything.max(0)
    scale = (_PANEL - 2 * _MARGIN) / max(float((high - low).max()), 1e-12)
    middle = (low + high) / 2

    image = Image.new("RGB", (3 * _PANEL, _PANEL + 24), _PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default()
    for panel, (right, up, title) in enumerate(_PLANES):
        def at(point: np.ndarray, right: int = right, up: int = up, panel: int = panel) -> tuple[float, float]:
            return (panel * _PANEL + _PANEL / 2 + (point[right] - middle[right]) * scale,
                    _PANEL / 2 - (point[up] - middle[up]) * scale)

        draw.rectangle([panel * _PANEL, 0, (panel + 1) * _PANEL - 1, _PANEL - 1], outline=_GREY)
        draw.text((panel * _PANEL + 8, 6), f"{title} (to the right, up)", _INK, font)
        for a, b in _EDGES if len(corners) else ():
            draw.line([at(corners[a]), at(corners[b])], _BOX, 2)
        for view, frustum in zip(result.views, frusta, strict=True):
            colour = _COLOURS[_status(result, view)]
            for i in range(1, 5):
                draw.line([at(frustum[0]), at(frustum[i])], colour)
                draw.line([at(frustum[i]), at(frustum[i % 4 + 1])], colour)
            x, y = at(frustum[0])
            draw.ellipse([x - 2, y - 2, x + 2, y + 2], colour)
            draw.text((x + 4, y - 11), str(view.camera_index), colour, font)
    x = 8
    for text, colour in (("training view", _COLOURS["train"]), ("held-out view", _COLOURS["test"]),
                         ("does not see the box", _COLOURS["blind"]), ("box", _BOX),
                         (f"panel: {_PANEL / scale:.4g} units", _INK)):
        draw.text((x, _PANEL + 6), text, colour, font)
        x += int(draw.textlength(text, font)) + 24
    with replacing(path) as temporary:
        image.save(temporary)


def draw_contact_sheet(result: Survey, path: Path) -> None:
    """The first sampled frame's pictures, at most 64 evenly chosen, with the box projected into each. A PNG."""
    pictures = [picture for picture in result.pictures if picture.frame == result.pictures[0].frame]
    if len(pictures) > _MAX_PICTURES:
        pictures = [pictures[i] for i in np.linspace(0, len(pictures) - 1, _MAX_PICTURES).round().astype(int)]
    columns = min(len(pictures), max(1, round(len(pictures) ** 0.5 * 1.3)))
    rows = -(-len(pictures) // columns)
    sizes = [_fitted(picture.view.camera) for picture in pictures]
    cell = max(width for width, _ in sizes) + 8, max(height for _, height in sizes) + 22
    sheet = Image.new("RGB", (columns * cell[0] + 8, rows * cell[1] + 8), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for i, (picture, size) in enumerate(zip(pictures, sizes, strict=True)):
        view = picture.view
        alpha = picture.thumbnail[..., 3:]
        shown = picture.thumbnail[..., :3] * alpha + np.array(_BEHIND) / 255 * (1 - alpha)
        thumbnail = Image.fromarray(np.round(shown * 255).astype(np.uint8))
        thumbnail = thumbnail.resize(size, Image.Resampling.BILINEAR)
        if result.box is not None:
            pen = ImageDraw.Draw(thumbnail)
            factor = thumbnail.width / view.camera.width, thumbnail.height / view.camera.height
            for start, end in _projected_edges(view.camera, result.box):
                pen.line([(start[0] * factor[0], start[1] * factor[1]), (end[0] * factor[0], end[1] * factor[1])],
                         (60, 255, 110))
        x, y = 8 + i % columns * cell[0], 8 + i // columns * cell[1]
        sheet.paste(thumbnail, (x, y + 14))
        draw.text((x, y), _label(view, cell[0], draw, font), _COLOURS[_status(result, view)], font)
    with replacing(path) as temporary:
        sheet.save(temporary)


def _status(result: Survey, view: View) -> str:
    return "blind" if view.camera_index in result.blind else view.split


def _label(view: View, width: int, draw: ImageDraw.ImageDraw,
           font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    text = f"{view.camera_index}: {view.camera.name}" + (", held out" if view.split == "test" else "")
    return text if draw.textlength(text, font) < width else str(view.camera_index)


def _fitted(c: Camera) -> tuple[int, int]:
    scale = THUMBNAIL / max(c.width, c.height)
    return max(1, round(c.width * scale)), max(1, round(c.height * scale))


def _corners(box: np.ndarray) -> np.ndarray:
    """(8, 3); bit i of the index chooses the end of axis i."""
    return np.array([[box[i >> axis & 1, axis] for axis in range(3)] for i in range(8)])


def _frustum(c: Camera, size: float) -> np.ndarray:
    """The camera's centre and the corners of its view at the distance `size`: (5, 3)."""
    local = [(0, 0, 0)] + [((u - c.cx) / c.fx * size, (c.cy - v) / c.fy * size, -size)
                           for u, v in ((0, 0), (c.width, 0), (c.width, c.height), (0, c.height))]
    points: np.ndarray = np.array(local) @ c.camera_to_world[:, :3].T + c.camera_to_world[:, 3]
    return points


def _projected_edges(c: Camera, box: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The box's edges as far as they are in front of the camera, in pixels."""
    local = (_corners(box) - c.camera_to_world[:, 3]) @ c.camera_to_world[:, :3]
    near = 1e-3 * max(float(np.abs(local[:, 2]).max()), 1e-12)
    edges = []
    for a, b in _EDGES:
        p, q = local[a], local[b]
        depth = -p[2], -q[2]
        if max(depth) <= near:
            continue
        ends = []
        for this, other, d, e in ((p, q, *depth), (q, p, depth[1], depth[0])):
            point = this if d > near else this + (other - this) * (near - d) / (e - d)
            ends.append(np.array([c.cx - c.fx * point[0] / point[2], c.cy + c.fy * point[1] / point[2]]))
        if np.abs(ends).max() < 1e6:  # Pillow counts in 32 bits
            edges.append((ends[0], ends[1]))
    return edges
