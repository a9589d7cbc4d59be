"""Signatures and docstrings that list every field of a solver."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from runtime.training.solver_fields import ABOUT, SolverFields

ClassT = TypeVar("ClassT")
CallT = TypeVar("CallT", bound=Callable[..., Any])


class _Text(str):
    """An annotation as text, which signatures show without quotes."""

    def __repr__(self) -> str:
        return str(self)


def takes_fields(call: CallT) -> CallT:
    """Let the signature of a function with `**fields` name each of them.

    Editors and notebooks complete by it. Its docstring gets what the fields mean.
    """
    own = inspect.signature(call)
    kept = [
        one.replace(annotation=_Text(one.annotation))
        for one in own.parameters.values()
        if one.kind is not one.VAR_KEYWORD
    ]
    fields = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=_Text(kind.__forward_arg__),
        )
        for name, kind in SolverFields.__annotations__.items()
    ]
    place = next(
        (i for i, one in enumerate(kept) if one.kind is one.KEYWORD_ONLY), len(kept)
    )
    parameters = [*kept[:place], *fields, *kept[place:]]
    result = _Text(own.return_annotation)
    signature = own.replace(parameters=parameters, return_annotation=result)
    call.__signature__ = signature  # type: ignore[attr-defined]
    if call.__doc__ is not None:
        call.__doc__ = with_fields(call.__doc__)
    return call


def documented(kind: type[ClassT]) -> type[ClassT]:
    """Give the docstring of a class what every field of a solver means."""
    if kind.__doc__ is not None:
        kind.__doc__ = with_fields(kind.__doc__)
    return kind


def with_fields(doc: str) -> str:
    """Return a docstring with what every field of a solver means."""
    about = ABOUT.rstrip().replace("\n", "\n    ")
    return f"{inspect.cleandoc(doc)}\n\nFields:\n    {about}\n"
