"""Words for what is shown of training: times, speeds, results of tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.execution.net import Net
from runtime.training.records import StepRecord, TestRecord
from runtime.training.testing import is_due

WINDOW = 100  # iterations that the shown speed is averaged over


def batch_size(net: Net) -> int:
    """Return the first axis of the first blob that comes from outside, or 1."""
    for node in net.graph.nodes:
        if not node.bottoms and node.tops:
            shape = net.graph.edges[node.tops[0]].shape
            return shape[0] if shape else 1
    return 1


def duration(seconds: float) -> str:
    """Return a time for people: 0.51 s, 42 s, 3:07, 2:00:59."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def seconds_per_step(records: Sequence[StepRecord]) -> float | None:
    """Return the mean time of the last iterations, or None where there is none."""
    last = [record.seconds for record in records[-WINDOW:]]
    return sum(last) / len(last) if last else None


def images_of(solver: Any) -> int:
    """Return how many images an iteration takes, on all ranks."""
    ranks = solver.communicator.size if solver.communicator else 1
    return batch_size(solver.net) * max(1, int(solver.param.iter_size)) * ranks


def seconds_left(solver: Any, end: int, per_step: float) -> float:
    """Return how long the iterations up to `end` take, with the tests that are due."""
    param, tests = solver.param, solver.history.tests
    left = max(0, end - solver.iter)
    if not tests or not is_due(param, 0):
        return left * per_step
    latest = tests[-1].iteration
    round_of = sum(r.seconds for r in tests if r.iteration == latest)
    interval = param.test_interval
    return left * per_step + round_of * ((end - 1) // interval - latest // interval)


def describe(record: TestRecord) -> str:
    """Return the outputs of a test in a line; those that are arrays by their mean."""
    parts = [f"{name} {said}" for name, said in results(record).items()]
    if record.loss is not None:
        parts.append(f"objective {record.loss:.4g}")
    return ", ".join(parts) or "no outputs"


def results(record: TestRecord) -> dict[str, str]:
    """Return the outputs of a test as text, by name."""
    return {name: _value(values) for name, values in record.outputs.items()}


def _value(values: np.ndarray) -> str:
    if values.size == 1:
        return f"{values.reshape(-1)[0]:.4g}"
    mean = f" mean {values.mean():.4g}" if values.size else ""
    return f"{values.shape}{mean}"
