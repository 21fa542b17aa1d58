"""A view's pixels, decoded at about the size that is wanted, in parallel, and kept for the next time."""
from __future__ import annotations

import math
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from refcodec.datasets.videos import read_picture, video_header
from refcodec.errors import DatasetError

if TYPE_CHECKING:
    from refcodec.datasets.model import View

# 16-bit and floating-point pictures: Pillow would clip them to 8 bits without a word.
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_MOST_PIXELS = 1 << 27
_ORIENTATION = 0x0112  # EXIF
_TRANSPOSES = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
               5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
               8: Image.Transpose.ROTATE_90}
TURNED = (5, 6, 7, 8)  # orientations that swap width and height
_KEPT = 0.999  # of a pixel's area, that a mask has to leave visible
_CACHE_BYTES = 256 << 20
_THREADS = 8

Loaded = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class ImageHeader:
    """The header of an image file. orientation: EXIF's, 1 where it has none."""

    width: int
    height: int
    has_alpha: bool
    orientation: int = 1


def read_header(path: Path, position: int | None = None) -> ImageHeader:
    """Size and alpha of an image without decoding it, or of a video's. Raises DatasetError D05."""
    if position is not None:
        header = video_header(path)
        return ImageHeader(header.width, header.height, header.has_alpha)
    with _opened(path) as image:
        has_alpha = "A" in image.getbands() or "transparency" in image.info
        try:
            orientation = image.getexif().get(_ORIENTATION, 1)
        except Exception:  # damaged metadata do not hinder the picture
            orientation = 1
        return ImageHeader(*image.size, has_alpha, orientation if orientation in _TRANSPOSES else 1)


def _opened(path: Path) -> Image.Image:
    """An image of which the head has been read and found sound. Raises DatasetError D05."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # there is a limit of our own
            image = Image.open(path)
    except Exception as error:  # Pillow's parsers raise many types on damaged files
        raise DatasetError("D05", f"can't read the image: {error}", path) from error
    width, height = image.size
    if image.mode in _DEEP_MODES:
        image.close()
        raise DatasetError("D05", f"pixels of type {image.mode}; 8 bits per channel are supported: export 8-bit PNG or "
                           "JPEG", path)
    if width * height > _MOST_PIXELS:
        image.close()
        raise DatasetError("D05", f"the image claims {width}x{height} pixels, more than {_MOST_PIXELS >> 20} million: "
                           "make it smaller", path)
    return image


def load_view(view: View, downscale: float) -> Loaded:
    """`View.load` and `View.kept`; see there."""
    key = _key(view, downscale)
    found = _cache.get(key) if key else None
    if found is None:
        found = _loaded(view, downscale)
        if key:
            _cache.put(key, found)
    rgba, kept = found
    return rgba.copy(), None if kept is None else kept.copy()


def load_views(views: Sequence[View], downscale: float = 1,
               on_progress: Callable[[int, int], None] | None = None) -> list[Loaded]:
    """(`load`, `kept`) of all views, several at a time; on_progress: called with the number done, and of all.

    Raises DatasetError as `View.load`, of the first view in order that has one.
    """
    results: list[Loaded] = []
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        jobs = [pool.submit(load_view, view, downscale) for view in views]
        try:
            for job in jobs:
                if on_progress:
                    on_progress(len(results), len(jobs))
                results.append(job.result())
        finally:
            for job in jobs:
                job.cancel()
    return results


def _loaded(view: View, downscale: float) -> Loaded:
    target = view.camera.scaled(1 / downscale) if downscale != 1 else view.camera
    # A lens is undone at twice the size that is wanted, so that resampling does not blur.
    factor = downscale if view.lens is None else max(1.0, downscale / 2)
    multiplies = view.mask is not None and view.mask_use == "foreground"
    # Reduced decoding mixes what a mask is to tell apart, and the mask would come too late.
    part, extent = _decoded(view, 1 if multiplies else _power(factor))
    pixels = part.astype(np.float32)
    pixels /= 255
    kept = None
    if view.mask is not None:
        mask = _mask(view, part.shape[:2])
        if multiplies:
            if pixels.shape[2] == 3:
                pixels = np.concatenate([pixels, np.ones((*pixels.shape[:2], 1), np.float32)], -1)
            pixels[..., 3] *= mask
        else:
            kept = mask[..., None]
    size = target.width, target.height
    if view.lens is None and (pixels.shape[1], pixels.shape[0]) == size == extent:
        return _opaque(pixels), None if kept is None else kept[..., 0] >= _KEPT
    if pixels.shape[2] == 4:
        pixels[..., :3] *= pixels[..., 3:]
    if view.lens is not None:
        width, height = view.file_size
        middle = view.camera if factor == 1 else view.camera.scaled(1 / factor)
        small = (width, height) if factor == 1 else (max(1, round(width / factor)), max(1, round(height / factor)))
        if not small == (pixels.shape[1], pixels.shape[0]) == extent:
            pixels = area_mean(pixels, *small, extent)
            kept = None if kept is None else area_mean(kept, *small, extent)
        scale = small[0] / width, small[1] / height
        pixels = view.lens.resample(pixels, middle, scale)
        kept = None if kept is None else view.lens.resample(kept, middle, scale)
        extent = middle.width, middle.height
    if not (pixels.shape[1], pixels.shape[0]) == size == extent:
        pixels = area_mean(pixels, *size, extent)
        kept = None if kept is None else area_mean(kept, *size, extent)
    return straight(pixels), None if kept is None else kept[..., 0] >= _KEPT


def _opaque(pixels: np.ndarray) -> np.ndarray:
    """Straight RGBA out of the same, or RGB."""
    if pixels.shape[2] == 4:
        return pixels
    out = np.ones((*pixels.shape[:2], 4), np.float32)
    out[..., :3] = pixels
    return out


def straight(pixels: np.ndarray) -> np.ndarray:
    """Straight-alpha RGBA out of premultiplied RGBA or opaque RGB, (h, w, 4) float32 in [0, 1]."""
    if pixels.shape[2] == 3:
        return _opaque(pixels.clip(0, 1))
    out = pixels.astype(np.float32)
    alpha = out[..., 3:]
    out[..., :3] = np.divide(out[..., :3], alpha, out=np.zeros_like(out[..., :3]), where=alpha > 0)
    clipped: np.ndarray = out.clip(0, 1)
    return clipped


def area_mean(pixels: np.ndarray, width: int, height: int, extent: tuple[float, float] | None = None) -> np.ndarray:
    """Means of an (h, w, c) picture over areas: (height, width, c) float32.

    extent: how far the picture reaches, in its own pixels, where its last row and column are only partly its own.
    """
    right, bottom = extent or (pixels.shape[1], pixels.shape[0])
    rows, columns = _area_weights(pixels.shape[0], height, bottom), _area_weights(pixels.shape[1], width, right)
    h, w, channels = pixels.shape
    mean = (rows @ pixels.reshape(h, w * channels)).reshape(height, w, channels)
    shrunk: np.ndarray = np.matmul(columns, mean)
    return shrunk


def _area_weights(size: int, target: int, extent: float) -> np.ndarray:
    """(target, size) float32: the share of each source pixel in each target pixel; rows sum to 1."""
    edges = np.linspace(0, extent, target + 1)
    pixel = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    weights: np.ndarray = (overlap.clip(min=0) * (target / extent)).astype(np.float32)
    return weights


def _power(factor: float) -> int:
    """The largest of JPEG's reductions that leaves enough."""
    return next(s for s in (8, 4, 2, 1) if s <= factor)


def _decoded(view: View, reduction: int) -> tuple[np.ndarray, tuple[float, float]]:
    """Pixels (h, w, 3 or 4) uint8, upright as calibrated, at least 1/reduction of the size, and their extent."""
    path, size = view.image, view.file_size
    if view.image_position is not None:
        header = video_header(path)
        _check_size((header.width, header.height), size, path)
        return read_picture(path, view.image_position, "RGBA" if header.has_alpha else "RGB"), size
    with _opened(path) as image:
        actual = image.size[::-1] if view.orientation in TURNED else image.size
        _check_size(actual, size, path)
        has_alpha = "A" in image.getbands() or "transparency" in image.info
        try:
            scale = 1
            if reduction > 1 and image.format in ("JPEG", "MPO"):
                full = image.size
                image.draft(None, (math.ceil(full[0] / reduction), math.ceil(full[1] / reduction)))
                scale = next(s for s in (1, 2, 4, 8) if math.ceil(full[0] / s) == image.size[0]
                             and math.ceil(full[1] / s) == image.size[1])
            picture = image.convert("RGBA" if has_alpha else "RGB")
        except Exception as error:  # truncated or damaged pixel data
            raise DatasetError("D05", f"can't decode the image: {error}", path) from error
    extent = (size[0] / scale, size[1] / scale)
    if view.orientation != 1:
        picture = picture.transpose(_TRANSPOSES[view.orientation])
        # Turned, a last column that is partly outside may have become the first: whole pixels only then.
        if scale > 1 and extent != picture.size:
            extent = (float(picture.size[0]), float(picture.size[1]))
    return np.asarray(picture), extent


def mask_of(view: View) -> np.ndarray:
    """Visibility by a view's mask, 0 to 1, at the picture's size: (h, w). Raises DatasetError D05, D12."""
    return _mask(view, view.file_size[::-1])


def _mask(view: View, shape: tuple[int, ...]) -> np.ndarray:
    """Visibility by a mask, 0 to 1, for a picture of `shape`: (h, w) float32. Raises DatasetError D05, D12."""
    path = view.mask
    assert path is not None
    if view.mask_position is not None:
        mask = read_picture(path, view.mask_position, "RGB")[..., 0]
    else:
        with _opened(path) as image:
            try:
                mask = _first_channel(image, view.mask_inverted)
            except Exception as error:
                raise DatasetError("D05", f"can't decode the mask: {error}", path) from error
        if view.orientation != 1 and mask.shape[::-1] != view.file_size:
            mask = np.asarray(Image.fromarray(mask).transpose(_TRANSPOSES[view.orientation]))
    if mask.shape[::-1] != view.file_size and not view.mask_scaled:
        raise DatasetError("D12", f"the mask is {mask.shape[1]}x{mask.shape[0]}, its picture "
                           f"{view.file_size[0]}x{view.file_size[1]}", path)
    share = (mask == 0).astype(np.float32) if view.mask_inverted else mask.astype(np.float32) / 255
    if share.shape != tuple(shape):
        height, width = shape
        if share.shape[0] >= height and share.shape[1] >= width:
            share = area_mean(share[..., None], width, height)[..., 0]
        else:
            share = np.asarray(Image.fromarray(share).resize((width, height), Image.Resampling.BILINEAR))
    return share


def _first_channel(image: Image.Image, any_channel: bool) -> np.ndarray:
    """(h, w) uint8 of a mask: its first channel, or what stands for it."""
    if image.mode == "P" and "transparency" not in image.info:  # labels in colours: the first is the background's
        colours = np.asarray(image.convert("RGB"))
        labels: np.ndarray = colours.max(-1)
        return labels if np.array_equal(labels, colours.min(-1)) else (labels > 0) * np.uint8(255)
    if "A" in image.getbands() or "transparency" in image.info:
        bands = np.asarray(image.convert("RGBA"))
        # A mask that is drawn in alpha alone has the same colour everywhere.
        mask = bands[..., 0] if np.ptp(bands[..., 0]) or not np.ptp(bands[..., 3]) else bands[..., 3]
    else:
        rgb = np.asarray(image.convert("RGB"))
        mask = rgb.max(-1) if any_channel else rgb[..., 0]
    return mask * np.uint8(255) if mask.size and mask.max() == 1 else mask  # 0 and 1 are labels


def _check_size(actual: tuple[int, int], wanted: tuple[int, int], path: Path) -> None:
    if actual != wanted:
        raise DatasetError("D07", f"the picture is {actual[0]}x{actual[1]}, the camera {wanted[0]}x{wanted[1]}", path)


# ---- What was loaded before --------------------------------------------------


class _Cache:
    """Loaded views, those used longest ago dropped; safe for use from several threads."""

    def __init__(self) -> None:
        self.views: OrderedDict[object, Loaded] = OrderedDict()
        self.bytes = 0
        self.lock = threading.Lock()

    def get(self, key: object) -> Loaded | None:
        with self.lock:
            found = self.views.get(key)
            if found:
                self.views.move_to_end(key)
            return found

    def put(self, key: object, loaded: Loaded) -> None:
        size = _bytes(loaded)
        if size > _CACHE_BYTES // 8:
            return
        with self.lock:
            if key in self.views:
                return
            self.views[key] = loaded
            self.bytes += size
            while self.bytes > _CACHE_BYTES:
                self.bytes -= _bytes(self.views.popitem(last=False)[1])


def _bytes(loaded: Loaded) -> int:
    return loaded[0].nbytes + (0 if loaded[1] is None else loaded[1].nbytes)


def _key(view: View, downscale: float) -> object:
    """Cache key of a view's pixels, dates and sizes of files included; None where a file can't be looked at."""
    try:
        files = [(str(p), s.st_mtime_ns, s.st_size) for p in (view.image, view.mask) if p is not None
                 for s in (os.stat(p),)]
    except (OSError, ValueError):
        return None
    c = view.camera
    return (tuple(files), c.width, c.height, c.fx, c.fy, c.cx, c.cy, view.lens, view.image_position,
            view.mask_position, view.orientation, view.mask_use, view.mask_inverted, view.mask_scaled, downscale)


_cache = _Cache()
