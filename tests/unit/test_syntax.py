"""The declared syntax: expressions in every language, and round trips and broken rules of arbitrary structures."""
from __future__ import annotations

import dataclasses
import io
import json
import shutil
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from refcodec.errors import BitstreamError
from refcodec.syntax import structures as syn
from refcodec.syntax.coding import band_count
from refcodec.syntax.declare import (
    Element,
    Nested,
    Parameters,
    Structure,
    Trace,
    element,
    nested,
    structures as declared,
    syntax,
)
from refcodec.syntax.expressions import BUILTINS, Scope, compiled, parse, text
from refcodec.syntax.javascript import _JavaScript
from refcodec.syntax.kaitai import _Kaitai
from refcodec.syntax.registry import LEVELS
from refcodec.testing.structures import breaking, structures


@dataclasses.dataclass
class Header:
    """As much of a sequence header as other units refer to."""

    scene_count: int = 3
    digest_type: int = 1


PARAMETERS = Parameters(LEVELS[1], Header(), None)
ALL = declared(vars(syn).values())
ROOTS = [s for s in ALL if s is not syn.NEIGHBOUR]
RULES = [(s, item, rule) for s in ALL for item in s.items if isinstance(item, Element) for rule in item.rules]
relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck))


def parameters(structure: Structure, entries: int = 2) -> Parameters:
    return dataclasses.replace(PARAMETERS, payload_size=4 + 13 * entries if structure is syn.INDEX else None)


@pytest.mark.parametrize("structure", ROOTS, ids=lambda s: s.name)
def test_what_is_built_is_read_again(structure):
    @settings(relaxed, max_examples=25)
    @given(st.data(), st.integers(0, 4))
    def check(data, entries):
        given_with = parameters(structure, entries)
        value = data.draw(structures(structure, given_with))
        built = structure.build(value, level=given_with.level, header=given_with.header,
                                payload_size=given_with.payload_size)
        read, trace = structure.parse(built, 100, level=given_with.level, header=given_with.header)
        assert read == value and type(read) is structure.kind
        assert sum(s.length for s in trace.spans) == len(built)
        assert all(s.offset >= 100 for s in trace.spans)

    check()


@pytest.mark.parametrize("structure, item, rule", RULES, ids=lambda x: getattr(
    x, "name", None) or getattr(x, "element", None) or getattr(x, "requirement", None))
def test_every_rule_is_checked_where_its_element_is_read(structure, item, rule):
    broken = 0

    @settings(relaxed, max_examples=5)
    @given(st.data(), st.sampled_from([0, 1]))
    def check(data, mode):
        nonlocal broken
        given_with, outer = parameters(structure), ({"channel_mode": mode}, None)
        values = data.draw(breaking(structure, item, rule, given_with, outer))
        stream = io.BytesIO()
        for part in structure.items[: structure.items.index(item) + 1]:
            part.write(stream, values, outer, replace(given_with, checked=False))
        trace, at = Trace(7, ["x"]), io.BytesIO(stream.getvalue() + bytes(64))
        with pytest.raises(BitstreamError) as error:
            structure.read(at, trace, outer, given_with)
        assert (error.value.requirement, error.value.element) == (rule.requirement, f"x.{item.element}")
        assert error.value.offset == trace.spans[-1].offset == trace.offset(f"x.{item.element}")
        broken += 1

    check()
    assert broken


SCOPE = Scope({"a": False, "b": True, "c": False, "list": False, "other": False}, {},
              {"FOUR": 4, "ODD": [1, 3, 5], "MAGIC": b"ab"}, {*BUILTINS, "known"})
VALUES = dict(a=3, b=None, c=-2, list=(1, 2, 3), other=(2, 3, 4))


@pytest.mark.parametrize("source, value", [
    ("a + 2 * c", -1), ("(a + 2) * c", -10), ("a - (c - 1)", 6), ("b + 1", 1), ("-c", 2), ("2**10 - 1", 1023),
    ("a // 2", 1), ("a % 2 == 1", True), ("a & 1 << 1", 2), ("1 <= a <= FOUR", True), ("1 <= c <= FOUR", False),
    ("a in ODD", True), ("not a in ODD", False), ("c in ODD or a == 3 and not b > 0", True),
    ("(a > 0) == (c > 0)", False), ("7 if a == 3 else 8", 7), ("1 if a == 1 else 2 if a == 2 else FOUR", 4),
    ("all(x < FOUR for x in list)", True), ("all(x < y for x, y in zip(list, other))", True),
    ("all(x < 3 for x in list)", False), ("sum(list) == 6", True), ("len(list) + abs(c)", 5), ("list[1]", 2),
    ("list[a - 1] == 3", True), ("outer.n + 1", 11), ("outer.outer.n", 20), ("header.tensors[a].channels", 12),
    ("level.group_frames > 1", True), ("known(a, c)", 1),
])
def test_expressions_mean_the_same_in_python_and_javascript(source, value, node):
    header = SimpleNamespace(tensors=[None, None, None, SimpleNamespace(channels=12)])
    expression = parse(source, SCOPE)
    outer = ({"n": 10}, ({"n": 20}, None))
    found = compiled(expression, {**BUILTINS, "known": lambda x, y: x + y})(
        VALUES, outer, Parameters(LEVELS[1], header, None))
    assert found == value
    assert node(_JavaScript().write(expression)) == value


@pytest.fixture(scope="module")
def node():
    """A function that evaluates JavaScript expressions of v, o and p in node."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    program = """
const v = { a: 3, b: null, c: -2, list: [1, 2, 3], other: [2, 3, 4] };
const o = { v: { n: 10 }, o: { v: { n: 20 }, o: null } };
const p = { header: { tensors: [null, null, null, { channels: 12 }] }, level: { groupFrames: 256 } };
const sum = (x) => x.reduce((a, b) => a + b, 0);
const known = (x, y) => x + y;
require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  console.log(JSON.stringify(eval(line)));
});
"""
    with subprocess.Popen(["node", "-e", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        def evaluate(source: str):
            process.stdin.write(source + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield evaluate
        process.stdin.close()


@pytest.mark.parametrize("source", [
    "a.b()", "lambda: a", "[x for x in list]", "print(a)", "unknown > 1", "a if b", "a is None", "f'{a}'", "a; b",
    "__import__('os')", "all([a])", "a @ b", "'text'", "all(x for x in list if x)"])
def test_what_is_no_expression_is_refused(source):
    with pytest.raises((ValueError, SyntaxError)):
        parse(source, SCOPE)


@syntax("term", "9.9")
class TermSyntax:
    factor_count: int = element("u8", "Number of factors.", {"R-SEQ-09": "1 <= factor_count <= outer.factor_limit"})
    factor: tuple[int, ...] = element("u8", "Tensors.", {"R-SEQ-09": "all(f < len(outer.axes) for f in factor)"},
                                      count="factor_count")


TERM = Structure(TermSyntax)


@syntax("rule", "9.9", symbols={"T": "sum(axes)"})
class RuleSyntax:
    factor_limit: int = element("u8", "Factors of a term at most.")
    axis_count: int = element("u8", "Number of tensors.")
    axes: tuple[int, ...] = element("u8", "Axes of each tensor.", count="axis_count")
    time: int | None = element("u16", "There with a time axis.", when="axes[0] == 4")
    term: tuple[TermSyntax, ...] = nested(TERM, count="T - time")
    channels: tuple[int, ...] = element("u16", "As many as the header's first tensor has.",
                                        count="header.tensors[0].channels")


RULE = Structure(RuleSyntax)


def test_counts_may_refer_to_arrays_enclosing_structures_and_the_header():
    header = SimpleNamespace(tensors=[SimpleNamespace(channels=2)])
    value = RuleSyntax(factor_limit=2, axis_count=2, axes=(1, 2), time=None, channels=(7, 9), term=(
        TermSyntax(factor_count=1, factor=(0,)), TermSyntax(factor_count=2, factor=(1, 0)),
        TermSyntax(factor_count=1, factor=(1,))))
    data = RULE.build(value, header=header)
    assert data == bytes([2, 2, 1, 2, 1, 0, 2, 1, 0, 1, 1, 7, 0, 9, 0])
    assert RULE.parse(data, 0, header=header)[0] == value
    bad = data[:4] + bytes([3]) + data[5:]
    with pytest.raises(BitstreamError, match="R-SEQ-09") as error:
        RULE.parse(bad, 0, header=header)
    assert error.value.element == "rule.term[0].factor_count" and error.value.offset == 4
    items = {item.element: item for item in RULE.items}
    assert (items["term"].count_text, items["time"].when_text) == ("T - time", "axes[0] == 4")
    assert _Kaitai(RULE).write(items["channels"].count) == "_root.sequence_header.tensors[0].channels"


def test_a_name_that_stands_nowhere_before_is_refused():
    @syntax("other", "9.9")
    class OtherSyntax:
        term: TermSyntax = nested(TERM)

    with pytest.raises(ValueError, match="nothing before it is called 'factor_limit'"):
        _ = Structure(OtherSyntax).items


def test_bands_of_the_syntax_are_those_of_the_transforms():
    (step,) = (item for item in syn.CODED_TENSOR.items if item.element == "step")
    assert isinstance(step, Nested) and text(step.count) == "bands (section 7.5)"
    count = compiled(step.count, BUILTINS)
    for transform, levels in ((0, None), (1, None), (2, 1), (2, 6)):
        assert count(dict(transform=transform, wavelet_levels=levels), None, None) == band_count(transform, levels or 0)
