"""Declaring syntax elements once, for parser, writer, inspector and specification.

construct does the parsing and building. `Field` wraps each element so that its
byte span is recorded, its requirements are checked, and every failure becomes a
`BitstreamError` with offset, element path and section (construct by itself gives
no offsets and leaks several unrelated exceptions).
"""
from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, field as dataclass_field
from typing import Any, BinaryIO

import construct as cs

from ..errors import BitstreamError
from ..requirements import REQUIREMENTS

Rule = tuple[str, Callable[[Any, Any], bool]]
Count = int | Callable[[Any], int] | None
Condition = Callable[[Any], bool] | None


@dataclass(slots=True)
class Span:
    """Where one syntax element lies: absolute byte offset, length, value.

    A byte that several elements share counts for the first of them; the others have length 0 there.
    """

    path: str
    offset: int
    length: int
    value: Any
    section: str
    descriptor: str


@dataclass(slots=True)
class Trace:
    """Collects spans while one unit is parsed. `base` is the payload's offset in the stream."""

    base: int
    path: list[str] = dataclass_field(default_factory=list)
    spans: list[Span] = dataclass_field(default_factory=list)
    prefix: str = dataclass_field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.prefix = "".join(f"{part}." for part in self.path)  # of the elements that are read now

    def offset(self, path: str) -> int | None:
        """Offset of the element with this path, None when it was not read."""
        for span in self.spans:
            if span.path == path:
                return span.offset
        return None


class _UnsignedVarint(cs.Construct):
    """`uv`: LEB128, shortest form only, below 2**32 (spec 2.3)."""

    def _parse(self, stream: BinaryIO, context: Any, path: str) -> int:
        value = shift = 0
        while True:
            read = stream.read(1)
            if not read:
                raise cs.StreamError("the stream is cut", path=path)
            byte = read[0]
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                break
            shift += 7
            if shift > 28:
                raise cs.ValidationError("longer than five bytes", path=path)
        if value >= 1 << 32 or (shift and byte == 0):
            raise cs.ValidationError("too large or not minimal", path=path)
        return value

    def _build(self, obj: int, stream: BinaryIO, context: Any, path: str) -> int:
        if not 0 <= obj < 1 << 32:
            raise cs.ValidationError("not below 2**32", path=path)
        value = obj
        while value > 0x7F:
            cs.stream_write(stream, bytes([value & 0x7F | 0x80]), 1, path)
            value >>= 7
        cs.stream_write(stream, bytes([value]), 1, path)
        return obj


_UV = _UnsignedVarint()
_SV = cs.ExprAdapter(
    _UV,
    decoder=lambda v, _: (v >> 1) ^ -(v & 1),
    encoder=lambda v, _: v << 1 if v >= 0 else (-v << 1) - 1,
)


class _Bits(cs.Construct):
    """`b2`: bits of a byte that several elements share, from its least significant one upwards (spec 2.2).

    shift: bits before these. The element with shift 0 reads the byte, the others look at it again.
    """

    def __init__(self, width: int, shift: int):
        super().__init__()
        self.width, self.shift = width, shift

    def _parse(self, stream: BinaryIO, context: Any, path: str) -> int:
        if self.shift:
            stream.seek(-1, io.SEEK_CUR)
        byte: int = cs.stream_read(stream, 1, path)[0]
        return byte >> self.shift & (1 << self.width) - 1

    def _build(self, obj: int, stream: BinaryIO, context: Any, path: str) -> int:
        if not 0 <= obj < 1 << self.width:
            raise cs.ValidationError(f"not below {1 << self.width}", path=path)
        before = 0
        if self.shift:
            stream.seek(-1, io.SEEK_CUR)
            before = stream.read(1)[0]
            stream.seek(-1, io.SEEK_CUR)
        cs.stream_write(stream, bytes([before | obj << self.shift]), 1, path)
        return obj


# Spec Table 2-1. Arrays of these are written `s32[3]`; `bytes[...]` takes a length, `b2` a place in its byte.
DESCRIPTORS: dict[str, cs.Construct] = {
    "u8": cs.Int8ul, "u16": cs.Int16ul, "u32": cs.Int32ul, "u64": cs.Int64ul,
    "s8": cs.Int8sl, "s16": cs.Int16sl, "s32": cs.Int32sl, "f32": cs.Float32l,
    "uv": _UV, "sv": _SV,
}


# struct's letters for the descriptors of fixed size, which are read with it at once.
_LETTERS = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "s8": "b", "s16": "h", "s32": "i", "f32": "f"}


class Field(cs.Subconstruct):
    """One syntax element.

    name: as in the specification. descriptor: of `DESCRIPTORS`, or `bytes`.
    text: semantics, the words that the specification prints.
    rules: pairs (requirement, predicate(value, context)) checked in order.
    count: None, a number, or a function of the context: the element is an array.
    when: condition on the context; `when_text` is how the specification writes it.
    shift: of bits, how many come before them in their byte.
    """

    def __init__(self, name: str, descriptor: str, text: str, rules: tuple[Rule, ...] = (),
                 count: Count = None, count_text: str = "", when: Condition = None, when_text: str = "",
                 shift: int = 0):
        if descriptor == "bytes":
            sub = cs.Bytes(count)
        elif descriptor.startswith("b"):
            sub = _Bits(int(descriptor[1:]), shift)
        elif count is None:
            sub = DESCRIPTORS[descriptor]
        else:
            sub = cs.Array(count, DESCRIPTORS[descriptor])
        super().__init__(sub)
        self.element: str = name
        self.text, self.rules, self.shift = text, rules, shift
        self.when, self.when_text = when, when_text
        self._letter, self._count = _LETTERS.get(descriptor), count
        self._one = struct.Struct("<" + self._letter) if self._letter is not None and count is None else None
        size = count_text or (str(count) if isinstance(count, int) else "")
        self.descriptor = f"{descriptor}[{size}]" if size else descriptor
        self.section: str = ""

    def _parse(self, stream: BinaryIO, context: Any, path: str) -> Any:
        if self.when is not None and not self.when(context):
            return None
        trace: Trace = context["_params"]["trace"]
        start = stream.tell() - (self.shift > 0)
        name, offset = trace.prefix + self.element, trace.base + start
        try:
            value = self._numbers(stream, context) if self._letter else self.subcon._parsereport(stream, context, path)
        except (cs.StreamError, struct.error):
            raise BitstreamError("R-UNIT-07", offset, name) from None
        except cs.ValidationError as e:
            raise BitstreamError("R-VAR-01", offset, name, str(e).splitlines()[-1]) from None
        if isinstance(value, cs.ListContainer):
            value = tuple(value)
        trace.spans.append(
            Span(name, offset, 0 if self.shift else stream.tell() - start, value, self.section, self.descriptor))
        if self.rules:
            self._check(value, context, offset, name)
        return value

    def _numbers(self, stream: BinaryIO, context: Any) -> Any:
        """A number of fixed size, or an array of them; struct.error where they are cut."""
        assert self._letter is not None
        if self._one is not None:
            return self._one.unpack(stream.read(self._one.size))[0]
        form = f"<{self._count(context) if callable(self._count) else self._count}{self._letter}"
        return struct.unpack(form, stream.read(struct.calcsize(form)))

    def _build(self, obj: Any, stream: BinaryIO, context: Any, path: str) -> Any:
        if self.when is not None and not self.when(context):
            return None
        self._check(obj, context, None, self.element)
        return self.subcon._build(obj, stream, context, path)

    def _check(self, value: Any, context: Any, offset: int | None, name: str) -> None:
        for requirement, predicate in self.rules:
            if not predicate(value, context):
                shown = value if not isinstance(value, (bytes, tuple)) or len(value) <= 16 else "…"
                raise BitstreamError(requirement, offset, name,
                                     f"{REQUIREMENTS[requirement].text} It is {shown!r}.")

    def _sizeof(self, context: Any, path: str) -> Any:
        return self.subcon._sizeof(context, path)


class _Struct(cs.Struct):
    """construct's own, parsing with less ado: only what the declarations use."""

    def _parse(self, stream: BinaryIO, context: Any, path: str) -> Any:
        value, inner = cs.Container(), cs.Container(_=context, _params=context["_params"])
        for item in self.subcons:
            value[item.name] = inner[item.name] = item.subcon._parse(stream, inner, path)
        return value


class Structure:
    """A named table of the specification: fields and nested structures in order."""

    def __init__(self, name: str, section: str, *items: Field | Nested, text: str = ""):
        self.name, self.section, self.items, self.text = name, section, items, text
        for item in items:
            item.section = section
        self.construct = _Struct(*(cs.Renamed(item, item.element) for item in items))

    def parse(self, data: bytes, base: int, path: str | None = None, **params: Any) -> tuple[cs.Container, Trace]:
        """All of `data`, which starts at stream offset `base`; refuses bytes left over.

        Raises BitstreamError.
        """
        trace = Trace(base, [self.name if path is None else path])
        stream = io.BytesIO(data)
        value = self.construct.parse_stream(stream, trace=trace, **params)
        if (at := stream.tell()) != len(data):
            raise BitstreamError("R-UNIT-06", base + at, trace.path[0],
                                 f"{len(data) - at} bytes follow the last syntax element.")
        return value, trace

    def build(self, value: dict[str, Any], **params: Any) -> bytes:
        """The bytes of `value`; raises BitstreamError where it breaks a requirement."""
        try:
            data: bytes = self.construct.build(value, trace=None, **params)
            return data
        except (cs.ConstructError, struct.error) as e:
            raise ValueError(f"{self.name}: {e}") from e


class Nested(cs.Subconstruct):
    """A structure inside another: once, `count` times, or only `when` a condition holds."""

    def __init__(self, name: str, structure: Structure, count: Callable[[Any], int] | None = None, count_text: str = "",
                 when: Condition = None, when_text: str = ""):
        super().__init__(structure.construct)
        self.element: str = name
        self.structure, self.count = structure, count
        self.count_text, self.when, self.when_text = count_text, when, when_text
        self.section: str = ""

    def _parse(self, stream: BinaryIO, context: Any, path: str) -> Any:
        if self.when is not None and not self.when(context):
            return None
        trace: Trace = context["_params"]["trace"]
        if self.count is None:
            return self._one(self.element, trace, stream, context, path)
        return [self._one(f"{self.element}[{i}]", trace, stream, context, path)
                for i in range(self.count(context))]

    def _one(self, label: str, trace: Trace, stream: BinaryIO, context: Any, path: str) -> Any:
        outer, trace.prefix = trace.prefix, f"{trace.prefix}{label}."
        value = self.subcon._parse(stream, context, path)
        trace.prefix = outer
        return value

    def _build(self, obj: Any, stream: BinaryIO, context: Any, path: str) -> Any:
        if self.when is not None and not self.when(context):
            return None
        for item in [obj] if self.count is None else obj:
            self.subcon._build(item, stream, context, path)
        return obj
