"""What the anchors of an image should say: object or not, and where its box is."""

import caffe
import numpy as np

from rpn import boxes


class AnchorTargetLayer(caffe.Layer):
    """Labels and boxes for a sample of the anchors of an image.

    An anchor is an object (1) if it overlaps a true box by `positive_overlap` or is the
    best for one; it is none (0) below `negative_overlap`; others do not count (-1), nor
    do those over the rim of the image by more than `allowed_border`. Of both kinds some
    are drawn, `batch_size` in all and at most `fg_fraction` objects.

    Bottoms: scores (1, 2 A, H, W), true boxes (G, 5) with their class, im_info (1, 3),
    and the image, which is not read. Tops: labels (1, 1, A H, W); deltas, inside and
    outside weights (1, 4 A, H, W).
    """

    def setup(self, bottom, top):
        self._options = boxes.options(
            self,
            feat_stride=16,
            base_size=16,
            ratios=(0.5, 1, 2),
            scales=(8, 16, 32),
            allowed_border=0,
            batch_size=256,
            fg_fraction=0.5,
            positive_overlap=0.7,
            negative_overlap=0.3,
        )
        self._anchors = boxes.make_anchors(
            *(self._options[name] for name in ("base_size", "ratios", "scales"))
        )

    def reshape(self, bottom, top):
        height, width = bottom[0].data.shape[2:]
        count = len(self._anchors)
        top[0].reshape(1, 1, count * height, width)
        for one in top[1:]:
            one.reshape(1, 4 * count, height, width)

    def forward(self, bottom, top):
        scores, truth, info = (one.data for one in bottom[:3])
        truth = truth.reshape(len(truth), -1)
        height, width = scores.shape[2:]
        placed = boxes.place(self._anchors, height, width, self._options["feat_stride"])
        labels, nearest = self._label(placed, truth, info[0], scores)
        found = np.zeros((len(placed), 4))
        counted = labels >= 0
        if len(truth):
            found[counted] = boxes.deltas(placed[counted], truth[nearest[counted], :4])
        inside = np.repeat(labels[:, None] == 1, 4, axis=1)
        outside = np.repeat(counted[:, None] / max(1, counted.sum()), 4, axis=1)
        by_anchor = labels.reshape(height, width, -1).transpose(2, 0, 1)
        top[0].data[...] = by_anchor.reshape(top[0].data.shape)
        for one, values in zip(top[1:], (found, inside, outside), strict=True):
            one.data[0] = values.reshape(height, width, -1).transpose(2, 0, 1)

    def _label(self, placed, truth, info, scores):
        """Return the label of every anchor, and the true box that it overlaps most."""
        options, border = self._options, self._options["allowed_border"]
        labels = np.full(len(placed), -1.0)
        low, high = placed[:, :2], placed[:, 2:]
        fine = (low >= -border).all(1) & (high < info[1::-1] + border).all(1)
        fine = np.flatnonzero(fine)
        if not len(truth):
            labels[fine] = 0
            nearest = np.zeros(len(placed), int)
        else:
            shares = boxes.overlaps(placed[fine], truth)
            nearest = np.zeros(len(placed), int)
            nearest[fine] = shares.argmax(axis=1)
            most = shares.max(axis=1)
            labels[fine[most < options["negative_overlap"]]] = 0
            best = shares.max(axis=0, initial=0)
            labels[fine[((shares == best) & (best > 0)).any(axis=1)]] = 1
            labels[fine[most >= options["positive_overlap"]]] = 1
        size = options["batch_size"]
        for label, most in ((1, int(options["fg_fraction"] * size)), (0, size)):
            own = np.flatnonzero(labels == label)
            if label == 0:
                most -= int((labels == 1).sum())
            labels[own] = -1
            labels[boxes.draw(own, most, truth, scores)] = label
        return labels, nearest

    def backward(self, top, propagate_down, bottom):
        pass
