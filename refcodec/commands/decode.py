"""`refcodec decode`."""
from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import click

from ..errors import EXIT_NOT_CONFORMING, BitstreamError, UsageError
from ..files import writing_text
from ..syntax.units import UnitReader
from .common import (
    FileCommand,
    FrameRange,
    InputPath,
    OutputFile,
    OutputFolder,
    calm_threads,
    examples,
    limit_options,
    limits,
    no_frames,
    open_input,
    outputs,
    printable,
    progress_bar,
    ranges,
    stored_input,
    to_json,
)

_MADE = r"frame_\d{6,}\.(npz|safetensors)|digests\.txt|sequence\.json|salvage\.json"


class _Decode(FileCommand):
    def role(self, parameter: click.Parameter, ctx: click.Context) -> click.ParamType[Any]:
        if parameter.name != "out":
            return parameter.type
        return OutputFile(allow_dash=True) if ctx.params["digests_only"] else OutputFolder(_MADE)


@click.command("decode", cls=_Decode, epilog=examples(
    "refcodec decode fox.rfv out/ --frames 20:40",
    "refcodec decode fox.rfv - --digests-only",
    "refcodec decode damaged.rfv out/ --salvage"))
@click.argument("file", type=InputPath(allow_dash=True))
@click.argument("out", type=OutputFolder(_MADE))
@click.option("--frames", type=FrameRange(), help="Frame numbers: 7, 20:40 (40 excluded), :10, 20:.")
@click.option("--scene", type=click.IntRange(0, 254), help="Only the frames of this scene, counted from 0.")
@click.option("--format", "kind", type=click.Choice(["npz", "safetensors"]), default="npz", show_default=True,
              help="How tensors are stored.")
@click.option("--digests-only", is_flag=True,
              help="Write the digest list only; OUT is its name, - for standard output.")
@click.option("--salvage", "salvaging", is_flag=True,
              help="Decode every intact group of a damaged file and say what was lost.")
@limit_options
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True,
              help="Threads. More than one pay with the compiled kernels.")
@click.option("--kernels", type=click.Choice(["auto", "native", "numpy"]), default="auto", show_default=True,
              help="What does the work: compiled code where it was built, or numpy. The result is the same.")
@click.option("--quiet", is_flag=True, help="No progress, no summary.")
def command(file: str, out: str, frames: range | None, scene: int | None, kind: str, digests_only: bool, salvaging:
            bool, limit_elements: int | None, limit_voxels: int | None, limit_steps: int | None, jobs: int,
            kernels: str, quiet: bool) -> int:
    """Decode FILE (- for a pipe) into the folder OUT.

    Writes frame_NNNNNN.npz (the reconstructed int32 tensors and the occupancy) for
    every frame, digests.txt and sequence.json. Exit code 2 when FILE does not conform
    or something was lost.
    """
    calm_threads()
    from .. import decoding as d
    from ..export import (
        DigestList,
        camera_entry,
        digest_lines,
        frame_entry,
        frame_file,
        frame_writer,
        salvage_dict,
        write_sequence,
        write_text,
    )
    from ..inspection import inspect, scene_frames
    from ..kernels import choose

    if out == "-" and not digests_only:
        raise UsageError("tensors can't be written to standard output; use --digests-only or a folder")
    bounds, chosen = limits(limit_elements, limit_voxels, limit_steps), choose(kernels)
    save = None if digests_only else frame_writer(kind)
    source, lost = stored_input(file) if salvaging or scene is not None else open_input(file), d.Salvage()
    if scene is not None and (of_scene := scene_frames(source, scene)) is not None:
        frames = frames or of_scene
        frames = range(max(frames.start, of_scene.start), min(frames.stop, of_scene.stop))
        if not frames:
            raise UsageError(f"there is no such frame in scene {scene}")
    stream = None
    if not digests_only:  # before anything is written, or removed
        if salvaging:
            _look_at(source)
        else:
            stream = d.open_stream(source, bounds, chosen)
    folder = None if digests_only else outputs().open_folder(out)
    unnamed: set[contextlib.ExitStack] = set()  # frames' files under temporary names

    def record(frame: d.Frame) -> tuple[list[str], dict[str, Any], contextlib.ExitStack | None] | None:
        """All that is kept of a frame: worked out where it is decoded, maybe in a thread ahead of the others."""
        if frames is not None and frame.number not in frames or scene not in (None, frame.scene):
            return None  # salvage hands out all that it finds
        written = save(folder, frame) if folder and save else None
        if written is not None:
            unnamed.add(written)
        return digest_lines(frame), frame_entry(frame, frame_file(frame, kind) if save else None), written

    with contextlib.ExitStack() as stack:
        if out != "-":
            target = folder / "digests.txt" if folder else out
            listing = stack.enter_context(writing_text(target))
        else:
            listing = sys.stdout
        stack.callback(_discard, unnamed)
        digests, entries, error = DigestList(listing), [], None
        advance = stack.enter_context(progress_bar("decoding", None, quiet))
        header, cameras, metadata = None, [], {}
        try:
            if salvaging:
                _look_at(source)
                data = source.read()
                found = inspect(io.BytesIO(data))  # what comes before the first damage
                header, cameras, metadata = found.header, found.cameras, found.metadata
                records: Iterator[Any] = map(record, d.salvage(data, lost, bounds, chosen))
            else:
                stream = stream or d.open_stream(source, bounds, chosen)
                header, metadata = stream.header, stream.metadata
                cameras = [camera_entry(c) for c in stream.cameras]
                records = ahead = stream.map(record, frames, jobs)
                stack.callback(ahead.close)  # threads end before what they wrote is removed
            for lines, entry, written in filter(None, records):
                if written is not None:
                    written.close()
                    unnamed.discard(written)
                digests.add_lines(lines)
                listing.flush()  # whoever reads along need not wait for the next frame
                entries.append(entry)
                advance(1, f"frame {entry['number']}")
        except BitstreamError as e:
            error = e
        first = error or (lost.errors[0] if lost.errors else None)
        if not entries and first is None:
            raise no_frames(frames)
        digests.end(first)
        if folder and header is not None and entries:
            write_sequence(folder / "sequence.json", header, cameras, metadata, entries)
        if folder and salvaging:
            write_text(folder / "salvage.json", to_json(salvage_dict(lost)) + "\n")

    if error is not None:
        raise error
    if lost.errors or lost.lost:
        for damage in lost.errors:
            click.echo(f"refcodec: damage: {damage}", err=True)
        click.echo(f"refcodec: decoded {len(entries)} frames; lost: {ranges(lost.lost) or 'no frame'}", err=True)
        return EXIT_NOT_CONFORMING
    if not quiet and out != "-":
        click.echo(f"{len(entries)} frames decoded to {printable(out)}", err=True)
    return 0


def _look_at(source: BinaryIO) -> None:
    """Reads the file header, for without one nothing can be salvaged however much follows. Raises BitstreamError."""
    UnitReader(source).read_file_header()
    source.seek(0)


def _discard(unnamed: set[contextlib.ExitStack]) -> None:
    """Removes the files of frames behind an error: one thread would not have come to them."""
    for written in unnamed:
        written.__exit__(GeneratorExit, GeneratorExit(), None)
