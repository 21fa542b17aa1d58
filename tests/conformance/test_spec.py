"""The text of the specification and the declarations in the code say the same."""
from __future__ import annotations

import ast
import re
import sys

import pytest

import spec_decoder
from checkout import ROOT
from refcodec import spec
from refcodec.entropy import laplace
from refcodec.requirements import ERROR_CODES, REQUIREMENTS
from refcodec.syntax import structures
from refcodec.syntax.declare import Element, Nested, Structure
from refcodec.syntax.registry import LEVELS, TEMPLATES

SPEC = ROOT / "spec"
CHAPTERS = {path.name: path.read_text("utf-8") for path in sorted(SPEC.glob("*.md"))}
# Requirements on renderers are stated in chapters 8 and 9 only; bitstreams can't break them.
RENDERING = re.compile(r"R-(FLD|RND)-\d\d")


def sections() -> dict[str, str]:
    """Number of every section (`4.2`, `A.3`) -> its text, without subsections."""
    found = {}
    for text in CHAPTERS.values():
        parts = re.split(r"^#{1,3} (?=(?:Annex )?[\dA-F])", text, flags=re.M)
        for part in parts[1:]:
            number = re.match(r"(?:Annex )?([\dA-F]+(?:\.\d+)*)", part)[1]
            found[number] = part
    return found


SECTIONS = sections()


def test_generated_tables_are_not_stale():
    assert spec.update(SPEC, check=True) == []


def test_stale_tables_are_noticed(tmp_path):
    for name, text in CHAPTERS.items():
        (tmp_path / name).write_text(text.replace("`tensor_count` | `u8`", "`tensor_count` | `u16`"), "utf-8")
    assert spec.update(tmp_path, check=True) == ["04-syntax.md"]
    assert spec.update(tmp_path) == ["04-syntax.md"]
    assert {p.name: p.read_text("utf-8") for p in tmp_path.glob("*.md")} == CHAPTERS


@pytest.mark.parametrize("rule", REQUIREMENTS.values(), ids=lambda r: r.id)
def test_requirement_is_stated_in_its_section(rule):
    """In bold in the prose, or in the requirements column of the section's table."""
    text = SECTIONS[rule.section]
    column = any(re.search(rf"\b{rule.id}\b", row.rsplit("|", 2)[-2])
                 for row in text.splitlines() if row.startswith("|"))
    assert f"**{rule.id}**" in text or column


def test_no_unknown_requirements_are_named():
    for name, text in CHAPTERS.items():
        named = set(re.findall(r"\bR-[A-Z]+-\d+\b", text))
        assert {n for n in named if n not in REQUIREMENTS and not RENDERING.fullmatch(n)} == set(), name
        assert set(re.findall(r"\bE\d{4}\b", text)) <= set(ERROR_CODES), name


def test_every_requirement_is_checked_by_the_pseudo_code():
    checked = set(re.findall(r'"(R-[A-Z]+-\d\d)"', spec.pseudo_code(SPEC)))
    assert checked == set(REQUIREMENTS) - {"R-LIM-01"}


def test_error_codes_are_used():
    assert {r.code for r in REQUIREMENTS.values()} == set(ERROR_CODES)


def test_references_to_sections_exist():
    for name, text in CHAPTERS.items():
        text = re.sub(r"```.*?```", "", text, flags=re.S)
        for number in re.findall(r"(?<![\w.])sections? (\d+\.\d+)", text) + re.findall(r"\((\d+\.\d+)\)", text):
            assert number in SECTIONS, f"{name}: {number}"
    declared = [s for s in vars(structures).values() if isinstance(s, Structure)]
    for rule in REQUIREMENTS.values():
        assert rule.section in SECTIONS, rule.id
    for structure in declared:
        assert structure.section in SECTIONS, structure.name
        for item in structure.items:
            for number in re.findall(r"section (\d+\.\d+)", getattr(item, "text", "")):
                assert number in SECTIONS, f"{structure.name}.{item.element}: {number}"


def test_every_syntax_element_has_semantics():
    for structure in [s for s in vars(structures).values() if isinstance(s, Structure)]:
        assert f"`{structure.name}`\n" in SECTIONS[structure.section]
        for item in structure.items:
            row = next(r for r in SECTIONS[structure.section].splitlines() if r.startswith(f"| `{item.element}` |"))
            meaning = row.split("|")[4].strip()
            assert len(meaning) > 6, f"{structure.name}.{item.element}"
            if isinstance(item, Element):
                assert meaning.replace("\\", "") == item.text and len(item.text) >= 12
                assert all(requirement in REQUIREMENTS for requirement in (rule.requirement for rule in item.rules))
            else:
                assert isinstance(item, Nested)


def test_pseudo_code_needs_only_the_standard_library():
    tree = ast.parse(spec.pseudo_code(SPEC))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"hashlib", "zlib"} and imported <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"__import__", "eval", "exec", "open", "float"}
    assert not any(isinstance(node, ast.Constant) and isinstance(node.value, float) and node.value != 1e-3
                   for node in ast.walk(tree))


def test_every_python_block_belongs_to_the_decoder():
    used = {*spec.PSEUDO_CODE_FILES, *spec.RENDERER_FILES}
    assert {name for name, text in CHAPTERS.items() if "```python" in text} == used


def test_constants_of_the_text_are_those_of_the_code():
    text = spec_decoder.namespace()
    assert text["DECAY"] == list(laplace.LAPLACE_DECAY) and text["REACH"] == list(laplace.LAPLACE_REACH)
    assert text["TEMPLATES"] == TEMPLATES
    names = LEVELS[1].__slots__
    assert text["LEVELS"] == {n: {k: getattr(v, k) for k in names} for n, v in LEVELS.items()}
    for a, b in zip(text["LAPLACE"], laplace.laplace_tables()):
        assert a["low"] == b.low and a["frequencies"] == b.frequencies.tolist()
    assert text["SIGNATURE"] == structures.FILE_SIGNATURE and text["GROUP_SYNC"] == structures.GROUP_SYNC
