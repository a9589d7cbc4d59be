"""Who is told what happens during training."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from netspec.errors import SpecError
from netspec.schema import SolverParameter
from runtime.training.history import History, StepRecord, TestRecord
from runtime.training.same_function import all_equal, is_again, same_place
from runtime.training.snapshot_files import Snapshot
from runtime.training.testing import is_due

CallT = TypeVar("CallT", bound=Callable[..., Any])
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

    def tell(self, event: str, *args: Any) -> None:
        """Call all that want to know of an event."""
        for call in self._calls[event]:
            _call(call, *args)

    def begin(self, solver: Any) -> None:
        """Tell that a run begins, unless it is a part of another one."""
        self.runs += 1
        if self.runs == 1:
            self._solver = solver
            self.tell("on_train_begin", solver)

    def end(self, solver: Any) -> None:
        """Tell that a run is over, if it was the outer one."""
        self.runs -= 1
        if self.runs == 0:
            self._solver = None
            self.tell("on_train_end", solver)

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
            "on_epoch_end, which say when to call it"
        )
    else:
        fix = "derive its class from runtime.Callback"
    return SpecError(f"{_label(what)} is no callback; {fix}")


def _no_function(event: str, what: Any) -> SpecError:
    fix = "; add it by solver.callbacks.add" if isinstance(what, Callback) else ""
    return SpecError(f"{event} takes a function; got {_label(what)}{fix}")


class Callbacks:
    """What a solver offers to those who want to be told, and what they may ask of it.

    callbacks: all of them, objects and functions.
    """

    param: SolverParameter
    history: History
    _iteration: int
    _tested: int

    def __init__(self) -> None:
        self.callbacks = CallbackList()
        self._epoch_told = -1  # the iteration after which an epoch's end was told
        self._stopping = False
        self._snapshot_wanted = False

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called during this run."""
        return self._stopping

    def stop(self) -> None:
        """Let the running `step` or `solve` end after its iteration."""
        self._stopping = True

    def snapshot_soon(self) -> None:
        """Let the running `step` or `solve` write a snapshot after its iteration."""
        self._snapshot_wanted = True

    @property
    def epoch_size(self) -> int | None:
        """How many iterations an epoch has; None, the default, for no epochs."""
        return self.history.epoch_size

    @epoch_size.setter
    def epoch_size(self, size: int | None) -> None:
        try:
            known = None if size is None else operator.index(size)
        except TypeError:
            known = 0
        if known is not None and known < 1:
            raise SpecError(f"epoch_size must be a whole number above 0, got {size!r}")
        self.history.epoch_size = known

    @contextmanager
    def training(self) -> Iterator[None]:
        """Make one training of all that the block runs, for those who are told."""
        try:
            self.callbacks.begin(self)
            yield
        finally:
            self.callbacks.end(self)
            if self.callbacks.runs == 0:
                self._stopping = False

    def add_callback(self, before: Callable[[], Any], after: Callable[[], Any]) -> None:
        """Call `before` ahead of each iteration and `after` once it has its gradients.

        At that time the parameters are not updated yet, so `after` may change `diff`.
        """
        self.callbacks.on(before=before, after=after)

    def on_step(self, call: CallT) -> CallT:
        """Call `call(record)` with a `StepRecord` after each iteration. A decorator."""
        self.callbacks.on(on_step=call)
        return call

    def on_test(self, call: CallT) -> CallT:
        """Call `call(record)` with a `TestRecord` after each test pass. A decorator."""
        self.callbacks.on(on_test=call)
        return call

    def on_snapshot(self, call: CallT) -> CallT:
        """Call `call(snapshot)` after each `Snapshot` written. A decorator."""
        self.callbacks.on(on_snapshot=call)
        return call

    def on_epoch_end(self, call: CallT) -> CallT:
        """Call `call(solver, epoch)` after each of `epoch_size` iterations.

        A decorator. `epoch` is 1 after the first one; its tests are done.
        """
        self.callbacks.on(on_epoch_end=call)
        return call

    def _ends_epoch(self) -> bool:
        """Say whether an epoch ended that nobody was told of, and its tests are done.

        They are due ahead of the next iteration, so `step` may leave them to the next.
        """
        done, size = self._iteration, self.history.epoch_size
        if size is None or done == 0 or done % size or self._epoch_told == done:
            return False
        return not is_due(self.param, done) or self._tested == done

    def _end_epoch(self) -> None:
        if self._ends_epoch():
            self._epoch_told = self._iteration
            epoch = self._iteration // (self.epoch_size or 1)
            self.callbacks.tell("on_epoch_end", self, epoch)
