"""ReLU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec.ops.relu import ReLU as ReLUOp
from runtime.backends.cuda.columns import Columns, column_sum
from runtime.backends.cuda.formulas import rectified
from runtime.backends.cuda.layer import CudaLayer
from runtime.backends.cuda.layers.elementwise import Elementwise, gradient_call
from runtime.backends.cuda.machine.launch import Call
from runtime.backends.cuda.tensor import Blob


def bias_gradient(
    layer: CudaLayer[Any], matrix: Columns, dy: Blob, accumulate: bool
) -> list[Call]:
    """Return the calls that sum dy over its rows: db = (db +) the sum.

    The layer has parameter 1, the bias, and scratch for "partial sums".
    """
    out, parts = layer.dparams[1], layer.work["partial sums"]
    return column_sum(
        layer, matrix, dy, out, parts, accumulate=accumulate, lasting=True
    )


def rectified_sum(
    layer: CudaLayer[Any],
    matrix: Columns,
    blobs: tuple[Blob, Blob],
    accumulate: Sequence[bool],
) -> list[Call]:
    """Return the calls that go back through a ReLU to a layer with a bias below it.

    dy = dy where y is positive, else 0; db (+)= the sum of dy over its rows. blobs: y
    and dy of the layer, whose memory the ReLU shares.
    """
    y, dy = blobs
    if len(layer.dparams) < 2 or layer.dparams[1] is None:
        return [gradient_call(layer, [rectified()], None, y, dy, dy)]
    out, parts = layer.dparams[1], layer.work["partial sums"]
    add = accumulate[1]
    where: Any = {"sign": y, "masked": dy, "lasting": True}
    return column_sum(layer, matrix, dy, out, parts, accumulate=add, **where)


class ReLU(Elementwise[ReLUOp]):
    """See `runtime.layers.relu.ReLU`; the layers below may take it into their own."""
