"""Permute against loops over places."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.backends.base import Backend
from tests.layers.harness import check_layer


def permuted(op, x):
    y = np.empty(op.tops[0])
    for place in np.ndindex(y.shape):
        source = [0] * len(place)
        for index, axis in zip(place, op.order, strict=True):
            source[axis] = index
        y[place] = x[tuple(source)]
    return y


@pytest.mark.parametrize(
    ("order", "shape"),
    [
        ([0, 2, 3, 1], (2, 3, 4, 5)),
        ([3, 1, 0, 2], (2, 3, 4, 5)),
        ([2], (2, 3, 4)),  # the others follow in their own order
        ([1, 0], (4, 3)),
        ([0, 2, 1, 3, 4], (2, 3, 4, 5, 6)),
    ],
)
def test_permute_brings_axes_into_another_order(
    backend: Backend, order: list[int], shape: tuple[int, ...]
) -> None:
    text = " ".join(f"order: {axis}" for axis in order)
    check_layer(
        f'type: "Permute" permute_param {{ {text} }}',
        [shape],
        permuted,
        backend=backend,
    )
