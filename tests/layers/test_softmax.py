"""Softmax and its loss against loops over places."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from netspec.errors import FileError, ShapeError, SpecError, SpecWarning
from netspec.ops.base import count
from netspec.schema import BlobProto
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


def weighed(op, x, label):
    """The loss with class weights and smoothing, term by term."""
    p = np.moveaxis(probabilities(op, x), op.axis, -1)
    classes = p.shape[-1]
    numbers = [int(value) for value in label.reshape(-1)]
    total, counted = 0.0, 0
    for place, wanted in zip(np.ndindex(p.shape[:-1]), numbers, strict=True):
        if wanted == op.ignore_label:
            continue
        counted += 1
        weight = 1.0
        if op.class_weighting:
            weight = op.class_weighting[wanted]
        elif op.by_frequency:
            weight = 1 / numbers.count(wanted)
        for k in range(classes):
            share = op.label_smoothing / classes
            if k == wanted:
                share = 1 - op.label_smoothing
            total -= weight * share * math.log(p[place][k])
    return np.array(total / divisor(op, counted, label.size))


WEIGHTS = "".join(f" class_weighting: {w}" for w in (0.25, 1.5, 0.75, 3, 0))
BALANCED = "weight_by_label_freqs: true"


@pytest.mark.parametrize(
    "options",
    [
        BALANCED,
        BALANCED + WEIGHTS,
        "label_smoothing: 0.3",
        BALANCED + WEIGHTS + " label_smoothing: 0.125 normalization: BATCH_SIZE",
        BALANCED + " label_smoothing: 0.125 normalization: FULL",
    ],
)
@pytest.mark.parametrize("ignore", ["", "ignore_label: 4", "ignore_label: 255"])
@pytest.mark.parametrize(
    ("axis", "shape", "label"),
    [
        (1, (2, 5, 3, 4), (2, 1, 3, 4)),
        (-1, (2, 3, 5), (2, 3)),
        (1, (24, 5), (24,)),
    ],
)
def test_classes_weigh_and_labels_are_smooth(
    backend: Backend, axis: int, shape, label, ignore: str, options: str
) -> None:
    labels = LABELS.reshape(-1)[: math.prod(label)].reshape(label).copy()
    if "255" in ignore:
        labels.reshape(-1)[2::5] = 255
    text = (
        f'type: "SoftmaxWithLoss" softmax_param {{ axis: {axis} }} '
        f"loss_param {{ {options} {ignore} }}"
    )
    check_layer(text, [shape, labels], weighed, backend=backend)


def test_a_smooth_label_has_the_gradient_of_intel_caffe(backend: Backend) -> None:
    text = 'type: "SoftmaxWithLoss" loss_param { label_smoothing: 0.25 }'
    layer = LoneLayer(text, [(2, 4), (2,)], backend=backend)
    x = np.random.default_rng(3).normal(size=(2, 4))
    layer.forward([x, [2.0, 0.0]])
    (dx, _), _ = layer.backward([1.0])
    alpha, beta = 0.75, 0.25 / 4
    expected = probabilities(layer.op, x) * (alpha + 3 * beta) - beta
    expected[0, 2] += beta - alpha
    expected[1, 0] += beta - alpha
    np.testing.assert_allclose(dx, expected / 2, rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ("label_smoothing: 1", "label_smoothing is 1; expected at least 0 and below 1"),
        (
            BALANCED + " class_weighting: 2",
            r"given 1 times for 4 classes; give a weigh",
        ),
        (BALANCED + 4 * " class_weighting: -1", r"class_weighting is \(-1.0, .*from 0"),
    ],
)
def test_weights_that_cannot_be_are_refused(
    backend: Backend, options: str, match: str
) -> None:
    text = f'name: "cost" type: "SoftmaxWithLoss" loss_param {{ {options} }}'
    with pytest.raises(SpecError, match=r"'cost' \(SoftmaxWithLoss\).*" + match):
        LoneLayer(text, [(3, 4), (3,)], backend=backend)


def test_weights_that_nobody_asked_for_are_told(backend: Backend) -> None:
    text = 'type: "SoftmaxWithLoss" loss_param { class_weighting: 2 }'
    with pytest.warns(SpecWarning, match="no effect without weight_by_label_freqs"):
        layer = LoneLayer(text, [(3, 1), (3,)], backend=backend)
    assert layer.op.class_weighting == ()


def test_other_losses_tell_that_they_have_no_weights(backend: Backend) -> None:
    text = 'type: "SigmoidCrossEntropyLoss" loss_param { label_smoothing: 0.5 }'
    with pytest.warns(SpecWarning, match="label_smoothing has no effect here; only"):
        LoneLayer(text, [(3, 4), (3, 4)], backend=backend)


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
    assert dx is not None
    assert float(loss) == 0
    np.testing.assert_array_equal(dx, np.zeros((3, 4)))


@pytest.mark.parametrize("normalization", ["VALID", "FULL", "BATCH_SIZE"])
def test_an_empty_batch_is_loss_zero(backend: Backend, normalization: str) -> None:
    text = f'type: "SoftmaxWithLoss" loss_param {{ normalization: {normalization} }}'
    layer = LoneLayer(text, [(0, 4), (0,)], backend=backend)
    (loss,) = layer.forward([np.zeros((0, 4)), np.zeros(0)])
    assert float(loss) == 0


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
    assert dx is not None
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
                 r"place 1; expected 0 to 3, the classes of bottom 0 \('x'\); "
                 r"if 4 marks .* add loss_param { ignore_label: 4 }; else give the "
                 r"layer that makes 'x' num_output: 5 or more")),
        (-1, "", "-1 marks .* loss_param { ignore_label: -1 }; else labels count from"),
        (255, "", "add loss_param { ignore_label: 255 }; else .* num_output: 256 or"),
        (4, "ignore_label: 255", "or 255 to be ignored; give the layer that makes 'x'"),
        (-1, "ignore_label: 255", "the label -1 at place 1; .*ignored; labels count"),
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
    assert dx is not None
    assert np.isnan(dx[1]).all()


RNG = np.random.default_rng(8)
MATRIX = RNG.uniform(0.1, 2, size=(5, 5))
ROW = np.array([3.0, 0.9, 1.0, 4.0, 2.0, 1.0])


def infogain(op, x, label, matrix=MATRIX):
    p = np.moveaxis(probabilities(op, x), op.axis, -1)
    total, counted = 0.0, 0
    for place, wanted in zip(np.ndindex(p.shape[:-1]), label.reshape(-1), strict=True):
        if int(wanted) != op.ignore_label:
            row = matrix.reshape(5, 5)[int(wanted)]
            total -= sum(h * math.log(q) for h, q in zip(row, p[place], strict=True))
            counted += 1
    return np.array(total / divisor(op, counted, label.size))


def infogain_gradient(op, dtops, x, label, matrix=MATRIX):
    p = np.moveaxis(probabilities(op, x), op.axis, -1)
    dx = np.zeros(x.shape)
    out = np.moveaxis(dx, op.axis, -1)
    counted = sum(int(value) != op.ignore_label for value in label.reshape(-1))
    share = dtops[0] / divisor(op, counted, label.size)
    for place, wanted in zip(np.ndindex(p.shape[:-1]), label.reshape(-1), strict=True):
        if int(wanted) != op.ignore_label:
            row = matrix.reshape(5, 5)[int(wanted)]
            out[place] = share * (p[place] * row.sum() - row)
    return (dx, None, None)[: len(op.bottoms)], ()


SCORES = {"1": (2, 5, 3, 4), "-1": (2, 3, 5)}


@pytest.mark.parametrize("normalization", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
@pytest.mark.parametrize("ignore", ["", "ignore_label: 3"])
@pytest.mark.parametrize("axis", ["1", "-1"])
def test_infogain_loss_weighs_confusions(
    backend: Backend, axis: str, ignore: str, normalization: str
) -> None:
    text = (
        f'type: "InfogainLoss" infogain_loss_param {{ axis: {axis} }} '
        f"loss_param {{ normalization: {normalization} {ignore} }}"
    )
    shape = SCORES[axis]
    places = (2, 3, 4) if axis == "1" else (2, 3)
    labels = RNG.integers(0, 5, size=places) + 0.0
    check_layer(
        text,
        [shape, labels, MATRIX[None]],
        infogain,
        backend=backend,
        gradient=infogain_gradient,
        equal_sizes="the matrix is square",
    )


def write_matrix(path: Path, size: int) -> None:
    blob = BlobProto(data=np.float32(MATRIX).reshape(-1)[:size].tolist())
    path.write_bytes(blob.SerializeToString())


def test_infogain_loss_reads_its_matrix_from_a_file(
    backend: Backend, tmp_path: Path
) -> None:
    source = tmp_path / "H.binaryproto"
    write_matrix(source, 25)
    text = (
        'type: "InfogainLoss" top: "loss" top: "p" '
        f'infogain_loss_param {{ source: "{source}" }}'
    )
    layer = LoneLayer(text, [(6, 5), (6,)], backend=backend)
    x = RNG.normal(size=(6, 5))
    loss, p = layer.forward([x, ROW])
    matrix = np.float64(np.float32(MATRIX))
    np.testing.assert_allclose(loss, infogain(layer.op, x, ROW, matrix))
    np.testing.assert_allclose(p, probabilities(layer.op, x))


@pytest.mark.parametrize(
    ("content", "error", "match"),
    [
        (None, FileError, r"'lone' \(InfogainLoss\).*cannot be read: No such file"),
        (b"\xff\xff\xff", FileError, "is not a BlobProto in binary form"),
        (24, ShapeError, "holds 24 values; expected 5 x 5"),
    ],
)
def test_a_bad_matrix_file_is_an_error(
    backend: Backend, tmp_path: Path, content, error, match: str
) -> None:
    source = tmp_path / "H.binaryproto"
    if isinstance(content, bytes):
        source.write_bytes(content)
    elif content is not None:
        write_matrix(source, content)
    text = f'type: "InfogainLoss" infogain_loss_param {{ source: "{source}" }}'
    with pytest.raises(error, match=match):
        LoneLayer(text, [(6, 5), (6,)], backend=backend)
