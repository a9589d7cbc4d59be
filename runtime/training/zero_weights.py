"""Weights that are all zero when a training begins, so that it learns nothing."""

from __future__ import annotations

from netspec.errors import SpecWarning
from netspec.graph import zero_weights
from netspec.notebooks import warn_user
from runtime.execution.net import Net


def zero_weights_of(net: Net) -> str | None:
    """Return a sentence about layers that cannot learn, or None.

    It goes by the values that the net has now, not by its fillers: see
    `netspec.graph.zero_weights`.
    """
    arrays = net.parameters.arrays
    return zero_weights(
        net.graph, lambda parameter: not arrays[parameter.index].data.any()
    )


def warn_of_zero_weights(net: Net) -> None:
    """Give a `SpecWarning` of layers that cannot learn, at the caller's caller."""
    said = zero_weights_of(net)
    if said is not None:
        warn_user(said, SpecWarning)
