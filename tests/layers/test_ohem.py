"""Online hard example mining against loops over items."""

from __future__ import annotations

import math

import numpy as np
import pytest

from netspec.errors import SpecError
from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer, check_layer
from tests.ops.reading import refuses

MODES = ["", "FULL", "VALID", "BATCH_SIZE", "NONE", "PRE_FIXED"]


def loss_param(mode, *more):
    given = f"normalization: {mode}" if mode else ""
    fixed = "pre_fixed_normalizer: 2.5" if mode == "PRE_FIXED" else ""
    return f"loss_param {{ {given} {fixed} {' '.join(more)} }}"


def divisor(op, batch, positions, counted):
    sizes = {"FULL": positions, "VALID": counted, "BATCH_SIZE": batch, "NONE": 1}
    return max(1, sizes.get(op.normalization, 2.5))


def terms(a, b, weights):
    errors = np.zeros(a.shape)
    for place in np.ndindex(a.shape):
        d = abs(weights[place] * (a[place] - b[place]))
        errors[place] = d * d / 2 if d < 1 else d - 0.5
    return errors


def smooth(op, a, b, weights=None):
    b = b.reshape(a.shape)
    weights = np.ones(a.shape) if weights is None else weights
    errors = terms(a, b, weights)
    positions = a.size // a.shape[1]
    loss = errors.sum() / divisor(op, len(a), positions, positions)
    return (np.array(loss), errors.sum(1, keepdims=True))[: len(op.tops)]


def smooth_gradient(op, dtops, a, b, weights=None):
    weights = np.ones(a.shape) if weights is None else weights
    positions = a.size // a.shape[1]
    slope = np.clip(weights * (a - b.reshape(a.shape)), -1, 1) * weights
    da = slope * dtops[0] / divisor(op, len(a), positions, positions)
    return (da, -da.reshape(b.shape), None)[: len(op.bottoms)], ()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bottoms", [2, 3])
def test_smooth_l1_loss_has_the_loss_of_every_item(
    backend: Backend, mode: str, bottoms: int
) -> None:
    text = f'type: "SmoothL1LossOHEM" {loss_param(mode)} top: "l" top: "t"'
    check_layer(text, [(4, 3, 2, 5)] * bottoms, smooth, backend=backend,
                gradient=smooth_gradient)  # fmt: skip


def test_smooth_l1_loss_of_rows_may_have_one_top(backend: Backend) -> None:
    check_layer('type: "SmoothL1LossOHEM"', [(4, 3), (4, 3)], smooth, backend=backend,
                gradient=smooth_gradient)  # fmt: skip


LABELS = np.array([[1.0, 2.9, 0.0, -1.0, 2.0, 1.0], [0.0, 1.0, 2.0, 2.0, -1.0, 0.0]])


def logistic(op, x, label):
    losses, counted = np.zeros(label.shape), 0
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    flat = np.moveaxis(p, 1, -1).reshape(-1, p.shape[1])
    for place, value in enumerate(label.reshape(-1)):
        if int(value) != op.ignore_label:
            losses.reshape(-1)[place] = -math.log(flat[place, int(value)])
            counted += 1
    loss = losses.sum() / divisor(op, len(x), label.size, counted)
    return (np.array(loss), p, losses)[: len(op.tops)]


def logistic_gradient(op, dtops, x, label):
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    dx, counted = np.moveaxis(p, 1, -1).copy(), 0
    rows = dx.reshape(-1, p.shape[1])
    for place, value in enumerate(label.reshape(-1)):
        if int(value) == op.ignore_label:
            rows[place] = 0
        else:
            rows[place, int(value)] -= 1
            counted += 1
    dx = np.moveaxis(dx, -1, 1)
    return (dx * dtops[0] / divisor(op, len(x), label.size, counted), None), ()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tops", [1, 2, 3])
def test_softmax_loss_has_the_loss_of_every_label(
    backend: Backend, mode: str, tops: int
) -> None:
    param = loss_param(mode, "ignore_label: -1")
    names = " ".join(f'top: "t{index}"' for index in range(tops))
    text = f'type: "SoftmaxWithLossOHEM" {param} {names}'
    check_layer(text, [(2, 3, 6), LABELS], logistic, backend=backend,
                gradient=logistic_gradient)  # fmt: skip


def test_other_losses_are_divided_by_a_fixed_number_too(backend: Backend) -> None:
    label = LABELS[:1, :3].ravel()
    for kind, target in (
        ("SoftmaxWithLoss", label),
        ("SigmoidCrossEntropyLoss", np.full((3, 4), 0.3)),
        ("InfogainLoss", label),
    ):
        losses = []
        more = [np.arange(16).reshape(4, 4)] if kind == "InfogainLoss" else []
        inputs = [np.arange(12).reshape(3, 4) / 7, target, *more]
        for dtype in ("float32", "float64"):
            for mode in ("NONE", "PRE_FIXED"):
                text = f'type: "{kind}" {loss_param(mode)}'
                shapes = [np.shape(one) for one in inputs]
                layer = LoneLayer(text, shapes, backend=backend, dtype=dtype)
                (loss,) = layer.forward(inputs)
                (dx, *_), _ = layer.backward([1])
                losses.append((loss, dx))
        for (loss, dx), (less, dless) in zip(losses[::2], losses[1::2], strict=True):
            np.testing.assert_allclose(loss, less * 2.5, rtol=1e-6)
            np.testing.assert_allclose(dx, dless * 2.5, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("value", ["0", "-3", "nan"])
def test_a_fixed_divisor_without_sense_is_refused(value: str) -> None:
    text = f"""type: "SmoothL1LossOHEM" loss_param {{ normalization: PRE_FIXED
        pre_fixed_normalizer: {value} }}"""
    match = f"pre_fixed_normalizer is {value}; expected what the loss is divided by"
    refuses(text, (4, 3), (4, 3), match=match)


def annotated(op, regions, loss, labels, weights):
    labels, weights = labels.copy(), weights.copy()
    inner = loss[0].size
    spread = weights.reshape(len(weights), -1, inner)
    places = list(np.ndindex(len(loss), inner))
    images = regions.reshape(len(regions), 5, inner)[:, 0]
    flat = loss.reshape(len(loss), inner)
    left = {int(image): op.roi_per_img for image in images.ravel()}
    for n, s in sorted(places, key=lambda place: -flat[place]):  # a stable sort
        image = int(images[n, s])
        left[image] -= 1
        if left[image] < 0:
            labels.reshape(len(labels), inner)[n, s] = op.ignore_label
            spread[n, :, s] = 0
    return labels, weights


ANNOTATOR = """type: "BoxAnnotatorOHEM" top: "l" top: "w"
    box_annotator_ohem_param { roi_per_img: 3 ignore_label: -7 }"""


@pytest.mark.parametrize("tail", [(), (1, 1), (2, 3)])
def test_the_regions_of_the_largest_losses_keep_labels_and_weights(
    backend: Backend, tail: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(4)
    regions = rng.normal(size=(7, 5, *tail)) * 20
    regions[:, 0] = rng.choice([0, 2, 2.9], (7, *tail))
    loss = rng.choice([0.5, 1.5, 2, 3], (7, 1, *tail))
    labels = rng.integers(0, 4, (7, 1, *tail))
    weights = rng.normal(size=(7, 8, *tail))
    check_layer(
        ANNOTATOR,
        [regions, loss, labels, weights],
        annotated,
        backend=backend,
        gradient=False,
        equal_sizes="regions have one loss and one label",
    )


def test_a_loss_that_is_no_number_is_an_error(backend: Backend) -> None:
    shapes = [(3, 5), (3, 1), (3, 1), (3, 4)]
    layer = LoneLayer(ANNOTATOR, shapes, backend=backend)
    values = [np.ones(shape) for shape in shapes]
    values[1][1] = np.nan
    with pytest.raises(SpecError, match=r"bottom 1 \('bottom1'\) holds nan for regio"):
        layer.forward(values)
