"""A solver that is fed: epochs, tests, what is written, and how it is interrupted."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from netspec.errors import SpecError, SpecWarning, UnsupportedError
from netspec.notebooks import warn_user
from runtime.data.feeding import Feed
from runtime.data.given.base import Dataset, Later
from runtime.data.given.streams import StreamEndedError
from runtime.distributed import Communicator
from runtime.distributed.communicator import rank_count
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

    given: the data as they were given.

    Raises `SpecError` where ranks that train together were given different data.
    """

    def __init__(self, solver: Solver, given: Given, opened: Opened) -> None:
        self.given, self.opened = given, opened
        self.hold(solver)
        self._wanted = Length()
        self._known = False  # whether the number of iterations of an epoch is
        # Whether the data told their length before they were read.
        self._told = opened.train is not None and opened.train.batches is not None
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
        _refuse_unlike(solver.communicator, opened)
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

        The last one of an epoch takes batches of the next where those of an iteration,
        `iter_size` on each rank, do not divide them.
        """
        batches = self._batches
        return None if batches is None else -(-batches // self._iteration_size)

    @property
    def _iteration_size(self) -> int:
        """How many batches an iteration takes, on all ranks together."""
        return self.solver.param.iter_size * rank_count(self.solver.communicator)

    @property
    def _batches(self) -> int | None:
        """How many batches an epoch has, if nobody need read on to know.

        That is where the first ones of the next iteration are read, of one process or
        of rank 0: others may have seen the end before it.
        """
        dataset, solver = self.opened.train, self.solver
        batches = None if dataset is None else dataset.batches
        if batches is None or solver.communicator is None or self._told:
            return batches
        return batches if batches <= self._taken else None

    @property
    def _taken(self) -> int:
        """How many batches of its data all ranks together have taken."""
        taken = self.solver.iter * self._iteration_size
        dataset = self.opened.train
        return taken - dataset.after if isinstance(dataset, Later) else taken

    # ------------------------------------------------------------ how long

    def plan(self, length: Length, *, first: int, snapshot: int | None) -> None:
        """Decide when training ends and what is due on the way.

        first: iterations that do not count as a part of it.

        Raises `SpecError` where nobody knows when it ends.
        """
        self._wanted, self._first, self._snapshot = length, first, snapshot
        self._refuse_amid_iterations()
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

    def _refuse_amid_iterations(self) -> None:
        """Refuse what may end on one rank in the middle of an iteration."""
        param, communicator = self.solver.param, self.solver.communicator
        alone = communicator is None or param.iter_size == 1
        if not alone and not can_begin_anew(self.opened.train):
            raise UnsupportedError(
                f"the data are a generator, which can be read once only, and each of "
                f"several processes takes iter_size = {param.iter_size} batches an "
                f"iteration, amid which it may end on one of them; give a function that"
                f" returns one, or iter_size=1"
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
                resumed = solver.iter > self._first  # maybe where an epoch ends
                if resumed or solver.communicator is not None:
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
        communicator = solver.communicator
        at = solver.iter * self._iteration_size
        feed.look_at(at + (0 if communicator is None else communicator.rank))
        if communicator is not None and self._ends_for_all(communicator):
            return
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

    def _ends_for_all(self, ranks: Communicator) -> bool:
        """End training where a generator ends ahead of the batch of one of the ranks.

        Raises `SpecError` where ranks see epochs of different lengths.
        """
        dataset, solver = self.opened.train, self.solver
        told = ranks.gather(None if dataset is None else dataset.batches)
        lengths = {rank: n for rank, n in enumerate(told) if n is not None}
        least = min(lengths, key=lambda rank: lengths[rank], default=0)
        for rank in range(ranks.size) if lengths else ():
            # Who knows no end yet has just seen the next of its batches.
            longer = lengths.get(rank, self._taken + rank + 1) > lengths[least]
            if longer:
                raise SpecError(
                    f"the data end after {lengths[least]} batches on rank {least}, and "
                    f"go on on rank {rank}; give all ranks the same data, of which each"
                    f" takes its own batches"
                )
        missing = lengths and lengths[least] < self._taken + self._iteration_size
        if not missing or can_begin_anew(dataset) or self.epoch_size is not None:
            return False
        self._look_no_more()
        if self._is_early():
            self._warn_of_end()
            solver.end_at(solver.iter)
        return True

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


def _refuse_unlike(communicator: Communicator | None, opened: Opened) -> None:
    """Refuse data that are others on other ranks, as far as can be seen."""
    if communicator is None:
        return
    for name, dataset in (("data", opened.train), ("validation", opened.test)):
        told = communicator.gather(None if dataset is None else dataset.glance())
        for rank, one in enumerate(told):
            if one != told[0]:
                what = "others"
                if one and told[0] and one[0] != told[0][0]:
                    what = f"{one[0]} items, and rank 0 {told[0][0]}"
                raise SpecError(
                    f"{name} of rank {rank} are {what}; give all ranks the same whole "
                    f"data, of which each takes its own batches: rank r of N the "
                    f"batches r, r + N, and so on"
                )


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
