"""An iteration as one list of calls, where nothing of Python runs in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from netspec.graph import Graph
from runtime.arrays import Array
from runtime.execution.plan import Plan, Run, Step


@dataclass(frozen=True, eq=False)
class JoinedPass:
    """A pass forward and backward over all of a plan, and what follows.

    feeds: those steps that fetch data, which run first. by_hand: whether they have
    nothing to do where the net has no source of data. runs: the rest. losses: the data
    of all tops with a weight, and these.
    """

    plan: Plan
    feeds: Sequence[Run]
    by_hand: bool
    runs: Sequence[Run]
    losses: Sequence[tuple[Array, float]]

    def loss(self) -> float:
        """Return the objective, as `Net.loss` does."""
        total = 0.0
        for data, weight in self.losses:
            # The usual case first: a number.
            value = data.item() if data.size == 1 else self.plan.backend.total(data)
            total += weight * value
        return total


def joined_pass(
    plan: Plan, graph: Graph, after: Callable[[Sequence[Array]], Sequence[Any]]
) -> JoinedPass | None:
    """Return a pass that stores the gradients of parameters.

    after: takes the losses and returns the calls that follow the pass.

    None where code in Python runs amid it, but for layers that fetch data, or where
    blobs are computed again in backward.
    """
    first = 0
    while first < len(plan.forward) and _fetches(graph, plan.forward[first]):
        first += 1
    rest = (*plan.forward[first:], *plan.backward)
    if plan.ran or not all(_may_be_joined(plan, graph, step) for step in rest):
        return None
    losses = [
        (plan.data[edge], weight)
        for node in graph.nodes
        for edge, weight in zip(node.tops, node.loss_weights, strict=True)
        if weight != 0
    ]
    calls = after([data for data, _ in losses])
    runs = plan.iteration((), calls, accumulate=False)
    nodes = [graph.nodes[step.node] for step in plan.forward[:first]]
    by_hand = all(node.type == "Input" for node in nodes)
    return JoinedPass(plan, runs[:first], by_hand, runs[first:], losses)


def _may_be_joined(plan: Plan, graph: Graph, step: Step) -> bool:
    """Say whether nobody has to look at what a step did ahead of an update.

    It is enough that its loss is not finite where the step refuses what it got.
    """
    if step.calls is None:
        return False
    if all(getattr(call, "check", None) is None for call in step.calls):
        return True
    spoils = plan.kernels[step.node].refused_spoils
    return spoils and graph.nodes[step.node].loss_weights[0] != 0


def _fetches(graph: Graph, step: Step) -> bool:
    """Say whether a step only fetches what others read, in known shapes."""
    node = graph.nodes[step.node]
    known = not (node.op.learns_shapes or node.op.keeps_blobs)
    return step.calls is None and not node.bottoms and known
