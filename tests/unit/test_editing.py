"""Cutting, joining, repairing, taking out frames: what comes out conforms and has the frames of what went in."""
from __future__ import annotations

import hashlib
import io
import json
import math
import os
import struct
import subprocess
import sys
import time
import tracemalloc
from functools import cache
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import assume, example, given, settings, strategies as st
from test_stream import tiny_stream, units_of

import refcodec
from checkout import ROOT
from refcodec.cli import cli
from refcodec.decoding import open_stream
from refcodec.editing import concat, cut, extract, repair
from refcodec.editing.exact import History, code_exactly
from refcodec.entropy.fitting import best_static
from refcodec.entropy.models import ContextModel
from refcodec.errors import BitstreamError, UsageError
from refcodec.inspection import inspect
from refcodec.syntax.coding import FrameType, Prediction, Tools, step_index
from refcodec.syntax.headers import Mapping, Scene, SequenceHeader
from refcodec.syntax.registry import LEVELS, UnitType
from refcodec.syntax.units import FILE_HEADER_SIZE, build_unit
from refcodec.tensors.reconstruction import tensor_digest
from refcodec.validation import validate
from refcodec.writer import FrameCoding, StreamWriter, TensorCoding, UnitWriter
from synthetic import random_frame, small_header, small_stream, sparse_values

SCHEMA = json.loads((Path(refcodec.__file__).parent / "schemas" / "edit.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
VECTORS = sorted(p for p in (ROOT / "conformance/vectors/valid").rglob("*.rfv") if p.stat().st_size < 2500)
LAST = 1 << 32


@cache
def frames_of(data: bytes) -> dict[int, tuple]:
    """number: (scene, time stamp, digests of occupancy and tensors) of a file; decoding checks all of it."""
    return {f.number: (f.scene, f.time_stamp,
                       None if f.occupancy is None else hashlib.sha256(f.occupancy.tobytes()).hexdigest(),
                       [tensor_digest(t) for t in f.tensors]) for f in open_stream(io.BytesIO(data))}


@cache
def starts_of(data: bytes) -> list[int]:
    """Numbers of the I-frames."""
    return [g["first_frame"] for g in inspect(io.BytesIO(data)).groups]


def edited(edit, source, *rest, **options):
    """(bytes, report) of an editor."""
    out = io.BytesIO()
    report = edit(source, out, *rest, **options)
    assert report.bytes == len(out.getvalue()) and report.frames == len(frames_of(out.getvalue()))
    VALIDATOR.validate(report.to_dict("cut"))
    return out.getvalue(), report


def cut_of(data, first, stop, **options):
    return edited(cut, io.BytesIO(data), range(first, stop), **options)


def joined(*files):
    return edited(concat, [(f"{i}.rfv", io.BytesIO(data)) for i, data in enumerate(files)])


@cache
def streams() -> list[bytes]:
    """Several groups; with and without occupancy, digests, index; several scenes; private units."""
    small = small_header(occupancy=(3, 2, 2), bases=((1, 2, 1.5),), coefficient=2, features=1)
    models = {0: ContextModel.fixed([0], [22])}
    made = [small_stream(3, (3, 1, 2), small, models=models),
            small_stream(4, (2, 2), small_header(occupancy=(0, 0, 0), digest_type=0, features=1), index=False),
            scenes_stream(), tiny_stream((2, 2, 2))]
    return [*made, with_private_units(made[0])]


def scenes_stream(groups=((0, 2), (0, 1), (1, 2)), seed=5) -> bytes:
    """groups: (scene, frames) of each."""
    box = ((-100, -90, -80), (100, 120, 60))
    header = small_header(occupancy=(3, 2, 2), bases=((1, 2, 1.5),), coefficient=2, features=1,
                          further_scenes=(Scene(*box, -5, 32, (0, 0, 0)),))
    rng, out, number = np.random.default_rng(seed), io.BytesIO(), 0
    writer = StreamWriter(out, header)
    writer.begin()
    for scene, count in groups:
        writer.begin_group(number, count, scene)
        for k in range(count):
            occupancy = rng.random(header.occupancy_shape) < 0.5
            writer.write_frame(random_frame(rng, writer.state, number, k == 0, occupancy,
                                            {0: ContextModel.fixed([0], [22])}))
            number += 1
    writer.finish()
    return out.getvalue()


def with_private_units(data: bytes) -> bytes:
    """The file with a unit of unknown type behind each, but the last two, which are rewritten."""
    units = units_of(data)
    body = b"".join(build_unit(u.type, u.payload, u.flags) + build_unit(200, struct.pack("<I", i), 1)
                    for i, u in enumerate(units[:-2]))
    end = struct.pack("<IIQ", sum(u.type == UnitType.GROUP_HEADER for u in units),
                      sum(u.type == UnitType.FRAME for u in units), 0)
    return data[:FILE_HEADER_SIZE] + body + build_unit(UnitType.END, end)


any_file = st.integers(0, len(VECTORS) + 4).map(
    lambda i: streams()[i] if i < 5 else VECTORS[i - 5].read_bytes())


# Cut and concat.


@settings(max_examples=20, deadline=None)
@given(any_file)
def test_what_is_cut_at_its_groups_and_joined_is_the_same(data):
    heads = [*starts_of(data), LAST]
    parts = [cut_of(data, a, b, exact=True) for a, b in zip(heads, heads[1:])]
    assert all(r.details["widened"] is None and not r.notes for _, r in parts)
    whole, report = joined(*(part for part, _ in parts))
    assert frames_of(whole) == frames_of(data) and not report.notes and validate(whole).conforming
    if report.index == (inspect(io.BytesIO(data)).index is not None):
        # Repeated sequence headers, too, are where they were.
        assert whole == data


@settings(max_examples=25, deadline=None)
@given(any_file, st.data())
def test_a_cut_has_the_frames_and_what_they_depend_on(data, draw):
    frames = frames_of(data)
    first = draw.draw(st.sampled_from(sorted(frames)))
    stop = draw.draw(st.sampled_from([n + 1 for n in sorted(frames) if n >= first]))
    start = max(s for s in starts_of(data) if s <= first)
    part, report = cut_of(data, first, stop)
    assert frames_of(part) == {n: f for n, f in frames.items() if start <= n < stop}
    assert report.details["widened"] == (None if start == first else {"first": start, "last": first - 1})
    if start == first:
        assert cut_of(data, first, stop, exact=True)[0] == part
    else:
        with pytest.raises(UsageError, match=f"frame {first} is a P-frame"):
            cut(io.BytesIO(data), io.BytesIO(), range(first, stop), exact=True)


def test_a_pipe_is_cut_like_a_file(monkeypatch):
    for data in streams():
        pipe = io.BytesIO(data)
        pipe.seekable = lambda: False
        pipe.seek = None
        last = max(frames_of(data))
        assert edited(cut, pipe, range(last, LAST))[0] == cut_of(data, last, LAST)[0]


def test_an_index_that_lies_is_found_out():
    data = streams()[0]
    index = next(u for u in units_of(data) if u.type == UnitType.INDEX)
    entries = [list(e) for e in struct.iter_unpack("<IBQ", index.payload[4:])]
    groups = [e[2] for e in entries if e[1] == 1]
    entries[3][2] = groups[2]  # frame 3 is said to begin where frame 4 does
    payload = index.payload[:4] + b"".join(struct.pack("<IBQ", *e) for e in entries)
    wrong = data[: index.offset] + build_unit(UnitType.INDEX, payload) + data[index.offset + index.size :]
    for edit, wanted in ((cut, range(3, 6)), (extract, 3)):
        with pytest.raises(BitstreamError, match="frame 3 begins here, not frame 4") as caught:
            edit(io.BytesIO(wrong), io.BytesIO(), wanted)
        assert caught.value.requirement == "R-IDX-01"


def test_private_units_stay_with_their_groups():
    data = streams()[4]
    kept = [struct.unpack("<I", u.payload)[0] for u in units_of(cut_of(data, 3, 4)[0]) if not u.known]
    numbers = [i for i, u in enumerate(u for u in units_of(data) if u.known) if u.type == UnitType.GROUP_HEADER]
    # Those before the first group, and the two of the one-frame group.
    assert kept == [*range(numbers[0]), numbers[1], numbers[1] + 1]


@settings(max_examples=12, deadline=None)
@given(any_file, st.integers(2, 3))
def test_numbers_and_times_move_on_where_they_must(data, times):
    frames = frames_of(data)
    assume(max(frames) < 1 << 30 and max(f[1] for f in frames.values()) < 1 << 30)
    whole, report = joined(*[data] * times)
    found = frames_of(whole)
    assert len(found) == times * len(frames) and list(found) == sorted(found)
    assert sorted((f[0], f[2] or "", f[3]) for f in found.values()) == sorted(
        times * [(f[0], f[2] or "", f[3]) for f in frames.values()])
    if len({f[0] for f in frames.values()}) == 1:  # one scene: copies behind each other
        span = max(frames) - min(frames) + 1
        assert list(found) == [n + k * span for k in range(times) for n in frames]


def test_time_goes_on_at_the_pace_of_the_frames_around():
    data = streams()[0]  # ticks 0, 3, 6, …
    assert [f[1] for f in frames_of(joined(data, data)[0]).values()] == [3 * n for n in range(12)]
    one, pair = cut_of(data, 3, 4)[0], cut_of(data, 4, 6)[0]
    assert [f[1] for f in frames_of(joined(one, one, pair)[0]).values()] == [9, 10, 12, 15]


def timed(groups: tuple[int, ...], times: list[int]) -> bytes:
    """A stream whose frames have these time stamps."""
    parts, left = [], iter(times)
    data = tiny_stream(groups)
    for unit in units_of(data):
        payload = unit.payload
        if unit.type == UnitType.FRAME:
            payload = payload[:5] + struct.pack("<I", next(left)) + payload[9:]
        parts.append(build_unit(unit.type, payload))
    return data[:FILE_HEADER_SIZE] + b"".join(parts)


def test_time_goes_on_at_the_last_pace_before_the_join():
    first, second = timed((4,), [0, 10, 20, 27]), timed((3,), [0, 4, 9])
    assert [f[1] for f in frames_of(joined(first, second)[0]).values()] == [0, 10, 20, 27, 34, 38, 43]


def test_repair_keeps_no_equal_time_stamps():
    """The group between is lost, so that nothing but the frames that were kept says what comes before."""
    data = bytearray(timed((1, 1, 1), [5, 6, 5]))
    lost = [u for u in units_of(bytes(data)) if u.type == UnitType.FRAME][1]
    data[lost.offset + 20] ^= 1
    mended, report = edited(repair, bytes(data))
    assert list(frames_of(mended)) == [0] and validate(mended).conforming
    assert report.details["damage"][-1]["requirement"] == "R-FRM-04"


def test_scenes_are_put_together():
    a, b = scenes_stream(), scenes_stream(((0, 1), (1, 1), (1, 2)), 6)
    whole, report = joined(a, b)
    frames = frames_of(whole)
    assert [f[0] for f in frames.values()] == [0] * 4 + [1] * 5 and list(frames) == list(range(9))
    assert sorted(f[3] for f in frames.values()) == sorted(f[3] for d in (a, b) for f in frames_of(d).values())
    assert [f[3] for f in frames.values()][4:6] == [f[3] for f in frames_of(a).values()][3:]
    # Scene 1 comes first in the second part: nothing has to move back.
    assert frames_of(joined(cut_of(a, 3, LAST)[0], cut_of(a, 0, 3)[0])[0]).keys() == set(range(5))


def test_files_that_do_not_continue_each_other():
    a, b = streams()[0], streams()[1]
    with pytest.raises(UsageError, match=r"1.rfv does not continue 0.rfv: .*digest_type \(1, 0\), occupancy_dims"):
        joined(a, b)
    late = bytearray(cut_of(a, 0, 1)[0])
    units = units_of(bytes(late))
    out = io.BytesIO()
    writer = UnitWriter(out, open_stream(io.BytesIO(a)).header, 1)
    writer.begin()
    writer.copy(units[0])
    writer.begin_group(LAST - 1, 1)
    frame = next(u for u in units if u.type == UnitType.FRAME)
    without_digest = struct.pack("<IBI", LAST - 1, 1, LAST - 1) + frame.payload[9:]
    writer.add_frame(LAST - 1, 1, without_digest)
    writer.finish()
    with pytest.raises(UsageError, match="1.rfv does not fit behind .*: frame numbers would exceed 32 bits"):
        concat([("0.rfv", io.BytesIO(out.getvalue())), ("1.rfv", io.BytesIO(a))], io.BytesIO())
    damaged = bytearray(a)
    damaged[-40] ^= 1
    with pytest.raises(BitstreamError, match="1.rfv: "):
        joined(a, bytes(damaged))


def test_cameras_and_metadata_are_those_of_the_first_file():
    plain = small_stream(3, (1,), small_header(features=1), cameras=False, metadata=False)
    with_both = small_stream(3, (1,), small_header(features=1))
    other = with_both.replace(b"synthetic", b"different")
    units = units_of(with_both)
    other = with_both[: units[2].offset] + build_unit(UnitType.METADATA, units[2].payload.replace(
        b"synthetic", b"different")) + with_both[units[3].offset :]
    whole, report = joined(plain, with_both, other)
    opened = open_stream(io.BytesIO(whole))
    assert opened.metadata["title"] == "synthetic" and len(opened.cameras) == 1
    assert any("metadata unit of 2.rfv left out" in n for n in report.notes)


def test_an_index_that_no_unit_can_hold_is_left_out():
    writer = UnitWriter(io.BytesIO(), small_header(), 1)
    writer.entries = [(0, 1, 0)] * (LEVELS[1].unit_size // 13 + 1)
    assert writer.finish() == 0 and writer.out.getvalue()[:1] == bytes([UnitType.END])


def test_memory_does_not_grow_with_the_file():
    data = tiny_stream((1, 1))
    units = units_of(data)
    filler = build_unit(200, bytes(1 << 21), 1)
    end = build_unit(UnitType.END, struct.pack("<IIQ", 2, 2, 0))

    class Long(io.RawIOBase):
        """The file with 60 MB of private units in its second group, made as they are read."""

        def __init__(self):
            self.parts = iter([data[: units[-2].offset], *[filler] * 30, end])
            self.left = b""

        def seekable(self):
            return False

        def read(self, size=-1):
            if not self.left:
                self.left = next(self.parts, b"")
            got, self.left = self.left[:size], self.left[size:]
            return got

    class Counter(io.RawIOBase):
        size = 0

        def write(self, data):
            self.size += len(data)
            return len(data)

    tracemalloc.start()
    out = Counter()
    report = cut(Long(), out, range(1, 2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.bytes == out.size > 60_000_000 and peak < 25_000_000


# Repair.


@settings(max_examples=20, deadline=None)
@given(any_file)
def test_repair_leaves_an_intact_file_as_it_is(data):
    whole, report = edited(repair, data)
    assert frames_of(whole) == frames_of(data)
    assert report.details == dict(damage=[], dropped=[], lost=[])
    if inspect(io.BytesIO(data)).index is not None:
        assert whole == data
    assert edited(repair, data, decode=True)[0] == whole


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 20), st.integers(1, 255))
def test_any_single_byte_can_be_wrong(at, change):
    data = tiny_stream((2, 2, 2))
    damaged = bytearray(data)
    damaged[at % len(data)] ^= change
    whole, report = edited(repair, bytes(damaged))
    before, after = frames_of(data), frames_of(whole)
    assert all(before[n] == after[n] for n in after) and report.details["damage"]
    assert report.details["lost"] == sorted(set(before) - set(after))
    assert len({n // 2 for n in report.details["lost"]}) <= 1


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_damage_leaves_frames_that_are_right(draw):
    data = draw.draw(st.sampled_from(streams()))
    damaged = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        kind, at = draw.draw(st.sampled_from(["set", "delete", "insert", "cut"])), draw.draw(st.integers(0, len(data)))
        if kind == "set":
            damaged[at : at + 1] = draw.draw(st.binary(min_size=1, max_size=1))
        elif kind == "delete":
            del damaged[at : at + draw.draw(st.integers(1, 200))]
        elif kind == "insert":
            damaged[at:at] = draw.draw(st.binary(min_size=1, max_size=30))
        else:
            del damaged[max(at, 200) :]
    try:
        whole, report = edited(repair, bytes(damaged))
    except BitstreamError as e:
        assert "\n" not in str(e)
        return
    before, after = frames_of(data), frames_of(whole)
    assert all(before[n] == after[n] for n in after)
    assert set(report.details["lost"]).isdisjoint(after)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=14), st.sampled_from([0, 2, 3]))
@example([21, 22, 3, 21, 22], 0)  # a group that stands there twice
def test_units_out_of_order_are_sorted_out(order, which):
    data = streams()[which]
    units = units_of(data)
    pieces = [build_unit(u.type, u.payload, u.flags) for u in (units[i % len(units)] for i in order)]
    shuffled = data[: units[0].offset + units[0].size] + b"".join(pieces)
    try:
        whole, _ = edited(repair, shuffled, decode=True)
    except BitstreamError:
        return
    assert all(frames_of(data)[n][3] == f[3] for n, f in frames_of(whole).items() if n in frames_of(data))


def test_a_wrong_digest_is_found_by_decoding():
    data = tiny_stream((2, 2))
    unit = [u for u in units_of(data) if u.type == UnitType.FRAME][1]
    payload = unit.payload[:-1] + bytes([unit.payload[-1] ^ 1])
    wrong = data[: unit.offset] + build_unit(UnitType.FRAME, payload) + data[unit.offset + unit.size :]
    out = io.BytesIO()
    repair(wrong, out)
    assert not validate(out.getvalue()).conforming  # nobody has looked
    whole, report = edited(repair, wrong, decode=True)
    assert report.details["lost"] == [1] and [d["requirement"] for d in report.details["damage"]] == ["R-DIG-01"]


def test_a_repetition_stands_for_a_lost_sequence_header():
    data = tiny_stream((1, 1))
    units = units_of(data)
    second = [u for u in units if u.type == UnitType.GROUP_HEADER][1]
    header = build_unit(UnitType.SEQUENCE_HEADER, units[0].payload)
    repeated = bytearray(data[: second.offset] + header + data[second.offset :])
    repeated[30:40] = bytes(10)
    whole, report = edited(repair, bytes(repeated))
    assert [f[3] for f in frames_of(whole).values()] == [f[3] for f in frames_of(data).values()]
    assert any("a repetition" in note for note in report.notes)
    hopeless = bytearray(data)
    hopeless[30:40] = bytes(10)
    with pytest.raises(BitstreamError, match="E0203"):
        repair(bytes(hopeless), io.BytesIO())


@pytest.mark.parametrize("data", [b"", b"\x89RFV", b"no such thing at all, and long enough", bytes(1000)])
def test_what_is_no_file_is_not_repaired(data):
    with pytest.raises(BitstreamError):
        repair(data, io.BytesIO())


# One frame.


@settings(max_examples=25, deadline=None)
@given(any_file, st.data())
def test_an_extracted_frame_has_the_same_tensors(data, draw):
    frames = frames_of(data)
    number = draw.draw(st.sampled_from(sorted(frames)))
    alone, report = edited(extract, io.BytesIO(data), number)
    assert frames_of(alone) == {number: frames[number]}
    assert report.details == dict(frame=number, recoded=number not in starts_of(data))


def history(*steps: int) -> History:
    """Of a tensor of which nothing is known but the steps of its values."""
    found = History()
    found.steps.update(steps)
    return found


@pytest.mark.parametrize("values", [(1 << 31) - 1, -(1 << 31), [(1 << 31) - 1, (1 << 31) - 8], [-(1 << 31), 7],
                                    [1 << 21, (1 << 21) + 1], [0, 0]])
def test_tensors_of_few_elements_can_be_coded_exactly(values):
    header = small_header()
    tensors = [np.resize(np.array(values, np.int64), info.shape).astype(np.int32) for info in header.tensors]
    coding = code_exactly(header, tensors, None, [History()] * len(tensors))
    out = io.BytesIO()
    writer = StreamWriter(out, header, max(LEVELS))
    writer.begin()
    if coding.shared:
        writer.write_shared(coding.shared_models, coding.shared)
    writer.begin_group(0, 1)
    occupancy = np.ones(header.occupancy_shape, bool)
    writer.write_frame(FrameCoding(0, FrameType.INTRA, 0, occupancy, coding.models, coding.tensors))
    writer.finish()
    frame, = open_stream(out.getvalue())
    for found, wanted in zip(frame.tensors, tensors, strict=True):
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("offset", [1 << 30, -(1 << 30), 12345])
def test_a_p_frame_around_an_offset_is_extracted(offset):
    """Values far from 0 that differ by less than a step size of that reach."""
    header, out = small_header(occupancy=(0, 0, 0)), io.BytesIO()
    writer, model = StreamWriter(out, header), {0: ContextModel.fixed([0], [22])}
    writer.begin()
    writer.begin_group(0, 2)
    shapes = [(math.prod(info.shape[1:]), info.shape[0]) for info in header.tensors]
    writer.write_frame(FrameCoding(0, FrameType.INTRA, 0, None, model, [
        TensorCoding(i, np.zeros(shape, np.int32), 0, Tools((0,))) for i, shape in enumerate(shapes)]))
    values = (np.arange(math.prod(shapes[1])) % 2).astype(np.int32).reshape(shapes[1])
    writer.write_frame(FrameCoding(1, FrameType.INTER, 1, None, {}, [
        TensorCoding(1, values, 0, Tools((0,), Prediction.CONSTANT, offset=offset))]))
    writer.finish()
    data = out.getvalue()
    assert set(np.unique(list(open_stream(data))[1].tensors[1])) == {offset, offset + 1}
    alone, report = edited(extract, io.BytesIO(data), 1)
    assert frames_of(alone) == {1: frames_of(data)[1]} and report.details["recoded"]


def banded_stream(count: int) -> tuple[bytes, SequenceHeader]:
    """A group of grids coded by block DCT, every P-frame with a few changes."""
    header, rng, out = small_header(bases=((4, 24, 1.5),), features=4), np.random.default_rng(2), io.BytesIO()
    writer = StreamWriter(out, header)
    writer.begin()
    writer.begin_group(0, count)
    occupancy = rng.random(header.occupancy_shape) < 0.2
    for number in range(count):
        tensors, models = [], {}
        for i, info in enumerate(header.tensors):
            wide = info.mapping != Mapping.NONE
            if number and not wide:
                continue
            tools = Tools((100, 100, 104, 104) if wide else (90,), int(wide and number > 0), int(wide), int(wide))
            writer.state.set_occupancy(occupancy)
            layout = writer.state.bind(i, tools).layout
            values = sparse_values(rng, layout.cells, info.shape[0], 0.5 if number else 4)
            models[i] = best_static(values, layout.band, bands=len(tools.steps))
            tensors.append(TensorCoding(i, values, i, tools))
        kind = FrameType.INTER if number else FrameType.INTRA
        writer.write_frame(FrameCoding(number, kind, number, occupancy, models, tensors))
    writer.finish()
    return out.getvalue(), header


def test_an_extracted_p_frame_stays_small():
    """Its two layers take little more than in the file; with a third, the rounding of the transforms is coded, too."""
    data, _ = banded_stream(3)
    frames = frames_of(data)
    sizes = {}
    for number in (1, 2):
        alone, _ = edited(extract, io.BytesIO(data), number)
        assert frames_of(alone) == {number: frames[number]}
        sizes[number] = len(alone)
    layers = [f.size for f in open_stream(data)]
    assert sizes[1] < 1.25 * sum(layers[:2])
    assert sizes[2] < 0.6 * sum(t.nbytes for t in next(iter(open_stream(data))).tensors)


def test_extracting_with_loss_keeps_to_its_bound():
    data, header = banded_stream(4)
    exact = len(edited(extract, io.BytesIO(data), 3)[0])
    before = open_stream(data).frame(3)
    sizes = []
    for step in (0.05, 0.5):
        alone, report = edited(lambda file, out: extract(file, out, 3, lossy=step), io.BytesIO(data))
        after = open_stream(alone).frame(3)
        errors = [np.abs(a - b) for a, b in zip(after.values(), before.values())]
        assert report.details["largest_error"] == pytest.approx(max(e.max() for e in errors))
        for e, info in zip(errors, header.tensors):
            # The transform is orthonormal: half a step in each coefficient is that in the mean square of a block.
            assert np.sqrt((e**2).mean()) <= (step / 2 if info.mapping else 0) + 2.0**(1 - info.frac_bits)
        sizes.append(len(alone))
    assert sizes[1] < sizes[0] and sizes[1] < exact


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 300, 70000, 1 << 23, (1 << 31) - 1]),
       st.sampled_from([1, 3, 1 << 9, 65537, 1 << 17]), st.booleans(), st.booleans())
def test_any_integers_can_be_coded_exactly(seed, reach, step, sparse, extremes):
    rng = np.random.default_rng(seed)
    header = small_header(occupancy=(3, 2, 2), bases=((2, 2, 1.5),), coefficient=2, features=1)
    occupancy = rng.random(header.occupancy_shape) < 0.3
    tensors = []
    for info in header.tensors:
        values = rng.integers(-reach, reach + 1, info.shape) // step * step
        if sparse:
            values *= rng.random(info.shape) < 0.2
        if extremes:
            values.flat[:2] = -(1 << 31), (1 << 31) - 1
        tensors.append(np.clip(values, -(1 << 31), (1 << 31) - 1).astype(np.int32))
    coding = code_exactly(header, tensors, occupancy, [history(5, step_index(step))] * len(tensors))
    out = io.BytesIO()
    writer = StreamWriter(out, header)
    writer.begin()
    if coding.shared:
        writer.write_shared(coding.shared_models, coding.shared)
    writer.begin_group(0, 1)
    writer.write_frame(FrameCoding(0, 1, 0, occupancy, coding.models, coding.tensors))
    writer.finish()
    assert frames_of(out.getvalue())[0][3] == [tensor_digest(t) for t in tensors]


def test_values_at_both_ends_of_32_bits():
    data = (ROOT / "conformance/vectors/valid/constant-offsets/stream.rfv").read_bytes()
    for number, frame in frames_of(data).items():
        assert frames_of(edited(extract, io.BytesIO(data), number)[0]) == {number: frame}


def test_tensors_that_p_frames_leave_alone_keep_their_size():
    """The networks of a P-frame are those of its I-frame: coded in about as few bytes."""
    rng = np.random.default_rng(1)
    header = small_header()
    q = [rng.integers(-3, 4, info.shape) for info in header.tensors]
    tensors = [((v * 42495 + (1 << 5)) >> 6).astype(np.int32) for v in q]
    coding = code_exactly(header, tensors, None, [history(75)] * len(tensors))
    assert not coding.shared and all(t.tools.steps == (75,) for t in coding.tensors)
    assert all(abs(t.values).max() <= 3 for t in coding.tensors)


# The command line.


def run(*args, data=None):
    return CliRunner().invoke(cli, [str(a) for a in args], input=data)


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "some.rfv"
    path.write_bytes(streams()[0])
    return path


def test_commands_and_their_reports(file, tmp_path):
    out, data = tmp_path / "out.rfv", streams()[0]
    for command, *arguments in (["cut", file, out, "--frames", "1:4"], ["concat", file, file, out],
                                ["repair", file, out], ["extract", file, out, "--frame", "2"]):
        done = run(command, *arguments, "--json", "--force")
        assert done.exit_code == 0, done.output
        report = json.loads(done.stdout)
        VALIDATOR.validate(report)
        assert report["command"] == command
        frames = frames_of(out.read_bytes())
        assert (report["written"]["frames"], report["written"]["bytes"]) == (len(frames), out.stat().st_size)
        quiet = run(command, *arguments, "--quiet", "--force")
        assert quiet.exit_code == 0 and quiet.output == ""
        spoken = run(command, *arguments, "--force")
        assert f"written to {out}" in spoken.stderr and spoken.stdout == ""
    assert run("cut", "-", "-", "--frames", ":3", data=data).stdout_bytes == cut_of(data, 0, 3)[0]


def test_damage_is_one_line_and_leaves_no_file(file, tmp_path):
    out, damaged, cutoff = tmp_path / "out.rfv", tmp_path / "damaged.rfv", tmp_path / "cutoff.rfv"
    data = bytearray(streams()[0])
    cutoff.write_bytes(data[:-30])
    unit = [u for u in units_of(bytes(data)) if u.type == UnitType.FRAME][-1]
    data[unit.offset + 20] ^= 1
    damaged.write_bytes(data)
    for bad, code in ((damaged, "E0203"), (cutoff, "E0106")):
        for arguments in (["cut", bad, out, "--frames", "0:99"], ["concat", file, bad, out]):
            done = run(*arguments)
            assert done.exit_code == 2 and not out.exists(), arguments
            assert done.stderr.count("\n") == 1 and code in done.stderr and "Traceback" not in done.stderr
    assert run("extract", damaged, out, "--frame", 5).exit_code == 2 and not out.exists()
    assert run("extract", damaged, out, "--frame", 4).exit_code == 0  # nothing behind it is read
    done = run("repair", damaged, out, "--force")
    assert done.exit_code == 2 and "lost: frames 5" in done.stderr
    assert list(frames_of(out.read_bytes())) == [0, 1, 2, 3, 4]
    assert run("repair", cutoff, out, "--force").exit_code == 0
    assert frames_of(out.read_bytes()) == frames_of(streams()[0])
    assert not [p for p in tmp_path.iterdir() if ".part" in p.name]


@pytest.mark.parametrize("arguments, message", [
    (["cut", "FILE", "OUT", "--frames", "77"], "the stream holds no frame in 77:78"),
    (["cut", "FILE", "OUT", "--frames", "1", "--exact"], "frame 1 is a P-frame"),
    (["cut", "nowhere", "OUT", "--frames", "1"], "can't open nowhere"),
    (["cut", "FILE", "nowhere/out.rfv", "--frames", "1"], "there is no such folder"),
    (["cut", "FILE", "-", "--frames", "1", "--json"], "can't both go to standard output"),
    (["extract", "FILE", "OUT", "--frame", "77"], "the stream holds no frame 77"),
    (["repair", "/dev/null", "OUT"], "E0101"),
    (["serve", "nowhere"], "can't serve nowhere"),
])
def test_what_can_not_be_done(file, tmp_path, arguments, message):
    out = tmp_path / "out.rfv"
    done = run(*({"FILE": file, "OUT": out}.get(a, a) for a in arguments))
    assert done.exit_code in (1, 2) and message in done.stderr and done.stderr.count("\n") == 1
    assert not out.exists()


def test_schema_is_a_schema_and_not_a_formality():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    report = edited(repair, streams()[0])[1].to_dict("repair")
    for key in ("command", "written", "tool"):
        assert not VALIDATOR.is_valid({k: v for k, v in report.items() if k != key})
    assert VALIDATOR.is_valid(report) and not VALIDATOR.is_valid(report | {"more": 1})


def test_frames_come_out_of_a_pipe_as_soon_as_they_are_in():
    """Every frame's digests are there before the first byte of the next unit is written."""
    data = streams()[0]
    units = units_of(data)
    p = subprocess.Popen([sys.executable, "-m", "refcodec", "decode", "-", "-", "--digests-only"], cwd=ROOT,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    os.set_blocking(p.stdout.fileno(), False)
    got, frames = b"", 0
    p.stdin.write(data[: units[0].offset])
    try:
        for unit in units:
            p.stdin.write(data[unit.offset : unit.offset + unit.size])
            p.stdin.flush()
            if unit.type != UnitType.FRAME:
                continue
            frames += 1
            until = time.monotonic() + 30
            while got.count(b"\nframe ") < frames or not got.endswith(b"\n") \
                    or got.rsplit(b"\nframe ", 1)[1].count(b"tensor") < 8:
                assert time.monotonic() < until, (frames, got)
                time.sleep(0.005)
                got += p.stdout.read() or b""
        p.stdin.close()
        assert p.wait(30) == 0
    finally:
        p.kill()
        p.wait()
    assert frames == 6
