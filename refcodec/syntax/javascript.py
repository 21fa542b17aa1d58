"""The declarations as a JavaScript module: `python -m refcodec.syntax.javascript` writes it.

It holds the structures as tables for the interpreter in `structures.js`, and the registries. Names of elements
are in camel case.
"""
from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..code_points import CodePoint
from . import structures as syn
from .declare import Element, Nested, Structure, structures
from .expressions import Call, Choice, Comparison, Constant, ElementRef, Every, Expression, Language, Members, parts
from .families import ProbabilityFamily
from .registry import ANCILLARY_UNITS, EXPLICIT, LEVELS, SOURCES, TEMPLATES, Level, UnitType, is_activity
from .representation import Representation, Role
from .tools import Prediction

PATH = Path(__file__).parent.parent / "view" / "web" / "decoder" / "syntax.generated.js"


def module() -> str:
    """The text of `syntax.generated.js`. Raises ValueError for an expression that JavaScript can't say."""
    return "\n".join([*_HEAD, *_registries(), "", *_tables()]) + "\n"


_HEAD = ("// Generated from the declarations in refcodec/syntax by `python -m refcodec.syntax.javascript`.", "")


def camel(name: str) -> str:
    """`tensor_role` as `tensorRole`."""
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)


def _registries() -> Iterator[str]:
    yield "/** `version_major`, `version_minor` (4.1). */"
    yield f"export const VERSION = {list(syn.VERSION)};"
    yield f"export const PROFILE_MAIN = {syn.PROFILE_MAIN};"
    yield f"export const FILE_SIGNATURE = {list(syn.FILE_SIGNATURE)};"
    for name, comment, members in (("Unit", "`unit_type` (Table 4-1).", UnitType),
                                   ("Representation", "`representation` (A.1).", Representation),
                                   ("Role", "`tensor_role` (A.2).", Role)):
        yield f"/** {comment} */"
        yield f"export const {name} = {{ " + ", ".join(f"{m.name}: {int(m)}" for m in members) + " };"
    yield "/** What there is to say of each `family` (A.6): see `ProbabilityFamily` in refcodec/syntax/families.py. */"
    yield "export const FAMILIES = {"
    yield from _entries(ProbabilityFamily, "codes_bits", "has_location", "has_shape", "scales", "shapes")
    yield "};"
    yield "/** And of each `prediction` (7.3): see `Prediction` in refcodec/syntax/tools.py. */"
    yield "export const PREDICTIONS = {"
    yield from _entries(Prediction, "needs_previous", "needs_shared", "has_factor")
    yield "};"
    yield "/** Types of units that a decoder can do without. */"
    yield f"export const ANCILLARY_UNITS = {sorted(map(int, ANCILLARY_UNITS))};"
    yield "/** Roles of the tensors of networks. */"
    yield f"export const NETWORK_ROLES = {[int(r) for r in Role if r.network]};"
    yield "/** Bounds of the levels (10.2). */"
    yield "export const LEVELS = {"
    for number, level in LEVELS.items():
        bounds = ", ".join(f"{camel(f.name)}: {getattr(level, f.name)}" for f in fields(Level))
        yield f"  {number}: {{ {bounds} }},"
    yield "};"
    yield "/** Values of `neighbour_source` that are sums over all channels (6.4). */"
    yield f"export const ACTIVITY_SOURCES = {[int(s) for s in SOURCES if is_activity(s)]};"
    yield "/** Neighbours (source, dc, dz, dy, dx) of each `template_id` (A.3). */"
    yield f"export const EXPLICIT = {EXPLICIT};"
    yield "export const TEMPLATES = {"
    for template_id, template in TEMPLATES.items():
        yield f"  {template_id}: {json.dumps([[int(n) for n in neighbour] for neighbour in template])},"
    yield "};"


def _entries(points: type[CodePoint], *names: str) -> Iterator[str]:
    """Attributes of the members of a registry, numbers or truth values, by code point."""
    for member in points:
        values = ", ".join(f"{camel(n)}: {json.dumps(getattr(member, n))}" for n in names)
        yield f"  {int(member)}: {{ {values} }}, // {member.name}"


def _tables() -> Iterator[str]:
    declared = structures(vars(syn).values())
    functions = sorted({camel(f) for f in ("same", *_JavaScript.functions(declared))})
    yield "/**"
    yield " * The structures of chapter 4: lists of elements in the order in which they are coded."
    yield " * type: a descriptor (Table 2-1) or the list of another structure."
    yield " * shift: of `b2`, bits before it in its byte."
    yield " * count, when, rules: functions of v, the elements read so far, o, { v, o } of the enclosing structure, and"
    yield " * p, { header, level, payloadSize }. rules: requirement, whether it holds."
    yield " * @param {object} functions  what expressions call"
    yield " */"
    yield f"export function tables({{ {', '.join(functions)} }}) {{"
    for structure in declared:
        yield f"  const {camel(structure.name)} = ["
        yield from (f"    {_item(item)}," for item in structure.items)
        yield "  ];"
    yield f"  return {{ {', '.join(camel(s.name) for s in declared)} }};"
    yield "}"


def _item(item: Element | Nested) -> str:
    kind = camel(item.structure.name) if isinstance(item, Nested) else f"'{item.kind}'"
    found = [f"name: '{camel(item.element)}'", f"type: {kind}"]
    if isinstance(item, Element) and item.bits:
        found.append(f"shift: {item.shift}")
    if item.count is not None:
        found.append(f"count: {_function(item.count)}")
    if item.when is not None:
        found.append(f"when: {_function(item.when)}")
    if isinstance(item, Element) and item.rules:
        rules = ", ".join(f"['{rule.requirement}', {_function(rule.expression)}]" for rule in item.rules)
        found.append(f"rules: [{rules}]")
    return f"{{ {', '.join(found)} }}"


def _function(expression: Expression) -> str:
    return f"(v, o, p) => {_JavaScript().write(expression)}"


class _JavaScript(Language):
    """Expressions in JavaScript; see `_tables` for v, o and p. Integers beyond 32 bits do not take part in bitwise
    operators, and those of 64 bits in none."""

    operators = {"==": "===", "!=": "!==", "and": "&&", "or": "||", "not": "!"}
    negated = 20

    def __init__(self, local: dict[str, str] | None = None):
        self.names = local or {}

    @staticmethod
    def functions(declared: list[Structure[Any]]) -> set[str]:
        """Names of the functions that expressions call, other than those of the language."""
        called = {p.function for s in declared for item in s.items for e in item.expressions() for p in parts(e)
                  if isinstance(p, Call)}
        return called - {"abs", "len"}

    def constant(self, value: int | float | bytes, name: str) -> str:
        return str(list(value)) if isinstance(value, bytes) else repr(value)

    def members(self, members: Members) -> str:
        return str(list(members.values))

    def element(self, element: ElementRef) -> str:
        value = f"{'o.' * element.depth}v.{camel(element.name)}"
        return f"({value} ?? 0)" if element.optional else value

    def parameter(self, name: str) -> str:
        return f"p.{camel(name)}"

    def local(self, name: str) -> str:
        return self.names.get(name, name)

    def attribute(self, value: Expression, name: str) -> str:
        return f"{self.write(value, 20)}.{camel(name)}"

    def binary(self, operator: str, left: Expression, right: Expression) -> str:
        if operator == "//":
            return f"Math.floor({self.write(left, 10)} / {self.write(right, 11)})"
        return super().binary(operator, left, right)

    def comparison(self, operator: str, left: Expression, right: Expression) -> str:
        if operator == "in":
            return f"{self.write(right, 20)}.includes({self.write(left)})"
        for a, b in ((left, right), (right, left)):
            if isinstance(a, Constant) and isinstance(a.value, bytes):
                return f"same({self.write(b)}, {self.write(a)})"
        return super().comparison(operator, left, right)

    def node(self, expression: Expression) -> tuple[str, int]:
        text, precedence = super().node(expression)
        is_call = isinstance(expression, Comparison) and expression.operator == "in"
        return text, 20 if is_call else precedence

    def choice(self, choice: Choice) -> str:
        return f"{self.write(choice.test, 1)} ? {self.write(choice.then, 1)} : {self.write(choice.otherwise)}"

    def call(self, function: str, arguments: tuple[Expression, ...]) -> str:
        if function == "len":
            return f"{self.write(arguments[0], 20)}.length"
        return super().call("Math.abs" if function == "abs" else camel(function), arguments)

    def every(self, every: Every) -> str:
        first, *others = every.names
        local = {name: f"{self.write(array, 20)}[i]" for name, array in zip(others, every.arrays[1:])}
        inner = _JavaScript({**self.names, first: first, **local})
        arguments = f"({first}, i)" if others else f"({first})"
        return f"{self.write(every.arrays[0], 20)}.every({arguments} => {inner.write(every.test)})"


def update(check: bool = False) -> bool:
    """Rewrites the module where it is stale, or only says so."""
    text = module()
    if PATH.exists() and PATH.read_text("utf-8") == text:
        return False
    if not check:
        PATH.write_text(text, "utf-8")
    return True


if __name__ == "__main__":
    stale = update("--check" in sys.argv)
    if stale:
        print(f"{'stale' if '--check' in sys.argv else 'updated'}: {PATH.name}")
    sys.exit(1 if stale and "--check" in sys.argv else 0)
