"""refcodec: reference codec of the Radiance Field Video (RFV) bitstream.

    with refcodec.open("fox.rfv") as stream:
        for frame in stream.frames(range(20, 40)):
            frame.tensors

    refcodec.validate("fox.rfv").conforming
    refcodec.inspect("fox.rfv").to_dict()
    refcodec.encode("demo/fox", "fox.rfv", options)    # needs torch

Names are imported when they are first used: reading a header needs no numpy, and
nothing but encoding (and rendering on request) needs torch.
"""
from __future__ import annotations

import importlib

__version__ = "0.1.0"

_LAZY = {
    "open": ("decoder", "open_stream"),
    "Frame": ("decoder", "Frame"),
    "Limits": ("decoder", "Limits"),
    "Stream": ("decoder", "Stream"),
    "salvage": ("decoder", "salvage"),
    "inspect": ("inspection", "inspect"),
    "validate": ("validation", "validate"),
    "encode": ("encoder", "encode"),
    "EncodeOptions": ("encoder", "EncodeOptions"),
    "BitstreamError": ("errors", "BitstreamError"),
    "DatasetError": ("errors", "DatasetError"),
    "RefcodecError": ("errors", "RefcodecError"),
    "UsageError": ("errors", "UsageError"),
}

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    return getattr(importlib.import_module(f".{module}", __name__), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
