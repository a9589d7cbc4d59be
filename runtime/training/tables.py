"""The numbers of a history as columns: per iteration, per epoch or per test."""

from __future__ import annotations

import importlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from netspec.errors import MachineError, SpecError, did_you_mean
from runtime.training.monitored import named, prefix
from runtime.training.records import Records, StepRecord, TestRecord, plain

Per = Literal["iteration", "epoch", "test"]
NAN = math.nan
Columns = dict[str, list[Any]]


@dataclass
class Row:
    """What an epoch, or the time between two tests, came to.

    end: how many iterations were done after it. loss: the mean of its iterations; lr:
    the last one; seconds: of all iterations; tests: their numbers by name.
    """

    number: int
    end: int
    loss: float = NAN
    lr: float = NAN
    seconds: float = 0.0
    tests: dict[str, float] | None = None


def per_what(run: Records, per: str | None) -> str:
    """Return what the rows of a table are, by default epochs where there are any.

    Raises `SpecError` for anything else, and for epochs where there are none.
    """
    ways = ("iteration", "epoch", "test")
    if per is None:
        return "epoch" if run.epoch_size else "iteration"
    if per not in ways:
        raise SpecError(
            f"per={per!r}{did_you_mean(str(per), ways)}; expected one of "
            f"{', '.join(map(repr, ways))}"
        )
    if per == "epoch" and not run.epoch_size:
        raise SpecError("the run has no epochs; set solver.epoch_size before it")
    return per


def columns(run: Records, per: str) -> Columns:
    """Return the columns of a table by name, all of one length but per iteration."""
    if per == "iteration":
        return _by_iteration(run)
    rows = list(rows_of(run, per))
    found: Columns = {per: [row.number for row in rows]}
    found["iteration"] = [row.end for row in rows]
    found["loss"] = [row.loss for row in rows]
    found["lr"] = [row.lr for row in rows]
    found["seconds"] = [row.seconds for row in rows]
    for name in test_names(run.tests):
        found[name] = [(row.tests or {}).get(name, NAN) for row in rows]
    return found


def rows_of(run: Records, per: str) -> Iterator[Row]:
    """Yield the epochs of a run, or the times before each of its tests."""
    edges: Sequence[tuple[int | None, int]]
    if per == "test":
        ends = sorted({record.iteration for record in run.tests})
        edges = list(zip([None, *ends[:-1]], ends, strict=True))
    else:
        edges = _epochs(run)
    steps, tests = iter(_by_place(run.train)), iter(_by_place(run.tests))
    step, test = next(steps, None), next(tests, None)
    for number, (start, end) in enumerate(edges, 1):
        at = number if per == "test" or start is None else end // (end - start)
        row, losses = Row(at, end), 0.0
        count = 0
        while step is not None and step.iteration < end:
            losses, count = losses + step.loss, count + 1
            row.lr, row.seconds = plain(step.lr), row.seconds + step.seconds
            step = next(steps, None)
        while test is not None and test.iteration <= end:
            if start is None or test.iteration > start:
                row.tests = (row.tests or {}) | named(test)
            test = next(tests, None)
        if count:
            row.loss = losses / count
        if per == "epoch":
            row.end = min(end, _done(run))
        yield row


def _epochs(run: Records) -> list[tuple[int, int]]:
    """Return first and last iteration of all epochs that began."""
    size = run.epoch_size or 1
    if not run.train:
        return []
    first = min(record.iteration for record in run.train) // size
    return [(n * size, (n + 1) * size) for n in range(first, -(-_done(run) // size))]


def _done(run: Records) -> int:
    return max((record.iteration + 1 for record in run.train), default=0)


def _by_place(records: Sequence[Any]) -> Iterable[Any]:
    return sorted(records, key=lambda record: record.iteration)


def test_names(tests: Iterable[TestRecord]) -> list[str]:
    """Return the names of all numbers of tests, in order."""
    found: dict[str, None] = {}
    seen: set[tuple[int, tuple[str, ...]]] = set()
    for record in tests:
        if (key := (record.net, tuple(record.outputs))) not in seen:
            seen.add(key)
            found.update(dict.fromkeys(named(record)))
    return list(found)


def _by_iteration(run: Records) -> Columns:
    found: Columns = {
        "iteration": [record.iteration for record in run.train],
        "loss": [record.loss for record in run.train],
        "lr": [plain(record.lr) for record in run.train],
        "seconds": [record.seconds for record in run.train],
    }
    by_net: dict[int, list[TestRecord]] = defaultdict(list)
    for test in run.tests:
        by_net[test.net].append(test)
    for net, records in sorted(by_net.items()):
        found[f"{prefix(net)}iteration"] = [record.iteration for record in records]
        numbers = [named(record) for record in records]
        for name in test_names(records):
            found[name] = [each.get(name, NAN) for each in numbers]
    return found


def by_place(run: Records) -> dict[int, dict[str, float]]:
    """Return all numbers by the iteration in which, or ahead of which, they came."""
    found: dict[int, dict[str, float]] = {}
    for step in run.train:
        found[step.iteration] = _numbers(step)
    for test in run.tests:
        found.setdefault(test.iteration, {}).update(named(test))
    return dict(sorted(found.items()))


def _numbers(step: StepRecord) -> dict[str, float]:
    lr = plain(step.lr)
    return {"loss": step.loss, "lr": lr, "seconds": step.seconds}


def pandas(what: str, instead: str) -> Any:
    """Return pandas, which `what` needs.

    Raises `MachineError` where it is missing, with what to use instead.
    """
    try:
        return importlib.import_module("pandas")
    except ImportError as error:
        raise MachineError(
            f"{what} needs pandas, which is not installed; install it, or use {instead}"
        ) from error
