"""Conforming vectors of the representations, and of files with several scenes."""

from __future__ import annotations

from cases import Collection
from crafting import (
    FIXED,
    FRAME,
    GROUP_HEADER,
    Dice,
    Draft,
    Piece,
    context_model,
    field_header,
    grid_tensors,
    header,
    mlp_tensors,
    scene,
    triplane_tensors,
    vm_tensors,
)
from refcodec.rendering.cameras import Camera
from refcodec.syntax.headers import Alignment, FieldParameters, Mapping, Representation
from valid_cases import POSE

VM, TRIPLANE, GRID, MLP = Representation.VM, Representation.TRIPLANE, Representation.GRID, Representation.MLP


def add_all(cases: Collection) -> None:
    _representations(cases)
    _networks(cases)
    _scenes(cases)


def short(head, seed: int) -> Draft:
    """An I-frame and a P-frame, with occupancy where the header has some."""
    dice, draft = Dice(seed), Draft(head)
    draft.group(0, 2)
    voxels = dice.occupancy(head.occupancy_shape, 6) if head.has_occupancy else None
    grids = [i for i, t in enumerate(head.tensors) if t.mapping]
    draft.frame(dice, {0: FIXED, 1: context_model(dice, 3)}, use={i: 1 for i in grids}, occupancy=voxels)
    if head.has_occupancy:
        voxels = voxels ^ dice.occupancy(head.occupancy_shape, 9)
    draft.frame(dice, use={i: 1 for i in grids}, occupancy=voxels, carry=grids or range(0, len(head.tensors), 2))
    return draft.finish()


def _representations(cases: Collection) -> None:
    def add(name, description, representation, tensors, seed, occupancy=(3, 4, 3), **changes):
        head = field_header(representation, tensors, occupancy=occupancy, **changes)
        cases.add(
            name,
            "representations sequence" + (" significance" if head.has_occupancy else ""),
            description,
            short(head, seed).bytes(),
        )

    basis, deep = [(4, 3, False)], [(5, 3, True), (4, 5, False), (2, 4, True)]
    for seed, (name, representation, tensors) in enumerate(
        (("vm", VM, vm_tensors), ("triplane", TRIPLANE, triplane_tensors), ("grid", GRID, grid_tensors)), 700
    ):
        features = {"features": 3} if representation == GRID else {}
        add(name, "Planes and grids whose values are the colour network's features.", representation, tensors(), seed)
        add(
            f"{name}-basis",
            "A fusion network of one layer without bias.",
            representation,
            tensors(fusion=basis, **features),
            seed + 10,
        )
        add(
            f"{name}-fusion",
            "A fusion network of three layers, with and without biases.",
            representation,
            tensors(fusion=deep, **features),
            seed + 20,
        )
        add(f"{name}-no-occupancy", "The same without occupancy.", representation, tensors(), seed + 30, (0, 0, 0))
        add(
            f"{name}-sawtooth",
            "Grids with sawtooth mapping, samples at cell centres.",
            representation,
            tensors((4, 5, 6), mapping=Mapping.SAWTOOTH, alignment=Alignment.CENTRES, frequency=1.4),
            seed + 40,
        )
        one = tensors((1, 1, 1)) if representation == VM else tensors((1, 1, 1), (1, 1, 1))
        add(f"{name}-one-cell", "Grids of one cell.", representation, one, seed + 50, (2, 2, 2))
    add(
        "vm-channels",
        "Planes and their lines with another number of channels for each axis.",
        VM,
        vm_tensors((4, 2, 3), (1, 2, 3), (3, 1, 2)),
        760,
    )
    add(
        "triplane-channels",
        "Planes with another number of channels for each axis; a flat density grid.",
        TRIPLANE,
        triplane_tensors((4, 2, 3), (1, 3, 2), (3, 1, 2)),
        761,
    )
    size = {
        "DENSITY_PLANE": (5, 4, 3),
        "DENSITY_LINE": (2, 3, 4),
        "FEATURE_PLANE": (3, 3, 3),
        "FEATURE_LINE": (1, 6, 2),
    }
    mixed = []
    for tensors in zip(*(vm_tensors(s) for s in size.values())):
        mixed.append(next((t for t, role in zip(tensors, size) if t.role.name == role), tensors[0]))
    add("vm-sizes", "Planes and lines of different sizes.", VM, mixed, 762)
    add(
        "vm-encodings",
        "Features and directions with two frequencies each.",
        VM,
        vm_tensors()[:12] + vm_tensors(fusion=[(12, 3, True)])[12:14] + vm_tensors(features=(20, 20, 32))[12:],
        763,
        parameters=FieldParameters(1.5, 2.5, 2, 2),
    )


def _networks(cases: Collection) -> None:
    def add(name, description, tensors, seed, occupancy=(0, 0, 0), **network):
        values = dict(position_frequencies=1, skip_layer=0, coarse_samples=0, fine_samples=0) | network
        head = field_header(MLP, tensors, occupancy=occupancy, parameters=FieldParameters(0.0, 1.0, 0, 0, **values))
        cases.add(name, "representations sequence", description, short(head, seed).bytes())

    add("mlp", "A field that is one network.", mlp_tensors(), 770)
    add("mlp-biases", "Biases in every layer.", mlp_tensors(bias=True), 771)
    add(
        "mlp-skip",
        "Layer 2 sees the encoded position again.",
        mlp_tensors(1, (4, 4, 4, 3), 2, bias=True),
        772,
        skip_layer=2,
    )
    add(
        "mlp-skip-last", "The last layer sees the encoded position again.", mlp_tensors(1, (4, 3), 1), 773, skip_layer=1
    )
    add(
        "mlp-coarse",
        "A coarse network of its own.",
        mlp_tensors(1, (4, 3), coarse=(3, 1)),
        774,
        coarse_samples=1,
        fine_samples=4096,
    )
    add(
        "mlp-coarse-one-layer",
        "A coarse network of one layer.",
        mlp_tensors(1, (3,), coarse=(1,)),
        775,
        coarse_samples=4096,
        fine_samples=1,
    )
    add(
        "mlp-coarse-skip",
        "The position enters layer 2 of both networks again.",
        mlp_tensors(1, (4, 4, 3), 2, (3, 3, 1), True),
        776,
        skip_layer=2,
        coarse_samples=64,
        fine_samples=128,
    )
    add("mlp-position-alone", "No frequencies: three inputs.", mlp_tensors(0), 777, position_frequencies=0)
    add(
        "mlp-16-frequencies",
        "99 inputs, the most that there can be.",
        mlp_tensors(16, (2,)),
        778,
        position_frequencies=16,
    )
    add(
        "mlp-occupancy",
        "Occupancy with a field without grids: it is coded and changes no tensor.",
        mlp_tensors(),
        779,
        (3, 3, 3),
    )
    add("mlp-wide", "Many features.", mlp_tensors(1, (2, 33)), 780)


def _scenes(cases: Collection) -> None:
    wide, flat, far = (
        scene((-100, -50, -10), (90, 160, 7), -3, 99, (0, 128, 255)),
        scene((0, 0, 0), (4000, 9, 300), -12, 1, (1, 2, 3)),
        scene((-(1 << 23) + 1,) * 3, ((1 << 23) - 1,) * 3, 30, 65535),
    )

    def start(seed, *scenes, bases=((2, 4, 5, 6),), occupancy=(4, 3, 3)) -> tuple[Dice, Draft]:
        return Dice(seed), Draft(header((2, 2, 2, 2), bases, occupancy, further_scenes=scenes))

    def group(dice, draft, first, count, scene_id, **coding) -> None:
        draft.group(first, count, scene_id)
        for _ in range(count):
            shape = draft.header.occupancy_shape
            draft.frame(dice, occupancy=dice.occupancy(shape, 4) if draft.header.has_occupancy else None, **coding)

    dice, draft = start(800, wide, flat)
    for number in range(3):
        group(dice, draft, number, 1, number)
    cases.add(
        "scenes",
        "scenes significance",
        "Three scenes of one frame with the same tensors: each has its own box, which the "
        "coded cells depend on, and time stamps that begin at 0.",
        draft.finish().bytes(),
    )

    dice, draft = start(801, wide, flat, far)
    for first, count, scene_id in ((0, 2, 0), (2, 1, 0), (5, 1, 1), (6, 2, 1), (20, 1, 3), (21, 1, 3)):
        group(dice, draft, first, count, scene_id)
    cases.add(
        "scenes-of-groups", "scenes groups", "Scenes of several groups; scene 2 has none.", draft.finish().bytes()
    )
    dice, draft = start(802, wide, flat)
    draft.group(0, 2, 1)
    voxels = dice.occupancy((3, 3, 4), 3)
    draft.frame(dice, occupancy=voxels, time=77)
    draft.frame(dice, occupancy=voxels, time=(1 << 32) - 1)
    group(dice, draft, 2, 1, 2, time=0)
    group(dice, draft, 3, 1, 2, time=1)
    cases.add(
        "scenes-time-stamps",
        "scenes groups",
        "Time stamps start anew: 2^32 - 1 in one scene, then 0 in the next.",
        draft.finish().bytes(),
    )

    def several() -> Draft:
        dice, draft = start(803, wide, flat)
        draft.shared(dice, (0, 1, 2), significance={})
        for first, scene_id in ((0, 0), (2, 1), (4, 2)):
            group(
                dice,
                draft,
                first,
                2,
                scene_id,
                predict={0: 2, 1: 2},
                base={0: (scene_id - 1, 0), 1: (40 - 70 * scene_id, -5)},
                transform={1: (1 + scene_id % 2, 2 * (scene_id % 2))},
            )
        return draft

    draft = several().finish()
    draft.add_cameras([Camera(40, 30, 50, 51, 20, 15, POSE, f"scene {i}", i) for i in (2, 0, 1, 1)])
    cases.add(
        "scenes-with-shared-tensors",
        "scenes shared transforms cameras",
        "Three scenes that predict from shared tensors, "
        "with factors, offsets and transforms of their own; cameras of all scenes.",
        draft.bytes(),
    )
    draft = several()
    last = draft.position(GROUP_HEADER, 2)
    draft.pieces = draft.pieces[: draft.position(GROUP_HEADER)] + draft.pieces[last:]
    cases.add(
        "scenes-cut-to-one",
        "scenes shared",
        "The same file cut to its last scene: scenes 0 and 1 have no groups.",
        draft.finish().bytes(),
    )

    dice, draft = start(
        804,
        *[scene((-k, 0, 0), (1, k + 1, 2), -k % 30, k + 1, (k, 0, 0)) for k in range(254)],
        bases=((2, 1, 1, 1),),
        occupancy=(0, 0, 0),
    )
    group(dice, draft, 0, 1, 0)
    group(dice, draft, 1, 1, 254)
    cases.add(
        "scenes-255",
        "scenes",
        "255 scenes, the most that there can be; groups of the first and the last.",
        draft.finish().bytes(),
    )
    dice, draft = start(805, wide)
    group(dice, draft, 0, 1, 0)
    draft.pieces.append(Piece(draft.pieces[0].type, draft.pieces[0].payload))
    group(dice, draft, 1, 1, 1)
    assert draft.pieces[-1].type == FRAME
    cases.add(
        "scenes-repeated-header",
        "scenes container",
        "The sequence header repeated between two scenes.",
        draft.finish().bytes(),
    )
