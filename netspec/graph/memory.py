"""Where every blob of a net lies in one block of memory.

`requests_of` says how much memory every blob of a graph wants and for how long, and
`lay_out` gives each a place so that what lives at the same time does not overlap.
Nothing here holds an array.

Time counts the steps of a `Timeline`: the forward pass of node i of N is step i, its
backward pass step 2 N - 1 - i where nothing is computed again.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from netspec.errors import SpecError
from netspec.graph.timeline import Timeline, plain
from netspec.graph.types import AUTOMATIC, Edge, Graph, Node
from netspec.ops.base import count

ALIGNMENT_BYTES = 64  # a cache line, and the widest vector register
FLOAT_BYTES = 4
# An edge whose data is used when a node runs forward or backward; or never, as it is
# written straight into the top of a node.
Touch: TypeAlias = tuple[int, Literal["forward", "backward", "never"], int]
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
    up to `BY_SIZE_LIMIT` requests, for which quadratic time is nothing, the largest,
    the longest-lived and those with most of both are placed first as well. The best of
    these layouts is returned.
    """
    names = {request.name for request in requests}
    if len(names) != len(requests):
        raise SpecError("two memory requests have the same name; give each its own")
    end = max((request.last for request in requests), default=0)
    backwards = [
        Request(r.name, r.nbytes, end - r.last, end - r.first) for r in requests
    ]
    layouts = [_play(requests), _play(backwards)]
    least = most_alive(requests)
    for order in _ORDERS if len(requests) <= BY_SIZE_LIMIT else ():
        if min(layout.total_bytes for layout in layouts) > least:
            layouts.append(_in_order(sorted(requests, key=order)))
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
    return _in_order(sorted(rest, key=_ORDERS[0]), stay)


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


# Keys by which requests are sorted: the first are placed first.
_ORDERS: tuple[Callable[[Request], float], ...] = (
    lambda r: -r.nbytes,
    lambda r: -r.nbytes * (r.last - r.first + 1),
    lambda r: r.first - r.last,
)


def _in_order(
    requests: Sequence[Request], stay: Sequence[tuple[int, int, Request]] = ()
) -> Layout:
    """Place requests in their order, each in the smallest gap while it lives.

    stay: (start, end, request) of those that have their places.
    """
    placed = sorted(stay, key=lambda place: place[0])
    offsets = {request.name: start for start, _, request in placed}
    total = max((end for _, end, _ in placed), default=0)
    for request in requests:
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
    timeline: Timeline | None = None,
    touched: Iterable[Touch] = (),
) -> tuple[Request, ...]:
    """Return what the blobs of `graph` want: `data:<buffer>`, `diff:<gradient>`.

    training: whether gradients are computed; without it there are no diff requests and
    data lives for the forward pass only.
    keep: the names of blobs that live the whole time; None is all of them, as in Caffe.
    Inputs, outputs, losses and DummyData, which may be filled once, always do, and so
    do the blobs of layers that keep them, which are written in Python.
    itemsize: bytes of a value, of all blobs or by edge.
    timeline: of training; where it computes blobs again, those have a second request,
    `redata:<buffer>`.
    touched: data that is used in other steps than those of its layers. What is never
    used has no request, if all edges in its memory are such.
    """
    kept = _Kept(graph, keep)
    timeline = timeline or plain(graph)
    size_of = itemsize if callable(itemsize) else lambda _: itemsize
    data, again = _Lives(kept, size_of), _Lives(kept, size_of)
    touched = tuple(touched)
    never = {number for number, kind, _ in touched if kind == "never"}
    for edge in graph.edges:
        if edge.index in never:
            continue
        data.touch(edge.buffer, edge, edge.producer)
        for reader, _ in edge.consumers:
            data.touch(edge.buffer, edge, reader)
    if training:
        for edges, step in _late_uses(graph, timeline):
            for number in edges:
                edge = graph.edges[number]
                lives = again if edge.buffer in timeline.dropped else data
                lives.touch(edge.buffer, edge, step)
    for number, kind, node in touched:
        if number in never:
            continue
        edge, late = graph.edges[number], kind == "backward"
        lives = again if late and edge.buffer in timeline.dropped else data
        step = timeline.backward_at[node] if late else node
        lives.touch(edge.buffer, edge, step)
    requests = data.requests("data", timeline.end)
    if training:
        requests += again.requests("redata", timeline.end)
        gradients = _gradient_lives(graph, kept, size_of, timeline)
        requests += gradients.requests("diff", timeline.end)
    return tuple(requests)


def _late_uses(
    graph: Graph, timeline: Timeline
) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield edges that nodes use after the forward pass, and in which step."""
    for node in graph.nodes:
        if node.backward:
            yield backward_reads(node), backward_step(graph, node, timeline)
        if node.index in timeline.again_at:
            yield (*node.bottoms, *node.tops), timeline.again_at[node.index]


def backward_step(graph: Graph, node: Node, timeline: Timeline) -> int:
    """Return the last step that may do what a node does backward.

    A ReLU in place on a sum may run as one with the gradient of the sum, which writes
    other memory while it reads the sum.
    """
    sources = [graph.edges[edge].producer for edge in node.bottoms]
    below = graph.nodes[sources[0]] if sources else node
    joined = node.type == "ReLU" and below.type == "Eltwise" and below.backward
    return timeline.backward_at[(below if joined else node).index]


def backward_reads(node: Node) -> tuple[int, ...]:
    """Return the edges whose data the gradient of a node reads."""
    bottoms = [node.bottoms[place] for place in node.op.backward_bottoms]
    return (*bottoms, *(node.tops[place] for place in node.op.backward_tops))


def saved_requests(
    graph: Graph, saved: Mapping[int, Mapping[str, int]], timeline: Timeline
) -> list[Request]:
    """Return the requests of what layers keep beside blobs from forward to backward.

    saved: its bytes by node and name. What a layer keeps that runs again is of no use
    before, and has a second request, `resaved:<node>:<name>`. With such layers all of
    it lives one step longer at the beginning, as the layer ahead may write it.
    """
    requests = []
    ahead = 1 if timeline.dropped else 0
    for index, sizes in saved.items():
        again = timeline.again_at.get(index)
        first = index if again is None else again
        last = timeline.backward_at[index] if graph.nodes[index].backward else first
        end = last if again is None else index
        for name, nbytes in sizes.items():
            start = max(0, index - ahead)
            requests.append(Request(f"saved:{index}:{name}", nbytes, start, end))
            if again is not None:
                start = again - ahead
                one = Request(f"resaved:{index}:{name}", nbytes, start, last)
                requests.append(one)
    return requests


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
    graph: Graph, kept: _Kept, itemsize: Callable[[Edge], int], timeline: Timeline
) -> _Lives:
    """Note when gradients are written, by consumers, and read, by producers."""
    at = timeline.backward_at
    lives = _Lives(kept, itemsize)
    for edge in graph.edges:
        writers = _writers(graph, edge)
        for node in writers:
            lives.touch(edge.gradient, edge, at[node])
        producer = graph.nodes[edge.producer]
        if not producer.backward:
            continue
        if writers:
            lives.touch(edge.gradient, edge, at[producer.index])
        elif _stays(graph, edge, kept.weighted):
            # Nobody writes it: it stays as it was filled, with a loss weight or zeros.
            lives.touch(edge.gradient, edge, at[producer.index])
            lives.keep(edge.gradient)
    return lives
