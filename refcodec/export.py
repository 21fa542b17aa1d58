"""Decoded frames as files: tensors, digest lists, the sequence's description (docs/cli.md).

A decoder writes the digest list for the conformance suite, which compares it.
"""
from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from .decoding import Frame, Salvage
from .entropy.occupancy import pack
from .errors import BitstreamError, UsageError
from .files import replacing
from .inspection import CameraEntry, camera_dict, error_dict, header_dict
from .rendering.cameras import Camera
from .syntax.headers import SequenceHeader
from .tensors.reconstruction import tensor_digest
from .text import to_json

DIGEST_LIST = "rfv-digests 1"


class DigestList:
    """Writes a digest list line by line, frame by frame (docs/cli.md, "Digest list")."""

    def __init__(self, out: TextIO):
        self.out, self.frames = out, 0
        self._line(DIGEST_LIST)

    def _line(self, *words: object) -> None:
        self.out.write(" ".join(map(str, words)) + "\n")

    def add(self, frame: Frame) -> None:
        self.add_lines(digest_lines(frame))

    def add_lines(self, lines: list[str]) -> None:
        """`digest_lines` of the next frame."""
        for line in lines:
            self._line(line)
        self.frames += 1

    def end(self, error: BitstreamError | None = None) -> None:
        """The last line: the number of frames, or the error that ended decoding."""
        if error is None:
            self._line("end", self.frames)
        else:
            self._line("error", error.code, error.requirement or "-")


def digest_lines(frame: Frame) -> list[str]:
    """The lines of one frame in a digest list."""
    occupancy = "-" if frame.occupancy is None else hashlib.sha256(pack(frame.occupancy)).hexdigest()
    return [f"frame {frame.number} {frame.type.letter} {frame.time_stamp}", f"occupancy {occupancy}",
            *(f"tensor {i} {tensor_digest(tensor)}" for i, tensor in enumerate(frame.tensors))]


def frame_arrays(frame: Frame) -> dict[str, np.ndarray]:
    """`occupancy` (bool, when coded) and `tensor_00`, `tensor_01`, … (int32), as `Frame` has them."""
    arrays = {f"tensor_{i:02d}": np.ascontiguousarray(t) for i, t in enumerate(frame.tensors)}
    if frame.occupancy is not None:
        arrays["occupancy"] = np.ascontiguousarray(frame.occupancy)
    return arrays


def frame_writer(kind: str) -> Callable[[Path, Frame], contextlib.ExitStack]:
    """The function that writes a frame for a folder as `npz` or `safetensors`, under a temporary name.

    The file takes its own name when what the function returns is closed, and is removed when
    that is left with an error. Raises UsageError where the safetensors library is missing.
    """
    if kind == "safetensors":
        try:
            from safetensors.numpy import save_file
        except ImportError:
            raise UsageError("--format safetensors needs the library: pip install safetensors") from None

        def save(path: Path, frame: Frame) -> None:
            save_file(frame_arrays(frame), path, {"frame": str(frame.number)})
    else:
        def save(path: Path, frame: Frame) -> None:
            np.savez(path, **frame_arrays(frame))  # type: ignore[arg-type]  # taken for its option allow_pickle

    def write(folder: Path, frame: Frame) -> contextlib.ExitStack:
        with contextlib.ExitStack() as stack:
            save(stack.enter_context(replacing(folder / frame_file(frame, kind))), frame)
            return stack.pop_all()

    return write


def frame_file(frame: Frame, kind: str) -> str:
    return f"frame_{frame.number:06d}.{kind}"


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_sequence(path: Path, header: SequenceHeader, cameras: list[CameraEntry], metadata: dict[str, str],
                   frames: list[dict[str, Any]]) -> None:
    """`sequence.json`: what the tensors mean.

    cameras: `camera_entry` of each camera. frames: `frame_entry` of each frame written.
    """
    write_text(path, to_json(
        dict(sequence=header_dict(header), cameras=cameras, metadata=metadata, frames=frames)) + "\n")


def camera_entry(c: Camera) -> CameraEntry:
    return camera_dict(c.name, c.width, c.height, (c.fx, c.fy), (c.cx, c.cy),
                       np.asarray(c.camera_to_world)[:3].reshape(-1).tolist(), c.scene)


def frame_entry(frame: Frame, file: str | None) -> dict[str, Any]:
    return dict(number=frame.number, scene=frame.scene, type=frame.type.letter,
                time_stamp=frame.time_stamp,
                seconds=frame.seconds, file=file)


def salvage_dict(report: Salvage) -> dict[str, Any]:
    """`salvage.json`."""
    return dict(decoded=report.decoded, lost=report.lost, errors=[error_dict(e) for e in report.errors])
