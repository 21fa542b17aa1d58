"""Representations: reconstructed tensors to density and colour (spec chapter 8)."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from refcodec.arrays import Array
from refcodec.fields.dif import DictionaryField, DifSizes, dif_header
from refcodec.fields.field import Field
from refcodec.fields.grid import GridSizes, VoxelField, grid_header
from refcodec.fields.mlp import MlpSizes, NetworkField, mlp_header
from refcodec.fields.ops import NumpyOps, Ops, TorchOps, choose_ops
from refcodec.fields.sizes import Aabb, FieldSizes
from refcodec.fields.triplane import TriplaneField, TriplaneSizes, triplane_header
from refcodec.fields.vm import VectorMatrixField, VmSizes, vm_header
from refcodec.syntax.headers import Representation, SequenceHeader

__all__ = [
    "DictionaryField", "DifSizes", "Field", "FieldSizes", "GridSizes", "MlpSizes", "NetworkField", "NumpyOps", "Ops",
    "TorchOps", "TriplaneField", "TriplaneSizes", "VectorMatrixField", "VmSizes", "VoxelField", "build",
    "choose_ops", "dif_header", "field_header", "grid_header", "mlp_header", "triplane_header", "vm_header",
]

_FIELDS: dict[Representation, type[Field]] = {
    Representation.DIF: DictionaryField,
    Representation.VM: VectorMatrixField,
    Representation.TRIPLANE: TriplaneField,
    Representation.GRID: VoxelField,
    Representation.MLP: NetworkField,
}
_HEADERS: dict[type[FieldSizes], Callable[..., SequenceHeader]] = {
    DifSizes: dif_header, VmSizes: vm_header, TriplaneSizes: triplane_header, GridSizes: grid_header,
    MlpSizes: mlp_header,
}


def build(header: SequenceHeader, tensors: Sequence[Array], ops: Ops | None = None) -> Field:
    """The field that `tensors` describe.

    tensors: float arrays of the shapes in `header.tensors`, in that order (reconstructed
    values times 2**-frac_bits). ops: `NumpyOps()` (the default) or `TorchOps(device)`.
    """
    return _FIELDS[header.representation](header, tensors, ops or NumpyOps())


def field_header(sizes: FieldSizes, aabb: Aabb, **options: Any) -> SequenceHeader:
    """The sequence header of a field of these sizes; the type of `sizes` says of which kind.

    aabb: (2, 3) scene coordinates. options: ticks_per_second, occupancy_side (voxels along
    the longest side), samples_per_diagonal, background (8-bit sRGB). Raises ValueError for
    an empty box.
    """
    return _HEADERS[type(sizes)](sizes, aabb, **options)
