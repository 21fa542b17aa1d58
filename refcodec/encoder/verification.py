"""Verification ends every encode: the file is decoded and compared."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..decoding import open_stream
from ..errors import RefcodecError
from ..tensors.reconstruction import tensor_digest


class EncodeDefect(RefcodecError):
    """The encoder produced a file that does not decode to what it encoded."""

    exit_code = 3


def verify(path: Path, expected: Sequence[tuple[int, list[str]]], remark: str = "") -> None:
    """Decodes the file and compares every tensor of every frame.

    expected: for each frame its scene and the digests of its tensors. remark: ends the
    message of a failure. Raises EncodeDefect.
    """
    try:
        with open_stream(path) as stream:
            found = [(f.scene, [tensor_digest(t) for t in f.tensors]) for f in stream]
    except RefcodecError as e:
        raise EncodeDefect(f"the encoded file can't be decoded: {e}{remark}") from e
    if found != list(expected):
        raise EncodeDefect(f"the encoded file decodes to other tensors than were encoded{remark}")
