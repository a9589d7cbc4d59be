"""The recording of a call: everything that can be checked where it was written."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from netspec.catalogue import LAYER_TYPES, LayerType
from netspec.catalogue.check import bottom_problem, missing_fields, top_problem
from netspec.errors import SpecError, did_you_mean
from netspec.language.calls import Function, Top, describe
from netspec.language.defaults import add_surroundings
from netspec.language.python_to_proto import assign_field, unknown_field
from netspec.language.scope import add_call, current_scope
from netspec.language.sharing import tie
from netspec.ops.partial import top_shapes
from netspec.schema import LayerParameter
from netspec.site import Site, user_site, warn_at

_P = ParamSpec("_P")
_R = TypeVar("_R")

_LAYER_FIELDS = LayerParameter.DESCRIPTOR.fields_by_name


def layer(type_name: str, *bottoms: Any, **fields: Any) -> Any:
    """Call a layer type by its name, also one that is not in the catalogue.

    Options of an unknown type go into the message of that name if there is one
    (`FooParameter` for "Foo"), or are given as a whole: `convolution_param=dict(...)`.
    """
    return record(type_name, bottoms, fields)


def layer_function(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a declared layer function record its calls.

    The declaration gives the name, the signature and the docstring. Its body never
    runs, so that a wrong argument gets one of our messages instead of Python's.
    """
    name = function.__name__

    @functools.wraps(function)
    def call(*bottoms: _P.args, **fields: _P.kwargs) -> _R:
        result: _R = record(name, bottoms, fields)
        return result

    return call


def record(
    type_name: str,
    bottoms: Sequence[Any],
    fields: Mapping[str, Any],
    *,
    strict: bool = True,
) -> Any:
    """Check one call and return its top, its tops, or the call if it makes none.

    strict: whether a layer that can be written, but not run, is an error; else it is a
    warning.
    """
    site = user_site()
    row = LAYER_TYPES.get(type_name)
    params = {name: value for name, value in fields.items() if value is not None}
    add_surroundings(type_name, len(bottoms), fields, params)
    in_place = bool(params.pop("in_place", False))
    none = strict and row is not None and row.tops == (0, 0)
    tops = params.pop("ntop", 0 if none else 1)
    others = params.pop("share", None)
    who = functools.partial(_who, type_name, params, site)
    if isinstance(tops, bool) or not isinstance(tops, int) or tops < 0:
        raise SpecError(f"{who()}: ntop is {tops!r}; expected the number of tops")
    inputs = _inputs(bottoms, who)
    fn = Function(
        type_name,
        inputs,
        params,
        ntop=tops,
        in_place=in_place,
        site=site,
        scope=current_scope(),
        strict=strict,
    )
    message = LayerParameter(type=type_name)
    problems = write_params(message, fn)
    faults = []
    if row is not None:
        # A field that is missing may be there, misspelt.
        faults = _structure_problems(row, fn, message, complete=not problems)
    if strict or problems:
        problems += faults
    if others is not None and not problems:
        problems += tie(fn, message, others)
    if problems:
        raise SpecError(f"{who()}: " + "\n  and: ".join(problems))
    try:
        if faults:
            raise SpecError(f"{who()}: " + "\n  and: ".join(faults))
        _infer(fn, message)
    except SpecError as error:
        if strict:
            raise
        warn_at(site, str(error))
    add_call(fn)
    if tops == 0:
        return fn
    return fn.tops[0] if tops == 1 else fn.tops


def _who(type_name: str, params: Mapping[str, Any], site: Site) -> str:
    name = params.get("name")
    who = f"layer {name!r} ({type_name})" if name else f"{type_name} layer"
    return f"{who}, {site}"


def _inputs(bottoms: Sequence[Any], who: Callable[[], str]) -> list[Top]:
    tops = []
    for index, bottom in enumerate(bottoms):
        if bottom is None:
            continue  # an optional bottom that is not given
        if not isinstance(bottom, Top):
            # A NetSpec stands for what it calls its output.
            top = getattr(bottom, "output_top", None)
            if top is None:
                raise NotATop(f"{who()}: bottom {index} {_not_a_top(bottom)}")
            bottom = top
        tops.append(bottom)
    return tops


class NotATop(SpecError, TypeError):
    """Something else where a layer takes a top."""


def _not_a_top(value: Any) -> str:
    if isinstance(value, tuple | list) and all(isinstance(v, Top) for v in value):
        return (
            f"is a {type(value).__name__} of {len(value)} tops; expected one top, so "
            f"pass one of them, or all with a star: *tops"
        )
    if isinstance(value, str):
        return f"is the text {value!r}; expected a top, such as n[{value!r}]"
    if isinstance(value, Function):
        return f"is a {value.type_name} layer, which makes no top; expected a top"
    if hasattr(value, "tops"):
        return (
            "is a NetSpec without a top named 'output'; expected a top, so name the "
            "one that is meant"
        )
    return f"is {value!r}; expected a top, which is what layer functions return"


def write_params(message: LayerParameter, fn: Function) -> list[str]:
    """Write the options of `fn` into `message`; return what is wrong with them."""
    return write_options(message, fn.type_name, fn.params)


def write_options(
    message: LayerParameter, type_name: str, params: Mapping[str, Any]
) -> list[str]:
    """Write the options of a layer into `message`; return what is wrong with them."""
    own = own_param(type_name)
    kind = _LAYER_FIELDS[own].message_type if own is not None else None
    problems = []
    for name, value in params.items():
        if value is None:
            continue
        if kind is not None and name in kind.fields_by_name:
            target = getattr(message, str(own))
            problems += assign_field(target, kind.fields_by_name[name], value)
        elif name in _LAYER_FIELDS:
            problems += assign_field(message, _LAYER_FIELDS[name], value)
        else:
            problems.append(_unknown(type_name, name, kind))
    return problems


def own_param(type_name: str) -> str | None:
    """Return the field of LayerParameter with the options of a layer type, or None."""
    row = LAYER_TYPES.get(type_name)
    return row.param if row is not None else params_by_message().get(type_name)


def fields_of(param: str) -> Mapping[str, Any]:
    """Return the fields of a message in LayerParameter, such as `convolution_param`."""
    kind = _LAYER_FIELDS[param].message_type
    return {} if kind is None else kind.fields_by_name


@functools.cache
def params_by_message() -> dict[str, str]:
    """Return the field of options of a layer by its message, without "Parameter"."""
    return {
        field.message_type.name.removesuffix("Parameter"): name
        for name, field in _LAYER_FIELDS.items()
        if field.message_type is not None and name.endswith("_param")
    }


def _unknown(type_name: str, name: str, kind: Any) -> str:
    if kind is not None and did_you_mean(name, kind.fields_by_name):
        return unknown_field(name, kind)
    common = [field for field in _LAYER_FIELDS if not field.endswith("_param")]
    known = [*(kind.fields_by_name if kind is not None else ()), *common]
    hint = did_you_mean(name, [*known, "in_place", "ntop", "share"])
    return (
        f"{name} is no field of a {type_name} layer"
        f"{hint or '; its fields are ' + ', '.join(known)}"
    )


def _structure_problems(
    row: LayerType, fn: Function, message: LayerParameter, *, complete: bool
) -> list[str]:
    problems = []
    missing = missing_fields(row, message) if complete else ()
    if missing:
        ways = [
            " or ".join((name, *(" and ".join(w) for w in row.instead.get(name, ()))))
            for name in missing
        ]
        problems.append(f"{', '.join(ways)} is missing; it has no default")
    bottoms = len(fn.inputs) + len(message.bottom)
    names = tuple(top.label or f"<{top.fn.type_name}>" for top in fn.inputs)
    problem = bottom_problem(row, bottoms, names)
    if problem is not None:
        return [*problems, problem]
    # In-place tops are named after the bottoms, so that there may be fewer.
    tops = fn.ntop + len(message.top)
    wrong = top_problem(row, bottoms, tops)
    if wrong is not None and not (row.auto_top and tops == 0):
        problems.append(f"{wrong[0]}; write ntop={wrong[1]}")
    return problems


def _infer(fn: Function, message: LayerParameter) -> None:
    """Give the tops of `fn` their shapes, as far as those of its bottoms tell them."""
    shapes = [top.shape for top in fn.inputs if top.shape is not None]
    if len(shapes) < len(fn.inputs):
        return
    if len(message.bottom) or len(message.top):
        return  # wired by name to blobs that are not known here
    if fn.type_name not in _inferred():
        return
    message.bottom.extend(top.label for top in fn.inputs)
    if fn.in_place:
        message.top.extend(message.bottom[: fn.ntop])
    else:
        message.top.extend(f"(top {index})" for index in range(fn.ntop))
    try:
        found = top_shapes(message, shapes)
    except SpecError as error:
        raise _located(error, fn, message) from None
    for top, shape in zip(fn.tops, found, strict=False):
        top.shape = shape


@functools.cache
def _inferred() -> frozenset[str]:
    """Return the types whose shapes can be inferred."""
    # Imported at the first call: forty modules, which a mere import need not wait for.
    from netspec.ops import known_types

    return frozenset(known_types())


def _located(error: SpecError, fn: Function, message: LayerParameter) -> SpecError:
    """Return `error` with the place of the call in it."""
    text = str(error).removeprefix(f"layer {message.name!r} ({message.type}): ")
    return type(error)(f"{describe(fn)}: {text}")


class NoSuchType(SpecError, AttributeError):
    """A layer type that is not in the catalogue."""


def no_such_layer(name: str) -> AttributeError:
    """Return the error of `L.name` for an unknown layer type."""
    if name.startswith("_"):
        return AttributeError(name)
    site = user_site()
    hint = did_you_mean(name, LAYER_TYPES)
    return NoSuchType(
        f"{site}: no layer type is named {name!r}{hint or '.'} A type of your own is "
        f"called by netspec.layer({name!r}, ...)"
    )


def no_such_param(name: str) -> AttributeError:
    """Return the error of `P.name` for an unknown type or one without enums."""
    if name.startswith("_"):
        return AttributeError(name)
    from netspec import params

    known = [each for each in vars(params) if each[0].isupper() and each != "Any"]
    hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
    return NoSuchType(
        f"{user_site()}: no layer type with named values is called {name!r}{hint}"
    )
