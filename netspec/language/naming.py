"""The names of blobs and layers: as assigned, else made of the type and a number."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TypeAlias

from netspec.errors import SpecError
from netspec.language.calls import Function, Namespace, Scope, Top, describe
from netspec.language.scope import made_in
from netspec.site import Site


class Naming:
    """How strictly names are taken.

    one_each: a second name of a top is an error; else the last one counts. keeps_lost:
    a top whose name another one took is remembered: beside that, where rules keep their
    layers apart, else for an error if it is needed; without, it is numbered.
    skips_taken: a number that makes a name that is there already is passed over.
    keeps_tuples: all tops of a layer may have one name until the net is written.
    """

    def __init__(
        self,
        *,
        one_each: bool,
        keeps_lost: bool,
        skips_taken: bool,
        keeps_tuples: bool,
    ) -> None:
        self.one_each = one_each
        self.keeps_lost = keeps_lost
        self.skips_taken = skips_taken
        self.keeps_tuples = keeps_tuples


STRICT = Naming(one_each=True, keeps_lost=True, skips_taken=True, keeps_tuples=False)
AS_CAFFE = Naming(
    one_each=False, keeps_lost=False, skips_taken=False, keeps_tuples=True
)


@dataclass(frozen=True)
class Lost:
    """A top whose name another one took."""

    name: str
    first: Site
    second: Site


Mistakes: TypeAlias = dict[Function, SpecError]  # what is wrong, by layer


class Names:
    """The names in one net.

    mistakes: gets what is wrong, so that a net that cannot be written can be drawn;
    None where it is raised.

    assigned: those of tops and layers that have one. lost: what had one. prefixes: of
    the folders that are emitted, what stands before the names in them. paths: the same
    for calls of modules. counts: the numbers given so far.
    """

    def __init__(
        self,
        naming: Naming = STRICT,
        paths: dict[Scope, str] | None = None,
        mistakes: Mistakes | None = None,
    ) -> None:
        self.naming = naming
        self.mistakes = mistakes
        self.assigned: dict[Top | Function, str] = {}
        self.lost: dict[Top, Lost] = {}
        self.prefixes: dict[Namespace, str] = {}
        self.paths: dict[Scope, str] = paths or {}
        self.counts: Counter[str] = Counter()
        self._taken: set[str] | None = None

    def fault(self, error: SpecError, fn: Function) -> None:
        """Raise what is wrong with a layer, or note it."""
        if self.mistakes is None:
            raise error
        self.mistakes.setdefault(fn, error)

    def claim(self, value: Top | Function, name: str, site: Site) -> None:
        """Give `value` the name that it has at `site`."""
        if self.assigned.setdefault(value, name) == name:
            return
        if self.naming.one_each:
            error = SpecError(
                f"the same top is named {self.assigned[value]!r} "
                f"and, at {site}, {name!r}; a blob has one name",
                layer=describe(value.fn),
            )
            self.fault(error, value.fn)
        self.assigned[value] = name

    def name_of(self, value: Top | Function, prefix: str) -> str:
        """Return the assigned name, or the next one made of the type and a number."""
        if value in self.assigned:
            return self.assigned[value]
        if isinstance(value, Top) and value in self.lost:
            self.fault(_lost_error(value, self.lost[value]), value.fn)
        for scope in value.fn.scope.chain() if value.fn.scope is not None else ():
            if value in scope.named:
                spec, key = scope.named[value]
                return self.prefix_of(spec, prefix) + key
        if value.fn.scope is not None:
            prefix = self.path_of(value.fn.scope, prefix)
            if "name" in value.fn.params:
                place = value.n if isinstance(value, Top) else 0
                return f"{prefix}{value.fn.params['name']}{f'_{place}' * (place > 0)}"
        return self.numbered(prefix + value.fn.type_name)

    def layer_name(self, fn: Function, prefix: str) -> str:
        """Return the name of a layer that is not called like its first top."""
        if fn.scope is None or "name" in fn.params or fn in fn.scope.named:
            return self.name_of(fn, prefix)
        return self.numbered(self.path_of(fn.scope, prefix) + fn.type_name)

    def numbered(self, kind: str) -> str:
        """Return `kind` with the next number."""
        taken = self._given() if self.naming.skips_taken else ()
        while True:
            self.counts[kind] += 1
            name = f"{kind}{self.counts[kind]}"
            if name not in taken:
                return name

    def _given(self) -> set[str]:
        """Return the names that are given, those of folders and modules included."""
        if self._taken is None:
            paths = (*self.paths.values(), *self.prefixes.values())
            self._taken = {*self.assigned.values(), *(path[:-1] for path in paths)}
        return self._taken

    def prefix_of(self, space: Namespace, prefix: str) -> str:
        """Return what stands before the names in a folder.

        `prefix` is that of the place where it is read, for what was never assigned.
        """
        if space not in self.prefixes:
            folder, scope = made_in(space)
            if folder is not None:
                parent, key = folder
                self.prefixes[space] = f"{self.prefix_of(parent, prefix)}{key}/"
            elif scope is not None:
                self.prefixes[space] = self.path_of(scope, prefix)
            else:
                return ""
        return self.prefixes[space]

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
                self._given().add(name)
                name = name or self.numbered(before + scope.label)
                self.paths[scope] = f"{name}/"
        return self.paths[scope]

    def published(self, fn: Function, name: str) -> str:
        """Return a name in a call as the rules of the modules around it have it."""
        for scope in fn.scope.chain() if fn.scope is not None else ():
            path = self.paths.get(scope, "")
            if scope.rename is None or not path or not name.startswith(path):
                continue
            own = scope.name or (scope.assigned[1] if scope.assigned else "")
            own = own or path[:-1].rpartition("/")[2]
            outer, inner = path.removesuffix(f"{own}/"), name[len(path) :]
            given = scope.rename(own, inner)
            if not isinstance(given, str) or not given:
                raise SpecError(
                    f"{scope.site}: module {scope.label}: names({own!r}, {inner!r}) "
                    f"returns {given!r}; expected the name of a layer"
                )
            name = outer + given
        return name


def module_tops(scope: Scope) -> dict[str, Top]:
    """Return the tops of a call of a module by their names in it."""
    names = Names(paths={scope: ""})
    tops = [top for call in scope.calls for top in call.tops]
    return {names.name_of(top, ""): top for top in tops if top not in scope.outside}


def is_named_outside(top: Top) -> bool:
    """Tell whether the name of a blob is that of what a module returned."""
    scope = top.fn.scope
    return scope is not None and any(top in each.outside for each in scope.chain())


def _lost_error(top: Top, lost: Lost) -> SpecError:
    return SpecError(
        f"lost its name, {lost.name!r}, which was "
        f"assigned at {lost.first} and again at {lost.second}, and other layers still "
        f"need it; give each top its own name, or rules (include, exclude) that keep "
        f"their layers apart",
        layer=describe(top.fn, lost.name),
    )
