"""Turn a weight file into one of another format, or of other names.

    python -m netspec.weights IN OUT [--net NET] [--names TABLE] [--rename OLD=NEW]

The contents of IN tell its format, the suffix of OUT its own: .caffemodel, .h5,
.safetensors or .npz. With --net the arrays are compared with that net, which a
.caffemodel then holds; without it such a file has the net of IN, if that is one too.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from netspec.commands.cli import Parser, keep_sources, run, show_warnings
from netspec.commands.fork_options import add_fork_options
from netspec.commands.net_argument import NET_HELP, given_net
from netspec.errors import SpecError, SpecWarning
from netspec.graph import build
from netspec.nets.state import State
from netspec.notebooks import warn_user
from netspec.schema import TEST, NetParameter
from netspec.text import is_binary_net
from netspec.weights.model import Model, as_model, complete
from netspec.weights.reading import Weights, open_weights, read_weights
from netspec.weights.torchvision import (
    FIRST_LAYERS,
    TABLES,
    check_net,
    for_pixels,
    from_torchvision,
)
from netspec.weights.writing import save_weights


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m netspec.weights"
) -> int:
    """Run the command; return its exit status."""
    options = _parser(prog).parse_args(arguments)

    def command() -> None:
        with warnings.catch_warnings():
            show_warnings()
            keep_sources([Path(options.output)], [options.input])
            written = _write(options)
        held = [each for arrays in written.values() for each in arrays]
        arrays = [each for each in held if each is not None]
        values = sum(each.size for each in arrays)
        print(
            f"{options.output}: {len(written)} layers, {len(arrays)} arrays, "
            f"{values:,} values"
        )

    return run(command, options)


def _write(options: argparse.Namespace) -> Weights:
    """Write the file, and return the arrays that it holds."""
    path, weights = options.input, _weights(options)
    if options.net:
        model = as_model(given_net(options, deploy=options.deploy).net)
        if options.names:
            check_net(model.net, options.names)
        own = {layer.name for layer in model.net.layer}
        left = [name for name in weights if name not in own]
        given = Model(model.net, weights)
        model = complete(given, build(model.net, State(TEST)))
        if left:
            print(f"not in {options.net}: {', '.join(left)}")
    elif is_binary_net(path) and not options.names and not options.rename:
        model = _fitted(as_model(path, {}).net, weights)
    else:
        _warn_of_old_shapes(path, weights)
        save_weights(options.output, weights)
        return weights
    written = model.weights or {}
    if not options.net:
        _warn_of_old_shapes(path, written)
    model.save(options.output, source=options.net or path)
    return written


def _weights(options: argparse.Namespace) -> Weights:
    """Return the arrays of the file by the names that the options give."""
    path = options.input
    if options.deploy and not options.net:
        raise SpecError("--deploy is for a net; give it with --net, or leave it out")
    if options.pixels and not options.names:
        raise SpecError("--pixels changes a net of --names; give that too")
    if not options.names:
        renamed = dict(options.rename)
        return read_weights(path, renamed or None, list(renamed.values()))
    if options.rename:
        raise SpecError("--names and --rename are both given; leave one out")
    weights = from_torchvision(read_weights(path), options.names, path)
    return (
        for_pixels(weights, FIRST_LAYERS[options.names]) if options.pixels else weights
    )


def _fitted(net: NetParameter, weights: Weights) -> Model:
    """Return a model whose arrays have the shapes of its layers, where these tell."""
    model = Model(net, weights)
    try:
        known = complete(model, build(net, State(TEST))).weights or {}
    except SpecError:
        known = {}  # data that only files tell, layers without values, other phases
    return Model(net, {**weights, **known})


def _warn_of_old_shapes(path: str, weights: Weights) -> None:
    """Warn of arrays with four axes as old files have them, which others compare."""
    with open_weights(path) as layers:
        old = any(
            blob and blob.legacy and blob.shape[0] == 1
            for each in layers
            for blob in each.blobs
        )
    left = [
        name
        for name, held in weights.items()
        if any(each is not None and each.ndim == 4 and len(each) == 1 for each in held)
    ]
    if old and left:
        warn_user(
            f"{path}: an old file, in which all shapes have four axes, as those of "
            f"layer {left[0]!r} still have; give the net with --net to get its shapes",
            SpecWarning,
        )


def _renaming(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"expected OLD=NEW, got {text!r}")
    return old, new


def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Turn a weight file into one of another format, or of other names.",
        examples=(
            "net.caffemodel net.safetensors",
            "net.h5 net.caffemodel --net deploy.prototxt",
            "vgg16.pth vgg16.caffemodel --net vgg16 --deploy --names torchvision-vgg",
        ),
    )
    parser.add_argument(
        "input",
        metavar="IN",
        help="a weight file: .caffemodel, HDF5, safetensors, npz, or of PyTorch",
    )
    parser.add_argument(
        "output",
        metavar="OUT",
        help="file to write: .caffemodel, .h5, .safetensors or .npz",
    )
    parser.add_argument(
        "--net",
        metavar="NET",
        help=f"the net of the weights: {NET_HELP}",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="with a model file as --net: set a parameter of its function; repeat for "
        "several",
    )
    parser.set_defaults(function=None)
    parser.add_argument(
        "--deploy", action="store_true", help="take the net for use of --net"
    )
    parser.add_argument(
        "--names",
        choices=list(TABLES),
        help="whose names IN has, for a net of models/",
    )
    parser.add_argument(
        "--pixels",
        action="store_true",
        help="with --names: let the net want B, G, R from 0 to 255 less the mean, as "
        "Caffe's data layers give them",
    )
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        type=_renaming,
        metavar="OLD=NEW",
        help="call layer OLD of IN otherwise in OUT, or one array LAYER/INDEX; repeat "
        "for several",
    )
    add_fork_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
