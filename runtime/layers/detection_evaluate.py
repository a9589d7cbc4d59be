"""DetectionEvaluate of the SSD fork: which detections are right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.errors import SpecError
from netspec.ops import detection_evaluate as ops
from netspec.ops.base import bottom_name, label
from runtime.arrays import Array
from runtime.data.name_sizes import NamedSize, read_name_sizes
from runtime.layers._default_boxes import by_score, in_pixels, overlaps
from runtime.layers._truth import BOX, Truth
from runtime.layers.base import Kernel, TopsChanged, register

COLUMNS = 5  # item, class, score, true positive, false positive
NO_ITEM = -1


@register
class DetectionEvaluate(Kernel[ops.DetectionEvaluate]):
    """Which detections find an object, and how many objects there are.

    First a row (-1, class, number of objects, -1, -1) for every class but the
    background, then a row (item, class, score, right, wrong) for every detection, by
    item, class and falling score. A detection is right if the object of its class that
    it overlaps most overlaps it by `overlap_threshold` or more, and no better detection
    has found that object. With `evaluate_difficult_gt: false` difficult objects do not
    count, and a detection of one is neither right nor wrong. `mean_average_precision`
    in `runtime/training` makes one number of such rows.

    With a `name_size_file` overlaps are those of boxes in pixels of the images, which
    are those of the file, one after the other. A batch has as many images as the
    largest item in its rows tells; SSD counts only those with detections, and loses its
    place where an image has none.

    Shapes: detections (1, 1, K, 7), truth (1, 1, boxes, 8) -> (1, 1, classes - 1 +
    detections, 5), without rows of class -1; how many there are is known only now.
    Source: detection_evaluate_layer.cpp of SSD.
    """

    types = ("DetectionEvaluate",)

    def setup(self) -> None:
        """Make room for the bottoms on the host, and read the sizes of images."""
        self._make_room()
        self._rows: np.ndarray | None = None
        self._images: list[NamedSize] = []
        self._next = 0  # the image of the list that is item 0
        if self.op.name_size_file:
            what = label(self.op.layer)
            self._images = read_name_sizes(self.op.name_size_file, what)

    def resized(self, bottoms: tuple[Array, ...], tops: tuple[Array, ...]) -> None:
        """Take bottoms and tops with other numbers of rows."""
        super().resized(bottoms, tops)
        self._make_room()

    def _make_room(self) -> None:
        self._host = [
            bottom
            if self.backend.on_host
            else np.empty(bottom.shape, self.context.dtype)
            for bottom in self.bottoms
        ]

    def take_over(self, other: Kernel[ops.DetectionEvaluate]) -> None:
        """Take the rows that had no room."""
        super().take_over(other)
        self.go_on_from(other)

    def go_on_from(self, other: Kernel[ops.DetectionEvaluate]) -> None:
        """Take what was found already, and the place in the list of images."""
        if isinstance(other, DetectionEvaluate):
            self._rows, self._next = other._rows, other._next  # noqa: SLF001

    def forward(self) -> None:
        """Compare the detections with the truth, unless only room was missing."""
        rows = self._rows
        if rows is None:
            rows = self._evaluated()
        shape = (1, 1, len(rows), COLUMNS)
        if shape != self.y.shape:
            self._rows = rows
            raise TopsChanged(self.node.index, (shape,))
        self._rows = None
        self.backend.upload(rows.reshape(shape), out=self.y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Never called: a measure has no gradient."""

    def _evaluated(self) -> np.ndarray:
        """Return the rows."""
        op = self.op
        if not self.backend.on_host:
            for bottom, host in zip(self.bottoms, self._host, strict=True):
                self.backend.download(bottom, out=host)
        found = self._host[0].reshape(-1, 7)
        truth = Truth(self._host[1].reshape(-1, BOX), op.layer, 1, op.background)
        truth.check_labels(op.num_classes)
        rows = [self._numbers(truth)]
        if np.any(found[:, 1] == op.background):
            raise SpecError(
                f"{bottom_name(op.layer, 0)} has detections of class {op.background}, "
                f"the background; give DetectionOutput the same background_label_id",
                layer=label(op.layer),
            )
        seen = found[(found[:, 0] != NO_ITEM) & (found[:, 1] != -1)]
        for item in np.unique(seen[:, 0].astype(np.int64)):
            mine = seen[seen[:, 0].astype(np.int64) == item]
            for number in np.unique(mine[:, 1].astype(np.int64)):
                same = mine[mine[:, 1].astype(np.int64) == number]
                rows.append(self._judged(int(item), int(number), same, truth))
        if self._images:
            items = [found[:, 0], truth.items.astype(found.dtype)]
            last = int(np.max(np.concatenate(items), initial=NO_ITEM))
            self._next = (self._next + last + 1) % len(self._images)
        return np.concatenate(rows)

    def _numbers(self, truth: Truth) -> np.ndarray:
        """Return how many objects of every class there are, as rows."""
        counted = np.ones(len(truth.items), bool)
        if not self.op.evaluate_difficult_gt:
            counted = ~truth.difficult
        labels = truth.labels[counted]
        classes = [c for c in range(self.op.num_classes) if c != self.op.background]
        rows = np.full((len(classes), COLUMNS), -1, self.context.dtype)
        for row, number in zip(rows, classes, strict=True):
            row[1], row[2] = number, np.count_nonzero(labels == number)
        return rows

    def _judged(
        self, item: int, number: int, found: np.ndarray, truth: Truth
    ) -> np.ndarray:
        """Return the rows of the detections of one class in one item."""
        found = found[by_score(found[:, 2])]
        rows = np.zeros((len(found), COLUMNS), self.context.dtype)
        rows[:, 0], rows[:, 1], rows[:, 2] = item, number, found[:, 2]
        mine = np.flatnonzero((truth.items == item) & (truth.labels == number))
        if not len(mine):
            rows[:, 4] = 1
            return rows
        shared = self._overlaps(item, found[:, 3:], truth.boxes[mine])
        visited = np.zeros(len(mine), bool)
        for row, overlap in zip(rows, shared, strict=True):
            best = int(np.argmax(overlap))
            if overlap[best] < self._threshold(overlap):
                row[4] = 1
            elif self.op.evaluate_difficult_gt or not truth.difficult[mine[best]]:
                row[4 if visited[best] else 3] = 1
                visited[best] = True
        return rows

    def _threshold(self, overlap: np.ndarray) -> float:
        return float(overlap.dtype.type(self.op.overlap_threshold))

    def _overlaps(self, item: int, found: np.ndarray, truth: np.ndarray) -> np.ndarray:
        if not self._images:
            return overlaps(found, truth)
        _, size = self._images[(self._next + item) % len(self._images)]
        found, found_sizes = in_pixels(found, size, self.op.resizing)
        truth, truth_sizes = in_pixels(truth, size, self.op.resizing)
        return overlaps(found, truth, found_sizes, truth_sizes, pixel=1)
