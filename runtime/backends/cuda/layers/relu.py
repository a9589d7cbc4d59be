"""ReLU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec.ops.relu import ReLU as ReLUOp
from runtime.backends.cuda.columns import column_sum
from runtime.backends.cuda.formulas import rectified
from runtime.backends.cuda.layer import CudaLayer
from runtime.backends.cuda.layers.elementwise import Elementwise, gradient_call
from runtime.backends.cuda.machine.launch import Call


def rectified_sum(
    layer: CudaLayer[Any], sizes: tuple[int, int], accumulate: Sequence[bool]
) -> list[Call]:
    """Return the calls that go back through a ReLU to a layer with a bias below it.

    dy = dy where y is positive, else 0; db (+)= the sum of dy over its rows. y and dy
    are those of the layer, whose memory the ReLU shares. sizes: rows and columns.
    """
    db = layer.dparams[1] if len(layer.dparams) > 1 else None
    y, dy = layer.y, layer.dy
    if db is None:
        return [gradient_call(layer, [rectified()], None, y, dy, dy)]
    return column_sum(
        layer, dy, db, *sizes, accumulate=accumulate[1], sign=y, masked=dy
    )


class ReLU(Elementwise[ReLUOp]):
    """See `runtime.layers.relu.ReLU`; the layers below may take it into their own."""
