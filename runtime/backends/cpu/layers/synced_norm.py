"""BatchNorm and BN by statistics over all ranks, on compiled kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netspec.ops import Op
from netspec.ops.base import count
from netspec.ops.batch_norm import ChannelNorm
from runtime.arrays import Array, ArraySpec
from runtime.backends.cpu.layers.channel_norm import (
    CHUNK,
    derive,
    finish,
    gradient_sums,
    statistics,
)
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.roots import inverse_root
from runtime.backends.cpu.machine.simd import copy, f32, f64
from runtime.backends.cpu.machine.sizes import few
from runtime.layers.base import Bound, Kernel

ZERO: Any = np.float32(0)
ONE: Any = np.float32(1)
LOWEST: Any = np.float32("-inf")


@kernel("x totals images channels pixels")
def total_values(record: Any, part: int, parts: int) -> None:
    """Sum every channel and its squares.

    Fields:
        x: (images, channels, pixels).
        totals: float64 (2 channels + 1,), the sums, those of squares, and how many
            values a channel has.
    """
    a = carray(record, 1)[0]
    totals, step = f64(a.totals), 4 * a.channels * a.pixels
    values = np.float64(a.images * a.pixels)
    for c in range(a.channels * part // parts, a.channels * (part + 1) // parts):
        mean, variance = 0.0, 0.0
        if values > 0:
            at = a.x + 4 * c * a.pixels
            mean, variance = statistics(at, a.images, step, a.pixels)
        totals[c] = mean * values
        totals[a.channels + c] = (variance + mean * mean) * values
    if part == 0:
        totals[2 * a.channels] = values


@kernel(
    "totals mean inverse values means variances weight channels unbiased",
    "eps fraction share",
)
def settle_statistics(record: Any, part: int, parts: int) -> None:
    """Turn sums over all ranks into statistics, and update the remembered ones.

    Fields:
        totals: as of `total_values`, of all ranks together.
        mean, inverse: (channels,), get the mean and 1 / sqrt(var + eps).
        values: float64 (1,), gets how many values a channel has.
        means, variances, weight, fraction, share: as of `normalize`.
        unbiased: 1 where variances are remembered without bias.
    """
    a = carray(record, 1)[0]
    totals, fraction, share = f64(a.totals), np.float32(a.fraction), np.float32(a.share)
    count = totals[2 * a.channels]
    for c in range(a.channels):
        measured = totals[c] / count
        spread_out = totals[a.channels + c] / count - measured * measured
        spread_out = 0.0 if spread_out < 0 else spread_out
        mean, variance = np.float32(measured), np.float32(spread_out)
        f32(a.mean)[c] = mean
        f32(a.inverse)[c] = inverse_root(variance + np.float32(a.eps))
        if a.means != 0:
            if a.unbiased != 0 and count > 1:
                variance *= np.float32(count / (count - 1))
            f32(a.means)[c] = f32(a.means)[c] * fraction + mean * share
            f32(a.variances)[c] = f32(a.variances)[c] * fraction + variance * share
    f64(a.values)[0] = count
    if a.weight != 0:
        f32(a.weight)[0] = f32(a.weight)[0] * fraction + ONE


@kernel("x y kept mean inverse gamma beta images channels pixels")
def normalize_by(record: Any, part: int, parts: int) -> None:
    """Compute y = (x - mean) inverse gamma + beta of every channel.

    Fields: as of `normalize`, but that mean and inverse are read.
    """
    a = carray(record, 1)[0]
    step = 4 * a.channels * a.pixels
    for c in range(a.channels * part // parts, a.channels * (part + 1) // parts):
        at = 4 * c * a.pixels
        mean, factor = f32(a.mean)[c], f32(a.inverse)[c]
        if a.gamma != 0:
            factor *= f32(a.gamma)[c]
        bias = f32(a.beta)[c] if a.beta != 0 else ZERO
        if a.kept != 0:
            for n in range(a.images):
                copy(a.kept + at + n * step, a.x + at + n * step, a.pixels)
        line = (mean, factor, bias)
        finish(a.x + at, a.y + at, 0, a.images, step, a.pixels, line, LOWEST)


@kernel(
    "dy x mean inverse dgamma dbeta totals images channels pixels "
    "accumulate_gamma accumulate_beta"
)
def total_gradients(record: Any, part: int, parts: int) -> None:
    """Sum dy and dy times what was normalized, of every channel.

    Fields:
        dy, x: (images, channels, pixels).
        mean, inverse: (channels,), the mean and 1 / sqrt(var + eps).
        dgamma, dbeta: (channels,), get these sums, or 0 where they are not wanted.
        totals: float64 (2 channels,), gets both.
        accumulate_gamma, accumulate_beta: 1 where dgamma, dbeta are added to.
    """
    a = carray(record, 1)[0]
    step, totals = 4 * a.channels * a.pixels, f64(a.totals)
    together = max(1, CHUNK // max(1, a.pixels))
    for c in range(a.channels * part // parts, a.channels * (part + 1) // parts):
        at, line = 4 * c * a.pixels, (f32(a.mean)[c], ONE, ZERO)
        total, product = 0.0, 0.0
        for n in range(0, a.images, together):
            rows = min(together, a.images - n)
            for i in range(0, a.pixels, CHUNK):
                start, length = at + n * step + 4 * i, min(CHUNK, a.pixels - i)
                one, two = gradient_sums(
                    a.dy + start, a.x + start, rows, step, length, line, 1
                )
                total += one
                product += two
        product *= f32(a.inverse)[c]
        if a.dgamma != 0:
            before = f32(a.dgamma)[c] if a.accumulate_gamma != 0 else ZERO
            f32(a.dgamma)[c] = before + np.float32(product)
        if a.dbeta != 0:
            before = f32(a.dbeta)[c] if a.accumulate_beta != 0 else ZERO
            f32(a.dbeta)[c] = before + np.float32(total)
        totals[c] = total
        totals[a.channels + c] = product


@kernel("dy x dx mean inverse gamma totals values images channels pixels")
def derive_by(record: Any, part: int, parts: int) -> None:
    """Compute dx from the sums of all ranks.

    dx = gamma inverse (dy - (sum of dy) / n - normal (sum of dy normal) / n)

    Fields:
        dy, x, dx: (images, channels, pixels); dx may be dy.
        mean, inverse, gamma: as of `normalize_by`.
        totals: as of `total_gradients`, of all ranks together.
        values: float64 (1,), how many values a channel has.
    """
    a = carray(record, 1)[0]
    step, totals, values = 4 * a.channels * a.pixels, f64(a.totals), f64(a.values)[0]
    for c in range(a.channels * part // parts, a.channels * (part + 1) // parts):
        at = 4 * c * a.pixels
        inverse = f32(a.inverse)[c]
        factor = inverse * f32(a.gamma)[c] if a.gamma != 0 else inverse
        slope = -factor * inverse * np.float32(totals[a.channels + c] / values)
        shift = -factor * np.float32(totals[c] / values)
        line = (f32(a.mean)[c], ONE, ZERO)
        terms = (factor, slope, shift)
        dy, x, dx = a.dy + at, a.x + at, a.dx + at
        derive(dy, x, dx, a.images, step, a.pixels, line, 1, terms)


class CompiledSyncedNorm(Kernel[ChannelNorm]):
    """See `runtime.layers.batch_norm.SyncedNorm`, which is the oracle.

    It has no calls, as the ranks meet in the midst of it, and joins no layer behind it.
    """

    @classmethod
    def suits(cls, op: Op) -> bool:
        """Whether it has one top."""
        return len(op.tops) == 1

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for statistics that stay until the gradient, for sums, and for x."""
        channels = self.op.channels
        specs = {
            "mean": ArraySpec((channels,), life="state"),
            "inverse": ArraySpec((channels,), life="state"),
            "values": ArraySpec((1,), "float64", life="state"),
            "totals": ArraySpec((2 * channels + 1,), "float64"),
        }
        if self.node.backward and not self.op.reads_bottom:
            specs["x"] = ArraySpec(self.op.bottoms[0], life="saved")
        return specs

    def bind(self, bound: Bound) -> None:
        """Take the arrays and prepare every view that the steps need."""
        super().bind(bound)
        self._ranks: Any = self.context.ranks
        self._programs: dict[Any, Callable[[], None]] = {}
        self._totals = self.work["totals"]

    def _run(self, name: Any, calls: Callable[[], list[Call]]) -> None:
        if name not in self._programs:
            self._programs[name] = self.backend.runner(calls())
        self._programs[name]()

    @property
    def _sizes(self) -> dict[str, int]:
        x = self.op.bottoms[0]
        return {"images": x[0], "channels": self.op.channels, "pixels": count(x, 2)}

    @property
    def _statistics(self) -> dict[str, Array]:
        return {"mean": self.work["mean"], "inverse": self.work["inverse"]}

    def _of(self, slot: int | None, arrays: Sequence[Array | None]) -> Array | int:
        """Return the array of a slot; 0 stands for what there is none of."""
        found = None if slot is None else arrays[slot]
        return 0 if found is None else found

    def forward(self) -> None:
        """Compute y, and update what is stored."""
        if not self.again:
            self._run("total", self._total_calls)
            self._ranks.sum(self._totals)
            self._run("settle", self._settle_calls)
        self._run("normalize", self._normalize_calls)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute the wanted gradients."""
        flags = tuple(accumulate)
        self._run(flags, lambda: self._gradient_calls(flags))
        if self.dx is not None:
            self._ranks.sum(self._totals[:-1])
            self._run("derive", self._derive_calls)

    def _total_calls(self) -> list[Call]:
        x, serial = self.x, few(self.x.size)
        return [total_values(x=x, totals=self._totals, serial=serial, **self._sizes)]

    def _settle_calls(self) -> list[Call]:
        op, slots = self.op, self.op.slots
        if not op.remembers:
            means = variances = weight = 0
        else:
            means, variances, weight = (
                self._of(slot, self.params)
                for slot in (slots.mean, slots.variance, slots.weight)
            )
        return [
            settle_statistics(
                totals=self._totals,
                **self._statistics,
                values=self.work["values"],
                means=means,
                variances=variances,
                weight=weight,
                channels=op.channels,
                unbiased=op.unbiased,
                eps=op.eps,
                fraction=op.keep if op.remembers else 0.0,
                share=op.share if op.remembers else 0.0,
                serial=True,
            )
        ]

    def _normalize_calls(self) -> list[Call]:
        kept = self.work.get("x", 0)
        return [
            normalize_by(
                x=self.x,
                y=self.y,
                kept=0 if kept is self.x else kept,
                **self._statistics,
                gamma=self._of(self.op.slots.gamma, self.params),
                beta=self._of(self.op.slots.beta, self.params),
                serial=few(self.x.size),
                **self._sizes,
            )
        ]

    def _gradient_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        slots = self.op.slots
        gamma, beta = (
            slot is not None and accumulate[slot] for slot in (slots.gamma, slots.beta)
        )
        return [
            total_gradients(
                dy=self.dy,
                x=self.work.get("x", self.x),
                **self._statistics,
                dgamma=self._of(slots.gamma, self.dparams),
                dbeta=self._of(slots.beta, self.dparams),
                totals=self._totals,
                accumulate_gamma=gamma,
                accumulate_beta=beta,
                serial=few(self.dy.size),
                **self._sizes,
            )
        ]

    def _derive_calls(self) -> list[Call]:
        return [
            derive_by(
                dy=self.dy,
                x=self.work.get("x", self.x),
                dx=self.dx,
                **self._statistics,
                gamma=self._of(self.op.slots.gamma, self.params),
                totals=self._totals,
                values=self.work["values"],
                serial=few(self.dy.size),
                **self._sizes,
            )
        ]
