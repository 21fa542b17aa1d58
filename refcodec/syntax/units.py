"""Units: how a stream of bytes is cut into checked pieces (spec chapter 3, section 4.2)."""
from __future__ import annotations

import io
import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ..errors import BitstreamError
from . import structures as syn
from .declare import Trace
from .registry import ANCILLARY_UNITS, LEVELS, Level, UnitType

FILE_HEADER_SIZE = 16
UNIT_HEADER_SIZE = 6
UNIT_OVERHEAD = UNIT_HEADER_SIZE + 4  # with the checksum
END_UNIT_SIZE = UNIT_OVERHEAD + 16
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class FileHeader:
    """The first 16 bytes (spec 4.1)."""

    version: tuple[int, int]
    profile: int
    level: int

    @property
    def bounds(self) -> Level:
        return LEVELS[self.level]


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit whose checksum is right.

    offset: of its first byte in the stream. type: a UnitType, or an int for an
    unknown type (which then is ancillary). payload: its content.
    """

    type: UnitType | int
    offset: int
    payload: bytes
    flags: int

    @property
    def size(self) -> int:
        """Bytes in the stream, header and checksum included."""
        return len(self.payload) + UNIT_OVERHEAD

    @property
    def payload_offset(self) -> int:
        return self.offset + UNIT_HEADER_SIZE

    @property
    def known(self) -> bool:
        return isinstance(self.type, UnitType)

    @property
    def label(self) -> str:
        return self.type.name.lower() if isinstance(self.type, UnitType) else f"unit_type_{self.type}"


class ByteStream(Protocol):
    """Source of units: a file, a pipe (never sought in), or a file mapped into memory."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, /) -> object: ...


class UnitReader:
    """Reads a file or a pipe front to back, unit by unit, seeking only when told to.

    Memory stays within the bytes that have arrived: no length is trusted before
    its data are there. header: the file's, to start behind it. Raises BitstreamError.
    """

    def __init__(self, stream: ByteStream, offset: int = 0, header: FileHeader | None = None):
        self.stream, self.offset, self.header = stream, offset, header
        self.header_trace: Trace | None = None

    def _read(self, size: int) -> bytes:
        parts = []
        while size:
            part = self.stream.read(min(size, _CHUNK))
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def read_file_header(self) -> FileHeader:
        """Reads and checks the file header (spec 4.1)."""
        data = self._read(FILE_HEADER_SIZE)
        if data[:8] != syn.FILE_SIGNATURE:
            if data and syn.FILE_SIGNATURE.startswith(data):
                raise BitstreamError("R-FILE-06", len(data), "file_header")
            hint = " Line ends were rewritten (a text-mode transfer)." if data[1:4] == b"RFV" else ""
            raise BitstreamError("R-FILE-01", 0, "file_header.signature",
                                 f"The file starts with {data[:8].hex(' ') or 'nothing'}.{hint}")
        if len(data) < FILE_HEADER_SIZE:
            raise BitstreamError("R-FILE-06", len(data), "file_header")
        value, trace = syn.FILE_HEADER.parse(data, 0)
        version = (value.version_major, value.version_minor)
        for requirement, element, ok, found in (
            ("R-FILE-02", "header_crc", value.header_crc == zlib.crc32(data[:12]), ""),
            ("R-FILE-03", "version_major", version == syn.VERSION,
             f"The file is version {version[0]}.{version[1]}; this decoder reads "
             f"{syn.VERSION[0]}.{syn.VERSION[1]}."),
            ("R-FILE-04", "profile", value.profile == syn.PROFILE_MAIN, f"Profile {value.profile}."),
            ("R-FILE-05", "level", value.level in LEVELS, f"Level {value.level}."),
        ):
            if not ok:
                path = f"file_header.{element}"
                raise BitstreamError(requirement, trace.offset(path), path, found)
        self.offset += FILE_HEADER_SIZE
        self.header, self.header_trace = FileHeader(version, value.profile, value.level), trace
        return self.header

    def units(self) -> Iterator[Unit]:
        """All units up to the end of the data. The caller checks their order."""
        while (unit := self.read_unit()) is not None:
            yield unit

    def seek(self, offset: int) -> None:
        """Goes to a byte of the file, where a unit begins."""
        self.stream.seek(offset)
        self.offset = offset

    def next_unit(self) -> Unit:
        """The next unit of a stream that has not come to its end unit yet (R-FILE-06)."""
        unit = self.read_unit()
        if unit is None:
            raise BitstreamError("R-FILE-06", self.offset, "unit_header", "There is no end unit.")
        return unit

    def expect_end(self) -> None:
        """Refuses data behind the end unit (R-FILE-07)."""
        if self.stream.read(1):
            raise BitstreamError("R-FILE-07", self.offset, "file")

    def read_unit(self) -> Unit | None:
        """The next unit, or None where the data end between units."""
        start = self.offset
        head = self._read(UNIT_HEADER_SIZE)
        if not head:
            return None
        if len(head) < UNIT_HEADER_SIZE:
            raise BitstreamError("R-FILE-06", start, "unit_header", "The data end inside a unit header.")
        unit_type, flags, size = struct.unpack("<BBI", head)
        assert self.header is not None, "the file header is read before the first unit"
        limit = self.header.bounds.unit_size
        if size > limit:
            raise BitstreamError("R-UNIT-02", start + 2, "unit_header.unit_size",
                                 f"{size} bytes; level {self.header.level} allows {limit}.")
        body = self._read(size + 4)
        if len(body) < size + 4:
            raise BitstreamError("R-FILE-06", start + len(head) + len(body), "unit",
                                 f"A unit of {size} bytes begins at byte {start}; only {len(body)} of "
                                 f"{size + 4} bytes follow its header.")
        payload, (crc,) = body[:size], struct.unpack("<I", body[size:])
        if crc != zlib.crc32(payload, zlib.crc32(head)):
            raise BitstreamError("R-UNIT-03", start + UNIT_HEADER_SIZE + size, "unit_crc",
                                 f"The unit at byte {start} (type {unit_type}, {size} bytes) is damaged.")
        self.offset += UNIT_OVERHEAD + size
        return Unit(self._checked_type(unit_type, flags, start), start, payload, flags)

    def _checked_type(self, unit_type: int, flags: int, start: int) -> UnitType | int:
        if flags & ~1:
            raise BitstreamError("R-UNIT-01", start + 1, "unit_header.unit_flags", f"It is {flags:#04x}.")
        if unit_type not in UnitType._value2member_map_:
            if not flags & 1:
                raise BitstreamError("R-UNIT-04", start, "unit_header.unit_type", f"Type {unit_type}.")
            return unit_type
        known = UnitType(unit_type)
        if bool(flags & 1) != (known in ANCILLARY_UNITS):
            raise BitstreamError("R-UNIT-05", start + 1, "unit_header.unit_flags",
                                 f"It is {flags} in a unit of type {unit_type}.")
        return known


def build_file_header(level: int) -> bytes:
    """The 16 bytes of a file header (spec 4.1)."""
    head = syn.FILE_SIGNATURE + bytes([*syn.VERSION, syn.PROFILE_MAIN, level])
    return head + struct.pack("<I", zlib.crc32(head))


def build_unit(unit_type: int, payload: bytes, flags: int | None = None) -> bytes:
    """A whole unit: header, payload, checksum (spec 4.2)."""
    if flags is None:
        flags = int(unit_type in ANCILLARY_UNITS)
    head = struct.pack("<BBI", unit_type, flags, len(payload))
    return head + payload + struct.pack("<I", zlib.crc32(payload, zlib.crc32(head)))


def unit_at(data: bytes | mmap.mmap, offset: int, header: FileHeader) -> Unit | None:
    """The unit at an offset of a file's bytes; None where there is no whole and undamaged one."""
    head = data[offset : offset + UNIT_HEADER_SIZE]
    if len(head) < UNIT_HEADER_SIZE:
        return None
    size = struct.unpack("<BBI", head)[2]
    if size > header.bounds.unit_size:
        return None
    try:
        return UnitReader(io.BytesIO(data[offset : offset + UNIT_OVERHEAD + size]), offset, header).read_unit()
    except BitstreamError:
        return None


def following_unit(data: bytes | mmap.mmap, start: int, header: FileHeader) -> int | None:
    """Offset of a readable unit after the damaged one at `start` (spec 3.4); None without one.

    The first of: its declared end, unless a group comes before; the next group header; index
    and end unit, as the end of the file gives them.
    """
    following = None
    if start + UNIT_HEADER_SIZE <= len(data):
        declared = start + UNIT_OVERHEAD + struct.unpack("<I", data[start + 2 : start + UNIT_HEADER_SIZE])[0]
        following = declared if unit_at(data, declared, header) else None
    group = resynchronise(data, start + 1, following)
    while group is not None and not unit_at(data, group, header):
        group = resynchronise(data, group + 1, following)
    if group is not None or following is not None:
        return group if group is not None else following
    end = len(data) - END_UNIT_SIZE
    if end > start and (unit := unit_at(data, end, header)) and unit.type == UnitType.END:
        index = syn.END.parse(unit.payload, unit.payload_offset)[0].index_offset
        return index if start < index < end and unit_at(data, index, header) else end
    return None


def resynchronise(data: bytes | mmap.mmap, start: int, stop: int | None = None) -> int | None:
    """Offset of the next group header unit at or after `start` (spec 3.4) whose pattern ends before `stop`."""
    at = data.find(syn.GROUP_SYNC, start + UNIT_HEADER_SIZE, len(data) if stop is None else stop)
    return None if at < 0 else at - UNIT_HEADER_SIZE
