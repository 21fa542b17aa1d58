"""From floats to quantised frames (`refcodec.quantisation`)."""
import io

import numpy as np
import pytest

from refcodec import TensorTools, UsageError, Writer, quantise_frame
from refcodec.decoding import open_stream
from refcodec.entropy.models import ContextModel, StaticModel
from refcodec.fields import field_header
from refcodec.fields.grid import GridSizes
from refcodec.quantisation import smallest_model
from refcodec.syntax.coding import FrameType, Transform
from refcodec.syntax.headers import Mapping
from refcodec.tensors.significance import coded_mask
from refcodec.tensors.state import FrameState

HEADER = field_header(GridSizes(12, 10, 3, render_hidden=4), [(-1, -1, -1), (1, 1, 1)], occupancy_side=8)


def tensors(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 1, info.shape).cumsum(-1) for info in HEADER.tensors]


def ball() -> np.ndarray:
    middle = (np.arange(8) + 0.5) / 4 - 1
    return sum(m**2 for m in np.meshgrid(middle, middle, middle)) < 0.5


def written(frames, tools) -> tuple[bytes, list]:
    out = io.BytesIO()
    writer = Writer(out, HEADER)
    writer.begin()
    writer.begin_group(0, len(frames))
    codings = []
    for i, values in enumerate(frames):
        codings.append(quantise_frame(writer.state, values, tools, number=i, time_stamp=i, occupancy=ball(),
                                      type=FrameType.INTER if i else FrameType.INTRA))
        writer.write_frame(codings[-1])
    writer.finish()
    return out.getvalue(), codings


@pytest.mark.parametrize("tools, error", [
    (TensorTools(2.0**-6), 2.0**-7), (TensorTools(0.1, Transform.BLOCK_DCT), 0.6),
    (TensorTools([0.1, 0.1, 0.1], Transform.WAVELET, 2), 0.6)])
def test_errors_are_within_the_step_size(tools, error):
    first, second = tensors(0), tensors(0)
    second[1] = second[1] + 0.4
    data, codings = written([first, second], tools)
    for frame, wanted in zip(open_stream(io.BytesIO(data)), (first, second), strict=True):
        for info, ours, theirs in zip(HEADER.tensors, wanted, frame.values()):
            cells = np.ones(info.shape[1:], bool) if info.mapping == Mapping.NONE else coded_mask(HEADER, info, ball())
            assert np.abs(ours - theirs)[:, cells].max() <= error * 1.1
    # A P-frame carries what changed, and a model that serves again is not defined again.
    if tools.transform == Transform.NONE:
        assert [t.tensor_id for t in codings[1].tensors] == [1]


def test_cells_outside_the_support_are_not_coded():
    _, codings = written([tensors(1)], TensorTools(2.0**-6))
    for t in codings[0].tensors:
        info = HEADER.tensors[t.tensor_id]
        count = info.size // info.shape[0]
        assert len(t.values) == (count if info.mapping == Mapping.NONE else coded_mask(HEADER, info, ball()).sum())
        assert info.mapping == Mapping.NONE or len(t.values) < count


def test_models_are_chosen_by_size_with_their_own():
    """A model that the stream has wins while its symbols cost less than a new model with its own."""
    few, many = StaticModel(((0, (1, 1, 0)),)), ContextModel.fixed([0], [10])
    from refcodec.entropy.fitting import model_bytes

    sizes = {few: 8 * model_bytes(few), many: 8 * model_bytes(many)}
    for bits_of_known, chosen in ((sizes[few] + 99, "known"), (sizes[few] + 101, "new")):
        found = smallest_model([few], many, lambda m, b=bits_of_known: b if m is many else 100)
        assert found is (many if chosen == "known" else few)
    longer = {few: 100.0, many: 100.0}
    assert smallest_model([few, many], None, lambda m: longer[m]) is min(sizes, key=sizes.get)


@pytest.mark.parametrize("change, message", [
    (lambda t: t[:-1], "tensors, there are"), (lambda t: [t[0][:, 1:], *t[1:]], "has the shape"),
    (lambda t: [t[0] * np.nan, *t[1:]], "not finite"), (lambda t: [t[0] + 2.0**16, *t[1:]], "the range"),
    (lambda t: [t[0] * 1e3, *t[1:]], "larger step")])
def test_tensors_that_do_not_fit_are_refused(change, message):
    with pytest.raises(UsageError, match=message):
        quantise_frame(FrameState(HEADER), change(tensors(2)), TensorTools(2.0**-16), number=0, occupancy=ball())


def test_tools_and_occupancy_that_do_not_fit_are_refused():
    state, values = FrameState(HEADER), tensors(3)
    for tools, message in (({}, "no tools for tensor 0"), (TensorTools([0.1, 0.2]), "1 step sizes"),
                           (TensorTools(-1.0), "positive")):
        with pytest.raises(UsageError, match=message):
            quantise_frame(state, values, tools, number=0, occupancy=ball())
    with pytest.raises(UsageError, match="occupancy of shape"):
        quantise_frame(state, values, TensorTools(0.1), number=0)
