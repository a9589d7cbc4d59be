"""Test passes: means of a net's outputs over several batches, and of detections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from netspec.errors import ShapeError, SpecError
from netspec.schema import SolverParameter
from runtime.execution.net import Net
from runtime.training.average_precision import (
    Detections,
    Precision,
    precision_of,
)
from runtime.training.passes import at_passes
from runtime.training.records import TestRecord


class _Left(Exception):
    """A test pass was left unfinished."""


@dataclass(frozen=True)
class Means:
    """The mean of every output, the weight of each in the objective, the mean loss."""

    outputs: dict[str, np.ndarray]
    loss_weights: dict[str, float]
    loss: float


def mean_outputs(
    net: Net,
    batches: int,
    on_batch: Callable[[int], None] | None = None,
    precision: Precision | None = None,
) -> Means:
    """Run `net` forward on `batches` batches and average its outputs, in float64.

    Where the net is fed, a batch counts as often as it has items, as the last one may
    be smaller. The rows of a DetectionEvaluate layer become mean average precision,
    `precision` says which.

    on_batch: called with the number of batches done, after each.

    Raises `ShapeError` for an output whose shape is another one in a later batch.
    """
    sums: dict[str, _Sum] = {}
    precision = precision or Precision()
    found = {name: Detections() for name in _detections(net)}
    if precision.required and not found:
        raise SpecError(
            f"net {net.name!r}: eval_type is 'detection', but no output is that of a "
            f"DetectionEvaluate layer; end the test net in one"
        )
    loss, total = 0.0, 0
    for index in range(batches):
        outputs = net.forward()
        items = net.fed_items
        weight = items or 1
        total += weight
        for name, values in outputs.items():
            if name in found:
                found[name].add(values)
            else:
                sums.setdefault(name, _Sum(name)).add(values, items, index)
        loss += weight * net.loss()
        if on_batch is not None:
            on_batch(index + 1)
    weights = net.blob_loss_weights
    means = {name: one.values / total for name, one in sums.items()}
    for name, detections in found.items() if batches else ():
        means |= detections.results(name, precision)
    return Means(
        means,
        {name: weights[name] for name in sums if weights[name] != 0},
        loss / total,
    )


class _Sum:
    """The sum of an output over batches, weighted by their items if these are known."""

    values: np.ndarray

    def __init__(self, name: str) -> None:
        self._name = name
        self._items: int | None = None  # of the last batch, while rows stay apart
        self._begun = self._joined = False

    def add(self, values: np.ndarray, items: int | None, batch: int) -> None:
        """Add the output of a batch of so many items, None where nobody knows.

        A row for each item has no sum where batches differ in size; then the rows are
        averaged.
        """
        if not self._begun:
            self.values = np.zeros(values.shape, np.float64)
            self._begun = True
            self._items = items
        if self._joined:
            values = self._mean(values, items, batch)
        elif self.values.shape != values.shape:
            if self._items is not None and self._is_row_each(self.values, self._items):
                self.values = self.values.mean(axis=0)
                self._joined = True
            values = self._mean(values, items, batch)
        self.values += values if items is None else np.float64(items) * values

    def _mean(self, values: np.ndarray, items: int | None, batch: int) -> np.ndarray:
        fits = values.shape[1:] == self.values.shape and self._joined
        if items is None or not (fits and self._is_row_each(values, items)):
            raise ShapeError(
                f"output {self._name!r} has shape {values.shape} in batch {batch}, but "
                f"{self.values.shape} before, so that it has no mean; end it in a "
                f"Silence layer, or in one whose top keeps its shape"
            )
        mean: np.ndarray = values.mean(axis=0, dtype=np.float64)
        return mean

    @staticmethod
    def _is_row_each(values: np.ndarray, items: int) -> bool:
        return values.ndim > 0 and values.shape[0] == items


def _detections(net: Net) -> list[str]:
    """Return the outputs that say which detections are right."""
    edges = net.graph.blobs
    return [
        name
        for name in net.graph.outputs
        if net.graph.nodes[net.graph.edges[edges[name]].producer].type
        == "DetectionEvaluate"
    ]


def is_due(param: SolverParameter, iteration: int) -> bool:
    """Say whether the nets are to be tested ahead of `iteration`."""
    interval = param.test_interval
    return bool(param.test_iter) and interval > 0 and iteration % interval == 0


def run_tests(
    nets: Sequence[Net],
    param: SolverParameter,
    iteration: int,
    leave: Callable[[], bool],
) -> list[TestRecord] | None:
    """Run every test net over the `test_iter` batches that are due at `iteration`.

    A net with no batches has no results, so it gets no record. leave: asked after each
    batch whether to leave the rest; then the result is None.
    """

    def ask(_: int) -> None:
        if leave():
            raise _Left

    precision = precision_of(param)
    interval = max(1, param.test_interval)
    before = -(-iteration // interval)  # passes that were due before
    if not param.test_initialization:
        before = max(0, before - 1)
    records: list[TestRecord] = []
    for index, net in enumerate(nets):
        clock = net.backend.compilation.clock  # which stands while it compiles
        started = clock()
        batches = param.test_iter[index]
        if batches == 0:
            continue
        try:
            with np.errstate(all="ignore"), at_passes(net, before * batches):
                means = mean_outputs(net, batches, ask, precision)
        except _Left:
            return None
        finally:
            net.rest_feed()
        records.append(
            TestRecord(
                iteration=iteration,
                net=index,
                outputs=means.outputs,
                loss_weights=means.loss_weights,
                loss=means.loss if param.test_compute_loss else None,
                seconds=clock() - started,
            )
        )
    return records


def accuracy_of(net: Net, record: TestRecord) -> float:
    """Return what the first Accuracy layer of a test net measured.

    Raises `SpecError` for a net without one among its outputs.
    """
    for node in net.graph.nodes:
        if node.layer.type == "Accuracy" and node.layer.top[0] in record.outputs:
            return float(record.outputs[node.layer.top[0]].reshape(-1)[0])
    raise SpecError(
        f"solver: lr_policy 'stepearly' looks at the accuracy of test net {record.net},"
        f" which has no Accuracy layer whose top is an output; add one, or choose "
        f"another lr_policy"
    )
