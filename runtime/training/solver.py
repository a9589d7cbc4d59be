"""`Solver`: trains a net as a solver file says, with pycaffe's names and meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Unpack

import numpy as np

from netspec.errors import FileError, SpecError
from netspec.graph.dividing import Parts
from netspec.schema import SolverParameter
from runtime.distributed import Communicator
from runtime.distributed.communicator import doing, rank_count, several
from runtime.execution.arguments import integer, path_of
from runtime.execution.kept_plans import PLANS
from runtime.execution.net import Net
from runtime.execution.python_layers.code import Allow, allowed_names
from runtime.execution.unknown_fields import refuse_unknown_solver
from runtime.execution.weights import Names
from runtime.habits import SOLVER, with_habits
from runtime.interrupts import Held, held, stopped, whole
from runtime.training.ahead import Ahead
from runtime.training.divergence import (
    NonFiniteLossError,
    Watch,
    check_parameters,
    learns_nothing,
    within_itself,
    without_loss,
)
from runtime.training.doubts import (
    YoungStatistics,
    warn_if_nothing_learns,
    warn_of_losses_that_are_read,
    warn_of_portable_kernels,
)
from runtime.training.history import History, Recorder
from runtime.training.keywords import documented, takes_fields
from runtime.training.looks import SolverLooks
from runtime.training.lr_policy import policy_of
from runtime.training.quick import Quick
from runtime.training.ranks.devices import backend_of_rank, with_sums
from runtime.training.ranks.first_rank import make_ready
from runtime.training.ranks.running_statistics import RunningStatistics
from runtime.training.rule import Rule
from runtime.training.showing.shower import Progress, Shower
from runtime.training.snapshot_files import Snapshot, unsaved
from runtime.training.solver_fields import SolverFields
from runtime.training.solver_nets import SolverNets
from runtime.training.solver_param import find_file, weight_files
from runtime.training.solver_quick import SolverQuick
from runtime.training.solver_source import DEFAULT_PREFIX, solver_of
from runtime.training.solver_uses import warn_of_unread
from runtime.training.testing import is_due
from runtime.training.updates import settings_of
from runtime.training.zero_weights import warn_of_zero_weights

DEFAULT_SEED = 0  # of a solver without `random_seed`, so that runs repeat


@with_habits("solver", SOLVER)
@documented
class Solver(SolverQuick, SolverLooks):
    """Trains a net and tests it, as a `SolverParameter` says.

        solver = runtime.Solver(n, type="Adam", base_lr=0.001, max_iter=1000)

    Args:
        param: what to train, and how: a `NetSpec` or another net, a path to a net
            (prototxt, caffemodel, a model file in Python) or to a solver, text of
            either, a dict of fields, or a `SolverParameter`, which is copied.
        fields: every field of a solver as a keyword, below; nets may be specs, and
            messages dicts. One that is given takes the place of what `param` has.
        folder: where nets and weights are looked for after the current folder; by
            default that of the solver file.
        backend, kernels, graphs, precision: where and how to compute (see `Net`),
            whatever `solver_mode` says.
        seed: of fillers, dropout and data order; else `random_seed`, else 0. The same
            seed gives the same run, where Caffe takes a new one each time.
        keep, allow_python, plans: what must stay readable, may be imported, and for how
            many shapes each net keeps plans (see `Net`).
        memory_limit: the most memory that training may take, such as "3GB": of all
            nets, with gradients and the history of the rule, and without Python itself.
            Blobs are computed again in backward until all fits, with the same results;
            `net.recomputation` says what that is and costs (see `Net`).
        micro_batch: into how many equal parts every batch of training is divided, which
            run one after the other: data layers take `batch_size` / parts, `iter_size`
            and `clip_gradients` become parts times as much, and results are equal up to
            rounding. "auto": as few as `memory_limit` can be met with. A net whose
            items meet (BatchNorm with statistics of the batch) is refused.
        rename: what layers of the files of `weights` are called in the net, as of
            `copy_from`; `copied` has a report for each of these files.
        communicator: processes that train together, `runtime.distributed.world()`. One
            iteration of N ranks is what one process does with N times the `iter_size`:
            each takes every N-th batch, and all add up their gradients.
        check_replicas: ranks compare what they hold after every so many iterations, 0
            for never; see `ReplicaError`.
        sync_batch_norm: whether BatchNorm has its statistics over the batches of all
            ranks, as one process with batches N times as large; else over a rank's own.

    All nets share the parameters of `net`. Data order, dropout and test batches follow
    from `iter`, so that a run continued from a snapshot equals one that never stopped;
    only the hidden state that an LSTM or RNN carries over, and the scale of the losses
    with fp16, are not saved. `history` has a record of every iteration, test pass and
    snapshot. `snapshot_diff` and `debug_info` have no effect. What is changed in
    `param` holds from the next iteration on.

    A solver that no file, text or message gives takes `lr_policy` "fixed" unless it
    says another, and where it says no `momentum` 0.9 for Adam and Nesterov and 0.95 for
    AdaDelta; the rest has Caffe's defaults.

    Raises `SpecError` that tells all fields that cannot be, `FileError` for files.

    Ctrl-C and other signals whose handlers may raise wait until an iteration is whole,
    in `step`, `solve` and `test`; see `runtime.interrupts.held`.
    """

    net_type: ClassVar[type[Net]] = Net
    # Whether a forward pass by hand takes a batch from training, as in Caffe. Else what
    # iterations train on does not depend on it.
    counts_forward: ClassVar[bool] = False
    saves_when_stopped = True  # whether `solve` writes a snapshot after `stop`
    fitting: Any = None  # what `runtime.fit` has to go on with

    @takes_fields
    def __init__(
        self,
        param: Any = None,
        *,
        folder: str | Path | None = None,
        backend: str = "numpy",
        kernels: str = "own",
        graphs: bool = True,
        precision: str = "float32",
        seed: int | None = None,
        keep: Iterable[str] | None = None,
        allow_python: Allow = (),
        plans: int = PLANS,
        memory_limit: str | float | None = None,
        micro_batch: Parts | None = None,
        rename: Names | None = None,
        communicator: Communicator | None = None,
        check_replicas: int = 0,
        sync_batch_norm: bool = False,
        **fields: Unpack[SolverFields],
    ) -> None:
        super().__init__()
        if folder is not None:
            folder = path_of(folder, "folder")
        if seed is not None:
            seed = integer(seed, "seed", 0)
        every = integer(check_replicas, "check_replicas", 0)
        named = [*(param if isinstance(param, Mapping) else ()), *fields]
        param, path = solver_of(param, fields)
        folder = Path(folder) if folder else path.parent if path else None
        self.param: SolverParameter = param
        self.folder = folder
        refuse_unknown_solver(param)
        policy_of(param)
        settings_of(param)  # its mistakes come before the time it takes to build nets
        given = param.random_seed if param.random_seed >= 0 else DEFAULT_SEED
        self.seed = given if seed is None else seed
        ranks = several(communicator)
        backend = backend_of_rank(backend, ranks)
        how: dict[str, Any] = {"backend": backend, "kernels": kernels}
        how |= {"graphs": graphs, "precision": precision, "seed": self.seed}
        allow = allowed_names(allow_python)
        made = (self.net_type, param, folder)
        how["memory_limit"] = memory_limit
        options = {**how, "keep": keep, "allow_python": allow, "plans": plans}
        nets = SolverNets(
            *made,
            micro_batch=micro_batch,
            sync_batch_norm=ranks if sync_batch_norm else None,
            train_with=ranks,
            **options,
        )
        self.micro_batch: int = nets.micro_batch
        self.net: Net = nets.net
        self.communicator = with_sums(ranks, self.net.backend)
        self.test_nets: list[Net] = nets.test_nets
        warn_of_unread(param, named, backend)
        names = [name for listed in param.weights for name in weight_files(listed)]
        paths = [find_file(name, folder, "weights file") for name in names]
        self.copy_all(paths, rename)
        self.statistics = RunningStatistics(self.net, self.communicator)
        self._rule = Rule(param, self.net, rank_count(self.communicator))
        self.options, self.check_replicas = options, every
        self._time = self.net.backend.compilation.clock  # stands while it compiles
        self._recorder = Recorder(self._records, param, self._time)
        self.last_snapshot: Snapshot | None = None
        self._prefix_given = folder is not None or param.snapshot_prefix not in (
            "",
            DEFAULT_PREFIX,
        )
        self._iteration = 0
        self._tested = -1  # the iteration ahead of which the due test was done
        self._cut = False  # whether the last run ended before its time
        self._running = False
        self._unsaved = False  # whether the last snapshot could not be written
        self.showing = Shower()
        self._watch = Watch(self.net)
        self._ahead = Ahead(self.net, self._rule)
        self._quick = Quick(self.net, self._rule)
        if self.communicator is not None:
            self._join(self.communicator, every)
        self.young = YoungStatistics()

    # ------------------------------------------------------------ state

    @property
    def iter(self) -> int:
        """How many iterations are done."""
        return self._iteration

    def end_at(self, iteration: int) -> None:
        """Let the running `solve` end after so many iterations: `max_iter` from now."""
        self.param.max_iter = self._end = iteration
        self.showing.ends_at(iteration)

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
        if self._step_quietly(iterations, progress):
            return
        iterations = integer(iterations, "step: iterations")
        show = self.showing.run(self, "step", iterations, progress)
        with held() as signals, show.until(signals), self.training():
            self._run(iterations, signals, careful=False)
        if signals.interrupted or self._was_left(signals):
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
            show = self.showing.run(self, "solve", left, progress)
            with show.until(signals), self.training():
                self._solve(signals)
                self.statistics.average()
        if signals.interrupted or self._was_left(signals):
            raise stopped(f"training stopped after iteration {self._iteration}")
        return self.history

    def _prepare(self, resume: str | Path | None) -> None:
        param = self.param
        if not param.HasField("max_iter"):
            raise SpecError("solver: max_iter is missing; say how long to train")
        if param.snapshot > 0 or param.snapshot_after_train:
            make_ready(param.snapshot_prefix, self.communicator)
        if resume is not None:
            self.restore(resume)

    def _solve(self, signals: Held) -> None:
        param = self.param
        self._run(param.max_iter - self._iteration, signals, careful=True)
        self._heed(signals)
        ended = self._stopping
        if self._was_left(signals):
            if self._prefix_given and not self._snapshot_is_new():
                self._snapshot_on_the_way()
            return
        due = ended and self.saves_when_stopped
        due = due or param.snapshot_after_train or self._unsaved
        if due and not self._snapshot_is_new():
            check_parameters(self.net, self._iteration, self.last_snapshot)
            try:
                self.snapshot()
            except FileError as error:
                raise unsaved(error, self._iteration, self.last_snapshot) from error
        if not ended and is_due(self.param, self._iteration):
            self._test_due(signals)
        self._end_epoch()
        self._heed(signals)
        if self._snapshot_wanted and not self._snapshot_is_new():
            check_parameters(self.net, self._iteration, self.last_snapshot)
            self._snapshot_on_the_way()

    def _run(self, iterations: int, signals: Held, *, careful: bool) -> None:
        if self._running:
            raise within_itself(self.net)
        self._end = self._iteration + iterations
        if iterations > 0 and learns_nothing(self.net):
            raise without_loss(self.net)
        if iterations > 0 and self._iteration == 0:
            warn_of_zero_weights(self.net)
            warn_if_nothing_learns(self.net)
            warn_of_losses_that_are_read(self.net)
        warn_of_portable_kernels(self.net)
        self._began = self._began or iterations > 0
        if not self._cut:
            self._recorder.forget()
        self._cut = self._running = True
        self._ahead.begin(careful=careful)
        try:
            try:
                with doing(self.communicator, "training"):
                    self._meet(signals)
                    self._loop(signals, careful=careful)
            finally:  # also before what stops the next iteration is raised
                self._settle(0, careful=careful)
        finally:
            self._running = False
            self._ahead.waiting.clear()
            self.net.rest_feed()

    def _loop(self, signals: Held, *, careful: bool) -> None:
        first = 0 if self.param.test_initialization else 1
        while self._iteration < self._end and not self.stopping:
            if not self._quietly(signals, careful=careful):
                if not self._due_ahead(signals, first, careful=careful):
                    return
                # The loss is looked at, so NumPy need not warn of what spoils it.
                with np.errstate(all="ignore"):
                    self._iterate(signals, careful=careful)
            due = self.param.snapshot > 0 and self._iteration % self.param.snapshot == 0
            if due or self._snapshot_wanted:
                self._settle(0, careful=careful)
                if careful:
                    check_parameters(self.net, self._iteration, self.last_snapshot)
                self._snapshot_on_the_way()
            self.showing.look()
            if self._leaves(signals):
                return
        self._cut = False
        if self._ends_epoch():
            self._settle(0, careful=careful)
            self._end_epoch()

    def _due_ahead(self, signals: Held, first: int, *, careful: bool) -> bool:
        """Do what is due ahead of an iteration; say whether that may follow.

        first: the first iteration ahead of which nets are tested.
        """
        due = is_due(self.param, self._iteration) and self._iteration >= first
        if due and self._tested != self._iteration:
            self._settle(0, careful=careful)
            if not self._test_due(signals):
                return False
            self._heed(signals)
        if self._ends_epoch():
            self._settle(0, careful=careful)
            self._end_epoch()
            self._heed(signals)
        return not (self._stopping or self._interrupted)

    def _iterate(self, signals: Held, *, careful: bool) -> None:
        started = self._time()
        self.callbacks.tell("before")
        lr = self.lr
        whole = not self.callbacks.has("after") and self._together is None
        if whole and self._ahead.able():
            passes = self._iteration * self.param.iter_size
            if self.counts_forward:
                passes = max(passes, self.net.clock.value)
            signals.whole(lambda: self._launch(passes, lr, careful=careful))
            wait = self.callbacks.has("on_step")
            wait = wait or self.showing.wants(self._iteration - 1)
            self._settle(0 if wait else 1, careful=careful)
            return
        self._settle(0, careful=careful)
        loss = self._gradients(self._iteration, lr, signals)
        self._learn(loss, lr, started, signals, careful=careful)

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
            self.callbacks.tell("on_step", record)

    @whole
    def apply_update(self) -> None:
        """Update the parameters from their gradients and end the iteration.

        `iter` counts it, so that `net.forward`, `net.backward` and this are what `step`
        does, less the record. A gradient that is not finite is warned about once.
        """
        self._watch.check(self.update, self._iteration, None, self.last_snapshot)
        self._rule.apply_after_pass(self._iteration)
        self._iteration += 1

    def close(self) -> None:
        """Close the data sources of all nets."""
        for net in (self.net, *self.test_nets):
            net.close()
