"""The context of a call: the module that is running, the phase, the defaults around."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from netspec.language.calls import Function, Namespace, Scope


@dataclass(frozen=True)
class Defaults:
    """Options for the layers of a region; no types means all that have the field."""

    types: frozenset[str]
    fields: Mapping[str, Any]


_SCOPE: ContextVar[Scope | None] = ContextVar("scope", default=None)
_RECORDERS: ContextVar[tuple[list[Function], ...]] = ContextVar("recorders", default=())
_PHASE: ContextVar[int | None] = ContextVar("phase", default=None)
_DEFAULTS: ContextVar[tuple[Defaults, ...]] = ContextVar("defaults", default=())


def made_in(
    space: Namespace,
) -> tuple[tuple[Namespace, str] | None, Scope | None]:
    """Return the folder that a folder is in, with its name there, and its scope."""
    # Not attributes: those are the names of tops.
    state = vars(space)
    return state["_parent"], state["_scope"]


def current_scope() -> Scope | None:
    """Return the call of a module that is running, if any."""
    return _SCOPE.get()


def current_phase() -> int | None:
    """Return the phase of the block around, if any."""
    return _PHASE.get()


def current_defaults() -> tuple[Defaults, ...]:
    """Return the defaults around, the outermost first."""
    return _DEFAULTS.get()


def add_call(fn: Function) -> None:
    """Tell those who keep a list of calls of a new one."""
    for calls in _RECORDERS.get():
        calls.append(fn)


@contextmanager
def recording(calls: list[Function]) -> Iterator[None]:
    """Append the calls made inside to a list."""
    token = _RECORDERS.set((*_RECORDERS.get(), calls))
    try:
        yield
    finally:
        _RECORDERS.reset(token)


@contextmanager
def inside(scope: Scope) -> Iterator[None]:
    """Make a scope the current one."""
    with naming(scope), recording(scope.calls):
        yield


@contextmanager
def naming(scope: Scope) -> Iterator[None]:
    """Make a scope the current one, without noting the calls as its own."""
    token = _SCOPE.set(scope)
    try:
        yield
    finally:
        _SCOPE.reset(token)


@contextmanager
def in_phase(phase: int) -> Iterator[None]:
    """Make a phase the current one."""
    token = _PHASE.set(phase)
    try:
        yield
    finally:
        _PHASE.reset(token)


@contextmanager
def with_defaults(defaults: Defaults) -> Iterator[None]:
    """Add defaults to those around."""
    token = _DEFAULTS.set((*_DEFAULTS.get(), defaults))
    try:
        yield
    finally:
        _DEFAULTS.reset(token)
