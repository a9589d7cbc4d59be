"""What the regions of an image should say: their class, and where its box is."""

import caffe
import numpy as np

from rpn import boxes


class ProposalTargetLayer(caffe.Layer):
    """A sample of regions, with classes and boxes to learn.

    A region has the class of the true box that it overlaps most if that is at least
    `fg_thresh`; it is background (0) from `bg_thresh_lo` to below `bg_thresh_hi`. The
    true boxes are regions, too. Some are drawn, `batch_size` in all (-1: all of them)
    and at most `fg_fraction` objects. Deltas are normalized by `means` and `stds`, and
    stand at those of the class, of `num_classes`; with 2 classes all objects share
    those of class 1, as R-FCN has it.

    Bottoms: regions (R, 5), true boxes (G, 5) with their class. Tops, of S regions:
    regions (S, 5, 1, 1), labels (S, 1, 1, 1); deltas, inside and outside weights
    (S, 4 num_classes, 1, 1).
    """

    def setup(self, bottom, top):
        self._options = boxes.options(
            self,
            num_classes=None,
            batch_size=128,
            fg_fraction=0.25,
            fg_thresh=0.5,
            bg_thresh_hi=0.5,
            bg_thresh_lo=0.0,
            means=(0, 0, 0, 0),
            stds=(0.1, 0.1, 0.2, 0.2),
        )
        if not self._options["num_classes"]:
            raise ValueError("param_str must have num_classes, the background included")
        columns = (5, 1, *[4 * self._options["num_classes"]] * 3)
        for one, size in zip(top, columns, strict=True):
            one.reshape(1, size, 1, 1)

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        regions = bottom[0].data.reshape(-1, 5)
        truth = bottom[1].data.reshape(len(bottom[1].data), -1)
        if regions[:, 0].any():
            raise ValueError("regions of several images; expected those of image 0")
        own = np.concatenate([np.zeros((len(truth), 1)), truth[:, :4]], axis=1)
        regions = np.concatenate([regions, own])
        chosen, labels, nearest = self._sample(regions, truth)
        regions = regions[chosen]
        width = 4 * self._options["num_classes"]
        found = np.zeros((len(chosen), width))
        inside = np.zeros((len(chosen), width))
        for row, label in enumerate(labels):
            if label > 0:
                place = 4 * int(min(label, self._most(label)))
                wanted = truth[nearest[row], None, :4]
                delta = boxes.deltas(regions[row, None, 1:], wanted)[0]
                found[row, place : place + 4] = delta - self._options["means"]
                found[row, place : place + 4] /= self._options["stds"]
                inside[row, place : place + 4] = 1
        values = (regions, labels, found, inside, inside)
        for one, rows in zip(top, values, strict=True):
            one.reshape(len(chosen), rows[0].size if len(rows) else one.shape[1], 1, 1)
            one.data[...] = rows.reshape(one.data.shape)

    def _most(self, label):
        classes = self._options["num_classes"]
        if classes > 2 and label >= classes:
            raise ValueError(
                f"a true box has class {label:g}; expected 1 to {classes - 1}, the "
                f"classes of num_classes {classes}"
            )
        return classes - 1

    def _sample(self, regions, truth):
        """Return the numbers of regions, their labels, and their true boxes."""
        options = self._options
        most, nearest = np.zeros(len(regions)), np.zeros(len(regions), int)
        labels = np.zeros(len(regions))
        if len(truth):
            shares = boxes.overlaps(regions[:, 1:], truth)
            most, nearest = shares.max(axis=1), shares.argmax(axis=1)
            labels = truth[nearest, 4]
        objects = np.flatnonzero(most >= options["fg_thresh"])
        low, high = options["bg_thresh_lo"], options["bg_thresh_hi"]
        others = np.flatnonzero((most >= low) & (most < high))
        size = options["batch_size"]
        if size >= 0:
            few = round(options["fg_fraction"] * size)
            objects = boxes.draw(objects, few, regions, truth)
            others = boxes.draw(others, size - len(objects), regions, truth)
        labels[others] = 0
        chosen = np.concatenate([objects, others])
        return chosen, labels[chosen], nearest[chosen]

    def backward(self, top, propagate_down, bottom):
        pass
