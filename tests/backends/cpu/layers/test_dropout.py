"""Dropout: compiled kernels against the portable ones."""

from __future__ import annotations

import pytest

pytest.importorskip("llvmlite")

from tests.backends.cpu.oracle import compare


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("phase", [0, 1])
def test_dropout_draws_the_same_values(ratio: float, phase: int) -> None:
    text = (
        'type: "Dropout" bottom: "x" top: "y" '
        f"dropout_param {{ dropout_ratio: {ratio} }}"
    )
    compare(text, [(7, 33, 3)], phase=phase)
