"""Editing files without decoding them (spec 3.5): cut, join, repair, take out single frames.

Units are copied; what says where a unit stands (numbers, time stamps, counts, offsets,
checksums) is written anew. One unit is in memory at a time.
"""
from .concat import concat
from .cut import cut
from .extract import extract
from .repair import repair

__all__ = ["concat", "cut", "extract", "repair"]
