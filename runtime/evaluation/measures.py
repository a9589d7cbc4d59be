"""Counts and sums over batches, and the measures that follow from them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from netspec.errors import ShapeError, SpecError
from runtime.distributed import Communicator

MAX_CONFUSED = 4096  # classes, up to which there is a matrix of them


class ClassCounts:
    """How often which class was taken for which.

    top_k: ranks up to which a label counts as found. names: what messages call the
    scores and the labels.

        rank of a label = classes with a higher score, or an equal one and lower number

    so that rank 0 is `argmax`.
    """

    def __init__(
        self,
        classes: int,
        top_k: Sequence[int] = (),
        ignored: int | None = None,
        name: str = "label",
    ) -> None:
        self.classes, self.top_k = classes, tuple(top_k)
        self._ignored, self._name = ignored, name
        self.matrix: np.ndarray | None = None
        if classes <= MAX_CONFUSED:
            self.matrix = np.zeros((classes, classes), np.int64)
        self.right = np.zeros(classes, np.int64)  # of each class, as labelled
        self.labelled = np.zeros(classes, np.int64)
        self.predicted = np.zeros(classes, np.int64)
        self.found = dict.fromkeys(self.top_k, 0)
        self.positions = 0

    def add(self, scores: np.ndarray, labels: np.ndarray, before: int) -> np.ndarray:
        """Count a batch; return which positions count.

        before: items before it, for messages.

        Shapes: scores (N, C, P), labels (N, P) -> (N, P).
        """
        counts = self._check(labels, before)
        guess = scores.argmax(axis=1)  # (N, P)
        truth = np.where(counts, labels, 0).astype(np.int64)
        mine, theirs = truth[counts], guess[counts]
        if self.matrix is not None:
            flat = np.bincount(
                mine * self.classes + theirs, minlength=self.classes * self.classes
            )
            self.matrix += flat.reshape(self.classes, self.classes)
        self.labelled += np.bincount(mine, minlength=self.classes)
        self.predicted += np.bincount(theirs, minlength=self.classes)
        self.right += np.bincount(mine[mine == theirs], minlength=self.classes)
        self.positions += int(counts.sum())
        if self.top_k:
            ranks = ranks_of(scores, truth)[counts]
            for k in self.top_k:
                self.found[k] += int((ranks < k).sum())
        return counts

    def _check(self, labels: np.ndarray, before: int) -> np.ndarray:
        counts = np.ones(labels.shape, bool)
        if self._ignored is not None:
            counts = labels != self._ignored
        wrong = counts & ~(
            (labels >= 0) & (labels < self.classes) & (labels == np.floor(labels))
        )
        if wrong.any():
            item = int(np.argmax(wrong.reshape(len(labels), -1).any(axis=1)))
            value = labels[wrong][0]
            raise SpecError(
                f"{self._name!r} has the label {value:g} in item {before + item}; the "
                f"net tells {self.classes} classes apart, so labels are whole numbers "
                f"from 0 to {self.classes - 1}"
            )
        return counts

    def share(self, ranks: Communicator) -> None:
        """Add what all ranks counted."""
        numbers = np.array([self.positions, *self.found.values()], np.int64)
        for array in (self.matrix, self.right, self.labelled, self.predicted, numbers):
            if array is not None:
                ranks.sum(array)
        self.positions, *found = numbers.tolist()
        self.found = dict(zip(self.top_k, found, strict=True))

    @property
    def accuracy(self) -> float:
        """The share of labels that were found first; NaN where none counts."""
        return _ratio(self.right.sum(), self.positions)

    def within(self, k: int) -> float:
        """Return the share of labels among the k best scores."""
        return _ratio(self.found[k], self.positions)

    def table(self) -> dict[str, np.ndarray]:
        """Return measures a class; 0 where they would be 0 / 0.

        precision = right / predicted, recall = right / labelled, f1 = 2 right /
        (predicted + labelled), iou = right / (predicted + labelled - right)
        """
        return rates(self.right, self.predicted, self.labelled)

    def means(self) -> dict[str, float]:
        """Return means over the classes that occur, as label or as prediction."""
        table = self.table()
        occur = (self.labelled + self.predicted) > 0
        if not occur.any():
            return dict.fromkeys(("precision", "recall", "f1", "iou"), math.nan)
        return {name: float(table[name][occur].mean()) for name in table}

    def balanced_accuracy(self) -> float:
        """Return the mean recall of the classes that occur as labels."""
        occur = self.labelled > 0
        recall = self.table()["recall"][occur]
        return float(recall.mean()) if occur.any() else math.nan


class TagCounts:
    """For every tag how often it was right to say that it holds.

    threshold: the probability from which on a tag is taken to hold.
    """

    def __init__(self, tags: int, threshold: float, ignored: int | None) -> None:
        self.tags, self._threshold, self._ignored = tags, threshold, ignored
        self.right, self.predicted, self.labelled, self.positions, self.agreed = (
            np.zeros(tags, np.int64) for _ in range(5)
        )
        self.items = self.exact = 0

    def add(self, probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Count a batch; return which positions count.

        Shapes: both (N, L, P) -> (N, L, P).
        """
        counts = np.ones(targets.shape, bool)
        if self._ignored is not None:
            counts = targets.astype(np.int64) != self._ignored
        says = (probabilities >= self._threshold) & counts
        holds = (targets >= 0.5) & counts
        axes = (0, 2)
        self.right += (says & holds).sum(axis=axes)
        self.predicted += says.sum(axis=axes)
        self.labelled += holds.sum(axis=axes)
        self.positions += counts.sum(axis=axes)
        agreed = (says == holds) & counts
        self.agreed += agreed.sum(axis=axes)
        self.items += len(targets)
        self.exact += int((agreed | ~counts).all(axis=(1, 2)).sum())
        return counts

    def share(self, ranks: Communicator) -> None:
        """Add what all ranks counted."""
        numbers = np.array([self.items, self.exact], np.int64)
        sums = (self.right, self.predicted, self.labelled, self.positions, self.agreed)
        for array in (*sums, numbers):
            ranks.sum(array)
        self.items, self.exact = numbers.tolist()

    @property
    def accuracy(self) -> float:
        """The share of tags, over all items, that were told right."""
        return _ratio(self.agreed.sum(), self.positions.sum())

    @property
    def exact_match(self) -> float:
        """The share of items all of whose tags were told right."""
        return _ratio(self.exact, self.items)

    def table(self) -> dict[str, np.ndarray]:
        """Return measures a tag, as `ClassCounts.table`, and its accuracy."""
        found = rates(self.right, self.predicted, self.labelled)
        found["accuracy"] = self.agreed / np.maximum(self.positions, 1)
        return found

    def means(self) -> dict[str, float]:
        """Return means over tags."""
        return {name: float(held.mean()) for name, held in self.table().items()}

    def pooled(self) -> dict[str, float]:
        """Return the measures of all tags counted together."""
        sums = (
            np.array([x.sum()]) for x in (self.right, self.predicted, self.labelled)
        )
        return {name: float(held[0]) for name, held in rates(*sums).items()}


class ValueSums:
    """Sums of differences, and the spread of targets, for every output.

    R2 = 1 - sum (p - t)^2 / sum (t - mean of t)^2, 1 or 0 where the targets of an
    output do not differ and it is right or not. Means are merged by Chan's formula, as
    sums of squares lose digits.
    """

    def __init__(self, outputs: int) -> None:
        self.count = 0
        self.squares, self.absolutes, self.spread, self._mean = (
            np.zeros(outputs) for _ in range(4)
        )

    def add(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        """Add a batch. Shapes: both (N, D)."""
        if outputs.shape != targets.shape:
            raise ShapeError(
                f"outputs have shape {outputs.shape}, targets {targets.shape}"
            )
        targets = targets.astype(np.float64)
        difference = outputs - targets
        self.squares += np.square(difference).sum(axis=0)
        self.absolutes += np.abs(difference).sum(axis=0)
        count = len(targets)
        mean = targets.mean(axis=0)
        away = mean - self._mean
        total = self.count + count
        self.spread += np.square(targets - mean).sum(axis=0)
        self.spread += np.square(away) * (self.count * count / total)
        self._mean += away * (count / total)
        self.count = total

    def share(self, ranks: Communicator) -> None:
        """Add what all ranks added; equal, up to rounding, to all batches on one."""
        total = sum(ranks.gather(self.count))
        mean = self._mean * (self.count / total)
        ranks.sum(mean)
        self.spread += self.count * np.square(self._mean - mean)
        for array in (self.squares, self.absolutes, self.spread):
            ranks.sum(array)
        self.count, self._mean = total, mean

    def measures(self) -> dict[str, float]:
        """Return the means over outputs."""
        table = self.table()
        mse = float(table["mse"].mean())
        return {
            "mse": mse,
            "rmse": math.sqrt(mse),
            "mae": float(table["mae"].mean()),
            "r2": float(table["r2"].mean()),
        }

    def table(self) -> dict[str, np.ndarray]:
        """Return the measures of each output."""
        flat = self.spread == 0
        share = self.squares / np.where(flat, 1, self.spread)
        r2 = np.where(flat, np.where(self.squares == 0, 1.0, 0.0), 1 - share)
        return {
            "mse": self.squares / self.count,
            "mae": self.absolutes / self.count,
            "r2": r2,
        }


def ranks_of(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how many classes come before the labelled one.

    Shapes: scores (N, C, P), labels (N, P) -> (N, P).
    """
    mine = np.take_along_axis(scores, labels[:, None], axis=1)  # (N, 1, P)
    numbers = np.arange(scores.shape[1])[None, :, None]
    equal_before = (scores == mine) & (numbers < labels[:, None])
    return ((scores > mine) | equal_before).sum(axis=1)


def rates(
    right: np.ndarray, predicted: np.ndarray, labelled: np.ndarray
) -> dict[str, np.ndarray]:
    """Return precision, recall, F1 and IoU; 0 where they would be 0 / 0."""
    return {
        "precision": right / np.maximum(predicted, 1),
        "recall": right / np.maximum(labelled, 1),
        "f1": 2 * right / np.maximum(predicted + labelled, 1),
        "iou": right / np.maximum(predicted + labelled - right, 1),
    }


def _ratio(part: float, of: float) -> float:
    return float(part / of) if of else math.nan
