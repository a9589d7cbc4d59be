"""Accuracy: the share of labels among the best scores."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ops.accuracy import Accuracy as AccuracyOp
from runtime.arrays import Array, ArraySpec
from runtime.layers._labels import Labels, across_classes, by_class, positions
from runtime.layers.base import Kernel, register


@register
class Accuracy(Kernel[AccuracyOp]):
    """The share of positions whose label is among the `top_k` best classes.

        right = fewer than top_k other classes score at least what the label scores
        y = number of right labels / number of labels that count, or 0 for none

    Ties thus count against the label. A second top has the share a class, 0 for classes
    that no label names. There is no gradient.

    Shapes: x (O..., C, I...) with C on `axis`, label (O, I values) -> y (), and (C,).
    """

    types = ("Accuracy",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for labels, a mask over the scores and a few values a label."""
        scores, axis = self.op.bottoms[0], self.op.axis
        size = positions(scores, axis)
        specs = {
            **Labels.arrays(size),
            "picked": ArraySpec((size,)),
            "mask": ArraySpec(scores, "bool"),
            "rivals": ArraySpec((size,), "int64"),
            "right": ArraySpec((size,)),
            "total": ArraySpec(()),
        }
        if len(self.op.tops) > 1:
            specs["hits"] = ArraySpec(scores)
            specs["seen"] = ArraySpec((scores[axis],))
        return specs

    def setup(self) -> None:
        """View everything with the classes on axis 1."""
        axis = self.op.axis
        self._x, self._flat_x = by_class(self.x, axis), self.x.reshape(-1)
        self._mask = by_class(self.work["mask"], axis)
        self._labels = Labels(self, self._x, self.op.ignore_label)
        self._picked = across_classes(self.work["picked"], self._x)
        self._rivals = across_classes(self.work["rivals"], self._x)
        self._right = across_classes(self.work["right"], self._x)
        if len(self.tops) > 1:
            classes = self.xp.arange(self._x.shape[1], dtype="int64")
            self._classes = classes.reshape((1, -1, 1)[: self._x.ndim])
            self._values = across_classes(self._labels.values, self._x)
            self._weight = across_classes(self._labels.weight, self._x)
            self._hits = by_class(self.work["hits"], axis)
            self._other_axes = (0, 2)[: self._x.ndim - 1]

    def forward(self) -> None:
        """Count the right labels."""
        xp, labels, right = self.xp, self._labels, self.work["right"]
        labels.read()
        self.backend.gather(self._flat_x, labels.index, self.work["picked"])
        xp.greater_equal(self._x, self._picked, out=self._mask)
        xp.sum(self._mask, axis=1, keepdims=True, dtype="int64", out=self._rivals)
        # The label itself is among those that score at least as much.
        xp.less_equal(self.work["rivals"], self.op.top_k, out=right)
        xp.multiply(right, labels.weight, out=right)
        self._share(right, labels.weight)
        if len(self.tops) > 1:
            self._share_by_class()

    def _share(self, right: Array, weight: Array) -> None:
        xp, total = self.xp, self.work["total"]
        xp.sum(weight, out=total)
        xp.maximum(total, 1, out=total)
        xp.sum(right, out=self.y)
        xp.divide(self.y, total, out=self.y)

    def _share_by_class(self) -> None:
        xp, seen = self.xp, self.work["seen"]
        xp.equal(self._values, self._classes, out=self._mask)
        xp.multiply(self._mask, self._weight, out=self._hits)
        xp.sum(self._hits, axis=self._other_axes, out=seen)
        xp.maximum(seen, 1, out=seen)
        xp.multiply(self._mask, self._right, out=self._hits)
        xp.sum(self._hits, axis=self._other_axes, out=self.tops[1])
        xp.divide(self.tops[1], seen, out=self.tops[1])

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Never called: there is no gradient."""
