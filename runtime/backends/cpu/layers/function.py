"""Layers that are a function of one value: what their compiled forms share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from runtime.backends.cpu.machine.compiled import Call, CompiledKernel
from runtime.backends.cpu.machine.sizes import SERIAL_ELEMENTS, few
from runtime.backends.layer_kernel import LayerKernel
from runtime.layers.base import OpT


class Function(LayerKernel[OpT]):
    """One value in, one value out; the portable kernels have the formulas.

    The kernels name what they read: x, y, dy, and constants that `constants` gives.
    """

    def constants(self) -> Mapping[str, float]:
        """Return the constants of both kernels."""
        return {}

    def kernel(self) -> CompiledKernel:
        """Return the kernel that computes y."""
        raise NotImplementedError

    def gradient_kernel(self) -> CompiledKernel:
        """Return the kernel that computes dx."""
        raise NotImplementedError

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        return [self._call(self.kernel(), x=self.x, y=self.y)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute dx."""
        if self.dx is None:
            return []
        arrays = {"x": self.x, "y": self.y, "dy": self.dy, "dx": self.dx}
        return [self._call(self.gradient_kernel(), **arrays)]

    def _call(self, kernel: CompiledKernel, **arrays: Any) -> Call:
        size = self.x.size
        known = {**arrays, **self.constants(), "count": size}
        given = {name: known[name] for name in kernel.fields.names or ()}
        return kernel(**given, serial=few(size), units=size // SERIAL_ELEMENTS)


class Fixed(Function[OpT]):
    """A function whose options choose no kernel."""

    kernels: ClassVar[tuple[CompiledKernel, CompiledKernel]]

    def kernel(self) -> CompiledKernel:
        """Return the first."""
        return self.kernels[0]

    def gradient_kernel(self) -> CompiledKernel:
        """Return the second."""
        return self.kernels[1]
