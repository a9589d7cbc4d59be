"""The plans of a net by the shapes of what brings it data, as many as are kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from netspec.errors import SpecError
from netspec.graph import Graph
from netspec.ops.base import Shape
from runtime.arena import Arena, Arenas
from runtime.backends import Backend
from runtime.execution.buckets import Completion
from runtime.execution.plan import Plan, Prepared
from runtime.execution.plan_memory import SharedMemory

PLANS = 64  # kept by default
OWN_BYTES = 64 * 2**20  # that plans may have beside the arena, at least
OWN_SHARE = 4  # of the arena, a part

Tops: TypeAlias = tuple[Shape, ...]
Late: TypeAlias = tuple[tuple[int, Tops], ...]  # by node, those known only when it runs


@dataclass(eq=False)
class Kept:
    """A graph and its plans, each in an arena of its own; mostly there is one.

    sources: the shapes of the tops of all layers that bring data. late: those of
    layers that learn their sizes when they run. views: of blobs, by plan.
    """

    sources: Mapping[str, Shape]
    late: Late
    graph: Graph
    plans: list[Plan] = field(default_factory=list)
    views: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    def drop_gone(self, arenas: Arenas) -> None:
        """Let the plans go whose memory is not there any more."""
        gone = [plan for plan in self.plans if plan.arena not in arenas]
        for plan in gone:
            self.plans.remove(plan)
            self.views.pop(id(plan), None)

    def usable(self, arenas: Arenas, suits: Callable[[Plan], bool]) -> Plan | None:
        """Return a plan whose memory is there, and not what callers have kept."""
        self.drop_gone(arenas)
        for plan in self.plans:
            if may_enter(plan.arena, plan) and suits(plan):
                return plan
        return None


def may_enter(arena: Arena, plan: Plan) -> bool:
    """Say whether a plan may write into an arena.

    Arrays that callers have must be its own, in the same place.
    """
    lent = arena.lent
    if not lent or arena.owner is plan:
        return True
    own = set(plan.lies.values())
    return all(place in own for place in lent)


class KeptPlans:
    """Plans of shapes that were seen before; the least recently used go first.

    limit: how many shapes are kept. Beside the arena, which all share, each plan has
    the tables of its kernels and what they keep, together at most `OWN_BYTES` or the
    part `OWN_SHARE` of the arena, whichever is more; with a `budget` no plans stay that
    take all of them beyond so many bytes. `compiled` and `built` count the plans that
    were compiled and the graphs that were built.
    """

    budget: int | None = None

    def __init__(self, backend: Backend, limit: int) -> None:
        if limit < 1:
            raise SpecError(
                f"plans is {limit}; give the number of shapes whose plans are kept, at "
                f"least 1"
            )
        self.limit = limit
        self.compiled = self.built = 0
        self.completion = Completion()
        self._backend = backend
        self._kept: OrderedDict[int, Kept] = OrderedDict()
        self.forget()

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Kept]:
        return iter(self._kept.values())

    def forget(self) -> None:
        """Let all plans go, with their memory and what they prepared."""
        self._kept.clear()
        self.shared = SharedMemory(Arenas(self._backend))
        self.prepared = Prepared()

    @property
    def nbytes(self) -> int:
        """Bytes of the blobs of all plans, and of what layers need beside them."""
        own = sum(plan.own_bytes for kept in self for plan in kept.plans)
        states = sum(int(state.nbytes) for state in self.shared.states.values())
        return self.shared.arenas.nbytes + own + states

    def find(self, sources: Mapping[str, Shape], late: Late) -> Kept | None:
        """Return what was last used with these shapes.

        late: of the layers whose shapes are known so far.
        """
        for one in reversed(self._kept.values()):
            if one.sources == sources and one.late[: len(late)] == late:
                return one
        return None

    def let_go(self) -> None:
        """Let the plans go whose memory is not there any more."""
        for kept in self:
            kept.drop_gone(self.shared.arenas)

    def use(self, kept: Kept) -> None:
        """Note that this is the one in use; let others go if there are too many."""
        key = id(kept)
        if key in self._kept:
            self._kept.move_to_end(key)
        else:
            self._kept[key] = kept
        while len(self._kept) > 1 and self._too_many():
            self._kept.popitem(last=False)

    def _too_many(self) -> bool:
        if len(self._kept) > self.limit:
            return True
        if self.budget is not None and self.nbytes > self.budget:
            return True
        own = sum(plan.table_bytes for kept in self for plan in kept.plans)
        return own > max(OWN_BYTES, self.shared.arenas.nbytes // OWN_SHARE)


def late_of(graph: Graph, late: Sequence[int]) -> Late:
    """Return the shapes of the tops of some nodes."""
    return tuple((index, tuple(graph.nodes[index].op.tops)) for index in late)
