"""`Solver`: trains a net as a solver file says, with pycaffe's names and meaning."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from netspec.errors import SpecError
from netspec.schema import SolverParameter
from runtime.execution.net import Net
from runtime.execution.weights import CopyReport, copy_into, warn_of_rest
from runtime.training.history import History, StepRecord, TestRecord
from runtime.training.lr_policy import policy_of
from runtime.training.snapshot import (
    Snapshot,
    check_writable,
    restore_snapshot,
    write_snapshot,
)
from runtime.training.solver_param import (
    find_file,
    read_solver,
    test_choices,
    train_choice,
    weight_files,
)
from runtime.training.testing import mean_outputs
from runtime.training.updates import settings_of, update_of

DEFAULT_SEED = 0  # of a solver without `random_seed`, so that runs repeat
UNKNOWN = -1  # passes of a net whose forward was interrupted

CallT = TypeVar("CallT", bound=Callable[..., Any])


class NonFiniteLossError(SpecError):
    """Training diverged: the loss of `iteration` is infinite or not a number.

    The parameters are those before that iteration. `snapshot` is the last one that was
    written or restored, or None.
    """

    def __init__(
        self, iteration: int, loss: float, lr: float, snapshot: Snapshot | None
    ) -> None:
        last = f"the last snapshot is {snapshot.state}" if snapshot else "no snapshot"
        super().__init__(
            f"the loss of iteration {iteration} is {loss:g} at learning rate {lr:g}; "
            f"{last}. Lower base_lr, set clip_gradients, or look for bad values in the "
            f"data"
        )
        self.iteration = iteration
        self.loss = loss
        self.snapshot = snapshot


class _Left(Exception):
    """A test pass was left unfinished."""


class Solver:
    """Trains a net and tests it, as a `SolverParameter` says.

    Args:
        param: the solver, upgraded, as `read_solver` returns it.
        folder: where nets and weights are looked for after the current folder.
        backend: "numpy" or "cupy", whatever `solver_mode` says.
        seed: of fillers, dropout and data order; else `random_seed`, else 0. The same
            seed gives the same run: where Caffe takes a new one each time, say so with
            a seed of your own.
        keep: names of blobs that must stay readable; None keeps all (see `Net`).

    All nets share the parameters of `net`. Data order, dropout and test batches follow
    from `iter`, so that a run continued from a snapshot equals one that never stopped;
    only the hidden state that an LSTM or RNN carries over is not saved. `history` has a
    record of every iteration, test pass and snapshot. `snapshot_diff` and `debug_info`
    have no effect.
    """

    net_type: ClassVar[type[Net]] = Net

    def __init__(
        self,
        param: SolverParameter,
        *,
        folder: Path | None = None,
        backend: str = "numpy",
        seed: int | None = None,
        keep: Iterable[str] | None = None,
    ) -> None:
        self.param = param
        self.policy = policy_of(param)
        settings_of(param)  # its mistakes come before the time it takes to build nets
        given = param.random_seed if param.random_seed >= 0 else DEFAULT_SEED
        self.seed = given if seed is None else seed
        choice = train_choice(param, folder)
        tests = test_choices(param, folder)
        kept = None if keep is None else list(keep)
        self.net: Net = self.net_type(
            choice.net, backend=backend, seed=self.seed, state=choice.state, keep=kept
        )
        self.test_nets = [
            self.net_type(
                one.net,
                backend=backend,
                seed=self.seed,
                state=one.state,
                share_with=self.net,
                keep=kept,
            )
            for one in tests
        ]
        names = [name for listed in param.weights for name in weight_files(listed)]
        paths = [find_file(name, folder, "weights") for name in names]
        nets = [self.net, *self.test_nets]
        warn_of_rest(paths, [copy_into(nets, path) for path in paths])
        self.update = update_of(
            param, self.net.flat, self.net.graph.parameters, self.net.backend
        )
        self.history = History()
        self.last_snapshot: Snapshot | None = None
        self._iteration = 0
        self._steps = 0  # of multistep
        self._recent: deque[float] = deque(maxlen=max(1, param.average_loss))
        self._stopping = False
        self._warned = False
        self._before: list[Callable[[], Any]] = []
        self._after: list[Callable[[], Any]] = []
        self._on_step: list[Callable[[StepRecord], Any]] = []
        self._on_test: list[Callable[[TestRecord], Any]] = []
        self._on_snapshot: list[Callable[[Snapshot], Any]] = []

    # ------------------------------------------------------------ state

    @property
    def iter(self) -> int:
        """How many iterations are done."""
        return self._iteration

    @property
    def lr(self) -> float:
        """The learning rate of the next iteration."""
        return self.policy.rate(self._iteration, self._steps)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called during this run."""
        return self._stopping

    # ------------------------------------------------------------ callbacks

    def add_callback(self, before: Callable[[], Any], after: Callable[[], Any]) -> None:
        """Call `before` ahead of each iteration and `after` once it has its gradients.

        At that time the parameters are not updated yet, so `after` may change `diff`.
        """
        self._before.append(before)
        self._after.append(after)

    def on_step(self, call: CallT) -> CallT:
        """Call `call(record)` with a `StepRecord` after each iteration. A decorator."""
        self._on_step.append(call)
        return call

    def on_test(self, call: CallT) -> CallT:
        """Call `call(record)` with a `TestRecord` after each test pass. A decorator."""
        self._on_test.append(call)
        return call

    def on_snapshot(self, call: CallT) -> CallT:
        """Call `call(snapshot)` after each `Snapshot` written. A decorator."""
        self._on_snapshot.append(call)
        return call

    def stop(self) -> None:
        """Let the running `step` or `solve` end after its iteration."""
        self._stopping = True

    # ------------------------------------------------------------ training

    def step(self, iterations: int = 1) -> None:
        """Train for some iterations, with the tests and snapshots that are due.

        A loss that is infinite or not a number is recorded and warned about once; use
        `solve`, or look at `history.train`, to stop there.
        """
        self._run(iterations, careful=False)
        self._stopping = False

    def solve(self, resume: str | Path | None = None) -> History:
        """Train up to `max_iter`, from a state file if one is given.

        At the end a snapshot is written (unless `snapshot_after_train` is false), and
        the nets are tested if a test is due then. After `stop` a snapshot is written in
        any case.

        Raises `NonFiniteLossError`, before the bad gradient reaches the parameters.
        """
        param = self.param
        if not param.HasField("max_iter"):
            raise SpecError("solver: max_iter is missing; say how long to train")
        if param.snapshot > 0 or param.snapshot_after_train:
            check_writable(param.snapshot_prefix)
        if resume is not None:
            self.restore(resume)
        self._run(param.max_iter - self._iteration, careful=True)
        stopped, self._stopping = self._stopping, False
        if (stopped or param.snapshot_after_train) and not self._snapshot_is_new():
            self.snapshot()
        if not stopped and self._test_is_due():
            self.test()
        return self.history

    def _run(self, iterations: int, *, careful: bool) -> None:
        end = self._iteration + iterations
        self._recent.clear()
        first = 0 if self.param.test_initialization else 1
        while self._iteration < end and not self.stopping:
            if self._test_is_due() and self._iteration >= first:
                self.test()
            if self._stopping:
                return
            # The loss is looked at, so NumPy need not warn about what made it infinite.
            with np.errstate(all="ignore"):
                self._iterate(careful=careful)
            if self.param.snapshot > 0 and self._iteration % self.param.snapshot == 0:
                self.snapshot()

    def _iterate(self, *, careful: bool) -> None:
        started = time.perf_counter()
        for call in self._before:
            call()
        lr = self.lr
        loss = self._forward_backward()
        if not math.isfinite(loss):
            if careful:
                raise NonFiniteLossError(self._iteration, loss, lr, self.last_snapshot)
            self._warn(loss)
        for call in self._after:
            call()
        self.apply_update()
        self._recent.append(loss)
        record = StepRecord(
            iteration=self._iteration,
            loss=loss,
            smoothed_loss=sum(self._recent) / len(self._recent),
            lr=lr,
            seconds=time.perf_counter() - started,
        )
        self.history.train.append(record)
        self._iteration += 1
        for notify in self._on_step:
            notify(record)

    def _forward_backward(self) -> float:
        """Sum up the gradients of `iter_size` batches and return their mean loss."""
        size = self.param.iter_size
        loss = 0.0
        with _at_passes(self.net, self._iteration * size):
            for index in range(size):
                self.net.forward_backward(accumulate=index > 0)
                loss += self.net.loss()
        return loss / size

    def apply_update(self) -> None:
        """Update the parameters from their gradients, at the rate of this iteration."""
        # What a callback wrote into host arrays must reach the device, and host arrays
        # must be read anew after the update.
        self.net.mirror.before_steps()
        lr = self.lr
        self._steps = self.policy.steps_at(self._iteration, self._steps)
        self.update.apply(lr, self._iteration)

    def _warn(self, loss: float) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"the loss of iteration {self._iteration} is {loss:g}",
                RuntimeWarning,
                stacklevel=4,
            )

    # ------------------------------------------------------------ testing

    def test(self) -> list[TestRecord]:
        """Run every test net over its `test_iter` batches and record the means.

        Which batches these are depends on `iter` only, not on what was tested before.
        """
        records: list[TestRecord] = []
        for index, net in enumerate(self.test_nets):
            started = time.perf_counter()
            batches = self.param.test_iter[index]
            try:
                with (
                    np.errstate(all="ignore"),
                    _at_passes(net, self._tests_before() * batches),
                ):
                    means = mean_outputs(net, batches, on_batch=self._leave)
            except _Left:
                return records
            record = TestRecord(
                iteration=self._iteration,
                net=index,
                outputs=means.outputs,
                loss_weights=means.loss_weights,
                loss=means.loss if self.param.test_compute_loss else None,
                seconds=time.perf_counter() - started,
            )
            records.append(record)
            self.history.tests.append(record)
            for call in self._on_test:
                call(record)
        return records

    def _leave(self, _: int) -> None:
        """Leave a test pass in the middle once `stop` was called."""
        if self._stopping:
            raise _Left

    def _test_is_due(self) -> bool:
        interval = self.param.test_interval
        return bool(self.test_nets) and interval > 0 and self._iteration % interval == 0

    def _tests_before(self) -> int:
        """Return how many test passes are due before the present iteration."""
        interval = self.param.test_interval
        passes = -(-self._iteration // interval)
        return passes if self.param.test_initialization else max(0, passes - 1)

    # ------------------------------------------------------------ files

    def copy_from(self, path: str | Path) -> CopyReport:
        """Copy parameters from a weight file into the net and the test nets.

        Returns what was copied into the net. Warns of a file that gives nothing, and of
        layers that it leaves as they are.
        """
        report = copy_into([self.net, *self.test_nets], path)
        warn_of_rest([path], [report])
        return report

    def snapshot(self) -> Snapshot:
        """Write a snapshot and return the names of its files."""
        param = self.param
        written = write_snapshot(
            self.net,
            self.update,
            param.snapshot_prefix,
            iteration=self._iteration,
            current_step=self._steps,
            hdf5=param.snapshot_format == SolverParameter.HDF5,
        )
        self.last_snapshot = written
        self.history.snapshots.append(written)
        for call in self._on_snapshot:
            call(written)
        return written

    def restore(self, path: str | Path) -> None:
        """Continue from the state file of a snapshot, written here or by Caffe."""
        saved = restore_snapshot(self.net, self.update, path)
        self._iteration = saved.iteration
        self._steps = saved.current_step
        self.last_snapshot = Snapshot(
            saved.iteration, Path(saved.learned_net), Path(path)
        )

    def _snapshot_is_new(self) -> bool:
        last = self.last_snapshot
        return last is not None and last.iteration == self._iteration

    def close(self) -> None:
        """Close the data sources of all nets."""
        for net in (self.net, *self.test_nets):
            net.close()

    def __repr__(self) -> str:
        return (
            f"<Solver {self.param.type!r} of {self.net.name!r} at iteration "
            f"{self._iteration}>"
        )


def get_solver(
    solver: Any,
    *,
    backend: str = "numpy",
    seed: int | None = None,
    keep: Iterable[str] | None = None,
) -> Solver:
    """Return the solver of a prototxt file, of prototxt text, or of a message.

    Files that it names are looked for from the current folder and then from its own.
    The arguments are those of `Solver`.

    Raises `SpecError` and its children for bad input, `FileError` for files.
    """
    param, path = read_solver(solver)
    folder = path.parent if path else None
    return Solver(param, folder=folder, backend=backend, seed=seed, keep=keep)


@contextlib.contextmanager
def _at_passes(net: Net, passes: int) -> Iterator[None]:
    """Put a net where `passes` forward passes lead: its clock and its sources.

    If what follows is left by an error or an interrupt, a batch may have been taken
    that the clock did not count; then the net's place is unknown until the next time.
    """
    if net.clock.value != passes:
        net.clock.value = passes
        for source in net.sources.values():
            source.seek(passes)
    try:
        yield
    except BaseException:
        net.clock.value = UNKNOWN
        raise
