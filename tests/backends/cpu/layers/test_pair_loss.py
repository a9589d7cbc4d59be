"""Sums over elements, losses among them: compiled kernels against portable ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from netspec.errors import SpecError
from runtime.backends.cpu import CpuBackend
from tests.backends.cpu.oracle import CPU, EXAMPLES, PORTABLE, compare, numbers, results
from tests.layers.harness import LoneLayer

shapes = st.lists(st.integers(1, 20), min_size=1, max_size=4)


@EXAMPLES
@given(
    shape=shapes,
    axis=st.integers(0, 4),
    operation=st.sampled_from(["SUM", "MEAN", "ASUM", "SUMSQ"]),
)
def test_reduction(shape: list[int], axis: int, operation: str) -> None:
    axis %= len(shape)
    param = f"reduction_param {{ operation: {operation} axis: {axis} coeff: -1.5 }}"
    usual = math.prod(shape[axis:])
    compare(f'type: "Reduction" {param}', [shape], usual=usual)


@EXAMPLES
@given(
    shape=shapes,
    label=st.sampled_from([None, 1, 0, -1]),
    normalization=st.sampled_from(["FULL", "VALID", "BATCH_SIZE", "NONE"]),
)
def test_sigmoid_cross_entropy_loss(
    shape: list[int], label: int | None, normalization: str
) -> None:
    param = f"normalization: {normalization}"
    param += "" if label is None else f" ignore_label: {label}"
    values = np.float32([0, 1, -1, 0.3, -0.6, 1.5, 2, -2, -1.5, 0.999])
    rng = np.random.default_rng(3)
    targets = rng.choice(values, shape).astype(np.float32)
    compare(
        'type: "SigmoidCrossEntropyLoss" bottom: "x" bottom: "t" top: "loss" '
        f"loss_param {{ {param} }}",
        [shape, shape],
        bottoms=[3 * numbers(shape, 0), targets],
        usual=math.prod(shape),
    )


@EXAMPLES
@given(
    shape=shapes,
    kind=st.sampled_from(["EuclideanLoss", "SmoothL1Loss"]),
    bottoms=st.sampled_from([2, 4]),
    wanted=st.sampled_from([(True, True), (True, False), (False, True)]),
)
def test_distances(
    shape: list[int], kind: str, bottoms: int, wanted: tuple[bool, bool]
) -> None:
    many = 2 if kind == "EuclideanLoss" else bottoms
    names = " ".join(f'bottom: "x{index}"' for index in range(many))
    param = "" if many == 2 else "smooth_l1_loss_param { sigma: 1.5 }"
    compare(
        f'type: "{kind}" {names} top: "loss" {param}',
        [shape] * many,
        wanted_bottoms=[*wanted, *[False] * (many - 2)],
        usual=math.prod(shape),
    )


@EXAMPLES
@given(
    rows=st.integers(1, 30),
    width=st.integers(1, 40),
    legacy=st.booleans(),
    margin=st.sampled_from([0.5, 3, 9]),
    wanted=st.sampled_from([(True, True), (True, False), (False, True)]),
)
def test_contrastive_loss(
    rows: int, width: int, legacy: bool, margin: float, wanted: tuple[bool, bool]
) -> None:
    rng = np.random.default_rng(3)
    similarity = rng.choice([0, 1, -1, 0.9, -0.6, 2, np.inf], rows).astype(np.float32)
    shape = (rows, width)
    a, b = numbers(shape, 0), numbers(shape, 1)
    b[0] = a[0]  # no distance to divide by
    compare(
        'type: "ContrastiveLoss" bottom: "a" bottom: "b" bottom: "s" top: "loss" '
        f"contrastive_loss_param {{ margin: {margin} "
        f"legacy_version: {str(legacy).lower()} }}",
        [shape, shape, (rows,)],
        bottoms=[a, b, similarity],
        wanted_bottoms=[*wanted, False],
        usual=width,
    )


def test_a_similarity_that_is_no_number_is_an_error() -> None:
    text = (
        'name: "l" type: "ContrastiveLoss" bottom: "a" bottom: "b" bottom: "s" '
        'top: "loss"'
    )
    shapes = [(3, 4), (3, 4), (3,)]
    layer = LoneLayer(text, shapes, backend=CPU, dtype="float32")
    similarity = np.float32([0, np.nan, 1])
    with pytest.raises(SpecError, match="holds nan at place 1; expected 0 for a pair"):
        layer.forward([numbers((3, 4), 0), numbers((3, 4), 1), similarity])


def test_what_is_no_number_stays() -> None:
    x = np.float32([np.nan, np.inf, -np.inf, 1e30, -1e30, 0])
    zeros = np.zeros(6, np.float32)
    for kind in ("EuclideanLoss", "SmoothL1Loss", "SigmoidCrossEntropyLoss"):
        text = f'type: "{kind}" bottom: "a" bottom: "b" top: "loss"'
        made = []
        for backend in (CPU, PORTABLE):
            layer = LoneLayer(text, [(6,), (6,)], backend=backend, dtype="float32")
            with np.errstate(all="ignore"):
                made.append([*layer.forward([x, zeros]), *layer.backward([1.0])[0]])
        for got, want in zip(*made, strict=True):
            if want is not None:
                np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        'type: "EuclideanLoss" bottom: "a" bottom: "b" top: "loss"',
        'type: "SmoothL1Loss" bottom: "a" bottom: "b" top: "loss"',
        (
            'type: "SigmoidCrossEntropyLoss" bottom: "a" bottom: "b" top: "loss" '
            "loss_param { ignore_label: 0 normalization: VALID }"
        ),
        (
            'type: "Reduction" bottom: "a" top: "y" '
            "reduction_param { axis: 1 operation: SUMSQ }"
        ),
    ],
)
def test_sums_have_the_same_bits_on_any_threads(text: str) -> None:
    shape, many = (3, 20001), text.count("bottom:")
    bottoms = [numbers(shape, index) for index in range(many)]
    compare(text, [shape] * many, bottoms=bottoms, usual=20001)
    made = []
    for threads in (1, 2, 5):
        backend = CpuBackend(threads)
        layer = LoneLayer(text, [shape] * many, backend=backend, dtype="float32")
        made.append(results(layer, bottoms, False))
    for other in made[1:]:
        for got, want in zip(other, made[0], strict=True):
            if want is not None:
                np.testing.assert_array_equal(got, want)
