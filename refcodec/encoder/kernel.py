"""The compiled loops of training, where they were built."""
from __future__ import annotations

from functools import cache
from types import ModuleType


@cache
def kernel() -> ModuleType | None:
    """The extension module `refcodec.kernels._training`, None where it was not built."""
    try:
        from refcodec.kernels import _training
    except ImportError:
        return None
    module: ModuleType = _training
    return module
