"""SoftmaxWithLoss on compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from netspec.ops.base import count
from netspec.ops.softmax import SoftmaxWithLoss as SoftmaxWithLossOp
from runtime.arrays import ArraySpec
from runtime.backends.cpu.layers.softmax import softmax_call
from runtime.backends.cpu.machine.compiled import Call, carray, helper, kernel
from runtime.backends.cpu.machine.simd import f32, f64, i64
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.layer_kernel import LayerKernel
from runtime.layers._labels import MAX_LABEL, bad_label
from runtime.layers.softmax import SMALLEST_NORMAL

ZERO: Any = np.float32(0)
ONE: Any = np.float32(1)
NAN: Any = np.float32(np.nan)
LEAST: Any = np.float32(SMALLEST_NORMAL)
CHUNK = 4096  # labels whose losses are summed by one thread
BLOCK = 256  # places whose gradients are computed class by class
NO_IGNORED_LABEL = np.iinfo(np.int64).min
NO_LABEL = NO_IGNORED_LABEL + 1  # of what is no number; it is not ignored


@helper
def cut(value: float) -> int:
    """Return a label cut to an integer, NO_LABEL for what cannot be cut."""
    return int(value) if abs(value) < MAX_LABEL else NO_LABEL


_LOSS = (
    "p labels loss state totals found outer classes inner ignored valid_only",
    "divisor",
)


@helper
def _finish(a: Any, chunks: int) -> None:
    """Join what was found in the chunks; see `log_loss`."""
    totals, found, state = f64(a.totals), i64(a.found), i64(a.state)
    total, counted = 0.0, 0
    state[0] = -1
    for chunk in range(chunks):
        total += totals[chunk]
        counted += found[2 * chunk]
        if state[0] < 0:
            state[0] = found[2 * chunk + 1]
    divisor = max(1.0, np.float64(counted) if a.valid_only != 0 else a.divisor)
    f32(a.state + 8)[0] = np.float32(divisor)
    # What was no label spoils the loss, so that no update follows in the same list.
    f32(a.loss)[0] = np.float32(total / divisor) if state[0] < 0 else NAN


@kernel(*_LOSS)
def log_loss(record: Any, part: int, parts: int) -> None:
    """Compute the sums of chunks of places, and the loss where there is only one.

    Fields:
        p: (outer, classes, inner), the probabilities.
        labels: float32 (outer, inner).
        loss: (1,).
        state: int64 (2,), gets the place of the first bad label or -1, and the
            divisor, a float32.
        totals: float64 (chunks,), the losses of chunks.
        found: int64 (chunks, 2), the labels that count, and the first bad place or -1.
        ignored: the label that does not count.
        valid_only: 1 to divide by the number of labels that count.
        divisor: what to divide by otherwise.
    """
    a = carray(record, 1)[0]
    p, labels, found = f32(a.p), f32(a.labels), i64(a.found)
    places = a.outer * a.inner
    chunks = (places + CHUNK - 1) // CHUNK
    for chunk in range(chunks * part // parts, chunks * (part + 1) // parts):
        total, counted, bad = 0.0, 0, -1
        for place in range(chunk * CHUNK, min(places, (chunk + 1) * CHUNK)):
            label = cut(labels[place])
            if label == a.ignored:
                continue
            if label < 0 or label >= a.classes:
                bad = place if bad < 0 else bad
                continue
            counted += 1
            first = place // a.inner * a.classes
            likely = p[(first + label) * a.inner + place % a.inner]
            total -= np.log(LEAST if likely < LEAST else likely)
        f64(a.totals)[chunk] = total
        found[2 * chunk], found[2 * chunk + 1] = counted, bad
    if chunks == 1 and part == parts - 1:
        _finish(a, 1)


@kernel(*_LOSS)
def log_loss_sum(record: Any, part: int, parts: int) -> None:
    """Compute the loss of several chunks; see `log_loss`."""
    a = carray(record, 1)[0]
    _finish(a, (a.outer * a.inner + CHUNK - 1) // CHUNK)


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


@kernel("p labels dloss state dx weights outer classes inner ignored")
def log_loss_gradient_across(record: Any, part: int, parts: int) -> None:
    """Do as `log_loss_gradient` with the classes on the middle axis.

    weights: (outer, inner), gets what every place counts.
    """
    a = carray(record, 1)[0]
    share = f32(a.dloss)[0] / f32(a.state + 8)[0]
    blocks = (a.inner + BLOCK - 1) // BLOCK
    units = a.outer * blocks
    for unit in range(units * part // parts, units * (part + 1) // parts):
        item, first = unit // blocks, unit % blocks * BLOCK
        count = min(BLOCK, a.inner - first)
        at = 4 * (item * a.inner + first)
        labels, weights = f32(a.labels + at), f32(a.weights + at)
        for i in range(count):
            weights[i] = ZERO if cut(labels[i]) == a.ignored else share
        at = 4 * (item * a.classes * a.inner + first)
        for c in range(a.classes):
            p = f32(a.p + at + 4 * c * a.inner)
            dx = f32(a.dx + at + 4 * c * a.inner)
            for i in range(count):
                dx[i] = p[i] * weights[i]
        for i in range(count):
            label = cut(labels[i])
            if weights[i] != 0 and 0 <= label < a.classes:
                place = at + 4 * (label * a.inner + i)
                f32(a.dx + place)[0] = (f32(a.p + place)[0] - ONE) * share


class SoftmaxWithLoss(LayerKernel[SoftmaxWithLossOp]):
    """The logistic loss of rows of scores; see the portable kernel."""

    refused_spoils = True
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
        """Whether there is anything, and classes count alike."""
        return op.plain and count(op.bottoms[0]) > 0

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the probabilities, and for what backward has to know."""
        scores, axis = self.op.bottoms[0], self.op.axis
        places = count(scores) // scores[axis]
        chunks = -(-places // CHUNK)
        specs = {
            "state": ArraySpec((2,), "int64", life="state"),
            "totals": ArraySpec((chunks,), "float64"),
            "found": ArraySpec((chunks, 2), "int64"),
        }
        if count(scores, axis + 1) > 1 and self.node.backward:
            specs["weights"] = ArraySpec((places,))
        if len(self.op.tops) == 1:
            specs["p"] = ArraySpec(scores, life="saved")
        return specs

    def setup(self) -> None:
        """Work out the sizes."""
        scores, axis = self.op.bottoms[0], self.op.axis
        ignored = self.op.ignore_label
        self._sizes = {
            "outer": count(scores, 0, axis),
            "classes": scores[axis],
            "inner": count(scores, axis + 1),
        }
        self._ignored = NO_IGNORED_LABEL if ignored is None else ignored
        self._p = self.tops[1] if len(self.tops) > 1 else self.work["p"]

    def forward_calls(self) -> list[Call]:
        """Compute p and the loss."""
        sizes = self._sizes
        places = sizes["outer"] * sizes["inner"]
        divisors = {
            "NONE": 1.0,
            "PRE_FIXED": self.op.fixed,
            "BATCH_SIZE": float(sizes["outer"]),
        }
        known = {
            "p": self._p,
            "labels": self.bottoms[1],
            "loss": self.y,
            "state": self.work["state"],
            "totals": self.work["totals"],
            "found": self.work["found"],
            "ignored": self._ignored,
            "valid_only": self.op.normalization == "VALID",
            "divisor": divisors.get(self.op.normalization, float(places)),
            **sizes,
        }
        calls = [
            softmax_call(self.op.bottoms[0], self.op.axis, x=self.x, p=self._p),
            log_loss(**known, serial=places <= CHUNK),
        ]
        if places > CHUNK:
            calls.append(log_loss_sum(**known, serial=True))
        return [*calls[:-1], replace(calls[-1], check=self._check)]

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
        known = {
            "p": self._p,
            "labels": self.bottoms[1],
            "dloss": self.dy,
            "state": self.work["state"],
            "dx": self.dx,
            "ignored": self._ignored,
            "classes": self._sizes["classes"],
            "serial": few(self.dx.size),
        }
        outer, inner = self._sizes["outer"], self._sizes["inner"]
        if inner == 1:
            return [log_loss_gradient(rows=outer, **known)]
        weights = self.work["weights"]
        return [
            log_loss_gradient_across(outer=outer, inner=inner, weights=weights, **known)
        ]
