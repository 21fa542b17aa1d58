"""Byte sources of a stream: paths, files, pipes and memory behind one interface, with refcodec's own errors."""
from __future__ import annotations

import io
import os
import threading
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from .errors import UsageError
from .syntax.structures import FILE_SIGNATURE
from .syntax.units import FILE_HEADER_SIZE

SPOOL_LIMIT = 1 << 30  # bytes of a pipe that are kept

StreamSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


class ByteSource:
    """The source of a stream. Offsets count from where the stream begins: the file's position when it is given.

    Opens paths, and closes what it has opened itself; other files stay the caller's. Raises UsageError for
    whatever goes wrong with the file.
    """

    def __init__(self, source: StreamSource):
        self.name, self._closed, self._owned, self._lock = "-", False, False, threading.Lock()
        self._file: BinaryIO
        if isinstance(source, (bytes, bytearray, memoryview)):
            self._file, self._owned = io.BytesIO(source), True
        elif isinstance(source, (str, os.PathLike)):
            self.name = os.fspath(source)
            try:
                self._file, self._owned = open(source, "rb"), True
            except (OSError, ValueError) as e:  # ValueError: a NUL in the path
                raise UsageError(f"can't open {self.name!a}: {_reason(e)}") from None
        elif hasattr(source, "read"):
            self._file = source
        else:
            raise UsageError(f"a stream is a path, bytes or a binary file, not {type(source).__name__}")
        try:
            self.seekable = bool(getattr(self._file, "seekable", bool)())
            self._base = self._file.tell() if self.seekable else 0
        except OSError:  # says that it can be sought in, and can't
            self.seekable, self._base = False, 0
        except ValueError as e:
            raise UsageError(f"can't read {self.name!a}: {_reason(e)}") from None

    def __del__(self) -> None:
        if getattr(self, "_owned", False):
            self._file.close()

    def close(self) -> None:
        """Ends reading. Closes the file if it was opened here."""
        self._closed = True
        if self._owned:
            self._file.close()

    @property
    def closed(self) -> bool:
        return self._closed

    def cursor(self) -> Cursor:
        """A reader with a position of its own, at the beginning. Those of a pipe share one."""
        return Cursor(self)

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from an offset on, which a pipe disregards; none at the end. One thread at a time."""
        with self._lock:
            self._check_open()
            try:
                if self.seekable:
                    self._file.seek(self._base + offset)
                data = self._file.read(size)
            except (OSError, ValueError) as e:
                raise UsageError(f"can't read {self.name!a}: {_reason(e)}") from None
        if data is None:
            raise UsageError(f"can't read {self.name!a}: no data yet, and it does not block")
        if not isinstance(data, bytes):
            raise UsageError(f"can't read {self.name!a}: it gives {type(data).__name__}, not bytes; open it in "
                             "binary mode")
        return data

    def read_all(self, start: bytes = b"") -> bytes:
        """`start` and all that follows it. Raises UsageError where more than `SPOOL_LIMIT` come through a pipe."""
        found = io.BytesIO()
        found.write(start)
        while part := self.read(1 << 20, found.tell()):
            found.write(part)
            if not self.seekable and found.tell() > SPOOL_LIMIT:
                raise too_much()
        return found.getvalue()

    def size(self) -> int:
        """Bytes of a stream that can be sought in."""
        with self._lock:
            self._check_open()
            try:
                return max(0, self._file.seek(0, os.SEEK_END) - self._base)
            except (OSError, ValueError) as e:
                raise UsageError(f"can't read {self.name!a}: {_reason(e)}") from None

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("the stream is closed")


class Cursor:
    """Reads a source front to back, and from where it is told to."""

    def __init__(self, source: ByteSource):
        self._source, self._at = source, 0

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size, self._at)
        self._at += len(data)
        return data

    def seek(self, offset: int, /) -> None:
        self._at = offset


@dataclass(frozen=True, slots=True)
class StreamBytes:
    """A stream in memory. name: its path, or `-`. size: of the whole, as far as it is known."""

    data: bytes
    name: str
    size: int


def too_much() -> UsageError:
    """The error for a pipe through which more than `SPOOL_LIMIT` bytes come."""
    return UsageError(f"more than {SPOOL_LIMIT >> 20} MiB come through the pipe; write them to a file first")


def read_stream(source: StreamSource) -> StreamBytes:
    """All of a stream; of what does not begin with the signature of an RFV file no more than a file header.

    Raises UsageError for what can't be read, and for a pipe that does not end within `SPOOL_LIMIT` bytes.
    """
    if isinstance(source, bytes):
        return StreamBytes(source, "-", len(source))
    opened = ByteSource(source)
    try:
        head = b""
        while len(head) < FILE_HEADER_SIZE and (part := opened.read(FILE_HEADER_SIZE - len(head), len(head))):
            head += part
        if not head.startswith(FILE_SIGNATURE) and len(head) == FILE_HEADER_SIZE:
            return StreamBytes(head, opened.name, opened.size() if opened.seekable else len(head))
        data = opened.read_all(head)
        return StreamBytes(data, opened.name, len(data))
    finally:
        opened.close()


def _reason(e: OSError | ValueError) -> str:
    """The reason of an error, in a few words."""
    return (e.strerror if isinstance(e, OSError) else None) or str(e)
