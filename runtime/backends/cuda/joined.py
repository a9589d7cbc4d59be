"""Small pieces of work of all layers as one launch, in whole passes."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import Any

from netspec.graph import Graph
from netspec.graph.memory import Touch
from runtime.backends.base import Fusion
from runtime.backends.cuda.machine.device import Device
from runtime.backends.cuda.machine.launch import Call
from runtime.backends.cuda.together import Together
from runtime.layers.base import Kernel

Calls = Mapping[int, Sequence[Call]]


class Joined:
    """What other layers run as, with small pieces of their work taken together.

    Forward, all working copies of parameters are made ahead of the first layer that has
    one. Back, partial sums are added up and gradients brought back behind the last; but
    those that are added one after the other to the same parameter stay where they are.
    """

    def __init__(
        self,
        device: Device,
        graph: Graph,
        kernels: Sequence[Kernel[Any]],
        inner: Fusion,
    ) -> None:
        self._device, self._kernels, self._inner = device, kernels, inner
        self._stale = graph.stale
        shared = [p for p in graph.parameters if len(p.users) > 1]
        self._shared = {user.node for one in shared for user in one.users}

    def forward(self) -> Calls:
        """Return other calls for some nodes."""
        nodes = range(len(self._kernels))
        calls = dict(self._inner.forward())
        others = set(calls)
        for node in nodes:
            if node not in calls and node not in self._stale:
                calls[node] = self._kernels[node].forward_calls() or ()
        return self._taken_together(calls, list(nodes), others, ahead=True)

    def backward(self, flags: Mapping[int, Sequence[bool]]) -> Calls:
        """Return other calls for some nodes; see `Fusion.backward`."""
        calls = dict(self._inner.backward(flags))
        others = set(calls)
        for node, accumulate in flags.items():
            if node not in calls:
                calls[node] = self._kernels[node].backward_calls(accumulate) or ()
        order = sorted(flags, reverse=True)
        return self._taken_together(calls, order, others, ahead=False)

    def left_out(self) -> Sequence[tuple[Sequence[int], Sequence[int]]]:
        """Return none: what is kept is written."""
        return ()

    def divide(self, again: Container[int]) -> None:
        """Do nothing: no layers run again here."""

    def settled(self) -> Collection[int]:
        """Return none: all blobs have memory."""
        return ()

    def touched(self) -> Iterable[Touch]:
        """Return what the groups use at other steps; see `Fusion.touched`."""
        return self._inner.touched()

    def _taken_together(
        self, calls: Calls, order: Sequence[int], others: set[int], *, ahead: bool
    ) -> Calls:
        found: dict[Any, list[Any]] = {}
        changed: dict[int, Sequence[Call]] = dict(calls)
        having = []
        for node in order:
            own = calls.get(node, ())
            several = [one for one in own if isinstance(one, Together)]
            if not several or (not ahead and self._adds(node, several)):
                continue
            having.append(node)
            for one in several:
                for piece in one.pieces:
                    found.setdefault((type(one), piece.group), []).append(piece)
            changed[node] = [one for one in own if not isinstance(one, Together)]
        joined = [kind(self._device, pieces) for (kind, _), pieces in found.items()]
        if joined and ahead:
            changed[having[0]] = [*joined, *changed[having[0]]]
        elif joined:
            changed[having[-1]] = [*changed[having[-1]], *joined]
        return {node: changed[node] for node in others.union(having)}

    def _adds(self, node: int, several: Sequence[Together]) -> bool:
        """Whether the gradients of a node come one after another to the same place."""
        targets = [id(piece.target) for one in several for piece in one.pieces]
        return node in self._shared or len(targets) != len(set(targets))
