"""Arrays that a caller gives to blobs: checked, then copied."""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.errors import ShapeError, SpecError, SpecWarning, shown
from netspec.graph import Graph
from netspec.notebooks import warn_user
from netspec.ops.base import label


def assign(target: np.ndarray, value: Any, what: str) -> None:
    """Copy an array of the same shape."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise SpecError(
            f"{what} is given {shown(value)}, rows of which differ"
        ) from None
    if array.shape != target.shape:
        raise ShapeError(
            f"{what} has shape {target.shape}, got {array.shape}; reshape the blob or "
            f"the array first"
        )
    try:
        target[...] = array
    except (TypeError, ValueError):
        said = f"{what} is given {shown(value)}; expected numbers"
        raise SpecError(said) from None


def check_start(graph: Graph, blob: str, first: int, last: int) -> None:
    """Refuse a gradient that the pass from node `last` down to `first` would compute.

    Warns where the net computes no gradients, so that nothing would come of it.
    """
    edge = graph.edges[graph.blobs[blob]]
    for index, place in edge.consumers:
        node = graph.nodes[index]
        if first <= index <= last and node.propagate[place]:
            raise SpecError(
                f"backward: blob {blob!r} is no output of this pass, which computes "
                f"its gradient from that of {label(node.layer)}; the outputs are "
                f"{list(graph.outputs)}. To begin at {blob!r}, call "
                f"backward(start={graph.nodes[edge.producer].name!r}, {blob}=...)"
            )
    if not any(node.backward for node in graph.nodes[first : last + 1]):
        warn_user(
            f"backward: a gradient of blob {blob!r} is given, but no layer of this "
            f"pass computes gradients, so they stay zero; add force_backward: true to "
            f"the net, or a loss",
            SpecWarning,
        )
