"""The worked examples of Annex B: annotated bytes of vectors, a trace of the range decoder, inverse transforms."""
from __future__ import annotations

import io
import re
from pathlib import Path

import spec_decoder
from refcodec.syntax import structures as syn
from refcodec.syntax.headers import SequenceHeader
from refcodec.syntax.registry import LEVELS, UnitType
from refcodec.syntax.units import UnitReader

_BLOCK = re.compile(r"<!-- example: (bytes|symbols|results|transform|contexts|field|ray) ([\w-]+)((?: \d+)*) -->\n"
                    r".*?<!-- end example -->", re.S)

# Transforms of one axis: transform, levels, cells, coefficients.
TRANSFORMS = {
    "dct": (1, 0, 11, (400, 80, -120, 33, 50, -7, 0, 20, -30, 0, 11, 5, 0, 0, -9, 2)),
    "wavelet": (2, 2, 7, (150, -60, 40, 12, -25, 8, 3)),
}


RENDERS = Path(__file__).resolve().parent / "renders"
# The worked context model: a joint one of two channels with mixture tables, as chapter 5 reads it, and what it decodes.
CONTEXT_MODEL = {
    "type": 1, "family": 2, "joint": 1, "channels": 2, "scan": [0, 0, 1, 1],
    "template": [(0, 0, 0, 0, -1), (0, 0, 0, -1, 0), (3, 0, 0, 0, 0)],
    "hidden_shift": 2, "hidden_weight": [[9, -4, 7, 3, 12], [-8, 6, 5, -9, 20]], "hidden_bias": [40, 25],
    "location_shift": 6, "scale_shift": 5, "shape_shift": 6,
    "output_weight": [[5, -3], [9, 4], [-2, 6], [-6, 2], [4, 7], [3, 1]],
    "output_bias": [-30, 300, 20, 10, 420, 90],
}
CONTEXT_GRID = {"channels": 2, "depth": 1, "height": 2, "width": 2, "band": [0] * 4, "blocks": (1, 1, 1)}
CONTEXT_PREVIOUS = {(0, 0): 3, (1, 1): -2, (3, 0): 1}
CONTEXT_DATA = bytes.fromhex("d70b7471 7c1ef0a1 10")


def fill(text: str, vectors: dict[str, bytes]) -> str:
    """The annex with every generated block regenerated from the vectors."""

    def block(match: re.Match) -> str:
        kind, name, numbers = match[1], match[2], [int(n) for n in match[3].split()]
        if kind == "transform":
            made = _transform(*TRANSFORMS[name])
        elif kind == "contexts":
            made = _contexts()
        elif kind in ("field", "ray"):
            made = {"field": _field, "ray": _ray}[kind]((RENDERS / name / "stream.rfv").read_bytes(), *numbers)
        else:
            made = {"bytes": _bytes, "symbols": _symbols, "results": _results}[kind](vectors[name], *numbers)
        return f"<!-- example: {kind} {name}{match[3]} -->\n{made}\n<!-- end example -->"

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


def _contexts() -> str:
    """Every symbol of the worked context model, from its inputs to the state of the range decoder after it."""
    spec: dict = {"__name__": "spec"}
    exec(compile(spec_decoder.pseudo_code(spec_decoder.SPEC), "spec pseudo-code", "exec"), spec)
    lines: list[str] = []
    inputs_of, predict, decode_entry = spec["inputs_of"], spec["predict"], spec["RangeDecoder"].entry

    def inputs(model, info, cell, c, current, previous):
        found = inputs_of(model, info, cell, c, current, previous)
        sums = [b + sum(w * i for w, i in zip(ws, found))
                for ws, b in zip(model["hidden_weight"], model["hidden_bias"])]
        hidden = [spec["CLAMP"](spec["shifted"](v, model["hidden_shift"]), 0, 1023) for v in sums]
        outputs = [b + sum(w * h for w, h in zip(ws, hidden))
                   for ws, b in zip(model["output_weight"], model["output_bias"])][3 * c : 3 * c + 3]
        lines.append(f"cell {cell} channel {c}: inputs {found}, sums {sums}, hidden {hidden}, outputs {outputs}")
        return found

    def predicted(model, info, cell, c, current, previous):
        location, table = predict(model, info, cell, c, current, previous)
        low, size = location + spec["MIXTURE"][table]["low"], len(spec["MIXTURE"][table]["frequencies"]) - 1
        lines.append(f"  location {location}, table {table} (shape {table // 44}, scale {table % 44}): values {low} to "
                     f"{low + size - 1}")
        return location, table

    def entry(self, frequencies):
        index = decode_entry(self, frequencies)
        what = "bit  " if len(frequencies) == 2 else "entry"
        lines.append(f"{what} {index:3}  low {self.low:016x}  range {self.range:016x}  point {self.point:016x}")
        return index

    spec["inputs_of"], spec["predict"], spec["RangeDecoder"].entry = inputs, predicted, entry
    values = spec["decode_symbols"](CONTEXT_MODEL, CONTEXT_GRID, range(4), None, CONTEXT_PREVIOUS, CONTEXT_DATA)
    lines = [f"data {CONTEXT_DATA.hex(' ', -4)}", "", *lines, "",
             "values " + " ".join(str(v) for _, v in sorted(values.items()))]
    return "```text\n" + "\n".join(lines) + "\n```"


def _reals(values) -> str:
    return " ".join(f"{v:.6f}" for v in values)


def _field(data: bytes) -> str:
    """Values of every grid, features, density and colour of frame 0 at one point."""
    spec, (fields, _) = spec_decoder.renderer(), spec_decoder.fields(data)
    field, point, direction = fields[0], [0.35, -0.6, 0.8], [2 / 3, -1 / 3, 2 / 3]
    lines = [f"point       {_reals(point)}", f"direction   {_reals(direction)}"]
    for (role, index), part in field["parts"].items():
        if part["mapping"]:
            corners = [spec["corners"](field, part, axis, point[axis]) for axis in (0, 1, 2)]
            places = ", ".join(f"{'xyz'[axis]} {i}: {a:.6f}, {j}: {b:.6f}"
                               for axis, ((i, a), (j, b)) in enumerate(corners))
            lines += [f"role {role} index {index}", f"  weights   {places}",
                      f"  values    {_reals(spec['interpolate'](field, role, index, point))}"]
    if field["representation"] == 5:
        lines.append(f"encoded     {_reals(spec['encoded_position'](field, point))}")
    sigma, features = spec["evaluate"](field, point)
    lines += [f"features    {_reals(features)}", f"density     {sigma:.6f}",
              f"colour      {_reals(spec['colour_of'](field, features, direction))}"]
    return "```text\n" + "\n".join(lines) + "\n```"


def _ray(data: bytes, camera: int, column: int, row: int) -> str:
    """Samples, weights and result of a ray of frame 0."""
    spec, (fields, last) = spec_decoder.renderer(), spec_decoder.fields(data)
    field, view = fields[0], last["cameras"][camera]
    origin, direction = spec["camera_ray"](view, column, row)
    near, far = spec["crossing"](field, origin, direction)
    ray = spec["render_ray"](field, origin, direction)
    lines = [f"camera {camera}, pixel ({column}, {row})", f"origin     {_reals(origin)}",
             f"direction  {_reals(direction)}",
             f"t_near {near:.6f}, t_far {far:.6f}, step {spec['ray_step'](field):.6f}"]
    if field["coarse_samples"]:
        _, coarse = spec["placed_samples"](field, origin, direction, near, far)
        lines += ["", "coarse c  weight u"] + [f"{t:.6f}  {weight:.6f}" for t, _, weight in coarse]
    lines += ["", "t         length    occupied  density   weight w"]
    for t, length, weight in ray["samples"]:
        point = spec["point_at"](origin, direction, t)
        occupied = spec["is_occupied"](field, point)
        density = f"{spec['evaluate'](field, point)[0]:.6f}" if occupied else "-"
        lines.append(f"{t:.6f}  {length:.6f}  {'yes' if occupied else 'no':<8}  {density:<8}  {weight:.6f}")
    lines += ["", f"colour {_reals(ray['rgb'])}, opacity {ray['opacity']:.6f}, depth {ray['depth']:.6f}"]
    return "```text\n" + "\n".join(lines) + "\n```"
