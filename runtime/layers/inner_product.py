"""InnerProduct and Embed, the layers that multiply by one matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec.errors import SpecError
from netspec.ops.base import bottom_name, count, label
from netspec.ops.inner_product import Embed as EmbedOp
from netspec.ops.inner_product import InnerProduct as InnerProductOp
from runtime.arrays import ArraySpec
from runtime.layers._windows import blocks
from runtime.layers.base import Kernel, register

# Elements of a weight gradient that are added at a time: the product to be added needs
# memory, and the weights may be the largest array of a net.
ADDED_ELEMENTS = 1 << 20


@register
class InnerProduct(Kernel[InnerProductOp]):
    """Multiply flattened inputs by a matrix and add a bias.

        y = x w^T + b;  dx = dy w;  dw = dy^T x;  db = sum of dy over the rows

    Shapes: x (M..., K...) -> y (M..., N), w (N, K), or (K, N) with `transpose`, b (N,).
    """

    types = ("InnerProduct",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for a block of the weights' gradient, and for sums over the rows."""
        rows, columns = self.op.params[0].shape
        taken = max(1, min(rows, ADDED_ELEMENTS // max(1, columns)))
        self._blocks = blocks(rows, taken)
        outputs = self.op.num_output
        return {
            "product": ArraySpec((taken, columns)),
            "sums": self.backend.channel_scratch(
                (count(self.op.bottoms[0], 0, self.op.axis), outputs, 1)
            ),
        }

    def setup(self) -> None:
        """View everything as matrices; `_w` is (K, N) whatever the layout."""
        op = self.op
        rows = count(op.bottoms[0], 0, op.axis)
        inner = count(op.bottoms[0], op.axis)
        weights = self.params[0]
        self._w = weights if op.transpose else weights.T
        self._x = self.x.reshape(rows, inner)
        self._y = self.y.reshape(rows, op.num_output)
        self._dx = None if self.dx is None else self.dx.reshape(rows, inner)
        if self.dy is None:
            return
        self._dy = self.dy.reshape(rows, op.num_output)
        # The factors of the weights' gradient in its own layout.
        left, right = self._dy, self._x
        if op.transpose:
            left, right = right, left
        self._left, self._right = left.T, right

    def forward(self) -> None:
        """Compute y."""
        self.xp.matmul(self._x, self._w, out=self._y)
        if self.op.bias_term:
            self.xp.add(self._y, self.params[1], out=self._y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients."""
        dw = self.dparams[0]
        if dw is not None:
            self._weights(dw, accumulate[0])
        if self.op.bias_term and self.dparams[1] is not None:
            self.backend.channel_sum(
                self._dy[:, :, None],
                self.dparams[1],
                self.work["sums"],
                accumulate=accumulate[1],
            )
        if self._dx is not None:
            self.xp.matmul(self._dy, self._w.T, out=self._dx)

    def _weights(self, dw: Any, accumulate: bool) -> None:
        if not accumulate:
            self.xp.matmul(self._left, self._right, out=dw)
            return
        for at in self._blocks:
            product = self.work["product"][: at.stop - at.start]
            self.backend.gemm(
                self._left[at], self._right, dw[at], accumulate=True, scratch=product
            )


@register
class Embed(Kernel[EmbedOp]):
    """Look up a learned row for every index.

        y[m] = w[x[m]] + b;  dw[x[m]] += dy[m];  db = sum of dy over m

    Indices are cut to integers; one out of range takes the nearest row in the output,
    where Caffe reads other memory. NaN has no nearest row and is an error; on a device
    that is not waited for its row is NaN.

    Shapes: x (any, M values) -> y (M..., N), w (input_dim, N), b (N,).
    """

    types = ("Embed",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the indices as integers, and for sums over the rows."""
        rows, outputs = count(self.op.bottoms[0]), self.op.num_output
        return {
            "index": ArraySpec((rows,), "int64", life="saved"),
            "strange": ArraySpec((rows,), "bool"),
            "sums": self.backend.channel_scratch((rows, outputs, 1)),
        }

    def setup(self) -> None:
        """View everything as rows."""
        self._x = self.x.reshape(-1)
        self._y = self.y.reshape(-1, self.op.num_output)
        if self.dy is not None:
            self._dy = self.dy.reshape(self._y.shape)

    def forward(self) -> None:
        """Compute y."""
        xp, index, strange = self.xp, self.work["index"], self.work["strange"]
        xp.isnan(self._x, out=strange)
        if self.backend.anywhere(strange):
            raise no_index(self.op, int(strange.argmax()))
        xp.copyto(index, self._x, casting="unsafe")
        xp.maximum(index, 0, out=index)
        xp.minimum(index, self.op.input_dim - 1, out=index)
        self.backend.gather(self.params[0], index, self._y)
        if self.op.bias_term:
            xp.add(self._y, self.params[1], out=self._y)
        xp.copyto(self._y, float("nan"), where=strange[:, None])

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted parameter gradients."""
        dw = self.dparams[0]
        if dw is not None:
            if not accumulate[0]:
                dw.fill(0)
            self.xp.add.at(dw, self.work["index"], self._dy)
        if self.op.bias_term and self.dparams[1] is not None:
            self.backend.channel_sum(
                self._dy[:, :, None],
                self.dparams[1],
                self.work["sums"],
                accumulate=accumulate[1],
            )


def no_index(op: EmbedOp, place: int) -> SpecError:
    """Return the error for a NaN at a place of the input."""
    return SpecError(
        f"{bottom_name(op.layer, 0)} holds nan at place {place}; expected 0 to "
        f"{op.input_dim - 1}, the rows that embed_param.input_dim says",
        layer=label(op.layer),
    )
