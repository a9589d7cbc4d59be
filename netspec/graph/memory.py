"""Where every blob of a net lies in one block of memory.

`requests_of` says how much memory every blob of a graph wants and for how long, and
`lay_out` gives each a place so that what lives at the same time does not overlap.
Nothing here holds an array.

Time counts steps: the forward pass of node i of N is step i, its backward pass step
2 N - 1 - i.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from netspec.errors import SpecError
from netspec.graph.types import AUTOMATIC, Edge, Graph
from netspec.ops.base import count

ALIGNMENT_BYTES = 64  # a cache line, and the widest vector register
FLOAT_BYTES = 4
BY_SIZE_LIMIT = 2000  # requests


@dataclass(frozen=True)
class Request:
    """`nbytes` of memory from step `first` to step `last`, both included."""

    name: str
    nbytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Layout:
    """The place of every request, in bytes from the start of the block."""

    offsets: Mapping[str, int]
    total_bytes: int


def lay_out(requests: Sequence[Request]) -> Layout:
    """Place `requests` so that those alive at the same step do not overlap.

    Every offset is a multiple of `ALIGNMENT_BYTES`. The steps are played through
    forwards and backwards in time, each request taking the smallest gap that holds it;
    up to `BY_SIZE_LIMIT` requests, for which quadratic time is nothing, the largest are
    placed first as well. The best of these layouts is returned.
    """
    names = {request.name for request in requests}
    if len(names) != len(requests):
        raise SpecError("two memory requests have the same name; give each its own")
    end = max((request.last for request in requests), default=0)
    backwards = [
        Request(r.name, r.nbytes, end - r.last, end - r.first) for r in requests
    ]
    layouts = [_play(requests), _play(backwards)]
    if len(requests) <= BY_SIZE_LIMIT:
        layouts.append(_by_size(requests))
    return min(layouts, key=lambda layout: layout.total_bytes)


def lay_out_near(
    requests: Sequence[Request], known: Mapping[str, tuple[Request, int]]
) -> Layout:
    """Place `requests` so that those that are `known` and have not grown stay.

    known: requests of another layout with their offsets, by name. One of another
    lifetime is placed anew, and so is one that has grown.
    """
    stay: list[tuple[int, int, Request]] = []
    rest: list[Request] = []
    for request in requests:
        before, start = known.get(request.name, (None, 0))
        if (
            before is not None
            and (before.first, before.last) == (request.first, request.last)
            and aligned(request.nbytes) <= aligned(before.nbytes)
        ):
            stay.append((start, start + aligned(request.nbytes), request))
        else:
            rest.append(request)
    return _by_size(rest, stay)


def most_alive(requests: Sequence[Request]) -> int:
    """Return the most bytes that are alive at one step: no layout needs less."""
    changes: dict[int, int] = {}
    for request in requests:
        size = aligned(request.nbytes)
        changes[request.first] = changes.get(request.first, 0) + size
        changes[request.last + 1] = changes.get(request.last + 1, 0) - size
    most = alive = 0
    for step in sorted(changes):
        alive += changes[step]
        most = max(most, alive)
    return most


def _by_size(
    requests: Sequence[Request], stay: Sequence[tuple[int, int, Request]] = ()
) -> Layout:
    """Place the largest requests first, each in the smallest gap while it lives.

    stay: (start, end, request) of those that have their places.
    """
    placed = sorted(stay, key=lambda place: place[0])
    offsets = {request.name: start for start, _, request in placed}
    total = max((end for _, end, _ in placed), default=0)
    for request in sorted(requests, key=lambda r: -r.nbytes):
        size = aligned(request.nbytes)
        smallest, start, reached = None, 0, 0
        for other_start, other_end, other in placed:
            if other.last < request.first or request.last < other.first:
                continue
            gap = other_start - reached
            if gap >= size and (smallest is None or gap < smallest):
                smallest, start = gap, reached
            reached = max(reached, other_end)
        if smallest is None:
            start = reached
        offsets[request.name] = start
        insort(placed, (start, start + size, request), key=lambda place: place[0])
        total = max(total, start + size)
    return Layout(offsets, total)


def _play(requests: Sequence[Request]) -> Layout:
    """Place the requests in the order in which their lives begin.

    Of those that begin together, the longest-lived come first: they are the least in
    the way at the bottom.
    """
    order = sorted(requests, key=lambda r: (r.first, -r.last, -r.nbytes))
    ends = sorted(requests, key=lambda r: r.last)
    offsets: dict[str, int] = {}
    gaps = _Gaps()
    ended = 0
    for request in order:
        while ends[ended].last < request.first:
            done = ends[ended]
            gaps.give(offsets[done.name], aligned(done.nbytes))
            ended += 1
        offsets[request.name] = gaps.take(aligned(request.nbytes))
    return Layout(offsets, gaps.total)


def aligned(nbytes: int) -> int:
    """Round a number of bytes up to a multiple of `ALIGNMENT_BYTES`."""
    return -(-nbytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


class _Gaps:
    """The free places in a block that grows on demand; neighbours are merged."""

    def __init__(self) -> None:
        self.total = 0
        self._by_size: list[tuple[int, int]] = []  # (size, start), sorted
        self._size_at: dict[int, int] = {}  # start -> size
        self._start_of: dict[int, int] = {}  # end -> start

    def take(self, size: int) -> int:
        """Return the start of a place of `size` bytes: the smallest gap that fits."""
        if size == 0:
            return 0
        place = bisect_left(self._by_size, (size, 0))
        if place < len(self._by_size):
            found, start = self._by_size[place]
            self._remove(start)
            if found > size:
                self._add(start + size, found - size)
            return start
        # Nothing fits: grow, starting in the gap at the end if there is one.
        start = self._start_of.get(self.total, self.total)
        if start != self.total:
            self._remove(start)
        self.total = start + size
        return start

    def give(self, start: int, size: int) -> None:
        """Take back `size` bytes at `start`."""
        if size == 0:
            return
        before = self._start_of.get(start)
        if before is not None:
            self._remove(before)
            start, size = before, size + start - before
        after = self._size_at.get(start + size)
        if after is not None:
            self._remove(start + size)
            size += after
        self._add(start, size)

    def _add(self, start: int, size: int) -> None:
        insort(self._by_size, (size, start))
        self._size_at[start] = size
        self._start_of[start + size] = start

    def _remove(self, start: int) -> None:
        size = self._size_at.pop(start)
        del self._start_of[start + size]
        del self._by_size[bisect_left(self._by_size, (size, start))]


def requests_of(
    graph: Graph,
    *,
    training: bool,
    keep: Container[str] | None = None,
    itemsize: int | Callable[[Edge], int] = FLOAT_BYTES,
    touched: Iterable[tuple[int, int]] = (),
) -> tuple[Request, ...]:
    """Return what the blobs of `graph` want: `data:<buffer>`, `diff:<gradient>`.

    training: whether gradients are computed; without it there are no diff requests and
    data lives for the forward pass only.
    keep: the names of blobs that live the whole time; None is all of them, as in Caffe.
    Inputs, outputs, losses and DummyData, which may be filled once, always do, and so
    do the blobs of layers that keep them, which are written in Python.
    itemsize: bytes of a value, of all blobs or by edge.
    touched: edges whose data is used at other steps than those of its layers, and when.
    """
    kept = _Kept(graph, keep)
    end = 2 * len(graph.nodes) - 1
    size_of = itemsize if callable(itemsize) else lambda _: itemsize
    data = _Lives(kept, size_of)
    for edge in graph.edges:
        data.touch(edge.buffer, edge, edge.producer)
        for reader, _ in edge.consumers:
            data.touch(edge.buffer, edge, reader)
    if training:
        for node in graph.nodes:
            if node.backward:
                for place in node.op.backward_bottoms:
                    edge = graph.edges[node.bottoms[place]]
                    data.touch(edge.buffer, edge, end - node.index)
                for place in node.op.backward_tops:
                    edge = graph.edges[node.tops[place]]
                    data.touch(edge.buffer, edge, end - node.index)
    for index, step in touched:
        data.touch(graph.edges[index].buffer, graph.edges[index], step)
    requests = data.requests("data", end)
    if training:
        requests += _gradient_lives(graph, kept, size_of).requests("diff", end)
    return tuple(requests)


def kept_edges(graph: Graph, keep: Container[str] | None) -> frozenset[int]:
    """Return the numbers of the edges that live the whole time; see `requests_of`."""
    kept = _Kept(graph, keep)
    return frozenset(edge.index for edge in graph.edges if edge in kept)


class _Kept:
    """Which edges live the whole time."""

    def __init__(self, graph: Graph, keep: Container[str] | None) -> None:
        self._keep = keep
        self._always = {*graph.inputs, *graph.outputs, AUTOMATIC}
        self.weighted: set[int] = set()
        self._touched: set[int] = set()
        for node in graph.nodes:
            if node.type == "DummyData":
                self._always.update(node.layer.top)
            if node.op.keeps_blobs:
                self._touched.update(node.bottoms, node.tops)
            for edge, weight in zip(node.tops, node.loss_weights, strict=True):
                if weight:
                    self.weighted.add(edge)

    def __contains__(self, edge: Edge) -> bool:
        return (
            self._keep is None
            or edge.blob in self._always
            or edge.index in self.weighted
            or edge.index in self._touched
            or edge.blob in self._keep
        )


class _Lives:
    """When each buffer is first and last used, and how big it is."""

    def __init__(self, kept: _Kept, itemsize: Callable[[Edge], int]) -> None:
        self._kept = kept
        self._itemsize = itemsize
        self._nbytes: dict[int, int] = {}
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._whole: set[int] = set()

    def touch(self, buffer: int, edge: Edge, step: int) -> None:
        """Note that `buffer` is used for `edge` at `step`."""
        nbytes = count(edge.shape) * self._itemsize(edge)
        self._nbytes[buffer] = max(nbytes, self._nbytes.get(buffer, 0))
        self._first[buffer] = min(step, self._first.get(buffer, step))
        self._last[buffer] = max(step, self._last.get(buffer, step))
        if edge in self._kept:
            self._whole.add(buffer)

    def keep(self, buffer: int) -> None:
        """Let `buffer` live the whole time."""
        self._whole.add(buffer)

    def requests(self, prefix: str, end: int) -> list[Request]:
        """Return a request for every buffer that was touched."""
        result = []
        for buffer, nbytes in self._nbytes.items():
            whole = buffer in self._whole
            first = 0 if whole else self._first[buffer]
            last = end if whole else self._last[buffer]
            result.append(Request(f"{prefix}:{buffer}", nbytes, first, last))
        return result


def unwritten_gradients(graph: Graph) -> list[int]:
    """Return the edges whose gradients are read, but that no step writes."""
    weighted = _Kept(graph, None).weighted
    return [
        edge.index
        for edge in graph.edges
        if not _writers(graph, edge) and _stays(graph, edge, weighted)
    ]


def _writers(graph: Graph, edge: Edge) -> list[int]:
    """Return the nodes that write the gradient of an edge."""
    return [
        node
        for node, place in edge.consumers
        if graph.nodes[node].backward and graph.nodes[node].propagate[place]
    ]


def _stays(graph: Graph, edge: Edge, weighted: Container[int]) -> bool:
    """Tell whether a gradient that nobody writes is read."""
    producer = graph.nodes[edge.producer]
    ends = edge.index in weighted or edge.blob in graph.outputs
    return producer.backward and (ends or producer.type != "Split")


def _gradient_lives(
    graph: Graph, kept: _Kept, itemsize: Callable[[Edge], int]
) -> _Lives:
    """Note when gradients are written, by consumers, and read, by producers."""
    end = 2 * len(graph.nodes) - 1
    lives = _Lives(kept, itemsize)
    for edge in graph.edges:
        writers = _writers(graph, edge)
        for node in writers:
            lives.touch(edge.gradient, edge, end - node)
        producer = graph.nodes[edge.producer]
        if not producer.backward:
            continue
        if writers:
            lives.touch(edge.gradient, edge, end - producer.index)
        elif _stays(graph, edge, kept.weighted):
            # Nobody writes it: it stays as it was filled, with a loss weight or zeros.
            lives.touch(edge.gradient, edge, end - producer.index)
            lives.keep(edge.gradient)
    return lives
