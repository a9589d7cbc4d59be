"""A net whose objective can be asked for again and again, with one number changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from netspec.errors import SpecError
from netspec.ops.base import label
from runtime.execution.net import Net
from runtime.layers.base import TopsChanged


@dataclass(frozen=True)
class Variable:
    """An array that the objective depends on.

    name: of the blob, or `layer[slot]` of a parameter. data: where its values lie.
    node: after which node they are there, -1 for those that no step writes. gradient:
    what the net says, or None where it says nothing. users: who shares a parameter.
    """

    name: str
    kind: str
    data: np.ndarray
    node: int
    gradient: np.ndarray | None
    users: tuple[str, ...] = ()


class Runs:
    """Passes through a net that all start from the same state.

    What a pass leaves behind is put back before the next: statistics, the state of a
    recurrent layer, and the count of passes that Dropout takes its numbers from.
    """

    def __init__(self, net: Net) -> None:
        self.net = net
        self._clock = net.clock.value
        self._parameters = [one.data.copy() for one in net.parameters.arrays]
        self._states = {
            (node, name): kernel.work[name].copy()
            for node, kernel in enumerate(net.plan.kernels)
            for name, spec in kernel.arrays().items()
            if spec.life == "state"
        }
        self._inputs: dict[int, np.ndarray] = {}  # by edge
        for name in net.inputs:
            first = next(edge for edge in net.graph.edges if edge.blob == name)
            self._inputs[first.index] = net.blobs[name].data.copy()
        net.forward()  # a Filter layer settles its shapes

    def rewind(self) -> None:
        """Put everything back to where the first pass started."""
        net = self.net
        net.clock.value = self._clock
        for arrays, kept in zip(net.parameters.arrays, self._parameters, strict=True):
            arrays.data[...] = kept
        for (node, name), kept in self._states.items():
            net.plan.kernels[node].work[name][...] = kept
        for edge, kept in self._inputs.items():
            net.plan.data[edge][...] = kept

    def forward(self, before: Callable[[int], None] | None = None) -> None:
        """Run a pass; `before` is called with the node of every step.

        Raises `SpecError` where shapes are others than in the pass before.
        """
        with np.errstate(all="ignore"):
            for step in self.net.plan.forward:
                if before is not None:
                    before(step.node)
                try:
                    step.run()
                except TopsChanged as change:
                    raise self._moving(change) from None

    def _moving(self, change: TopsChanged) -> SpecError:
        node = self.net.graph.nodes[change.node]
        top = node.layer.top[0]
        return SpecError(
            f"its tops have other shapes in every pass, so that nothing can be "
            f"compared; give their shapes, if it brings data (--shape {top}=...)",
            layer=label(node.layer),
        )


class Objective:
    """The number whose gradients are checked: of a net in float64, all gradients on.

    It is the sum of weight * top over the tops that count as losses. In a net without
    losses every one of `outputs` counts, with random weights, but those whose gradient
    their layer does not look at.
    """

    def __init__(self, net: Net, outputs: Sequence[str], seed: int) -> None:
        self.net = net
        self._runs = Runs(net)
        graph, plan = net.graph, net.plan
        self._weights: dict[int, np.ndarray] = {}
        for node in graph.nodes:
            for edge, weight in zip(node.tops, node.loss_weights, strict=True):
                if weight != 0:
                    self._weights[edge] = np.full(graph.edges[edge].shape, weight)
        self._seeded = not self._weights
        if self._seeded:
            rng = np.random.default_rng(seed)
            for name in outputs:
                last = graph.edges[graph.blobs[name]]
                weights = np.asarray(rng.normal(size=last.shape))
                producer = graph.nodes[last.producer]
                runs = producer.backward and last.top not in producer.op.unread_tops
                if runs and plan.diff[last.index] is not None:
                    self._weights[last.index] = weights

    @property
    def tops(self) -> list[str]:
        """The blobs that count."""
        return [self.net.graph.edges[edge].blob for edge in self._weights]

    def at(
        self, variable: Variable | None = None, place: int = 0, step: float = 0
    ) -> list[np.ndarray]:
        """Return the tops that count, with one number of a variable moved by a step."""
        self._runs.rewind()
        moved = variable is None

        def move(node: int) -> None:
            nonlocal moved
            if not moved and variable is not None and node > variable.node:
                moved = True
                variable.data.reshape(-1)[place] += step

        self._runs.forward(move)
        move(len(self.net.graph.nodes))  # above are only other names of the blob
        return [self.net.plan.data[edge].copy() for edge in self._weights]

    def difference(
        self, tops: Sequence[np.ndarray], others: Sequence[np.ndarray]
    ) -> float:
        """Return by how much the objective of `tops` is above that of `others`."""
        weights = self._weights.values()
        return sum(
            float(np.vdot(weight, one - other))
            for weight, one, other in zip(weights, tops, others, strict=True)
        )

    def size(self, tops: Sequence[np.ndarray]) -> float:
        """Return the sum of the magnitudes that the objective is the sum of.

        Raises `SpecError` where it is not finite.
        """
        weights = self._weights.values()
        total = sum(
            float(np.sum(np.abs(weight * one)))
            for weight, one in zip(weights, tops, strict=True)
        )
        if not np.isfinite(total):
            raise SpecError(
                f"the objective is not finite at these inputs{self._first_bad()}; give "
                f"inputs where it is"
            )
        return total

    def _first_bad(self) -> str:
        graph = self.net.graph
        for node in graph.nodes:
            for edge in node.tops:
                if not np.all(np.isfinite(self.net.plan.data[edge])):
                    blob = graph.edges[edge].blob
                    return f": blob {blob!r} of {label(node.layer)} is the first such"
        return ""

    def gradients(self, edges: Sequence[int]) -> dict[int, np.ndarray | None]:
        """Run backward; return the gradients of edges, as their readers leave them.

        Those of parameters are in the net.
        """
        self.at()
        net, plan = self.net, self.net.plan
        net.clear_param_diffs()
        if self._seeded:
            for edge, weight in self._weights.items():
                diff = plan.diff[edge]
                if diff is not None:
                    diff[...] = weight
        found: dict[int, np.ndarray | None] = {}
        left = sorted(edges, key=lambda edge: -net.graph.edges[edge].producer)
        with np.errstate(all="ignore"):
            for step in (*plan.accumulate, None):
                while left and (
                    step is None or net.graph.edges[left[0]].producer >= step.node
                ):
                    edge = left.pop(0)
                    diff = plan.diff[edge]
                    found[edge] = None if diff is None else diff.copy()
                if step is not None:
                    step.run()
        return found
