"""Matching default boxes with true ones, and choosing the examples to learn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from netspec.ops.multibox_loss import MultiBoxLoss
from runtime.layers._default_boxes import LEAST_OVERLAP, by_score, overlaps, thin

UNMATCHED = -1
LEFT_OUT = -2  # reaches beyond the image and is no example of anything


@dataclass
class Match:
    """What the default boxes of one item are matched with, for one set of locations.

    place: the class whose locations these are, 0 where all classes share them. truth:
    (P,) the number of the true box, UNMATCHED or LEFT_OUT. overlap: (P,) with it, or
    the largest with any.
    """

    place: int
    truth: np.ndarray
    overlap: np.ndarray


def matches(
    op: MultiBoxLoss,
    priors: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray | None,
) -> Iterator[Match]:
    """Yield the matches of an item that has true boxes.

    boxes, labels: of the true boxes. predicted: the boxes that locations stand for, or
    None to match by priors.

    Shapes: priors (P, 4), boxes (G, 4), labels (G), predicted (P, places, 4).
    """
    if predicted is None:
        whole = match(op, priors, boxes)
        if op.share_location:
            yield Match(0, *whole)
            return
        truth, overlap = whole
        for place in range(op.num_classes):
            if place != op.background:
                mine = truth >= 0
                mine[mine] = labels[truth[mine]] == place
                yield Match(place, np.where(mine, truth, UNMATCHED), overlap)
        return
    if op.share_location:
        yield Match(0, *match(op, predicted[:, 0], boxes))
        return
    for place in range(op.num_classes):
        if place != op.background:
            same = np.flatnonzero(labels == place)
            truth, overlap = match(op, predicted[:, place], boxes[same])
            mine = truth >= 0
            truth[mine] = same[truth[mine]]
            yield Match(place, truth, overlap)


def match(
    op: MultiBoxLoss, found: np.ndarray, boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Match boxes with true ones; return numbers of true boxes, and overlaps.

    First, over and over, the pair of the largest overlap among what is not matched yet,
    so that every true box that anything overlaps has a box. Then, PER_PREDICTION, every
    other box has the true one that it overlaps most, by `overlap_threshold` or more.

    Shapes: found (P, 4), boxes (G, 4) -> (P), (P).
    """
    truth = np.full(len(found), UNMATCHED, np.int64)
    best = np.zeros(len(found), found.dtype)
    if not len(boxes):
        return truth, best
    shared = overlaps(found, boxes)
    shared[~(shared > LEAST_OVERLAP)] = 0
    if op.ignore_cross_boundary_bbox:
        beyond = np.any((found < 0) | (found > 1), axis=1)
        truth[beyond] = LEFT_OUT
        shared[beyond] = 0
    best = shared.max(axis=1)
    left = shared.copy()
    for _ in range(len(boxes)):
        row, column = np.unravel_index(np.argmax(left), left.shape)
        if not left[row, column] > 0:
            break
        truth[row], best[row] = column, left[row, column]
        left[row], left[:, column] = 0, 0
    if op.match_type == "PER_PREDICTION":
        threshold = shared.dtype.type(op.overlap_threshold)
        column = shared.argmax(axis=1)
        most = shared[np.arange(len(found)), column]
        more = (truth == UNMATCHED) & (most >= threshold) & (most > 0)
        truth[more], best[more] = column[more], most[more]
    return truth, best


def mine(
    op: MultiBoxLoss, one: Match, losses: np.ndarray, boxes: np.ndarray
) -> np.ndarray:
    """Choose the examples of an item; return the places of the negatives, in order.

    MAX_NEGATIVE takes the unmatched boxes of the highest losses, `neg_pos_ratio` for
    each matched one. HARD_EXAMPLE takes the `sample_size` boxes of the highest losses
    whatever they are, and unmatches the others. With `nms_param` boxes that overlap a
    harder one too much are left out first.

    Shapes: losses (P), boxes (P, 4) -> (M); `one.truth` is changed.
    """
    hard = op.mining_type == "HARD_EXAMPLE"
    if hard:
        able = np.arange(len(losses))
        number = min(op.sample_size, len(able))
    else:
        limit = one.overlap.dtype.type(op.neg_overlap)
        able = np.flatnonzero((one.truth == UNMATCHED) & (one.overlap < limit))
        positives = np.float32(np.count_nonzero(one.truth >= 0))
        number = min(int(positives * np.float32(op.neg_pos_ratio)), len(able))
    if op.nms is not None:
        chosen = thin(boxes[able], losses[able], op.nms.threshold, op.nms.top_k)
    else:
        chosen = by_score(losses[able])
    selected = np.zeros(len(losses), bool)
    selected[able[chosen[:number]]] = True
    if hard:
        one.truth[(one.truth >= 0) & ~selected] = UNMATCHED
    return np.flatnonzero((one.truth == UNMATCHED) & selected)
