"""Decoded frames, group headers, and the limits of a decoder."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

import numpy as np

from ..rendering.cameras import Camera
from ..syntax.coding import FrameType
from ..syntax.declare import Trace
from ..syntax.headers import SequenceHeader
from ..syntax.structures import FrameSyntax

if TYPE_CHECKING:
    from ..rendering.march import Picture, RenderOptions


@dataclass(frozen=True, slots=True)
class Limits:
    """A decoder's own limits, below those of the levels (spec 10.3); None: no limit.

    tensor_elements, occupancy_voxels: of the sequence. unit_size: bytes of a unit. frames: of the stream. steps:
    wavefronts under context models (spec 6.3), of the whole stream; each takes its time, however few symbols it has.
    """

    tensor_elements: int | None = None
    occupancy_voxels: int | None = None
    unit_size: int | None = None
    frames: int | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A group header (spec 4.6)."""

    offset: int
    scene: int
    first_frame: int
    frame_count: int

    def meets(self, wanted: range | None) -> bool:
        """Whether the group holds a frame of the range."""
        return wanted is None or (self.first_frame < wanted.stop
                                  and self.first_frame + self.frame_count > wanted.start)


@dataclass(frozen=True, slots=True, repr=False)
class Frame:
    """A decoded frame.

    number: in the sequence. scene: that it shows. type: I or P. time_stamp: ticks.
    header: as the scene sees it (`SequenceHeader.of_scene`). occupancy: bool
    (z, y, x) or None. tensors: int32 (C, z, y, x) in the order of the tensor list;
    value v stands for v * 2**-frac_bits. offset, size: of its unit in the stream.
    syntax: the parsed `frame` structure; trace: spans of its elements.
    """

    number: int
    scene: int
    type: FrameType
    time_stamp: int
    header: SequenceHeader
    occupancy: np.ndarray | None
    tensors: tuple[np.ndarray, ...]
    offset: int
    size: int
    syntax: FrameSyntax
    trace: Trace

    def __repr__(self) -> str:
        occupied = "" if self.occupancy is None else f", {int(self.occupancy.sum())} voxels occupied"
        return (f"<Frame {self.number} {self.type.letter}, scene {self.scene}, {self.seconds:.3f} s: "
                f"{len(self.tensors)} tensors{occupied}, {self.size} bytes at {self.offset}>")

    @property
    def seconds(self) -> float:
        return self.time_stamp / self.header.ticks_per_second

    def values(self) -> list[np.ndarray]:
        """The tensors as float32 (spec 7.3)."""
        return [t.astype(np.float32) * np.float32(2.0**-i.frac_bits)
                for t, i in zip(self.tensors, self.header.tensors)]

    def render(self, camera: Camera, *, backend: str = "auto",
               on_progress: Callable[[int, int], None] | None = None, **options: Unpack[RenderOptions]) -> Picture:
        """The frame as `camera` sees it (spec chapters 8 and 9), within the tolerance of section 9.5.

        backend: numpy, torch, or auto: torch where it finds a GPU.
        on_progress: called with (rays done, rays). options: of
        `refcodec.rendering.march.render_rays`; they override the header. Raises UsageError.
        """
        from ..fields import build, choose_ops
        from ..rendering.march import render_camera

        field = build(self.header, self.values(), choose_ops(backend))
        return render_camera(field, self.occupancy, camera, self.header, on_progress=on_progress, **options)
