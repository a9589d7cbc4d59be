"""Recorded calls to a flat list of layers: their order, and what only all of them show.

Order: as tops were assigned, and before each layer the layers that it needs; the layers
of a module as they were written. Names are given by `netspec.language.naming`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from netspec.errors import SpecError, join_lines
from netspec.language.calls import Function, Scope, Top, describe
from netspec.language.entries import no_top
from netspec.language.naming import Names, is_named_outside
from netspec.language.options import write_params
from netspec.language.sharing import check_named, write_names
from netspec.language.shown import show_kept_fields
from netspec.nets.rules import may_meet
from netspec.schema import LayerParameter, NetParameter
from netspec.schema.unread import restore
from netspec.site import user_site, warn_at


@dataclass(frozen=True)
class Root:
    """Something to emit with all that it needs.

    prefix: what to put before the names that are not assigned ("inception_3a/").
    """

    value: Top | Function
    prefix: str = ""


@dataclass
class Emission:
    """The layers so far, and what is known of their blobs.

    writers: for every blob name the tops that wrote it, in order. owners: for every
    name of a layer the calls that have it. opened: the modules whose calls are in.
    paths: of calls in modules, the path of the module; names need not show it.
    """

    names: Names = field(default_factory=Names)
    layers: dict[Function, LayerParameter] = field(default_factory=dict)
    blobs: dict[Top, str] = field(default_factory=dict)
    writers: dict[str, list[Top]] = field(default_factory=dict)
    owners: dict[str, list[Function]] = field(default_factory=dict)
    opened: set[Scope] = field(default_factory=set)
    paths: dict[Function, str] = field(default_factory=dict)

    def add(self, fn: Function, prefix: str) -> None:
        """Emit one layer, whose inputs have been emitted."""
        layer = LayerParameter(type=fn.type_name)
        layer.bottom.extend(self.blobs[top] for top in fn.inputs)
        name = ""
        for place, top in enumerate(fn.tops):
            if fn.writes_over(place):
                self.blobs[top] = self.blobs[fn.inputs[place]]
                assigned = self.names.name_of(top, prefix) if place == 0 else ""
            else:
                assigned = self.names.name_of(top, prefix)
                self.blobs[top] = self.names.published(fn, assigned)
                if is_named_outside(top):
                    assigned = ""
            layer.top.append(self.blobs[top])
            name = name or assigned
        layer.name = name or self.names.layer_name(fn, prefix)
        problems = write_params(layer, fn)
        if problems:
            error = SpecError(join_lines(problems), layer=describe(fn, layer.name))
            self.names.fault(error, fn)
        restore(layer, fn.unread)
        if "name" in fn.params:
            path = prefix if fn.scope is None else self.names.path_of(fn.scope, prefix)
            layer.name = path + layer.name
        if fn.scope is not None:
            self.paths[fn] = layer.name.rpartition("/")[0]
            layer.name = self.names.published(fn, layer.name)
        self.layers[fn] = layer
        self._check_reads(fn, layer)
        self._check_writes(fn, layer)

    def complain(self, error: SpecError, fn: Function) -> None:
        """Raise what is wrong with the net, as `fn` shows, or warn of it."""
        if fn.strict:
            self.names.fault(error, fn)
        else:
            warn_at(fn.site, str(error))

    def check_sharing(self) -> None:
        """Refuse parameters that share a name and cannot share values."""
        try:
            check_named(self.layers)
        except SpecError as error:
            self.complain(error, next(reversed(self.layers)))

    def _check_reads(self, fn: Function, layer: LayerParameter) -> None:
        """Refuse to read a blob as it was before a layer changed it in place.

        As Caffe has it, a call below one in place may name the top that this changed.
        """
        for top in fn.inputs:
            writers = self.writers[self.blobs[top]]
            if writers[-1] is top:
                continue
            for later in writers[writers.index(top) + 1 :]:
                if not later.fn.writes_over(later.n) or _goes_on(fn, later.fn):
                    continue
                if may_meet(layer, self.layers[later.fn]):
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
                    f"another {owner.type_name} layer of "
                    f"this name is at {owner.site}; give each its own, or rules "
                    f"(include, exclude) that keep them apart",
                    layer=describe(fn, layer.name),
                )
                self.complain(error, fn)
        self.owners[layer.name].append(fn)
        for top in fn.tops:
            writers = self.writers.setdefault(self.blobs[top], [])
            for other in writers if not fn.writes_over(top.n) else ():
                if may_meet(layer, self.layers[other.fn]):
                    error = SpecError(
                        f"makes blob {self.blobs[top]!r}, "
                        f"as the layer at {other.fn.site} does; give each its own name",
                        layer=describe(fn, layer.name),
                    )
                    self.complain(error, fn)
            writers.append(top)


def to_proto(*tops: Top | Function) -> NetParameter:
    """Return the net of `tops` and all that they need, with made-up names."""
    for top in tops:
        if not isinstance(top, Top | Function):
            raise SpecError(
                f"{user_site()}: to_proto of something that {no_top(top)}"
                f"{'; several go with a star: *tops' * isinstance(top, list | tuple)}"
            )
    net = NetParameter()
    net.layer.extend(emit([Root(top) for top in tops], Emission()))
    return net


Top.write = staticmethod(to_proto)
show_kept_fields()


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


def _goes_on(fn: Function, changer: Function) -> bool:
    """Tell whether a call that is written as Caffe has it reads what `changer` made.

    Scripts for Caffe name a convolution, put a ReLU in place on it and go on from the
    convolution; what is read is what the ReLU made, as the script says from top to
    bottom.
    """
    return not fn.strict and changer.serial < fn.serial


def _branch_error(
    fn: Function, layer: LayerParameter, later: Top, changer: LayerParameter
) -> SpecError:
    blob = changer.top[later.n]
    if not fn.strict:
        return SpecError(
            f"reads blob {blob!r} as layer {changer.name!r} ({changer.type}), "
            f"{later.fn.site}, has changed it in place: that is called later, but "
            f"comes first in the net; to read the blob as it was, write that layer "
            f"without in_place=True",
            layer=describe(fn, layer.name),
        )
    return SpecError(
        f"reads blob {blob!r} as it was before layer "
        f"{changer.name!r} ({changer.type}), {later.fn.site}, changed it in place; "
        f"read n[{changer.name!r}] instead, or write that layer without in_place=True",
        layer=describe(fn, layer.name),
    )
