"""Large conforming streams, made on demand (`generate.py --stress DIR`): full levels, long groups, busy tensors."""
from __future__ import annotations

import numpy as np

from cases import Collection
from crafting import FIXED, Dice, Draft, context_model, grid, header, network
from refcodec.syntax.headers import Alignment, Mapping, Role
from refcodec.syntax.registry import LEVELS
from valid_cases import ordinary


def add_all(cases: Collection) -> None:
    for level in (1, 2):
        draft = ordinary(400)
        draft.level = level
        draft.add(128, bytes(LEVELS[level].unit_size), 1, at=2)
        cases.add(f"unit-size-level-{level}-full", "levels container", f"An ancillary unit of {LEVELS[level].unit_size} "
                  f"bytes, the most that level {level} allows.", draft.bytes())
    for level in (2, 3):
        dice, count = Dice(401), LEVELS[level].group_frames
        draft = Draft(header((1, 1, 1, 1), ((1, 1, 1, 1),)), level)
        draft.group(0, count)
        for k in range(count):
            draft.frame(dice, carry=(1,) if k % 100 == 7 else None if k == 0 else ())
        cases.add(f"group-of-{count}", "levels groups", f"A group of {count} frames, the most that level {level} allows.",
                  draft.finish().bytes())

    # 181 * 362 + 255 * 256 * 256 + 2 + 12 = 2^24 tensor elements; 256^3 = 2^24 voxels.
    tensors = [grid(Role.DIF_COEFFICIENT, 0, (1, 1, 181, 362), Mapping.LINEAR, Alignment.CENTRES),
               grid(Role.DIF_BASIS, 0, (1, 255, 256, 256), frequency=1.0)]
    tensors += network([(2, 1, False)], [(3, 4, False)])
    assert sum(t.size for t in tensors) == LEVELS[2].tensor_elements
    dice, draft = Dice(402), Draft(header(tensors=tensors, occupancy=(256, 256, 256)), 2)
    draft.group(0, 2)
    voxels = np.zeros((256, 256, 256), bool)
    voxels[100:120, 30:50, 200:230] = True
    draft.frame(dice, occupancy=voxels)
    draft.frame(dice, occupancy=np.roll(voxels, 3, 0))
    cases.add("level-2-full", "levels significance", "2^24 tensor elements and 2^24 voxels, the most that level 2 allows.",
              draft.finish().bytes())

    dice, draft = Dice(403), Draft(header((8, 60, 60, 60), ((8, 30, 30, 30),), digest_type=1), 1)
    draft.group(0, 2)
    for _ in range(2):
        draft.frame(dice, {0: FIXED, 1: context_model(dice, 3), 2: context_model(dice, 5, joint=8)}, use={0: 1, 1: 2})
    cases.add("busy", "context-models range-coder", "Two frames of two million symbols.", draft.finish().bytes())
