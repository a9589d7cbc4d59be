"""Training from the command line: what is shown, and the files beside snapshots."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from netspec.errors import FileError, NetspecError, SpecWarning
from netspec.ops.base import count
from runtime.cli.interrupts import graceful
from runtime.cli.progress import Progress
from runtime.distributed import Communicator
from runtime.training.history import History, Log, StepRecord, TestRecord
from runtime.training.plots import check_plot_path, draw_history
from runtime.training.ranks.first_rank import by_first_rank
from runtime.training.showing.show import NO_END
from runtime.training.showing.words import describe, duration, images_of
from runtime.training.snapshot_files import SnapshotWarning
from runtime.training.solver import Solver

SIGNAL_STATUS = 128  # a command that a signal ended exits with this plus its number


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add --out, --plot, --log and --no-progress."""
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="write the snapshots here, and curve and log too unless they are named",
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="draw the loss curve: .svg, .png or .pdf"
    )
    parser.add_argument(
        "--log", metavar="FILE", help="write every loss and test result: .csv or .jsonl"
    )
    parser.add_argument(
        "--no-progress", action="store_true", help="show only tests and snapshots"
    )


class Outputs:
    """The files of a run beside its snapshots: curve and log.

    again: whether it goes on from a snapshot, and the log with it. ranks: those that
    train together, of which the first writes.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        *,
        again: bool,
        ranks: Communicator | None = None,
    ) -> None:
        out = Path(options.out) if options.out else None
        self.plot = Path(options.plot) if options.plot else out and out / "loss.svg"
        self.log = Path(options.log) if options.log else out and out / "log.csv"
        self._append = again
        self.failure: FileError | None = None
        self._log: Log | None = None
        by_first_rank(ranks, self._check)
        if ranks is not None and ranks.rank:
            self.plot = self.log = None

    def _check(self) -> None:
        if self.plot:
            check_plot_path(self.plot)
            _check_folder(self.plot)
        if self.log:
            _check_folder(self.log)

    def start(self, solver: Solver, stack: ExitStack) -> None:
        """Open the log and write to it from now on."""
        if self.log:
            self._log = stack.enter_context(
                Log(self.log, append=self._append, since=solver.iter)
            )

            def add(record: StepRecord | TestRecord) -> None:
                try:
                    if self._log is not None:
                        self._log.add(record)
                except FileError as error:
                    # A full disk must not lose the training: stop with a snapshot.
                    self.failure, self._log = error, None
                    solver.stop()

            solver.on_step(add)
            solver.on_test(add)

    def draw(self, history: History, title: str) -> None:
        """Draw the curve, or write its numbers where matplotlib is missing."""
        if not self.plot or not history.train:
            return
        if importlib.util.find_spec("matplotlib") is None:
            self.plot = self.plot.with_suffix(".csv")
            history.write(self.plot)
            print(
                f"matplotlib is not installed (extra netspec[plot]); the curve's "
                f"numbers are in {self.plot}"
            )
        else:
            draw_history(history, self.plot, title=title)


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileError(f"{path}: cannot be written: {path.parent} is not a folder")
    if path.is_dir():
        raise FileError(f"{path}: is a folder; give the name of a file")


def run_training(
    solver: Solver,
    outputs: Outputs,
    solve: Callable[[], object],
    *,
    name: str,
    again: str,
    steps: bool,
) -> int:
    """Train with all that a command shows, and return its exit status.

    solve: trains, without showing it. name: of a net that has none. again: the option
    that goes on from a snapshot. steps: whether single iterations are shown.
    """
    _announce(solver)
    _announce_ranks(solver)
    started, first = time.perf_counter(), solver.iter
    progress = Progress(solver, steps=steps)
    name = solver.net.name or name
    try:
        with ExitStack() as stack:
            received = stack.enter_context(graceful(solver))
            stack.callback(progress.close)
            stack.enter_context(_plain_warnings())
            outputs.start(solver, stack)
            solve()
    except NetspecError:
        # The curve of a run that failed may tell why; that it fails too is no news.
        with suppress(NetspecError):
            outputs.draw(solver.history, name)
        raise
    outputs.draw(solver.history, name)
    failure, number = _of_all(solver, str(outputs.failure or ""), received.number)
    if failure:
        raise FileError(f"{failure}; {_stopped(solver, again)}") from outputs.failure
    if number is not None:
        print(f"interrupted: {_stopped(solver, again)}", file=sys.stderr)
        return SIGNAL_STATUS + number
    seconds = duration(time.perf_counter() - started)
    print(f"trained {solver.iter - first} iterations in {seconds}")
    _print_results(solver, outputs)
    return 0


def _of_all(solver: Solver, failure: str, number: int | None) -> tuple[str, int | None]:
    """Return what ended the training, on whatever rank it happened.

    failure: of a file, "" for none; number: of a signal.
    """
    if solver.communicator is None:
        return failure, number
    failures = [one for one in solver.communicator.gather(failure) if one]
    numbers = [one for one in solver.communicator.gather(number) if one is not None]
    return failures[0] if failures else "", numbers[0] if numbers else None


def _announce_ranks(solver: Solver) -> None:
    """Say how large a batch of all ranks is, and what that means for rates."""
    ranks = solver.communicator
    if ranks is None:
        return
    size, images = solver.param.iter_size, images_of(solver)
    parts = f"{ranks.size} ranks x {images // (ranks.size * size)}"
    if size > 1:
        parts = f"{parts} x iter_size {size}"
    threads = getattr(solver.net.backend, "threads", None)
    if threads:
        parts = f"{threads} thread{'s' * (threads > 1)} a rank, {parts}"
    print(
        f"{parts} = {images} images an iteration, as iter_size {size * ranks.size} of "
        f"one process; base_lr is taken as it is: if it was chosen for one process, "
        f"the usual rule is {ranks.size} times as much, with a warm-up",
        flush=True,
    )


def _announce(solver: Solver) -> None:
    net, param = solver.net, solver.param
    ends = "the end of the data" if param.max_iter >= NO_END else param.max_iter
    parameters = sum(count(one.shape) for one in net.graph.parameters)
    print(
        f"training {net.name or 'a net'}: {len(net.layers)} layers, {parameters:,} "
        f"parameters, {param.type} on {net.backend.title}, seed {solver.seed}, "
        f"iteration {solver.iter} to {ends}",
        flush=True,
    )


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show our warnings as one line, as errors are, without the place in our code."""
    ours = (SpecWarning, SnapshotWarning)
    with warnings.catch_warnings():
        show = warnings.showwarning

        def plain(message: Warning | str, kind: type[Warning], *rest: Any) -> None:
            if issubclass(kind, ours):
                print(f"warning: {message}", file=sys.stderr, flush=True)
            else:
                show(message, kind, *rest)

        for kind in ours:
            warnings.simplefilter("always", kind)
        warnings.showwarning = plain  # type: ignore[assignment]
        yield


def _stopped(solver: Solver, again: str) -> str:
    last = solver.last_snapshot
    way = f"; continue with {again} {last.state}" if last else ""
    return f"training stopped after {solver.iter} iterations{way}"


def _print_results(solver: Solver, outputs: Outputs) -> None:
    tests = solver.history.tests
    latest = tests[-1].iteration if tests else None
    rows: list[tuple[str, object]] = [
        (f"test at {latest}", describe(record))
        for record in tests
        if record.iteration == latest
    ]
    if last := solver.last_snapshot:
        rows += [("weights", last.model), ("state", last.state)]
    if outputs.plot and solver.history.train:
        rows.append(("curve", outputs.plot))
    if outputs.log:
        rows.append(("log", outputs.log))
    width = max((len(what) for what, _ in rows), default=0)
    for what, value in rows:
        print(f"  {what:<{width}}  {value}")
