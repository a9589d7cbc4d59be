"""Which neighbouring layers run as one: in place on the same memory, one after another.

The plan keeps the steps of every layer for those who run some layers only; joined calls
are for whole passes. Both leave the same values in every blob.

A layer with an option that joined calls do not know runs by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from netspec.graph import Graph
from netspec.graph.memory import Touch, kept_edges
from runtime.backends.cpu.concatenated import InPlace
from runtime.backends.cpu.inference import Groups, redirected
from runtime.backends.cpu.layers.broadcast import Bias
from runtime.backends.cpu.layers.convolution import Convolution, Deconvolution
from runtime.backends.cpu.layers.elementwise import Concat, EltwiseSum, ReLU, Split
from runtime.backends.cpu.layers.fork_norm import ForkNorm
from runtime.backends.cpu.layers.inner_product import InnerProduct
from runtime.backends.cpu.layers.normalization import BatchNorm, Scale
from runtime.backends.cpu.layers.pooling import Pooling
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.residual import residuals
from runtime.backends.layer_kernel import has_only
from runtime.layers.base import Kernel

CONVOLUTION = (
    "num_output",
    "kernel",
    "stride",
    "pad",
    "dilation",
    "group",
    "axis",
    "channels",
    "bias_term",
)
# The options that joined calls honour, or that are looked at before layers are joined.
OPTIONS: Mapping[type[Kernel[Any]], tuple[str, ...]] = {
    BatchNorm: (
        *("channels", "use_global_stats", "moving_average_fraction", "eps"),
        "reads_bottom",
    ),
    Bias: ("axis", "bias_shape"),
    Concat: Concat.options,
    Convolution: CONVOLUTION,
    Deconvolution: CONVOLUTION,
    ForkNorm: ForkNorm.options,
    EltwiseSum: ("operation", "coeff", "stable_prod_grad"),
    Pooling: Pooling.options,
    InnerProduct: ("num_output", "axis", "transpose", "bias_term"),
    ReLU: ("negative_slope",),
    Scale: ("axis", "scale_shape", "bias_term", "over_bottom"),
    Split: (),
}


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
        self._kernels = [one if _is_known(one) else None for one in kernels]
        for kernel in self._kernels:
            _unlink(kernel)
        self._groups = Groups(graph, self._kernels, kept_edges(graph, keep))
        self._chains = self._find_chains()
        self._concatenated = self._find_concatenated(kept_edges(graph, keep))
        self._link()
        given = (graph, self._kernels, self._chains, kept_edges(graph, keep))
        self._residuals = list(residuals(*given))

    def _find_concatenated(self, kept: Container[int]) -> InPlace:
        linked = {node for chain in self._chains for node in chain}
        given = (self._graph, self._kernels, self._groups, linked, kept)
        return InPlace(*given)

    def _find_chains(self) -> list[list[int]]:
        """Return the runs of nodes, each working in place on the one before."""
        nodes, chains = self._graph.nodes, []
        taken: set[int] = set()
        for node in nodes:
            if node.index in taken or node.index in self._groups.nodes:
                continue
            chain = [node.index]
            while (after := self._after(nodes[chain[-1]])) is not None:
                chain.append(after)
            taken.update(chain)
            chains.append(chain)
        return [one for one in chains if len(one) > 1]

    def _after(self, node: Any) -> int | None:
        """Return the only reader of a node's top, if it works in place on it."""
        if len(node.tops) != 1:
            return None
        readers = self._graph.edges[node.tops[0]].consumers
        if len(readers) != 1 or readers[0][0] in self._groups.nodes:
            return None
        after = self._graph.nodes[readers[0][0]]
        return after.index if self._continues(node, after) else None

    def _continues(self, first: Any, second: Any) -> bool:
        edges = self._graph.edges
        if len(first.tops) != 1 or len(second.tops) != 1 or len(second.bottoms) != 1:
            return False
        middle, end = edges[first.tops[0]], edges[second.tops[0]]
        return (
            second.bottoms[0] == middle.index
            and len(middle.consumers) == 1
            and middle.buffer == end.buffer
            and (middle.gradient == end.gradient or not second.backward)
            and first.loss_weights == (0,)
        )

    def _link(self) -> None:
        for chain in self._chains:
            for first, second in pairwise(chain):
                norm, scale = self._kernels[first], self._kernels[second]
                if isinstance(norm, BatchNorm) and self._rectifies(second):
                    norm.rectified = True
                    continue
                if not (isinstance(norm, BatchNorm) and isinstance(scale, Scale)):
                    continue
                if isinstance(norm, ForkNorm):
                    continue  # which has a factor of its own
                if scale.op.axis != 1 or scale.op.scale_shape != (norm.op.channels,):
                    continue
                if scale.node.backward and not norm.node.backward:
                    continue  # it needs what was normalized, which is not kept so long
                norm.scale = scale
                if not norm.op.use_global_stats:
                    scale.behind = norm
                after = chain[chain.index(second) + 1 :][:1]
                norm.rectified = bool(after) and self._rectifies(after[0])

    def _rectifies(self, index: int) -> bool:
        kernel = self._kernels[index]
        return isinstance(kernel, ReLU) and kernel.op.negative_slope == 0

    def forward(self) -> dict[int, list[Call]]:
        """Return other calls for some nodes: all at the first of a group."""
        calls = self._groups.calls() | self._concatenated.calls()
        for chain in self._chains:
            at = 0
            while at < len(chain):
                joined, length = self._forward_at(chain[at:])
                if length > 1:
                    calls |= {index: [] for index in chain[at : at + length]}
                    calls[chain[at]] = joined
                at += length
        for residual in self._residuals:
            calls |= residual.forward(calls)
        return calls

    def _forward_at(self, chain: Sequence[int]) -> tuple[list[Call], int]:
        """Return the joined calls of the first nodes of a chain, and how many."""
        kernel = self._kernels[chain[0]]
        follower = self._kernels[chain[1]] if len(chain) > 1 else None
        match kernel, follower:
            case (
                (Convolution() | Deconvolution() | InnerProduct()),
                BatchNorm(),
            ) if _can_write_kept(kernel, follower):
                ahead = redirected(kernel, follower.work["x"], kernel.forward_calls)
                behind = follower.joined_forward(follower.work["x"])
                return [*ahead, *behind], 1 + follower.length
            case BatchNorm(), _ if kernel.length > 1:
                return kernel.joined_forward(), kernel.length
            case (
                Convolution() | Deconvolution() | EltwiseSum() | InnerProduct(),
                ReLU(),
            ):
                if self._rectifies(chain[1]):
                    return kernel.calls_above(0.0), 2
        return [], 1

    def divide(self, again: Container[int]) -> None:
        """Let no layers run forward as one of which some run again and others not.

        Those of chains write one blob, and so run again together; a sum and what is
        normalized below it need not.
        """
        self._residuals = [one.divided(again) for one in self._residuals]

    def left_out(self) -> list[tuple[Sequence[int], Sequence[int]]]:
        """Return what passes do not write: nodes that run as one, edges between."""
        inside = self._concatenated.bottoms.nodes
        groups = [
            (one.nodes, one.unwritten)
            for one in self._groups.groups
            if one.unwritten and one.nodes[0] not in inside
        ]
        return [*groups, *self._concatenated.left_out()]

    def settled(self) -> Collection[int]:
        """Return nodes that run together always if a blob between has no memory."""
        return self._concatenated.bottoms.nodes

    def touched(self) -> Iterator[Touch]:
        """Yield data that is used in other steps than those of its layers.

        A group writes its result at the first layer's step. The sum below a ReLU reads
        what the ReLU wrote when its own turn comes, backward.
        """
        yield from self._groups.touched()
        yield from self._concatenated.bottoms.touched()
        nodes = self._graph.nodes
        for chain in self._chains:
            for first, second in pairwise(chain):
                adds = isinstance(self._kernels[first], EltwiseSum)
                if adds and nodes[first].backward and self._rectifies(second):
                    yield nodes[second].tops[0], "backward", first

    def backward(self, flags: Mapping[int, Sequence[bool]]) -> dict[int, list[Call]]:
        """Return other calls for some nodes: all at the first of a group.

        flags: for the parameters of every node, whether their gradients are added.
        """
        calls: dict[int, list[Call]] = {}
        for chain in self._chains:
            for at, index in enumerate(chain):
                norm = self._kernels[index]
                if not isinstance(norm, BatchNorm) or norm.length == 1:
                    continue
                group = chain[at : at + norm.length]
                if not norm.by_batch or not all(one in flags for one in group):
                    continue
                calls |= {one: [] for one in group}
                learner = index if norm.scale is None else group[1]
                calls[index] = norm.joined_backward(flags[learner])
        for residual in self._residuals:
            calls |= residual.backward(flags)
        return calls


def _can_write_kept(ahead: Kernel[Any], norm: BatchNorm) -> bool:
    """Whether a layer can write where the BatchNorm right behind it keeps x.

    That memory is there from the BatchNorm's own step on. One step earlier it may still
    be what the layer ahead reads, unless that reads all of it backward too.
    """
    node = ahead.node
    stays = set(range(len(node.bottoms))) <= set(node.op.backward_bottoms)
    next_to = node.index + 1 == norm.node.index
    return "x" in norm.work and next_to and node.backward and stays


def _unlink(kernel: Kernel[Any] | None) -> None:
    """Forget what ran as one with a kernel where others did."""
    if isinstance(kernel, BatchNorm):
        kernel.scale, kernel.rectified = None, False
    elif isinstance(kernel, Scale):
        kernel.behind = None


def _is_known(kernel: Kernel[Any]) -> bool:
    """Whether joined calls do all that a layer says."""
    options = OPTIONS.get(type(kernel))
    return options is not None and has_only(kernel.op, options)
