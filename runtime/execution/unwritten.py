"""Blobs that passes over a whole net leave out until somebody asks for them.

Where layers run as one, the blobs between them cost more than the arithmetic. A net
that keeps all blobs leaves them out as long as nobody has asked for one: then it is
computed by the layers below it, one by one, and every pass writes it from then on, as
whoever asked may have the array. What a missing blob is computed from cannot change
unnoticed: before an array of it is handed out, or parameters are, the blob is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from netspec.graph import Graph
from netspec.schema import TRAIN
from runtime.backends import Backend
from runtime.execution.plan import Plan


@dataclass(frozen=True)
class LeftOut:
    """What joined layers do not write: edges, which some of the nodes make.

    reads: the buffers that the nodes read, beside those.
    """

    nodes: tuple[int, ...]
    edges: tuple[int, ...]
    reads: frozenset[int]


def may_leave_out(graph: Graph, backend: Backend) -> bool:
    """Whether blobs of a net can be computed again whenever they are asked for.

    Not where code in Python sees them, passes change parameters, or layers draw.
    """
    return backend.leaves_out and not any(
        node.backward or node.phase == TRAIN or op.keeps_blobs or op.learns_shapes
        for node in graph.nodes
        for op in (node.op,)
    )


class Unwritten:
    """The blobs of a net that are left out.

    allowed: whether any may be.
    """

    def __init__(self, backend: Backend, *, allowed: bool) -> None:
        self._backend, self._allowed = backend, allowed
        self._asked: frozenset[str] = frozenset()
        self._handed: set[str] = set()  # blobs whose arrays somebody may have
        self._fresh = False  # whether the last pass was over the whole net
        self._missing: set[int] = set()  # edges that are not written since then
        self._plan: Plan | None = None
        self._left: list[LeftOut] = []

    @property
    def asked(self) -> frozenset[str] | None:
        """The blobs that joined layers must write; None for all that are kept."""
        return self._asked if self._allowed else None

    def use(self, plan: Plan, graph: Graph) -> None:
        """Work with another plan from now on, whose memory has other contents."""
        self._plan, self._graph, self._fresh = plan, graph, False
        if self._allowed and not graph.stale:
            self._join_anew()

    # ------------------------------------------------------------ passes

    def before_pass(self, *, whole: bool, lent: bool) -> None:
        """Make room for a pass forward; over some layers it needs all blobs there are.

        lent: whether somebody has parameters, which may change at any time.
        """
        if lent or not whole:
            self._write_all()
        if lent:
            self._ask_for_all()
        self._fresh = False

    def after_whole_pass(self) -> None:
        """Note that what is left out can be computed from what is there."""
        self._fresh = True
        if self._left:
            self._missing = {edge for left in self._left for edge in left.edges}

    # ------------------------------------------------------------ what others get

    def before_data(self, name: str) -> None:
        """Prepare for somebody to have the array of a blob."""
        if not self._allowed or name in self._handed:
            return
        self._handed.add(name)
        wanted = self._endangered()
        for left, _ in wanted:  # all of it: other layers will run as one
            self._write(left)
        self._ask_for(edge for _, edge in wanted)

    def _endangered(self) -> list[tuple[LeftOut, int]]:
        """Return what is left out that is, or comes from, what somebody may have."""
        edges, blobs = self._graph.edges, self._graph.blobs
        handed = {edges[blobs[name]].buffer for name in self._handed if name in blobs}
        return [
            (left, edge)
            for left in self._left
            for edge in left.edges
            if edges[edge].buffer in handed or handed & left.reads
        ]

    def before_parameters(self) -> None:
        """Prepare for parameters to change."""
        if self._fresh:
            self._write_all()
            self._ask_for_all()

    # ------------------------------------------------------------ the work

    def _write_all(self) -> None:
        for left in self._left:
            self._write(left)

    def _write(self, left: LeftOut) -> None:
        """Compute what is left out and still missing, layer by layer.

        No layer runs twice: one in place on what the others read has changed that.
        """
        if not self._fresh or self._plan is None:
            return
        at = [n for n, edge in enumerate(left.edges) if edge in self._missing]
        if not at:
            return
        self._missing.difference_update(left.edges)
        start = 0 if at[0] == 0 else self._number_behind(left, at[0] - 1)
        nodes = set(left.nodes[start : self._number_behind(left, at[-1])])
        with np.errstate(all="ignore"):
            for step in self._plan.forward:
                if step.node in nodes:
                    step.run()
        self._plan.forget_prepared()

    def _number_behind(self, left: LeftOut, place: int) -> int:
        """Return how many of the nodes it takes to make an edge."""
        return left.nodes.index(self._graph.edges[left.edges[place]].producer) + 1

    def _ask_for_all(self) -> None:
        self._ask_for(edge for left in self._left for edge in left.edges)

    def _ask_for(self, edges: Iterator[int]) -> None:
        more = {self._graph.edges[edge].blob for edge in edges}
        if more:
            self._asked |= more
            self._join_anew()

    def _join_anew(self) -> None:
        plan, graph = self._plan, self._graph
        if plan is None or plan.fusion is None:
            self._left = []
            return
        if plan.asked != self._asked:
            fusion = self._backend.fusion(graph, plan.kernels, self._asked)
            plan.join_anew(fusion, self._asked)
        before, self._left = self._left, []
        for nodes, edges in plan.fusion.left_out():
            own = {edge for node in nodes for edge in graph.nodes[node].tops}
            reads = {
                graph.edges[edge].buffer
                for node in nodes
                for edge in graph.nodes[node].bottoms
                if edge not in own
            }
            self._left.append(LeftOut(tuple(nodes), tuple(edges), frozenset(reads)))
        missing = self._missing - {edge for left in self._left for edge in left.edges}
        for left in before:
            if missing.intersection(left.edges):  # every pass writes it from now on
                self._write(left)
        # Other layers that run as one may leave out others.
        self._ask_for(edge for _, edge in self._endangered())
