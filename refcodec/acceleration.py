"""Whether compiled loops are worth their start: numba is optional, and takes a while to load.

    pip install "refcodec[fast]"
    python -m refcodec.acceleration     # compiles everything in advance

Results never depend on it. REFCODEC_NO_NUMBA=1 switches it off.
"""
from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

# Symbols that the array code decodes in about the time that loading numba and the kernels takes.
WORTHWHILE = 5_000_000

_symbols = 0
_off = bool(os.environ.get("REFCODEC_NO_NUMBA"))


def expect(symbols: int) -> None:
    """Says that up to so many more symbols, or what takes as long, are to come. Enough in all, and numba is loaded
    for them."""
    global _symbols
    _symbols += symbols


def compiled(name: str) -> ModuleType | None:
    """The module `name` of this package, which needs numba; None where it would not pay or is not there."""
    global _off
    if _off or _symbols < WORTHWHILE:
        return None
    try:
        return importlib.import_module(f"{__package__}.{name}")
    except (ImportError, RuntimeError):  # RuntimeError: no folder for the cache of compiled code is writable
        _off = True
        return None


@contextlib.contextmanager
def switched_off() -> Iterator[None]:
    """No compiled loops inside the block, in any thread."""
    global _off
    before, _off = _off, True
    try:
        yield
    finally:
        _off = before


def prepare() -> bool:
    """Loads all compiled loops, and compiles those that no earlier run has left behind.

    Returns False where numba can't be used.
    """
    expect(WORTHWHILE)
    if compiled("entropy.compiled") is None:
        return False
    import numpy as np

    from .entropy.coder import decode_occupancy, decode_symbols, encode_occupancy, encode_symbols
    from .entropy.layout import Layout
    from .entropy.models import BERNOULLI, ContextModel, StaticModel
    from .syntax.coding import Tools, Transform

    one = np.zeros((1, 1), np.int8)
    layout = Layout((1, 1, 1, 1), previous=one.reshape(1, 1, 1, 1))
    network = ContextModel(False, 1, (0, 1, 1, 1), 1, ((0, 0, 0, 0, -1), (1, 0, 0, 0, 0)), 0, np.zeros((1, 2), np.int8),
                           np.zeros(1, np.int16), 0, 0, np.zeros((2, 1), np.int8), np.zeros(2, np.int32))
    for model in (network, StaticModel(((0, (1, 1)),))):
        data, _ = encode_symbols(model, layout, one)
        values = decode_symbols(model, layout, data)
    bits = replace(network, family=BERNOULLI)
    data, _ = encode_occupancy(bits, values.reshape(1, 1, 1) > 0, one.reshape(1, 1, 1, 1))
    decode_occupancy(bits, (1, 1, 1), one.reshape(1, 1, 1, 1), data)
    tensors = importlib.import_module(f"{__package__}.tensors.compiled")
    for tools in (Tools((0,)), Tools((0,) * 4, transform=Transform.BLOCK_DCT)):
        tensors.reconstruct(values, None, tools, None, (1, 1, 1, 1))
    rows = np.zeros((1, 1), np.float32)
    importlib.import_module(f"{__package__}.fields.compiled").interpolate(rows, np.zeros((1, 1), np.int64), rows)
    return True


if __name__ == "__main__":
    # By its name, for here this module is another one.
    raise SystemExit(0 if importlib.import_module("refcodec.acceleration").prepare() else
                     "refcodec: error: numba can't be used: pip install \"refcodec[fast]\"")
