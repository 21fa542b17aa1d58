"""The register of chapter 11 as a JavaScript module: `python -m refcodec.view.register` writes it."""

from __future__ import annotations

import json
from pathlib import Path

from ..requirements import ERROR_CODES, REQUIREMENTS

PATH = Path(__file__).parent / "web" / "decoder" / "register.js"


def module() -> str:
    """The text of `register.js`."""

    def table(name: str, comment: str, rows: dict[str, list[str]]) -> list[str]:
        return [
            f"/** {comment} */",
            f"export const {name} = {{",
            *(f"  {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}," for k, v in rows.items()),
            "};",
            "",
        ]

    lines = ["// Generated from refcodec/requirements.py by `python -m refcodec.view.register`.", ""]
    lines += table(
        "REQUIREMENTS",
        "Requirement: error code, section of the specification.",
        {r.id: [r.code, r.section] for r in REQUIREMENTS.values()},
    )
    lines += table("ERRORS", "Error code: name, meaning.", {e.code: [e.name, e.summary] for e in ERROR_CODES.values()})
    return "\n".join(lines)


if __name__ == "__main__":
    PATH.write_text(module(), encoding="utf-8")
