"""What of a run is valid but hardly meant: frozen throughout, or young statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence

from netspec.errors import SpecWarning
from netspec.graph import Graph, Node, counted_twice
from netspec.ops.base import label
from netspec.ops.batch_norm import BatchNorm
from runtime.backends.cpu import CpuBackend
from runtime.execution.net import Net
from runtime.training.divergence import warn

MAX_LISTED = 3  # layers in a message
SHORT_RUNS = 0.9  # a moving average fraction for them
# Counts are float32, which rounds each of many additions.
ROUNDING = 1e-4  # of a count, at most


def nothing_learns(net: Net) -> str | None:
    """Return a sentence about a net none of whose parameters training changes, or None.

    A net without parameters has none to freeze.
    """
    graph = net.graph
    wanted: list[str] = []
    frozen: list[str] = []
    for node in graph.nodes:
        for slot, index in enumerate(node.params):
            learned = node.op.learned_params
            if learned is not None and slot not in learned:
                continue
            if graph.parameters[index].learn:
                return None
            free = graph.parameters[index].lr_mult != 0
            (wanted if free else frozen).append(label(node.layer))
    if wanted:
        return (
            f"net {net.name!r}: no parameter is trained: what has an lr_mult above 0, "
            f"{_listed(wanted)}, lies under no loss; let the loss read what they make"
        )
    if frozen:
        return (
            f"net {net.name!r}: all parameters are frozen, as their lr_mult is 0 "
            f"({_listed(frozen)}), so training changes none; free some: "
            f"netspec.unfreeze(n, ...), or lr_mult: 1"
        )
    return None


def warn_if_nothing_learns(net: Net) -> None:
    """Give a `SpecWarning` of a net in which nothing is trained."""
    said = nothing_learns(net)
    if said is not None:
        warn(said, SpecWarning)


def warn_of_losses_that_are_read(net: Net) -> None:
    """Give a `SpecWarning` of losses that have another gradient than what is shown."""
    graph = net.graph
    for node in graph.nodes:
        for edge, own in zip(node.tops, node.loss_weights, strict=True):
            readers = [graph.nodes[n] for n, _ in graph.edges[edge].consumers]
            if own and readers:
                said = _of_read_loss(graph, node, own, readers[0])
                warn(f"{label(node.layer)}: {said}", SpecWarning)


def _of_read_loss(graph: Graph, node: Node, own: float, reader: Node) -> str:
    twice = counted_twice(graph, node)
    if twice is not None:
        given = twice[1]
        return (
            f"another layer reads this loss, too, so that its loss_weight of {given:g} "
            f"is that of a Split behind it, and the layer itself counts with {own:g}: "
            f"the displayed loss has it {own + given:g} times, as in Caffe; its "
            f"gradient is right, {given:g} times. A second loss layer over the same "
            f"bottoms, with loss_weight: 0, gives that layer a top of its own"
        )
    what = "has only what comes down from there" if node.backward else "is 0"
    return (
        f"{label(reader.layer)} reads this loss, too, and it has no loss_weight of its "
        f"own: the displayed loss has it, but its gradient {what}, as in Caffe. Write "
        f"loss_weight: {own:g} into the layer"
    )


_TOLD_OF_KERNELS = [False]


def portable_only(net: Net) -> str | None:
    """Return a sentence about kernels that could be compiled and are not, or None."""
    backend = net.backend
    if not isinstance(backend, CpuBackend) or backend.lacks is None:
        return None
    why, fix = backend.lacks
    return (
        f"kernels are not compiled, as {why}, so all takes several times as long: "
        f'{fix} (backend="portable" says that it is meant)'
    )


def warn_of_portable_kernels(net: Net) -> None:
    """Give a `SpecWarning`, once in a process, where kernels are not compiled."""
    said = None if _TOLD_OF_KERNELS[0] else portable_only(net)
    if said is not None:
        _TOLD_OF_KERNELS[0] = True
        warn(said, SpecWarning)


class YoungStatistics:
    """Warns once of tests by means and variances that are too young to be any good."""

    def __init__(self) -> None:
        self._told = False

    def look(self, nets: Sequence[Net], passes: int) -> None:
        """Look at the BatchNorm layers of nets that test.

        passes: forward passes of training that were made so far.
        """
        if self._told:
            return
        said = young_statistics(nets, passes)
        if said is not None:
            self._told = True
            warn(said, SpecWarning)


def young_statistics(nets: Sequence[Net], passes: int) -> str | None:
    """Return a sentence about statistics of few iterations that a net uses, or None.

    After n passes from nothing, parameter 2 of a BatchNorm with moving average fraction
    f is (1 - f^n) / (1 - f). Statistics from a weight file have more than the passes
    that were made here, and nothing is said of them, nor of a net that is not trained.
    """
    if passes < 1:
        return None
    found: dict[str, tuple[Node, float]] = {}
    for net in nets:
        for node in net.graph.nodes:
            op = node.op
            if not isinstance(op, BatchNorm) or op.statistics != "stored":
                continue
            made = _passes(net, node, op)
            needed = 1 / (1 - op.keep) if op.keep < 1 else math.inf
            if made <= passes * (1 + ROUNDING) + 0.5 and made < needed - 0.5:
                found.setdefault(node.name, (node, made))
    if not found:
        return None
    node, made = next(iter(found.values()))
    fraction = node.op.keep  # type: ignore[attr-defined]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    enough = f"{1 / (1 - fraction):,.0f}" if fraction < 1 else "all"
    better = (
        f", or give moving_average_fraction: {SHORT_RUNS:g}, as in "
        f"L.BatchNorm(x, moving_average_fraction={SHORT_RUNS:g})"
        if fraction > SHORT_RUNS
        else ""
    )
    return (
        f"{label(node.layer)}{more}: this test uses means and variances of the first "
        f"{made:.0f} training iterations, in all of which weights changed; with "
        f"moving_average_fraction: {fraction:g} those of {enough} iterations count. If "
        f"the test is worse than training, train longer{better}"
    )


def _passes(net: Net, node: Node, op: BatchNorm) -> float:
    """Return how many passes from nothing give the count that a layer has.

    More than any number of them give infinity.
    """
    slot = op.slots.weight
    if slot is None:
        return math.inf
    count = float(net.params[node.name][slot].data.reshape(-1)[0])
    fraction = op.keep
    if fraction >= 1:
        return count
    if fraction <= 0:
        return math.inf
    rest = 1 - count * (1 - fraction)
    return math.log(rest) / math.log(fraction) if 0 < rest <= 1 else math.inf


def _listed(names: Sequence[str]) -> str:
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more
