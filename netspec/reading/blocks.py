"""Nets as blocks: the layers of a spec once more, with tops for its inputs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from netspec.errors import ShapeError, SpecError, did_you_mean, layer_label
from netspec.language import record
from netspec.language.calls import Function, Scope, Top
from netspec.language.folder import Folder, name_of, uses_of
from netspec.language.scope import current_scope, naming
from netspec.language.sharing import tie_calls
from netspec.ops.base import brings_data
from netspec.reading.load import load
from netspec.reading.loaded import LoadedCall, LoadedFolder, calls_in_order, names_in
from netspec.site import Site, user_site

F = TypeVar("F", bound=LoadedFolder)


def instance(
    spec: Folder,
    inputs: Sequence[Any],
    named: Mapping[str, Any],
    *,
    shared: bool,
    kind: type[F],
) -> F:
    """Return the layers of `spec` with tops in place of its inputs, as a `kind`.

    Every layer is recorded by `record`, in order. Parameters with names are shared
    inside the block only: their names get that of the folder in front. shared: all
    calls of `spec` that say so have the same parameters.

    Raises `SpecError` for inputs that the block does not have or that are not given.
    """
    block = load(spec, LoadedFolder)
    calls = calls_in_order(block)
    given = _bind(calls, inputs, named, _who(spec))
    uses = uses_of(spec)
    uses.count += 1
    label = name_of(block) or "block"
    prefix = f"{label}{uses.count}/"
    sites = {
        value.label: value.fn.site for value in spec.entries() if isinstance(value, Top)
    }
    # Names the layers where the result is not assigned. What is deleted from the result
    # is no part of the net, so it has no calls.
    scope = Scope(label, "", user_site(), current_scope())
    with naming(scope):
        result = kind()
        copier = _Copier(block, result, given, prefix, sites)
        copier.copy(calls, shared=shared)
    scope.results = (result,)
    if shared:
        if uses.owners is None:
            uses.owners = copier.calls
        else:
            tie_calls(uses.owners, copier.calls, user_site())
    return result


class _Copier:
    """Records layers again: `tops` holds for every old top the new one."""

    def __init__(
        self,
        block: LoadedFolder,
        result: LoadedFolder,
        given: Mapping[str, Top],
        prefix: str,
        sites: Mapping[str, Site],
    ) -> None:
        self.sites = sites
        self.has_phases = any(
            {"include", "exclude"} & value.fn.params.keys() for value in block.entries()
        )
        self.names = names_in(block)
        self.given = given
        self.prefix = prefix
        self.tops: dict[Top, Top] = {}
        self.calls: list[Function] = []
        self.result = result

    def copy(self, calls: Sequence[Function], *, shared: bool) -> None:
        """Record `calls`, which are in order, into the result."""
        for fn in calls:
            if _is_source(fn) and any(top.label in self.given for top in fn.tops):
                bound = {top: self.given.get(top.label) for top in fn.tops}
                self.tops.update({old: top for old, top in bound.items() if top})
                continue
            new = self._recorded(fn)
            self.calls.append(new)
            self.tops.update(zip(fn.tops, new.tops, strict=True))
            olds: tuple[Top | Function, ...] = (*fn.tops, fn)
            made: tuple[Top | Function, ...] = (*new.tops, new)
            for old, value in zip(olds, made, strict=True):
                if old in self.names:
                    self.result.hold(self.names[old], value)
            self.result.place(new)
            if not shared:
                self._name_params(fn, new)

    def _recorded(self, fn: Function) -> Function:
        inputs = [self.tops[top] for top in fn.inputs]
        params = copy.deepcopy(fn.params)
        places = fn.places if isinstance(fn, LoadedCall) else frozenset()
        plain = LoadedCall(fn.type_name, inputs, params, fn.ntop, places, user_site())
        plain.scope = current_scope()
        plain.unread = fn.unread
        if places and not fn.in_place:  # some tops in place and some not
            return plain
        fields = {**params, "ntop": fn.ntop, "in_place": fn.in_place}
        try:
            made = record.record(fn.type_name, inputs, fields)
        except ShapeError as error:
            if self.has_phases:
                return plain  # the inputs may be those of another phase
            raise self._located(error, fn) from None
        except SpecError as error:
            raise self._located(error, fn) from None
        new = (made[0] if isinstance(made, tuple) else made).fn
        new.unread = fn.unread
        return new

    def _located(self, error: SpecError, fn: Function) -> SpecError:
        """Return `error` with the layer of the block in it."""
        top = next((top for top in fn.tops if top.label in self.sites), None)
        site = f", {self.sites[top.label]}" if top is not None else ""
        name = fn.params.get("name") or next((top.label for top in fn.tops), "")
        who = f"{layer_label(name, fn.type_name)}{site}"
        return error.replaced(text=f"{error.text} (in a block: {who})")

    def _name_params(self, old: Function, fn: Function) -> None:
        """Give parameters with names in the file names of this block's own.

        A name that the recording gave, and not the file, stays.
        """
        specs = _param_specs(fn)
        written = [spec.get("name") for spec in _param_specs(old)]
        for index, name in enumerate(written[: len(specs)]):
            if name and specs[index].get("name") == name:
                self.result.own_param(fn, index, name, self.prefix)
                specs[index]["name"] = self.prefix + name
        if specs:
            fn.params["param"] = specs


def _param_specs(fn: Function) -> list[dict[str, Any]]:
    """Return what a call says of its parameters, as dictionaries."""
    specs = fn.params.get("param", [])
    each = specs if isinstance(specs, list | tuple) else [specs]
    return [dict(name=s) if isinstance(s, str) else dict(s) for s in each]


def _bind(
    calls: Sequence[Function],
    inputs: Sequence[Any],
    named: Mapping[str, Any],
    who: str,
) -> dict[str, Top]:
    """Return for the names of inputs the tops that are given for them."""
    sources = [fn for fn in calls if _is_source(fn)]
    declared = [fn for fn in sources if fn.type_name == "Input"]
    known = _names(sources)
    order = _names(declared or sources)
    if len(inputs) > len(order):
        raise SpecError(
            f"{who}: takes {len(order)} inputs ({', '.join(order) or 'none'}); "
            f"got {len(inputs)}"
        )
    given: dict[str, Any] = dict(zip(order, inputs, strict=False))
    for name, value in named.items():
        if name not in known:
            hint = did_you_mean(name, known) or f"; its inputs are {', '.join(known)}"
            raise SpecError(f"{who}: has no input {name!r}{hint}")
        if name in given:
            raise SpecError(f"{who}: input {name!r} is given twice")
        given[name] = value
    read = {top for fn in calls for top in fn.inputs}
    missing = _names(declared)
    for fn in sources:
        if any(top.label in given for top in fn.tops):
            missing += [top.label for top in fn.tops if top in read]
    missing = [name for name in dict.fromkeys(missing) if name not in given]
    if missing:
        ways = ", ".join(f"{name}=..." for name in missing)
        raise SpecError(f"{who}: {', '.join(map(repr, missing))} is not given; {ways}")
    return {
        name: _top(value, f"{who}: input {name!r}") for name, value in given.items()
    }


def _is_source(fn: Function) -> bool:
    return brings_data(fn.type_name, len(fn.inputs)) and fn.ntop > 0


def _names(calls: Sequence[Function]) -> list[str]:
    return list(dict.fromkeys(top.label for fn in calls for top in fn.tops))


def _top(value: Any, what: str) -> Top:
    top = value if isinstance(value, Top) else getattr(value, "output_top", None)
    if not isinstance(top, Top):
        raise SpecError(
            f"{what} is {value!r}; expected a top, or a spec with one output"
        )
    return top


def _who(spec: Folder) -> str:
    name = name_of(spec)
    return f"{user_site()}: block {name!r}" if name else f"{user_site()}: this block"
