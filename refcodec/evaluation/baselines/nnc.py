"""Neural network coding, ISO/IEC 15938-17, by its reference implementation (package `nncodec`, optional).

The grids of a frame are one set of parameters under one quantisation parameter, the
networks another under one that is never coarse; dependent quantisation, DeepCABAC. A
P-frame codes what is added to the frame before as the decoder has it, and networks where
they changed. Of grids the cells in the support of the occupied voxels are coded, as a matrix of channels and cells.

Only the coder of that package is used. Its front ends need torchvision and more to start,
for training; coding tensors needs none of that.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import UsageError
from ...syntax.headers import SequenceHeader
from .base import FieldBaseline, within
from .container import Component, DamagedFile, Packer, Unpacker, read_fields, write_fields
from .scalar import assemble
from .sequence import FieldSequence, occupied_cells

_DENSITY = 2  # quantisation parameters to a factor of two: 2**2
_FINE = -75  # the package's default for parameters that are no weights
_NETWORK = -32  # at most, for networks: coarser ones cost more quality than they save


class NeuralNetworkCoding(FieldBaseline):
    """NNC of all tensors, closed loop over the frames of a group."""

    name, title = "nnc", "neural network coding (ISO/IEC 15938-17)"
    parameter, values = "QP", (-16, -12, -8, -4)

    def unavailable(self) -> str | None:
        try:
            import nncodec.nnc_core.coder  # noqa: F401
        except ImportError:
            return "the package nncodec is missing: pip install --no-deps nncodec (needs a C++ compiler and pybind11)"
        return None

    def check(self, value: float) -> str | None:
        return within(value, -100, 0)

    def encode(self, sequence: FieldSequence, value: float) -> bytes:
        packer = Packer()
        write_fields(packer, sequence)
        header = sequence.header
        before: dict[int, np.ndarray] = {}
        for position, frame in enumerate(sequence.frames):
            cells = _cells(header, frame.occupancy)
            for part, ids in _parts(header):
                if part == Component.NETWORKS and position and not frame.intra \
                        and all(np.array_equal(frame.tensors[i], sequence.frames[position - 1].tensors[i])
                                for i in ids):
                    packer.add(part, b"")
                    continue
                wanted = {i: frame.tensors[i] if frame.intra else frame.tensors[i] - before[i] for i in ids}
                qp = int(value) if part == Component.GRIDS else min(int(value), _NETWORK)
                coded = _compress({f"t{i}": _matrix(wanted[i], cells[i]) for i in ids}, qp) if ids else b""
                packer.add(part, coded)
                before |= _rebuilt(header, ids, cells, coded, {} if frame.intra else before)
        return packer.data()

    def decode(self, data: bytes) -> FieldSequence:
        unpacker = Unpacker(data)
        header, intra, occupancies = read_fields(unpacker)
        frames: list[dict[int, np.ndarray]] = []
        for first, occupancy in zip(intra, occupancies):
            cells = _cells(header, occupancy)
            values: dict[int, np.ndarray] = {}
            for part, ids in _parts(header):
                values |= _rebuilt(header, ids, cells, unpacker.take(part),
                                   {} if first or not frames else frames[-1])
            frames.append(values)
        return assemble(header, intra, occupancies, frames)


def _parts(header: SequenceHeader) -> list[tuple[Component, list[int]]]:
    empty = FieldSequence(header, ())
    return [(Component.GRIDS, empty.grids), (Component.NETWORKS, empty.networks)]


def _cells(header: SequenceHeader, occupancy: np.ndarray | None) -> list[np.ndarray]:
    return [occupied_cells(header, i, occupancy) for i in range(len(header.tensors))]


def _matrix(values: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """(C, coded cells) of a grid, (outputs, inputs) of a weight matrix, (n,) of a bias."""
    if cells.all() and values.shape[0] == 1 and values.shape[1] == 1:
        matrix = values[0, 0]
        return np.ascontiguousarray(matrix[0] if matrix.shape[0] == 1 else matrix, np.float32)
    return np.ascontiguousarray(values[:, cells], np.float32)


def _rebuilt(header: SequenceHeader, ids: Sequence[int], cells: Sequence[np.ndarray], coded: bytes,
             before: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Tensors by tensor_id, from what was coded of them and the frame before. Raises DamagedFile."""
    found = _decompress(coded) if coded else {}
    out = {}
    for i in ids:
        shape = header.tensors[i].shape
        out[i] = before[i].copy() if i in before else np.zeros(shape, np.float32)
        if coded:
            try:
                out[i][:, cells[i]] += np.asarray(found[f"t{i}"], np.float32).reshape(shape[0], -1)
            except (KeyError, ValueError):
                raise DamagedFile("the NNC stream of the baseline's file has other tensors") from None
    return out


def _compress(parameters: dict[str, np.ndarray], qp: int) -> bytes:
    """As `nncodec.nnc.compress` with its default settings. Raises UsageError."""
    try:
        return _stream_of(parameters, qp)
    except Exception as e:  # it has no errors of its own
        raise UsageError(f"nncodec can't code these tensors: {type(e).__name__}: {e}") from None


def _stream_of(parameters: dict[str, np.ndarray], qp: int) -> bytes:
    from nncodec.nnc_core import approximator, coder, nnr_model

    model = nnr_model.NNRModel(parameters)
    data = approximator.init_approx_data(parameters, model.model_info, qp_density=_DENSITY, scan_order=0)
    chosen = approximator.ApproxInfo(
        data, model.model_info, "uniform", 0, np.int32(qp), False, False, 10, 0, nonweight_qp=_FINE,
        qp_per_tensor=None, int_quant_bw=False).approx_info
    encoding = dict(
        cabac_unary_length_minus1=10, param_opt_flag=True, partial_data_counter=0, general_profile_idc=1,
        node_id_present_flag=1, device_id=0, mps_parent_signalling_enabled_flag=0, parent_node_id_present_flag=0,
        temporal_context_modeling_flag=0, row_skip_enabled_flag=1, pre_signalling=0)
    quantised = approximator.approx(chosen, model.model_info, data, encoding)
    stream, _ = coder.encode(enc_info=encoding, model_info=model.model_info, approx_data=quantised,
                             approx_param_base=None, update_base_param=False, tool_if=None)
    return bytes(stream)


def _decompress(stream: bytes) -> dict[str, np.ndarray]:
    """As `nncodec.nnc.decompress`. Raises DamagedFile."""
    from nncodec.nnc_core import approximator, coder

    flags = [f"{which}_{what}_flag" for what in ("sparsification", "pruning", "unification",
                                                 "decomposition_performance_map") for which in ("mps", "lps")]
    info: dict[str, Any] = dict(
        parameter_type={}, parameter_dimensions={}, parameter_index={}, block_identifier={},
        topology_storage_format=None, topology_compression_format=None,
        performance_maps={"mps": {}, "lps": {}}, performance_map_flags={flag: {} for flag in flags})
    try:
        data = coder.decode(bytearray(stream), info, hls_stats={}, oob_dict={}, approx_param_base=None,
                            update_base_param=False, return_hls=False, tool_if=None)
        approximator.rec(data)
        parameters: dict[str, np.ndarray] = approximator.recompose_params(info, data)["parameters"]
    except Exception as e:  # its parsers raise many types on damaged data
        raise DamagedFile(f"the NNC stream of the baseline's file is damaged: {type(e).__name__}") from None
    return parameters
