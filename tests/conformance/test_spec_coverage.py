"""The vectors reach every statement and both outcomes of every condition of the specification's pseudo-code."""
from __future__ import annotations

import ast

import pytest

import spec_decoder
from checkout import ROOT
from refcodec.spec import pseudo_code

SUITE = ROOT / "conformance"

# Outcomes that no file can bring about: (condition, outcome) -> why.
UNREACHABLE: dict[tuple[str, bool], str] = {
    ("unit_type == END", False): "all other types have been dealt with before",
}


class _Instrument(ast.NodeTransformer):
    """Reports statements as they are reached and conditions as they are decided.

    A condition is what `if`, `while`, a conditional expression, a comprehension's
    `if` or `require` tests, and each operand of its `and` and `or`.
    """

    def __init__(self):
        self.statements: set[int] = set()
        self.conditions: dict[int, str] = {}

    def visit(self, node):
        node = super().visit(node)
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                setattr(node, name, [part for s in block for part in (self._reached(s), s)])
        return node

    def _reached(self, statement: ast.stmt) -> ast.stmt:
        self.statements.add(statement.lineno)
        return ast.parse(f"_reached({statement.lineno})").body[0]

    def _decided(self, test: ast.expr) -> ast.expr:
        if isinstance(test, ast.Constant):  # `while True`
            return test
        number = len(self.conditions)
        self.conditions[number] = ast.unparse(test)
        if isinstance(test, ast.BoolOp):
            test.values = [self._decided(v) for v in test.values]
        call = ast.parse(f"_decided({number}, 0)", mode="eval").body
        call.args[1] = test
        return call

    def _test(self, node):
        node = self.generic_visit(node)
        node.test = self._decided(node.test)
        return node

    visit_If = visit_While = visit_IfExp = _test

    def visit_comprehension(self, node):
        node = self.generic_visit(node)
        node.ifs = [self._decided(test) for test in node.ifs]
        return node

    def visit_Call(self, node):
        node = self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "require":
            node.args[0] = self._decided(node.args[0])
        return node


def _measure(streams) -> tuple[set[str], set[tuple[str, bool]], int, int]:
    """What running the pseudo-code over the streams leaves out: statements and outcomes, and how many there are."""
    source = pseudo_code(spec_decoder.SPEC)
    instrument = _Instrument()
    tree = ast.fix_missing_locations(instrument.visit(ast.parse(source)))
    reached: set[int] = set()
    decided: set[tuple[int, bool]] = set()

    def note(number, value):
        decided.add((number, bool(value)))
        return value

    space = {"__name__": "spec", "_reached": reached.add, "_decided": note}
    exec(compile(tree, "instrumented pseudo-code", "exec"), space)
    for data in streams:
        try:
            space["decode"](data, lambda frame, d: None)
        except space["Refused"]:
            pass
    lines = source.splitlines()
    missed = {lines[n - 1].strip() for n in instrument.statements - reached}
    outcomes = {(number, value) for number in instrument.conditions for value in (True, False)}
    undecided = {(instrument.conditions[number], value) for number, value in outcomes - decided}
    return missed, undecided, len(instrument.statements), len(outcomes)


@pytest.mark.longest
def test_vectors_reach_every_branch_of_the_pseudo_code(record_property):
    streams = [path.read_bytes() for path in sorted(SUITE.glob("vectors/*/*/stream.rfv"))]
    missed, undecided, statements, outcomes = _measure(streams)
    record_property("statements", statements)
    record_property("outcomes", outcomes)
    assert not missed
    assert undecided == set(UNREACHABLE), sorted(undecided ^ set(UNREACHABLE))


def test_the_measure_notices_what_is_left_out():
    one = (SUITE / "vectors/valid/minimal/stream.rfv").read_bytes()
    missed, undecided, _, _ = _measure([one])
    assert "properties = part(data, at, 1)[0]" in missed
    assert ("head[11] in LEVELS", False) in undecided
