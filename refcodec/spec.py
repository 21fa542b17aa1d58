"""Keeps the generated parts of spec/ and the Kaitai Struct description equal to the declarations:
`python -m refcodec.spec [--check] DIR`.

Also reads the specification as a program: `pseudo_code` assembles the decoder that
the text contains.
"""
from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .requirements import ERROR_CODES, REQUIREMENTS
from .syntax import structures
from .syntax.declare import Nested, Structure
from .syntax.expressions import Expression, text as specification_text
from .syntax.families import ProbabilityFamily
from .syntax.headers import Representation, Role
from .syntax.kaitai import description
from .syntax.registry import ANCILLARY_UNITS, LEVELS

_BLOCK = re.compile(r"<!-- generated: ([\w ]+) -->\n.*?<!-- end generated -->", re.S)
# Chapter 10 and Annex A hold the constants that chapters 5 to 7 use.
PSEUDO_CODE_FILES = ("02-notation.md", "10-profiles-levels.md", "annex-a-registries.md", "05-parsing.md",
                     "06-entropy-decoding.md", "annex-e-lzma2.md", "07-reconstruction.md")
RENDERER_FILES = ("08-field-evaluation.md", "09-rendering.md")


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows])


def _range(expression: Expression) -> str:
    """A rule on an element as the specification writes it; empty where only its requirement says it in words."""
    try:
        text = specification_text(expression)
    except NotImplementedError:
        return ""
    text = re.sub(r"(-?\w+) <= (\w+) and \2 <= (\w+)", r"\1 <= \2 <= \3", text)
    text = re.sub(r"(\w+) == (\d+)((?: or \1 == \d+)+)",
                  lambda m: m[1] + " in (" + ", ".join([m[2], *re.findall(r"== (\d+)", m[3])]) + ")", text)
    return f"`{text}`"


def _structure(name: str) -> str:
    structure: Structure[Any] = getattr(structures, name)
    rows = []
    for item in structure.items:
        when = f"if {item.when_text}" if item.when_text else ""
        if isinstance(item, Nested):
            times = f"{item.count_text} times" if item.count_text else when
            rows.append([f"`{item.element}`", "structure", times,
                         f"`{item.structure.name}`, {item.structure.section}.", "", ""])
        else:
            rules = ", ".join(dict.fromkeys(r.requirement for r in item.rules))
            ranges = "; ".join(filter(None, (_range(r.expression) for r in item.rules)))
            rows.append([f"`{item.element}`", f"`{item.descriptor}`", when, item.text, ranges, rules])
    return f"`{structure.name}`\n\n" + _table([
        "element", "descriptor", "condition", "meaning", "range", "requirements"], rows)


def _errors(_: str) -> str:
    return _table(["code", "name", "kind", "meaning", "likely cause"],
                  [[e.code, f"`{e.name}`", e.kind, e.summary, e.cause] for e in ERROR_CODES.values()])


def _requirements(_: str) -> str:
    return _table(["requirement", "code", "section", "text"],
                  [[f"**{r.id}**", r.code, r.section, r.text] for r in REQUIREMENTS.values()])


def _levels(_: str) -> str:
    return "Table 10-1\n\n" + _table(
        ["level", "`unit_size`", "`tensor_elements`", "`occupancy_voxels`", "`group_frames`", "`model_work`"],
        [[str(n), str(v.unit_size), str(v.tensor_elements), str(v.occupancy_voxels), str(v.group_frames),
          str(v.model_work)]
         for n, v in LEVELS.items()])


def _representations(_: str) -> str:
    return _table(["value", "representation"], [[str(int(r)), r.title] for r in Representation])


def _families(_: str) -> str:
    return _table(["value", "family", "codes", "outputs"],
                  [[str(int(f)), f.title, "bits of masks and occupancy" if f.codes_bits else "values", str(f.outputs)]
                   for f in ProbabilityFamily])


def _roles(_: str) -> str:
    return _table(["value", "name", "meaning"], [[str(int(r)), f"`{r.name}`", r.meaning] for r in Role])


def _units(_: str) -> str:
    return "Table 4-1\n\n" + _table(
        ["value", "unit", "ancillary", "structure"],
        [[str(int(t)), t.name.lower().replace("_", " "), str(int(t in ANCILLARY_UNITS)),
          f"`{s.name}`, {s.section}"] for t, s in structures.PAYLOADS.items()])


_GENERATORS = {"structure": _structure, "errors": _errors, "requirements": _requirements,
               "levels": _levels, "families": _families, "roles": _roles, "representations": _representations,
               "units": _units}


def fill(text: str) -> str:
    """The text with every generated block regenerated."""

    def block(match: re.Match[str]) -> str:
        kind, _, argument = match[1].partition(" ")
        return f"<!-- generated: {match[1]} -->\n{_GENERATORS[kind](argument)}\n<!-- end generated -->"

    return _BLOCK.sub(block, text)


def update(folder: Path, check: bool = False) -> list[str]:
    """Rewrites stale chapters and `rfv.ksy`, or only names them."""
    stale = []
    for path in sorted([*folder.glob("*.md"), *folder.glob("rfv.ksy")]):
        old = path.read_text("utf-8")
        if (new := fill(old) if path.suffix == ".md" else description()) != old:
            stale.append(path.name)
            if not check:
                path.write_text(new, "utf-8")
    return stale


def pseudo_code(folder: Path, files: Iterable[str] = PSEUDO_CODE_FILES) -> str:
    """The decoder that the specification contains, as Python source, or with `RENDERER_FILES` its renderer, which
    needs the decoder's names.

    Each block keeps its place: line n of chapter m is line n of its own segment,
    marked by a comment, so that coverage can be read back to the text.
    """
    parts = []
    for name in files:
        text = (folder / name).read_text("utf-8")
        parts += [f"# {name}\n{code}" for code in re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)]
    return "\n".join(parts)


def main() -> int:
    arguments = [a for a in sys.argv[1:] if a != "--check"]
    check = "--check" in sys.argv
    stale = update(Path(arguments[0] if arguments else "spec"), check)
    for name in stale:
        print(("stale: " if check else "updated: ") + name)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
