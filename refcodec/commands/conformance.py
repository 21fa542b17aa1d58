"""`refcodec conformance`: tests decoders against the suite."""
from ..conformance.cli import conformance_group as command

__all__ = ["command"]
