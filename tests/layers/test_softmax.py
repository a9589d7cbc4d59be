"""Softmax and its loss against loops over places."""

from __future__ import annotations

import math

import numpy as np
import pytest

from netspec.errors import SpecError
from netspec.ops.base import count
from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer, check_layer


def probabilities(op, x):
    y = np.empty_like(x)
    moved, out = np.moveaxis(x, op.axis, -1), np.moveaxis(y, op.axis, -1)
    for place in np.ndindex(moved.shape[:-1]):
        powers = [math.exp(value) for value in moved[place]]
        out[place] = [value / sum(powers) for value in powers]
    return y


def divisor(op, counted: int, places: int) -> int:
    batch = count(op.bottoms[0], 0, op.axis)
    sizes = {"VALID": counted, "FULL": places, "BATCH_SIZE": batch, "NONE": 1}
    return max(1, sizes[op.normalization])


def logistic(op, x, label):
    p = np.moveaxis(probabilities(op, x), op.axis, -1)
    total, counted = 0.0, 0
    for place, wanted in zip(np.ndindex(p.shape[:-1]), label.reshape(-1), strict=True):
        if int(wanted) != op.ignore_label:
            total -= math.log(p[place][int(wanted)])
            counted += 1
    return np.array(total / divisor(op, counted, label.size))


LABELS = np.random.default_rng(5).integers(0, 5, size=(2, 3, 4)) + 0.0


@pytest.mark.parametrize("place", ["", ' bottom: "a" top: "a"'])
@pytest.mark.parametrize(
    ("axis", "shape"), [(1, (2, 5, 3, 4)), (-2, (2, 3, 5)), (0, (5, 3)), (1, (3, 7))]
)
def test_softmax_along_an_axis(
    backend: Backend, axis: int, shape: tuple[int, ...], place: str
) -> None:
    text = f'type: "Softmax" softmax_param {{ axis: {axis} }}{place}'
    check_layer(text, [shape], probabilities, backend=backend)


def test_huge_scores_do_not_overflow(backend: Backend) -> None:
    layer = LoneLayer('type: "Softmax"', [(1, 3)], backend=backend, dtype="float32")
    (y,) = layer.forward([[[1000.0, 999.0, -1000.0]]])
    e = math.exp(-1)
    np.testing.assert_allclose(y, [[1 / (1 + e), e / (1 + e), 0]], rtol=1e-6)


@pytest.mark.parametrize("normalization", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
@pytest.mark.parametrize("ignore", ["", "ignore_label: 3"])
@pytest.mark.parametrize(
    ("axis", "shape", "label"),
    [
        (1, (2, 5, 3, 4), (2, 1, 3, 4)),
        (-1, (2, 3, 5), (2, 3)),
        (1, (24, 5), (24,)),
    ],
)
def test_the_loss_and_its_gradient_follow_the_definition(
    backend: Backend, axis: int, shape, label, ignore: str, normalization: str
) -> None:
    labels = LABELS.reshape(-1)[: math.prod(label)].reshape(label)
    text = (
        f'type: "SoftmaxWithLoss" softmax_param {{ axis: {axis} }} '
        f"loss_param {{ normalization: {normalization} {ignore} }}"
    )
    check_layer(text, [shape, labels], logistic, backend=backend)


def test_the_default_divisor_counts_the_labels_that_count(backend: Backend) -> None:
    text = 'type: "SoftmaxWithLoss" loss_param { ignore_label: 255 }'
    x = np.random.default_rng(0).normal(size=(3, 4))
    labels = [255.0, 2.0, 0.0]
    layer = LoneLayer(text, [(3, 4), (3,)], backend=backend)
    (loss,) = layer.forward([x, labels])
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(loss, -(np.log(p[1, 2]) + np.log(p[2, 0])) / 2)


def test_all_labels_ignored_is_loss_zero_and_gradient_zero(backend: Backend) -> None:
    text = 'type: "SoftmaxWithLoss" loss_param { ignore_label: 2 }'
    layer = LoneLayer(text, [(3, 4), (3,)], backend=backend)
    (loss,) = layer.forward([np.ones((3, 4)), [2.0, 2.0, 2.0]])
    (dx, _), _ = layer.backward([3.0])
    assert float(loss) == 0
    np.testing.assert_array_equal(dx, np.zeros((3, 4)))


def test_labels_are_cut_to_integers(backend: Backend) -> None:
    layer = LoneLayer('type: "SoftmaxWithLoss"', [(2, 3), (2,)], backend=backend)
    x = np.random.default_rng(1).normal(size=(2, 3))
    (cut,) = layer.forward([x, [1.9, 0.2]])
    (whole,) = layer.forward([x, [1.0, 0.0]])
    assert float(cut) == float(whole)


def test_a_vanished_probability_counts_as_the_smallest_normal(backend: Backend) -> None:
    shapes = [(1, 2), (1,)]
    layer = LoneLayer(
        'type: "SoftmaxWithLoss"', shapes, backend=backend, dtype="float32"
    )
    (loss,) = layer.forward([[[200.0, 0.0]], [1.0]])
    np.testing.assert_allclose(loss, -math.log(1.17549435e-38), rtol=1e-6)
    (dx, _), _ = layer.backward([0.5])
    np.testing.assert_allclose(dx, [[0.5, -0.5]], rtol=1e-6)


def test_a_second_top_holds_the_probabilities(backend: Backend) -> None:
    text = 'type: "SoftmaxWithLoss" top: "loss" top: "p"'
    layer = LoneLayer(text, [(2, 3), (2,)], backend=backend)
    x = np.random.default_rng(1).normal(size=(2, 3))
    _, p = layer.forward([x, [1.0, 0.0]])
    np.testing.assert_allclose(p, np.exp(x) / np.exp(x).sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("label", "ignore", "match"),
    [
        (4, "", (r"'cost' \(SoftmaxWithLoss\): bottom 1 \('y'\) holds the label 4 at "
                 r"place 1; expected 0 to 3, the classes of bottom 0 \('x'\)$")),
        (-1, "ignore_label: 255", "the label -1 at place 1; .*, or 255 to be ignored"),
    ],
)  # fmt: skip
def test_a_label_that_is_no_class_is_an_error(
    backend: Backend, label: float, ignore: str, match: str
) -> None:
    if backend.name != "numpy":
        pytest.skip("the device is not waited for; the loss becomes NaN")
    text = (
        f'name: "cost" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" '
        f"loss_param {{ {ignore} }}"
    )
    layer = LoneLayer(text, [(3, 4), (3,)], backend=backend)
    with pytest.raises(SpecError, match=match):
        layer.forward([np.ones((3, 4)), [1.0, label, 2.0]])


def test_where_nobody_looks_a_label_that_is_no_class_makes_the_loss_nan(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(backend), "anywhere", lambda self, mask: False)
    layer = LoneLayer('type: "SoftmaxWithLoss"', [(3, 4), (3,)], backend=backend)
    (loss,) = layer.forward([np.ones((3, 4)), [1.0, 9.0, 2.0]])
    assert math.isnan(float(loss))
    (dx, _), _ = layer.backward([1.0])
    assert np.isnan(dx[1]).all()
