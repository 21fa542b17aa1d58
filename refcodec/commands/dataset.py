"""`refcodec dataset`: check a dataset before training on it."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..errors import EXIT_OK, EXIT_USAGE
from .common import (
    LAST_FRAME,
    FileCommand,
    FrameRange,
    InputPath,
    OutputFolder,
    box_option,
    corners,
    examples,
    last_frame,
    masks_option,
    outputs,
    printable,
    progress_bar,
    strict_option,
    to_json,
)
from .encode import Indices

if TYPE_CHECKING:
    from ..datasets.layout import MaskOption

_SHOWN = 12  # findings of one code, before the rest are counted


@click.group("dataset", epilog=examples(
    "refcodec dataset check capture/"), context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Check a dataset before training on it (docs/datasets.md)."""


@command.command("check", cls=FileCommand, epilog=examples(
    "refcodec dataset check capture/ --out look/",
    "refcodec dataset check demo/fox --frames :2 --json"))
@click.argument("path", type=InputPath())
@click.option("--out", type=OutputFolder(r"(cameras|contact)\.png"), metavar="FOLDER",
              help="Draw cameras.png, and contact.png with the box in every picture.")
@click.option("--frames", type=FrameRange(), help="The dataset's frame numbers: 7, 20:40 (40 excluded), :10, 20:.")
@click.option("--holdout", type=Indices(), help="Cameras kept out of training, in place of the dataset's; or none.")
@box_option
@masks_option
@click.option("--sample", type=click.IntRange(0), default=3, show_default=True,
              help="Frames whose pixels are looked at, from first to last; 0: headers only.")
@strict_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON (docs/cli.md).")
@click.option("--quiet", is_flag=True, help="No progress.")
def check(path: str, out: str | None, frames: range | None, holdout: tuple[int, ...] | None,
          box: tuple[float, ...] | None, mask_use: MaskOption, sample: int, strict: bool, as_json: bool,
          quiet: bool) -> int:
    """Say what PATH is understood as, and everything that is wrong with it.

    Exit code 1 with errors, which keep it from being encoded; 0 with warnings, unless --strict.
    """
    from ..datasets.drawing import draw_cameras, draw_contact_sheet
    from ..datasets.survey import report, survey

    chosen = _bounded(path, frames) if frames is not None and frames.stop > LAST_FRAME else frames
    with progress_bar("looking at pictures", 1, quiet) as advance:
        done = 0

        def on_progress(count: int, total: int, text: str) -> None:
            nonlocal done
            advance(count - done, text, total)
            done = count

        result = survey(path, frames=chosen, holdout=holdout, aabb=corners(box), samples=sample, masks=mask_use,
                        on_progress=on_progress)
    files = []
    folder = outputs().open_folder(out) if out else None
    if folder and result.views:
        draw_cameras(result, folder / "cameras.png")
        files.append("cameras.png")
    if folder and result.pictures:
        draw_contact_sheet(result, folder / "contact.png")
        files.append("contact.png")
    content = report(result, files)
    if as_json:
        click.echo(to_json(content))
    else:
        _show(content)
        if files:
            click.echo(f"{printable(str(folder))}: {', '.join(files)}", err=True)
    return EXIT_OK if result.usable and not (strict and result.findings) else EXIT_USAGE


def _bounded(path: str, wanted: range) -> range | slice:
    """A range open at its end, up to the dataset's last frame; the survey says it if there is none."""
    from ..errors import DatasetError

    try:
        last = last_frame(path)
    except DatasetError:
        return slice(None)  # it fails in the same way then
    return range(wanted.start, max(last, wanted.start) + 1)


def _show(content: dict[str, Any]) -> None:
    layout = f"layout {content['layout']}" if content["layout"] else "not understood"
    click.echo(f"{printable(content['path'])}: {layout}")
    if content["dataset"]:
        _show_dataset(content["dataset"])
    shown: dict[str, int] = {}
    for finding in content["findings"]:
        shown[finding["code"]] = shown.get(finding["code"], 0) + 1
        if shown[finding["code"]] <= _SHOWN:
            where = f" [{finding['path']}]" if finding["path"] else ""
            click.echo(printable(f"{finding['severity']} {finding['code']}: {finding['message']}{where}"))
    for code, count in shown.items():
        if count > _SHOWN:
            click.echo(f"and {count - _SHOWN} more {code}")
    errors = sum(finding["severity"] == "error" for finding in content["findings"])
    warnings = len(content["findings"]) - errors
    verdict = "can be encoded" if content["usable"] else "can't be encoded"
    click.echo(f"{verdict}: {_count(errors, 'error')}, {_count(warnings, 'warning')}; "
               f"{_count(content['pictures_read'], 'picture')} looked at")


def _show_dataset(d: dict[str, Any]) -> None:
    frames, cameras = d["frames"], d["cameras"]
    numbers = f" ({frames['first']} to {frames['last']})" if frames["count"] > 1 else ""
    rate = f", {d['frame_rate']:g} a second" if d["frame_rate"] else ""
    split = f": {d['train']} to train on, {d['test']} held out" if d["train"] is not None else ""
    click.echo(f"frames      {frames['count']}{numbers}{rate}")
    click.echo(f"views       {d['views']}{split}")
    sizes = sorted({(c["width"], c["height"]) for c in cameras})
    click.echo("size        " + ", ".join(f"{w}x{h}" for w, h in sizes[:4]) + (" …" if len(sizes) > 4 else ""))
    for name, keys in (("focal", ("fx", "fy")), ("principal", ("cx", "cy"))):
        values = [(min(c[k] for c in cameras), max(c[k] for c in cameras)) for k in keys]
        click.echo(f"{name:<12}" + ", ".join(f"{a:.2f}" if b - a < 0.005 else f"{a:.2f} to {b:.2f}" for a, b in values)
                   + " pixels")
    lenses = sorted({c["lens"] for c in cameras if c["lens"]})
    click.echo("lens        " + (", ".join(lenses) + ", undistorted" if lenses else "pinhole"))
    moving = sum(c["moves"] for c in cameras)
    if moving:
        click.echo(f"moving      {moving} of {len(cameras)} cameras")
    if d["masks"] is not None:
        background = ", ".join(f"{v:g}" for v in d["background"])
        click.echo(f"masks       {'yes' if d['masks'] else 'no'}; background {background}")
    if d["box"]:
        corners = ["(" + ", ".join(f"{v:.4g}" for v in corner) + ")" for corner in d["box"]]
        click.echo(f"box         {corners[0]} to {corners[1]}")
    if d["tight_box"]:
        click.echo("tighter     --box " + " ".join(f"{v:.4g}" for corner in d["tight_box"] for v in corner)
                   + " holds the foreground of the frames looked at")
    for text in d["assumptions"]:
        click.echo(f"assumed     {text}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
