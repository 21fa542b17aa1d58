"""Vectors that break the requirements on representations, scenes, coding tools and the shared unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cases import Collection
from crafting import (
    BITS,
    CAMERAS,
    FIXED,
    FRAME,
    GROUP_HEADER,
    SEQUENCE_HEADER,
    SHARED,
    DataWriter,
    Dice,
    Draft,
    context_model,
    field_header,
    grid,
    grid_tensors,
    header,
    mlp_tensors,
    network,
    scene,
    static_model,
    triplane_tensors,
    vm_tensors,
)
from refcodec.entropy.bernoulli import BERNOULLI, bernoulli_tables
from refcodec.entropy.models import BY_BAND, BY_BAND_AND_CHANNEL, ContextModel, StaticModel
from refcodec.syntax.headers import FieldParameters, Mapping, Representation, Role
from refcodec.syntax.structures import StepSyntax
from tool_cases import joint_work
from valid_cases import CAMERA, work_at_bound

DCT, WAVELET = 1, 2
VM, TRIPLANE, GRID, MLP = Representation.VM, Representation.TRIPLANE, Representation.GRID, Representation.MLP
STEP = StepSyntax(step_index=3)


def add_all(cases: Collection) -> None:
    _networks(cases)
    _vm_lists(cases)
    _triplane_and_grid_lists(cases)
    _mlp_lists(cases)
    _scenes(cases)
    _models(cases)
    _coded_tensors(cases)
    _shared(cases)
    _masks(cases)
    _bounds(cases)
    _order(cases)


def tooled(seed: int = 900, **changes) -> Draft:
    """Two scenes, a shared unit, cameras; masks, transforms and all predictions: the base of many cases.

    Tensor 1 has a wavelet of two levels and a mask, tensor 2 the block DCT, in the shared unit, too.
    """
    dice = Dice(seed)
    draft = Draft(
        header(
            (4, 1, 1, 1),
            ((2, 3, 4, 5), (2, 9, 1, 4)),
            (3, 3, 3),
            further_scenes=(scene((0, 0, 0), (9, 5, 7)),),
            **changes,
        )
    )
    transform = {1: (WAVELET, 2), 2: (DCT, 0)}
    draft.shared(
        dice,
        (1, 2, 3),
        {0: FIXED, 1: BITS, 9: FIXED},
        significance={1: 2},
        transform=transform,
        predict={3: 3},
        offset={3: 50},
    )
    number = 0
    for scene_id, count in enumerate((2, 1)):
        draft.group(number, count, scene_id)
        for k in range(count):
            voxels = dice.occupancy((3, 3, 3), 4)
            models = {0: FIXED, 1: BITS, 2: StaticModel(((-1, (2, 5, 2, 1)),) * 3, BY_BAND)} if k == 0 else {}
            draft.frame(
                dice,
                models,
                use={1: 2},
                occupancy=voxels,
                significance={1: 3},
                transform=transform,
                predict={} if k else {0: 3, 1: 2, 2: 2, 3: 2},
                offset={0: 5} if k == 0 else {},
            )
        number += count
    draft.finish()
    draft.add_cameras([CAMERA, replace(CAMERA, scene=1)], at=2)
    return draft


def coded(draft: Draft, kind=FRAME, n: int = 0) -> list:
    """The coded tensors of a unit, as syntax."""
    return draft.parse(kind, draft.pieces[draft.position(kind, n)].payload)[0].tensor


def _networks(cases: Collection) -> None:
    def add(name, requirement, description, **elements):
        head = field_header(
            MLP, mlp_tensors(1, (4, 3), coarse=(1,)), parameters=FieldParameters(0.0, 1.0, 0, 0, 1, 0, 8, 8)
        )
        draft = Draft(head)
        draft.group(0, 1)
        draft.frame(Dice(901))
        draft.finish().set(SEQUENCE_HEADER, 0, {f"network.{k}": v for k, v in elements.items()})
        cases.add(name, "sequence representations", description, draft.bytes(), requirement)

    for value in (17, 255):
        add(f"position-frequencies-{value}", "R-SEQ-19", f"position_frequencies {value}.", position_frequencies=value)
    for value in (64, 255):
        add(f"skip-layer-{value}", "R-SEQ-21", f"skip_layer {value}.", skip_layer=value)
    for coarse, fine in ((4097, 8), (65535, 65535), (8, 4097), (8, 0), (0, 8)):
        add(
            f"samples-{coarse}-and-{fine}",
            "R-SEQ-22",
            f"{coarse} coarse and {fine} fine samples.",
            coarse_samples=coarse,
            fine_samples=fine,
        )
    add(
        "skip-layer-missing",
        "R-SEQ-16",
        "A skip_layer that the coarse network, of one layer, does not have.",
        skip_layer=1,
    )
    add("coarse-unasked", "R-SEQ-16", "A coarse network with coarse_samples 0.", coarse_samples=0, fine_samples=0)
    add(
        "position-frequencies-other",
        "R-SEQ-16",
        "First layers that do not fit the number of frequencies.",
        position_frequencies=2,
    )
    add(
        "order-network-in-turn",
        "R-SEQ-21",
        "skip_layer and fine_samples out of range, layers that do not fit.",
        skip_layer=64,
        fine_samples=0,
        position_frequencies=2,
    )


def _lists(
    cases: Collection, prefix: str, representation: Representation, parameters=FieldParameters(0.0, 1.0, 0, 0)
) -> Callable:
    def add(name, description, tensors, **changes):
        head = field_header(representation, list(tensors), parameters=replace(parameters, **changes))
        draft = Draft(head)
        draft.group(0, 1)
        draft.frame(Dice(902))
        cases.add(f"list-{prefix}-{name}", "sequence representations", description, draft.finish().bytes(), "R-SEQ-16")

    return add


def without(tensors: list, *roles: Role, index: int | None = None) -> list:
    return [t for t in tensors if t.role not in roles or (index is not None and t.index != index)]


def changed(tensors: list, role: Role, number: int = 0, /, **changes) -> list:
    return [replace(t, **changes) if (t.role, t.index) == (role, number) else t for t in tensors]


def _vm_lists(cases: Collection) -> None:
    add, good = _lists(cases, "vm", VM), vm_tensors()
    P, L, FP, FL = Role.DENSITY_PLANE, Role.DENSITY_LINE, Role.FEATURE_PLANE, Role.FEATURE_LINE
    for role in (P, L, FP, FL):
        name, size = role.name.lower().replace("_", "-"), 12
        add(f"no-{name}", f"No {name}s.", without(good, role))
        for index in (0, 2):
            add(f"{name}-{index}-missing", f"Only two of three {name}s: not {index}.", without(good, role, index=index))
        add(f"{name}-unmapped", f"A {name} without mapping.", changed(good, role, 1, mapping=Mapping.NONE))
        at = good.index(next(t for t in good if t.role == role))
        add(f"{name}-order", f"{name}s 1 and 0.", [*good[:at], good[at + 1], good[at], *good[at + 2 :]])
        other = 2 if role in (P, FP) else 3
        thick = tuple(other if n == 1 and i > 0 else n for i, n in enumerate(good[at].shape))
        add(
            f"{name}-thick",
            f"A {name} with more than one sample along an axis that it lacks.",
            changed(good, role, 0, shape=thick),
        )
        add(
            f"{name}-channels",
            f"A {name} with a channel more than its counterpart.",
            changed(good, role, 2, shape=(2, *good[at + 2].shape[1:])),
        )
        assert len(good) == size + 1
    for index, (axis, shape) in enumerate(((3, (1, 3, 4, 2)), (2, (1, 3, 2, 5)), (1, (1, 2, 4, 5)))):
        add(
            f"plane-{index}-thick",
            f"Plane {index} with two samples along the axis that it lacks.",
            changed(good, P, index, shape=shape),
        )
        assert shape[axis] == 2
    for index, shape in (
        (0, (1, 2, 1, 5)),
        (0, (1, 1, 2, 5)),
        (1, (1, 2, 4, 1)),
        (1, (1, 1, 4, 2)),
        (2, (1, 3, 2, 1)),
        (2, (1, 3, 1, 2)),
    ):
        add(
            f"line-{index}-{'x'.join(map(str, shape[1:]))}",
            f"Line {index} of {shape[1:]} samples (z, y, x).",
            changed(good, FL, index, shape=shape),
        )
    add("lines-first", "Lines before planes.", good[3:6] + good[:3] + good[6:])
    add("features-first", "Feature planes and lines before those of the density.", good[6:12] + good[:6] + good[12:])
    add("fourth-plane", "A fourth density plane.", good[:3] + [replace(good[0], index=3)] + good[3:])
    add(
        "render-inputs",
        "A colour network with an input too many for the features.",
        good[:12] + network([], [(3, 7, False)]),
    )
    add("no-render", "No colour network.", good[:12])
    add(
        "fusion-inputs",
        "A fusion layer with as many inputs as one plane has channels.",
        good[:12] + network([(3, 1, False)], [(3, 6, False)]),
    )
    add(
        "fusion-mapped",
        "Fusion weights with a mapping.",
        good[:12] + [grid(Role.FUSION_WEIGHT, 0, (1, 1, 3, 3))] + good[12:],
    )
    add("dif", "The tensors of a dictionary field.", header().tensors)
    add("extra-tensor", "A density grid after the last layer.", good + [grid_tensors()[0]])
    add("coarse", "A coarse network.", good[:12] + network([], [], [(1, 9, False)]) + good[12:])


def _triplane_and_grid_lists(cases: Collection) -> None:
    add, good = _lists(cases, "triplane", TRIPLANE), triplane_tensors()
    add("no-density", "No density grid.", good[1:])
    add("density-channels", "A density grid of two channels.", changed(good, Role.DENSITY_GRID, shape=(2, 3, 3, 3)))
    add("density-unmapped", "A density grid without mapping.", changed(good, Role.DENSITY_GRID, mapping=Mapping.NONE))
    add("density-index", "The density grid has role_index 1.", changed(good, Role.DENSITY_GRID, index=1))
    add("two-density-grids", "Two density grids.", [good[0], replace(good[0], index=1), *good[1:]])
    for index in range(3):
        add(f"plane-{index}-missing", f"No plane {index}.", without(good, Role.FEATURE_PLANE, index=index))
        add(
            f"plane-{index}-thick",
            f"Plane {index} is a grid.",
            changed(good, Role.FEATURE_PLANE, index, shape=(1, 3, 4, 5)),
        )
    add("density-last", "The density grid after the planes.", [*good[1:4], good[0], *good[4:]])
    add("with-lines", "Feature lines after the planes.", good[:4] + vm_tensors()[9:12] + good[4:])
    add("render-inputs", "A colour network with too few inputs.", good[:4] + network([], [(3, 5, False)]))
    add("grid", "The tensors of a dense grid.", grid_tensors())

    add, good = _lists(cases, "grid", GRID), grid_tensors()
    add("no-density", "No density grid.", good[1:])
    add("no-features", "No feature grid.", [good[0], *good[2:]])
    add("density-channels", "A density grid of two channels.", changed(good, Role.DENSITY_GRID, shape=(2, 3, 3, 3)))
    add("features-unmapped", "A feature grid without mapping.", changed(good, Role.FEATURE_GRID, mapping=Mapping.NONE))
    add("features-index", "The feature grid has role_index 1.", changed(good, Role.FEATURE_GRID, index=1))
    add("two-feature-grids", "Two feature grids.", [*good[:2], replace(good[1], index=1), *good[2:]])
    add("render-inputs", "A colour network that leaves out a feature.", good[:2] + network([], [(3, 4, False)]))
    add("render-outputs", "A colour network of two outputs.", good[:2] + network([], [(2, 5, False)]))
    add(
        "fusion-layer-misfit",
        "A second fusion layer that does not fit the first.",
        good[:2] + network([(4, 2, False), (2, 3, False)], [(3, 5, False)]),
    )
    add(
        "fusion-bias",
        "A bias of a size that its layer does not have.",
        good[:2]
        + network([(4, 2, False)], [])
        + changed(network([(3, 2, True)], []), Role.FUSION_BIAS)[1:]
        + network([], [(3, 7, False)]),
    )
    add("triplane", "The tensors of three planes.", triplane_tensors())


def _mlp_lists(cases: Collection) -> None:
    parameters = FieldParameters(0.0, 1.0, 0, 0, 1)
    add = _lists(cases, "mlp", MLP, parameters)
    good = mlp_tensors()
    add("no-fusion", "No fusion network.", network([], [(3, 5, False)]))
    add("no-render", "No colour network.", without(good, Role.RENDER_WEIGHT))
    add("density-alone", "A network whose only output is the density.", mlp_tensors(1, (4, 1)))
    add("inputs", "A first layer that takes the position without its encoding.", mlp_tensors(0))
    add("with-grid", "A density grid before the network.", [grid_tensors()[0], *good])
    add("skip-missing", "skip_layer 2 of a network of two layers.", good, skip_layer=2)
    add(
        "skip-inputs",
        "A layer that does not take the position again, as skip_layer says.",
        mlp_tensors(1, (4, 4, 3)),
        skip_layer=1,
    )
    add("skip-unasked", "A layer that takes the position again, though skip_layer is 0.", mlp_tensors(1, (4, 4, 3), 1))
    add("coarse-missing", "No coarse network, though there are coarse samples.", good, coarse_samples=4, fine_samples=4)
    add(
        "coarse-outputs",
        "A coarse network of two outputs.",
        mlp_tensors(1, (4, 3), coarse=(3, 2)),
        coarse_samples=4,
        fine_samples=4,
    )
    add(
        "coarse-inputs",
        "A coarse network that takes the position without its encoding.",
        [*network([], [], [(1, 3, False)]), *good],
        coarse_samples=4,
        fine_samples=4,
    )
    add(
        "coarse-last",
        "The coarse network after the others.",
        [*good, *network([], [], [(1, 9, False)])],
        coarse_samples=4,
        fine_samples=4,
    )
    add(
        "coarse-skip-missing",
        "A coarse network without the layer of skip_layer.",
        mlp_tensors(1, (4, 3), 1, (1,)),
        skip_layer=1,
        coarse_samples=4,
        fine_samples=4,
    )
    add(
        "coarse-bias",
        "A bias of two values for one output of the coarse network.",
        [*network([], [], [(1, 9, False)]), network([], [], [(2, 9, True)])[1], *good],
        coarse_samples=4,
        fine_samples=4,
    )


def _scenes(cases: Collection) -> None:
    def add(name, requirement, description, draft):
        cases.add(name, "scenes", description, draft.bytes(), requirement)

    for path, value, requirement in (
        ("aabb_max", (0, 5, 7), "R-SEQ-05"),
        ("aabb_min", (0, 0, -(1 << 23)), "R-SEQ-05"),
        ("aabb_exponent", 31, "R-SEQ-06"),
        ("aabb_exponent", -61, "R-SEQ-06"),
        ("samples_per_diagonal", 0, "R-SEQ-08"),
    ):
        add(
            f"second-scene-{path.replace('_', '-')}-{'low' if str(value).startswith('-') else 'other'}",
            requirement,
            f"{path} {value} of scene 1.",
            tooled().set(SEQUENCE_HEADER, 0, {f"scene[0].{path}": value}),
        )
    add(
        "scene-id-2",
        "R-GRP-03",
        "A group of scene 2, where there are scenes 0 and 1.",
        tooled().set(GROUP_HEADER, 1, {"scene_id": 2}),
    )
    dice, backwards = Dice(903), Draft(tooled().header)
    for number, scene_id in enumerate((1, 0)):
        backwards.group(number, 1, scene_id)
        backwards.frame(dice, occupancy=np.ones((3, 3, 3), bool))
    add("scenes-backwards", "R-GRP-06", "A group of scene 0 after one of scene 1.", backwards.finish())
    dice, again = Dice(903), Draft(tooled().header)
    for number, scene_id in enumerate((0, 1, 0)):
        again.group(number, 1, scene_id)
        again.frame(dice, occupancy=np.ones((3, 3, 3), bool))
    add("scenes-interleaved", "R-GRP-06", "Scene 0 is taken up again.", again.finish())
    dice, times = Dice(903), Draft(tooled().header)
    for number, scene_id in enumerate((0, 1, 1)):
        times.group(number, 1, scene_id)
        times.frame(dice, occupancy=np.ones((3, 3, 3), bool), time=5)
    add(
        "scene-time-equal",
        "R-FRM-04",
        "Two groups of one scene with the same time stamp; the scene before has it, too.",
        times.finish(),
    )
    add(
        "scene-number-of-other-scene",
        "R-GRP-04",
        "A frame number that another scene had.",
        tooled().set(GROUP_HEADER, 1, {"first_frame_number": 1}),
    )
    add(
        "scene-other-box",
        "R-DIG-01",
        "A group that says it is of another scene: its occupied voxels touch other cells.",
        _other_scene(),
    )
    for value in (2, 255):
        cases.add(
            f"camera-scene-{value}",
            "cameras scenes",
            f"camera_scene {value} where there are two scenes.",
            tooled().set(CAMERAS, 0, {"camera[1].camera_scene": value}).bytes(),
            "R-CAM-04",
        )
    cases.add(
        "order-camera-scene-before-size",
        "order-of-checks cameras",
        "A camera of a scene that there is not, of width 0.",
        tooled().set(CAMERAS, 0, {"camera[0].camera_scene": 2, "camera[0].camera_width": 0}).bytes(),
        "R-CAM-04",
    )
    cases.add(
        "order-camera-name-before-scene",
        "order-of-checks cameras",
        "A camera of a scene that there is not, its name in Latin-1.",
        tooled()
        .set(CAMERAS, 0, {"camera[0].camera_scene": 2, "camera[0].name_size": 1, "camera[0].camera_name": b"\xfc"})
        .bytes(),
        "R-CAM-03",
    )
    draft = tooled().set(GROUP_HEADER, 1, {"scene_id": 2, "frame_count": 0, "first_frame_number": 0})
    cases.add(
        "order-scene-before-frame-count",
        "order-of-checks scenes",
        "A group header wrong in scene, count and number.",
        draft.bytes(),
        "R-GRP-03",
    )
    backwards = backwards.copy().set(GROUP_HEADER, 1, {"first_frame_number": 0})
    cases.add(
        "order-scene-order-before-number",
        "order-of-checks scenes",
        "A scene and a frame number that have been.",
        backwards.bytes(),
        "R-GRP-06",
    )
    backwards.set(GROUP_HEADER, 1, {"frame_count": 0})
    cases.add(
        "order-frame-count-before-scene-order",
        "order-of-checks scenes",
        "A scene that has been, and a group of no frames.",
        backwards.bytes(),
        "R-GRP-02",
    )


def _other_scene() -> Draft:
    """A group of scene 1 whose cells are those that scene 0 would code; every symbol takes the same bits."""
    dice = Dice(904)
    draft = Draft(
        header(
            (1, 1, 1, 1), ((1, 6, 6, 6),), (2, 2, 2), aabb_min=(0, 0, 0), aabb_max=(90, 5, 5), further_scenes=(scene(),)
        )
    )
    draft.group(0, 1)
    voxels = np.zeros((2, 2, 2), bool)
    voxels[0, 0, 0] = True
    draft.frame(
        dice,
        {0: static_model((5, (1, 1)))},
        occupancy=voxels,
        values={0: [[5]], 1: np.full((_touched(draft, voxels), 1), 5), 2: np.full((2, 1), 5), 3: np.full((12, 1), 5)},
    )
    return draft.finish().set(GROUP_HEADER, 0, {"scene_id": 1})


def _touched(draft: Draft, voxels: np.ndarray) -> int:
    from refcodec.tensors.significance import coded_mask

    return int(coded_mask(draft.header, draft.header.tensors[1], voxels).sum())


def _models(cases: Collection) -> None:
    def poked(name, requirement, description, path, raw, features="context-models"):
        cases.add(name, features, description, tooled().poke(FRAME, 0, path, raw).bytes(), requirement)

    for value in (3, 255):
        poked(f"family-{value}", "R-MOD-15", f"family {value}.", "model[1].context.family", bytes([value]))
    for value in (4, 255):
        poked(
            f"assignment-{value}",
            "R-MOD-16",
            f"assignment {value}.",
            "model[2].static.assignment",
            bytes([value]),
            "static-models",
        )
    poked(
        "assignment-0-tables-3",
        "R-MOD-12",
        "Three tables with assignment 0.",
        "model[2].static.assignment",
        b"\0",
        "static-models",
    )
    for assignment in (1, 2, 3):
        draft = tooled().set(FRAME, 0, {"model[2].static.assignment": assignment})
        cases.add(
            f"assignment-{assignment}-tables-0",
            "static-models",
            f"No tables with assignment {assignment}.",
            draft.poke(FRAME, 0, "model[2].static.table_count", b"\0").bytes(),
            "R-MOD-12",
        )
    draft = tooled().pokes(FRAME, 0, {"model[1].context.family": b"\3", "model[1].context.channel_mode": b"\2"})
    cases.add(
        "order-family-before-channel-mode",
        "order-of-checks context-models",
        "A reserved family and channel_mode.",
        draft.bytes(),
        "R-MOD-15",
    )
    draft = tooled().pokes(FRAME, 0, {"model[2].static.table_count": b"\0", "model[2].static.assignment": b"\4"})
    cases.add(
        "order-assignment-before-count",
        "order-of-checks static-models",
        "A reserved assignment and no tables.",
        draft.bytes(),
        "R-MOD-16",
    )


def _coded_tensors(cases: Collection) -> None:
    def add(name, requirement, description, n, changes, features="transforms"):
        cases.add(name, features, description, tooled().set(FRAME, n, changes).bytes(), requirement)

    for value in (0, 7, 255):
        cases.add(
            f"wavelet-levels-{value}",
            "transforms",
            f"wavelet_levels {value}.",
            tooled().poke(FRAME, 0, "tensor[1].wavelet_levels", bytes([value])).bytes(),
            "R-TEN-03",
        )
    for value, word in ((-17, "minus-17"), (16, "16"), (-128, "minus-128"), (127, "127")):
        add(
            f"base-exponent-{word}",
            "R-TEN-08",
            f"base_exponent {value}.",
            0,
            {"tensor[1].base_exponent": value},
            "shared",
        )

    for name, tensor, description in (("weights", 3, "weights"), ("one-cell", 0, "a grid of one cell")):
        for kind, bands in ((DCT, 4), (WAVELET, 2)):
            add(
                f"transform-{kind}-of-{name}",
                "R-TEN-10",
                f"transform {kind} of {description}.",
                0,
                {
                    f"tensor[{tensor}].transform": kind,
                    f"tensor[{tensor}].wavelet_levels": 1 if kind == WAVELET else None,
                    f"tensor[{tensor}].step": [STEP] * bands,
                },
            )
    lines = Draft(field_header(VM, vm_tensors()))
    lines.group(0, 1)
    lines.frame(Dice(905))
    lines.finish()
    for tensor in (3, 4, 5):
        draft = lines.copy().set(FRAME, 0, {f"tensor[{tensor}].transform": DCT, f"tensor[{tensor}].step": [STEP] * 4})
        cases.add(
            f"transform-of-line-{tensor - 3}",
            "transforms representations",
            "The block DCT of a line, which has one long axis.",
            draft.bytes(),
            "R-TEN-10",
        )
    for value in (1, 2, 3):
        masks = (
            {"tensor[3].mask_model_ref": 1, "tensor[3].mask_size": 0, "tensor[3].mask_data": b""}
            if value > 1
            else {}
        )
        add(
            f"significance-{value}-of-weights",
            "R-TEN-11",
            f"significance {value} of a weight tensor.",
            0,
            {"tensor[3].significance": value, **masks},
            "significance masks",
        )
    plain = Draft(header((1, 1, 1, 1), ((1, 2, 2, 2),)))
    plain.group(0, 1)
    plain.frame(Dice(906), {0: FIXED, 1: BITS}, significance={1: 2})
    plain.finish()
    cases.add(
        "mask-and-occupancy-without-occupancy",
        "significance masks",
        "significance 3 in a sequence without occupancy.",
        plain.copy().set(FRAME, 0, {"tensor[1].significance": 3}).bytes(),
        "R-TEN-05",
    )

    based = {"prediction": 2, "base_mantissa": 1, "base_exponent": 0, "base_offset": 0}
    cases.add(
        "base-without-shared-unit",
        "shared",
        "A prediction from the shared unit in a file that has none.",
        plain.copy().set(FRAME, 0, {f"tensor[1].{k}": v for k, v in based.items()}).bytes(),
        "R-TEN-12",
    )
    add(
        "base-not-shared",
        "R-TEN-12",
        "A prediction from the shared unit of a tensor that it does not carry.",
        0,
        {f"tensor[4].{k}": v for k, v in based.items()},
        "shared",
    )
    add(
        "base-not-shared-p",
        "R-TEN-12",
        "The same in a P-frame.",
        1,
        {f"tensor[0].{k}": v for k, v in based.items()},
        "shared",
    )
    add(
        "prediction-1-in-i",
        "R-TEN-04",
        "A tensor of an I-frame with a wavelet, predicted from the frame before.",
        0,
        {
            "tensor[2].prediction": 1,
            "tensor[2].base_mantissa": None,
            "tensor[2].base_exponent": None,
            "tensor[2].base_offset": None,
        },
        "frames",
    )

    add(
        "values-of-mask-family",
        "R-TEN-13",
        "Values coded with a model of family 1.",
        0,
        {"tensor[0].model_ref": 1},
        "masks",
    )
    add(
        "mask-of-value-family",
        "R-TEN-13",
        "A mask coded with a model of family 0.",
        0,
        {"tensor[1].mask_model_ref": 0},
        "masks",
    )
    add(
        "mask-model-unknown",
        "R-TEN-06",
        "A mask whose model nothing defines.",
        0,
        {"tensor[1].mask_model_ref": 9},
        "masks",
    )
    add("mask-model-unknown-p", "R-TEN-06", "The same in a P-frame.", 1, {"tensor[1].mask_model_ref": 63}, "masks")
    add(
        "model-of-shared-unit",
        "R-TEN-06",
        "A model that only the shared unit defines.",
        0,
        {"tensor[2].model_ref": 9},
        "shared",
    )

    dice = Dice(907)

    def mismatch(name, description, model, tensor=1, mask=False):
        draft = tooled()
        changes = {
            "model_count": 4,
            "model": [
                *draft.parse(FRAME, draft.pieces[draft.position(FRAME)].payload)[0].model,
                _model_syntax(5, model),
            ],
        }
        element = "mask_model_ref" if mask else "model_ref"
        cases.add(
            name,
            "static-models masks" if mask else "static-models",
            description,
            draft.set(FRAME, 0, {**changes, f"tensor[{tensor}].{element}": 5}).bytes(),
            "R-TEN-07",
        )

    entry = (-1, (2, 5, 2, 1))
    mismatch("tables-by-band-2-for-3", "Two tables by band for three bands.", StaticModel((entry,) * 2, BY_BAND))
    mismatch("tables-by-band-4-for-3", "Four tables by band for three bands.", StaticModel((entry,) * 4, BY_BAND))
    mismatch(
        "tables-by-band-3-for-4",
        "Three tables by band for the four of the block DCT.",
        StaticModel((entry,) * 3, BY_BAND),
        2,
    )
    mismatch(
        "tables-by-band-2-for-1",
        "Two tables by band for a tensor without transform.",
        StaticModel((entry,) * 2, BY_BAND),
        0,
    )
    mismatch(
        "tables-by-both-3-for-6",
        "Three tables for three bands of two channels.",
        StaticModel((entry,) * 3, BY_BAND_AND_CHANNEL),
    )
    mismatch(
        "tables-by-both-5-for-6",
        "Five tables for three bands of two channels.",
        StaticModel((entry,) * 5, BY_BAND_AND_CHANNEL),
    )
    mismatch("tables-by-channel-3-for-2", "As many tables by channel as there are bands.", static_model(*[entry] * 3))
    mismatch(
        "mask-tables-by-band",
        "Two tables by band for a mask of three bands.",
        StaticModel((entry,) * 2, BY_BAND),
        mask=True,
    )
    mismatch(
        "mask-joint-too-wide",
        "A joint model of three channels for a mask of two.",
        context_model(dice, 2, joint=3, family=BERNOULLI),
        mask=True,
    )


def _model_syntax(model_id: int, model) -> dict:
    from refcodec.entropy.models import model_to_syntax

    return model_to_syntax(model_id, model)


def _shared(cases: Collection) -> None:
    def add(name, requirement, description, changes=None, poke=None, features="shared"):
        draft = tooled().set(SHARED, 0, changes or {}).pokes(SHARED, 0, poke or {})
        cases.add(f"shared-{name}", features, description, draft.bytes(), requirement)

    base = {"base_mantissa": 1, "base_exponent": 0, "base_offset": 0}
    add("prediction-1", "R-SHR-01", "A shared tensor predicted from a frame before.", {"tensor[0].prediction": 1})
    add(
        "prediction-2",
        "R-SHR-01",
        "A shared tensor predicted from a shared tensor.",
        {"tensor[1].prediction": 2, **{f"tensor[1].{k}": v for k, v in base.items()}},
    )
    add("reserved-tools", "R-TEN-01", "reserved_tools 2 of a shared tensor.", {"tensor[0].reserved_tools": 2})
    for value in (1, 3):
        masks = (
            {}
            if value == 3
            else {"tensor[0].mask_model_ref": None, "tensor[0].mask_size": None, "tensor[0].mask_data": None}
        )
        add(
            f"significance-{value}",
            "R-TEN-05",
            f"significance {value} of a shared tensor: there is no occupancy.",
            {"tensor[0].significance": value, **masks},
        )
    add(
        "significance-of-weights",
        "R-TEN-11",
        "A mask of shared weights.",
        {
            "tensor[2].significance": 2,
            "tensor[2].mask_model_ref": 1,
            "tensor[2].mask_size": 0,
            "tensor[2].mask_data": b"",
        },
    )
    add(
        "transform-of-weights",
        "R-TEN-10",
        "The block DCT of shared weights.",
        {"tensor[2].transform": DCT, "tensor[2].step": [STEP] * 4},
    )
    add("tensor-id-outside", "R-FRM-06", "A tensor_id that is not in the list.", {"tensor[2].tensor_id": 5})
    add("tensor-id-twice", "R-FRM-06", "The same tensor twice.", {"tensor[1].tensor_id": 1})
    add("model-unknown", "R-TEN-06", "A model that the shared unit does not define.", {"tensor[0].model_ref": 2})
    add(
        "mask-model-unknown",
        "R-TEN-06",
        "A model of a mask that the shared unit does not define.",
        {"tensor[0].mask_model_ref": 2},
    )
    add("model-id-order", "R-MOD-01", "Models in decreasing order.", {"model[0].model_id": 8})
    add(
        "values-of-mask-family", "R-TEN-13", "Shared values coded with a model of family 1.", {"tensor[2].model_ref": 1}
    )
    add(
        "model-mismatch",
        "R-TEN-07",
        "A joint model of four channels for weights.",
        {"model[2]": _model_syntax(9, ContextModel.fixed([0] * 4, [20] * 4)), "tensor[2].model_ref": 9},
    )
    draft = tooled()
    digest = draft.parse(SHARED, draft.pieces[1].payload)[0].shared_digest
    add(
        "digest",
        "R-DIG-02",
        "One bit of the digest is wrong.",
        {"shared_digest": bytes([digest[0] ^ 0x80]) + digest[1:]},
        features="shared digests",
    )
    add(
        "digest-of-other-offset",
        "R-DIG-02",
        "An offset changed without the digest.",
        {"tensor[2].base_offset": 51},
        features="shared digests",
    )
    add(
        "data",
        "R-ENT-01",
        "Damaged data of a shared tensor.",
        {"tensor[1].value_size": 8, "tensor[1].value_data": b"\xff" * 8},
    )
    add(
        "mask-data",
        "R-ENT-01",
        "Damaged data of a shared tensor's mask.",
        {"tensor[0].mask_size": 8, "tensor[0].mask_data": b"\xff" * 8},
        features="shared masks",
    )
    add(
        "data-left",
        "R-ENT-02",
        "Data after a shared tensor's last symbol.",
        {"tensor[2].value_size": 396, "tensor[2].value_data": bytes(396)},
    )
    add("without-digest", "R-UNIT-07", "A shared unit without its digest.")
    case = cases.cases.pop()
    cases.add(case.name, "shared", case.description, tooled().resize(SHARED, 0, lambda p: p[:-8]).bytes(), "R-UNIT-07")
    draft = tooled(digest_type=0)
    cases.add(
        "shared-digest-unasked",
        "shared",
        "A digest in a sequence that has none.",
        draft.resize(SHARED, 0, lambda p: p + bytes(8)).bytes(),
        "R-UNIT-06",
    )


def _masks(cases: Collection) -> None:
    """Data of masks that refcodec would not write: a basis grid of a few cells, its mask in a P-frame."""
    dice = Dice(908)
    table = bernoulli_tables()[32]
    ones = int(table.frequencies[1])
    zeros = int(table.frequencies[0])

    def add(name, requirement, description, raw, cells=4, model=BITS, values=b""):
        draft = Draft(header((1, 1, 1, 1), ((1, 1, 1, cells),)))
        draft.group(0, 2)
        draft.frame(dice)
        draft.frame(
            dice,
            {1: model, 2: static_model((5, (1, 1)))},
            carry=(1,),
            use={1: 2},
            significance={1: 2},
            masks={1: np.zeros((cells, 1))},
        )
        draft.set(
            FRAME,
            1,
            {
                "tensor[0].mask_size": len(raw),
                "tensor[0].mask_data": raw,
                "tensor[0].value_size": len(values),
                "tensor[0].value_data": values,
            },
        )
        cases.add(name, "masks", description, draft.finish().bytes(), requirement)

    def bits(*symbols) -> bytes:
        """Mask bits with Bernoulli table 32; a string of escape bits stands for an escape."""
        escapes, writer = [], DataWriter()
        for symbol in symbols:
            if isinstance(symbol, str):
                writer.put(zeros + ones, 1)
                escapes.append(symbol)
            else:
                writer.put(zeros if symbol else 0, ones if symbol else zeros)
        for escape in escapes:
            writer.bits(*map(int, escape))
        return writer.data()

    add("mask-bit-2", "R-ENT-05", "A bit of a mask that is 2, by an escape.", bits(0, 1, "00", 0))
    add("mask-bit-minus-1", "R-ENT-05", "A bit of a mask that is -1, by an escape.", bits("10", 1, 1, 0))
    add("mask-bit-far", "R-ENT-05", "A bit of a mask that is 9.", bits(1, 0, 0, "01110000"))
    add(
        "mask-escape-prefix",
        "R-ENT-03",
        "An escape in a mask whose prefix has 21 ones.",
        bits("0" + "1" * 21 + "0" * 22, 0, 0, 0),
    )
    add(
        "mask-symbol-2-20",
        "R-ENT-04",
        "A bit of a mask that is 2^20.",
        bits("0" + "1" * 19 + "0" + f"{(1 << 20) - 1 - (1 << 19):019b}", 0, 0, 0),
    )
    half = 1 << 23
    for name, low, entry in (("2", 1, 1), ("minus-1", -1, 0)):
        writer = DataWriter()
        for _ in range(4):
            writer.put(entry * half // 2, half // 2)
        add(
            f"mask-bit-{name}-static",
            "R-ENT-05",
            f"A static model gives bits of {low + entry}.",
            writer.data(),
            model=static_model((low, (1, 1, 1, 1))),
        )
    add("mask-quantile", "R-ENT-01", "A mask whose data are only ones.", b"\xff" * 8)
    add("mask-data-left", "R-ENT-02", "More data of a mask than the bits need.", bytes(20))
    add(
        "mask-data-without-values",
        "R-ENT-02",
        "Data of values although no bit of the mask is set.",
        bits(0, 0, 0, 0),
        values=b"\1",
    )
    add(
        "mask-values-left",
        "R-ENT-02",
        "More data of values than the mask's two ones need.",
        bits(0, 1, 1, 0),
        values=bytes(12),
    )
    add("mask-values-quantile", "R-ENT-01", "Data of values of only ones.", bits(0, 1, 1, 0), values=b"\xff" * 8)
    add(
        "order-mask-end-before-bits",
        "R-ENT-02",
        "A mask with a bit of 2 and too much data.",
        bits("00", 0, 0, 0) + bytes(8),
    )
    add(
        "order-mask-bits-before-values",
        "R-ENT-05",
        "A mask with a bit of 2, and damaged data of values.",
        bits("00", 0, 0, 1),
        values=b"\xff" * 8,
    )
    draft = Draft(header(occupancy=(2, 2, 2)))
    draft.group(0, 1)
    draft.frame(dice, {0: FIXED, 1: BITS}, occupancy=np.zeros((2, 2, 2), bool), significance={1: 3})
    draft.set(FRAME, 0, {"tensor[1].mask_size": 1, "tensor[1].mask_data": b"\1"})
    cases.add(
        "mask-data-without-cells",
        "masks significance",
        "A byte for a mask without coded cells.",
        draft.finish().bytes(),
        "R-ENT-02",
    )
    cases.add(
        "mask-size-lies",
        "masks",
        "mask_size 2^32 - 1.",
        tooled().poke(FRAME, 0, "tensor[1].mask_size", b"\xff\xff\xff\xff\x0f").bytes(),
        "R-UNIT-07",
    )


def _bounds(cases: Collection) -> None:
    for level, channels in ((1, 9), (2, 66)):
        draft = Draft(header((channels, 1, 1, 1), ((channels, 2, 2, 4096),), (1, 1, 1), digest_type=0), level)
        draft.group(0, 1)
        draft.frame(Dice(909), occupancy=np.zeros((1, 1, 1), bool))
        draft.finish(index=False).set(FRAME, 0, {"tensor[1].transform": DCT, "tensor[1].step": [STEP] * 4})
        cases.add(
            f"coefficients-level-{level}",
            "levels transforms",
            f"Few elements, but more coefficients of the block DCT than level {level} allows: blocks are filled up.",
            draft.bytes(),
            "R-TEN-14",
        )
        if level == 1:
            draft.set(FRAME, 0, {"coded_count": 3, "tensor": coded(draft)[:3]})
            cases.add(
                "order-coefficients-before-missing-tensor",
                "order-of-checks levels",
                "Too many coefficients, in an I-frame without its last tensor.",
                draft.bytes(),
                "R-TEN-14",
            )
    cases.add(
        "model-work-masks",
        "levels masks",
        "Three multiplications more than level 1 allows, of which the model of a mask needs half.",
        work_at_bound(1, excess=True, masked=True).bytes(),
        "R-TEN-09",
    )
    cases.add(
        "model-work-masks-dct",
        "levels masks transforms",
        "The same for coefficients of the block DCT, the filled-up blocks included.",
        work_at_bound(1, excess=True, masked=True, transformed=True).bytes(),
        "R-TEN-09",
    )

    for name, features, size, kind, shared in (
        ("model-work-joint", "levels context-models", (64, 32, 32), 0, False),
        ("model-work-dct", "levels context-models transforms", (1, 249, 249), DCT, False),
        ("shared-model-work-dct", "levels shared transforms", (57, 25, 25), DCT, True),
    ):
        cases.add(
            name,
            features,
            "Six multiplications more than level 1 allows, most of them of a joint model"
            + (" for coefficients of the block DCT, the filled-up blocks included." if kind else "."),
            joint_work(size, kind, shared=shared, excess=True).bytes(),
            "R-TEN-09",
        )

    # 9 * 8 * 8 * 4096 coefficients, with and without a model that they make work too much.
    dice = Dice(911)
    models = {0: FIXED, 1: context_model(dice, [(0, 0, 0, 0, -1)] * 62, hidden=64), 3: static_model((0, (1 << 20, 1)))}
    transformed = {"tensor[1].transform": DCT, "tensor[1].step": [STEP] * 4}
    too_many = Draft(header((9, 1, 1, 1), ((9, 2, 2, 4096),), (1, 1, 1), digest_type=0))
    frame = too_many.copy()
    frame.group(0, 1)
    frame.frame(dice, models, use={1: 1}, occupancy=np.zeros((1, 1, 1), bool))
    cases.add(
        "order-coefficients-before-model-work",
        "levels order-of-checks",
        "Too many coefficients and too many multiplications.",
        frame.set(FRAME, 0, transformed).bytes(),
        "R-TEN-14",
    )
    for name, model, description in (
        ("shared-coefficients", 3, "Few elements, but more coefficients in the shared unit than level 1 allows."),
        ("order-shared-coefficients-before-model-work", 1, "Too many coefficients and multiplications in the shared unit."),
    ):
        draft = too_many.copy()
        draft.shared(dice, (0, 1), models, use={1: 3}, values={1: np.zeros((2 * 2 * 4096, 9))})
        draft.set(SHARED, 0, transformed | {"tensor[1].model_ref": model})
        features = "levels shared" + (" order-of-checks" if name.startswith("order") else "")
        cases.add(name, features, description, draft.bytes(), "R-TEN-14")

    # The data of the shared unit are those of another model: they are never decoded.
    dice = Dice(910)
    draft = Draft(header((1, 1, 1, 1), ((1, 64, 64, 64),), digest_type=0))
    models = {
        0: FIXED,
        1: context_model(dice, [(0, 0, 0, 0, -1)] * 62, hidden=64),
        2: context_model(dice, [(0, 0, 0, 0, -1)], hidden=1),
        3: static_model((0, (1 << 20, 1))),
    }
    draft.shared(dice, (0, 1), models, use={0: 2, 1: 3}, values={1: np.zeros((1 << 18, 1))})
    draft.set(SHARED, 0, {"tensor[1].model_ref": 1})
    cases.add(
        "shared-model-work",
        "levels shared",
        "Three multiplications more than level 1 allows, in the shared unit.",
        draft.bytes(),
        "R-TEN-09",
    )


def _order(cases: Collection) -> None:
    def add(name, requirement, description, changes, kind=FRAME, n=0, poke=None):
        draft = tooled().set(kind, n, changes).pokes(kind, n, poke or {})
        cases.add(f"order-{name}", "order-of-checks", description, draft.bytes(), requirement)

    base = {"base_mantissa": 1, "base_exponent": 0, "base_offset": 0}
    transformed = {"transform": DCT, "step": [STEP] * 4}
    masked = {"significance": 3, "mask_model_ref": 40, "mask_size": 0, "mask_data": b""}

    def tensor(i, *parts, **more):
        return {f"tensor[{i}].{k}": v for part in (*parts, more) for k, v in part.items()}

    add(
        "identifier-before-shared-prediction",
        "R-FRM-06",
        "A shared tensor that is not in the list, predicted from the frame before.",
        tensor(2, tensor_id=9, prediction=1, base_offset=None),
        SHARED,
    )
    add(
        "shared-prediction-before-transform",
        "R-SHR-01",
        "Shared weights with a prediction and a transform.",
        tensor(2, base, transformed, prediction=2),
        SHARED,
    )
    add(
        "prediction-before-base",
        "R-TEN-04",
        "Tensor 0 predicted from the frame before in an I-frame, tensor 4 from a shared one that there is not.",
        tensor(0, prediction=1, base_offset=None) | tensor(4, base, prediction=2),
    )
    add(
        "base-before-transform",
        "R-TEN-12",
        "Weights with a missing base and a transform.",
        tensor(4, base, transformed, prediction=2),
    )
    add("transform-before-mask", "R-TEN-10", "Weights with a transform and a mask.", tensor(3, transformed, masked))
    add("mask-before-model", "R-TEN-11", "Weights with a mask of an unknown model.", tensor(3, masked, model_ref=41))
    add(
        "occupancy-before-model",
        "R-TEN-05",
        "A shared tensor significant by occupancy, with unknown models.",
        tensor(0, masked, model_ref=41),
        SHARED,
    )
    add(
        "mask-model-before-value-model",
        "R-TEN-13",
        "A mask with a model of values, values with an unknown model.",
        tensor(1, mask_model_ref=0, model_ref=40),
    )
    add(
        "unknown-model-before-missing",
        "R-TEN-06",
        "A mask with an unknown model, values with one of masks.",
        tensor(1, mask_model_ref=40, model_ref=1),
    )
    add(
        "fit-before-family",
        "R-TEN-07",
        "Values with a joint mask model of a wrong number of channels.",
        {
            "model[1]": _model_syntax(1, replace(ContextModel.fixed([0] * 3, [32] * 3), family=BERNOULLI)),
            "tensor[1].mask_model_ref": 2,
            "tensor[2].model_ref": 1,
        },
    )
    add(
        "reserved-before-base-exponent",
        "R-TEN-01",
        "reserved_tools 1 and base_exponent 16.",
        tensor(2, base_exponent=16, reserved_tools=1),
    )
    add(
        "transform-before-base-exponent",
        "R-TEN-03",
        "A reserved transform and base_exponent 16.",
        tensor(2, base_exponent=16),
        poke={"tensor[2].prediction": bytes([2 | 3 << 2])},
    )
    add(
        "base-exponent-before-levels",
        "R-TEN-08",
        "base_exponent 16 and wavelet_levels 0.",
        tensor(1, base_exponent=16),
        poke={"tensor[1].wavelet_levels": b"\0"},
    )
    add(
        "reserved-before-levels",
        "R-TEN-01",
        "reserved_tools 3 and wavelet_levels 0.",
        tensor(1, reserved_tools=3),
        poke={"tensor[1].wavelet_levels": b"\0"},
    )
    add(
        "shared-data-before-digest",
        "R-ENT-01",
        "Damaged data and a wrong digest of the shared unit.",
        tensor(1, value_size=8, value_data=b"\xff" * 8) | {"shared_digest": bytes(8)},
        SHARED,
    )
    add(
        "shared-model-order-before-tensors",
        "R-MOD-01",
        "Models out of order and a tensor that is not in the list.",
        {"model[0].model_id": 8, "tensor[0].tensor_id": 200},
        SHARED,
    )
    add(
        "scene-boxes-in-turn",
        "R-SEQ-06",
        "A wrong exponent of scene 0 and a wrong box of scene 1.",
        {"aabb_exponent": 40, "scene[0].aabb_max": (0, 0, 0)},
        SEQUENCE_HEADER,
    )
    add(
        "scenes-before-tensors",
        "R-SEQ-08",
        "A wrong ray step of scene 1 and no tensors.",
        {"scene[0].samples_per_diagonal": 0},
        SEQUENCE_HEADER,
        poke={"tensor_count": b"\0"},
    )
