"""Tile, Crop and BatchReindex against loops over places."""

from __future__ import annotations

import numpy as np
import pytest

from netspec.errors import SpecError
from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer, check_layer


def tiled(op, x):
    y = np.empty(op.tops[0])
    for place in np.ndindex(y.shape):
        source = list(place)
        source[op.axis] %= x.shape[op.axis]
        y[place] = x[tuple(source)]
    return y


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_tile_repeats_along_the_axis(backend: Backend, axis: int) -> None:
    text = f'type: "Tile" tile_param {{ axis: {axis} tiles: 3 }}'
    check_layer(text, [(2, 4, 5)], tiled, backend=backend)


def cropped(op, x, reference):
    y = np.empty(op.tops[0])
    for place in np.ndindex(y.shape):
        y[place] = x[tuple(p + o for p, o in zip(place, op.offset, strict=True))]
    return y


@pytest.mark.parametrize(
    ("param", "reference"),
    [
        ("axis: 2 offset: 1", (1, 2, 4, 5)),
        ("axis: 2 offset: 2 offset: 1", (1, 2, 4, 5)),
        ("axis: 1 offset: 1 offset: 0 offset: 3", (9, 2, 6, 4)),
        ("", (2, 3, 4, 5)),
    ],
)
def test_crop_cuts_a_part_out(
    backend: Backend, param: str, reference: tuple[int, ...]
) -> None:
    text = f'type: "Crop" crop_param {{ {param} }}'
    check_layer(text, [(2, 3, 6, 7), reference], cropped, backend=backend)


def reindexed(op, x, index):
    return np.stack([x[int(number)] for number in index])


@pytest.mark.parametrize(
    "index", [[2.0, 0.0, 2.9, 2.0, 1.0], [3.0, 0.0, 2.0, 1.0], [1.0]]
)
def test_batch_reindex_picks_items(backend: Backend, index: list[float]) -> None:
    check_layer('type: "BatchReindex"', [(4, 3, 2), index], reindexed, backend=backend)


def test_an_item_that_is_not_there_is_an_error(backend: Backend) -> None:
    if backend.name != "numpy":
        pytest.skip("the device is not waited for; the item becomes NaN")
    text = 'name: "r" type: "BatchReindex" bottom: "x" bottom: "i"'
    layer = LoneLayer(text, [(4, 3), (2,)], backend=backend)
    match = (
        r"'r' \(BatchReindex\): bottom 1 \('i'\) holds 4 at place 1; expected 0 to 3"
    )
    with pytest.raises(SpecError, match=match):
        layer.forward([np.ones((4, 3)), [0.0, 4.0]])


def test_where_nobody_looks_an_item_that_is_not_there_is_nan(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(backend), "anywhere", lambda self, mask: False)
    layer = LoneLayer('type: "BatchReindex"', [(4, 3), (2,)], backend=backend)
    (y,) = layer.forward([np.ones((4, 3)), [0.0, -1.0]])
    np.testing.assert_array_equal(y, [[1, 1, 1], [np.nan] * 3])
