"""Softmax, and the logistic losses on top of it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
from google.protobuf.message import DecodeError

from netspec.errors import FileError, ShapeError
from netspec.ops import softmax as ops
from netspec.ops.base import label
from netspec.ops.loss import InfogainLoss as InfogainLossOp
from netspec.schema import BlobProto
from runtime.arrays import Array, ArraySpec, once
from runtime.layers._class_weights import ClassWeights
from runtime.layers._gradient import OneGradient
from runtime.layers._labels import Divisor, Labels, across_classes, by_class, positions
from runtime.layers.base import register

SMALLEST_NORMAL = 1.17549435e-38  # of float32; the least probability whose log is taken
LEAST_PROBABILITY = 1e-20  # the same for InfogainLoss


def softmax(xp: ModuleType, x: Array, out: Array, edge: Array) -> None:
    """Compute out = exp(x - max) / (sum of exp(x - max)) over the classes, axis 1.

    Shapes: x, out (O, C, I) or (O, C), maybe the same array; edge (O, 1, I) or (O, 1).
    """
    if not x.size:
        return  # no classes have no maximum
    xp.max(x, axis=1, keepdims=True, out=edge)
    xp.subtract(x, edge, out=out)
    xp.exp(out, out=out)
    xp.sum(out, axis=1, keepdims=True, out=edge)
    xp.divide(out, edge, out=out)


@register
class Softmax(OneGradient[ops.Softmax]):
    """Scores to probabilities along one axis.

        y = exp(x) / (sum of exp(x))
        dx = y (dy - sum of dy y)

    The maximum is subtracted first, so that no exponential overflows.

    Shapes: x (O..., C, I...) -> y (same), C on `axis`.
    """

    types = ("Softmax",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for a value a place, and for a product."""
        shape = self.op.tops[0]
        return {
            "edge": ArraySpec((positions(shape, self.op.axis),)),
            "product": ArraySpec(shape),
        }

    def setup(self) -> None:
        """View everything with the classes on axis 1."""
        axis = self.op.axis
        self._x, self._y = once(lambda a: by_class(a, axis), self.x, self.y)
        self._product = by_class(self.work["product"], axis)
        self._edge = across_classes(self.work["edge"], self._x)
        if self.dx is not None:
            self._dx, self._dy = once(lambda a: by_class(a, axis), self.dx, self.dy)

    def forward(self) -> None:
        """Compute y."""
        softmax(self.xp, self._x, self._y, self._edge)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        xp = self.xp
        xp.multiply(self._dy, self._y, out=self._product)
        xp.sum(self._product, axis=1, keepdims=True, out=self._edge)
        xp.subtract(self._dy, self._edge, out=self._dx)
        xp.multiply(self._dx, self._y, out=self._dx)


@register
class SoftmaxWithLoss(OneGradient[ops.SoftmaxWithLoss]):
    """The logistic loss of scores against class labels.

        p = softmax(x);  loss = -(sum of log(p[label])) / divisor
        dx = dloss (p - [class is the label]) / divisor

    Ignored labels add nothing to either. A probability below the smallest normal number
    counts as that number in the loss, and as it is in the gradient. The divisor is
    explained at `Divisor`.

    With weights w of the classes (SegNet; see `ClassWeights`) and label_smoothing s
    (Intel Caffe, whose own loss leaves s out of the value but not of the gradient):

        q_k = 1 - s at the label, s / C elsewhere
        loss = -(sum of w[label] q_k log(p_k)) / divisor
        dx_k = dloss w[label] (p_k (sum of q) - q_k) / divisor

    Weights do not count in the divisor.

    Shapes: x (O..., C, I...) with C on `axis`, label (O, I values) -> loss (), and p
    (like x) where there is a second top.
    """

    types = ("SoftmaxWithLoss",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the probabilities, the labels and room for a value a label."""
        size = positions(self.op.bottoms[0], self.op.axis)
        specs = {
            **Labels.arrays(size),
            **Divisor.arrays(),
            "edge": ArraySpec((size,)),
            "picked": ArraySpec((size,)),
            **ClassWeights.arrays(self.op, size),
        }
        if self.op.label_smoothing:
            specs["logs"] = ArraySpec(self.op.bottoms[0])
        if len(self.op.tops) == 1:
            specs["p"] = ArraySpec(self.op.bottoms[0], life="saved")
        return specs

    def setup(self) -> None:
        """View everything with the classes on axis 1."""
        axis = self.op.axis
        p = self.tops[1] if len(self.tops) > 1 else self.work["p"]
        self._x, self._p = by_class(self.x, axis), by_class(p, axis)
        self._flat_p = p.reshape(-1)
        self._edge = across_classes(self.work["edge"], self._p)
        self._labels = Labels(self, self._p, self.op.ignore_label)
        weight = self._labels.weight
        self._divisor = Divisor(
            self,
            self.op.normalization,
            weight,
            size=weight.size,
            batch=self._p.shape[0],
            pre_fixed=self.op.fixed,
        )
        self._weights = ClassWeights(self, self._labels)
        # q beside the label; without classes the labels are refused.
        self._rest = self.op.label_smoothing / max(1, self._p.shape[1])
        if self._rest:
            self._logs = by_class(self.work["logs"], axis)
        if self.dx is not None:
            self._dx, self._flat_dx = by_class(self.dx, axis), self.dx.reshape(-1)

    def forward(self) -> None:
        """Compute p and the loss."""
        xp, picked, labels = self.xp, self.work["picked"], self._labels
        softmax(xp, self._x, self._p, self._edge)
        labels.read()
        self._divisor.update()
        weight = self._weights.update()
        self.backend.gather(self._flat_p, labels.index, picked)
        xp.maximum(picked, SMALLEST_NORMAL, out=picked)
        xp.log(picked, out=picked)
        if self._rest:
            self._smooth(picked)
        xp.multiply(picked, weight, out=picked)
        xp.sum(picked, out=self.y)
        xp.negative(self.y, out=self.y)
        xp.divide(self.y, self._divisor.value, out=self.y)

    def _smooth(self, picked: Array) -> None:
        """Make sums of q log(p) of the logarithms at the labels."""
        xp, sums = self.xp, self.work["edge"]
        xp.maximum(self._p, SMALLEST_NORMAL, out=self._logs)
        xp.log(self._logs, out=self._logs)
        xp.sum(self._logs, axis=1, keepdims=True, out=self._edge)
        xp.multiply(picked, 1 - self.op.label_smoothing - self._rest, out=picked)
        xp.multiply(sums, self._rest, out=sums)
        xp.add(picked, sums, out=picked)

    def gradient(self, dx: Array) -> None:
        """Compute dx: p times the share of its place, but p - 1 at the labels.

        With smoothing that is p (sum of q) - q, q being 0 and 1 without.
        """
        xp, picked, labels = self.xp, self.work["picked"], self._labels
        share, rest = self.work["edge"], self._rest
        xp.multiply(self._weights.value, self.dy, out=share)
        xp.divide(share, self._divisor.value, out=share)
        self._weigh(share)
        if rest:
            xp.multiply(self._p, 1 - rest, out=self._dx)
            xp.subtract(self._dx, rest, out=self._dx)
            xp.multiply(self._dx, self._edge, out=self._dx)
        else:
            xp.multiply(self._p, self._edge, out=self._dx)
        self.backend.gather(self._flat_p, labels.index, picked)
        if rest:
            xp.multiply(picked, 1 - rest, out=picked)
        xp.subtract(picked, 1 - self.op.label_smoothing, out=picked)
        xp.multiply(picked, share, out=picked)
        self.backend.scatter(picked, labels.index, self._flat_dx)

    def _weigh(self, share: Array) -> None:
        """Weigh what each place counts in the gradient: alike."""


@register
class InfogainLoss(OneGradient[InfogainLossOp]):
    """The logistic loss with a matrix that says how much every confusion weighs.

        p = softmax(x);  loss = -(sum of H[label, k] log(max(p_k, 1e-20))) / divisor
        dx_k = dloss (p_k (sum of H[label]) - H[label, k]) / divisor

    With the identity for H this is SoftmaxWithLoss. The divisor is explained at
    `Divisor`. The gradient of a second top, which holds p, is not looked at.

    Shapes: x (O..., C, I...) with C on `axis`, label (O, I values), H (C, C values) or
    the file `source` -> loss (), and p (like x) where there is a second top.
    """

    types = ("InfogainLoss",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the probabilities, the labels and their rows of H."""
        shape = self.op.bottoms[0]
        size, classes = positions(shape, self.op.axis), shape[self.op.axis]
        specs = {
            **Labels.arrays(size),
            **Divisor.arrays(),
            "edge": ArraySpec((size,)),
            "rows": ArraySpec((size, classes), life="saved"),
            "terms": ArraySpec(shape),
            "sums": ArraySpec((size,)),
            "share": ArraySpec(()),
        }
        if len(self.op.bottoms) == 2:
            specs["matrix"] = ArraySpec(
                (classes, classes), life="state", content="matrix"
            )
        if len(self.op.tops) == 1:
            specs["p"] = ArraySpec(shape, life="saved")
        return specs

    def setup(self) -> None:
        """View everything with the classes on axis 1, and read H."""
        op, axis = self.op, self.op.axis
        p = self.tops[1] if len(self.tops) > 1 else self.work["p"]
        self._x, self._p = by_class(self.x, axis), by_class(p, axis)
        self._terms = by_class(self.work["terms"], axis)
        self._edge = across_classes(self.work["edge"], self._x)
        self._sums = across_classes(self.work["sums"], self._x)
        self._labels = Labels(self, self._x, op.ignore_label)
        weight = self._labels.weight
        self._divisor = Divisor(
            self,
            op.normalization,
            weight,
            size=weight.size,
            batch=self._x.shape[0],
            pre_fixed=op.fixed,
        )
        outer, classes = self._x.shape[:2]
        if len(self.bottoms) > 2:
            self._matrix = self.bottoms[2].reshape(classes, classes)
        else:
            self._matrix = self.work["matrix"]
            self.backend.upload(self._read_matrix(classes), out=self._matrix)
        self._rows = self.work["rows"]  # (O * I, C), seen as (O, C, I):
        if self._x.ndim == 3:
            inner = self._x.shape[2]
            self._rows = self._rows.reshape(outer, inner, classes).transpose(0, 2, 1)
        if self.dx is not None:
            self._dx = by_class(self.dx, axis)

    def forward(self) -> None:
        """Compute p and the loss."""
        xp, rows, terms = self.xp, self.work["rows"], self._terms
        softmax(xp, self._x, self._p, self._edge)
        self._labels.read()
        self._divisor.update()
        self.backend.gather(self._matrix, self._labels.values, rows)
        xp.multiply(rows, self._labels.weight[:, None], out=rows)
        xp.maximum(self._p, LEAST_PROBABILITY, out=terms)
        xp.log(terms, out=terms)
        xp.multiply(terms, self._rows, out=terms)
        xp.sum(terms, out=self.y)
        xp.negative(self.y, out=self.y)
        xp.divide(self.y, self._divisor.value, out=self.y)

    def gradient(self, dx: Array) -> None:
        """Compute dx."""
        xp, dx, share = self.xp, self._dx, self.work["share"]
        xp.sum(self.work["rows"], axis=1, out=self.work["sums"])
        xp.multiply(self._p, self._sums, out=dx)
        xp.subtract(dx, self._rows, out=dx)
        xp.divide(self.dy, self._divisor.value, out=share)
        xp.multiply(dx, share, out=dx)

    def _read_matrix(self, classes: int) -> np.ndarray:
        """Read H from `source`, a BlobProto in binary form."""
        source, blob = self.op.source, BlobProto()
        layer = label(self.op.layer)
        where = f"infogain_loss_param.source {source!r}"
        try:
            blob.ParseFromString(Path(source).read_bytes())
        except OSError as error:
            raise FileError(
                f"{layer}: {where} cannot be read: {error.strerror}"
            ) from error
        except DecodeError as error:
            raise FileError(
                f"{layer}: {where} is not a BlobProto in binary form"
            ) from error
        values = np.asarray(blob.data or blob.double_data, dtype=np.float32)
        if values.size != classes * classes:
            raise ShapeError(
                f"{where} holds {values.size} values; expected {classes} x {classes}, "
                f"a row a class",
                layer=layer,
            )
        return values.reshape(classes, classes)
