"""The bases of kernels whose only gradient is that of one bottom."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.arrays import Array, ArraySpec
from runtime.layers.base import Kernel, OpT


class OneGradient(Kernel[OpT]):
    """A kernel that can have only one gradient, that of its first bottom."""

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Compute dx where it is wanted."""
        if self.dx is not None:
            self.gradient(self.dx)

    def gradient(self, dx: Array) -> None:
        """Compute `dx` from the gradients of the tops."""
        raise NotImplementedError


class SlopeFirst(OneGradient[OpT]):
    """One that works out dy/dx by itself, as in place dx is written over dy."""

    def arrays(self) -> dict[str, ArraySpec]:
        """Room for the slope."""
        return {"slope": ArraySpec(self.op.tops[0])}
