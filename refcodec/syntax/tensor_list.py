"""Whether a tensor list makes a field of its representation (spec 8.1)."""
from __future__ import annotations

from ..fields.rule import TensorListFault
from .headers import SequenceHeader


def tensor_list_fault(header: SequenceHeader) -> str | None:
    """The fault of a field's tensor list; None where there is none."""
    try:
        header.representation.rule(header)
    except TensorListFault as fault:
        return str(fault)
    return None
