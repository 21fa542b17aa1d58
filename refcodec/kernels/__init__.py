"""The loops in which decoding, encoding and rendering spend their time: compiled where they were built, else numpy.

A stream, a writer or a field is given one set of kernels and passes it on; results do not depend on which. The sources
of the compiled ones are in `src`, in C, the same for Python and for WebAssembly.
"""
from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Protocol

from ..errors import UsageError
from .reference import NumpyKernels

if TYPE_CHECKING:
    import numpy as np

    from ..entropy.layout import Layout, Spatial
    from ..entropy.models import EntropyModel
    from ..syntax.headers import SequenceHeader, TensorInfo
    from ..tensors.bound import BoundTensor

__all__ = ["NAMES", "Kernels", "NumpyKernels", "best", "choose"]

NAMES = ("auto", "native", "numpy")


class Kernels(Protocol):
    """The operations that have several implementations. All of them are safe to use from several threads at once."""

    @property
    def name(self) -> str: ...

    def decode_symbols(self, model: EntropyModel, layout: Layout, data: bytes, selected: np.ndarray | None = None
                       ) -> np.ndarray:
        """See `refcodec.entropy.coder.decode_symbols`. Raises EntropyError."""

    def encode_symbols(self, model: EntropyModel, layout: Layout, values: np.ndarray,
                       selected: np.ndarray | None = None) -> tuple[bytes, float]:
        """See `refcodec.entropy.coder.encode_symbols`. Raises ValueError."""

    def decode_mask(self, model: EntropyModel, layout: Layout, data: bytes) -> np.ndarray:
        """Which elements of a tensor are coded: bool (coded cells, C) (spec 6.3). Raises EntropyError."""

    def decode_occupancy(self, model: EntropyModel, shape: Spatial, previous: np.ndarray | None, data: bytes
                         ) -> np.ndarray:
        """Occupancy, bool `shape`, which is (z, y, x) (spec 6.1.2). previous: int8 (z, y, x, 1), that of the previous
        frame, or None. Raises EntropyError."""

    def encode_occupancy(self, model: EntropyModel, occupancy: np.ndarray, previous: np.ndarray | None
                         ) -> tuple[bytes, float]:
        """Inverse of `decode_occupancy`: (data, ideal code length in bits)."""

    def coded_mask(self, header: SequenceHeader, tensor: TensorInfo, occupancy: np.ndarray,
                   packed: np.ndarray | None = None) -> np.ndarray:
        """See `refcodec.tensors.significance.coded_mask`."""

    def support_mask(self, transform: int, levels: int, mask: np.ndarray) -> np.ndarray:
        """See `refcodec.tensors.transforms.support_mask`."""

    def reconstruct(self, bound: BoundTensor, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `refcodec.tensors.bound.BoundTensor.reconstruct`."""

    def interpolate(self, table: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Σ_k weights[k] · table[corners[k]], rounded to binary32 after every operation (spec 8.3).

        table (cells, C) float32, corners (K, N) int64, weights (K, N) float32 -> (N, C).
        """


def choose(name: str = "auto") -> Kernels:
    """The kernels of a name: native, numpy, or auto: native where they were built.

    Raises UsageError for another name, and for native where they were not built.
    """
    if name not in NAMES:
        raise UsageError(f"there are no kernels {name!r}; there are {', '.join(NAMES)}")
    if name == "numpy":
        return NumpyKernels()
    try:
        from .native import NativeKernels
    except ImportError as e:
        if name == "native":
            raise UsageError(f"the compiled kernels were not built ({e}): install refcodec where there is a C "
                             "compiler, or run `python setup.py build_ext --inplace` in a checkout") from None
        return NumpyKernels()
    return NativeKernels()


@cache
def best() -> Kernels:
    """`choose("auto")`, for what is given none."""
    return choose()


def described(kernels: Kernels) -> str:
    """A set of kernels in words."""
    words = {"native": "compiled (C)", "numpy": "numpy; the compiled ones were not built"}
    return words.get(kernels.name, kernels.name)

