"""Compiled kernels and threads: the same results, value by value and error by error, as without either."""
from __future__ import annotations

import importlib.metadata
import io
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from test_entropy import tensors

from checkout import ROOT
from native import SOURCES, compiler, native
from refcodec.decoding import Limits, open_stream
from refcodec.entropy.bernoulli import BERNOULLI
from refcodec.entropy.coder import MAX_SYMBOL, EntropyError, encode_symbols
from refcodec.entropy.layout import Layout
from refcodec.errors import BitstreamError, UsageError
from refcodec.export import digest_lines
from refcodec.inspection import inspect
from refcodec.kernels import NumpyKernels, choose, wasm
from refcodec.syntax.coding import Prediction, Tools, Transform, band_count
from refcodec.syntax.headers import Alignment, Mapping, Role, TensorInfo
from refcodec.syntax.registry import UnitType
from refcodec.syntax.units import UnitReader, build_unit
from refcodec.tensors.state import FrameState
from synthetic import context_model, small_header, small_stream

NUMPY = NumpyKernels()
SUITE = ROOT / "conformance"
VECTORS = json.loads((SUITE / "manifest.json").read_text("utf-8"))["vectors"]
ENVIRONMENT = dict(os.environ)


def both(call):
    """The outcome of a call with the kernels in numpy and with the compiled ones."""
    found = []
    for kernels in (NUMPY, native()):
        try:
            values = call(kernels)
            found.append((values.dtype, values.shape, values.tobytes()))
        except EntropyError as e:
            found.append((e.requirement, str(e)))
    return found


def changed(choice, data: bytes) -> bytes:
    """Coded data cut short, made longer, garbled or given another end; or noise."""
    match choice.draw(st.sampled_from(["short", "long", "garbled", "end", "noise"])):
        case "short":
            return data[: choice.draw(st.integers(0, len(data)))]
        case "long":
            return data + choice.draw(st.binary(max_size=12))
        case "garbled" if data:
            at = choice.draw(st.integers(0, len(data) - 1))
            return data[:at] + choice.draw(st.binary(min_size=1, max_size=4)) + data[at + 1 :]
        case "end" if data:
            return data[:-1] + choice.draw(st.binary(max_size=9))
        case _:
            return choice.draw(st.binary(max_size=120))


@settings(max_examples=100, deadline=None)
@given(tensors(), st.data())
def test_symbols_are_the_same(case, choice):
    """Of what an encoder wrote, of the same cut short or garbled, and of noise."""
    model, layout, values, selected = case
    data, bits = encode_symbols(model, layout, values, selected)
    assert native().encode_symbols(model, layout, values, selected) == (data, bits)
    assert np.array_equal(native().decode_symbols(model, layout, data, selected), values)
    data = changed(choice, data)
    plain, fast = both(lambda kernels: kernels.decode_symbols(model, layout, data, selected))
    assert plain == fast
    plain, fast = both(lambda kernels: kernels.decode_mask(model, layout, data))
    assert plain == fast


@settings(max_examples=100, deadline=None)
@given(tensors(), st.integers(0, 2**32 - 1), st.sampled_from([1, 30, 2000, MAX_SYMBOL]))
def test_any_values_are_encoded_the_same(case, seed, largest):
    """Escapes, carries and long runs among them."""
    model, layout, values, selected = case
    rng = np.random.default_rng(seed)
    values = rng.integers(-largest, largest + 1, values.shape).astype(np.int32)
    assert native().encode_symbols(model, layout, values, selected) == encode_symbols(model, layout, values, selected)


def test_a_value_that_is_too_large_is_refused():
    model, values = context_model(np.random.default_rng(0), 5, channels=2), np.zeros((60, 2), np.int32)
    for kernels in (NUMPY, native()):
        with pytest.raises(ValueError, match="1048575"):
            kernels.encode_symbols(model, Layout((2, 3, 4, 5)), values + (1 << 20))


def test_the_extension_itself_checks_sizes():
    module = sys.modules["refcodec.kernels._native"] if native() else None
    with pytest.raises(ValueError):
        module.tables(7, None)
    with pytest.raises(ValueError):
        module.tables(3, np.array([2, 0, 1, 0, 1 << 30, 1], np.int32))
    tables, words = module.tables(0, None), np.array([1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], np.int32)
    good = [tables, words, (1, 2, 2, 2), (1, 1, 1), None, None, None, None, b"", np.zeros((8, 1), np.int32)]
    assert module.decode_symbols(*good) == (0, 0)
    for at, bad in ((1, words[:-1]), (1, words + 1), (2, (1, 2, 2, 5000)), (2, (1, 2, 2, -2)), (2, (0, 2, 2, 2)),
                    (3, (0, 1, 1)), (4, np.ones(7, np.uint8)), (4, np.full(8, 2, np.uint8)), (5, np.zeros(9, np.int8)),
                    (6, np.zeros(7, np.uint8)), (7, np.zeros(7, np.uint8)), (9, np.zeros((7, 1), np.int32)),
                    (9, np.zeros((8, 1), np.int16))):
        with pytest.raises(ValueError):
            module.decode_symbols(*good[:at], bad, *good[at + 1 :])
    with pytest.raises((ValueError, TypeError)):
        module.decode_symbols(object(), *good[1:])
    with pytest.raises(ValueError):
        module.interpolate(np.zeros((2, 1), np.float32), np.full((1, 1), 2), np.ones((1, 1), np.float32), 1, 1,
                           np.zeros((1, 1), np.float32))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(1, 9)] * 3), st.sampled_from([0, 0.03, 0.5]),
       st.tuples(*[st.integers(0, 3)] * 4), st.sampled_from([1, 3, 6, 7, 9]), st.booleans(), st.booleans(), st.data())
def test_occupancy_is_the_same(seed, shape, share, scan, template, joint, temporal, choice):
    """Under models of any order and neighbourhood; of what an encoder wrote, and of the same cut short or garbled."""
    rng = np.random.default_rng(seed)
    neighbours = tuple((int(rng.choice([0, 1, 2, 3, 4, 5, 8, 13])), 0, *rng.integers(-2, 3, 3).tolist())
                       for _ in range(choice.draw(st.integers(1, 18)))) if template == 1 else None
    scan = (0, *scan[1:]) if joint else scan
    model = replace(context_model(rng, template, joint, 1, scan, choice.draw(st.integers(1, 8)), neighbours),
                    family=BERNOULLI)
    previous = (rng.random((*shape, 1)) < share).astype(np.int8) if temporal else None
    occupancy = rng.random(shape) < share
    data, bits = NUMPY.encode_occupancy(model, occupancy, previous)
    assert native().encode_occupancy(model, occupancy, previous) == (data, bits)
    assert np.array_equal(native().decode_occupancy(model, shape, previous, data), occupancy)
    if choice.draw(st.booleans()):
        data = changed(choice, data)
    else:  # a value that is no bit
        values = occupancy.astype(np.int32).reshape(-1, 1)
        values[rng.integers(len(values))] = choice.draw(st.sampled_from([-1, 2, 300]))
        data, _ = encode_symbols(model, Layout((1, *shape), previous=previous), values)
    plain, fast = both(lambda kernels: kernels.decode_occupancy(model, shape, previous, data))
    assert plain == fast


TRANSFORMS = [(Transform.NONE, 0), (Transform.BLOCK_DCT, 0), (Transform.WAVELET, 1), (Transform.WAVELET, 3)]
SHAPES = [(3, 4, 5, 6), (2, 17, 9, 1), (5, 1, 8, 24), (2, 16, 1, 7), (1, 1, 1, 19), (2, 9, 8, 10), (1, 1, 1, 1)]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(TRANSFORMS), st.sampled_from(SHAPES),
       st.sampled_from(list(Prediction)), st.integers(0, 255), st.integers(-16, 15), st.booleans(),
       st.sampled_from([1, 2, 100, 1 << 20]), st.sampled_from([0.02, 0.3, 1]))
def test_reconstruction_is_the_same(seed, transform, shape, prediction, step, base_exponent, by_occupancy, largest,
                                    share):
    rng, found = np.random.default_rng(seed), []
    header = small_header(tensors=(TensorInfo(Role.DIF_BASIS, 0, shape, 16, Mapping.SAWTOOTH, Alignment.CORNERS,
                                              3 << 16),))
    based = prediction == Prediction.BASE
    tools = Tools(tuple((step + 41 * band) % 256 for band in range(band_count(*transform))), prediction,
                  int(by_occupancy), *transform,
                  base=(int(rng.integers(-32768, 32768)), base_exponent) if based else (0, 0),
                  offset=int(rng.integers(-(1 << 31), 1 << 31)) if prediction >= Prediction.BASE else 0)
    occupancy = rng.random(header.occupancy_shape) < 0.1
    before, shared = (rng.integers(-(1 << 31), 1 << 31, shape).astype(np.int32) for _ in range(2))
    values = None
    for kernels in (NUMPY, native()):
        state = FrameState(header, kernels)
        state.set_occupancy(occupancy)
        state.tensors[0], state.shared = before, {0: shared}
        mask = state.mask(0, tools)
        if values is None:
            cells = int(mask.sum()) if mask is not None else math.prod(tools.coefficient_shape(shape)[1:])
            values = rng.integers(1 - largest, largest, (cells, shape[0])).astype(np.int32)
            values[rng.random(values.shape) >= share] = 0
        state.reconstruct(state.bind(0, tools), values)
        found.append((state.tensors[0], state.contexts(0, tools)))
    for plain, fast in zip(*found):
        assert plain.dtype == fast.dtype and np.array_equal(plain, fast)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(SHAPES), st.sampled_from(TRANSFORMS[1:]))
def test_extreme_coefficients_are_the_same(seed, shape, transform):
    """Every coefficient at an end of its 32 bits, so that passes clamp and intermediates are as large as they get."""
    rng, found = np.random.default_rng(seed), []
    tools = Tools((127,) * band_count(*transform), transform=transform[0], levels=transform[1])
    header = small_header(tensors=(TensorInfo(Role.DIF_BASIS, 0, shape, 16),))
    size = tools.coefficient_shape(shape)
    values = np.where(rng.random((math.prod(size[1:]), size[0])) < rng.random(), 1 << 19, -(1 << 19)).astype(np.int32)
    for kernels in (NUMPY, native()):
        state = FrameState(header, kernels)
        state.reconstruct(state.bind(0, tools), values)
        found.append(state.tensors[0])
    assert np.array_equal(*found)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 0.002, 0.1, 1]), st.sampled_from(list(Mapping)[1:]),
       st.sampled_from(list(Alignment)), st.integers(1, 1 << 22),
       st.tuples(*[st.sampled_from([1, 2, 5, 8, 19, 33])] * 3), st.tuples(*[st.integers(1, 24)] * 3),
       st.sampled_from(TRANSFORMS))
def test_masks_are_the_same(seed, share, mapping, alignment, frequency, cells, dims, transform):
    tensor = TensorInfo(Role.DIF_BASIS, 0, (1, *cells), 16, mapping, alignment, frequency)
    header = small_header(tensors=(tensor,), occupancy=dims)
    occupancy = np.random.default_rng(seed).random(header.occupancy_shape) < share
    masks = [kernels.coded_mask(header, tensor, occupancy) for kernels in (NUMPY, native())]
    assert masks[0].dtype == masks[1].dtype and np.array_equal(*masks)
    supports = [kernels.support_mask(*transform, masks[0]) for kernels in (NUMPY, native())]
    assert supports[0].dtype == supports[1].dtype and np.array_equal(*supports)


@given(seed=st.integers(0, 2**31), cells=st.integers(1, 40), channels=st.integers(1, 9), count=st.integers(0, 50),
       corners=st.sampled_from([1, 2, 4, 8]))
def test_lookups_are_the_same(seed, cells, channels, count, corners):
    rng = np.random.default_rng(seed)
    arguments = (rng.normal(size=(cells, channels)).astype(np.float32), rng.integers(0, cells, (corners, count)),
                 rng.random((corners, count), np.float32))
    found = [kernels.interpolate(*arguments) for kernels in (NUMPY, native())]
    assert found[0].dtype == found[1].dtype == np.float32
    np.testing.assert_array_equal(*found)


def outcome(data: bytes, jobs: int, compiled: bool) -> tuple[list, tuple | None]:
    """Digest lines of all frames, and what ended the decoding."""
    lines, error, kernels = [], None, native() if compiled else NUMPY
    try:
        for found in open_stream(io.BytesIO(data), kernels=kernels).map(digest_lines, jobs=jobs):
            lines += found
    except BitstreamError as e:
        error = (e.requirement, e.offset, e.element, str(e))
    return lines, error


@pytest.mark.parametrize("kind", ["valid", "invalid", "malformed", "limit"])
def test_vectors_have_the_same_outcome(kind):
    of_kind = [v for v in VECTORS if v["kind"] == kind]
    assert of_kind
    for vector in of_kind:
        data = (SUITE / vector["path"] / "stream.rfv").read_bytes()
        plain = outcome(data, 1, False)
        expected = (SUITE / vector["path"] / "expected.txt").read_text("utf-8").splitlines()
        assert plain[0] == expected[1:-1], vector["name"]
        assert outcome(data, 3, True) == plain, vector["name"]


def test_threads_without_compiled_loops():
    vector = next(v for v in VECTORS if v["kind"] == "valid" and v["frames"] > 3)
    data = (SUITE / vector["path"] / "stream.rfv").read_bytes()
    assert outcome(data, 2, False) == outcome(data, 1, False)


@pytest.fixture(scope="module")
def stream() -> bytes:
    return small_stream(5, groups=(3, 1, 4, 2, 3))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_damage_is_found_at_the_same_place(stream, data):
    """A byte of some unit changed, its checksum made right again: the error of the first frame that has one."""
    reader = UnitReader(io.BytesIO(stream))
    reader.read_file_header()
    units = list(reader.units())
    frames = [u for u in units if u.type == UnitType.FRAME]
    changed = {}
    for unit in data.draw(st.lists(st.sampled_from(frames), min_size=1, max_size=3, unique_by=lambda u: u.offset)):
        payload = bytearray(unit.payload)
        payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
        changed[unit.offset] = bytes(payload)
    damaged = stream[: units[0].offset] + b"".join(build_unit(u.type, changed.get(u.offset, u.payload)) for u in units)
    assert outcome(damaged, 3, True) == outcome(damaged, 1, False)


def changed_elements(stream: bytes, elements: dict[int, str]) -> bytes:
    """The stream with the first byte of an element of some frames, by their numbers, made another one."""
    reader = UnitReader(io.BytesIO(stream))
    reader.read_file_header()
    units = list(reader.units())
    payloads = {u.offset: bytearray(u.payload) for u in units}
    for frame in open_stream(io.BytesIO(stream)):
        if frame.number in elements:
            (span,) = (s for s in frame.trace.spans if s.path == f"frame.{elements[frame.number]}" and s.length)
            unit = next(u for u in units if u.offset == frame.offset)
            payloads[frame.offset][span.offset - unit.payload_offset] ^= 0x5A
    return stream[: units[0].offset] + b"".join(build_unit(u.type, bytes(payloads[u.offset])) for u in units)


@pytest.mark.parametrize("elements", [
    {1: "frame_digest", 2: "occupancy_data"}, {1: "tensor[0].value_data", 2: "occupancy_data"}, {2: "occupancy_data"},
    {1: "occupancy_data", 2: "occupancy_data"}, {2: "tensor[0].value_data", 3: "frame_digest"},
])
def test_occupancy_decoded_ahead_does_not_hide_an_error(elements):
    """The occupancy of a frame is decoded beside the tensors of the one before, which may turn out to be bad."""
    stream = small_stream(0, groups=(5,))  # whose occupancy changes with every frame
    first = [f.offset for f in open_stream(io.BytesIO(stream))][min(elements)]
    damaged = changed_elements(stream, elements)
    lines, error = outcome(damaged, 1, False)
    assert error is not None and first < error[1] and error[2] == f"frame.{elements[min(elements)]}"
    for _ in range(5):
        assert outcome(damaged, 3, True) == (lines, error)


@pytest.mark.parametrize("wanted", [range(0, 1), range(2, 3), range(4, 9), range(5, 100), range(12, 13)])
def test_parts_are_the_same(stream, wanted):
    serial = [f.number for f in open_stream(io.BytesIO(stream)).frames(wanted)]
    threads = [f.number for f in open_stream(io.BytesIO(stream)).frames(wanted, jobs=2)]
    assert serial == threads == [n for n in wanted if n < 13]


def test_a_limit_on_frames_is_the_same(stream):
    for jobs in (1, 2):
        frames = open_stream(io.BytesIO(stream), Limits(frames=4)).frames(jobs=jobs)
        assert [next(frames).number for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(BitstreamError) as e:
            next(frames)
        assert e.value.requirement == "R-LIM-01"


def test_what_the_function_raises_is_raised(stream):
    def refuse(frame):
        if frame.number == 5:
            raise OSError("full")
        return frame.number

    found = open_stream(io.BytesIO(stream)).map(refuse, jobs=3)
    assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(OSError, match="full"):
        next(found)


def test_an_abandoned_iteration_ends_its_threads(stream):
    frames = open_stream(io.BytesIO(stream)).frames(jobs=3)
    next(frames)
    frames.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("refcodec")]


def test_threads_read_no_more_than_some_groups_ahead():
    """Frames that are not taken hold up the reading."""
    numbers, taken = [], 0
    stream = open_stream(io.BytesIO(small_stream(1, groups=(2,) * 12)))
    for frame in stream.map(lambda f: numbers.append(f.number) or f.number, jobs=2):
        taken += 1
        assert frame == taken - 1 and max(numbers) < taken + 2 * 5
    assert taken == 24


# The command line.


def refcodec(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "refcodec", *map(str, arguments)], capture_output=True, text=True,
                          env={**ENVIRONMENT, "PYTHONPATH": str(SUITE.parent), **options}, timeout=100)


def test_decode_with_threads_writes_the_same_files(stream, tmp_path):
    path = tmp_path / "x.rfv"
    for name, data in (("whole", stream), ("cut", stream[: len(stream) * 2 // 3])):
        path.write_bytes(data)
        codes = [refcodec("decode", path, tmp_path / f"{name}{jobs}", "--jobs", jobs).returncode for jobs in (1, 3)]
        assert codes == ([0, 0] if name == "whole" else [2, 2])
        one, three = (sorted(f.name for f in (tmp_path / f"{name}{jobs}").iterdir()) for jobs in (1, 3))
        assert one == three and "digests.txt" in one
        for file in one:
            content = [(tmp_path / f"{name}{jobs}" / file).read_bytes() for jobs in (1, 3)]
            if file.endswith(".npz"):
                content = [[(k, v.tobytes()) for k, v in np.load(io.BytesIO(c)).items()] for c in content]
            assert content[0] == content[1]


def test_an_interrupt_leaves_no_half_written_file(tmp_path):
    path, out = tmp_path / "x.rfv", tmp_path / "out"
    path.write_bytes(small_stream(2, groups=(3,) * 25))
    process = subprocess.Popen([sys.executable, "-m", "refcodec", "decode", str(path), str(out), "--jobs", "3"],
                               env={**ENVIRONMENT, "PYTHONPATH": str(SUITE.parent)}, stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    until = time.monotonic() + 30
    while not list(out.glob("frame_*.npz")) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.strip()) == (130, "refcodec: interrupted")
    assert not list(out.glob(".*")) and 0 < len(list(out.glob("*.npz"))) < 75


def test_kernels_are_chosen_by_name():
    assert choose("numpy").name == "numpy" and choose("native").name == native().name == "native"
    assert choose().name == "native"
    with pytest.raises(UsageError, match="auto, native, numpy"):
        choose("numba")


_WITHOUT = """
import sys
sys.modules["refcodec.kernels._native"] = None
from refcodec.errors import UsageError
from refcodec.kernels import choose
print(choose().name)
try:
    choose("native")
except UsageError as e:
    print(e)
"""


def test_without_the_extension_numpy_does_the_work():
    done = subprocess.run([sys.executable, "-c", _WITHOUT], capture_output=True, text=True, check=True,
                          env={**ENVIRONMENT, "PYTHONPATH": str(SUITE.parent)})
    name, message = done.stdout.splitlines()
    assert name == "numpy" and message.startswith("the compiled kernels were not built (")


def test_a_group_can_be_repeated_to_measure_threads(stream, tmp_path):
    from refcodec.evaluation.benchmark import repeated_group

    path = tmp_path / "x.rfv"
    path.write_bytes(stream)
    first = list(open_stream(path))[:3]
    found = list(open_stream(io.BytesIO(repeated_group(path, 4))).frames(jobs=2))  # digests are checked
    assert [f.number for f in found] == list(range(12)) and [f.type for f in found] == [1, 2, 2] * 4
    for i, frame in enumerate(found):
        assert all(np.array_equal(a, b) for a, b in zip(frame.tensors, first[i % 3].tensors, strict=True))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured on Linux only")
def test_figures_of_coding_a_file():
    from refcodec.evaluation.benchmark import coding_figures

    path = SUITE / "sources" / "fox-micro.rfv"
    figures = coding_figures(path, 1)
    report = inspect(path, symbols=True)
    assert figures.symbols == sum(t.symbols for f in report.frames for t in f.tensors)
    assert 1 < figures.ideal_ratio < 1.02 and figures.size == path.stat().st_size
    assert min(figures.raw_speed, figures.entropy_speed, figures.decode_speed, figures.plain_speed) > 0


# The sources.


def test_the_sources_are_clean_under_sanitizers(tmp_path):
    """Random and garbled input, every buffer of exactly the size that is declared (fuzz/kernels.c)."""
    program, flags = tmp_path / "kernels", ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    probe = tmp_path / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    if subprocess.run([compiler(), *flags, probe, "-o", program], capture_output=True).returncode:
        pytest.skip("the compiler has no sanitizers")
    sources = [p for p in SOURCES.glob("*.c") if p.name not in ("module.c", "wasm.c")]
    subprocess.run([compiler(), "-std=c99", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-DRFV_DEBUG", *flags,
                    f"-I{SOURCES}", ROOT / "fuzz" / "kernels.c", *sources, "-o", program], check=True, timeout=300)
    done = subprocess.run([program, "20261201", "1500"], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "1500 rounds\n"), done.stderr[-2000:]


def test_the_webassembly_is_that_of_the_sources():
    text = wasm.PATH.read_text("utf-8")
    assert wasm.recorded_digest(text) == wasm.source_digest(), "run `python -m refcodec.kernels.wasm`"
    assert len(text) < 300_000


def test_the_webassembly_can_be_built_again():
    pytest.importorskip("ziglang", reason="ziglang is not installed")
    if importlib.metadata.version("ziglang") != pinned("ziglang"):
        pytest.skip("not here: another version of ziglang")
    assert wasm.script(wasm.compiled()) == wasm.PATH.read_text("utf-8")


def pinned(name: str) -> str:
    """Version of a package in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return next(version for line in lines for package, _, version in [line.partition("==")] if package == name)


def test_a_notice_says_why_there_are_no_compiled_kernels(tmp_path):
    done = subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--build-lib", tmp_path, "--build-temp",
                           tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=100,
                          env={**ENVIRONMENT, "CC": "no-such-compiler"})
    assert done.returncode == 0 and not list(tmp_path.rglob("_native*"))
    assert "refcodec: no compiled kernels, numpy instead, several times slower: " in done.stderr


def test_speed_is_measured():
    from refcodec.evaluation import speed

    figures = speed.measure(SUITE / "sources" / "fox-micro.rfv", 1)
    assert all(f.value > 0 for f in figures) and len({f.name for f in figures}) == len(figures) > 6
    assert speed.markdown(figures).count("\n") == len(figures) + 1
