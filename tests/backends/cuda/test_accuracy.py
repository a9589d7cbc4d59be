"""Accuracy on the device against the portable kernel."""

import numpy as np
import pytest

from runtime.backends.cuda.layers.accuracy import Accuracy
from tests.backends.cuda.oracle import PlacedLayer, check_own

CASES = [
    (1, (40, 7), (40,)),
    (1, (700, 5), (700, 1)),
    (1, (9, 80), (9,)),
    (1, (3, 5, 6, 4), (3, 6, 4)),
    (1, (3, 70, 6, 4), (3, 1, 6, 4)),
    (2, (3, 4, 5), (3, 4)),
    (2, (3, 4, 5, 6), (3, 4, 6)),
    (-1, (3, 2, 2, 70), (3, 2, 2)),
    (0, (5, 3), (3,)),
]


def problem(shape, axis, labels):
    """Return scores with ties, and labels most of which are near the best."""
    rng = np.random.default_rng(11)
    x = np.rint(rng.normal(size=shape) * 4) / 4
    classes = shape[axis]
    picked = rng.integers(0, classes, size=labels)
    best = np.moveaxis(x, axis, -1).argmax(-1).reshape(labels)
    return x, np.where(rng.random(labels) < 0.5, best, picked)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("tops", ["", 'top: "y" top: "each"'])
@pytest.mark.parametrize("axis, shape, labels", CASES)
def test_it_is_the_portable_one(cuda, axis, shape, labels, tops, precision):
    x, given = problem(shape, axis, labels)
    for how in ("", "top_k: 3", "top_k: 2 ignore_label: 1"):
        text = f'type: "Accuracy" {tops} accuracy_param {{ axis: {axis} {how} }}'
        for order in ("last", None) if precision == "float32" else ("last",):
            check_own(
                cuda,
                text,
                [x, given],
                precision=precision,
                own=Accuracy,
                order=order,
                runs=2,
            )


def test_labels_are_cut_and_negative_ones_can_be_ignored(cuda):
    x, _ = problem((6, 4), 1, (6,))
    labels = np.array([0.9, 1.2, -1, -1, 3.99, 2])
    text = 'type: "Accuracy" top: "y" top: "each" accuracy_param { ignore_label: -1 }'
    check_own(cuda, text, [x, labels], own=Accuracy)


def test_nothing_counts(cuda):
    x, _ = problem((3, 4), 1, (3,))
    text = 'type: "Accuracy" top: "y" top: "each" accuracy_param { ignore_label: 2 }'
    layer = check_own(cuda, text, [x, np.full(3, 2)], own=Accuracy)
    assert layer.forward([x, np.full(3, 2.0)])[0] == 0
    check_own(cuda, 'type: "Accuracy"', [(0, 4), (0,)], own=Accuracy)


@pytest.mark.parametrize("bad", [4.0, -1.0, np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("classes", [4, 65])
def test_a_label_that_is_no_class_makes_it_nan(cuda, bad, classes):
    x, labels = problem((5, classes), 1, (5,))
    text = 'type: "Accuracy" top: "y" top: "each"'
    layer = PlacedLayer(text, [x.shape, (5,)], backend=cuda, dtype="float32")
    labels = labels.astype("float32")
    share, each = layer.forward([x, labels])
    assert np.isfinite(share)
    assert np.isfinite(each).all()
    labels[3] = classes if bad == 4 else bad
    share, each = layer.forward([x, labels])
    assert np.isnan(share)
    assert np.isnan(each).all()
