"""Test passes: means of a net's outputs over several batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from netspec.errors import ShapeError
from runtime.execution.net import Net


@dataclass(frozen=True)
class Means:
    """The mean of every output, the weight of each in the objective, the mean loss."""

    outputs: dict[str, np.ndarray]
    loss_weights: dict[str, float]
    loss: float


def mean_outputs(
    net: Net, batches: int, on_batch: Callable[[int], None] | None = None
) -> Means:
    """Run `net` forward on `batches` batches and average its outputs, in float64.

    on_batch: called with the number of batches done, after each.

    Raises `ShapeError` for an output whose shape is another one in a later batch.
    """
    sums: dict[str, np.ndarray] = {}
    loss = 0.0
    for index in range(batches):
        for name, values in net.forward().items():
            if name not in sums:
                sums[name] = np.zeros(values.shape, np.float64)
            if sums[name].shape != values.shape:
                raise ShapeError(
                    f"output {name!r} has shape {values.shape} in batch {index}, but "
                    f"{sums[name].shape} before, so that it has no mean; end it in a "
                    f"Silence layer, or in one whose top keeps its shape"
                )
            sums[name] += values
        loss += net.loss()
        if on_batch is not None:
            on_batch(index + 1)
    weights = net.blob_loss_weights
    return Means(
        {name: total / batches for name, total in sums.items()},
        {name: weights[name] for name in sums if weights[name] != 0},
        loss / batches,
    )
