"""How Winograd's algorithm divides planes; what it computes is compared elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from runtime.backends.cpu.correlation.correlation import Correlation, Taps
from runtime.backends.cpu.correlation.winograd import PANEL_TILES, RESULTS, Winograd
from runtime.backends.cpu.correlation.winograd_scatter import WinogradScatter
from runtime.backends.cpu.correlation.winograd_weights import WinogradWeights
from runtime.backends.cpu.machine.llvm import ROWS
from runtime.backends.cpu.machine.sizes import round_up
from tests.backends.cpu.oracle import EXAMPLES


def shape_of(images: int, channels: int, height: int, width: int) -> Correlation:
    """Return the correlation of 3 x 3 windows with a padding of 1."""
    i, j = np.divmod(np.arange(9), 3)
    sizes = height, width
    return Correlation(
        images=images,
        groups=1,
        channels=channels,
        rows=channels,
        sizes=sizes,
        sizes_out=sizes,
        positions=sizes,
        taps=Taps(i - 1, j - 1, np.arange(9)),
        group_stride=9 * channels**2,
        row_stride=9 * channels,
        channel_stride=9,
    )


def multiplied(made: Winograd) -> Iterator[int]:
    """Yield how many tiles the panels multiply, whole rows of tiles of registers."""
    down, across = made.tiles
    strips = [
        min(made.strip_rows, down - first) * across
        for _ in range(made.shape.images)
        for first in range(0, down, made.strip_rows)
    ]
    for first in range(0, len(strips), made.panel_strips):
        yield round_up(sum(strips[first : first + made.panel_strips]), ROWS)


def test_planes_whose_tiles_are_no_multiple_of_rows() -> None:
    made = Winograd(shape_of(8, 128, 28, 28), 2)
    tiles = 8 * 7 * 7
    assert sum(multiplied(made)) <= 1.05 * tiles


@EXAMPLES
@given(
    images=st.integers(1, 20),
    channels=st.integers(1, 300),
    sizes=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    threads=st.integers(1, 5),
)
def test_strips(
    images: int, channels: int, sizes: tuple[int, int], threads: int
) -> None:
    shape = shape_of(images, channels, *sizes)
    made = Winograd(shape, threads)
    down, across = made.tiles
    assert 1 <= made.strip_rows <= down == -(-sizes[0] // RESULTS)
    assert made.panel_tiles <= round_up(max(PANEL_TILES, across), ROWS)
    assert max(multiplied(made)) <= made.panel_tiles
    assert made.strip_rows == Winograd(shape, 1).strip_rows
    assert WinogradWeights(shape, threads).strips <= made.strips
    if WinogradScatter.suits(shape):
        assert WinogradScatter(shape, threads).strips == 1
