"""DetectionOutput on compiled kernels: every class of an item by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.graph import Node
from netspec.ops.detection_output import DetectionOutput as DetectionOutputOp
from runtime.arrays import ArraySpec
from runtime.backends.cpu.machine.compiled import carray, exact, helper, kernel
from runtime.backends.cpu.machine.simd import f32, i32, i64
from runtime.backends.cpu.machine.sizes import few
from runtime.backends.layer_kernel import has_only
from runtime.layers import detection_output as portable
from runtime.layers._default_boxes import LEAST_ETA_THRESHOLD

COLUMNS: Any = portable.COLUMNS
CODES = {"CORNER": 0, "CORNER_SIZE": 1, "CENTER_SIZE": 2}
CENTER_SIZE, CORNER_SIZE = CODES["CENTER_SIZE"], CODES["CORNER_SIZE"]
PLACE: Any = 1 << 32  # a key is -score * PLACE + place, score as an ordered integer
SMALLEST_PART: Any = 24  # of a list that is split once more to be sorted
MOST_BYTES = 1 << 26  # of scratch memory; with more the portable kernel runs
HALF: Any = np.float32(0.5)
ZERO: Any = np.float32(0)
LIMIT: Any = np.float32(LEAST_ETA_THRESHOLD)


@helper
def insert(keys: Any, low: int, high: int) -> None:
    """Sort keys[low:high] by insertion."""
    for i in range(low + 1, high):
        key = keys[i]
        j = i - 1
        while j >= low and keys[j] > key:
            keys[j + 1] = keys[j]
            j -= 1
        keys[j + 1] = key


@helper
def smallest(keys: Any, count: int, wanted: int, stack: Any) -> None:
    """Bring the `wanted` smallest of `count` different keys to the front, in order.

    stack: room for pairs of ends; the larger side waits there, so that 64 pairs do.
    """
    depth = 1
    stack[0], stack[1] = 0, count
    while depth > 0:
        depth -= 1
        low, high = stack[2 * depth], stack[2 * depth + 1]
        while high - low > SMALLEST_PART:
            middle = (low + high) // 2
            a, b, c = keys[low], keys[middle], keys[high - 1]
            pivot = max(min(a, b), min(max(a, b), c))
            i, j = low, high - 1
            while i <= j:
                while keys[i] < pivot:
                    i += 1
                while keys[j] > pivot:
                    j -= 1
                if i <= j:
                    keys[i], keys[j] = keys[j], keys[i]
                    i += 1
                    j -= 1
            # keys[low : j + 1] <= pivot <= keys[i:high]
            if i >= wanted:
                high = j + 1
            elif j + 1 - low < high - i:
                stack[2 * depth], stack[2 * depth + 1] = i, high
                depth += 1
                high = j + 1
            else:
                stack[2 * depth], stack[2 * depth + 1] = low, j + 1
                depth += 1
                low = i
        insert(keys, low, high)


@exact
def decode(
    prior: Any, variance: Any, code: Any, box: Any, kind: int, whole: int
) -> Any:
    """Write the box that a code stands for, four numbers each; return its area."""
    c0, c1, c2, c3 = code[0], code[1], code[2], code[3]
    if whole == 0:
        c0, c1 = variance[0] * c0, variance[1] * c1
        c2, c3 = variance[2] * c2, variance[3] * c3
    width, height = prior[2] - prior[0], prior[3] - prior[1]
    if kind == CENTER_SIZE:
        x = c0 * width + (prior[0] + prior[2]) * HALF
        y = c1 * height + (prior[1] + prior[3]) * HALF
        half_width, half_height = np.exp(c2) * width * HALF, np.exp(c3) * height * HALF
        box[0], box[1] = x - half_width, y - half_height
        box[2], box[3] = x + half_width, y + half_height
    elif kind == CORNER_SIZE:
        box[0], box[1] = prior[0] + c0 * width, prior[1] + c1 * height
        box[2], box[3] = prior[2] + c2 * width, prior[3] + c3 * height
    else:
        box[0], box[1] = prior[0] + c0, prior[1] + c1
        box[2], box[3] = prior[2] + c2, prior[3] + c3
    width, height = box[2] - box[0], box[3] - box[1]
    return ZERO if width < ZERO or height < ZERO else width * height


@exact
def too_near(box: Any, area: Any, kept: Any, areas: Any, count: int, limit: Any) -> Any:
    """Say whether a box overlaps one of `count` kept rows by more than a limit."""
    for index in range(count):
        other = COLUMNS * index + 3
        width = min(box[2], kept[other + 2]) - max(box[0], kept[other])
        height = min(box[3], kept[other + 3]) - max(box[1], kept[other + 1])
        if width > ZERO and height > ZERO:
            shared = width * height
            if not shared / (area + areas[index] - shared) <= limit:
                return True
    return False


@kernel(
    "scores codes priors variances keys counts stacks rows areas item classes count "
    "places background top kind whole",
    "threshold nms eta",
)
def keep_boxes(record: Any, part: int, parts: int) -> None:
    """Keep the best boxes that do not overlap too much, of every class of an item.

    Fields:
        scores: (count, classes); codes: (count, places, 4); priors, variances: (count,
            4).
        keys: int64 (classes, count), stacks: int64 (classes, 128), areas: (classes,
            top), for the work.
        counts: int64 (classes), gets how many boxes are kept of each class.
        rows: (classes, top, 7), gets them.
        top: how many enter, by score. kind: of codes, whole: 1 for codes without
            variance.
    """
    a = carray(record, 1)[0]
    scores, bits, keys, counts = (
        f32(a.scores),
        i32(a.scores),
        i64(a.keys),
        i64(a.counts),
    )
    first, last = a.classes * part // parts, a.classes * (part + 1) // parts
    threshold = np.float32(a.threshold)
    for c in range(first, last):
        counts[c] = 0
    for p in range(a.count):
        for c in range(first, last):
            score = scores[p * a.classes + c]
            if score > threshold and c != a.background:
                order = np.int64(bits[p * a.classes + c])
                if order < 0:
                    order = np.int64(0) if score == ZERO else order ^ 0x7FFFFFFF
                keys[c * a.count + counts[c]] = -order * PLACE + p
                counts[c] += 1
    for c in range(first, last):
        mine = i64(a.keys + 8 * c * a.count)
        entering = min(counts[c], a.top)
        smallest(mine, counts[c], entering, i64(a.stacks + 8 * 128 * c))
        rows, areas = (
            f32(a.rows + 4 * COLUMNS * c * a.top),
            f32(a.areas + 4 * c * a.top),
        )
        place = c if a.places > 1 else 0
        limit, eta = np.float32(a.nms), np.float32(a.eta)
        kept = 0
        for index in range(entering):
            p = mine[index] & (PLACE - 1)
            row = f32(a.rows + 4 * COLUMNS * (c * a.top + kept))
            box = f32(a.rows + 4 * (COLUMNS * (c * a.top + kept) + 3))
            area = decode(
                f32(a.priors + 16 * p),
                f32(a.variances + 16 * p),
                f32(a.codes + 16 * (p * a.places + place)),
                box,
                a.kind,
                a.whole,
            )
            if too_near(box, area, rows, areas, kept, limit):
                continue
            row[0], row[1] = np.float32(a.item), np.float32(c)
            row[2], areas[kept] = scores[p * a.classes + c], area
            kept += 1
            if eta < np.float32(1) and limit > LIMIT:
                limit *= eta
        counts[c] = kept


class DetectionOutput(portable.DetectionOutput):
    """The boxes left after suppression of overlapping ones; see the portable kernel."""

    options = (
        "num_classes",
        "share_location",
        "priors",
        "background",
        "code_type",
        "variance_encoded_in_target",
        "confidence_threshold",
        "nms",
        "keep_top_k",
        "objectness_score",
        "read_bottoms",
        "saving",
    )

    @classmethod
    def fits(cls, node: Node) -> bool:
        """Whether the boxes are SSD's and the scratch memory is not too much."""
        op: DetectionOutputOp = node.op  # type: ignore[assignment]
        if not has_only(op, cls.options) or op.read_bottoms > 3:
            return False
        return 0 < op.num_classes * op.priors * 4 * (COLUMNS + 3) < MOST_BYTES

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for lists of boxes of every class."""
        classes, priors, top = self.op.num_classes, self.op.priors, self._top
        return {
            "keys": ArraySpec((classes, priors), "int64"),
            "counts": ArraySpec((classes,), "int64"),
            "stacks": ArraySpec((classes, 128), "int64"),
            "rows": ArraySpec((classes, top, COLUMNS)),
            "areas": ArraySpec((classes, top)),
        }

    @property
    def _top(self) -> int:
        priors, top = self.op.priors, self.op.nms.top_k
        return max(1, priors if top is None else min(priors, top))

    def setup(self) -> None:
        """Make the call of every item."""
        super().setup()
        op, threshold = self.op, self.op.confidence_threshold
        given = dict(
            priors=self._priors,
            variances=self._variances,
            classes=op.num_classes,
            count=op.priors,
            places=1 if op.share_location else op.num_classes,
            background=op.background,
            top=self._top if op.nms.top_k != 0 else 0,
            kind=CODES[op.code_type],
            whole=op.variance_encoded_in_target,
            threshold=np.finfo(np.float32).min if threshold is None else threshold,
            nms=op.nms.threshold,
            eta=op.nms.eta,
            serial=few(op.priors * op.num_classes),
            **self.work,
        )
        runner: Any = self.backend.runner
        self._runs = [
            runner([keep_boxes(scores=scores, codes=codes, item=item, **given)])
            for item, (scores, codes) in enumerate(
                zip(self._scores, self._codes, strict=True)
            )
        ]

    def kept(self, item: int) -> np.ndarray:
        """Return the rows of an item that suppression leaves, class by class."""
        self._runs[item]()
        rows, counts = self.work["rows"], self.work["counts"]
        return np.concatenate(
            [rows[c, : counts[c]] for c in range(self.op.num_classes)]
        )
