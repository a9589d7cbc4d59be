"""Losses against loops over values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer, check_layer

RNG = np.random.default_rng(8)
TARGETS = RNG.choice([-0.6, 0.0, 0.3, 0.7, 1.0, 1.4], size=(4, 3, 5))
PAIRS = (6, 4)
SIMILAR = np.array([1.0, 0.0, 0.4, 1.6, 0.0, -0.5])


def cross_entropy(op, x, target):
    total, counted = 0.0, 0
    for place in np.ndindex(x.shape):
        t = target.reshape(x.shape)[place]
        if int(t) == op.ignore_label:
            continue
        p = 1 / (1 + math.exp(-x[place]))
        total -= t * math.log(p) + (1 - t) * math.log(1 - p)
        counted += 1
    sizes = {"VALID": counted, "FULL": x.size, "BATCH_SIZE": len(x), "NONE": 1}
    return np.array(total / max(1, sizes[op.normalization]))


@pytest.mark.parametrize("normalization", ["VALID", "FULL", "BATCH_SIZE", "NONE", ""])
@pytest.mark.parametrize("ignore", ["", "ignore_label: 0", "ignore_label: 1"])
def test_sigmoid_cross_entropy_ignores_targets_by_their_cut_value(
    backend: Backend, ignore: str, normalization: str
) -> None:
    given = f"normalization: {normalization}" if normalization else ""
    text = f'type: "SigmoidCrossEntropyLoss" loss_param {{ {given} {ignore} }}'
    targets = TARGETS.reshape(4, 15)
    check_layer(text, [(4, 3, 5), targets], cross_entropy, backend=backend)


def test_sigmoid_cross_entropy_divides_by_the_batch_by_default(
    backend: Backend,
) -> None:
    layer = LoneLayer(
        'type: "SigmoidCrossEntropyLoss"', [(3, 5), (3, 5)], backend=backend
    )
    (loss,) = layer.forward([np.zeros((3, 5)), np.ones((3, 5))])
    np.testing.assert_allclose(loss, 5 * math.log(2))


def test_sigmoid_cross_entropy_of_sure_scores_is_finite(backend: Backend) -> None:
    text = 'type: "SigmoidCrossEntropyLoss"'
    layer = LoneLayer(text, [(1, 2), (1, 2)], backend=backend, dtype="float32")
    (loss,) = layer.forward([[[300.0, -300.0]], [[0.0, 0.0]]])
    np.testing.assert_allclose(loss, 300, rtol=1e-6)


def euclidean(op, a, b):
    total = 0.0
    for place in np.ndindex(a.shape):
        total += (a[place] - b.reshape(a.shape)[place]) ** 2
    return np.array(total / (2 * a.shape[0]))


def test_euclidean_loss_has_both_gradients(backend: Backend) -> None:
    check_layer('type: "EuclideanLoss"', [(4, 3, 5), (4, 15)], euclidean,
                backend=backend)  # fmt: skip


def contrastive(op, a, b, similarity):
    total = 0.0
    for n in range(a.shape[0]):
        squared = sum((x - y) ** 2 for x, y in zip(a[n], b[n], strict=True))
        if int(similarity[n]):
            total += squared
        elif op.legacy_version:
            total += max(op.margin - squared, 0)
        else:
            total += max(op.margin - math.sqrt(squared), 0) ** 2
    return np.array(total / (2 * a.shape[0]))


def contrastive_gradient(op, dtops, a, b, similarity):
    da = np.zeros_like(a)
    for n in range(a.shape[0]):
        difference = a[n] - b[n]
        squared = float(difference @ difference)
        distance = math.sqrt(squared)
        if int(similarity[n]):
            factor = 1.0
        elif op.legacy_version:
            factor = -1.0 if squared < op.margin else 0.0
        else:
            factor = -max(op.margin - distance, 0) / (distance + 1e-4)
        da[n] = factor * difference * dtops[0] / a.shape[0]
    return (da, -da, None), ()


@pytest.mark.parametrize("legacy", ["false", "true"])
def test_contrastive_loss_pulls_and_pushes(backend: Backend, legacy: str) -> None:
    text = (
        'type: "ContrastiveLoss" '
        f"contrastive_loss_param {{ margin: 2.5 legacy_version: {legacy} }}"
    )
    a, b = RNG.normal(size=PAIRS), RNG.normal(size=PAIRS) * 0.7
    check_layer(text, [a, b, SIMILAR], contrastive, backend=backend,
                gradient=contrastive_gradient)  # fmt: skip


def test_a_pair_in_one_point_is_not_pushed(backend: Backend) -> None:
    layer = LoneLayer(
        'type: "ContrastiveLoss"', [(1, 2), (1, 2), (1,)], backend=backend
    )
    (loss,) = layer.forward([[[3.0, 4.0]], [[3.0, 4.0]], [0.0]])
    (da, db, _), _ = layer.backward([1.0])
    assert float(loss) == 0.5
    np.testing.assert_array_equal(np.concatenate([da, db]), np.zeros((2, 2)))


def smooth(op, a, b, inside=None, outside=None):
    inside = np.ones_like(a) if inside is None else inside
    outside = np.ones_like(a) if outside is None else outside
    total, s = 0.0, op.sigma**2
    for place in np.ndindex(a.shape):
        d = abs(inside[place] * (a[place] - b[place]))
        total += outside[place] * (s * d * d / 2 if d < 1 / s else d - 0.5 / s)
    return np.array(total / op.divisor)


def smooth_gradient(op, dtops, a, b, inside=None, outside=None):
    inside = np.ones_like(a) if inside is None else inside
    outside = np.ones_like(a) if outside is None else outside
    slope = np.clip(op.sigma**2 * inside * (a - b), -1, 1) * inside * outside
    da = slope * dtops[0] / op.divisor
    return (da, -da, None, None)[: len(op.bottoms)], ()


@pytest.mark.parametrize("weights", [0, 1, 2])
def test_smooth_l1_loss_is_a_parabola_near_zero(backend: Backend, weights: int) -> None:
    text = 'type: "SmoothL1Loss" smooth_l1_loss_param { sigma: 1.3 }'
    check_layer(text, [(3, 4, 2)] * (2 + weights), smooth, backend=backend,
                gradient=smooth_gradient)  # fmt: skip


def positions(op, a, b, *weights):
    each = np.zeros((a.shape[0], 1, *a.shape[2:]))
    for place in np.ndindex(a.shape):
        one = tuple(slice(i, i + 1) for i in place)
        loss = smooth(op, a[one], b[one], *(w[one] for w in weights))
        each[(place[0], 0, *place[2:])] += loss * op.divisor
    return smooth(op, a, b, *weights), each


@pytest.mark.parametrize("bottoms", [2, 3])
def test_smooth_l1_loss_of_r_fcn_has_the_losses_of_positions(
    backend: Backend, bottoms: int
) -> None:
    text = """type: "SmoothL1Loss" top: "l" top: "each"
              loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 7 }"""
    check_layer(text, [(3, 4, 2, 5)] * bottoms, positions, backend=backend,
                gradient=smooth_gradient)  # fmt: skip


LABELS = np.array([3.0, 0.9, 1.0, 4.0, 2.0, 1.0])


def hinge(op, x, label):
    total = 0.0
    rows = x.reshape(x.shape[0], -1)
    for n, k in np.ndindex(rows.shape):
        sign = 1 if k == int(label[n]) else -1
        margin = max(1 - sign * rows[n, k], 0)
        total += margin if op.norm == "L1" else margin**2
    return np.array(total / x.shape[0])


@pytest.mark.parametrize("norm", ["L1", "L2"])
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1, 3)])
def test_hinge_loss(backend: Backend, shape: tuple[int, ...], norm: str) -> None:
    text = f'type: "HingeLoss" hinge_loss_param {{ norm: {norm} }}'
    check_layer(text, [shape, LABELS], hinge, backend=backend)


def multinomial(op, x, label):
    total = 0.0
    rows = x.reshape(x.shape[0], -1)
    for n in range(x.shape[0]):
        total -= math.log(max(rows[n, int(label[n])], 1e-20))
    return np.array(total / x.shape[0])


def test_multinomial_logistic_loss(backend: Backend) -> None:
    x = RNG.uniform(0.1, 1, size=(6, 5))
    check_layer('type: "MultinomialLogisticLoss"', [x, LABELS], multinomial,
                backend=backend)  # fmt: skip


def test_multinomial_logistic_loss_clamps_its_gradient_too(backend: Backend) -> None:
    text = 'type: "MultinomialLogisticLoss"'
    layer = LoneLayer(text, [(1, 3), (1,)], backend=backend, dtype="float32")
    (loss,) = layer.forward([[[1e-30, 0.5, 0.5]], [0.0]])
    np.testing.assert_allclose(loss, -math.log(1e-20), rtol=1e-6)
    (dx, _), _ = layer.backward([1.0])
    assert dx is not None
    np.testing.assert_allclose(dx, [[-1e20, 0, 0]], rtol=1e-6)
