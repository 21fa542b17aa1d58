"""What streams are opened from: several passes at once, pipes, offsets, and files that misbehave."""
from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import refcodec
from refcodec import sources
from refcodec.decoding.frame import Limits
from refcodec.errors import BitstreamError, UsageError
from refcodec.syntax.registry import UnitType
from refcodec.syntax.structures import INDEX, IndexEntrySyntax, IndexSyntax
from refcodec.syntax.units import UnitReader, build_unit
from refcodec.tensors.reconstruction import tensor_digest
from synthetic import small_stream

STREAM = small_stream(groups=(1, 1, 3, 1, 2))
WHOLE = {f.number: [tensor_digest(t) for t in f.tensors] for f in refcodec.open(STREAM)}

READERS = (refcodec.open, refcodec.validate, refcodec.inspect,
           lambda source: list(refcodec.salvage(source, refcodec.Salvage())))


def seen(frame) -> tuple[int, list[str]]:
    return frame.number, [tensor_digest(t) for t in frame.tensors]


def pipe(data: bytes) -> io.BufferedReader:
    """The reading end of a pipe that data are written to."""
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb") as file:
            file.write(data)

    threading.Thread(target=write).start()
    return open(reading, "rb")


@pytest.fixture
def path(tmp_path) -> Path:
    file = tmp_path / "file.rfv"
    file.write_bytes(STREAM)
    return file


def test_iterators_of_one_stream_do_not_disturb_each_other(path):
    for jobs in (1, 2):
        with refcodec.open(path) as stream:
            first, second = iter(stream), stream.frames(jobs=jobs)
            pairs = []
            for a, b in zip(first, second, strict=True):
                assert seen(stream.frame(4)) == (4, WHOLE[4]) and stream.index() is not None
                pairs.append((seen(a), seen(b)))
            assert pairs == [((n, d), (n, d)) for n, d in WHOLE.items()]


def test_threads_on_one_stream_see_the_right_frames(path):
    found: dict[int, list[tuple[int, list[str]]]] = {}
    with refcodec.open(path) as stream:
        def run(k: int) -> None:
            found[k] = [seen(f) for f in stream.frames(range(k, 8))]

        threads = [threading.Thread(target=run, args=(k,)) for k in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {k: [(n, WHOLE[n]) for n in range(k, 8)] for k in range(6)}


@pytest.mark.parametrize("index", [True, False])
def test_streams_begin_where_their_file_stands(index):
    data = small_stream(groups=(2, 2), index=index)
    file = io.BytesIO(b"something before it" + data)
    file.seek(19)
    with refcodec.open(file) as stream:
        numbers = [[f.number for f in stream] for _ in range(2)]
        assert numbers == [[0, 1, 2, 3]] * 2
        assert [f.number for f in stream.frames(range(2, 4))] == [2, 3] and stream.frame(1).number == 1
    assert not file.closed
    file.seek(19)
    assert refcodec.validate(file).findings == refcodec.validate(data).findings
    file.seek(19)
    assert [f.number for f in refcodec.salvage(file, refcodec.Salvage())] == [0, 1, 2, 3]


def test_a_pipe_is_read_once():
    with pipe(STREAM) as file, refcodec.open(file) as stream:
        first, second = iter(stream), iter(stream)
        assert next(first).number == 0
        with pytest.raises(UsageError, match="a pipe can be read only once"):
            next(second)
        assert [f.number for f in first] == [1, 2, 3, 4, 5, 6, 7]
        with pytest.raises(UsageError, match="a pipe can be read only once"):
            stream.frame(0)
        assert stream.index() is None


def test_everything_takes_what_open_takes(path):
    def sources():
        yield str(path)
        yield path
        yield STREAM
        yield bytearray(STREAM)
        yield io.BytesIO(STREAM)

    for source in sources():
        with refcodec.open(source) as stream:
            assert {f.number for f in stream} == set(WHOLE)
    for source in sources():
        assert refcodec.validate(source).conforming
    for source in sources():
        assert [f.number for f in refcodec.salvage(source, refcodec.Salvage())] == list(WHOLE)
    for source in sources():
        assert refcodec.inspect(source).complete
    for call in READERS[1:]:
        with pipe(STREAM) as file:
            call(file)


class Reader:
    """A binary file with nothing but `read`, which gives a few bytes at a time."""

    def __init__(self, data: bytes, answers=lambda data: data):
        self.data, self.at, self.answers = data, 0, answers

    def read(self, size: int = -1):
        part = self.data[self.at : self.at + min(size, 3)]
        self.at += len(part)
        return self.answers(part)


@pytest.mark.parametrize("read", [READERS[1], READERS[3]])
def test_a_pipe_that_does_not_end_is_given_up(read, monkeypatch):
    """It begins as a file does, and ancillary units without end follow."""
    reader = UnitReader(io.BytesIO(STREAM))
    reader.read_file_header()
    begin = STREAM[: 16 + next(reader.units()).size]
    given = iter(lambda: build_unit(200, bytes(1000), 1), None)

    class Endless:
        def __init__(self):
            self.kept, self.given = begin, 0

        def read(self, size):
            while len(self.kept) < size:
                self.kept += next(given)
            data, self.kept = self.kept[:size], self.kept[size:]
            self.given += size
            return data

        def seekable(self):
            return False

    monkeypatch.setattr(sources, "SPOOL_LIMIT", 3 << 20)
    pipe = Endless()
    with pytest.raises(UsageError, match="more than 3 MiB come through the pipe"):
        read(pipe)
    assert pipe.given < 5 << 20


def test_short_reads_are_read_on():
    with refcodec.open(Reader(STREAM)) as stream:
        assert [seen(f) for f in stream] == list(WHOLE.items())
    assert refcodec.validate(Reader(STREAM)).conforming


@pytest.mark.parametrize("answers, message", [
    (lambda part: None, "no data yet, and it does not block"),
    (lambda part: part.decode("latin-1"), "it gives str, not bytes; open it in binary mode"),
])
def test_readers_that_give_no_bytes(answers, message):
    for call in READERS:
        with pytest.raises(UsageError, match=message):
            call(Reader(STREAM, answers))


def test_a_pipe_that_does_not_block_is_refused():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with open(writing, "wb"), open(reading, "rb") as file, pytest.raises(UsageError, match="does not block"):
        refcodec.open(file)


@pytest.mark.parametrize("name", ["a\0b", "", "/dev/null/file", "."])
def test_paths_that_are_none(name):
    for call in READERS:
        with pytest.raises(UsageError, match="can't open"):
            call(name)
    with pytest.raises(UsageError, match="not int"):
        refcodec.open(7)


def test_closed_streams_say_so(path):
    stream = refcodec.open(path)
    frames = iter(stream)
    next(frames)
    stream.close()
    stream.close()
    for call in (stream.frames, stream.index, lambda: stream.frame(0), lambda: next(frames)):
        with pytest.raises(UsageError, match="the stream is closed"):
            call()
    with open(path, "rb") as file:
        given = refcodec.open(file)
        frames = iter(given)
        next(frames)
    with pytest.raises(UsageError, match="closed file"):
        list(frames)
    with pytest.raises(UsageError, match="closed file"):
        refcodec.open(file)


def test_ranges_ascend():
    with refcodec.open(STREAM) as stream:
        assert [f.number for f in stream.frames(range(1, 8, 3))] == [1, 4, 7]
        with pytest.raises(UsageError, match="must ascend"):
            stream.frames(range(5, 1, -1))


_WARNED = """
import sys, gc, refcodec
path, broken = sys.argv[1:]
next(iter(refcodec.open(path)))
frames = refcodec.open(path).frames(range(2, 6))
next(frames)
del frames
list(refcodec.open(path))
refcodec.validate(path), refcodec.inspect(path), list(refcodec.salvage(path, refcodec.Salvage()))
for call in (refcodec.open, refcodec.validate, refcodec.inspect):
    try:
        call(broken)
    except refcodec.RefcodecError:
        pass
gc.collect()
"""


def test_no_file_is_left_open(path, tmp_path):
    """Nobody closes these streams; -X dev turns the warning on, and an error in a finaliser is printed."""
    broken = tmp_path / "broken.rfv"
    broken.write_bytes(STREAM[:40])
    root = Path(refcodec.__file__).parent.parent
    done = subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", _WARNED, path, broken],
                          capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)})
    assert (done.returncode, done.stderr) == (0, "")


def with_index(change) -> bytes:
    """The stream with another index, whose entries `change` gets."""
    reader = UnitReader(io.BytesIO(STREAM))
    reader.read_file_header()
    parts = [STREAM[:16]]
    for unit in reader.units():
        if unit.type == UnitType.INDEX:
            entries = [IndexEntrySyntax(indexed_frame=n, indexed_type=t, frame_offset=o)
                       for n, t, o in change(refcodec.open(STREAM).index(), unit.offset)]
            index = IndexSyntax(index_count=len(entries), entry=tuple(entries))
            payload = INDEX.build(index, payload_size=len(unit.payload))
            parts.append(build_unit(UnitType.INDEX, payload))
        else:
            parts.append(build_unit(unit.type, unit.payload, unit.flags))
    return b"".join(parts)


def test_an_index_that_points_behind_itself_is_not_followed():
    """Decoding goes in order instead, gives the right frames, and says in the end what is wrong."""
    def beyond(entries, index):
        return [(n, t, o if n < 5 else index + o) for n, t, o in entries]

    with refcodec.open(with_index(beyond)) as stream:
        assert stream.index() is None
        assert seen(stream.frame(5)) == (5, WHOLE[5])
        with pytest.raises(BitstreamError) as caught:
            list(stream)
        assert caught.value.requirement == "R-IDX-01"


def test_an_index_with_an_unknown_frame_type_is_not_followed():
    data = with_index(lambda entries, index: [(n, 0 if n == 1 else t, o) for n, t, o in entries])
    with refcodec.open(data) as stream:
        assert stream.index() is None and seen(stream.frame(5)) == (5, WHOLE[5])
        with pytest.raises(BitstreamError, match="R-IDX-01"):
            list(stream)
    assert [f.requirement for f in refcodec.validate(data).findings if f.severity == "error"] == ["R-IDX-01"]


def test_an_index_that_names_another_group_is_an_error():
    """Without the check, frames between would be missing without a word."""
    def shifted(entries, index):
        offsets = {n: o for n, _, o in entries}
        return [(n, t, offsets[5] if n == 2 else o) for n, t, o in entries]

    data = with_index(shifted)
    for jobs in (1, 2):
        with refcodec.open(data) as stream, pytest.raises(BitstreamError) as caught:
            list(stream.frames(range(2, 5), jobs=jobs))
        assert caught.value.requirement == "R-IDX-01" and "not frame 5" in caught.value.detail


def test_limits_close_the_file(path):
    with pytest.raises(BitstreamError):
        refcodec.open(path, Limits(tensor_elements=1))
    gc.collect()


def test_frames_say_what_they_are_in_a_line():
    frame = refcodec.open(STREAM).frame(3)
    assert repr(frame).count("\n") == 0 and len(repr(frame)) < 120
    assert repr(frame).startswith("<Frame 3 P, scene 0, ") and f"{len(frame.tensors)} tensors" in repr(frame)
