"""Complete, decodable pipelines to compare with (docs/evaluation.md)."""
from __future__ import annotations

from collections.abc import Sequence

from ...errors import UsageError
from ...text import suggestion
from .base import Baseline, FieldBaseline
from .container import DamagedFile
from .dct import BlockDct
from .hevc import HevcPlanes
from .nnc import NeuralNetworkCoding
from .scalar import Floats, IndependentLzma, IndependentRange
from .sequence import FieldFrame, FieldSequence
from .views import SourceViews, Views

__all__ = ["BASELINES", "Baseline", "DamagedFile", "FieldBaseline", "FieldFrame", "FieldSequence", "SourceViews",
           "Views", "choose"]

BASELINES: dict[str, Baseline] = {b.name: b for b in (
    IndependentLzma(False), IndependentLzma(True), IndependentRange(False), IndependentRange(True),
    HevcPlanes(), BlockDct(), NeuralNetworkCoding(), Floats("raw", 32), Floats("zstd", 16), Floats("lzma", 16),
    Views(True), Views(False))}


def choose(wanted: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """The values of each chosen baseline's parameter, by name.

    wanted: names, or NAME=VALUE,VALUE…; `all`; `none`; nothing means all. Raises UsageError.
    """
    chosen: dict[str, tuple[float, ...]] = {}
    for text in wanted or ("all",):
        name, equals, values = text.partition("=")
        if name in ("all", "none") and not equals:
            chosen |= {b.name: tuple(b.values) for b in BASELINES.values()} if name == "all" else {}
            continue
        if name not in BASELINES:
            raise UsageError(f"no baseline {name!r}; there are {', '.join(BASELINES)}, all and none"
                             f"{suggestion(name, BASELINES)}")
        baseline = BASELINES[name]
        try:
            numbers = tuple(float(v) for v in values.split(",")) if equals else tuple(baseline.values)
        except ValueError:
            raise UsageError(f"{values!r} is no list of numbers: write {name}={baseline.values[0]:g},…") from None
        for number in numbers:
            if fault := baseline.check(number):
                raise UsageError(f"{baseline.parameter} of {name}: {fault}")
        chosen[name] = tuple(dict.fromkeys(numbers))
    return chosen
