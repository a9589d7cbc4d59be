"""`python -m runtime`: train, test, use, time and check nets; list devices."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from netspec.commands.cli import Parser, run
from netspec.commands.dispatch import chosen
from netspec.commands.fork_options import add_fork_options
from runtime.distributed.ranks import launched

# Name, module, and what it does. Only the module that is called is imported.
COMMANDS = {
    "train": ("runtime.cli.train", "train a net as a solver file says"),
    "fit": ("runtime.cli.fit", "train a net with data of any kind"),
    "test": ("runtime.cli.testing", "score a net on its data"),
    "predict": ("runtime.cli.predicting", "write what a net makes of data"),
    "evaluate": ("runtime.cli.evaluating", "measure a net on data"),
    "time": ("runtime.cli.timing", "tell how long each layer takes"),
    "check": ("runtime.cli.check", "say what a net is, or what is wrong with it"),
    "check-gradients": (
        "runtime.cli.check_gradients",
        "compare gradients with central differences",
    ),
    "compile": ("runtime.cli.compile", "compile all kernels ahead of their use"),
    "devices": ("runtime.cli.devices", "list what this machine can compute on"),
}
# Has commands of its own, and is a module that is run, too.
DATA = (
    "runtime.data.__main__",
    "make databases that data layers read, and mean images",
)
DESCRIPTION = "Train, test, use, time and check nets; list devices."
EXAMPLES = (
    "train --solver solver.prototxt --out run",
    "fit net.py --data train.npz --validation 0.1 --epochs 5 --out run",
    "test train_val.prototxt --weights run/net_iter_1000.caffemodel",
    "evaluate train_val.prototxt --weights net.caffemodel --data x.npy y.npy",
    "check train_val.prototxt",
    "train --help",
)


def build_parser(name: str, prog: str | None = None) -> Parser:
    """Return the parser of one command."""
    parser = Parser(prog=prog or program(), description=DESCRIPTION)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    importlib.import_module(COMMANDS[name][0]).add_parser(commands)
    if name not in {"compile", "devices"}:
        add_fork_options(commands.choices[name])
    return parser


def main(arguments: Sequence[str] | None = None, *, prog: str | None = None) -> int:
    """Run one command and return its exit status.

    Of the ranks that `mpiexec` started, all train together, and one does the rest.
    """
    prog = prog or program()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if (found := launched()) is not None:
        from runtime.cli.together import as_rank

        known = {*COMMANDS, "data"}
        return as_rank(found, words, known, lambda: _main(words, prog))
    return _main(words, prog)


def _main(arguments: Sequence[str], prog: str) -> int:
    lines = {name: line for name, (_, line) in COMMANDS.items()}
    lines["data"] = DATA[1]
    name, words = chosen(prog, DESCRIPTION, lines, arguments, EXAMPLES)
    if name == "data":
        command = importlib.import_module(DATA[0]).main
        status: int = command(words, prog=f"{prog} data")
        return status
    parsed = build_parser(name, prog).parse_args([name, *words])
    return run(lambda: _command(parsed), parsed)


def _command(parsed: object) -> int | None:
    allowed: AbstractContextManager[None] = nullcontext()
    if getattr(parsed, "allow_links", False):
        from netspec.weights.hdf5_file import allow_links

        allowed = allow_links()
    with allowed:
        status: int | None = parsed.command(parsed)  # type: ignore[attr-defined]
        return status


def program() -> str:
    """Return how this was called: as a console command or as a module."""
    name = Path(sys.argv[0]).stem
    return name if name == "netspec-train" else "python -m runtime"


if __name__ == "__main__":
    sys.exit(main())
