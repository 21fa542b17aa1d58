"""Escapes text for terminals and files: control and bidirectional characters."""
from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any

# C1 controls, marks of direction and of format that show nothing, separators of lines, halves of surrogate pairs (as
# names of files have that are not UTF-8). json.dumps escapes C0 by itself.
_UNSAFE = re.compile("[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
                     "\ud800-\udfff\U000e0000-\U000e007f]")


def to_json(value: Any, indent: int | None = 2) -> str:
    """JSON with the same value in which every control and bidirectional character is escaped."""
    return _UNSAFE.sub(_escaped, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False))


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def printable(text: str) -> str:
    """Text from a stream, or a name, with control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def suggestion(name: str, known: Iterable[str]) -> str:
    """"; did you mean …?" where one of the known names is near; else nothing."""
    near = difflib.get_close_matches(name, list(known), 3)
    return f"; did you mean {' or '.join(near)}?" if near else ""
