"""Roles of tensors that several representations have (spec Annex A.2)."""
from __future__ import annotations

from refcodec.syntax.representation import Role, Start

DENSITY_PLANE = Role.add(3, "DENSITY_PLANE", meaning="density plane that lacks axis `role_index` (0 x, 1 y, 2 z)",
                         start=Start.RANDOM)
DENSITY_LINE = Role.add(4, "DENSITY_LINE", meaning="density line along axis `role_index`", start=Start.RANDOM)
FEATURE_PLANE = Role.add(5, "FEATURE_PLANE", meaning="feature plane that lacks axis `role_index`", start=Start.RANDOM)
FEATURE_LINE = Role.add(6, "FEATURE_LINE", meaning="feature line along axis `role_index`", start=Start.RANDOM)
DENSITY_GRID = Role.add(7, "DENSITY_GRID", meaning="density grid")
FEATURE_GRID = Role.add(8, "FEATURE_GRID", meaning="feature grid", start=Start.RANDOM)
FUSION_WEIGHT = Role.add(16, "FUSION_WEIGHT", meaning="weights of layer `role_index` of the fusion network",
                         network=True, start=Start.FAN_IN)
FUSION_BIAS = Role.add(17, "FUSION_BIAS", meaning="biases of the same", network=True)
RENDER_WEIGHT = Role.add(18, "RENDER_WEIGHT", meaning="weights of layer `role_index` of the colour network",
                         network=True, start=Start.FAN_IN)
RENDER_BIAS = Role.add(19, "RENDER_BIAS", meaning="biases of the same", network=True)
