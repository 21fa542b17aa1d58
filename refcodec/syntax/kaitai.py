"""The syntax of an RFV file as a Kaitai Struct description, `spec/rfv.ksy`.

Written by `python -m refcodec.spec` from the same declarations as the tables of chapter 4,
for tools that read files by such descriptions (hex viewers, parsers in other languages).
It says where every syntax element lies, not which values it may have.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from enum import IntEnum

from ..code_points import CodePoint
from . import structures as syn
from .declare import Field, Nested, Structure
from .headers import Representation, Role
from .registry import TEMPLATES, UnitType, is_energy

_TYPES = {"u8": "u1", "u16": "u2", "u32": "u4", "u64": "u8", "s8": "s1", "s16": "s2", "s32": "s4", "f32": "f4",
          "uv": "uv", "sv": "sv", "b2": "b2"}
_ENUMS: dict[str, type[IntEnum] | type[CodePoint]] = {
    "unit_type": UnitType, "representation": Representation, "tensor_role": Role}
_OUTPUTS = "(family == 2 ? 3 : 2)"
# What the specification says in words, or with the letters of a formula.
_WORDS = {
    "bands (section 7.5)": "transform == 0 ? 1 : transform == 1 ? 4 : wavelet_levels + 1",
    "H * N": "hidden_count * input_count", "H": "hidden_count",
    "K * model_channels * H": f"{_OUTPUTS} * model_channels * hidden_count",
    "K * model_channels": f"{_OUTPUTS} * model_channels",
}
# Elements of the sequence header on which the syntax of other units depends.
_GLOBAL = {"digest_type": "_root.sequence_header.digest_type"}


def description() -> str:
    """The whole file. Raises KeyError for a condition or count that it can't put into Kaitai's words."""
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
    for structure in vars(syn).values():
        if isinstance(structure, Structure):
            yield from _structure(structure)
    yield from _VARINTS


def _structure(structure: Structure) -> Iterator[str]:
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
        values = sum(not is_energy(source) for source, *_ in template)
        if template:
            count = f"channel_mode == 0 ? {len(template)} : {values} * model_channels + {len(template) - values}"
            expression = f"template_id == {number} ? ({count}) : {expression}"
    return expression


def _element(structure: Structure, item: Field | Nested) -> Iterator[str]:
    yield f"- id: {item.element}"
    if isinstance(item, Nested):
        count, argument = item.count_text, "(_index)" if item.structure is syn.NEIGHBOUR else ""
        yield f"  type: {item.structure.name}{argument}"
    else:
        kind, _, count = item.descriptor.rstrip("]").partition("[")
        if kind == "bytes":
            yield f"  size: {_quoted(_expression(structure, count, item.when_text))}"
            count = ""
        else:
            yield f"  type: {_TYPES[kind]}"
            if item.element in _ENUMS:
                yield f"  enum: {item.element}"
    if item.when_text:
        yield f"  if: {_quoted(_expression(structure, item.when_text))}"
    if count:
        yield "  repeat: expr"
        yield f"  repeat-expr: {_quoted(_expression(structure, count, item.when_text))}"
    if isinstance(item, Field):
        rules = ", ".join(dict.fromkeys(requirement for requirement, _ in item.rules))
        yield f"  doc: {_quoted(item.text + (f' ({rules})' if rules else ''))}"


def _expression(structure: Structure, text: str, known: str = "") -> str:
    """A condition or count of the specification in Kaitai's language.

    known: the condition under which it is evaluated. Other elements that are absent count
    as 0 (spec chapter 5).
    """
    elements = {item.element: item for item in structure.items}

    def name(match: re.Match[str]) -> str:
        word = match[0]
        if word in ("input_count", "or"):
            return word
        if word not in elements:
            return _GLOBAL[word]
        item = elements[word]
        value = word + (".value" if isinstance(item, Field) and item.descriptor in ("uv", "sv") else "")
        value += ".to_i" if word in _ENUMS else ""
        if item.when_text not in ("", known):
            return f"({_expression(structure, item.when_text)} ? {value} : 0)"
        return value

    return re.sub(r"[A-Za-z_]\w*", name, _WORDS.get(text, text))


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
