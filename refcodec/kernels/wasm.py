"""Builds the kernels for browsers: `python -m refcodec.kernels.wasm` writes refcodec/view/web/decoder/kernels.wasm.js.

Needs the package ziglang, whose compiler makes WebAssembly. The file says which sources it was made from.
"""
from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent / "src"
PATH = Path(__file__).parent.parent / "view" / "web" / "decoder" / "kernels.wasm.js"
FLAGS = ("--target=wasm32-freestanding", "-std=c11", "-ffreestanding", "-O3", "-nostdlib", "-msimd128", "-mbulk-memory",
         "-ffp-contract=off", "-Wl,--no-entry", "-Wl,-z,stack-size=1048576", "-Wl,--strip-all")
_WIDTH = 116


def sources() -> list[Path]:
    """All files that the build reads."""
    return sorted(p for p in SOURCES.iterdir() if p.suffix in (".c", ".h", ".inc") and p.name != "module.c")


def source_digest() -> str:
    """SHA-256 of the names and contents of the sources, and of the compiler's flags."""
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for path in sources():
        digest.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()


def compiled() -> bytes:
    """The module. Raises CalledProcessError, also where there is no ziglang."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "kernels.wasm"
        subprocess.run([sys.executable, "-m", "ziglang", "cc", *FLAGS,
                        *(p.name for p in sources() if p.suffix == ".c"), "-o", str(out)], cwd=SOURCES, check=True)
        return out.read_bytes()


def script(wasm: bytes) -> str:
    """The module as one in JavaScript, which pages can hold without fetching another file."""
    text = base64.b64encode(wasm).decode()
    lines = "\n".join(f"  '{text[i : i + _WIDTH]}'," for i in range(0, len(text), _WIDTH))
    return ("/** The C kernels as WebAssembly: `python -m refcodec.kernels.wasm` writes this file. */\n"
            f"export const SOURCES = '{source_digest()}';\nexport const WASM = [\n{lines}\n].join('');\n")


def recorded_digest(text: str) -> str | None:
    """The `source_digest` that a script was made from."""
    found = re.search(r"SOURCES = '([0-9a-f]{64})'", text)
    return found[1] if found else None


if __name__ == "__main__":
    PATH.write_text(script(compiled()), encoding="utf-8")
