"""Editing files without decoding them (spec 3.5): cut, join, repair, extract single frames. Units are copied; what
depends on their position (numbers, time stamps, counts, offsets, checksums) is rewritten. One unit is in memory at a
time.
"""
from .concat import concat
from .cut import cut
from .extract import extract
from .repair import repair

__all__ = ["concat", "cut", "extract", "repair"]
