"""Proposal with a compiled choice of boxes that do not overlap."""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.graph import Node
from runtime.backends.cpu.machine.compiled import carray, kernel
from runtime.backends.cpu.machine.simd import f32, i64, u8
from runtime.backends.layer_kernel import CallRunner, has_only
from runtime.layers.proposal import Proposal as PortableProposal

ONE: Any = np.float32(1)
ZERO: Any = np.float32(0)


@kernel("boxes areas out chosen found number most", "threshold")
def suppress(record: Any, part: int, parts: int) -> None:
    """Choose boxes that no chosen one before them overlaps more than `threshold`.

    Fields:
        boxes: (4, number), x1, y1, x2, y2 of all boxes, the best first.
        areas: (number,), gets their areas.
        out: uint8 (number,), of 0, gets 1 for a box that is left out.
        chosen: int64 (most,), gets the boxes that are chosen.
        found: int64 (1,), gets how many these are.
    """
    a = carray(record, 1)[0]
    n, threshold = a.number, np.float32(a.threshold)
    x1, y1 = f32(a.boxes), f32(a.boxes + 4 * n)
    x2, y2 = f32(a.boxes + 8 * n), f32(a.boxes + 12 * n)
    areas, out, kept = f32(a.areas), u8(a.out), 0
    for k in range(n):
        areas[k] = (x2[k] - x1[k] + ONE) * (y2[k] - y1[k] + ONE)
    for k in range(n):
        if out[k] != 0 or kept == a.most:
            continue
        i64(a.chosen)[kept] = k
        kept += 1
        left, top, right, bottom, area = x1[k], y1[k], x2[k], y2[k], areas[k]
        for other in range(k + 1, n):
            width = min(right, x2[other]) - max(left, x1[other]) + ONE
            height = min(bottom, y2[other]) - max(top, y1[other]) + ONE
            both = max(width, ZERO) * max(height, ZERO)
            union = area + areas[other] - both
            out[other] |= np.uint8(both > threshold * union)
    i64(a.found)[0] = kept


class Proposal(PortableProposal):
    """The best boxes of every image that do not overlap; see the portable kernel."""

    backend: Any
    options = (
        "feat_stride",
        "base_size",
        "min_size",
        "ratio",
        "scale",
        "pre_nms_topn",
        "post_nms_topn",
        "nms_thresh",
    )

    @classmethod
    def fits(cls, node: Node) -> bool:
        """Whether this kernel knows all options of a node."""
        return has_only(node.op, cls.options)

    def keep(self, boxes: np.ndarray) -> list[int]:
        """Return which boxes, the best first, are kept beside each other."""
        runner: CallRunner = self.backend
        number, most = len(boxes), min(len(boxes), self.op.post_nms_topn)
        chosen, found = np.zeros(most, np.int64), np.zeros(1, np.int64)
        call = suppress(
            boxes=np.ascontiguousarray(boxes.T),
            areas=np.zeros(number, np.float32),
            out=np.zeros(number, np.uint8),
            chosen=chosen,
            found=found,
            number=number,
            most=most,
            threshold=self.op.nms_thresh,
            serial=True,
        )
        runner.runner([call])()
        return [int(one) for one in chosen[: found[0]]]
