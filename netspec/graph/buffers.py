"""Which edges share their memory."""

from __future__ import annotations

from collections.abc import Container, Sequence

from netspec.errors import SpecError
from netspec.graph.gradients import Gradients
from netspec.graph.wiring import Wires
from netspec.ops.base import Op, label


def share_memory(
    ops: Sequence[Op],
    wires: Wires,
    gradients: Gradients,
    loss_weights: Sequence[tuple[float, ...]],
    stale: Container[int] = (),
) -> tuple[list[int], list[int]]:
    """Return the data buffer and the gradient buffer of every edge.

    A buffer has the number of its first edge. A layer in place shares memory with its
    bottom unless that would destroy values which somebody still reads: the other tops
    of a Split, or an output that the gradient of its own layer needs. Here Caffe
    computes something wrong; we give the layer its own memory instead. So has one that
    is `stale`, whose shapes are none of this graph's.
    """
    seeded = _seeded(ops, wires, loss_weights)
    data = list(range(len(wires.names)))
    diff = list(range(len(wires.names)))
    forked: set[int] = set()  # buffers with several readers
    readers: dict[int, list[Op]] = {}  # ops whose gradient reads their own output
    for index, op in enumerate(ops):
        for place, edge in enumerate(wires.tops[index]):
            if index in stale:
                continue
            if op.alias:
                source = wires.bottoms[index][0]
                data[edge] = data[source]
                if op.type == "Split":
                    forked.add(data[edge])
                else:
                    diff[edge] = diff[source]
            elif wires.in_place[index][place]:
                source = wires.bottoms[index][place]
                if not (op.in_place and op.tops[place] == op.bottoms[place]):
                    _refuse_over_input(ops, wires, index, source, data[source])
                    continue
                if edge not in seeded:
                    diff[edge] = diff[source]
                buffer = data[source]
                rereads = gradients.backward[index] and place in op.backward_bottoms
                if ops[wires.ends[source][0]].is_source or not (
                    rereads or buffer in forked or _destroys(op, readers, buffer)
                ):
                    data[edge] = buffer
                else:
                    _refuse_over_input(ops, wires, index, source, buffer)
            if gradients.backward[index] and place in op.backward_tops:
                readers.setdefault(data[edge], []).append(op)
    return data, diff


def _destroys(op: Op, readers: dict[int, list[Op]], buffer: int) -> bool:
    """Tell whether `op` in place would change what an earlier gradient reads."""
    return any(
        not (reader.reads_sign and op.keeps_sign) for reader in readers.get(buffer, ())
    )


def _seeded(
    ops: Sequence[Op], wires: Wires, loss_weights: Sequence[tuple[float, ...]]
) -> set[int]:
    """Return the edges whose gradient memory holds a loss weight, filled only once.

    A layer in place below such an edge must not write there.
    """
    seeded: set[int] = set()
    for index in range(len(ops) - 1, -1, -1):
        for edge, weight in zip(wires.tops[index], loss_weights[index], strict=True):
            if weight:
                seeded.add(edge)
            if edge in seeded and ops[index].alias and ops[index].type != "Split":
                seeded.add(wires.bottoms[index][0])
    return seeded


def _refuse_over_input(
    ops: Sequence[Op], wires: Wires, index: int, source: int, first: int
) -> None:
    """Refuse memory of its own where a layer overwrites what users write to.

    source: the edge that it overwrites. first: the edge whose memory that is; where it
    is an Input of the same name, what is written by that name would go elsewhere.
    """
    producer, origin = ops[wires.ends[source][0]], ops[wires.ends[first][0]]
    same = wires.names[source] == wires.names[first]
    if producer.is_source or (origin.type == "Input" and same):
        raise SpecError(
            f"top {wires.names[source]!r} is also its bottom and comes from "
            f"{label(origin.layer)}, but this layer cannot run in place; give its "
            f"top another name",
            layer=label(ops[index].layer),
        )
