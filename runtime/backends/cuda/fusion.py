"""Which neighbouring layers run as one on a device, in whole passes.

The plan keeps the steps of every layer for those who run some layers only. Both leave
the same values in every blob, except that joined calls leave out those which nobody
keeps. Each group of layers has a class that tells what replaces the calls of its nodes.
A layer with an option that joined calls do not know runs by itself.

Memory is handed out step by step, so calls move only to where what they touch is there:
a group may write a blob at the step of the layer that has it for a top, or later.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from typing import Any, Protocol

from netspec.graph import Graph, Node
from netspec.graph.memory import Touch, kept_edges
from runtime.backends.cuda.chained import Chained
from runtime.backends.cuda.folded import Folded
from runtime.backends.cuda.layer import CudaLayer
from runtime.backends.cuda.layers.convolution import Convolution, Deconvolution
from runtime.backends.cuda.layers.elementwise import Elementwise, may_join
from runtime.backends.cuda.layers.inner_product import InnerProduct
from runtime.backends.cuda.layers.normalization import BatchNorm, Scale
from runtime.backends.cuda.layers.relu import ReLU
from runtime.backends.cuda.machine.launch import Call
from runtime.backends.cuda.normalized import Normalized
from runtime.backends.cuda.rectified import Rectified
from runtime.backends.layer_kernel import has_only
from runtime.layers.base import Kernel

# The options that joined calls honour, or that are looked at before layers are joined.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "BatchNorm": (
        *("channels", "use_global_stats", "moving_average_fraction", "eps"),
        "reads_bottom",
    ),
    "Convolution": Convolution.options,
    "Deconvolution": Deconvolution.options,
    "Eltwise": ("operation", "coeff", "stable_prod_grad"),
    "InnerProduct": InnerProduct.options,
    "ReLU": ("negative_slope",),
    "Scale": ("axis", "scale_shape", "bias_term", "over_bottom"),
}


class Group(Protocol):
    """Nodes that run as one, up to the node `last`."""

    @property
    def last(self) -> int:
        """The number of the last of them."""

    def forward(self) -> Mapping[int, Sequence[Call]]:
        """Return other calls for the nodes, or none of them."""

    def backward(
        self, flags: Mapping[int, Sequence[bool]]
    ) -> Mapping[int, Sequence[Call]]:
        """Return other calls for the nodes, or none; see `Fusion.backward`."""


class Fusion:
    """The groups of kernels of a graph that run as one.

    keep: the names of the blobs that are kept, None for all.
    """

    def __init__(
        self,
        graph: Graph,
        kernels: Sequence[Kernel[Any]],
        keep: Container[str] | None = None,
    ) -> None:
        self._graph = graph
        self._kept = kept_edges(graph, keep)
        self._kernels = [one if _is_known(one) else None for one in kernels]
        self._bare = [one if isinstance(one, CudaLayer) else None for one in kernels]
        self._groups: list[Group] = []
        taken = 0
        for node in graph.nodes:
            group = None if node.index < taken else self._group(node)
            if group is not None:
                self._groups.append(group)
                taken = group.last + 1

    def forward(self) -> dict[int, Sequence[Call]]:
        """Return other calls for some nodes."""
        calls: dict[int, Sequence[Call]] = {}
        for group in self._groups:
            calls |= group.forward()
        return calls

    def backward(
        self, flags: Mapping[int, Sequence[bool]]
    ) -> dict[int, Sequence[Call]]:
        """Return other calls for some nodes.

        flags: for the parameters of every node, whether their gradients are added.
        """
        calls: dict[int, Sequence[Call]] = {}
        for group in self._groups:
            calls |= group.backward(flags)
        return calls

    def left_out(self) -> Sequence[tuple[Sequence[int], Sequence[int]]]:
        """Return none: what is kept is written."""
        return ()

    def divide(self, again: Container[int]) -> None:
        """Do nothing: no layers run again here."""

    def settled(self) -> Collection[int]:
        """Return none: all blobs have memory."""
        return ()

    def touched(self) -> Sequence[Touch]:
        """Return none: calls move only to where what they touch is there."""
        return ()

    # ------------------------------------------------------------ neighbours

    def _group(self, node: Node) -> Group | None:
        """Return what begins at a node."""
        kernel = self._kernels[node.index]
        if isinstance(kernel, BatchNorm):
            return self._normalized(node)
        if isinstance(kernel, Convolution | Deconvolution | InnerProduct):
            after = self._in_place_after(node)
            if isinstance(kernel, Convolution) and isinstance(after, BatchNorm):
                return self._folded(kernel, after)
            if isinstance(after, ReLU) and after.op.negative_slope == 0:
                return Rectified(kernel, after)
        return self._chained(node)

    def _chained(self, node: Node) -> Chained | None:
        """Return the functions of one value that begin at a node, if there are some."""
        chain: list[Elementwise[Any]] = []
        ahead: Node | None = node
        while ahead is not None:
            kernel = self._bare[ahead.index]
            if not isinstance(kernel, Elementwise) or not may_join([*chain, kernel]):
                break
            chain.append(kernel)
            after = self._next(ahead)
            if after is None or not self._passes_on(ahead, after):
                break
            ahead = after if self._is_in_place(after) else None
        if len(chain) < 2:
            return None
        return Chained(chain, keeps_top=node.tops[0] in self._kept)

    def _folded(self, kernel: Convolution, norm: BatchNorm) -> Folded | None:
        """Return the group of a convolution that does the work of a BatchNorm."""
        scale, relu, last = self._affine(norm)
        every = (kernel, norm, scale, relu)
        learns = any(one.node.backward for one in every if one is not None)
        summed = relu is None and self._sum_after(last) is not None
        able = norm.op.use_global_stats and not learns and kernel.can_fold
        # A sum behind is better off with these layers: they read and write as much.
        return Folded(kernel, norm, scale, relu) if able and not summed else None

    def _affine(self, norm: BatchNorm) -> tuple[Scale | None, ReLU | None, Node]:
        """Return a Scale and a ReLU in place right behind a BatchNorm, and the last."""
        scale: Scale | None = None
        last = norm.node
        after = self._in_place_after(last)
        if after is not None and isinstance(after, Scale) and _scales(norm, after):
            scale, last = after, after.node
            after = self._in_place_after(last)
        if isinstance(after, ReLU) and after.op.negative_slope == 0:
            return scale, after, after.node
        return scale, None, last

    def _normalized(self, node: Node) -> Normalized:
        """Return the group of a BatchNorm: what follows it and can be part of it."""
        norm: Any = self._kernels[node.index]
        scale, relu, last = self._affine(norm)
        added = self._sum_after(last) if self._is_in_place(node) else None
        total: Kernel[Any] | None = None
        if added is not None and relu is None:
            total, last = added, added.node
            after = self._in_place_after(last)
            if isinstance(after, ReLU) and after.op.negative_slope == 0:
                relu, last = after, after.node
        above = self._next(last)
        split: CudaLayer[Any] | None = None
        if above is not None and above.type == "Split":
            split = self._bare[above.index] if self._passes_on(last, above) else None
        ahead = self._writes_x(node)
        kept = any(one in self._kept for one in node.tops)
        return Normalized(norm, scale, total, relu, split, ahead, keeps_top=kept)

    def _next(self, node: Node) -> Node | None:
        nodes = self._graph.nodes
        return nodes[node.index + 1] if node.index + 1 < len(nodes) else None

    def _passes_on(self, node: Node, reader: Node) -> bool:
        """Whether the only top of a node goes to `reader` alone, and is no loss."""
        if len(node.tops) != 1 or any(node.loss_weights):
            return False
        consumers = self._graph.edges[node.tops[0]].consumers
        return len(consumers) == 1 and consumers[0][0] == reader.index

    def _is_in_place(self, node: Node) -> bool:
        """Whether a node has one bottom and one top, in the same memory."""
        if len(node.bottoms) != 1 or len(node.tops) != 1:
            return False
        edges = self._graph.edges
        one, other = edges[node.bottoms[0]], edges[node.tops[0]]
        return one.buffer == other.buffer and one.gradient == other.gradient

    def _in_place_after(self, node: Node) -> Kernel[Any] | None:
        """Return the kernel of the next node if it works in place on this one's top."""
        after = self._next(node)
        if after is None or not self._passes_on(node, after):
            return None
        return self._kernels[after.index] if self._is_in_place(after) else None

    def _sum_after(self, node: Node) -> Kernel[Any] | None:
        """Return the kernel of the next node if it adds this one's top to another."""
        after = self._next(node)
        if after is None or not self._passes_on(node, after):
            return None
        kernel = self._kernels[after.index]
        if kernel is None or after.type != "Eltwise" or node.tops[0] in self._kept:
            return None
        plain = kernel.op.operation == "SUM" and kernel.op.coeff == (1, 1)
        return kernel if plain and not any(after.loss_weights) else None

    def _writes_x(self, node: Node) -> CudaLayer[Any] | None:
        """Return the kernel ahead of a node if it can write x where that is kept.

        That memory is there from the node's own step on. One step earlier it may still
        be what the kernel ahead reads, unless that reads it backward too.
        """
        if node.index == 0:
            return None
        ahead = self._graph.nodes[node.index - 1]
        kernel = self._bare[ahead.index]
        if kernel is None or ahead.type not in ("Convolution", "Deconvolution"):
            return None
        if not self._passes_on(ahead, node) or not ahead.backward:
            return None
        stays = set(range(len(ahead.bottoms))) <= set(ahead.op.backward_bottoms)
        free = self._is_in_place(node) or ahead.tops[0] not in self._kept
        return kernel if stays and free else None


def _scales(norm: BatchNorm, scale: Scale) -> bool:
    """Whether a Scale can be part of a BatchNorm ahead of it.

    One whose gradient needs what was normalized where that is not kept cannot.
    """
    return norm.node.backward or not scale.node.backward


def _is_known(kernel: Kernel[Any]) -> bool:
    """Whether joined calls do all that a layer says."""
    options = OPTIONS.get(kernel.node.type)
    own = isinstance(kernel, CudaLayer)
    return own and options is not None and has_only(kernel.op, options)
