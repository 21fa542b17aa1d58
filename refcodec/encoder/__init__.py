"""From a dataset to an RFV file: training under a rate-distortion loss (needs torch)."""
import os

# Training makes many small parallel calls; threads that spin between them take the
# processors from each other. Read when torch is loaded, which this package leaves to use.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from ..errors import UsageError  # noqa: E402
from .gop import EncodeOptions, EncodeReport, FrameResult, Progress, encode, pick_device  # noqa: E402

__all__ = ["EncodeOptions", "EncodeReport", "FrameResult", "Progress", "encode", "pick_device", "require_torch"]


def require_torch() -> None:
    """Raises UsageError where torch is missing."""
    try:
        import torch  # noqa: F401  the encoder's only; decoding does without
    except ImportError:
        raise UsageError('encoding needs torch: pip install "refcodec[encode]"') from None
