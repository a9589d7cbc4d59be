"""BatchNorm with options of forks, and BN, on the compiled kernels of BatchNorm."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.ops.batch_norm import BN as BnOp  # noqa: N811
from netspec.ops.batch_norm import ChannelNorm, ForkBatchNorm
from runtime.arrays import Array, ArraySpec
from runtime.backends.cpu.layers.broadcast import broadcast_gradient
from runtime.backends.cpu.layers.elementwise import copied
from runtime.backends.cpu.layers.normalization import LOWEST, BatchNorm
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.sizes import few


class ForkNorm(BatchNorm):
    """Normalize every channel, multiply and add; see the portable kernels.

    Factor and bias are its own, so that it joins no Scale behind it.
    """

    options = (
        *("channels", "use_global_stats", "moving_average_fraction", "eps"),
        "reads_bottom",
        *("scaled", "biased", "updates", "form", "uses", "momentum"),
    )

    @classmethod
    def suits(cls, op: ChannelNorm) -> bool:  # type: ignore[override]
        """Whether it has one top, and is none of Caffe's."""
        return len(op.tops) == 1 and isinstance(op, ForkBatchNorm | BnOp)

    @property
    def folds(self) -> bool:
        """Whether a convolution ahead can do this layer's work with its weights."""
        return self.op.statistics != "batch" and not self.node.backward

    @property
    def _learns(self) -> bool:
        """Whether the gradient of the factor needs the normalized values."""
        gamma = self.op.slots.gamma
        return gamma is not None and bool(self.node.learn[gamma])

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the normalized values that the gradient needs, and for factors."""
        channels, shape = (self.op.channels,), self.op.bottoms[0]
        if self.op.statistics == "batch":
            return self.batch_arrays()
        specs = {
            "scale": ArraySpec(channels, life="state"),
            "shift": ArraySpec(channels, life="state"),
        }
        if self._learns:
            specs["normal"] = ArraySpec(shape, life="saved")
        return specs

    def _gamma_and_beta(self) -> tuple[Array | int, Array | int]:
        slots = self.op.slots
        gamma, beta = (
            0 if slot is None else self.params[slot]
            for slot in (slots.gamma, slots.beta)
        )
        return gamma, beta

    def forward_calls(self) -> list[Call]:
        """Compute y, and update what is stored."""
        if self.by_batch:
            return [self._normalize(*self._gamma_and_beta(), LOWEST)]
        calls = []
        if self._learns:
            normal = self.work["normal"]
            if self.op.statistics == "none":
                calls += copied(self.x, normal)
            else:
                calls += [self.remember(), self._broadcast(self.x, normal)]
        return [*calls, self.remember(behind=True), self._broadcast(self.x, self.y)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute the wanted gradients."""
        gradients, adds = self._learned(accumulate)
        if self.by_batch:
            given = (*self._gamma_and_beta(), *gradients, adds)
            return [self._gradient(*given, rectified=False)]
        sizes = self._sizes
        return [
            broadcast_gradient(
                x=self.work["normal"] if self._learns else 0,
                dy=self.dy,
                dx=0 if self.dx is None else self.dx,
                scale=self.work["scale"],
                dscale=gradients[0],
                dshift=gradients[1],
                accumulate_scale=adds[0],
                accumulate_shift=adds[1],
                outer=sizes["images"],
                covered=sizes["channels"],
                inner=sizes["pixels"],
                serial=few(self.dy.size),
            )
        ]

    def joined_backward(
        self, accumulate: Sequence[bool], dy: Array | None = None
    ) -> list[Call]:
        """Return the call that also does what the ReLU does backward."""
        gradients, adds = self._learned(accumulate)
        given = (*self._gamma_and_beta(), *gradients, adds)
        leave = 1 if dy is None and self.dx is not self.dy else 0
        return [self._gradient(*given, rectified=self.rectified, leave=leave, dy=dy)]

    def _learned(
        self, accumulate: Sequence[bool]
    ) -> tuple[tuple[Array | int, Array | int], tuple[bool, bool]]:
        """Return the gradients of factor and bias, and whether they are added to."""
        slots = self.op.slots
        dgamma, dbeta = (
            0 if slot is None or self.dparams[slot] is None else self.dparams[slot]
            for slot in (slots.gamma, slots.beta)
        )
        adds = (
            slots.gamma is not None and accumulate[slots.gamma],
            slots.beta is not None and accumulate[slots.beta],
        )
        return (dgamma, dbeta), adds
