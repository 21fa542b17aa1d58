"""From bytes to frames: the decoding process of spec chapters 3 to 7, without torch.

sequence: the state machine, which is fed units and gives frames; it does no input or output.
job: one frame of it. checks: the requirements that tie units to each other. stream, recovery
and parallel drive it over files, damaged files and threads.
"""
from ..sources import StreamSource
from .frame import Frame, Group, Limits
from .index import IndexEntry, group_before, read_index
from .job import DecodedTensor, FrameJob
from .recovery import SMALLEST_FRAME_UNIT, Salvage, salvage
from .sequence import SequenceDecoder
from .stream import Stream, open_stream

__all__ = ["SMALLEST_FRAME_UNIT", "DecodedTensor", "Frame", "FrameJob", "Group", "IndexEntry", "Limits", "Salvage",
           "SequenceDecoder", "Stream", "StreamSource", "group_before", "open_stream", "read_index", "salvage"]
