"""Losses against the portable kernels."""

import numpy as np
import pytest

from netspec.ops.base import count
from runtime.backends.cuda.layers import loss
from tests.backends.cuda.oracle import check_own
from tests.layers.harness import LoneLayer

PRECISIONS = ["float32", "bf16", "fp16"]
NORMALIZATIONS = ["FULL", "VALID", "BATCH_SIZE", "NONE"]
SCORES = [  # shape, axis, order: rows and classes of any number
    ((7, 10), 1, None),
    ((1, 1), 1, None),
    ((5, 1000), 1, None),
    ((300, 3), 1, None),
    ((3, 5, 4, 6), 1, "last"),
    ((2, 21, 9, 11), 1, None),
    ((2, 6, 5, 3), 2, None),
    ((4, 3, 37), 2, None),
    ((6, 4, 2), 0, None),
]


def logistic(axis=1, options="", tops=1):
    top = 'top: "loss" top: "p"' if tops == 2 else ""
    return (
        f'type: "SoftmaxWithLoss" {top} softmax_param {{ axis: {axis} }} '
        f"loss_param {{ {options} }}"
    )


def labels(shape, axis, rng, extra=()):
    """Return labels of scores, some of which are one of `extra`."""
    other = (*shape[:axis], *shape[axis + 1 :]) if axis else shape[1:]
    values = rng.integers(shape[axis], size=other or (1,)).astype(np.float64)
    if axis == 0:  # labels and scores have the same first axis
        values = values.reshape(shape[1:])
    chosen = rng.random(values.shape) < 0.3
    return np.where(chosen, rng.choice(extra), values) if len(extra) else values


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape, axis, order", SCORES[:-1])
def test_the_logistic_loss(cuda, shape, axis, order, precision, rng):
    options = dict(precision=precision, own=loss.SoftmaxWithLoss, order=order)
    check_own(cuda, logistic(axis), [shape, labels(shape, axis, rng)], **options)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("ignored", [-1, 2, 255])
@pytest.mark.parametrize("shape, axis, order", SCORES[3:6])
def test_ignored_labels(cuda, shape, axis, order, ignored, normalization, rng):
    text = logistic(axis, f"ignore_label: {ignored} normalization: {normalization}")
    given = labels(shape, axis, rng, [ignored])
    check_own(cuda, text, [shape, given], own=loss.SoftmaxWithLoss, order=order)
    nothing = np.full_like(given, ignored)
    check_own(cuda, text, [shape, nothing], own=loss.SoftmaxWithLoss, order=order)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_normalization(cuda, normalization, rng):
    shape = (3, 5, 4, 6)
    text = logistic(options=f"normalization: {normalization}")
    check_own(cuda, text, [shape, labels(shape, 1, rng)], own=loss.SoftmaxWithLoss)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape, axis, order", SCORES[3:8])
def test_the_probabilities_are_a_second_top(cuda, shape, axis, order, precision, rng):
    options = dict(precision=precision, own=loss.SoftmaxWithLoss, order=order)
    given = [shape, labels(shape, axis, rng)]
    check_own(cuda, logistic(axis, tops=2), given, **options)


def test_scores_that_are_large_and_unlikely(cuda, rng):
    x = rng.normal(size=(6, 9)) * 1000
    check_own(cuda, logistic(), [x, labels(x.shape, 1, rng)], own=loss.SoftmaxWithLoss)
    x = np.zeros((2, 3))
    x[0, 0] = 88  # the others have about the least normal number for a probability
    check_own(cuda, logistic(), [x, np.ones(2)], own=loss.SoftmaxWithLoss)


def test_labels_are_cut(cuda):
    given = np.array([1.9, -0.9, 2.0, 0.2])
    check_own(cuda, logistic(), [(4, 3), given], own=loss.SoftmaxWithLoss)


@pytest.mark.parametrize("bad", [3.0, -1.0, np.nan, np.inf, -1e30, 1e19])
@pytest.mark.parametrize("normalization", ["FULL", "VALID"])
@pytest.mark.parametrize(
    "text", [logistic(), 'type: "HingeLoss"', 'type: "MultinomialLogisticLoss"']
)
def test_a_label_that_is_no_class_makes_the_loss_nan(cuda, text, normalization, bad):
    options = f"loss_param {{ normalization: {normalization} }}"
    text = text.replace("loss_param {  }", options)
    layer = LoneLayer(text, [(4, 3), (4,)], backend=cuda, dtype="float32")
    x = np.full((4, 3), 0.25)
    (value,) = layer.forward([x, [0, 1, bad, 2]])
    assert np.isnan(value)
    (dx, _), _ = layer.backward([1.0])
    assert np.isnan(dx[2]).any()
    (value,) = layer.forward([x, [0, 1, 1, 2]])
    assert np.isfinite(value)


def test_scores_that_are_no_numbers(cuda, rng):
    x = rng.normal(size=(4, 3))
    x[2, 1] = np.nan
    check_own(cuda, logistic(), [x, [0, 1, 0, 2]], own=loss.SoftmaxWithLoss)


PAIRS = [(1, 1), (5, 7), (3, 4, 5, 6), (2, 3000)]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", PAIRS)
def test_the_euclidean_loss(cuda, shape, precision):
    options = dict(precision=precision, own=loss.EuclideanLoss)
    check_own(cuda, 'type: "EuclideanLoss"', [shape, shape], **options)


@pytest.mark.parametrize("wanted", [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("name", ["EuclideanLoss", "SmoothL1Loss"])
def test_some_gradients(cuda, name, wanted):
    shapes = [(5, 7), (5, 7, 1)]
    check_own(cuda, f'type: "{name}"', shapes, wanted_bottoms=wanted)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("ignored", ["", "ignore_label: 1", "ignore_label: 0"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_cross_entropy(cuda, normalization, ignored, precision, rng):
    text = (
        f'type: "SigmoidCrossEntropyLoss" '
        f"loss_param {{ {ignored} normalization: {normalization} }}"
    )
    x = rng.normal(size=(5, 3, 7)) * 4
    x.flat[:4] = [100, -100, 1e-3, 30]
    target = np.where(rng.random(x.shape) < 0.3, 1, rng.uniform(0, 1, x.shape))
    options = dict(precision=precision, own=loss.SigmoidCrossEntropyLoss)
    check_own(cuda, text, [x, target], **options)


@pytest.mark.parametrize("bottoms", [2, 3, 4])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", PAIRS)
def test_smooth_l1(cuda, shape, precision, bottoms):
    text = 'type: "SmoothL1Loss" smooth_l1_loss_param { sigma: 1.5 }'
    options = dict(precision=precision, own=loss.SmoothL1Loss)
    check_own(cuda, text, [shape] * bottoms, **options)


@pytest.mark.parametrize("norm", ["L1", "L2"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", PAIRS)
def test_hinge(cuda, shape, precision, norm, rng):
    text = f'type: "HingeLoss" hinge_loss_param {{ norm: {norm} }}'
    given = rng.integers(count(shape, 1), size=shape[0])
    options = dict(precision=precision, own=loss.HingeLoss)
    check_own(cuda, text, [shape, given], **options)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", PAIRS)
def test_likelihood(cuda, shape, precision, rng):
    x = rng.uniform(0.01, 1, size=shape)
    x.flat[1:2] = 0
    given = rng.integers(count(shape, 1), size=shape[0])
    options = dict(precision=precision, own=loss.MultinomialLogisticLoss)
    check_own(cuda, 'type: "MultinomialLogisticLoss"', [x, given], **options)


@pytest.fixture
def rng():
    return np.random.default_rng(3)
