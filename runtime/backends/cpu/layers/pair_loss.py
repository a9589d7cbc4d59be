"""Losses that compare two blobs element by element, on compiled kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from netspec.ops import loss as ops
from netspec.ops.base import count
from runtime.arrays import Array, ArraySpec
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.mapping import map_kernel
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.cpu.machine.summing import chunks_of, join_sums, sum_kernel
from runtime.backends.cpu.machine.vector_math import (
    Value,
    absolute,
    at_least,
    at_most,
    sigmoid,
    softplus,
    where,
)
from runtime.backends.layer_kernel import LayerKernel
from runtime.layers.base import OpT

summed = partial(sum_kernel, module=__name__)
gradient = partial(map_kernel, output="dx", module=__name__)


class PairLoss(LayerKernel[OpT]):
    """A loss that is a sum over elements."""

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the sums of chunks."""
        chunks = chunks_of(count(self.op.bottoms[0]))
        return {"totals": ArraySpec((1, chunks), "float64")}

    def _sizes(self) -> dict[str, int]:
        size = self.x.size
        units = chunks_of(size)
        return {"rows": 1, "size": size, "serial": few(size), "units": units}

    def _joined(self, factor: float, divisor: float = 1.0, **more: Array | int) -> Call:
        """Return the call that makes the loss of the sums of chunks."""
        known = {"counted": 0, "inverse": 0, **more}
        return join_sums(
            totals=self.work["totals"],
            y=self.y,
            rows=1,
            chunks=chunks_of(self.x.size),
            factor=factor,
            divisor=divisor,
            serial=True,
            **known,
        )


# ---------------------------------------------------------------- targets


def _counts(t: Value, low: Value, high: Value) -> Value:
    """Return 0 for targets between two bounds, which are ignored, else 1."""
    return where(t >= low, where(t <= high, t.constant(0.0), 1.0), 1.0)


def _cross_entropy(x: Value, t: Value, low: Value, high: Value) -> Value:
    return (softplus(x) - x * t) * _counts(t, low, high)


def _cross_entropy_gradient(
    x: Value, t: Value, dloss: Value, inverse: Value, low: Value, high: Value
) -> Value:
    return (sigmoid(x) - t) * (dloss * inverse) * _counts(t, low, high)


cross_entropy = summed("cross_entropy", _cross_entropy, inputs=2)
targets_that_count = summed("targets_that_count", _counts)
cross_entropy_gradient = gradient(
    "cross_entropy_gradient", _cross_entropy_gradient, inputs=2, scalars=2
)


class SigmoidCrossEntropyLoss(PairLoss[ops.SigmoidCrossEntropyLoss]):
    """The logistic loss of independent targets; see the portable kernel."""

    options = ("ignore_label", "normalization", "fixed")

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the sums of chunks, and for 1 / divisor."""
        specs = {**super().arrays(), "inverse": ArraySpec((1,), life="state")}
        if self._counts:
            specs["counted"] = specs["totals"]
        return specs

    @property
    def _counts(self) -> bool:
        """Whether the divisor is the number of targets that count."""
        op = self.op
        return op.normalization == "VALID" and op.ignore_label is not None

    def _bounds(self) -> dict[str, float]:
        """Return the least and the largest of the targets that are ignored."""
        label = self.op.ignore_label
        if label is None:
            return {"low": math.inf, "high": -math.inf}
        number, one = np.float32(label), np.float32(1)
        above = np.nextafter(number + one, np.float32(-math.inf))
        below = np.nextafter(number - one, np.float32(math.inf))
        low = float(number if label > 0 else below)
        return {"low": low, "high": float(number if label < 0 else above)}

    def forward_calls(self) -> list[Call]:
        """Compute the loss."""
        op, size, bounds, sizes = self.op, self.x.size, self._bounds(), self._sizes()
        target, totals = self.bottoms[1], self.work["totals"]
        calls = [cross_entropy(x=self.x, t=target, totals=totals, **bounds, **sizes)]
        counted = self.work.get("counted", 0)
        if self._counts:
            calls.append(
                targets_that_count(t=target, totals=counted, **bounds, **sizes)
            )
        divisors = {"BATCH_SIZE": op.bottoms[0][0], "NONE": 1, "PRE_FIXED": op.fixed}
        divisor = max(1.0, divisors.get(op.normalization, size))
        inverse = self.work["inverse"]
        calls.append(self._joined(1.0, divisor, counted=counted, inverse=inverse))
        return calls

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        return [
            cross_entropy_gradient(
                x=self.x,
                t=self.bottoms[1],
                dx=self.dx,
                count=self.dx.size,
                dloss=self.dy,
                inverse=self.work["inverse"],
                serial=few(self.dx.size),
                **self._bounds(),
            )
        ]


# ---------------------------------------------------------------- distances


def _squared_difference(a: Value, b: Value) -> Value:
    return (a - b) * (a - b)


def _difference(a: Value, b: Value, dloss: Value, factor: Value) -> Value:
    return (a - b) * (dloss * factor)


squared_difference = summed("squared_difference", _squared_difference, inputs=2)
difference = gradient("difference", _difference, inputs=2, scalars=1)


class EuclideanLoss(PairLoss[ops.EuclideanLoss]):
    """Half the squared distance; see the portable kernel."""

    def forward_calls(self) -> list[Call]:
        """Compute the loss."""
        a, b = self.bottoms
        totals = self.work["totals"]
        factor = 0.5 / max(1, self.op.bottoms[0][0])
        return [
            squared_difference(a=a, b=b, totals=totals, **self._sizes()),
            self._joined(factor),
        ]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute da and db."""
        a, b = self.bottoms
        size = a.size
        return [
            difference(
                a=one,
                b=other,
                dx=dx,
                count=size,
                dloss=self.dy,
                factor=1 / max(1, self.op.bottoms[0][0]),
                serial=few(size),
            )
            for dx, (one, other) in zip(self.dbottoms, ((a, b), (b, a)), strict=True)
            if dx is not None
        ]


def _smooth(d: Value, curvature: Value) -> Value:
    size = absolute(d)
    bent = at_most(size * curvature, 1.0)
    return bent * size - bent * bent * (0.5 / curvature)


def _smooth_slope(d: Value, curvature: Value) -> Value:
    return at_most(at_least(d * curvature, -1.0), 1.0)


def _smooth_l1(a: Value, b: Value, curvature: Value) -> Value:
    return _smooth(a - b, curvature)


def _weighted_l1(
    a: Value, b: Value, inside: Value, outside: Value, curvature: Value
) -> Value:
    return _smooth((a - b) * inside, curvature) * outside


def _smooth_l1_gradient(
    a: Value, b: Value, dloss: Value, curvature: Value, factor: Value
) -> Value:
    return _smooth_slope(a - b, curvature) * (dloss * factor)


def _weighted_l1_gradient(
    a: Value,
    b: Value,
    inside: Value,
    outside: Value,
    dloss: Value,
    curvature: Value,
    factor: Value,
) -> Value:
    slope = _smooth_slope((a - b) * inside, curvature)
    return slope * inside * outside * (dloss * factor)


smooth_l1 = summed("smooth_l1", _smooth_l1, inputs=2)
weighted_l1 = summed("weighted_l1", _weighted_l1, inputs=4)
smooth_l1_gradient = gradient(
    "smooth_l1_gradient", _smooth_l1_gradient, inputs=2, scalars=1
)
weighted_l1_gradient = gradient(
    "weighted_l1_gradient", _weighted_l1_gradient, inputs=4, scalars=1
)


class SmoothL1Loss(PairLoss[ops.SmoothL1Loss]):
    """The rounded absolute difference; see the portable kernel."""

    options = ("sigma", "divisor")

    @classmethod
    def suits(cls, op: ops.SmoothL1Loss) -> bool:
        """Whether the loss is a single number, with both weights or none."""
        return len(op.tops) == 1 and len(op.bottoms) in (2, 4)

    def _known(self) -> dict[str, Any]:
        names = ("a", "b", "inside", "outside")
        arrays = dict(zip(names, self.bottoms, strict=False))
        return {**arrays, "curvature": self.op.sigma**2}

    def forward_calls(self) -> list[Call]:
        """Compute the loss."""
        chosen = smooth_l1 if len(self.bottoms) == 2 else weighted_l1
        totals = self.work["totals"]
        return [
            chosen(totals=totals, **self._known(), **self._sizes()),
            self._joined(1 / self.op.divisor),
        ]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute da and db."""
        plain = len(self.bottoms) == 2
        chosen = smooth_l1_gradient if plain else weighted_l1_gradient
        size = self.x.size
        return [
            chosen(
                dx=dx,
                count=size,
                dloss=self.dy,
                factor=sign / self.op.divisor,
                serial=few(size),
                **self._known(),
            )
            for dx, sign in zip(self.dbottoms[:2], (1, -1), strict=True)
            if dx is not None
        ]
