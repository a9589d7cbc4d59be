"""MarginInnerProduct and LargeMarginInnerProduct: the label's angle made larger."""

from __future__ import annotations

import math
from collections.abc import Sequence

from netspec.ops.base import count
from netspec.ops.margin import MarginInnerProduct as MarginOp
from runtime.arrays import Array, ArraySpec
from runtime.layers._labels import Labels
from runtime.layers.base import Kernel, register

# cos(m angle) as a polynomial of cos(angle): the factors of its powers, by m.
POLYNOMIALS = {
    1: (0, 1),
    2: (-1, 0, 2),
    3: (0, -3, 0, 4),
    4: (1, 0, -8, 0, 8),
}
LEAST_NORM = 1e-12  # what a shorter row is divided by


@register
class MarginInnerProduct(Kernel[MarginOp]):
    """Multiply by a matrix, with a larger angle to the row of the label.

        c = x w[label] / n;  n = |x|, or |x| |w[label]| in LargeMarginInnerProduct
        h(c) = (lambda c + psi(c)) / (1 + lambda)
        y = x w^T;  y[label] = n h(c)
        psi(c) = (-1)^k cos(m angle) - 2 k, k of the m - 1 bounds cos(j pi / m) above c

    In MarginInnerProduct rows of w are divided by their norms for all this; the stored
    weights stay as they are. Both types do the same in TRAIN and in TEST.

        g = dy[label];  d = dy, but g h'(c) for the label
        dx = d w + g (h(c) - c h'(c)) dn/dx;  dw = d^T x + the same with dn/dw

    All gradients are the derivatives. SphereFace differs: it divides the two parts of
    dx at the label by the root of the sum of their squares, and its dw is dy^T x.

    Shapes: x (M..., K...), label (M), w (N, K) -> y (M..., N), and lambda (1,).
    Source: Liu and others, Large-Margin Softmax Loss, 2016, arXiv:1612.02295;
    SphereFace, 2017, arXiv:1704.08063.
    """

    types = ("MarginInnerProduct", "LargeMarginInnerProduct")

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for labels, norms, cosines, and for rows that are worked on."""
        classes, size = self.op.params[0].shape
        rows = count(self.op.bottoms[0], 0, self.op.axis)
        value, saved = ArraySpec((rows,)), ArraySpec((rows,), life="saved")
        specs = {
            **Labels.arrays(rows),
            **dict.fromkeys(("norm", "slope", "rest"), saved),
            **dict.fromkeys(("length", "cosine", "psi", "steps", "sign"), value),
            "below": ArraySpec((rows,), "bool"),
            "row_norm": ArraySpec((classes,), life="saved"),
            "d": ArraySpec((rows, classes)),
            "x_squares": ArraySpec((rows, size)),
            "w_squares": ArraySpec((classes, size)),
            "sums": ArraySpec((classes,)),
            "product": ArraySpec((classes, size)),
        }
        if self.op.unit_weights:
            specs["unit"] = ArraySpec((classes, size), life="saved")
        else:
            specs["picked_norm"] = ArraySpec((rows,), life="saved")
        return specs

    def setup(self) -> None:
        """View everything as matrices."""
        classes, size = self.op.params[0].shape
        self._x, self._y = self.x.reshape(-1, size), self.y.reshape(-1, classes)
        self._flat_y, self._flat_d = self.y.reshape(-1), self.work["d"].reshape(-1)
        self._dx = None if self.dx is None else self.dx.reshape(-1, size)
        if self.dy is not None:
            self._dy = self.dy.reshape(-1, classes)
        self._w = self.work["unit"] if self.op.unit_weights else self.params[0]
        self._labels = Labels(self, self._y, None)
        self._factor, self._part, self._row_norm = (
            self.work[name][:, None] for name in ("cosine", "sums", "row_norm")
        )
        self._w_t, self._d_t = self._w.T, self.work["d"].T
        self._lambda = 0.0
        factors = POLYNOMIALS[self.op.margin]
        self._psi = factors
        self._slope = [power * factor for power, factor in enumerate(factors)][1:]

    def take_over(self, other: Kernel[MarginOp]) -> None:
        """Take the lambda of the pass too."""
        super().take_over(other)
        if isinstance(other, MarginInnerProduct):
            self._lambda = other._lambda  # noqa: SLF001

    def forward(self) -> None:
        """Compute y and lambda, and keep what the gradient needs."""
        xp, op, work, labels = self.xp, self.op, self.work, self._labels
        passes = op.iteration + self.context.clock.value + 1
        self._lambda = max(
            op.base * (1 + op.gamma * passes) ** -op.power, op.lambda_min
        )
        if len(self.tops) > 1:
            self.tops[1].fill(self._lambda)
        labels.read()
        self._measure_norms()
        xp.matmul(self._x, self._w_t, out=self._y)
        if op.margin == 1:
            return
        norm, cosine, psi = work["norm"], work["cosine"], work["psi"]
        self.backend.gather(self._flat_y, labels.index, cosine)
        xp.divide(cosine, norm, out=cosine)
        self._widen(cosine)
        # psi is h(c) now and slope h'(c).
        xp.multiply(cosine, work["slope"], out=work["rest"])
        xp.subtract(psi, work["rest"], out=work["rest"])
        xp.multiply(work["rest"], labels.weight, out=work["rest"])
        xp.multiply(psi, norm, out=psi)
        xp.multiply(psi, labels.weight, out=psi)
        self.backend.scatter(psi, labels.index, self._flat_y)

    def _measure_norms(self) -> None:
        """Compute norms of the rows of x and w, and what the cosines are divided by."""
        xp, work, weights = self.xp, self.work, self.params[0]
        row_norm, norm = work["row_norm"], work["norm"]
        _norms(xp, weights, work["w_squares"], row_norm)
        _norms(xp, self._x, work["x_squares"], norm)
        if self.op.unit_weights:
            xp.divide(weights, self._row_norm, out=self._w)
        else:
            picked = work["picked_norm"]
            self.backend.gather(row_norm, self._labels.values, picked)
            xp.multiply(norm, picked, out=norm)

    def _widen(self, cosine: Array) -> None:
        """Compute h(c) and h'(c)."""
        xp, work, m = self.xp, self.work, self.op.margin
        psi, slope = work["psi"], work["slope"]
        steps, sign, below = work["steps"], work["sign"], work["below"]
        steps.fill(0)
        sign.fill(1)
        for bound in range(1, m):
            xp.less(cosine, math.cos(bound * math.pi / m), out=below)
            xp.add(steps, below, out=steps)
            xp.multiply(below, -2, out=psi)
            xp.add(psi, 1, out=psi)
            xp.multiply(sign, psi, out=sign)
        for out, factors in ((psi, self._psi), (slope, self._slope)):
            out.fill(factors[-1])
            for factor in factors[-2::-1]:
                xp.multiply(out, cosine, out=out)
                xp.add(out, factor, out=out)
            xp.multiply(out, sign, out=out)
        xp.multiply(steps, 2, out=steps)
        xp.subtract(psi, steps, out=psi)
        plain = self._lambda
        xp.add(slope, plain, out=slope)
        xp.multiply(slope, 1 / (1 + plain), out=slope)
        xp.multiply(cosine, plain, out=steps)
        xp.add(psi, steps, out=psi)
        xp.multiply(psi, 1 / (1 + plain), out=psi)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients."""
        xp, work, labels, d = self.xp, self.work, self._labels, self.work["d"]
        xp.copyto(d, self._dy)
        picked, rest = work["length"], work["psi"]
        if self.op.margin > 1:
            self.backend.gather(self._flat_d, labels.index, picked)
            xp.multiply(picked, work["rest"], out=rest)
            xp.multiply(picked, work["slope"], out=picked)
            self.backend.scatter(picked, labels.index, self._flat_d)
        if self._dx is not None:
            xp.matmul(d, self._w, out=self._dx)
            if self.op.margin > 1:
                self._grow_x(rest)
        if self.dparams[0] is not None:
            self._weights(self.dparams[0], rest, accumulate[0])

    def _grow_x(self, rest: Array) -> None:
        """Add g (h - c h') dn/dx to dx: x over |x|, times |w| where that counts."""
        xp, work = self.xp, self.work
        factor, squares = work["cosine"], work["x_squares"]
        if self.op.unit_weights:
            xp.divide(rest, work["norm"], out=factor)
        else:  # |w| / |x| = |w|^2 / n
            xp.square(work["picked_norm"], out=factor)
            xp.divide(factor, work["norm"], out=factor)
            xp.multiply(factor, rest, out=factor)
        xp.multiply(self._x, self._factor, out=squares)
        xp.add(self._dx, squares, out=self._dx)

    def _weights(self, dw: Array, rest: Array, accumulate: bool) -> None:
        """Compute dw, through the norms of the rows."""
        xp, work = self.xp, self.work
        out, product, part = work["w_squares"], work["product"], work["sums"]
        xp.matmul(self._d_t, self._x, out=out)
        if self.op.unit_weights:
            # Across the row only, as its length does not count.
            xp.multiply(out, self._w, out=product)
            xp.sum(product, axis=1, out=part)
            xp.multiply(self._w, self._part, out=product)
            xp.subtract(out, product, out=out)
            xp.divide(out, self._row_norm, out=out)
        elif self.op.margin > 1:
            # |x| / |w| = n / |w|^2, for all rows of x with this label.
            factor = work["cosine"]
            xp.square(work["picked_norm"], out=factor)
            xp.divide(work["norm"], factor, out=factor)
            xp.multiply(factor, rest, out=factor)
            part.fill(0)
            xp.add.at(part, self._labels.values, factor)
            xp.multiply(self.params[0], self._part, out=product)
            xp.add(out, product, out=out)
        if accumulate:
            xp.add(dw, out, out=dw)
        else:
            xp.copyto(dw, out)


def _norms(xp: Array, rows: Array, squares: Array, out: Array) -> None:
    """Compute the norms of rows, at least LEAST_NORM."""
    xp.square(rows, out=squares)
    xp.sum(squares, axis=1, out=out)
    xp.sqrt(out, out=out)
    xp.maximum(out, LEAST_NORM, out=out)
