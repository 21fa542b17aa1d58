"""Large conforming streams, made on demand (`generate.py --stress DIR`).

Full levels, long groups, busy tensors, large transforms and masks.
"""
from __future__ import annotations

import numpy as np

import lzma2
from cases import Collection
from crafting import FIXED, Dice, Draft, context_model, field_header, grid, grid_tensors, header, network, vm_tensors
from lzma_cases import at_distance, occupied
from refcodec.entropy.bernoulli import BERNOULLI
from refcodec.syntax.headers import Alignment, Mapping, Representation, Role
from refcodec.syntax.registry import LEVELS
from valid_cases import ordinary


def add_all(cases: Collection) -> None:
    _levels(cases)
    _tools(cases)


def _levels(cases: Collection) -> None:
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


def _tools(cases: Collection) -> None:
    """Transforms and masks of tensors as large as those of real fields, with values and masks of real density."""
    dice = Dice(410)

    def few(*shape: int) -> np.ndarray:
        return dice.integers(0, 15, *shape) == 0

    def small(*shape: int) -> np.ndarray:
        return dice.integers(-2, 2, *shape) * few(*shape)

    def busy(name, features, description, head, coded, frames=2, **coding) -> None:
        """Tensors `coded` with a context model for values and one for bits, the others fixed."""
        models = {0: FIXED, 1: context_model(dice, 3),
                  2: context_model(dice, 3, family=BERNOULLI, output_bias=[0, 18 << 8])}
        draft = Draft(head, 2)
        ids = range(len(head.tensors))
        draft.group(0, frames)
        for k in range(frames):
            draft.frame(dice, models if k == 0 else {}, carry=None if k == 0 else coded, use=dict.fromkeys(coded, 1),
                        values={i: small for i in ids}, masks={i: few for i in ids}, mask_use=dict.fromkeys(coded, 2),
                        **coding)
        cases.add(name, features, description, draft.finish().bytes())

    head = field_header(Representation.VM, vm_tensors((300, 301, 302), (4, 4, 4), (6, 6, 6)), digest_type=1)
    planes = (0, 1, 2, 6, 7, 8)
    busy("wavelet-planes", "transforms", "Planes of 300 x 301, 300 x 302 and 301 x 302 cells with 10 channels each, "
         "six levels of the wavelet, a step for each band.", head, planes, transform=dict.fromkeys(planes, (2, 6)),
         steps=dict.fromkeys(planes, tuple(8 * (9 - b) for b in range(7))))
    busy("wavelet-planes-masked", "transforms masks", "The same planes with three levels and masks.", head, planes,
         transform=dict.fromkeys(planes, (2, 3)), significance=dict.fromkeys(planes, 2))
    head = field_header(Representation.GRID, grid_tensors((93, 101, 110), (99, 100, 101), 2))
    busy("dct-grids", "transforms", "The block DCT of grids of 99 x 100 x 101 cells and of 93 x 101 x 110 with two "
         "channels.", head, (0, 1), transform={0: (1, 0), 1: (1, 0)})
    head = field_header(Representation.GRID, grid_tensors((93, 101, 110), (99, 100, 101), 2), occupancy=(64, 64, 64))
    voxels = np.zeros((64, 64, 64), bool)
    voxels[10:50, 20:40, 5:60] = True
    busy("masked-grids", "masks significance", "The same grids with masks where occupied voxels touch.", head, (0, 1),
         significance={0: 3, 1: 3}, occupancy=voxels)

    # 512 * 512 * 33 voxels: more bytes than the dictionary holds.
    size = 512 * 512 * 33 // 8
    stream = at_distance(lzma2.DICTIONARY, size)
    cases.add("lzma-distance-full", "occupancy levels", "A match with distance 2^20, the largest.",
              occupied(stream.bytes(), bytes(stream.content), (512, 512, 33), 2))
