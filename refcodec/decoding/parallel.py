"""Decoding on several threads: groups side by side, and in a group tensors and digests (spec 3.3, 6.3).

A group's frames follow each other in one `_Chain`, which runs on a thread of the pool
`chains`. Work without dependencies (a tensor, a frame's digest, the occupancy of the next frame) may run in the pool
`leaves`. Chains wait for leaves, leaves wait for nothing, so there is no deadlock.
"""
from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np

from ..errors import BitstreamError
from .frame import Frame
from .job import FrameJob

Result = TypeVar("Result")
_BYTES_AHEAD = 64 << 20  # of units that are read before their frames are given out


class _Chain(Generic[Result]):
    """The frames of one group, decoded one after the other on any thread."""

    def __init__(self, chains: Executor, leaves: Executor, function: Callable[[Frame], Result],
                 stop: threading.Event):
        self.chains, self.leaves, self.function, self.stop = chains, leaves, function, stop
        self._waiting: deque[tuple[FrameJob, Future[list[Result]]]] = deque()
        self._lock, self._running = threading.Lock(), False
        self._last: Future[None] | None = None
        self._ahead: Future[np.ndarray | None] | None = None  # occupancy of the frame that is decoded next

    def add(self, job: FrameJob) -> Future[list[Result]]:
        """The future of a list of what `function` makes of the frame; empty for a frame that is not wanted."""
        future: Future[list[Result]] = Future()
        with self._lock:
            self._waiting.append((job, future))
            start, self._running = not self._running, True
        if start:
            self.chains.submit(self._run)
        return future

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or self.stop.is_set():
                    self._running = False
                    return
                job, future = self._waiting.popleft()
                following = self._waiting[0][0] if self._waiting else None
            occupancy, self._ahead = self._ahead, None
            try:
                frame = job.decode(self.leaves, occupancy.result if occupancy is not None else None,
                                   lambda found: self._look_ahead(following, found))
            except BaseException as e:
                future.set_exception(e)
                return  # `_running` stays: nothing of this group can follow
            if self._last is not None:
                self._last.exception()  # two frames of a group at once, and no more, wait for their digest
            self._last = self.leaves.submit(self._finish, job, frame, future)
            del frame

    def _look_ahead(self, following: FrameJob | None, occupancy: np.ndarray | None) -> None:
        """Starts on the occupancy of the frame after one with this occupancy."""
        if following is not None and following.syntax.occupancy_mode:
            self._ahead = self.leaves.submit(following.occupancy, occupancy)

    def _finish(self, job: FrameJob, frame: Frame, future: Future[list[Result]]) -> None:
        try:
            job.check(frame)
            future.set_result([self.function(frame)] if job.wanted else [])
        except BaseException as e:
            future.set_exception(e)


def map_frames(planned: Iterator[FrameJob | None], function: Callable[[Frame], Result], jobs: int,
               last: int | None = None) -> Iterator[Result]:
    """`function` of every wanted frame of these jobs, in order; errors where one thread would raise them.

    planned: None where a group begins, before there is anything of it: nothing is asked for behind that while
    `jobs` + 1 groups have frames that were not given out. May raise BitstreamError, which then comes behind the frames
    before it. last: number of the frame behind which nothing is read.
    """
    stop, error = threading.Event(), None
    pending: deque[tuple[FrameJob, Future[list[Result]]]] = deque()
    chain: _Chain[Result] | None = None
    group, ahead = None, 0

    def next_result() -> list[Result]:
        nonlocal ahead
        job, future = pending.popleft()
        ahead -= job.size
        return future.result()

    with ThreadPoolExecutor(jobs, "refcodec-leaf") as leaves, ThreadPoolExecutor(jobs, "refcodec-group") as chains:
        try:
            while True:
                try:
                    job = next(planned)
                except StopIteration:
                    break
                except BitstreamError as e:
                    error = e
                    break
                if job is None:
                    while _groups(pending) > jobs:
                        if result := next_result():
                            yield result.pop()
                    continue
                if chain is None or job.group is not group:
                    chain, group = _Chain(chains, leaves, function, stop), job.group
                pending.append((job, chain.add(job)))
                ahead += job.size
                while pending and (pending[0][1].done() or ahead > _BYTES_AHEAD):
                    if result := next_result():
                        yield result.pop()  # so that the caller alone decides how long its tensors live
                if job.syntax.frame_number == last:
                    break
            while pending:
                if result := next_result():
                    yield result.pop()
            if error is not None:
                raise error
        finally:
            stop.set()


def _groups(pending: Iterable[tuple[FrameJob, object]]) -> int:
    """Number of groups that have frames in progress."""
    return len({id(job.group) for job, _ in pending})
