"""SoftmaxWithLoss on compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from netspec.ops.base import count
from netspec.ops.softmax import SoftmaxWithLoss as SoftmaxWithLossOp
from runtime.arrays import ArraySpec
from runtime.backends.cpu.machine.compiled import Call, carray, helper, kernel
from runtime.backends.cpu.machine.simd import f32, i64
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.layer_kernel import LayerKernel
from runtime.layers._labels import MAX_LABEL, bad_label
from runtime.layers.softmax import SMALLEST_NORMAL

ZERO: Any = np.float32(0)
ONE: Any = np.float32(1)
LEAST: Any = np.float32(SMALLEST_NORMAL)
NO_IGNORED_LABEL = np.iinfo(np.int64).min
NO_LABEL = NO_IGNORED_LABEL + 1  # of what is no number; it is not ignored


@kernel("x p rows classes")
def softmax(record: Any, part: int, parts: int) -> None:
    """Compute p = exp(x - max) / (sum of exp(x - max)) of every row.

    Shapes: x, p (rows, classes).
    """
    a = carray(record, 1)[0]
    for row in range(a.rows * part // parts, a.rows * (part + 1) // parts):
        x, p = f32(a.x + 4 * row * a.classes), f32(a.p + 4 * row * a.classes)
        highest = x[0]
        for c in range(1, a.classes):
            highest = x[c] if x[c] > highest else highest
        total = ZERO
        for c in range(a.classes):
            value = np.exp(x[c] - highest)
            p[c] = value
            total += value
        for c in range(a.classes):
            p[c] /= total


@helper
def cut(value: float) -> int:
    """Return a label cut to an integer, NO_LABEL for what cannot be cut."""
    return int(value) if abs(value) < MAX_LABEL else NO_LABEL


@kernel("p labels loss state rows classes ignored valid_only", "divisor")
def log_loss(record: Any, part: int, parts: int) -> None:
    """Compute the loss of all rows.

    Fields:
        p: (rows, classes), the probabilities.
        labels: float32 (rows,).
        loss: (1,).
        state: int64 (2,), gets the row of the first bad label or -1, and the divisor,
            a float32.
        ignored: the label that does not count.
        valid_only: 1 to divide by the number of labels that count.
        divisor: what to divide by otherwise.
    """
    a = carray(record, 1)[0]
    p, labels, state = f32(a.p), f32(a.labels), i64(a.state)
    total, counted = 0.0, 0
    state[0] = -1
    for row in range(a.rows):
        label = cut(labels[row])
        if label == a.ignored:
            continue
        if label < 0 or label >= a.classes:
            if state[0] < 0:
                state[0] = row
            continue
        counted += 1
        likely = p[row * a.classes + label]
        total -= np.log(LEAST if likely < LEAST else likely)
    divisor = max(1.0, np.float64(counted) if a.valid_only != 0 else a.divisor)
    f32(a.state + 8)[0] = np.float32(divisor)
    f32(a.loss)[0] = np.float32(total / divisor)


@kernel("p labels dloss state dx rows classes ignored")
def log_loss_gradient(record: Any, part: int, parts: int) -> None:
    """Compute dx = dloss (p - [class is the label]) / divisor, 0 for ignored labels.

    Shapes: dx (rows, classes), dloss (1,); for the others see `log_loss`.
    """
    a = carray(record, 1)[0]
    share = f32(a.dloss)[0] / f32(a.state + 8)[0]
    for row in range(a.rows * part // parts, a.rows * (part + 1) // parts):
        p, dx = f32(a.p + 4 * row * a.classes), f32(a.dx + 4 * row * a.classes)
        label = cut(f32(a.labels)[row])
        if label == a.ignored:
            for c in range(a.classes):
                dx[c] = ZERO
            continue
        for c in range(a.classes):
            dx[c] = p[c] * share
        if 0 <= label < a.classes:
            dx[label] = (p[label] - ONE) * share


class SoftmaxWithLoss(LayerKernel[SoftmaxWithLossOp]):
    """The logistic loss of rows of scores; see the portable kernel."""

    options = (
        "axis",
        "ignore_label",
        "normalization",
        "class_weighting",
        "by_frequency",
        "label_smoothing",
        "fixed",
    )

    @classmethod
    def suits(cls, op: SoftmaxWithLossOp) -> bool:
        """Whether the classes are the last axis, and count alike."""
        scores = op.bottoms[0]
        return op.plain and count(scores) > 0 and count(scores, op.axis + 1) == 1

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the probabilities, and for what backward has to know."""
        specs = {"state": ArraySpec((2,), "int64", life="state")}
        if len(self.op.tops) == 1:
            specs["p"] = ArraySpec(self.op.bottoms[0], life="saved")
        return specs

    def setup(self) -> None:
        """Work out the sizes."""
        scores, axis = self.op.bottoms[0], self.op.axis
        ignored = self.op.ignore_label
        self._sizes = {"rows": count(scores, 0, axis), "classes": scores[axis]}
        self._ignored = NO_IGNORED_LABEL if ignored is None else ignored
        self._p = self.tops[1] if len(self.tops) > 1 else self.work["p"]

    def forward_calls(self) -> list[Call]:
        """Compute p and the loss."""
        divisors = {"NONE": 1.0, "PRE_FIXED": self.op.fixed}
        rows = float(self._sizes["rows"])
        loss = log_loss(
            p=self._p,
            labels=self.bottoms[1],
            loss=self.y,
            state=self.work["state"],
            ignored=self._ignored,
            valid_only=self.op.normalization == "VALID",
            divisor=divisors.get(self.op.normalization, rows),
            serial=True,
            **self._sizes,
        )
        serial = few(self.x.size)
        return [
            softmax(x=self.x, p=self._p, serial=serial, **self._sizes),
            replace(loss, check=self._check),
        ]

    def _check(self) -> None:
        row = int(self.work["state"][0])
        if row >= 0:
            value = float(self.bottoms[1].reshape(-1)[row])
            label = self.op.ignore_label
            ignored = () if label is None else (label,)
            raise bad_label(self.op, value, row, self._sizes["classes"], ignored)

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        return [
            log_loss_gradient(
                p=self._p,
                labels=self.bottoms[1],
                dloss=self.dy,
                state=self.work["state"],
                dx=self.dx,
                ignored=self._ignored,
                serial=few(self.dx.size),
                **self._sizes,
            )
        ]
