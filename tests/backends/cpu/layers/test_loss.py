"""Softmax and SoftmaxWithLoss: compiled kernels against the portable ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from netspec.errors import SpecError
from runtime.backends.cpu import CpuBackend
from tests.backends.cpu.oracle import CPU, EXAMPLES, compare, numbers, results
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


@EXAMPLES
@given(
    shape=st.lists(st.integers(1, 40), min_size=2, max_size=4),
    axis=st.integers(0, 3),
    in_place=st.booleans(),
)
def test_softmax(shape: list[int], axis: int, in_place: bool) -> None:
    axis, top = axis % len(shape), "x" if in_place else "y"
    param = f"softmax_param {{ axis: {axis} }}"
    x = 30 * numbers(shape, 0)
    text = f'type: "Softmax" bottom: "x" top: "{top}" {param}'
    compare(text, [shape], bottoms=[x])


@pytest.mark.parametrize("in_place", [False, True])
def test_softmax_of_rows_of_every_number_of_vectors(in_place: bool) -> None:
    top = "x" if in_place else "y"
    text = f'type: "Softmax" bottom: "x" top: "{top}" softmax_param {{ axis: -1 }}'
    for classes in (7, 8, 9, 16, 21, 31, 33, 48, 49, 63, 64, 65, 81, 150):
        x = 30 * numbers((3, 5, classes), classes)
        x[0, 0, -1] = 60.0
        compare(text, [x.shape], bottoms=[x])


@pytest.mark.parametrize("shape", [(6, 5), (2, 5, 3), (2, 5, 37)])
def test_softmax_of_what_is_no_number(shape: tuple[int, ...]) -> None:
    x = numbers(shape, 0)
    first = x.reshape(shape[0], 5, -1)[..., 0]
    first[0, 1], first[1, 2] = np.nan, np.inf
    first[1, 3], first[1, 4] = 3e38, -np.inf
    with np.errstate(all="ignore"):
        compare('type: "Softmax" bottom: "x" top: "y"', [shape], bottoms=[x])


@EXAMPLES
@given(
    shape=st.lists(st.integers(1, 30), min_size=3, max_size=4),
    normalization=st.sampled_from(["FULL", "VALID", "BATCH_SIZE", "NONE"]),
    ignored=st.sampled_from([None, 0]),
)
def test_softmax_with_loss_of_maps(
    shape: list[int], normalization: str, ignored: int | None
) -> None:
    places = (shape[0], 1, *shape[2:])
    labels = np.random.default_rng(5).integers(0, shape[1], places)
    param = f"normalization: {normalization}"
    param += "" if ignored is None else f" ignore_label: {ignored}"
    compare(
        'type: "SoftmaxWithLoss" bottom: "x" bottom: "t" top: "loss" '
        f"loss_param {{ {param} }}",
        [shape, places],
        bottoms=[3 * numbers(shape, 0), labels.astype(np.float32)],
    )


def test_losses_of_several_chunks_have_the_same_bits_on_any_threads() -> None:
    shape, places = (3, 7, 50, 61), (3, 50, 61)
    labels = np.random.default_rng(5).integers(0, 7, places).astype(np.float32)
    text = (
        'type: "SoftmaxWithLoss" bottom: "x" bottom: "t" top: "loss" '
        "loss_param { ignore_label: 2 normalization: VALID }"
    )
    bottoms = [numbers(shape, 0), labels]
    compare(text, [shape, places], bottoms=bottoms)
    made = []
    for threads in (1, 2, 5):
        backend = CpuBackend(threads)
        layer = LoneLayer(text, [shape, places], backend=backend, dtype="float32")
        made.append(results(layer, bottoms, False))
    for other in made[1:]:
        for got, want in zip(other, made[0], strict=True):
            if want is not None:
                np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("bad", [-1, 4])
def test_a_label_that_is_no_class_is_an_error(bad: int) -> None:
    text = 'name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "t" top: "loss"'
    layer = LoneLayer(text, [(3, 4), (3,)], backend=CPU, dtype="float32")
    with pytest.raises(SpecError, match=f"holds the label {bad} at place 1"):
        layer.forward([numbers((3, 4), 0), np.array([0, bad, bad], np.float32)])
