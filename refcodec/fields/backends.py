"""Which array library evaluates fields."""
from __future__ import annotations

from typing import cast

from refcodec.arrays import Array
from refcodec.errors import UsageError
from refcodec.fields.ops import NumpyOps, Ops


def choose_ops(backend: str = "auto") -> Ops[Array]:
    """The library that evaluates fields: numpy, torch, or auto: torch where it finds a GPU.

    On processors numpy is the faster one. Raises UsageError for another name, and for torch where it is missing.
    """
    if backend not in ("auto", "numpy", "torch"):
        raise UsageError(f"there is no backend {backend!r}; there are auto, numpy and torch")
    numpy = cast("Ops[Array]", NumpyOps())  # which library it is shows at run time only
    if backend == "numpy":
        return numpy
    try:
        import torch
    except ImportError:
        if backend == "torch":
            raise UsageError('the backend torch needs torch: pip install "refcodec[encode]"') from None
        return numpy
    from refcodec.fields.torch_ops import TorchOps

    if torch.cuda.is_available():
        return cast("Ops[Array]", TorchOps("cuda"))
    return cast("Ops[Array]", TorchOps("cpu")) if backend == "torch" else numpy
