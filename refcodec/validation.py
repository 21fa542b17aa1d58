"""Checks a stream against the specification and reports every violation, not only the first.

`validate` decodes the whole stream with the decoder's own checks and goes on after
each violation: a damaged unit costs what depends on it, no more. Within one unit the
first violation is reported, since what follows it can't be trusted.
"""
from __future__ import annotations

import io
import re
import struct
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .decoding import IndexEntry, Limits, SequenceDecoder, checks
from .decoding.checks import Position
from .errors import BitstreamError, UsageError
from .inspection import Demand, parse_unit, tool_dict
from .requirements import ERROR_CODES, REQUIREMENTS
from .sources import StreamSource, read_stream
from .syntax import structures as syn
from .syntax.coding import FrameType
from .syntax.declare import Trace
from .syntax.headers import SequenceHeader
from .syntax.registry import LEVELS, UnitType
from .syntax.units import FILE_HEADER_SIZE, UNIT_HEADER_SIZE, FileHeader, Unit, UnitReader, following_unit

SCHEMA = "validate.schema.json"


@dataclass(frozen=True, slots=True)
class Note:
    """A remark on a stream that breaks no requirement."""

    code: str
    name: str
    severity: str
    section: str
    text: str
    cause: str


NOTES = {n.code: n for n in (
    Note("W001", "level_too_high", "warning", "10.2", "A lower level would hold the stream.",
         "An encoder that declares a fixed level; decoders with little memory will refuse the file needlessly."),
    Note("W002", "unused_model", "warning", "4.8", "An entropy model is defined and never used.",
         "A wasteful encoder."),
    Note("W003", "unknown_unit", "warning", "4.2", "An ancillary unit of unknown type was skipped.",
         "The file holds a private extension or one of a later version."),
    Note("W004", "no_index", "warning", "3.3", "The file has no index, so seeking means reading it from the front.",
         "A streaming encoder, or an editor that dropped the index."),
    Note("W005", "no_digests", "warning", "7.4", "Frames carry no digest, so wrong decoding can't be noticed.",
         "An encoder that leaves them out."),
    Note("I001", "not_checked", "info", "3.4", "Part of the stream depends on what is broken and was not checked.",
         "A violation reported before."),
)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation or remark. offset: byte in the stream; frame: frame_number; None where there is none."""

    code: str
    name: str
    severity: str
    kind: str
    requirement: str | None
    section: str
    offset: int | None
    element: str | None
    frame: int | None
    message: str
    cause: str


@dataclass(slots=True)
class ValidationReport:
    """Outcome of `validate`. frames: frame units met; checked: those decoded and found right."""

    path: str
    size: int
    findings: list[Finding] = field(default_factory=list)
    file_header: FileHeader | None = None
    header: SequenceHeader | None = None
    needed_level: int | None = None
    groups: int = 0
    frames: int = 0
    checked: int = 0

    def count(self, severity: str) -> int:
        return sum(f.severity == severity for f in self.findings)

    @property
    def conforming(self) -> bool:
        return self.count("error") == 0

    def verdict(self) -> str:
        """One line on the whole stream, its profile and level."""
        if self.file_header is None:
            kind = "not an RFV file" if any(f.code == "E0101" for f in self.findings) else "unreadable file header"
            return f"does not conform: {kind}"
        h = self.file_header
        declared = "RFV {}.{}".format(*h.version) + f", profile {h.profile} (Main), level {h.level}"
        counts = f"{self.checked} of {self.frames} frames in {self.groups} groups checked"
        if self.conforming:
            return f"conforms to {declared}; {counts}"
        errors = self.count("error")
        return f"does not conform to {declared}: {errors} error{'s' * (errors > 1)}; {counts}"

    def to_dict(self) -> dict[str, object]:
        """The file's entry in the JSON report (`schemas/validate.schema.json`)."""
        h = self.file_header
        return dict(
            path=self.path, bytes=self.size, conforming=self.conforming, verdict=self.verdict(),
            stream=h and dict(version="{}.{}".format(*h.version), profile=h.profile, level=h.level,
                              needed_level=self.needed_level),
            groups=self.groups, frames=self.frames, frames_checked=self.checked,
            counts={s: self.count(s) for s in ("error", "warning", "info")},
            findings=[asdict(f) for f in self.findings])


def validate(source: StreamSource, limits: Limits = Limits()) -> ValidationReport:
    """Checks a stream completely. source: a path, a binary file (from its position on), a pipe, or a file's bytes; it
    is read into memory. Raises UsageError for what can't be read, and BitstreamError (R-LIM-01) for what goes beyond
    the limits, since nothing is then known of what follows.
    """
    read = read_stream(source)
    return _Validator(read.data, read.name, read.size, limits).run()


def json_report(files: list[dict[str, object]]) -> dict[str, object]:
    """The whole JSON report over the files' entries."""
    return dict(**tool_dict(), files=files)


class _Validator:
    """Drives a decoder over a stream and past its violations.

    broken: the rest of the current group can't be decoded. lost: some unit could not
    be read, so that index and totals can't be checked. base_lost: nor what is predicted
    from shared tensors. The decoder's own bookkeeping
    stops at its first error; `entries`, `groups` and `index_offset` replace it.
    """

    def __init__(self, data: bytes, path: str, size: int, limits: Limits):
        self.data, self.limits = data, limits
        self.report = ValidationReport(path, size)
        self.reader = UnitReader(io.BytesIO(data))
        self.decoder: SequenceDecoder  # once the file header is read
        self.broken = self.lost = self.base_lost = False
        self.demand: Demand  # once the sequence header is read
        self.entries: list[IndexEntry] = []
        self.group: Unit | None = None
        self.group_numbers = range(0)
        self.group_frames = self.longest_group = self.largest_unit = 0
        self.group_decoded = 0
        self.last_number = -1
        self.last_scene = 0
        self.index_offset = 0
        self.unused: dict[int, tuple[int, int | None]] = {}

    # Findings

    def add(self, e: BitstreamError, frame: int | None = None) -> None:
        if e.requirement == "R-LIM-01":  # no violation
            raise e
        self.report.findings.append(Finding(
            e.code, e.name, "error", e.kind, e.requirement, e.section, e.offset, e.element, frame, e.detail,
            ERROR_CODES[e.code].cause))

    def note(self, code: str, message: str = "", offset: int | None = None, element: str | None = None,
             frame: int | None = None) -> None:
        n = NOTES[code]
        self.report.findings.append(Finding(
            code, n.name, n.severity, "note", None, n.section, offset, element, frame, message or n.text, n.cause))

    # Units

    def run(self) -> ValidationReport:
        report = self.report
        header = self._file_header()
        if header is None:
            self.note("I001", "Nothing after the file header was checked.", min(FILE_HEADER_SIZE, len(self.data)))
            return report
        report.file_header = header
        self.reader.header, self.decoder = header, SequenceDecoder(header, limits=self.limits)
        self._units()
        self._end_group()
        report.header = self.decoder.header
        if report.header is None:
            self.note("I001", "Without a sequence header, only checksums could be checked.")
            return report
        self._remarks()
        return report

    def _file_header(self) -> FileHeader | None:
        """All violations of the file header; None when the rest can't be understood."""
        data, fatal = self.data[:FILE_HEADER_SIZE], False
        while True:
            try:
                header = UnitReader(io.BytesIO(data)).read_file_header()
                self.reader.seek(FILE_HEADER_SIZE)
                return None if fatal else header
            except BitstreamError as e:
                self.add(e)
                body = bytearray(data[:12])
                match e.requirement:  # corrected, to find further violations
                    case "R-FILE-02":
                        pass
                    case "R-FILE-03":
                        body[8:10], fatal = bytes(syn.VERSION), True
                    case "R-FILE-04":
                        body[10], fatal = syn.PROFILE_MAIN, True
                    case "R-FILE-05":
                        body[11], fatal = max(LEVELS), True
                    case _:
                        return None
                data = bytes(body) + struct.pack("<I", zlib.crc32(body))

    def _units(self) -> None:
        while not self.decoder.ended:
            start = self.reader.offset
            unit: Unit | None
            try:
                unit = self.reader.next_unit()
            except BitstreamError as e:
                self.add(e)
                if self.reader.offset > start:  # whole, but of a wrong type or flag
                    unit = self._as_known(start)
                else:
                    unit, self.broken, self.lost = None, True, True
                    self.base_lost |= not self.report.groups
                    if (following := following_unit(self.data, start, self.decoder.file_header)) is None:
                        return
                    self.reader.seek(following)
            if unit is not None:
                self.largest_unit = max(self.largest_unit, len(unit.payload))
                self._take(unit)
        try:
            self.reader.expect_end()
        except BitstreamError as e:
            self.add(e)

    def _as_known(self, start: int) -> Unit | None:
        """The unit at `start` in spite of its flags; None when its type is unknown."""
        kind, flags = self.data[start], self.data[start + 1]
        if kind not in UnitType._value2member_map_:
            self.broken = self.lost = True  # a critical unit: what follows may depend on it
            return None
        payload = self.data[start + UNIT_HEADER_SIZE : self.reader.offset - 4]
        return Unit(UnitType(kind), start, payload, flags)

    # Contents

    def _take(self, unit: Unit) -> None:
        if self.decoder.header is None:
            if unit.type == UnitType.SEQUENCE_HEADER or not self.report.findings:
                self._feed(unit)
            if self.decoder.header is not None:
                self.demand = Demand(self.decoder.header)
            if unit.type == UnitType.END:  # nothing in it can be checked, but it is there
                self.decoder.ended = True
            return
        match unit.type:
            case UnitType.FRAME:
                self._frame(unit)
            case UnitType.GROUP_HEADER:
                self._group_header(unit)
            case UnitType.INDEX | UnitType.END:
                self._closing(unit)
            case _:
                if not unit.known:
                    self.note("W003", f"Unit type {int(unit.type)}, {len(unit.payload)} bytes.", unit.offset,
                              "unit_header.unit_type")
                elif self.broken and self.decoder.frames_left:
                    self.decoder.jump()
                error = self._feed(unit)
                if unit.type == UnitType.SHARED:
                    self._shared(unit, error)

    def _feed(self, unit: Unit) -> BitstreamError | None:
        try:
            self.decoder.feed(unit)
        except BitstreamError as e:
            self.add(e)
            return e
        return None

    def _again(self, unit: Unit, error: BitstreamError) -> BitstreamError | None:
        """Feeds a unit that stood in a wrong place once more, as if it followed damage."""
        self.decoder.jump()
        try:
            self.decoder.feed(unit)
        except BitstreamError as e:
            if e.requirement != error.requirement:
                self.add(e)
            return e
        return None

    def _end_group(self) -> None:
        if self.group is None:
            return
        # The decoder sees a wrong number of frames by itself, unless it stopped in the group.
        if self.broken:
            numbers = self.group_numbers[self.group_decoded :]
            if numbers:
                last = f" to {numbers[-1]}" if len(numbers) > 1 else ""
                self.note("I001", f"Frames {numbers[0]}{last}: the violation and what depends on it.",
                          self.group.offset)
            if not self.lost and (fault := checks.group_frames_fault(len(self.group_numbers), self.group_frames)):
                self.add(BitstreamError(fault.requirement, self.group.offset, fault.element, fault.detail))
        else:
            self._report_unused(self.unused, "frame")
        self.unused.clear()
        self.group = None

    def _report_unused(self, unused: dict[int, tuple[int, int | None]], unit: str) -> None:
        for model, (offset, frame) in unused.items():
            self.note("W002", f"Model {model} is not used.", offset, f"{unit}.model.model_id", frame)

    def _group_header(self, unit: Unit) -> None:
        was_broken = self.broken
        self._end_group()
        if was_broken:
            self.decoder.jump()
        self.report.groups += 1
        self.broken = False
        error = self._feed(unit)
        if error is not None and error.requirement in ("R-GRP-04", "R-GRP-05", "R-GRP-06"):
            reported: BitstreamError | None = error
            error = self._again(unit, error)
        else:
            reported = error
        if error is not None:
            self.broken = True
            return
        group = self.decoder.current_group
        if self.decoder.mid_stream and reported is None:
            _, trace = parse_unit(unit, self.decoder.file_header, self.decoder.header)
            if fault := Position(self.last_scene, self.last_number).group_fault(
                    group.scene, group.first_frame, group.frame_count):
                self.add(fault.error(trace))
        self.last_scene = max(self.last_scene, group.scene)
        self.group, self.group_frames, self.group_decoded = unit, 0, 0
        self.group_numbers = range(group.first_frame, group.first_frame + group.frame_count)
        self.longest_group = max(self.longest_group, group.frame_count)

    def _frame(self, unit: Unit) -> None:
        self.report.frames += 1
        self.group_frames += 1
        value: syn.FrameSyntax | None = None
        if not self.broken:
            try:
                frame = self.decoder.feed(unit)
                assert frame is not None, "all frames are wanted"
                value, trace = frame.syntax, frame.trace
                self.report.checked += 1
                self.group_decoded += 1
                self._models(value, trace, self.unused, "frame", value.frame_number)
            except BitstreamError as e:
                self.broken = True
                try:
                    value, _ = parse_unit(unit, self.decoder.file_header, self.decoder.header)
                except BitstreamError:
                    pass
                if e.requirement != "R-TEN-12" or not self.base_lost:  # else the group's note says enough
                    self.add(e, None if value is None else value.frame_number)
        else:
            try:
                value, _ = parse_unit(unit, self.decoder.file_header, self.decoder.header)
            except BitstreamError as e:
                self.add(e)
        if value is None:
            self.lost = True
            return
        self.demand.frame(value)
        self.last_number = max(self.last_number, value.frame_number)
        start = self.group if value.frame_type == FrameType.INTRA and self.group is not None else unit
        self.entries.append(IndexEntry(value.frame_number, FrameType(value.frame_type), start.offset))

    def _shared(self, unit: Unit, error: BitstreamError | None) -> None:
        """Models of the shared unit, and what its loss means for frames."""
        self.base_lost |= error is not None
        try:
            value, trace = parse_unit(unit, self.decoder.file_header, self.decoder.header)
        except BitstreamError:
            return
        self.demand.shared(value)
        if error is None:
            unused: dict[int, tuple[int, int | None]] = {}
            self._models(value, trace, unused, "shared", None)
            self._report_unused(unused, "shared")

    def _models(self, value: syn.CodingSyntax, trace: Trace, unused: dict[int, tuple[int, int | None]], unit: str,
                frame: int | None) -> None:
        """Keeps account of the models that no tensor has used; notes those that are replaced before."""
        element = f"{unit}.model.model_id"
        for i, model in enumerate(value.model):
            if model.model_id in unused:
                offset, defined = unused[model.model_id]
                self.note("W002", f"Model {model.model_id} is replaced before it is used.", offset, element, defined)
            defined_at = trace.offset(f"{unit}.model[{i}].model_id")
            assert defined_at is not None
            unused[model.model_id] = (defined_at, frame)
        used = [ref for tensor in value.tensor for ref in (tensor.model_ref, tensor.mask_model_ref)]
        for ref in [*used, value.occupancy_model_ref if isinstance(value, syn.FrameSyntax) else None]:
            if ref is not None:
                unused.pop(ref, None)

    def _closing(self, unit: Unit) -> None:
        """Index and end unit, whose contents the decoder does not check after a violation."""
        was_broken = self.broken
        self._end_group()
        if was_broken:
            self.decoder.jump()
        self.broken = False
        if (error := self._feed(unit)) is not None and error.requirement == "R-GRP-05":
            error = self._again(unit, error)
        if unit.type == UnitType.INDEX:
            self.index_offset = unit.offset
        if error is not None or not self.decoder.mid_stream:
            return
        value, trace = parse_unit(unit, self.decoder.file_header, self.decoder.header)
        if not self.lost:
            faults = [checks.index_fault(value, self.entries)] if unit.type == UnitType.INDEX else [
                checks.index_offset_fault(value, self.index_offset),
                checks.totals_fault(value, self.report.groups, self.report.frames)]
            for fault in faults:
                if fault is not None:
                    self.add(fault.error(trace))
        if self.lost:
            self.note("I001", f"What the {unit.label} unit says of the damaged parts.", unit.offset)

    def _remarks(self) -> None:
        report, declared = self.report, self.decoder.file_header.level
        report.needed_level = self.demand.level(self.largest_unit, self.longest_group)
        if report.needed_level is not None and report.needed_level < declared and not self.lost:
            self.note("W001", f"The file declares level {declared}; level {report.needed_level} would do.", 11,
                      "file_header.level")
        if self.decoder.ended and not self.index_offset and not self.lost:
            self.note("W004")
        if report.header is not None and report.header.digest_type == 0:
            self.note("W005", element="sequence_header.digest_type")


# Explanations


def explain(name: str, folder: Path | None = None) -> str:
    """The entry of a code or requirement in the register, and its paragraphs of the specification.

    name: `E0203`, `R-UNIT-03`, `W001` or an error's name. folder: the specification's,
    by default the one that comes with refcodec. Raises UsageError for an unknown name.
    """
    key = name.strip()
    names = {e.name: e.code for e in ERROR_CODES.values()} | {n.name: n.code for n in NOTES.values()}
    key = names.get(key.lower(), key.upper())
    folder = folder or specification_folder()
    if key in NOTES:
        n = NOTES[key]
        return f"{n.code} {n.name} ({n.severity}, section {n.section})\n  {n.text}\n  Likely cause: {n.cause}"
    if key in REQUIREMENTS:
        code, wanted = ERROR_CODES[REQUIREMENTS[key].code], [REQUIREMENTS[key]]
    elif key in ERROR_CODES:
        code, wanted = ERROR_CODES[key], [r for r in REQUIREMENTS.values() if r.code == key]
    else:
        raise UsageError(f"{name!r} is no error code, requirement or remark")
    out = [f"{code.code} {code.name} ({code.kind})", f"  {code.summary}", f"  Likely cause: {code.cause}"]
    for requirement in wanted:
        out += ["", f"{requirement.id} (section {requirement.section})", f"  {requirement.text}"]
        if folder is not None:
            for chapter, paragraph in _paragraphs(folder, requirement.id):
                out += ["", f"  {chapter}:", *(f"  | {line}" for line in paragraph.splitlines())]
    return "\n".join(out)


def specification_folder() -> Path | None:
    """The folder of the specification's text: in the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "specification", package.parent / "spec"):
        if (folder / "03-structure.md").is_file():
            return folder
    return None


def _paragraphs(folder: Path, requirement: str) -> list[tuple[str, str]]:
    """(file, text) of the paragraphs and table rows that name a requirement, the register's own left out."""
    found = []
    word = re.compile(rf"{re.escape(requirement)}(?![\w-])")
    for path in sorted(folder.glob("*.md")):
        if path.name.startswith("11-"):
            continue
        text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.S | re.M)
        for block in re.split(r"\n\s*\n", text):
            if not word.search(block):
                continue
            if block.lstrip().startswith(("|", "<!--")):
                block = "\n".join(line for line in block.splitlines() if word.search(line))
            found.append((path.name, block.strip()))
    return found
