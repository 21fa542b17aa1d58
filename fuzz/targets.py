"""What is fuzzed, and what counts as a defect.

Every target takes bytes and returns normally when refcodec behaves: it decodes
them, or refuses them with a documented `BitstreamError`. Anything else that comes
out is a defect: another exception, a wrong offset, two parts of refcodec that
disagree, or a difference from the decoder that the specification's text contains.
`run.py` adds the bounds on memory and time.
"""
from __future__ import annotations

import functools
import hashlib
import io
import signal
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mutate import Choices, checksums_hold, mutate, pick_seed, sequence_header, split
from refcodec.decoding import Limits, Salvage, open_stream, salvage, sequence
from refcodec.entropy.coder import MAX_SYMBOL, EntropyError, decode_symbols, encode_symbols
from refcodec.entropy.layout import Layout
from refcodec.entropy.models import ContextModel, StaticModel
from refcodec.errors import BitstreamError
from refcodec.export import DigestList
from refcodec.inspection import inspect
from refcodec.kernels import Kernels, best
from refcodec.requirements import REQUIREMENTS
from refcodec.syntax.declare import Structure
from refcodec.syntax.families import ProbabilityFamily
from refcodec.syntax.registry import SOURCES, TEMPLATES, UnitType, is_activity
from refcodec.syntax.structures import template_inputs
from refcodec.tensors.state import FrameState
from refcodec.validation import validate as validate_file

LIMITS = Limits(tensor_elements=1 << 14, occupancy_voxels=1 << 16, unit_size=1 << 16, frames=64, steps=1 << 14)
MAX_VOXELS = 1 << 16
# Files that the text's own decoder, in plain Python, is asked about as well.
TEXT_SIZE, TEXT_SECONDS = 3000, 5.0

# What happened, for the summary: files with right checksums, decoded, refused by requirement, checks made.
counts: Counter[str] = Counter()


class Defect(AssertionError):
    """Something that refcodec must not do."""


def require(condition: bool, what: str) -> None:
    if not condition:
        raise Defect(what)


def documented(e: BitstreamError, size: int) -> None:
    """Whether an error says what chapter 11 promises."""
    rule = REQUIREMENTS.get(e.requirement)
    require(rule is not None and (e.code, e.section) == (rule.code, rule.section), f"undocumented: {e}")
    require(bool(e.element) and bool(e.detail), f"an error without element or detail: {e}")
    require(e.offset is None or 0 <= e.offset <= size, f"offset {e.offset} in a file of {size} bytes: {e}")


def digests(data: bytes, limits: Limits = LIMITS, kernels: Kernels | None = None
            ) -> tuple[list[str], BitstreamError | None]:
    """Digest list of a file (docs/cli.md), and the error that ended it."""
    out = io.StringIO()
    listed, error = DigestList(out), None
    try:
        for frame in open_stream(io.BytesIO(data), limits, kernels):
            listed.add(frame)
    except BitstreamError as e:
        error = e
        documented(e, len(data))
    listed.end(error)
    return out.getvalue().splitlines(), error


def count_outcome(error: BitstreamError | None) -> None:
    counts["decoded" if error is None else f"refused {error.requirement}"] += 1


# Targets


def parse(data: bytes) -> None:
    """Every unit and structure of a file, and what `inspect` makes of them."""
    report = inspect(io.BytesIO(data), symbols=small(data))
    if report.error is not None:
        documented(report.error, len(data))
    report.to_dict()
    count_outcome(report.error)


def decode(data: bytes) -> None:
    """The whole decoding process."""
    count_outcome(digests(data)[1])


def validate(data: bytes) -> None:
    """The validator, which goes on behind violations; it must agree with the decoder on whether there is one."""
    if not small(data):
        return
    report = validate_file(data)
    report.to_dict()
    for finding in report.findings:
        require(finding.offset is None or 0 <= finding.offset <= len(data), f"offset of {finding}")
        require(bool(finding.message), f"message of {finding}")
    error = digests(data, Limits())[1]
    require(report.conforming == (error is None),
            f"the decoder says {error}, the validator {[f.message for f in report.findings]}")
    if error is not None:
        require(any(f.requirement == error.requirement for f in report.findings),
                f"the decoder says {error}, the validator only {[(f.requirement, f.message) for f in report.findings]}")
    count_outcome(error)


def entropy(data: bytes) -> None:
    """Symbols of a tensor whose model, shape, bands, masks and coded data are all taken from the data."""
    rng = Choices(data[:4096])
    shape = (rng.randrange(1, 10), *(rng.randrange(1, 7) for _ in range(3)))
    bands = rng.choice((1, 3, 4))
    model = _model(rng, shape[0], bands)
    numbers = np.random.default_rng(rng.getrandbits(32))
    mask = numbers.random(shape[1:]) < rng.choice((0, 0.1, 0.9)) if rng.randrange(2) else None
    previous = numbers.integers(-127, 128, (*shape[1:], shape[0])).astype(np.int8) if rng.randrange(2) else None
    cells = shape[1] * shape[2] * shape[3] if mask is None else int(mask.sum())
    selected = numbers.random((cells, shape[0])) < rng.choice((0, 0.1, 0.9)) if rng.randrange(2) else None
    band = numbers.integers(0, bands, cells).astype(np.uint8) if bands > 1 else None
    at = min(64, len(data))
    layout = Layout(shape, mask, previous, band, (rng.randrange(1, 4), rng.randrange(1, 4), rng.randrange(1, 4)))
    try:
        values = decode_symbols(model, layout, data[at:], selected)
    except EntropyError as e:
        require(e.requirement in REQUIREMENTS, f"undocumented: {e.requirement}")
        counts[f"refused {e.requirement}"] += 1
        values = np.round(numbers.laplace(0, rng.choice((0.5, 30, 5000)), (cells, shape[0]))).astype(np.int32)
        if selected is not None:
            values[~selected] = 0
    else:
        counts["decoded"] += 1
        require(values.shape == (cells, shape[0]), f"shape {values.shape}")
        require(selected is None or not values[~selected].any(), "a value where there is no symbol")
        require(not values.size or int(np.abs(values).max()) <= MAX_SYMBOL, "a value out of range")
    coded, _ = encode_symbols(model, layout, values, selected)
    again = decode_symbols(model, layout, coded, selected)
    require(np.array_equal(again, values), "what was encoded decodes to something else")


def _model(rng: Choices, channels: int, bands: int):
    if rng.randrange(3) == 0:
        assignment = rng.randrange(4)
        tables = (1, channels, bands, bands * channels)[assignment]
        return StaticModel(tuple(
            (rng.randrange(-(1 << 16), (1 << 16) + 1) if rng.randrange(4) == 0 else rng.randrange(-8, 1),
             tuple([1 + rng.randrange(1 << 12), *(rng.randrange(1 << rng.randrange(12))
                                                  for _ in range(rng.randrange(1, 30)))])) for _ in range(tables)),
            assignment)
    joint, template_id = rng.randrange(2), rng.choice((1, *TEMPLATES))
    if template_id == 1:
        template = []
        for _ in range(rng.randrange(1, 12)):
            source = rng.choice(sorted(SOURCES))
            dc = 0 if joint or is_activity(source) else rng.randrange(-2, 3)
            template.append((source, dc, *(rng.randrange(-2, 3) for _ in range(3))))
    else:
        template = TEMPLATES[template_id]
    c, family = channels if joint else 1, rng.choice(list(ProbabilityFamily))
    outputs = family.outputs * c
    n = template_inputs(template, bool(joint), c)
    hidden = rng.randrange(1, 9) if template else 0
    numbers = np.random.default_rng(rng.getrandbits(32))
    pick = (lambda bound, *size: numbers.choice([-bound, bound], size)) if rng.randrange(3) == 0 else (
        lambda bound, *size: numbers.integers(-bound, bound, size, endpoint=True))
    return ContextModel(
        bool(joint), c, (0 if joint else rng.randrange(4), *(rng.randrange(4) for _ in range(3))), template_id,
        tuple(template), rng.randrange(16), pick(127, hidden, n).astype(np.int8),
        pick(32767, hidden).astype(np.int16), rng.randrange(24), rng.randrange(24),
        pick(127, outputs, hidden).astype(np.int8), pick((1 << 22) - 1, outputs).astype(np.int32), family,
        rng.randrange(24))


def structured(data: bytes) -> None:
    """A seed file, changed as the data say, with right checksums: see `check`."""
    rng = Choices(data)
    check(mutate(pick_seed(rng), rng))


def check(data: bytes) -> None:
    """Decodes a file; a few in a hundred are also validated, inspected, salvaged, sought in, or compared with the text.

    Which of these is decided by the file itself, so that a defect shows again.
    """
    counts["right checksums"] += checksums_hold(data)
    lines, error = digests(data)
    count_outcome(error)
    if error is not None and error.requirement == "R-LIM-01":
        return
    draw = zlib.crc32(data, 1)
    match draw % 48:
        case 0:
            counts["validated"] += 1
            with counted_apart():
                validate(data)
        case 1:
            counts["inspected"] += 1
            with counted_apart():
                parse(data)
        case 2:
            counts["salvaged"] += 1
            salvage_file(data, lines, error)
        case 3:
            counts["sought in"] += 1
            seek(data, lines, error)
    if draw // 48 % 500 == 0 and len(data) <= TEXT_SIZE:
        compare_with_text(data, lines)


def everything(data: bytes) -> None:
    """All that `check` may do with a file."""
    lines, error = digests(data)
    count_outcome(error)
    with counted_apart():
        parse(data)
        validate(data)
    seek(data, lines, error)
    salvage_file(data, lines, error)
    if (error is None or error.requirement != "R-LIM-01") and len(data) <= TEXT_SIZE:
        compare_with_text(data, lines)


@contextmanager
def counted_apart() -> Iterator[None]:
    """Keeps what a nested target counts out of the outcomes."""
    before = counts.copy()
    try:
        yield
    finally:
        counts.clear()
        counts.update(before)


def small(data: bytes) -> bool:
    """Whether all sequence headers of a file stay below this run's limits, which the validator has none of."""
    for piece in split(data).pieces:
        if piece.type == UnitType.SEQUENCE_HEADER:
            size = _size(piece.payload)
            if size is not None and (size[0] > LIMITS.tensor_elements or size[1] > MAX_VOXELS):
                return False
    return True


@functools.lru_cache(256)
def _size(payload: bytes) -> tuple[int, int] | None:
    """(tensor elements, voxels) that a sequence header declares, None when it can't be parsed."""
    header = sequence_header(payload, 3)
    return header and (header.tensor_elements, header.occupancy_voxels)


def salvage_file(data: bytes, lines: list[str], error: BitstreamError | None) -> None:
    """Salvaging gives at least what decoding gives, and finds no fault where decoding finds none."""
    report = Salvage()
    try:
        numbers = [f.number for f in salvage(data, report, LIMITS)]
    except BitstreamError as e:
        documented(e, len(data))
        require(error is not None, f"a file that decodes can't be salvaged: {e}")
        return
    for e in report.errors:
        documented(e, len(data))
    require(numbers == report.decoded, "salvage reports other frames than it gave out")
    require(not set(report.lost) & set(report.decoded), "a frame both lost and decoded")
    whole = [int(line.split()[1]) for line in lines if line.startswith("frame ")]
    require(set(whole) <= set(numbers), f"salvage gives {numbers}, decoding {whole}")
    if error is None:
        require(not report.errors and not report.lost, "salvage finds faults in a file that decodes")


def seek(data: bytes, lines: list[str], error: BitstreamError | None) -> None:
    """Starting in the middle gives the frames that decoding from the front gives."""
    whole = [int(line.split()[1]) for line in lines if line.startswith("frame ")]
    first = whole[zlib.crc32(data) % len(whole)] if whole else 0
    try:
        with open_stream(io.BytesIO(data), LIMITS) as stream:
            found = [f.number for f in stream.frames(range(first, first + 2))]
    except BitstreamError as e:
        documented(e, len(data))
        require(error is not None, f"a file that decodes can't be sought in: {e}")
        return
    if error is None:
        require(found == [n for n in whole if first <= n < first + 2], f"seeking {first} gives {found} of {whole}")


class _TooSlow(Exception):
    pass


def compare_with_text(data: bytes, lines: list[str]) -> None:
    """The decoder in the specification's text must come to the same digests and the same error."""
    if (expected := text_lines(data)) is not None:
        require(lines == expected, f"refcodec: {lines[-1]} after {len(lines)} lines; "
                                   f"the text: {expected[-1]} after {len(expected)} lines")


def text_lines(data: bytes) -> list[str] | None:
    """Digest list that the decoder in the specification's text comes to; None where it takes too long."""
    text = _text_decoder()

    def stop(*_):
        raise _TooSlow

    # Processor time: SIGALRM belongs to the fuzzing engine.
    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, TEXT_SECONDS)
    try:
        expected = text(data)
    except _TooSlow:
        counts["too slow for the text's decoder"] += 1
        return None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    counts["compared with the text"] += 1
    return expected


@functools.cache
def _text_decoder() -> Callable[[bytes], list[str]]:
    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    import spec_decoder

    return spec_decoder.digest_lines


def remember(size: int = 2048) -> None:
    """Lets refcodec remember what it made of the same data before: a mutation leaves most units as they were.

    Parsed structures, models and the symbols of a tensor depend on nothing but the
    arguments that they are made from; nobody changes them, and nobody can change the
    symbols. A decoder's state depends on nothing but the units that it was fed.
    """
    original = Structure.parse

    @functools.lru_cache(size)
    def remembered(self, data, base, path, params):
        return original(self, data, base, path, **dict(params))

    def parse(self, data, base, path=None, **params):
        return remembered(self, bytes(data), base, path, tuple(params.items()))

    Structure.parse = parse
    models = _Memory(sequence.model_from_syntax, size, _key_of_structure)
    sequence.model_from_syntax = models
    kernels = RememberingKernels(best(), size)
    sequence.best = lambda: kernels
    _remember_states(sequence.SequenceDecoder, size)


def _remember_states(kind: type, size: int) -> None:
    """Lets `SequenceDecoder.feed` go on from what the same units led to before, in any file that begins with them."""
    feed, jump = kind.feed, kind.jump
    known: dict[tuple, tuple] = {}

    def begin(self) -> tuple:
        return (self.file_header, self.limits, self.kernels.name)

    def remembered(self, unit):
        past = self.__dict__.pop("past", None) or begin(self)
        # The hash of what came before stands for it; 128 bits are enough to tell units apart.
        key = (past, self.wanted, unit.offset, unit.type, unit.flags, len(unit.payload), _hash(unit.payload))
        key = _hash(repr(key).encode())
        found = known.get(key)
        if found is None:
            frame = error = None
            try:
                frame = feed(self, unit)
            except BitstreamError as e:
                error = e
            if len(known) >= size:
                del known[next(iter(known))]
            known[key] = frame, error, _copied(self.__dict__)
        else:
            frame, error, state = found
            self.__dict__.update(_copied(state))
        self.past = key
        if error is not None:
            raise error.with_traceback(None)
        return frame

    def jumped(self, indexed=None):
        self.past = _hash(repr(("jump", indexed, self.__dict__.pop("past", None) or begin(self))).encode())
        jump(self, indexed)

    kind.feed, kind.jump = remembered, jumped


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _copied(state: dict) -> dict:
    """What a decoder knows, for another one that goes on from there: what it changes in place is copied."""
    return {name: value.copy() if isinstance(value, (list, dict, set, FrameState)) else value
            for name, value in state.items()}


class RememberingKernels:
    """Kernels that remember what symbols they made of which data."""

    def __init__(self, kernels: Kernels, size: int = 2048):
        self.kernels = kernels
        self.decode_symbols = _Memory(kernels.decode_symbols, 2 * size, _key_of_symbols)
        self.decode_mask = _Memory(kernels.decode_mask, size, _key_of_symbols)

    def __getattr__(self, name: str):
        return getattr(self.kernels, name)


class _Memory:
    """A function that remembers its results, exceptions among them; the oldest are forgotten.

    key: of the arguments. Arguments are kept as long as their result, so that keys may
    hold the identity of an argument.
    """

    def __init__(self, function: Callable, size: int, key: Callable):
        self.function, self.size, self.key = function, size, key
        self.known: dict[object, tuple] = {}

    def __call__(self, *arguments):
        key = self.key(*arguments)
        found = self.known.get(key)
        if found is None:
            try:
                result, error = self.function(*arguments), None
            except EntropyError as e:
                result, error = None, (e.requirement, str(e))
            if isinstance(result, np.ndarray):
                result.flags.writeable = False
            if len(self.known) >= self.size:
                del self.known[next(iter(self.known))]
            found = self.known[key] = (result, error, arguments[0])
        if found[1] is not None:
            raise EntropyError(*found[1])
        return found[0]


def _key_of_structure(value) -> int:
    return id(value)


def _key_of_symbols(model, layout, *others) -> tuple:
    parts = (layout.mask, layout.previous, layout.band, layout.blocks, *others)
    return (id(model), layout.shape, *((a.shape, a.tobytes()) if isinstance(a, np.ndarray) else a for a in parts))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "parse": parse, "entropy": entropy, "decode": decode, "validate": validate, "structured": check,
    "everything": everything,
}
