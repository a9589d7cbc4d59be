"""Sets of units to drop, and what they cost in memory and in time."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from netspec.graph.memory import (
    Touch,
    aligned,
    backward_reads,
    backward_step,
    kept_edges,
    requests_of,
)
from netspec.graph.timeline import Kind, Timeline, plain
from netspec.graph.types import Graph
from netspec.graph.units import BACKWARD, seconds_of, units_of

# Of all that can be dropped, what a segment and what is kept may be.
SHARES = tuple(0.85**power for power in range(32))


@dataclass(frozen=True)
class Facts:
    """What kernels say of a graph.

    saved: bytes that layers save for their gradients, by node and name. touched: see
    `requests_of`. fixed: nodes that run as one with others, not to be torn apart.
    """

    saved: Mapping[int, Mapping[str, int]]
    touched: Sequence[Touch] = ()
    fixed: frozenset[int] = frozenset()


class Search:
    """What the decision asks of one graph, again and again."""

    def __init__(
        self,
        graph: Graph,
        keep: Container[str] | None,
        facts: Facts,
        itemsize: int,
    ) -> None:
        self.graph = graph
        self._saved = {
            index: sum(map(aligned, sizes.values()))
            for index, sizes in facts.saved.items()
        }
        times = [seconds_of(node) for node in graph.nodes]
        self.step_seconds = sum(
            seconds * (1 + BACKWARD * node.backward)
            for seconds, node in zip(times, graph.nodes, strict=True)
        )
        whole = {graph.edges[edge].buffer for edge in kept_edges(graph, keep)}
        self.units = tuple(
            units_of(graph, whole, times, self._saved, itemsize, facts.fixed)
        )
        self._unit_of = {
            buffer: number
            for number, unit in enumerate(self.units)
            for buffer in unit.buffers
        }
        self._unit_of_node = {
            node: number
            for number, unit in enumerate(self.units)
            for node in unit.nodes
        }
        order = plain(graph)
        requests = requests_of(graph, training=True, keep=keep, itemsize=itemsize)
        self._forward_last: dict[int, int] = {}
        for edge in graph.edges:
            last = max([edge.producer, *(reader for reader, _ in edge.consumers)])
            known = self._forward_last.get(edge.buffer, 0)
            self._forward_last[edge.buffer] = max(known, last)
        self._data, self._diff, self._always = {}, [], 0
        nodes = len(graph.nodes)
        for request in requests:
            kind, _, number = request.name.partition(":")
            size = aligned(request.nbytes)
            if request.first == 0 and request.last == order.end:
                self._always += size
            elif kind == "data":
                self._data[int(number)] = (size, request.first)
            else:
                first, last = (2 * nodes - 1 - s for s in (request.first, request.last))
                self._diff.append((size, first, last))
        self._reads = [
            tuple({graph.edges[one].buffer for one in backward_reads(node)})
            if node.backward
            else ()
            for node in graph.nodes
        ]
        # What a Split, a ReLU and a sum read backward is there for all at once, as they
        # may run as one when the first of them does.
        self._needs = list(self._reads)
        for node in graph.nodes:
            if node.type in ("ReLU", "Split"):
                below = graph.nodes[graph.edges[node.bottoms[0]].producer]
                if below.type in ("ReLU", "Eltwise"):
                    self._needs[node.index] += self._needs[below.index]
        self._read_in = [
            2 * nodes - 1 - backward_step(graph, node, order) for node in graph.nodes
        ]

    def starts(self) -> Iterator[frozenset[int]]:
        """Yield sets of units to drop: all but those alive between segments.

        The segments are as long as what is kept and the segment itself are below some
        size, so that the first, which come last in backward, are the longest.
        """
        every = frozenset(range(len(self.units)))
        written = [0] * len(self.graph.nodes)
        for unit in self.units:
            written[unit.nodes[-1]] += unit.nbytes
        alive = self._alive()
        seen = set()
        for share in SHARES:
            dropped = every - self._kept(written, alive, sum(written) * share)
            if dropped not in seen:
                seen.add(dropped)
                yield dropped

    def _kept(
        self,
        written: Sequence[int],
        alive: Sequence[tuple[int, frozenset[int]]],
        most: float,
    ) -> set[int]:
        """Return the units that are alive where segments end.

        written: bytes of units, by the node that ends them. alive: see `_alive`.
        """
        kept: set[int] = set()
        kept_bytes, start = 0, 0
        while True:
            segment = 0
            ends: list[tuple[int, int]] = []
            for node in range(start, len(written)):
                segment += written[node]
                if kept_bytes + segment > most and ends:
                    break
                ends.append((node, segment))
            else:
                return kept
            late = [node for node, size in ends if 2 * size >= ends[-1][1]]
            best = min(late, key=lambda node: (alive[node][0], -node))
            new = alive[best][1] - kept
            kept |= new
            kept_bytes += sum(self.units[one].nbytes for one in new)
            start = best + 1

    def _alive(self) -> list[tuple[int, frozenset[int]]]:
        """Return the bytes and the units that are alive forward, behind each node."""
        found = []
        for node in range(len(self.graph.nodes)):
            there = [
                (size, buffer)
                for buffer, (size, first) in self._data.items()
                if first <= node < self._forward_last[buffer]
            ]
            units = {self._unit_of.get(buffer) for _, buffer in there} - {None}
            numbers = frozenset(one for one in units if one is not None)
            found.append((sum(size for size, _ in there), numbers))
        return found

    def timeline(self, dropped: frozenset[int]) -> tuple[Timeline, float]:
        """Return the steps where some units are dropped, and the time it takes more."""
        units = self.units
        steps: list[tuple[Kind, int]] = [
            ("forward", node) for node in range(len(self.graph.nodes))
        ]
        done: set[int] = set()
        seconds = 0.0
        for node in range(len(self.graph.nodes) - 1, -1, -1):
            wanted = {self._unit_of.get(buffer) for buffer in self._needs[node]}
            if self.graph.nodes[node].backward and node in self._saved:
                wanted.add(self._unit_of_node.get(node))
            todo = [one for one in wanted if one in dropped and one not in done]
            again: list[int] = []
            while todo:
                number = todo.pop()
                if number is None or number in done:
                    continue
                done.add(number)
                again += units[number].nodes
                seconds += units[number].seconds
                for buffer in units[number].needs:
                    other = self._unit_of.get(buffer)
                    if other in dropped and other not in done:
                        todo.append(other)
            steps += (("again", one) for one in sorted(again))
            steps.append(("backward", node))
        buffers = (buffer for number in dropped for buffer in units[number].buffers)
        return Timeline(tuple(steps), frozenset(buffers)), seconds

    def cost(self, dropped: frozenset[int]) -> tuple[int, float]:
        """Return the most bytes alive at once, and the time that it takes more."""
        timeline, seconds = self.timeline(dropped)
        back, again = timeline.backward_at, timeline.again_at
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for node in self.graph.nodes:
            index = node.index
            for buffer in self._reads[index]:
                step = back[self._read_in[index]]
                first[buffer] = min(first.get(buffer, step), back[index])
                last[buffer] = max(last.get(buffer, 0), step)
            if index in again:
                step = again[index]
                for edge in (*node.bottoms, *node.tops):
                    buffer = self.graph.edges[edge].buffer
                    first[buffer] = min(first.get(buffer, step), step)
                    last[buffer] = max(last.get(buffer, 0), step)
        changes = [0] * (len(timeline.steps) + 1)

        def note(size: int, start: int, end: int) -> None:
            changes[start] += size
            changes[end + 1] -= size

        for buffer, (size, start) in self._data.items():
            forward = self._forward_last[buffer]
            if buffer not in timeline.dropped:
                note(size, start, max(forward, last.get(buffer, 0)))
                continue
            note(size, start, forward)
            if buffer in first:
                note(size, first[buffer], last[buffer])
        for size, start, end in self._diff:
            note(size, back[start], back[end])
        for index, size in self._saved.items():
            there = again.get(index, index)
            end = back[index] if self.graph.nodes[index].backward else there
            if index in again:
                note(size, max(0, index - 1), index)
            note(size, max(0, there - 1), end)
        most = alive = 0
        for change in changes:
            alive += change
            most = max(most, alive)
        return most + self._always, seconds

    def filled(self, dropped: frozenset[int], goal: int) -> frozenset[int]:
        """Keep more units, the dearest ones first, while all fits."""
        timeline, _ = self.timeline(dropped)
        run = {self._unit_of_node[node] for node in timeline.again_at}
        rest = sorted(
            run,
            key=lambda one: self.units[one].seconds / max(1, self.units[one].nbytes),
        )
        at_once = 1
        while rest:
            some = rest[-at_once:]
            tried = dropped - set(some)
            if self.cost(tried)[0] <= goal:
                dropped = tried
                del rest[-at_once:]
                at_once *= 2
            elif len(some) > 1:
                at_once = len(some) // 2
            else:
                rest.pop()
        return dropped
