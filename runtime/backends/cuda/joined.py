"""Copies of parameters of all layers as one launch, in whole passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netspec.graph import Graph
from runtime.backends.base import Fusion
from runtime.backends.cuda.layers.parameters import Copies, Copy
from runtime.backends.cuda.machine.device import Device
from runtime.backends.cuda.machine.launch import Call
from runtime.layers.base import Kernel

Calls = Mapping[int, Sequence[Call]]


class Joined:
    """What other layers run as, with the copies of parameters taken together.

    Forward, all working copies are made ahead of the first layer that has one. Back,
    all gradients are brought back behind the last; but those that are added one after
    the other to the same parameter stay where they are.
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

    def _taken_together(
        self, calls: Calls, order: Sequence[int], others: set[int], *, ahead: bool
    ) -> Calls:
        found: list[Copy] = []
        changed: dict[int, Sequence[Call]] = dict(calls)
        having = []
        for node in order:
            own = calls.get(node, ())
            copies = [one for one in own if isinstance(one, Copies)]
            if not copies or (not ahead and self._adds(node, copies)):
                continue
            having.append(node)
            found += [copy for one in copies for copy in one.copies]
            changed[node] = [one for one in own if not isinstance(one, Copies)]
        for together in _alike(found):
            call = Copies(self._device, together)
            if ahead:
                changed[having[0]] = [call, *changed[having[0]]]
            else:
                changed[having[-1]] = [*changed[having[-1]], call]
        return {node: changed[node] for node in others.union(having)}

    def _adds(self, node: int, copies: Sequence[Copies]) -> bool:
        """Whether the gradients of a node come one after another to the same place."""
        places = [id(copy.own) for one in copies for copy in one.copies]
        return node in self._shared or len(places) != len(set(places))


def _alike(copies: Sequence[Copy]) -> list[list[Copy]]:
    """Return copies by storage, as a launch takes them."""
    found: dict[str, list[Copy]] = {}
    for copy in copies:
        found.setdefault(copy.place.storage, []).append(copy)
    return list(found.values())
