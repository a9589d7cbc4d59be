"""Losses: scores and targets to one number."""

from __future__ import annotations

import math
from collections.abc import Sequence

from netspec.errors import SpecError
from netspec.ops import loss as ops
from netspec.ops.base import bottom_name, count, label
from runtime.arrays import Array, ArraySpec
from runtime.layers._gradient import OneGradient
from runtime.layers._labels import Divisor, Labels
from runtime.layers.base import Kernel, register

# Added to the distance of a pair before dividing by it, which may be 0.
DISTANCE_OFFSET = 1e-4
# The least probability that is divided by or whose log is taken.
LEAST_PROBABILITY = 1e-20


@register
class SigmoidCrossEntropyLoss(OneGradient[ops.SigmoidCrossEntropyLoss]):
    """The logistic loss of independent yes-or-no targets.

        p = sigmoid(x);  loss = -(sum of t log(p) + (1 - t) log(1 - p)) / divisor
        dx = dloss (p - t) / divisor

    The loss is summed as max(x, 0) - x t + log(1 + exp(-|x|)). Targets that, cut to an
    integer, equal `ignore_label` do not count: a label of 0 ignores 0.3 and -0.6 too,
    as in Caffe. The divisor is explained at `Divisor`; VALID counts scores.

    Shapes: x (N, ...), t (as many values) -> loss ().
    """

    types = ("SigmoidCrossEntropyLoss",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for the terms, and for the weights where some targets are ignored."""
        size = count(self.op.bottoms[0])
        specs = {
            **Divisor.arrays(),
            "terms": ArraySpec((size,)),
            "part": ArraySpec((size,)),
            "share": ArraySpec(()),
        }
        if self.op.ignore_label is not None:
            specs["weight"] = ArraySpec((size,), life="saved")
            specs["cut"] = ArraySpec((size,))
        return specs

    def setup(self) -> None:
        """View everything as one row."""
        self._x, self._target = self.x.reshape(-1), self.bottoms[1].reshape(-1)
        self._weight = self.work.get("weight")
        self._divisor = Divisor(
            self,
            self.op.normalization,
            self._weight,
            size=self._x.size,
            batch=self.op.bottoms[0][0],
            pre_fixed=self.op.fixed,
        )
        if self.dx is not None:
            self._dx = self.dx.reshape(-1)

    def forward(self) -> None:
        """Compute the loss."""
        xp, terms, part = self.xp, self.work["terms"], self.work["part"]
        self.backend.softplus(self._x, terms, part)
        xp.multiply(self._x, self._target, out=part)
        xp.subtract(terms, part, out=terms)
        if self._weight is not None:
            cut = xp.trunc(self._target, out=self.work["cut"])
            xp.not_equal(cut, self.op.ignore_label, out=self._weight)
            xp.multiply(terms, self._weight, out=terms)
        self._divisor.update()
        xp.sum(terms, out=self.y)
        xp.divide(self.y, self._divisor.value, out=self.y)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        xp, share = self.xp, self.work["share"]
        xp.divide(self.dy, self._divisor.value, out=share)
        self.backend.sigmoid(self._x, self._dx)
        xp.subtract(self._dx, self._target, out=self._dx)
        xp.multiply(self._dx, share, out=self._dx)
        if self._weight is not None:
            xp.multiply(self._dx, self._weight, out=self._dx)


@register
class EuclideanLoss(Kernel[ops.EuclideanLoss]):
    """Half the squared distance of an item, averaged over the batch.

        loss = sum of (a - b)^2 / (2 N)
        da = dloss (a - b) / N;  db = -da

    Shapes: a (N, ...), b (as many values) -> loss ().
    """

    types = ("EuclideanLoss",)

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
        xp.square(difference, out=difference)
        xp.sum(difference, out=self.y)
        xp.multiply(self.y, 0.5 / self._batch, out=self.y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute da and db."""
        xp, share = self.xp, self.work["share"]
        first, second = self._pair
        xp.multiply(self.dy, 1 / self._batch, out=share)
        orders = ((first, second), (second, first))
        for gradient, (own, other) in zip(self._gradients, orders, strict=True):
            if gradient is not None:
                xp.subtract(own, other, out=gradient)
                xp.multiply(gradient, share, out=gradient)


@register
class ContrastiveLoss(Kernel[ops.ContrastiveLoss]):
    """Pulls similar pairs together and pushes others apart, up to a margin.

        d = |a - b|;  loss = sum of s d^2 + (1 - s) max(margin - d, 0)^2, over 2 N
        da = dloss f (a - b) / N;  db = -da
        f = 1 where s, else -(margin - d) / (d + 1e-4) where d < margin, else 0

    With `legacy_version` the second term is max(margin - d^2, 0), and f is -1 where
    d^2 < margin. The similarity s is cut to an integer; any but 0 means similar. NaN is
    an error; on a device that is not waited for it makes the loss NaN.

    Shapes: a, b (N, C), s (N) -> loss (). Source: Hadsell and others, "Dimensionality
    reduction by learning an invariant mapping", CVPR 2006.
    """

    types = ("ContrastiveLoss",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for the differences, and for a few values a pair."""
        n, c = self.op.bottoms[0][:2]
        return {
            "difference": ArraySpec((n, c), life="saved"),
            "distance": ArraySpec((n,), life="saved"),
            "short": ArraySpec((n,), life="saved"),
            "similar": ArraySpec((n,), "bool", life="saved"),
            "other": ArraySpec((n,), "bool", life="saved"),
            "squares": ArraySpec((n, c)),
            "pull": ArraySpec((n,)),
            "push": ArraySpec((n,)),
            "strange": ArraySpec((n,), "bool"),
        }

    def setup(self) -> None:
        """View the pairs as rows."""
        n, c = self.op.bottoms[0][:2]
        self._a, self._b = self.bottoms[0].reshape(n, c), self.bottoms[1].reshape(n, c)
        self._similarity = self.bottoms[2].reshape(n)
        self._factor = self.work["pull"].reshape(n, 1)
        self._gradients = [
            None if gradient is None else gradient.reshape(n, c)
            for gradient in self.dbottoms[:2]
        ]
        self._batch = max(1, n)

    def forward(self) -> None:
        """Compute the loss, and keep what the gradient needs of every pair."""
        xp, work, op = self.xp, self.work, self.op
        distance, short = work["distance"], work["short"]
        pull, push = work["pull"], work["push"]
        xp.isnan(self._similarity, out=work["strange"])
        if self.backend.anywhere(work["strange"]):
            raise no_similarity(op, int(work["strange"].argmax()))
        xp.trunc(self._similarity, out=pull)
        xp.not_equal(pull, 0, out=work["similar"])
        xp.logical_not(work["similar"], out=work["other"])
        xp.subtract(self._a, self._b, out=work["difference"])
        xp.square(work["difference"], out=work["squares"])
        xp.sum(work["squares"], axis=1, out=pull)
        if op.legacy_version:
            xp.subtract(op.margin, pull, out=short)
            xp.maximum(short, 0, out=short)
            xp.copyto(push, short)
        else:
            xp.sqrt(pull, out=distance)
            xp.subtract(op.margin, distance, out=short)
            xp.maximum(short, 0, out=short)
            xp.square(short, out=push)
        xp.multiply(pull, work["similar"], out=pull)
        xp.multiply(push, work["other"], out=push)
        xp.add(pull, push, out=pull)
        xp.copyto(pull, float("nan"), where=work["strange"])
        xp.sum(pull, out=self.y)
        xp.multiply(self.y, 0.5 / self._batch, out=self.y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute da and db as the differences times a factor a pair."""
        xp, work, factor = self.xp, self.work, self.work["pull"]
        if self.op.legacy_version:
            xp.sign(work["short"], out=factor)
        else:
            xp.add(work["distance"], DISTANCE_OFFSET, out=factor)
            xp.divide(work["short"], factor, out=factor)
        xp.multiply(factor, work["other"], out=factor)
        xp.subtract(work["similar"], factor, out=factor)
        xp.multiply(factor, self.dy, out=factor)
        for gradient, sign in zip(self._gradients, (1, -1), strict=True):
            if gradient is not None:
                xp.multiply(work["difference"], self._factor, out=gradient)
                xp.multiply(gradient, sign / self._batch, out=gradient)


def no_similarity(op: ops.ContrastiveLoss, place: int) -> SpecError:
    """Return the error for a NaN among the similarities."""
    return SpecError(
        f"{bottom_name(op.layer, 2)} holds nan at place {place}; expected 0 for a pair "
        f"that is not similar, or any other number",
        layer=label(op.layer),
    )


@register
class SmoothL1Loss(Kernel[ops.SmoothL1Loss]):
    """The absolute difference, rounded off to a parabola near 0.

        d = w_in (a - b);  loss = sum of w_out f(d) / divisor
        f(d) = sigma^2 d^2 / 2 where |d| < 1 / sigma^2, else |d| - 1 / (2 sigma^2)
        da = dloss w_in w_out f'(d) / divisor;  db = -da

    f is computed as q (|d| - q / 2 s) with q = min(s |d|, 1) and s = sigma^2, and
    f'(d) as s d cut to -1..1. Missing weights are 1. losses, a second top, are sums of
    f over channels. The divisor is N, or what `loss_param` says in R-FCN.

    Shapes: a (N, ...), b, w_in, w_out (as many values) -> loss (), losses (N, 1, ...).
    Source: Girshick, "Fast R-CNN", 2015, arXiv:1504.08083.
    """

    types = ("SmoothL1Loss",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for the differences and for f."""
        size = count(self.op.bottoms[0])
        return {
            "difference": ArraySpec((size,)),
            "bent": ArraySpec((size,)),
            "share": ArraySpec(()),
        }

    def setup(self) -> None:
        """View everything as one row."""
        rows = [bottom.reshape(-1) for bottom in self.bottoms]
        self._pair, self._weights = rows[:2], rows[2:]
        self._gradients = [
            None if gradient is None else gradient.reshape(-1)
            for gradient in self.dbottoms[:2]
        ]
        if len(self.tops) > 1:
            items, _, *inner = self.tops[1].shape
            self._terms = self.work["bent"].reshape(items, -1, math.prod(inner))
            self._losses = self.tops[1].reshape(items, -1)

    def forward(self) -> None:
        """Compute the loss."""
        xp, bent = self.xp, self.work["bent"]
        curvature = self.op.sigma**2
        size = self._difference()
        xp.absolute(size, out=size)
        xp.multiply(size, curvature, out=bent)
        xp.minimum(bent, 1, out=bent)
        xp.multiply(bent, size, out=size)
        xp.square(bent, out=bent)
        xp.multiply(bent, 0.5 / curvature, out=bent)
        xp.subtract(size, bent, out=bent)
        for weight in self._weights[1:]:
            xp.multiply(bent, weight, out=bent)
        if len(self.tops) > 1:
            xp.sum(self._terms, axis=1, out=self._losses)
        xp.sum(bent, out=self.y)
        xp.multiply(self.y, 1 / self.op.divisor, out=self.y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute da and db."""
        xp, slope, share = self.xp, self._difference(), self.work["share"]
        xp.multiply(slope, self.op.sigma**2, out=slope)
        xp.clip(slope, -1, 1, out=slope)
        for weight in self._weights:
            xp.multiply(slope, weight, out=slope)
        xp.multiply(self.dy, 1 / self.op.divisor, out=share)
        xp.multiply(slope, share, out=slope)
        first, second = self._gradients
        if first is not None:
            xp.copyto(first, slope)
        if second is not None:
            xp.negative(slope, out=second)

    def _difference(self) -> Array:
        difference = self.xp.subtract(*self._pair, out=self.work["difference"])
        for weight in self._weights[:1]:
            self.xp.multiply(difference, weight, out=difference)
        return difference


@register
class HingeLoss(OneGradient[ops.HingeLoss]):
    """The one-versus-all hinge loss.

        m = max(1 - t x, 0), t being 1 for the labelled class and -1 for the others
        L1: loss = sum of m / N;    dx = -dloss t [m > 0] / N
        L2: loss = sum of m^2 / N;  dx = -dloss 2 t m / N

    Shapes: x (N, ...), every item one row of scores, label (N values) -> loss ().
    """

    types = ("HingeLoss",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the margins, kept for the gradient, and the labels."""
        size = count(self.op.bottoms[0])
        return {
            **Labels.arrays(self.op.bottoms[0][0]),
            "margin": ArraySpec((size,), life="saved"),
            "square": ArraySpec((size,)),
            "picked": ArraySpec((self.op.bottoms[0][0],)),
            "share": ArraySpec(()),
        }

    def setup(self) -> None:
        """View the scores as rows."""
        self._batch = max(1, self.op.bottoms[0][0])
        self._flat_x = self.x.reshape(-1)
        rows = self.x.reshape(len(self.x), count(self.x.shape, 1))
        self._labels = Labels(self, rows, None)
        if self.dx is not None:
            self._flat_dx = self.dx.reshape(-1)

    def forward(self) -> None:
        """Compute the margins and the loss."""
        xp, margin, picked = self.xp, self.work["margin"], self.work["picked"]
        index = self._labels.index
        self._labels.read()
        xp.add(self._flat_x, 1, out=margin)
        self.backend.gather(self._flat_x, index, picked)
        xp.subtract(1, picked, out=picked)
        xp.multiply(picked, self._labels.weight, out=picked)
        self.backend.scatter(picked, index, margin)
        xp.maximum(margin, 0, out=margin)
        terms = margin
        if self.op.norm == "L2":
            terms = xp.square(margin, out=self.work["square"])
        xp.sum(terms, out=self.y)
        xp.multiply(self.y, 1 / self._batch, out=self.y)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        xp, share, picked = self.xp, self.work["share"], self.work["picked"]
        dx, index = self._flat_dx, self._labels.index
        if self.op.norm == "L1":
            xp.sign(self.work["margin"], out=dx)
            factor = 1 / self._batch
        else:
            xp.copyto(dx, self.work["margin"])
            factor = 2 / self._batch
        self.backend.gather(dx, index, picked)
        xp.negative(picked, out=picked)
        self.backend.scatter(picked, index, dx)
        xp.multiply(self.dy, factor, out=share)
        xp.multiply(dx, share, out=dx)


@register
class MultinomialLogisticLoss(OneGradient[ops.MultinomialLogisticLoss]):
    """The logistic loss of probabilities against labels.

        p = max(x[label], 1e-20);  loss = -(sum of log(p)) / N
        dx = -dloss / (N p) at the labels, else 0

    `SoftmaxWithLoss` on scores is more accurate than this on probabilities.

    Shapes: x (N, ...), every item seen as one row, label (N values) -> loss ().
    """

    types = ("MultinomialLogisticLoss",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the labels and a value for each."""
        size = self.op.bottoms[0][0]
        return {**Labels.arrays(size), "picked": ArraySpec((size,))}

    def setup(self) -> None:
        """View the probabilities as rows."""
        self._batch = max(1, self.op.bottoms[0][0])
        self._flat_x = self.x.reshape(-1)
        rows = self.x.reshape(len(self.x), count(self.x.shape, 1))
        self._labels = Labels(self, rows, None)
        if self.dx is not None:
            self._flat_dx = self.dx.reshape(-1)

    def forward(self) -> None:
        """Compute the loss."""
        xp, picked = self.xp, self.work["picked"]
        self._labels.read()
        self._pick()
        xp.log(picked, out=picked)
        xp.multiply(picked, self._labels.weight, out=picked)
        xp.sum(picked, out=self.y)
        xp.multiply(self.y, -1 / self._batch, out=self.y)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        xp, picked = self.xp, self.work["picked"]
        self._pick()
        xp.divide(self._labels.weight, picked, out=picked)
        xp.multiply(picked, self.dy, out=picked)
        xp.multiply(picked, -1 / self._batch, out=picked)
        xp.copyto(self._flat_dx, 0)
        self.backend.scatter(picked, self._labels.index, self._flat_dx)

    def _pick(self) -> None:
        picked = self.work["picked"]
        self.backend.gather(self._flat_x, self._labels.index, picked)
        self.xp.maximum(picked, LEAST_PROBABILITY, out=picked)
