"""The interface of baselines: a coder that writes a file and reads it back."""
from __future__ import annotations

import abc
from collections.abc import Sequence

from .container import Unpacker
from .sequence import FieldSequence


class Baseline(abc.ABC):
    """A complete coder with one quality parameter.

    name: on the command line. title: in reports. parameter: what its quality is called;
    values: of it, from best to worst, that are tried by default. representations: that it
    can code, None: all. suffix: of its files. revision: counts changes of its files.
    """

    name: str
    title: str
    parameter: str
    values: Sequence[float]
    suffix = ".bin"
    revision = 1

    def unavailable(self) -> str | None:
        """Why it can't run on this machine; None: it can."""
        return None

    def components(self, data: bytes) -> dict[str, int]:
        """Bytes of a file by what they hold; they add up to the file."""
        return Unpacker(data).components()

    def check(self, value: float) -> str | None:
        """The fault of a value of the parameter; None: it is valid."""
        return None


class FieldBaseline(Baseline):
    """A coder of fields that were trained without a rate."""

    @abc.abstractmethod
    def encode(self, sequence: FieldSequence, value: float) -> bytes:
        """The file."""

    @abc.abstractmethod
    def decode(self, data: bytes) -> FieldSequence:
        """The fields of a file, from nothing but its bytes. Raises DamagedFile."""


def within(value: float, low: float, high: float, whole: bool = True) -> str | None:
    """`Baseline.check` of a value that must lie between two bounds."""
    if not low <= value <= high or (whole and value != int(value)):
        return f"{value:g} is no {'whole ' * whole}number from {low:g} to {high:g}"
    return None
