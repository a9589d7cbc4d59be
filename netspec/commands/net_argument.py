"""The net that an argument of a command names, and shapes for its data.

A command takes a file with a net, in text, binary or ONNX, a model file in Python, the
name of a model of `netspec.models`, or a solver file for the net that it names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netspec import bundled
from netspec.commands.cli import Parser, positive
from netspec.commands.fork_options import add_fork_options
from netspec.commands.model_files import load_for_use, load_model
from netspec.errors import FileError, ShapeError, SpecError, did_you_mean
from netspec.files import is_file
from netspec.formats import other_format
from netspec.nets.current import current
from netspec.nets.deploy import deploy as derive
from netspec.nets.filter import drop_values
from netspec.nets.module_paths import Told
from netspec.nets.of_solver import net_of_solver
from netspec.nets.phases import PHASES
from netspec.nets.settled import settled, with_batch_size
from netspec.room import bytes_of
from netspec.schema import NetParameter
from netspec.text import is_solver_file, read_net

NET_HELP = (
    "a .prototxt, .caffemodel or .onnx, a model file .py, the name of a model of "
    "netspec (netspec models lists them), or a solver file, for its net"
)


# ------------------------------------------------------------------- options


def add_net_argument(
    parser: argparse.ArgumentParser,
    *,
    metavar: str | None = "NET",
    model: bool = False,
    forks: bool = True,
) -> None:
    """Add the argument that names a net, and the options of model files.

    `given_net` reads them. model: whether `--model NET` says the same, as it did before
    nets were arguments. forks: whether `--fork` and its like are added too.
    """
    parser.add_argument(
        "net", metavar=metavar, help=NET_HELP, nargs="?" if model else None
    )
    if model:
        parser.add_argument("--model", metavar="NET", help="another way to say NET")
        if isinstance(parser, Parser):
            parser.checks.append(_one_net)
    add_settings(parser)
    if forks:
        add_fork_options(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add --set and --net, for model files."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of a model file: set a parameter of the net function; repeat for several",
    )
    parser.add_argument(
        "--net",
        dest="function",
        metavar="FUNCTION",
        help="of a model file: the function to call, where it has several",
    )


def _one_net(options: argparse.Namespace) -> str:
    """Let --model be the net; return what is wrong, if anything is."""
    if options.net is not None and options.model is not None:
        return (
            f"{options.net} and --model {options.model} are both given; leave one out"
        )
    if options.net is None:
        options.net = options.model
    return (
        "" if options.net is not None else "the following arguments are required: NET"
    )


def add_batch_size(parser: argparse.ArgumentParser) -> None:
    """Add --batch-size, of inputs and data layers."""
    parser.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="items in a batch: the first axis of what inputs and data layers make",
    )


def add_memory_limit(parser: argparse.ArgumentParser) -> None:
    """Add --memory-limit, of training."""
    parser.add_argument(
        "--memory-limit",
        type=_memory,
        metavar="SIZE",
        help="the most memory that training may take, such as 3GB or 800MiB: blobs are "
        "computed again in backward until all fits, with the same results",
    )


def add_micro_batch(parser: argparse.ArgumentParser) -> None:
    """Add --micro-batch, of training."""
    parser.add_argument(
        "--micro-batch",
        type=_parts,
        metavar="K|auto",
        help="divide every batch of training into K equal parts, whose gradients add "
        "up; auto: as few as --memory-limit can be met with",
    )


def _parts(text: str) -> int | str:
    return text if text == "auto" else positive(text)


def _memory(text: str) -> int:
    try:
        return bytes_of(text, "the limit")
    except SpecError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_deploy(parser: argparse.ArgumentParser, doing: str) -> None:
    """Add --deploy; doing: what the command does with the net."""
    parser.add_argument(
        "--deploy",
        action="store_true",
        help=f"{doing} the net for use, without data and losses",
    )


def add_state_options(
    parser: argparse.ArgumentParser,
    *,
    default: str | None = None,
    choices: Sequence[str] = tuple(PHASES),
    phase_help: str = "",
) -> None:
    """Add --phase, --level and --stage: what the rules of layers see.

    phase_help: what the phase is for; "" leaves --phase out.
    """
    if phase_help:
        parser.add_argument(
            "--phase",
            type=str.upper,
            choices=tuple(choices),
            default=default,
            help=phase_help,
        )
    parser.add_argument(
        "--level",
        type=int,
        default=0,
        metavar="N",
        help="level that include and exclude rules see (default 0)",
    )
    parser.add_argument(
        "--stage",
        action="append",
        default=[],
        metavar="NAME",
        help="stage that include and exclude rules see; repeat for several",
    )


def add_shape_option(
    parser: argparse.ArgumentParser, *, only: str = "", looking: bool = False
) -> None:
    """Add `--shape`, a list of names with shapes; `only` says when it is for use.

    looking: whether it may be of any blob, as nothing is run.
    """
    of = "the top of an Input or data layer"
    if looking:
        of += ", or of one of a type that is not known here"
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        type=named_shape,
        metavar="TOP=N,C,H,W",
        help=f"{only}shape of {of}; repeat for several",
    )


def named_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Read a name and sizes, as in data=1,3,224,224, for `type=` of an option."""
    name, _, sizes = text.partition("=")
    try:
        shape = tuple(int(size) for size in sizes.split(","))
    except ValueError:
        shape = ()
    if not name or not shape or min(shape) < 0:
        raise argparse.ArgumentTypeError(
            f"expected the name of a top and its sizes, as in data=1,3,224,224; "
            f"got {text!r}"
        )
    return name, shape


# --------------------------------------------------------------------- files


def is_model_file(name: str) -> bool:
    """Tell whether an argument names a Python file."""
    return name.endswith(".py")


_NOTED: set[str] = set()  # what was told of once


def file_of(name: str) -> str:
    """Return the file that an argument names: itself, or that of a model of netspec.

    A bare name is a model where there is no such file. So is `models/NAME.py` where
    there is no such folder, as the documentation writes it; that is told.

    Raises `FileError` for a bare name that is neither.
    """
    path = Path(name)
    if path.exists():
        if path.is_dir() and name in bundled.nets():
            return str(bundled.nets()[name])
        return name
    known = {key: file for key, file in bundled.files().items() if file.suffix}
    if name in known:
        return str(known[name])
    ours = {file.name: file for file in known.values()}
    if path.name in ours and path.parts[:-1] == ("models",):
        if name not in _NOTED:
            print(f"note: {name} is that of netspec.models", file=sys.stderr)
        _NOTED.add(name)
        return str(ours[path.name])
    if path.name in ours and path.name == name:
        raise FileError(
            f"{name}: no such file; netspec has a model of this name, given as "
            f"{path.stem}, and python -m netspec models {path.stem} -o {name} copies it"
        )
    if path.name == name and not path.suffix:
        raise FileError(
            f"{name}: no such file, and no model of netspec"
            f"{did_you_mean(name, known)} (python -m netspec models lists all)"
        )
    return name


@dataclass(frozen=True)
class GivenNet:
    """A net that a command line names.

    net: as it stands, without values. source: the file it comes from, for places in
    messages. level, stages: what rules are to see, beside what is decided already.
    paths: of modules that names do not show.
    """

    net: NetParameter
    source: str
    level: int = 0
    stages: Sequence[str] = field(default=())
    paths: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> Told:
        """The net with its modules, for drawings and summaries."""
        return Told(self.net, self.paths)


def given_net(
    options: Any,
    *,
    deploy: bool = False,
    phase: int | None = None,
    settle: bool = False,
    batches: bool = True,
) -> GivenNet:
    """Return the net that the options of a command name.

    options: those of `add_net_argument`, and of the other `add_...` as far as a command
    has them. deploy: take the net for use, that of a model file or one that is derived.
    phase: whose net of a solver that has several. settle: decide what rules ask of
    level and stages, for who asks for a phase alone. batches: give them the size of
    `--batch-size`.

    Raises `FileError` for a file that cannot be read, `SpecError` for what is wrong in
    it.
    """
    name = file_of(options.net)
    level = getattr(options, "level", 0)
    stages = list(getattr(options, "stage", ()))
    settings, function = options.set, options.function
    batch_size = getattr(options, "batch_size", None)
    shapes = dict(getattr(options, "shape", ()))
    source = name
    paths: dict[str, str] = {}
    if is_model_file(name):
        how: dict[str, Any] = {"net": function, "settings": settings, "paths": paths}
        if deploy:
            how |= {"level": level, "stages": stages}
            net = load_for_use(name, shapes, **how)
        else:
            net = load_model(name, **how)
    else:
        refuse_settings(options)
        net, source, state = _of_file(name, shapes, phase)
        if state is not None:
            level = level or state.level
            stages = [*state.stage, *stages]
    settle |= deploy
    if settle and (level or stages):
        net, level, stages = settled(net, level, stages), 0, []
    if deploy and not is_model_file(name):
        net = for_use(net, shapes)
    if batch_size is not None and batches:
        net = with_batch_size(net, batch_size)
    return GivenNet(net, source, level, stages, paths)


@dataclass(frozen=True)
class NetToRun:
    """A net as `runtime.Net` takes it.

    net: the path of a file that holds just the net, with its values, or a message.
    source: the file, for places in messages. level, stages: what its rules see.
    """

    net: str | NetParameter
    source: str
    level: int = 0
    stages: Sequence[str] = field(default=())


def net_to_run(options: Any, *, phase: int | None = None) -> NetToRun:
    """Return the net that the options of a command name, to be run in `phase`.

    Raises what `given_net` does; what is wrong in a file that is given by its path is
    told by who runs it.
    """
    name = file_of(options.net)
    batch_size = getattr(options, "batch_size", None)
    if not (is_model_file(name) or batch_size or is_solver_file(name)):
        refuse_settings(options)
        stages = list(getattr(options, "stage", ()))
        return NetToRun(name, name, getattr(options, "level", 0), stages)
    given = given_net(options, phase=phase)
    return NetToRun(given.net, given.source, given.level, given.stages)


def refuse_settings(options: Any) -> None:
    """Refuse --set and --net where the net is that of no model file."""
    given = {"--set": options.set, "--net": options.function}
    wrong = [name for name, value in given.items() if value]
    if wrong:
        raise SpecError(
            f"{options.net}: {' and '.join(wrong)} can be given for a model file "
            f"only, which ends in .py"
        )


def _of_file(
    name: str, shapes: Mapping[str, Sequence[int]], phase: int | None
) -> tuple[NetParameter, str, Any]:
    """Return the net of a file that is run by nobody, its own file, and its state."""
    other = other_format(name)
    if other is not None:
        return other(name, shapes=shapes or None).net, name, None
    if is_file(name) and is_solver_file(name):
        net, source, state = net_of_solver(name, phase)
        drop_values(net)
        return net, source, state
    net = read_net(name, values=False)
    drop_values(net)
    return net, name, None


def for_use(net: NetParameter, shapes: Mapping[str, Sequence[int]]) -> NetParameter:
    """Return the net for use that is derived; shapes: where only files tell them."""
    net = current(net)
    try:
        return derive(net)
    except ShapeError:
        if not shapes:
            raise
    return derive(net, shapes=shapes)
