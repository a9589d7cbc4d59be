"""SegAccuracy: how well a segmentation is, of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ops import seg_accuracy as ops
from runtime.arrays import ArraySpec
from runtime.layers._labels import Labels, by_class, positions
from runtime.layers.base import Kernel, register


@register
class SegAccuracy(Kernel[ops.SegAccuracy]):
    """Accuracy, mean recall and mean Jaccard index of the best class a pixel.

        n[t, p] += 1 for every pixel of label t whose best class is p
        y = (sum_t n[t, t] / sum n, mean n[t, t] / n[t, :],
             mean n[t, t] / (n[t, :] + n[:, t] - n[t, t]))

    n starts at 0 with every pass, or with the first one without `reset`; a resumed run
    starts at 0. Recall is over the classes that have labels. A class that is neither
    label nor best counts 1 in the Jaccard index. Of equal scores the last class is the
    best. Where nothing counts, accuracy and recall are 0. There is no gradient.

    Shapes: scores (N, C, ...), label (N, 1, ...) -> y (1, 1, 1, 3).
    Source: DeepLab v2 and PSPNet.
    """

    types = ("SegAccuracy",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the matrix, in doubles that count up to 2^53, and for its sums."""
        size, classes = positions(self.op.bottoms[0], 1), self.op.bottoms[0][1]
        sums = ArraySpec((classes,), "float64")
        return {
            **Labels.arrays(size),
            "best": ArraySpec((size,), "int64"),
            "top": ArraySpec((size,)),
            "better": ArraySpec((size,), "bool"),
            "counted": ArraySpec((size,), "float64"),
            "matrix": ArraySpec((classes * classes,), "float64", life="state"),
            **dict.fromkeys(("labelled", "found", "part"), sums),
            "seen": ArraySpec((classes,), "bool"),
            "total": ArraySpec((1,), "float64"),
            "three": ArraySpec((3,), "float64"),
        }

    def setup(self) -> None:
        """View the scores class by class, and the matrix as such."""
        work, x = self.work, by_class(self.x, 1)
        classes = x.shape[1]
        self._classes = classes
        self._scores = [x[:, number] for number in range(classes)]
        self._best, self._top, self._better = (
            work[name].reshape(self._scores[0].shape)
            for name in ("best", "top", "better")
        )
        self._labels = Labels(self, x, self.op.ignored)
        self._matrix = work["matrix"].reshape(classes, classes)
        self._right = work["matrix"][:: classes + 1]
        self._y = self.y.reshape(3)
        self._measures = [work["three"][at : at + 1] for at in range(3)]

    def go_on_from(self, other: Kernel[ops.SegAccuracy]) -> None:
        """Count on where there are as many classes as before."""
        old, new = other.work["matrix"], self.work["matrix"]
        if old.shape == new.shape:
            new[...] = old
        else:
            new.fill(0)

    def forward(self) -> None:
        """Count the pixels and measure."""
        xp, work, labels = self.xp, self.work, self._labels
        labels.read()
        self._best.fill(0)
        xp.copyto(self._top, self._scores[0])
        for number, scores in enumerate(self._scores[1:], 1):
            xp.greater_equal(scores, self._top, out=self._better)
            xp.copyto(self._top, scores, where=self._better)
            xp.copyto(self._best, number, where=self._better)
        xp.multiply(labels.values, self._classes, out=labels.index)
        xp.add(labels.index, work["best"], out=labels.index)
        xp.copyto(work["counted"], labels.weight)
        if self.op.reset:
            work["matrix"].fill(0)
        xp.add.at(work["matrix"], labels.index, work["counted"])
        self._measure()
        xp.copyto(self._y, work["three"], casting="same_kind")

    def _measure(self) -> None:
        xp, work, right = self.xp, self.work, self._right
        labelled, found, part = work["labelled"], work["found"], work["part"]
        seen, total = work["seen"], work["total"]
        accuracy, recall, jaccard = self._measures
        xp.sum(self._matrix, axis=1, out=labelled)
        xp.sum(self._matrix, axis=0, out=found)
        xp.sum(labelled, keepdims=True, out=total)
        xp.maximum(total, 1, out=total)
        xp.sum(right, keepdims=True, out=accuracy)
        xp.divide(accuracy, total, out=accuracy)
        xp.maximum(labelled, 1, out=part)
        xp.divide(right, part, out=part)
        xp.sum(part, keepdims=True, out=recall)
        xp.greater(labelled, 0, out=seen)
        xp.sum(seen, keepdims=True, dtype="float64", out=total)
        xp.maximum(total, 1, out=total)
        xp.divide(recall, total, out=recall)
        xp.add(labelled, found, out=part)
        xp.subtract(part, right, out=part)
        xp.equal(part, 0, out=seen)
        xp.add(part, seen, out=part)
        xp.add(right, seen, out=found)
        xp.divide(found, part, out=part)
        xp.sum(part, keepdims=True, out=jaccard)
        xp.divide(jaccard, self._classes, out=jaccard)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Never called: there is no gradient."""
