"""`Solver`: trains a net as a solver file says, with pycaffe's names and meaning."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from netspec.errors import FileError, SpecError
from netspec.schema import SolverParameter
from runtime.execution.kept_plans import PLANS
from runtime.execution.net import Net
from runtime.execution.python_layers.code import Allow, allowed_names
from runtime.execution.unknown_fields import refuse_unknown_solver
from runtime.execution.weights import CopyReport, Names, copy_into, warn_of_rest
from runtime.interrupts import Held, held, stopped, whole
from runtime.training.ahead import Ahead
from runtime.training.callbacks import Callbacks
from runtime.training.divergence import (
    NonFiniteLossError,
    Watch,
    check_parameters,
    learns_nothing,
    warn,
    without_loss,
)
from runtime.training.history import History, Recorder, StepRecord, TestRecord
from runtime.training.looks import SolverLooks
from runtime.training.lr_policy import policy_of
from runtime.training.passes import UNKNOWN, mean_gradients
from runtime.training.rule import Rule
from runtime.training.showing.shower import Progress, Shower
from runtime.training.snapshot import restore_snapshot, write_snapshot
from runtime.training.snapshot_files import (
    Snapshot,
    SnapshotWarning,
    check_writable,
    last,
    remove_leftovers,
    unsaved,
)
from runtime.training.solver_nets import SolverNets
from runtime.training.solver_param import DEFAULT_PREFIX, find_file, weight_files
from runtime.training.testing import is_due, run_tests
from runtime.training.updates import settings_of
from runtime.training.zero_weights import warn_of_zero_weights
from runtime.update_rules import Update

DEFAULT_SEED = 0  # of a solver without `random_seed`, so that runs repeat


class Solver(Callbacks, SolverLooks):
    """Trains a net and tests it, as a `SolverParameter` says.

    Args:
        param: the solver, upgraded, as `read_solver` returns it.
        folder: where nets and weights are looked for after the current folder.
        backend, kernels, graphs, precision: where and how to compute (see `Net`),
            whatever `solver_mode` says.
        seed: of fillers, dropout and data order; else `random_seed`, else 0. The same
            seed gives the same run, where Caffe takes a new one each time.
        keep, allow_python, plans: what must stay readable, may be imported, and for how
            many shapes each net keeps plans (see `Net`).

    All nets share the parameters of `net`. Data order, dropout and test batches follow
    from `iter`, so that a run continued from a snapshot equals one that never stopped;
    only the hidden state that an LSTM or RNN carries over, and the scale of the losses
    with fp16, are not saved. `history` has a record of every iteration, test pass and
    snapshot. `snapshot_diff` and `debug_info` have no effect. What is changed in
    `param` holds from the next iteration on.

    Ctrl-C and other signals whose handlers may raise wait until an iteration is whole,
    in `step`, `solve` and `test`; see `runtime.interrupts.held`.
    """

    net_type: ClassVar[type[Net]] = Net
    # Whether a forward pass by hand takes a batch from training, as in Caffe. Else what
    # iterations train on does not depend on it.
    counts_forward: ClassVar[bool] = False

    def __init__(
        self,
        param: SolverParameter,
        *,
        folder: Path | None = None,
        backend: str = "numpy",
        kernels: str = "own",
        graphs: bool = True,
        precision: str = "float32",
        seed: int | None = None,
        keep: Iterable[str] | None = None,
        allow_python: Allow = (),
        plans: int = PLANS,
    ) -> None:
        super().__init__()
        self.param = param
        refuse_unknown_solver(param)
        policy_of(param)
        settings_of(param)  # its mistakes come before the time it takes to build nets
        given = param.random_seed if param.random_seed >= 0 else DEFAULT_SEED
        self.seed = given if seed is None else seed
        how: dict[str, Any] = {"backend": backend, "kernels": kernels}
        how |= {"graphs": graphs, "precision": precision, "seed": self.seed}
        allow = allowed_names(allow_python)
        made = (self.net_type, param, folder)
        nets = SolverNets(*made, keep=keep, allow_python=allow, plans=plans, **how)
        self.net: Net = nets.net
        self.test_nets: list[Net] = nets.test_nets
        names = [name for listed in param.weights for name in weight_files(listed)]
        paths = [find_file(name, folder, "weights") for name in names]
        all_nets = [self.net, *self.test_nets]
        warn_of_rest(paths, [copy_into(all_nets, path) for path in paths])
        self._rule = Rule(param, self.net)
        self.history = History()
        self._recorder = Recorder(self.history, param)
        self.last_snapshot: Snapshot | None = None
        self._prefix_given = folder is not None or param.snapshot_prefix not in (
            "",
            DEFAULT_PREFIX,
        )
        self._iteration = 0
        self._tested = -1  # the iteration ahead of which the due test was done
        self._cut = False  # whether the last run ended before its time
        self._unsaved = False  # whether the last snapshot could not be written
        self.showing = Shower(self)
        self._watch = Watch(self.net)
        self._ahead = Ahead(self.net, self._rule)

    # ------------------------------------------------------------ state

    @property
    def iter(self) -> int:
        """How many iterations are done."""
        return self._iteration

    @property
    def lr(self) -> float:
        """The learning rate of the next iteration.

        To set it changes `param.base_lr`, so that `lr_policy` goes on from there.
        """
        return self._rule.rate(self._iteration)

    @lr.setter
    def lr(self, rate: float) -> None:
        self._rule.set_rate(rate, self._iteration)

    @property
    def update(self) -> Update:
        """The update rule, with its running values."""
        return self._rule.update

    # ------------------------------------------------------------ training

    def step(self, iterations: int = 1, *, progress: Progress = None) -> None:
        """Train for some iterations, with the tests and snapshots that are due.

        progress: "notebook", "bar", "lines", "log" (Caffe's, to standard error), True
            or False; None shows a notebook a live table, others the log by `display`.

        A loss or a gradient that is infinite or not a number is warned about once; use
        `solve`, or look at `history.train`, to stop there. A snapshot that cannot be
        written is warned about.

        Raises `KeyboardInterrupt` after a whole iteration, and `SpecError` for a net
        without a loss, unless it says `force_backward: true`.
        """
        run = self.showing.run
        with held() as signals, run("step", iterations, progress, signals):
            self._run(iterations, signals, careful=False)
        self._stopping = False
        if signals.interrupted:
            raise stopped(f"training stopped after iteration {self._iteration}")

    def solve(
        self, resume: str | Path | None = None, *, progress: Progress = None
    ) -> History:
        """Train up to `max_iter`, from a state file if one is given.

        progress: see `step`.

        At the end a snapshot is written (unless `snapshot_after_train` is false), and
        the nets are tested if a test is due then. After `stop` a snapshot is written in
        any case, and after Ctrl-C if the solver has a `snapshot_prefix` or a file.

        Raises `NonFiniteLossError` or its child `NonFiniteGradientError`, before the
        bad gradient reaches the parameters, `NonFiniteParameterError` before they reach
        a snapshot, `FileError` if the last snapshot cannot be written (one before it
        is warned about), and what `step` raises.
        """
        with held() as signals:
            self._prepare(resume)
            left = self.param.max_iter - self._iteration
            with self.showing.run("solve", left, progress, signals):
                self._solve(signals)
        if signals.interrupted:
            raise stopped(f"training stopped after iteration {self._iteration}")
        return self.history

    def _prepare(self, resume: str | Path | None) -> None:
        param = self.param
        if not param.HasField("max_iter"):
            raise SpecError("solver: max_iter is missing; say how long to train")
        if param.snapshot > 0 or param.snapshot_after_train:
            check_writable(param.snapshot_prefix)
            remove_leftovers(param.snapshot_prefix)
        if resume is not None:
            self.restore(resume)

    def _solve(self, signals: Held) -> None:
        param = self.param
        self._run(param.max_iter - self._iteration, signals, careful=True)
        ended, self._stopping = self._stopping, False
        if signals.interrupted:
            if self._prefix_given and not self._snapshot_is_new():
                self._snapshot_on_the_way()
            return
        due = ended or param.snapshot_after_train or self._unsaved
        if due and not self._snapshot_is_new():
            check_parameters(self.net, self._iteration, self.last_snapshot)
            try:
                self.snapshot()
            except FileError as error:
                raise unsaved(error, self._iteration, self.last_snapshot) from error
        if not ended and is_due(self.param, self._iteration):
            self._test(signals)

    def _run(self, iterations: int, signals: Held, *, careful: bool) -> None:
        end = self._iteration + iterations
        if iterations > 0 and learns_nothing(self.net):
            raise without_loss(self.net)
        if iterations > 0 and self._iteration == 0:
            warn_of_zero_weights(self.net)
        if not self._cut:
            self._recorder.forget()
        self._cut = True
        self._ahead.begin(careful=careful)
        try:
            try:
                self._loop(end, signals, careful=careful)
            finally:  # also before what stops the next iteration is raised
                self._settle(0, careful=careful)
        finally:
            self._ahead.waiting.clear()

    def _loop(self, end: int, signals: Held, *, careful: bool) -> None:
        first = 0 if self.param.test_initialization else 1
        while self._iteration < end and not self.stopping:
            due = is_due(self.param, self._iteration) and self._iteration >= first
            if due and self._tested != self._iteration:
                self._settle(0, careful=careful)
                if (records := self._test(signals)) is None:
                    return
                self._tested = self._iteration
                self._rule.see_tests(self._iteration, self.test_nets, records)
            if self._stopping:
                return
            # The loss is looked at, so NumPy need not warn about what made it infinite.
            with np.errstate(all="ignore"):
                self._iterate(signals, careful=careful)
            due = self.param.snapshot > 0 and self._iteration % self.param.snapshot == 0
            if due or self._snapshot_wanted:
                self._settle(0, careful=careful)
                if careful:
                    check_parameters(self.net, self._iteration, self.last_snapshot)
                self._snapshot_on_the_way()
            self.showing.look()
            if signals.stops():
                return
        self._cut = False

    def _iterate(self, signals: Held, *, careful: bool) -> None:
        started = time.perf_counter()
        for call in self._before:
            call()
        lr = self.lr
        passes = self._iteration * self.param.iter_size
        if self.counts_forward:
            passes = max(passes, self.net.clock.value)
        if not self._after and self._ahead.able():
            signals.whole(lambda: self._launch(passes, lr, careful=careful))
            at_once = self._on_step or self.showing.wants(self._iteration - 1)
            self._settle(0 if at_once else 1, careful=careful)
            return
        self._settle(0, careful=careful)
        loss = mean_gradients(self.net, passes, self.param.iter_size)
        if not math.isfinite(loss):
            if careful:
                raise NonFiniteLossError(self._iteration, loss, lr, self.last_snapshot)
            self._watch.warn(f"the loss of iteration {self._iteration} is {loss:g}")
        for call in self._after:
            call()
        lr = self._rule.rate_after(self._iteration, loss)
        told = loss if careful else None
        self._watch.check(self.update, self._iteration, told, self.last_snapshot)
        record = signals.whole(lambda: self._end_iteration(loss, lr, started))
        for notify in self._on_step:
            notify(record)

    def _end_iteration(self, loss: float, lr: float, started: float) -> StepRecord:
        self._rule.apply(lr, self._iteration, loss)
        self._iteration += 1
        return self._recorder.add(self._iteration - 1, loss, lr, started)

    def _launch(self, passes: int, lr: float, *, careful: bool) -> None:
        self._ahead.launch(self._iteration, passes, lr, careful=careful)
        self._iteration += 1

    def _settle(self, leave: int, *, careful: bool) -> None:
        """Record the iterations that are launched, but for the last `leave`."""
        while len(self._ahead.waiting) > leave:
            done = self._ahead.waiting.popleft()
            try:
                loss = self._ahead.loss(done, self._watch, self.last_snapshot, careful)
            except NonFiniteLossError as error:
                self._iteration = error.iteration
                raise
            record = self._recorder.add(done.iteration, loss, done.lr, done.started)
            for notify in self._on_step:
                notify(record)

    @whole
    def apply_update(self) -> None:
        """Update the parameters from their gradients and end the iteration.

        `iter` counts it, so that `net.forward`, `net.backward` and this are what `step`
        does, less the record. A gradient that is not finite is warned about once.
        """
        self._watch.check(self.update, self._iteration, None, self.last_snapshot)
        self._rule.apply_after_pass(self._iteration)
        self._iteration += 1

    # ------------------------------------------------------------ testing

    def test(self, *, progress: Progress = None) -> list[TestRecord]:
        """Run every test net over its `test_iter` batches and record the means.

        progress: see `step`.

        Which batches these are depends on `iter` only, not on what was tested before.
        `stop` and Ctrl-C end it after a batch, and then nothing is recorded.
        """
        with held() as signals, self.showing.run("test", 0, progress, signals):
            records = self._test(signals)
        if signals.interrupted:
            raise stopped("the test was stopped, and nothing of it is recorded")
        return records or []

    def _test(self, signals: Held) -> list[TestRecord] | None:
        """Test, or return None if it was left."""
        records = run_tests(
            self.test_nets,
            self.param,
            self._iteration,
            lambda: self.showing.leaves_test() or self._stopping or signals.stops(),
        )
        if records is None:
            return None
        for record in records:
            self.history.tests.append(record)
            for call in self._on_test:
                call(record)
        self.showing.look()
        return records

    # ------------------------------------------------------------ files

    def copy_from(self, path: str | Path, names: Names | None = None) -> CopyReport:
        """Copy parameters of a file into net and test nets, as `Net.copy_from` does.

        Returns what was copied into the net. Warns of a file that gives nothing, and of
        layers that it leaves as they are.
        """
        report = copy_into([self.net, *self.test_nets], path, names)
        warn_of_rest([path], [report])
        return report

    def snapshot(self) -> Snapshot:
        """Write a snapshot and return the names of its files.

        Raises `FileError`.
        """
        written = self._write_snapshot()
        for call in self._on_snapshot:
            call(written)
        return written

    def _write_snapshot(self) -> Snapshot:
        param = self.param
        written = write_snapshot(
            self.net,
            self.update,
            param.snapshot_prefix,
            iteration=self._iteration,
            progress=self._rule.progress,
            hdf5=param.snapshot_format == SolverParameter.HDF5,
        )
        self.last_snapshot = written
        self.history.snapshots.append(written)
        self._snapshot_wanted = self._unsaved = False
        return written

    def _snapshot_on_the_way(self) -> None:
        """Write a snapshot; if that fails training is worth more than to end there."""
        self._snapshot_wanted = False
        try:
            written = self._write_snapshot()
        except FileError as error:
            warn(
                f"{error}; training goes on, and the next one is tried again; "
                f"{last(self.last_snapshot)}",
                SnapshotWarning,
            )
            self._unsaved = True
            return
        for call in self._on_snapshot:
            call(written)

    @whole
    def restore(self, path: str | Path) -> None:
        """Continue from the state file of a snapshot, written here or by Caffe.

        What `history` has of later iterations is dropped, as they are done again.

        Raises `FileError` for a file that is missing, broken or none, and for a model
        that is not the one of this state, `SpecError` for another net or solver.
        """
        saved = restore_snapshot(self.net, self.update, path)
        self._iteration = saved.iteration
        self._rule.progress = saved.progress
        self.last_snapshot = Snapshot(
            saved.iteration, Path(saved.learned_net), Path(path)
        )
        self.history.drop(saved.iteration)
        self.net.clock.value = UNKNOWN
        self._tested, self._cut = -1, False

    def _snapshot_is_new(self) -> bool:
        last = self.last_snapshot
        return last is not None and last.iteration == self._iteration

    def close(self) -> None:
        """Close the data sources of all nets."""
        for net in (self.net, *self.test_nets):
            net.close()
