"""Conforming vectors of the coding tools: predictions, transforms, masks, tables by band, shared tensors."""

from __future__ import annotations

import numpy as np

from cases import Collection
from crafting import (
    BITS,
    FIXED,
    METADATA,
    Dice,
    Draft,
    context_model,
    field_header,
    grid_tensors,
    header,
    mlp_tensors,
    scene,
    static_model,
    vm_tensors,
)
from refcodec.entropy.bernoulli import BERNOULLI
from refcodec.entropy.laplace import LAPLACE
from refcodec.entropy.mixture import MIXTURE
from refcodec.entropy.models import BY_BAND, BY_BAND_AND_CHANNEL, BY_CHANNEL, ONE_TABLE, ContextModel, StaticModel
from refcodec.syntax.headers import FieldParameters, Representation
from refcodec.writer import build_metadata
from valid_cases import work_at_bound

MAX_VALUE = (1 << 20) - 1
DCT, WAVELET = 1, 2
# (z, y, x) of grids with more than one sample along two axes or three.
SIZES = (
    (2, 2, 2),
    (3, 1, 4),
    (5, 6, 1),
    (1, 7, 8),
    (9, 2, 1),
    (15, 1, 2),
    (1, 16, 3),
    (2, 17, 1),
    (2, 3, 9),
    (17, 1, 15),
)
NEAR = [(0, 0, 0, 0, -1), (0, 0, 0, -1, 0), (0, 0, -1, 0, 0), (2, 0, 0, 0, -1)]
TEMPORAL = [*NEAR, (1, 0, 0, 0, 0), (3, 0, 0, 0, 1)]


def add_all(cases: Collection) -> None:
    _predictions(cases)
    _block_dct(cases)
    _wavelet(cases)
    _transforms(cases)
    _masks(cases)
    _tables(cases)
    _shared(cases)
    _together(cases)
    _bounds(cases)


def bases(*sizes, channels: int = 1, **changes):
    """A header with basis grids of these sizes (z, y, x), the tensors from 1 on, and a coefficient grid of one cell."""
    return header((channels * len(sizes), 1, 1, 1), [(channels, *size) for size in sizes], **changes)


def stretched(dice: Dice, *shape: int) -> np.ndarray:
    """Values of all magnitudes, the largest included: int32."""
    magnitude = 1 << dice.integers(0, 20, *shape)
    return (dice.integers(0, 1, *shape) * 2 - 1) * np.minimum(magnitude, MAX_VALUE)


def bit_model(dice: Dice, template=NEAR, **changes) -> ContextModel:
    """A context model for masks, its tables around the middle."""
    joint = changes.get("joint", 0) or 1
    middle = [0, (32 << 8) if template else 32] * joint
    return context_model(dice, template, **{"family": BERNOULLI, "output_bias": middle, **changes})


def _predictions(cases: Collection) -> None:
    dice = Dice(500)
    highest, lowest = (1 << 31) - 1, -(1 << 31)
    offsets = (0, 1, -1, 123456, highest, lowest, highest, lowest)
    head = bases(*[(1, 1, 4)] * 8)
    values = {1 + i: [[0], [7], [-7], [100000]] for i in range(8)}
    draft = Draft(head)
    draft.group(0, 3)
    for k in range(3):
        draft.frame(
            dice,
            carry=range(len(head.tensors)) if k == 0 else range(1, 9),
            values=values,
            steps={1 + i: 199 for i in range(8)},
            predict={i: 1 if k == 2 else 3 for i in range(len(head.tensors))},
            offset={1 + i: offset for i, offset in enumerate(offsets)} | {0: -5, 9: 70000, 10: -70000},
        )
    cases.add(
        "constant-offsets",
        "reconstruction",
        "Tensors, weights included, predicted by constants up to 2^31 - 1 and "
        "down to -2^31, in I- and P-frames; sums are clamped.",
        draft.finish().bytes(),
    )

    factors = (
        (1, 0),
        (-1, 0),
        (32767, 15),
        (-32768, 15),
        (32767, -16),
        (-32768, -16),
        (0, 3),
        (3, -1),
        (-3, -1),
        (12345, -7),
    )
    head = bases(*[(1, 1, 8)] * len(factors))
    base = {1 + i: [[0], [1], [-1], [2], [-3], [MAX_VALUE], [-MAX_VALUE], [40 + i]] for i in range(len(factors))}
    draft = Draft(head)
    ids = range(1, 1 + len(factors))
    draft.shared(dice, ids, values=base, steps={i: 0 if i % 2 else 255 for i in ids})
    draft.group(0, 3)
    draft.frame(dice, predict={i: 2 for i in ids}, base=dict(zip(ids, factors)))
    draft.frame(
        dice,
        carry=ids,
        predict={i: 2 for i in ids},
        base=dict(zip(ids, factors[::-1])),
        offset={i: (highest, lowest, 1, -1)[i % 4] for i in ids},
        steps={i: 255 for i in ids},
    )
    draft.frame(
        dice,
        carry=ids,
        predict={i: (0, 1, 2, 3)[i % 4] for i in ids},
        base={i: (5, -2) for i in ids},
        offset={i: i * 1000 for i in ids if i % 4 >= 2},
    )
    cases.add(
        "base-factors",
        "shared reconstruction",
        "Shared tensors times factors of both signs with exponents from -16 "
        "to 15, with offsets at both ends; shared values at both clamps; then all four predictions in one frame.",
        draft.finish().bytes(),
    )

    head = bases((3, 4, 5), (4, 4, 4), occupancy=(3, 3, 3))
    draft = Draft(head)
    draft.shared(dice, (1, 2, 3))
    voxels = dice.occupancy((3, 3, 3), 9)
    draft.group(0, 2)
    draft.frame(
        dice,
        occupancy=voxels,
        predict={1: 2, 2: 3, 3: 2, 4: 3},
        base={1: (300, -8), 3: (-7, -2)},
        offset={1: -9, 2: 77, 3: 4, 4: -3},
    )
    draft.frame(dice, occupancy=voxels ^ dice.occupancy((3, 3, 3), 6), predict={1: 1, 2: 2}, carry=(1, 2))
    cases.add(
        "uncoded-elements-are-predicted",
        "shared reconstruction significance",
        "What occupancy leaves uncoded equals its "
        "prediction: the scaled shared tensor, a constant, the previous frame.",
        draft.finish().bytes(),
    )


def _block_dct(cases: Collection) -> None:
    dice = Dice(520)
    head = bases(*SIZES)
    ids = range(1, 1 + len(SIZES))
    draft = Draft(head)
    draft.group(0, 1)
    draft.frame(
        dice, transform={i: (DCT, 0) for i in ids}, steps={i: (59, 53, 47, 41) for i in ids}
    )
    cases.add(
        "dct-sizes",
        "transforms",
        "The block DCT of planes and grids with 1 to 17 samples along an axis, a step for each band.",
        draft.finish().bytes(),
    )

    # One coefficient at a time: every row and column of the matrix, in two directions.
    head = bases((1, 8, 8), (8, 1, 8), (8, 8, 1))
    every = np.arange(64).reshape(64, 1)
    draft = Draft(head)
    draft.group(0, 3)
    for k in range(3):
        draft.frame(
            dice,
            values={1 + i: np.where((every % 8 + every // 8 + i) % 3 == k, every + 1, 0) for i in range(3)},
            transform={1 + i: (DCT, 0) for i in range(3)},
            carry=None if k == 0 else (1, 2, 3),
            steps={1 + i: 104 for i in range(3)},
        )
    cases.add(
        "dct-basis-functions",
        "transforms",
        "All 64 coefficients of a block, in each plane; P-frames add to what is there.",
        draft.finish().bytes(),
    )

    head = bases((1, 9, 2), (3, 3, 3), (1, 2, 8))
    draft = Draft(head)
    draft.group(0, 2)
    shapes = ((16, 8), (8, 8, 8), (8, 8))
    signs = {}
    for i, shape in enumerate(shapes, 1):
        count = int(np.prod(shape))
        signs[i] = [
            np.full((count, 1), MAX_VALUE),
            (1 - 2 * (np.arange(count) % 2)).reshape(count, 1) * MAX_VALUE,
            stretched(dice, count, 1),
        ]
    for k in range(2):
        draft.frame(
            dice,
            carry=None if k == 0 else (1, 2, 3),
            transform={i: (DCT, 0) for i in (1, 2, 3)},
            values={i: signs[i][(i + k) % 3] for i in (1, 2, 3)},
            steps={i: (255, 255, 90, 255) for i in (1, 2, 3)},
        )
    cases.add(
        "dct-clamps",
        "transforms",
        "Coefficients, values between passes and results beyond 32 bits: each is clamped.",
        draft.finish().bytes(),
    )


def _wavelet(cases: Collection) -> None:
    dice = Dice(540)
    ids = range(1, 1 + len(SIZES))
    draft = Draft(bases(*SIZES))
    draft.group(0, 1)
    levels = {i: 1 + (i * 5) % 6 for i in ids}
    draft.frame(
        dice,
        transform={i: (WAVELET, levels[i]) for i in ids},
        steps={i: tuple(max(0, 86 - 15 * b) for b in range(levels[i] + 1)) for i in ids},
    )
    cases.add(
        "wavelet-sizes",
        "transforms",
        "The wavelet of planes and grids with 1 to 17 samples along an axis, 1 to 6 levels, a step for each band.",
        draft.finish().bytes(),
    )

    head = bases(*[(5, 7, 3)] * 6)
    draft = Draft(head)
    draft.group(0, 2)
    ids = range(1, 7)
    for k in range(2):
        draft.frame(
            dice,
            carry=None if k == 0 else ids,
            transform={i: (WAVELET, i) for i in ids},
            values={i: stretched(dice, 105, 1) for i in ids},
            steps={i: i for i in ids},
        )
    cases.add(
        "wavelet-levels",
        "transforms",
        "The same grid with 1 to 6 levels: from the fourth on there is nothing left to split.",
        draft.finish().bytes(),
    )

    head = bases((1, 33, 2), (1, 2, 33), (33, 2, 1), (2, 1, 33))
    draft = Draft(head)
    draft.group(0, 1)
    draft.frame(
        dice,
        transform={i: (WAVELET, 6) for i in range(1, 5)},
        steps={i: 53 for i in range(1, 5)},
        values={i: dice.integers(-50, 50, 66, 1) for i in range(1, 5)},
    )
    cases.add(
        "wavelet-33-samples", "transforms", "Six levels of 33 samples: 17, 9, 5, 3, 2 and 1.", draft.finish().bytes()
    )

    head = bases((1, 1, 1), (2, 2, 1), (1, 3, 3), (2, 2, 3), (4, 1, 5), (3, 3, 3))
    draft = Draft(head)
    draft.group(0, 3)
    counts = {2: 4, 3: 9, 4: 12, 5: 20, 6: 27}
    steps = {i: tuple(255 - 32 * (b == 1) for b in range(4)) for i in counts}
    for k in range(3):
        values = {
            i: [
                np.full((n, 1), MAX_VALUE),
                (1 - 2 * (np.arange(n) % 2)).reshape(n, 1) * MAX_VALUE,
                np.where(np.arange(n) < (n + 1) // 2, MAX_VALUE, -MAX_VALUE).reshape(n, 1),
            ][k]
            for i, n in counts.items()
        }
        draft.frame(
            dice,
            carry=None if k == 0 else counts,
            transform={i: (WAVELET, 3) for i in counts},
            values=values,
            steps=steps,
            predict={i: 0 for i in counts},
        )
    cases.add(
        "wavelet-clamps",
        "transforms",
        "Coefficients, values between passes and results beyond 32 bits: each is "
        "clamped, what is inside a pass is not.",
        draft.finish().bytes(),
    )


def _transforms(cases: Collection) -> None:
    dice = Dice(560)
    head = bases((3, 5, 4), (9, 9, 1), channels=2)
    models = {0: FIXED, 1: context_model(dice, TEMPORAL), 2: context_model(dice, TEMPORAL, joint=2)}
    draft = Draft(head)
    kinds = ((0, 0), (DCT, 0), (DCT, 0), (WAVELET, 2), (WAVELET, 1), (WAVELET, 1), (0, 0), (0, 0))
    draft.group(0, len(kinds))
    for k, kind in enumerate(kinds):
        cells = {0: {1: 60, 2: 81}, DCT: {1: 512, 2: 256}, WAVELET: {1: 60, 2: 81}}[kind[0]]
        draft.frame(
            dice,
            models if k == 0 else {},
            carry=None if k == 0 else (1, 2),
            use={1: 1, 2: 2},
            transform={1: kind, 2: kind},
            values={i: dice.integers(-4, 4, n, 2) for i, n in cells.items()},
        )
    cases.add(
        "transform-changes",
        "transforms context-models frames",
        "Another transform or number of levels from frame to "
        "frame: temporal neighbours are zero where it differs from that of the frame before.",
        draft.finish().bytes(),
    )

    head = field_header(Representation.VM, vm_tensors((9, 5, 6), (1, 2, 1), (2, 1, 2)), occupancy=(3, 3, 3))
    planes = (0, 1, 2, 6, 7, 8)
    for name, kind, word in (("dct", (DCT, 0), "block DCT"), ("wavelet", (WAVELET, 3), "wavelet")):
        draft = Draft(head)
        draft.group(0, 2)
        voxels = dice.occupancy((3, 3, 3), 5)
        models = {0: FIXED, 1: context_model(dice, TEMPORAL)}
        for k in range(2):
            draft.frame(
                dice,
                models if k == 0 else {},
                occupancy=voxels,
                use={i: 1 for i in planes},
                transform={i: kind for i in planes},
            )
            voxels = voxels ^ dice.occupancy((3, 3, 3), 8)
        cases.add(
            f"planes-{name}",
            "transforms representations significance",
            f"Planes of vector-matrix factors coded with the {word} where occupied voxels touch, lines without.",
            draft.finish().bytes(),
        )

    sizes = ((9, 9, 3), (1, 17, 10), (5, 1, 16), (2, 2, 1))
    for name, kind in (("dct", (DCT, 0)), ("wavelet", (WAVELET, 3)), ("wavelet-1", (WAVELET, 1))):
        head = bases(*sizes, occupancy=(5, 6, 4))
        draft = Draft(head)
        draft.group(0, 3)
        voxels = np.zeros((4, 6, 5), bool)
        for k, place in enumerate(((0, 0, 0), (3, 5, 4), (2, 1, 3))):
            voxels = voxels.copy()
            voxels[place] = True
            draft.frame(
                dice,
                carry=None if k == 0 else (1, 2, 3, 4),
                occupancy=voxels,
                transform={i: kind for i in (1, 2, 3, 4)},
            )
        cases.add(
            f"significance-{name}",
            "transforms significance",
            "Coefficients whose support holds a touched cell, as one voxel after the other is occupied.",
            draft.finish().bytes(),
        )
    draft = Draft(bases(*sizes, occupancy=(2, 2, 2)))
    draft.group(0, 1)
    draft.frame(
        dice,
        occupancy=np.zeros((2, 2, 2), bool),
        transform={1: (DCT, 0), 2: (WAVELET, 2)},
        predict={1: 3},
        offset={1: 9},
    )
    cases.add(
        "significance-transform-empty",
        "transforms significance",
        "Transforms of which no coefficient is coded.",
        draft.finish().bytes(),
    )


def _masks(cases: Collection) -> None:
    dice = Dice(580)

    def masked(
        name,
        description,
        models,
        *,
        sizes=((3, 4, 5), (2, 3, 1)),
        channels=2,
        frames=2,
        features="",
        occupancy=None,
        mask=None,
        **coding,
    ):
        """Basis grids with masks, mask model 1 unless said otherwise; values with model 0."""
        head = bases(*sizes, channels=channels, occupancy=(3, 3, 3) if occupancy is not None else (0, 0, 0))
        draft = Draft(head)
        ids = range(1, 1 + len(sizes))
        draft.group(0, frames)
        for k in range(frames):
            chosen = dict(coding, significance={i: 2 if occupancy is None else 3 for i in ids})
            if mask is not None:
                chosen["masks"] = {i: mask(i, k, draft.header.tensors[i].shape) for i in ids}
            draft.frame(
                dice,
                {0: FIXED, **models} if k == 0 else {},
                carry=None if k == 0 else ids,
                occupancy=occupancy,
                **chosen,
            )
        cases.add(name, f"masks {features}".strip(), description, draft.finish().bytes())

    def count(shape):
        return shape[1] * shape[2] * shape[3]

    masked("mask-fixed", "Masks of independent bits.", {1: BITS}, features="bernoulli-tables")
    masked(
        "mask-context",
        "A mask whose model sees the bits decoded before.",
        {1: bit_model(dice)},
        features="bernoulli-tables",
    )
    masked(
        "mask-temporal",
        "A mask whose model sees the values, not the mask, of the previous frame.",
        {1: bit_model(dice, TEMPORAL)},
        frames=3,
        features="context-models",
    )
    masked(
        "mask-joint",
        "A joint model of two channels for the mask, and one for the values.",
        {1: bit_model(dice, TEMPORAL, joint=2), 2: context_model(dice, TEMPORAL, joint=2)},
        use={1: 2, 2: 2},
        features="context-models",
    )
    masked(
        "mask-scan-channels",
        "Scan weights above 0 for the channel: channels of a cell are decoded in different steps, in "
        "the mask and in the values.",
        {
            1: bit_model(dice, [*TEMPORAL, (0, -1, 0, 0, 0)], scan=(2, 1, 1, 3)),
            2: context_model(dice, [*TEMPORAL, (0, -1, 0, 0, 0)], scan=(1, 2, 0, 1)),
        },
        use={1: 2, 2: 2},
        features="decoding-order",
    )
    masked(
        "mask-values-context",
        "Values whose model sees zeros where the mask is 0.",
        {1: BITS, 2: context_model(dice, TEMPORAL)},
        use={1: 2, 2: 2},
        features="context-models",
    )
    masked(
        "mask-none-set",
        "Masks that are zero everywhere: no values, no data of values.",
        {1: bit_model(dice)},
        mask=lambda i, k, shape: np.zeros((count(shape), shape[0])),
        predict={1: 3, 2: 0},
        offset={1: 44},
    )
    masked(
        "mask-all-set",
        "Masks that are one everywhere.",
        {1: bit_model(dice)},
        mask=lambda i, k, shape: np.ones((count(shape), shape[0])),
    )
    masked(
        "mask-sparse",
        "One element in thirty.",
        {1: ContextModel.fixed([0], [18], BERNOULLI)},
        mask=lambda i, k, shape: dice.integers(0, 29, count(shape), shape[0]) == 0,
    )
    masked(
        "mask-zero-values",
        "Values of zero where the mask is 1.",
        {1: BITS},
        values={1: np.zeros((60, 2)), 2: np.zeros((6, 2))},
    )
    voxels = dice.occupancy((3, 3, 3), 7)
    masked(
        "mask-and-occupancy",
        "Mask bits only of the cells that occupied voxels touch.",
        {1: bit_model(dice, TEMPORAL)},
        occupancy=voxels,
        features="significance",
    )
    masked(
        "mask-and-empty-occupancy",
        "Masks without a cell that might be coded.",
        {1: BITS},
        occupancy=np.zeros((3, 3, 3), bool),
        features="significance",
    )
    for name, kind in (("dct", (DCT, 0)), ("wavelet", (WAVELET, 2))):
        for suffix, occupied in (("", None), ("-and-occupancy", voxels)):
            masked(
                f"mask-{name}{suffix}",
                "Masks of coefficients"
                + (", of those whose support occupied voxels touch." if occupied is not None else "."),
                {1: bit_model(dice, TEMPORAL), 2: context_model(dice, TEMPORAL)},
                use={1: 2, 2: 2},
                occupancy=occupied,
                sizes=((3, 1, 5), (2, 3, 4)),
                transform={1: kind, 2: kind},
                channels=1,
                features="transforms",
            )
    one = static_model((0, (3, 2, 1)))
    masked("mask-static", "A static model of the mask, with first_value 0.", {1: one}, features="static-models")
    masked(
        "mask-static-shifted",
        "Static models of masks whose first_value is -5, and 1, so that zeros are escapes.",
        {1: static_model((-5, (1, 1, 1, 1, 1, 9, 7, 1))), 3: static_model((1, (5, 4)))},
        mask_use={1: 1, 2: 3},
        features="static-models escapes",
    )
    masked(
        "mask-static-by-channel",
        "A table of mask bits for each channel.",
        {1: static_model((0, (1, 5, 1)), (0, (5, 1, 1)))},
        features="static-models",
    )
    masked(
        "mask-model-for-values",
        "One static model for the mask and the values.",
        {1: static_model((-1, (2, 5, 4, 1)))},
        use={1: 1, 2: 1},
        features="static-models",
    )

    # One channel for each table, both bits, with and without location outputs, which count for nothing.
    head = header((64, 1, 1, 2), ((64, 1, 1, 2),))
    draft = Draft(head)
    draft.group(0, 1)
    draft.frame(
        dice,
        {
            0: FIXED,
            1: ContextModel.fixed([100 - k for k in range(64)], list(range(64)), BERNOULLI),
            2: ContextModel.fixed([0] * 64, [1000 - 40 * k for k in range(64)], BERNOULLI),
        },
        significance={0: 2, 1: 2},
        mask_use={0: 1, 1: 2},
        masks={0: np.stack([np.zeros(64), np.ones(64)]), 1: np.stack([np.ones(64), np.zeros(64)])},
    )
    cases.add(
        "every-bernoulli-table",
        "bernoulli-tables masks",
        "Both bits with each of the 64 tables; table indices are "
        "clamped to 0 and 63, locations are 0 whatever the model says.",
        draft.finish().bytes(),
    )

    head = bases((2, 3, 4), channels=3)
    draft = Draft(head)
    draft.group(0, 4)
    models = {0: FIXED, 1: bit_model(dice, TEMPORAL), 2: context_model(dice, TEMPORAL)}
    for k, significance in enumerate((0, 2, 2, 0)):
        draft.frame(
            dice, models if k == 0 else {}, carry=None if k == 0 else (1,), use={1: 2}, significance={1: significance}
        )
    cases.add(
        "mask-comes-and-goes",
        "masks frames",
        "A tensor without a mask, with one for two frames, without.",
        draft.finish().bytes(),
    )


def _tables(cases: Collection) -> None:
    dice = Dice(610)

    def tables(number: int) -> list:
        return [(int(-2 - dice.integers(0, 2)), tuple(dice.integers(1, 60, 5 + k % 3).tolist())) for k in range(number)]

    sizes, channels = ((3, 5, 1), (3, 4, 9)), 2
    for kind, bands, name in (((0, 0), 1, "no-transform"), ((DCT, 0), 4, "dct"), ((WAVELET, 2), 3, "wavelet")):
        for assignment, number, word in (
            (ONE_TABLE, 1, "one"),
            (BY_CHANNEL, channels, "by-channel"),
            (BY_BAND, bands, "by-band"),
            (BY_BAND_AND_CHANNEL, bands * channels, "by-band-and-channel"),
        ):
            draft = Draft(bases(*sizes, channels=channels, occupancy=(2, 3, 2)))
            draft.group(0, 2)
            voxels = dice.occupancy((2, 3, 2), 3)
            models = {
                0: FIXED,
                1: StaticModel(tuple(tables(number)), assignment),
                2: StaticModel(tuple((0, tuple(dice.integers(1, 9, 3).tolist())) for _ in range(number)), assignment),
            }
            for k in range(2):
                draft.frame(
                    dice,
                    models if k == 0 else {},
                    carry=None if k == 0 else (1, 2),
                    occupancy=voxels,
                    significance={1: 3, 2: k},
                    use={1: 1, 2: 1},
                    mask_use={1: 2},
                    transform={1: kind, 2: kind},
                )
            cases.add(
                f"tables-{word}-{name}",
                "static-models" + (" transforms" if bands > 1 else ""),
                f"Static tables, assignment {assignment}, with {bands} band{'s' * (bands > 1)}; of values and a mask.",
                draft.finish().bytes(),
            )
    draft = Draft(bases((8, 2, 2), channels=36))
    draft.group(0, 1)
    draft.frame(
        dice,
        {0: FIXED, 1: StaticModel(tuple((-1, (2, k % 50 + 1, 2, 1)) for k in range(252)), BY_BAND_AND_CHANNEL)},
        use={1: 1},
        transform={1: (WAVELET, 6)},
        values={1: dice.integers(-2, 2, 32, 36)},
    )
    cases.add("tables-252", "static-models transforms", "252 tables: 7 bands of 36 channels.", draft.finish().bytes())


def _shared(cases: Collection) -> None:
    dice = Dice(630)
    head = bases((3, 4, 5), (9, 1, 4), (4, 5, 3), channels=2, occupancy=(3, 3, 3))
    two = [(-1, (3, 9, 3, 1)), (-2, (1, 4, 9, 4, 1))]
    models = {
        0: FIXED,
        1: BITS,
        2: context_model(dice, NEAR),
        3: bit_model(dice, NEAR, joint=2),
        4: StaticModel(tuple(two * 4), BY_BAND_AND_CHANNEL),
        63: static_model(two[0]),
    }

    def full(**changes) -> Draft:
        draft = Draft(bases((3, 4, 5), (9, 1, 4), (4, 5, 3), channels=2, occupancy=(3, 3, 3), **changes))
        draft.shared(
            dice,
            (0, 1, 2, 3, 4),
            models,
            use={0: 63, 1: 2, 2: 4, 3: 2},
            significance={1: 2, 3: 2},
            mask_use={1: 1, 3: 3},
            transform={2: (DCT, 0), 3: (WAVELET, 2)},
            predict={1: 3, 4: 3},
            offset={1: -12, 4: 1 << 30},
            steps={2: (41, 33, 25, 17)},
        )
        draft.group(0, 2)
        voxels = dice.occupancy((3, 3, 3), 5)
        base = {i: 2 for i in range(5)}
        draft.frame(
            dice,
            {0: context_model(dice, TEMPORAL), 1: bit_model(dice, TEMPORAL)},
            occupancy=voxels,
            predict=base,
            use={4: 0},
            significance={2: 3},
            mask_use={2: 1},
            transform={1: (DCT, 0), 3: (WAVELET, 1)},
            base={0: (1, 1), 1: (-1, 0), 2: (5, -2), 3: (1, 0), 4: (1, -1)},
            offset={2: 9},
        )
        draft.frame(
            dice, carry=(1, 3), occupancy=voxels, predict={1: 1, 3: 2}, transform={1: (DCT, 0), 3: (WAVELET, 1)}
        )
        return draft

    cases.add(
        "shared-all-tools",
        "shared transforms masks static-models",
        "A shared unit with transforms, masks, constants, "
        "context and static models; frames of transforms, masks and occupancy on top of it. Models of the shared "
        "unit are not those of the frames with the same identifiers.",
        full().finish().bytes(),
    )
    cases.add("shared-digests-off", "shared digests", "The same without digests.", full(digest_type=0).finish().bytes())

    draft = Draft(head)
    draft.shared(dice, ())
    draft.group(0, 1)
    draft.frame(dice, occupancy=np.ones((3, 3, 3), bool))
    cases.add("shared-nothing", "shared", "A shared unit without tensors.", draft.finish().bytes())
    draft = Draft(head)
    draft.shared(dice, (), {})
    draft.group(0, 1)
    draft.frame(dice, occupancy=np.ones((3, 3, 3), bool))
    cases.add("shared-without-models", "shared", "A shared unit without models and tensors.", draft.finish().bytes())
    draft = Draft(head)
    draft.shared(dice, (2,))
    draft.group(0, 1)
    draft.frame(dice, occupancy=np.ones((3, 3, 3), bool))
    cases.add("shared-unused", "shared", "A shared tensor that no frame predicts from.", draft.finish().bytes())
    for name in ("before", "between", "after"):
        draft = Draft(bases((2, 2, 2)))
        draft.shared(dice, (1, 2))
        for number in (0, 1):
            draft.group(number, 1)
            draft.frame(dice, predict={1: 2, 2: 2}, base={1: (3, number), 2: (1, -number)})
        draft.finish()
        shared = draft.pieces.pop(1)
        draft.add(METADATA, build_metadata({"title": "a"}), at=1)
        draft.add_cameras([])
        draft.pieces.insert({"before": 1, "between": 2, "after": 3}[name], shared)
        cases.add(
            f"shared-{name}-others",
            "shared container",
            f"The shared unit {name} cameras and metadata; two groups use it.",
            draft.bytes(),
        )

    tensors = mlp_tensors(1, (4, 4, 3), skip=1, bias=True)
    head = field_header(Representation.MLP, tensors, parameters=FieldParameters(0.0, 1.0, 0, 0, 1, 1))
    draft = Draft(head)
    draft.shared(dice, range(len(tensors)), steps={i: 69 + i for i in range(len(tensors))})
    draft.group(0, 1)
    draft.frame(
        dice,
        predict={i: 2 for i in range(len(tensors))},
        base={i: (30000 - 8000 * i, -15) for i in range(len(tensors))},
        offset={i: 50 - 20 * i for i in range(len(tensors))},
    )
    cases.add(
        "affine-weights",
        "shared representations",
        "Weights and biases of a NeRF, each a scaled shared tensor, plus an "
        "offset, plus residuals of a step of its own.",
        draft.finish().bytes(),
    )

    head = field_header(Representation.GRID, grid_tensors((5, 4, 6), (9, 3, 2), 3))
    draft = Draft(head)
    draft.shared(dice, (0, 1), transform={0: (DCT, 0), 1: (WAVELET, 2)})
    draft.group(0, 2)
    draft.frame(dice, predict={0: 2, 1: 2}, transform={0: (WAVELET, 1), 1: (DCT, 0)}, base={0: (-3, 0), 1: (7, -3)})
    draft.frame(dice, transform={0: (DCT, 0), 1: (WAVELET, 6)})
    cases.add(
        "transform-of-residual",
        "transforms shared reconstruction",
        "Residuals coded with transforms on top of shared tensors and of the previous frame.",
        draft.finish().bytes(),
    )


def _together(cases: Collection) -> None:
    """Small files in which tools meet; the fuzzer starts from them."""
    likely, bits = static_model((-1, (1, 30, 1, 1))), static_model((0, (30, 1, 1)))
    for seed, (name, kind) in enumerate((("dct", (DCT, 0)), ("wavelet", (WAVELET, 2))), 650):
        dice = Dice(seed)

        def few(*shape):
            return dice.integers(0, 4, *shape) == 0

        def small(*shape):
            return dice.integers(-1, 1, *shape)

        for suffix, significance in (("", 1), ("-masked", 3)):
            draft = Draft(bases((1, 3, 2), (2, 2, 3), occupancy=(2, 2, 2)))
            draft.group(0, 2)
            for k in range(2):
                voxels = dice.occupancy((2, 2, 2), 2)
                voxels[0, 0, 0] = True
                draft.frame(
                    dice,
                    {0: FIXED, 2: likely, 3: bits} if k == 0 else {},
                    use={1: 2, 2: 2},
                    carry=None if k == 0 else (1, 2),
                    occupancy=voxels,
                    significance={1: significance, 2: significance},
                    transform={1: kind, 2: kind},
                    mask_use={1: 3, 2: 3},
                    values={1: small, 2: small},
                    masks={1: few, 2: few},
                )
            cases.add(
                f"small-{name}{suffix}",
                "transforms significance" + (" masks" if suffix else ""),
                f"A small file with transform {kind[0]} and significance {significance}.",
                draft.finish().bytes(),
            )
        draft = Draft(bases((1, 3, 2), (2, 2, 3), further_scenes=(scene((0, 0, 0), (5, 4, 3)),)))
        draft.shared(
            dice,
            (1, 2, 3),
            {2: likely, 3: bits},
            use={1: 2, 2: 2, 3: 2},
            significance={1: 2},
            mask_use={1: 3},
            transform={1: kind, 2: kind},
            values={1: small, 2: small},
            masks={1: few},
        )
        for scene_id in (0, 1):
            draft.group(scene_id, 1, scene_id)
            draft.frame(
                dice,
                {2: likely, 3: bits},
                use=dict.fromkeys(range(5), 2),
                predict={0: 3, 1: 2, 2: 2, 3: 2},
                base={1: (-3, -1), 2: (5, scene_id)},
                offset={0: 7, 1: scene_id},
                transform={1: kind},
                significance={2: 2},
                mask_use={2: 3},
                values={1: small, 4: small},
            )
        cases.add(
            f"small-shared-{name}",
            "shared scenes transforms masks",
            f"A small file with two scenes that predict from shared tensors, coded with masks and transform {kind[0]}.",
            draft.finish().bytes(),
        )


def joint_work(size: tuple[int, int, int], kind: int = 0, *, shared: bool = False, excess: bool = False,
               mixture: bool = False) -> Draft:
    """A file of which a joint model for two channels needs 2^30 multiplications, or six more, in its frame.

    size: (z, y, x) of the basis grid, whose coefficient array for transform `kind` has 2^16 cells, hardly any of
    them coded. shared: in the shared unit; then the mask has no one. mixture: the model has a third output for each
    channel.
    """
    dice, inputs = Dice(660), 125 if mixture else 126
    models = {
        0: FIXED,
        1: context_model(dice, [(0, 0, 0, 0, -1)] * inputs, joint=2, hidden=64, family=MIXTURE if mixture else LAPLACE),
        2: context_model(dice, [(0, 0, 0, 0, -1)], hidden=1),
        3: static_model((0, (1 << 20, 1))),
    }
    assert (1 << 16) * 64 * (2 * inputs + (3 if mixture else 2) * 2) == 1 << 30
    coding = dict(use={0: 2 if excess else 0, 1: 1}, transform={1: (kind, 0)})
    draft = Draft(header((2, 1, 1, 1), ((2, *size),), occupancy=(64, 64, 64), digest_type=0))
    voxels = np.zeros((64, 64, 64), bool)
    if shared:
        draft.shared(
            dice,
            (0, 1),
            models,
            **coding,
            significance={1: 2},
            mask_use={1: 3},
            masks={1: lambda *shape: np.zeros(shape, bool)},
            predict={1: 3},
            offset={1: 5},
        )
        models, coding = {0: FIXED}, dict(predict={1: 2})
    else:
        voxels[0, 0, 0] = True
    draft.group(0, 1)
    draft.frame(dice, models, occupancy=voxels, **coding)
    return draft.finish(index=False)


def _bounds(cases: Collection) -> None:
    cases.add(
        "model-work-joint-full",
        "levels context-models",
        "2^30 multiplications of a joint model, the most that level 1 allows: it is applied once to a cell, not to "
        "each channel.",
        joint_work((64, 32, 32)).bytes(),
    )
    cases.add(
        "model-work-dct-full",
        "levels context-models transforms",
        "2^30 multiplications of a joint model for 256 x 256 coefficients of a plane with 249 x 249 cells.",
        joint_work((1, 249, 249), DCT).bytes(),
    )
    cases.add(
        "shared-model-work-full",
        "levels shared masks transforms",
        "2^30 multiplications of a joint model in the shared unit, for 64 x 32 x 32 coefficients of 57 x 25 x 25 cells.",
        joint_work((57, 25, 25), DCT, shared=True).bytes(),
    )
    cases.add(
        "model-work-masks-full",
        "levels masks",
        "2^30 multiplications of the models of a mask and of its values together, the most that level 1 allows.",
        work_at_bound(1, masked=True).bytes(),
    )
    cases.add(
        "model-work-masks-dct-full",
        "levels masks transforms",
        "The same for coefficients of the block DCT, the filled-up blocks included.",
        work_at_bound(1, masked=True, transformed=True).bytes(),
    )
