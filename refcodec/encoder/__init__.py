"""From a dataset to an RFV file: training under a rate-distortion loss (needs torch)."""
import os

# Training makes many small parallel calls; threads that spin between them take the
# processors from each other. Read when torch is loaded, which this package leaves to use.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from .gop import EncodeOptions, EncodeReport, FrameResult, Progress, encode  # noqa: E402

__all__ = ["EncodeOptions", "EncodeReport", "FrameResult", "Progress", "encode"]
