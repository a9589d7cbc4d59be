"""Regions of interest from scores and deltas of anchors; see the Proposal layer."""

import caffe
import numpy as np

from rpn import boxes


class ProposalLayer(caffe.Layer):
    """The best boxes of an image that do not overlap much.

    Bottoms: probabilities (1, 2 A, H, W), deltas (1, 4 A, H, W), im_info (1, 3). Tops:
    regions (R, 5), and their scores (R, 1) where there is a second top.
    """

    def setup(self, bottom, top):
        training = self.phase == caffe.TRAIN
        self._options = boxes.options(
            self,
            feat_stride=16,
            base_size=16,
            ratios=(0.5, 1, 2),
            scales=(8, 16, 32),
            min_size=16,
            pre_nms_topn=12000 if training else 6000,
            post_nms_topn=2000 if training else 300,
            nms_thresh=0.7,
        )
        self._anchors = boxes.make_anchors(
            *(self._options[name] for name in ("base_size", "ratios", "scales"))
        )
        top[0].reshape(1, 5)
        if len(top) > 1:
            top[1].reshape(1, 1)

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        scores, deltas, info = (one.data for one in bottom)
        if len(scores) != 1:
            raise ValueError(f"{len(scores)} images in a batch; expected 1")
        options = self._options
        placed = boxes.place(self._anchors, *scores.shape[2:], options["feat_stride"])
        moved = boxes.moved(placed, deltas[0].transpose(1, 2, 0).reshape(-1, 4))
        found = boxes.clipped(moved, *info[0, :2])
        objects = scores[0, len(self._anchors) :].transpose(1, 2, 0).ravel()
        least = options["min_size"] * info[0, 2]
        large = np.flatnonzero((boxes.sizes(found) >= least).all(axis=1))
        order = np.argsort(-objects[large], kind="stable")[: options["pre_nms_topn"]]
        best = large[order]
        best = best[
            boxes.suppressed(
                found[best], options["nms_thresh"], options["post_nms_topn"]
            )
        ]
        top[0].reshape(len(best), 5)
        top[0].data[...] = np.concatenate([np.zeros((len(best), 1)), found[best]], 1)
        if len(top) > 1:
            top[1].reshape(len(best), 1)
            top[1].data[...] = objects[best, None]

    def backward(self, top, propagate_down, bottom):
        pass
