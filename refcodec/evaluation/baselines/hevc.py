"""Grids and planes as pictures of a video (the way of TeTriRF, Wu et al., CVPR 2024).

Each tensor is normalised to 8 bits over its range in the whole sequence; its channels (of
a grid: the slices of its channels along z) are the tiles of one grey picture, one picture
a frame, coded by x265. Lines and networks have 8 bits as in `scalar.eight_bits`.
"""
from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UsageError
from ...syntax.headers import SequenceHeader
from .base import FieldBaseline, within
from .container import Component, DamagedFile, Packer, Unpacker, read_fields, write_fields
from .scalar import assemble, dequantise, eight_bits, eight_bits_inverse, quantise
from .sequence import FieldSequence, axes

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

_SMALLEST = 64  # of a picture's sides: one coding tree unit
_MULTIPLE = 8  # x265's smallest coding unit
_RANGE_SIZE = struct.calcsize("<ff")


def missing() -> str | None:
    """Why there is no HEVC here; None: there is."""
    try:
        import av
    except ImportError:
        return 'the package av is missing: pip install "refcodec[evaluate]"'
    try:
        av.codec.Codec("libx265", "w"), av.codec.Codec("hevc", "r")
    except av.codec.codec.UnknownCodecError:
        return "FFmpeg's libraries have no libx265"
    return None


def encode_video(pictures: Sequence[np.ndarray], intra: Sequence[bool], crf: float, *, colour: bool = False,
                 lossless: bool = False, b_frames: int = 0, references: int = 3) -> bytes:
    """Pictures (h, w) or (h, w, 3) uint8 of one size as an HEVC elementary stream.

    intra: which are coded without any other. crf: constant rate factor. colour: sRGB,
    coded as 4:2:0; else grey. lossless: `crf` has no meaning. Raises UsageError.
    """
    import av

    height, width = (max(_SMALLEST, -(-n // _MULTIPLE) * _MULTIPLE) for n in pictures[0].shape[:2])
    context = av.CodecContext.create("libx265", "w")
    context.width, context.height = width, height
    context.pix_fmt = "yuv420p" if colour else "gray"
    context.time_base = Fraction(1, 25)
    # No text of the encoder's in the stream; I-frames only where they are asked for.
    parameters = dict(log_level="none", info=0, keyint=-1, scenecut=0, bframes=b_frames, ref=references,
                      frame_threads=1, open_gop=0, lossless=int(lossless), repeat_headers=1)
    context.options = {
        "crf": f"{crf:g}", "preset": "slow", "tune": "psnr", "forced-idr": "1",
        "x265-params": ":".join(f"{k.replace('_', '-')}={v}" for k, v in parameters.items())}
    try:
        return _encoded(context, pictures, intra, colour)
    except (av.FFmpegError, ValueError) as e:
        raise UsageError(f"x265 can't code pictures of {width}x{height}: {str(e).splitlines()[0]}") from None


def _encoded(context: VideoCodecContext, pictures: Sequence[np.ndarray], intra: Sequence[bool],
             colour: bool) -> bytes:
    import av
    from av.video.frame import PictureType

    height, width, packets = context.height, context.width, []
    for position, (picture, first) in enumerate(zip(pictures, intra, strict=True)):
        padding = [(0, height - picture.shape[0]), (0, width - picture.shape[1]), (0, 0)][: picture.ndim]
        padded = np.ascontiguousarray(np.pad(picture, padding, "edge"))
        frame = av.VideoFrame.from_ndarray(padded, format="rgb24" if colour else "gray")
        if colour:
            frame = frame.reformat(format="yuv420p", threads=1)
        frame.pts, frame.pict_type = position, PictureType.I if first else PictureType.NONE
        packets += context.encode(frame)
    packets += context.encode(None)
    return b"".join(bytes(p) for p in packets)


def decode_video(data: bytes, count: int, height: int, width: int, *, colour: bool = False) -> list[np.ndarray]:
    """The `count` pictures of `encode_video`. Raises DamagedFile."""
    import av

    context = av.CodecContext.create("hevc", "r")
    context.thread_count = 1
    try:
        frames = [f for packet in [*context.parse(data), *context.parse(None)] for f in context.decode(packet)]
        frames += context.decode(None)
    except av.FFmpegError as e:
        raise DamagedFile(f"the HEVC stream of the baseline's file is damaged: {e.strerror}") from None
    if len(frames) != count or any(f.width < width or f.height < height for f in frames):
        raise DamagedFile(f"the HEVC stream of the baseline's file has not {count} pictures of {width}x{height}")
    # One thread: conversions on several were seen to leave parts of small pictures unwritten.
    return [f.to_ndarray(format="rgb24" if colour else "gray", threads=1)[:height, :width] for f in frames]


def mosaic_shape(shape: Sequence[int]) -> tuple[int, int, int, int, int]:
    """(tiles, tile height, tile width, rows, columns) of the picture of a tensor (C, z, y, x): about square."""
    channels, *spatial = shape
    sides = [n for n in spatial if n > 1]
    tiles, (height, width) = channels * math.prod(sides[:-2]), sides[-2:]
    columns = min(tiles, max(1, round(math.sqrt(tiles * height / width))))
    return tiles, height, width, -(-tiles // columns), columns


def to_picture(values: np.ndarray) -> np.ndarray:
    """(C, z, y, x) -> (rows * tile height, columns * tile width)."""
    tiles, height, width, rows, columns = mosaic_shape(values.shape)
    padded = np.zeros((rows * columns, height, width), values.dtype)
    padded[:tiles] = values.reshape(tiles, height, width)
    return padded.reshape(rows, columns, height, width).swapaxes(1, 2).reshape(rows * height, columns * width)


def from_picture(picture: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Inverse of `to_picture`."""
    tiles, height, width, rows, columns = mosaic_shape(shape)
    found = picture.reshape(rows, height, columns, width).swapaxes(1, 2).reshape(-1, height, width)
    return found[:tiles].reshape(shape)


class HevcPlanes(FieldBaseline):
    """Grids and planes by x265, a stream each; I-frames where groups begin, P-frames after them."""

    name, title = "hevc", "HEVC (x265) on grids and planes as pictures"
    parameter, values = "CRF", (14, 20, 26, 31)

    def __init__(self, lossless: bool = False):
        self.lossless = lossless

    def unavailable(self) -> str | None:
        return missing()

    def check(self, value: float) -> str | None:
        return within(value, 0, 51, whole=False)

    def encode(self, sequence: FieldSequence, value: float) -> bytes:
        packer, intra = Packer(), [f.intra for f in sequence.frames]
        write_fields(packer, sequence)
        pictured, others = _pictured(sequence.header)
        for i in pictured:
            sent, integers = quantise(np.stack([f.tensors[i] for f in sequence.frames]), 8)
            packer.add(Component.GRIDS, sent + encode_video([to_picture(q) for q in integers], intra, value,
                                                            lossless=self.lossless))
        eight_bits(packer, Component.GRIDS, sequence, others)
        eight_bits(packer, Component.NETWORKS, sequence, sequence.networks)
        return packer.data()

    def decode(self, data: bytes) -> FieldSequence:
        unpacker = Unpacker(data)
        header, intra, occupancies = read_fields(unpacker)
        tensors: list[dict[int, np.ndarray]] = [{} for _ in intra]
        pictured, others = _pictured(header)
        for i in pictured:
            coded, shape = unpacker.take(Component.GRIDS), header.tensors[i].shape
            _, height, width, rows, columns = mosaic_shape(shape)
            pictures = decode_video(coded[_RANGE_SIZE:], len(intra), rows * height, columns * width)
            for values, picture in zip(tensors, pictures):
                values[i] = dequantise(coded[:_RANGE_SIZE], from_picture(picture, shape))
        for part, ids in ((Component.GRIDS, others), (Component.NETWORKS, FieldSequence(header, ()).networks)):
            for values, found in zip(tensors, eight_bits_inverse(unpacker, part, header, intra, ids)):
                values.update(zip(ids, found))
        return assemble(header, intra, occupancies, tensors)


def _pictured(header: SequenceHeader) -> tuple[list[int], list[int]]:
    """Tensors that become pictures, and the lines."""
    grids = FieldSequence(header, ()).grids
    return ([i for i in grids if axes(header.tensors[i].shape) > 1],
            [i for i in grids if axes(header.tensors[i].shape) <= 1])
