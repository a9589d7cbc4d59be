"""The memory of a plan: the arena of its net, and where every array of it lies."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from netspec.graph import Edge, Graph
from netspec.graph.memory import (
    Layout,
    Request,
    Touch,
    aligned,
    lay_out,
    lay_out_near,
    most_alive,
    requests_of,
    saved_requests,
)
from netspec.graph.timeline import Timeline, plain
from netspec.ops.base import Shape, count
from runtime.arena import Arena, Arenas, Memory, total_bytes
from runtime.arrays import Array, ArraySpec
from runtime.backends import Backend
from runtime.backends.base import Place
from runtime.execution.fitting import check_arena
from runtime.execution.limits import most_scratch, sizes_of
from runtime.layers.base import Context, Kernel

OWN_BYTES = 1 << 16  # of an input or output up to which a plan has it to itself
NEAR_FACTOR = 1.25  # that a layout near another one may be larger than it must be
Known: TypeAlias = Mapping[str, tuple[Request, int]]  # request and offset, by name


@dataclass
class SharedMemory:
    """What the plans of a net have in common.

    arenas: the memory of their blobs and scratch. states: arrays that kernels of
    several plans keep, by what they hold.
    """

    arenas: Arenas
    states: dict[Hashable, Array] = field(default_factory=dict)


class PlanMemory:
    """The arrays of one plan, cut from an arena.

    Small inputs and outputs, which callers often keep, are in memory of the plan's own.

    known: where another plan of this net has what both have, to be in the same places.
    suits: says which arenas may be taken. touched: see `requests_of`. dense: take no
    more for the same places than must be.
    """

    def __init__(
        self,
        graph: Graph,
        backend: Backend,
        context: Context,
        kernels: Sequence[Kernel[Any]],
        keep: Container[str] | None,
        places: Sequence[Place | None],
        shared: SharedMemory,
        known: Known | None = None,
        suits: Callable[[Arena], bool] = lambda _: True,
        timeline: Timeline | None = None,
        touched: Iterable[Touch] = (),
        *,
        dense: bool = False,
    ) -> None:
        timeline, touched = timeline or plain(graph), tuple(touched)
        self._backend, self._context, self._places = backend, context, places
        self._shared = shared
        self._itemsize = np.dtype(context.dtype).itemsize
        training = any(node.backward for node in graph.nodes)
        wanted = [kernel.arrays() for kernel in kernels]
        blobs = list(
            requests_of(
                graph,
                training=training,
                keep=keep,
                itemsize=self._itemsize_of,
                timeline=timeline,
                touched=touched,
            )
        )
        kept = sizes_of(wanted, context.dtype, "saved")
        saved = saved_requests(graph, kept, timeline)
        overwritten = _overwritten(graph)
        saved += [self._kept_request(graph, timeline, *one) for one in overwritten]
        own = _own(graph, blobs)
        requests = [one for one in (*blobs, *saved) if one.name not in own]
        own_sizes = [one.nbytes for one in own.values()]
        layout = _laid_out(requests, known, dense=dense)
        self.known: Known = {
            one.name: (one, layout.offsets[one.name]) for one in requests
        }
        scratch = most_scratch(wanted, context.dtype)
        self.sizes = {
            "arena_bytes": layout.total_bytes + scratch + total_bytes(own_sizes),
            "blob_bytes": sum(request.nbytes for request in blobs),
            "saved_bytes": sum(request.nbytes for request in saved),
            "scratch_bytes": scratch,
        }
        self._offsets = layout.offsets
        self._scratch_start = aligned(layout.total_bytes)
        check = partial(check_arena, graph, context)
        self.arena = shared.arenas.take(self._scratch_start + scratch, check, suits)
        self._own, self._own_offsets = self._own_memory(own.values())
        self._views: dict[tuple[str, Shape], Array] = {}
        self.lies: dict[int, tuple[str, int, Shape]] = {}  # in the arena, by id
        inside = {edge: node for edge, kind, node in touched if kind == "never"}
        self.absent = frozenset(inside)
        self.data = [
            self._inside(graph, e, inside[e.index])
            if e.index in inside
            else self._blob(f"data:{e.buffer}", e)
            for e in graph.edges
        ]
        self.late_data = [
            self.data[edge.index] if edge.index in inside else self._late_blob(edge)
            for edge in graph.edges
        ]
        self.diff = [self._gradient(edge) for edge in graph.edges]
        self.kept = {one: self._kept(graph, *one) for one in overwritten}
        self.own_bytes = total_bytes(own_sizes)
        self.states: dict[int, list[Hashable]] = {}  # shared ones, by node
        self.unshared: set[int] = set()  # nodes with states of their own
        self.work = [
            self._work(graph, index, specs) for index, specs in enumerate(wanted)
        ]
        self._wanted, self._timeline = wanted, timeline
        self.lasting = [
            _lasting(specs, node.backward)
            for specs, node in zip(wanted, graph.nodes, strict=True)
        ]

    def _own_memory(self, own: Iterable[Request]) -> tuple[Memory, dict[str, int]]:
        offsets: dict[str, int] = {}
        total = 0
        for request in own:
            offsets[request.name] = total
            total += aligned(request.nbytes)
        return Memory.of(self._context.backend, total), offsets

    def _nbytes(self, spec: ArraySpec) -> int:
        return count(spec.shape) * np.dtype(spec.dtype or self._context.dtype).itemsize

    def _kept_request(
        self, graph: Graph, timeline: Timeline, index: int, place: int
    ) -> Request:
        last = timeline.backward_at[index]
        edge = graph.edges[graph.nodes[index].bottoms[place]]
        nbytes = count(edge.shape) * self._itemsize_of(edge)
        return Request(f"kept:{index}:{place}", nbytes, index, last)

    def _kept(self, graph: Graph, index: int, place: int) -> Array:
        edge = graph.edges[graph.nodes[index].bottoms[place]]
        return self._at(f"kept:{index}:{place}", edge)

    def _itemsize_of(self, edge: Edge) -> int:
        place = self._places[edge.index]
        return self._itemsize if place is None else place.itemsize

    def _at(self, name: str, edge: Edge) -> Array:
        offset = self._offsets.get(name)
        if offset is None:
            cut = partial(self._own.cut, self._own_offsets[name])
        else:
            cut = partial(self.arena.cut, offset)
        context, place = self._context, self._places[edge.index]
        array = self._backend.blob(cut, edge.shape, context.dtype, place)
        if offset is not None:
            self.lies[id(array)] = (name, offset, edge.shape)
        return array

    def _blob(self, name: str, edge: Edge) -> Array:
        # The same memory under the same shape is the same array object: kernels tell
        # an in-place layer by `y is x`.
        key = (name, edge.shape)
        if key not in self._views:
            self._views[key] = self._at(name, edge)
        return self._views[key]

    def _inside(self, graph: Graph, edge: Edge, node: int) -> Array:
        """Return some memory of the top that an edge is a part of.

        Nobody reads or writes it there; kernels look at its shape.
        """
        top = graph.edges[graph.nodes[node].tops[0]]
        return self._blob(f"data:{top.buffer}", edge)

    def _late_blob(self, edge: Edge) -> Array:
        """Return the memory of an edge in backward."""
        name = f"redata:{edge.buffer}"
        there = name in self._offsets or name in self._own_offsets
        return self._blob(name if there else f"data:{edge.buffer}", edge)

    def late_work(self, index: int) -> dict[str, Array]:
        """Return the extra arrays of a node in backward, with what it computes again.

        They are those of forward, but for what a layer saves that runs again.
        """
        arrays = dict(self.work[index])
        if index in self._timeline.again_at:
            for name, spec in self._wanted[index].items():
                if spec.life == "saved":
                    offset = self._offsets[f"resaved:{index}:{name}"]
                    dtype = spec.dtype or self._context.dtype
                    arrays[name] = self.arena.cut(offset, spec.shape, dtype)
        return arrays

    def _gradient(self, edge: Edge) -> Array | None:
        name = f"diff:{edge.gradient}"
        there = name in self._offsets or name in self._own_offsets
        return self._blob(name, edge) if there else None

    def _work(
        self, graph: Graph, index: int, specs: Mapping[str, ArraySpec]
    ) -> dict[str, Array]:
        arrays = {}
        scratch = self._scratch_start
        for name, spec in specs.items():
            dtype = spec.dtype or self._context.dtype
            if spec.life == "state":
                whose = None if graph.stale else spec.content
                arrays[name] = self._state((index, name, whose), spec, dtype)
            elif spec.life == "saved":
                offset = self._offsets[f"saved:{index}:{name}"]
                arrays[name] = self.arena.cut(offset, spec.shape, dtype)
            else:
                arrays[name] = self.arena.cut(scratch, spec.shape, dtype)
                scratch += aligned(self._nbytes(spec))
        return arrays

    def _state(
        self, key: tuple[int, str, Hashable], spec: ArraySpec, dtype: str
    ) -> Array:
        if key[2] is None:
            self.unshared.add(key[0])
            self.own_bytes += self._nbytes(spec)
            return self._context.backend.zeros(spec.shape, dtype)
        states, whole = self._shared.states, (*key, spec.shape, dtype)
        if whole not in states:
            states[whole] = self._context.backend.zeros(spec.shape, dtype)
        self.states.setdefault(key[0], []).append(whole)
        return states[whole]


def _laid_out(
    requests: Sequence[Request], known: Known | None, *, dense: bool
) -> Layout:
    """Return the layout near a known one, unless that needs much more memory.

    dense: unless it needs any more.
    """
    if known is None:
        return lay_out(requests)
    near = lay_out_near(requests, known)
    if not dense and near.total_bytes <= NEAR_FACTOR * most_alive(requests):
        return near
    least = lay_out(requests)
    return near if dense and near.total_bytes <= least.total_bytes else least


def _own(graph: Graph, blobs: Iterable[Request]) -> dict[str, Request]:
    """Return the small ones among the requests of inputs and outputs, by name."""
    ends = {*graph.inputs, *graph.outputs}
    names = set()
    for edge in graph.edges:
        if edge.blob in ends:
            names |= {f"data:{edge.buffer}", f"diff:{edge.gradient}"}
    return {
        request.name: request
        for request in blobs
        if request.name in names and request.nbytes <= OWN_BYTES
    }


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
