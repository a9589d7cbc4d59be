"""SoftmaxWithLoss: compiled kernels against the portable ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from netspec.errors import SpecError
from tests.backends.cpu.oracle import CPU, EXAMPLES, compare, numbers
from tests.layers.harness import LoneLayer


@EXAMPLES
@given(
    rows=st.integers(1, 40),
    classes=st.integers(1, 30),
    normalization=st.sampled_from(["", "FULL", "VALID", "BATCH_SIZE", "NONE"]),
    ignored=st.sampled_from([None, -1, 0]),
    second=st.booleans(),
    data=st.data(),
)
def test_softmax_with_loss(
    rows: int,
    classes: int,
    normalization: str,
    ignored: int | None,
    second: bool,
    data: st.DataObject,
) -> None:
    param = "" if ignored is None else f"ignore_label: {ignored} "
    param += f"normalization: {normalization}" if normalization else ""
    tops = 'top: "loss" top: "p"' if second else 'top: "loss"'
    text = f'type: "SoftmaxWithLoss" bottom: "x" bottom: "t" {tops}'
    allowed = sorted({*range(classes), *([] if ignored is None else [ignored])})
    labels = data.draw(st.lists(st.sampled_from(allowed), min_size=rows, max_size=rows))
    compare(
        f"{text} loss_param {{ {param} }}",
        [(rows, classes), (rows,)],
        bottoms=[3 * numbers((rows, classes), 0), np.array(labels, np.float32)],
    )


@pytest.mark.parametrize("bad", [-1, 4])
def test_a_label_that_is_no_class_is_an_error(bad: int) -> None:
    text = 'name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "t" top: "loss"'
    layer = LoneLayer(text, [(3, 4), (3,)], backend=CPU, dtype="float32")
    with pytest.raises(SpecError, match=f"holds the label {bad} at place 1"):
        layer.forward([numbers((3, 4), 0), np.array([0, bad, bad], np.float32)])
