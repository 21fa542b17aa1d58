"""Vectors of entropy-coded occupancy (spec 6.1.2), conforming and not."""

from __future__ import annotations

import numpy as np

from cases import Collection
from crafting import BITS, FIXED, FRAME, DataWriter, Dice, Draft, context_model, header, static_model
from refcodec.entropy.bernoulli import BERNOULLI
from refcodec.entropy.mixture import MIXTURE
from tool_cases import bit_model

# Neighbours beside those of the registered templates: two cells away, activities of both frames.
NEIGHBOURS = [(0, 0, 0, 0, -1), (0, 0, 0, -2, 1), (0, 0, -1, 2, -2), (2, 0, 0, 0, -1), (1, 0, 0, 0, 2), (3, 0, 1, -1, 0)]
MODEL = 5  # of the occupancy, unless said otherwise


def add_valid(cases: Collection) -> None:
    def sequence(name, description, dims, models, groups, features="occupancy"):
        """groups: for each frame of each group the model of its occupancy (None: compressed), the voxels
        (None: as before) and the models that the frame defines, by their place in `models`."""
        dice, draft, number = Dice(700 + len(name)), Draft(header(occupancy=dims)), 0
        for group in groups:
            draft.group(number, len(group))
            for k, (used, voxels, defines) in enumerate(group):
                shape = draft.header.occupancy_shape
                if voxels is None:
                    voxels = draft.writer.state.occupancy
                else:
                    voxels = voxels(dice, shape)
                found = {i: models[i] for i in defines}
                draft.frame(dice, {0: FIXED, **found} if k == 0 else found, occupancy=voxels, occupancy_model=used)
            number += len(group)
        cases.add(f"occupancy-coded-{name}", features, description, draft.finish().bytes())

    def some(dice, shape):
        return dice.occupancy(shape, 4)

    def blob(dice, shape):
        z, y, x = np.indices(shape)
        centre = [dice.integers(1, max(n - 2, 1)).item() for n in shape]
        return (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= 6

    def empty(_, shape):
        return np.zeros(shape, bool)

    def full(_, shape):
        return np.ones(shape, bool)

    dice = Dice(690)
    models = {
        1: static_model((0, (3, 1))), 2: bit_model(dice, 6, hidden=6), 3: bit_model(dice, 7, hidden=5),
        4: bit_model(dice, NEIGHBOURS, scan=(0, 3, 2, 1)), 5: BITS, 6: bit_model(dice, 7, joint=1),
        7: static_model((-5, (1, 1, 1))), 8: static_model((1, (2, 3, 1))),
    }
    dims = (6, 5, 4)
    sequence("static", "Static tables: an I-frame, a P-frame that keeps the occupancy, one that codes it anew.", dims,
             models, [[(1, some, [1]), (None, None, []), (1, some, [])]], "occupancy static-models")
    for assignment in (1, 2, 3):
        model = static_model((0, (3, 1)), assignment=assignment)
        sequence(f"static-assignment-{assignment}", f"A static table with assignment {assignment}: there are one channel "
                 "and one band.", (3, 3, 2), {1: model}, [[(1, some, [1]), (1, some, [])]], "occupancy static-models")
    sequence("templates", "Template 6 in an I-frame, then template 7, an exclusive or, the model again, the occupancy "
             "as it was, and the model after that.", dims, models,
             [[(2, blob, [2, 3]), (3, blob, []), (None, blob, []), (3, blob, []), (None, None, []), (3, blob, [])]],
             "occupancy context-models")
    sequence("group", "Template 7 in I-frames, which see zeros and not the group before.", dims, models,
             [[(3, full, [3]), (3, blob, [])], [(3, full, [3]), (3, blob, [])], [(None, full, [3]), (3, some, [])]],
             "occupancy context-models frames")
    sequence("neighbours", "Neighbours two cells away, energies of both frames, three different scan weights.",
             (7, 3, 5), models, [[(4, some, [4]), (4, some, []), (4, blob, [])]], "occupancy context-models")
    sequence("joint", "A joint model of one channel.", dims, models, [[(6, some, [6]), (6, blob, [])]],
             "occupancy context-models")
    sequence("constant-table", "A model without neighbours; nothing occupied, then everything.", dims, models,
             [[(5, empty, [5]), (5, full, []), (5, empty, [])]], "occupancy context-models")
    sequence("escapes", "Static tables that hold neither 0 nor 1, and one that does not hold 0.", dims, models,
             [[(7, some, [7, 8]), (8, some, [])]], "occupancy static-models escapes")
    sequence("one-voxel", "A single voxel.", (1, 1, 1), models, [[(3, full, [3]), (3, empty, []), (3, full, [])]])
    sequence("512x1x1", "512 voxels along x.", (512, 1, 1), models, [[(3, some, [3]), (3, some, [])]])
    sequence("1x7x40", "7 voxels along y, 40 along z.", (1, 7, 40), models, [[(2, some, [2, 3]), (3, some, [])]])
    replaced = {3: models[3], MODEL: bit_model(dice, 7, hidden=3)}
    draft, dims_zyx = Draft(header(occupancy=dims)), (4, 5, 6)
    draft.group(0, 2)
    draft.frame(dice, {0: FIXED, MODEL: replaced[3]}, occupancy=blob(dice, dims_zyx), occupancy_model=MODEL)
    draft.frame(dice, {MODEL: replaced[MODEL]}, occupancy=blob(dice, dims_zyx), occupancy_model=MODEL)
    cases.add("occupancy-coded-replaced-model", "occupancy context-models", "A P-frame defines the model of its "
              "occupancy anew.", draft.finish().bytes())
    cases.add("occupancy-coded-work-full", "levels occupancy", "Tensors and occupancy together need 2^30 "
              "multiplications, the most that level 1 allows for a frame.", _work().bytes())


def add_bad(cases: Collection) -> None:
    base = _ordinary()

    def add(name, requirement, description, changes, n=0, draft=base):
        cases.add(f"occupancy-coded-{name}", "occupancy", description,
                  draft.copy().set(FRAME, n, changes).bytes(), requirement)

    coded = {"occupancy_mode": 3, "occupancy_model_ref": MODEL, "occupancy_size": 1, "occupancy_data": b"\1"}
    plain = Draft(header())
    plain.group(0, 2)
    for models in ({0: FIXED, MODEL: BITS}, {}):
        plain.frame(Dice(720), models)
    plain.finish()
    for n, kind in enumerate("ip"):
        add(f"unasked-{kind}", "R-OCC-01", f"Entropy-coded occupancy in a sequence that has none, {kind.upper()}-frame.",
            coded, n, plain)
    for value in (6, 63, 255):
        add(f"model-{value}", "R-OCC-05", f"occupancy_model_ref {value}, which nothing defines.",
            {"occupancy_model_ref": value})
    add("model-of-group-before", "R-OCC-05", "A model that only the group before defines.", {"occupancy_model_ref": 9}, 2)
    add("model-of-later-frame", "R-OCC-05", "A model that the next frame defines.", {"occupancy_model_ref": 10})
    add("model-unknown-and-of-tensor", "R-OCC-05", "Neither the occupancy's model nor a tensor's first coding tool is "
        "right.", {"occupancy_model_ref": 8, "tensor[0].prediction": 1})
    dice = Dice(721)
    misfits = {
        "two-channels": ("R-OCC-06", "A joint model of two channels.", context_model(dice, 7, joint=2, family=BERNOULLI)),
        "two-channels-of-values": ("R-OCC-06", "The same, of family 0.", context_model(dice, 3, joint=2)),
        "two-tables": ("R-OCC-06", "Two static tables by channel.", static_model((0, (1, 1, 1)), (0, (1, 1, 1)))),
        "values": ("R-OCC-07", "A context model of family 0.", FIXED),
        "mixtures": ("R-OCC-07", "A context model of family 2.", context_model(dice, 3, family=MIXTURE)),
    }
    for name, (requirement, description, model) in misfits.items():
        draft = Draft(header(occupancy=(6, 5, 4)))
        draft.group(0, 1)
        draft.frame(dice, {0: FIXED, 3: model, MODEL: BITS}, occupancy=dice.occupancy((4, 5, 6), 3),
                    occupancy_model=MODEL)
        add(name, requirement, description, {"occupancy_model_ref": 3}, draft=draft.finish())

    data = {name: _data(*entries) for name, entries in {
        "two": ("0 0 0 0 0 0 2", 0), "late-two": ("2 0 0 0 0 0 0", 0), "negative": ("0 -1 0 0 0 0 0", 0),
        "two-and-byte": ("0 0 2 0 0 0 0", 1), "prefix": ("0 0 x 0 0 0 0", 0)}.items()}

    def entropy(name, requirement, description, data, **changes):
        draft = _wide(**changes)
        add(name, requirement, description, {"occupancy_size": len(data), "occupancy_data": data},
            draft=draft)

    entropy("two", "R-ENT-05", "The last voxel is 2.", data["two"])
    entropy("first-two", "R-ENT-05", "The first voxel is 2.", data["late-two"])
    entropy("negative", "R-ENT-05", "A voxel is -1.", data["negative"])
    entropy("two-and-a-byte-more", "R-ENT-02", "A voxel is 2, and a byte is left over.", data["two-and-byte"])
    entropy("byte-more", "R-ENT-02", "A byte is left over.", _data("0 1 0 1 0 0 0", 1))
    entropy("prefix", "R-ENT-03", "An escape whose prefix does not end.", data["prefix"])
    entropy("quantile", "R-ENT-01", "Data that no encoder writes.", b"\xff" * 8)
    tensor = {"tensor[0].value_size": 12, "tensor[0].value_data": b"\xff" * 12}
    draft = _wide().set(FRAME, 0, tensor)
    add("two-and-bad-tensor", "R-ENT-05", "A voxel is 2, and the data of a tensor are none.",
        {"occupancy_size": len(data["two"]), "occupancy_data": data["two"]}, draft=draft)
    short = _ordinary().pokes(FRAME, 0, {"occupancy_size": b"\xff\xff\xff\xff\x0f"})
    cases.add("occupancy-coded-data-missing", "occupancy", "More data than the unit has bytes.", short.bytes(), "R-UNIT-07")
    cases.add("occupancy-coded-work-excess", "levels occupancy", "Six multiplications more than level 1 allows; "
              "without those of the occupancy they would be within it.", _work(excess=True).bytes(), "R-TEN-09")


def _ordinary() -> Draft:
    """Two groups, the first of two frames, with coded occupancy throughout."""
    dice = Dice(722)
    draft = Draft(header(occupancy=(6, 5, 4)))
    model = bit_model(dice, 7)
    draft.group(0, 2)
    draft.frame(dice, {0: FIXED, MODEL: model, 9: BITS}, occupancy=dice.occupancy((4, 5, 6), 3), occupancy_model=MODEL)
    draft.frame(dice, {10: BITS}, occupancy=dice.occupancy((4, 5, 6), 3), occupancy_model=MODEL)
    draft.group(2, 1)
    draft.frame(dice, {0: FIXED, MODEL: model}, occupancy=dice.occupancy((4, 5, 6), 3), occupancy_model=MODEL)
    return draft.finish()


def _wide() -> Draft:
    """Seven voxels under a static table of -1, 0, 1, 2 and the escape, all alike but for the escape."""
    dice = Dice(723)
    draft = Draft(header(occupancy=(7, 1, 1), digest_type=0))
    draft.group(0, 1)
    draft.frame(dice, {0: FIXED, MODEL: static_model((-1, (1, 1, 1, 1, 1)))}, occupancy=dice.occupancy((1, 1, 7), 2),
                occupancy_model=MODEL)
    return draft.finish()


def _data(values: str, more: int) -> bytes:
    """Data of values under the table of `_wide`; x: an escape whose prefix is too long. more: bytes appended."""
    frequencies = static_model((-1, (1, 1, 1, 1, 1))).tables[0].frequencies.tolist()
    out = DataWriter()
    for value in values.split():
        entry = 4 if value == "x" else int(value) + 1
        out.put(sum(frequencies[:entry]), frequencies[entry])
        if value == "x":
            out.bits(*[1] * 30)
    return out.data() + b"\1" * more


def _work(excess: bool = False) -> Draft:
    """A frame whose tensors, none of them coded, need 2^30 - 2^18 multiplications and its occupancy 2^18; or six more."""
    dice = Dice(724)
    draft = Draft(header((2, 1, 1, 1), ((1, 64, 64, 63), (1, 1, 64, 63)), occupancy=(4, 4, 4), digest_type=0))
    neighbours = [(0, 0, 0, 0, -1)] * 62
    models = {0: FIXED, 1: context_model(dice, neighbours, hidden=64), 2: context_model(dice, neighbours[:1], hidden=1),
              MODEL: context_model(dice, neighbours, hidden=64, family=BERNOULLI)}
    draft.group(0, 1)
    draft.frame(dice, models, use={0: 2 if excess else 0, 1: 1, 2: 1}, occupancy=np.zeros((4, 4, 4), bool),
                occupancy_model=MODEL)
    return draft.finish(index=False)
