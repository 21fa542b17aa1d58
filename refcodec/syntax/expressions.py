"""Conditions, counts and rules of the syntax as data.

A declaration states them as text in a small part of Python's language; `parse` makes a tree of it,
once, and functions over the tree give what the parser, the specification, the Kaitai Struct
description and the JavaScript tables need:

- names of elements of the same structure, `outer.name` for those of the enclosing one
  (`outer.outer.name` and so on), `header.name` for the sequence header, `level.name` for the bounds of
  the level, `payload_size`; `value.name` and `value[index]` reach into structures and arrays,
- integers, floats, and named constants and sets of the registries,
- arithmetic, comparisons (also chained), `in`, `and`, `or`, `not`, `a if condition else b`,
- `EXPRESSIONS[code]`, the expression that the member of a registry has (`PerMember`),
- `all(condition for x in array)`, `all(condition for x, y in zip(a, b))`, and calls of named functions.

An element that is absent counts as 0.
"""
from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import EnumType
from typing import Any, cast

from ..code_points import CodePoint


@dataclass(frozen=True, slots=True)
class Constant:
    """A number or bytes. name: as the declaration writes it; empty for a literal."""

    value: int | float | bytes
    name: str = ""


@dataclass(frozen=True, slots=True)
class Members:
    """The values of a registry. registry: an enumeration, a class of code points, or a collection of numbers."""

    name: str
    registry: Collection[int] | type = field(compare=False, repr=False)

    @property
    def values(self) -> tuple[int, ...]:
        """In ascending order, as they are now: a registry may be open."""
        return tuple(sorted(int(v) for v in self.registry))  # type: ignore[union-attr]


@dataclass(frozen=True, slots=True)
class ElementRef:
    """An element of the structure that is read, or `depth` structures further out. optional: it may be absent."""

    name: str
    depth: int = 0
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """An external parameter of a structure: `header`, `level` or `payload_size`."""

    name: str


@dataclass(frozen=True, slots=True)
class Local:
    """The variable of an `Every`."""

    name: str


@dataclass(frozen=True, slots=True)
class Attribute:
    """An element of a structure."""

    value: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Index:
    """An entry of an array."""

    value: Expression
    index: Expression


@dataclass(frozen=True, slots=True)
class Unary:
    """`-` or `not`."""

    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic on integers."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left operator right`; `in` with a `Members` on the right."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Logic:
    """`and` or `or`."""

    operator: str
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """`then if test else otherwise`."""

    test: Expression
    then: Expression
    otherwise: Expression


@dataclass(frozen=True, slots=True)
class Call:
    """A named function."""

    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Every:
    """Whether a condition holds for all entries of arrays, which are taken side by side."""

    test: Expression
    names: tuple[str, ...]
    arrays: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Symbol:
    """A quantity that a structure defines. text: as the specification writes it."""

    name: str
    text: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class PerMember:
    """An attribute of the members of a registry that holds an expression, over names of where it is used."""

    registry: type[CodePoint]
    attribute: str


@dataclass(frozen=True, slots=True)
class Selected:
    """The expression of the member of a registry whose code point `selector` gives."""

    name: str
    selector: Expression
    alternatives: PerMember = field(compare=False, repr=False)
    scope: Scope = field(compare=False, repr=False)

    def of(self, code: int) -> Expression:
        """The expression of a member."""
        return parse(self.text(code), self.scope)

    def text(self, code: int) -> str:
        """As the member writes it."""
        found: str = getattr(self.alternatives.registry.of(code), self.alternatives.attribute)
        return found

    def choice(self) -> Expression:
        """Choices over the members that are registered now; the first serves all others."""
        first, *others = map(int, self.alternatives.registry)
        default = found = self.of(first)
        for code in others:
            if (expression := self.of(code)) != default:
                found = Choice(Comparison("==", self.selector, Constant(code)), expression, found)
        return found


Expression = (Constant | Members | ElementRef | Parameter | Local | Attribute | Index | Unary | Binary | Comparison
              | Logic | Choice | Call | Every | Symbol | Selected)
Function = Callable[..., Any]

PARAMETERS = ("header", "level", "payload_size")


def _finite(value: float) -> bool:
    return value - value == 0


# Functions that every declaration may call, and their names in JavaScript.
BUILTINS: dict[str, Function] = {"abs": abs, "sum": sum, "len": len, "finite": _finite}


@dataclass(frozen=True, slots=True)
class Scope:
    """The names of a structure.

    elements: those that stand before, and whether they may be absent. symbols: quantities that the
    structure defines. names: constants, enumerations and sets. functions: by name.
    """

    elements: Mapping[str, bool]
    symbols: Mapping[str, Symbol]
    names: Mapping[str, object]
    functions: Collection[str]


_BINARY = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.Mod: "%", ast.BitAnd: "&",
           ast.LShift: "<<", ast.RShift: ">>", ast.Pow: "**"}
_COMPARISON = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.In: "in"}


def parse(text: str, scope: Scope) -> Expression:
    """The tree of an expression. Raises ValueError for one outside the language, or with an unknown name."""
    return _Parser(text, scope).parse(ast.parse(text, mode="eval").body)


class _Parser:
    def __init__(self, text: str, scope: Scope):
        self.text, self.scope = text, scope
        self.locals: tuple[str, ...] = ()

    def parse(self, node: ast.expr) -> Expression:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return Constant(value)
            case ast.Name(id=name):
                return self._name(name)
            case ast.Attribute(value=value, attr=name):
                return self._attribute(value, name)
            case ast.Subscript(value=ast.Name(id=name), slice=index) if isinstance(
                    alternatives := self.scope.names.get(name), PerMember):
                return Selected(name, self.parse(index), alternatives, self.scope)
            case ast.Subscript(value=value, slice=index):
                return Index(self.parse(value), self.parse(index))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                negated = self.parse(operand)
                if isinstance(negated, Constant) and not isinstance(negated.value, bytes):
                    return Constant(-negated.value)
                return Unary("-", negated)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Unary("not", self.parse(operand))
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _BINARY:
                return _folded(Binary(_BINARY[type(operator)], self.parse(left), self.parse(right)))
            case ast.Compare(left=left, ops=operators, comparators=others):
                return self._comparison(left, operators, others)
            case ast.BoolOp(op=operator, values=values):
                return Logic("and" if isinstance(operator, ast.And) else "or", tuple(map(self.parse, values)))
            case ast.IfExp(test=test, body=then, orelse=otherwise):
                return Choice(self.parse(test), self.parse(then), self.parse(otherwise))
            case ast.Call(func=ast.Name(id="all"), args=[ast.GeneratorExp() as generator], keywords=[]):
                return self._every(generator)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in self.scope.functions:
                return Call(name, tuple(map(self.parse, arguments)))
        raise ValueError(f"{self.text!r}: {ast.unparse(node)!r} is not in the language of declarations")

    def _name(self, name: str) -> Expression:
        scope = self.scope
        if name in self.locals:
            return Local(name)
        if name in scope.elements:
            return ElementRef(name, 0, scope.elements[name])
        if name in scope.symbols:
            return scope.symbols[name]
        if name in PARAMETERS:
            return Parameter(name)
        if name in scope.names:
            return _registered(name, scope.names[name])
        raise ValueError(f"{self.text!r}: nothing before it is called {name!r}")

    def _attribute(self, node: ast.expr, name: str) -> Expression:
        depth, inner = 1, node
        while isinstance(inner, ast.Attribute) and inner.attr == "outer":
            depth, inner = depth + 1, inner.value
        if isinstance(inner, ast.Name) and inner.id == "outer":
            return ElementRef(name, depth)
        if isinstance(node, ast.Name) and node.id in self.scope.names:
            kind: Any = self.scope.names[node.id]
            return Constant(int(kind[name]), f"{node.id}.{name}")
        return Attribute(self.parse(node), name)

    def _comparison(self, left: ast.expr, operators: list[ast.cmpop], others: list[ast.expr]) -> Expression:
        operands = [self.parse(o) for o in (left, *others)]
        if any(type(o) not in _COMPARISON for o in operators):
            raise ValueError(f"{self.text!r}: a comparison outside the language of declarations")
        parts = tuple(Comparison(_COMPARISON[type(o)], a, b) for o, a, b in zip(operators, operands, operands[1:]))
        return parts[0] if len(parts) == 1 else Logic("and", parts)

    def _every(self, generator: ast.GeneratorExp) -> Expression:
        match generator.generators:
            case [ast.comprehension(target=ast.Name(id=name), iter=array, ifs=[])]:
                names: tuple[str, ...] = (name,)
                arrays: tuple[Expression, ...] = (self.parse(array),)
            case [ast.comprehension(target=ast.Tuple(elts=targets), ifs=[],
                                    iter=ast.Call(func=ast.Name(id="zip"), args=zipped))]:
                names = tuple(t.id for t in targets if isinstance(t, ast.Name))
                arrays = tuple(map(self.parse, zipped))
            case _:
                raise ValueError(f"{self.text!r}: `all` takes one array, or arrays in a zip")
        before, self.locals = self.locals, (*self.locals, *names)
        try:
            return Every(self.parse(generator.elt), names, arrays)
        finally:
            self.locals = before


def _registered(name: str, value: object) -> Expression:
    if isinstance(value, (int, float, bytes)):
        return Constant(value, name)
    return Members(name, cast("Collection[int]", value))


def _folded(expression: Binary) -> Expression:
    if isinstance(expression.left, Constant) and isinstance(expression.right, Constant):
        return Constant(eval(python(expression)))  # noqa: S307 - two numbers and an operator
    return expression


def parts(expression: Expression) -> Iterator[Expression]:
    """The expression and everything in it, the definitions of symbols included."""
    yield expression
    if isinstance(expression, Selected):
        yield from parts(expression.choice())
    for f in fields(expression):
        value = getattr(expression, f.name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Expression):
                yield from parts(part)


def elements(expression: Expression) -> set[str]:
    """Names of the elements of the structure itself that an expression refers to."""
    return {p.name for p in parts(expression) if isinstance(p, ElementRef) and p.depth == 0}


# Precedence of operators, in all four languages alike; what binds less gets parentheses.
_ATOM, _NEGATIVE = 20, 11
_PRECEDENCE = {"or": 1, "and": 2, "not": 3, "compare": 4, "&": 7, "<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "//": 10,
               "%": 10, "**": 12}


class Language:
    """Writer of trees in one language; subclasses override what differs from Python."""

    operators: Mapping[str, str] = {}
    negated = _PRECEDENCE["compare"]  # what `not` takes without parentheses

    def write(self, expression: Expression, least: int = 0) -> str:
        """The expression as text. least: what binds less is put in parentheses."""
        text, precedence = self.node(expression)
        return f"({text})" if precedence < least else text

    def node(self, expression: Expression) -> tuple[str, int]:
        """The text of a node and how tightly it binds."""
        match expression:
            case Constant(value=value, name=name):
                return self.constant(value, name), _ATOM if isinstance(value, bytes) or value >= 0 else _NEGATIVE
            case Members():
                return self.members(expression), _ATOM
            case ElementRef():
                return self.element(expression), _ATOM
            case Parameter(name=name):
                return self.parameter(name), _ATOM
            case Local(name=name):
                return self.local(name), _ATOM
            case Symbol():
                return self.symbol(expression)
            case Attribute(value=value, name=name):
                return self.attribute(value, name), _ATOM
            case Index(value=value, index=index):
                return f"{self.write(value, _ATOM)}[{self.write(index)}]", _ATOM
            case Unary(operator=operator, operand=operand):
                if operator == "-":
                    return f"-{self.write(operand, _NEGATIVE)}", _NEGATIVE
                word = self.operators.get("not", "not ")
                return word + self.write(operand, self.negated), _PRECEDENCE["not"]
            case Binary(operator=operator, left=left, right=right):
                return self.binary(operator, left, right), _PRECEDENCE[operator]
            case Comparison(operator=operator, left=left, right=right):
                return self.comparison(operator, left, right), _PRECEDENCE["compare"]
            case Logic(operator=operator, operands=operands):
                precedence = _PRECEDENCE[operator]
                word = f" {self.operators.get(operator, operator)} "
                # A comparison of conditions, and `or` in `and`, are put in parentheses.
                return word.join(self.write(o, precedence + 1) for o in operands), precedence
            case Choice():
                return self.choice(expression), 0
            case Selected():
                return self.node(expression.choice())
            case Call(function=function, arguments=arguments):
                return self.call(function, arguments), _ATOM
            case Every():
                return self.every(expression), _ATOM

    def constant(self, value: int | float | bytes, name: str) -> str:
        return repr(value)

    def members(self, members: Members) -> str:
        raise NotImplementedError

    def element(self, element: ElementRef) -> str:
        raise NotImplementedError

    def parameter(self, name: str) -> str:
        return name

    def local(self, name: str) -> str:
        return name

    def symbol(self, symbol: Symbol) -> tuple[str, int]:
        return self.node(symbol.expression)

    def attribute(self, value: Expression, name: str) -> str:
        return f"{self.write(value, _ATOM)}.{name}"

    def binary(self, operator: str, left: Expression, right: Expression) -> str:
        precedence = _PRECEDENCE[operator]
        word = self.operators.get(operator, operator)
        return f"{self.write(left, precedence)} {word} {self.write(right, precedence + 1)}"

    def comparison(self, operator: str, left: Expression, right: Expression) -> str:
        """`left operator right`; not for `in` where a language has no such operator."""
        least = _PRECEDENCE["compare"] + 1
        return f"{self.write(left, least)} {self.operators.get(operator, operator)} {self.write(right, least)}"

    def choice(self, choice: Choice) -> str:
        return f"{self.write(choice.then, 1)} if {self.write(choice.test, 1)} else {self.write(choice.otherwise)}"

    def call(self, function: str, arguments: tuple[Expression, ...]) -> str:
        return f"{function}({', '.join(map(self.write, arguments))})"

    def every(self, every: Every) -> str:
        raise NotImplementedError


class Spelled(Language):
    """A language that says `x in MEMBERS` by comparisons."""

    def node(self, expression: Expression) -> tuple[str, int]:
        if isinstance(expression, Comparison) and isinstance(expression.right, Members):
            equal = tuple(Comparison("==", expression.left, Constant(v)) for v in expression.right.values)
            return super().node(equal[0] if len(equal) == 1 else Logic("or", equal))
        return super().node(expression)


class Specification(Spelled):
    """As the condition column of the specification's tables says it."""

    def constant(self, value: int | float | bytes, name: str) -> str:
        return name if isinstance(value, bytes) else str(value)

    def element(self, element: ElementRef) -> str:
        return element.name

    def symbol(self, symbol: Symbol) -> tuple[str, int]:
        return symbol.text, _ATOM

    def attribute(self, value: Expression, name: str) -> str:
        return name if isinstance(value, Parameter) else super().attribute(value, name)


class Python(Language):
    """For `eval`. v: the values read so far. o: (the values, the o) of the enclosing structure. p: the parameters."""

    def node(self, expression: Expression) -> tuple[str, int]:
        if isinstance(expression, Selected):  # looked up when it is evaluated: the registry is open
            return f"{expression.name}[{self.write(expression.selector)}](v, o, p)", _ATOM
        return super().node(expression)

    def members(self, members: Members) -> str:
        return members.name

    def element(self, element: ElementRef) -> str:
        place = "v" if element.depth == 0 else f"o{'[1]' * (element.depth - 1)}[0]"
        found = f"{place}[{element.name!r}]"
        return f"({found} or 0)" if element.optional else found

    def parameter(self, name: str) -> str:
        return f"p.{name}"

    def every(self, every: Every) -> str:
        arrays = ", ".join(map(self.write, every.arrays))
        names, source = ", ".join(every.names), arrays if len(every.names) == 1 else f"zip({arrays})"
        return f"all([{self.write(every.test)} for {names} in {source}])"


def text(expression: Expression) -> str:
    """As the specification writes it."""
    return Specification().write(expression)


def python(expression: Expression) -> str:
    """As Python source of v, o and p; see `Python`."""
    return Python().write(expression)


class _Alternatives:
    """The compiled expressions of the members of a registry, each made when it is first used."""

    def __init__(self, selected: Selected, functions: Mapping[str, Function]):
        self.selected, self.functions = selected, functions
        self.made: dict[str, Function] = {}

    def __getitem__(self, code: int) -> Function:
        text = self.selected.text(code)
        if text not in self.made:
            self.made[text] = compiled(self.selected.of(code), self.functions)
        return self.made[text]


def compiled(expression: Expression, functions: Mapping[str, Function]) -> Callable[[Any, Any, Any], Any]:
    """A function (v, o, p) of an expression; see `Python`."""
    names: dict[str, Any] = {"__builtins__": {"all": all, "zip": zip}, **functions}
    for part in parts(expression):
        if isinstance(part, Members):  # enumerations do not change, and look up slowly
            closed = isinstance(part.registry, EnumType)
            names[part.name] = frozenset(part.values) if closed else part.registry
        elif isinstance(part, Selected):
            names[part.name] = _Alternatives(part, functions)
    function: Callable[[Any, Any, Any], Any] = eval(f"lambda v, o, p: {python(expression)}", names)  # noqa: S307
    return function
