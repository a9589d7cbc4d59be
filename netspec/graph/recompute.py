"""Which blobs are dropped after the forward pass and computed again for backward.

Which units (see `units`) are dropped is decided in two stages. First the net is cut
into segments at places where little is alive, with everything within them dropped; of
several ways to cut it, those that fit go on. Then units are kept again, first those
that take the longest time for each byte, as long as all fits.

Nothing here holds an array: times are estimates, and memory is that of the layout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from netspec.errors import SpecError
from netspec.graph.dropping import Facts, Search
from netspec.graph.memory import FLOAT_BYTES, lay_out, requests_of, saved_requests
from netspec.graph.timeline import Timeline, plain
from netspec.graph.types import Graph, Node
from netspec.room import in_words

TRIED = 6  # ways to cut the net of which others are made
ROUNDS = 8  # of layouts, which are larger than what is alive at once
NEARLY = 0.98  # of a budget, with which one is content
FactsOf: TypeAlias = Callable[[Graph], Facts]


class LimitError(SpecError):
    """A limit of memory that cannot be met; knows the `least`, in bytes, that can."""

    least: int = 0
    _words: tuple[str, str, str] = ("", "", "")

    @classmethod
    def told(cls, least: int, words: tuple[str, str, str]) -> LimitError:
        """Return the error; words: what is around the places that tell the least."""
        start, middle, end = words
        error = cls(f"{start}{least} bytes ({in_words(least)}){middle}{least}{end}")
        error.least, error._words = least, words
        return error

    def beside(self, others: int) -> LimitError:
        """Return this error where so many bytes are taken by others."""
        return self.told(self.least + others, self._words)


@dataclass(frozen=True)
class Recomputation:
    """What is computed again, in which graph, and what it costs.

    graph: the one given, or one in which normalization is not in place. share: the part
    of the time of a step that it takes more, an estimate. total_bytes: the memory of
    all blobs and of what layers save. beside: what layers have beside that.
    """

    graph: Graph
    timeline: Timeline
    total_bytes: int
    share: float
    beside: int = 0

    @property
    def own_bytes(self) -> int:
        """All that a net takes beside parameters."""
        return self.total_bytes + self.beside

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers that run again, in their order."""
        return tuple(self.graph.nodes[one].name for one in sorted(self.again))

    @property
    def again(self) -> frozenset[int]:
        """The nodes that run again."""
        return frozenset(self.timeline.again_at)

    def __str__(self) -> str:
        if not self.again:
            return "nothing is computed again"
        types = Counter(self.graph.nodes[one].type for one in self.again)
        listed = ", ".join(f"{number} {name}" for name, number in types.most_common())
        return (
            f"{len(self.again)} layers are computed again in backward, about "
            f"{self.share:.0%} of a step more ({listed})"
        )


def recompute(
    graph: Graph,
    keep: Container[str] | None,
    facts: FactsOf,
    budget: int,
    itemsize: int = FLOAT_BYTES,
) -> Recomputation:
    """Choose what is computed again so that blobs and saved arrays fit into `budget`.

    keep, itemsize: as of `requests_of`. facts: returns what kernels say of a graph.

    The result is above the budget where nothing that was tried fits: then it is the
    smallest of all. Nothing is computed again in a net of which nothing runs backward,
    whose blobs live as short as can be, nor where layers do not suit their bottoms.
    """
    problem = _Problem(keep, facts, itemsize)
    found = problem.laid_out(graph, plain(graph), 0.0)
    if found.total_bytes <= budget or not trains(graph) or graph.stale:
        return found
    apart = with_norms_apart(graph)
    graphs = [graph] if apart is graph else [graph, apart]
    searches = [Search(one, keep, facts(one), itemsize) for one in graphs]
    starts = [
        _Start(*search.cost(dropped), problem, search, dropped)
        for search in searches
        for dropped in search.starts()
    ]
    fitting = _fitting(starts, budget)
    if fitting is not None:
        return fitting
    least = [one.laid_out() for one in sorted(starts, key=lambda one: one.most)[:TRIED]]
    return min([found, *least], key=lambda one: one.total_bytes)


def _fitting(starts: Sequence[_Start], budget: int) -> Recomputation | None:
    """Return what takes the least time of what was found to fit, or None.

    Layouts have gaps, so that what is alive at once must be below some goal that is
    less than the budget; the goal is closed in on from both sides.
    """
    found: list[Recomputation] = []
    low = min(one.most for one in starts)
    high = goal = budget
    for _ in range(ROUNDS):
        best = _filled(starts, goal)
        if best is None:
            break
        laid_out = best.laid_out()
        over = laid_out.total_bytes - budget
        if over <= 0:
            found.append(laid_out)
            low = goal
            if goal == budget or laid_out.total_bytes > NEARLY * budget:
                break
            goal = (low + high) // 2
        else:
            high, first = goal, goal == budget
            goal = max(low, goal - over) if first else (low + high) // 2
    return min(found, key=lambda one: one.share, default=None)


def trains(graph: Graph) -> bool:
    """Tell whether anything of a net runs backward."""
    return any(node.backward for node in graph.nodes)


def too_small(
    graph: Graph, limit: int, least: int, found: Recomputation, hint: str = ""
) -> LimitError:
    """Return the error of a limit that is below what a net can do with.

    least: in bytes, a limit that can be met. hint: what more can be done.
    """
    how, doing = "with nothing that could be computed again", "to train"
    if found.again:
        how = f"with {len(found.again)} layers computed again in backward"
    if not trains(graph):
        how, doing = "nothing of it runs backward", "to run"
    smaller = f"use a smaller batch{hint}"
    start = f"memory_limit is {in_words(limit)}, but {doing} net {graph.name!r} takes "
    words = f"{start}at least ", f", {how}; give at least '", f"', or {smaller}"
    return LimitError.told(least, words)


@dataclass(frozen=True)
class _Problem:
    """What is given, beside a graph; see `recompute`."""

    keep: Container[str] | None
    facts: FactsOf
    itemsize: int

    def laid_out(self, graph: Graph, timeline: Timeline, share: float) -> Recomputation:
        facts = self.facts(graph)
        requests = [
            *requests_of(
                graph,
                training=True,
                keep=self.keep,
                itemsize=self.itemsize,
                timeline=timeline,
                touched=facts.touched,
            ),
            *saved_requests(graph, facts.saved, timeline),
        ]
        return Recomputation(graph, timeline, lay_out(requests).total_bytes, share)


@dataclass(frozen=True)
class _Start:
    """Units to drop, the most bytes alive then, and the time that it takes more."""

    most: int
    seconds: float
    problem: _Problem
    search: Search
    dropped: frozenset[int]

    def laid_out(self) -> Recomputation:
        search = self.search
        timeline, seconds = search.timeline(self.dropped)
        share = seconds / search.step_seconds
        return self.problem.laid_out(search.graph, timeline, share)


def _filled(starts: Sequence[_Start], goal: int) -> _Start | None:
    """Return what takes the least time of those that fit, with all kept that can be."""
    fitting = sorted(
        (one for one in starts if one.most <= goal), key=lambda one: one.seconds
    )
    filled = []
    for one in fitting[:TRIED]:
        dropped = one.search.filled(one.dropped, goal)
        cost = one.search.cost(dropped)
        filled.append(_Start(*cost, one.problem, one.search, dropped))
    return min(filled, key=lambda one: one.seconds, default=None)


def with_norms_apart(graph: Graph) -> Graph:
    """Return a graph in which what normalizes by the batch is not in place.

    In place, it cannot run again without the layer below it. Otherwise the values below
    are all that must be kept, for it and for its gradient.
    """
    moved: dict[int, int] = {}
    edges, nodes = list(graph.edges), list(graph.nodes)
    for node in graph.nodes:
        if node.op.alias and node.bottoms:
            own = moved.get(node.bottoms[0])
        elif _normalizes_by_batch(graph, node):
            op = replace(node.op, reads_bottom=True)  # type: ignore[call-arg]
            nodes[node.index] = replace(node, op=op)
            own = node.tops[0]
        elif len(node.bottoms) and edges[node.bottoms[0]].buffer != (
            graph.edges[node.bottoms[0]].buffer
        ):
            own = edges[node.bottoms[0]].buffer
        else:
            continue
        if own is None:
            continue
        before = graph.edges[node.bottoms[0]].buffer
        for top in node.tops:
            if graph.edges[top].buffer == before:
                edges[top] = replace(edges[top], buffer=own)
                moved[top] = own
    if not moved:
        return graph
    return replace(graph, nodes=tuple(nodes), edges=tuple(edges))


def _normalizes_by_batch(graph: Graph, node: Node) -> bool:
    if node.type not in ("BatchNorm", "BN") or node.index in graph.stale:
        return False
    if node.op.statistics != "batch" or not node.backward:  # type: ignore[attr-defined]
        return False
    source = graph.edges[node.bottoms[0]]
    below = graph.nodes[source.producer]
    given = below.op.is_source or below.type == "Input"
    return source.buffer == graph.edges[node.tops[0]].buffer and not given
