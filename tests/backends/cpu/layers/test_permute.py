"""Permute: compiled kernels against the portable ones, to the bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from runtime.backends.cpu.layers.permute import Permute, swapped
from tests.backends.cpu.oracle import EXAMPLES, compare, numbers

sizes = st.sampled_from([1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 24, 33, 50])


@EXAMPLES
@given(
    shape=st.lists(sizes, min_size=2, max_size=4),
    cuts=st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)),
)
def test_groups_of_axes_change_places(
    shape: list[int], cuts: tuple[int, int, int]
) -> None:
    axes = [*range(len(shape))]
    start, middle, end = sorted(cut % (len(shape) + 1) for cut in cuts)
    order = axes[:start] + axes[middle:end] + axes[start:middle] + axes[end:]
    text = " ".join(f"order: {axis}" for axis in order)
    permute = f'type: "Permute" permute_param {{ {text} }} bottom: "x" top: "y"'
    layer = compare(permute, [shape])
    assert isinstance(layer.kernel, Permute)
    x = numbers(shape, 4)
    x.flat[0], x.flat[-1] = np.nan, -np.inf
    (y,) = layer.forward([x], [])
    np.testing.assert_array_equal(y, x.transpose(order))


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_what_is_swapped_is_what_the_order_says(rank: int) -> None:
    for shape in itertools.product((1, 2, 3), repeat=rank):
        x = np.arange(np.prod(shape)).reshape(shape)
        for order in itertools.permutations(range(rank)):
            sizes = swapped(shape, order)
            if sizes is None:
                continue
            outer, rows, columns, inner = sizes
            made = x.reshape(outer, rows, columns, inner).swapaxes(1, 2)
            np.testing.assert_array_equal(made.ravel(), x.transpose(order).ravel())


@pytest.mark.parametrize(
    ("shape", "order", "sizes"),
    [
        ((2, 24, 38, 38), (0, 2, 3, 1), (2, 24, 1444, 1)),
        ((2, 38, 38, 24), (0, 3, 1, 2), (2, 1444, 24, 1)),
        ((2, 3, 4, 5), (0, 2, 1, 3), (2, 3, 4, 5)),
        ((1, 3, 4, 5), (3, 1, 0, 2), (1, 12, 5, 1)),
        ((2, 3, 4, 5), (0, 1, 2, 3), (1, 1, 120, 1)),
        ((2, 3, 4, 5), (3, 2, 1, 0), None),
        ((2, 3, 4, 5), (1, 0, 3, 2), None),
    ],
)
def test_which_orders_are_compiled(shape, order, sizes) -> None:
    assert swapped(shape, order) == sizes
