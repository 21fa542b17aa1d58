"""Rendered views as files: PNG, depth PNG, comparison pictures, MP4 (spec 9.4).

Every file is written under a temporary name beside its own and renamed when complete.
"""
from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from refcodec.errors import UsageError
from refcodec.files import replacing

DEPTH_UNIT_KEY = "depth_unit"
# Dark to bright, through distinct hues, so that order shows in grey print as well.
_COLOUR_MAP = np.array(
    [(0, 0, 20), (60, 15, 110), (145, 35, 105), (220, 75, 60), (250, 155, 30), (250, 250, 165)]
) / 255


def to_8bit(rgb: np.ndarray) -> np.ndarray:
    """Values in [0, 1] to 8 bits: floor(255 v + 0.5), after clipping (spec 9.4). NaN: UsageError."""
    rgb = np.asarray(rgb)
    if rgb.dtype == np.uint8:
        return rgb
    if np.isnan(rgb).any():
        raise UsageError("the picture holds values that are not numbers")
    return np.floor(rgb.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def write_png(path: str | os.PathLike[str], rgb: np.ndarray) -> None:
    """Write (h, w, 3) sRGB values in [0, 1], or uint8, as an 8-bit PNG."""
    image = Image.fromarray(to_8bit(rgb))
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")


def depth_unit(longest: float) -> float:
    """The smallest power of two by which `longest` scene units still fit 16 bits."""
    if not (math.isfinite(longest) and longest >= 0):
        raise UsageError(f"a depth must be finite and not negative, not {longest}")
    return 2.0 ** math.ceil(math.log2(max(longest, 2.0**-100) / 65535))


def write_depth_png(
    path: str | os.PathLike[str], depth: np.ndarray, opacity: np.ndarray, unit: float | None = None
) -> None:
    """Write depth (h, w) in scene units as a 16-bit grey PNG (spec 9.4).

    A pixel holds its depth in multiples of `unit` (clipped to 1..65535), or 0 where
    opacity (h, w) is below 1/2. The unit is written as a text chunk, `depth_unit`; by
    default it is the `depth_unit` of the greatest depth. Use one unit for a sequence.
    """
    seen = np.asarray(opacity) >= 0.5
    depth = np.where(seen, depth, 0).astype(np.float64)
    if unit is None:
        unit = depth_unit(float(depth.max(initial=0)))
    if not (unit > 0 and np.isfinite(depth).all()):
        raise UsageError("depth must be finite and its unit positive")
    grey = np.where(seen, np.floor(depth / unit + 0.5).clip(1, 65535), 0).astype(np.uint16)
    text = PngInfo()
    text.add_text(DEPTH_UNIT_KEY, repr(float(unit)))
    with replacing(path) as temporary:
        Image.fromarray(grey).save(temporary, format="PNG", pnginfo=text)


def colour_map(values: np.ndarray) -> np.ndarray:
    """Values (...) in [0, 1], clipped, to colours (..., 3) from dark to bright."""
    place = np.nan_to_num(np.asarray(values, np.float64), nan=1.0).clip(0, 1)
    stops = np.linspace(0, 1, len(_COLOUR_MAP))
    return np.stack([np.interp(place, stops, channel) for channel in _COLOUR_MAP.T], axis=-1)


def colour_depth(depth: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Depth (h, w) as a picture (h, w, 3): near is bright, empty (opacity < 1/2) is white."""
    seen = np.asarray(opacity) >= 0.5
    picture = np.ones((*seen.shape, 3))
    if seen.any():
        low, high = depth[seen].min(), depth[seen].max()
        picture[seen] = colour_map(1 - 0.9 * (depth[seen] - low) / max(high - low, 1e-30))
    return picture


def composite(rgba: np.ndarray, background: Sequence[float]) -> np.ndarray:
    """Straight-alpha (h, w, 4) over a colour of three channels: (h, w, 3) (spec 9.3)."""
    alpha = rgba[..., 3:]
    over: np.ndarray = rgba[..., :3] * alpha + (1 - alpha) * np.asarray(background, rgba.dtype)
    return over


def comparison(
    truth: np.ndarray,
    render: np.ndarray,
    *,
    caption: str = "",
    gain: float = 5.0,
) -> np.ndarray:
    """Ground truth, render and their difference side by side, labelled: (h', w', 3) uint8.

    truth, render: (h, w, 3) in [0, 1]. caption: added to the render's label (its PSNR,
    say). gain: the difference (mean over channels, absolute) is multiplied by it before
    the colour map. Small pictures are enlarged by a whole factor, so that labels fit.
    """
    truth, render = np.asarray(truth, np.float64), np.asarray(render, np.float64)
    if truth.shape != render.shape or truth.ndim != 3 or truth.shape[2] != 3:
        raise UsageError(f"pictures of shapes {truth.shape} and {render.shape} can't be compared")
    error = colour_map(gain * np.abs(truth - render).mean(-1))
    panels = [to_8bit(p) for p in (truth, render, error)]
    zoom = max(1, math.ceil(240 / truth.shape[1]))
    panels = [p.repeat(zoom, 0).repeat(zoom, 1) for p in panels]
    height, width = panels[0].shape[:2]
    text = max(11, width // 24)
    bar, gap = text + text // 2 + 2, max(2, width // 80)

    sheet = Image.new("RGB", (3 * width + 2 * gap, height + bar), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=text)
    labels = ("ground truth", f"render  {caption}".strip(), f"error x{gain:g}")
    for i, (panel, label) in enumerate(zip(panels, labels)):
        left = i * (width + gap)
        sheet.paste(Image.fromarray(panel), (left, bar))
        draw.text((left + text // 3, bar // 2), label, fill="black", font=font, anchor="lm")
    return np.asarray(sheet)


def stack(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures (h, w, 3) of equal width, one below the other, as uint8."""
    return np.concatenate([to_8bit(p) for p in pictures])


def write_video(path: str | os.PathLike[str], frames: Iterable[np.ndarray], fps: float) -> int:
    """Write pictures (h, w, 3) of one size as an H.264 MP4; returns how many.

    frames are taken one at a time, so they may be a generator; an odd width or height
    is completed by repeating the last column or row. Raises UsageError without
    imageio-ffmpeg, without frames, for frames of different sizes, or if ffmpeg fails.
    """
    try:
        import imageio_ffmpeg
    except ImportError:
        raise UsageError("writing MP4 needs ffmpeg: pip install refcodec[video]") from None
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise UsageError(f"a video is written as .mp4, not {path.name}")
    if not (math.isfinite(fps) and fps > 0):
        raise UsageError(f"the frame rate must be positive, not {fps}")
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise UsageError("a video needs at least one frame")
    height, width = np.shape(first)[:2]
    count = 0
    with replacing(path) as temporary:
        writer = imageio_ffmpeg.write_frames(
            str(temporary),
            (width + width % 2, height + height % 2),
            fps=fps,
            codec="libx264",
            quality=8,
            macro_block_size=2,
            ffmpeg_log_level="error",
        )
        try:
            writer.send(None)
            for frame in itertools.chain([first], frames):
                if np.shape(frame) != (height, width, 3):
                    raise UsageError(
                        f"frame {count} is {np.shape(frame)}, the first ({height}, {width}, 3)"
                    )
                frame = np.pad(
                    to_8bit(frame), ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"
                )
                writer.send(np.ascontiguousarray(frame))
                count += 1
        finally:
            writer.close()
        if not temporary.exists() or temporary.stat().st_size == 0:
            raise UsageError(f"ffmpeg wrote no video to {path}")
    return count
