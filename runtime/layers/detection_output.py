"""DetectionOutput of the SSD fork: from codes of default boxes to detections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.ops import detection_output as ops
from runtime.layers._default_boxes import by_score, decode, suppress
from runtime.layers._saved_detections import SavedDetections
from runtime.layers.base import Kernel, TopsChanged, register

COLUMNS = 7  # item, class, score, xmin, ymin, xmax, ymax
NOTHING = -1  # in every column but the item, where no box is left in a batch


@register
class DetectionOutput(Kernel[ops.DetectionOutput]):
    """The boxes left after suppression of overlapping ones, by item and class.

    For every item and class but the background: the scores above the threshold, the
    `top_k` highest of them from the highest down, without the boxes that overlap one
    kept before by more than `nms_threshold`. Of what all classes leave the `keep_top_k`
    highest scores stay. Rows come by item, class and falling score; equal scores come
    in the order of default boxes, and of classes. A batch in which nothing is left has
    a row of -1 for every item.

    From RefineDet, `objectness` below `objectness_score` makes a box background, and
    codes are relative to the default boxes as `refinements` move them.

    Shapes: locations (N, priors 4), confidences (N, priors classes), priors (1, 2,
    priors 4), objectness (N, priors 2), refinements (N, priors 4) -> (1, 1, K, 7). K is
    known only now; boxes are chosen on the host.
    Source: Liu et al., 2016, arXiv:1512.02325; detection_output_layer.cpp of SSD.
    """

    types = ("DetectionOutput",)

    def setup(self) -> None:
        """Make room for the bottoms on the host, and find what is saved."""
        op = self.op
        self._host = [
            bottom
            if self.backend.on_host
            else np.empty(bottom.shape, self.context.dtype)
            for bottom in self.bottoms[: op.read_bottoms]
        ]
        items, priors = op.bottoms[0][0], op.priors
        places = 1 if op.share_location else op.num_classes
        self._codes = self._host[0].reshape(items, priors, places, 4)
        self._scores = self._host[1].reshape(items, priors, op.num_classes)
        self._priors = self._host[2].reshape(-1, 2, priors, 4)[0, 0]
        self._variances = self._host[2].reshape(-1, 2, priors, 4)[0, 1]
        self._classes = [c for c in range(op.num_classes) if c != op.background]
        self._rows: np.ndarray | None = None
        self.saved: SavedDetections | None = None
        if op.saving is not None:
            self.saved = SavedDetections.opened(op.layer, op.saving)

    def take_over(self, other: Kernel[ops.DetectionOutput]) -> None:
        """Take the rows that had no room."""
        super().take_over(other)
        self.go_on_from(other)

    def go_on_from(self, other: Kernel[ops.DetectionOutput]) -> None:
        """Take what was found already, and the files that are being written."""
        if isinstance(other, DetectionOutput):
            self._rows = other._rows  # noqa: SLF001
            self.saved = other.saved

    def forward(self) -> None:
        """Find the boxes, unless they were found and only had no room."""
        rows = self._rows
        if rows is None:
            rows = self.detections()
        shape = (1, 1, len(rows), COLUMNS)
        if shape != self.y.shape:
            self._rows = rows
            raise TopsChanged(self.node.index, (shape,))
        self._rows = None
        self.backend.upload(rows.reshape(shape), out=self.y)
        if self.saved is not None:
            self.saved.add(rows, self.op.bottoms[0][0])

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Never called: which boxes are left has no gradient."""

    def detections(self) -> np.ndarray:
        """Return the rows of all items."""
        if not self.backend.on_host:
            for bottom, host in zip(self.bottoms, self._host, strict=False):
                self.backend.download(bottom, out=host)
        parts = [self._best(item, self.kept(item)) for item in range(len(self._codes))]
        rows = np.concatenate([np.empty((0, COLUMNS), self.context.dtype), *parts])
        if not len(rows):
            rows = np.full((len(parts), COLUMNS), NOTHING, self.context.dtype)
            rows[:, 0] = np.arange(len(parts))
        return rows

    def kept(self, item: int) -> np.ndarray:
        """Return the rows of an item that suppression leaves, class by class."""
        op = self.op
        boxes = None
        found = []
        for label in self._classes:
            if boxes is None or not op.share_location:
                boxes = self._boxes(item, 0 if op.share_location else label)
            scores = self._scores_of(item, label)
            above = np.flatnonzero(_counts(scores, op.confidence_threshold))
            order = above[by_score(scores[above], op.nms.top_k)]
            left = suppress(boxes, order, op.nms.threshold, op.nms.eta)
            rows = np.empty((len(left), COLUMNS), self.context.dtype)
            rows[:, 0], rows[:, 1], rows[:, 2] = item, label, scores[left]
            rows[:, 3:] = boxes[left]
            found.append(rows)
        return np.concatenate([np.empty((0, COLUMNS), self.context.dtype), *found])

    def _best(self, item: int, rows: np.ndarray) -> np.ndarray:
        """Return the rows of an item with the highest scores, by class and score."""
        keep = self.op.keep_top_k
        if keep is None or len(rows) <= keep:
            return rows
        best = rows[by_score(rows[:, 2], keep)]
        return best[np.argsort(best[:, 1], kind="stable")]

    def _boxes(self, item: int, place: int) -> np.ndarray:
        op, priors = self.op, self._priors
        given = dict(
            code_type=op.code_type, variance_in_target=op.variance_encoded_in_target
        )
        if len(self._host) > 4:
            moved = self._host[4].reshape(-1, op.priors, 4)[item]
            priors = decode(priors, self._variances, moved, **given)  # type: ignore[arg-type]
        codes = self._codes[item, :, place]
        return decode(priors, self._variances, codes, **given)  # type: ignore[arg-type]

    def _scores_of(self, item: int, label: int) -> np.ndarray:
        scores = self._scores[item, :, label]
        if len(self._host) <= 3:
            return scores
        objectness = self._host[3].reshape(-1, self.op.priors, 2)[item, :, 1]
        background = 1 if label == 0 else 0
        return np.where(objectness < self.op.objectness_score, background, scores)


def _counts(scores: np.ndarray, threshold: float | None) -> np.ndarray:
    """Say which scores are above the threshold; those that are no number are not."""
    if threshold is None:
        return scores > np.finfo(np.float32).min
    return scores > scores.dtype.type(threshold)
