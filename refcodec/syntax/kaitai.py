"""The syntax of an RFV file as a Kaitai Struct description, `spec/rfv.ksy`.

Written by `python -m refcodec.spec` from the same declarations as the tables of chapter 4,
for tools that read files by such descriptions (hex viewers, parsers in other languages).
It says where every syntax element lies, not which values it may have.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any

from ..code_points import CodePoint
from . import structures as syn
from .declare import Element, Nested, Structure, structures
from .expressions import Choice, ElementRef, Expression, Parameter, Spelled
from .registry import TEMPLATES, UnitType, is_activity
from .representation import Representation, Role

_TYPES = {"u8": "u1", "u16": "u2", "u32": "u4", "u64": "u8", "s8": "s1", "s16": "s2", "s32": "s4", "f32": "f4",
          "uv": "uv", "sv": "sv"}
_ENUMS: dict[str, type[IntEnum] | type[CodePoint]] = {
    "unit_type": UnitType, "representation": Representation, "tensor_role": Role}


def description() -> str:
    """The whole file. Raises ValueError for a condition or count that Kaitai's language can't say."""
    return "\n".join([*_HEAD, *_root(), *_types(), *_enums()]) + "\n"


_HEAD = (
    "# Generated from the declarations of the reference codec: python -m refcodec.spec",
    "meta:",
    "  id: rfv",
    "  title: Radiance Field Video (RFV) {}.{}".format(*syn.VERSION),
    "  file-extension: rfv",
    "  license: Apache-2.0",
    "  endian: le",
    "  bit-endian: le",
    "doc: |",
    "  Where every syntax element of an RFV file lies. The specification says which values it may have",
    "  and what they mean; checksums, entropy-coded data and occupancy are not decoded here.",
)


def _root() -> Iterator[str]:
    yield from ("seq:", "  - id: file_header", "    type: file_header", "  - id: units", "    type: unit",
                "    repeat: until", "    repeat-until: _.unit_header.unit_type == unit_type::end",
                "instances:", "  sequence_header:",
                "    value: units[0].payload.as<sequence_header>", "    doc: The first unit of every file.",
                "types:",
                "  unit:", "    doc: A unit, section 4.2.", "    seq:",
                "      - id: unit_header", "        type: unit_header",
                "      - id: payload", "        size: unit_header.unit_size", "        type:",
                "          switch-on: unit_header.unit_type", "          cases:")
    for kind, structure in syn.PAYLOADS.items():
        yield f"            unit_type::{kind.name.lower()}: {structure.name}"
    yield from ("      - id: unit_crc", "        type: u4", "        doc: CRC-32 of the unit header and the payload.")


def _types() -> Iterator[str]:
    for structure in structures(vars(syn).values()):
        yield from _structure(structure)
    yield from _VARINTS


def _structure(structure: Structure[Any]) -> Iterator[str]:
    yield f"  {structure.name}:"
    yield f"    doc: Section {structure.section}."
    if structure is syn.NEIGHBOUR:
        yield from ("    params:", "      - id: number", "        type: s4")
    yield "    seq:"
    for item in structure.items:
        yield from (f"      {line}" for line in _element(structure, item))
    if structure is syn.NEIGHBOUR:
        yield from ("    instances:", "      input_count:",
                    "        doc: Inputs of the model that this neighbour and those before it make (section 6.4).",
                    "        value: '(number == 0 ? 0 : _parent.neighbour[number - 1].input_count.as<s4>) + "
                    "(_parent.channel_mode == 0 or (neighbour_source & 6) == 2 ? 1 : _parent.model_channels)'")
    if structure is syn.CONTEXT_MODEL:
        listed = "neighbour_count == 0 ? 0 : neighbour[neighbour_count - 1].input_count"
        yield from ("    instances:", "      input_count:", "        doc: Number of inputs N (section 6.4).",
                    f"        value: 'template_id == 1 ? ({listed}) : {_inputs_of_templates()}'")


def _inputs_of_templates() -> str:
    """The number of inputs of the registered templates, as an expression."""
    expression = "0"
    for number, template in sorted(TEMPLATES.items()):
        values = sum(not is_activity(source) for source, *_ in template)
        if template:
            count = f"channel_mode == 0 ? {len(template)} : {values} * model_channels + {len(template) - values}"
            expression = f"template_id == {number} ? ({count}) : {expression}"
    return expression


def _element(structure: Structure[Any], item: Element | Nested) -> Iterator[str]:
    language, count = _Kaitai(structure, item.when), item.count
    yield f"- id: {item.element}"
    if isinstance(item, Nested):
        argument = "(_index)" if item.structure is syn.NEIGHBOUR else ""
        yield f"  type: {item.structure.name}{argument}"
    elif item.kind == "bytes":
        assert count is not None
        yield f"  size: {_quoted(language.write(count))}"
        count = None
    else:
        yield f"  type: {_TYPES.get(item.kind, item.kind)}"
        if item.element in _ENUMS:
            yield f"  enum: {item.element}"
    if item.when is not None:
        yield f"  if: {_quoted(_Kaitai(structure).write(item.when))}"
    if count is not None:
        yield "  repeat: expr"
        yield f"  repeat-expr: {_quoted(language.write(count))}"
    if isinstance(item, Element):
        rules = ", ".join(dict.fromkeys(rule.requirement for rule in item.rules))
        yield f"  doc: {_quoted(item.text + (f' ({rules})' if rules else ''))}"


class _Kaitai(Spelled):
    """Conditions and counts of a structure in Kaitai's language.

    known: the condition under which they are evaluated. Other elements that are absent count as 0 (spec chapter 5).
    """

    operators = {"//": "/"}

    def __init__(self, structure: Structure[Any], known: Expression | None = None):
        self.items = {item.element: item for item in structure.items}
        self.structure, self.known = structure, known

    def element(self, element: ElementRef) -> str:
        if element.depth:
            return "_parent." * element.depth + element.name
        item, value = self.items[element.name], element.name
        if isinstance(item, Element) and item.kind in ("uv", "sv"):
            value += ".value"
        if element.name in _ENUMS:
            value += ".to_i"
        if item.when in (None, self.known):
            return value
        return f"({_Kaitai(self.structure).write(item.when)} ? {value} : 0)"

    def attribute(self, value: Expression, name: str) -> str:
        if value == Parameter("header"):
            return f"_root.sequence_header.{name}"
        if isinstance(value, Parameter):
            raise ValueError(f"{value.name} is not known to a Kaitai Struct description")
        return super().attribute(value, name)

    def choice(self, choice: Choice) -> str:
        test, then = self.write(choice.test), self.write(choice.then, 1)
        return f"{test} ? {then} : {self.write(choice.otherwise)}"

    def call(self, function: str, arguments: tuple[Expression, ...]) -> str:
        if function not in _INSTANCES:
            raise ValueError(f"{function} has no counterpart in a Kaitai Struct description")
        return function


# Functions that are instances of the structure that calls them; see `_structure`.
_INSTANCES = frozenset({"input_count"})


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _enums() -> Iterable[str]:
    yield "enums:"
    for name, values in _ENUMS.items():
        yield f"  {name}:"
        for value in values:
            yield f"    {int(value)}: {value.name.lower()}"


_VARINTS = (
    "  uv:", "    doc: An unsigned number of variable length, section 2.3.", "    seq:",
    "      - id: groups", "        type: u1", "        repeat: until", "        repeat-until: _ < 128",
    "    instances:", "      value:",
    "        value: " + _quoted(" + ".join(
        ["(groups[0] & 127)",
         *(f"(groups.size > {i} ? (groups[{i}] & 127).as<u8> << {7 * i} : 0)" for i in range(1, 5))])),
    "  sv:", "    doc: A signed number of variable length, section 2.3.", "    seq:",
    "      - id: magnitude", "        type: uv",
    "    instances:", "      value:",
    "        value: 'magnitude.value % 2 == 0 ? magnitude.value / 2 : -(magnitude.value / 2) - 1'",
)
