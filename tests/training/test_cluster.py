"""Groups on other processes and machines: the same file, whatever happens to the workers."""
import dataclasses
import multiprocessing
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st

from synthetic import write_dataset

pytest.importorskip("torch")

from refcodec import __version__
from refcodec.cli import cli
from refcodec.datasets import load_dataset
from refcodec.decoding import open_stream
from refcodec.encoder import EncodeOptions, encode, executors, gop, group
from refcodec.encoder.executors import Failure, Workers
from refcodec.encoder.group import CodedFrame, encode_group
from refcodec.encoder.parts import Parts
from refcodec.errors import UsageError
from refcodec.validation import validate

OPTIONS = EncodeOptions(system="ecrf", representation="vm", transform="none", preset="micro", group_size=2,
                        intra_iterations=6, inter_iterations=3, evaluate=False, threads=1, device="cpu")


@pytest.fixture(scope="module")
def ball(tmp_path_factory) -> Path:
    """Three frames: a group of two and a group of one."""
    return write_dataset(tmp_path_factory.mktemp("ball") / "data", 3)


@pytest.fixture(scope="module")
def local(ball, tmp_path_factory) -> bytes:
    """What one process makes of them."""
    out = tmp_path_factory.mktemp("local") / "out.rfv"
    encode(ball, out, OPTIONS)
    return out.read_bytes()


class Reversed(Workers):
    """Encodes the group that was submitted last first; fails as often as `failures` says, by group."""

    capacity, retries = None, True
    failures: dict[int, list[Failure]] = {}

    def __init__(self, tell):
        super().__init__(tell)
        self.waiting: list[tuple] = []

    def submit(self, job):
        job = pickle.loads(pickle.dumps(job))  # as on its way to another machine
        self.waiting.append((job, future := Future()))
        return future

    def listen(self):
        if self.waiting:
            job, future = self.waiting.pop()
            failures = self.failures.get(job.number)
            future.set_result(failures.pop(0) if failures else pickle.loads(pickle.dumps(encode_group(job))))


@pytest.fixture
def backwards(monkeypatch):
    """Encodes with `Reversed` workers, which fail as the returned dictionary says."""
    failures = {}
    monkeypatch.setattr(Reversed, "failures", failures)
    monkeypatch.setattr(gop, "open_workers", lambda *arguments: Reversed(arguments[-1]))
    return failures


def crash(message="a crash", **changes) -> Failure:
    return Failure("worker 7", message, **changes)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_the_file_conforms(local, tmp_path):
    (tmp_path / "out.rfv").write_bytes(local)
    report = validate(local)
    assert not [f for f in report.findings if f.severity == "error"]
    with open_stream(tmp_path / "out.rfv") as stream:
        assert [f.type for f in stream] == [1, 2, 1]


def test_groups_do_not_depend_on_each_other(ball, local, tmp_path, backwards):
    backwards[0] = [crash(), crash("another")]
    told = []
    report = encode(ball, tmp_path / "out.rfv", OPTIONS, told.append)
    assert (tmp_path / "out.rfv").read_bytes() == local and names(tmp_path) == ["out.rfv"]
    assert [f.number for f in report.frames] == [0, 1, 2]
    assert [p.remark for p in told if p.phase == "retry"] == [
        "group 0 (frames 0 to 1) on worker 7: a crash", "group 0 (frames 0 to 1) on worker 7: another"]
    assert told[-1].phase == "verify" and told[-1].done == 3


def test_nor_does_the_search_for_a_size(ball, tmp_path, monkeypatch):
    monkeypatch.setattr(group, "_TARGET_TRIALS", 2)
    options = dataclasses.replace(OPTIONS, target_kb=9.0, group_size=1, frames=range(2), intra_iterations=2)
    encode(ball, tmp_path / "here.rfv", options)
    monkeypatch.setattr(gop, "open_workers", lambda *arguments: Reversed(arguments[-1]))
    report = encode(ball, tmp_path / "there.rfv", options)
    assert (tmp_path / "here.rfv").read_bytes() == (tmp_path / "there.rfv").read_bytes()
    assert all(f.slope is not None for f in report.frames)
    assert {f.lagrangian for f in report.frames} != {OPTIONS.lagrangian}


def test_what_other_groups_made_is_kept_when_one_fails(ball, local, tmp_path, backwards, monkeypatch):
    backwards[0] = [crash(f"crash {i}") for i in range(3)]
    with pytest.raises(gop.GroupFailed, match=r"group 0 \(frames 0 to 1\) on worker 7: crash 2 \(3 attempts\)"):
        encode(ball, tmp_path / "out.rfv", OPTIONS)
    assert names(tmp_path) == ["out.rfv.partial.1", "out.rfv.partial.json"]
    monkeypatch.undo()
    report = encode(ball, tmp_path / "out.rfv", OPTIONS)  # in this process
    assert report.resumed_frames == 1 and report.path.read_bytes() == local and names(tmp_path) == ["out.rfv"]


def test_no_second_attempt_where_there_is_no_use(ball, tmp_path, backwards):
    backwards[0] = [crash()]
    backwards[1] = [crash("D05: can't read it", final=True, exit_code=1)]
    with pytest.raises(gop.GroupFailed, match=r"group 1 \(frames 2 to 2\) on worker 7: D05: can't read it$"):
        encode(ball, tmp_path / "out.rfv", OPTIONS)


@pytest.mark.parametrize("journal", ['["no journal"]', "{}", '{"fingerprint": "print", "groups": {"0": [7]}}',
                                     '{"fingerprint": "another", "groups": {}}', "no JSON"])
def test_what_another_encode_left_is_thrown_away(local, tmp_path, journal):
    for name, content in (("0", local), ("7", b"of a longer encode"), ("json", journal.encode()),
                          ("txt", b"somebody's")):
        (tmp_path / f"out.rfv.partial.{name}").write_bytes(content)
    assert Parts(tmp_path / "out.rfv", "print", 2, True).results == []
    assert names(tmp_path) == ["out.rfv.partial.json", "out.rfv.partial.txt"]


@pytest.fixture(scope="module")
def coded(ball) -> tuple[str, list[CodedFrame]]:
    """The frames of the first group."""
    groups = []

    class Noted(Workers):
        def submit(self, job):
            future = super().submit(job)
            groups.append(future.result())
            return future

    patch = pytest.MonkeyPatch()
    patch.setattr(gop, "open_workers", lambda *arguments: Noted(arguments[-1]))
    with patch.context():
        encode(ball, ball.parent / "group.rfv", OPTIONS)
    patch.undo()
    return groups[0]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whole_frames_of_a_damaged_part_are_taken_up(coded, tmp_path_factory, data):
    """Whatever happens to a part file, a prefix of its frames is found, and writing goes on behind it."""
    out = tmp_path_factory.mktemp("parts") / "out.rfv"
    written = Parts(out, "print", 1, True)
    for frame in coded:
        written.append(0, frame)
    damaged = bytearray(written.path(0).read_bytes())
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged))):]
    if damaged and data.draw(st.booleans()):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    written.path(0).write_bytes(damaged + data.draw(st.binary(max_size=20)))
    found = Parts(out, "print", 1, True)
    count = len(found.results)
    assert found[0].digests == [f.digests for f in coded[:count]]
    assert found.results == [f.result for f in coded[:count]]
    for frame in coded[count:]:
        found.append(0, frame)
    assert found.stream(0) == b"".join(f.data for f in coded)
    assert Parts(out, "another print", 1, True).results == [] and names(out.parent) == ["out.rfv.partial.json"]


def attempt(job, version=__version__):
    return executors._attempt(job, version, "worker 7", lambda message: None)


@pytest.fixture
def job(ball, tmp_path):
    """A group of one frame whose pictures are there."""
    run = gop._Encode(ball, tmp_path / "out.rfv", OPTIONS, None)
    run.parts = Parts(tmp_path / "out.rfv", "print", 2, True)
    return run._job(1, Workers(lambda message: None))


def test_what_goes_wrong_on_a_worker_is_said_in_one_line(job, tmp_path, monkeypatch):
    first = job.frames[0]

    def with_picture(path):
        views = [dataclasses.replace(v, image=path) if i == 0 else v for i, v in enumerate(first.views)]
        return dataclasses.replace(job, frames=(dataclasses.replace(first, views=tuple(views)),))

    assert first.views[0].image.is_absolute()
    gone = attempt(with_picture(tmp_path / "gone.png"))
    assert gone.final and gone.exit_code == 1 and "gone.png isn't there" in gone.message
    (tmp_path / "no.png").write_text("no picture")
    broken = attempt(dataclasses.replace(with_picture(tmp_path / "no.png"), evaluate=True))
    assert broken.final and broken.exit_code == 1 and broken.message.startswith("D05")
    other = attempt(job, "0.0.1")
    assert other.final and "0.0.1 here" in other.message
    for error, text, code in ((RuntimeError("CUDA error\nand more"), "RuntimeError: CUDA error (test_cluster.py:", 3),
                              (MemoryError(), "MemoryError", 1), (OSError(28, "No space left"), "No space left", 1)):
        def fail(*arguments, error=error):
            raise error

        monkeypatch.setattr(executors, "encode_group", fail)
        failure = attempt(job)
        assert text in failure.message and "\n" not in failure.message
        assert (failure.final, failure.exit_code) == (False, code)


@pytest.mark.parametrize("arguments, message", [
    (("--jobs", "2"), "several jobs need --executor"),
    (("--executor", "dask"), "needs --scheduler"),
    (("--executor", "processes", "--scheduler", "tcp://host:1"), "needs --executor dask"),
    (("--executor", "cloud"), "cloud"),
    (("--threads", "0"), "0"),
])
def test_wrong_usage(ball, tmp_path, arguments, message):
    result = CliRunner().invoke(cli, ["encode", str(ball), str(tmp_path / "out.rfv"), *arguments])
    assert result.exit_code == 1 and message in result.stderr and names(tmp_path) == []


def test_options_of_the_library_are_checked(ball, tmp_path):
    for changes, message in ((dict(executor="cloud"), "no executor 'cloud'"), (dict(threads=0), "threads is at least"),
                             (dict(executor="processes", jobs=0), "jobs is at least 1")):
        with pytest.raises(UsageError, match=message):
            encode(ball, tmp_path / "out.rfv", dataclasses.replace(OPTIONS, **changes))


def test_a_scheduler_that_is_not_there(ball, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(executors, "_CONNECT_SECONDS", 0.3)
    result = CliRunner().invoke(cli, ["encode", str(ball), str(tmp_path / "out.rfv"), "--preset", "micro",
                                      "--executor", "dask", "--scheduler", "tcp://127.0.0.1:1"])
    *notes, error = result.stderr.splitlines()
    assert result.exit_code == 1 and "can't reach a dask scheduler at tcp://127.0.0.1:1" in error
    assert all(line.startswith(("assumed: ", "warning ")) for line in notes) and names(tmp_path) == []


def test_processes_are_killed_and_interrupted(ball, local, tmp_path):
    """A killed process costs the frame that it was at; an interrupt ends them all and keeps what is finished."""
    out, told = tmp_path / "out.rfv", []

    def kill_then_interrupt(progress):
        told.append(progress)
        if progress.frame == 1 and progress.phase == "load":
            if "retry" in [p.phase for p in told]:
                raise KeyboardInterrupt
            os.kill(int(progress.worker.removeprefix("process ")), signal.SIGKILL)

    with pytest.raises(KeyboardInterrupt):
        encode(ball, out, dataclasses.replace(OPTIONS, executor="processes", jobs=2), kill_then_interrupt)
    assert multiprocessing.active_children() == []
    assert [p.remark for p in told if p.phase == "retry"] == [
        "group 0 (frames 0 to 1) on a process of this machine: the process died (out of memory, or killed)"]
    # The I-frame survived the death of its process: it was never loaded again.
    assert [p.phase for p in told if p.frame == 0].count("load") == 1
    assert not out.exists() and "out.rfv.partial.0" in names(tmp_path)
    report = encode(ball, out, OPTIONS)
    assert report.resumed_frames >= 1 and out.read_bytes() == local and names(tmp_path) == ["out.rfv"]


def test_a_cluster_whose_worker_is_killed(ball, local, tmp_path):
    """The scheduler gives the group to another worker; the file is the one that a single process makes.

    Before that, an encode without end is interrupted: its workers have to let go of it.
    """
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
                                  host="127.0.0.1", silence_logs=50) as cluster:
        loads, out = [], tmp_path / "out.rfv"
        options = dataclasses.replace(OPTIONS, executor="dask", scheduler=cluster.scheduler_address)

        def interrupt(progress):
            if progress.phase == "load":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            encode(ball, out, dataclasses.replace(options, intra_iterations=10**6), interrupt)
        assert names(tmp_path) == []

        deadline = time.monotonic() + 300

        def kill(progress):
            assert time.monotonic() < deadline, "the workers are still at the encode that was interrupted"
            if progress.phase == "load":
                loads.append((progress.frame, progress.worker))
                if len(loads) == 1:
                    nanny, = (n for n in cluster.workers.values() if n.worker_address == progress.worker.split()[0])
                    os.kill(nanny.pid, signal.SIGKILL)

        report = encode(load_dataset(ball), out, options, kill)
    assert out.read_bytes() == local and names(tmp_path) == ["out.rfv"]
    first, killed = loads[0]
    assert [worker != killed for frame, worker in loads if frame == first] == [False, True]
    assert [f.number for f in report.frames] == [0, 1, 2]


def start(*words: object, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "distributed.cli." + str(words[0]), *map(str, words[1:])],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.skipif(sys.platform != "linux", reason="not here: limits of other processes are Linux's")
def test_a_scheduler_that_is_lost_and_comes_back(ball, local, tmp_path):
    """With its worker, whose disk is full from the first frame on; the file is that of a single process."""
    pytest.importorskip("distributed")
    address, running, told = f"tcp://127.0.0.1:{free_port()}", [], []

    def start_cluster() -> None:
        running.append(start("dask_scheduler", "--host", address, "--no-dashboard", "--no-jupyter"))
        running.append(start("dask_worker", address, "--nthreads", 1, "--no-nanny", "--no-dashboard",
                             "--local-directory", tmp_path / f"scratch{len(running)}"))

    def lose(progress):
        told.append(progress)
        if progress.phase == "load" and len(running) == 2:
            for process in running:
                process.kill()
            start_cluster()
        elif progress.phase == "load":  # no file may grow: what a full disk does to whoever writes
            resource.prlimit(running[-1].pid, resource.RLIMIT_FSIZE, (0, 0))

    try:
        start_cluster()
        deadline = time.monotonic() + 60
        while True:  # a scheduler needs some seconds to start
            try:
                executors._connect(address).close()
                break
            except OSError:
                assert time.monotonic() < deadline
        out = tmp_path / "out.rfv"
        encode(ball, out, dataclasses.replace(OPTIONS, executor="dask", scheduler=address), lose)
        assert out.read_bytes() == local
        assert any(p.phase == "retry" and "lost, and is back" in p.remark for p in told)
    finally:
        for process in running:
            process.kill()
            process.wait()


def test_a_scheduler_that_stays_away(ball, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(executors, "_RECONNECT_SECONDS", 1)
    monkeypatch.setattr(executors, "_CONNECT_SECONDS", 1)
    workers = executors.Dask.__new__(executors.Dask)
    workers.scheduler, workers.executor, workers.client = "tcp://127.0.0.1:1", Closed(), Closed()
    future: Future = Future()
    future.cancel()
    future.set_running_or_notify_cancel()
    workers.submitted, workers.killed = {future}, ValueError
    failure = workers.outcome(future)
    assert failure.final and failure.message.startswith("the scheduler is gone")


class Closed:
    def shutdown(self, wait: bool) -> None:
        pass

    def close(self) -> None:
        pass
