"""Representations: reconstructed tensors to density and colour (spec chapter 8)."""
from __future__ import annotations

from refcodec.errors import UsageError
from refcodec.fields.dif import DictionaryField, DifSizes, dif_header
from refcodec.fields.ops import NumpyOps, TorchOps
from refcodec.syntax.headers import Representation, SequenceHeader

__all__ = ["DictionaryField", "DifSizes", "NumpyOps", "TorchOps", "build", "dif_header"]

_FIELDS = {Representation.DIF: DictionaryField}


def build(header: SequenceHeader, tensors, ops=None):
    """The field that `tensors` describe.

    tensors: float arrays of the shapes in `header.tensors`, in that order (reconstructed
    values times 2**-frac_bits). ops: `NumpyOps()` (the default) or `TorchOps(device)`.
    The field has box_min, box_max, density(x) and radiance(features, directions).
    """
    try:
        field = _FIELDS[header.representation]
    except KeyError:
        raise UsageError(f"representation {header.representation} can't be evaluated by this version") from None
    return field(header, tensors, ops or NumpyOps())
