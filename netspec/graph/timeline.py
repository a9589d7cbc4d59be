"""The order of the steps of a net in training, those included that compute again.

What backward reads and nobody kept is computed once more, by the same layers, right
before the first step that needs it. A blob has then two lives: from its first writer to
its last reader forward, and from when it is computed again to its last reader backward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from netspec.graph.types import Graph

Kind: TypeAlias = Literal["forward", "again", "backward"]


@dataclass(frozen=True)
class Timeline:
    """Steps in their order: kind and node.

    All layers run forward first, in the order of the graph, then backward from the
    last; in between some run forward `again`. dropped: the buffers that are not kept
    for backward; where `again` steps write them, they have a second life.
    """

    steps: tuple[tuple[Kind, int], ...]
    dropped: frozenset[int] = frozenset()

    @property
    def end(self) -> int:
        """The number of the last step."""
        return len(self.steps) - 1

    @cached_property
    def backward_at(self) -> Mapping[int, int]:
        """The step in which each node runs backward."""
        return self._places("backward")

    @cached_property
    def again_at(self) -> Mapping[int, int]:
        """The step in which each node that runs again does so."""
        return self._places("again")

    def _places(self, kind: Kind) -> dict[int, int]:
        return {
            node: place for place, (what, node) in enumerate(self.steps) if what == kind
        }


def plain(graph: Graph) -> Timeline:
    """Return the order in which nothing is computed again."""
    nodes = range(len(graph.nodes))
    forward: list[tuple[Kind, int]] = [("forward", node) for node in nodes]
    return Timeline((*forward, *(("backward", node) for node in reversed(nodes))))
