"""The modules of a net: which path every layer has in a drawing or a summary.

The path of a layer is what its name has before the last slash, or what a spec tells
(see `names` of `netspec.module`). Names of published nets often have no slash. There,
layers whose names begin alike, up to a `_` or `.`, are a module if they are connected
and others, of another beginning, have the same types and ends of names:
`res3b_branch2a`, `res3b_branch2b`, `res3b_branch2c` and `res3b` are one, as there is
`res3c` with the same. What lies between them and nothing else reads is in there too,
whatever its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netspec.schema import LayerParameter, NetParameter

MIN_LAYERS = 3  # of a module that names only hint at
SEPARATOR = re.compile("[_.]")


def known_paths(net: Any) -> Mapping[str, str]:
    """Return the paths that a spec tells, by the names of layers."""
    tell = getattr(type(net), "_module_paths", None)  # attributes of a spec are tops
    return {} if tell is None else dict(tell(net))


@dataclass(frozen=True)
class Told:
    """A net with the paths of modules that a spec told; it passes for the net."""

    net: NetParameter
    paths: Mapping[str, str]

    def to_proto(self) -> NetParameter:
        """Return the net."""
        return self.net

    def _module_paths(self) -> Mapping[str, str]:
        return self.paths


def module_paths(
    layers: Sequence[LayerParameter], known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the path of every layer by its name, "" for one in no module.

    known: what a spec tells. A layer in place is where the layer is whose output it
    changes, if that is in a module.
    """
    told = known or {}
    wires = _Wires(layers)
    paths: dict[str, str] = {}
    loose = []
    for index, layer in enumerate(layers):
        if wires.host[index] == index and layer.name not in paths:
            paths[layer.name] = told.get(layer.name, own_path(layer.name))
            plain = layer.name not in told and "/" not in layer.name
            if plain and not _is_split(layer):
                loose.append(index)
    paths |= _found(layers, loose, wires)
    for index, layer in enumerate(layers):
        if layer.name in paths:
            continue
        around = paths[layers[wires.host[index]].name]
        own = told.get(layer.name, own_path(layer.name))
        within = not around or f"{own}/".startswith(f"{around}/")
        within = within or layer.name in told
        paths[layer.name] = own if within else around
    return paths


def _is_split(layer: LayerParameter) -> bool:
    """Tell whether a layer only forks a blob, as a graph has them."""
    return (
        layer.type == "Split" and layer.name.endswith("_split") and bool(layer.bottom)
    )


def own_path(name: str) -> str:
    """Return what a name has before its last slash, if that is a path."""
    parts = name.split("/")
    return "/".join(parts[:-1]) if all(parts) else ""


class _Wires:
    """Which layer changes the output of which, and which reads which.

    host: of a layer in place that whose output it changes, of others themselves.
    readers, makers: of every layer that is not in place, by index.
    """

    def __init__(self, layers: Sequence[LayerParameter]) -> None:
        self.host = list(range(len(layers)))
        self.readers: list[set[int]] = [set() for _ in layers]
        self.makers: list[set[int]] = [set() for _ in layers]
        last: dict[str, int] = {}
        for index, layer in enumerate(layers):
            if _is_split(layer):
                last.update(dict.fromkeys(layer.top, last.get(layer.bottom[0], index)))
                continue
            if list(layer.bottom) == list(layer.top) and len(layer.top) == 1:
                self.host[index] = last.get(layer.top[0], index)
            if self.host[index] == index:
                for maker in {last[blob] for blob in layer.bottom if blob in last}:
                    self.readers[maker].add(index)
                    self.makers[index].add(maker)
            last.update(dict.fromkeys(layer.top, self.host[index]))


def _found(
    layers: Sequence[LayerParameter], loose: Sequence[int], wires: _Wires
) -> dict[str, str]:
    """Return the paths of layers that names only hint at."""
    groups: dict[str, list[int]] = {}
    for index in loose:
        name = layers[index].name
        for cut in (*(m.start() for m in SEPARATOR.finditer(name)), len(name)):
            groups.setdefault(name[:cut], []).append(index)
    alike: dict[frozenset[tuple[str, str]], int] = {}
    ends: dict[str, frozenset[tuple[str, str]]] = {}
    for start, members in groups.items():
        if start and len(members) >= MIN_LAYERS:
            ends[start] = frozenset(
                (layers[k].name[len(start) :], layers[k].type) for k in members
            )
            alike[ends[start]] = alike.get(ends[start], 0) + 1
    free = set(loose)
    modules: dict[str, set[int]] = {}
    for start, found in ends.items():
        if alike[found] > 1 and any(re.search("[a-zA-Z]", end) for end, _ in found):
            members_ = _with_between(groups[start], free, wires)
            if _connected(members_, wires):
                modules[start] = members_
    inside: dict[int, list[str]] = {}
    for start in sorted(modules, key=len):
        for index in modules[start]:
            inside.setdefault(index, []).append(start)
    # A row of modules and nothing else, as a stage of blocks is, is none itself.
    direct = {starts[-1] for starts in inside.values()}
    return {
        layers[index].name: _joined(start for start in starts if start in direct)
        for index, starts in inside.items()
    }


def _joined(starts: Iterable[str]) -> str:
    """Return the path of modules within each other: of a, a_b_c it is a/b_c."""
    path, before = "", ""
    for start in starts:
        path = f"{path}/{start.removeprefix(before)[1:]}" if before else start
        before = start
    return path


def _with_between(members: Sequence[int], free: set[int], wires: _Wires) -> set[int]:
    """Add the layers that read only members and that only members read."""
    own = set(members)
    between: set[int] = set()
    for index in range(members[0] + 1, members[-1]):
        makers = wires.makers[index]
        if index in free and index not in own and makers and makers <= own | between:
            between.add(index)
    for index in sorted(between, reverse=True):
        readers = wires.readers[index]
        if not (readers and readers <= own | between):
            between.discard(index)
    return own | between


def _connected(members: set[int], wires: _Wires) -> bool:
    """Tell whether all members are joined by lines between members."""
    seen = {next(iter(members))}
    todo = list(seen)
    while todo:
        index = todo.pop()
        near = (wires.readers[index] | wires.makers[index]) & members - seen
        seen |= near
        todo += near
    return len(seen) == len(members)
