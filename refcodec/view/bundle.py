"""The page put together: modules joined to one script, for the server or in one offline file.

The modules run as they are in browsers and node; joined, they load at once, and from `file:` too, where
browsers refuse modules.
"""

from __future__ import annotations

import base64
import html
import json
import posixpath
import re
from importlib import resources

_PIECE = 3 << 20  # bytes of the stream in one element
_IMPORT = re.compile(r"^import \{([^}]*)\} from '([^']+)';\n", re.MULTILINE)
# Comments that have lines of their own, and indentation: half of a script's bytes.
_COMMENT = re.compile(r"^[ \t]*(?:/\*\*.*?\*/|//[^\n]*)[ \t]*\n", re.MULTILINE | re.DOTALL)
_INDENT = re.compile(r"^[ \t]+", re.MULTILINE)
_EXPORT = re.compile(r"^export (?:async )?(?:function\*?|class|const) (\w+)", re.MULTILINE)


def web_file(path: str) -> str:
    """Text of one of the page's files."""
    return (resources.files(__package__) / "web" / path).read_text(encoding="utf-8")


def bundle(entry: str) -> str:
    """A classic script of a module and all that it imports, each in a scope of its own.

    Modules import names as they are, `import { a, b } from './c.js';`, and export declarations: nothing
    else of the module syntax is understood. The result leaves the exports of `entry` in `$modules`.
    """
    done: dict[str, str] = {}

    def add(path: str) -> None:
        if path in done:
            return
        text = _INDENT.sub("", _COMMENT.sub("", web_file(path)))
        imports = [
            (names, posixpath.normpath(posixpath.join(posixpath.dirname(path), source)))
            for names, source in _IMPORT.findall(text)
        ]
        for _, source in imports:
            add(source)
        heads = [f"const {{{names}}} = $modules[{json.dumps(source)}];" for names, source in imports]
        exports = ", ".join(_EXPORT.findall(text))
        body = re.sub(r"^export ", "", _IMPORT.sub("", text), flags=re.MULTILINE)
        if re.search(r"^\s*(import|export)\b", body, re.MULTILINE):
            raise ValueError(f"{path}: an import or export that bundle() does not understand")
        done[path] = "\n".join(
            [f"$modules[{json.dumps(path)}] = (() => {{", *heads, body, f"return {{ {exports} }};", "})();"]
        )

    add(entry)
    return "\n".join(["'use strict';", "const $modules = {};", *done.values()])


def _inline(script: str) -> str:
    """A script as content of a script element: `</script` and `<!--` must not occur in its strings."""
    return re.sub(r"<(?=[!/]|script)", r"\\x3c", script, flags=re.IGNORECASE)


def _page(name: str, head: str, script: str) -> bytes:
    text = web_file("index.html")
    for old, new in (
        ("<!-- style -->", head),
        ("<!-- script -->", script),
        ("<title>RFV viewer</title>", f"<title>{html.escape(name)}</title>"),
    ):
        if text.count(old) != 1:
            raise ValueError(f"index.html should hold {old!r} once")
        text = text.replace(old, new)
    return text.encode()


def _start(worker: str, source: str, name: str) -> str:
    options = f"makeWorker: () => new Worker({worker}), source: {source}, name: {json.dumps(name)}"
    return f"$modules['main.js'].start({{ {options} }});"


def served(name: str) -> dict[str, bytes]:
    """Files of the page for a server that has the stream as `stream.rfv`, by path; `index.html` is the page."""
    start = _start("'worker.js'", "new URL('stream.rfv', location.href).href", name)
    return {
        "index.html": _page(
            name, '<link rel="stylesheet" href="style.css">', '<script defer src="viewer.js"></script>'
        ),
        "style.css": web_file("style.css").encode(),
        "viewer.js": f"(() => {{\n{bundle('main.js')}\n{start}\n}})();\n".encode(),
        "worker.js": bundle("worker.js").encode(),
    }


def exported(stream: bytes, name: str) -> bytes:
    """The page with a stream in it, as one HTML file that needs no network.

    The stream is cut into pieces, because browsers bound the length of a string.
    """
    script = "\n".join(
        [
            "(() => {",
            bundle("main.js"),
            f"const program = new Blob([{json.dumps(bundle('worker.js'))}], {{ type: 'text/javascript' }});",
            "const worker = URL.createObjectURL(program);",
            "const parts = [...document.getElementsByClassName('stream')].map((element) => {",
            "  const text = atob(element.textContent);",
            "  element.remove();",
            "  const bytes = new Uint8Array(text.length);",
            "  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);",
            "  return new Blob([bytes]);",
            "});",
            _start("worker", "new Blob(parts)", name),
            "})();",
        ]
    )
    pieces = (base64.b64encode(stream[i : i + _PIECE]).decode() for i in range(0, len(stream), _PIECE))
    elements = (f'<script type="application/octet-stream" class="stream">{piece}</script>\n' for piece in pieces)
    return _page(
        name,
        f"<style>\n{web_file('style.css')}</style>",
        f"{''.join(elements)}<script>\n{_inline(script)}\n</script>",
    )
