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

from netspec.commands.cli import Parser, run
from netspec.commands.net_argument import read_net_argument
from netspec.errors import SpecError
from netspec.graph import build
from netspec.nets.state import State
from netspec.schema import TEST
from netspec.text import is_binary_net
from netspec.weights.model import Model, as_model, complete
from netspec.weights.reading import Weights, read_weights
from netspec.weights.torchvision import (
    FIRST_LAYERS,
    TABLES,
    check_net,
    for_pixels,
    from_torchvision,
)
from netspec.weights.writing import save_weights


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)

    def command() -> None:
        warnings.showwarning = _show_warning
        weights = _weights(options)
        if options.net:
            model = as_model(read_net_argument(options.net, deploy=options.deploy))
            if options.names:
                check_net(model.net, options.names)
            model.weights = weights
            own = {layer.name for layer in model.net.layer}
            left = [name for name in weights if name not in own]
            model = complete(model, build(model.net, State(TEST)))
            model.save(options.output)
            weights = model.weights or {}
            if left:
                print(f"not in {options.net}: {', '.join(left)}")
        elif is_binary_net(options.input) and not options.names and not options.rename:
            Model(as_model(options.input, {}).net, weights).save(options.output)
        else:
            save_weights(options.output, weights)
        arrays = [
            each for held in weights.values() for each in held if each is not None
        ]
        values = sum(each.size for each in arrays)
        print(
            f"{options.output}: {len(weights)} layers, {len(arrays)} arrays, "
            f"{values:,} values"
        )

    return run(command)


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


def _renaming(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"expected OLD=NEW, got {text!r}")
    return old, new


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m netspec.weights",
        description="Turn a weight file into one of another format, or of other names.",
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
        help="the net of the weights: a .prototxt, a .caffemodel, or a model file .py",
    )
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
    return parser


if __name__ == "__main__":
    sys.exit(main())
