"""Modules, shared modules, phases and defaults: what goes around calls.

@module
def inception(bottom, narrow, wide):
    a = L.Convolution(bottom, num_output=narrow, kernel_size=1, name="1x1")
    b = L.Convolution(bottom, num_output=wide, kernel_size=3, pad=1, name="3x3")
    return L.Concat(a, b, name="output")

n.mixed = inception(n.data, 64, 128)     # mixed/1x1, mixed/3x3, mixed/output
tower = shared(inception)                # every call uses the same parameters
with phase("TRAIN"): ...                 # layers of the TRAIN net only
with defaults(L.Convolution, weight_filler="xavier"): ...
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar, overload

from netspec.catalogue import LAYER_TYPES
from netspec.errors import SpecError, did_you_mean, join_lines, shown
from netspec.language.calls import Function, Scope, Top
from netspec.language.folder import Folder
from netspec.language.options import LAYER_FIELDS, fields_of, own_param
from netspec.language.python_to_proto import assign_field
from netspec.language.scope import (
    Defaults,
    current_phase,
    current_scope,
    in_phase,
    inside,
    recording,
    with_defaults,
)
from netspec.language.sharing import tie_calls
from netspec.nets.words import strange_words
from netspec.schema import LayerParameter
from netspec.site import Site, user_site

_P = ParamSpec("_P")
_R = TypeVar("_R")


@overload
def module(function: Callable[_P, _R]) -> Callable[_P, _R]: ...


@overload
def module(
    *, names: Callable[[str, str], str]
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]: ...


def module(function: Any = None, *, names: Any = None) -> Any:
    """Make a function a module: the layers of a call get a path.

    The path is the name to which the one result is assigned (`n.inception_3a = ...`),
    or `name=` of the call, or the name of the function with a number. It stands before
    the names of the layers: those that `name=` of a layer gives, or a `NetSpec` made in
    the function. A result without such a name gets the one it is assigned to.

    The function takes tops and options, returns a top, several, or a NetSpec, and may
    call other modules. Everything it records belongs to the net, also what it does not
    return. Every call has parameters of its own; see `shared`.

    names: a rule for nets whose published names are no paths. It takes the name of a
    call and the name in it of a layer or blob, and returns the one that the net has;
    drawings and summaries show the module all the same:

        @module(names=lambda block, part: f"{block}_{part}")
        def residual(x, width): ...

        n.res2a = residual(n.pool1, 64)  # layers res2a_branch2a, res2a_branch2b, ...

    Raises `SpecError` at a call with missing or unknown arguments, and in `to_proto`
    for a rule that returns no text or one name for two.
    """
    if function is None:
        return functools.partial(_module, names=names)
    return _module(function, names=names)


def _module(
    function: Callable[_P, _R], names: Callable[[str, str], str] | None
) -> Callable[_P, _R]:
    if not callable(function):
        raise SpecError(
            f"{user_site()}: module takes a function, which takes tops and returns "
            f"them; got {shown(function)}"
        )
    if not (names is None or callable(names)):
        raise SpecError(
            f"{user_site()}: names of module is {shown(names)}; expected a function "
            f"that takes the name of a call and one in it, and returns that in the net"
        )
    signature = inspect.signature(function)
    takes_name = "name" in signature.parameters
    label = function.__name__.strip("_<>") or "module"

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        site = user_site()
        given: dict[str, Any] = dict(kwargs)
        name = given.get("name") if takes_name else given.pop("name", None)
        if not isinstance(name, str | None) or name == "":
            raise SpecError(f"{site}: {label}: name is {name!r}; expected text")
        _check_arguments(signature, label, args, given, takes_name)
        scope = Scope(label, name or "", site, current_scope(), rename=names)
        with inside(scope):
            result = function(*args, **given)
        scope.results = _results(result, label, site)
        return result

    return call


def _check_arguments(
    signature: inspect.Signature,
    label: str,
    args: tuple[Any, ...],
    given: dict[str, Any],
    takes_name: bool,
) -> None:
    try:
        signature.bind(*args, **given)
    except TypeError as error:
        known = [*signature.parameters, *(() if takes_name else ("name",))]
        unknown = [name for name in given if name not in known]
        hints = [f"{name!r}{did_you_mean(name, known)}" for name in unknown]
        detail = f"; unknown: {', '.join(hints)}" if hints else ""
        raise SpecError(
            f"{user_site()}: module {label}{signature}: {error}{detail}"
        ) from None


def _results(result: Any, label: str, site: Site) -> tuple[Any, ...]:
    values = result if isinstance(result, tuple | list) else (result,)
    if isinstance(result, dict):
        values = tuple(result.values())
    wrong = [v for v in values if not isinstance(v, Top | Function | Folder)]
    if wrong or not values:
        said = shown(wrong[0]) if wrong else "nothing"
        raise SpecError(
            f"{site}: module {label} returns {said}; expected a top, several tops or "
            f"a NetSpec"
        )
    return tuple(values)


def shared(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make every call of a module use the parameters of its first call.

        tower = shared(tower)
        n.left, n.right = tower(n.a), tower(n.b)

    Works for modules, for plain functions, for layer functions and for a net that
    `netspec.load` returned. The layers come out with equal `param { name }`, one for
    each parameter.

    Raises `SpecError` at a call that records other layers, or layers whose parameters
    have other shapes, than the first one.
    """
    block: Any = function
    is_block = isinstance(block, Folder)
    if is_block:  # it knows the names that its file gives
        twin: Any = functools.partial(block, shared=True)
        return twin  # type: ignore[no-any-return]
    if not callable(block):
        raise SpecError(
            f"{user_site()}: shared of {shown(block)}; expected a module, a function "
            f"that takes tops and returns them, or a net that netspec.load returned"
        )
    owners: list[Function] = []

    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        site = user_site()
        calls: list[Function] = []
        with recording(calls):
            result = function(*args, **kwargs)
        if owners:
            tie_calls(owners, calls, site)
        else:
            owners.extend(calls)
        return result

    if inspect.isroutine(function):
        functools.update_wrapper(call, function)
    return call


@contextmanager
def phase(name: str | int) -> Iterator[None]:
    """Put the layers of a block into the nets of one phase: "TRAIN" or "TEST".

    They get `include { phase: ... }`; a layer with rules of its own keeps those.

    Raises `SpecError` for another phase inside.
    """
    from netspec.nets.state import phase_number  # a mere import need not wait for it

    try:
        number = phase_number(name)
    except SpecError as error:
        raise SpecError(f"{user_site()}: {error}") from None
    outer = current_phase()
    if outer is not None and outer != number:
        raise SpecError(
            f"{user_site()}: a block of one phase in a block of the other has layers "
            f"in no net"
        )
    with in_phase(number):
        yield


@contextmanager
def defaults(*types: Callable[..., Any] | str, **fields: Any) -> Iterator[None]:
    """Set options for all layers of a block that do not give them.

        with defaults(L.Convolution, L.InnerProduct, weight_filler="xavier"):
            ...

    types: layer functions, or names of types; without any, an option is for all layers
    that have it, `param` for all layers with learned parameters. A layer that has fewer
    parameters than `param` has entries takes the first. Inner blocks win over outer
    ones, and None takes a default away.

    Raises `SpecError` for an unknown type or field, or a value of the wrong type.
    """
    names = [
        t if isinstance(t, str) else getattr(t, "__name__", repr(t)) for t in types
    ]
    problems = [
        f"{name} is no layer type{did_you_mean(name, LAYER_TYPES)}"
        for name in names
        if name not in LAYER_TYPES and own_param(name) is None
    ]
    if not problems:
        for field, value in fields.items():
            problems += _default_problems(names, field, value)
    if problems:
        raise SpecError(f"{user_site()}: defaults: " + join_lines(problems))
    with with_defaults(Defaults(frozenset(names), fields)):
        yield


def _default_problems(names: list[str], field: str, value: Any) -> list[str]:
    """Return what is wrong with a default, by writing it into a layer of each type."""
    if field in LAYER_FIELDS:
        if value is None:
            return []
        message = LayerParameter()
        return assign_field(message, LAYER_FIELDS[field], value) or _slips(message)
    owns = [own_param(name) for name in (names or LAYER_TYPES)]
    kinds = [fields_of(own) for own in owns if own is not None]
    having = [fields for fields in kinds if field in fields]
    if (names and len(having) < len(names)) or not having:
        known = sorted({name for fields in kinds for name in fields})
        of = f" of {', '.join(names)}" if names else " of any layer"
        hint = did_you_mean(field, [*known, *LAYER_FIELDS])
        return [f"{field} is no field{of}{hint}"]
    if value is None:
        return []
    # Without types, those that have the field may have it of several kinds.
    own = next(own for own in owns if own is not None and field in fields_of(own))
    message = LayerParameter()
    problems = assign_field(getattr(message, own), having[0][field], value)
    if names or not problems:
        return problems or _slips(message)
    return []


def _slips(message: LayerParameter) -> list[str]:
    """Return what is wrong with words such as the type of a filler."""
    return [text.partition(".")[2] for text, slip in strange_words(message) if slip]
