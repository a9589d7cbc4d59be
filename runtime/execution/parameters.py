"""The arrays of a net's parameters: one flat buffer, filled or borrowed."""

from __future__ import annotations

import zlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from netspec.errors import ShapeError
from netspec.graph import Graph, Node, Parameter, check_parameters
from netspec.ops.base import Shape, label
from netspec.schema import BlobProto
from runtime.arena import Flat, flat_buffers
from runtime.arrays import Array
from runtime.distributed import Communicator
from runtime.execution.fitting import fitting
from runtime.fillers import fill
from runtime.layers.base import Context


@dataclass(frozen=True)
class ParameterArrays:
    """The 1-D data and gradient of one parameter, wherever they lie."""

    data: Array
    diff: Array


@dataclass(frozen=True)
class Parameters:
    """The arrays of every parameter of a graph; `flat` holds those that are its own."""

    flat: Flat
    arrays: tuple[ParameterArrays, ...]


def allocate(
    graph: Graph,
    context: Context,
    borrowed: Mapping[int, ParameterArrays],
    keep: Container[str] | None = None,
    most: int | None = None,
    ranks: Communicator | None = None,
) -> Parameters:
    """Give every parameter its arrays: borrowed ones, or new ones filled.

    The values are a function of the seed, the owner's name and the slot, so that
    another layer in the net does not change them. keep: names of blobs, as of `Net`.
    most: bytes that all will take at most, where that is known. ranks: processes that
    add up the gradients.

    Raises `MachineError` where parameters and blobs do not fit into memory.
    """
    own = [p for p in graph.parameters if p.index not in borrowed]
    with fitting(graph, context, own, keep, most=most):
        return _allocate(graph, context, own, borrowed, ranks)


def _allocate(
    graph: Graph,
    context: Context,
    own: Sequence[Parameter],
    borrowed: Mapping[int, ParameterArrays],
    ranks: Communicator | None,
) -> Parameters:
    flat = flat_buffers(context.backend, own, context.dtype, ranks)
    arrays = dict(borrowed)
    for parameter in own:
        place = flat.slices[parameter.index]
        arrays[parameter.index] = ParameterArrays(flat.data[place], flat.diff[place])
        if _is_zero(parameter):
            continue  # as the buffer is, so that large ones cost nothing
        values = _start(parameter, graph.nodes[parameter.owner.node], context.seed)
        context.backend.upload(
            values.reshape(-1).astype(context.dtype, copy=False),
            out=flat.data[place],
        )
    return Parameters(flat, tuple(arrays[p.index] for p in graph.parameters))


def borrow(
    graph: Graph, other: Graph, arrays: Sequence[ParameterArrays]
) -> dict[int, ParameterArrays]:
    """Return the `arrays` of `other` for the layers that have equal names in `graph`.

    Raises `ShapeError` where such layers have parameters of different shapes.
    """
    theirs = {node.name: node for node in other.nodes}
    found = {}
    for parameter in graph.parameters:
        for use in parameter.users:
            mine = graph.nodes[use.node]
            node = theirs.get(mine.name)
            if node is None or use.slot >= len(node.params):
                continue
            shape = mine.op.params[use.slot].shape
            their_shape = node.op.params[use.slot].shape
            if shape != their_shape:
                raise ShapeError(
                    f"parameter {use.slot} has shape {shape} here and {their_shape} "
                    f"in the net it is to be shared with; give the layers different "
                    f"names, or equal sizes",
                    layer=label(node.layer),
                )
            found[parameter.index] = arrays[node.params[use.slot]]
            break
    return found


def check_unchanged(old: Graph, new: Graph) -> None:
    """Refuse input shapes under which a parameter would change its shape."""
    for before, after in zip(old.nodes, new.nodes, strict=True):
        check_parameters(before.op, after.op)


def _is_zero(parameter: Parameter) -> bool:
    """Tell whether a parameter starts with zeros, as those without a filler do."""
    filler = parameter.filler
    plain = (filler.type, filler.value, filler.sparse) == ("constant", 0, -1)
    return parameter.blob is None and plain


def _start(parameter: Parameter, owner: Node, seed: int) -> np.ndarray:
    slot = parameter.owner.slot
    what = f"{label(owner.layer)}, parameter {slot}"
    if parameter.blob is not None:
        return _given(parameter.blob, parameter.shape, what)
    rng = np.random.default_rng([seed, zlib.crc32(owner.name.encode()), slot])
    return fill(parameter.shape, parameter.filler, rng, what)


def _given(blob: BlobProto, shape: Shape, what: str) -> np.ndarray:
    values = np.asarray(blob.double_data or blob.data, np.float32)
    if values.size != np.prod(shape, dtype=np.int64):
        raise ShapeError(
            f"{what}: the blobs in the net's own text have {values.size} values, "
            f"expected shape {shape}"
        )
    return values
