"""Rate-distortion curves compared: Bjøntegaard's differences (ITU-T VCEG-M33, VCEG-AI11).

Computed by the package `bjontegaard` with piecewise cubic Hermite interpolation over the
logarithm of the rate; this module says when there is nothing to compute.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError

_LITTLE = 0.5  # share of the shorter curve's PSNR range; a smaller overlap is remarked on


@dataclass(frozen=True, slots=True)
class Difference:
    """A curve against another one.

    bd_rate: bytes more (+) or less (-) at equal PSNR, in per cent; bd_psnr: dB more or less at
    equal bytes; None where the curves do not meet. note: what to know about them, or None.
    """

    bd_rate: float | None
    bd_psnr: float | None
    note: str | None


def require_bjontegaard() -> None:
    """Raises UsageError where the package is missing."""
    try:
        import bjontegaard  # noqa: F401
    except ImportError:
        raise UsageError('comparing curves needs bjontegaard: pip install "refcodec[evaluate]"') from None


def envelope(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points (rate, PSNR) by rate, without those that a smaller one equals or betters."""
    kept: list[tuple[float, float]] = []
    for rate, quality in sorted(points, key=lambda p: (p[0], -p[1])):
        if not kept or quality > kept[-1][1]:
            kept.append((rate, quality))
    return kept


def difference(anchor: Sequence[tuple[float, float]], test: Sequence[tuple[float, float]]) -> Difference:
    """`test` against `anchor`; both are points (rate, PSNR in dB), in any order."""
    import bjontegaard

    notes = []
    kept = []
    for name, points in (("the anchor", anchor), ("the curve", test)):
        kept.append(envelope(points))
        if len(kept[-1]) < 2:
            return Difference(None, None, f"{name} has fewer than two points that are worth their rate")
        if len(kept[-1]) < len(points):
            notes.append(f"{len(points) - len(kept[-1])} of {name}'s points left out: larger and no better")
    (rates_a, quality_a), (rates_b, quality_b) = (tuple(zip(*points)) for points in kept)
    arguments = (rates_a, quality_a, rates_b, quality_b)
    options = dict(method="pchip", require_matching_points=False, min_overlap=0)
    rate = gain = None
    low, high = max(quality_a[0], quality_b[0]), min(quality_a[-1], quality_b[-1])
    if low < high:
        rate = float(bjontegaard.bd_rate(*arguments, **options))
        share = (high - low) / min(quality_a[-1] - quality_a[0], quality_b[-1] - quality_b[0])
        if share < _LITTLE:
            notes.append(f"BD-rate over {high - low:.2f} dB only, {100 * share:.0f} % of the shorter curve")
    else:
        notes.append(f"no PSNR in common: {quality_b[0]:.2f} to {quality_b[-1]:.2f} dB "
                     f"against {quality_a[0]:.2f} to {quality_a[-1]:.2f} dB")
    if max(rates_a[0], rates_b[0]) < min(rates_a[-1], rates_b[-1]):
        gain = float(bjontegaard.bd_psnr(*arguments, **options))
    else:
        notes.append(f"no rate in common: {rates_b[0] / 1000:.1f} to {rates_b[-1] / 1000:.1f} KB a frame "
                     f"against {rates_a[0] / 1000:.1f} to {rates_a[-1] / 1000:.1f} KB")
    return Difference(rate, gain, "; ".join(notes) or None)
