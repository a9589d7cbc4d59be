"""Test passes: means of a net's outputs over several batches, and of detections."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from netspec.errors import SpecError
from netspec.schema import SolverParameter
from runtime.distributed import Communicator
from runtime.execution.net import Net
from runtime.training.average_precision import Precision, precision_of
from runtime.training.averages import Averages, Means
from runtime.training.passes import at_passes
from runtime.training.ranks.agreeing import Agreement
from runtime.training.records import TestRecord


class _Left(Exception):
    """A test pass was left unfinished."""


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
    averages = Averages(net, precision or Precision())
    for index in range(batches):
        outputs = net.forward()
        averages.add(index, outputs, net.loss(), net.fed_items)
        if on_batch is not None:
            on_batch(index + 1)
    return averages.means()


def shared_outputs(
    net: Net,
    batches: int,
    communicator: Communicator,
    before: int = 0,
    on_round: Callable[[int, int], None] = lambda turn, rounds: None,
    precision: Precision | None = None,
) -> Means:
    """Return what `mean_outputs` does, of batches that ranks share, on all of them.

    before: how many batches come before the first one. on_round: called with the number
    of rounds done, in each of which a rank has a batch at most, and of all.
    """
    from runtime.training.ranks.shared_tests import Share, shared_means

    share = Share(net, communicator, before, batches)

    def ask(turn: int) -> None:
        on_round(turn, share.rounds)

    with at_passes(net, share.first):
        return shared_means(net, share, ask, precision or Precision())


def is_due(param: SolverParameter, iteration: int) -> bool:
    """Say whether the nets are to be tested ahead of `iteration`."""
    interval = param.test_interval
    return bool(param.test_iter) and interval > 0 and iteration % interval == 0


def run_tests(
    nets: Sequence[Net],
    param: SolverParameter,
    iteration: int,
    leave: Callable[[], bool],
    communicator: Communicator | None = None,
) -> list[TestRecord] | None:
    """Run every test net over the `test_iter` batches that are due at `iteration`.

    A net with no batches has no results, so it gets no record. leave: asked after each
    batch whether to leave the rest; then the result is None.

    communicator: of ranks that share the batches. All of them get the same records, and
    leave together where one of them does.
    """
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
        given = (net, before * batches, batches, leave, precision)
        try:
            with net.unasked():
                if communicator is None:
                    means = _alone(*given)
                else:
                    means = _together(*given, communicator)
        except _Left:
            return None
        finally:
            net.rest_feed()
        seconds = clock() - started
        if communicator is not None:
            seconds = communicator.broadcast(seconds)
        records.append(
            TestRecord(
                iteration=iteration,
                net=index,
                outputs=means.outputs,
                loss_weights=means.loss_weights,
                loss=means.loss if param.test_compute_loss else None,
                seconds=seconds,
            )
        )
    return records


def _alone(
    net: Net, before: int, batches: int, leave: Callable[[], bool], how: Precision
) -> Means:
    """Run a test whose first batch is number `before` of all."""

    def ask(_: int) -> None:
        if leave():
            raise _Left

    with np.errstate(all="ignore"), at_passes(net, before):
        return mean_outputs(net, batches, ask, how)


def _together(
    net: Net,
    before: int,
    batches: int,
    leave: Callable[[], bool],
    how: Precision,
    communicator: Communicator,
) -> Means:
    """Run this rank's share of a test."""
    agreement = Agreement(communicator)

    def ask(turn: int, rounds: int) -> None:
        if agreement.ask(wish=leave(), last=turn == rounds):
            raise _Left

    with np.errstate(all="ignore"):
        return shared_outputs(net, batches, communicator, before, ask, how)


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
