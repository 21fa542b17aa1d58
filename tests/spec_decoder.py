"""The decoder that the specification's text contains, as an independent second opinion."""
from __future__ import annotations

import functools
import re
from pathlib import Path

from refcodec.spec import RENDERER_FILES, pseudo_code

SPEC = Path(__file__).parent.parent / "spec"


@functools.cache
def namespace() -> dict:
    space: dict = {"__name__": "spec"}
    exec(compile(pseudo_code(SPEC), "spec pseudo-code", "exec"), space)
    return space


@functools.cache
def renderer() -> dict:
    """The names of the text's renderer (chapters 8 and 9), and those of its decoder."""
    space = dict(namespace())
    exec(compile(pseudo_code(SPEC, RENDERER_FILES), "spec renderer", "exec"), space)
    return space


def fields(data: bytes) -> tuple[dict[int, dict], dict]:
    """Field of each frame by number, with its `scene`, and the decoder's last state, for the text's renderer."""
    spec, found, last = renderer(), {}, {}

    def output(frame, d):
        found[frame["number"]] = dict(spec["field_of"](d), scene=d["scene"])
        last.update(d)

    spec["decode"](data, output)
    return found, last


@functools.cache
def codes() -> dict[str, str]:
    """Requirement -> error code, read from the text of chapter 11."""
    rows = re.findall(r"^\| \*\*(R-[A-Z]+-\d+)\*\* \| (E\d{4}) \|", (SPEC / "11-errors.md").read_text(), re.M)
    return dict(rows)


def digest_lines(data: bytes) -> list[str]:
    """The digest list (as `refcodec decode --digests-only` writes it) that the text yields for a file."""
    spec, lines = namespace(), ["rfv-digests 1"]

    def output(frame, d):
        lines.append(f"frame {frame['number']} {'IP'[frame['type'] - 1]} {frame['time_stamp']}")
        bits = d["occupancy"]
        lines.append("occupancy " + (spec["sha256"](spec["occupancy_bytes"](bits)).hex() if bits else "-"))
        for i, tensor in enumerate(d["tensors"]):
            lines.append(f"tensor {i} {spec['sha256'](spec['tensor_bytes'](tensor)).hex()}")

    try:
        spec["decode"](data, output)
    except spec["Refused"] as e:
        return [*lines, f"error {codes()[e.requirement]} {e.requirement}"]
    return [*lines, f"end {sum(line.startswith('frame ') for line in lines)}"]
