"""Who is told what happens during training."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from netspec import notebooks
from netspec.errors import SpecError, SpecWarning
from runtime.training.callback_state import SOLVER, States, packed
from runtime.training.divergence import warn
from runtime.training.records import StepRecord, TestRecord
from runtime.training.same_function import all_equal, is_again, same_place
from runtime.training.snapshot_files import Snapshot, SnapshotWarning

CallbackT = TypeVar("CallbackT", bound="Callback")

EVENTS = (
    "on_train_begin",
    "on_step",
    "on_test",
    "on_snapshot",
    "on_epoch_end",
    "on_train_end",
)
PAIR = ("before", "after")


class Callback:
    """Something that is told what happens in a training; `solver.callbacks` has them.

    A class of your own overrides the methods that it needs: the others cost nothing.
    Any of them may call `solver.stop()` and `solver.snapshot_soon()`, or set
    `solver.lr`, which holds from the next iteration on. What it raises ends the
    training after a whole iteration.

    name: what a snapshot calls its state; else that is the name of the class, with a
        number where there are several of one class.
    """

    name: str | None = None
    _made_of: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make one that remembers what it was made of; see `again`."""
        made = super().__new__(cls)
        made._made_of = args, kwargs
        return made

    def on_train_begin(self, solver: Any) -> None:
        """Be told that a `step`, a `solve` or a `fit` begins."""

    def on_step(self, record: StepRecord) -> None:
        """Be told of an iteration that is done, with its update.

        On a GPU the host waits for every iteration where this is overridden.
        """

    def on_test(self, record: TestRecord) -> None:
        """Be told of the results of a test net."""

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """Be told of a snapshot that was written."""

    def on_epoch_end(self, solver: Any, epoch: int) -> None:
        """Be told that `epoch` epochs are done: 1 after `solver.epoch_size` iterations.

        The tests that are due then are done already.
        """

    def on_train_end(self, solver: Any) -> None:
        """Be told that a `step`, a `solve` or a `fit` is over.

        It may have ended by an error or an interrupt.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return what a snapshot has to keep, so that a resumed run decides the same.

        Numbers, strings, None, arrays, and lists and dicts of them.
        """
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned when the snapshot was written."""

    def again(self, old: Callback) -> bool:
        """Say whether adding this replaces `old`, of the same class.

        By default if both have the same `name`, or were made with equal arguments.
        """
        if self.name is not None or old.name is not None:
            return self.name == old.name
        (args, kwargs), (old_args, old_kwargs) = self._made_of, old._made_of
        return all_equal(args, old_args) and all_equal(kwargs, old_kwargs)


@dataclass(frozen=True)
class _Entry:
    """A callback, or the functions by the names of what they are called for."""

    what: Any
    calls: dict[str, Callable[..., Any]]

    def replaces(self, old: _Entry) -> bool:
        if isinstance(self.what, Callback) or isinstance(old.what, Callback):
            return _is_again(self.what, old.what)
        return self.calls.keys() == old.calls.keys() and all(
            is_again(call, old.calls[event]) for event, call in self.calls.items()
        )

    def is_of(self, what: Any) -> bool:
        return self.what is what or what in self.calls.values()


def _is_again(new: Any, old: Any) -> bool:
    if new is old:
        return True
    if not same_place(type(new), type(old)):
        return False
    # A class that was defined again takes the place of all that the old one made.
    return type(new) is not type(old) or new.again(old)


class CallbackList:
    """The callbacks of a solver, called in the order in which they were added.

    At the end of an iteration come: `on_step`; a snapshot that is due, and
    `on_snapshot`; tests that are due, and `on_test` for every test net;
    `on_epoch_end`. Functions given by `solver.on_step` and its like are in the same
    order, and are removed in the same way.

    An exception of a callback ends the training; it has a note that says whose it is.
    """

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self.runs = 0  # `fit` has runs of `solve` within it
        self._solver: Any = None  # of the run
        self._states: States | None = None  # of a snapshot, without those taken
        self._taken: list[Callback] = []  # who took one
        self._seen: dict[str, int] = {}  # at which iterations these were told of what
        self._arrange()

    # ------------------------------------------------------------ for users

    def add(self, callback: CallbackT) -> CallbackT:
        """Add a callback and return it.

        If there is an equal one, this takes its place and its state: a cell of a
        notebook may run twice. Equal is one of the same class that was made with equal
        arguments (ours: that watches or writes the same), or has the same `name`.

        Raises `SpecError` for what is no `Callback`.
        """
        if not isinstance(callback, Callback):
            raise _no_callback(callback)
        there = callback in self
        for entry in self._entries:
            old = entry.what
            if not there and type(old) is type(callback) and callback.again(old):
                callback.load_state_dict(old.state_dict())
                break
        calls = {
            event: method
            for event in EVENTS
            if (method := _overridden(callback, event)) is not None
        }
        self._put(_Entry(callback, calls))
        self._take()
        if self._solver is not None and not there and "on_train_begin" in calls:
            _call(calls["on_train_begin"], self._solver)
        return callback

    def remove(self, callback: Any) -> None:
        """Remove a callback, or a function from whatever it is called for.

        Raises `SpecError` for one that is not there.
        """
        kept = [entry for entry in self._entries if not entry.is_of(callback)]
        if len(kept) == len(self._entries):
            there = ", ".join(map(_label, self._whats())) or "none"
            raise SpecError(
                f"callback {_label(callback)} cannot be removed, as it is not there; "
                f"there are: {there}"
            )
        self._entries = kept
        self._arrange()

    def clear(self) -> None:
        """Remove all callbacks and functions."""
        self._entries = []
        self._arrange()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._whats())

    def __len__(self) -> int:
        return len(self._whats())

    def __contains__(self, callback: object) -> bool:
        return any(entry.is_of(callback) for entry in self._entries)

    def __getitem__(self, index: int) -> Any:
        return self._whats()[index]

    def __repr__(self) -> str:
        return f"[{', '.join(map(_label, self._whats()))}]"

    # ------------------------------------------------------------ for solvers

    def on(self, **calls: Callable[..., Any]) -> None:
        """Call functions for what their names say."""
        for event, call in calls.items():
            if not callable(call):
                raise _no_function(event, call)
        first, *_ = what = tuple(calls.values())
        self._put(_Entry(first if len(what) == 1 else what, calls))

    def has(self, event: str) -> bool:
        """Say whether anybody wants to know of an event."""
        return bool(self._calls[event])

    @property
    def idle(self) -> bool:
        """Whether nobody is there to be told of anything, and nothing runs."""
        return not (self._entries or self.runs or self._states is not None)

    def tell(self, event: str, *args: Any) -> None:
        """Call all that want to know of an event."""
        for call in self._calls[event]:
            _call(call, *args)

    def tell_at(self, iteration: int, event: str, *args: Any) -> None:
        """Call all that want to know of what comes again after a snapshot.

        But those whose states in the snapshot know of it.
        """
        known = self._taken if self._seen.get(event) == iteration else []
        for call in self._calls[event]:
            if not any(getattr(call, "__self__", None) is one for one in known):
                _call(call, *args)

    def begin(self, solver: Any) -> None:
        """Tell that a run begins, unless it is a part of another one."""
        self.runs += 1
        if self.runs == 1:
            self._solver = solver
            self._warn_of_states()
            self.tell("on_train_begin", solver)

    def end(self, solver: Any) -> None:
        """Tell that a run is over, if it was the outer one."""
        self.runs -= 1
        if self.runs == 0:
            self._solver = None
            self.tell("on_train_end", solver)

    def states(self, solver: dict[str, Any]) -> list[bytes]:
        """Return the states of all callbacks for a snapshot, and that of their solver.

        solver: what it wants to keep; left out where nobody has a state. A state that
        cannot be kept is warned of: the rest of the snapshot is worth having.
        """
        found = []
        for name, callback in self._names().items():
            try:
                if state := callback.state_dict():
                    found.append(packed(name, state))
            except Exception as error:
                warn(
                    f"the state of the callback {name} cannot be kept: "
                    f"{type(error).__name__}: {error}; the snapshot is without it",
                    SnapshotWarning,
                )
        if found or solver.get("rates"):
            found.append(packed(SOLVER, solver))
        return found

    def restore(self, states: States) -> dict[str, Any]:
        """Let callbacks take their states of a snapshot, now or when they are added.

        Returns what `states` kept for the solver.
        """
        self._states = dict(states)
        solver = self._states.pop(SOLVER, {})
        self._taken, self._seen = [], solver.get("seen", {})
        self._take()
        if self.runs:
            self._warn_of_states()
        return solver

    def _take(self) -> None:
        """Let callbacks have the states that wait for their names."""
        for name, callback in self._names().items():
            if self._states and name in self._states:
                state = self._states.pop(name)
                _call(callback.load_state_dict, state)
                self._taken.append(callback)

    def _warn_of_states(self) -> None:
        """Warn of states that nobody took, and of callbacks that found none."""
        states, self._states = self._states, None
        if states is None:
            return
        names = self._names()
        taken = {id(callback) for callback in self._taken}
        without = [n for n, one in names.items() if id(one) not in taken]
        without = [name for name in without if names[name].state_dict()]
        if states:
            warn(
                f"the snapshot has states of callbacks that are not there: "
                f"{', '.join(states)}; add them before, or this run may decide "
                f"otherwise than one that was not stopped",
                SpecWarning,
            )
        if without:
            warn(
                f"the snapshot has no state of callbacks that stay as they are: "
                f"{', '.join(without)}",
                SpecWarning,
            )

    def _names(self) -> dict[str, Callback]:
        """Return the callbacks by the names of their states."""
        found: dict[str, Callback] = {}
        for entry in self._entries:
            if isinstance(callback := entry.what, Callback):
                name, number = callback.name or type(callback).__name__, 1
                while (key := name if number == 1 else f"{name} {number}") in found:
                    number += 1
                found[key] = callback
        return found

    def _put(self, new: _Entry) -> None:
        """Put an entry in the place of an older one of the same, or at the end."""
        kept: list[_Entry] = []
        place = None
        for entry in self._entries:
            if not new.replaces(entry):
                kept.append(entry)
            elif place is None:
                place = len(kept)
        kept.insert(len(kept) if place is None else place, new)
        self._entries = kept
        self._arrange()

    def _arrange(self) -> None:
        # Tuples, so that whoever is called may add and remove.
        self._calls = {
            event: tuple(
                entry.calls[event] for entry in self._entries if event in entry.calls
            )
            for event in (*EVENTS, *PAIR)
        }
        self.meddle = any(self._calls[event] for event in PAIR)

    def _whats(self) -> list[Any]:
        found: list[Any] = []
        for entry in self._entries:
            if not any(entry.what is one for one in found):
                found.append(entry.what)
        return found


def _overridden(callback: Callback, event: str) -> Callable[..., Any] | None:
    method: Callable[..., Any] = getattr(callback, event)
    usual = getattr(method, "__func__", None) is getattr(Callback, event)
    return None if usual else method


def _call(call: Callable[..., Any], *args: Any) -> None:
    try:
        call(*args)
    except BaseException as error:
        owner = getattr(call, "__self__", None)
        label = _label(owner if isinstance(owner, Callback) else call)
        event = f", {call.__name__}" if isinstance(owner, Callback) else ""
        error.add_note(f"raised by the callback {label}{event}; training ends here")
        if notebooks.shell() is not None:  # which then shows the user's code alone
            notebooks.hide_frames(inspect.currentframe())
        raise


def _label(what: Any) -> str:
    """Name a callback or a function."""
    if isinstance(what, tuple):
        return f"({', '.join(map(_label, what))})"
    if isinstance(what, Callback):
        plain = type(what).__repr__ is object.__repr__
        return what.name or (type(what).__name__ if plain else repr(what))
    return str(getattr(what, "__qualname__", None) or repr(what))


def _no_callback(what: Any) -> SpecError:
    if isinstance(what, type) and issubclass(what, Callback):
        fix = f"add an object: {what.__name__}(...)"
    elif callable(what):
        fix = (
            "a function is given by solver.on_step, on_test, on_snapshot or "
            "on_epoch_end, which say when to call it, or in a list as "
            "runtime.callbacks.LambdaCallback(on_epoch_end=...)"
        )
    else:
        fix = "derive its class from runtime.Callback"
    return SpecError(f"{_label(what)} is no callback; {fix}")


def _no_function(event: str, what: Any) -> SpecError:
    fix = "; add it by solver.callbacks.add" if isinstance(what, Callback) else ""
    return SpecError(f"{event} takes a function; got {_label(what)}{fix}")
