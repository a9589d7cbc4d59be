"""The net that an argument of a command names, and shapes for its data.

A command takes a file with a net, in text or binary, or a model file in Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from netspec.commands.fork_options import add_fork_options
from netspec.commands.model_files import load_for_use, load_model
from netspec.errors import ShapeError
from netspec.formats import other_format
from netspec.nets.current import current
from netspec.nets.deploy import deploy as derive
from netspec.nets.filter import drop_values
from netspec.schema import NetParameter
from netspec.text import read_net


def add_net_argument(
    parser: argparse.ArgumentParser, *, metavar: str | None = None
) -> None:
    """Add the argument that names a net; `read_net_argument` reads it."""
    parser.add_argument(
        "net",
        metavar=metavar,
        help="a .prototxt, .caffemodel or .onnx, or a model file .py",
    )
    add_fork_options(parser)


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


def is_model_file(name: str) -> bool:
    """Tell whether an argument names a Python file."""
    return name.endswith(".py")


def read_net_argument(
    name: str,
    *,
    deploy: bool = False,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> NetParameter:
    """Return the net that an argument names, as it stands, without values.

    deploy: take the net for use, that of a model file or one that is derived. shapes:
    of its data, where only files tell them.

    Raises `FileError` for a file that cannot be read, `SpecError` for what is wrong in
    it.
    """
    if is_model_file(name):
        return load_for_use(name, shapes or {}) if deploy else load_model(name)
    other = other_format(name)
    if other is not None:
        net = other(name, shapes=shapes).net
        return derive(net) if deploy else net
    net = read_net(name, values=False)
    drop_values(net)
    return _for_use(current(net), shapes or {}) if deploy else net


def _for_use(net: NetParameter, shapes: Mapping[str, Sequence[int]]) -> NetParameter:
    try:
        return derive(net)
    except ShapeError:
        if not shapes:
            raise
    return derive(net, shapes=shapes)
