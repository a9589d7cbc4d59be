"""Arguments of a function from the words of a command line: `name=value`."""

from __future__ import annotations

import ast
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from netspec.errors import SpecError, did_you_mean

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


def parse_settings(
    function: Callable[..., Any], words: Sequence[str]
) -> dict[str, Any]:
    """Return the arguments that `words` give, typed as `function` declares them.

    The annotation of a parameter decides, without one the type of its default. Raises
    `SpecError` for a word without `=`, an unknown name, or a value of the wrong type.
    """
    parsed: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise SpecError(f"--set {word}: expected NAME=VALUE")
        check_names(function, [name], f"--set {word}")
        parsed[name] = _convert(text, _type_of(function, name), f"--set {word}")
    return parsed


def check_names(function: Callable[..., Any], names: Sequence[str], what: str) -> None:
    """Refuse names that `function` has no parameter for."""
    known = parameters(function)
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values()):
        return
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) if known else ""
            have = ", ".join(known) or "none"
            raise SpecError(
                f"{what}: {function.__name__}() has no parameter {name!r}{hint} "
                f"(it has {have})"
            )


def parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of `function` that can be given by name."""
    return {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind
        not in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
    }


def _type_of(function: Callable[..., Any], name: str) -> Any:
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):  # an annotation for readers only
        hints = {}
    if name in hints:
        return hints[name]
    parameter = parameters(function).get(name)
    default = None if parameter is None else parameter.default
    known = default is not None and default is not inspect.Parameter.empty
    return type(default) if known else Any


def _convert(text: str, kind: Any, what: str) -> Any:
    origin = typing.get_origin(kind)
    choices = typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _first_that_fits(text, choices, what)
    if origin is Literal:
        for choice in choices:
            if str(choice) == text:
                return choice
        names = ", ".join(str(choice) for choice in choices)
        raise SpecError(f"{what}: expected one of {names}")
    if _is_sequence(origin or kind):
        item = next((c for c in choices if c is not Ellipsis), Any)
        parts = [part.strip() for part in text.strip("[]()").split(",")]
        values = [_convert(part, item, what) for part in parts if part]
        return values if (origin or kind) is list else tuple(values)
    if kind is bool:
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise SpecError(f"{what}: expected true or false")
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            noun = "an integer" if kind is int else "a number"
            raise SpecError(f"{what}: expected {noun}") from None
    if kind is str:
        return text
    if kind is Path:
        return Path(text)
    return _literal(text)


def _is_sequence(kind: Any) -> bool:
    return kind in (list, tuple) or kind is Sequence


def _first_that_fits(text: str, kinds: Sequence[Any], what: str) -> Any:
    if type(None) in kinds and text.lower() == "none":
        return None
    failures = []
    for kind in sorted(kinds, key=lambda kind: kind is str):  # anything is text
        if kind is type(None):
            continue
        try:
            return _convert(text, kind, what)
        except SpecError as error:
            failures.append(str(error).removeprefix(f"{what}: expected "))
    raise SpecError(f"{what}: expected {' or '.join(failures)}")


def _literal(text: str) -> Any:
    """Return a Python literal, or the text itself where it is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
