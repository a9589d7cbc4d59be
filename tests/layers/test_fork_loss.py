"""Losses of forks against loops."""

import numpy as np
import pytest

from netspec.errors import SpecError
from tests.layers.harness import LoneLayer, check_layer
from tests.ops.reading import read, refuses


def l1(op, a, b):
    return sum(abs(x - y) for x, y in zip(a.flat, b.flat, strict=True)) / len(a)


@pytest.mark.parametrize("second", [(4, 3, 2), (4, 6)])
def test_l1_loss(backend, second):
    check_layer('type: "L1Loss"', [(4, 3, 2), second], l1, backend=backend)


def focal(op, x, label, ignored=None):
    """The loss, place by place; labels of -1 do not count."""
    n, c = x.shape[:2]
    rows = np.moveaxis(x.reshape(n, c, -1), 1, 2).reshape(-1, c)
    total, counted, all_p = 0.0, 0, []
    for row, t in zip(rows, label.reshape(-1).astype(int), strict=True):
        p = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        all_p.append(p)
        if t == op.ignore_label:
            continue
        counted += 1
        total -= op.factor * (op.base + op.sign * p[t]) ** op.gamma * np.log(p[t])
    loss = total / max(1, counted)
    if len(op.tops) == 1:
        return loss
    shape = (n, -1, c)
    return loss, np.moveaxis(np.array(all_p).reshape(shape), 2, 1).reshape(x.shape)


FOCAL = {
    "the paper's": "gamma: 1.5 alpha: 0.4",
    "of defaults": "alpha: 0.25",
    "plain": "gamma: 0 alpha: 1",
    "caffe-windows": "type: ONEADDP gamma: 3",
}


@pytest.mark.parametrize("case", FOCAL)
@pytest.mark.parametrize("shape", [(4, 3), (2, 5, 3, 4)])
def test_focal_loss(backend, case, shape):
    rng = np.random.default_rng(8)
    label = rng.integers(0, shape[1], size=(shape[0], *shape[2:]))
    label.flat[1] = -1
    check_layer(
        f'type: "FocalLoss" loss_param {{ ignore_label: -1 }} '
        f"focal_loss_param {{ {FOCAL[case]} }}",
        [rng.normal(size=shape) * 2, label],
        focal,
        backend=backend,
        gradient=lambda op, dtops, x, label: (
            [numeric(lambda each: focal(op, each, label), x) * dtops[0], None],
            [],
        ),
        float32_rtol=1e-4,
    )


def numeric(function, x):
    """Return the derivative by central differences of fourth order."""
    found = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        values = []
        for step in (-2e-3, -1e-3, 1e-3, 2e-3):
            moved = x.copy()
            moved[place] += step
            values.append(function(moved))
        found[place] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / 12e-3
    return found


def test_focal_loss_of_what_is_certain_is_finite(backend):
    for gamma in (0, 0.5, 2):
        text = f'type: "FocalLoss" focal_loss_param {{ gamma: {gamma} alpha: 1 }}'
        layer = LoneLayer(text, [(2, 3), (2,)], backend=backend, dtype="float32")
        x = [[200.0, 0, -100], [0, 200, 0]]
        (loss,) = layer.forward([x, [0, 0]])
        (dx, _), _ = layer.backward([1.0])
        assert np.isfinite(loss)
        assert np.isfinite(dx).all()
        np.testing.assert_array_equal(dx[0], 0)


def test_focal_loss_refuses():
    shapes = (4, 3), (4,)
    for options, match in (
        ("type: LINEAR", "type is LINEAR, whose formula is not known here"),
        ("gamma: -1", "gamma is -1; expected an exponent of at least 0"),
    ):
        text = f'type: "FocalLoss" focal_loss_param {{ {options} }}'
        refuses(text, *shapes, match=match)
    op = read('type: "FocalLoss" focal_loss_param { type: ONEADDP }', *shapes)
    assert (op.factor, op.base, op.sign, op.gamma) == (1, 1, 1, 2)


def center(op, x, label, centres):
    rows = x.reshape(len(x), -1)
    return sum(
        ((row - centres[int(t)]) ** 2).sum() for row, t in zip(rows, label, strict=True)
    ) / (2 * len(x))


def center_gradient(op, dtops, x, label, centres):
    rows = x.reshape(len(x), -1)
    dx = np.array([r - centres[int(t)] for r, t in zip(rows, label, strict=True)])
    dcentres = np.zeros_like(centres)
    for k in range(len(centres)):
        of_class = [place for place, t in enumerate(label) if t == k]
        for place in of_class:
            dcentres[k] -= dx[place] / (1 + len(of_class))
    return [(dx * dtops[0] / len(x)).reshape(x.shape), None], [dcentres]


@pytest.mark.parametrize("shape", [(5, 4), (6, 3, 2)])
def test_center_loss(backend, shape):
    rng = np.random.default_rng(2)
    label = rng.integers(0, 3, size=shape[0])
    label[:2] = 1
    check_layer(
        'type: "CenterLoss" center_loss_param { num_output: 7 }',
        [rng.normal(size=shape), label],
        center,
        backend=backend,
        gradient=center_gradient,
    )


def test_center_loss_refuses(backend):
    text = 'type: "CenterLoss" center_loss_param { num_output: %d }'
    refuses(text % 0, (4, 3), (4,), match="num_output is 0; give the number of classes")
    refuses(text % 5, (4, 3), (3,), match="the labels, has shape .* expected 4 values")
    if backend.on_host:
        layer = LoneLayer(text % 5, [(4, 3), (4,)], backend=backend)
        with pytest.raises(SpecError, match="holds the label 7 at place 2"):
            layer.forward([np.ones((4, 3)), [0, 1, 7, 2]], [np.ones((5, 3))])


def triplet(op, anchor, positive, negative):
    total = 0.0
    for a, p, n in zip(anchor, positive, negative, strict=True):
        near, far = ((a - p) ** 2).sum(), ((a - n) ** 2).sum()
        total += max(0, op.margin + near - far)
    return total / (2 * len(anchor))


@pytest.mark.parametrize("shape", [(6, 4), (6, 2, 3)])
@pytest.mark.parametrize("margin", ["", "triplet_loss_param { margin: -2.5 }"])
def test_triplet_loss(backend, shape, margin):
    text = f'type: "TripletLoss" {margin}'
    check_layer(text, [shape] * 3, triplet, backend=backend)


def test_triplet_loss_refuses():
    text = 'type: "TripletLoss" triplet_loss_param { %s }'
    for field in ("group_size: 2", "scale: 3"):
        match = r"is of ArcFace's TripletLoss, whose formula is not known here"
        refuses(text % field, (4, 3), (4, 3), (4, 3), match=match)
    match = r"bottom 2 \('b2'\) \(4, 2\); expected anchors, positives and negatives"
    refuses(text % "", (4, 3), (4, 3), (4, 2), match=match)


TARGETS = np.random.default_rng(7).choice([0, 1, 1, 0.5, 255], size=(4, 1, 3, 6))
TARGETS[1] = 1  # an image of one kind
TARGETS[2] = -1  # one where nothing counts


def balanced(op, x, target):
    """The loss, score by score."""
    total = 0.0
    for scores, wanted in zip(x, target, strict=True):
        positives, negatives = (wanted == 1).sum(), (wanted == 0).sum()
        for score, t in zip(scores.flat, wanted.flat, strict=True):
            p = 1 / (1 + np.exp(-score))
            if t == 1:
                total -= negatives / (positives + negatives) * np.log(p)
            elif t == 0:
                total -= positives / (positives + negatives) * np.log(1 - p)
    return total / len(x)


def test_sigmoid_cross_entropy_balance_loss(backend):
    scores = np.random.default_rng(5).normal(size=TARGETS.shape) * 3
    check_layer(
        'type: "SigmoidCrossEntropyBalanceLoss"',
        [scores, TARGETS],
        balanced,
        backend=backend,
        float32_rtol=1e-4,
    )


def test_what_does_not_count_in_a_balance_loss_may_be_no_number(backend):
    text = 'type: "SigmoidCrossEntropyBalanceLoss"'
    layer = LoneLayer(text, [(2, 3), (2, 3)], backend=backend)
    x = [[800.0, -800, np.nan], [2, -1, 3]]
    (loss,) = layer.forward([x, [[1, 0, 255], [1, 0, 255]]])
    (dx, _), _ = layer.backward([1.0])
    assert loss == pytest.approx((np.log1p(np.exp(-2)) + np.log1p(np.exp(-1))) / 4)
    np.testing.assert_allclose(dx[0], 0, atol=1e-12)
    assert dx[1, 2] == 0


def test_sigmoid_cross_entropy_balance_loss_refuses():
    text = 'type: "SigmoidCrossEntropyBalanceLoss"'
    refuses(text, (4, 3), (4, 2), match="one target for every score")
    refuses(text, (4, 3), (3, 4), match="must have the same first axis")
