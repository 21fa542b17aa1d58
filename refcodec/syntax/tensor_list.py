"""Whether a tensor list makes a field of its representation (spec 8.1)."""
from __future__ import annotations

from ..fields.rule import TensorListFault
from .headers import SequenceHeader


def tensor_list_fault(header: SequenceHeader) -> str | None:
    """What is wrong with the tensor list of a field; None when nothing is."""
    try:
        header.representation.rule(header)
    except TensorListFault as fault:
        return str(fault)
    return None
