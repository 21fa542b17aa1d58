"""Whole streams: damage of every kind, agreement with the text, machines that differ."""
from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import spec_decoder
from checkout import ROOT
from refcodec.decoding import Limits, Salvage, open_stream, salvage
from refcodec.decoding.parallel import map_frames
from refcodec.decoding.sequence import SequenceDecoder
from refcodec.decoding.stream import _planned
from refcodec.entropy.models import ContextModel
from refcodec.entropy.occupancy import pack
from refcodec.errors import BitstreamError, UsageError
from refcodec.requirements import REQUIREMENTS
from refcodec.syntax.registry import UnitType
from refcodec.syntax.units import UnitReader, build_unit
from refcodec.tensors.reconstruction import tensor_digest
from synthetic import small_header, small_stream


@pytest.fixture(scope="module")
def stream() -> bytes:
    return small_stream()


def digest_lines(data: bytes) -> list[str]:
    """What refcodec makes of a file, in the form of `spec_decoder.digest_lines`."""
    import hashlib

    lines, frames = ["rfv-digests 1"], 0
    try:
        for f in open_stream(io.BytesIO(data)):
            lines.append(f"frame {f.number} {'IP'[f.type - 1]} {f.time_stamp}")
            lines.append("occupancy " + ("-" if f.occupancy is None else hashlib.sha256(pack(f.occupancy)).hexdigest()))
            lines += [f"tensor {i} {tensor_digest(t)}" for i, t in enumerate(f.tensors)]
            frames += 1
    except BitstreamError as e:
        assert e.requirement in REQUIREMENTS and e.code == REQUIREMENTS[e.requirement].code
        assert e.section and e.element and (e.offset is None or 0 <= e.offset <= len(data))
        return [*lines, f"error {e.code} {e.requirement}"]
    return [*lines, f"end {frames}"]


def units_of(data: bytes):
    reader = UnitReader(io.BytesIO(data))
    reader.read_file_header()
    return list(reader.units())


def test_streams_decode_as_the_text_says(stream):
    for data in (stream, small_stream(1, header=small_header(occupancy=(0, 0, 0))),
                 small_stream(2, header=small_header(digest_type=0), cameras=False, metadata=False, index=False)):
        lines = digest_lines(data)
        assert lines[-1] == "end 5" and lines == spec_decoder.digest_lines(data)


def tiny_stream(groups=(1, 1)) -> bytes:
    """An I- and a P-frame of a field with a handful of elements: under 2 KB with every kind of unit."""
    header = small_header(occupancy=(3, 2, 2), bases=((1, 2, 1.5),), coefficient=2, features=1)
    return small_stream(8, groups=groups, header=header, models={0: ContextModel.fixed([0], [22])})


def test_truncation_at_every_byte():
    data = tiny_stream()
    assert len(data) < 2500
    for size in range(len(data)):
        with pytest.raises(BitstreamError) as caught:
            list(open_stream(io.BytesIO(data[:size])))
        assert caught.value.code == ("E0106" if size else "E0101"), size


def test_every_single_byte_flip_is_refused():
    data, rng = tiny_stream(), random.Random(0)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= rng.randrange(1, 256)
        with pytest.raises(BitstreamError) as caught:
            list(open_stream(io.BytesIO(bytes(damaged))))
        assert caught.value.offset is not None


@settings(max_examples=80)
@given(st.data())
def test_damage_behind_a_valid_checksum(data):
    """Mutated payloads with repaired checksums: documented errors only, and the text agrees."""
    original = _streams()[data.draw(st.integers(0, 2))]
    units = units_of(original)
    out = bytearray(original[:16])
    target = data.draw(st.integers(0, len(units) - 1))
    for i, unit in enumerate(units):
        payload = bytearray(unit.payload)
        if i == target:
            for _ in range(data.draw(st.integers(1, 3))):
                kind = data.draw(st.sampled_from(["set", "set", "set", "insert", "delete"]))
                at = data.draw(st.integers(0, len(payload) - 1)) if payload else 0
                if kind == "set" and payload:
                    payload[at] = data.draw(st.sampled_from([0, 1, 2, 127, 128, 255]) | st.integers(0, 255))
                elif kind == "insert":
                    payload[at:at] = data.draw(st.binary(min_size=1, max_size=3))
                elif kind == "delete":
                    del payload[at : at + data.draw(st.integers(1, 3))]
        out += build_unit(unit.type, bytes(payload))
    mutated = bytes(out)
    assert digest_lines(mutated) == spec_decoder.digest_lines(mutated)


_STREAMS: list[bytes] = []


def _streams() -> list[bytes]:
    if not _STREAMS:
        _STREAMS.extend([small_stream(5), small_stream(6, groups=(1, 1)),
                         small_stream(7, header=small_header(digest_type=0), groups=(2,))])
    return _STREAMS


@settings(max_examples=60)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(0, 2))
def test_units_in_any_order(order, which):
    """Whole units dropped, repeated and reordered: documented errors only, and the text agrees."""
    original = _streams()[which]
    units = units_of(original)
    pieces = [build_unit(units[i % len(units)].type, units[i % len(units)].payload) for i in order]
    head = original[: units[0].offset + units[0].size]
    mutated = head + b"".join(pieces)
    assert digest_lines(mutated) == spec_decoder.digest_lines(mutated)


def test_private_units_are_skipped_or_stop(stream):
    units = units_of(stream)
    cut = units[2].offset
    skipped = stream[:cut] + build_unit(200, b"private", flags=1) + stream[cut:]
    lines = digest_lines(skipped)
    # The index now disagrees: its offsets are those of the shorter file.
    assert lines[-1].startswith("error E1101") and lines[:-1] == digest_lines(stream)[:-1]
    assert digest_lines(stream[:cut] + build_unit(200, b"", flags=0) + stream[cut:])[-1] == "error E0204 R-UNIT-04"


def test_seeking_gives_the_same_frames(stream):
    full = [[tensor_digest(t) for t in f.tensors] for f in open_stream(io.BytesIO(stream))]
    for wanted in (range(0, 1), range(1, 2), range(2, 4), range(4, 5), range(3, 99)):
        with open_stream(io.BytesIO(stream)) as s:
            found = [(f.number, [tensor_digest(t) for t in f.tensors]) for f in s.frames(wanted)]
        assert found == [(i, full[i]) for i in wanted if i < 5]


def test_a_pipe_is_read_front_to_back(stream):
    class Pipe(io.RawIOBase):
        """Gives a few bytes at a time and can't seek."""

        def __init__(self, data):
            self.inner = io.BytesIO(data)

        def readable(self):
            return True

        def seekable(self):
            return False

        def read(self, n=-1):
            return self.inner.read(min(n, 7) if n >= 0 else n)

    s = open_stream(Pipe(stream))
    assert [f.number for f in s.frames(range(1, 4))] == [1, 2, 3]
    with pytest.raises(UsageError):
        next(s.frames())


@settings(max_examples=60)
@given(st.integers(16, 3_000), st.integers(1, 255))
def test_salvage_loses_one_group_at_most(at, change):
    data = tiny_stream((2, 2, 2))
    whole = {f.number: [tensor_digest(t) for t in f.tensors] for f in open_stream(io.BytesIO(data))}
    damaged = bytearray(data)
    at = at % len(data)
    damaged[at] ^= change
    first_group = next(u.offset for u in units_of(data) if u.type == UnitType.GROUP_HEADER)
    report = Salvage()
    try:
        found = {f.number: [tensor_digest(t) for t in f.tensors] for f in salvage(bytes(damaged), report)}
    except BitstreamError:
        assert at < first_group  # the headers that everything needs
        return
    assert report.errors and all(found[n] == whole[n] for n in found)
    missing = sorted(set(whole) - set(found))
    assert len({n // 2 for n in missing}) <= 1 and report.lost == missing


def test_limits_of_the_decoder(stream):
    for limits in (Limits(tensor_elements=100), Limits(occupancy_voxels=100), Limits(unit_size=64), Limits(frames=2),
                   Limits(steps=10)):
        with pytest.raises(BitstreamError) as caught:
            list(open_stream(io.BytesIO(stream), limits))
        assert caught.value.code == "E1301"


def _run(code: str, data: bytes, **environment) -> str:
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, timeout=120)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout.decode()


_DECODE = """
import sys, io
from refcodec.decoding import open_stream
from refcodec.tensors.reconstruction import tensor_digest
for f in open_stream(io.BytesIO(sys.stdin.buffer.read())):
    print(*[tensor_digest(t) for t in f.tensors])
"""


def test_machines_that_differ_decode_alike(stream):
    """Other threads, other BLAS kernels, no SIMD dispatch in numpy: the same integers."""
    big = small_stream(12, header=small_header(
        occupancy=(9, 17, 12), bases=((2, 19, 2.5), (3, 22, 5.7), (1, 17, 1.0)), coefficient=8), groups=(2,))
    for data in (stream, big):
        reference = _run(_DECODE, data)
        assert len(reference.split()) >= 20
        for environment in ({"OPENBLAS_NUM_THREADS": "1"}, {"OPENBLAS_NUM_THREADS": "4", "OMP_NUM_THREADS": "4"},
                            {"OPENBLAS_CORETYPE": "Prescott"},
                            {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512_SKX"}):
            assert _run(_DECODE, data, **environment) == reference


def test_lying_sizes_allocate_nothing():
    """A unit that claims a quarter of a gigabyte, read under a memory limit that it would break."""
    code = """
import resource, sys, io
resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))
from refcodec.decoding import open_stream
from refcodec.errors import BitstreamError
try:
    list(open_stream(io.BytesIO(sys.stdin.buffer.read())))
except BitstreamError as e:
    print(e.code)
"""
    import struct

    from refcodec.syntax.units import build_file_header

    claim = build_file_header(3) + struct.pack("<BBI", 1, 0, 1 << 28) + bytes(100)
    assert _run(code, claim, OPENBLAS_NUM_THREADS="1").strip() == "E0106"
    over = build_file_header(3) + struct.pack("<BBI", 1, 0, (1 << 28) + 1) + bytes(100)
    assert _run(code, over, OPENBLAS_NUM_THREADS="1").strip() == "E0202"


def test_frames_handed_out_stay_as_they_were(stream):
    frames = list(open_stream(io.BytesIO(stream)))
    digests = [[tensor_digest(t) for t in f.tensors] for f in frames]
    again = [[tensor_digest(t) for t in f.tensors] for f in open_stream(io.BytesIO(stream))]
    assert digests == again and len({tuple(d) for d in digests}) == len(frames)
    assert np.isfinite(frames[0].values()[0]).all()


def test_threads_hold_no_more_groups_than_promised():
    """While the first frame is not done, nothing of the groups behind those under way is planned or decoded."""
    data, jobs = tiny_stream((1,) * 12), 2
    reader = UnitReader(io.BytesIO(data))
    decoder = SequenceDecoder(reader.read_file_header())
    planned, most, free = [], [], threading.Event()

    def jobs_of():
        for job in _planned(reader.units(), decoder):
            if job is not None:
                planned.append(job)
            yield job

    def hold(frame):
        if frame.number == 0:
            free.wait()
        return frame.number

    def watch():
        for _ in range(2000):
            if len(planned) > jobs:
                break
            time.sleep(0.005)
        time.sleep(0.2)
        most.extend((len(planned), decoder.groups))
        free.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert list(map_frames(jobs_of(), hold, jobs)) == list(range(12))
    watcher.join()
    assert most == [jobs + 1, jobs + 1]
