"""MultiBoxLoss of the SSD fork: how far default boxes are from the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from netspec.errors import SpecError
from netspec.ops import multibox_loss as ops
from netspec.ops.base import label
from runtime.layers._default_boxes import decode, encode
from runtime.layers._matching import Match, matches, mine
from runtime.layers._truth import BOX, Truth
from runtime.layers.base import Kernel, register

LEAST_PROBABILITY = np.finfo(np.float32).tiny  # whose logarithm is taken


class _Locations(NamedTuple):
    """Matched boxes: their places among the locations, and the slope of the loss."""

    places: np.ndarray  # (M,) of rows of 4
    slope: np.ndarray  # (M, 4)


class _Confidences(NamedTuple):
    """Examples: their rows among the confidences, and the slope of the loss."""

    rows: np.ndarray  # (M,)
    slope: np.ndarray  # (M, classes)


@register
class MultiBoxLoss(Kernel[ops.MultiBoxLoss]):
    """How far locations and confidences of default boxes are from the true boxes.

        loss = (loc_weight * sum of f(location - code of the true box)
                + sum of the loss of the classes) / divisor

    The first sum runs over the default boxes that are matched with a true one, by
    `match`; f is d^2 / 2, and with SMOOTH_L1 |d| - 1 / 2 from |d| = 1 on. The second
    runs over these and the negatives that `mine` chooses, or over all default boxes
    with mining_type NONE: -log softmax of the class, or the sum of logistic losses of
    all classes. The divisor, never less than 1, is the number of matches with VALID,
    that of all default boxes with FULL, of items with BATCH_SIZE, 1 with NONE, and
    what is given with PRE_FIXED. An item without true boxes counts only with
    mining_type NONE.

    SSD's gradient of locations lacks the factor 1 / variance with
    `encode_variance_in_target`; this is the derivative. The places of equal losses and
    overlaps decide, the first wins.

    Shapes: locations (N, priors 4), confidences (N, priors classes), priors (1, 2,
    priors 4), truth (1, 1, boxes, 8) -> loss (). Boxes are matched on the host.
    Source: Liu et al., 2016, arXiv:1512.02325; multibox_loss_layer.cpp and
    bbox_util.cpp of SSD.
    """

    types = ("MultiBoxLoss",)

    def setup(self) -> None:
        """Make room for the bottoms on the host.

        Raises `SpecError` for examples to be chosen among boxes of each class.
        """
        if self.op.mining_type != "NONE" and not self.op.share_location:
            raise SpecError(
                f"mining_type {self.op.mining_type} needs share_location: true; give "
                f"mining_type: NONE",
                layer=label(self.op.layer),
            )
        op, dtype = self.op, self.context.dtype
        host = self.backend.on_host
        self._host = [
            bottom if host else np.empty(bottom.shape, dtype) for bottom in self.bottoms
        ]
        items, priors = op.bottoms[0][0], op.priors
        places = 1 if op.share_location else op.num_classes
        self._codes = self._host[0].reshape(items, priors, places, 4)
        self._scores = self._host[1].reshape(items, priors, op.num_classes)
        self._gradients = [
            None if gradient is None else np.empty(gradient.shape, dtype)
            for gradient in self.dbottoms[:2]
        ]
        self._locations: _Locations | None = None
        self._confidences: _Confidences | None = None
        self._divisor = 1.0

    def take_over(self, other: Kernel[ops.MultiBoxLoss]) -> None:
        """Take what was found of the pass."""
        super().take_over(other)
        if isinstance(other, MultiBoxLoss):
            self._locations = other._locations  # noqa: SLF001
            self._confidences = other._confidences  # noqa: SLF001
            self._divisor = other._divisor  # noqa: SLF001

    def forward(self) -> None:
        """Compute the loss, and the slopes that backward needs."""
        if not self.backend.on_host:
            for bottom, host in zip(self.bottoms, self._host, strict=True):
                self.backend.download(bottom, out=host)
        op = self.op
        both = self._host[2].reshape(-1, 2, op.priors, 4)[0]
        priors, variances = both[0], both[1]
        truth = self._truth()
        items = [self._matches(i, truth, priors, variances) for i in range(self._items)]
        losses = self._losses(items, truth) if op.mining_type != "NONE" else None
        negatives = [np.empty(0, np.int64)] * self._items
        for item, found in enumerate(items):
            for one in found if losses is not None else ():
                of_item = losses[item]  # type: ignore[index]
                if op.mining_type == "HARD_EXAMPLE":
                    of_item = of_item + self._hardness(
                        item, one, truth, priors, variances
                    )
                boxes = priors
                if op.nms is not None and not op.use_prior_for_nms:
                    boxes = self._predicted(item, priors, variances)[:, one.place]
                negatives[item] = mine(op, one, of_item, boxes)
        count = sum(
            int(np.count_nonzero(m.truth >= 0)) for found in items for m in found
        )
        self._divisor = self._normalizer(count)
        location = self._location_loss(items, truth, priors, variances)
        confidence = self._confidence_loss(items, truth, negatives)
        loss = op.loc_weight * location if op.locations_count else 0.0
        loss += confidence if op.confidences_count else 0.0
        value = np.array(loss / self._divisor, self.context.dtype)
        self.backend.upload(value.reshape(self.y.shape), out=self.y)

    def backward(self, accumulate: Sequence[bool]) -> None:
        """Put the slopes into their places."""
        dloss = self.backend.total(self.dy) / self._divisor
        factors = (dloss * self.op.loc_weight, dloss)
        found = (self._locations, self._confidences)
        parts = zip(self.dbottoms, self._gradients, found, factors, strict=False)
        for gradient, host, slopes, factor in parts:
            if gradient is None or host is None:
                continue
            host.fill(0)
            if slopes is not None:
                rows = host.reshape(-1, slopes.slope.shape[1])
                rows[slopes[0]] = slopes.slope * rows.dtype.type(factor)
            self.backend.upload(host, out=gradient)

    @property
    def _items(self) -> int:
        return self.op.bottoms[0][0]

    def _truth(self) -> Truth:
        """Return the true boxes that count, after checking them."""
        op = self.op
        truth = Truth(self._host[3].reshape(-1, BOX), op.layer, 3, op.background)
        truth.check_items(self._items)
        if op.map_object_to_agnostic:
            truth.labels[:] = op.background + 1
        truth.check_labels(op.num_classes)
        if not op.use_difficult_gt:
            truth.easy()
        return truth

    def _normalizer(self, matched: int) -> float:
        boxes = self._items * self.op.priors
        by = {"FULL": boxes, "VALID": matched, "BATCH_SIZE": self._items, "NONE": 1}
        return float(max(1, by.get(self.op.normalization, self.op.fixed)))

    def _predicted(
        self, item: int, priors: np.ndarray, variances: np.ndarray
    ) -> np.ndarray:
        """Return the boxes that the locations of an item stand for: (P, places, 4)."""
        codes = self._codes[item].transpose(1, 0, 2)
        boxes = decode(
            priors,
            variances,
            codes,
            self.op.code_type,
            variance_in_target=self.op.encode_variance_in_target,
        )
        return boxes.transpose(1, 0, 2)

    def _matches(
        self, item: int, truth: Truth, priors: np.ndarray, variances: np.ndarray
    ) -> list[Match]:
        """Match the default boxes of an item; an item without true boxes has none."""
        mine_ = np.flatnonzero(truth.items == item)
        if not len(mine_):
            return []
        predicted = None
        if not self.op.use_prior_for_matching:
            predicted = self._predicted(item, priors, variances)
        found = list(
            matches(self.op, priors, truth.boxes[mine_], truth.labels[mine_], predicted)
        )
        for one in found:  # numbers among all true boxes
            matched = one.truth >= 0
            one.truth[matched] = mine_[one.truth[matched]]
        return found

    def _losses(self, items: list[list[Match]], truth: Truth) -> np.ndarray:
        """Return the loss of the classes of every default box: (N, P)."""
        labels = np.full((self._items, self.op.priors), self.op.background, np.int64)
        for item, found in enumerate(items):
            for one in reversed(found):
                matched = one.truth >= 0
                labels[item, matched] = truth.labels[one.truth[matched]]
        scores = self._scores.reshape(-1, self.op.num_classes)
        losses, _ = self._classified(scores, labels.reshape(-1), slope=False)
        return losses.reshape(labels.shape)

    def _hardness(
        self,
        item: int,
        one: Match,
        truth: Truth,
        priors: np.ndarray,
        variances: np.ndarray,
    ) -> np.ndarray:
        """Return the loss of the locations of every default box, 0 if unmatched."""
        hardness = np.zeros(self.op.priors, self.context.dtype)
        places = np.flatnonzero(one.truth >= 0)
        away = self._away(item, one, places, truth, priors, variances)
        hardness[places] = self._bent(away).sum(axis=1)
        return hardness

    def _away(
        self,
        item: int,
        one: Match,
        places: np.ndarray,
        truth: Truth,
        priors: np.ndarray,
        variances: np.ndarray,
    ) -> np.ndarray:
        """Return location - code of the true box of matched boxes: (M, 4).

        It is 0 with `bp_inside` where the matched box reaches beyond the image.
        """
        op = self.op
        prior, variance = priors[places], variances[places]
        wanted = encode(
            prior,
            variance,
            truth.boxes[one.truth[places]],
            op.code_type,
            variance_in_target=op.encode_variance_in_target,
        )
        away = self._codes[item, places, one.place] - wanted
        if op.bp_inside:
            boxes = prior
            if not op.use_prior_for_matching:
                predicted = self._predicted(item, priors, variances)
                boxes = predicted[places, one.place]
            away[(boxes < 0) | (boxes > 1)] = 0
        return away / variance if op.encode_variance_in_target else away

    def _bent(self, away: np.ndarray) -> np.ndarray:
        """Return f of differences."""
        if self.op.loc_loss_type == "L2":
            return away * away / 2
        size = np.abs(away)
        return np.where(size < 1, away * away / 2, size - 0.5).astype(away.dtype)

    def _location_loss(
        self,
        items: list[list[Match]],
        truth: Truth,
        priors: np.ndarray,
        variances: np.ndarray,
    ) -> float:
        """Return the summed loss of locations; remember its slopes."""
        places_of = self._codes.shape[2]
        all_places, all_slopes, total = [], [], 0.0
        for item, found in enumerate(items):
            for one in found:
                places = np.flatnonzero(one.truth >= 0)
                away = self._away(item, one, places, truth, priors, variances)
                total += float(self._bent(away).sum(dtype=np.float64))
                slope = away if self.op.loc_loss_type == "L2" else np.clip(away, -1, 1)
                if self.op.encode_variance_in_target:
                    slope = slope / variances[places]
                rows = (item * self.op.priors + places) * places_of + one.place
                all_places.append(rows)
                all_slopes.append(slope)
        self._locations = None
        if all_places and self.op.locations_count:
            self._locations = _Locations(
                np.concatenate(all_places), np.concatenate(all_slopes)
            )
        return total

    def _confidence_loss(
        self, items: list[list[Match]], truth: Truth, negatives: list[np.ndarray]
    ) -> float:
        """Return the summed loss of classes; remember its slopes."""
        op, scores = self.op, self._scores.reshape(-1, self.op.num_classes)
        labels = np.full(len(scores), op.background, np.int64)
        positive: list[np.ndarray] = []
        rows_of: list[np.ndarray] = []
        targets = None
        if op.conf_loss_type == "LOGISTIC":
            targets = np.zeros(scores.shape, bool)
        for item, found in enumerate(items):
            for one in found:
                places = np.flatnonzero(one.truth >= 0)
                rows = item * op.priors + places
                labels[rows] = truth.labels[one.truth[places]]
                if targets is not None:
                    targets[rows, labels[rows]] = True
                positive.append(rows)
            more = item * op.priors + negatives[item]
            if targets is not None and op.background < op.num_classes:
                targets[more, op.background] = True
            rows_of.extend([*positive, more])
            positive = []
        if op.mining_type == "NONE":
            rows = np.arange(len(scores))
        else:
            rows = np.concatenate([np.empty(0, np.int64), *rows_of])
        given = labels[rows] if targets is None else targets[rows]
        wanted = self.dbottoms[1] is not None
        losses, slope = self._classified(scores[rows], given, slope=wanted)
        self._confidences = None
        if slope is not None and op.confidences_count:
            self._confidences = _Confidences(rows, slope)
        return float(losses.sum(dtype=np.float64))

    def _classified(
        self, scores: np.ndarray, given: np.ndarray, *, slope: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the loss of the classes of every row, and its slope if it is wanted.

        given: labels (M), or whether each class is there (M, classes).
        """
        if self.op.conf_loss_type == "SOFTMAX":
            p = scores - scores.max(axis=1, keepdims=True)
            np.exp(p, out=p)
            p /= p.sum(axis=1, keepdims=True)
            rows = np.arange(len(p))
            likely = p[rows, given]
            losses = -np.log(np.maximum(likely, LEAST_PROBABILITY))
            if slope:
                p[rows, given] -= 1
            return losses, p if slope else None
        targets = given
        if given.ndim == 1:
            targets = given[:, None] == np.arange(self.op.num_classes)
        softplus = np.log1p(np.exp(-np.abs(scores))) + np.maximum(scores, 0)
        losses = (softplus - np.where(targets, scores, 0)).sum(axis=1)
        if not slope:
            return losses, None
        return losses, np.exp(scores - softplus) - targets
