"""`python -m runtime train`: train a net as a solver file says."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from netspec import bundled
from netspec.commands.cli import positive
from netspec.commands.net_argument import (
    add_batch_size,
    add_memory_limit,
    add_micro_batch,
    add_settings,
    net_to_run,
)
from netspec.errors import SpecError
from netspec.files import is_file, make_folder
from netspec.nets.current import current
from netspec.schema import TRAIN, SolverParameter
from netspec.text import is_solver_file
from runtime.cli.options import (
    add_allow_python,
    add_backend,
    add_precision,
    add_rename,
    add_sync_batch_norm,
    add_ways,
    copy_weights,
    say_memory,
    ways,
)
from runtime.cli.running import Outputs, add_outputs, run_training
from runtime.distributed import world
from runtime.execution.kept_plans import PLANS
from runtime.training.ranks.first_rank import by_first_rank
from runtime.training.snapshot_files import (
    check_writable,
    remove_leftovers,
)
from runtime.training.solver import Solver
from runtime.training.solver_param import find_file, read_solver, weight_files
from runtime.training.solver_source import TRAIN_FIELDS


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
    add_memory_limit(parser)
    add_micro_batch(parser)
    add_backend(parser)
    add_precision(parser)
    add_ways(parser)
    add_sync_batch_norm(parser)
    parser.add_argument(
        "--check-replicas",
        type=positive,
        default=0,
        metavar="K",
        help="under mpiexec: compare what ranks hold after every K iterations, and end "
        "where they differ",
    )
    add_allow_python(parser)
    parser.add_argument(
        "--max-iter",
        type=positive,
        metavar="N",
        help="instead of the solver's max_iter",
    )
    add_outputs(parser)
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
    ranks = world()
    _override(param, options)
    by_first_rank(ranks, lambda: _make_folders(param, options))
    outputs = Outputs(options, again=options.snapshot is not None, ranks=ranks)
    solver = Solver(
        param,
        folder=folder,
        **ways(options),
        seed=options.seed,
        keep=(),
        allow_python=options.allow_python,
        plans=options.plans,
        memory_limit=options.memory_limit,
        micro_batch=options.micro_batch,
        communicator=ranks,
        check_replicas=options.check_replicas,
        sync_batch_norm=options.sync_batch_norm,
    )
    say_memory(solver)
    try:
        names = weight_files(options.weights or "")
        paths = [find_file(name, folder, "weights file") for name in names]
        copy_weights([solver.net, *solver.test_nets], paths, options.rename)
        if options.snapshot:
            solver.restore(options.snapshot)
        return run_training(
            solver,
            outputs,
            lambda: solver.solve(progress=False),
            name=Path(options.solver).stem,
            again="--snapshot",
            steps=not options.no_progress,
        )
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
        param.snapshot_prefix = str(
            Path(options.out) / Path(param.snapshot_prefix).name
        )


def _make_folders(param: SolverParameter, options: argparse.Namespace) -> None:
    if options.out:
        make_folder(options.out)
    check_writable(param.snapshot_prefix)
    remove_leftovers(param.snapshot_prefix)
