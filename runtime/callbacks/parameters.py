"""Copies of the parameters of a net."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from netspec.errors import ShapeError


def _blobs(net: Any) -> Iterator[Any]:
    """Yield every parameter once, though several layers may share it."""
    for parameter in net.graph.parameters:
        owner = parameter.owner
        yield net.params[net.graph.nodes[owner.node].name][owner.slot]


def copied(net: Any) -> list[np.ndarray]:
    """Return copies of all parameters, in the order of the net."""
    return [blob.data.copy() for blob in _blobs(net)]


def put_back(net: Any, arrays: Sequence[np.ndarray]) -> None:
    """Give a net the parameters that `copied` returned.

    Raises `ShapeError` for those of another net.
    """
    blobs = list(_blobs(net))
    if [blob.data.shape for blob in blobs] != [array.shape for array in arrays]:
        raise ShapeError(
            f"net {net.name!r} has other parameters than the one that these were "
            f"copied from"
        )
    for blob, array in zip(blobs, arrays, strict=True):
        blob.data[...] = array
