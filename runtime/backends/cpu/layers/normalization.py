"""BatchNorm and Scale on compiled kernels, also as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from netspec.ops.base import count
from netspec.ops.batch_norm import BatchNorm as BatchNormOp
from netspec.ops.scale import Scale as ScaleOp
from runtime.arrays import Array, ArraySpec
from runtime.backends.cpu.layers.broadcast import (
    broadcast,
    broadcast_gradient,
    broadcast_sizes,
)
from runtime.backends.cpu.layers.elementwise import copied
from runtime.backends.cpu.machine.compiled import Call, carray, helper, kernel
from runtime.backends.cpu.machine.simd import f32
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.layer_kernel import LayerKernel

ZERO: Any = np.float32(0)
ONE: Any = np.float32(1)
LOWEST = float("-inf")


@helper
def _mean_of(x: Any, images: int, channels: int, pixels: int) -> Any:
    """Return the mean of a channel.

    Args:
        x: floats (images, channels, pixels), from the first plane of the channel on.
        images: planes of the channel.
        channels: planes of an image.
        pixels: elements of a plane.
    """
    total = 0.0
    for n in range(images):
        part = ZERO
        start = n * channels * pixels
        for i in range(pixels):
            part += x[start + i]
        total += part
    return np.float32(total / (images * pixels))


@helper
def _variance_of(x: Any, mean: Any, images: int, channels: int, pixels: int) -> Any:
    """Return the variance of a channel around its mean; see `_mean_of`."""
    total = 0.0
    for n in range(images):
        part = ZERO
        start = n * channels * pixels
        for i in range(pixels):
            part += (x[start + i] - mean) * (x[start + i] - mean)
        total += part
    return np.float32(total / (images * pixels))


@kernel(
    "x y normal inverse means variances weight gamma beta images channels pixels",
    "eps fraction share correction floor",
)
def normalize(record: Any, part: int, parts: int) -> None:
    """Normalize every channel by its own statistics, and update the remembered ones.

    normal = (x - mean) / sqrt(var + eps), y = max(floor, normal gamma + beta).

    Fields:
        x, y, normal: (images, channels, pixels); y may be x.
        inverse: (channels,), gets 1 / sqrt(var + eps).
        means, variances, weight: (channels,), (channels,) and (1,), the remembered
            sums, or 0 where there are none; weight alone may be 0.
        gamma, beta: (channels,), or 0 for ones and zeros.
        fraction: of the remembered sums that stays.
        share: of what is measured that is added to them.
        correction: of the variance, so that it is without bias.
        floor: -inf for none.
    """
    a = carray(record, 1)[0]
    floor, fraction = np.float32(a.floor), np.float32(a.fraction)
    share = np.float32(a.share)
    means, variances, inverses = f32(a.means), f32(a.variances), f32(a.inverse)
    planes = a.channels * a.pixels
    for c in range(a.channels * part // parts, a.channels * (part + 1) // parts):
        at = 4 * c * a.pixels
        x, y, normal = f32(a.x + at), f32(a.y + at), f32(a.normal + at)
        mean = _mean_of(x, a.images, a.channels, a.pixels)
        variance = _variance_of(x, mean, a.images, a.channels, a.pixels)
        inverse = ONE / np.sqrt(variance + np.float32(a.eps))
        inverses[c] = inverse
        if a.means != 0:
            means[c] = means[c] * fraction + mean * share
            variance *= np.float32(a.correction)
            variances[c] = variances[c] * fraction + variance * share
        gamma = f32(a.gamma)[c] if a.gamma != 0 else ONE
        beta = f32(a.beta)[c] if a.beta != 0 else ZERO
        for n in range(a.images):
            for i in range(n * planes, n * planes + a.pixels):
                value = (x[i] - mean) * inverse
                normal[i] = value
                value = value * gamma + beta
                y[i] = floor if value < floor else value
    if part == 0 and a.weight != 0:
        f32(a.weight)[0] = f32(a.weight)[0] * fraction + ONE


@kernel(
    "dy dx normal inverse gamma beta dgamma dbeta images channels pixels rectified "
    "accumulate_gamma accumulate_beta leave_dnormal"
)
def normalize_gradient(record: Any, part: int, parts: int) -> None:
    """Compute the gradients of `normalize`.

    Fields:
        dy, normal: (images, channels, pixels).
        dx: (images, channels, pixels), or 0 where it is not wanted; it may be dy.
        inverse: (channels,), 1 / sqrt(var + eps).
        gamma, beta: (channels,), or 0 for ones and zeros.
        dgamma, dbeta: (channels,), or 0 where they are not wanted.
        rectified: 1 where y is 0 if normal gamma + beta is not positive.
        accumulate_gamma, accumulate_beta: 1 where dgamma, dbeta are added to.
        leave_dnormal: 1 where dy becomes the gradient of `normal`.
    """
    a = carray(record, 1)[0]
    planes, values = a.channels * a.pixels, np.float32(a.images * a.pixels)
    for c in range(a.channels * part // parts, a.channels * (part + 1) // parts):
        at = 4 * c * a.pixels
        dy, dx, normal = f32(a.dy + at), f32(a.dx + at), f32(a.normal + at)
        gamma = f32(a.gamma)[c] if a.gamma != 0 else ONE
        beta = f32(a.beta)[c] if a.beta != 0 else ZERO
        total, product = 0.0, 0.0
        for n in range(a.images):
            sum_of_dy, sum_of_products = ZERO, ZERO
            first = n * planes
            if a.rectified != 0:
                for i in range(first, first + a.pixels):
                    value = dy[i]  # read in any case: so that vectors can be used
                    value = value if normal[i] * gamma + beta > 0 else ZERO
                    sum_of_dy += value
                    sum_of_products += value * normal[i]
            else:
                for i in range(first, first + a.pixels):
                    sum_of_dy += dy[i]
                    sum_of_products += dy[i] * normal[i]
            total += sum_of_dy
            product += sum_of_products
        if a.dgamma != 0:
            before = f32(a.dgamma)[c] if a.accumulate_gamma != 0 else ZERO
            f32(a.dgamma)[c] = before + np.float32(product)
        if a.dbeta != 0:
            before = f32(a.dbeta)[c] if a.accumulate_beta != 0 else ZERO
            f32(a.dbeta)[c] = before + np.float32(total)
        if a.dx == 0:
            continue
        mean, spread = np.float32(total) / values, np.float32(product) / values
        factor = f32(a.inverse)[c] * gamma
        for n in range(a.images):
            first = n * planes
            if a.rectified != 0:
                for i in range(first, first + a.pixels):
                    value = dy[i]  # read in any case: so that vectors can be used
                    value = value if normal[i] * gamma + beta > 0 else ZERO
                    dx[i] = factor * (value - mean - normal[i] * spread)
            else:
                for i in range(first, first + a.pixels):
                    dx[i] = factor * (dy[i] - mean - normal[i] * spread)
            if a.leave_dnormal != 0:
                for i in range(first, first + a.pixels):
                    value = dy[i] * gamma
                    passes = a.rectified == 0 or normal[i] * gamma + beta > 0
                    dy[i] = value if passes else ZERO


@kernel("means variances weight scale shift gamma beta bias channels", "eps")
def remembered(record: Any, part: int, parts: int) -> None:
    """Turn remembered statistics into y = x scale + shift.

    Fields:
        means, variances, weight: the remembered sums, as for `normalize`; without
            means y = gamma x + beta, without a weight they are no sums.
        scale, shift: (channels,), the results.
        gamma, beta: (channels,), of a Scale that follows, or 0.
        bias: (channels,), of a convolution ahead, or 0.
    """
    a = carray(record, 1)[0]
    factor = ONE
    if a.weight != 0:
        weight = f32(a.weight)[0]
        factor = ONE / weight if weight != 0 else ZERO
    for c in range(a.channels):
        scale, shift = ONE, ZERO
        if a.means != 0:
            variance = f32(a.variances)[c] * factor
            scale = ONE / np.sqrt(variance + np.float32(a.eps))
            shift = -f32(a.means)[c] * factor * scale
        if a.bias != 0:
            shift += f32(a.bias)[c] * scale
        if a.gamma != 0:
            shift *= f32(a.gamma)[c]
            scale *= f32(a.gamma)[c]
        if a.beta != 0:
            shift += f32(a.beta)[c]
        f32(a.scale)[c] = scale
        f32(a.shift)[c] = shift


class BatchNorm(LayerKernel[BatchNormOp]):
    """Normalize every channel; see the portable kernel.

    `scale` is the kernel of a Scale in place right behind, and `rectified` says whether
    a ReLU in place follows that; `runtime.backends.cpu.fusion` sets them.
    """

    options: ClassVar[tuple[str, ...]] = (
        *("channels", "use_global_stats", "moving_average_fraction", "eps"),
    )
    scale: Scale | None = None
    rectified = False

    @property
    def folds(self) -> bool:
        """Whether a convolution ahead can do this layer's work with its weights."""
        return self.op.use_global_stats and not self.node.backward

    @property
    def _sizes(self) -> dict[str, int]:
        x = self.op.bottoms[0]
        return {"images": x[0], "channels": self.op.channels, "pixels": count(x, 2)}

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the normalized values that the gradient needs."""
        channels = (self.op.channels,)
        if self.op.use_global_stats:
            return {
                "scale": ArraySpec(channels, life="state", content="remembered"),
                "shift": ArraySpec(channels, life="state", content="remembered"),
            }
        return {
            "inverse": ArraySpec(channels, life="saved"),
            "normal": ArraySpec(self.op.bottoms[0], life="saved"),
        }

    def forward_calls(self) -> list[Call]:
        """Compute y, and update the sums."""
        if self.op.use_global_stats:
            return [self.remember(), self._broadcast(self.x, self.y)]
        return [self._normalize(0, 0, LOWEST)]

    def remember(self, bias: Array | int = 0, *, behind: bool = False) -> Call:
        """Return the call that makes scale and shift; behind: with those of `scale`."""
        means, variances, weight = self._stored()
        gamma, beta = self._gamma_and_beta() if behind else (0, 0)
        return remembered(
            means=means,
            variances=variances,
            weight=weight,
            scale=self.work["scale"],
            shift=self.work["shift"],
            gamma=gamma,
            beta=beta,
            bias=bias,
            channels=self.op.channels,
            eps=self.op.eps,
            serial=True,
            constant=not self.train,
        )

    def _broadcast(self, x: Array, y: Array, *, shift: bool = True) -> Call:
        sizes = self._sizes
        return broadcast(
            x=x,
            y=y,
            scale=self.work["scale"],
            shift=self.work["shift"] if shift else 0,
            outer=sizes["images"],
            covered=sizes["channels"],
            inner=sizes["pixels"],
            serial=few(x.size),
        )

    def _stored(self) -> tuple[Array | int, Array | int, Array | int]:
        """Return the remembered sums; 0 stands for what there is none of."""
        slots = self.op.slots
        means, variances, weight = (
            0 if slot is None else self.params[slot]
            for slot in (slots.mean, slots.variance, slots.weight)
        )
        return means, variances, weight

    def _gamma_and_beta(self) -> tuple[Array | int, Array | int]:
        if self.scale is None:
            return 0, 0
        beta = self.scale.params[1] if self.scale.op.bias_term else 0
        return self.scale.params[0], beta

    def _normalize(self, gamma: Array | int, beta: Array | int, floor: float) -> Call:
        sizes = self._sizes
        values = sizes["images"] * sizes["pixels"]
        op = self.op
        remembers = op.remembers and not self.again
        means, variances, weight = self._stored() if remembers else (0, 0, 0)
        corrected = op.unbiased and values > 1
        return normalize(
            x=self.x,
            y=self.y,
            normal=self.work["normal"],
            inverse=self.work["inverse"],
            means=means,
            variances=variances,
            weight=weight,
            gamma=gamma,
            beta=beta,
            eps=op.eps,
            fraction=op.keep,
            share=op.share,
            correction=values / (values - 1) if corrected else 1.0,
            floor=floor,
            serial=few(self.x.size),
            **sizes,
        )

    def joined_forward(self) -> list[Call]:
        """Return the calls that also do what `scale` and the ReLU do."""
        floor = 0.0 if self.rectified else LOWEST
        return [self._normalize(*self._gamma_and_beta(), floor)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        if self.op.use_global_stats:
            return [self._broadcast(self.dy, self.dx, shift=False)]
        return [self._gradient(0, 0, 0, 0, (False, False), rectified=False)]

    def joined_backward(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that also do what `scale` and the ReLU do backward."""
        gamma, beta = self._gamma_and_beta()
        dgamma = dbeta = None
        if self.scale is not None:
            dgamma = self.scale.dparams[0]
            dbeta = self.scale.dparams[1] if self.scale.op.bias_term else None
        call = self._gradient(
            gamma,
            beta,
            0 if dgamma is None else dgamma,
            0 if dbeta is None else dbeta,
            (accumulate[0], accumulate[-1]),
            rectified=self.rectified,
            leave_dnormal=self.dx is not self.dy,  # that blob is not overwritten
        )
        return [call]

    def _gradient(
        self,
        gamma: Array | int,
        beta: Array | int,
        dgamma: Array | int,
        dbeta: Array | int,
        accumulate: tuple[bool, bool],
        *,
        rectified: bool,
        leave_dnormal: bool = False,
    ) -> Call:
        """Return the call of the gradients; see `normalize_gradient`."""
        return normalize_gradient(
            dy=self.dy,
            dx=0 if self.dx is None else self.dx,
            normal=self.work["normal"],
            inverse=self.work["inverse"],
            gamma=gamma,
            beta=beta,
            dgamma=dgamma,
            dbeta=dbeta,
            rectified=rectified,
            accumulate_gamma=accumulate[0],
            accumulate_beta=accumulate[1],
            leave_dnormal=leave_dnormal,
            serial=few(self.dy.size),
            **self._sizes,
        )


class Scale(LayerKernel[ScaleOp]):
    """Multiply by a parameter that is broadcast; see the portable kernel.

    `behind` is the kernel of a BatchNorm that this layer follows in place: what it
    normalized is this layer's x, so that no copy is needed.
    """

    options = ("axis", "scale_shape", "bias_term")
    behind: BatchNorm | None = None

    @classmethod
    def suits(cls, op: ScaleOp) -> bool:
        """Whether the scale is a parameter."""
        return len(op.bottoms) == 1

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for a copy of x where y is written over it."""
        if not self._keeps or self.behind is not None:
            return {}
        return {"x": ArraySpec(self.op.bottoms[0], life="saved")}

    @property
    def _keeps(self) -> bool:
        return self.node.learn[0] and 0 not in self.op.backward_bottoms

    @property
    def _sizes(self) -> dict[str, int]:
        return broadcast_sizes(self.op.bottoms[0], self.op.axis, self.op.scale_shape)

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        calls = copied(self.x, self.work["x"]) if "x" in self.work else []
        run = broadcast(
            x=self.x,
            y=self.y,
            scale=self.params[0],
            shift=self.params[1] if self.op.bias_term else 0,
            serial=few(self.x.size),
            **self._sizes,
        )
        return [*calls, run]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute the wanted gradients."""
        x = self.work.get("x", self.x)
        if self._keeps and self.behind is not None:
            x = self.behind.work["normal"]
        dshift = self.dparams[1] if self.op.bias_term else None
        return [
            broadcast_gradient(
                x=x,
                dy=self.dy,
                dx=0 if self.dx is None else self.dx,
                scale=self.params[0],
                dscale=0 if self.dparams[0] is None else self.dparams[0],
                dshift=0 if dshift is None else dshift,
                accumulate_scale=accumulate[0],
                accumulate_shift=accumulate[-1],
                serial=few(self.dy.size),
                **self._sizes,
            )
        ]
