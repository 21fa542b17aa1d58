"""Terms of the field throughout (docs/glossary.md): names, docstrings, messages, documents; types of the public API."""
from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import refcodec
from checkout import ROOT

# Earlier word -> (its term, where it may stay: path prefixes). Patterns are searched in lower case.
BANNED = {
    "anew": ("again, or re-encode", ("conformance/",)),
    "seal(ed|ing)?": ("terminate; checksums that hold", ()),
    "notch(es|ed)?": ("binary closing", ()),
    "retired?": ("freeze", ()),
    "nothing (else |occupied )?(can touch|touches)": ("support of the occupied voxels", ()),
    "no occupied voxel (can touch|touches)": ("support of the occupied voxels", ()),
    "is_?energy|energy_sources|previous_energy|an energy": ("activity", ("conformance/",)),
    "steps of decoding|decoding steps?": ("wavefront", ()),
    "quantisation steps?(?! sizes?(?![a-z]))": ("quantisation step size", ()),
    "(coded|entropy) step|step_channels|step_rows": ("wavefront", ()),
}
TEXTS = [path for path in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
         .stdout.split("\n") if Path(path).suffix in (".py", ".md", ".js", ".mjs", ".c", ".h", ".inc", ".ksy", ".ts")]
ALLOWED = ("docs/glossary.md", "tests/project/test_language.py", "refcodec/view/web/decoder/kernels.wasm.js")


def found(text: str, pattern: str) -> Iterator[int]:
    """Lines at which a pattern begins, however the text is wrapped."""
    joined = re.sub(r"\n[ \t]*(?:#|//|\*)?[ \t]*", "\n", text.lower())
    separated = pattern.replace(" ", r"[\s_]")
    for match in re.finditer(rf"(?<![a-z])(?:{separated})(?![a-z])", joined):
        yield joined.count("\n", 0, match.start()) + 1


@pytest.mark.parametrize("pattern", BANNED)
def test_private_terms_do_not_come_back(pattern):
    term, exceptions = BANNED[pattern]
    places = [f"{path}:{line}" for path in TEXTS if path not in ALLOWED and not path.startswith(exceptions or "\0")
              for line in found((ROOT / path).read_text("utf-8"), pattern)]
    assert not places, f"the term is {term!r} (docs/glossary.md)"


def test_wrapped_comments_and_names_are_searched():
    assert list(found("x\n# coded\n    # anew, nothing\n  #  can touch\n", "nothing (else )?can touch")) == [3]
    assert list(found("x\ndef test_files_are_sealed_again():\n", "seal(ed)?")) == [2]


def test_the_glossary_lists_every_term():
    glossary = (ROOT / "docs/glossary.md").read_text("utf-8").lower()
    for term in ("activity", "wavefront", "quantisation step size", "ray step", "support of the occupied voxels",
                 "terminate", "re-encode", "model selection", "binary closing", "freeze"):
        assert f"| {term}" in glossary, term


# Types.

def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / "refcodec").rglob("*.py")):
        yield path.relative_to(ROOT), ast.parse(path.read_text("utf-8"))


def test_no_class_name_stands_twice():
    places = defaultdict(list)
    for path, module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path}:{node.lineno}")
    assert not {name: found for name, found in places.items() if len(found) > 1}


def documented() -> Iterator[str]:
    """Names of the public API: what `import refcodec` gives, and what docs/api.md documents."""
    yield from (f"refcodec.{name}" for name in refcodec.__all__ if name != "__version__")
    yield from re.findall(r"^\.\. auto\w+:: ([\w.]+)", (ROOT / "docs/api.md").read_text("utf-8"), re.M)


def resolve(name: str) -> object:
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        try:
            value: object = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            value = getattr(value, part)
        return value
    raise AssertionError(name)


def annotations(value: object) -> Iterator[tuple[str, ast.expr]]:
    """(name, annotation) of a function, or of the public fields, properties and methods of a class and its bases."""
    if isinstance(value, type):
        for base in value.__mro__:
            if base.__module__.startswith("refcodec"):
                for node in ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body:
                    yield from of_member(node)
    else:
        yield from of_member(ast.parse(textwrap.dedent(inspect.getsource(value))).body[0])


def of_member(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_"):
        yield ast.unparse(node.target), node.annotation
    elif isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name.startswith("__")):
        a = node.args
        for argument in (*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))):
            if argument.annotation is not None:
                yield f"{node.name}({argument.arg})", argument.annotation
        if node.returns is not None:
            yield f"{node.name} ->", node.returns


PUBLIC = sorted(set(documented()))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_signatures_say_their_types(name):
    if "encode" in name:
        pytest.importorskip("torch")
    value = resolve(name)
    assert callable(value)
    vague = [place for place, annotation in annotations(value)
             if any(isinstance(n, ast.Name) and n.id == "Any" for n in ast.walk(annotation))]
    assert not vague


def test_vague_types_are_seen():
    member = ast.parse("def f(self, a: int, *, b: dict[str, Any]) -> list[Any]: ...").body[0]
    assert [place for place, a in of_member(member) if "Any" in ast.unparse(a)] == ["f(b)", "f ->"]
    assert "refcodec.Writer" in PUBLIC and "refcodec.writer.TensorCoding" in PUBLIC
