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
from runtime.backends.cpu.layers.channel_norm import normalize, normalize_gradient
from runtime.backends.cpu.layers.elementwise import copied
from runtime.backends.cpu.machine.compiled import Call, carray, kernel
from runtime.backends.cpu.machine.llvm import LANES, VECTOR_BYTES
from runtime.backends.cpu.machine.roots import inverse_root
from runtime.backends.cpu.machine.simd import f32
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.layer_kernel import LayerKernel

ZERO: Any = np.float32(0)
ONE: Any = np.float32(1)
LOWEST = float("-inf")
STREAMED_FLOATS = 1 << 21  # of y, from which caches keep little for the next layer


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
            scale = inverse_root(variance + np.float32(a.eps))
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


def can_stream(y: Array) -> bool:
    """Whether y is better written past the caches, and its planes are whole vectors."""
    large = y.size >= STREAMED_FLOATS
    aligned = count(y.shape, 2) % LANES == 0 and y.ctypes.data % VECTOR_BYTES == 0
    return bool(large and aligned)


class BatchNorm(LayerKernel[BatchNormOp]):
    """Normalize every channel; see the portable kernel.

    `scale` is the kernel of a Scale in place right behind, or None; `rectified` says
    whether a ReLU in place follows. `runtime.backends.cpu.fusion` sets them.
    """

    options: ClassVar[tuple[str, ...]] = (
        *("channels", "use_global_stats", "moving_average_fraction", "eps"),
        "reads_bottom",
    )
    scale: Scale | None = None
    rectified = False

    @property
    def folds(self) -> bool:
        """Whether a convolution ahead can do this layer's work with its weights."""
        return self.op.use_global_stats and not self.node.backward

    @property
    def by_batch(self) -> bool:
        """Whether it normalizes by the statistics of the batch."""
        return self.op.statistics == "batch"

    @property
    def length(self) -> int:
        """How many layers joined calls do the work of: this, `scale` and the ReLU."""
        if self.node.backward and not self.by_batch:
            return 1  # gradients read what is between
        return 1 + (self.scale is not None) + self.rectified

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
        return self.batch_arrays()

    def batch_arrays(self) -> dict[str, ArraySpec]:
        """Return what the gradient by statistics of the batch needs."""
        channels = (self.op.channels,)
        specs = {
            "mean": ArraySpec(channels, life="saved"),
            "inverse": ArraySpec(channels, life="saved"),
        }
        if self.node.backward and not self.op.reads_bottom:
            specs["x"] = ArraySpec(self.op.bottoms[0], life="saved")
        return specs

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

    def _broadcast(
        self, x: Array, y: Array, *, shift: bool = True, floor: float = LOWEST
    ) -> Call:
        sizes = self._sizes
        return broadcast(
            x=x,
            y=y,
            scale=self.work["scale"],
            shift=self.work["shift"] if shift else 0,
            outer=sizes["images"],
            covered=sizes["channels"],
            inner=sizes["pixels"],
            floor=floor,
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

    def _normalize(
        self,
        gamma: Array | int,
        beta: Array | int,
        floor: float,
        x: Array | None = None,
        added: Array | int = 0,
        y: Array | None = None,
    ) -> Call:
        sizes = self._sizes
        values = sizes["images"] * sizes["pixels"]
        op = self.op
        remembers = op.remembers and not self.again
        means, variances, weight = self._stored() if remembers else (0, 0, 0)
        corrected = op.unbiased and values > 1
        x, y = self.x if x is None else x, self.y if y is None else y
        kept = self.work.get("x", 0)
        return normalize(
            x=x,
            y=y,
            added=added,
            kept=0 if kept is x else kept,
            mean=self.work["mean"],
            inverse=self.work["inverse"],
            means=means,
            variances=variances,
            weight=weight,
            gamma=gamma,
            beta=beta,
            eps=op.eps,
            fraction=op.keep,
            share=op.share,
            streamed=can_stream(y),
            correction=values / (values - 1) if corrected else 1.0,
            floor=floor,
            serial=few(self.x.size),
            **sizes,
        )

    def joined_forward(self, x: Array | None = None) -> list[Call]:
        """Return the calls that also do what `scale` and the ReLU do.

        x: where the bottom's values are, if a layer ahead wrote them elsewhere.
        """
        floor = 0.0 if self.rectified else LOWEST
        if not self.by_batch:
            return [
                self.remember(behind=True),
                self._broadcast(self.x, self.y, floor=floor),
            ]
        return [self._normalize(*self._gamma_and_beta(), floor, x)]

    def normalized(self, x: Array, y: Array, *, added: Array, rectified: bool) -> Call:
        """Return the call of this layer, `scale`, a sum and a ReLU.

        x: where the bottom's values are. y: the top of the sum. added: its other
        bottom.
        """
        floor = 0.0 if rectified else LOWEST
        return self._normalize(*self._gamma_and_beta(), floor, x, added, y)

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        if self.op.use_global_stats:
            return [self._broadcast(self.dy, self.dx, shift=False)]
        return [self._gradient(0, 0, 0, 0, (False, False), rectified=False)]

    def joined_backward(
        self, accumulate: Sequence[bool], dy: Array | None = None
    ) -> list[Call]:
        """Return the calls that also do what `scale` and the ReLU do backward.

        dy: where the gradient is, which stays as it is, if not in its own place.
        """
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
            leave=2 if dy is None and self.dx is not self.dy else 0,
            dy=dy,
        )
        return [call]

    def sums_of(
        self,
        dnormal: Array,
        gradients: tuple[Array | None, Array | None],
        accumulate: tuple[bool, bool],
    ) -> Call:
        """Return the call that sums dnormal times what was normalized, and dnormal."""
        dgamma, dbeta = (0 if one is None else one for one in gradients)
        return normalize_gradient(
            dy=dnormal,
            x=self.work.get("x", self.x),
            dx=0,
            mean=self.work["mean"],
            inverse=self.work["inverse"],
            gamma=0,
            beta=0,
            dgamma=dgamma,
            dbeta=dbeta,
            rectified=False,
            accumulate_gamma=accumulate[0],
            accumulate_beta=accumulate[1],
            leave=0,
            serial=few(dnormal.size),
            **self._sizes,
        )

    def _gradient(
        self,
        gamma: Array | int,
        beta: Array | int,
        dgamma: Array | int,
        dbeta: Array | int,
        accumulate: tuple[bool, bool],
        *,
        rectified: bool,
        leave: int = 0,
        dy: Array | None = None,
    ) -> Call:
        """Return the call of the gradients; see `normalize_gradient`."""
        return normalize_gradient(
            dy=self.dy if dy is None else dy,
            dx=0 if self.dx is None else self.dx,
            x=self.work.get("x", self.x),
            mean=self.work["mean"],
            inverse=self.work["inverse"],
            gamma=gamma,
            beta=beta,
            dgamma=dgamma,
            dbeta=dbeta,
            rectified=rectified,
            accumulate_gamma=accumulate[0],
            accumulate_beta=accumulate[1],
            leave=leave,
            serial=few(self.dy.size),
            **self._sizes,
        )


class Scale(LayerKernel[ScaleOp]):
    """Multiply by a parameter that is broadcast; see the portable kernel.

    `behind` is the kernel of a BatchNorm that this layer follows in place: what it
    normalized is this layer's x, so that no copy is needed.
    """

    options = ("axis", "scale_shape", "bias_term", "over_bottom")
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
            floor=LOWEST,
            serial=few(self.x.size),
            **self._sizes,
        )
        return [*calls, run]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute the wanted gradients."""
        if self._keeps and self.behind is not None:
            return self._behind_calls(self.behind, accumulate)
        dshift = self.dparams[1] if self.op.bias_term else None
        return [
            broadcast_gradient(
                x=self.work.get("x", self.x),
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

    def _behind_calls(self, norm: BatchNorm, accumulate: Sequence[bool]) -> list[Call]:
        """Compute the gradients where x is what a BatchNorm normalized, not kept."""
        gradients = self.dparams[0], self.dparams[1] if self.op.bias_term else None
        calls = [norm.sums_of(self.dy, gradients, (accumulate[0], accumulate[-1]))]
        if self.dx is not None:
            one = broadcast(
                x=self.dy,
                y=self.dx,
                scale=self.params[0],
                shift=0,
                floor=LOWEST,
                serial=few(self.dy.size),
                **self._sizes,
            )
            calls.append(one)
        return calls
