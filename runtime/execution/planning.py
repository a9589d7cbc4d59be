"""What a net would take, from its graph alone: nothing is read, filled or taken."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netspec.graph import Graph, Node, build_kept, share_gradients, share_private
from netspec.graph.recompute import Recomputation
from netspec.nets.current import current
from netspec.nets.filter import kept_net
from netspec.nets.state import State
from netspec.ops.base import Shape
from netspec.schema import NetParameter
from runtime.backends import Backend
from runtime.backends.base import Fusion, Place
from runtime.data.opening import open_sources, source_shapes
from runtime.execution.limits import MemoryLimit, within
from runtime.execution.loose import moves
from runtime.layers.base import Context, Kernel
from runtime.layers.batch_norm import is_synced

BOUNDLESS = MemoryLimit(2**62)


def shared_graph(graph: Graph, keep: Container[str] | None, backend: Backend) -> Graph:
    """Let blobs share memory that nobody keeps apart."""
    shared = share_private(graph, keep)
    if not backend.on_host:
        return shared  # where gradients may lie in several ways
    return share_gradients(shared, keep)


def kernels_of(
    graph: Graph, backend: Backend, context: Context, keep: Container[str] | None
) -> tuple[Sequence[Place | None], Sequence[Kernel[Any]], Fusion | None]:
    """Return where blobs lie, the kernels of all nodes, and which run as one."""
    made = [_kernel(node, backend, context) for node in graph.nodes]
    places, kernels = backend.arrange(graph, made, context)
    fusion = None if graph.stale else backend.fusion(graph, kernels, keep)
    return places, kernels, fusion


def _kernel(node: Node, backend: Backend, context: Context) -> Kernel[Any]:
    choose = backend.synced_norm if is_synced(node, context) else backend.kernel
    return choose(node, context.dtype)(node, context)


def plan_within(
    graph: Graph,
    backend: Backend,
    context: Context,
    keep: Container[str] | None,
    limit: MemoryLimit,
) -> Recomputation:
    """Choose what runs again to stay within a limit.

    Raises `LimitError` that tells the least with which it can be.
    """

    def made(one: Graph) -> tuple[Sequence[Kernel[Any]], Fusion | None]:
        _, kernels, fusion = kernels_of(one, backend, context, keep)
        return kernels, fusion

    return within(graph, limit, made, keep, context.dtype)


@dataclass(frozen=True)
class Planner:
    """Plans nets of float32 that nobody builds, with what such nets would be given."""

    backend: Backend
    seed: int
    keep: frozenset[str]

    def check(
        self,
        net: NetParameter,
        state: State,
        limit: MemoryLimit,
        shapes: Mapping[str, Shape],
    ) -> None:
        """Raise `LimitError` where a net cannot stay within a limit.

        shapes: of the tops of its data layers, whose sources stay closed.
        """
        self._plan(build_kept(kept_net(net, state), shapes=shapes), limit)

    def bytes_to_test(self, net: NetParameter, state: State) -> int | None:
        """Return what a net without gradients takes, beside another's parameters.

        None where that is not known before layers in Python, or a pass, have told it.
        """
        kept = kept_net(current(net), state)
        if any(layer.type == "Python" for layer in kept.message.layer):
            return None
        if moves(kept.message, self.backend):
            return None
        sources = open_sources(kept.message, state, self.seed)
        try:
            shapes = source_shapes(kept.message, sources)
            graph = build_kept(kept, shapes=shapes, gradients=False)
        finally:
            for source in sources.values():
                source.close()
        return self._plan(graph, BOUNDLESS).own_bytes

    def _plan(self, graph: Graph, limit: MemoryLimit) -> Recomputation:
        backend = self.backend
        shared = shared_graph(graph, self.keep, backend)
        context = Context(backend, seed=self.seed)
        return plan_within(shared, backend, context, self.keep, limit)
