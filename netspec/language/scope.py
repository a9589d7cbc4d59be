"""What surrounds a call: the module it is in, the phase, the defaults of its region."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netspec.language.calls import Function, Top
    from netspec.net_spec import NetSpec
    from netspec.site import Site


@dataclass(eq=False)
class Scope:
    """One call of a module.

    label: the name of the module's function. name: the one given by `name=`, or "".
    calls: what was recorded in it, in order, that of inner modules included. named: the
    tops to which a NetSpec made in it gave names. results: what it returned. outside:
    the tops among these that got their name outside. assigned: the NetSpec and the key
    under which its one result is.
    """

    label: str
    name: str
    site: Site
    parent: Scope | None
    calls: list[Function] = field(default_factory=list)
    named: dict[Top | Function, tuple[NetSpec, str]] = field(default_factory=dict)
    results: tuple[Top | Function | NetSpec, ...] = ()
    outside: set[Top | Function] = field(default_factory=set)
    assigned: tuple[NetSpec, str] | None = None

    def chain(self) -> Iterator[Scope]:
        """Yield this scope and those around it, the innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent


@dataclass(frozen=True)
class Defaults:
    """Options for the layers of a region; no types means all that have the field."""

    types: frozenset[str]
    fields: Mapping[str, Any]


_SCOPE: ContextVar[Scope | None] = ContextVar("scope", default=None)
_RECORDERS: ContextVar[tuple[list[Function], ...]] = ContextVar("recorders", default=())
_PHASE: ContextVar[int | None] = ContextVar("phase", default=None)
_DEFAULTS: ContextVar[tuple[Defaults, ...]] = ContextVar("defaults", default=())


def made_in(spec: NetSpec) -> tuple[tuple[NetSpec, str] | None, Scope | None]:
    """Return the folder that a NetSpec is in, with its name there, and its scope."""
    # Not attributes: those are the names of tops.
    state = spec.__dict__
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
