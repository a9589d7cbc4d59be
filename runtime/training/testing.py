"""Test passes: means of a net's outputs over several batches, and of detections."""

from __future__ import annotations

import time
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

    The rows of a DetectionEvaluate layer become mean average precision, `precision`
    says which.

    on_batch: called with the number of batches done, after each.

    Raises `ShapeError` for an output whose shape is another one in a later batch.
    """
    sums: dict[str, np.ndarray] = {}
    precision = precision or Precision()
    found = {name: Detections() for name in _detections(net)}
    if precision.required and not found:
        raise SpecError(
            f"net {net.name!r}: eval_type is 'detection', but no output is that of a "
            f"DetectionEvaluate layer; end the test net in one"
        )
    loss = 0.0
    for index in range(batches):
        for name, values in net.forward().items():
            if name in found:
                found[name].add(values)
                continue
            if name not in sums:
                sums[name] = np.zeros(values.shape, np.float64)
            if sums[name].shape != values.shape:
                raise ShapeError(
                    f"output {name!r} has shape {values.shape} in batch {index}, but "
                    f"{sums[name].shape} before, so that it has no mean; end it in a "
                    f"Silence layer, or in one whose top keeps its shape"
                )
            sums[name] += values
        loss += net.loss()
        if on_batch is not None:
            on_batch(index + 1)
    weights = net.blob_loss_weights
    outputs = {name: total / batches for name, total in sums.items()}
    for name, detections in found.items() if batches else ():
        outputs |= detections.results(name, precision)
    return Means(
        outputs,
        {name: weights[name] for name in sums if weights[name] != 0},
        loss / batches,
    )


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
        started = time.perf_counter()
        batches = param.test_iter[index]
        if batches == 0:
            continue
        try:
            with np.errstate(all="ignore"), at_passes(net, before * batches):
                means = mean_outputs(net, batches, ask, precision)
        except _Left:
            return None
        records.append(
            TestRecord(
                iteration=iteration,
                net=index,
                outputs=means.outputs,
                loss_weights=means.loss_weights,
                loss=means.loss if param.test_compute_loss else None,
                seconds=time.perf_counter() - started,
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
