"""Building streams, conforming or not, for the conformance suite.

A `Draft` is a file as a list of units that can be edited before its bytes are
made. Frames come from refcodec's writer; edits go through the declared syntax with
its checks switched off, or straight into the bytes, and checksums are always right
unless a case asks for wrong ones.
"""
from __future__ import annotations

import copy
import io
import random
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from refcodec.entropy.bernoulli import BERNOULLI
from refcodec.entropy.laplace import LAPLACE
from refcodec.entropy.models import BY_CHANNEL, ONE_TABLE, ContextModel, EntropyModel, StaticModel
from refcodec.syntax import structures as syn
from refcodec.syntax.coding import FrameType, Tools, band_count
from refcodec.syntax.headers import (
    Alignment,
    FieldParameters,
    Mapping,
    Representation,
    Role,
    Scene,
    SequenceHeader,
    TensorInfo,
)
from refcodec.syntax.registry import LEVELS, TEMPLATES, UnitType, is_activity
from refcodec.syntax.units import UNIT_OVERHEAD, build_file_header, build_unit
from refcodec.tensors.state import FrameState
from refcodec.writer import FrameCoding, StreamWriter, TensorCoding, build_cameras

SEQUENCE_HEADER, GROUP_HEADER, FRAME = UnitType.SEQUENCE_HEADER, UnitType.GROUP_HEADER, UnitType.FRAME
INDEX, END, CAMERAS, METADATA = UnitType.INDEX, UnitType.END, UnitType.CAMERAS, UnitType.METADATA
SHARED = UnitType.SHARED
FIXED = ContextModel.fixed([0], [22])
BITS = ContextModel.fixed([0], [32], BERNOULLI)


class Dice:
    """Random numbers that are the same with every version of Python and numpy."""

    def __init__(self, seed: int):
        self._random = random.Random(seed)

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
        """Uniform in low .. high, both included: int64 of this shape."""
        count = int(np.prod(shape, dtype=int))
        span = high - low + 1
        return np.array([low + self._random.getrandbits(40) % span for _ in range(count)],
                        np.int64).reshape(shape)

    def sparse(self, *shape: int) -> np.ndarray:
        """Mostly zeros and small values, now and then a large one."""
        small, kind = self.integers(-3, 3, *shape), self.integers(0, 19, *shape)
        large = self.integers(-300, 300, *shape)
        return np.where(kind < 10, 0, np.where(kind < 19, small, large)).astype(np.int32)

    def occupancy(self, shape, one_in: int) -> np.ndarray:
        return self.integers(0, one_in - 1, *shape) == 0


def network(fusion: list[tuple[int, int, bool]], render: list[tuple[int, int, bool]],
            coarse: list[tuple[int, int, bool]] = []) -> list[TensorInfo]:
    """Weights and biases; a layer is (outputs, inputs, has a bias)."""
    tensors = []
    for weight, bias, layers in ((Role.COARSE_WEIGHT, Role.COARSE_BIAS, coarse),
                                 (Role.FUSION_WEIGHT, Role.FUSION_BIAS, fusion),
                                 (Role.RENDER_WEIGHT, Role.RENDER_BIAS, render)):
        for i, (outputs, inputs, has_bias) in enumerate(layers):
            tensors.append(TensorInfo(weight, i, (1, 1, outputs, inputs), 16))
            if has_bias:
                tensors.append(TensorInfo(bias, i, (1, 1, 1, outputs), 16))
    return tensors


def grid(role: Role, index: int, shape, mapping=Mapping.SAWTOOTH, alignment=Alignment.CORNERS,
         frequency: float = 2.0, frac_bits: int = 16) -> TensorInfo:
    """A coefficient or basis grid; frequency in periods."""
    stored = round(frequency * 65536) if mapping == Mapping.SAWTOOTH else 0
    return TensorInfo(role, index, tuple(shape), frac_bits, mapping, alignment, stored)


def planes(role: Role, channels, size, **changes) -> list[TensorInfo]:
    """Three planes: plane k lacks axis k (0 = x). size: (z, y, x). Linear, aligned to corners by default."""
    return [grid(role, k, (c, *(1 if axis == 2 - k else n for axis, n in enumerate(size))), **(LINEAR | changes))
            for k, c in enumerate(channels)]


def lines(role: Role, channels, size, **changes) -> list[TensorInfo]:
    """Three lines: line k has axis k alone."""
    return [grid(role, k, (c, *(n if axis == 2 - k else 1 for axis, n in enumerate(size))), **(LINEAR | changes))
            for k, c in enumerate(channels)]


LINEAR: dict = dict(mapping=Mapping.LINEAR)


def vm_tensors(size=(3, 4, 5), density=(1, 1, 1), features=(1, 1, 1), fusion=(), **changes) -> list[TensorInfo]:
    """Vector-matrix factors; fusion: layers as for `network`, or none."""
    inputs = fusion[-1][0] if fusion else sum(features)
    return [*planes(Role.DENSITY_PLANE, density, size, **changes),
            *lines(Role.DENSITY_LINE, density, size, **changes),
            *planes(Role.FEATURE_PLANE, features, size, **changes),
            *lines(Role.FEATURE_LINE, features, size, **changes),
            *network(list(fusion), [(3, inputs + 3, False)])]


def triplane_tensors(size=(3, 4, 5), density=(3, 3, 3), features=(1, 1, 1), fusion=(), **changes) -> list[TensorInfo]:
    """A density grid of one channel and three planes of features."""
    inputs = fusion[-1][0] if fusion else sum(features)
    return [grid(Role.DENSITY_GRID, 0, (1, *density), **(LINEAR | changes)),
            *planes(Role.FEATURE_PLANE, features, size, **changes), *network(list(fusion), [(3, inputs + 3, False)])]


def grid_tensors(size=(3, 4, 5), density=(3, 3, 3), features=2, fusion=(), **changes) -> list[TensorInfo]:
    """A density grid of one channel and a grid of features."""
    inputs = fusion[-1][0] if fusion else features
    return [grid(Role.DENSITY_GRID, 0, (1, *density), **(LINEAR | changes)),
            grid(Role.FEATURE_GRID, 0, (features, *size), **(LINEAR | changes)),
            *network(list(fusion), [(3, inputs + 3, False)])]


def mlp_tensors(frequencies=1, widths=(4, 3), skip=0, coarse=None, bias=False) -> list[TensorInfo]:
    """Networks of a position; the last of `widths` counts the density. coarse: widths, the last of them 1."""
    inputs = 3 + 6 * frequencies

    def layers(widths):
        before = (inputs, *widths)
        return [(outputs, before[i] + (inputs if i and i == skip else 0), bias) for i, outputs in enumerate(widths)]

    return network(layers(widths), [(3, widths[-1] - 1 + 3, bias)], layers(coarse) if coarse else [])


def field_header(representation: Representation, tensors: list[TensorInfo], **changes) -> SequenceHeader:
    """A header of any representation; otherwise as `header`."""
    return header(tensors=tensors, representation=representation, **changes)


def scene(low=(-64, -48, -32), high=(64, 48, 64), exponent=-5, samples=64, background=(255, 255, 255)) -> Scene:
    return Scene(low, high, exponent, samples, background)


def header(coefficient=(2, 2, 2, 2), bases=((2, 3, 3, 3),), occupancy=(0, 0, 0), tensors=None,
           mapping=Mapping.SAWTOOTH, frequency=2.0, **changes) -> SequenceHeader:
    """The smallest network that chapter 8.1 allows, under grids of these shapes (C, z, y, x).

    tensors: the whole list, instead. Without occupancy by default.
    """
    if tensors is None:
        channels = coefficient[0]
        tensors = [grid(Role.DIF_COEFFICIENT, 0, coefficient, Mapping.LINEAR, Alignment.CENTRES)]
        tensors += [grid(Role.DIF_BASIS, i, b, mapping, frequency=frequency) for i, b in enumerate(bases)]
        tensors += network([(2, channels, False)], [(3, 4, False)])
    values = dict(
        representation=Representation.DIF, ticks_per_second=30, aabb_min=(-64, -48, -32), aabb_max=(64, 48, 64),
        aabb_exponent=-5, occupancy_dims=occupancy, samples_per_diagonal=64, background=(255, 255, 255),
        tensors=tuple(tensors), parameters=FieldParameters(-10.0, 25.0, 0, 0))
    return SequenceHeader(**{**values, **changes})


def context_model(dice: Dice, template=3, *, joint=0, scan=(0, 1, 1, 1), hidden=4, **changes) -> ContextModel:
    """A context model with random weights; `template` is a template_id or a list of neighbours.

    joint: number of channels of a joint model, 0 for one that takes each channel alone.
    """
    explicit = not isinstance(template, int)
    neighbours = tuple(template) if explicit else tuple(TEMPLATES[template])
    channels = joint or 1
    inputs = sum(channels if joint and not is_activity(source) else 1 for source, *_ in neighbours)
    if not neighbours:
        hidden = 0
    outputs = changes.get("family", LAPLACE).outputs
    bias = np.tile([0, 14 << 8, 2 << 8][:outputs] if hidden else [1, 20, 2][:outputs], channels)
    values = dict(
        joint=bool(joint), channels=channels, scan=tuple(scan), template_id=1 if explicit else template,
        template=neighbours, hidden_shift=2 if hidden else 0,
        hidden_weight=dice.integers(-60, 60, hidden, inputs), hidden_bias=dice.integers(-200, 200, hidden),
        location_shift=9 if hidden else 0, scale_shift=8 if hidden else 0,
        output_weight=dice.integers(-40, 40, outputs * channels, hidden), output_bias=bias,
        shape_shift=8 if outputs == 3 and hidden else 0)
    values.update(changes)
    for name in ("hidden_weight", "hidden_bias", "output_weight", "output_bias"):
        values[name] = np.asarray(values[name])
    return ContextModel(**values)


def static_model(*tables: tuple[int, tuple[int, ...]], assignment: int | None = None) -> StaticModel:
    """tables: (first_value, counts) each; by channel when there are several."""
    if assignment is None:
        assignment = BY_CHANNEL if len(tables) > 1 else ONE_TABLE
    return StaticModel(tuple(tables), assignment)


@dataclass(slots=True)
class Piece:
    """One unit of a draft. payload None: made from the other units (index, end)."""

    type: int
    payload: bytes | None
    flags: int | None = None

    def bytes(self) -> bytes:
        return build_unit(self.type, self.payload, self.flags)


@dataclass(slots=True)
class Draft:
    """A file that can still be changed."""

    header: SequenceHeader
    level: int = 1
    pieces: list[Piece] = field(default_factory=list)
    writer: StreamWriter = field(init=False)
    _number: int = 0
    _intra: bool = True
    _time: int = 0
    _scene: int = 0

    def __post_init__(self):
        self.writer = StreamWriter(io.BytesIO(), self.header, self.level, checked=False)
        self.add(SEQUENCE_HEADER, self._build(SEQUENCE_HEADER, self.header.to_syntax()))

    @property
    def _params(self) -> dict:
        return dict(level=LEVELS[self.level], header=self.header, checked=False)

    def _build(self, kind: UnitType, value, **params) -> bytes:
        return syn.PAYLOADS[kind].build(value, **self._params, **params)

    def add_cameras(self, cameras, at: int = 1) -> None:
        self.add(CAMERAS, build_cameras(cameras, **self._params), at=at)

    def add(self, kind: int, payload: bytes | None, flags: int | None = None, at: int | None = None) -> None:
        """Appends a unit, or puts it at position `at`."""
        self.pieces.insert(len(self.pieces) if at is None else at, Piece(kind, payload, flags))

    def shared(self, dice: Dice, carry, models: dict[int, EntropyModel] | None = None, at: int | None = None,
               **coding) -> None:
        """Codes the shared unit. carry: tensors in it; models and coding as for `frame`."""
        writer = StreamWriter(io.BytesIO(), self.header, self.level, checked=False)
        models = {0: FIXED} if models is None else models
        tensors = [self._coding(writer.state, dice, i, self.header.tensors[i], intra=True, **coding) for i in carry]
        writer.write_shared(models, tensors)
        self.writer.state.shared = writer.state.shared
        self.add(SHARED, writer.out.getvalue()[6:-4], at=at)

    def group(self, first_frame: int, frame_count: int, scene_id: int = 0) -> None:
        """Time stamps start again when the scene changes."""
        self.add(GROUP_HEADER, self._build(GROUP_HEADER, syn.GroupHeaderSyntax(
            group_sync=syn.GROUP_SYNC, scene_id=scene_id, first_frame_number=first_frame, frame_count=frame_count)))
        self.writer.state.start_group(self.header.of_scene(scene_id))
        if scene_id != self._scene:
            self._scene, self._time = scene_id, 0
        self._number, self._intra = first_frame, True

    def frame(self, dice: Dice, models: dict[int, EntropyModel] | None = None, *, carry=None, occupancy=None,
              occupancy_model: int | None = None, time: int | None = None, **coding) -> None:
        """Codes the next frame of the group.

        models: those that the frame defines (by default model 0, fixed, in I-frames).
        carry: tensors coded (all, in P-frames grids). occupancy_model: that codes the occupancy. coding: see `_coding`.
        """
        state, intra = self.writer.state, self._intra
        if models is None:
            models = {0: FIXED} if intra else {}
        before = state.occupancy  # which the writer compares the frame's with
        state.set_occupancy(occupancy)
        coded = []
        for i, info in enumerate(self.header.tensors):
            is_grid = info.mapping != Mapping.NONE
            if i in carry if carry is not None else intra or is_grid:
                coded.append(self._coding(state, dice, i, info, intra, **coding))
        time = self._time if time is None else time
        frame = FrameCoding(self._number, FrameType.INTRA if intra else FrameType.INTER, time, occupancy, models, coded,
                            occupancy_model)
        state.set_occupancy(before)
        payload, _ = self.writer.encode_frame(frame)
        self.add(FRAME, payload)
        self._number, self._intra, self._time = self._number + 1, False, time + 3

    def _coding(self, state: FrameState, dice: Dice, i: int, info: TensorInfo, intra: bool, *, use: dict[int, int] = {},
                values: dict[int, np.ndarray] = {}, steps: dict[int, int | tuple[int, ...]] = {},
                predict: dict[int, int] = {}, significance: dict[int, int] = {},
                transform: dict[int, tuple[int, int]] = {},
                masks: dict[int, np.ndarray] = {}, mask_use: dict[int, int] = {}, base: dict[int, tuple[int, int]] = {},
                offset: dict[int, int] = {}) -> TensorCoding:
        """How tensor i is coded. The dictionaries are by tensor_id: model used (0), quantised values, or
        a function of (cells, channels) that gives them (random), steps (index 3; one for all
        bands, or one for each), prediction (1 for grids of
        P-frames), significance (1 for grids when there is occupancy), transform and levels (none), masks
        (half of the elements) and their model (1), factor of the shared tensor (1) and offset (0).
        """
        is_grid = info.mapping != Mapping.NONE
        kind, levels = transform.get(i, (0, 0))
        step = steps.get(i, 3)
        step = (step,) * band_count(kind, levels) if isinstance(step, int) else tuple(step)
        predicted = predict.get(i, int(is_grid and not intra))
        by_occupancy = int(is_grid and self.header.has_occupancy and state.occupancy is not None)
        tools = Tools(step, predicted, significance.get(i, by_occupancy), kind, levels,
                      base.get(i, (1, 0) if predicted == 2 else (0, 0)), offset.get(i, 0))
        layout = state.bind(i, tools).layout
        cells, channels = layout.cells, layout.channels
        chosen = values.get(i, dice.sparse)
        chosen = np.asarray(chosen(cells, channels) if callable(chosen) else chosen, np.int32).reshape(cells, channels)
        mask = None
        if tools.masked:
            mask = masks.get(i, lambda *shape: dice.integers(0, 1, *shape))
            mask = np.asarray(mask(cells, channels) if callable(mask) else mask, bool).reshape(cells, channels)
            chosen = np.where(mask, chosen, 0)
        return TensorCoding(i, chosen, use.get(i, 0), tools, mask, mask_use.get(i, 1) if tools.masked else 0)

    def finish(self, index: bool = True) -> Draft:
        """Adds index and end unit, whose content is made from what is before them."""
        if index:
            self.add(INDEX, None)
        self.add(END, None)
        return self

    def position(self, kind: int, n: int = 0) -> int:
        """Where the n-th unit of a type stands in `pieces`."""
        return [i for i, p in enumerate(self.pieces) if p.type == kind][n]

    def piece(self, kind: UnitType, n: int) -> Piece:
        if kind in (INDEX, END):
            self.settle()
        return self.pieces[self.position(kind, n)]

    def parse(self, kind: UnitType, payload: bytes):
        return syn.PAYLOADS[kind].parse(payload, 0, **self._params)

    def set(self, kind: UnitType, n: int, changes: dict[str, object]) -> Draft:
        """Gives syntax elements of the n-th unit of a type other values: {`tensor[0].transform`: 1}."""
        piece = self.piece(kind, n)
        value, _ = self.parse(kind, piece.payload)
        for path, new in changes.items():
            steps = [int(s) if s.isdigit() else s for s in re.findall(r"\w+", path)]
            value = _assign(value, steps, new)
        piece.payload = self._build(kind, value)
        return self

    def poke(self, kind: UnitType, n: int, path: str, raw: bytes) -> Draft:
        """Replaces the bytes of one syntax element; nothing else moves with it."""
        return self.pokes(kind, n, {path: raw})

    def pokes(self, kind: UnitType, n: int, changes: dict[str, bytes]) -> Draft:
        """The same for several elements."""
        piece = self.piece(kind, n)
        _, trace = self.parse(kind, piece.payload)
        spans = {s.path.split(".", 1)[1]: s for s in trace.spans}
        for path, raw in sorted(changes.items(), key=lambda item: -spans[item[0]].offset):
            at = spans[path]
            piece.payload = piece.payload[: at.offset] + raw + piece.payload[at.offset + at.length :]
        return self

    def resize(self, kind: UnitType, n: int, change: Callable[[bytes], bytes]) -> Draft:
        """Changes the payload of the n-th unit of a type as bytes."""
        piece = self.piece(kind, n)
        piece.payload = change(piece.payload)
        return self

    def _offsets(self) -> list[int]:
        """Offset of every unit; index and end units have their size even while their content is open."""
        frames = sum(p.type == FRAME for p in self.pieces)
        open_size = {INDEX: 4 + 13 * frames, END: 16}
        offsets, at = [], 16
        for p in self.pieces:
            offsets.append(at)
            at += UNIT_OVERHEAD + (len(p.payload) if p.payload is not None else open_size[p.type])
        return offsets

    def settle(self) -> None:
        """Fills in index and end units that have no content yet."""
        if all(p.payload is not None for p in self.pieces):
            return
        entries, group_at, groups, index_at = [], 0, 0, 0
        for p, at in zip(self.pieces, self._offsets()):
            if p.type == GROUP_HEADER:
                group_at, groups = at, groups + 1
            elif p.type == FRAME:
                number, kind = struct.unpack_from("<IB", p.payload)
                entries.append(syn.IndexEntrySyntax(indexed_frame=number, indexed_type=kind,
                                                    frame_offset=group_at if kind == FrameType.INTRA else at))
            elif p.type == INDEX:
                index_at = at
                if p.payload is None:
                    p.payload = self._build(INDEX, syn.IndexSyntax(
                        index_count=len(entries), entry=tuple(entries)))
            elif p.type == END and p.payload is None:
                p.payload = self._build(END, syn.EndSyntax(group_total=groups, frame_total=len(entries),
                                                           index_offset=index_at))

    def copy(self) -> Draft:
        """A draft whose units can be changed without an effect on this one."""
        other = copy.copy(self)
        other.pieces = [copy.copy(p) for p in self.pieces]
        return other

    def bytes(self) -> bytes:
        self.settle()
        return build_file_header(self.level) + b"".join(p.bytes() for p in self.pieces)


def _assign(target, steps: list, new):
    """`target`, a structure or an array, with the part at `steps` replaced."""
    first, *rest = steps
    if isinstance(target, tuple):
        part = _assign(target[first], rest, new) if rest else new
        return (*target[:first], part, *target[first + 1 :])
    return replace(target, **{first: _assign(getattr(target, first), rest, new) if rest else new})


def unit_offset(data: bytes, kind: int, n: int = 0) -> int:
    """Offset of the n-th unit of a type in a well-formed file."""
    at = 16
    while True:
        if data[at] == kind:
            if n == 0:
                return at
            n -= 1
        at += UNIT_OVERHEAD + int.from_bytes(data[at + 2 : at + 6], "little")


def with_header(data: bytes, **bytes_at: int) -> bytes:
    """The file with bytes of its header changed (`b8=1`: byte 8) and the header's checksum made right."""
    head = bytearray(data[:12])
    for name, value in bytes_at.items():
        head[int(name[1:])] = value
    return bytes(head) + struct.pack("<I", zlib.crc32(head)) + data[16:]


class DataWriter:
    """The encoder of section 6.2's informative note, in integers, for data that refcodec would not write."""

    def __init__(self):
        self.low, self.range, self.number, self.count = 0, (1 << 64) - 1, 0, 0

    def put(self, below: int, frequency: int) -> None:
        """One symbol: sum of the frequencies before its entry, and its own, of 2^24."""
        scale = self.range >> 24
        self.low += scale * below
        self.range = scale * frequency
        if self.range < 1 << 32:
            self.low <<= 32
            self.range <<= 32
            self.count += 1

    def bits(self, *bits: int) -> None:
        for bit in bits:
            self.put(bit << 23, 1 << 23)

    def data(self, longer: int = 0, above: int = 0) -> bytes:
        """The data of section 6.2, which are the shortest; or the smallest number of some bytes more, or one that is
        so many units of its last byte above it.

        `low` is kept as one number with as many words as have been shifted out and two more.
        """
        def number(dropped: int) -> int:
            return -(-self.low >> 8 * dropped)

        dropped = next(n for n in range(4 * self.count + 8, -1, -1) if number(n) << 8 * n < self.low + self.range)
        return (number(dropped - longer) + above).to_bytes(4 * self.count + 8 - dropped + longer, "big")

    def words(self, above: int = 0) -> bytes:
        """All words of `low + above`: the decoder ends with `point - low` equal to `above`."""
        return (self.low + above).to_bytes(4 * self.count + 8, "big")
