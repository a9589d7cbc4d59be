"""The memory of a plan: one arena, and where every array of it lies."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from netspec.graph import Edge, Graph
from netspec.graph.memory import Request, aligned, lay_out, requests_of
from netspec.ops.base import Shape, count
from runtime.arena import Arena, total_bytes
from runtime.arrays import Array, ArraySpec
from runtime.backends import Backend
from runtime.backends.base import Place
from runtime.execution.fitting import check_arena
from runtime.layers.base import Context, Kernel


class PlanMemory:
    """The arrays of one plan, cut from one arena."""

    def __init__(
        self,
        graph: Graph,
        backend: Backend,
        context: Context,
        kernels: Sequence[Kernel[Any]],
        keep: Container[str] | None,
        places: Sequence[Place | None],
    ) -> None:
        self._backend, self._context, self._places = backend, context, places
        self._itemsize = np.dtype(context.dtype).itemsize
        training = any(node.backward for node in graph.nodes)
        wanted = [kernel.arrays() for kernel in kernels]
        size_of = self._itemsize_of
        blobs = list(requests_of(graph, training=training, keep=keep, itemsize=size_of))
        saved = self._saved_requests(graph, wanted)
        overwritten = _overwritten(graph)
        saved += [self._kept_request(graph, *one) for one in overwritten]
        layout = lay_out([*blobs, *saved])
        scratch = max((self._scratch_bytes(specs) for specs in wanted), default=0)
        self.sizes = {
            "arena_bytes": layout.total_bytes + scratch,
            "blob_bytes": sum(request.nbytes for request in blobs),
            "saved_bytes": sum(request.nbytes for request in saved),
            "scratch_bytes": scratch,
        }
        self._offsets = layout.offsets
        self._scratch_start = aligned(layout.total_bytes)
        check_arena(graph, context, self._scratch_start + scratch)
        self._arena = Arena(context.backend, self._scratch_start + scratch)
        self._views: dict[tuple[str, Shape], Array] = {}
        self.data = [self._blob(f"data:{e.buffer}", e) for e in graph.edges]
        self.diff = [self._gradient(edge) for edge in graph.edges]
        self.kept = {one: self._kept(graph, *one) for one in overwritten}
        self.work = [self._work(index, specs) for index, specs in enumerate(wanted)]
        self.lasting = [
            _lasting(specs, node.backward)
            for specs, node in zip(wanted, graph.nodes, strict=True)
        ]

    def _nbytes(self, spec: ArraySpec) -> int:
        return count(spec.shape) * np.dtype(spec.dtype or self._context.dtype).itemsize

    def _scratch_bytes(self, specs: Mapping[str, ArraySpec]) -> int:
        return total_bytes(
            [self._nbytes(spec) for spec in specs.values() if spec.life == "scratch"]
        )

    def _saved_requests(
        self, graph: Graph, wanted: Sequence[Mapping[str, ArraySpec]]
    ) -> list[Request]:
        end = 2 * len(graph.nodes) - 1
        return [
            Request(
                f"saved:{index}:{name}",
                self._nbytes(spec),
                index,
                end - index if graph.nodes[index].backward else index,
            )
            for index, specs in enumerate(wanted)
            for name, spec in specs.items()
            if spec.life == "saved"
        ]

    def _kept_request(self, graph: Graph, index: int, place: int) -> Request:
        end = 2 * len(graph.nodes) - 1
        edge = graph.edges[graph.nodes[index].bottoms[place]]
        nbytes = count(edge.shape) * self._itemsize_of(edge)
        return Request(f"kept:{index}:{place}", nbytes, index, end - index)

    def _kept(self, graph: Graph, index: int, place: int) -> Array:
        edge = graph.edges[graph.nodes[index].bottoms[place]]
        return self._at(self._offsets[f"kept:{index}:{place}"], edge)

    def _itemsize_of(self, edge: Edge) -> int:
        place = self._places[edge.index]
        return self._itemsize if place is None else place.itemsize

    def _at(self, offset: int, edge: Edge) -> Array:
        cut = partial(self._arena.cut, offset)
        context, place = self._context, self._places[edge.index]
        return self._backend.blob(cut, edge.shape, context.dtype, place)

    def _blob(self, name: str, edge: Edge) -> Array:
        # The same memory under the same shape is the same array object: kernels tell
        # an in-place layer by `y is x`.
        key = (name, edge.shape)
        if key not in self._views:
            self._views[key] = self._at(self._offsets[name], edge)
        return self._views[key]

    def _gradient(self, edge: Edge) -> Array | None:
        name = f"diff:{edge.gradient}"
        return self._blob(name, edge) if name in self._offsets else None

    def _work(self, index: int, specs: Mapping[str, ArraySpec]) -> dict[str, Array]:
        arrays = {}
        scratch = self._scratch_start
        for name, spec in specs.items():
            dtype = spec.dtype or self._context.dtype
            if spec.life == "state":
                arrays[name] = self._context.backend.zeros(spec.shape, dtype)
            elif spec.life == "saved":
                offset = self._offsets[f"saved:{index}:{name}"]
                arrays[name] = self._arena.cut(offset, spec.shape, dtype)
            else:
                arrays[name] = self._arena.cut(scratch, spec.shape, dtype)
                scratch += aligned(self._nbytes(spec))
        return arrays


def _lasting(specs: Mapping[str, ArraySpec], backward: bool) -> frozenset[str]:
    """Return which extra arrays of a node are of use after its forward step."""
    lives = ("state", "saved") if backward else ("state",)
    return frozenset(name for name, spec in specs.items() if spec.life in lives)


def _overwritten(graph: Graph) -> list[tuple[int, int]]:
    """Return the bottoms (node, place) that a layer overwrites and its gradient reads.

    They are what data layers bring: such a blob must stay in its place, where callers
    write it, so that the layer above cannot have memory of its own. It reads a copy.
    """
    return [
        (node.index, place)
        for node in graph.nodes
        if node.backward and not node.op.alias
        for place in node.op.backward_bottoms
        if place < len(node.tops)
        and graph.edges[node.bottoms[place]].buffer
        == graph.edges[node.tops[place]].buffer
    ]
