"""Local: a convolution with weights of its own for every place."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ops.local import Local as LocalOp
from runtime.arrays import Array, ArraySpec
from runtime.layers._windows import Columns, Windows
from runtime.layers.base import Kernel, register


@register
class Local(Kernel[LocalOp]):
    """Multiply the window of every place by weights of that place.

        y[n, o, p] = b[o, p] + sum of w[o, k, p] column[n, k, p] over k
        dw[o, k, p] = sum of dy[n, o, p] column[n, k, p] over n;  db = sum of dy over n
        dcolumn[n, k, p] = sum of w[o, k, p] dy[n, o, p] over o, added up in dx

    Columns are the windows written out, k counting channels and pixels of the window;
    each place is a product of two matrices.

    Shapes: x (N, C, H, W) -> y (N, O, H', W'), w (O, 1, C k k, P), b (1, 1, O, P) with
    P = H' W'. Source: Taigman and others, DeepFace, 2014, CVPR.
    """

    types = ("Local",)

    @property
    def _windows(self) -> Windows:
        op = self.op
        sizes, places = op.bottoms[0][2:], op.tops[0][2:]
        return Windows(sizes, places, op.kernel, op.stride, op.pad, dilation=(1, 1))

    @property
    def _sizes(self) -> tuple[int, int, int, int]:
        """Items, taps of a window, filters, and places."""
        outputs, _, taps, places = self.op.params[0].shape
        return self.op.bottoms[0][0], taps, outputs, places

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for columns, weights and results by place."""
        (n, taps, outputs, places), windows = self._sizes, self._windows
        images = self.op.bottoms[0][:2]
        specs = {
            "columns": ArraySpec((places, n, taps)),
            "weights": ArraySpec((places, taps, outputs)),
            "results": ArraySpec((places, n, outputs)),
        }
        if any(self.op.pad):
            specs["padded"] = ArraySpec((*images, *windows.padded))
        if self.op.bias_term and self.node.learn[1]:
            specs["sums"] = ArraySpec((outputs, places))
        return specs

    def setup(self) -> None:
        """View everything by place."""
        n, taps, outputs, places = self._sizes
        self._weights = self.params[0].reshape(outputs, taps, places).transpose(2, 1, 0)
        self._y = self.y.reshape(n, outputs, places)
        self._image = self._columns(self.x)
        self._bias = None
        if self.op.bias_term:
            self._bias = self.params[1].reshape(outputs, places)
        self._dx = None if self.dx is None else self._columns(self.dx)
        if self.dtops[0] is not None:
            self._dy = self.dy.reshape(n, outputs, places)

    def _columns(self, image: Array) -> Columns:
        windows, (n, c) = self._windows, self.op.bottoms[0][:2]
        columns = self.work["columns"].reshape(
            *windows.positions, n, c, *windows.kernel
        )
        by_image = columns.transpose(2, 3, 4, 5, 0, 1)
        padded = self.work.get("padded")
        return Columns(self.xp, windows, image, by_image, padded)

    def forward(self) -> None:
        """Compute y."""
        xp, work = self.xp, self.work
        self._image.gather()
        xp.copyto(work["weights"], self._weights)
        xp.matmul(work["columns"], work["weights"], out=work["results"])
        xp.copyto(self._y, work["results"].transpose(1, 2, 0))
        if self._bias is not None:
            xp.add(self._y, self._bias, out=self._y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients."""
        xp, work = self.xp, self.work
        _, taps, outputs, places = self._sizes
        xp.copyto(work["results"], self._dy.transpose(2, 0, 1))
        if self.dparams[0] is not None:
            self._image.gather()
            columns = work["columns"].swapaxes(1, 2)
            xp.matmul(columns, work["results"], out=work["weights"])
            found = work["weights"].transpose(2, 1, 0)
            gradient = self.dparams[0].reshape(outputs, taps, places)
            if accumulate[0]:
                xp.add(gradient, found, out=gradient)
            else:
                xp.copyto(gradient, found)
        if self.op.bias_term and self.dparams[1] is not None:
            gradient = self.dparams[1].reshape(outputs, places)
            xp.sum(self._dy, axis=0, out=work["sums"])
            if accumulate[1]:
                xp.add(gradient, work["sums"], out=gradient)
            else:
                xp.copyto(gradient, work["sums"])
        if self._dx is not None:
            xp.copyto(work["weights"], self._weights)
            weights = work["weights"].swapaxes(1, 2)
            xp.matmul(work["results"], weights, out=work["columns"])
            self._dx.spread()
