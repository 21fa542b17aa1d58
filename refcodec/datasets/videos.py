"""Single pictures out of videos, by position in presentation order (needs PyAV)."""
from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from refcodec.errors import DatasetError

if TYPE_CHECKING:
    from av import VideoFrame

EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
# Decoders kept open, some 27 MB each at 1080p. Views are read frame by frame,
# so that one that was closed has to seek for every picture.
_OPEN = 160
_NEAR = 32  # pictures decoded on rather than sought


def is_video(path: str | Path) -> bool:
    """By its extension."""
    return str(path).lower().endswith(EXTENSIONS)


@dataclass(frozen=True)
class VideoHeader:
    """The header of a video. frame_rate: frames a second, None where the file does not say."""

    width: int
    height: int
    has_alpha: bool
    frames: int
    frame_rate: float | None


class _Reader:
    """One open video. Not safe for use from several threads at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not os.path.isfile(path):
            raise DatasetError("D04", "the video is missing", path)
        try:
            import av
        except ImportError:
            raise DatasetError("D16", "reading videos needs PyAV: pip install refcodec[video]", path) from None
        self.failures = (av.error.FFmpegError, ValueError, EOFError, IndexError)
        try:
            self.container = av.open(str(path))
        except (*self.failures, OSError) as error:
            raise DatasetError("D05", f"can't read the video: {error}", path) from error
        try:
            self.header = self._scan()
        except (*self.failures, OSError) as error:
            self.container.close()
            raise DatasetError("D05", f"can't read the video: {error}", path) from error
        except DatasetError:
            self.container.close()
            raise

    def _scan(self) -> VideoHeader:
        """Time stamps of all pictures, from the packets; the first picture is decoded."""
        if not self.container.streams.video:
            raise DatasetError("D05", "there is no video in the file", self.path)
        self.stream = self.container.streams.video[0]
        self.stream.thread_type = "NONE"  # a rig has more videos than the machine has cores
        self.times = sorted(packet.pts for packet in self.container.demux(self.stream)
                            if packet.pts is not None and not packet.is_discard)
        if not self.times:
            raise DatasetError("D05", "the video holds no pictures", self.path)
        if len(set(self.times)) != len(self.times):
            raise DatasetError("D05", "the video has pictures with the same time stamp", self.path)
        self.pictures: Iterator[VideoFrame] = iter(())  # those behind `position`
        self.position = -1
        frame = self._decode(0)
        if getattr(frame, "rotation", 0):
            raise DatasetError("D05", f"the video is to be shown rotated by {frame.rotation} degrees: encode it again "
                               "upright, as it was calibrated", self.path)
        rate = self.stream.average_rate
        return VideoHeader(frame.width, frame.height, any(c.is_alpha for c in frame.format.components),
                           len(self.times), float(rate) if rate else None)

    def _decode(self, position: int) -> VideoFrame:
        """The picture at `position`, going on from the last one where that is near."""
        starts: list[int | None] = [self.times[position], self.times[0]]  # some indices lead behind what is sought
        if self.position < position <= self.position + _NEAR:
            starts.insert(0, None)
        wanted = self.times[position]
        for start in starts:
            if start is not None:
                self.container.seek(start, stream=self.stream, backward=True)
                self.pictures = self.container.decode(self.stream)
            frame = next((f for f in self.pictures if f.pts is not None and f.pts >= wanted), None)
            if frame is not None and frame.pts == wanted:
                self.position = position
                return frame
        self.pictures = iter(())
        raise DatasetError("D05", f"the video's picture {position} can't be decoded", self.path)

    def read(self, position: int, mode: str) -> np.ndarray:
        if not 0 <= position < len(self.times):
            raise DatasetError("D05", f"the video has {len(self.times)} pictures, none at position {position}",
                               self.path)
        try:
            pixels: np.ndarray = self._decode(position).to_ndarray(format={"RGB": "rgb24", "RGBA": "rgba"}[mode])
            return pixels
        except (*self.failures, OSError) as error:
            self.pictures = iter(())
            raise DatasetError("D05", f"can't decode the video's picture {position}: {error}", self.path) from error


class _Pool:
    """Open videos by path; those used longest ago are closed."""

    def __init__(self) -> None:
        self.readers: OrderedDict[Path, _Reader] = OrderedDict()
        self.headers: dict[tuple[Path, int, int], VideoHeader] = {}
        self.lock = threading.RLock()

    def reader(self, path: Path) -> _Reader:
        reader = self.readers.pop(path, None) or _Reader(path)
        self.readers[path] = reader
        while len(self.readers) > _OPEN:
            self.readers.popitem(last=False)[1].container.close()
        return reader

    def header(self, path: Path) -> VideoHeader:
        """Kept by size and date, so that a video replaced is looked at again."""
        with self.lock:
            try:
                status = os.stat(path)
                key = (path, status.st_size, status.st_mtime_ns)
            except (OSError, ValueError):
                raise DatasetError("D04", "the video is missing", path) from None
            if key not in self.headers:
                stale = self.readers.pop(path, None)
                if stale:
                    stale.container.close()
                self.headers[key] = self.reader(path).header
            return self.headers[key]

    def read(self, path: Path, position: int, mode: str) -> np.ndarray:
        with self.lock:
            return self.reader(path).read(position, mode)


_pool = _Pool()


def video_header(path: Path) -> VideoHeader:
    """Size, length and rate. Raises DatasetError D04 (missing), D05 (unreadable), D16 (no PyAV)."""
    return _pool.header(path)


def read_picture(path: Path, position: int, mode: str) -> np.ndarray:
    """The picture at `position`, counted from 0 in presentation order, as (h, w, 3 or 4) uint8.

    mode: "RGB" or "RGBA". Raises DatasetError D04, D05, D16.
    """
    return _pool.read(path, position, mode)
