"""Streams over files and pipes: headers at once, frames on demand."""
from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import BitstreamError, UsageError
from ..kernels import Kernels
from ..syntax.coding import FrameType
from ..syntax.registry import UnitType
from ..syntax.units import Unit, UnitReader
from .frame import Frame, Limits
from .index import read_index
from .parallel import map_frames
from .sequence import SequenceDecoder


def _units(reader: UnitReader, decoder: SequenceDecoder, first: Unit | None) -> Iterator[Unit]:
    """Units of a reader for a decoder, up to the end unit; checks that the stream ends as it should
    (R-FILE-06, R-FILE-07). first: a unit that has been read already.
    """
    while not decoder.ended:
        unit, first = first or reader.next_unit(), None
        yield unit
    if reader.stream.read(1):
        raise BitstreamError("R-FILE-07", reader.offset, "file")


class Stream:
    """An RFV stream opened for decoding: header, cameras and metadata at once, frames on demand.

    Works on files and, front to back, on pipes. Iterate for all frames, or call
    `frames(range)`; on a file with an index that starts at the group that is needed.
    Raises BitstreamError.
    """

    def __init__(self, file: BinaryIO, limits: Limits = Limits(), kernels: Kernels | None = None):
        self._file, self._limits, self._kernels = file, limits, kernels
        self._start()

    def _start(self) -> None:
        """Reads what stands before the first group."""
        self._reader = UnitReader(self._file)
        self.file_header = self._reader.read_file_header()
        self._decoder = SequenceDecoder(self.file_header, limits=self._limits, kernels=self._kernels)
        self._pending: Unit | None = None
        while self._pending is None:
            unit = self._reader.next_unit()
            if unit.type in (UnitType.GROUP_HEADER, UnitType.FRAME, UnitType.END, UnitType.INDEX) \
                    and self._decoder.header is not None:
                self._pending = unit
            else:
                self._decoder.feed(unit)
        self.header = self._decoder.sequence_header
        self.cameras, self.metadata = self._decoder.cameras, self._decoder.metadata

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def frames(self, wanted: range | None = None, jobs: int = 1) -> Iterator[Frame]:
        """Frames with these numbers (all by default), in order. One pass on a pipe.

        jobs: threads, which decode groups side by side, and the tensors of a frame. Frames,
        errors and their order are those of one thread. More than one pay with the compiled
        kernels (`refcodec.kernels`); they hold the frames of `jobs` + 1 groups.
        """
        return self.map(lambda frame: frame, wanted, jobs)

    def map(self, function: Callable[[Frame], object], wanted: range | None = None,
            jobs: int = 1) -> Generator[Any, None, None]:
        """`function` of every frame, in order, worked out where the frame was decoded: with more than one job,
        in some thread, maybe of frames behind one whose error ends the iteration. What it raises is raised here.
        """
        if self._pending is None:
            if not self._file.seekable():
                raise UsageError("a pipe can be read only once")
            self._file.seek(0)
            self._start()
        decoder, pending, self._pending = self._decoder, self._pending, None
        decoder.wanted = wanted
        if wanted is not None and (start := self._seek_offset(wanted)) is not None:
            self._reader.seek(start)
            decoder.jump()
            pending = None
        last = wanted.stop - 1 if wanted is not None and pending is None else None
        if jobs > 1:
            units = _units(self._reader, decoder, pending)
            yield from map_frames((job for unit in units if (job := decoder.plan(unit)) is not None), function, jobs,
                                  last)
            return
        for unit in _units(self._reader, decoder, pending):
            if (frame := decoder.feed(unit)) is not None:
                number, result = frame.number, function(frame)
                del frame  # so that the caller alone decides how long its tensors live
                yield result
                del result
                if number == last:
                    return

    def frame(self, number: int) -> Frame:
        """The frame with this number; reads from the start of its group where there is an index.

        Raises UsageError where the stream holds no such frame, or is a pipe that is past it.
        """
        for frame in self.frames(range(number, number + 1)):
            return frame
        raise UsageError(f"the stream holds no frame {number}")

    def index(self) -> list[tuple[int, int, int]] | None:
        """(frame number, type, offset) of every frame, from the index unit; None without one."""
        if not self._file.seekable():
            return None
        here = self._file.tell()
        try:
            return read_index(self._file, self.file_header)
        finally:
            self._file.seek(here)

    def _seek_offset(self, wanted: range) -> int | None:
        entries = self.index()
        if not entries:
            return None
        starts = [offset for number, kind, offset in entries if kind == FrameType.INTRA and number <= wanted.start]
        return starts[-1] if starts else None


def open_stream(source: str | Path | BinaryIO, limits: Limits = Limits(), kernels: Kernels | None = None) -> Stream:
    """Opens an RFV file or binary stream.

    kernels: see `refcodec.kernels`; the best there are by default. Raises BitstreamError, UsageError.
    """
    if isinstance(source, (str, Path)):
        try:
            source = open(source, "rb")
        except OSError as e:
            raise UsageError(f"can't open {source}: {e.strerror}") from None
    return Stream(source, limits, kernels)
