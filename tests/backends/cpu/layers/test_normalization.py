"""BatchNorm, Scale and Bias: compiled kernels against the portable ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from tests.backends.cpu.oracle import EXAMPLES, compare

sizes = st.integers(1, 20)
small = st.integers(1, 5)


@EXAMPLES
@given(
    shape=st.tuples(st.integers(2, 5), sizes, small, sizes),
    kind=st.sampled_from(["", "batch_norm_param { use_global_stats: true }"]),
    in_place=st.booleans(),
)
def test_batch_norm(shape: tuple[int, ...], kind: str, in_place: bool) -> None:
    top = "x" if in_place else "y"
    compare(f'type: "BatchNorm" bottom: "x" top: "{top}" {kind}', [shape])


@EXAMPLES
@given(
    shape=st.tuples(small, sizes, small, sizes),
    axis=st.integers(0, 3),
    axes=st.integers(1, 2),
    in_place=st.booleans(),
    kind=st.sampled_from(["Scale", "Bias"]),
    accumulate=st.booleans(),
)
def test_scale_and_bias(
    shape: tuple[int, ...],
    axis: int,
    axes: int,
    in_place: bool,
    kind: str,
    accumulate: bool,
) -> None:
    top = "x" if in_place else "y"
    bias = "bias_term: true" if kind == "Scale" else ""
    text = (
        f'type: "{kind}" bottom: "x" top: "{top}" {kind.lower()}_param {{ '
        f"axis: {axis} num_axes: {min(axes, 4 - axis)} {bias} }}"
    )
    compare(text, [shape], accumulate=accumulate)
