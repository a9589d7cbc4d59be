"""Online hard example mining: losses of every item, and which regions are kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.errors import SpecError
from netspec.ops import ohem as ops
from netspec.ops.base import bottom_name, count, label
from runtime.arrays import Array, ArraySpec
from runtime.layers._host import HostCopies
from runtime.layers._labels import Divisor
from runtime.layers.base import Kernel, register
from runtime.layers.softmax import SoftmaxWithLoss


@register
class SmoothL1LossOHEM(Kernel[ops.SmoothL1LossOHEM]):
    """A loss that is quadratic near 0 and linear far away, and that of every item.

        d = w (a - b);  f(d) = d^2 / 2 where |d| < 1, else |d| - 1 / 2
        loss = (sum of f) / divisor;  losses = sums of f over channels
        da = dloss clip(d, -1, 1) w / divisor;  db = -da

    The divisor is explained at `Divisor`; FULL and VALID count positions. R-FCN's code
    leaves w out of da, which is the same for weights of 0 and 1.

    Shapes: a, b, w (N, C, ...) -> loss (), losses (N, 1, ...).
    """

    types = ("SmoothL1LossOHEM",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for the differences and their terms."""
        size = count(self.op.bottoms[0])
        return {
            **Divisor.arrays(),
            "difference": ArraySpec((size,)),
            "part": ArraySpec((size,)),
            "share": ArraySpec(()),
        }

    def setup(self) -> None:
        """View everything as one row, and the terms by channel."""
        shape = self.op.bottoms[0]
        self._pair = [bottom.reshape(-1) for bottom in self.bottoms[:2]]
        self._weights = [bottom.reshape(-1) for bottom in self.bottoms[2:]]
        self._gradients = [
            None if gradient is None else gradient.reshape(-1)
            for gradient in self.dbottoms[:2]
        ]
        inner = count(shape, 2)
        channels = shape[1] if len(shape) > 1 else 1
        self._terms = self.work["difference"].reshape(shape[0], channels, inner)
        if len(self.tops) > 1:
            self._losses = self.tops[1].reshape(shape[0], inner)
        self._divisor = Divisor(
            self,
            self.op.normalization,
            None,
            size=shape[0] * inner,
            batch=shape[0],
            pre_fixed=self.op.fixed,
        )

    def forward(self) -> None:
        """Compute the loss, with c = min(|d|, 1) as c (|d| - c / 2)."""
        xp, difference, part = self.xp, self._difference(), self.work["part"]
        xp.absolute(difference, out=difference)
        xp.minimum(difference, 1, out=part)
        xp.multiply(difference, part, out=difference)
        xp.square(part, out=part)
        xp.multiply(part, 0.5, out=part)
        xp.subtract(difference, part, out=difference)
        xp.sum(difference, out=self.y)
        xp.divide(self.y, self._divisor.value, out=self.y)
        if len(self.tops) > 1:
            xp.sum(self._terms, axis=1, out=self._losses)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute da and db."""
        xp, slope, share = self.xp, self._difference(), self.work["share"]
        xp.clip(slope, -1, 1, out=slope)
        for weight in self._weights:
            xp.multiply(slope, weight, out=slope)
        xp.divide(self.dy, self._divisor.value, out=share)
        xp.multiply(slope, share, out=slope)
        first, second = self._gradients
        if first is not None:
            xp.copyto(first, slope)
        if second is not None:
            xp.negative(slope, out=second)

    def _difference(self) -> Array:
        difference = self.xp.subtract(*self._pair, out=self.work["difference"])
        for weight in self._weights:
            self.xp.multiply(difference, weight, out=difference)
        return difference


@register
class SoftmaxWithLossOHEM(SoftmaxWithLoss):
    """The logistic loss of scores against class labels, and that of every label.

        p = softmax(x);  losses = -log(p[label]);  loss = (sum of losses) / divisor

    The gradient is that of SoftmaxWithLoss. Ignored labels have a loss of 0.

    Shapes: x (O..., C, I...) with C on `axis`, label (O, I values) -> loss (), p (like
    x), losses (like label).
    """

    types = ("SoftmaxWithLossOHEM",)

    def setup(self) -> None:
        """View the losses as one row."""
        super().setup()
        if len(self.tops) > 2:
            self._losses = self.tops[2].reshape(-1)

    def forward(self) -> None:
        """Compute p, the losses and their sum."""
        super().forward()
        if len(self.tops) > 2:
            self.xp.negative(self.work["picked"], out=self._losses)


@register
class BoxAnnotatorOHEM(Kernel[ops.BoxAnnotatorOHEM]):
    """Labels and weights of the regions with the largest losses of every image.

        the roi_per_img regions of an image with the largest losses keep theirs;
        for the others labels = ignore_label, weights = 0

    Of equal losses the first counts. The order is found on the host.

    Shapes: regions (R, 5, ...), loss (R, 1, ...), labels (R, 1, ...), weights (R, C,
    ...) -> labels, weights. Source: Shrivastava and others, 2016, arXiv:1604.03540.
    """

    types = ("BoxAnnotatorOHEM",)

    def setup(self) -> None:
        """Make room for copies where blobs are elsewhere."""
        self._host = HostCopies(self)

    def forward(self) -> None:
        """Choose the regions."""
        regions, losses, labels, weights = map(self._host.read, self.bottoms)
        inner = count(regions.shape, 2)
        images = regions.reshape(-1, 5, inner)[:, 0].reshape(-1)
        losses = losses.reshape(-1)
        self._check(images, losses)
        left = np.ones(len(losses), bool)
        for image in np.unique(np.trunc(images)):
            own = np.flatnonzero(np.trunc(images) == image)
            order = np.argsort(-losses[own], kind="stable")
            left[own[order[: self.op.roi_per_img]]] = False
        kept_labels, kept_weights = map(self._host.room, self.tops)
        kept_labels[...] = labels
        kept_labels.reshape(-1)[left] = self.op.ignore_label
        rows = kept_weights.reshape(len(weights), -1, inner)
        rows[...] = weights.reshape(rows.shape)
        n, place = np.nonzero(left.reshape(len(weights), inner))
        rows[n, :, place] = 0
        for top in self.tops:
            self._host.write(top)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Do nothing: which regions are kept has no gradient."""

    def _check(self, *arrays: np.ndarray) -> None:
        for index, array in enumerate(arrays):
            if np.isnan(array).any():
                place = int(np.isnan(array).argmax())
                raise SpecError(
                    f"{bottom_name(self.op.layer, index)} holds nan for region "
                    f"{place}; look at whether training diverged",
                    layer=label(self.op.layer),
                )
