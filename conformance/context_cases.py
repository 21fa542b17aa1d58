"""Cases of what version 0.4 added to context models: magnitudes, neighbours by frequency, mixtures."""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from cases import Collection
from crafting import FIXED, FRAME, Dice, Draft, context_model, field_header, header, vm_tensors
from refcodec.entropy.bernoulli import BERNOULLI
from refcodec.entropy.mixture import MIXTURE, mixture_tables
from refcodec.entropy.models import ContextModel
from refcodec.syntax.headers import Representation
from refcodec.syntax.registry import ACTIVITY, BY_FREQUENCY, MAGNITUDE, PREVIOUS_MAGNITUDE, SOURCES, is_activity
from tool_cases import TEMPORAL, bases, bit_model, joint_work
from valid_cases import two_frames

DCT, WAVELET = (1, 0), (2, 2)
SIZES = ((9, 8, 17), (1, 8, 33), (24, 1, 9), (16, 7, 1))
CHANNELS = 2


def add_all(cases: Collection) -> None:
    _coefficients(cases)
    _neighbours(cases)
    _mixtures(cases)


def coefficients(dice: Dice, models: dict[int, ContextModel], kind=DCT, sizes=SIZES, channels=CHANNELS, **coding) -> Draft:
    """An I- and a P-frame of grids and planes under a transform, all with model 1, and 2 for masks where there are any."""
    head = bases(*sizes, channels=channels)
    ids = range(1, 1 + len(sizes))
    return two_frames(head, models, {i: 1 for i in ids}, dice, transform={i: kind for i in ids}, **coding)


def _coefficients(cases: Collection) -> None:
    dice = Dice(800)

    def add(name, description, model, features="context-models transforms", **coding):
        cases.add(name, features, description, coefficients(dice, {1: model}, **coding).bytes())

    for template in (14, 15):
        for name, scan in (("", (1, 1, 1, 1)), ("-cells", (0, 1, 1, 1)), ("-channels-first", (1, 3, 3, 2)),
                           ("-no-order", (0, 0, 0, 0))):
            add(f"template-{template}{name}", f"Template {template} for coefficients, weights {scan}.",
                context_model(dice, template, scan=scan))
        add(f"template-{template}-joint", f"A joint model with template {template}, whose neighbour in the channel before "
            "reads nothing that is decoded.", context_model(dice, template, joint=CHANNELS, scan=(0, 1, 1, 1)))
        add(f"template-{template}-no-transform", f"Template {template} without a transform: frequencies are cells.",
            context_model(dice, template, scan=(1, 1, 1, 1)), "context-models", kind=(0, 0))
        add(f"template-{template}-wavelet", f"Template {template} for a wavelet: frequencies are cells.",
            context_model(dice, template, scan=(1, 1, 1, 1)), kind=WAVELET)
    head = field_header(Representation.VM, vm_tensors((9, 17, 24), (2, 1, 3), (4, 2, 2)), occupancy=(5, 5, 5))
    planes = (0, 1, 2, 6, 7, 8)
    draft = Draft(head)
    draft.group(0, 2)
    voxels = dice.occupancy((5, 5, 5), 40)
    models = {0: FIXED, 1: context_model(dice, 15, scan=(1, 1, 1, 1), family=MIXTURE)}
    for k in range(2):
        draft.frame(dice, models if k == 0 else {}, occupancy=voxels, use={i: 1 for i in planes},
                    transform={i: DCT for i in planes}, significance={i: 1 for i in planes})
        voxels = voxels ^ dice.occupancy((5, 5, 5), 20)
    cases.add("template-15-planes", "context-models mixture-tables transforms significance", "One model for all planes of "
              "vector-matrix factors, whichever axis they lack, where occupied voxels touch.", draft.finish().bytes())

    # Nothing is left of the group before in an I-frame.
    sizes = ((1, 9, 16), (8, 1, 8))
    draft = Draft(bases(*sizes, channels=CHANNELS))
    models = {0: FIXED, 1: context_model(dice, 15, scan=(1, 1, 1, 1), family=MIXTURE), 2: context_model(dice, 3)}
    for first in (0, 2):
        draft.group(first, 2)
        for k in range(2):
            draft.frame(dice, models if k == 0 else {}, use={1: 1, 2: 2}, transform={1: DCT, 2: DCT})
    cases.add("previous-of-group-before", "context-models transforms groups", "Templates with temporal neighbours in the "
              "I-frames of two groups: their previous values are 0.", draft.finish().bytes())

    # Of equal size, so that only the transform tells that the values before are others.
    draft = Draft(bases((1, 8, 16), (1, 16, 8)))
    kinds = (DCT, (0, 0), WAVELET, WAVELET, (2, 1), DCT)
    draft.group(0, len(kinds))
    models = {0: FIXED, 1: context_model(dice, TEMPORAL), 2: bit_model(dice, TEMPORAL)}
    for k, kind in enumerate(kinds):
        draft.frame(dice, models if k == 0 else {}, carry=None if k == 0 else (1, 2), use={1: 1, 2: 1},
                    transform={1: kind, 2: kind}, significance={1: 2, 2: 2}, mask_use={1: 2, 2: 2})
    cases.add("mask-transform-changes", "masks transforms context-models", "Masks of tensors whose transform changes while "
              "the size of the coefficient array stays: the previous values that their models see are then 0.",
              draft.finish().bytes())


def _neighbours(cases: Collection) -> None:
    dice = Dice(810)
    places = [(0, 0, 0), (0, 0, -1), (0, -2, 0), (-1, 0, 0), (0, 1, 1), (2, 0, 0), (-1, -1, -1)]
    every = [(source, 0 if is_activity(source) else k % 5 - 2, *place)
             for k, (source, place) in enumerate((s, p) for s in sorted(SOURCES) for p in places)]
    for name, kind in (("dct", DCT), ("wavelet", WAVELET), ("none", (0, 0))):
        cases.add(f"every-source-{name}", "context-models transforms", "All twelve sources, at offsets of both signs and of "
                  f"other channels; {'no transform' if name == 'none' else name}.",
                  coefficients(dice, {1: context_model(dice, every, scan=(1, 2, 3, 1))}, kind).bytes())
    joint = [(source, 0, *place) for source, _, *place in every]
    cases.add("every-source-joint", "context-models transforms", "All twelve sources in a joint model.",
              coefficients(dice, {1: context_model(dice, joint, joint=CHANNELS, scan=(0, 1, 1, 1))}).bytes())
    masks = [(source, 0, 0, -1, -1) for source in sorted(SOURCES)] + [(MAGNITUDE, -1, 0, 0, 0), (ACTIVITY, 0, 0, 0, 0)]
    ids = range(1, 1 + len(SIZES))
    cases.add("sources-mask", "context-models masks transforms", "Masks of coefficients from bits and magnitudes by frequency.",
              coefficients(dice, {1: context_model(dice, masks), 2: bit_model(dice, masks, scan=(1, 1, 1, 1))},
                           significance={i: 2 for i in ids}, mask_use={i: 2 for i in ids}).bytes())

    large = [dice.integers(-400, 400, 8 * 8, 2) for _ in range(2)]
    cases.add("magnitudes-clamped", "context-models transforms", "Magnitudes of values beyond ±127 are 127.",
              coefficients(dice, {1: context_model(dice, [(MAGNITUDE + BY_FREQUENCY, 0, 0, -1, 0), (MAGNITUDE, 0, 0, 0, -1),
                                                          (PREVIOUS_MAGNITUDE, 0, 0, 0, 0)])}, sizes=((1, 8, 8),) * 2,
                           values={1: large[0], 2: large[1]}).bytes())
    cases.add("by-frequency-ends", "context-models transforms", "Offsets of two frequencies from planes of one block, and of "
              "one to three blocks: beyond the first and the last frequency nothing lies.",
              coefficients(dice, {1: context_model(dice, [(8, 0, 0, -2, 0), (8, 0, 0, 0, 2), (9, 0, 0, 2, 0), (9, 0, 0, 0, -2),
                                                          (11, 0, 0, 1, 1)], scan=(0, 0, 1, 3))},
                           sizes=((1, 8, 8), (1, 16, 3), (1, 2, 24))).bytes())
    near = [(source + BY_FREQUENCY, 0, *place) for source, place in ((0, (0, 0, -1)), (2, (0, -1, 0)), (1, (0, 0, 0)),
                                                                     (5, (1, 0, 0)))]
    draft = Draft(header(occupancy=(17, 9, 25)))
    draft.group(0, 2)
    models = {0: FIXED, 1: context_model(dice, near, scan=(0, 3, 2, 1), family=BERNOULLI, output_bias=[0, 32 << 8])}
    for k in range(2):
        draft.frame(dice, models if k == 0 else {}, occupancy=dice.occupancy((25, 9, 17), 900), occupancy_model=1)
    cases.add("occupancy-by-frequency", "occupancy context-models", "An occupancy under neighbours by frequency, which are "
              "voxels.", draft.finish().bytes())


def _mixtures(cases: Collection) -> None:
    dice = Dice(820)
    tables = mixture_tables()
    reach = np.array([-t.low for t in tables])
    # One channel for each table: 0, ±1, both ends and the first values beyond.
    rows = [0 * reach, 0 * reach + 1, 0 * reach - 1, reach, -reach, reach + 1, -reach - 1, reach // 2]
    head = header((220, 2, 2, 2), ((220, 1, 1, 1),))
    shape, scale = np.divmod(np.arange(220), 44)
    draft = Draft(head)
    draft.group(0, 1)
    draft.frame(dice, {0: FIXED, 1: mixture([0] * 220, scale, shape)}, use={0: 1}, values={0: np.array(rows)})
    cases.add("every-mixture-table", "mixture-tables escapes", "Zero, ±1, both ends and the first escapes of each of the "
              "220 tables.", draft.finish().bytes())
    draft = Draft(head)
    draft.group(0, 1)
    draft.frame(dice, {0: FIXED, 1: mixture(np.arange(220) - 110, scale[::-1], shape)}, use={0: 1},
                values={0: dice.integers(-300, 300, 8, 220)})
    cases.add("mixture-locations", "mixture-tables escapes", "Locations from -110 to 109 with every table.",
              draft.finish().bytes())

    def add(name, description, template=15, **changes):
        model = context_model(dice, template, family=MIXTURE, **{"scan": (1, 1, 1, 1), **changes})
        cases.add(f"mixture-{name}", "mixture-tables context-models", description,
                  coefficients(dice, {1: model}, sizes=SIZES[:2]).bytes())

    add("context", "Location, scale and shape from a network.", output_weight=dice.integers(-60, 60, 3, 4))
    add("joint", "A joint model: three outputs for each channel.", 5, joint=CHANNELS, scan=(0, 1, 1, 1))
    add("no-inputs", "A model without inputs, its shape beyond the last.", 0, output_bias=[1, 20, 9])
    add("shape-low", "A shape below 0 is 0, a scale beyond 43 is 43.", 0, output_bias=[-3, 1000, -7])
    add("shifts", "Three different shifts; halves are rounded up.", location_shift=10, scale_shift=9, shape_shift=11,
        output_bias=[512, 15 << 9, (2 << 11) + 1024])
    add("shape-shift-23", "Largest shifts, weights and biases.", location_shift=23, scale_shift=23, shape_shift=23,
        output_weight=[[127] * 4, [-128] * 4, [127] * 4], output_bias=[(1 << 22) - 1, 1 - (1 << 22), (1 << 22) - 1])
    add("spatial", "Mixtures with the template of a grid.", 5, scan=(0, 1, 1, 1))
    cases.add("model-work-mixture-full", "levels context-models mixture-tables", "2^30 multiplications of a joint model with "
              "three outputs for each channel, the most that level 1 allows.", joint_work((64, 32, 32), mixture=True).bytes())


def add_bad(cases: Collection) -> None:
    cases.add("model-work-mixture-over", "levels context-models mixture-tables", "Six multiplications more than 2^30, the third "
              "outputs counted.", joint_work((64, 32, 32), mixture=True, excess=True).bytes(), "R-TEN-09")
    dice = Dice(830)
    draft = Draft(header((1, 2, 2, 2), ((1, 2, 2, 2),)))
    draft.group(0, 1)
    draft.frame(dice, {0: FIXED, 1: bit_model(dice), 2: context_model(dice, 2, family=MIXTURE)}, significance={1: 2},
                mask_use={1: 1}, use={1: 2})
    draft.finish()
    cases.add("mask-of-mixtures", "masks mixture-tables", "A mask coded with a model of family 2.",
              draft.set(FRAME, 0, {"tensor[1].mask_model_ref": 2}).bytes(), "R-TEN-13")


def mixture(location, scale, shape) -> ContextModel:
    """A model without inputs: location, scale and shape of each channel."""
    plain = ContextModel.fixed(list(location), list(scale))
    outputs = 3 * len(plain.output_bias) // 2
    return replace(plain, family=MIXTURE, output_weight=np.zeros((outputs, 0), np.int8),
                   output_bias=np.array([location, scale, shape], np.int32).T.reshape(-1))
