"""What a solver offers to those who want to be told of its training."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from netspec.errors import SpecError
from netspec.schema import SolverParameter
from runtime.distributed import Communicator
from runtime.training.callback_state import States
from runtime.training.callbacks import CallbackList
from runtime.training.history import History
from runtime.training.preview import rates_of
from runtime.training.rule import Rule
from runtime.training.testing import is_due

CallT = TypeVar("CallT", bound=Callable[..., Any])


class Callbacks:
    """What a solver offers to those who want to be told, and what they may ask of it.

    callbacks: all of them, objects and functions.
    """

    param: SolverParameter
    _iteration: int
    _tested: int
    _rule: Rule
    communicator: Communicator | None = None

    def __init__(self) -> None:
        self.callbacks = CallbackList()
        self._records = History()
        self._shown: Callable[[], History | None] = lambda: None
        self._epoch_told = -1  # the iteration after which an epoch's end was told
        self._stopping = False
        self._snapshot_wanted = False
        # What this rank asks for, and all ranks do where they agree on it next.
        self._stop_asked = self._snapshot_asked = False
        self._interrupted = False  # whether all ranks left a run because of a signal

    @property
    def lr(self) -> float:
        """The learning rate of the next iteration.

        To set it changes `param.base_lr`, so that `lr_policy` goes on from there.
        Snapshots keep that.
        """
        return self._rule.rate(self._iteration)

    @lr.setter
    def lr(self, rate: float) -> None:
        by_hand = not self.callbacks.runs
        self._rule.set_rate(rate, self._iteration, by_hand=by_hand)

    def rates(self, iterations: int | None = None) -> np.ndarray:
        """Return the learning rates of all iterations; see `runtime.rates`."""
        return rates_of(self.param, iterations)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called during this run."""
        return self._stopping

    def stop(self) -> None:
        """Let the running `step` or `solve` end after its iteration.

        With several ranks all of them end after the same one, if any of them asks.
        """
        self._stop_asked = True
        if self.communicator is None:
            self._stopping = True

    def snapshot_soon(self) -> None:
        """Let the running `step` or `solve` write a snapshot after its iteration."""
        self._snapshot_asked = True
        if self.communicator is None:
            self._snapshot_wanted = True

    @property
    def history(self) -> History:
        """All records of iterations, tests and snapshots, which grow with training."""
        # It knows its solver, which therefore must not hold it: what nobody has any
        # more gives its memory back at once.
        history = self._shown()
        if history is None:
            history = self._records.of(self)
            self._shown = weakref.ref(history)
        return history

    @property
    def epoch_size(self) -> int | None:
        """How many iterations an epoch has; None, the default, for no epochs."""
        return self._records.epoch_size

    @epoch_size.setter
    def epoch_size(self, size: int | None) -> None:
        try:
            known = None if size is None else operator.index(size)
        except TypeError:
            known = 0
        if known is not None and known < 1:
            raise SpecError(f"epoch_size must be a whole number above 0, got {size!r}")
        self._records.epoch_size = self.history.epoch_size = known

    @contextmanager
    def training(self) -> Iterator[None]:
        """Make one training of all that the block runs, for those who are told."""
        try:
            self.callbacks.begin(self)
            yield
        finally:
            self.callbacks.end(self)
            if self.callbacks.runs == 0:
                self._stopping = self._stop_asked = False

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
        done, size = self._iteration, self._records.epoch_size
        if size is None or done == 0 or done % size or self._epoch_told == done:
            return False
        return not is_due(self.param, done) or self._tested == done

    def _end_epoch(self) -> None:
        if self._ends_epoch():
            self._epoch_told = self._iteration
            epoch = self._iteration // (self.epoch_size or 1)
            at = self._iteration
            self.callbacks.tell_at(at, "on_epoch_end", self, epoch)

    def _states(self) -> list[bytes]:
        """Return what a snapshot keeps for callbacks."""
        seen = {"on_test": self._tested, "on_epoch_end": self._epoch_told}
        return self.callbacks.states({"seen": seen, "rates": self._rule.rates})

    def _restore_states(self, states: States) -> None:
        """Go back to what a snapshot kept for callbacks."""
        self._epoch_told = -1
        self._rule.restore_rates(self.callbacks.restore(states).get("rates"))
