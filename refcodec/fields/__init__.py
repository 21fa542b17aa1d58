"""Representations: reconstructed tensors to density and colour (spec chapter 8).

Names are imported when they are first used: the properties of representations need no numpy.
"""
from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from refcodec.syntax.headers import Representation, SequenceHeader

if TYPE_CHECKING:
    from refcodec.arrays import Array
    from refcodec.fields.dif import DifSizes
    from refcodec.fields.field import RadianceField
    from refcodec.fields.grid import GridSizes
    from refcodec.fields.mlp import MlpSizes
    from refcodec.fields.ops import NumpyOps, Ops, TorchOps, choose_ops
    from refcodec.fields.sizes import Aabb, FieldSizes
    from refcodec.fields.triplane import TriplaneSizes
    from refcodec.fields.vm import VmSizes

__all__ = [
    "DifSizes", "FieldSizes", "GridSizes", "MlpSizes", "NumpyOps", "Ops", "RadianceField", "TorchOps", "TriplaneSizes",
    "VmSizes", "build", "choose_ops", "field_header",
]
_LAZY = {"DifSizes": "dif", "FieldSizes": "sizes", "GridSizes": "grid", "MlpSizes": "mlp", "NumpyOps": "ops",
         "Ops": "ops", "RadianceField": "field", "TorchOps": "ops", "TriplaneSizes": "triplane", "VmSizes": "vm",
         "choose_ops": "ops"}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)


def build(header: SequenceHeader, tensors: Sequence[Array], ops: Ops | None = None) -> RadianceField:
    """The field that `tensors` describe.

    tensors: float arrays of the shapes in `header.tensors`, in that order (reconstructed
    values times 2**-frac_bits). ops: `NumpyOps()` (the default) or `TorchOps(device)`.
    """
    from refcodec.fields.field import RadianceField
    from refcodec.fields.ops import NumpyOps

    return RadianceField(header.representation.rule(header), header, tensors, ops or NumpyOps())


def field_header(sizes: FieldSizes, aabb: Aabb, **options: Any) -> SequenceHeader:
    """The sequence header of a field of these sizes; the type of `sizes` says of which kind.

    aabb: (2, 3) scene coordinates. options: ticks_per_second, occupancy_side (voxels along
    the longest side), samples_per_diagonal, background (8-bit sRGB). Raises ValueError for
    an empty box.
    """
    return next(r for r in Representation if r.sizes is type(sizes)).header(sizes, aabb, **options)
