"""`refcodec conformance`: the suite that judges decoders."""
from ..conformance.cli import conformance_group as command

__all__ = ["command"]
