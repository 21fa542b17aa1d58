"""From a dataset to an RFV file: training under a rate-distortion loss (needs torch)."""
from .gop import EncodeOptions, EncodeReport, FrameResult, Progress, encode

__all__ = ["EncodeOptions", "EncodeReport", "FrameResult", "Progress", "encode"]
