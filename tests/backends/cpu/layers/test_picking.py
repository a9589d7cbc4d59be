"""Embed and Upsample with a mask: compiled kernels against the portable ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from netspec.errors import SpecError
from tests.backends.cpu.oracle import CPU, EXAMPLES, compare, numbers
from tests.layers.harness import LoneLayer

small = st.integers(1, 5)


@EXAMPLES
@given(
    shape=st.lists(small, min_size=1, max_size=3),
    rows=st.integers(1, 7),
    width=st.integers(1, 40),
    bias=st.booleans(),
    accumulate=st.booleans(),
)
def test_embed(
    shape: list[int], rows: int, width: int, bias: bool, accumulate: bool
) -> None:
    rng = np.random.default_rng(4)
    index = rng.choice([*range(rows), -3, rows + 2, rows - 0.5, -0.5, 1e6], shape)
    compare(
        f'type: "Embed" embed_param {{ num_output: {width} input_dim: {rows} '
        f"bias_term: {str(bias).lower()} }}",
        [shape],
        accumulate=accumulate,
        bottoms=[index.astype(np.float32)],
    )


def test_an_index_that_is_no_number_is_an_error() -> None:
    text = 'name: "l" type: "Embed" embed_param { num_output: 2 input_dim: 4 }'
    layer = LoneLayer(text, [(3,)], backend=CPU, dtype="float32")
    with pytest.raises(SpecError, match="holds nan at place 1; expected 0 to 3"):
        layer.forward([[0, np.nan, np.nan]], layer.params())


@EXAMPLES
@given(n=small, c=small, height=small, width=small, scale=st.integers(1, 3))
def test_upsample_with_a_mask(
    n: int, c: int, height: int, width: int, scale: int
) -> None:
    shape, large = (n, c, height, width), scale * scale * height * width
    rng = np.random.default_rng(5)
    size = height * width
    mask = np.array([rng.permutation(large)[:size] for _ in range(n * c)], np.float32)
    compare(
        'type: "Upsample" bottom: "x" bottom: "mask" top: "y" '
        f"upsample_param {{ scale: {scale} }}",
        [shape, shape],
        bottoms=[numbers(shape, 0), mask.reshape(shape)],
    )


@pytest.mark.parametrize("bad", [-1.0, 24.0, np.nan])
def test_a_mask_that_holds_no_place_is_an_error(bad: float) -> None:
    shape = (2, 3, 2, 3)
    text = (
        'name: "l" type: "Upsample" bottom: "x" bottom: "m" top: "y" '
        "upsample_param { scale: 2 }"
    )
    layer = LoneLayer(text, [shape, shape], backend=CPU, dtype="float32")
    mask = np.zeros(shape, np.float32)
    mask[1, 0, 1, 0] = mask[1, 0, 1, 2] = bad
    said = f"the mask, holds {bad:g} at place 21; expected 0 to 23, the places of a"
    with pytest.raises(SpecError, match=said):
        layer.forward([numbers(shape, 0), mask])
