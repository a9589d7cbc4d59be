"""The loss of each item, to find those that a net does worst."""

from __future__ import annotations

import numpy as np

from runtime.evaluation.heads import CLASSES, Head

VALUES = 1 << 20  # scores that are worked on at once
LEAST = 1e-20  # whose logarithm is taken at most


def item_losses(
    head: Head, scores: np.ndarray, targets: np.ndarray, counts: np.ndarray | None
) -> np.ndarray | None:
    """Return the loss of every item, or None for losses that are not known here.

    Cross entropy is the mean over the positions that count; of values and tags it is
    the sum. Weights of classes and of the loss are left out.

    counts: which positions count.

    Shapes: scores (N, C, P), labels and counts (N, P), or all (N, D) -> (N,).
    """
    kind = head.node.type
    if head.kind == CLASSES and kind in _LOGARITHMS and counts is not None:
        size = max(1, VALUES // max(1, scores[:1].size))  # items at once
        numbers = np.where(counts, targets, 0).astype(np.int64)
        found = np.empty(len(scores))
        for start in range(0, len(scores), size):
            part = slice(start, start + size)
            each = _LOGARITHMS[kind](scores[part].astype(np.float64), numbers[part])
            total = np.where(counts[part], each, 0).sum(axis=1)
            found[part] = total / np.maximum(counts[part].sum(axis=1), 1)
        return found
    if kind in _OF_VALUES:
        each = _OF_VALUES[kind](scores.astype(np.float64), targets)
        if counts is not None:
            each = np.where(counts, each, 0)
        return np.asarray(each.reshape(len(each), -1).sum(axis=1))
    return None


def _cross_entropy(x: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return -log(softmax(x)) at the labels.

    Shapes: x (N, C, P), label (N, P) -> (N, P).
    """
    x = x - x.max(axis=1, keepdims=True)
    chosen = np.take_along_axis(x, label[:, None], axis=1)[:, 0]
    return np.asarray(np.log(np.exp(x).sum(axis=1)) - chosen)


def _logarithm(x: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return -log of what is a probability already; shapes as above."""
    chosen = np.take_along_axis(x, label[:, None], axis=1)[:, 0]
    return np.asarray(-np.log(np.maximum(chosen, LEAST)))


def _sigmoid_cross_entropy(x: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(x, 0) - x * target + np.log1p(np.exp(-np.abs(x))))


_LOGARITHMS = {
    "SoftmaxWithLoss": _cross_entropy,
    "MultinomialLogisticLoss": _logarithm,
    "Softmax": _logarithm,
}
_OF_VALUES = {
    "EuclideanLoss": lambda x, t: np.square(x - t) / 2,
    "L1Loss": lambda x, t: np.abs(x - t),
    "SigmoidCrossEntropyLoss": _sigmoid_cross_entropy,
}
