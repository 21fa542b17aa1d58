"""Probability families: what every registered one says of itself (spec 6.4, 6.7 to 6.9).

The members are defined in `refcodec.entropy`, one module a family.
"""
from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ..code_points import CodePoint

if TYPE_CHECKING:
    import numpy as np

    from ..entropy.tables import Table


class ProbabilityFamily(CodePoint, modules=("refcodec.entropy.laplace", "refcodec.entropy.bernoulli",
                                            "refcodec.entropy.mixture")):
    """`family`: the tables that a context model chooses from (spec 6.4).

    title: as Annex A.6 lists it. codes_bits: its symbols are bits of masks and occupancy; otherwise they are values.
    has_location: its tables lie around the location output; otherwise the location is 0. scales: what the scale output
    chooses from. shapes: what the shape output chooses from; 1: there is no such output. There are scales * shapes
    tables, at most 256. compiled: the kernels in C know it.
    """

    title: ClassVar[str]
    codes_bits: ClassVar[bool] = False
    has_location: ClassVar[bool] = True
    scales: ClassVar[int]
    shapes: ClassVar[int] = 1
    compiled: ClassVar[bool] = False

    @property
    def has_shape(self) -> bool:
        """Whether `shape_shift` is carried (4.9)."""
        return self.shapes > 1

    @property
    def outputs(self) -> int:
        """Number K of outputs for each channel of a context model: location, scale and, where there is one, shape."""
        return 2 + self.has_shape

    @abstractmethod
    def tables(self) -> tuple[Table, ...]:
        """The tables, those of shape 0 first, in the order of their scales. The same objects at each call."""

    def table_index(self, outputs: np.ndarray) -> np.ndarray:
        """Number of the table, uint8 (C, n), that outputs after their shifts choose. outputs: float32 (C, K, n), whole
        numbers."""
        index = outputs[:, 1].clip(0, self.scales - 1)
        if self.has_shape:
            index = index + self.scales * outputs[:, 2].clip(0, self.shapes - 1)
        return index.astype("uint8")
