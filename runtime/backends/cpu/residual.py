"""Sums of two blobs in training, with the layers around them.

A block with a way around it ends in a BatchNorm (and Scale), a sum, a ReLU and a Split.
Forward the normalization adds the other blob and rectifies. Backward the gradients that
the Split adds up pass the ReLU and are written once: the way around has them, and the
normalization reads them from there.

Joined calls run at a step at which all that they write has its memory. What they read
may have lost its own by then, to what they write: see `_apart`.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from netspec.graph import Graph
from runtime.arrays import Array
from runtime.backends.cpu.layers.elementwise import EltwiseSum, ReLU, Split
from runtime.backends.cpu.layers.normalization import BatchNorm
from runtime.backends.cpu.layers.sums import sum_gradient
from runtime.backends.cpu.machine.compiled import Call
from runtime.layers.base import Kernel

Calls = Mapping[int, Sequence[Call]]


@dataclass(frozen=True)
class Normalized:
    """A bottom of a sum that a group of layers makes, whose first is a BatchNorm.

    place: which bottom. keeps: whether somebody keeps what the group makes.
    """

    norm: BatchNorm
    group: Sequence[int]
    place: int
    keeps: bool


@dataclass(frozen=True)
class Residual:
    """A sum of two blobs and what of its neighbours runs with it.

    relu: that follows in place, or None. split: right behind these, of two readers, or
    None. part: a bottom that is normalized, if one is. keeps: whether somebody keeps
    the sum or what the ReLU makes of it. other: the number of the layer that makes the
    bottom that is not `part`. adds: whether the normalization may add the other blob.
    """

    total: EltwiseSum
    relu: ReLU | None
    split: Split | None
    part: Normalized | None
    keeps: bool
    other: int
    adds: bool = True

    def divided(self, again: Container[int]) -> Residual:
        """Return this, adding nothing forward if only some of the layers run again."""
        nodes = [self.total.node.index]
        if self.relu is not None:
            nodes.append(self.relu.node.index)
        if self.part is not None:
            nodes += self.part.group
        several = len({index in again for index in nodes}) > 1
        return replace(self, adds=not several)

    def forward(self, calls: Calls) -> dict[int, list[Call]]:
        """Return other calls for the nodes, where the normalization can add.

        calls: those of groups without sums. A layer ahead of the BatchNorm that writes
        to where x is kept goes on to do so.
        """
        part, total = self.part, self.total
        if part is None or part.keeps or not self.adds or "x" not in part.norm.work:
            return {}
        norm = part.norm
        first, ahead = norm.node.index, norm.node.index - 1
        if norm.rectified:
            return {}
        found: dict[int, list[Call]] = {index: [] for index in part.group}
        x = norm.x
        if first in calls and not calls[first] and ahead in calls:
            x = norm.work["x"]
            found[ahead] = list(calls[ahead][:-1])
        elif x is not norm.y:
            return {}  # it need not be there any more at the step of the sum
        added = total.bottoms[1 - part.place]
        call = norm.normalized(x, total.y, added=added, rectified=self.relu is not None)
        found[total.node.index] = [call]
        if self.relu is not None:
            found[self.relu.node.index] = []
        return found

    def backward(self, flags: Mapping[int, Sequence[bool]]) -> dict[int, list[Call]]:
        """Return other calls for the nodes; none where they run one by one.

        flags: as `Fusion.backward` gets them.
        """
        total, relu, split = self.total, self.relu, self.split
        members = [one for one in (total, relu, split) if one is not None]
        dx = total.dtops[0]
        if any(one.node.index not in flags for one in members):
            return {}
        if dx is None or any(one is None for one in total.dbottoms):
            return {}
        found = self._normalized(flags)
        written = [*total.dbottoms]
        if found and self.part is not None:
            del written[self.part.place]
        y = None if relu is None else relu.y
        parts = [] if split is None else [one for one in split.dtops if one is not None]
        at, source = total.node.index, members[min(1, len(members) - 1)]
        if not self.keeps and len(parts) == 2 and _apart(written, [*parts, y]):
            found |= {one.node.index: [] for one in members}
            found[members[-1].node.index] = [sum_gradient(y, parts, written)]
            return found
        if relu is not None and _apart(written, [y]):
            more = [dx] if self.keeps and all(one is not dx for one in written) else []
            found |= {at: [], relu.node.index: []}
            found[at] = [sum_gradient(y, [source.dtops[0]], [*written, *more])]
        elif found:
            apart = [one for one in written if one is not dx]
            found[at] = [sum_gradient(None, [dx], apart)] if apart else []
        return found

    def _normalized(self, flags: Mapping[int, Sequence[bool]]) -> dict[int, list[Call]]:
        """Return calls for the group that read the gradient of the other bottom.

        That is the same as their own, and stays until the layer that makes the other
        bottom has read it.
        """
        part = self.part
        if part is None or part.keeps or self.other > part.norm.node.index:
            return {}
        norm, group = part.norm, part.group
        if norm.dx is None or any(index not in flags for index in group):
            return {}
        learner = group[0] if norm.scale is None else group[1]
        lent = self.total.dbottoms[1 - part.place]
        found: dict[int, list[Call]] = {index: [] for index in group}
        found[group[0]] = norm.joined_backward(flags[learner], lent)
        return found


def residuals(
    graph: Graph,
    kernels: Sequence[Kernel[Any] | None],
    chains: Sequence[Sequence[int]],
    kept: frozenset[int],
) -> Iterator[Residual]:
    """Return the sums of two blobs of a graph.

    kernels: those whose options are known, by node. chains: nodes that work in place on
    each other. kept: the edges that somebody keeps.
    """
    behind = {one: two for chain in chains for one, two in pairwise(chain)}
    ends = dict(_groups(graph, kernels, chains, kept))
    for node in graph.nodes:
        total = kernels[node.index]
        if not isinstance(total, EltwiseSum) or len(node.bottoms) != 2:
            continue
        if any(one != 1 for one in total.op.coeff) or not node.backward:
            continue
        after = behind.get(node.index)
        relu = kernels[after] if after == node.index + 1 else None
        if not isinstance(relu, ReLU) or relu.op.negative_slope != 0:
            relu = None
        top = node if relu is None else relu.node
        parts = [
            (ends[edge], place)
            for place, edge in enumerate(node.bottoms)
            if edge in ends and len(graph.edges[edge].consumers) == 1
        ]
        part = None
        if parts:
            (norm, group, keeps), place = max(parts, key=lambda one: one[0][1][0])
            part = Normalized(norm, group, place, keeps)
        other = node.bottoms[0 if part is None else 1 - part.place]
        yield Residual(
            total,
            relu,
            _split_behind(graph, kernels, top.index),
            part,
            any(one.tops[0] in kept for one in (node, top)),
            graph.edges[other].producer,
        )


def _groups(
    graph: Graph,
    kernels: Sequence[Kernel[Any] | None],
    chains: Sequence[Sequence[int]],
    kept: frozenset[int],
) -> Iterator[tuple[int, tuple[BatchNorm, Sequence[int], bool]]]:
    """Return the groups of BatchNorms, by the edge that they make."""
    taken = {index: chain for chain in chains for index in chain}
    for node in graph.nodes:
        norm = kernels[node.index]
        if isinstance(norm, BatchNorm) and norm.by_batch:
            chain = taken.get(node.index, [node.index])
            start = list(chain).index(node.index)
            group = list(chain[start : start + norm.length])
            tops = [graph.nodes[index].tops[0] for index in group]
            whole = start + norm.length == len(chain)
            if whole and not any(any(graph.nodes[i].loss_weights) for i in group):
                keeps = not kept.isdisjoint(tops)
                yield tops[-1], (norm, group, keeps)


def _split_behind(
    graph: Graph, kernels: Sequence[Kernel[Any] | None], index: int
) -> Split | None:
    """Return the Split right behind a node that alone reads its top."""
    node = graph.nodes[index]
    consumers = graph.edges[node.tops[0]].consumers
    if len(consumers) != 1 or consumers[0][0] != index + 1 or any(node.loss_weights):
        return None
    split = kernels[index + 1]
    return split if isinstance(split, Split) else None


def _apart(written: Sequence[Array], read: Sequence[Array | None]) -> bool:
    """Whether every element is written after those of its number were read.

    Arrays of one size, which are disjoint or begin at the same address.
    """
    for one in written:
        for other in read:
            if other is None:
                continue
            start, there = one.ctypes.data, other.ctypes.data
            if start != there and abs(start - there) < one.nbytes:
                return False
    return True
