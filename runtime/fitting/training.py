"""A solver that is fed: epochs, tests, what is written, and how it is interrupted."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from netspec.errors import SpecError, SpecWarning
from netspec.notebooks import warn_user
from runtime.data.feeding import Feed
from runtime.data.given.base import Dataset
from runtime.data.given.streams import StreamEndedError
from runtime.execution.net import Net
from runtime.fitting.data import Given, Opened, can_begin_anew
from runtime.fitting.inputs import labels_of
from runtime.training.history import History
from runtime.training.lr_policy import POLICY_FIELDS
from runtime.training.showing.show import NO_END
from runtime.training.solver import Solver

NEVER = NO_END  # iterations, of what is not known yet


@dataclass(frozen=True)
class Length:
    """How long to train: `epochs` or `max_iter`, one of them at most."""

    epochs: int | None = None
    max_iter: int | None = None

    def check(self) -> None:
        """Raise `SpecError` for what cannot be."""
        for name in ("epochs", "max_iter"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise SpecError(f"{name} is {value!r}; expected a whole number")
            if not 1 <= value < NEVER:
                raise SpecError(f"{name} is {value}; expected at least 1")
        if self.epochs is not None and self.max_iter is not None:
            raise SpecError("epochs and max_iter are both given; leave one out")


class Training:
    """The training of one solver with some data.

    given: the data as they were given. passes: how many batches were taken before
    these data, so that they begin with their first one.
    """

    def __init__(self, solver: Solver, given: Given, opened: Opened) -> None:
        self.given, self.opened = given, opened
        self.hold(solver)
        self._wanted = Length()
        self._known = False  # whether the number of iterations of an epoch is
        self._begun = False  # whether it took batches of its data before
        self._first = 0  # iterations that were done before
        self._snapshot: int | None = None  # epochs between two snapshots
        solver.fitting = self
        labels = labels_of(solver.net.graph)
        if opened.train is not None:
            opened.train.expect(labels)
        if opened.test is not None:
            try:
                opened.test.expect(labels_of(solver.test_nets[0].graph))
            except SpecError as error:
                raise error.replaced(text=f"validation: {error.text}") from None
        self._feed = _fed(solver.net, opened.train)
        if opened.test is not None:
            _fed(solver.test_nets[0], opened.test)

    @property
    def solver(self) -> Solver:
        """What is trained."""
        found = self._held or self._solver()
        if found is None:
            raise RuntimeError("a training is used after its solver is gone")
        return found

    def hold(self, solver: Solver) -> None:
        """Keep the solver, which keeps this, until `let_go`."""
        self._held: Solver | None = solver
        self._solver = weakref.ref(solver)

    def let_go(self) -> None:
        """Keep the solver no longer, so that it is freed with its history."""
        self._held = None

    @property
    def epoch_size(self) -> int | None:
        """Iterations of an epoch; None where nobody knows yet, or where there is none.

        The last one of an epoch takes batches of the next where `iter_size` does not
        divide them.
        """
        dataset = self.opened.train
        if dataset is None or dataset.batches is None:
            return None
        return -(-dataset.batches // self.solver.param.iter_size)

    # ------------------------------------------------------------ how long

    def plan(self, length: Length, *, first: int, snapshot: int | None) -> None:
        """Decide when training ends and what is due on the way.

        first: iterations that do not count as a part of it.

        Raises `SpecError` where nobody knows when it ends.
        """
        self._wanted, self._first, self._snapshot = length, first, snapshot
        size, param = self.epoch_size, self.solver.param
        if length.epochs is not None and first and self._begun:
            self._refuse_what_is_read()
        if length.epochs is not None and size is None:
            self._refuse_unknown(length.epochs)
        if length.max_iter is not None:
            param.max_iter = first + length.max_iter
        elif length.epochs is not None:
            param.max_iter = NEVER if size is None else first + length.epochs * size
        if size is not None:
            self._know(size)
        elif self.opened.test is not None:
            param.test_interval = NEVER

    def _refuse_unknown(self, epochs: int) -> None:
        dataset, policy = self.opened.train, self.solver.param.lr_policy
        if dataset is None:
            raise SpecError(
                "epochs is given, but the net reads its own data, of which nobody "
                "counts the epochs; give max_iter"
            )
        if epochs > 1 and not can_begin_anew(dataset):
            raise SpecError(
                f"epochs is {epochs}, but a generator can be read once only; give a "
                f"function that returns one, or max_iter"
            )
        if "max_iter" in POLICY_FIELDS.get(policy, ()):
            raise SpecError(
                f"lr_policy {policy!r} goes by how long training is, which is not known"
                f" before these data were read once; give max_iter"
            )

    def _refuse_what_is_read(self) -> None:
        if not can_begin_anew(self.opened.train):
            raise SpecError(
                "epochs is given, but training began with a generator, which can be "
                "read once only; give new data, or max_iter for the rest of it"
            )

    def _know(self, size: int) -> None:
        """Note how many iterations an epoch has."""
        self._known = True
        solver, param = self.solver, self.solver.param
        solver.epoch_size = size
        if self.opened.test is not None:
            param.test_interval = size
        if self._snapshot is not None:
            param.snapshot = self._snapshot * size

    # ------------------------------------------------------------ running

    def run(self, progress: Any) -> History:
        """Train to the end; raises what `Solver.solve` raises."""
        solver = self.solver
        self._begun = True
        try:
            if self._feed is not None and not self._known:
                solver.on_step(self._look)
                if solver.iter > self._first:  # resumed, maybe where an epoch ends
                    self._look()
            solver.solve(progress=progress)
        except StreamEndedError:  # amid the batches of an iteration
            self._warn_of_end()
        finally:
            self._look_no_more()
        if solver.iter >= solver.param.max_iter:
            self._test_at_the_end()
        return solver.history

    def _look(self, record: Any = None) -> None:
        """See whether the first pass over the data ends here."""
        feed, solver = self._feed, self.solver
        if feed is None:
            return
        at = solver.iter * solver.param.iter_size
        feed.look_at(at)
        size = self.epoch_size
        if size is None:
            return
        self._know(size)
        self._look_no_more()
        if self._wanted.epochs is not None:
            solver.end_at(self._first + self._wanted.epochs * size)
        elif not can_begin_anew(self.opened.train) and self._is_early():
            self._warn_of_end()
            solver.end_at(solver.iter)

    def _look_no_more(self) -> None:
        if self._look in self.solver.callbacks:
            self.solver.callbacks.remove(self._look)

    def _is_early(self) -> bool:
        return self.solver.iter < self.solver.param.max_iter

    def _warn_of_end(self) -> None:
        if self._wanted.epochs is None:
            warn_user(
                f"the generator ended after {self.solver.iter} iterations, before "
                f"max_iter; training ends here. A function that returns one can begin "
                f"anew",
                SpecWarning,
            )

    def _test_at_the_end(self) -> None:
        solver, tests = self.solver, self.solver.history.tests
        if self.opened.test is None or (tests and tests[-1].iteration == solver.iter):
            return
        solver.test()


def _fed(net: Net, dataset: Dataset | None) -> Feed | None:
    """Let a net take its batches of a data set in the passes of its solver."""
    if dataset is None:
        return None
    there = net.its_feed
    if there is not None and there.dataset is dataset:
        return there
    return net.feed_with(dataset, always=False)


def add_callbacks(solver: Solver, callbacks: Any) -> None:
    """Add one callback or several to a solver; see `CallbackList.add`."""
    if callbacks is None:
        return
    several = isinstance(callbacks, Iterable)
    for callback in callbacks if several else (callbacks,):
        solver.callbacks.add(callback)
