"""Losses of forks: of distances, of centres, of unequal numbers."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ops import fork_loss as ops
from netspec.ops.base import count
from runtime.arrays import Array, ArraySpec
from runtime.layers._gradient import OneGradient
from runtime.layers._labels import Labels
from runtime.layers.base import Kernel, register
from runtime.layers.softmax import SMALLEST_NORMAL, SoftmaxWithLoss, softmax


@register
class L1Loss(Kernel[ops.L1Loss]):
    """The sum of absolute differences, averaged over the batch.

        loss = sum of |a - b| / N;  da = dloss sign(a - b) / N;  db = -da

    sign(0) is 0. Shapes: a (N, ...), b (as many values) -> loss ().
    """

    types = ("L1Loss",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for the differences."""
        size = count(self.op.bottoms[0])
        return {"difference": ArraySpec((size,)), "share": ArraySpec(())}

    def setup(self) -> None:
        """View everything as one row."""
        self._pair = [bottom.reshape(-1) for bottom in self.bottoms]
        self._gradients = [
            None if gradient is None else gradient.reshape(-1)
            for gradient in self.dbottoms
        ]
        self._batch = max(1, self.op.bottoms[0][0])

    def forward(self) -> None:
        """Compute the loss."""
        xp, difference = self.xp, self.work["difference"]
        xp.subtract(*self._pair, out=difference)
        xp.absolute(difference, out=difference)
        xp.sum(difference, out=self.y)
        xp.multiply(self.y, 1 / self._batch, out=self.y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute da and db."""
        xp, share = self.xp, self.work["share"]
        first, second = self._pair
        xp.multiply(self.dy, 1 / self._batch, out=share)
        orders = ((first, second), (second, first))
        for gradient, (own, other) in zip(self._gradients, orders, strict=True):
            if gradient is not None:
                xp.subtract(own, other, out=gradient)
                xp.sign(gradient, out=gradient)
                xp.multiply(gradient, share, out=gradient)


@register
class FocalLoss(SoftmaxWithLoss):
    """The logistic loss, less of it where the class is right already.

        p = softmax(x)[label];  w(p) = factor (base + sign p)^gamma
        loss = -(sum of w(p) log(p)) / divisor
        dx = dloss (w(p) + p w'(p) log(p)) (p_k - [k is the label]) / divisor

    Everything else is as in SoftmaxWithLoss. Where base + sign p is 0, the smallest
    normal number is taken for it, so that all is finite.

    Source: Lin and others, Focal Loss for Dense Object Detection, 2017,
    arXiv:1708.02002.
    """

    types = ("FocalLoss",)
    op: ops.FocalLoss

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for what the gradient of each place is weighed by, and for its parts."""
        specs = super().arrays()
        size = specs["edge"].shape
        return {
            **specs,
            "slope": ArraySpec(size, life="saved"),
            "base": ArraySpec(size),
            "part": ArraySpec(size),
        }

    def forward(self) -> None:
        """Compute p, the loss and what its gradient is weighed by."""
        xp, op, work, labels = self.xp, self.op, self.work, self._labels
        picked, slope, base, part = (
            work[name] for name in ("picked", "slope", "base", "part")
        )
        softmax(xp, self._x, self._p, self._edge)
        labels.read()
        self._divisor.update()
        self.backend.gather(self._flat_p, labels.index, picked)
        xp.maximum(picked, SMALLEST_NORMAL, out=picked)
        xp.multiply(picked, op.sign, out=base)
        xp.add(base, op.base, out=base)
        xp.maximum(base, SMALLEST_NORMAL, out=base)
        xp.power(base, op.gamma - 1, out=part)
        xp.multiply(part, op.factor * op.gamma * op.sign, out=part)  # w'
        xp.multiply(part, picked, out=part)
        xp.log(picked, out=picked)
        xp.multiply(part, picked, out=part)
        xp.power(base, op.gamma, out=base)
        xp.multiply(base, op.factor, out=base)  # w
        xp.add(base, part, out=slope)
        xp.multiply(picked, base, out=picked)
        xp.multiply(picked, labels.weight, out=picked)
        xp.sum(picked, out=self.y)
        xp.negative(self.y, out=self.y)
        xp.divide(self.y, self._divisor.value, out=self.y)

    def _weigh(self, share: Array) -> None:
        """Weigh what each place counts in the gradient."""
        self.xp.multiply(share, self.work["slope"], out=share)


@register
class CenterLoss(Kernel[ops.CenterLoss]):
    """How far features lie from the centre of their class.

        loss = sum of |x - c[label]|^2 / (2 N);  dx = dloss (x - c[label]) / N
        dc[k] = -(sum of x - c[k] over the items of class k) / (1 + their number)

    dc is no derivative: it does not know dloss, as in the fork, where the rate of the
    centres is their lr_mult alone.

    Shapes: x (N, K values), label (N), c (num_output, K) -> loss ().
    Source: Wen and others, A Discriminative Feature Learning Approach, 2016, ECCV.
    """

    types = ("CenterLoss",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for distances, labels, and for which item is of which class."""
        classes, size = self.op.params[0].shape
        items = count(self.op.bottoms[0], 0, self.op.axis)
        specs = {
            **Labels.arrays(items),
            "distance": ArraySpec((items, size), life="saved"),
            "square": ArraySpec((items, size)),
            "matrix": ArraySpec((classes, items)),
            "share": ArraySpec(()),
        }
        if self.node.learn[0]:
            specs["sums"] = ArraySpec((classes, size))
            specs["counts"] = ArraySpec((classes, 1))
        return specs

    def setup(self) -> None:
        """View items as rows."""
        classes, size = self.op.params[0].shape
        self._x = self.x.reshape(-1, size)
        self._dx = None if self.dx is None else self.dx.reshape(-1, size)
        self._items = max(1, self._x.shape[0])
        self._labels = Labels(self, self.work["matrix"].T, None)
        self._numbers = self.xp.arange(classes, dtype="int64").reshape(classes, 1)

    def forward(self) -> None:
        """Compute the distances and the loss."""
        xp, work, labels = self.xp, self.work, self._labels
        distance, square = work["distance"], work["square"]
        labels.read()
        self.backend.gather(self.params[0], labels.values, distance)
        xp.subtract(self._x, distance, out=distance)
        xp.square(distance, out=square)
        xp.multiply(square, labels.weight.reshape(-1, 1), out=square)
        xp.sum(square, out=self.y)
        xp.multiply(self.y, 0.5 / self._items, out=self.y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients."""
        xp, work, distance = self.xp, self.work, self.work["distance"]
        if self._dx is not None:
            xp.multiply(self.dy, 1 / self._items, out=work["share"])
            xp.multiply(distance, work["share"], out=self._dx)
        if self.dparams[0] is None:
            return
        matrix, sums, counts = work["matrix"], work["sums"], work["counts"]
        xp.equal(self._numbers, self._labels.values, out=matrix)
        xp.sum(matrix, axis=1, keepdims=True, out=counts)
        xp.add(counts, 1, out=counts)
        xp.matmul(matrix, distance, out=sums)
        xp.divide(sums, counts, out=sums)
        if not accumulate[0]:
            xp.negative(sums, out=self.dparams[0])
        else:
            xp.subtract(self.dparams[0], sums, out=self.dparams[0])


@register
class TripletLoss(Kernel[ops.TripletLoss]):
    """Positives nearer than negatives, by a margin of squared distance.

        loss = sum of max(0, margin + |a - p|^2 - |a - n|^2) / (2 N)
        where that is above 0: da = dloss (n - p) / N;  dp = dloss (p - a) / N
                               dn = dloss (a - n) / N

    Shapes: a, p, n (N, C values) -> loss ().
    Source: Schroff and others, FaceNet, 2015, arXiv:1503.03832.
    """

    types = ("TripletLoss",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for differences, and for what every item adds."""
        items = self.op.bottoms[0][0]
        size = count(self.op.bottoms[0], 1)
        return {
            "difference": ArraySpec((items, size)),
            "loss": ArraySpec((items,)),
            "square": ArraySpec((items,)),
            "active": ArraySpec((items,), "bool", life="saved"),
            "share": ArraySpec((items,)),
        }

    def setup(self) -> None:
        """View items as rows."""
        shape = self.work["difference"].shape
        self._three = [bottom.reshape(shape) for bottom in self.bottoms]
        self._gradients = [
            None if gradient is None else gradient.reshape(shape)
            for gradient in self.dbottoms
        ]
        self._items = max(1, shape[0])

    def forward(self) -> None:
        """Compute the loss."""
        xp, work = self.xp, self.work
        difference, loss, square = work["difference"], work["loss"], work["square"]
        anchor, positive, negative = self._three
        xp.subtract(anchor, positive, out=difference)
        xp.square(difference, out=difference)
        xp.sum(difference, axis=1, out=loss)
        xp.subtract(anchor, negative, out=difference)
        xp.square(difference, out=difference)
        xp.sum(difference, axis=1, out=square)
        xp.subtract(loss, square, out=loss)
        xp.add(loss, self.op.margin, out=loss)
        xp.greater(loss, 0, out=work["active"])
        xp.maximum(loss, 0, out=loss)
        xp.sum(loss, out=self.y)
        xp.multiply(self.y, 0.5 / self._items, out=self.y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients."""
        xp, share = self.xp, self.work["share"]
        xp.multiply(self.dy, 1 / self._items, out=share)
        xp.multiply(share, self.work["active"], out=share)
        anchor, positive, negative = self._three
        pairs = ((negative, positive), (positive, anchor), (anchor, negative))
        for gradient, (one, other) in zip(self._gradients, pairs, strict=True):
            if gradient is not None:
                xp.subtract(one, other, out=gradient)
                xp.multiply(gradient, share[:, None], out=gradient)


@register
class SigmoidCrossEntropyBalanceLoss(OneGradient[ops.SigmoidCrossEntropyBalanceLoss]):
    """The logistic loss of yes-or-no targets, both kinds of an image counting alike.

        p = sigmoid(x);  loss = -(sum of w (t log(p) + (1 - t) log(1 - p))) / N
        w = negatives / (positives + negatives) where t is 1, positives / (...) where
        it is 0, each counted in the image, else 0
        dx = dloss w (p - t) / N

    An image with targets of one kind only adds nothing.

    Shapes: x (N, ...), t (as many values) -> loss ().
    Source: Xie and Tu, Holistically-Nested Edge Detection, 2015, arXiv:1504.06375;
    OSVOS.
    """

    types = ("SigmoidCrossEntropyBalanceLoss",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for the terms and their weights."""
        items = self.op.bottoms[0][0]
        size = count(self.op.bottoms[0], 1)
        return {
            "weight": ArraySpec((items, size), life="saved"),
            "terms": ArraySpec((items, size)),
            "part": ArraySpec((items, size)),
            "one": ArraySpec((items, size), "bool"),
            **dict.fromkeys(("positives", "negatives", "all"), ArraySpec((items, 1))),
            "share": ArraySpec(()),
        }

    def setup(self) -> None:
        """View images as rows."""
        shape = self.work["terms"].shape
        self._x, self._target = self.x.reshape(shape), self.bottoms[1].reshape(shape)
        self._dx = None if self.dx is None else self.dx.reshape(shape)
        self._items = max(1, shape[0])

    def forward(self) -> None:
        """Compute the loss."""
        xp, work, terms = self.xp, self.work, self.work["terms"]
        self._weigh()
        self.backend.softplus(self._x, terms, work["part"])
        xp.multiply(self._x, self._target, out=work["part"])
        xp.subtract(terms, work["part"], out=terms)
        xp.equal(work["weight"], 0, out=work["one"])
        xp.multiply(terms, work["weight"], out=terms)
        xp.copyto(terms, 0, where=work["one"])
        xp.sum(terms, out=self.y)
        xp.multiply(self.y, 1 / self._items, out=self.y)

    def _weigh(self) -> None:
        """Compute w."""
        xp, work = self.xp, self.work
        weight, part, one = work["weight"], work["part"], work["one"]
        positives, negatives = work["positives"], work["negatives"]
        xp.equal(self._target, 1, out=one)
        xp.copyto(weight, one)
        xp.equal(self._target, 0, out=one)
        xp.copyto(part, one)
        xp.sum(weight, axis=1, keepdims=True, out=positives)
        xp.sum(part, axis=1, keepdims=True, out=negatives)
        xp.add(positives, negatives, out=work["all"])
        xp.maximum(work["all"], 1, out=work["all"])
        for number in (positives, negatives):
            xp.divide(number, work["all"], out=number)
        xp.multiply(weight, negatives, out=weight)
        xp.multiply(part, positives, out=part)
        xp.add(weight, part, out=weight)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        xp, work, share = self.xp, self.work, self.work["share"]
        xp.multiply(self.dy, 1 / self._items, out=share)
        self.backend.sigmoid(self._x, self._dx)
        xp.subtract(self._dx, self._target, out=self._dx)
        xp.multiply(self._dx, work["weight"], out=self._dx)
        xp.equal(work["weight"], 0, out=work["one"])
        xp.copyto(self._dx, 0, where=work["one"])
        xp.multiply(self._dx, share, out=self._dx)
