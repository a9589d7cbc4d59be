"""A spec that was read: its layers keep their order, names are what wires them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from netspec.errors import SpecError, join_lines
from netspec.language.calls import Function, Top, describe
from netspec.language.emit import Root
from netspec.language.folder import Entry, Folder, functions
from netspec.language.naming import Names
from netspec.language.results import has_rules, stay_apart
from netspec.language.rewiring import rewire
from netspec.schema import NetParameter
from netspec.schema.unread import restore
from netspec.site import Site, user_site


class LoadedCall(Function):
    """A call that was read from a file.

    places: those of its tops that have the blob of the bottom at the same place.
    """

    __slots__ = ("places",)
    from_file = True

    def __init__(
        self,
        type_name: str,
        inputs: Sequence[Top],
        params: dict[str, Any],
        ntop: int,
        places: Collection[int],
        site: Site,
    ) -> None:
        in_place = 0 < len(places) == min(ntop, len(inputs))
        super().__init__(
            type_name, inputs, params, ntop=ntop, in_place=in_place, site=site
        )
        self.places = frozenset(places)

    def writes_over(self, place: int) -> bool:
        """Tell whether the top at `place` has the blob of the bottom there."""
        return place in self.places


class LoadedFolder(Folder):
    """A net from a file, or a block made of one, under construction.

    It is a folder of layers whose names wire it as they wire a file: what read a top
    reads the one that takes its name, and in its place among the layers.
    """

    def __init__(self, name: str | None = None, **fields: Any) -> None:
        super().__init__(name, **fields)
        state = self.__dict__
        state["_places"] = {}  # of layers among the others
        state["_deleted"] = {}  # tops and calls: their name and where it was deleted
        state["_param_names"] = {}  # see netspec.reading.blocks
        state["_unread"] = ()  # fields of a binary net whose names nobody here knows
        state["_counts"] = {}  # how far names are taken by layers without rules

    def add_layer(self, fn: Function, name: str, blobs: Sequence[str]) -> None:
        """Add a layer at the end, with its name and those of its blobs."""
        self.place(fn)
        first = True
        for top, blob in zip(fn.tops, blobs, strict=True):
            over = fn.writes_over(top.n)
            wanted = blob if not over else name if first else f"{name}/{blob}"
            key = self._free(wanted, top) if over else wanted
            self.hold(key, top)
            if first and key != name:
                fn.params["name"] = name
            first = False
        if not fn.tops:
            key = self._free(name, fn)
            self.hold(key, fn)
            if key != name:
                fn.params["name"] = name

    def _free(self, name: str, value: Top | Function) -> str:
        """Return `name`, or one like it that the spec can hold `value` under."""
        kind = value.fn.type_name
        wanted = name or kind
        if not self._may_hold(wanted, value):
            ruled = has_rules(value.fn)
            count = 2 if ruled else self._counts.get((name, kind), 2)
            wanted = _numbered(name, kind, count)
            while not self._may_hold(wanted, value):
                count += 1
                wanted = _numbered(name, kind, count)
            if not ruled:  # it meets all that have those names
                self._counts[name, kind] = count
        return wanted

    def _may_hold(self, name: str, value: Top | Function) -> bool:
        """Tell whether `name` is free, or is that of layers of other phases."""
        for other in self.entries(name):
            if isinstance(other, Top) and not other.fn.writes_over(other.n):
                return False
            if not stay_apart(other, value):
                return False
        return True

    def place(self, fn: Function) -> None:
        """Put a layer at the end of the others."""
        self._places[fn] = len(self._places)

    def own_param(self, fn: Function, index: int, name: str, prefix: str) -> None:
        """Let a named parameter be one of this folder's own; see `_scope_params`."""
        self._param_names[fn, index] = (name, prefix + name)

    def hold(self, name: str, value: Top | Function) -> None:
        """Name a top or a layer, beside those of other phases."""
        if name in self.tops:
            self._variants.setdefault(name, []).append(self.tops[name])
        self.tops[name] = value
        self._sites[name] = value.fn.site
        self._names[value] = name
        if self._scope is not None:
            self._scope.named[value] = (self, name)
        if isinstance(value, Top):
            value.label = name

    def _put(self, name: str, value: Entry, site: Site) -> None:
        """Assign; what read the old top reads the new one."""
        olds = [
            old
            for old in self.entries(name)
            if old is not value and not stay_apart(old, value)
        ]
        self._deleted.pop(value, None)
        new = value.output_top if isinstance(value, Folder) else value
        if olds and isinstance(new, Top):
            rewire(functions(self), (old for old in olds if isinstance(old, Top)), new)
        places = [self._places[old.fn] for old in olds if old.fn in self._places]
        if places and isinstance(value, Top | Function):
            self._places.setdefault(value.fn, min(places))
        super()._put(name, value, site)

    def __delitem__(self, name: str) -> None:
        self._counts.clear()
        site = user_site()
        for value in list(self.entries(name)) if name in self.tops else ():
            if isinstance(value, Top) and value.fn.writes_over(value.n):
                rewire(functions(self), [value], value.fn.inputs[value.n])
            self._deleted[value] = (name, site)
        super().__delitem__(name)

    @property
    def output_top(self) -> Top | None:
        """The top named output, or else the only one that no layer reads."""
        named = super().output_top
        if named is not None:
            return named
        calls = {value.fn for value in self.entries()}
        read = {top for fn in calls for top in fn.inputs}
        unread = {
            value.label: value
            for value in self.entries()
            if isinstance(value, Top) and value not in read
        }
        return next(iter(unread.values())) if len(unread) == 1 else None

    def to_proto(self, phase: str | int | None = None) -> NetParameter:
        """Return the net, as it was read but for what was changed."""
        net = super().to_proto(phase)
        restore(net, self._unread)
        for layer in net.layer:
            for field in ("name", "type"):
                if not getattr(layer, field):
                    layer.ClearField(field)  # as where it was not given
        return net

    def _roots(
        self, prefix: str, names: Names, parents: tuple[Folder, ...]
    ) -> Iterator[Root]:
        """Yield what is here in the order of the file, then what came later."""
        roots = list(super()._roots(prefix, names, parents))
        last = len(self._places)
        roots.sort(key=lambda root: self._places.get(root.value.fn, last))
        self._check_deleted(names)
        self._scope_params(prefix)
        yield from roots

    def _check_deleted(self, names: Names) -> None:
        """Refuse to write a layer that was deleted, telling who needs it."""
        if not self._deleted:
            return
        mistakes: list[str] = []
        for fn in functions(self):
            before = len(mistakes)
            for top in fn.inputs:
                if top in self._deleted:
                    name, site = self._deleted[top]
                    mistakes.append(
                        f"{describe(fn)}: reads {name!r}, which was deleted at {site}; "
                        f"delete this layer too, or let it read another top first: "
                        f"n.replace({name!r}, ...)"
                    )
            held = [top.label for top in fn.tops if self.tops.get(top.label) is top]
            for top in fn.tops if held else ():
                if top in self._deleted:
                    name, site = self._deleted[top]
                    mistakes.append(
                        f"{describe(fn)}: its top {name!r} was deleted at {site}, but "
                        f"not {', '.join(map(repr, held))}; a layer makes all of its "
                        f"tops, so delete all or none"
                    )
            if names.mistakes is not None and len(mistakes) > before:
                names.fault(SpecError(mistakes[before]), fn)
        if mistakes and names.mistakes is None:
            raise SpecError(join_lines(dict.fromkeys(mistakes)))

    def _scope_params(self, prefix: str) -> None:
        """Let names of parameters of a block's own begin with its folder."""
        for (fn, index), (name, given) in list(self._param_names.items()):
            specs = fn.params.get("param")
            if not prefix or not isinstance(specs, list) or index >= len(specs):
                continue
            spec = specs[index]
            if isinstance(spec, dict) and spec.get("name") == given:
                specs[index] = {**spec, "name": prefix + name}
                self._param_names[fn, index] = (name, prefix + name)


def _numbered(name: str, kind: str, count: int) -> str:
    return f"{name}_{kind.lower()}{count if count > 2 else ''}"


def calls_in_order(folder: LoadedFolder) -> list[Function]:
    """Return the layers of a folder as they stand in it."""
    places = vars(folder)["_places"]
    return sorted({value.fn for value in folder.entries()}, key=places.get)


def names_in(folder: LoadedFolder) -> Mapping[Entry, str]:
    """Return the names that a folder gives its tops and layers."""
    names: Mapping[Entry, str] = vars(folder)["_names"]
    return names
