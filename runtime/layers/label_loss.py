"""Losses of scores against class labels, beside SoftmaxWithLoss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from netspec.errors import FileError, ShapeError
from netspec.ops import loss as ops
from netspec.ops.base import count, label
from netspec.schema import BlobProto
from runtime.layers.base import ArraySpec, Kernel, register
from runtime.layers.labels import Divisor, Labels, across_classes, by_class, places
from runtime.layers.softmax import softmax

# The least probability that is divided by or whose log is taken.
LEAST_PROBABILITY = 1e-20


@register
class HingeLoss(Kernel[ops.HingeLoss]):
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
        self._batch = self.op.bottoms[0][0]
        self._flat_x = self.x.reshape(-1)
        rows = self.x.reshape(self._batch, self._flat_x.size // self._batch)
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

    def backward(self, accumulate: Sequence[bool]) -> None:
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
class MultinomialLogisticLoss(Kernel[ops.MultinomialLogisticLoss]):
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
        self._batch = self.op.bottoms[0][0]
        self._flat_x = self.x.reshape(-1)
        rows = self.x.reshape(self._batch, self._flat_x.size // self._batch)
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

    def backward(self, accumulate: Sequence[bool]) -> None:
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


@register
class InfogainLoss(Kernel[ops.InfogainLoss]):
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
        size, classes = places(shape, self.op.axis), shape[self.op.axis]
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
            specs["matrix"] = ArraySpec((classes, classes), life="state")
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
            self, op.normalization, weight, size=weight.size, batch=self._x.shape[0]
        )
        outer, classes = self._x.shape[:2]
        if len(self.bottoms) > 2:
            self._matrix = self.bottoms[2].reshape(classes, classes)
        else:
            self._matrix = self.work["matrix"]
            self.backend.upload(self._read_matrix(classes), out=self._matrix)
        self._rows = self.work["rows"]  # (O * I, C), seen as (O, C, I):
        if self._x.ndim == 3:
            self._rows = self._rows.reshape(outer, -1, classes).transpose(0, 2, 1)
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

    def backward(self, accumulate: Sequence[bool]) -> None:
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
        where = f"{label(self.op.layer)}: infogain_loss_param.source {source!r}"
        try:
            blob.ParseFromString(Path(source).read_bytes())
        except OSError as error:
            raise FileError(f"{where} cannot be read: {error.strerror}") from error
        except DecodeError as error:
            raise FileError(f"{where} is not a BlobProto in binary form") from error
        values = np.asarray(blob.data or blob.double_data, dtype=np.float32)
        if values.size != classes * classes:
            raise ShapeError(
                f"{where} holds {values.size} values; expected {classes} x {classes}, "
                f"a row a class"
            )
        return values.reshape(classes, classes)
