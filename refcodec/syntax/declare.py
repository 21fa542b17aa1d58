"""Declaring syntax elements once: typed structures from which parser, writer, inspector, specification, Kaitai
Struct description and JavaScript tables come.

A structure is a frozen dataclass whose fields are its elements:

    @syntax("static_table", "4.10")
    class StaticTableSyntax:
        first_value: int = element("sv", "The value of entry 0.", {"R-MOD-14": "-65536 <= first_value <= 65536"})
        entry_count: int = element("uv", "Number of entries.", {"R-MOD-13": "2 <= entry_count <= 4096"})
        count: tuple[int, ...] = element("uv", "Relative frequencies.", count="entry_count")

    STATIC_TABLE = Structure(StaticTableSyntax)

Conditions, counts and rules are expressions (`refcodec.syntax.expressions`). The descriptors of spec
Table 2-1 are constructs: construct reads and writes single values. What it lacks is here: byte spans of
the elements, checks of requirements, and errors with offset, element and section.
"""
from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field as dataclass_field
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar, dataclass_transform

import construct as cs

from ..errors import BitstreamError
from ..requirements import REQUIREMENTS
from .expressions import (
    BUILTINS,
    ElementRef,
    Expression,
    Function,
    Logic,
    Scope as Names,
    Symbol,
    compiled,
    parse,
    parts,
    text as specification_text,
)
from .registry import Level

if TYPE_CHECKING:
    from .headers import SequenceHeader

T = TypeVar("T")
Values = dict[str, Any]
Outer = tuple[Values, Any] | None  # the values of the enclosing structure, and its own enclosing structure


@dataclass(slots=True)
class Span:
    """Location and value of one syntax element: absolute byte offset, length, value.

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


@dataclass(frozen=True, slots=True)
class Parameters:
    """External parameters of a structure: bounds of the level, the sequence header, bytes of the payload. checked:
    whether its elements have to keep their rules."""

    level: Level | None
    header: SequenceHeader | None
    payload_size: int | None
    checked: bool = True


class _UnsignedVarint(cs.Construct):
    """`uv`: LEB128, shortest form only, below 2**32 (spec 2.3)."""

    def _parse(self, stream: BinaryIO, context: object, path: str) -> int:
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

    def _build(self, obj: int, stream: BinaryIO, context: object, path: str) -> int:
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

    def _parse(self, stream: BinaryIO, context: object, path: str) -> int:
        if self.shift:
            stream.seek(-1, io.SEEK_CUR)
        byte: int = cs.stream_read(stream, 1, path)[0]
        return byte >> self.shift & (1 << self.width) - 1

    def _build(self, obj: int, stream: BinaryIO, context: object, path: str) -> int:
        if not 0 <= obj < 1 << self.width:
            raise cs.ValidationError(f"not below {1 << self.width}", path=path)
        before = 0
        if self.shift:
            stream.seek(-1, io.SEEK_CUR)
            before = stream.read(1)[0]
            stream.seek(-1, io.SEEK_CUR)
        cs.stream_write(stream, bytes([before | obj << self.shift]), 1, path)
        return obj


class _Array(cs.Subconstruct):
    """As many values as the context says, as a tuple. Numbers of fixed size are read and written at once."""

    def _parse(self, stream: BinaryIO, context: int, path: str) -> tuple[Any, ...]:
        if isinstance(self.subcon, cs.FormatField):
            letter = self.subcon.fmtstr[1:]
            return struct.unpack(f"<{context}{letter}", cs.stream_read(stream, context * self.subcon.length, path))
        return tuple([self.subcon._parse(stream, None, path) for _ in range(context)])

    def _build(self, obj: tuple[Any, ...], stream: BinaryIO, context: int, path: str) -> tuple[Any, ...]:
        if len(obj) != context:
            raise cs.RangeError(f"{len(obj)} values in place of {context}", path=path)
        if isinstance(self.subcon, cs.FormatField):
            stream.write(struct.pack(f"<{context}{self.subcon.fmtstr[1:]}", *obj))
        else:
            for value in obj:
                self.subcon._build(value, stream, None, path)
        return obj


# Spec Table 2-1. Arrays of these are written `s32[3]`; `bytes[...]` takes a length, `b2` a place in its byte.
DESCRIPTORS: dict[str, cs.Construct] = {
    "u8": cs.Int8ul, "u16": cs.Int16ul, "u32": cs.Int32ul, "u64": cs.Int64ul,
    "s8": cs.Int8sl, "s16": cs.Int16sl, "s32": cs.Int32sl, "f32": cs.Float32l,
    "uv": _UV, "sv": _SV,
}


# What declarations write


@dataclass(frozen=True, slots=True)
class _ElementDeclaration:
    descriptor: str
    text: str
    rules: Mapping[str, str]
    count: int | str | None
    when: str | None


@dataclass(frozen=True, slots=True)
class _NestedDeclaration:
    structure: Structure[Any]
    count: str | None
    when: str | None


@dataclass(frozen=True, slots=True)
class _Declaration:
    name: str
    section: str
    items: Mapping[str, _ElementDeclaration | _NestedDeclaration]
    symbols: Mapping[str, tuple[str, str]]


def element(descriptor: str, text: str, rules: Mapping[str, str] | None = None, *, count: int | str | None = None,
            when: str | None = None) -> Any:
    """One syntax element of a structure: a field of type int, float, bytes or a tuple, `| None` where it may be absent.

    descriptor: of `DESCRIPTORS`, `bytes`, or `b2` and the like for bits of a byte that follow each other.
    text: its meaning, as the specification prints it. rules: requirement -> expression that holds, checked
    in order. count: number of values of an array, or of bytes. when: condition under which it is there.
    """
    return _ElementDeclaration(descriptor, text, rules or {}, count, when)


def nested(structure: Structure[Any], *, count: str | None = None, when: str | None = None) -> Any:
    """A structure inside another: once, `count` times (a tuple), or only `when` a condition holds (else None)."""
    return _NestedDeclaration(structure, count, when)


def same_as(structure: Structure[Any], name: str) -> Any:
    """An element that is declared as that of another structure."""
    return _declaration(structure.kind).items[name]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(element, nested, same_as))
def syntax(name: str, section: str, *, symbols: Mapping[str, str | tuple[str, str]] | None = None
           ) -> Callable[[type[T]], type[T]]:
    """Makes a frozen dataclass of a class whose fields are syntax elements, in the order in which they are coded.

    symbols: quantities that expressions of the structure use -> their expression, and how the specification
    writes them where it is not by their name.
    """

    def declared(kind: type[T]) -> type[T]:
        items = {}
        for item in kind.__annotations__:
            items[item] = kind.__dict__[item]
            delattr(kind, item)
        made = dataclass(frozen=True, slots=True, kw_only=True)(kind)
        pairs = {k: (v, k) if isinstance(v, str) else v for k, v in (symbols or {}).items()}
        made.__declaration__ = _Declaration(name, section, items, pairs)  # type: ignore[attr-defined]
        return made

    return declared


def _declaration(kind: type) -> _Declaration:
    found: _Declaration = kind.__declaration__  # type: ignore[attr-defined]
    return found


# What is made of them


@dataclass(frozen=True, slots=True)
class Rule:
    """A requirement on an element. holds: the expression as a function, see `expressions.Python`."""

    requirement: str
    expression: Expression
    holds: Callable[[Values, Outer, Parameters], bool] = dataclass_field(repr=False, compare=False)


class _Item:
    """Base of elements and nested structures: a name, a condition, a number of repetitions."""

    def __init__(self, name: str, section: str, count: Expression | None, when: Expression | None,
                 functions: Mapping[str, Function]):
        self.element, self.section, self.count, self.when = name, section, count, when
        self._count = compiled(count, functions) if count is not None else None
        self._when = compiled(when, functions) if when is not None else None

    @property
    def count_text(self) -> str:
        """The number of repetitions as the specification writes it; empty without one."""
        return specification_text(self.count) if self.count is not None else ""

    @property
    def when_text(self) -> str:
        """The condition as the specification writes it; empty without one."""
        return specification_text(self.when) if self.when is not None else ""

    def expressions(self) -> Iterator[Expression]:
        yield from (e for e in (self.count, self.when) if e is not None)


class Element(_Item):
    """One syntax element.

    kind: the descriptor without repetitions. bits, shift: of `b2` and the like, how many, and how many come
    before them in their byte; else 0. text: its meaning. rules: checked in order. descriptor: as the
    specification writes it, `s8[H * N]`.
    """

    def __init__(self, name: str, section: str, declared: _ElementDeclaration, shift: int,
                 expression: Callable[[str], Expression], functions: Mapping[str, Function]):
        count = None if declared.count is None else expression(str(declared.count))
        super().__init__(name, section, count, None if declared.when is None else expression(declared.when), functions)
        self.kind, self.text, self.shift = declared.descriptor, declared.text, shift
        self.rules = tuple(Rule(requirement, tree := expression(rule), compiled(tree, functions))
                           for requirement, rule in declared.rules.items())
        self.descriptor = f"{self.kind}[{self.count_text}]" if count is not None else self.kind
        self.bits = int(self.kind[1:]) if re.fullmatch(r"b\d", self.kind) else 0
        self.construct: cs.Construct
        if self.kind == "bytes":
            self.construct = cs.Bytes(lambda context: context)
        elif self.bits:
            self.construct = _Bits(self.bits, shift)
        else:
            self.construct = DESCRIPTORS[self.kind] if count is None else _Array(DESCRIPTORS[self.kind])
        self._parse: Callable[[BinaryIO, int | None, str], Any] = self.construct._parse
        trees = tuple(rule.expression for rule in self.rules)
        self._all_hold = compiled(Logic("and", trees) if len(trees) > 1 else trees[0], functions) if trees else None

    def expressions(self) -> Iterator[Expression]:
        yield from super().expressions()
        yield from (rule.expression for rule in self.rules)

    def read(self, stream: BinaryIO, trace: Trace, values: Values, outer: Outer, parameters: Parameters) -> Any:
        """The value, which is put into `values`, too; None where the element is absent. Raises BitstreamError."""
        if self._when is not None and not self._when(values, outer, parameters):
            values[self.element] = None
            return
        start, name = stream.tell(), trace.prefix + self.element
        offset = trace.base + start - (self.shift > 0)
        count = None if self._count is None else self._count(values, outer, parameters)
        try:
            value = self._parse(stream, count, name)
        except cs.StreamError:
            raise BitstreamError("R-UNIT-07", offset, name) from None
        except cs.ValidationError as e:
            raise BitstreamError("R-VAR-01", offset, name, str(e).splitlines()[-1]) from None
        values[self.element] = value
        trace.spans.append(
            Span(name, offset, 0 if self.shift else stream.tell() - start, value, self.section, self.descriptor))
        if self._all_hold is not None and not self._all_hold(values, outer, parameters):
            self._check(values, outer, parameters, offset, name)

    def write(self, stream: BinaryIO, values: Values, outer: Outer, parameters: Parameters) -> None:
        """Raises BitstreamError where the value breaks a rule, construct's errors where its type does."""
        if self._when is not None and not self._when(values, outer, parameters):
            return
        self._check(values, outer, parameters, None, self.element)
        count = self._count(values, outer, parameters) if self._count is not None else None
        self.construct._build(values[self.element], stream, count, self.element)

    def _check(self, values: Values, outer: Outer, parameters: Parameters, offset: int | None, name: str) -> None:
        for rule in self.rules if parameters.checked else ():
            if not rule.holds(values, outer, parameters):
                value = values[self.element]
                shown = value if not isinstance(value, (bytes, tuple)) or len(value) <= 16 else "…"
                raise BitstreamError(rule.requirement, offset, name,
                                     f"{REQUIREMENTS[rule.requirement].text} It is {shown!r}.")


class Nested(_Item):
    """A structure inside another: once, `count` times, or only `when` a condition holds."""

    def __init__(self, name: str, section: str, declared: _NestedDeclaration,
                 expression: Callable[[str], Expression], functions: Mapping[str, Function]):
        super().__init__(name, section, None if declared.count is None else expression(declared.count),
                         None if declared.when is None else expression(declared.when), functions)
        self.structure = declared.structure

    def read(self, stream: BinaryIO, trace: Trace, values: Values, outer: Outer, parameters: Parameters) -> None:
        """Puts the structure, a tuple of them, or None into `values`. Raises BitstreamError."""
        found: Any = None
        if self._when is None or self._when(values, outer, parameters):
            here, before = (values, outer), trace.prefix
            if self._count is None:
                trace.prefix = f"{before}{self.element}."
                found = self.structure.read(stream, trace, here, parameters)
            else:
                entries = []
                for i in range(self._count(values, outer, parameters)):
                    trace.prefix = f"{before}{self.element}[{i}]."
                    entries.append(self.structure.read(stream, trace, here, parameters))
                found = tuple(entries)
            trace.prefix = before
        values[self.element] = found

    def write(self, stream: BinaryIO, values: Values, outer: Outer, parameters: Parameters) -> None:
        """Raises BitstreamError."""
        if self._when is not None and not self._when(values, outer, parameters):
            return
        found = values[self.element]
        for entry in [found] if self._count is None else found:
            self.structure.write(entry, stream, (values, outer), parameters)


class Structure(Generic[T]):
    """A table of the specification: elements and nested structures in order, and the dataclass of its values.

    names, functions: constants, sets and functions that its expressions may use.
    """

    def __init__(self, kind: type[T], names: Mapping[str, object] | None = None,
                 functions: Mapping[str, Function] | None = None):
        declared = _declaration(kind)
        self.kind, self.name, self.section = kind, declared.name, declared.section
        self.names, self.functions = names or {}, {**BUILTINS, **(functions or {})}

    @cached_property
    def items(self) -> tuple[Element | Nested, ...]:
        """Elements and nested structures. Expressions are read when a structure is first used: what they name may be
        registered by modules that import this one. Raises ValueError for an expression that is none."""
        declared = _declaration(self.kind)
        before: dict[str, bool] = {}  # elements read so far, and whether they may be absent
        items: list[Element | Nested] = []
        bits = 0

        def expression(text: str) -> Expression:
            words = set(re.findall(r"\w+", text))
            symbols = {n: Symbol(n, shown, expression(e)) for n, (e, shown) in declared.symbols.items() if n in words}
            return parse(text, Names(before, symbols, self.names, self.functions.keys()))

        for name, item in declared.items.items():
            if isinstance(item, _NestedDeclaration):
                items.append(Nested(name, self.section, item, expression, self.functions))
                self._join(name, item.structure, before)
            else:
                before[name] = False  # its rules say its own name, and are checked where it is there
                made = Element(name, self.section, item, bits, expression, self.functions)
                bits = (bits + made.bits) % 8
                items.append(made)
            before[name] = item.when is not None
        return tuple(items)

    @staticmethod
    def _join(name: str, structure: Structure[Any], before: Mapping[str, bool]) -> None:
        """Checks that what a nested structure says of the enclosing one stands before it there."""
        for item in structure.items:
            for part in (p for e in item.expressions() for p in parts(e)):
                if isinstance(part, ElementRef) and part.depth == 1 and part.name not in before:
                    raise ValueError(f"{name}: nothing before it is called {part.name!r}")

    def parse(self, data: bytes, base: int, path: str | None = None, *, level: Level | None = None,
              header: SequenceHeader | None = None, checked: bool = True) -> tuple[T, Trace]:
        """All of `data`, which starts at stream offset `base`; refuses bytes left over.

        checked: whether rules of elements are, too. Raises BitstreamError.
        """
        trace = Trace(base, [self.name if path is None else path])
        return self.parse_into(trace, data, level=level, header=header, checked=checked), trace

    def parse_into(self, trace: Trace, data: bytes, *, level: Level | None = None,
                   header: SequenceHeader | None = None, checked: bool = True) -> T:
        """As `parse`, into a trace that keeps what was read before an error."""
        stream = io.BytesIO(data)
        value = self.read(stream, trace, None, Parameters(level, header, len(data), checked))
        if (at := stream.tell()) != len(data):
            raise BitstreamError("R-UNIT-06", trace.base + at, trace.path[0],
                                 f"{len(data) - at} bytes follow the last syntax element.")
        return value

    def build(self, value: T, *, level: Level | None = None, header: SequenceHeader | None = None,
              payload_size: int | None = None, checked: bool = True) -> bytes:
        """The bytes of `value`; raises BitstreamError where it breaks a requirement, unless it is not to be `checked`,
        ValueError where its types are not those of the elements. payload_size: of the result, where a rule asks for it.
        """
        stream = io.BytesIO()
        try:
            self.write(value, stream, None, Parameters(level, header, payload_size, checked))
        except (cs.ConstructError, struct.error) as e:
            raise ValueError(f"{self.name}: {e}") from e
        return stream.getvalue()

    def read(self, stream: BinaryIO, trace: Trace, outer: Outer, parameters: Parameters) -> T:
        """The structure at this place of a stream. Raises BitstreamError."""
        values: Values = {}
        for item in self.items:
            item.read(stream, trace, values, outer, parameters)
        return self.kind(**values)

    def write(self, value: T, stream: BinaryIO, outer: Outer, parameters: Parameters) -> None:
        """Raises BitstreamError, construct's errors and struct.error."""
        values = {item.element: getattr(value, item.element) for item in self.items}
        for item in self.items:
            item.write(stream, values, outer, parameters)


def structures(declared: Iterable[object]) -> list[Structure[Any]]:
    """The structures among the values of a module, in the order of their declaration."""
    return [value for value in declared if isinstance(value, Structure)]
