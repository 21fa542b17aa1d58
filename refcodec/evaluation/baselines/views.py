"""The source views themselves as HEVC video: what a conventional system sends.

Training views on the sequence's background, 4:2:0, and their masks, where there are any,
as grey video at the same rate factor. A decoder has the pictures of these cameras and no
others; `nearest_views` shows what that gives from elsewhere.
"""
from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...datasets import Dataset
from ...rendering.cameras import Camera
from ...rendering.pictures import composite
from .base import Baseline, within
from .container import Component, DamagedFile, Packer, Unpacker, lzma_compress, lzma_decompress
from .hevc import decode_video, encode_video, missing

_REFERENCES = 4
Pictures = tuple[tuple[np.ndarray, ...], ...]  # by frame and camera


@dataclass(frozen=True, slots=True)
class SourceViews:
    """The views to send. pictures: by frame and camera, (h, w, 3) uint8 on the background;
    masks: the same, (h, w) uint8, None without. cameras: those of the pictures, as in the first frame."""

    cameras: tuple[Camera, ...]
    pictures: Pictures
    masks: Pictures | None

    @classmethod
    def of(cls, dataset: Dataset, downscale: float = 1) -> SourceViews:
        """The training views of a dataset."""
        pictures, masks = [], []
        for frame in dataset.frames:
            loaded = [v.load(downscale) for v in frame.split("train")]
            pictures.append(tuple(np.round(255 * composite(p, dataset.background)).astype(np.uint8) for p in loaded))
            masks.append(tuple(np.round(255 * p[..., 3]).astype(np.uint8) for p in loaded))
        cameras = tuple(v.camera.scaled(1 / downscale) for v in dataset.frames[0].split("train"))
        return cls(cameras, tuple(pictures), tuple(masks) if dataset.has_masks else None)


class Views(Baseline):
    """Source views by x265.

    between_views: one stream, the cameras of a frame in a chain from neighbour to
    neighbour, there and back in turns, so that views predict each other; else a stream for
    each camera, as conventional systems send them ("simulcast").
    """

    parameter, values = "CRF", (18, 24, 30, 36)

    def __init__(self, between_views: bool, lossless: bool = False):
        self.between_views, self.lossless = between_views, lossless
        self.name = "views" if between_views else "views-simulcast"
        self.title = "source views, HEVC, " + ("predicted from neighbours" if between_views else "a stream a camera")

    def unavailable(self) -> str | None:
        return missing()

    def check(self, value: float) -> str | None:
        return within(value, 0, 51, whole=False)

    def encode(self, views: SourceViews, value: float, group_size: int) -> bytes:
        """The file. group_size: frames from one point of random access to the next."""
        sizes = [list(p.shape[:2]) for p in views.pictures[0]]
        chain = _chain(views.cameras)
        layout = dict(frames=len(views.pictures), sizes=sizes, chain=chain, group=group_size,
                      masks=views.masks is not None)
        packer = Packer()
        packer.add(Component.HEADER, lzma_compress(json.dumps(layout, separators=(",", ":")).encode()))
        for part, content in ((Component.PICTURES, views.pictures), (Component.MASKS, views.masks)):
            if content is None:
                continue
            for order in self._streams(layout):
                packer.add(part, encode_video(
                    [content[t][c] for t, c in order], _intra(order, group_size), value,
                    colour=part == Component.PICTURES, lossless=self.lossless, b_frames=0 if self.between_views else 3,
                    references=_REFERENCES))
        return packer.data()

    def decode(self, data: bytes) -> tuple[Pictures, Pictures | None]:
        """Pictures and masks, as in `SourceViews`. Raises DamagedFile."""
        unpacker = Unpacker(data)
        try:
            layout = json.loads(lzma_decompress(unpacker.take(Component.HEADER)))
            frames, sizes, masks = layout["frames"], layout["sizes"], layout["masks"]
            orders = list(self._streams(layout))
        except (ValueError, KeyError, TypeError):
            raise DamagedFile("the header of the baseline's file is damaged") from None
        out: list[Pictures] = []
        for part in (Component.PICTURES, Component.MASKS)[: 1 + masks]:
            found: dict[tuple[int, int], np.ndarray] = {}
            for order in orders:
                size = sizes[order[0][1]]
                found.update(zip(order, decode_video(unpacker.take(part), len(order), *size,
                                                     colour=part == Component.PICTURES)))
            try:
                out.append(tuple(tuple(found[t, c] for c in range(len(sizes))) for t in range(frames)))
            except KeyError:
                raise DamagedFile("the baseline's file leaves out a camera") from None
        return out[0], out[1] if masks else None

    def _streams(self, layout: dict[str, Any]) -> Iterator[list[tuple[int, int]]]:
        """(frame, camera) of each stream's pictures, in their order; pictures of a stream have one size."""
        if not self.between_views:
            for camera in range(len(layout["sizes"])):
                yield [(t, camera) for t in range(layout["frames"])]
            return
        for size in dict.fromkeys(tuple(s) for s in layout["sizes"]):
            chain = [c for c in layout["chain"] if tuple(layout["sizes"][c]) == size]
            yield [(t, c) for t in range(layout["frames"]) for c in (chain if t % 2 == 0 else chain[::-1])]


def _intra(order: Sequence[tuple[int, int]], group_size: int) -> list[bool]:
    """Which pictures of a stream are coded without any other: the first of each group."""
    starts = [t - t % group_size for t, _ in order]
    return [k == 0 or start != starts[k - 1] for k, start in enumerate(starts)]


def _chain(cameras: Sequence[Camera]) -> list[int]:
    """An order of the cameras in which each is followed by the nearest of those left."""
    places = [_place(c) for c in cameras]
    chain, left = [0], set(range(1, len(cameras)))
    while left:
        chain.append(min(left, key=lambda c: (float(np.linalg.norm(places[c] - places[chain[-1]])), c)))
        left.remove(chain[-1])
    return chain


def nearest_view(camera: Camera, cameras: Sequence[Camera]) -> int:
    """The camera whose place is nearest to another's."""
    return int(np.argmin([float(np.linalg.norm(_place(camera) - _place(c))) for c in cameras]))


def _place(camera: Camera) -> np.ndarray:
    return np.asarray(camera.camera_to_world)[:3, 3]
