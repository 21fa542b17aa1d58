"""Streams over files and pipes: headers at once, frames on demand."""
from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

from ..errors import UsageError
from ..kernels import Kernels
from ..sources import ByteSource, StreamSource
from ..syntax.registry import UnitType
from ..syntax.units import Unit, UnitReader
from .frame import Frame, Limits
from .index import IndexEntry, group_before, read_index
from .job import FrameJob
from .parallel import map_frames
from .sequence import SequenceDecoder

Result = TypeVar("Result")


class Stream:
    """An RFV stream opened for decoding: header, cameras and metadata at once, frames on demand.

    Works on files and, front to back and once, on pipes. Iterate for all frames, or call
    `frames(range)`; on a file with an index that starts at the group that is needed. Every
    iteration of a file has a position of its own: there may be several at a time, in
    several threads. They move the position of a file that was given.
    Raises BitstreamError, UsageError.
    """

    def __init__(self, source: StreamSource, limits: Limits = Limits(), kernels: Kernels | None = None):
        self._source = ByteSource(source)
        try:
            self._reader = UnitReader(self._source.cursor())
            self.file_header = self._reader.read_file_header()
            # As it is before the first group.
            self._decoder = SequenceDecoder(self.file_header, limits=limits, kernels=kernels)
            self._first: Unit | None = None  # what follows
            while self._first is None:
                unit = self._reader.next_unit()
                if unit.type in (UnitType.GROUP_HEADER, UnitType.FRAME, UnitType.END, UnitType.INDEX) \
                        and self._decoder.header is not None:
                    self._first = unit
                else:
                    self._decoder.feed(unit)
        except BaseException:
            self._source.close()
            raise
        self._groups_at, self._lock = self._first.offset, threading.Lock()
        self.header = self._decoder.sequence_header
        self.cameras, self.metadata = self._decoder.cameras, self._decoder.metadata

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all iterations. Closes the file if it was opened by its path; a file that was given stays open."""
        self._source.close()

    @property
    def closed(self) -> bool:
        return self._source.closed

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def frames(self, wanted: range | None = None, jobs: int = 1) -> Generator[Frame, None, None]:
        """Frames with these numbers (all by default), in order. One pass on a pipe.

        jobs: threads, which decode groups side by side, and the tensors of a frame. Frames,
        errors and their order are those of one thread. More than one pay with the compiled
        kernels (`refcodec.kernels`); they hold the frames of `jobs` + 1 groups.
        """
        return self.map(lambda frame: frame, wanted, jobs)

    def map(self, function: Callable[[Frame], Result], wanted: range | None = None,
            jobs: int = 1) -> Generator[Result, None, None]:
        """`function` of every frame, in order, worked out where the frame was decoded: with more than one job,
        in some thread, maybe of frames behind one whose error ends the iteration. What it raises is raised here.
        """
        if wanted is not None and wanted.step < 1:
            raise UsageError("frames come in the order of their numbers: the range must ascend")
        if self.closed:
            raise UsageError("the stream is closed")
        return self._map(function, wanted, jobs)

    def _map(self, function: Callable[[Frame], Result], wanted: range | None,
             jobs: int) -> Generator[Result, None, None]:
        start, decoder, first = self._indexed_group(wanted), self._decoder.copy(), None
        decoder.wanted, last = wanted, None
        if self._source.seekable:
            reader = UnitReader(self._source.cursor(), header=self.file_header)
            reader.seek(self._groups_at if start is None else start.offset)
        else:
            reader = self._reader
            with self._lock:
                first, self._first = self._first, None
            if first is None:
                raise UsageError("a pipe can be read only once")
        if wanted is not None and start is not None:
            decoder.jump(start.number)
            last = wanted.stop - 1
        units = _units(reader, decoder, first)
        if jobs > 1:
            yield from map_frames(_planned(units, decoder), function, jobs, last)
            return
        for unit in units:
            if (frame := decoder.feed(unit)) is not None:
                number, result = frame.number, function(frame)
                del frame  # so that the caller alone decides how long its tensors live
                yield result
                del result
                if number == last:
                    return

    def frame(self, number: int) -> Frame:
        """The frame with this number; reads from the start of its group where there is an index.

        Raises UsageError where the stream holds no such frame, or is a pipe that has been read.
        """
        for frame in self.frames(range(number, number + 1)):
            return frame
        raise UsageError(f"the stream holds no frame {number}")

    def index(self) -> list[IndexEntry] | None:
        """The index unit's entry of every frame; None without an index, and on a pipe."""
        if self.closed:
            raise UsageError("the stream is closed")
        if not self._source.seekable:
            return None
        return read_index(self._source.cursor(), self._source.size(), self.file_header)

    def _indexed_group(self, wanted: range | None) -> IndexEntry | None:
        """The entry at which decoding of some frames starts; None: the first group."""
        entries = self.index() if wanted is not None else None
        return group_before(entries, wanted.start) if wanted is not None and entries else None


def _units(reader: UnitReader, decoder: SequenceDecoder, first: Unit | None) -> Iterator[Unit]:
    """Units of a reader for a decoder, up to the end unit; checks that the stream ends as it should
    (R-FILE-06, R-FILE-07). first: a unit that has been read already.
    """
    while not decoder.ended:
        unit, first = first or reader.next_unit(), None
        yield unit
    reader.expect_end()


def _planned(units: Iterator[Unit], decoder: SequenceDecoder) -> Iterator[FrameJob | None]:
    """The frames of units; None where a group begins, before anything is made of it."""
    for unit in units:
        if unit.type == UnitType.GROUP_HEADER:
            yield None
        if (job := decoder.plan(unit)) is not None:
            yield job


def open_stream(source: StreamSource, limits: Limits = Limits(), kernels: Kernels | None = None) -> Stream:
    """Opens an RFV stream: a path, a binary file (from its position on), a pipe, or the bytes of a file.

    kernels: see `refcodec.kernels`; the best there are by default. Raises BitstreamError, UsageError.
    """
    return Stream(source, limits, kernels)
