"""Rigs of videos: one a camera, all showing the same frames."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from refcodec.datasets.layout import Draft, FrameDraft, FrameSelection, select_frames
from refcodec.datasets.lenses import Lens
from refcodec.datasets.model import Split, View
from refcodec.datasets.videos import is_video, video_header
from refcodec.errors import DatasetError
from refcodec.rendering.cameras import Camera

_SAME_RATE = 1e-3  # 29.97 and 30000/1001 are one rate, 30 is another


@dataclass(frozen=True)
class Shot:
    """A camera of a rig and its video.

    mask: a video of the same frames, or one picture for all of them.
    first: the frame number that the video's first picture shows.
    """

    camera: Camera
    video: Path
    mask: Path | None
    camera_index: int
    split: Split = "train"
    lens: Lens | None = None
    first: int = 0


def read_shots(shots: Iterable[Shot], selection: FrameSelection, root: Path, rate: float | None = None) -> Draft:
    """The chosen ones of the frames that all videos show. Raises DatasetError D10; single videos' are collected.

    rate: frames a second, in place of the videos'.
    """
    draft, ranges, rates, sound = Draft([], is_sequence=True), [], [], []
    for shot in shots:
        try:
            headers = [video_header(path) for path in (shot.video, shot.mask) if path is not None and is_video(path)]
        except DatasetError as error:
            draft.problems.add(error)
            continue
        sound.append(shot)
        rates += [header.frame_rate for header in headers[:1] if header.frame_rate]
        ranges.append(range(shot.first, shot.first + min(header.frames for header in headers)))
    if not sound:
        draft.problems.raise_first()
        raise DatasetError("D10", "there are no videos", root)
    shown = range(max(r.start for r in ranges), min(r.stop for r in ranges))
    if not shown:
        raise DatasetError("D10", "there is no frame that all videos show: check `frame` of each", root)
    longest = max(r.stop for r in ranges)
    if shown.stop < longest or min(r.start for r in ranges) < shown.start:
        draft.assumptions.append(f"only the frames {shown.start} to {shown.stop - 1}, which all videos show")
    if rate is None and rates:
        rate = rates[0]
        if max(rates) - min(rates) > _SAME_RATE * rate:
            raise DatasetError("D14", "the videos have different frame rates: give `frame_rate` if their "
                               "pictures were taken at the same moments all the same", root)
    draft.frame_rate = rate
    for number in select_frames(shown, selection, root):
        views = []
        for shot in sound:
            position = number - shot.first
            views.append(View(shot.camera, shot.video, shot.mask, shot.split, shot.camera_index, shot.lens, position,
                              position if shot.mask is not None and is_video(shot.mask) else None))
        draft.frames.append(FrameDraft(number, number / rate if rate else float(number), views))
    return draft
