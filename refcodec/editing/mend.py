"""Correction of a single wrong byte in the short units that all others depend on.

In data this short a CRC-32 identifies the changed byte and its value: the difference between stated and computed
checksum belongs to one change alone, up to a probability of 2**-32 for each possible change.
"""
from __future__ import annotations

import mmap
import struct
import zlib
from functools import cache

import numpy as np

from ..errors import BitstreamError
from ..syntax import structures as syn
from ..syntax.registry import LEVELS, UnitType
from ..syntax.units import (
    FILE_HEADER_SIZE,
    UNIT_HEADER_SIZE,
    UNIT_OVERHEAD,
    FileHeader,
    Unit,
    build_file_header,
    unit_at,
)

_LARGEST = 1 << 14  # bytes of a payload: more than any sequence header has
_POLYNOMIAL = 0xEDB88320
_TRUSTED = 4  # bytes of a file header that may be wrong: fewer than its checksum and signature


def mended_file_header(data: bytes | mmap.mmap, error: BitstreamError) -> FileHeader:
    """The file header nearest to the first bytes; raises `error` where it is ambiguous."""
    found = data[:FILE_HEADER_SIZE]
    if error.requirement not in ("R-FILE-01", "R-FILE-02") or len(found) < FILE_HEADER_SIZE:
        raise error
    wrong = {level: sum(a != b for a, b in zip(found, build_file_header(level))) for level in LEVELS}
    level = min(wrong, key=wrong.__getitem__)
    if wrong[level] >= _TRUSTED:
        raise error
    return FileHeader(syn.VERSION, syn.PROFILE_MAIN, level)


def mended_unit(data: bytes | mmap.mmap, offset: int, kind: UnitType, header: FileHeader) -> Unit | None:
    """The short unit of this type at an offset, one byte of it or of its checksum set right; None if that fails."""
    head = data[offset : offset + UNIT_HEADER_SIZE]
    if len(head) < UNIT_HEADER_SIZE:
        return None
    for size in _sizes(struct.unpack("<BBI", head)[2], head[:2] == bytes([kind, 0])):
        raw = data[offset : offset + UNIT_OVERHEAD + size]
        if len(raw) < UNIT_OVERHEAD + size:
            continue
        raw = raw[:2] + struct.pack("<I", size) + raw[UNIT_HEADER_SIZE:]
        unit = unit_at(_corrected(raw) if raw[:UNIT_HEADER_SIZE] == head else raw, 0, header)
        if unit is not None and unit.type == kind:
            return Unit(kind, offset, unit.payload, unit.flags)
    return None


def _sizes(stated: int, also_others: bool) -> list[int]:
    """Payload sizes to try: the one stated, and those that differ from it in one byte."""
    others = [stated ^ change << 8 * place for place in range(4) for change in range(1, 256)] if also_others else []
    return [size for size in (stated, *sorted(others)) if size <= _LARGEST]


@cache
def _table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


def _corrected(raw: bytes) -> bytes:
    """A whole unit with the one byte set right whose change explains the checksum; as it is without one."""
    body, stated = raw[:-4], struct.unpack("<I", raw[-4:])[0]
    found = zlib.crc32(body)
    difference = found ^ stated
    if sum(byte != 0 for byte in struct.pack("<I", difference)) == 1:  # the checksum itself
        return body + struct.pack("<I", found)
    effect = _table()  # of every change of the byte at `place` on the checksum
    for place in reversed(range(len(body))):
        changes = np.flatnonzero(effect == difference)
        if len(changes):
            return body[:place] + bytes([body[place] ^ int(changes[0])]) + body[place + 1 :] + raw[-4:]
        effect = _table()[effect & 255] ^ effect >> 8
    return raw
