"""A convolution with the remembered BatchNorm and Scale behind it in its weights.

y = max(0, x * (w factor) + shift): nothing is left to do for the layers behind, which
learn nothing here. The weights are folded anew only when a parameter has changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.backends.cuda.layers.convolution import Convolution
from runtime.backends.cuda.layers.normalization import BatchNorm, Scale
from runtime.backends.cuda.machine.launch import THREADS, Call, CudaKernel, blocks_for
from runtime.backends.cuda.tensor import IN_SOURCES
from runtime.layers.base import Kernel

_WEIGHTS = CudaKernel("fold.cu", "fold_weights")
_BIAS = CudaKernel("fold.cu", "fold_bias")


class Folded:
    """The layers of one group, neighbours in this order.

    Args:
        below: the convolution.
        norm: by remembered statistics, in place, as those that follow: where its top
            had memory of its own, what the convolution reads could be there.
        scale: a Scale, or None.
        relu: a ReLU, or None.
    """

    def __init__(
        self,
        below: Convolution,
        norm: BatchNorm,
        scale: Scale | None,
        relu: Kernel[Any] | None,
    ) -> None:
        self._below, self._norm, self._scale = below, norm, scale
        members = (below, norm, scale, relu)
        self._nodes = [one.node.index for one in members if one is not None]
        below.folds(rectified=relu is not None)

    @property
    def last(self) -> int:
        """The number of the last node."""
        return self._nodes[-1]

    def forward(self) -> Mapping[int, Sequence[Call]]:
        """Return other calls for the nodes: all for the convolution."""
        calls: dict[int, Sequence[Call]] = {index: [] for index in self._nodes}
        calls[self._nodes[0]] = [*self._prepared(), *self._below.folded_calls()]
        return calls

    def backward(
        self, flags: Mapping[int, Sequence[bool]]
    ) -> Mapping[int, Sequence[Call]]:
        """Return nothing: these layers have no gradients."""
        return {}

    def _prepared(self) -> list[Call]:
        """Return the calls that fold the parameters."""
        below, norm, scale = self._below, self._norm, self._scale
        shape, eps = below.op.params[0].shape, norm.op.eps
        means, variances, weight = norm.params
        gamma, beta = (None, None) if scale is None else (scale.gamma, scale.beta)
        bias = below.params[1] if below.op.bias_term else None
        w, b = below.work["folded weights"], below.work["folded bias"]
        store = {"STORE": IN_SOURCES[below.storage]}
        size, places = math.prod(shape), math.prod(shape[2:])
        block, constant = (THREADS,), not norm.train
        weights = (below.params[0], w, variances, weight, gamma)
        shift = (bias, b, means, variances, weight, gamma, beta)
        return [
            below.launch(
                _WEIGHTS.with_defines(**store),
                blocks_for(size),
                block,
                *weights,
                size,
                shape[1],
                places,
                eps,
                constant=constant,
            ),
            below.launch(
                _BIAS.with_defines(**store),
                blocks_for(shape[0]),
                block,
                *shift,
                shape[0],
                eps,
                constant=constant,
            ),
        ]
