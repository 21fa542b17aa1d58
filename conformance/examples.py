"""The worked examples of Annex B: annotated bytes of vectors, a trace of the range decoder, inverse transforms."""
from __future__ import annotations

import io
import re

import spec_decoder
from refcodec.syntax import structures as syn
from refcodec.syntax.headers import SequenceHeader
from refcodec.syntax.registry import LEVELS, UnitType
from refcodec.syntax.units import UnitReader

_BLOCK = re.compile(r"<!-- example: (bytes|symbols|results|transform) ([\w-]+)( \d+ \d+)? -->\n.*?<!-- end example -->",
                    re.S)

# Transforms of one axis: transform, levels, cells, coefficients.
TRANSFORMS = {
    "dct": (1, 0, 11, (400, 80, -120, 33, 50, -7, 0, 20, -30, 0, 11, 5, 0, 0, -9, 2)),
    "wavelet": (2, 2, 7, (150, -60, 40, 12, -25, 8, 3)),
}


def fill(text: str, vectors: dict[str, bytes]) -> str:
    """The annex with every generated block regenerated from the vectors."""

    def block(match: re.Match) -> str:
        kind, name, numbers = match[1], match[2], [int(n) for n in (match[3] or "").split()]
        if kind == "transform":
            made = _transform(*TRANSFORMS[name])
        else:
            made = {"bytes": _bytes, "symbols": _symbols, "results": _results}[kind](vectors[name], *numbers)
        return f"<!-- example: {kind} {name}{match[3] or ''} -->\n{made}\n<!-- end example -->"

    return _BLOCK.sub(block, text)


def _row(offset: int, raw: bytes, element: str, value) -> list[tuple[str, str, str, str]]:
    """Lines of a dump: sixteen bytes on each, the element on the first."""
    lines = []
    for i in range(0, max(len(raw), 1), 16):
        lines.append((f"{offset + i:04x}", raw[i : i + 16].hex(" "), *((element, value) if i == 0 else ("", ""))))
    return lines


def _value(span) -> str:
    if isinstance(span.value, bytes):
        return ""
    if isinstance(span.value, tuple):
        return " ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in span.value)
    return f"{span.value:g}" if isinstance(span.value, float) else str(span.value)


def _bytes(data: bytes) -> str:
    reader = UnitReader(io.BytesIO(data))
    level = reader.read_file_header().level
    _, trace = syn.FILE_HEADER.parse(data[:16], 0)
    lines, header = [], None

    def spans(trace):
        for span in trace.spans:
            if span.length or span.descriptor == "b2":
                lines.extend(_row(span.offset, data[span.offset : span.offset + span.length],
                                  span.path.split(".", 1)[-1], _value(span)))

    lines.append(("", "", "file_header", ""))
    spans(trace)
    while (unit := reader.read_unit()) is not None:
        at = unit.offset
        lines.append(("", "", unit.label, ""))
        for size, element, value in ((1, "unit_type", unit.type), (1, "unit_flags", unit.flags),
                                     (4, "unit_size", len(unit.payload))):
            lines.extend(_row(at, data[at : at + size], element, str(int(value))))
            at += size
        value, trace = syn.PAYLOADS[UnitType(unit.type)].parse(
            unit.payload, unit.payload_offset, level=LEVELS[level], header=header)
        if unit.type == UnitType.SEQUENCE_HEADER:
            header = SequenceHeader.from_syntax(value)
        spans(trace)
        at = unit.offset + unit.size - 4
        lines.extend(_row(at, data[at : at + 4], "unit_crc", ""))
    widths = [4, 47, max(len(line[2]) for line in lines)]
    shown = []
    for offset, raw, element, value in lines:
        if not offset:
            shown.append(f"\n{element}")
        else:
            shown.append(f"{offset}  {raw:<{widths[1]}}  {element:<{widths[2]}}  {value}".rstrip())
    return "```text\n" + "\n".join(shown).strip() + "\n```"


def _traced(data: bytes) -> list[list[dict]]:
    """For each frame, a dictionary for each mask and each tensor: data, values, and a row for each entry decoded."""
    spec = dict(spec_decoder.namespace())
    source = spec_decoder.pseudo_code(spec_decoder.SPEC)
    exec(compile(source, "spec pseudo-code", "exec"), spec)
    frames, rows = [], []
    decode_entry, decode_symbols = spec["RangeDecoder"].entry, spec["decode_symbols"]

    def entry(self, frequencies):
        scale = self.range >> 24
        quantile = ((self.point - self.low) & spec["MASK"]) // scale
        index = decode_entry(self, frequencies)
        rows.append((quantile, index, self.low, self.range, self.point))
        return index

    def symbols(model, info, cells, selected, previous, data):
        rows.clear()
        values = decode_symbols(model, info, cells, selected, previous, data)
        current.append(dict(cells=cells, values=values, data=data, rows=list(rows)))
        return values

    spec["RangeDecoder"].entry, spec["decode_symbols"] = entry, symbols
    current: list[dict] = []

    def output(frame, d):
        frames.append(dict(frame=frame, tensors=list(current), occupancy=list(d["occupancy"]),
                           reconstructed=[list(t) for t in d["tensors"]]))
        current.clear()

    spec["decode"](data, output)
    return frames


def _symbols(data: bytes, frame: int, tensor: int) -> str:
    traced = _traced(data)[frame]["tensors"][tensor]
    lines = [f"data {traced['data'].hex(' ', -4)}", "",
             "quantile  entry  low after         range after       point after"]
    lines += [f"{q:8}  {i:5}  {low:016x}  {size:016x}  {point:016x}" for q, i, low, size, point in traced["rows"]]
    values = " ".join(str(v) for _, v in sorted(traced["values"].items()))
    return "```text\n" + "\n".join([*lines, "", f"values {values}"]) + "\n```"


def _results(data: bytes) -> str:
    lines = []
    for frame in _traced(data):
        lines.append(f"frame {frame['frame']['number']}")
        if frame["occupancy"]:
            lines.append("  occupancy " + "".join(map(str, frame["occupancy"])))
        decoded = iter(frame["tensors"])
        for t in frame["frame"]["tensors"]:
            mask = next(decoded) if t["significance"] >= 2 else None
            coded = next(decoded)
            lines += [f"  tensor {t['id']}", "    coded cells " + " ".join(map(str, coded["cells"]))]
            for name, part in (("mask", mask), ("values", coded)):
                if part is not None:
                    values = " ".join(str(v) for _, v in sorted(part["values"].items()))
                    lines.append(f"    {name:<11} {values}".rstrip())
            lines.append("    tensor      " + " ".join(map(str, frame["reconstructed"][t["id"]])))
    return "```text\n" + "\n".join(lines) + "\n```"


def _transform(transform: int, levels: int, cells: int, coefficients: tuple[int, ...]) -> str:
    info = dict(depth=1, height=1, width=cells)
    values = spec_decoder.namespace()["inverse_transform"](info, transform, levels, coefficients)
    lines = ("coefficients", coefficients), ("cells", values)
    return "```text\n" + "\n".join(f"{name:<12} " + " ".join(map(str, v)) for name, v in lines) + "\n```"
