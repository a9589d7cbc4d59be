"""Class labels, as the losses and Accuracy read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from netspec.errors import SpecError
from netspec.ops.base import Op, Shape, bottom_name, count, label
from runtime.arrays import Array, ArraySpec
from runtime.layers.base import Kernel

# Where ignore_label stands, by type of layer, if not in loss_param.
_IGNORING = {"Accuracy": "accuracy_param", "SegAccuracy": "seg_accuracy_param"}
MAX_LABEL = 2.0**62  # what is not below it is no label, and may be no int64


def positions(shape: Shape, axis: int) -> int:
    """Return how many labels scores of `shape` need: all positions beside `axis`."""
    return count(shape, 0, axis) * count(shape, axis + 1)


def by_class(array: Array, axis: int) -> Array:
    """View scores with their classes on axis 1.

    Shapes: (O..., C, I...) with C on `axis` -> (O, C, I), or (O, C) where I is 1: there
    sums over the classes run along memory.
    """
    shape = array.shape
    outer, inner = count(shape, 0, axis), count(shape, axis + 1)
    if inner == 1:
        return array.reshape(outer, shape[axis])
    return array.reshape(outer, shape[axis], inner)


def across_classes(array: Array, scores: Array) -> Array:
    """View one value a position so that it broadcasts over the classes of `scores`.

    Shapes: array (O * I), scores as `by_class` gives them -> (O, 1, I) or (O, 1).
    """
    return array.reshape((scores.shape[0], 1, *scores.shape[2:]))


def bad_label(
    op: Op, value: float, place: int, classes: int, ignored: Sequence[int]
) -> SpecError:
    """Return the error for a label that is no class, with what to do."""
    layer = op.layer
    ignore = f", or {' or '.join(map(str, ignored))} to be ignored" if ignored else ""
    shown = f"{int(value)}" if math.isfinite(value) else f"{value}"
    holds = f"{bottom_name(layer, 1)} holds the label {shown} at place {place}"
    classes_of = f"the classes of {bottom_name(layer, 0)}{ignore}"
    if classes == 0:
        fault = f"{holds}; but there are no classes: look at the shape of "
        fault += bottom_name(layer, 0)
    else:
        fault = f"{holds}; expected 0 to {classes - 1}, {classes_of}"
        fault += _ways(op, value, classes, ignored)
    return SpecError(fault, layer=label(layer))


def _ways(op: Op, value: float, classes: int, ignored: Sequence[int]) -> str:
    """Return what to do about a label, for the end of a message."""
    if not abs(value) < MAX_LABEL:
        return "; look at where the labels come from"
    layer, number, ways = op.layer, int(value), []
    if hasattr(op, "ignored") or (not ignored and hasattr(op, "ignore_label")):
        message = _IGNORING.get(layer.type, "loss_param")
        field = f"{message} {{ ignore_label: {number} }}"
        ways.append(f"if {number} marks what does not count, add {field}")
    if number >= classes:
        ways.append(
            f"give the layer that makes {layer.bottom[0]!r} num_output: {number + 1} "
            f"or more, as labels count from 0"
        )
    else:
        ways.append("labels count from 0")
    return f"; {'; else '.join(ways)}"


class Labels:
    """The labels of one kernel as integers, with what they are worth.

    Labels are cut to integers, so 1.9 is class 1. `weight` is 1 for a label that counts
    and 0 for an ignored one. A label that is no class is an error, as is one that is no
    number; on a device that is not waited for, its weight is NaN instead, and so are
    the loss and the gradients.

    Shapes: values (P) int64, weight (P), index (P) int64: the places of the labelled
    scores in the flattened scores.
    """

    def __init__(
        self,
        kernel: Kernel[Any],
        scores: Array,
        ignore_label: int | Sequence[int] | None,
    ) -> None:
        self._kernel = kernel
        self._xp = kernel.xp
        self._classes = scores.shape[1]
        if ignore_label is None or isinstance(ignore_label, int):
            ignore_label = () if ignore_label is None else (ignore_label,)
        self._ignored = ignore_label
        self._source = kernel.bottoms[1].reshape(-1)
        self._bad, self._high = kernel.work["bad"], kernel.work["high"]
        self._strange = kernel.work["strange"]
        self.values, self.weight = kernel.work["labels"], kernel.work["weight"]
        self.index = kernel.work["index"]
        self._inner = count(scores.shape, 2)
        step = self._classes * self._inner
        starts = self._xp.arange(scores.shape[0], dtype="int64").reshape(-1, 1) * step
        inside = self._xp.arange(self._inner, dtype="int64")
        self._base = (starts + inside).reshape(-1)

    @staticmethod
    def arrays(size: int) -> dict[str, ArraySpec]:
        """Return the arrays that a kernel with `size` labels must ask for."""
        return {
            "labels": ArraySpec((size,), "int64", life="saved"),
            "index": ArraySpec((size,), "int64", life="saved"),
            "weight": ArraySpec((size,), life="saved"),
            "bad": ArraySpec((size,), "bool"),
            "high": ArraySpec((size,), "bool"),
            "strange": ArraySpec((size,), "bool"),
        }

    def read(self) -> None:
        """Read the labels of this pass and check them."""
        xp, values, weight, bad = self._xp, self.values, self.weight, self._bad
        self._check_numbers()
        xp.copyto(values, self._source, casting="unsafe")
        xp.less(values, 0, out=bad)
        xp.greater_equal(values, self._classes, out=self._high)
        xp.logical_or(bad, self._high, out=bad)
        weight.fill(1)
        for ignored in self._ignored:
            xp.not_equal(values, ignored, out=self._high)
            xp.multiply(weight, self._high, out=weight)
        if self._ignored:
            xp.logical_and(bad, weight, out=bad)
        xp.logical_or(bad, self._strange, out=bad)
        if self._kernel.backend.anywhere(bad):
            raise self._error()
        xp.copyto(weight, float("nan"), where=bad)
        xp.clip(values, 0, self._classes - 1, out=values)
        xp.multiply(values, self._inner, out=self.index)
        xp.add(self.index, self._base, out=self.index)

    def _check_numbers(self) -> None:
        """Find what cannot be cut to an integer: NaN, infinities, huge numbers."""
        xp, strange = self._xp, self._strange
        xp.absolute(self._source, out=self.weight)
        xp.less(self.weight, MAX_LABEL, out=strange)
        xp.logical_not(strange, out=strange)
        if self._kernel.backend.anywhere(strange):
            xp.copyto(self._bad, strange)
            raise self._error()

    def _error(self) -> SpecError:
        place = int(self._bad.argmax())
        value = float(self._source[place])
        return bad_label(self._kernel.op, value, place, self._classes, self._ignored)


class Divisor:
    """What a loss is divided by, never less than 1.

    VALID: the labels that count; FULL: all labels; BATCH_SIZE: the items of the batch;
    NONE: 1; PRE_FIXED: `pre_fixed`. `weight` is 1 for a label that counts, and None
    where all of them do.

    Shapes: weight (size) -> value ().
    """

    def __init__(
        self,
        kernel: Kernel[Any],
        normalization: str,
        weight: Array | None,
        *,
        size: int,
        batch: int,
        pre_fixed: float = 1,
    ) -> None:
        self._xp = kernel.xp
        self._weight = weight if normalization == "VALID" else None
        self.value = kernel.work["divisor"]
        fixed: dict[str, float]
        fixed = {"FULL": size, "VALID": size, "BATCH_SIZE": batch, "NONE": 1}
        fixed["PRE_FIXED"] = pre_fixed
        self.value.fill(max(1, fixed[normalization]))

    @staticmethod
    def arrays() -> dict[str, ArraySpec]:
        """Return the array that a kernel must ask for."""
        return {"divisor": ArraySpec((), life="state")}

    def update(self) -> None:
        """Count anew, where what counts differs from pass to pass."""
        if self._weight is not None:
            self._xp.sum(self._weight, out=self.value)
            self._xp.maximum(self.value, 1, out=self.value)
