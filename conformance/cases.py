"""How a vector is described, and the list that the modules of cases fill."""
from __future__ import annotations

from dataclasses import dataclass

# What an implementer builds one after the other; reports show progress by these.
FEATURES = {
    "container": "file header, units, checksums, number formats, order of units",
    "sequence": "sequence header and tensor list",
    "representations": "tensor lists of representations other than the dictionary field",
    "scenes": "several scenes in a file",
    "groups": "groups, frame numbers and time stamps",
    "occupancy": "LZMA2 blocks, exclusive or, padding",
    "significance": "which cells occupied voxels touch",
    "range-coder": "range decoder and its end",
    "static-models": "tables sent in the stream",
    "laplace-tables": "the table family of section 6.7",
    "context-models": "templates, integer network, clamps and shifts",
    "decoding-order": "scan weights, steps, sorting by table",
    "escapes": "values beyond a table",
    "masks": "which elements are coded, sent as a mask of their own",
    "bernoulli-tables": "the table family of section 6.8",
    "mixture-tables": "the table family of section 6.9",
    "transforms": "block DCT and wavelet, their bands and steps",
    "shared": "the shared unit and predictions from it",
    "reconstruction": "steps, prediction, saturation",
    "frames": "what a frame carries, and what lasts from one frame to the next",
    "digests": "frame digests",
    "index": "index and end units",
    "cameras": "cameras units",
    "metadata": "metadata units",
    "levels": "bounds of levels",
    "order-of-checks": "files that break two requirements: the first in the order of chapter 5 counts",
}


@dataclass(frozen=True, slots=True)
class Case:
    """A vector to be made. requirement: the one that it breaks, None when it conforms."""

    name: str
    description: str
    features: tuple[str, ...]
    data: bytes
    requirement: str | None = None


class Collection:
    """Cases in the order in which they are added; names are unique."""

    def __init__(self):
        self.cases: list[Case] = []

    def add(self, name: str, features: str, description: str, data: bytes, requirement: str | None = None) -> None:
        listed = tuple(features.split())
        unknown = set(listed) - set(FEATURES)
        if unknown or any(c.name == name for c in self.cases):
            raise ValueError(f"{name}: used twice, or unknown features {unknown}")
        self.cases.append(Case(name, description, listed, bytes(data), requirement))
