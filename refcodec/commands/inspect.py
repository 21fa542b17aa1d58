"""`refcodec inspect`."""
from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import click

from ..errors import EXIT_NOT_CONFORMING, RefcodecError, UsageError
from ..inspection import CodedTensor, InspectionReport, elements, hex_lines, inspect, tool_dict
from ..syntax.coding import Prediction, Transform
from ..syntax.declare import Trace
from ..syntax.headers import SequenceHeader
from ..syntax.units import Unit
from .common import FileCommand, InputPath, examples, open_input, printable, to_json

_BAR = 40
Row = Sequence[object]


@click.command("inspect", cls=FileCommand, epilog=examples(
    "refcodec inspect fox.rfv",
    "refcodec inspect fox.rfv --hex --unit 1",
    "refcodec inspect fox.rfv --json --symbols"))
@click.argument("file", type=InputPath(allow_dash=True))
@click.option("--tree", is_flag=True, help="Every syntax element: offset, length, value, descriptor, section.")
@click.option("--hex", "hexadecimal", is_flag=True, help="The tree with the raw bytes of every element.")
@click.option("--unit", "units", type=click.IntRange(0), multiple=True,
              help="Only this unit in the tree (0 is the file header). Repeatable.")
@click.option("--frame", "frames", type=click.IntRange(0), multiple=True,
              help="Only the unit of this frame in the tree. Repeatable.")
@click.option("--symbols", is_flag=True,
              help="Count coded symbols (reads the occupancy): bits per symbol, not only per element.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable (schemas/inspect.schema.json).")
def command(file: str, tree: bool, hexadecimal: bool, units: tuple[int, ...], frames: tuple[int, ...], symbols: bool,
            as_json: bool) -> int:
    """Show what FILE (- for a pipe) holds. Nothing but headers is decoded.

    A damaged file is shown up to the damage; the exit code is then 2.
    """
    lines: list[str] = []
    trees: list[dict[str, Any]] = []
    view_tree = tree or hexadecimal or bool(units) or bool(frames)

    def on_unit(number: int, unit: Unit | None, trace: Trace) -> None:
        chosen = not (units or frames) or number in units
        if frames and unit is not None:
            chosen = chosen or any(s.path == "frame.frame_number" and s.value in frames for s in trace.spans)
        if chosen:
            if as_json:
                trees.append(_tree_dict(number, unit, trace, hexadecimal))
            else:
                lines.extend(_tree(number, unit, trace, hexadecimal))

    try:
        source = open_input(file) if file == "-" else file
        report = inspect(source, symbols=symbols, on_unit=on_unit if view_tree else None)
        report.path = os.fspath(file)
    except RefcodecError as e:
        if not as_json:
            raise
        click.echo(to_json(dict(**tool_dict(), file=dict(path=file, bytes=None), failure=str(e))))
        return e.exit_code
    if view_tree and not lines and not trees and report.error is None:
        raise UsageError("the stream has no such unit or frame")
    if as_json:
        click.echo(to_json(report.to_dict() | ({"elements": trees} if view_tree else {})))
    else:
        click.echo("\n".join(lines if view_tree else _summary(report)))
        if report.error is not None:
            click.echo(f"refcodec: error: {report.error}", err=True)
    return EXIT_NOT_CONFORMING if report.error else 0


def _table(rows: Sequence[Row], indent: str = "  ") -> list[str]:
    """Aligned columns, the first row being the heading; numbers to the right."""
    text = [["" if v is None else str(v) for v in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*text)]
    right = [all(_number(row[i]) for row in text[1:]) for i in range(len(widths))]
    return [(indent + "  ".join(v.rjust(w) if r else v.ljust(w) for v, w, r in zip(row, widths, right))).rstrip()
            for row in text]


def _number(text: str) -> bool:
    return not text or text.replace(",", "").replace(".", "").replace("-", "").isdigit()


def _summary(r: InspectionReport) -> list[str]:
    size = f"{r.size:,} bytes" if r.size is not None else "size unknown"
    out = [f"{printable(r.path)}: {size}"]
    if r.file_header:
        version = "{}.{}".format(*r.file_header.version)
        needed = f", level {r.needed_level} would do" if r.needed_level and r.needed_level < r.file_header.level else ""
        out.append(f"RFV {version}, profile {r.file_header.profile}, level {r.file_header.level}{needed}")
    if r.header:
        out += _sequence(r, r.header)
    if r.shared:
        out += ["", f"Shared tensors ({len(r.shared['tensors'])}): {r.shared['bytes']:,} bytes"]
    if r.header and r.frames:
        out += _tools(r, r.header)
        out += _frames(r, r.header)
        out += _components(r)
    out += ["", f"Units ({len(r.units)})"]
    out += _table([("unit", "offset", "bytes", "type", ""),
                   *((u["number"], u["offset"], u["bytes"], u["label"],
                      "" if u["known"] else "unknown, ancillary") for u in r.units)])
    if r.index:
        out += ["", f"Index: {len(r.index['entries'])} entries at byte {r.index['offset']}"]
    elif r.complete:
        out += ["", "Index: none"]
    for camera in r.cameras:
        if camera is r.cameras[0]:
            out += ["", f"Cameras ({len(r.cameras)})"]
        fx, fy = camera["focal"]
        at = ", ".join(f"{row[3]:.3f}" for row in camera["camera_to_world"])
        scene = f"scene {camera['scene']}, " if r.header and r.header.further_scenes else ""
        out.append(f"  {printable(camera['name']) or '-'}: {scene}{camera['width']}x{camera['height']}, "
                   f"focal {fx:.1f} {fy:.1f}, at ({at})")
    if r.metadata:
        out += ["", "Metadata"] + [f"  {key}: {printable(value)}" for key, value in r.metadata.items()]
    return out


def _sequence(r: InspectionReport, h: SequenceHeader) -> list[str]:
    box = " to ".join("({})".format(", ".join(f"{v:.4g}" for v in corner)) for corner in h.box)
    occupancy = "x".join(map(str, h.occupancy_dims)) if h.has_occupancy else "none"
    elements_total = sum(t.size for t in h.tensors)
    out = ["", f"Sequence: {h.representation.name.lower()}, box {box}",
           f"  occupancy {occupancy}, {h.samples_per_diagonal} samples per diagonal, background "
           f"#{bytes(h.background).hex()}, {h.ticks_per_second} ticks/s, digests {'yes' if h.digest_type else 'no'}"]
    if h.further_scenes:
        out += _scenes(r, h)
    out += ["", f"Tensors ({len(h.tensors)}; {elements_total:,} elements, "
               f"{4 * elements_total / 1e6:.2f} MB reconstructed)"]
    from ..inspection import tensor_label

    return out + _table([("id", "tensor", "shape c,z,y,x", "elements", "mapping", "alignment", "frequency"), *(
        (i, tensor_label(t), "x".join(map(str, t.shape)), t.size, t.mapping.name.lower(),
         t.alignment.name.lower(), f"{t.frequency / 65536:.3f}" if t.frequency else "")
        for i, t in enumerate(h.tensors))])


def _scenes(r: InspectionReport, header: SequenceHeader) -> list[str]:
    rows: list[Row] = [("scene", "box", "samples", "background", "groups", "frames")]
    for i in range(header.scene_count):
        h, groups = header.of_scene(i), [g for g in r.groups if g["scene"] == i]
        box = " to ".join("({})".format(", ".join(f"{v:.4g}" for v in corner)) for corner in h.box)
        rows.append((i, box, h.samples_per_diagonal, f"#{bytes(h.background).hex()}", len(groups),
                     sum(g["frame_count"] for g in groups)))
    return ["", f"Scenes ({header.scene_count})"] + _table(rows)


_SIGNIFICANCES = ("all", "occupied", "mask", "occupied, mask")


def _tools(r: InspectionReport, header: SequenceHeader) -> list[str]:
    """The coding tools of each tensor, over all units that carry it."""
    from ..inspection import tensor_label

    coded = [t for f in r.frames for t in f.tensors]
    rows: list[Row] = [("id", "tensor", "prediction", "transform", "significance", "family", "finest step",
                        "coarsest step", "mask bytes")]
    for i, info in enumerate(header.tensors):
        found = [t for t in coded if t.id == i]
        if not found:
            continue
        steps = [s for t in found for s in t.steps]
        rows.append((i, tensor_label(info), " ".join(dict.fromkeys(Prediction.of(t.prediction).option for t in found)),
                     " ".join(dict.fromkeys(_transform(t) for t in found)),
                     " / ".join(dict.fromkeys(_SIGNIFICANCES[t.significance] for t in found)),
                     " ".join(dict.fromkeys(t.family or "undefined" for t in found)),
                     f"{min(steps):.3g}", f"{max(steps):.3g}", sum(t.mask_bytes for t in found) or ""))
    return ["", "Coding tools"] + _table(rows)


def _transform(t: CodedTensor) -> str:
    return Transform.of(t.transform).label(t.levels)


def _frames(r: InspectionReport, header: SequenceHeader) -> list[str]:
    parts = [f.components(header.tensors) for f in r.frames]
    names = list(dict.fromkeys(name for p in parts for name in p))
    names.sort(key=lambda n: n == "framing")  # last; otherwise the order of the file
    exact = all(t.symbols is not None for f in r.frames for t in f.tensors)
    unit = "bits/sym" if exact else "bits/elem"
    rows: list[Row] = [("frame", "", "time", "bytes", *(n.replace("dif_", "").replace("[", "").replace("]", "")
                                                        for n in names), unit)]
    for f, p in zip(r.frames, parts):
        count = sum(t.elements if not exact or t.symbols is None else t.symbols for t in f.tensors)
        bits = 8 * sum(t.bytes for t in f.tensors) / count if count else 0
        rows.append((f.number, f.type, f"{f.seconds:.3f}", f.bytes, *(p.get(n, "") for n in names), f"{bits:.3f}"))
    for kind, t in r.by_type().items():
        mean = t["mean_components"]
        rows.append(("mean", kind, "", round(t["mean_bytes"]),
                     *(round(mean[n]) if n in mean else "" for n in names), ""))
    title = f"Frames ({len(r.frames)} in {len(r.groups)} groups, {_seconds(r):.3f} s)"
    hint = "" if exact else "; bits per element of the tensors, --symbols for coded symbols"
    return ["", title + ": bytes by component" + hint] + _table(rows)


def _seconds(r: InspectionReport) -> float:
    """From the first frame to the last of each scene, together; time stamps start again with each scene."""
    spans: dict[int, list[float]] = {}
    for f in r.frames:
        group = next(g for g in reversed(r.groups) if g["unit"] < f.unit)
        spans.setdefault(group["scene"], []).append(f.seconds)
    return sum(times[-1] - times[0] for times in spans.values())


def _components(r: InspectionReport) -> list[str]:
    totals = r.components()
    total = sum(totals.values())
    width, longest = max(map(len, totals)), max(totals.values())
    out = ["", f"Bytes by component ({total:,} in all)"]
    for name, size in sorted(totals.items(), key=lambda item: -item[1]):
        bar = "█" * max(1, round(_BAR * size / longest)) if size else ""
        out.append(f"  {name.ljust(width)}  {size:>12,}  {100 * size / total:5.1f} %  {bar}")
    return out


def _tree(number: int, unit: Unit | None, trace: Trace, hexadecimal: bool) -> list[str]:
    if unit is None:
        out = ["unit 0: file_header, at byte 0, 16 bytes"]
    else:
        out = [f"unit {number}: {unit.label}, at byte {unit.offset}, {unit.size} bytes"]
    rows: list[Row] = [("offset", "length", *(["bytes"] if hexadecimal else []), "element", "value", "type", "section")]
    for span, data in elements(unit, trace):
        row = (span.offset, span.length, span.path, _value(span.value), span.descriptor, span.section)
        if not hexadecimal:
            rows.append(row)
            continue
        first, *more = hex_lines(data)
        rows.append([*row[:2], first, *row[2:]])
        rows += [["", "", line, "", "", "", ""] for line in more]
    return out + _table(rows)


def _tree_dict(number: int, unit: Unit | None, trace: Trace, hexadecimal: bool) -> dict[str, Any]:
    """A unit's elements for JSON; bytes as hexadecimal text."""
    rows = [dict(path=span.path, offset=span.offset, length=span.length, value=_json_value(span.value),
                 descriptor=span.descriptor, section=span.section, **({"hex": data.hex()} if hexadecimal else {}))
            for span, data in elements(unit, trace)]
    return dict(unit=number, elements=rows)


def _json_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_json_value(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such numbers
    return value


def _value(value: Any) -> str:
    """A value on a line: numbers, short lists, text or the beginning of the bytes."""
    if isinstance(value, bytes):
        if value and value.isascii() and value.decode().isprintable():
            return repr(value[:40].decode()) + ("…" if len(value) > 40 else "")
        return value[:12].hex(" ") + ("…" if len(value) > 12 else "")
    if isinstance(value, tuple):
        shown = ", ".join(map(_value, value[:8]))
        return f"({shown}, … {len(value)} values)" if len(value) > 8 else f"({shown})"
    return f"{value:.7g}" if isinstance(value, float) else str(value)
