"""Which cells are coded: what is worked out by lines of bits, against the definition cell by cell."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from refcodec.syntax.coding import Tools, Transform
from refcodec.syntax.headers import Alignment, Mapping, Role, TensorInfo
from refcodec.tensors import significance
from refcodec.tensors.state import FrameState
from refcodec.tensors.transforms import support_mask
from synthetic import small_header

SIDES = st.sampled_from([1, 1, 2, 3, 8, 17])
VOXELS = st.sampled_from([1, 2, 5, 8, 9, 64, 70])  # along x: less than a byte, than a word, and more
CORNERS = st.integers(-200, 199)


@st.composite
def cases(draw):
    """(header, tensor, occupancy)"""
    low = [draw(CORNERS) for _ in range(3)]
    high = [a + draw(st.sampled_from([1, 3, 50, 400])) for a in low]
    info = TensorInfo(Role.DIF_BASIS, 0, (2, *(draw(SIDES) for _ in range(3))), 16,
                      draw(st.sampled_from([Mapping.LINEAR, Mapping.SAWTOOTH])), draw(st.sampled_from(Alignment)),
                      draw(st.integers(1, 12 << 16)))
    header = small_header(occupancy=(draw(VOXELS), draw(st.integers(1, 9)), draw(st.integers(1, 9))),
                          box=(tuple(low), tuple(high)), tensors=(info,))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return header, info, rng.random(header.occupancy_shape) < draw(st.sampled_from([0, 0.01, 0.2, 1]))


def by_definition(header, info, occupancy) -> np.ndarray:
    """A cell is coded when some occupied voxel touches it along all three axes (spec 7.1)."""
    x, y, z = (significance.touched_cells(header, info, axis).astype(np.int64) for axis in range(3))
    touching = np.einsum("zyx,zd,yh,xw->dhw", occupancy.astype(np.int64), z, y, x, optimize=True)
    return touching > 0


@settings(max_examples=200, deadline=None)
@given(cases(), st.sampled_from([1, 50, 1 << 14]))
def test_masks_are_those_of_the_definition(case, piece):
    header, info, occupancy = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(significance, "_PIECE", piece)
        found = significance.coded_mask(header, info, occupancy)
    assert found.dtype == bool and found.shape == info.shape[1:]
    assert np.array_equal(found, by_definition(header, info, occupancy))
    again = significance.coded_mask(header, info, occupancy, significance.packed_lines(occupancy))
    assert np.array_equal(again, found)


@settings(max_examples=60, deadline=None)
@given(cases(), cases(), st.integers(0, 2**32 - 1))
def test_a_state_has_the_masks_of_its_occupancy_and_scene(case, other, seed):
    """They are kept; a change of the occupancy, or of the scene's box, is seen all the same."""
    header, info, occupancy = case
    state, tools = FrameState(header), Tools((0,) * 4, significance=1, transform=Transform.BLOCK_DCT)
    changed = occupancy ^ (np.random.default_rng(seed).random(occupancy.shape) < 0.1)
    elsewhere = small_header(occupancy=header.occupancy_dims, tensors=(info,),
                             box=(other[0].aabb_min, other[0].aabb_max))
    for own, found in ((header, occupancy), (header, changed), (elsewhere, changed), (header, occupancy)):
        if own is not state.header:
            state.start_group(own)
        state.set_occupancy(found)
        for _ in range(2):
            assert np.array_equal(state.mask(0, tools),
                                  support_mask(Transform.BLOCK_DCT, 0, by_definition(own, info, found)))


def test_tensors_of_one_geometry_share_their_mask():
    header = small_header()
    coefficient = header.tensors[0]
    tensors = (coefficient, TensorInfo(Role.DIF_BASIS, 0, (9, *coefficient.shape[1:]), 12, coefficient.mapping,
                                       coefficient.alignment))
    state, tools = FrameState(small_header(tensors=tensors)), Tools((0,), significance=1)
    state.set_occupancy(np.ones(header.occupancy_shape, bool))
    assert state.mask(0, tools) is state.mask(1, tools)
