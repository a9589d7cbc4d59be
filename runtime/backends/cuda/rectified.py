"""A convolution or an inner product and the ReLU in place above it, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runtime.backends.cuda.layers.convolution import Convolution, Deconvolution
from runtime.backends.cuda.layers.inner_product import InnerProduct
from runtime.backends.cuda.layers.relu import ReLU
from runtime.backends.cuda.machine.launch import Call


class Rectified:
    """Two neighbours: the library's call ends with bias and ReLU.

    Back, the gradient of the ReLU is taken while that of the bias is summed up.
    """

    def __init__(
        self, below: Convolution | Deconvolution | InnerProduct, relu: ReLU
    ) -> None:
        self._below, self._relu = below, relu
        self.last = relu.node.index
        below.relu = relu

    def forward(self) -> Mapping[int, Sequence[Call]]:
        """Return other calls for both nodes."""
        return {self._below.node.index: self._below.forward_above(), self.last: []}

    def backward(
        self, flags: Mapping[int, Sequence[bool]]
    ) -> Mapping[int, Sequence[Call]]:
        """Return other calls for both nodes, if both have a gradient."""
        below = self._below.node.index
        if below not in flags or self.last not in flags or self._relu.dx is None:
            return {}
        return {below: self._below.backward_below(flags[below]), self.last: []}
