"""The recording of a call: everything that can be checked where it was written."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from netspec.catalogue import LAYER_TYPES, LayerType
from netspec.catalogue.check import bottom_problem, missing_fields, top_problem
from netspec.errors import SpecError, join_lines, shown
from netspec.language.calls import Function, Namespace, Top, describe, described
from netspec.language.defaults import add_defaults
from netspec.language.doubts import (
    check_in_place,
    doubts_of,
    faults_of,
    filler_doubts,
)
from netspec.language.entries import no_top
from netspec.language.options import fields_of, own_param, write_params
from netspec.language.scope import add_call, current_scope
from netspec.language.shapes import infer
from netspec.language.sharing import tie
from netspec.nets.words import strange_words
from netspec.schema import LayerParameter
from netspec.site import user_site, warn_at

_P = ParamSpec("_P")
_R = TypeVar("_R")


def layer(type_name: str, *bottoms: Any, **fields: Any) -> Any:
    """Call a layer type by its name, also one that is not in the catalogue.

    Options of an unknown type go into the message of that name if there is one
    (`FooParameter` for "Foo"), or are given as a whole: `convolution_param=dict(...)`.
    """
    return record(type_name, bottoms, fields)


Top.layer = staticmethod(layer)


def layer_function(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a declared layer function record its calls.

    The declaration gives the name, the signature and the docstring. Its body never
    runs, so that a wrong argument gets one of our messages instead of Python's.
    """
    name = function.__name__
    types = function.__annotations__
    types.update({key: _shown(value) for key, value in types.items()})

    @functools.wraps(function)
    def call(*bottoms: _P.args, **fields: _P.kwargs) -> _R:
        result: _R = record(name, bottoms, fields)
        return result

    return call


class _Shown(str):
    """An annotation, as text, that `help()` shows without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


_shown = functools.cache(_Shown)  # the layers have few types for many options


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
    add_defaults(type_name, len(bottoms), fields, params)
    in_place = params.pop("in_place", False)
    none = strict and row is not None and row.tops == (0, 0)
    tops = params.pop("ntop", 0 if none else 1)
    others = params.pop("share", None)

    def who() -> str:
        return described(
            type_name, str(params.get("name") or ""), site, current_scope()
        )

    if isinstance(tops, bool) or not isinstance(tops, int) or tops < 0:
        raise SpecError(
            f"ntop is {shown(tops)}; expected the number of tops", layer=who()
        )
    if not isinstance(in_place, int) and type(in_place).__name__ not in _BOOLS:
        problem = f"in_place is {shown(in_place)}; expected True or False"
        raise SpecError(problem, layer=who())
    named = [name for name, value in params.items() if isinstance(value, Top)]
    if named:
        raise NotATop(
            f"{named[0]} is a top, but bottoms are given by place: "
            f"L.{type_name}(x, ...)",
            layer=who(),
        )
    inputs = _inputs(type_name, bottoms, who, strict=strict)
    fn = Function(
        type_name,
        inputs,
        params,
        ntop=tops,
        in_place=bool(in_place),
        site=site,
        scope=current_scope(),
        strict=strict,
    )
    message = LayerParameter(type=type_name)
    problems = write_params(message, fn)
    faults = []
    words = list(strange_words(message)) if row is not None else []
    if row is not None:
        # A field that is missing may be there, misspelt.
        faults = _structure_problems(row, fn, message, complete=not problems)
        faults += faults_of(row, fn, message, words)
    if strict or problems:
        problems += faults
    if others is not None and not problems:
        problems += tie(fn, message, others)
    if problems:
        raise SpecError(join_lines(problems), layer=who())
    try:
        if faults:
            raise SpecError(join_lines(faults), layer=who())
        infer(fn, message)
        check_in_place(fn)
    except SpecError as error:
        error = error if error.layer else error.replaced(layer=who())
        if strict:
            raise error from None
        warn_at(site, str(error))
    _warn(row, fn, message, fields.keys() & params.keys(), words)
    add_call(fn)
    if tops == 0:
        return fn
    return fn.tops[0] if tops == 1 else fn.tops


_BOOLS = ("bool", "bool_")  # NumPy's among them
_TOLD: set[tuple[str, str]] = set()  # files, and what was told of fillers in them


def _warn(
    row: LayerType | None,
    fn: Function,
    message: LayerParameter,
    given: Collection[str],
    words: Sequence[tuple[str, bool]],
) -> None:
    """Warn of what a call says in vain; of the same in fillers once a file."""
    for doubt in doubts_of(row, fn, message, given, words):
        warn_at(fn.site, f"{describe(fn)}: {doubt}")
    for doubt in filler_doubts(row, message, given):
        key = fn.site.file, doubt
        if key not in _TOLD:
            _TOLD.add(key)
            warn_at(fn.site, f"{describe(fn)}: {doubt}")


def _inputs(
    type_name: str, bottoms: Sequence[Any], who: Callable[[], str], *, strict: bool
) -> list[Top]:
    tops = []
    for index, bottom in enumerate(bottoms):
        if bottom is None:
            continue  # an optional bottom that is not given
        if not isinstance(bottom, Top):
            # A NetSpec stands for what it calls its output.
            top = getattr(bottom, "output_top", None)
            if top is None:
                problem = f"bottom {index} {_not_a_top(bottom)}"
                row = LAYER_TYPES.get(type_name)
                fed = row is None or row.bottoms != (0, 0)
                if isinstance(bottom, int | float | str | bool) and (index or not fed):
                    problem += _by_name(type_name, bottom)
                elif type_name == "Input" and _is_shape(bottom):
                    sizes = ", ".join(map(str, bottom))
                    problem += f". Write L.Input(shape=[batch, {sizes}])"
                if strict:
                    raise NotATop(problem, layer=who())
                # Caffe's words, which scripts may look for; ours are in a note.
                said = (
                    f"{type_name} input {index} is not a Top (type is {type(bottom)})"
                )
                error = NotATop(said)
                error.add_note(f"{who()}: {problem}")
                raise error
            bottom = top
        tops.append(bottom)
    return tops


def _by_name(type_name: str, value: Any) -> str:
    """Say how an option is given, as `value` was given without its name."""
    row = LAYER_TYPES.get(type_name)
    own = own_param(type_name)
    names = [
        *(row.required if row is not None else ()),
        *(fields_of(own) if own else ()),
    ]
    if not names:
        return ""
    return f". Options are given by name: {names[0]}={value!r}"


class NotATop(SpecError, TypeError):
    """Something else where a layer takes a top."""


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(type(size) is int for size in value)


def _not_a_top(value: Any) -> str:
    if isinstance(value, tuple | list) and all(isinstance(v, Top) for v in value):
        return (
            f"is a {type(value).__name__} of {len(value)} tops; expected one top, so "
            f"pass one of them, or all with a star: *tops"
        )
    if isinstance(value, str):
        return f"is the text {value!r}; expected a top, such as n[{value!r}]"
    if isinstance(value, Namespace):
        return (
            "is a NetSpec without a top named 'output'; expected a top, so name the "
            "one that is meant"
        )
    return no_top(value)


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
