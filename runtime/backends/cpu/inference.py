"""Which neighbouring layers run as one where nothing runs backward.

A group begins with a layer that computes, such as a convolution. What follows it is
done before its results leave the registers or the nearest cache: BatchNorm, Scale and
Bias are folded into its weights, another blob is added, negative values become 0. The
blobs between are not written: they are in place, or nobody keeps them.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from netspec.graph import Graph, Node
from netspec.graph.memory import Touch
from netspec.ops.base import count
from runtime.arrays import Array
from runtime.backends.cpu.layers.broadcast import Bias, broadcast, broadcast_sizes
from runtime.backends.cpu.layers.convolution import Convolution, Deconvolution
from runtime.backends.cpu.layers.elementwise import EltwiseSum, ReLU
from runtime.backends.cpu.layers.fork_norm import ForkNorm
from runtime.backends.cpu.layers.inner_product import InnerProduct
from runtime.backends.cpu.layers.normalization import BatchNorm, Scale, remembered
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.sizes import few
from runtime.layers.base import Kernel

LOWEST = float("-inf")


@dataclass
class Group:
    """Layers that run as one, at the step of `head`.

    norm, scale, bias: what is folded into the head, or is the head. total: a sum of
    two blobs, one of which the layers before it compute. rectified: whether a ReLU is
    the last of them.
    """

    head: Kernel[Any]
    nodes: list[int]
    norm: BatchNorm | None = None
    scale: Scale | None = None
    bias: Bias | None = None
    total: EltwiseSum | None = None
    added: int = 0  # which bottom of `total` the others do not compute
    rectified: bool = False
    unwritten: list[int] = field(default_factory=list)  # edges between them

    @property
    def affine(self) -> bool:
        """Whether something is folded into a convolution."""
        return any(one is not None for one in (self.norm, self.scale, self.bias))

    def calls(self, y: Array) -> list[Call]:
        """Return the calls that compute y, the top of the last layer."""
        head, floor = self.head, 0.0 if self.rectified else LOWEST
        if isinstance(head, Convolution | Deconvolution):
            return self._correlate(head, y, floor)
        if isinstance(head, EltwiseSum | InnerProduct):
            return redirected(head, y, lambda: head.calls_above(floor))
        return self._broadcast(y, floor)

    def _correlate(
        self, head: Convolution | Deconvolution, y: Array, floor: float
    ) -> list[Call]:
        added: Array | int = 0
        if self.total is not None:
            added = self.total.bottoms[self.added]
        ready, scale, shift = self._folded(head)
        run = redirected(head, y, lambda: head.calls_above(floor, scale, shift, added))
        return [*ready, *run]

    def _folded(
        self, head: Convolution | Deconvolution
    ) -> tuple[list[Call], Array | int, Array | int]:
        """Return the call that makes factors and terms of the channels, and these."""
        bias: Array | int = head.params[1] if head.op.bias_term else 0
        if self.norm is not None:
            self.norm.scale = self.scale
            ready = self.norm.remember(bias, behind=True)
            return [ready], self.norm.work["scale"], self.norm.work["shift"]
        if not self.affine:
            return [], 0, 0
        beta: Array | int = 0
        if self.bias is not None:
            beta = self.bias.params[0]
        elif self.scale is not None and self.scale.op.bias_term:
            beta = self.scale.params[1]
        scale, shift = head.work["scale"], head.work["shift"]
        ready = remembered(
            means=0,
            variances=0,
            weight=0,
            scale=scale,
            shift=shift,
            gamma=0 if self.scale is None else self.scale.params[0],
            beta=beta,
            bias=bias,
            channels=head.op.tops[0][1],
            eps=0.0,
            serial=True,
            constant=not head.train,
        )
        return [ready], scale, shift

    def _broadcast(self, y: Array, floor: float) -> list[Call]:
        """Return the calls of a factor and a term for every channel."""
        head, ready = self.head, []
        scale: Array | int = 0
        shift: Array | int = 0
        if isinstance(head, BatchNorm):
            head.scale = self.scale
            ready = [head.remember(behind=True)]
            scale, shift = head.work["scale"], head.work["shift"]
            shape = head.op.bottoms[0]
            sizes = {
                "outer": shape[0],
                "covered": head.op.channels,
                "inner": count(shape, 2),
            }
        elif isinstance(head, Scale):
            scale = head.params[0]
            shift = head.params[1] if head.op.bias_term else 0
            sizes = broadcast_sizes(
                head.op.bottoms[0], head.op.axis, head.op.scale_shape
            )
        else:
            shift = head.params[0]
            sizes = broadcast_sizes(
                head.op.bottoms[0], head.op.axis, head.op.bias_shape
            )
        x = head.x
        run = broadcast(
            x=x, y=y, scale=scale, shift=shift, floor=floor, serial=few(x.size), **sizes
        )
        return [*ready, run]


def redirected(kernel: Kernel[Any], y: Array, make: Any) -> list[Call]:
    """Return the calls of a kernel that write its top elsewhere."""
    tops = kernel.tops
    kernel.tops = (y,)
    try:
        calls: list[Call] = make()
        return calls
    finally:
        kernel.tops = tops


class Groups:
    """The groups of a graph.

    kernels: None for those with options that groups do not know. kept: the edges whose
    data must be there after a pass.
    """

    def __init__(
        self,
        graph: Graph,
        kernels: Sequence[Kernel[Any] | None],
        kept: Container[int],
    ) -> None:
        self._graph, self._kernels, self._kept = graph, kernels, kept
        self.groups: list[Group] = []
        self.nodes: set[int] = set()
        for node in graph.nodes:
            if node.index not in self.nodes and (group := self._begun(node)):
                self._grow(group)
                if len(group.nodes) > 1:
                    self.groups.append(group)
                    self.nodes.update(group.nodes)

    def touched(self) -> Iterator[Touch]:
        """Yield the edges that are written ahead of their own step, and when."""
        for group in self.groups:
            last = self._graph.nodes[group.nodes[-1]]
            yield last.tops[0], "forward", group.nodes[0]

    def calls(self) -> dict[int, list[Call]]:
        """Return the calls of every node; all those of a group are at the first."""
        found: dict[int, list[Call]] = {}
        for group in self.groups:
            found |= {index: [] for index in group.nodes}
            last: Any = self._kernels[group.nodes[-1]]
            found[group.nodes[0]] = group.calls(last.y)
        return found

    def _begun(self, node: Node) -> Group | None:
        """Return a group of one layer, if more can follow."""
        kernel = self._kernels[node.index]
        if kernel is None or node.backward:
            return None
        group = Group(kernel, [node.index])
        match kernel:
            case Convolution() | Deconvolution() | InnerProduct() | EltwiseSum():
                return group
            case BatchNorm():
                group.norm = kernel
                return group if kernel.folds else None
            case Scale():
                group.scale = kernel
                return group
            case Bias():
                group.bias = kernel
                return group
        return None

    def _grow(self, group: Group) -> None:
        """Take the layers behind a group as far as they can be part of it."""
        while not group.rectified and (node := self._after(group)) is not None:
            before = self._graph.nodes[group.nodes[-1]].tops[0]
            if not self._takes(group, node, before):
                return
            group.nodes.append(node.index)
            edges = self._graph.edges
            if edges[before].buffer != edges[node.tops[0]].buffer:
                group.unwritten.append(before)

    def _after(self, group: Group) -> Node | None:
        """Return the only reader of a group's top, if that need not be written."""
        last = self._graph.nodes[group.nodes[-1]]
        if len(last.tops) != 1 or any(last.loss_weights):
            return None
        middle = self._graph.edges[last.tops[0]]
        if len(middle.consumers) != 1:
            return None
        node = self._graph.nodes[middle.consumers[0][0]]
        if self._kernels[node.index] is None or node.backward or len(node.tops) != 1:
            return None
        in_place = middle.buffer == self._graph.edges[node.tops[0]].buffer
        return node if in_place or middle.index not in self._kept else None

    def _takes(self, group: Group, node: Node, before: int) -> bool:
        """Let a node be the next of a group, if it can be."""
        kernel, head = self._kernels[node.index], group.head
        folding = isinstance(head, Convolution | Deconvolution)
        if isinstance(kernel, ReLU):
            group.rectified = kernel.op.negative_slope == 0
            return group.rectified
        if group.total is not None:
            return False
        channels = head.op.tops[0][1:2]
        match kernel:
            case BatchNorm() if folding and not group.affine and kernel.folds:
                group.norm = kernel
                return True
            case Scale() if folding or isinstance(head, BatchNorm):
                if group.scale is not None or group.bias is not None:
                    return False
                if isinstance(group.norm, ForkNorm):
                    return False  # which has a factor of its own
                if (kernel.op.axis, kernel.op.scale_shape) != (1, channels):
                    return False
                group.scale = kernel
                self._folds_into(group)
                return True
            case Bias() if folding and group.norm is None:
                if group.bias is not None:
                    return False
                if group.scale is not None and group.scale.op.bias_term:
                    return False
                if (kernel.op.axis, kernel.op.bias_shape) != (1, channels):
                    return False
                group.bias = kernel
                self._folds_into(group)
                return True
            case EltwiseSum() if isinstance(head, Convolution) and head.adds:
                return self._adds(group, kernel, before)
        return False

    @staticmethod
    def _folds_into(group: Group) -> None:
        """Let a convolution have room for the factors of what has none itself."""
        head = group.head
        if group.norm is None and isinstance(head, Convolution | Deconvolution):
            head.has_factors = True

    def _adds(self, group: Group, total: EltwiseSum, before: int) -> bool:
        """Let a sum be part of a group whose other bottom is there already."""
        bottoms = total.node.bottoms
        if len(bottoms) != 2 or any(c != 1 for c in total.op.coeff):
            return False
        other = 1 - bottoms.index(before)
        edge = self._graph.edges[bottoms[other]]
        own = {self._graph.edges[one].buffer for one in (before, total.node.tops[0])}
        if edge.producer >= group.nodes[0] or edge.buffer in own:
            return False
        group.total, group.added = total, other
        return True
