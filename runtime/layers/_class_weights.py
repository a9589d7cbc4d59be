"""What an item of SoftmaxWithLoss weighs, by its class."""

from __future__ import annotations

import numpy as np

from netspec.ops.softmax import SoftmaxWithLoss
from runtime.arrays import Array, ArraySpec
from runtime.layers._labels import Labels
from runtime.layers.base import Kernel


class ClassWeights:
    """The weights of the labels of one kernel: 0 for an ignored one.

        class_weighting  w[label], as given
        by_frequency     1 / (labels of this class in the batch)
        neither          1

    Source: SegNet's fork, `loss_param { weight_by_label_freqs class_weighting }`.

    Shapes: value (P), a weight for every label.
    """

    def __init__(self, kernel: Kernel[SoftmaxWithLoss], labels: Labels) -> None:
        self._xp, self._backend, self._labels = kernel.xp, kernel.backend, labels
        self._counts = kernel.op.by_frequency
        self._weighs = self._counts or bool(kernel.op.class_weighting)
        self.value = labels.weight
        if not self._weighs:
            return
        self.value = kernel.work["item weight"]
        self._classes = kernel.work["class weight"]
        if kernel.op.class_weighting:
            weights = np.array(kernel.op.class_weighting, str(self._classes.dtype))
            self._backend.upload(weights, out=self._classes)
        size = self._classes.shape[0]
        self._single = [self._classes[c : c + 1].reshape(()) for c in range(size)]

    @staticmethod
    def arrays(op: SoftmaxWithLoss, size: int) -> dict[str, ArraySpec]:
        """Return the arrays that a kernel with `size` labels must ask for."""
        if not (op.by_frequency or op.class_weighting):
            return {}
        return {
            "item weight": ArraySpec((size,), life="saved"),
            "class weight": ArraySpec((op.bottoms[0][op.axis],), life="state"),
        }

    def update(self) -> Array:
        """Return the weights of the labels that have just been read."""
        if not self._weighs:
            return self.value
        xp, labels, value = self._xp, self._labels, self.value
        if self._counts:
            for number, total in enumerate(self._single):
                xp.equal(labels.values, number, out=value)
                xp.multiply(value, labels.weight, out=value)
                xp.sum(value, out=total)
            xp.maximum(self._classes, 1, out=self._classes)
            xp.divide(1, self._classes, out=self._classes)
        self._backend.gather(self._classes, labels.values, value)
        xp.multiply(value, labels.weight, out=value)
        return value
