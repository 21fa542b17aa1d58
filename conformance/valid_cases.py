"""Conforming vectors: every branch of the syntax and of the decoding process, and the inner side of every bound."""
from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np

from cases import Collection
from crafting import (
    END,
    FIXED,
    FRAME,
    GROUP_HEADER,
    INDEX,
    METADATA,
    SEQUENCE_HEADER,
    DataWriter,
    Dice,
    Draft,
    context_model,
    grid,
    header,
    network,
    static_model,
)
from refcodec.entropy.bernoulli import BERNOULLI
from refcodec.entropy.laplace import laplace_tables
from refcodec.entropy.models import ContextModel
from refcodec.rendering.cameras import Camera
from refcodec.syntax.headers import Alignment, FieldParameters, Mapping, Role
from refcodec.writer import build_metadata

POSE = np.array([[1, 0, 0, 0.5], [0, 0, -1, 2], [0, 1, 0, 0.25]], float)
CAMERA = Camera(40, 30, 50, 51, 20, 15, POSE, "front")
MAX_VALUE = (1 << 20) - 1


def ordinary(seed: int = 1, occupancy=(4, 3, 3), index: bool = True, **changes) -> Draft:
    """Two groups, three frames, occupancy, a context model for the basis grid: the base of many cases."""
    return _ordinary(seed, occupancy, index, **changes).copy()


@functools.cache
def _ordinary(seed: int, occupancy, index: bool, **changes) -> Draft:
    dice = Dice(seed)
    draft = Draft(header(occupancy=occupancy, **changes))
    number, voxels = 0, None
    shape = draft.header.occupancy_shape
    for count in (2, 1):
        draft.group(number, count)
        for k in range(count):
            if draft.header.has_occupancy:
                change = dice.occupancy(shape, 12 if k else 4)
                voxels = voxels ^ change if k else change
            models = {0: FIXED, 7: context_model(dice, 2)} if k == 0 else {7: context_model(dice, 3)}
            draft.frame(dice, models, use={1: 7}, occupancy=voxels)
        number += count
    return draft.finish(index)


def two_frames(head, models, use, dice, *, more=None, **coding) -> Draft:
    """An I-frame and a P-frame with the same models, so that temporal neighbours count.

    more: models that the P-frame defines.
    """
    draft = Draft(head)
    draft.group(0, 2)
    draft.frame(dice, {0: FIXED, **models}, use=use, **coding)
    draft.frame(dice, more or {}, use=use, **coding)
    return draft.finish()


def add_all(cases: Collection) -> None:
    _real(cases)
    _structure(cases)
    _sequence(cases)
    _frames(cases)
    _occupancy(cases)
    _significance(cases)
    _context_models(cases)
    _numbers_of_the_network(cases)
    _decoding_order(cases)
    _static_models(cases)
    _symbols(cases)
    _reconstruction(cases)
    _side_units(cases)
    _levels(cases)


def minimal() -> Draft:
    """One I-frame, grids of one cell, nothing that can be left out."""
    head = header((1, 1, 1, 1), ((1, 1, 1, 1),), digest_type=0)
    draft = Draft(head)
    draft.group(0, 1)
    draft.frame(Dice(1), {0: ContextModel.fixed([0], [24])},
                values={0: [[1]], 1: [[-2]], 2: [[3], [0]], 3: [[k % 3 - 1] for k in range(12)]})
    return draft.finish(index=False)


def two_frames_with_occupancy() -> Draft:
    """An I-frame and a P-frame with occupancy, digests and an index."""
    dice = Dice(2)
    draft = Draft(header((1, 2, 2, 2), ((1, 2, 2, 2),), occupancy=(2, 2, 2)))
    draft.group(0, 2)
    voxels = np.zeros((2, 2, 2), bool)
    voxels[0, 0, 1] = True
    draft.frame(dice, {0: FIXED}, occupancy=voxels)
    draft.frame(dice, occupancy=voxels | (np.arange(8).reshape(2, 2, 2) == 6))
    return draft.finish()


def _structure(cases: Collection) -> None:
    add = cases.add
    add("minimal", "container frames", "The smallest file: one I-frame, grids of one cell, no occupancy, no digest, "
        "no index.", minimal().bytes())
    add("two-frames", "container frames occupancy digests index",
        "An I-frame and a P-frame with occupancy, digests and an index.", two_frames_with_occupancy().bytes())
    add("ordinary", "container groups frames occupancy significance context-models index",
        "Two groups of two and one frames: what most files look like.", ordinary().bytes())
    add("no-index", "index", "A file without an index.", ordinary(index=False).bytes())

    draft = ordinary(3)
    for at, (kind, size) in enumerate([(9, 0), (0, 3), (127, 40), (128, 16), (255, 1)], 1):
        draft.add(kind, bytes(range(size)), 1, at=2 * at if 2 * at < len(draft.pieces) else None)
    draft.pieces.append(draft.pieces.pop(draft.position(END)))
    add("unknown-ancillary-units", "container", "Ancillary units of unknown types 0, 9, 127, 128 and 255 before "
        "and inside groups, after the index, with and without payload.", draft.bytes())

    draft = ordinary(4)
    repeated = draft.pieces[0].payload
    for at in sorted((draft.position(GROUP_HEADER, 0), draft.position(GROUP_HEADER, 1),
                      draft.position(GROUP_HEADER, 1), draft.position(INDEX)), reverse=True):
        draft.add(SEQUENCE_HEADER, repeated, at=at)
    add("repeated-sequence-headers", "container sequence", "The sequence header repeated before each group, twice "
        "before the second, and after the last.", draft.bytes())

    dice, draft = Dice(5), Draft(header())
    time = 0
    for first, count in ((7, 2), (100, 1), (101, 1), ((1 << 32) - 2, 2)):
        draft.group(first, count)
        for _ in range(count):
            draft.frame(dice, time=time)
            time = time + 1 if time < 4 else (1 << 32) - 1 if time > 10 else 1000
    add("gaps-in-numbers", "groups", "Groups that do not begin at 0 and leave numbers out, up to frame 2^32 - 1; "
        "uneven time stamps up to 2^32 - 1.", draft.finish().bytes())

    dice, draft = Dice(6), Draft(header((1, 1, 1, 1), ((1, 1, 1, 1),)))
    draft.group(0, 256)
    for k in range(256):
        draft.frame(dice, carry=None if k == 0 else (1,) if k % 50 == 0 else ())
    add("group-of-256", "groups levels frames", "A group of 256 frames, the most that level 1 allows; most P-frames "
        "carry nothing.", draft.finish().bytes())
    dice, draft = Dice(7), Draft(header((1, 1, 1, 1), ((1, 1, 1, 1),)))
    for k in range(5):
        draft.group(k, 1)
        draft.frame(dice)
    add("groups-of-one", "groups", "Five groups of one frame.", draft.finish().bytes())


def _sequence(cases: Collection) -> None:
    dice = Dice(20)

    def one_frame(head, **coding) -> bytes:
        draft = Draft(head)
        draft.group(0, 1)
        draft.frame(dice, **coding)
        return draft.finish().bytes()

    tensors = [grid(Role.DIF_COEFFICIENT, 0, (2, 2, 1, 3), Mapping.LINEAR, Alignment.CORNERS, frac_bits=0),
               grid(Role.DIF_BASIS, 0, (1, 3, 2, 1), frac_bits=24), grid(Role.DIF_BASIS, 1, (1, 1, 4, 2), frac_bits=1)]
    tensors += network([(2, 2, True)], [(3, 4, True)])
    cases.add("frac-bits", "sequence", "frac_bits 0, 1 and 24, which no decoded integer depends on.",
              one_frame(header(tensors=tensors)))

    tensors = [grid(Role.DIF_COEFFICIENT, 0, (3, 2, 2, 2), Mapping.LINEAR, Alignment.CENTRES)]
    tensors += [grid(Role.DIF_BASIS, i, (1, 2, 2, 2), Mapping.LINEAR if i == 1 else Mapping.SAWTOOTH) for i in range(3)]
    tensors += network([(4, 3, True), (5, 4, False), (3, 5, True)], [(2, 2 * 5 + 3 + 12, False), (7, 2, True), (3, 7, True)])
    cases.add("deep-networks", "sequence", "Three basis grids, three layers in each network, with and without biases.",
              one_frame(header(tensors=tensors, parameters=FieldParameters(0.0, 1.0, 2, 2))))

    tensors = [grid(Role.DIF_COEFFICIENT, 0, (1, 1, 1, 1), Mapping.LINEAR)]
    tensors += [grid(Role.DIF_BASIS, 0, (1, 1, 1, 1))] + network([(2, 1, False)], [])
    tensors += network([], [(3, 1 * 33 + 3 + 96, False)])
    cases.add("bounds-high", "sequence", "Largest values: box corners ±(2^23 - 1), exponent 30, ticks 2^32 - 1, "
              "65535 samples, 16 frequencies, density parameters 10^6.",
              one_frame(header(tensors=tensors, aabb_min=(-(1 << 23) + 1,) * 3, aabb_max=((1 << 23) - 1,) * 3,
                               aabb_exponent=30, ticks_per_second=(1 << 32) - 1, samples_per_diagonal=65535,
                               background=(0, 127, 255), parameters=FieldParameters(1e6, 1e6, 16, 16))))
    cases.add("bounds-low", "sequence", "Smallest values: a box of side 1, exponent -60, one tick a second, one sample, "
              "density parameters 0 and the smallest subnormal.",
              one_frame(header(aabb_min=(-1, 0, 5), aabb_max=(0, 1, 6), aabb_exponent=-60, ticks_per_second=1,
                               samples_per_diagonal=1, background=(0, 0, 0),
                               parameters=FieldParameters(-1e6, 2.0**-149, 0, 0))))
    tensors = [grid(Role.DIF_COEFFICIENT, 0, (1, 1, 1, 1), Mapping.LINEAR), grid(Role.DIF_BASIS, 0, (1, 1, 1, 1))]
    tensors += network([(4096, 1, False), (2, 4096, False)], [(3, 4, False)])
    table = static_model((0, (50, 1)))
    cases.add("size-4096", "sequence levels", "A layer with 4096 outputs, the largest size of a tensor.",
              one_frame(header(tensors=tensors), models={0: table},
                        values={2: np.zeros((4096, 1)), 3: np.zeros((8192, 1)), 0: [[2]], 1: [[-1]], 4: np.ones((12, 1))}))
    tensors = [grid(Role.DIF_COEFFICIENT, 0, (61, 1, 1, 1), Mapping.LINEAR)]
    tensors += [grid(Role.DIF_BASIS, i, (1, 1, 1, 1)) for i in range(61)]
    tensors += network([(2, 61, False)], [(3, 4, False)])
    cases.add("64-tensors", "sequence levels", "A list of 64 tensors, the most that there can be.",
              one_frame(header(tensors=tensors)))
    cases.add("density-minus-zero", "sequence", "density_shift and density_scale -0, which is not below 0.",
              one_frame(header(parameters=FieldParameters(-0.0, -0.0, 0, 0))))
    cases.add("digests-off", "digests", "digest_type 0: frames carry no digest.", ordinary(21, digest_type=0).bytes())


def _frames(cases: Collection) -> None:
    dice, draft = Dice(30), Draft(header((1, 2, 2, 2), ((1, 2, 2, 2),)))
    temporal = context_model(dice, [(1, 0, 0, 0, 0), (3, 0, 0, 0, 1)])
    draft.group(0, 6)
    draft.frame(dice, {0: FIXED, 5: temporal}, use={1: 5}, values={1: dice.integers(-9, 9, 8, 1)})
    for carry in ((), (1,), (0, 1), (0,), (1,)):
        draft.frame(dice, carry=carry, use={1: 5}, values={1: dice.integers(-9, 9, 8, 1)})
    cases.add("frames-carry-some", "frames context-models", "P-frames that carry no tensor, one, both, the other: "
              "after a frame that did not carry a tensor, its temporal neighbours are zero.", draft.finish().bytes())

    draft = Draft(header((1, 2, 2, 2), ((1, 2, 2, 2),)))
    draft.group(0, 3)
    draft.frame(dice, {0: FIXED, 63: context_model(dice, 2)}, use={0: 63, 1: 63})
    draft.frame(dice, {0: context_model(dice, 3), 1: FIXED, 62: FIXED}, use={0: 0, 1: 63})
    draft.frame(dice, {63: context_model(dice, 5)}, use={0: 63, 1: 1})
    draft.group(3, 1)
    draft.frame(dice, {1: FIXED}, use={i: 1 for i in range(4)})
    cases.add("models-redefined", "frames context-models", "Models defined, used by later frames, replaced, not used "
              "at all; the next group begins without any. Identifiers 0 and 63.", draft.finish().bytes())

    draft = Draft(header((1, 1, 1, 1), ((1, 1, 1, 1),)))
    draft.group(0, 1)
    draft.frame(dice, {k: ContextModel.fixed([0], [k % 44]) for k in range(64)}, use={0: 63, 1: 31, 2: 1, 3: 17})
    cases.add("64-models", "frames", "A frame that defines 64 models, the most that there can be.", draft.finish().bytes())

    draft = Draft(header())
    draft.group(0, 3)
    for k in range(3):
        draft.frame(dice, predict={0: 0, 1: k % 2}, carry=None if k == 0 else (0, 1, 2, 3))
    # An element that prediction 0 leaves uncoded is 0; all weights can be carried by P-frames too.
    cases.add("prediction-mixed", "frames reconstruction", "P-frames that carry every tensor, weights included, some "
              "predicted and some not.", draft.finish().bytes())

    draft = Draft(header())
    draft.group(0, 2)
    draft.frame(dice)
    draft.frame(dice, carry=(2, 3), predict={2: 1, 3: 1})
    cases.add("predicted-weights", "frames reconstruction", "A P-frame that codes weights as residuals.",
              draft.finish().bytes())


def _occupancy(cases: Collection) -> None:
    def sequence(seed, dims, states, name, description, features="occupancy significance") -> None:
        dice = Dice(seed)
        draft = Draft(header(occupancy=dims))
        draft.group(0, len(states))
        shape, voxels = draft.header.occupancy_shape, None
        for make in states:
            voxels = make(dice, shape, voxels)
            draft.frame(dice, occupancy=voxels)
        cases.add(name, features, description, draft.finish().bytes())

    def full(dice, shape, _):
        return np.ones(shape, bool)

    def empty(dice, shape, _):
        return np.zeros(shape, bool)

    def some(dice, shape, _):
        return dice.occupancy(shape, 3)

    def flip(dice, shape, voxels):
        return voxels ^ dice.occupancy(shape, 16)

    def same(dice, shape, voxels):
        return voxels

    sequence(40, (4, 4, 4), [full, same], "occupancy-full", "Every voxel occupied.")
    sequence(41, (4, 4, 4), [empty, empty], "occupancy-empty", "No voxel occupied: no coded cells and no data.")
    sequence(42, (5, 4, 3), [some, full, empty, some, flip, same], "occupancy-sequence",
             "Occupancy that fills, empties, returns, changes a little and stays.")
    sequence(43, (3, 3, 3), [some, some], "occupancy-27-voxels", "27 voxels: five unused bits in the last byte.")
    sequence(44, (1, 1, 1), [full, empty, full], "occupancy-one-voxel", "A single voxel.")
    sequence(45, (512, 1, 1), [some, flip], "occupancy-512x1x1", "512 voxels along x.")
    sequence(46, (1, 7, 512), [some], "occupancy-1x7x512", "512 voxels along z, 7 along y.")

    import refcodec.writer as writer
    from refcodec.entropy.occupancy import compress, pack

    for mode, name in ((1, "by itself"), (2, "as exclusive or")):
        dice, draft = Dice(47), Draft(header(occupancy=(4, 4, 3)))
        previous = dice.occupancy((3, 4, 4), 3)
        draft.group(0, 2)
        draft.frame(dice, occupancy=previous)
        following = dice.occupancy((3, 4, 4), 2)
        automatic = writer.compressed_occupancy
        content = following if mode == 1 else following ^ previous
        writer.compressed_occupancy = lambda *_: writer.CodedOccupancy(mode, compress(pack(content)))
        try:
            draft.frame(dice, occupancy=following)
        finally:
            writer.compressed_occupancy = automatic
        cases.add(f"occupancy-mode-{mode}", "occupancy", f"A P-frame whose occupancy is coded {name}.",
                  draft.finish().bytes())

    stored = bytes([1, 0, 1, 0x0F, 0xF0, 1, 0, 0, 0xAA, 0])
    voxels = np.unpackbits(np.array([0x0F, 0xF0, 0xAA], np.uint8), bitorder="little").reshape(2, 3, 4).astype(bool)
    dice, draft = Dice(48), Draft(header(occupancy=(4, 3, 2)))
    draft.group(0, 1)
    draft.frame(dice, occupancy=voxels)
    draft.set(FRAME, 0, {"occupancy_size": len(stored), "occupancy_data": stored})
    cases.add("occupancy-stored-chunks", "occupancy", "Occupancy in two uncompressed LZMA2 chunks; 24 voxels, so "
              "no unused bits.", draft.finish().bytes())


def _significance(cases: Collection) -> None:
    def sequence(name, description, tensors, dims, seed=60, one_in=6, **changes) -> None:
        dice = Dice(seed)
        draft = Draft(header(tensors=tensors + network([(2, tensors[0].shape[0], False)], [(3, 4, False)]),
                             occupancy=dims, **changes))
        draft.group(0, 2)
        shape = draft.header.occupancy_shape
        voxels = dice.occupancy(shape, one_in)
        voxels[-1, 0, 0] = voxels[0, -1, -1] = True
        draft.frame(dice, occupancy=voxels)
        draft.frame(dice, occupancy=voxels ^ dice.occupancy(shape, 10))
        cases.add(name, "significance", description, draft.finish().bytes())

    kinds = [(m, a) for m in (Mapping.LINEAR, Mapping.SAWTOOTH) for a in (Alignment.CORNERS, Alignment.CENTRES)]
    for alignment in Alignment:
        tensors = [grid(Role.DIF_COEFFICIENT, 0, (4, 3, 4, 5), Mapping.LINEAR, alignment)]
        tensors += [grid(Role.DIF_BASIS, i, (1, 6, 5, 7), m, a, 1.7) for i, (m, a) in enumerate(kinds)]
        sequence(f"significance-mappings-{alignment.name.lower()}", "Basis grids of both mappings and both alignments; "
                 f"coefficient grid aligned to {alignment.name.lower()}.", tensors, (5, 6, 4))

    for frequency, word in ((0.4, "a voxel lies within one period"), (3.7, "voxels lie across two periods"),
                            (11.3, "voxels cover more than two periods"), (2.0, "voxel and period boundaries coincide"),
                            (2.0**-16, "the lowest frequency"), (64.0, "the highest frequency")):
        tensors = [grid(Role.DIF_COEFFICIENT, 0, (2, 2, 2, 2), Mapping.LINEAR)]
        tensors += [grid(Role.DIF_BASIS, i, (1, 7, 6, 5), Mapping.SAWTOOTH, a, frequency) for i, a in enumerate(Alignment)]
        sequence(f"significance-frequency-{frequency:.5g}".replace(".", "_"), f"Sawtooth frequency {frequency:.5g}: {word}.",
                 tensors, (4, 4, 4))
    tensors = [grid(Role.DIF_COEFFICIENT, 0, (4, 1, 2, 9), Mapping.LINEAR)]
    tensors += [grid(Role.DIF_BASIS, i, s, Mapping.SAWTOOTH, a, 1.3)
                for i, (s, a) in enumerate([((1, 1, 1, 1), 0), ((1, 1, 1, 1), 1), ((1, 1, 4, 1), 0), ((1, 3, 1, 2), 1)])]
    sequence("significance-thin-grids", "Grids of one cell along some axes or all.", tensors, (3, 2, 5))
    tensors = [grid(Role.DIF_COEFFICIENT, 0, (2, 5, 5, 5), Mapping.LINEAR)]
    tensors += [grid(Role.DIF_BASIS, i, (1, 6, 6, 6), Mapping.SAWTOOTH, a, 2.6) for i, a in enumerate(Alignment)]
    sequence("significance-flat-box", "A box whose sides are 1, 255 and 4095 units.", tensors, (3, 4, 5),
             aabb_min=(0, -100, -4000), aabb_max=(1, 155, 95))
    sequence("significance-huge-box", "Extents of 2^24 - 2 with the highest frequency and 512 voxels: the largest "
             "numbers of section 7.1.", [grid(Role.DIF_COEFFICIENT, 0, (1, 1, 1, 4000), Mapping.LINEAR, Alignment.CENTRES),
                                         grid(Role.DIF_BASIS, 0, (1, 1, 1, 4096), Mapping.SAWTOOTH, Alignment.CENTRES, 63.99)],
             (512, 1, 1), one_in=200, aabb_min=(-(1 << 23) + 1,) * 3, aabb_max=((1 << 23) - 1,) * 3)

    dice, draft = Dice(70), Draft(header(occupancy=(3, 3, 3)))
    voxels = np.zeros((3, 3, 3), bool)
    voxels[1, 0, 2] = True
    draft.group(0, 4)
    draft.frame(dice, occupancy=voxels, significance={0: 0, 1: 1})
    draft.frame(dice, occupancy=voxels, significance={0: 1, 1: 0})
    draft.frame(dice, occupancy=~voxels, significance={0: 1, 1: 1}, predict={1: 0})
    draft.frame(dice, {9: context_model(dice, 3)}, use={0: 9, 1: 9}, occupancy=voxels, significance={0: 0, 1: 1})
    cases.add("significance-changes", "significance reconstruction", "The same tensor with and without significance "
              "in turn, with and without prediction: what is not coded is 0 or stays.", draft.finish().bytes())


def _context_models(cases: Collection) -> None:
    shape = (3, 3, 4, 3)
    head = header(shape, (shape,))
    for template in (0, *range(2, 14)):
        for joint in (0, 3):
            dice = Dice(80 + template + 10 * joint)
            scan = (0, 1, 1, 1) if template < 6 else (0, 3, 2, 1)  # diagonals that point forth come before, too
            model = context_model(dice, template, joint=joint, scan=scan)
            name = f"template-{template}-{'joint' if joint else 'channels'}"
            cases.add(name, "context-models", f"Template {template}, " +
                      ("all channels jointly." if joint else "each channel by itself."),
                      two_frames(head, {1: model}, {0: 1, 1: 1}, dice).bytes())
    dice = Dice(90)
    offsets = [(s, dc, 0, 0, 0) for s in (0, 1) for dc in range(-2, 3) if (s, dc) != (0, 0)]
    cases.add("explicit-channel-offsets", "context-models", "A listed template with all channel offsets, in the "
              "tensor and in the previous frame; the channels are decoded one after the other.",
              two_frames(head, {1: context_model(dice, offsets, scan=(1, 0, 0, 0))}, {0: 1, 1: 1}, dice).bytes())
    offsets = [(s, 0, dz, dy, dx) for s in range(4) for dz, dy, dx in ((-2, 2, 0), (2, -2, -2), (0, 0, -1), (-1, 1, 2))]
    cases.add("explicit-far-offsets", "context-models", "A listed template with offsets up to ±2 and all four sources, "
              "some of them never decoded in time.",
              two_frames(head, {1: context_model(dice, offsets, scan=(0, 3, 1, 2))}, {0: 1, 1: 1}, dice).bytes())
    cases.add("explicit-joint", "context-models", "A listed template of a joint model: energies give one input, "
              "values one for each channel.",
              two_frames(head, {1: context_model(dice, [(2, 0, 0, 0, -1), (0, 0, 0, 0, -1), (3, 0, 0, 0, 0),
                                                        (1, 0, 0, 0, 0), (0, 0, 0, 0, -1)], joint=3)},
                         {0: 1, 1: 1}, dice).bytes())
    cases.add("explicit-empty", "context-models", "A listed template without neighbours.",
              two_frames(head, {1: context_model(dice, [])}, {0: 1, 1: 1}, dice).bytes())
    cases.add("present-frame-unseen", "context-models", "Neighbours that are decoded later, or in the same step, read as 0.",
              two_frames(head, {1: context_model(dice, [(0, 0, 0, 0, 1), (0, 0, 0, 0, 0), (2, 0, 0, 1, 0)],
                                                 scan=(0, 1, 1, 1))}, {0: 1, 1: 1}, dice).bytes())
    one = header((1, 3, 3, 3), ((1, 3, 3, 3),))
    cases.add("joint-one-channel", "context-models", "A joint model of one channel.",
              two_frames(one, {1: context_model(dice, 5, joint=1)}, {0: 1, 1: 1}, dice).bytes())
    wide = header((255, 1, 1, 1), ((255, 1, 1, 1),))
    cases.add("joint-255-channels", "context-models", "A joint model without inputs for 255 channels.",
              two_frames(wide, {1: context_model(dice, 0, joint=255, output_bias=dice.integers(-150, 150, 510))},
                         {0: 1, 1: 1}, dice).bytes())


def _numbers_of_the_network(cases: Collection) -> None:
    dice = Dice(110)
    shape = (2, 3, 3, 3)
    head = header(shape, (shape,))
    use = {0: 1, 1: 1}

    def add(name, description, template=3, values=None, hidden=4, **changes):
        model = context_model(dice, template, hidden=hidden, **changes)
        coding = {} if values is None else {"values": {0: values, 1: values}}
        cases.add(name, "context-models", description, two_frames(head, {1: model}, use, dice, **coding).bytes())

    large = dice.integers(-400, 400, 27, 2)
    add("inputs-clamped", "Values beyond ±127 among the neighbours.", values=large)
    add("energy-clamped", "Energies beyond 127.", template=5, values=large)
    add("hidden-clamped", "Hidden units at both of their clamps, 0 and 1023.", values=large,
        hidden_weight=np.where(np.arange(4)[:, None] % 2, 127, -128) * np.ones((4, 14), int), hidden_shift=0)
    add("shifts-zero", "All shifts 0: nothing is added for rounding.", hidden_shift=0, location_shift=0, scale_shift=0,
        hidden_weight=dice.integers(-2, 2, 4, 14), output_weight=dice.integers(-1, 1, 2, 4),
        hidden_bias=dice.integers(0, 12, 4), output_bias=[1, 20])
    add("shifts-one", "All shifts 1: halves are rounded up.", hidden_shift=1, location_shift=1, scale_shift=1,
        hidden_weight=dice.integers(-3, 3, 4, 14), output_weight=dice.integers(-1, 1, 2, 4),
        hidden_bias=dice.integers(0, 9, 4), output_bias=[-3, 37])
    add("shifts-largest", "hidden_shift 15, location_shift and scale_shift 23, largest weights and biases.",
        values=large, hidden_shift=15, location_shift=23, scale_shift=23, hidden_weight=np.full((4, 14), 127),
        hidden_bias=np.full(4, 32767), output_weight=[[127] * 4, [-128] * 4], output_bias=[(1 << 22) - 1, 1 - (1 << 22)])
    for sign in (1, -1):
        add(f"location-{'high' if sign > 0 else 'low'}", "Location and table index clamped at "
            f"{'127 and 0' if sign > 0 else '-127 and 43'}: largest biases, no shift.", template=0,
            output_bias=[sign * ((1 << 22) - 1), -sign * ((1 << 22) - 1)])
    add("biases-lowest", "Lowest hidden biases and weights.", hidden_bias=np.full(4, -32768),
        hidden_weight=np.full((4, 14), -128), values=-np.abs(large))

    # 128 neighbours of 4 channels are 512 inputs; the previous frame's values are at their clamps.
    shape = (4, 1, 2, 2)
    values = np.where(dice.integers(0, 1, 4, 4), 200, -200)
    for name, weight in (("extreme", lambda: np.full((64, 512), -128)), ("random", lambda: dice.integers(-128, 127, 64, 512))):
        model = context_model(dice, [(1, 0, 0, 0, 0)] * 128, joint=4, hidden=64, hidden_shift=13, hidden_weight=weight(),
                              hidden_bias=dice.integers(-32768, 32767, 64), output_weight=dice.integers(-128, 127, 8, 64),
                              location_shift=14, scale_shift=17,
                              output_bias=dice.integers(-(1 << 22) + 1, (1 << 22) - 1, 8))
        for sign in (1,) if name == "random" else (1, -1):
            coded = values if name == "random" else np.full((4, 4), 200 * sign)
            draft = Draft(header(shape, (shape,)))
            draft.group(0, 2)
            draft.frame(dice, {0: FIXED}, values={0: coded, 1: coded})
            draft.frame(dice, {1: model}, use={0: 1, 1: 1})
            suffix = "" if name == "random" else "-positive" if sign < 0 else "-negative"
            cases.add(f"network-512x64-{name}{suffix}", "context-models", "512 inputs and 64 hidden units, the largest "
                      f"network, with {name} weights: sums near ±2^23.", draft.finish().bytes())


def _decoding_order(cases: Collection) -> None:
    shape = (3, 3, 2, 4)
    head = header(shape, (shape,))
    for scan in ((0, 0, 0, 0), (0, 1, 1, 1), (1, 1, 1, 1), (0, 1, 2, 1), (1, 0, 0, 0), (0, 0, 0, 1), (0, 3, 2, 1),
                 (2, 1, 1, 3), (3, 3, 3, 3), (1, 2, 0, 3)):
        dice = Dice(130 + sum(w * 4**i for i, w in enumerate(scan)))
        model = context_model(dice, [(0, 0, 0, 0, -1), (0, 0, 0, -1, 0), (0, 0, -1, 0, 0), (0, -1, 0, 0, 0),
                                     (2, 0, 0, 0, -1), (1, 0, 0, 0, 0)], scan=scan)
        joint = [{1: model}] if scan[0] else [{1: model}, {1: context_model(dice, 5, joint=3, scan=scan)}]
        for models in joint:
            name = f"scan-{''.join(map(str, scan))}" + ("-joint" if models[1].joint else "")
            cases.add(name, "decoding-order context-models", f"Scan weights {scan}" +
                      (", all channels jointly." if models[1].joint else "."),
                      two_frames(head, models, {0: 1, 1: 1}, dice).bytes())
    dice = Dice(170)
    cases.add("scan-with-significance", "decoding-order significance", "A scan over the cells that occupied voxels touch.",
              two_frames(header((2, 5, 5, 5), ((2, 6, 5, 7),), occupancy=(4, 4, 4)),
                         {1: context_model(dice, 5, scan=(1, 1, 2, 1))}, {0: 1, 1: 1}, dice,
                         occupancy=dice.occupancy((4, 4, 4), 9)).bytes())
    values = dice.sparse(24, 3)
    values[::5, 1] = 4000 + np.arange(len(values[::5]))
    cases.add("sort-is-stable", "decoding-order escapes", "Many symbols of few tables in one step, with escapes: they "
              "come after all entries, in sorted order.",
              two_frames(head, {1: context_model(dice, 0, joint=3, output_bias=[0, 9, 1, 30, -1, 9])}, {0: 1, 1: 1},
                         dice, values={0: values, 1: values}).bytes())


def _static_models(cases: Collection) -> None:
    dice = Dice(180)
    shape = (3, 2, 3, 2)
    head = header(shape, (shape,))

    def add(name, description, *tables, head=head, **coding):
        cases.add(name, "static-models", description,
                  two_frames(head, {1: static_model(*tables)}, {0: 1, 1: 1}, dice, **coding).bytes())

    def small(low, high, cells=12, channels=3):
        values = dice.integers(low, high, cells, channels)
        return {"values": {0: values, 1: values}}

    add("static-one-table", "One table for all channels.", (-3, (1, 4, 20, 300, 25, 3, 1, 2)))
    add("static-per-channel", "A table for each channel.", (-1, (5, 50, 5, 1)), (-2, (0, 9, 50, 9, 0, 1)), (4, (7, 1)))
    add("static-zero-counts", "Counts of zero, the escape's included: every entry can still occur.",
        (-2, (0, 0, 9, 0, 0, 0)), **small(-4, 4))
    add("static-ties", "Equal largest counts: what rounding leaves goes to the first.", (-1, (7, 7, 7, 3)), **small(-2, 2))
    add("static-two-entries", "Tables of one value and the escape.", (0, (1, 1)), **small(-1, 1))
    add("static-sum-1", "Counts with sum 1.", (-1, (0, 1, 0, 0)), **small(-1, 1))
    add("static-sum-2-24", "Counts with sum 2^24.", (-1, (5, (1 << 24) - 10, 5, 0)), **small(-1, 1))
    add("static-first-value-low", "first_value -65536.", (-65536, (3, 4, 5, 1)), **small(-65537, -65533))
    add("static-first-value-high", "first_value 65536.", (65536, (3, 4, 5, 1)), **small(65535, 65539))
    counts = tuple(int(v) for v in dice.integers(0, 4000, 4096))
    add("static-4096-entries", "A table of 4096 entries, the largest.", (-2000, counts), **small(-2010, 2100))
    wide = header((255, 1, 1, 1), ((255, 1, 1, 1),))
    add("static-255-tables", "255 tables for 255 channels.", *((c - 128, (c + 1, 2, 1)) for c in range(255)), head=wide,
        values={i: np.arange(-128, 127).reshape(1, 255) + i for i in (0, 1)})


def _symbols(cases: Collection) -> None:
    dice = Dice(200)
    reach = [t.size // 2 for t in laplace_tables()]
    # One channel for each table: 0, ±1, the ends of the table and the first values beyond.
    rows = [[k * r for r in reach] for k in (0, 1, -1)]
    rows += [[s for _ in reach] for s in (1, -1)] + [[s * (r + 1) for r in reach] for s in (1, -1)]
    values = np.array([*rows, [r // 2 for r in reach]])
    head = header((44, 2, 2, 2), ((44, 1, 1, 1),))
    draft = Draft(head)
    draft.group(0, 1)
    draft.frame(dice, {0: FIXED, 1: ContextModel.fixed([0] * 44, list(range(44)))}, use={0: 1}, values={0: values})
    cases.add("every-laplace-table", "laplace-tables escapes", "Zero, ±1, both ends and the first escapes of each of the "
              "44 tables.", draft.finish().bytes())
    locations = [(-127 + 6 * k) for k in range(43)] + [127]
    draft = Draft(head)
    draft.group(0, 1)
    draft.frame(dice, {0: FIXED, 1: ContextModel.fixed(locations, list(range(43, -1, -1)))}, use={0: 1},
                values={0: dice.integers(-300, 300, 8, 44)})
    cases.add("locations", "laplace-tables escapes", "Locations from -127 to 127 with every table.", draft.finish().bytes())

    def escapes(name, description, values, model=FIXED):
        draft = Draft(header((1, 2, 2, 2), ((1, 1, 1, 1),)))
        draft.group(0, 1)
        draft.frame(dice, {0: FIXED, 1: model}, use={0: 1}, values={0: np.array(values).reshape(8, 1)})
        cases.add(name, "escapes", description, draft.finish().bytes())

    escapes("escape-powers", "Escapes around powers of two, in both directions.",
            [12 + 3, -(12 + 3), 12 + 4, -(12 + 4), 12 + 255, -(12 + 256), 70000, -70000])
    escapes("escape-largest", "±(2^20 - 1), the largest values.", [MAX_VALUE, -MAX_VALUE, 0, MAX_VALUE - 1, 0, 0, 1, -MAX_VALUE])
    escapes("escape-prefix-20-above", "A prefix of 20 ones, the longest: from a table far below zero to above it.",
            [MAX_VALUE, -65536, MAX_VALUE, 983041, 983040, 0, -65537, 5], static_model((-65536, (1, 1))))
    escapes("escape-prefix-20-below", "A prefix of 20 ones, downwards.",
            [-MAX_VALUE, 65536, -MAX_VALUE, -983041, -983040, 0, 65537, 5], static_model((65536, (1, 1))))
    draft = Draft(header((5, 8, 8, 8), ((5, 3, 3, 3),)))
    draft.group(0, 1)
    draft.frame(dice, {0: FIXED, 1: context_model(dice, 2)}, use={0: 1}, values={0: dice.sparse(512, 5)})
    cases.add("much-data", "range-coder context-models", "Some kilobytes of data in one tensor.", draft.finish().bytes())
    # The likeliest entry takes no word for a long time; the unlikeliest takes the most bits.
    frequent = static_model((0, ((1 << 24) - 4095, *[1] * 4095)))
    draft = Draft(header((1, 4, 5, 5), ((1, 4, 5, 5),)))
    draft.group(0, 1)
    draft.frame(dice, {0: FIXED, 1: frequent}, use={0: 1, 1: 1}, values={0: np.zeros((100, 1)),
                                                                    1: dice.integers(4000, 4094, 100, 1)})
    cases.add("likely-and-unlikely", "range-coder static-models", "A hundred symbols of almost no bits and a hundred of "
              "24 bits.", draft.finish().bytes())

    # Where data end. The grid's symbols have frequency 2^23: 5, or the escape, after which two bits make a 6.
    half = static_model((5, (1, 1)))

    def ending(name, description, sixes, count, size):
        draft = Draft(header((1, 1, 1, count), ((1, 1, 1, 1),)))
        draft.group(0, 1)
        values = np.full((count, 1), 5)
        values[list(sixes)] = 6
        draft.frame(dice, {0: FIXED, 1: half}, use={0: 1}, values={0: values})
        writer = DataWriter()
        writer.bits(*(int(value - 5) for value in values[:, 0]), *[0, 0] * len(sixes))
        data = draft.parse(FRAME, draft.piece(FRAME, 0).payload)[0].tensor[0].value_data
        assert data == writer.data() and len(data) == size
        cases.add(name, "range-coder", description, draft.finish().bytes())

    ending("data-none", "Symbols without data: bytes beyond the last read as zero.", (), 1, 0)
    ending("data-none-many", "Words are shifted out and in, all of them beyond the data.", (), 200, 0)
    ending("data-one-byte", "One byte says it all.", (0,), 1, 1)
    ending("data-ends-early", "The data end many words before those that the decoder reads.", (0,), 200, 6)
    data_at_a_bound(cases, 0)
    for size in range(2, 10):
        ending(f"data-{size}-bytes", f"Data of {size} bytes.", (0, 8 * size - 5), 8 * size - 4, size)


def data_at_a_bound(cases: Collection, beyond: int) -> None:
    """Two symbols whose interval ends `beyond` above a multiple of 2^40. With 0 a byte fewer would just not do, with 1
    it just does, and the data with that byte are refused."""
    first, last = (1 << 24) - (1 << 20) - 1 - beyond, 4096  # frequencies before the first symbol, and of the second
    before = (1 << 20) + 1 - last
    models = {0: FIXED, 1: static_model((0, tuple(n - 1 for n in (first, 256, (1 << 24) - first - 256))),
                                        (0, tuple(n - 1 for n in (before, last, (1 << 24) - before - last))))}
    draft = Draft(header((2, 1, 1, 1), ((2, 1, 1, 1),)))
    draft.group(0, 1)
    draft.frame(Dice(318), models, use={0: 1}, values={0: [[1, 1]]})
    writer = DataWriter()
    writer.put(first, 256)
    writer.put(before, last)
    assert (writer.low + writer.range) % (1 << 40) == beyond and 1 << 32 < writer.range < 1 << 40
    if not beyond:
        cases.add("data-at-a-bound", "range-coder", "A byte fewer would do if the range were greater by one.",
                  draft.finish().bytes())
        return
    data = writer.data(longer=1)
    assert data[-1]
    draft.set(FRAME, 0, {"tensor[0].value_size": len(data), "tensor[0].value_data": data})
    cases.add("data-beyond-a-bound", "range-coder", "A byte fewer would do, by one in a range of 2^36.",
              draft.finish().bytes(), "R-ENT-02")


def _reconstruction(cases: Collection) -> None:
    dice = Dice(220)
    count = 32
    tensors = [grid(Role.DIF_COEFFICIENT, 0, (count, 1, 1, 2), Mapping.LINEAR)]
    tensors += [grid(Role.DIF_BASIS, i, (1, 1, 2, 4)) for i in range(count)]
    tensors += network([(2, count, False)], [(3, 4, False)])
    draft = Draft(header(tensors=tensors))
    draft.group(0, 2)
    values = {1 + i: np.array([0, 1, -1, 2, -3, 1000, -1001, 17 - i]).reshape(8, 1) for i in range(count)}
    for _ in range(2):
        draft.frame(dice, values=values, steps={1 + i: 8 * i + 3 * i % 8 for i in range(count)})
    cases.add("steps", "reconstruction", "Steps from index 0 to 253, of all octaves and all eight places in one: halves round up, "
              "also below zero.", draft.finish().bytes())

    draft = Draft(header((1, 1, 1, 6), ((1, 1, 1, 6),)))
    big = np.array([MAX_VALUE, -MAX_VALUE, 1, -1, 32768, -32768]).reshape(6, 1)
    draft.group(0, 4)
    for steps in (255, 255, 128, 0):
        draft.frame(dice, values={0: big, 1: -big}, steps={0: steps, 1: steps})
    cases.add("saturation", "reconstruction", "Values and sums beyond 32 bits are clamped, and leave the clamp again.",
              draft.finish().bytes())

    draft = Draft(header((1, 1, 1, 4), ((1, 1, 1, 4),)))
    draft.group(0, 12)
    for k in range(12):
        part = np.array([1, -1, 3, -5]).reshape(4, 1) * (k + 1)
        draft.frame(dice, values={0: part, 1: -part}, steps={0: 5, 1: 115})
    cases.add("accumulation", "reconstruction frames", "Twelve frames of rounded residuals: rounding happens before "
              "adding.", draft.finish().bytes())


def _side_units(cases: Collection) -> None:
    def with_units(name, features, description, *units):
        draft = ordinary(240)
        for content in reversed(units):
            if isinstance(content, dict):
                draft.add(METADATA, build_metadata(content), at=1)
            else:
                draft.add_cameras(content)
        cases.add(name, features, description, draft.bytes())

    far = Camera(65535, 1, 1e-30, 3e38, -1e10, 0.0, np.array([[0, 1, 0, 1e30], [-1, 0, 0, 0], [0, 0, 1, -1e30]], float), "")
    turned = Camera(1, 65535, 1, 1, 0, 0, np.array([[0.6, 0.8, 0, 0], [-0.8, 0.6, 0, 0], [0, 0, 1.0004, 0]]), "ü" * 127)
    with_units("cameras-and-metadata", "cameras metadata", "Cameras, then metadata.", [CAMERA],
               {"title": "Füchse", "comment": ""})
    with_units("metadata-and-cameras", "cameras metadata", "Metadata, then cameras with extreme numbers, without a name "
               "and with a long one.", {"x-" + "a" * 62: "z" * 300, "licence": "CC0-1.0", "0._-": "\0"},
               [far, turned, CAMERA])
    with_units("cameras-none", "cameras metadata", "A cameras unit without cameras, a metadata unit without entries.",
               [], {})


def work_at_bound(level: int, excess: bool = False, masked: bool = False, transformed: bool = False) -> Draft:
    """A frame whose models need as many multiplications as the level allows, or three more.

    62 inputs, 64 hidden units and two outputs make 4096 for each cell of the basis
    grid, none of which is coded: no voxel is occupied. masked: the model of a mask
    needs half of them. transformed: the cells are coefficients of the block DCT, which fill up the last blocks.
    """
    dice = Dice(270)
    shape = {1: (1, 64, 64, 64), 2: (1, 128, 128, 256)}[level]
    if masked:
        shape = (*shape[:3], shape[3] // 2)
    if transformed:
        shape = (1, *(n - 7 for n in shape[1:]))
    draft = Draft(header((1, 1, 1, 1), (shape,), occupancy=(2, 2, 2), digest_type=0), level)
    models = {0: FIXED, 1: context_model(dice, [(0, 0, 0, 0, -1)] * 62, hidden=64),
              2: context_model(dice, [(0, 0, 0, 0, -1)], hidden=1)}
    if masked:
        models[3] = replace(models[1], family=BERNOULLI)
    draft.group(0, 1)
    draft.frame(dice, models, use={0: 2 if excess else 0, 1: 1}, occupancy=np.zeros((2, 2, 2), bool),
                significance={1: 3 if masked else 1}, mask_use={1: 3}, transform={1: (int(transformed), 0)})
    return draft.finish(index=False)


def _real(cases: Collection) -> None:
    """Streams that the encoder trained on real views; stored, since training is not the same everywhere."""
    for path in sorted((Path(__file__).parent / "sources").glob("*.rfv")):
        cases.add(f"real-{path.stem}", "frames context-models significance occupancy",
                  "Trained on demo/fox with `refcodec encode --preset micro`: four frames in two groups.",
                  path.read_bytes())


def _levels(cases: Collection) -> None:
    cases.add("model-work-level-1-full", "levels context-models", "2^30 multiplications, the most that level 1 allows "
              "for a frame.", work_at_bound(1).bytes())
    for level in (2, 3):
        draft = ordinary(260)
        draft.level = level
        cases.add(f"level-{level}-small", "levels", f"A small file that declares level {level}.", draft.bytes())
    for level, count in ((2, 257), (3, 1025)):
        dice = Dice(261)
        draft = Draft(header((1, 1, 1, 1), ((1, 1, 1, 1),), digest_type=0), level)
        draft.group(0, count)
        for _ in range(count):
            draft.frame(dice, carry=None if draft._intra else ())
        cases.add(f"level-{level}-group-of-{count}", "levels groups", f"A group of {count} frames, more than the level "
                  "below allows.", draft.finish(index=False).bytes())

    # 10 * 1637 + 128 * 128 * 127 + 2 + 12 = 2^21 tensor elements; 128^3 = 2^21 voxels, all empty but one.
    tensors = [grid(Role.DIF_COEFFICIENT, 0, (1, 1, 10, 1637), Mapping.LINEAR, Alignment.CENTRES),
               grid(Role.DIF_BASIS, 0, (1, 127, 128, 128), frequency=1.0)]
    tensors += network([(2, 1, False)], [(3, 4, False)])
    head = header(tensors=tensors, occupancy=(128, 128, 128), digest_type=0)
    dice, draft = Dice(262), Draft(head)
    voxels = np.zeros((128, 128, 128), bool)
    voxels[100, 3, 127] = True
    draft.group(0, 1)
    draft.frame(dice, occupancy=voxels)
    cases.add("level-1-full", "levels significance", "2^21 tensor elements and 2^21 voxels, the most that level 1 allows.",
              draft.finish().bytes())
    assert sum(t.size for t in tensors) == 1 << 21
