"""SegAccuracy against loops over pixels."""

import numpy as np
import pytest

from netspec.errors import SpecError, SpecWarning
from tests.layers.harness import LoneLayer, check_layer
from tests.ops.reading import read, refuses

RNG = np.random.default_rng(2)
# Few distinct scores, so that ties are everywhere; class 4 is no label.
SCORES = RNG.integers(0, 4, size=(2, 5, 3, 7)) + 0.0
LABELS = RNG.integers(0, 4, size=(2, 1, 3, 7)) + 0.5
LABELS[0, 0, 1, 2:5] = 255


def counts(scores, labels, ignored=()):
    """n[t, p] of one pass, pixel by pixel."""
    classes = scores.shape[1]
    found = np.zeros((classes, classes))
    for item, row, column in np.ndindex(labels[:, 0].shape):
        wanted = int(labels[item, 0, row, column])
        if wanted in ignored:
            continue
        best = 0
        for c in range(1, classes):
            if scores[item, c, row, column] >= scores[item, best, row, column]:
                best = c
        found[wanted, best] += 1
    return found


def measures(n):
    recalls, overlaps = [], []
    for c in range(len(n)):
        labelled, predicted = sum(n[c]), sum(n[:, c])
        if labelled:
            recalls.append(n[c, c] / labelled)
        either = labelled + predicted - n[c, c]
        overlaps.append(n[c, c] / either if either else 1)
    accuracy = np.trace(n) / n.sum() if n.sum() else 0
    recall = sum(recalls) / len(recalls) if recalls else 0
    return np.array([accuracy, recall, sum(overlaps) / len(n)]).reshape(1, 1, 1, 3)


def reference(op, scores, labels):
    return measures(counts(scores, labels, op.ignored))


@pytest.mark.parametrize("more", ["", "ignore_label: 2", "ignore_label: 1 reset: true"])
def test_accuracy_recall_and_jaccard_index(backend, more):
    text = f'type: "SegAccuracy" seg_accuracy_param {{ ignore_label: 255 {more} }}'
    check_layer(text, [SCORES, LABELS], reference, backend=backend, gradient=False)


def test_without_reset_passes_add_up(backend):
    text = (
        'type: "SegAccuracy" seg_accuracy_param { reset: false ignore_label: 255 '
        "ignore_label: 3 }"
    )
    shapes = [SCORES.shape, LABELS.shape]
    layer = LoneLayer(text, shapes, backend=backend)
    total = np.zeros((5, 5))
    for scores in (SCORES, SCORES[:, ::-1], SCORES[:, [1, 0, 2, 4, 3]]):
        total += counts(scores, LABELS, (255, 3))
        (y,) = layer.forward([scores, LABELS])
        np.testing.assert_allclose(y, measures(total), rtol=1e-12)


def test_where_nothing_counts_the_shares_are_0(backend):
    text = 'type: "SegAccuracy" seg_accuracy_param { ignore_label: 2 }'
    layer = LoneLayer(text, [(1, 3, 4), (1, 1, 4)], backend=backend)
    (y,) = layer.forward([np.ones((1, 3, 4)), np.full((1, 1, 4), 2)])
    np.testing.assert_array_equal(y.reshape(3), [0, 0, 1])


def test_a_label_that_is_no_class_is_an_error(backend):
    if not backend.on_host:
        pytest.skip("labels are not looked at on a device")
    for more, also in (("", ""), ("ignore_label: 9 ignore_label: 8", ", or 9 or 8")):
        text = f'type: "SegAccuracy" seg_accuracy_param {{ {more} }}'
        layer = LoneLayer(text, [(1, 3, 4), (1, 1, 4)], backend=backend)
        match = (
            rf"holds the label 255 at place 1; expected 0 to 2, .*{also}.*add "
            r"seg_accuracy_param \{ ignore_label: 255 \}"
        )
        with pytest.raises(SpecError, match=match):
            layer.forward([np.ones((1, 3, 4)), [[[0, 255, 1, 2]]]])


def test_seg_accuracy_refuses():
    text = 'type: "SegAccuracy"'
    refuses(text, (2, 1, 3), (2, 1, 3), match="expected scores of at least 2 classes")
    refuses(text, (2, 3, 4), (2, 1, 5), match="one label for every position")
    refuses(text, (2, 3, 4), (1, 2, 4), match="must have the same first axis")


def test_the_metric_of_deeplab_v1_is_told_to_be_without_effect():
    text = 'type: "SegAccuracy" seg_accuracy_param { metric: PixelIOU }'
    with pytest.warns(
        SpecWarning, match="metric is of DeepLab v1 and is not read here"
    ):
        op = read(text, (2, 3, 4), (2, 1, 4))
    assert op.tops == ((1, 1, 1, 3),)
