"""Packed products against NumPy's, with rows longer than they need to be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.gemm import sum_columns
from runtime.backends.cpu.machine.products import (
    Products,
    packed,
    packed_floats,
    spread_row,
    workspace_bytes,
)
from tests.backends.cpu.fences import FencedBackend
from tests.backends.cpu.oracle import EXAMPLES, numbers

CPU = FencedBackend(threads=3)
SIZES = st.one_of(st.integers(1, 20), st.sampled_from([31, 32, 33, 97, 193, 400, 801]))


def placed(values: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Copy between fences, into rows of so many columns; what is left over is NaN."""
    shape = (*values.shape[:-1], columns or values.shape[-1])
    array = CPU.zeros(shape, "float32")
    array[...] = np.nan
    array[..., : values.shape[-1]] = values
    return array


def run(*calls: Call) -> None:
    for one in calls:
        object.__setattr__(one, "serial", False)
    CPU.runner(calls)()
    CPU.check_fences()


def close(got: np.ndarray, want: np.ndarray) -> None:
    scale = float(np.max(np.abs(want), initial=1))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * scale)


@EXAMPLES
@given(
    rows=SIZES,
    columns=st.integers(1, 70),
    groups=st.integers(1, 3),
    depth=SIZES,
    transposed=st.booleans(),
    biased=st.booleans(),
    rectified=st.booleans(),
)
def test_times(
    rows: int,
    columns: int,
    groups: int,
    depth: int,
    transposed: bool,
    biased: bool,
    rectified: bool,
) -> None:
    a, b = numbers((rows, depth), 1), numbers((groups, depth, columns), 2)
    bias = numbers((columns,), 3) if biased else None
    given_b = np.ascontiguousarray(b.transpose(0, 2, 1)) if transposed else b
    target = placed(np.zeros(packed_floats(depth, columns, groups), np.float32))
    pack = packed(
        placed(given_b), target, depth, columns, groups=groups, transposed=transposed
    )
    workspace = CPU.zeros((CPU.threads * workspace_bytes([depth]),), "uint8")
    c = placed(np.zeros((rows, columns), np.float32), spread_row(columns))
    floor = 0.0 if rectified else float("-inf")
    for group in range(groups):
        call = Products(workspace, CPU.threads).times(
            placed(a, spread_row(depth)),
            target[target.size // groups * group :],
            c,
            columns,
            depth,
            bias=None if bias is None else placed(bias),
            floor=floor,
        )
        run(pack, call)
        want = a @ b[group] + (0 if bias is None else bias)
        close(c[:, :columns], np.maximum(want, floor))
        assert np.isnan(c[:, columns:]).all()


@EXAMPLES
@given(
    rows=st.integers(1, 130),
    columns=SIZES,
    depth=SIZES,
    first_rows=st.integers(0, 9),
    scaled=st.booleans(),
    accumulate=st.booleans(),
)
def test_transposed_times(
    rows: int, columns: int, depth: int, first_rows: int, scaled: bool, accumulate: bool
) -> None:
    first_rows = min(first_rows, depth)
    left, right = numbers((depth, rows), 1), numbers((depth, columns), 2)
    scale, before = numbers((depth,), 3), numbers((rows, columns), 4)
    out = placed(before)
    size = workspace_bytes(transposed=[(depth, columns)])
    workspace = CPU.zeros((CPU.threads * size,), "uint8")
    call = Products(workspace, CPU.threads).transposed_times(
        placed(left, spread_row(rows)),
        placed(right[first_rows:], spread_row(columns)),
        out,
        accumulate=accumulate,
        first=placed(right[:first_rows]) if first_rows else None,
        scale=placed(scale) if scaled else None,
    )
    run(call)
    factor = scale[:, None] if scaled else 1
    close(out, left.T @ (right * factor) + (before if accumulate else 0))


@EXAMPLES
@given(rows=SIZES, columns=SIZES, accumulate=st.booleans())
def test_sum_columns(rows: int, columns: int, accumulate: bool) -> None:
    x, before = numbers((rows, columns), 1), numbers((columns,), 2)
    out = placed(before)
    spread = placed(x, spread_row(columns))
    call = sum_columns(
        x=spread,
        x_row=4 * spread.shape[1],
        out=out,
        rows=rows,
        columns=columns,
        accumulate=accumulate,
    )
    run(call)
    close(out, x.sum(0) + (before if accumulate else 0))


def test_a_number_that_is_none_stays_in_its_row_and_column() -> None:
    a, b = numbers((11, 40), 1), numbers((40, 37), 2)
    a[4, 3], b[7, 36] = np.nan, np.inf
    target = placed(np.zeros(packed_floats(40, 37), np.float32))
    workspace = CPU.zeros((CPU.threads * workspace_bytes([40]),), "uint8")
    c = placed(np.zeros((11, 37), np.float32))
    products = Products(workspace, CPU.threads)
    run(packed(placed(b), target, 40, 37), products.times(placed(a), target, c, 37, 40))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(np.isfinite(c), np.isfinite(a @ b))


@pytest.mark.parametrize("columns", [1, 15, 16, 17, 256, 1000, 1024])
def test_rows_are_spread_over_the_lines_of_a_cache(columns: int) -> None:
    row = spread_row(columns)
    assert row >= columns
    assert row % 16 == 0
    assert row // 16 % 2 == 1
