"""Judges any renderer by the render vectors (docs/conformance.md) and the tolerance of spec 9.5.

A renderer is a command that draws a frame of a stream as a camera of its cameras unit sees it, as binary32 numbers or
as an 8-bit PNG file. Needs neither numpy nor torch; Pillow only where a renderer writes PNG files.
"""
from __future__ import annotations

import json
import math
import os
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from .runner import Decoder, Result, Suite, Vector, Verdict, last_words

if TYPE_CHECKING:
    from ..rendering.march import Picture

RENDERS = "rfv-renders 1"
STORED, WRITTEN = 6, 5  # numbers of a pixel in a stored picture and in one that a renderer writes
_PNG = b"\x89PNG\r\n\x1a\n"
# Spec 9.5: bounds of the mean square, of the error, and with 8 bits of the same, in units of 1 / 255.
_MEAN_SQUARE, _LARGEST = 1e-6, 1 / 64
_MEAN_SQUARE_8, _LARGEST_8 = 255**2 * 1e-5, 4
_OPAQUE = 0.5


@dataclass(frozen=True, slots=True)
class RenderVector(Vector):
    """A picture that is wanted. frame: its number. camera: its place in the cameras unit. step: of the ray (9.2)."""

    frame: int
    camera: int
    width: int
    height: int
    step: float


@dataclass(frozen=True, slots=True)
class Renderer(Decoder):
    """A renderer's command line with `{input}`, `{frame}`, `{camera}` and `{output}`, and the limits of each run."""

    @property
    def places(self) -> tuple[str, ...]:
        return "{input}", "{frame}", "{camera}", "{output}"

    @property
    def option(self) -> str:
        return "--renderer"

    def fillings(self, vector: Vector) -> dict[str, str]:
        assert isinstance(vector, RenderVector)
        return {"{frame}": str(vector.frame), "{camera}": str(vector.camera)}

    def judge_run(self, vector: Vector, status: int, output: Path, errors: Path) -> Result:
        assert isinstance(vector, RenderVector)
        try:
            written = output.read_bytes()
        except OSError:
            return Result(vector, Verdict.CRASH, f"exit status {status} and no picture{last_words(errors)}")
        if written.startswith(b"unsupported"):
            return Result(vector, Verdict.UNSUPPORTED, written[11:200].decode("ascii", "replace").strip())
        if status != 0:
            return Result(vector, Verdict.CRASH, f"exit status {status}{last_words(errors)}")
        return judge(vector, written)


def load_renders(folder: str | os.PathLike[str]) -> Suite:
    """The render vectors of a suite, one for each picture. Raises UsageError."""
    folder = Path(folder)
    try:
        manifest = json.loads((folder / "renders.json").read_text("utf-8"))
        if manifest["renders"] != RENDERS:
            raise ValueError(f"it does not begin with {RENDERS!r}")
        vectors = tuple(
            RenderVector(f"{v['name']}-{n}", "render", v["description"], ("renders",), None, None,
                         folder / v["stream"], folder / p["path"], p["frame"], p["camera"], p["width"], p["height"],
                         p["step"])
            for v in manifest["vectors"] for n, p in enumerate(v["pictures"]))
        version = str(manifest["specification"])
    except OSError as e:
        raise UsageError(f"can't read the render vectors: {e.filename}: {e.strerror}") from None
    except (ValueError, KeyError, TypeError) as e:
        raise UsageError(f"{folder / 'renders.json'} is not a list of render vectors: {e!r}") from None
    for vector in vectors:
        if not (vector.stream.is_file() and vector.expected.is_file()):
            raise UsageError(f"the suite is incomplete: {vector.name} lacks its files")
    return Suite("RFV render vectors", version, {"renders": "pictures, within the tolerance of section 9.5"}, vectors)


def _pixels(data: bytes, count: int) -> list[array[float]]:
    """Little-endian binary32 numbers, `count` for each pixel."""
    values = array("f")
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return [values[n : n + count] for n in range(0, len(values), count)]


def judge(vector: RenderVector, written: bytes) -> Result:
    """The verdict on a picture: `WRITTEN` numbers a pixel, or a PNG file."""
    count = vector.width * vector.height
    wanted = _pixels(vector.expected.read_bytes(), STORED)
    if written.startswith(_PNG):
        return _judge_8_bits(vector, written, wanted)
    if len(written) != 4 * WRITTEN * count:
        return Result(vector, Verdict.CRASH, f"the picture has {len(written)} bytes; {vector.width} x {vector.height} "
                                             f"pixels of {WRITTEN} numbers have {4 * WRITTEN * count}")
    found = _pixels(written, WRITTEN)
    for n, pixel in enumerate(found):
        if not all(math.isfinite(v) for v in pixel):
            return _broken(vector, "R-RND-15", n, f"is {pixel.tolist()}")
    errors = [(abs(a - b), n) for n, (f, w) in enumerate(zip(found, wanted)) if w[5] for a, b in zip(f[:3], w[:3])]
    if fault := _colour_fault(errors, _MEAN_SQUARE, _LARGEST, 1.0):
        requirement, pixel_number, detail = fault
        return _broken(vector, requirement, pixel_number, detail)
    for n, (f, w) in enumerate(zip(found, wanted)):
        if w[5] and min(f[3], w[3]) >= _OPAQUE and not abs(f[4] - w[4]) <= vector.step / 2:
            return _broken(vector, "R-RND-18", n, f"has depth {f[4]:g} instead of {w[4]:g}; half a step is "
                                                  f"{vector.step / 2:g}")
    return Result(vector, Verdict.PASS)


def _judge_8_bits(vector: RenderVector, written: bytes, wanted: Sequence[Sequence[float]]) -> Result:
    import io

    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(written), formats=["PNG"]) as image:
            size, mode = image.size, image.mode
            data = image.tobytes() if size == (vector.width, vector.height) and mode == "RGB" else b""
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as e:
        return Result(vector, Verdict.CRASH, f"the PNG file can't be read: {e}")
    if not data:
        return Result(vector, Verdict.CRASH, f"the PNG file is {size[0]} x {size[1]} {mode}; "
                                             f"{vector.width} x {vector.height} RGB is wanted")
    errors = [(float(abs(data[3 * n + c] - math.floor(255 * min(max(w[c], 0.0), 1.0) + 0.5))), n)
              for n, w in enumerate(wanted) if w[5] for c in range(3)]
    if fault := _colour_fault(errors, _MEAN_SQUARE_8, _LARGEST_8, 255.0):
        return _broken(vector, "R-RND-19", *fault[1:])
    return Result(vector, Verdict.PASS)


def _colour_fault(errors: Sequence[tuple[float, int]], mean_square: float, largest: float,
                  peak: float) -> tuple[str, int, str] | None:
    """Requirement, pixel and detail of errors (magnitude, pixel) beyond the bounds; None: there are none."""
    mean = sum(e * e for e, _ in errors) / max(len(errors), 1)
    worst, pixel = max(errors, default=(0.0, 0))
    if not mean <= mean_square:
        psnr = 10 * math.log10(peak**2 / mean)
        return "R-RND-16", pixel, f"is {worst:.4g} off; the picture has a PSNR of {psnr:.1f} dB"
    if not worst <= largest:
        return "R-RND-17", pixel, f"is {worst:.4g} off"
    return None


def _broken(vector: RenderVector, requirement: str, pixel: int, detail: str) -> Result:
    row, column = divmod(pixel, vector.width)
    return Result(vector, Verdict.MISMATCH, f"{requirement}: pixel ({column}, {row}) {detail}", frame=vector.frame)


def picture_bytes(picture: Picture) -> bytes:
    """A picture as a renderer writes it: red, green, blue, opacity and depth of each pixel."""
    import numpy as np

    values = np.concatenate([picture.rgb, picture.opacity[..., None], picture.depth[..., None]], -1)
    return values.astype("<f4").tobytes()


def render_vector(path: str, frame: int, camera: int) -> bytes:
    """refcodec's render of a frame, as `picture_bytes`. Raises UsageError where there is no such frame or camera."""
    from ..decoding import open_stream

    with open(path, "rb") as file:
        stream = open_stream(file)
        for found in stream:
            if found.number == frame:
                if camera >= len(stream.cameras):
                    raise UsageError(f"the stream has {len(stream.cameras)} cameras, from 0")
                return picture_bytes(found.render(stream.cameras[camera], backend="numpy"))
    raise UsageError(f"the stream has no frame {frame}")
