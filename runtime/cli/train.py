"""`python -m runtime train`: train a net as a solver file says."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from netspec import bundled
from netspec.commands.cli import positive
from netspec.commands.net_argument import add_batch_size, add_settings, net_to_run
from netspec.errors import FileError, NetspecError, SpecError, SpecWarning
from netspec.files import is_file
from netspec.nets.current import current
from netspec.ops.base import count
from netspec.schema import TRAIN, SolverParameter
from netspec.text import is_solver_file
from runtime.cli.interrupts import graceful
from runtime.cli.options import (
    add_allow_python,
    add_backend,
    add_precision,
    add_rename,
    add_ways,
    copy_weights,
    ways,
)
from runtime.cli.progress import Progress
from runtime.execution.kept_plans import PLANS
from runtime.training.history import History, Log, StepRecord, TestRecord
from runtime.training.plots import check_plot_path, draw_history
from runtime.training.showing.words import describe, duration
from runtime.training.snapshot_files import (
    SnapshotWarning,
    check_writable,
    remove_leftovers,
)
from runtime.training.solver import Solver
from runtime.training.solver_param import find_file, read_solver, weight_files
from runtime.training.solver_source import TRAIN_FIELDS

SIGNAL_STATUS = 128  # a command that a signal ended exits with this plus its number


def add_parser(commands: Any) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "train",
        help="train a net",
        description=__doc__,
        examples=(
            "--solver solver.prototxt --out run",
            "solver.prototxt --max-iter 1000 --plot loss.svg",
            "--solver solver.prototxt --snapshot run/net_iter_1000.solverstate",
            "lenet --set source=train_lmdb --solver lenet_solver",
        ),
    )
    parser.add_argument(
        "net",
        nargs="?",
        metavar="SOLVER|NET",
        help="the solver's prototxt file; or, with --solver, a net in the place of the "
        "solver's: a .prototxt, .caffemodel, .onnx or .py, or the name of a model of "
        "netspec",
    )
    parser.add_argument("--model", metavar="NET", help="another way to say NET")
    parser.add_argument(
        "--solver",
        metavar="FILE",
        help="the solver's prototxt file, or the name of one of netspec's",
    )
    add_settings(parser)
    add_batch_size(parser)
    parser.checks.append(_solver_and_net)
    parser.add_argument(
        "--weights",
        metavar="FILES",
        help="start from these weights: files of any format, separated by commas",
    )
    parser.add_argument(
        "--snapshot", metavar="STATE", help="continue from this .solverstate file"
    )
    add_rename(parser)
    add_backend(parser)
    add_precision(parser)
    add_ways(parser)
    add_allow_python(parser)
    parser.add_argument(
        "--max-iter",
        type=positive,
        metavar="N",
        help="instead of the solver's max_iter",
    )
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
        "--seed",
        type=int,
        metavar="N",
        help="of fillers, dropout and data order, instead of the solver's random_seed",
    )
    parser.add_argument(
        "--plans",
        type=positive,
        default=PLANS,
        metavar="N",
        help=f"for how many sizes of images plans are kept, {PLANS} by default",
    )
    parser.add_argument(
        "--no-progress", action="store_true", help="show only tests and snapshots"
    )
    parser.set_defaults(command=train)


def _solver_and_net(options: argparse.Namespace) -> str:
    """Find out which of the arguments is the solver; return what is wrong, if any."""
    if options.net is not None and options.model is not None:
        return (
            f"{options.net} and --model {options.model} are both given; leave one out"
        )
    if options.net is None:
        options.net = options.model
    elif options.solver is None and not _is_net(options.net):
        options.solver, options.net = options.net, None
    if options.solver is None:
        what = f"; {options.net} is a net" if options.net else ""
        return f"the following arguments are required: --solver{what}"
    of_net = {"--set": options.set, "--net": options.function}
    of_net["--batch-size"] = options.batch_size
    wrong = [name for name, value in of_net.items() if value]
    if wrong and options.net is None:
        return f"{' and '.join(wrong)} can be given with a net only, beside --solver"
    return ""


def _is_net(name: str) -> bool:
    """Tell whether an argument names a net and no solver."""
    path = Path(name)
    if path.suffix in {".py", ".onnx", ".caffemodel"} or name in bundled.nets():
        return True
    return is_file(name) and not is_solver_file(name)


def _read(options: argparse.Namespace) -> tuple[SolverParameter, Path | None]:
    """Return the solver, with the net that takes the place of its own, and its file."""
    name = options.solver
    if not is_file(name) and name in bundled.files():
        name = bundled.files()[name]
    param, path = read_solver(name, other_net=options.net is not None)
    if options.net is not None:
        given = net_to_run(options, phase=TRAIN)
        for field in TRAIN_FIELDS:
            param.ClearField(field)
        param.net_param.CopyFrom(current(given.net))
    return param, path


def train(options: argparse.Namespace) -> int:
    """Run the command."""
    if options.weights and options.snapshot:
        raise SpecError(
            "--weights and --snapshot are both given; a snapshot has its own weights, "
            "so leave one out"
        )
    param, path = _read(options)
    folder = path.parent if path else None
    _override(param, options)
    outputs = _Outputs(param, options)
    solver = Solver(
        param,
        folder=folder,
        **ways(options),
        seed=options.seed,
        keep=(),
        allow_python=options.allow_python,
        plans=options.plans,
    )
    try:
        names = weight_files(options.weights or "")
        paths = [find_file(name, folder, "weights file") for name in names]
        copy_weights([solver.net, *solver.test_nets], paths, options.rename)
        if options.snapshot:
            solver.restore(options.snapshot)
        return _train(solver, outputs, options)
    finally:
        solver.close()


def _override(param: SolverParameter, options: argparse.Namespace) -> None:
    if options.max_iter:
        param.max_iter = options.max_iter
    if not param.HasField("max_iter"):
        raise SpecError(
            f"{options.solver}: max_iter is missing; add it, or use --max-iter"
        )
    if options.out:
        folder = Path(options.out)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(
                f"{folder}: cannot be made a folder: {error.strerror}"
            ) from error
        param.snapshot_prefix = str(folder / Path(param.snapshot_prefix).name)
    check_writable(param.snapshot_prefix)
    remove_leftovers(param.snapshot_prefix)


class _Outputs:
    """The files of a run beside its snapshots: curve and log."""

    def __init__(self, param: SolverParameter, options: argparse.Namespace) -> None:
        out = Path(options.out) if options.out else None
        self.plot = Path(options.plot) if options.plot else out and out / "loss.svg"
        self.log = Path(options.log) if options.log else out and out / "log.csv"
        self._append = options.snapshot is not None
        self.failure: FileError | None = None
        self._log: Log | None = None
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


def _train(solver: Solver, outputs: _Outputs, options: argparse.Namespace) -> int:
    _announce(solver)
    started, first = time.perf_counter(), solver.iter
    progress = Progress(solver, steps=not options.no_progress)
    name = solver.net.name or Path(options.solver).stem
    try:
        with ExitStack() as stack:
            received = stack.enter_context(graceful(solver))
            stack.callback(progress.close)
            stack.enter_context(_plain_warnings())
            outputs.start(solver, stack)
            stack.enter_context(_shown_warnings())
            solver.solve(progress=False)
    except NetspecError:
        # The curve of a run that failed may tell why; that it fails too is no news.
        with suppress(NetspecError):
            outputs.draw(solver.history, name)
        raise
    outputs.draw(solver.history, name)
    if outputs.failure:
        raise FileError(f"{outputs.failure}; {_stopped(solver)}")
    if received.number is not None:
        print(f"interrupted: {_stopped(solver)}", file=sys.stderr)
        return SIGNAL_STATUS + received.number
    seconds = duration(time.perf_counter() - started)
    print(f"trained {solver.iter - first} iterations in {seconds}")
    _print_results(solver, outputs)
    return 0


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show a snapshot that failed as one line, as errors are."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def plain(message: Warning | str, kind: type[Warning], *rest: Any) -> None:
            if issubclass(kind, SnapshotWarning):
                print(f"warning: {message}", file=sys.stderr, flush=True)
            else:
                show(message, kind, *rest)

        warnings.simplefilter("always", SnapshotWarning)
        warnings.showwarning = plain  # type: ignore[assignment]
        yield


def _announce(solver: Solver) -> None:
    net, param = solver.net, solver.param
    parameters = sum(count(one.shape) for one in net.graph.parameters)
    print(
        f"training {net.name or 'a net'}: {len(net.layers)} layers, {parameters:,} "
        f"parameters, {param.type} on {net.backend.title}, seed {solver.seed}, "
        f"iteration {solver.iter} to {param.max_iter}",
        flush=True,
    )


@contextmanager
def _shown_warnings() -> Iterator[None]:
    """Show our warnings as one line, without the place in our code."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def told(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, SpecWarning):
                print(f"warning: {message}", file=sys.stderr, flush=True)
            else:
                show(message, category, filename, lineno, file, line)

        warnings.simplefilter("always", SpecWarning)
        warnings.showwarning = told
        yield


def _stopped(solver: Solver) -> str:
    last = solver.last_snapshot
    again = f"; continue with --snapshot {last.state}" if last else ""
    return f"training stopped after {solver.iter} iterations{again}"


def _print_results(solver: Solver, outputs: _Outputs) -> None:
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
