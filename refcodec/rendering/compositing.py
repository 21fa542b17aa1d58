"""Compositing along rays (spec 9.3), once for rendering and for training."""
from __future__ import annotations

from refcodec.arrays import A
from refcodec.rendering.arrays import MarchOps


def composite(xp: MarchOps[A], depths: A, passing: A | float = 1.0) -> tuple[A, A]:
    """Transmittance and compositing weight of each sample of rays.

    xp: array operations. depths: (N, S + 1), 0 and then the optical depth of each sample, front to back. passing:
    (N, 1), the share of light that reaches the first sample. Returns light (N, S + 1), in front of each sample and
    behind the last, and weights (N, S) of the samples' colours. Differentiable in torch.
    """
    light = passing * xp.exp(-depths.cumsum(1))
    return light, light[:, :-1] * -xp.expm1(-depths[:, 1:])
