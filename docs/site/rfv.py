"""Sphinx extension: anchors and links of the specification, docstrings, and manual pages.

The texts are written to be read in the repository. Here sections, requirements, error
codes and syntax elements of the specification get anchors that never change, and every
mention of them becomes a link:

    section-4.2, annex-A        sections and annexes
    R-UNIT-03                   requirements: in the register (chapter 11) and where they are stated
    E0203                       error codes (chapter 11)
    structure-frame             structures (chapter 4)
    frame.frame_number          their syntax elements (chapter 4)
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent.parent
REGISTER = "spec/11-errors"

# The pages, in the order in which they are listed; README.md is the first of all.
CONTENTS = {
    "Guides": ["getting-started", "capture", "python", "validating", "write-a-decoder", "gallery", "faq"],
    "Reference": ["cli", "commands", "api", "datasets", "editing", "cluster", "viewer", "systems", "multi-scene",
                  "evaluation", "conformance", "extending", "syntax", "kaitai", "robustness", "stability", "glossary"],
}
_HEADING = re.compile(r"(Annex )?(?P<number>[A-F]|\d+)(?P<rest>(?:\.\d+)*) ")
_GENERATED = re.compile(r"<!-- generated: ([\w ]+) -->")
_REQUIREMENT = r"R-(?:[A-Z]{2,4})-\d{2}"
_MENTION = re.compile(
    rf"(?P<requirement>(?<![\w-]){_REQUIREMENT}(?![\w-]))|(?P<code>(?<![\w.-])E\d{{4}}(?!\w))"
    r"|(?:(?<=[Ss]ection )|(?<=[Ss]ections )|(?<=spec )|(?<=\())(?P<section>\d+(?:\.\d+)+)(?=[);,. ]|$)"
    r"|(?P<annex>(?<![\w.#-])[A-F]\.\d+)(?!\w|\.\d)"
    r"|(?<=chapter )(?P<chapter>\d+)(?!\w|\.\d)|(?<=Annex )(?P<letter>[A-F])(?!\w|\.\d)")
_QUOTED = (nodes.literal, nodes.literal_block, nodes.reference, nodes.title, nodes.raw, nodes.comment)


def sections() -> dict[str, str]:
    """Number of every section and chapter (`4`, `7.5.1`, `A.3`) -> its document."""
    found = {}
    for path in sorted((ROOT / "spec").glob("*.md")):
        for heading in re.findall(r"^#+ (.*)", path.read_text("utf-8"), re.M):
            if m := _HEADING.match(heading):
                found[m["number"] + m["rest"]] = f"spec/{path.stem}"
    return found


SECTIONS = sections()


def add_contents(app: Sphinx, document: str, source: list[str]) -> None:
    """The list of all pages, at the end of the first."""
    if document == "README":
        app.env.note_dependency(__file__)
        chapters = sorted(set(SECTIONS.values()))
        groups = {**{c: [f"docs/{n}" for n in names] for c, names in CONTENTS.items()},
                  "Specification": ["spec/README", *chapters]}
        groups["Reference"] += ["conformance/README", "demo/fox/LICENSE", "refcodec/view/web/README"]
        for caption, names in groups.items():
            source[0] += f"\n\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(
                f"/{name}" for name in names) + "\n```\n"


def add_anchors(app: Sphinx, tree: nodes.document) -> None:
    """Permanent anchors of a chapter of the specification."""
    document = app.env.docname
    if not document.startswith("spec/"):
        return
    for section in tree.findall(nodes.section):
        if m := _HEADING.match(section[0].astext()):
            kind = "annex" if m["number"].isalpha() and not m["rest"] else "section"
            section["ids"].insert(0, f"{kind}-{m['number']}{m['rest']}")
    known: set[str] = set()
    for strong in tree.findall(nodes.strong):
        name = strong.astext()
        if re.fullmatch(_REQUIREMENT, name) and name not in known:
            known.add(name)
            strong["ids"].append(name)
    for comment in tree.findall(nodes.raw):
        match = _GENERATED.fullmatch(comment.astext().strip())
        if match and match[1] == "errors":
            for row in _rows_after(comment):
                row["ids"].append(row[0].astext())
        elif match and match[1].startswith("structure "):
            structure = next(_following(comment, nodes.literal))
            structure["ids"].append(f"structure-{structure.astext()}")
            for row in _rows_after(comment):
                row["ids"].append(f"{structure.astext()}.{row[0].astext()}")


def _following(node: nodes.Node, kind: type) -> Iterator[Any]:
    """Nodes of a kind behind `node` under the same parent."""
    siblings = node.parent.children
    for sibling in siblings[siblings.index(node) + 1:]:
        yield from sibling.findall(kind)


def _rows_after(node: nodes.Node) -> Iterator[nodes.row]:
    """The rows of the body of the next table."""
    table = next(_following(node, nodes.table))
    for body in table.findall(nodes.tbody):
        yield from body.children


def add_links(app: Sphinx, tree: nodes.document, document: str) -> None:
    """Every mention of a requirement, an error code or a section becomes a link."""
    specification = document.startswith("spec/")
    for text in list(tree.findall(nodes.Text)):
        if any(isinstance(parent, _QUOTED) for parent in _parents(text)):
            continue
        pieces: list[nodes.Node] = []
        at = 0
        for m in _MENTION.finditer(text):
            target = _target(m, specification)
            if target is None or target == (document, m[0]) and isinstance(text.parent, nodes.strong):
                continue
            uri = app.builder.get_relative_uri(document, target[0]) if target[0] != document else ""
            pieces += [nodes.Text(text[at:m.start()]),
                       nodes.reference("", m[0], internal=True, refuri=f"{uri}#{target[1]}")]
            at = m.end()
        if pieces:
            text.parent.replace(text, [*pieces, nodes.Text(text[at:])])
    if document == REGISTER:
        _link_sections(app, tree)


def _link_sections(app: Sphinx, tree: nodes.document) -> None:
    """The register's column of sections."""
    for row in tree.findall(nodes.row):
        cell = row[2]
        if (number := cell.astext()) in SECTIONS:
            uri = app.builder.get_relative_uri(REGISTER, SECTIONS[number])
            cell[0].children = []
            cell[0] += nodes.reference("", number, internal=True, refuri=f"{uri}#section-{number}")


def _parents(node: nodes.Node) -> Iterator[nodes.Node]:
    while (node := node.parent) is not None:
        yield node


def _target(m: re.Match[str], specification: bool) -> tuple[str, str] | None:
    """Document and anchor of what a text mentions."""
    if name := m["requirement"]:
        page = {"FLD": SECTIONS["8"], "RND": SECTIONS["9"]}.get(name[2:5], REGISTER)
        return page, name
    if m["code"]:
        return REGISTER, m["code"]
    number = m["section"] or m["annex"] or m["chapter"] or m["letter"]
    here = specification or m.string[:m.start()].endswith("spec ")  # other texts speak of publications' sections, too
    if not here or number not in SECTIONS:
        return None
    return SECTIONS[number], f"annex-{number}" if m["letter"] else f"section-{number}"


def plain_docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain text with `code`; what reStructuredText would read into them is escaped."""
    result, code = [], False
    for i, line in enumerate(lines):
        indented = line.startswith("    ") and (code or i > 0 and not lines[i - 1].strip())
        if indented and not code:
            result += ["::", ""]
        if line.strip():
            code = indented
        if code:
            result.append(line)
            continue
        parts = re.split(r"`([^`]*)`", line.strip())
        parts[::2] = [re.sub(r"([*|\\]|_(?!\w))", r"\\\1", part) for part in parts[::2]]
        parts[1::2] = [f"``{part}``" for part in parts[1::2]]
        text = "".join(parts)
        starts = re.match(r"\w+(?:, \w+)*: ", text)
        if starts and result and result[-1]:
            result.append("")  # what a parameter is said to be gets a paragraph
        result.append(text)
    lines[:] = [*result, ""]


def write_manual(app: Sphinx, failure: Exception | None) -> None:
    """One manual page for each command, in the folder `man` of the site."""
    if failure is None and app.builder.format == "html":
        from click_man.core import write_man_pages

        from refcodec import __version__
        from refcodec.cli import COMMANDS, cli

        folder = Path(app.outdir) / "man"
        folder.mkdir(exist_ok=True)
        cli.commands.update({name: cli.get_command(None, name) for name in COMMANDS})
        write_man_pages("refcodec", cli, version=__version__, target_dir=str(folder))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", add_contents)
    app.connect("doctree-read", add_anchors)
    app.connect("doctree-resolved", add_links)
    app.connect("autodoc-process-docstring", plain_docstring)
    app.connect("build-finished", write_manual)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
