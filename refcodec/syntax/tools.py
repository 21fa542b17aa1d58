"""Transforms and predictions: the properties of registered ones (spec 7.3, 7.5).

The members are defined in `refcodec.tensors`, one module a tool. Shapes are (z, y, x).
"""
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from ..code_points import CodePoint
from .expressions import Function, Scope, compiled, parse

if TYPE_CHECKING:
    import numpy as np

    from .coding import Tools

Spatial = tuple[int, int, int]


@cache
def _count(text: str) -> Function:
    """A number of bands as a function of (values, None, None)."""
    return compiled(parse(text, Scope({"wavelet_levels": False}, {}, {}, ())), {})


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a transform without its roundings, for training.

    box: the corner of the coefficients that it changes, None: all of them. Along each of the `axes` (negative, in the
    order of the inverse) with n samples, n of `lengths`, every line is multiplied by synthesis(n), (cells,
    coefficients); the forward transform multiplies by analysis(n), (coefficients, cells), in the opposite order.
    """

    box: Spatial | None
    axes: tuple[int, ...]
    lengths: tuple[int, ...]
    synthesis: Callable[[int], np.ndarray]
    analysis: Callable[[int], np.ndarray]


class Transform(CodePoint, modules=("refcodec.tensors.untransformed", "refcodec.tensors.dct",
                                    "refcodec.tensors.wavelet")):
    """`transform`: what the coded values are coefficients of (spec 7.5).

    option: its name for users. bands: the number of bands, an expression over `wavelet_levels` in the language of the
    declarations (`refcodec.syntax.expressions`). identity: the values are their own coefficients. has_levels:
    `wavelet_levels` is carried (4.11); otherwise levels is 0. by_frequency: coefficients of one frequency lie side by
    side, so that context models see them by the templates 14 and 15, and the transform is orthonormal, so that
    gradients are transformed like values. compiled: the kernels in C know it.
    """

    option: ClassVar[str]
    bands: ClassVar[str] = "1"
    identity: ClassVar[bool] = False
    has_levels: ClassVar[bool] = False
    by_frequency: ClassVar[bool] = False
    compiled: ClassVar[bool] = False

    def label(self, levels: int) -> str:
        """Name in the output of `refcodec inspect`."""
        return self.option

    def band_count(self, levels: int) -> int:
        """Number of bands, each with its own step size (spec 7.5.1)."""
        return int(_count(self.bands)({"wavelet_levels": levels}, None, None))

    def coefficient_shape(self, spatial: Sequence[int]) -> Spatial:
        """Shape of the coefficient array of a tensor of `spatial` cells (spec 7.5.1)."""
        z, y, x = spatial
        return z, y, x

    def block_counts(self, shape: Sequence[int]) -> Spatial:
        """Cells from one frequency to the next along each axis of a coefficient array of `shape` (spec 6.4)."""
        return 1, 1, 1

    @abstractmethod
    def band_map(self, levels: int, spatial: Sequence[int]) -> np.ndarray:
        """Band of every coefficient: uint8 of the coefficient shape (spec 7.5.1)."""

    @abstractmethod
    def support(self, levels: int, mask: np.ndarray) -> np.ndarray:
        """Coefficients whose nominal support holds a marked cell (spec 7.5.1): bool of the coefficient shape. mask:
        bool (z, y, x), the cells."""

    @abstractmethod
    def inverse(self, levels: int, coefficients: np.ndarray, spatial: Sequence[int]) -> np.ndarray:
        """Values int64 (..., *spatial), within 32 bits, of integer coefficients (..., *coefficient shape)."""

    @abstractmethod
    def forward(self, levels: int, values: np.ndarray) -> np.ndarray:
        """Coefficients int64 of integer values (..., z, y, x): what an encoder quantises (informative)."""

    @abstractmethod
    def stages(self, levels: int, spatial: Sequence[int]) -> list[Stage]:
        """The inverse without roundings. The box of each stage lies in that of the next; the last has all cells."""

    @abstractmethod
    def gains(self, levels: int, spatial: Sequence[int]) -> tuple[float, ...]:
        """Of each band: root mean square, over its coefficients, of the norm of what a unit coefficient becomes."""


class Prediction(CodePoint, modules=("refcodec.tensors.unpredicted", "refcodec.tensors.previous",
                                     "refcodec.tensors.shared", "refcodec.tensors.constant")):
    """`prediction`: what the decoded residuals are added to (spec 7.3).

    option: what `refcodec inspect` shows. has_factor: `base_mantissa` and `base_exponent` are carried (4.11).
    has_offset: `base_offset` is. needs_previous, needs_shared: it refers to the tensor in the frame before, or in the
    shared unit. compiled: the kernels in C know it.
    """

    option: ClassVar[str]
    has_factor: ClassVar[bool] = False
    has_offset: ClassVar[bool] = False
    needs_previous: ClassVar[bool] = False
    needs_shared: ClassVar[bool] = False
    compiled: ClassVar[bool] = False

    def fault(self, *, intra: bool, shared_unit: bool, shared: bool) -> str | None:
        """The requirement that its use breaks. shared: the shared unit has the tensor."""
        if shared_unit and (self.needs_previous or self.needs_shared):
            return "R-SHR-01"
        if self.needs_previous and intra:
            return "R-TEN-04"
        return "R-TEN-12" if self.needs_shared and not shared else None

    def source(self, tensor_id: int, tensors: Sequence[np.ndarray], shared: Mapping[int, np.ndarray]
               ) -> np.ndarray | None:
        """The tensor int32 (C, z, y, x) that another is predicted from. tensors: of the frame before; shared: of the
        shared unit."""
        if self.needs_shared:
            return shared.get(tensor_id)
        return tensors[tensor_id] if self.needs_previous else None

    def predict(self, tools: Tools, source: np.ndarray | None) -> np.ndarray | int:
        """The prediction, of the elements of the source at the same places, int64 or a number."""
        from ..tensors.reconstruction import dequantise

        if source is None:
            return tools.offset
        if self.has_factor:
            return dequantise(source, *tools.base) + tools.offset
        return source.astype("int64") + tools.offset if self.has_offset else source
