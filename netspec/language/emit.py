"""Recorded calls to a flat list of layers: order, names, and what only they show.

Order: as tops were assigned, and before each layer the layers that it needs; the layers
of a module as they were written. Names: as assigned; a top without a name is called by
its type and a number, counted by type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netspec.errors import SpecError
from netspec.language.calls import Function, Top, describe
from netspec.language.record import write_params
from netspec.language.scope import Scope, made_in
from netspec.language.sharing import check_named, write_names
from netspec.nets import may_meet
from netspec.schema import LayerParameter, NetParameter
from netspec.site import Site, warn_at

if TYPE_CHECKING:
    from netspec.net_spec import NetSpec


@dataclass(frozen=True)
class Root:
    """Something to emit with all that it needs.

    prefix: what to put before the names that are not assigned ("inception_3a/").
    """

    value: Top | Function
    prefix: str = ""


@dataclass(frozen=True)
class Lost:
    """A top whose name another one took."""

    name: str
    first: Site
    second: Site


@dataclass
class Emission:
    """The layers so far, and what is known of their blobs.

    names: those that are assigned. prefixes: of the NetSpecs that are emitted, what
    stands before the names in them. paths: the same for calls of modules. writers: for
    every blob name the tops that wrote it, in order.
    """

    names: dict[Top | Function, str] = field(default_factory=dict)
    lost: dict[Top, Lost] = field(default_factory=dict)
    prefixes: dict[NetSpec, str] = field(default_factory=dict)
    paths: dict[Scope, str] = field(default_factory=dict)
    layers: dict[Function, LayerParameter] = field(default_factory=dict)
    blobs: dict[Top, str] = field(default_factory=dict)
    writers: dict[str, list[Top]] = field(default_factory=dict)
    owners: dict[str, list[Function]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    taken: set[str] | None = None
    opened: set[Scope] = field(default_factory=set)

    def name_of(self, value: Top | Function, prefix: str) -> str:
        """Return the assigned name, or the next one made of the type and a number."""
        if value in self.names:
            return self.names[value]
        if isinstance(value, Top) and value in self.lost:
            raise _lost_error(value, self.lost[value])
        for scope in value.fn.scope.chain() if value.fn.scope is not None else ():
            if value in scope.named:
                spec, key = scope.named[value]
                return self.prefix_of(spec, prefix) + key
        if value.fn.scope is not None:
            prefix = self.path_of(value.fn.scope, prefix)
            if "name" in value.fn.params:
                place = value.n if isinstance(value, Top) else 0
                return f"{prefix}{value.fn.params['name']}{f'_{place}' * (place > 0)}"
        return self._numbered(prefix + value.fn.type_name)

    def _layer_name(self, fn: Function, prefix: str) -> str:
        if fn.scope is None or "name" in fn.params or fn in fn.scope.named:
            return self.name_of(fn, prefix)
        return self._numbered(self.path_of(fn.scope, prefix) + fn.type_name)

    def _numbered(self, kind: str) -> str:
        taken = self._taken()
        while True:
            self.counts[kind] += 1
            name = f"{kind}{self.counts[kind]}"
            if name not in taken:
                return name

    def _taken(self) -> set[str]:
        """Return the names that are given, those of folders and modules included."""
        if self.taken is None:
            paths = (*self.paths.values(), *self.prefixes.values())
            self.taken = {*self.names.values(), *(path[:-1] for path in paths)}
        return self.taken

    def prefix_of(self, spec: NetSpec, prefix: str) -> str:
        """Return what stands before the names in a NetSpec.

        `prefix` is that of the place where it is read, for what was never assigned.
        """
        if spec not in self.prefixes:
            folder, scope = made_in(spec)
            if folder is not None:
                parent, key = folder
                self.prefixes[spec] = f"{self.prefix_of(parent, prefix)}{key}/"
            elif scope is not None:
                self.prefixes[spec] = self.path_of(scope, prefix)
            else:
                return ""
        return self.prefixes[spec]

    def path_of(self, scope: Scope, prefix: str) -> str:
        """Return the path of a call of a module, with a slash at its end."""
        if scope not in self.paths:
            if scope.assigned is not None and not scope.name:
                spec, key = scope.assigned
                self.paths[scope] = f"{self.prefix_of(spec, prefix)}{key}/"
            else:
                outer = scope.parent
                before = prefix if outer is None else self.path_of(outer, prefix)
                name = scope.name and before + scope.name
                self._taken().add(name)
                name = name or self._numbered(before + scope.label)
                self.paths[scope] = f"{name}/"
        return self.paths[scope]

    def add(self, fn: Function, prefix: str) -> None:
        """Emit one layer, whose inputs have been emitted."""
        layer = LayerParameter(type=fn.type_name)
        layer.bottom.extend(self.blobs[top] for top in fn.inputs)
        name = ""
        for place, top in enumerate(fn.tops):
            if fn.writes_over(place):
                self.blobs[top] = self.blobs[fn.inputs[place]]
                assigned = self.name_of(top, prefix) if place == 0 else ""
            else:
                assigned = self.blobs[top] = self.name_of(top, prefix)
                if _is_named_outside(top):
                    assigned = ""
            layer.top.append(self.blobs[top])
            name = name or assigned
        layer.name = name or self._layer_name(fn, prefix)
        problems = write_params(layer, fn)
        if problems:
            raise SpecError(
                f"{describe(fn, layer.name)}: " + "\n  and: ".join(problems)
            )
        if "name" in fn.params:
            path = prefix if fn.scope is None else self.path_of(fn.scope, prefix)
            layer.name = path + layer.name
        self.layers[fn] = layer
        self._check_reads(fn, layer)
        self._check_writes(fn, layer)

    def complain(self, error: SpecError, fn: Function) -> None:
        """Raise what is wrong with the net, as `fn` shows, or warn of it."""
        if fn.strict:
            raise error
        warn_at(fn.site, str(error))

    def check_sharing(self) -> None:
        """Refuse parameters that share a name and cannot share values."""
        try:
            check_named(self.layers)
        except SpecError as error:
            self.complain(error, next(reversed(self.layers)))

    def _check_reads(self, fn: Function, layer: LayerParameter) -> None:
        """Refuse to read a blob as it was before a layer changed it in place."""
        for top in fn.inputs:
            writers = self.writers[self.blobs[top]]
            if writers[-1] is top:
                continue
            for later in writers[writers.index(top) + 1 :]:
                over = later.fn.writes_over(later.n)
                if over and may_meet(layer, self.layers[later.fn]):
                    changer = self.layers[later.fn]
                    self.complain(_branch_error(fn, layer, later, changer), fn)
                    break

    def _check_writes(self, fn: Function, layer: LayerParameter) -> None:
        """Refuse a second layer of a name and type, or source of a blob, in one net.

        Layers of different types may share a name, as those of published nets do.
        """
        for owner in self.owners.setdefault(layer.name, []):
            same = owner.type_name == fn.type_name
            read = fn.from_file and owner.from_file  # Caffe lets them be
            if same and not read and may_meet(layer, self.layers[owner]):
                error = SpecError(
                    f"{describe(fn, layer.name)}: another {owner.type_name} layer of "
                    f"this name is at {owner.site}; give each its own, or rules "
                    f"(include, exclude) that keep them apart"
                )
                self.complain(error, fn)
        self.owners[layer.name].append(fn)
        for top in fn.tops:
            writers = self.writers.setdefault(self.blobs[top], [])
            for other in writers if not fn.writes_over(top.n) else ():
                if may_meet(layer, self.layers[other.fn]):
                    error = SpecError(
                        f"{describe(fn, layer.name)}: makes blob {self.blobs[top]!r}, "
                        f"as the layer at {other.fn.site} does; give each its own name"
                    )
                    self.complain(error, fn)
            writers.append(top)


def to_proto(*tops: Top | Function) -> NetParameter:
    """Return the net of `tops` and all that they need, with made-up names."""
    net = NetParameter()
    net.layer.extend(emit([Root(top) for top in tops], Emission()))
    return net


def emit(roots: Iterable[Root], emission: Emission) -> Iterable[LayerParameter]:
    """Emit `roots` in order, each after all that it needs, and return the layers."""
    for root in roots:
        for fn in needed(root.value.fn, emission.layers):
            for call in _module_calls(fn, emission):
                for each in needed(call, emission.layers):
                    emission.add(each, root.prefix)
            if fn not in emission.layers:
                emission.add(fn, root.prefix)
    _emit_rest(emission)
    write_names(emission.layers)
    emission.check_sharing()
    return emission.layers.values()


def _module_calls(fn: Function, emission: Emission) -> Iterable[Function]:
    """Return all calls of the outermost module around `fn`, the first time."""
    if fn.scope is None:
        return ()
    outermost = list(fn.scope.chain())[-1]
    if outermost in emission.opened:
        return ()
    emission.opened.add(outermost)
    return outermost.calls


def _emit_rest(emission: Emission) -> None:
    """Emit what belongs to emitted layers without being needed: Silence, side tops."""
    done = 0
    while done < len(emission.layers):
        for fn in list(emission.layers)[done:]:
            done += 1
            for call in (*fn.followers, *_module_calls(fn, emission)):
                for each in needed(call, emission.layers):
                    emission.add(each, "")


def module_tops(scope: Scope) -> dict[str, Top]:
    """Return the tops of a call of a module by their names in it."""
    emission = Emission(paths={scope: ""})
    tops = [top for call in scope.calls for top in call.tops]
    return {emission.name_of(top, ""): top for top in tops if top not in scope.outside}


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


def _is_named_outside(top: Top) -> bool:
    """Tell whether the name of a blob is that of what a module returned."""
    scope = top.fn.scope
    return scope is not None and any(top in each.outside for each in scope.chain())


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
