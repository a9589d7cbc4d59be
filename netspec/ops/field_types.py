"""Values of fields against their annotations, as far as JSON has such values."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

from netspec.errors import SpecError


def converted(what: str, value: Any, kind: Any) -> Any:
    """Return `value` as the annotation `kind` wants it.

    A whole number is a float where one is wanted, a list a tuple. Annotations other
    than those of JSON's values say nothing.

    Raises `SpecError` for a value of another type.
    """
    found = _convert(value, kind)
    if found is _WRONG:
        name = kind.__name__ if isinstance(kind, type) else str(kind)
        raise SpecError(f"{what} is {value!r}; expected {name}")
    return found


_WRONG = object()


def _convert(value: Any, kind: Any) -> Any:
    if kind is bool or kind is str:
        return value if isinstance(value, kind) else _WRONG
    if kind is int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return value if whole else _WRONG
    if kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if number else _WRONG
    if kind is None or kind is type(None):
        return None if value is None else _WRONG
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value if value in arguments else _WRONG
    if origin in (Union, types.UnionType):
        tried = [_convert(value, one) for one in arguments]
        return next((one for one in tried if one is not _WRONG), _WRONG)
    if kind in (list, tuple) or origin in (list, tuple):
        return _sequence(value, origin or kind, arguments)
    if kind is dict or origin is dict:
        return value if isinstance(value, dict) else _WRONG
    return value


def _sequence(value: Any, kind: Any, arguments: tuple[Any, ...]) -> Any:
    if not isinstance(value, list | tuple):
        return _WRONG
    if kind is list or Ellipsis in arguments:
        kinds = [arguments[0] if arguments else Any] * len(value)
    else:
        kinds = list(arguments) or [Any] * len(value)
    if len(kinds) != len(value):
        return _WRONG
    items = [_convert(item, one) for item, one in zip(value, kinds, strict=True)]
    return _WRONG if any(item is _WRONG for item in items) else kind(items)
