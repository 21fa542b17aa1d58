"""`refcodec benchmark render`: what is timed shows the same shape, at the sizes asked for."""
from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st
from test_fields import BOX, SMALL, random_tensors

from refcodec.cli import cli
from refcodec.errors import UsageError
from refcodec.evaluation.render_speed import Shown, enlarged
from refcodec.fields import GridSizes, TriplaneSizes, VmSizes, build, field_header
from synthetic import small_stream

# Sizes, and sizes of twice the cells along each axis of a cube, so that the old samples are among the new.
CUBE = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
PAIRS = {
    "vm": (VmSizes(2, 3, 5, features=4, render_hidden=6, density_shift=-0.5),
           VmSizes(4, 5, 9, features=7, render_hidden=9)),
    "triplane": (TriplaneSizes(3, 6, 3, features=5, render_hidden=7, density_shift=-1.0),
                 TriplaneSizes(4, 11, 5, features=0, render_hidden=7)),
    "grid": (GridSizes(4, 3, 5, render_hidden=6, density_shift=1.0), GridSizes(7, 5, 2, render_hidden=6)),
}


def run(*args):
    return CliRunner().invoke(cli, ["benchmark", "render", *map(str, args), "--repeats", "1", "--backend", "numpy"])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(sorted(PAIRS)))
def test_an_enlarged_field_has_the_same_density(seed, name):
    small, large = PAIRS[name]
    header = field_header(small, CUBE, occupancy_side=4)
    rng = np.random.default_rng(seed)
    occupancy = rng.random(header.occupancy_shape) < 0.5
    before = Shown(header, random_tensors(header, seed), occupancy)
    after = enlarged(before, large, occupancy_side=8, samples_per_diagonal=99)
    assert [i.shape for i in after.header.tensors] == [t.shape for t in after.tensors]
    assert after.header.samples_per_diagonal == 99
    assert after.header.parameters.feature_frequencies == large.feature_frequencies
    np.testing.assert_array_equal(after.occupancy, occupancy.repeat(2, 0).repeat(2, 1).repeat(2, 2))
    points = rng.uniform(-1, 1, (50, 3)).astype(np.float32)
    densities = [build(s.header, s.tensors).density(points)[0] for s in (before, after)]
    np.testing.assert_allclose(*densities, rtol=1e-3, atol=1e-4)


def test_a_density_that_needs_a_network_is_not_enlarged():
    header = field_header(SMALL, BOX)
    with pytest.raises(UsageError, match="density comes from grids alone.*not dif"):
        enlarged(Shown(header, random_tensors(header), None), SMALL, occupancy_side=4, samples_per_diagonal=9)


def test_the_command(tmp_path):
    path = tmp_path / "s.rfv"
    path.write_bytes(small_stream(header=field_header(PAIRS["vm"][0], BOX, occupancy_side=4)))
    result = run(path, "--scale", "0.5", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    view, = report["views"]
    assert report["backend"] == "numpy" and view["camera"] == "front" and (view["width"], view["height"]) == (20, 15)
    assert view["seconds"] > 0 and view["processor_seconds"] > 0 and 0 <= view["opacity"] <= 1
    result = run(path, "--scale", "0.1", "--enlarge", "micro")
    assert result.exit_code == 0 and result.output.startswith("front, 4x3, opacity ")


def test_one_line_where_nothing_can_be_timed(tmp_path):
    path = tmp_path / "s.rfv"
    path.write_bytes(small_stream())
    for args, text in (((path, "--enlarge", "micro"), "only a field whose density"),
                       ((path, "--enlarge", "huge"), "no preset 'huge'"),
                       ((tmp_path / "none.rfv",), "can't open")):
        result = run(*args)
        assert result.exit_code == 1 and text in result.output
    path.write_bytes(small_stream(cameras=False))
    assert "no cameras" in run(path).output
