"""Data flows one way: no module of the package imports, at once or when it is used, one that imports it."""
from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from checkout import ROOT

PACKAGE = ROOT / "refcodec"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, name: str, is_package: bool) -> Iterator[str]:
    """Absolute names of what is imported, and from where; what only type checkers read is left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".")
            base = parts if is_package and node.level == 1 else parts[: len(parts) - node.level + is_package]
            home = ".".join([*(base if node.level else []), *([node.module] if node.module else [])])
            yield from (f"{home}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node, name, is_package)


def graph() -> dict[str, set[str]]:
    paths = {module_name(p): p for p in PACKAGE.rglob("*.py")}
    edges = {}
    for name, path in paths.items():
        found = set()
        for target in imports(ast.parse(path.read_text()), name, path.name == "__init__.py"):
            if (ROOT / target.replace(".", "/")).with_suffix(".pyi").exists():
                continue  # a compiled module: it imports nothing
            module = target if target in paths else target.rpartition(".")[0]
            if module in paths and module != name:
                found.add(module)
        edges[name] = found
    return edges


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(v: str) -> None:
        index[v] = low[v] = len(index)
        stack.append(v)
        for w in edges[v]:
            if w not in index:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in stack:
                low[v] = min(low[v], index[w])
        if low[v] == index[v]:
            at = stack.index(v)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for v in edges:
        if v not in index:
            visit(v)
    return found


def test_no_module_imports_what_imports_it():
    edges = graph()
    assert edges["refcodec.decoding.stream"], "the graph is empty"
    assert circles(edges) == []


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
