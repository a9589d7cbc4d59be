"""Means of a net's outputs over batches, of different sizes too, and of detections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from netspec.errors import ShapeError, SpecError
from runtime.execution.net import Net
from runtime.training.average_precision import Detections, Precision


@dataclass(frozen=True)
class Means:
    """The mean of every output, the weight of each in the objective, the mean loss."""

    outputs: dict[str, np.ndarray]
    loss_weights: dict[str, float]
    loss: float


class Averages:
    """Averages the outputs of batches, which are added in their order, in float64.

    items: how many a batch has, where the net is fed; it counts as often then, as the
    last one may be smaller. The rows of a DetectionEvaluate layer become mean average
    precision.

    Raises `SpecError` where detections are required and there are none.
    """

    def __init__(self, net: Net, precision: Precision) -> None:
        self._net, self._precision = net, precision
        self._sums: dict[str, Sum] = {}
        self._found = {name: Detections() for name in detections(net)}
        if precision.required and not self._found:
            raise SpecError(
                f"net {net.name!r}: eval_type is 'detection', but no output is that of "
                f"a DetectionEvaluate layer; end the test net in one"
            )
        self._loss, self._total = 0.0, 0

    def add(
        self,
        batch: int,
        outputs: Mapping[str, np.ndarray],
        loss: float,
        items: int | None,
    ) -> None:
        """Add the outputs of batch number `batch`, and its loss.

        Raises `ShapeError` for an output whose shape is another one than before.
        """
        weight = items or 1
        self._total += weight
        for name, values in outputs.items():
            if name in self._found:
                self._found[name].add(values)
            else:
                self._sums.setdefault(name, Sum(name)).add(values, items, batch)
        self._loss += weight * loss

    def take(self, one: Sum) -> None:
        """Take the sum of an output that was not among those that were added."""
        self._sums[one.name] = one

    def means(self) -> Means:
        """Return the means of all that was added."""
        total, weights = self._total, self._net.blob_loss_weights
        names = [name for name in self._net.graph.outputs if name in self._sums]
        means = {name: self._sums[name].values / total for name in names}
        for name, found in self._found.items() if total else ():
            means |= found.results(name, self._precision)
        return Means(
            means,
            {name: weights[name] for name in names if weights[name] != 0},
            self._loss / total,
        )


class Sum:
    """The sum of an output over batches, weighted by their items if these are known."""

    values: np.ndarray

    def __init__(self, name: str) -> None:
        self.name = name
        self.items: int | None = None  # of the last batch, while rows stay apart
        self.joined = False  # whether rows are averaged
        self._begun = False

    @classmethod
    def of(
        cls, name: str, values: np.ndarray, items: int | None, *, joined: bool
    ) -> Sum:
        """Return a sum that was begun elsewhere."""
        one = cls(name)
        one.values, one.items, one.joined, one._begun = values, items, joined, True
        return one

    def add(self, values: np.ndarray, items: int | None, batch: int) -> None:
        """Add the output of a batch of so many items, None where nobody knows.

        A row for each item has no sum where batches differ in size; then the rows are
        averaged.
        """
        if not self._begun:
            self.values = np.zeros(values.shape, np.float64)
            self._begun = True
            self.items = items
        if self.joined:
            values = self._mean(values, items, batch)
        elif self.values.shape != values.shape:
            self.join()
            values = self._mean(values, items, batch)
        self.values += values if items is None else np.float64(items) * values

    def join(self) -> None:
        """Average the rows of items, if there are such."""
        if self.joined or self.items is None:
            return
        if is_row_each(self.values, self.items):
            self.values = self.values.mean(axis=0)
            self.joined = True

    def join_other(self, other: Sum) -> None:
        """Add a sum over other batches."""
        if self.values.shape != other.values.shape:
            self.join()
            other.join()
        if self.values.shape != other.values.shape:
            raise self._differs(other.values.shape, "some batches")
        self.values += other.values

    def _mean(self, values: np.ndarray, items: int | None, batch: int) -> np.ndarray:
        fits = values.shape[1:] == self.values.shape and self.joined
        if items is None or not (fits and is_row_each(values, items)):
            raise self._differs(values.shape, f"batch {batch}")
        mean: np.ndarray = values.mean(axis=0, dtype=np.float64)
        return mean

    def _differs(self, shape: tuple[int, ...], where: str) -> ShapeError:
        return ShapeError(
            f"output {self.name!r} has shape {shape} in {where}, but "
            f"{self.values.shape} before, so that it has no mean; end it in a "
            f"Silence layer, or in one whose top keeps its shape"
        )


def is_row_each(values: np.ndarray, items: int) -> bool:
    """Say whether an output has a row for each item."""
    return values.ndim > 0 and values.shape[0] == items


def detections(net: Net) -> list[str]:
    """Return the outputs that say which detections are right."""
    edges = net.graph.blobs
    return [
        name
        for name in net.graph.outputs
        if net.graph.nodes[net.graph.edges[edges[name]].producer].type
        == "DetectionEvaluate"
    ]
