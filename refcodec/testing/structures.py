"""Arbitrary structures of the syntax, valid ones and ones that break one rule, made from the declarations.

    from refcodec.syntax.structures import GROUP_HEADER
    from refcodec.testing.structures import structures

    @given(structures(GROUP_HEADER, Parameters(LEVELS[1], header, None)))
    def test_group_headers(value): ...

The allowed values of an element are solved from the expressions of its rules where these compare it, or the entries of
its array, with known values; the rest is sampled and rejected.
"""
from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import assume, strategies as st

from ..syntax.declare import Element, Nested, Outer, Parameters, Rule, Structure, Values
from ..syntax.expressions import (
    Binary,
    Call,
    Choice,
    Comparison,
    ElementRef,
    Every,
    Expression,
    Local,
    Logic,
    Members,
    Symbol,
    Unary,
    compiled,
    parts,
)

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[Any]], Any]
Interval = tuple[float, float]  # both ends included

_LARGEST = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
_RANGES: dict[str, Interval] = {
    **{f"u{n}": (0, 2**n - 1) for n in (8, 16, 32, 64)},
    **{f"s{n}": (-(2 ** (n - 1)), 2 ** (n - 1) - 1) for n in (8, 16, 32)},
    **{f"b{n}": (0, 2**n - 1) for n in range(1, 8)}, "uv": (0, 2**32 - 1), "sv": (-(2**31), 2**31 - 1),
    "f32": (-_LARGEST, _LARGEST),
}
_LONGEST = 4  # of arrays and lists whose length an element says
_SMALL = 1000  # bound of values that a rule says something of that is not understood
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


class _NotUnderstood(Exception):
    """An expression does not say by itself which values it allows."""


@st.composite
def structures(draw: Draw, structure: Structure[T], parameters: Parameters, outer: Outer = None) -> T:
    """Valid values of a structure. outer: of the enclosing one, where its expressions refer to it."""
    values: Values = {}
    for item in structure.items:
        values[item.element] = _item(draw, structure, item, values, outer, parameters)
    return structure.kind(**values)


@st.composite
def breaking(draw: Draw, structure: Structure[Any], element: Element, rule: Rule, parameters: Parameters,
             outer: Outer = None) -> Values:
    """Values of a structure up to `element`, whose value breaks `rule` and no rule before it."""
    values: Values = {}
    for item in structure.items:
        values[item.element] = _item(draw, structure, item, values, outer, parameters)
        if item is element:
            break
    assume(values[element.element] is not None)
    earlier = element.rules[: element.rules.index(rule)]

    def breaks(value: Any) -> bool:
        tried = {**values, element.element: value}
        return (not rule.holds(tried, outer, parameters)
                and all(r.holds(tried, outer, parameters) for r in earlier))

    found = [value for value in _strange(element, values[element.element]) if breaks(value)]
    assume(found)
    values[element.element] = draw(st.sampled_from(found))
    return values


def _item(draw: Draw, structure: Structure[Any], item: Element | Nested, values: Values, outer: Outer,
          parameters: Parameters) -> Any:
    def known(expression: Expression | None) -> Any:
        return compiled(expression, structure.functions)(values, outer, parameters) if expression is not None else None

    if item.when is not None and not known(item.when):
        return None
    count = known(item.count)
    if isinstance(item, Nested):
        one = structures(item.structure, parameters, (values, outer))
        return draw(one) if count is None else tuple([draw(one) for _ in range(count)])
    constraints = [*(r.expression for r in item.rules), *_later(structure, item)]
    if item.kind == "bytes":
        value = draw(_bytes(constraints, count))
    elif count is None:
        counts = any(item.element in _factors(i.count) for i in structure.items if i.count is not None)
        longest = _LONGEST if counts else None
        value = draw(_numbers(structure, item, constraints, longest, values, outer, parameters))
    else:
        value = _array(draw, structure, item, constraints, count, values, outer, parameters)
    for rule in item.rules:
        assume(rule.holds({**values, item.element: value}, outer, parameters))
    return value


def _factors(expression: Expression) -> set[str]:
    """Elements that a number of repetitions is a sum or product of."""
    match expression:
        case ElementRef(name=name, depth=0):
            return {name}
        case Binary(left=left, right=right):
            return _factors(left) | _factors(right)
        case Symbol(expression=inner):
            return _factors(inner)
    return set()


def _later(structure: Structure[Any], element: Element) -> list[Expression]:
    """Rules of later elements that concern the entries of this one alone."""
    found: list[Expression] = []
    for item in structure.items[structure.items.index(element) + 1 :]:
        for rule in item.rules if isinstance(item, Element) else ():
            for every in (p for p in parts(rule.expression) if isinstance(p, Every)):
                for name, array in zip(every.names, every.arrays):
                    if array == ElementRef(element.element) and len(every.names) > 1:
                        alone = [o for o in _operands(every.test) if _locals(o) == {name}]
                        found += [Every(o, (name,), (array,)) for o in alone]
    return found


def _operands(expression: Expression) -> tuple[Expression, ...]:
    if isinstance(expression, Logic) and expression.operator == "and":
        return tuple(p for o in expression.operands for p in _operands(o))
    return (expression,)


def _locals(expression: Expression) -> set[str]:
    return {p.name for p in parts(expression) if isinstance(p, Local)}


# Numbers


def _numbers(structure: Structure[Any], item: Element, constraints: Sequence[Expression], longest: int | None,
             values: Values, outer: Outer, parameters: Parameters) -> st.SearchStrategy[Any]:
    allowed, vague = [_RANGES[item.kind]], False
    for constraint in constraints:
        try:
            solver = _Solver(ElementRef(item.element), _RANGES[item.kind], structure, (values, outer, parameters), {})
            allowed = _common(allowed, solver.solve(constraint))
        except _NotUnderstood:
            vague = True
    if longest is not None or vague:
        low = min((a for a, _ in allowed), default=0)
        allowed = _common(allowed, [(low, low + (longest or _SMALL))]) or allowed
    if vague:
        tried = [v for a, b in allowed for v in range(int(a), int(b) + 1) if all(
            compiled(c, structure.functions)({**values, item.element: v}, outer, parameters) for c in constraints)]
        assume(tried)
        return st.sampled_from(tried)
    return _within(item.kind, allowed)


def _within(kind: str, allowed: Sequence[Interval]) -> st.SearchStrategy[Any]:
    assume(allowed)
    if kind == "f32":
        return st.one_of([st.floats(a, b, width=32) for a, b in allowed])
    return st.one_of([st.integers(int(a), int(b)) for a, b in allowed])


def _array(draw: Draw, structure: Structure[Any], item: Element, constraints: Sequence[Expression], count: int,
           values: Values, outer: Outer, parameters: Parameters) -> tuple[Any, ...]:
    if any(p.function == "rigid" for c in constraints for p in parts(c) if isinstance(p, Call)):
        pose: tuple[Any, ...] = draw(_poses())
        return pose
    if not constraints and item.kind in ("s8", "s16", "s32", "u8", "u16", "u32"):  # many at once
        letter = {"8": "b", "16": "h", "32": "i"}[item.kind[1:]]
        letter = letter if item.kind[0] == "s" else letter.upper()
        size = struct.calcsize(f"<{count}{letter}")
        return struct.unpack(f"<{count}{letter}", draw(st.binary(min_size=size, max_size=size)))
    chosen: list[Expression] = []
    for constraint in constraints:
        for operand in _operands(constraint):
            if isinstance(operand, Logic):  # one of several ways
                operand = draw(st.sampled_from(operand.operands))
            chosen.append(operand)
    found = []
    for i in range(count):
        allowed = [_RANGES[item.kind]]
        for operand in chosen:
            names, others = None, {}
            if isinstance(operand, Every):
                for name, array in zip(operand.names, operand.arrays):
                    if array == ElementRef(item.element):
                        names = name
                    else:
                        others[name] = compiled(array, structure.functions)(values, outer, parameters)[i]
            try:
                if names is None or not isinstance(operand, Every):
                    raise _NotUnderstood
                solver = _Solver(Local(names), _RANGES[item.kind], structure, (values, outer, parameters), others)
                allowed = _common(allowed, solver.solve(operand.test))
            except _NotUnderstood:
                allowed = _common(allowed, [(0, _SMALL)])
        found.append(draw(_within(item.kind, allowed)))
    return tuple(found)


class _Solver:
    """Which numbers in `domain` an expression allows for `target`, all else being known."""

    def __init__(self, target: ElementRef | Local, domain: Interval, structure: Structure[Any],
                 scope: tuple[Values, Outer, Parameters], local: dict[str, Any]):
        self.target, self.domain, self.structure, self.scope, self.local = target, domain, structure, scope, local
        self.is_float = domain[1] == _LARGEST

    def _mentions(self, expression: Expression) -> bool:
        return any(p == self.target or isinstance(p, ElementRef) and isinstance(self.target, ElementRef)
                   and (p.name, p.depth) == (self.target.name, 0) for p in parts(expression))

    def _known(self, expression: Expression) -> Any:
        return compiled(expression, {**self.structure.functions, **self.local})(*self.scope)

    def solve(self, expression: Expression) -> list[Interval]:
        """Raises _NotUnderstood."""
        if not self._mentions(expression):
            return [self.domain] if self._known(expression) else []
        match expression:
            case Logic(operator=operator, operands=operands):
                found = [self.solve(o) for o in operands]
                if operator == "or":
                    return [i for intervals in found for i in intervals]
                allowed = [self.domain]
                for intervals in found:
                    allowed = _common(allowed, intervals)
                return allowed
            case Unary(operator="not", operand=operand):
                return self._complement(self.solve(operand))
            case Choice(test=test, then=then, otherwise=otherwise) if not self._mentions(test):
                return self.solve(then if self._known(test) else otherwise)
            case Call(function="finite"):
                return [self.domain]
            case Comparison(operator="in", left=left, right=Members(values=values)) if left == self.target:
                return _common([self.domain], [(v, v) for v in values])
            case Comparison(operator=operator, left=left, right=right):
                if self._mentions(right):
                    left, right, operator = right, left, _MIRRORED[operator]
                if self._mentions(right):
                    raise _NotUnderstood
                return self._compared(operator, left, self._known(right))
        raise _NotUnderstood

    def _compared(self, operator: str, left: Expression, bound: Any) -> list[Interval]:
        if operator == "==" and isinstance(left, (Comparison, Logic, Unary)):
            return self.solve(left) if bound else self._complement(self.solve(left))
        if isinstance(left, Call) and left.function == "abs" and left.arguments == (self.target,) and operator in "<=":
            least = bound if operator == "<=" else self._before(bound)
            return _common([self.domain], [(-least, least)])
        if left != self.target:
            raise _NotUnderstood
        low, high = self.domain
        intervals = {"<": [(low, self._before(bound))], "<=": [(low, bound)], ">": [(self._after(bound), high)],
                     ">=": [(bound, high)], "==": [(bound, bound)],
                     "!=": [(low, self._before(bound)), (self._after(bound), high)]}[operator]
        return _common([self.domain], intervals)

    def _before(self, value: float) -> float:
        return -self._after(-value)

    def _after(self, value: float) -> float:
        if not self.is_float:
            return value + 1
        step = max(abs(value) * 2.0**-22, 2.0**-126)  # at least one binary32 further
        return float(struct.unpack("<f", struct.pack("<f", value + step))[0])

    def _complement(self, intervals: Sequence[Interval]) -> list[Interval]:
        allowed = [self.domain]
        for a, b in intervals:
            allowed = _common(allowed, [(self.domain[0], self._before(a)), (self._after(b), self.domain[1])])
        return allowed


def _common(first: Sequence[Interval], second: Sequence[Interval]) -> list[Interval]:
    return [(max(a, c), min(b, d)) for a, b in first for c, d in second if max(a, c) <= min(b, d)]


# Bytes and poses


def _bytes(constraints: Sequence[Expression], count: int) -> st.SearchStrategy[bytes]:
    """Bytes of a length that the constraints allow: constants, keys, text, or any."""
    for part in (p for c in constraints for p in parts(c)):
        if isinstance(part, Comparison):
            return st.just(getattr(part.right, "value"))  # noqa: B009 - of a constant
        if isinstance(part, Call) and part.function == "is_key":
            assume(1 <= count <= 64)
            return st.text("abcxyz019._-", min_size=count, max_size=count).map(str.encode)
        if isinstance(part, Call) and part.function == "utf8":
            wide = st.just(("ä" * (count // 2) + "z" * (count % 2)).encode())
            return st.text("abcXYZ 0189\n", min_size=count, max_size=count).map(str.encode) | wide
    return st.binary(min_size=count, max_size=count)


@st.composite
def _poses(draw: Draw) -> tuple[float, ...]:
    """Three rows of a rigid pose, of binary32 numbers."""
    w, x, y, z = (draw(st.floats(-1, 1)) for _ in range(4))
    n = math.sqrt(w * w + x * x + y * y + z * z)
    assume(n > 0.1)
    w, x, y, z = w / n, x / n, y / n, z / n
    rows = ((1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)))
    numbers = [v for row in rows for v in (*row, draw(st.floats(-1e3, 1e3, width=32)))]
    return struct.unpack("<12f", struct.pack("<12f", *numbers))


def _strange(element: Element, value: Any) -> list[Any]:
    """Values of an element's type that a rule may not allow, near the bounds that its rules mention among them."""
    if isinstance(value, bytes):
        return [b"\xff" * len(value), b"A" * len(value), bytes(len(value))]
    low, high = _RANGES[element.kind]
    bounds = {v for r in element.rules for p in parts(r.expression)
              for v in (p.values if isinstance(p, Members) else (getattr(p, "value", None),))
              if isinstance(v, (int, float))}
    numbers: list[float] = [low, high, *(b + d for b in bounds for d in (-1, 0, 1))]
    numbers += [-n for n in numbers]
    near = value if isinstance(value, tuple) else (value,)
    numbers += [n + d for n in near for d in (-1, 1)]
    if element.kind == "f32":
        numbers += [math.nan, math.inf, -math.inf]
        scalars = [struct.unpack("<f", struct.pack("<f", n))[0] for n in numbers if not abs(n) > high or math.isinf(n)]
    else:
        scalars = [int(n) for n in numbers if low <= n <= high]
    if not isinstance(value, tuple):
        return scalars
    changed = [(*value[:i], n, *value[i + 1 :]) for i in range(len(value)) for n in scalars]
    return [*changed, *((n,) * len(value) for n in scalars), (type(value[0])(0),) * len(value) if value else ()]
