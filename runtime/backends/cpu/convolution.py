"""Convolution on compiled kernels: which way each of its three passes takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from netspec.graph import Node
from netspec.ops.base import count
from netspec.ops.convolution import Convolution as ConvolutionOp
from runtime.backends.cpu import depthwise
from runtime.backends.cpu.compiled import Call
from runtime.backends.cpu.depthwise import Depthwise
from runtime.backends.cpu.direct import Direct
from runtime.backends.cpu.geometry import (
    Correlation,
    Weights,
    backward_correlations,
    forward_correlation,
)
from runtime.backends.cpu.kernel import CompiledKernel
from runtime.backends.cpu.tiled import Tiled, suits
from runtime.layers.base import Array, ArraySpec

LOWEST = float("-inf")
Way = Direct | Tiled | Depthwise


def forward_ways(
    shapes: Sequence[Correlation], threads: int, *, constant: bool = False
) -> list[Way]:
    """Return the fastest ways to compute correlations from one x to one y.

    constant: the weights are. The rounding of the ways differs, so that the choice must
    not depend on the threads.
    """
    if shapes and all(depthwise.suits(shape) for shape in shapes):
        return [Depthwise(tuple(shapes), threads)]
    ways: list[Way] = []
    for shape in shapes:
        direct, tiled = Direct(shape, 1, constant), Tiled(shape, 1, constant)
        if suits(shape) and tiled.cycles < direct.cycles:
            ways.append(Tiled(shape, threads, constant).best_shared())
        else:
            ways.append(Direct(shape, threads, constant))
    return ways


def weights_way(shape: Correlation, threads: int) -> Way:
    """Return the fastest way to compute the gradient of a correlation's weights."""
    if depthwise.suits(shape):
        return Depthwise((shape,), threads)
    direct, tiled = Direct(shape, 1), Tiled(shape, 1)
    if suits(shape) and tiled.weight_cycles < direct.weight_cycles:
        return Tiled(shape, threads)
    return Direct(shape, threads)


class Convolution(CompiledKernel[ConvolutionOp]):
    """Convolution of images, forward and backward; see the portable kernel."""

    @classmethod
    def fits(cls, node: Node) -> bool:
        """Whether the layer is a convolution of images with something to compute."""
        op = node.op
        return (
            isinstance(op, ConvolutionOp)
            and len(op.kernel) == 2
            and op.axis == 1
            and len(op.bottoms) == 1
            and count(op.tops[0]) > 0
            and count(op.bottoms[0]) > 0
        )

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the scratch of all passes; they use it one after the other."""
        threads = self.backend.threads
        shape = forward_correlation(self.op)
        (self._ahead,) = forward_ways([shape], threads, constant=self._keeps)
        self._weights = weights_way(shape, threads)
        back = backward_correlations(self.op) if any(self.node.propagate) else []
        self._back = forward_ways(back, threads)
        self._seen_places = sum(count(one.places) for one in back)
        wanted = [way.scratch() for way in (self._ahead, *self._back)]
        if any(self.node.learn):
            wanted.append(self._weights.weights_scratch())
        return {
            name: ArraySpec((nbytes,), "uint8", self._life(name))
            for name, nbytes in _largest(wanted).items()
        }

    @property
    def _keeps(self) -> bool:
        """Whether this layer is for use only, so that other forms of weights pay."""
        return not self.train and not self.node.backward

    def _life(self, name: str) -> Literal["state", "scratch"]:
        lasting = self._keeps and name in {"weights", "biases"}
        return "state" if lasting else "scratch"

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        return self.calls_above(LOWEST)

    def calls_above(
        self, floor: float, scale: Array | int = 0, shift: Array | int = 0
    ) -> list[Call]:
        """Compute y = max(floor, the convolution).

        scale, shift: a factor for the weights of every output channel, and what then
        takes the place of the bias.
        """
        bias = self.params[1] if self.op.bias_term else 0
        weights = Weights(
            self.params[0],
            bias if isinstance(scale, int) else shift,
            scale,
            constant=self._keeps,
        )
        return self._ahead.calls(self.work, weights, self.x, self.y, floor)

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute the wanted gradients."""
        calls = []
        dw = self.dparams[0]
        dbias = self.dparams[1] if self.op.bias_term else None
        if dw is not None or dbias is not None:
            calls += self._weights.weight_calls(
                self.work,
                self.x,
                self.dy,
                0 if dw is None else dw,
                0 if dbias is None else dbias,
                (accumulate[0], accumulate[-1]),
            )
        if self.dx is not None:
            if self._seen_places < count(self.op.bottoms[0][2:]):
                calls.append(self.backend.fill(self.dx, 0))
            for way in self._back:
                calls += way.calls(
                    self.work, Weights(self.params[0]), self.dy, self.dx, LOWEST
                )
        return calls


def _largest(wanted: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Return the largest number of bytes under each name."""
    names = {name for sizes in wanted for name in sizes}
    return {name: max(sizes.get(name, 0) for sizes in wanted) for name in sorted(names)}
