"""One offline page with a stream in it: the modules joined, workers from text, no network access."""
from __future__ import annotations

import base64
import html
import json
import posixpath
import re

from .server import web_files

_IMPORT = re.compile(r"^import \{([^}]*)\} from '([^']+)';\n", re.M)
_EXPORT = re.compile(r"^export (?:async )?(?:function\*?|class|const) (\w+)", re.M)


def bundle(entry: str, files: dict[str, bytes]) -> str:
    """A classic script of a module and all that it imports, each in a scope of its own.

    Modules import names as they are, `import { a, b } from './c.js';`, and export declarations: nothing
    else of the module syntax is understood. The result leaves the exports of `entry` in `$modules`.
    """
    done: dict[str, str] = {}

    def add(path: str) -> None:
        if path in done:
            return
        text = files[path].decode()
        imports = [(names, posixpath.normpath(posixpath.join(posixpath.dirname(path), source)))
                   for names, source in _IMPORT.findall(text)]
        for _, source in imports:
            add(source)
        heads = [f"const {{{names}}} = $modules[{json.dumps(source)}];" for names, source in imports]
        exports = ", ".join(_EXPORT.findall(text))
        body = re.sub(r"^export ", "", _IMPORT.sub("", text), flags=re.M)
        if re.search(r"^\s*(import|export)\b", body, re.M):
            raise ValueError(f"{path}: an import or export that bundle() does not understand")
        done[path] = "\n".join([f"$modules[{json.dumps(path)}] = (() => {{", *heads, body, f"return {{ {exports} }};", "})();"])

    add(entry)
    return "\n".join(["'use strict';", "const $modules = {};", *done.values()])


def _inline(script: str) -> str:
    """A script as content of a script element: `</script` and `<!--` must not occur in it."""
    return re.sub(r"<(?=[!/]|script)", r"\\x3c", script, flags=re.I)


def page(stream: bytes, name: str) -> bytes:
    """The page with a stream in it, as one HTML file."""
    files = web_files()
    text = files["index.html"].decode()
    boot = "\n".join([
        bundle("main.js", files),
        f"const worker = URL.createObjectURL(new Blob([{json.dumps(bundle('worker.js', files))}], {{ type: 'text/javascript' }}));",
        "const coded = document.getElementById('stream').textContent;",
        "const blob = new Blob([Uint8Array.from(atob(coded), (c) => c.charCodeAt(0))]);",
        f"$modules['main.js'].start({{ makeWorker: () => new Worker(worker), source: {{ blob }}, name: {json.dumps(name)} }});",
    ])
    replacements = {
        '<link rel="stylesheet" href="style.css">': f"<style>\n{files['style.css'].decode()}</style>",
        '<script type="module" src="boot.js"></script>':
            f'<script type="application/octet-stream" id="stream">{base64.b64encode(stream).decode()}</script>\n'
            f"<script>\n(() => {{\n{_inline(boot)}\n}})();\n</script>",
        "<title>RFV viewer</title>": f"<title>{html.escape(name)} – RFV viewer</title>",
    }
    for old, new in replacements.items():
        if text.count(old) != 1:
            raise ValueError(f"index.html should hold {old!r} once")
        text = text.replace(old, new)
    return text.encode()
