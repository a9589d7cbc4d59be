"""Proposal: regions of interest from scores and shifts of anchors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.errors import SpecError
from netspec.ops import proposal as ops
from netspec.ops.base import bottom_name, label
from runtime.layers import _boxes
from runtime.layers._host import HostCopies
from runtime.layers.base import Kernel, TopsChanged, register


@register
class Proposal(Kernel[ops.Proposal]):
    """The best boxes of every image that do not overlap much.

        box = anchor moved by its deltas, cut at the border of the image
        left out: sides below min_size * scale of the image
        of the pre_nms_topn best, in order: boxes that no better one that is kept
        overlaps more than nms_thresh; the first post_nms_topn of them

    How many boxes that is is known only now, so the tops may have to change their shape
    in every pass. All is read and computed on the host. Of equal scores the first
    counts, positions by row and column, then anchors. The C++ layer of PVANet gives
    small boxes a score of 0 in place of leaving them out, takes image 0's size for all,
    and has no fixed order of equal scores.

    Shapes: scores (N, 2 A, H, W), deltas (N, 4 A, H, W), image (N, 3) -> regions
    (R, 5), scores (R, 1). Source: Ren and others, Faster R-CNN, 2015, arXiv:1506.01497.
    """

    types = ("Proposal",)

    def setup(self) -> None:
        """Lay the anchors out."""
        op = self.op
        self._host = HostCopies(self)
        anchors = _boxes.anchors(op.base_size, op.ratio, op.scale)
        _, _, height, width = op.bottoms[0]
        placed = _boxes.shifted(anchors, height, width, op.feat_stride)
        self._anchors = placed.astype(self.context.dtype)

    def forward(self) -> None:
        """Find the regions."""
        rows, self.found = self.found, None
        if rows is None:
            rows = self._rows()
        shapes = ((len(rows), 5), (len(rows), 1))[: len(self.tops)]
        if shapes != self.op.tops:
            raise TopsChanged(self.node.index, shapes, found=rows)
        for top, values in zip(self.tops, (rows[:, :5], rows[:, 5:]), strict=False):
            self._host.room(top)[...] = values
            self._host.write(top)

    def _rows(self) -> np.ndarray:
        """Return the regions of all images with their scores."""
        scores, deltas, image = (self._host.read(one) for one in self.bottoms)
        sizes = np.broadcast_to(image.reshape(len(image), -1), (len(scores), image.size
                                // max(1, len(image))))  # fmt: skip
        found = [
            self._propose(n, scores[n], deltas[n], sizes[n]) for n in range(len(scores))
        ]
        return np.concatenate([np.zeros((0, 6), scores.dtype), *found])

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Do nothing: which boxes are left has no gradient."""

    def _propose(
        self, n: int, scores: np.ndarray, deltas: np.ndarray, info: np.ndarray
    ) -> np.ndarray:
        """Return the regions of an image with their scores.

        Shapes: scores (2 A, H, W), deltas (4 A, H, W), info (3 or more,) -> (K, 6).
        """
        op = self.op
        self._check(n, scores, deltas, info)
        height, width, down, along = *info[:3], info[3 if len(info) > 3 else 2]
        objects = scores[len(scores) // 2 :].transpose(1, 2, 0).reshape(-1)
        shifts = deltas.transpose(1, 2, 0).reshape(self._anchors.shape)
        boxes = _boxes.clipped(_boxes.moved(self._anchors, shifts), height, width)
        boxes = boxes.reshape(-1, 4)
        size = boxes[:, 2:] - boxes[:, :2] + 1
        least = np.array([op.min_size * along, op.min_size * down])
        large = np.flatnonzero((size >= least).all(axis=1))
        order = np.argsort(-objects[large], kind="stable")[: op.pre_nms_topn]
        best = large[order]
        chosen = best[self.keep(boxes[best])]
        items = np.full((len(chosen), 1), n, boxes.dtype)
        return np.concatenate([items, boxes[chosen], objects[chosen, None]], axis=1)

    def keep(self, boxes: np.ndarray) -> list[int]:
        """Return which boxes, the best first, are kept beside each other."""
        return _boxes.kept(boxes, self.op.nms_thresh, self.op.post_nms_topn)

    def _check(self, n: int, *arrays: np.ndarray) -> None:
        for index, array in enumerate(arrays):
            if not np.isfinite(array).all():
                value = array[~np.isfinite(array)][0]
                raise SpecError(
                    f"{bottom_name(self.op.layer, index)} holds {value:g} for image "
                    f"{n}, of which no regions can be made; look at whether training "
                    f"diverged",
                    layer=label(self.op.layer),
                )
