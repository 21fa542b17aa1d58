"""JSON as people have it: byte-order marks, UTF-16, comments; and limits on what is read."""
from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any

from refcodec.errors import DatasetError

_LARGEST = 1 << 27  # bytes; 100,000 pictures take half of it
_STRING_OR_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*.*?\*/', re.S)
_TRAILING = re.compile(r",\s*[\]}]")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
          (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_OTHERS = ("gb18030", "shift_jis", "cp1252")


def read_json(path: Path) -> Any:
    """The content of a JSON file: UTF-8 or UTF-16, with // and /* */ comments allowed. Raises DatasetError D02."""
    try:
        if path.stat().st_size > _LARGEST:
            raise DatasetError("D02", f"the file is larger than {_LARGEST >> 20} MiB, which no calibration needs", path)
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError("D02", f"can't read the file: {error.strerror}", path) from error
    text = _decoded(data, path)
    try:
        try:
            return json.loads(text)
        except ValueError:
            stripped = _without_comments(text)
            if stripped == text:
                raise
            return json.loads(stripped)
    except ValueError as error:
        hint = ""
        if isinstance(error, json.JSONDecodeError) and _TRAILING.search(error.doc[:error.pos + 2][-200:]):
            hint = "; a comma before a closing bracket has to go"
        raise DatasetError("D02", f"not valid JSON: {error}{hint}", path) from error
    except RecursionError as error:
        raise DatasetError("D02", "not valid JSON: nested too deep", path) from error


def read_text(path: Path) -> str:
    """A text file: UTF-8 or UTF-16. Raises DatasetError D02."""
    try:
        if path.stat().st_size > 4 * _LARGEST:
            raise DatasetError("D02", f"the file is larger than {_LARGEST >> 18} MiB", path)
        return _decoded(path.read_bytes(), path)
    except OSError as error:
        raise DatasetError("D02", f"can't read the file: {error.strerror}", path) from error


def _decoded(data: bytes, path: Path) -> str:
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is None:  # UTF-16 without a mark: every other byte of ASCII is zero
        zeros = [data[start:200:2].count(0) for start in (0, 1)]
        encoding = "utf-16-be" if zeros[0] > 50 else "utf-16-le" if zeros[1] > 50 else "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        likely = next((name for name in _OTHERS if _decodes(data, name)), None)
        guess = f"; it may be {likely.upper()}" if likely and encoding == "utf-8" else ""
        raise DatasetError("D02", f"the text is not {encoding.upper()} (byte {error.start}){guess}: save the file as "
                           "UTF-8", path) from error


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _without_comments(text: str) -> str:
    """Comments become spaces, so that lines and columns of errors stay."""
    def blank(match: re.Match[str]) -> str:
        found = match.group()
        return found if found.startswith('"') else re.sub(r"[^\n]", " ", found)

    return _STRING_OR_COMMENT.sub(blank, text)
