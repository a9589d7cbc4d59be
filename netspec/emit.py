"""Recorded calls to a flat list of layers: order, names, and what only they show.

Order: as tops were assigned, and before each layer the layers that it needs. Names: as
assigned; a top without a name is called by its type and a number, counted by type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from netspec.errors import SpecError
from netspec.record import write_params
from netspec.rules import may_meet
from netspec.schema import LayerParameter, NetParameter
from netspec.site import Site
from netspec.top import Function, Top, describe


@dataclass(frozen=True)
class Root:
    """Something to emit with all that it needs.

    scope: what to put before the names that are not assigned ("inception_3a/").
    """

    value: Top | Function
    scope: str = ""


@dataclass(frozen=True)
class Lost:
    """A top whose name another one took."""

    name: str
    first: Site
    second: Site


@dataclass
class Emission:
    """The layers so far, and what is known of their blobs.

    writers: for every blob name the tops that wrote it, in order.
    """

    names: Mapping[Top | Function, str]
    lost: Mapping[Top, Lost] = field(default_factory=dict)
    layers: dict[Function, LayerParameter] = field(default_factory=dict)
    blobs: dict[Top, str] = field(default_factory=dict)
    writers: dict[str, list[Top]] = field(default_factory=dict)
    owners: dict[str, list[Function]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.taken = frozenset(self.names.values())

    def name_of(self, value: Top | Function, scope: str) -> str:
        """Return the assigned name, or the next one made of the type and a number."""
        if value in self.names:
            return self.names[value]
        if isinstance(value, Top) and value in self.lost:
            raise _lost_error(value, self.lost[value])
        kind = scope + value.fn.type_name
        while True:
            self.counts[kind] += 1
            name = f"{kind}{self.counts[kind]}"
            if name not in self.taken:
                return name

    def add(self, fn: Function, scope: str) -> None:
        """Emit one layer, whose inputs have been emitted."""
        layer = LayerParameter(type=fn.type_name)
        layer.bottom.extend(self.blobs[top] for top in fn.inputs)
        name = ""
        for place, top in enumerate(fn.tops):
            if fn.writes_over(place):
                self.blobs[top] = self.blobs[fn.inputs[place]]
                assigned = self.name_of(top, scope) if place == 0 else ""
            else:
                assigned = self.blobs[top] = self.name_of(top, scope)
            layer.top.append(self.blobs[top])
            name = name or assigned
        layer.name = name or self.name_of(fn, scope)
        problems = write_params(layer, fn)
        if problems:
            raise SpecError(
                f"{describe(fn, layer.name)}: " + "\n  and: ".join(problems)
            )
        if "name" in fn.params:
            layer.name = scope + layer.name
        self.layers[fn] = layer
        self._check_reads(fn, layer)
        self._check_writes(fn, layer)

    def _check_reads(self, fn: Function, layer: LayerParameter) -> None:
        """Refuse to read a blob as it was before a layer changed it in place."""
        for top in fn.inputs:
            writers = self.writers[self.blobs[top]]
            if writers[-1] is top:
                continue
            for later in writers[writers.index(top) + 1 :]:
                if later.fn.writes_over(later.n) and may_meet(
                    layer, self.layers[later.fn]
                ):
                    raise _branch_error(fn, layer, later, self.layers[later.fn])

    def _check_writes(self, fn: Function, layer: LayerParameter) -> None:
        """Refuse a second layer of a name and type, or source of a blob, in one net.

        Layers of different types may share a name, as those of published nets do.
        """
        for owner in self.owners.setdefault(layer.name, []):
            same = owner.type_name == fn.type_name
            read = fn.from_file and owner.from_file  # Caffe lets them be
            if same and not read and may_meet(layer, self.layers[owner]):
                raise SpecError(
                    f"{describe(fn, layer.name)}: another {owner.type_name} layer of "
                    f"this name is at {owner.site}; give each its own, or rules "
                    f"(include, exclude) that keep them apart"
                )
        self.owners[layer.name].append(fn)
        for top in fn.tops:
            writers = self.writers.setdefault(self.blobs[top], [])
            for other in writers if not fn.writes_over(top.n) else ():
                if may_meet(layer, self.layers[other.fn]):
                    raise SpecError(
                        f"{describe(fn, layer.name)}: makes blob {self.blobs[top]!r}, "
                        f"as the layer at {other.fn.site} does; give each its own name"
                    )
            writers.append(top)


def to_proto(*tops: Top | Function) -> NetParameter:
    """Return the net of `tops` and all that they need, with made-up names."""
    net = NetParameter()
    net.layer.extend(emit([Root(top) for top in tops], Emission({})))
    return net


def emit(roots: Iterable[Root], emission: Emission) -> Iterable[LayerParameter]:
    """Emit `roots` in order, each after all that it needs, and return the layers."""
    for root in roots:
        for fn in needed(root.value.fn, emission.layers):
            emission.add(fn, root.scope)
    return emission.layers.values()


def needed(root: Function, done: Mapping[Function, object]) -> Iterator[Function]:
    """Yield what `root` needs and then itself, without what is `done`, depth first."""
    stack = [(root, 0)]
    while stack:
        fn, place = stack.pop()
        if fn in done:
            continue
        while place < len(fn.inputs) and fn.inputs[place].fn in done:
            place += 1
        if place == len(fn.inputs):
            yield fn
        else:
            stack.append((fn, place + 1))
            stack.append((fn.inputs[place].fn, 0))


def unused(emission: Emission) -> Iterator[Top]:
    """Yield the tops that no layer reads."""
    read = {top for fn in emission.layers for top in fn.inputs}
    for writers in emission.writers.values():
        # Sources of one blob in different phases are read together or not at all.
        sources = [top for top in writers if not top.fn.writes_over(top.n)]
        if not any(top in read for top in sources):
            yield from sources[:1]
        changed = (top for top in writers if top.fn.writes_over(top.n))
        yield from (top for top in changed if top not in read)


def _lost_error(top: Top, lost: Lost) -> SpecError:
    return SpecError(
        f"{describe(top.fn, lost.name)}: lost its name, {lost.name!r}, which was "
        f"assigned at {lost.first} and again at {lost.second}, and other layers still "
        f"need it; give each top its own name, or rules (include, exclude) that keep "
        f"their layers apart"
    )


def _branch_error(
    fn: Function, layer: LayerParameter, later: Top, changer: LayerParameter
) -> SpecError:
    blob = changer.top[later.n]
    return SpecError(
        f"{describe(fn, layer.name)}: reads blob {blob!r} as it was before layer "
        f"{changer.name!r} ({changer.type}), {later.fn.site}, changed it in place; "
        f"read n[{changer.name!r}] instead, or write that layer without in_place=True"
    )
