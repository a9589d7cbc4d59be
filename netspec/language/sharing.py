"""Sharing of parameters between calls: tied where it is written, named when emitted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from netspec.catalogue.parameters import add_params, parameter_roles
from netspec.errors import SpecError, an, join_lines, shown
from netspec.language.calls import Function, Top, describe
from netspec.language.options import layer_of, own_param
from netspec.language.shapes import parameter_shapes
from netspec.nets.rules import may_meet
from netspec.schema import LayerParameter, ParamSpec
from netspec.site import Site

Slot = tuple[Function, int]  # a parameter of a call, by its place


def owner_of(fn: Function, place: int) -> Slot:
    """Return the call and the place at which a shared parameter was first used."""
    while place in fn.share:
        fn, place = fn.share[place]
    return fn, place


def tie(fn: Function, message: LayerParameter, others: Any) -> list[str]:
    """Make a call use parameters of others; return what is wrong with that.

    others: what `share=` was given: a top whose layer has the same parameters, or for
    each parameter a top (the parameter at the same place is taken) or None.

    Layers of which one has `transpose` share their weights only: their biases belong to
    different sides.
    """
    listed = isinstance(others, Sequence) and not isinstance(others, str)
    given = list(others) if listed else None
    tops = [_call_of(one) for one in (given if given is not None else [others])]
    if any(
        one is None and (given is None or given[i] is not None)
        for i, one in enumerate(tops)
    ):
        return [f"share is {shown(others)}; expected a top, or one or None a parameter"]
    roles = parameter_roles(message, len(fn.inputs))
    problems = []
    for place, other in enumerate(tops) if given is not None else ():
        if other is not None:
            problems += _tie_one(fn, message, roles, place, other)
    if given is None and tops[0] is not None:
        other = tops[0]
        if other.type_name != fn.type_name:
            return [f"share: {describe(other)} is no {fn.type_name} layer"]
        if not roles:
            return [_nothing_to_share(fn, roles)]
        places = range(1 if _is_transposed(fn) != _is_transposed(other) else len(roles))
        for place in places:
            problems += _tie_one(fn, message, roles, place, other)
    return problems


def tie_calls(
    owners: Sequence[Function], calls: Sequence[Function], site: Site
) -> None:
    """Make the calls of a shared module use the parameters of its first use."""
    for mine, first in zip_longest(calls, owners):
        if mine is None or first is None or mine.type_name != first.type_name:
            here = "nothing" if mine is None else describe(mine)
            there = "nothing" if first is None else describe(first)
            raise SpecError(
                f"{site}: this use of a shared module records other layers than its "
                f"first one: {here} where the first one has {there}; the layers of a "
                f"shared module must not depend on its arguments"
            )
    for fn, owner in zip(calls, owners, strict=True):
        if fn.share:
            continue
        message = layer_of(fn)
        roles = parameter_roles(message, len(fn.inputs))
        problems = []
        for place in range(len(roles or ())):
            problems += _tie_one(fn, message, roles, place, owner)
        if problems:
            raise SpecError(join_lines(problems), layer=describe(fn))


def _call_of(value: Any) -> Function | None:
    if not isinstance(value, Top | Function):
        value = getattr(value, "output_top", None)
    return None if value is None else value.fn


def _is_transposed(fn: Function) -> bool:
    return bool(layer_of(fn).inner_product_param.transpose)


def _nothing_to_share(fn: Function, roles: tuple[str, ...] | None) -> str:
    if roles is None:
        return (
            f"share: how many parameters {an(fn.type_name)} layer has is known to its "
            f"code only; name them instead, with param=[dict(name=...), ...]"
        )
    return f"share: {an(fn.type_name)} layer has no parameters as it is written"


def _tie_one(
    fn: Function,
    message: LayerParameter,
    roles: tuple[str, ...] | None,
    place: int,
    other: Function,
) -> list[str]:
    owner, at = owner_of(other, place)
    theirs = layer_of(owner)
    there = parameter_roles(theirs, len(owner.inputs))
    for call, known in ((fn, roles), (owner, there)):
        if not known:
            return [_nothing_to_share(call, known)]
        if place >= len(known):
            has = ", ".join(known)
            return [f"share: {describe(call)} has no parameter {place}; it has {has}"]
    problems = _multiplier_problems(message, place, theirs, at, describe(owner))
    name = _spec(message, place).name
    if name and name != _spec(theirs, at).name:
        problems.append(
            f"share: the name {name!r} of parameter {place} is not that of "
            f"{describe(owner)}; leave it out, as sharing gives one name to both"
        )
    problems += _shape_problems(fn, message, place, owner, at)
    if not problems:
        fn.share[place] = (owner, at)
    return problems


def _spec(message: LayerParameter, place: int) -> ParamSpec:
    return message.param[place] if place < len(message.param) else ParamSpec()


def _multiplier_problems(
    mine: LayerParameter, place: int, theirs: LayerParameter, at: int, owner: str
) -> list[str]:
    problems = []
    here, there = _spec(mine, place), _spec(theirs, at)
    for field in ("lr_mult", "decay_mult"):
        value, wanted = getattr(here, field), getattr(there, field)
        if here.HasField(field) and value != wanted:
            problems.append(
                f"{field} of the shared parameter {place} is {value:g} here and "
                f"{wanted:g} at {owner}; one parameter has one {field}, so leave it out"
            )
    return problems


def _shape_problems(
    fn: Function, message: LayerParameter, place: int, owner: Function, at: int
) -> list[str]:
    """Compare shapes where those of all bottoms are known, else numbers of outputs."""
    here, there = parameter_shapes(fn), parameter_shapes(owner)
    if here is None or there is None:
        return _output_problems(message, layer_of(owner), describe(owner))
    if not (place < len(here) and at < len(there)) or here[place] == there[at]:
        return []
    mine, wanted = here[place], there[at]
    if _spec(message, place).share_mode == ParamSpec.PERMISSIVE:
        if math.prod(mine) == math.prod(wanted):
            return []
        fix = "even share_mode='PERMISSIVE' needs as many values"
    else:
        fix = "sharing needs one shape, or as many values and share_mode='PERMISSIVE'"
    there_is = f"{wanted} at {describe(owner)}"
    return [f"shared parameter {place} has shape {mine} here and {there_is}; {fix}"]


def _output_problems(
    mine: LayerParameter, theirs: LayerParameter, owner: str
) -> list[str]:
    own = own_param(mine.type)
    if own is None or mine.type != theirs.type:
        return []
    here, there = getattr(mine, own), getattr(theirs, own)
    if getattr(here, "transpose", False) != getattr(there, "transpose", False):
        return []
    return [
        f"{field} is {getattr(here, field)} here and {getattr(there, field)} at "
        f"{owner}; layers that share parameters need the same"
        for field in ("num_output", "group")
        if getattr(here, field, 0) != getattr(there, field, 0)
    ]


@dataclass(frozen=True)
class _Use:
    """A layer that uses a parameter."""

    fn: Function
    place: int
    layer: LayerParameter


def write_names(layers: Mapping[Function, LayerParameter]) -> None:
    """Give every parameter that several emitted layers use one name and multipliers.

    The name is the one that was written, or that of the first layer with the role of
    the parameter: `conv1_w`.
    """
    users: dict[Slot, list[_Use]] = {}
    for fn, layer in layers.items():
        for place in fn.share:
            users.setdefault(owner_of(fn, place), []).append(_Use(fn, place, layer))
    for (owner, at), uses in users.items():
        if owner in layers:
            uses.insert(0, _Use(owner, at, layers[owner]))
    order = {fn: number for number, fn in enumerate(layers)}
    for (owner, at), uses in users.items():
        if len(uses) > 1:
            _name_uses(owner, at, sorted(uses, key=lambda use: order[use.fn]))


def _name_uses(owner: Function, at: int, uses: Iterable[_Use]) -> None:
    given = _spec(layer_of(owner), at)
    name = given.name
    for use in uses:
        if not name:
            roles = parameter_roles(use.layer, len(use.layer.bottom)) or ()
            name = f"{use.layer.name}_{roles[use.place]}"
        add_params(use.layer, use.place + 1)
        spec = use.layer.param[use.place]
        mode = spec.share_mode if spec.HasField("share_mode") else None
        if given != ParamSpec():
            spec.CopyFrom(given)
        spec.name = name
        spec.ClearField("share_mode")
        if mode is not None:
            spec.share_mode = mode


def check_named(layers: Mapping[Function, LayerParameter]) -> None:
    """Refuse parameters of one name with different multipliers or shapes."""
    first: dict[str, list[tuple[Function, int, LayerParameter]]] = {}
    for fn, layer in layers.items():
        for place, spec in enumerate(layer.param):
            if not spec.name:
                continue
            for owner, at, theirs in first.setdefault(spec.name, []):
                if may_meet(layer, theirs):
                    _check_pair(fn, place, layer, owner, at, theirs)
                    break
            else:
                first[spec.name].append((fn, place, layer))


def _check_pair(
    fn: Function,
    place: int,
    layer: LayerParameter,
    owner: Function,
    at: int,
    theirs: LayerParameter,
) -> None:
    problems = []
    here, there = layer.param[place], theirs.param[at]
    for field in ("lr_mult", "decay_mult"):
        both = here.HasField(field) and there.HasField(field)
        if both and getattr(here, field) != getattr(there, field):
            problems.append(
                f"parameter {here.name!r} has {field} {getattr(here, field):g} here "
                f"and {getattr(there, field):g} at {describe(owner, theirs.name)}; "
                f"one parameter has one {field}"
            )
    if parameter_shapes(fn) is not None and parameter_shapes(owner) is not None:
        problems += _shape_problems(fn, layer, place, owner, at)
    if problems:
        raise SpecError(join_lines(problems), layer=describe(fn, layer.name))
