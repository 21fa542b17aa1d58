"""Representations: reconstructed tensors to density and colour (spec chapter 8).

Names are imported when they are first used: the properties of representations need no numpy.
"""
from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from refcodec.syntax.headers import Representation, SequenceHeader

if TYPE_CHECKING:
    import numpy as np

    from refcodec.arrays import A, Array
    from refcodec.fields.backends import choose_ops
    from refcodec.fields.dif import DifSizes
    from refcodec.fields.field import RadianceField
    from refcodec.fields.grid import GridSizes
    from refcodec.fields.mlp import MlpSizes
    from refcodec.fields.ops import NumpyOps, Ops
    from refcodec.fields.sizes import Aabb, FieldSizes
    from refcodec.fields.torch_ops import TorchOps
    from refcodec.fields.triplane import TriplaneSizes
    from refcodec.fields.vm import VmSizes

__all__ = [
    "DifSizes", "FieldSizes", "GridSizes", "MlpSizes", "NumpyOps", "Ops", "RadianceField", "TorchOps", "TriplaneSizes",
    "VmSizes", "build", "choose_ops", "field_header",
]
_LAZY = {"DifSizes": "dif", "FieldSizes": "sizes", "GridSizes": "grid", "MlpSizes": "mlp", "NumpyOps": "ops",
         "Ops": "ops", "RadianceField": "field", "TorchOps": "torch_ops", "TriplaneSizes": "triplane", "VmSizes": "vm",
         "choose_ops": "backends"}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)


@overload
def build(header: SequenceHeader, tensors: Sequence[Array]) -> RadianceField[np.ndarray]: ...
@overload
def build(header: SequenceHeader, tensors: Sequence[Array], ops: Ops[A]) -> RadianceField[A]: ...
def build(header: SequenceHeader, tensors: Sequence[Array], ops: Ops[A] | None = None
          ) -> RadianceField[A] | RadianceField[np.ndarray]:
    """The field that `tensors` describe.

    tensors: float arrays of the shapes in `header.tensors`, in that order (reconstructed
    values times 2**-frac_bits). ops: `NumpyOps()` (the default) or `TorchOps(device)`.
    """
    from refcodec.fields.field import RadianceField
    from refcodec.fields.ops import NumpyOps

    rule = header.representation.rule(header)
    return RadianceField(rule, header, tensors, NumpyOps()) if ops is None else RadianceField(
        rule, header, tensors, ops)


def field_header(sizes: FieldSizes, aabb: Aabb, **options: Any) -> SequenceHeader:
    """The sequence header of a field of these sizes; the type of `sizes` says of which kind.

    aabb: (2, 3) scene coordinates. options: ticks_per_second, occupancy_side (voxels along
    the longest side), samples_per_diagonal, background (8-bit sRGB). Raises ValueError for
    an empty box.
    """
    return next(r for r in Representation if r.sizes is type(sizes)).header(sizes, aabb, **options)
