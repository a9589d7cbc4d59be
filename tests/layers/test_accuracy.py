"""Accuracy against loops over places."""

from __future__ import annotations

import numpy as np
import pytest

from netspec.errors import SpecError
from runtime.backends.base import Backend
from tests.layers.harness import LoneLayer, check_layer


def shares(op, x, label):
    moved = np.moveaxis(x, op.axis, -1)
    classes = moved.shape[-1]
    right, seen = np.zeros(classes), np.zeros(classes)
    for place, wanted in zip(
        np.ndindex(moved.shape[:-1]), label.reshape(-1), strict=True
    ):
        wanted = int(wanted)
        if wanted == op.ignore_label:
            continue
        scores = moved[place]
        rivals = sum(scores[k] >= scores[wanted] for k in range(classes) if k != wanted)
        right[wanted] += rivals < op.top_k
        seen[wanted] += 1
    total = np.array(right.sum() / max(seen.sum(), 1))
    return (total, right / np.maximum(seen, 1))[: len(op.tops)]


# Few distinct scores, so that ties are everywhere.
SCORES = np.random.default_rng(2).integers(0, 6, size=(2, 7, 3, 5)) + 0.0
LABELS = np.random.default_rng(3).integers(0, 6, size=(2, 3, 5)) + 0.5


@pytest.mark.parametrize("tops", ["", 'top: "all" top: "each"'])
@pytest.mark.parametrize("ignore", ["", "ignore_label: 4"])
@pytest.mark.parametrize("top_k", [1, 3])
@pytest.mark.parametrize(
    ("axis", "scores"),
    [
        (1, SCORES),
        (-1, np.moveaxis(SCORES, 1, -1)),
        (1, np.moveaxis(SCORES, 1, -1).reshape(-1, 7)),
    ],
)
def test_the_share_of_right_labels(
    backend: Backend, axis: int, scores, top_k: int, ignore: str, tops: str
) -> None:
    labels = LABELS.reshape(-1) if scores.ndim == 2 else LABELS
    text = (
        f'type: "Accuracy" {tops} accuracy_param {{ axis: {axis} top_k: {top_k} '
        f"{ignore} }}"
    )
    check_layer(text, [scores, labels], shares, backend=backend, gradient=False)


def test_a_tie_counts_against_the_label(backend: Backend) -> None:
    layer = LoneLayer('type: "Accuracy"', [(2, 3), (2,)], backend=backend)
    (share,) = layer.forward([[[1.0, 1.0, 0.0], [0.0, 2.0, 1.0]], [0.0, 1.0]])
    assert float(share) == 0.5


def test_no_label_that_counts_gives_zero(backend: Backend) -> None:
    text = 'type: "Accuracy" top: "a" top: "b" accuracy_param { ignore_label: 1 }'
    layer = LoneLayer(text, [(2, 3), (2,)], backend=backend)
    share, each = layer.forward([np.eye(2, 3), [1.0, 1.0]])
    assert float(share) == 0
    np.testing.assert_array_equal(each, [0, 0, 0])


def test_ignored_labels_outside_the_classes_count_for_no_class(
    backend: Backend,
) -> None:
    text = 'type: "Accuracy" top: "a" top: "b" accuracy_param { ignore_label: 255 }'
    layer = LoneLayer(text, [(3, 2), (3,)], backend=backend)
    scores = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    share, each = layer.forward([scores, [1.0, 1.0, 255.0]])
    assert float(share) == 0.5
    np.testing.assert_array_equal(each, [0, 0.5])


def test_a_label_that_is_no_class_is_an_error(backend: Backend) -> None:
    if backend.name != "numpy":
        pytest.skip("the device is not waited for; the share becomes NaN")
    layer = LoneLayer('type: "Accuracy"', [(2, 3), (2,)], backend=backend)
    said = r"3 at place 1; expected 0 to 2, .* accuracy_param { ignore_label: 3 }; else"
    with pytest.raises(SpecError, match=said):
        layer.forward([np.eye(2, 3), [1.0, 3.0]])
