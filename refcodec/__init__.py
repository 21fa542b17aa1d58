"""refcodec: reference codec of the Radiance Field Video (RFV) bitstream.

    with refcodec.open("fox.rfv") as stream:
        for frame in stream.frames(range(20, 40)):
            frame.tensors
        picture = stream.frame(7).render(stream.cameras[0])

    refcodec.validate("fox.rfv").conforming
    refcodec.inspect("fox.rfv").to_dict()
    refcodec.encode("demo/fox", "fox.rfv", preset="tiny", quality=2)    # needs torch

Names are imported when they are first used: reading a header needs no numpy, and
nothing but encoding (and rendering on request) needs torch.
"""
from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take to be true; importing typing would triple the time of this import
if TYPE_CHECKING:
    from .decoding import Frame, Limits, Salvage, Stream, open_stream as open, salvage
    from .encoder import EncodeOptions, EncodeReport, Progress, encode
    from .errors import BitstreamError, DatasetError, RefcodecError, UsageError
    from .inspection import inspect
    from .quantisation import TensorTools, quantise_frame
    from .rendering.cameras import Camera
    from .rendering.march import Picture
    from .validation import validate
    from .writer import StreamWriter as Writer

__version__ = "0.1.0"

_LAZY = {
    "open": ("decoding", "open_stream"),
    "Frame": ("decoding", "Frame"),
    "Limits": ("decoding", "Limits"),
    "Salvage": ("decoding", "Salvage"),
    "Stream": ("decoding", "Stream"),
    "salvage": ("decoding", "salvage"),
    "inspect": ("inspection", "inspect"),
    "validate": ("validation", "validate"),
    "Writer": ("writer", "StreamWriter"),
    "TensorTools": ("quantisation", "TensorTools"),
    "quantise_frame": ("quantisation", "quantise_frame"),
    "Camera": ("rendering.cameras", "Camera"),
    "Picture": ("rendering.march", "Picture"),
    "encode": ("encoder", "encode"),
    "EncodeOptions": ("encoder", "EncodeOptions"),
    "EncodeReport": ("encoder", "EncodeReport"),
    "Progress": ("encoder", "Progress"),
    "BitstreamError": ("errors", "BitstreamError"),
    "DatasetError": ("errors", "DatasetError"),
    "RefcodecError": ("errors", "RefcodecError"),
    "UsageError": ("errors", "UsageError"),
}

__all__ = [
    "__version__", "open", "Frame", "Limits", "Salvage", "Stream", "salvage", "inspect", "validate", "Writer",
    "TensorTools", "quantise_frame", "Camera", "Picture", "encode", "EncodeOptions", "EncodeReport", "Progress",
    "BitstreamError", "DatasetError", "RefcodecError", "UsageError",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module, attribute = _LAZY[name]
    return getattr(importlib.import_module(f".{module}", __name__), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
