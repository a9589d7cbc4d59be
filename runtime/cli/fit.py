"""`python -m runtime fit`: train a net with data of any kind.

`--set` sets fields of the solver by their names, and parameters of a model file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from netspec.commands.cli import positive
from netspec.commands.net_argument import (
    add_memory_limit,
    add_micro_batch,
    add_net_argument,
    net_to_run,
)
from netspec.schema import TRAIN
from runtime.cli.data_files import DATA_HELP, data_of
from runtime.cli.field_options import add_transform, pairs, transform_of
from runtime.cli.options import (
    add_allow_python,
    add_backend,
    add_precision,
    add_sync_batch_norm,
    add_ways,
    say_memory,
    ways,
)
from runtime.cli.running import Outputs, add_outputs, run_training
from runtime.distributed import world
from runtime.distributed.communicator import several
from runtime.execution.kept_plans import PLANS
from runtime.fitting.asked import Asked, Files
from runtime.fitting.data import Given
from runtime.fitting.opening import with_usual
from runtime.fitting.training import Length
from runtime.training.solver_fields import SolverFields
from runtime.training.solver_param import weight_files
from runtime.training.solver_source import solver_of


def add_parser(commands: Any) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "fit",
        help="train a net with data of any kind",
        description=__doc__,
        examples=(
            "net.prototxt --data x.npy y.npy --epochs 5 --out run",
            "net.py --data images/ --validation 0.2 --type Adam --base-lr 0.001",
            "net.prototxt --data train_lmdb --validation 0.1 --transform scale=0.0039",
            "net.prototxt --data train.npz --epochs 10 --out run --resume last",
        ),
    )
    add_net_argument(parser, model=True, forks=False)
    parser.add_argument(
        "--data",
        nargs="+",
        metavar="DATA",
        help=f"what fills the inputs of the net, labels among them: {DATA_HELP}; "
        "without it the net needs data layers",
    )
    parser.add_argument(
        "--validation",
        nargs="+",
        metavar="DATA|PART",
        help="data to test with after each epoch, or the part of --data for that: 0.2",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=positive, metavar="N", help="1 by default")
    length.add_argument("--max-iter", type=positive, metavar="N", help="or iterations")
    parser.add_argument(
        "--batch-size",
        dest="batch",
        type=positive,
        metavar="N",
        help="instead of that of the net's inputs",
    )
    add_transform(parser)
    parser.add_argument(
        "--no-shuffle", action="store_true", help="keep the order of the items"
    )
    _add_solver(parser)
    parser.add_argument(
        "--weights",
        metavar="FILES",
        help="start from these weights: files of any format, separated by commas",
    )
    parser.add_argument(
        "--resume",
        metavar="STATE",
        help="continue from this .solverstate file, or the last one in --out: last",
    )
    parser.add_argument(
        "--snapshot",
        type=positive,
        metavar="EPOCHS",
        help="write a snapshot after every so many epochs",
    )
    add_outputs(parser)
    add_memory_limit(parser)
    add_micro_batch(parser)
    add_backend(parser)
    add_precision(parser)
    add_ways(parser)
    add_sync_batch_norm(parser)
    add_allow_python(parser)
    parser.add_argument(
        "--plans",
        type=positive,
        default=PLANS,
        metavar="N",
        help=f"for how many sizes of batches plans are kept, {PLANS} by default",
    )
    parser.set_defaults(command=fit)


def _add_solver(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--solver", metavar="FILE", help="a solver's prototxt file")
    parser.add_argument(
        "--type", metavar="NAME", help="the update rule: SGD (default), Adam, ..."
    )
    parser.add_argument(
        "--base-lr", type=float, metavar="RATE", help="the learning rate, 0.01"
    )
    parser.add_argument("--momentum", type=float, metavar="M", help="0.9")
    parser.add_argument("--weight-decay", type=float, metavar="W", help="0")
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="of order, transforms, fillers and dropout; 0 by default",
    )


def fit(options: argparse.Namespace) -> int:
    """Run the command."""
    fields = _fields(options)
    given = Given(
        data=None if options.data is None else data_of(options.data),
        validation=_validation(options),
        batch_size=options.batch,
        shuffle=not options.no_shuffle,
        transform=transform_of(options),
    )
    length = Length(options.epochs, options.max_iter)
    weights = weight_files(options.weights or "") or None
    files = Files(weights, options.resume, options.out, options.snapshot)
    for one in (given, length, files):
        one.check()
    net = net_to_run(options, phase=TRAIN)
    solver: Any = fields or None
    if options.solver is not None:
        solver = solver_of(options.solver, fields)[0] if fields else options.solver
    ranks = world()
    asked = Asked(net.net, solver, given, length, files, options.seed, several(ranks))
    outputs = Outputs(options, again=options.resume is not None, ranks=ranks)
    how = ways(options) | {"keep": (), "allow_python": options.allow_python}
    how |= {"plans": options.plans, "memory_limit": options.memory_limit}
    how["sync_batch_norm"] = options.sync_batch_norm
    how["micro_batch"] = options.micro_batch
    training = asked.begin(how)
    say_memory(training.solver)
    try:
        return run_training(
            training.solver,
            outputs,
            lambda: training.run(False),
            name=Path(options.net).stem,
            again="--resume",
            steps=not options.no_progress,
        )
    finally:
        training.solver.close()


def _fields(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of the solver; what of --set is none stays for the net."""
    known = SolverFields.__annotations__
    own = [one for one in options.set if one.partition("=")[0].strip() in known]
    options.set = [one for one in options.set if one not in own]
    fields = pairs(own, "--set")
    given = {
        "type": options.type,
        "base_lr": options.base_lr,
        "momentum": options.momentum,
        "weight_decay": options.weight_decay,
    }
    fields |= {name: value for name, value in given.items() if value is not None}
    if fields and options.solver is None:
        fields = with_usual(fields)
    return fields


def _validation(options: argparse.Namespace) -> Any:
    """Return the part of the data that is for tests, or other data."""
    given = options.validation
    if given is not None and len(given) == 1:
        try:
            return float(given[0])
        except ValueError:
            pass
    return None if given is None else data_of(given)
