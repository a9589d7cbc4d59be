"""Names for tops, and from them a net."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from netspec.errors import SpecError, join_lines, shown
from netspec.language.calls import Function, Namespace, Top
from netspec.language.dangling import dangling, warn_unused
from netspec.language.emit import Emission, Root, emit, needed, unused
from netspec.language.entries import NoSuchTop, each_of, is_tuple_of_tops, not_an_entry
from netspec.language.foreign_words import name_hint
from netspec.language.naming import STRICT, Lost, Mistakes, Names, module_tops
from netspec.language.python_to_proto import assign
from netspec.language.results import (
    blob_of,
    has_own_name,
    module_of,
    returned_by,
    stay_apart,
)
from netspec.language.rewiring import functions_of, rewire
from netspec.language.scope import current_scope
from netspec.language.views import identifiers, part_of, paths
from netspec.schema import NetParameter
from netspec.site import Site, user_site, warn_at

Entry: TypeAlias = "Top | Function | Folder"


class BlockUses:
    """What is known of a net that is called as a block.

    count: how often it was. owners: the calls whose parameters all uses share that
    share any.
    """

    def __init__(self, count: int = 0, owners: list[Function] | None = None) -> None:
        self.count = count
        self.owners = owners

    def copy(self) -> BlockUses:
        """Return one that goes on by itself."""
        return BlockUses(self.count, self.owners and [*self.owners])


class Folder(Namespace):
    """Names under which tops, layers and other folders are; see `netspec.NetSpec`.

    What it keeps itself stands in its `__dict__`, as attributes are names.
    """

    tops: OrderedDict[str, Any]

    def __init__(self, name: str | None = None, **fields: Any) -> None:
        problems = assign(NetParameter(), {"name": name, **fields})
        if problems:
            raise SpecError(f"{user_site()}: NetSpec: " + join_lines(problems))
        state = self.__dict__
        state["_fields"] = fields
        state["tops"] = OrderedDict()
        state["_name"] = name
        state["_sites"] = {}
        state["_names"] = {}
        state["_variants"] = {}
        state["_lost"] = {}
        state["_scope"] = current_scope()
        state["_parent"] = None
        state["_naming"] = STRICT
        state["_uses"] = BlockUses()

    def __setitem__(self, name: str, value: Entry | Sequence[Top]) -> None:
        site = user_site()
        if not isinstance(name, str) or not name:
            raise SpecError(f"{site}: a name is {shown(name)}; expected text")
        if not isinstance(value, Top | Function | Folder):
            if not (self._naming.keeps_tuples and is_tuple_of_tops(value)):
                raise SpecError(f"{site}: {name!r} {not_an_entry(value)}")
            self.tops[name] = value  # until tops take the name, at the latest to_proto
            self._sites[name] = site
            return
        if self._naming.one_each:
            self._refuse_second_name(name, value, site)
        folder, key = _folder(self, name)
        if folder is not self:
            folder[key] = value
        else:
            self._put(name, value, site)

    def _refuse_second_name(self, name: str, value: Entry, site: Site) -> None:
        other = self._names.get(value)
        if other is None or other == name or self.tops.get(other) is not value:
            return
        kind = "this NetSpec" if isinstance(value, Folder) else "this top"
        raise SpecError(
            f"{site}: {kind} is {name!r} here and {other!r} since {self._sites[other]};"
            f" a blob has one name, so use n[{other!r}]"
        )

    def _put(self, name: str, value: Entry, site: Site) -> None:
        if isinstance(value, Folder) and value in _around(self):
            raise SpecError(f"{site}: {name!r}: a NetSpec cannot hold itself")
        old = self.tops.get(name)
        if old is not None and old is not value and self._naming.keeps_lost:
            self._replace(name, old, value, site)
        self.tops[name] = value
        self._sites[name] = site
        self._names[value] = name
        if isinstance(value, Folder):
            value.__dict__["_parent"] = (self, name)
        elif isinstance(value, Top):
            value.label = name
        called = module_of(value, self._scope)
        if called is not None and len(called.results) == 1:
            for scope in returned_by(value, called):
                scope.assigned = (self, name)
        if isinstance(value, Folder):
            return
        if called is None or not has_own_name(value, called):
            blob = blob_of(value, called)
            if called is not None:
                called.outside.add(blob)
            if self._scope is not None:
                self._scope.named[blob] = (self, name)

    def _replace(self, name: str, old: Entry, value: Entry, site: Site) -> None:
        """Note what becomes of the tops that had this name."""
        for each in (*self._variants.pop(name, ()), old):
            if stay_apart(each, value):
                self._variants.setdefault(name, []).append(each)
            elif isinstance(each, Top) and each is not value:
                self._lost[each] = Lost(name, self._sites.get(name, each.fn.site), site)

    def __setattr__(self, name: str, value: Entry | Sequence[Top]) -> None:
        if hasattr(type(self), name) or name in self.__dict__:
            kind = (
                "method" if callable(getattr(type(self), name, None)) else "attribute"
            )
            site = user_site()
            warn_at(
                site,
                f"{site}: n.{name} = ... names a top {name!r}, but n.{name} stays the "
                f"{kind} of every NetSpec; the top is n[{name!r}], so write it so or "
                f"choose another name",
            )
        self[name] = value

    def __getitem__(self, name: str) -> Any:
        if not isinstance(name, str):
            raise self._no_such_top(name)
        folder, key = _folder(self, name)
        if key in folder.tops:
            return folder.tops[key]
        inner = folder._inner(key)  # noqa: SLF001 - of the same class
        if inner is None:
            raise self._no_such_top(name)
        return inner

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self.tops:
            return self.tops[name]
        if name.startswith("_"):  # asked for by libraries
            raise self._no_such_top(name)
        return self[name]

    def _inner(self, name: str) -> Any:
        """Return the top of this name in a module here, or the part below it."""
        for key, value in self.tops.items():
            if name.startswith(f"{key}/") and not isinstance(value, tuple | list):
                called = module_of(value, self._scope)
                if called is not None:
                    return module_tops(called).get(name[len(key) + 1 :])
        return part_of(self, name)

    def _no_such_top(self, name: Any) -> NoSuchTop:

        known = [*self.keys(), *paths(self.keys())]
        hint = name_hint(name, known)
        return NoSuchTop(f"{user_site()}: no top is named {shown(name)}{hint}")

    def __delitem__(self, name: str) -> None:
        folder, key = _folder(self, name)
        if key not in folder.tops:
            part = part_of(folder, key)
            if part is None:
                raise self._no_such_top(name)
            for inner in list(part):
                del part[inner]
            return
        if folder is not self:
            del folder[key]
            return
        gone = [*self._variants.pop(name, ()), *each_of(self.tops.pop(name))]
        for fn in (value.fn for value in gone if not isinstance(value, Folder)):
            for scope in fn.scope.chain() if fn.scope is not None else ():
                if fn in scope.calls:  # part of the net while another layer needs it
                    scope.calls.remove(fn)

    def __delattr__(self, name: str) -> None:
        del self[name]

    def __contains__(self, name: object) -> bool:
        return name in self._flat()

    def __iter__(self) -> Iterator[str]:
        return iter(self._flat())

    def __len__(self) -> int:
        return len(self._flat())

    def __dir__(self) -> list[str]:
        own = (name for name in dir(type(self)) if not name.startswith("_"))
        return [*own, *identifiers([*self.tops, *paths(self.tops)])]

    def _ipython_key_completions_(self) -> list[str]:
        names = self.keys()
        return [*names, *paths(names)]

    def keys(self) -> list[str]:
        """Return the names in order, those in folders with their path."""
        return list(self._flat())

    def vals(self) -> list[Any]:
        """Return the tops in the order of `keys`."""
        return list(self._flat().values())

    def entries(self, name: str | None = None) -> Iterator[Top | Function]:
        """Yield all tops (of `name`), also those that other phases' hide."""
        folder, key = (self, name) if name is None else _folder(self, name)
        keys = list(folder.tops) if key is None else [key]
        for each in keys:
            yield from folder._variants.get(each, ())  # noqa: SLF001
            last = folder.tops.get(each)
            if isinstance(last, Folder):
                yield from last.entries() if key is None else ()
            elif last is not None:
                yield from each_of(last)

    def update(self, other: Mapping[str, Entry] | Folder) -> None:
        """Assign every entry of `other`."""
        entries = other.tops if isinstance(other, Folder) else other
        if not isinstance(entries, Mapping):
            raise SpecError(
                f"{user_site()}: update with {shown(other)}; expected a dictionary of "
                f"tops by name, or a NetSpec"
            )
        for name, value in entries.items():
            apart = other._variants.get(name, ()) if isinstance(other, Folder) else ()  # noqa: SLF001
            for each in (*apart, value):
                self[name] = each

    def replace(self, old: str | Top, new: str | Top) -> None:
        """Let every layer that reads `old` read `new` instead.

        Those that `new` is made of go on reading `old`, so that a layer can be put
        between: `n.replace(n.conv1, L.BatchNorm(n.conv1))`.
        """
        olds = _tops_named(self, old)
        target = _top(self, new)
        if target in olds:
            raise SpecError(f"{user_site()}: {old!r} cannot replace itself")
        rewire(functions(self), olds, target)

    @property
    def output_top(self) -> Top | None:
        """The top that a layer function takes this spec for: the one named output."""
        value = self.tops.get("output")
        if isinstance(value, Folder):
            return value.output_top
        return value if isinstance(value, Top) else None

    def to_proto(self, phase: str | int | None = None) -> NetParameter:
        """Return the net: the layers of all tops, each after those that it needs.

        phase: "TRAIN" or "TEST" for the layers of one phase, without their rules;
        "DEPLOY" for the net for use (see `netspec.deploy`); None for all.

        Raises `SpecError` for what only the whole net shows: a top that is read though
        its name was given away, a blob that is read although an in-place layer has
        changed it, two layers or blobs of one name.
        """
        net = NetParameter()
        problems = assign(net, {"name": self._name, **self._fields})
        if problems:
            raise SpecError(f"net {self._name!r}: " + join_lines(problems))
        emission = self._emitted()
        net.layer.extend(emission.layers.values())
        for top in dangling(net, unused(emission)):
            if top.fn.from_file:
                continue  # published so
            warn_unused(top, emission.blobs[top])
        if phase is None:
            return net
        from netspec.nets.deploy import for_phase  # a mere import need not wait for it

        return for_phase(net, phase)

    def _emitted(self, mistakes: Mistakes | None = None) -> Emission:
        names = Names(self._naming, mistakes=mistakes)
        roots = list(self._roots("", names, ()))
        emission = Emission(names)
        emit(roots, emission)
        return emission

    def _module_paths(self) -> dict[str, str]:
        """Return the paths of modules that names do not show, by names of layers."""
        scopes = (fn.scope for fn in functions(self) if fn.scope is not None)
        if all(one.rename is None for scope in scopes for one in scope.chain()):
            return {}
        emission = self._emitted()
        return {emission.layers[fn].name: path for fn, path in emission.paths.items()}

    def _roots(
        self, prefix: str, names: Names, parents: tuple[Folder, ...]
    ) -> Iterator[Root]:
        """Yield what is assigned here and in folders; add them to `names`."""
        if self in parents:
            raise SpecError(f"{prefix[:-1]!r}: a NetSpec cannot hold itself")
        names.lost.update(self._lost)
        names.prefixes[self] = prefix
        for key, last in self.tops.items():
            for value in (*self._variants.get(key, ()), last):
                if isinstance(value, tuple | list):
                    site = self._sites.get(key) or value[0].fn.site
                    error = SpecError(f"{site}: {key!r} {not_an_entry(value)}")
                    names.fault(error, value[0].fn)
                    yield from (Root(top, prefix) for top in value)
                    continue
                called = module_of(value, self._scope)
                if called is not None and called.assigned == (self, key):
                    path = f"{prefix}{called.name or key}/"
                    names.paths.setdefault(called, path)
                if isinstance(value, Folder):
                    inside = (*parents, self)
                    yield from value._roots(f"{prefix}{key}/", names, inside)  # noqa: SLF001
                    continue
                if called is None or not has_own_name(value, called):
                    blob = blob_of(value, called)
                    self._claim(blob, prefix + key, names)
                yield Root(value, prefix)

    def _claim(self, value: Top | Function, name: str, names: Names) -> None:
        site = self._sites.get(self._names.get(value, ""), value.fn.site)
        names.claim(value, name, site)

    def _flat(self) -> OrderedDict[str, Any]:
        flat: OrderedDict[str, Any] = OrderedDict()
        for key, value in self.tops.items():
            if isinstance(value, Folder):
                for path in value:
                    flat[f"{key}/{path}"] = value[path]
            else:
                flat[key] = value
        return flat

    def __repr__(self) -> str:
        lines = [f"<NetSpec {self._name!r}" if self._name else "<NetSpec"]
        for name, value in self._flat().items():
            called = None
            if not isinstance(value, tuple | list):
                called = module_of(value, self._scope)
            made = [
                f"{v.fn.type_name if called is None else called.label}{_shown(v)}"
                for v in each_of(value)
            ]
            module = "" if called is None else "module "
            lines.append(f"  {name}: {module}{', '.join(made)}")
        return "\n".join(lines) + ">"

    def __copy__(self) -> Folder:
        copy = type(self)()
        for key, value in self.__dict__.items():
            copy.__dict__[key] = value.copy() if hasattr(value, "copy") else value
        copy.__dict__["_variants"] = {k: list(v) for k, v in self._variants.items()}
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        # Calls in the order of need, so that no depth of a net is a depth of recursion.
        calls: dict[Function, None] = {}
        for value in (*self.vals(), *self._lost):
            for each in each_of(value):
                for fn in needed(each.fn, calls):
                    calls[fn] = None
        return type(self), (), (list(calls), dict(self.__dict__))

    def __setstate__(self, state: tuple[list[Function], dict[str, Any]]) -> None:
        self.__dict__.update(state[1])


def _folder(spec: Folder, name: str) -> tuple[Folder, str]:
    """Return the spec, among `spec` and its folders, that holds `name`, and its key."""
    head, slash, tail = name.partition("/")
    folder = spec.tops.get(head) if slash and name not in spec.tops else None
    if isinstance(folder, Folder) and tail:
        return _folder(folder, tail)
    return spec, name


def _around(spec: Folder) -> list[Namespace]:
    """Return a spec and those that it is a folder of."""
    found: list[Namespace] = [spec]
    while (parent := vars(found[-1])["_parent"]) is not None:
        found.append(parent[0])
    return found


def uses_of(folder: Folder) -> BlockUses:
    """Return what is known of the calls of a folder as a block."""
    uses: BlockUses = vars(folder)["_uses"]
    return uses


def name_of(folder: Folder) -> str | None:
    """Return the name of the net that a folder makes, if it has one."""
    name: str | None = vars(folder)["_name"]
    return name


def _shown(value: Top | Function) -> str:
    shape = getattr(value, "shape", None)
    return "" if shape is None else f" {shape}"


def functions(folder: Folder) -> list[Function]:
    """Return all calls that a folder holds or needs, each after what it needs."""
    return functions_of(value.fn for value in folder.entries())


def _top(folder: Folder, value: str | Top | Folder) -> Top:
    found = folder[value] if isinstance(value, str) else value
    top = getattr(found, "output_top", found)
    if not isinstance(top, Top):
        raise SpecError(
            f"{user_site()}: {shown(value)} is no top; expected one, or the name of one"
        )
    return top


def _tops_named(folder: Folder, value: str | Top) -> set[Top]:
    """Return the top, and those that take its place in other phases."""
    top = _top(folder, value)
    name = value if isinstance(value, str) else top.label
    same = {other for other in folder.entries(name) if isinstance(other, Top)}
    return same if top in same else {top}
