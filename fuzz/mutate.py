"""Structure-aware mutation of RFV files.

`mutate` takes a file apart into units, changes some of them by what the syntax
declares (elements, lists, sized data), whole units, or their order, and puts the
file together again with right checksums, so that what is fuzzed lies behind them.
All decisions come from a `random.Random`: seeded, or a `Choices` that reads them
from bytes.
"""
from __future__ import annotations

import functools
import io
import lzma
import random
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refcodec.decoding import SequenceDecoder
from refcodec.entropy.models import ContextModel, codes, fits, model_from_syntax
from refcodec.errors import BitstreamError
from refcodec.inspection import partial_trace
from refcodec.syntax.coding import FrameType, Tools, band_count
from refcodec.syntax.declare import Nested, Span
from refcodec.syntax.headers import Mapping, SequenceHeader
from refcodec.syntax.registry import ANCILLARY_UNITS, LEVELS, UnitType
from refcodec.syntax.structures import FILE_SIGNATURE, GROUP_SYNC, PAYLOADS, PROFILE_MAIN, VERSION
from refcodec.syntax.units import (
    FILE_HEADER_SIZE,
    UNIT_HEADER_SIZE,
    UNIT_OVERHEAD,
    FileHeader,
    Unit,
    UnitReader,
    build_unit,
)
from refcodec.tensors.state import FrameState
from refcodec.writer import FrameCoding, StreamWriter, TensorCoding

VECTORS = Path(__file__).parent.parent / "conformance/vectors"
# Small files go through the decoder in a few milliseconds, and show as much.
SEED_SIZE, SEED_ELEMENTS = 1300, 512

INTEGERS = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q", "s8": "<b", "s16": "<h", "s32": "<i"}
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e6, -1.1e6, 3.4e38, 1e-45, float("inf"), float("-inf"), float("nan"))
LZMA_FAST = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]


class Choices(random.Random):
    """Random numbers read from bytes; zeros when they are used up."""

    def __new__(cls, data: bytes):
        return super().__new__(cls)

    def __init__(self, data: bytes):
        self._pool = int.from_bytes(data, "little")

    def getrandbits(self, k: int) -> int:
        value = self._pool & (1 << k) - 1
        self._pool >>= k
        return value

    def random(self) -> float:
        return self.getrandbits(24) / (1 << 24)


@dataclass(slots=True)
class Piece:
    """One unit, taken apart."""

    type: int
    flags: int
    payload: bytes


@dataclass(slots=True)
class File:
    """A file as units; `join` gives it right checksums."""

    head: bytes
    pieces: list[Piece]

    @property
    def level(self) -> int:
        return self.head[11] if self.head[11] in LEVELS else 1

    @property
    def file_header(self) -> FileHeader:
        return FileHeader(VERSION, PROFILE_MAIN, self.level)

    def sequence_header(self) -> SequenceHeader | None:
        """The first that can be read."""
        for piece in self.pieces:
            if piece.type == UnitType.SEQUENCE_HEADER:
                return sequence_header(piece.payload, self.level)
        return None

    def join(self) -> bytes:
        return b"".join([self.head, struct.pack("<I", zlib.crc32(self.head)),
                         *(build_unit(p.type, p.payload, p.flags) for p in self.pieces)])


def split(data: bytes) -> File:
    """Takes a file apart, as far as it can be; checksums are not looked at."""
    pieces, at = [], FILE_HEADER_SIZE
    while at + UNIT_HEADER_SIZE <= len(data):
        kind, flags, size = struct.unpack_from("<BBI", data, at)
        payload = data[at + UNIT_HEADER_SIZE : at + UNIT_HEADER_SIZE + size]
        pieces.append(Piece(kind, flags, payload))
        at += UNIT_OVERHEAD + len(payload)
    return File(data[:12].ljust(12, b"\0"), pieces)


def checksums_hold(data: bytes) -> bool:
    """Whether file header and all units have right checksums, and nothing is cut."""
    if len(data) < FILE_HEADER_SIZE or struct.unpack_from("<I", data, 12)[0] != zlib.crc32(data[:12]):
        return False
    at = FILE_HEADER_SIZE
    while at + UNIT_OVERHEAD <= len(data):
        end = at + UNIT_HEADER_SIZE + struct.unpack_from("<I", data, at + 2)[0]
        if end + 4 > len(data) or struct.unpack_from("<I", data, end)[0] != zlib.crc32(data[at:end]):
            return False
        at = end + 4
    return at == len(data)


# Seeds


@functools.cache
def seeds() -> tuple[bytes, ...]:
    """The small valid vectors, smallest first, and each once more without digests, which hide what lies behind them."""
    found = []
    for path in sorted(VECTORS.glob("valid/*/stream.rfv")):
        data = path.read_bytes()
        header = split(data).sequence_header()
        if len(data) <= SEED_SIZE and header.tensor_elements + header.occupancy_voxels <= SEED_ELEMENTS:
            found.append(data)
            if (bare := without_digests(data)) != data:
                found.append(bare)
    if not found:
        raise FileNotFoundError(f"no vectors under {VECTORS}")
    return tuple(sorted(found, key=len))


def pick_seed(rng: random.Random) -> bytes:
    """One of the seeds, a small one more often than a large one, for speed."""
    return seeds()[min(rng.randrange(len(seeds())) for _ in range(3))]


def without_digests(data: bytes) -> bytes:
    """A conforming file with `digest_type` 0."""
    file = split(data)
    for piece in file.pieces:
        if piece.type == UnitType.SEQUENCE_HEADER:
            if piece.payload[2] == 0:
                return data
            piece.payload = piece.payload[:2] + b"\0" + piece.payload[3:]
        elif piece.type in (UnitType.FRAME, UnitType.SHARED):
            piece.payload = piece.payload[:-8]
    settle(file)
    return file.join()


@functools.cache
def _donors() -> dict[int, list[Piece]]:
    """Units of the seeds, by type, to put into other files."""
    found: dict[int, dict[bytes, Piece]] = {}
    for data in seeds():
        for piece in split(data).pieces:
            found.setdefault(piece.type, {})[piece.payload] = piece
    return {kind: list(pieces.values()) for kind, pieces in found.items()}


# What the syntax says of a payload


@functools.lru_cache(8192)
def sequence_header(payload: bytes, level: int) -> SequenceHeader | None:
    """The content of a sequence header unit, None when it can't be parsed."""
    params = dict(level=LEVELS[level], header=None)
    try:
        return SequenceHeader.from_syntax(PAYLOADS[UnitType.SEQUENCE_HEADER].parse(payload, 0, **params)[0])
    except BitstreamError:
        return None


@functools.lru_cache(8192)
def _spans(kind: int, payload: bytes, level: int, header: SequenceHeader) -> tuple[Span, ...]:
    """The syntax elements of a payload up to the first that breaks it; offsets count from the payload's start."""
    unit = Unit(UnitType(kind), -UNIT_HEADER_SIZE, payload, 0)
    return tuple(partial_trace(unit, FileHeader(VERSION, PROFILE_MAIN, level), header).spans)


def _nested(structure, found: dict[str, set[str]]) -> dict[str, set[str]]:
    for item in structure.items:
        if isinstance(item, Nested):
            if item.count_text:
                found.setdefault(item.element, set()).add(item.count_text)
            _nested(item.structure, found)
    return found


# Name of a list -> names of the elements that may count it; and of data -> the element that gives their size.
COUNTS: dict[str, set[str]] = {}
for _structure in PAYLOADS.values():
    _nested(_structure, COUNTS)
SIZES = {"occupancy_data": "occupancy_size", "value_data": "value_size", "mask_data": "mask_size",
         "camera_name": "name_size",
         "key": "key_size", "value": "value_size"}


def varint(value: int, padding: int = 0) -> bytes:
    """`uv`; padding: needless bytes at the end, which the format forbids."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    for _ in range(padding):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def _integer(rng: random.Random, low: int, high: int, old: int) -> int:
    """A value that tends to be at a boundary, or close to the old one."""
    span = high - low + 1
    value = rng.choice((
        0, 1, 2, 3, low, high, high - 1, high // 2, old + 1, old - 1, old * 2, old // 2, old + 256, -old,
        1 << rng.randrange(span.bit_length()), (1 << rng.randrange(span.bit_length())) - 1,
        low + rng.randrange(span), rng.randrange(min(64, span))))
    return low + (value - low) % span


def _number(rng: random.Random, descriptor: str, old) -> bytes:
    """Bytes of a new value for one number."""
    if descriptor == "f32":
        return struct.pack("<f", rng.choice(FLOATS)) if rng.randrange(2) else rng.randbytes(4)
    if descriptor in ("uv", "sv"):
        stored = old if descriptor == "uv" else (old << 1 if old >= 0 else (-old << 1) - 1)
        padding = rng.randrange(1, 5) if rng.randrange(16) == 0 else 0
        return varint(_integer(rng, 0, (1 << 32) + 1, stored), padding)
    bits = int(descriptor[1:])
    low, high = (0, (1 << bits) - 1) if descriptor[0] == "u" else (-(1 << bits - 1), (1 << bits - 1) - 1)
    return struct.pack(INTEGERS[descriptor], _integer(rng, low, high, old))


def havoc(rng: random.Random, data: bytes) -> bytes:
    """Bytes changed without regard to what they mean."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(7):
            case 0 | 1 | 2 if at < len(out):
                out[at] = rng.choice((0, 1, 2, 127, 128, 255, out[at] ^ 1 << rng.randrange(8), rng.randrange(256)))
            case 3:
                out[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 4:
                del out[at : at + rng.randrange(1, 9)]
            case 5:
                size, to = rng.randrange(1, 33), rng.randrange(len(out) + 1)
                out[to:to] = out[at : at + size]
            case 6:
                out[at : at + 4] = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80"))
    return bytes(out)


# Edits: each changes the file and says whether it could


def _replace(piece: Piece, span: Span, new: bytes) -> None:
    piece.payload = piece.payload[: span.offset] + new + piece.payload[span.offset + span.length :]


def _some(rng: random.Random, file: File) -> tuple[Piece, tuple[Span, ...]] | None:
    """A unit of known type and its elements."""
    known = [p for p in file.pieces if p.type in UnitType._value2member_map_]
    header = file.sequence_header()
    if not known or header is None and rng.randrange(2):
        return None
    # Most of what can go wrong is in what is coded.
    frames = [p for p in known if p.type in (UnitType.FRAME, UnitType.SHARED)]
    piece = rng.choice(frames if frames and rng.randrange(3) else known)
    if header is None and piece.type != UnitType.SEQUENCE_HEADER:
        return None
    spans = _spans(piece.type, piece.payload, file.level, header)
    return (piece, spans) if spans else None


def edit_element(rng: random.Random, file: File) -> bool:
    """One number gets another value, at a boundary more often than not."""
    if (found := _some(rng, file)) is None:
        return False
    piece, spans = found
    span = rng.choice(spans)
    descriptor = span.descriptor.split("[")[0]
    if descriptor == "bytes":
        _replace(piece, span, havoc(rng, bytes(piece.payload[span.offset : span.offset + span.length])))
    elif descriptor.startswith("b"):  # bits: the byte that they share with others
        byte = bytes([_integer(rng, 0, 255, piece.payload[span.offset])])
        piece.payload = piece.payload[: span.offset] + byte + piece.payload[span.offset + 1 :]
    elif not isinstance(span.value, tuple):
        _replace(piece, span, _number(rng, descriptor, span.value))
    elif span.value:
        i = rng.randrange(len(span.value))
        if descriptor in ("uv", "sv"):
            parts = [varint(v) for v in span.value]
            parts[i] = _number(rng, descriptor, span.value[i])
            _replace(piece, span, b"".join(parts))
        else:
            size = span.length // len(span.value)
            at = span.offset + i * size
            piece.payload = (piece.payload[:at] + _number(rng, descriptor, span.value[i])
                             + piece.payload[at + size :])
    else:
        return False
    return True


def edit_sized(rng: random.Random, file: File) -> bool:
    """Data get another content and their size element the right value."""
    if (found := _some(rng, file)) is None:
        return False
    piece, spans = found
    by_path = {s.path: s for s in spans}
    data = [s for s in spans if s.path.rpartition(".")[2] in SIZES]
    if not data:
        return False
    span = rng.choice(data)
    parent, _, name = span.path.rpartition(".")
    size = by_path.get(f"{parent}.{SIZES[name]}")
    old = piece.payload[span.offset : span.offset + span.length]
    if name == "occupancy_data" and rng.randrange(2):
        new = _occupancy(rng, file, old)
    else:
        new = havoc(rng, old)
    if size is None:
        return False
    count = len(new)
    if size.descriptor != "uv":
        count = min(count, 255 if size.descriptor == "u8" else count)
        new = new[:count]
    _replace(piece, span, new)
    _replace(piece, size, varint(count) if size.descriptor == "uv" else struct.pack(INTEGERS[size.descriptor], count))
    return True


def _occupancy(rng: random.Random, file: File, old: bytes) -> bytes:
    """Compressed occupancy of the right size, or nearly so, with other voxels."""
    header = file.sequence_header()
    size = (header.occupancy_voxels + 7) // 8 if header else 1
    try:
        content = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=LZMA_FAST).decompress(old, size)
    except lzma.LZMAError:
        content = b""
    content = havoc(rng, content)
    if rng.randrange(4):
        content = content[:size].ljust(size, b"\0")
    if rng.randrange(4) and header and header.occupancy_voxels % 8 and len(content) == size:
        content = content[:-1] + bytes([content[-1] & (1 << header.occupancy_voxels % 8) - 1])
    return lzma.compress(content, lzma.FORMAT_RAW, filters=LZMA_FAST)


def edit_list(rng: random.Random, file: File) -> bool:
    """An entry of a list is dropped, repeated, moved or replaced, and the count made right."""
    if (found := _some(rng, file)) is None:
        return False
    piece, spans = found
    entries: dict[tuple[str, str], dict[int, tuple[int, int]]] = {}
    for span in spans:
        for match in re.finditer(r"(\w+)\[(\d+)\]\.", span.path):
            ranges = entries.setdefault((span.path[: match.start(1)], match[1]), {})
            start, _ = ranges.get(int(match[2]), (span.offset, 0))
            ranges[int(match[2])] = (start, span.offset + span.length)
    if not entries:
        return False
    (parent, name), ranges = rng.choice(list(entries.items()))
    counts = {parent + c for c in COUNTS[name]}
    count = next((s for s in spans if s.path in counts), None)
    if count is None:
        return False
    parts = [piece.payload[a:b] for a, b in ranges.values()]
    first, last = min(a for a, _ in ranges.values()), max(b for _, b in ranges.values())
    at = rng.randrange(len(parts))
    match rng.randrange(5):
        case 0:
            del parts[at]
        case 1:
            parts.insert(rng.randrange(len(parts) + 1), parts[at])
        case 2:
            other = rng.randrange(len(parts))
            parts[at], parts[other] = parts[other], parts[at]
        case 3:
            parts[at] = rng.choice(_entries(name) or parts)
        case 4:
            parts.insert(at, rng.choice(_entries(name) or parts))
    piece.payload = piece.payload[:first] + b"".join(parts) + piece.payload[last:]
    limit = 8 * struct.calcsize(INTEGERS[count.descriptor])
    _replace(piece, count, struct.pack(INTEGERS[count.descriptor], len(parts) % (1 << limit)))
    return True


@functools.cache
def _entries(name: str) -> list[bytes]:
    """Entries of lists of this name in the seeds."""
    found: dict[bytes, None] = {}
    pattern = re.compile(rf"(.*\b{name}\[\d+\])\.")
    for data in seeds():
        file = split(data)
        header = file.sequence_header()
        for piece in file.pieces:
            if piece.type not in UnitType._value2member_map_:
                continue
            ranges: dict[str, tuple[int, int]] = {}
            for span in _spans(piece.type, piece.payload, file.level, header):
                if match := pattern.match(span.path):
                    start, _ = ranges.get(match[1], (span.offset, 0))
                    ranges[match[1]] = (start, span.offset + span.length)
            found.update((piece.payload[a:b], None) for a, b in ranges.values())
    return list(found)


def edit_bytes(rng: random.Random, file: File) -> bool:
    """Bytes of a payload change without regard to what they mean."""
    if not file.pieces:
        return False
    piece = rng.choice(file.pieces)
    piece.payload = havoc(rng, piece.payload)
    return True


def edit_units(rng: random.Random, file: File) -> bool:
    """A unit is dropped, repeated, moved, replaced by one of another file, or gets another type or flags."""
    pieces = file.pieces
    if not pieces:
        return False
    at, to = rng.randrange(len(pieces)), rng.randrange(len(pieces) + 1)
    copy = Piece(pieces[at].type, pieces[at].flags, pieces[at].payload)
    match rng.randrange(9):
        case 0:
            del pieces[at]
        case 1:
            pieces.insert(to, copy)
        case 2:
            pieces.insert(min(to, len(pieces) - 1), pieces.pop(at))
        case 3:
            donor = rng.choice(_donors()[rng.choice(sorted(_donors()))])
            pieces.insert(to, Piece(donor.type, donor.flags, donor.payload))
        case 4:
            donor = rng.choice(_donors().get(copy.type, [copy]))
            pieces[at] = Piece(donor.type, donor.flags, donor.payload)
        case 5:
            copy.type, copy.flags = rng.choice((0, 9, 127, 128, 200, 255)), rng.choice((0, 1, 1, 2, 255))
            pieces.insert(to, copy)
        case 6:
            pieces[at].flags = rng.choice((0, 1, 2, 128, 255))
        case 7:
            pieces[at].type = rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255))
        case 8:
            del pieces[at:]
    return True


def edit_head(rng: random.Random, file: File) -> bool:
    """Version, profile, level, or any byte before them."""
    at = rng.choice((0, 7, 8, 9, 10, 11, 11, 11))
    new = rng.choice((1, 2, 3)) if at == 11 else rng.choice((0, 1, 2, 255))
    file.head = file.head[:at] + bytes([new]) + file.head[at + 1 :]
    return True


def edit_recode(rng: random.Random, file: File) -> bool:
    """A frame or the shared unit is re-encoded with other values, tools, steps and model weights.

    What comes out is a unit as an encoder would write it, so that what follows in
    the file is decoded on an unusual state.
    """
    coded = [i for i, p in enumerate(file.pieces) if p.type in (UnitType.FRAME, UnitType.SHARED)]
    header = file.sequence_header()
    # Files that take long would slow everything down.
    if not coded or header is None or header.tensor_elements > 4096 or header.occupancy_voxels > 4096:
        return False
    at = rng.choice(coded)
    decoder = SequenceDecoder(file.file_header)
    reader = UnitReader(io.BytesIO(file.join()))
    try:
        reader.read_file_header()
        for _ in range(at):
            decoder.feed(reader.read_unit())
        params = dict(level=LEVELS[file.level], header=header)
        kind, payload = file.pieces[at].type, file.pieces[at].payload
        value, _ = PAYLOADS[kind].parse(payload, 0, **params)
        if decoder.header != header:
            return False
        if kind == UnitType.SHARED:
            file.pieces[at].payload = _shared(rng, value, header, file.level)
            return True
        if header.has_occupancy and value.frame_type != FrameType.INTRA and decoder.state.occupancy is None:
            return False
        writer = StreamWriter(io.BytesIO(), header, file.level)
        writer.state = decoder.state.copy()
        file.pieces[at].payload, _ = writer.encode_frame(_frame(rng, value, writer.state))
    except Exception:  # the file's own faults, or the decoder's: the target meets those as well
        return False
    return True


def _shared(rng: random.Random, v, header: SequenceHeader, level: int) -> bytes:
    """The payload of a shared unit with other values."""
    numbers, state = np.random.default_rng(rng.getrandbits(32)), FrameState(header)
    models = _models(rng, numbers, v)
    scale = rng.choice((0.3, 0.3, 1.5, 1.5, 40, 3000))
    tensors = [_tensor(rng, numbers, t, models, state, True, scale) for t in v.tensor]
    writer = StreamWriter(io.BytesIO(), header, level)
    writer.write_shared(models, tensors)
    return writer.out.getvalue()[UNIT_HEADER_SIZE:-4]


def _models(rng: random.Random, numbers: np.random.Generator, v) -> dict:
    """The models that a unit defines, some with other weights."""
    models = {m.model_id: model_from_syntax(m) for m in v.model}
    for model in models.values():
        if isinstance(model, ContextModel) and rng.randrange(2):
            _reweight(rng, numbers, model)
    return models


def _frame(rng: random.Random, v, state) -> FrameCoding:
    numbers = np.random.default_rng(rng.getrandbits(32))
    header, intra = state.header, v.frame_type == FrameType.INTRA
    occupancy = None
    if header.has_occupancy:
        flips = numbers.random(header.occupancy_shape) < rng.choice((0, 0.02, 0.3))
        empty = state.occupancy is None or intra and rng.randrange(2)
        occupancy = flips if empty else state.occupancy ^ flips
    models = _models(rng, numbers, v)
    state = state.copy()
    state.set_occupancy(occupancy)
    scale = rng.choice((0.3, 0.3, 1.5, 1.5, 40, 3000))
    tensors = [_tensor(rng, numbers, t, models, state, intra, scale) for t in v.tensor]
    return FrameCoding(v.frame_number, FrameType(v.frame_type), v.time_stamp, occupancy, models, tensors)


def _tensor(rng: random.Random, numbers: np.random.Generator, t, models: dict, state, intra: bool,
            scale: float) -> TensorCoding:
    """A tensor coded with other tools, where its models and what it refers to allow them, and other values."""
    info = state.header.tensors[t.tensor_id]
    tools = Tools.from_syntax(t)
    known = {**state.models, **models}
    transform, levels = tools.transform, tools.levels
    spatial = info.mapping != Mapping.NONE and sum(n > 1 for n in info.shape[1:]) > 1
    if spatial and rng.randrange(3) == 0:
        transform, levels = rng.choice(((0, 0), (1, 0), (2, rng.randrange(1, 7))))
    if not fits(known[t.model_ref], info.shape[0], band_count(transform, levels)):
        transform, levels = tools.transform, tools.levels
    significance, mask_model = 0, t.mask_model_ref
    if info.mapping:
        masking = [i for i, m in known.items()
                   if codes(m, bits=True) and fits(m, info.shape[0], band_count(transform, levels))]
        if mask_model not in masking and masking:
            mask_model = rng.choice(masking)
        masked = bool(masking) and (tools.masked if rng.randrange(3) else rng.randrange(2) == 0)
        significance = 2 * masked + (state.occupancy is not None and (tools.by_occupancy or rng.randrange(4) == 0))
    predictions = [0, 3] + [1] * (not intra) + [2] * (t.tensor_id in state.shared)
    prediction = tools.prediction if tools.prediction in predictions and rng.randrange(2) else rng.choice(predictions)
    limit = 1 << 31
    tools = Tools(
        tuple(rng.choice((old, 0, 255, rng.randrange(256)))
              for old in (tools.steps * 7)[: band_count(transform, levels)]),
        prediction, significance, transform, levels,
        (rng.randrange(-(1 << 15), 1 << 15), rng.randrange(-16, 16)) if prediction == 2 else (0, 0),
        rng.choice((0, 1, -1, limit - 1, -limit, rng.randrange(-limit, limit))) if prediction >= 2 else 0)
    layout = state.bind(t.tensor_id, tools).layout
    cells, channels = layout.cells, layout.channels
    values = np.round(numbers.laplace(0, scale, (cells, channels)))
    values = np.clip(values, -(1 << 20) + 1, (1 << 20) - 1).astype(np.int32)
    mask = numbers.random((cells, channels)) < rng.choice((0, 0.1, 0.5, 1)) if tools.masked else None
    if mask is not None:
        values[~mask] = 0
    return TensorCoding(t.tensor_id, values, t.model_ref, tools, mask, mask_model if tools.masked else 0)


def _reweight(rng: random.Random, numbers: np.random.Generator, model: ContextModel) -> None:
    """Other weights, extreme ones among them."""
    extreme = rng.randrange(3) == 0
    for name, bound in (("hidden_weight", 127), ("hidden_bias", 32767), ("output_weight", 127),
                        ("output_bias", (1 << 22) - 1)):
        array = getattr(model, name)
        if extreme:
            array[...] = numbers.choice([-bound, bound], array.shape)
        elif name.endswith("weight"):
            array[...] = numbers.integers(-bound, bound, array.shape, endpoint=True)


# The whole mutation

EDITS = (edit_element,) * 16 + (edit_sized,) * 8 + (edit_list,) * 6 + (edit_recode,) * 3 + (edit_bytes,) * 5 + (
    edit_units,) * 5 + (edit_head,)


def settle(file: File) -> None:
    """Makes index and end units say what is true of the file, without adding or dropping any."""
    at, group_at, groups, index_at, entries = FILE_HEADER_SIZE, 0, 0, 0, []
    for piece in file.pieces:
        if piece.type == UnitType.GROUP_HEADER:
            group_at, groups = at, groups + 1
        elif piece.type == UnitType.FRAME and len(piece.payload) >= 5:
            number, kind = struct.unpack_from("<IB", piece.payload)
            entries.append(struct.pack("<IBQ", number, kind, group_at if kind == FrameType.INTRA else at))
        elif piece.type == UnitType.INDEX:
            index_at, piece.payload = at, struct.pack("<I", len(entries)) + b"".join(entries)
        elif piece.type == UnitType.END:
            piece.payload = struct.pack("<IIQ", groups, len(entries), index_at)
        at += UNIT_OVERHEAD + len(piece.payload)


def mend(file: File) -> None:
    """Undoes what would stop every decoder early and hide all other edits."""
    file.head = FILE_SIGNATURE + bytes([*VERSION, PROFILE_MAIN, file.level])
    for piece in file.pieces:
        if piece.type in UnitType._value2member_map_:
            piece.flags = int(piece.type in ANCILLARY_UNITS)
        if piece.type == UnitType.GROUP_HEADER:
            piece.payload = GROUP_SYNC + piece.payload[len(GROUP_SYNC) :]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """A file that differs from `data` in one to four edits, with right checksums."""
    file = split(data)
    if file.sequence_header() is None and rng.randrange(8):
        file = split(pick_seed(rng))  # nothing more can be learnt behind a start like this
    elif rng.randrange(8):
        mend(file)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        for _ in range(4):
            if rng.choice(EDITS)(rng, file):
                break
    if rng.randrange(4):
        settle(file)
    return file.join()
