"""Executors of groups: this process, others of this machine, or a dask cluster.

Each kind of `Workers` hands `GroupJob`s to an executor of `concurrent.futures` and brings
back what `encode_group` tells. A failure on a worker comes back as a `Failure`, which is plain data: an exception need
not survive pickling.
"""
from __future__ import annotations

import contextlib
import dataclasses
import logging
import multiprocessing
import multiprocessing.connection
import os
import queue
import signal
import socket
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .. import __version__
from ..errors import EXIT_DEFECT, EXIT_USAGE, RefcodecError, UsageError
from .group import CodedFrame, FrameProgress, GroupJob, encode_group

if TYPE_CHECKING:
    from distributed import KilledWorker

EXECUTORS = ("local", "processes", "dask")
_STEP_SECONDS = 0.3  # between the iterations of training that a worker reports
_CONNECT_SECONDS = 30
_RECONNECT_SECONDS = 120  # a scheduler that is started again, by hand or by a service


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a worker did not encode a group. final: there is no use in trying again."""

    worker: str
    message: str
    exit_code: int = EXIT_USAGE
    final: bool = False


Outcome = list[CodedFrame] | Failure


class Workers:
    """Encodes groups in this process, one after the other; base of the other kinds.

    capacity: how many groups may be submitted at a time; None: any number. threads: of
    torch, for each group, where the user does not say; None: as torch has it. retries:
    whether a group that failed is worth another try. Leaving the context stops all work.
    """

    capacity: int | None = 1
    threads: int | None = None
    retries = False

    def __init__(self, tell: Callable[[FrameProgress | CodedFrame], None]):
        self.tell = tell

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def submit(self, job: GroupJob) -> Future[Outcome]:
        """Starts a group; `outcome` says what became of it."""
        future: Future[Outcome] = Future()
        future.set_result(encode_group(job, self.tell))
        return future

    def listen(self) -> None:
        """Passes on what workers have told since."""

    def outcome(self, future: Future[Outcome]) -> Outcome:
        """Of a future that is done."""
        return future.result()


def open_workers(executor: str, jobs: int | None, scheduler: str | None, groups: int,
                 tell: Callable[[FrameProgress | CodedFrame], None]) -> Workers:
    """The workers of that name for an encode of so many groups. Raises UsageError."""
    match executor:
        case "processes":
            return Processes(tell, min(jobs or _cores(), max(groups, 1)))
        case "dask":
            assert scheduler is not None, "see check_executor"
            return Dask(tell, jobs, scheduler)
    return Workers(tell)


def check_executor(executor: str, jobs: int | None, scheduler: str | None, threads: int | None) -> None:
    """Raises UsageError for options that do not go together."""
    if executor not in EXECUTORS:
        raise UsageError(f"no executor {executor!r}; there are {', '.join(EXECUTORS)}")
    if jobs is not None and executor == "local":
        raise UsageError("several jobs need --executor processes or dask")
    if (scheduler is not None) != (executor == "dask"):
        raise UsageError("the executor dask needs --scheduler ADDRESS" if executor == "dask" else
                         "a scheduler needs --executor dask")
    for name, value in (("jobs", jobs), ("threads", threads)):
        if value is not None and value < 1:
            raise UsageError(f"the number of {name} is at least 1")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _attempt(job: GroupJob, version: str, worker: str, tell: Callable[[FrameProgress | CodedFrame], None]) -> Outcome:
    """`encode_group` on a worker."""
    if version != __version__:
        return Failure(worker, f"refcodec is version {__version__} there, {version} here", final=True)
    picture = job.frames[0].views[0].image
    if not picture.exists():
        return Failure(worker, f"{picture} isn't there: a worker finds the dataset under the path that it has here",
                       final=True)
    try:
        return encode_group(job, _Seldom(tell, worker))
    except RefcodecError as e:
        return Failure(worker, str(e), e.exit_code, final=True)
    except (MemoryError, OSError) as e:
        return Failure(worker, f"{type(e).__name__}: {e}")
    except Exception as e:
        at = traceback.extract_tb(e.__traceback__)[-1]
        text = (str(e).splitlines() or [""])[0]
        return Failure(worker, f"{type(e).__name__}: {text} ({Path(at.filename).name}:{at.lineno})", EXIT_DEFECT)


class _Seldom:
    """Passes on every change of phase and every frame, but not every step of a training; says who told."""

    def __init__(self, tell: Callable[[FrameProgress | CodedFrame], None], worker: str):
        self.tell, self.worker, self.due = tell, worker, 0.0
        self.last: tuple[int, str] | None = None

    def __call__(self, message: FrameProgress | CodedFrame) -> None:
        if isinstance(message, FrameProgress):
            key, now = (message.frame, message.phase), time.monotonic()
            if key == self.last and now < self.due:
                return
            self.last, self.due = key, now + _STEP_SECONDS
            message = dataclasses.replace(message, worker=self.worker)
        self.tell(message)


# Processes.

_driver: multiprocessing.connection.Connection  # in a worker process: to the process that started it


def _serve(connection: multiprocessing.connection.Connection) -> None:
    """Prepares a worker process, which ends when its driver closes the connection or dies."""
    global _driver
    _driver = connection
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the driver decides

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            connection.recv()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _encode_in_process(job: GroupJob, version: str) -> Outcome:
    return _attempt(job, version, f"process {os.getpid()}", _driver.send)


@contextlib.contextmanager
def _interrupts_later() -> Iterator[None]:
    """Processes that start in this block never see an interrupt, which would make each print a traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Process:
    """An executor of one process: when it dies, it is clear which group it was at."""

    def __init__(self) -> None:
        self.running: tuple[Executor, multiprocessing.connection.Connection] | None = None
        self.future: Future[Outcome] | None = None

    @property
    def idle(self) -> bool:
        return self.future is None or self.future.done()

    def submit(self, job: GroupJob) -> Future[Outcome]:
        if self.running is not None:
            try:
                self.future = self.running[0].submit(_encode_in_process, job, __version__)
                return self.future
            except BrokenExecutor:  # it died, at the group before or since
                self.stop()
        context = multiprocessing.get_context("spawn")  # a fork of a process with torch's threads can hang
        ours, theirs = context.Pipe()
        executor = ProcessPoolExecutor(1, context, _serve, (theirs,))
        self.running = executor, ours
        with _interrupts_later():
            self.future = executor.submit(_encode_in_process, job, __version__)
        theirs.close()  # or the death of the process would not close the connection
        return self.future

    def listen(self, tell: Callable[[FrameProgress | CodedFrame], None]) -> None:
        if self.running is not None:
            _, connection = self.running
            with contextlib.suppress(EOFError, OSError):  # it died: its future says so
                while connection.poll():
                    tell(connection.recv())

    def stop(self) -> None:
        if self.running is not None:
            executor, connection = self.running
            connection.close()
            executor.shutdown(wait=True, cancel_futures=True)


class Processes(Workers):
    """Groups in `count` processes of this machine."""

    retries = True

    def __init__(self, tell: Callable[[FrameProgress | CodedFrame], None], count: int):
        super().__init__(tell)
        self.capacity = count
        # Several trainings that each take all processors are slower than one after the other.
        self.threads = None if "OMP_NUM_THREADS" in os.environ else max(1, _cores() // count)
        self.processes = [_Process() for _ in range(count)]

    def __exit__(self, *exc: object) -> None:
        for process in self.processes:
            process.stop()

    def submit(self, job: GroupJob) -> Future[Outcome]:
        return next(p for p in self.processes if p.idle).submit(job)

    def listen(self) -> None:
        for process in self.processes:
            process.listen(self.tell)

    def outcome(self, future: Future[Outcome]) -> Outcome:
        try:
            return future.result()
        except BrokenExecutor:
            return Failure("a process of this machine", "the process died (out of memory, or killed)")


# Dask.


def _encode_on_dask(job: GroupJob, version: str, topic: str) -> Outcome:
    from distributed import get_worker

    worker = get_worker()
    task = worker.get_current_task()

    def tell(message: FrameProgress | CodedFrame) -> None:
        if isinstance(message, CodedFrame):
            return  # comes with the result: the scheduler would keep a copy of every message
        state = worker.state.tasks.get(task)
        if state is None or state.state == "cancelled":
            raise CancelledError  # nobody waits for the result any more
        worker.log_event(topic, dataclasses.astuple(message))

    return _attempt(job, version, f"{worker.address} ({socket.gethostname()})", tell)


class _Client(Protocol):
    """The used part of `distributed.Client`, most of which has no types."""

    def subscribe_topic(self, topic: str, handler: Callable[[tuple[float, tuple[Any, ...]]], None]) -> None: ...

    def get_executor(self, *, pure: bool) -> Executor: ...

    def close(self) -> None: ...


def _connect(scheduler: str) -> _Client:
    """A client of the scheduler with that address or scheduler file. Raises OSError, ValueError."""
    from distributed import Client

    where = dict(scheduler_file=scheduler) if os.path.isfile(scheduler) else dict(address=scheduler)
    # distributed declares no types for its constructor.
    return Client(**where, timeout=_CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]


class Dask(Workers):
    """Groups as tasks of a dask cluster; `scheduler`: its address or scheduler file.

    A task whose worker dies is given to another one by the scheduler. Groups that were at a scheduler
    that is lost are submitted again when it is back.
    """

    retries = True

    def __init__(self, tell: Callable[[FrameProgress | CodedFrame], None], jobs: int | None, scheduler: str):
        try:
            import distributed
        except ImportError:
            raise UsageError('the executor dask needs distributed: pip install "refcodec[cluster]"') from None
        super().__init__(tell)
        # What its client has to say in long tracebacks is said by `outcome` in one line.
        self.loggers = [(log := logging.getLogger(name), log.level) for name in ("distributed", "distributed.client")]
        for log, _ in self.loggers:
            log.setLevel(logging.CRITICAL)
        self.capacity, self.scheduler = jobs, scheduler
        self.steps: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self.topic = f"refcodec-{uuid.uuid4().hex}"
        self.killed: type[KilledWorker] = distributed.KilledWorker
        try:
            self._open()
        except (OSError, ValueError) as e:
            self._restore_logs()
            raise UsageError(f"can't reach a dask scheduler at {scheduler}: {e}") from None

    def _open(self) -> None:
        """Connects to the scheduler. Raises OSError, ValueError."""
        self.client = _connect(self.scheduler)
        self.client.subscribe_topic(self.topic, lambda event: self.steps.put(event[1]))
        self.executor = self.client.get_executor(pure=False)
        self.submitted: set[Future[Outcome]] = set()  # by way of this connection

    def __exit__(self, *exc: object) -> None:
        self._close()
        self._restore_logs()

    def _close(self) -> None:
        self.executor.shutdown(wait=False)
        self.client.close()

    def _restore_logs(self) -> None:
        for log, level in self.loggers:
            log.setLevel(level)

    def submit(self, job: GroupJob) -> Future[Outcome]:
        future = self.executor.submit(_encode_on_dask, job, __version__, self.topic)
        self.submitted.add(future)
        return future

    def listen(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self.tell(FrameProgress(*self.steps.get_nowait()))

    def outcome(self, future: Future[Outcome]) -> Outcome:
        try:
            return future.result()
        except CancelledError:
            return self._lost(future)
        except self.killed as e:
            return Failure(e.last_worker.address, f"it died, as {e.allowed_failures} before it at this group",
                           final=True)
        except Exception as e:
            return Failure(self.scheduler, f"{type(e).__name__}: {e}")

    def _lost(self, future: Future[Outcome]) -> Failure:
        """Of a group that the scheduler dropped: mostly because it is gone. Waits for another one at its address."""
        if future in self.submitted:  # the first of those that were lost together
            self._close()
            deadline = time.monotonic() + _RECONNECT_SECONDS
            while True:
                try:
                    self._open()
                    break
                except (OSError, ValueError) as e:
                    if time.monotonic() >= deadline:
                        return Failure(self.scheduler, f"the scheduler is gone: {e}", final=True)
                    time.sleep(1)
        return Failure(self.scheduler, "the scheduler was lost, and is back")
