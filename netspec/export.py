"""Write the net of a Python file, or of another net file, as prototxt or binary.

    python -m netspec.export FILE [-o OUT] [--deploy] [--phase TRAIN|TEST]
        [--batch-size N] [--set name=value ...] [--net function] [--shape TOP=N,C,H,W]
        [--for READER [--weights FILE] [--fold] [--anyway]]
    python -m netspec.export FILE -o OUT.onnx [--weights FILE] [--opset N]
        [--batch dynamic|N] [--external-data]

A model file has a function that returns a `NetSpec` or a `NetParameter`: the one named
like the file (`lenet` in `lenet.py`), `net`, or its only public one. `--deploy` calls
the function `deploy` of the file instead, or sets the parameter `deploy` where the net
function has one; where there is neither, it derives the net for use from that for
training (`netspec.deploy`). `--net` calls any other function. A `NetSpec` at the top of
the file does as well. `--set` and `--batch-size` set parameters of the function.
`--phase` keeps the layers of one phase and drops the rules.

A prototxt or caffemodel is written in the current form, with `--deploy` as the net for
use that is derived from it. An ONNX file is written as the net that computes the same
(`netspec.from_onnx`); `--shape` and `--batch-size` are for its inputs. What is written
as text has no values of parameters.

`--for` writes a prototxt, and with `--weights` a caffemodel, into the folder OUT, in
the form in which another reader computes what Caffe does, and says what it changed
(`netspec.export_for`). Without it nothing is changed for readers; a warning names what
common ones would compute wrongly without a word.

An OUT that ends in `.onnx` is written as ONNX, with the values of `--weights`, or those
in the file itself (`netspec.to_onnx`).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netspec.commands.cli import Parser, keep_sources, positive, run
from netspec.commands.fork_options import add_fork_options
from netspec.commands.model_files import load_model
from netspec.commands.net_argument import add_shape_option, is_model_file
from netspec.errors import SpecError, SpecWarning
from netspec.formats import other_format
from netspec.nets.current import current
from netspec.nets.deploy import deploy
from netspec.nets.filter import drop_blobs
from netspec.nets.phases import PHASES, one_phase
from netspec.onnx.command import (
    add_onnx_options,
    check_onnx_options,
    is_onnx,
    write_onnx,
)
from netspec.ops.base import brings_data
from netspec.schema import NetParameter
from netspec.text import to_text, values_apart, write_message
from netspec.text.messages import is_binary


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m netspec.export"
) -> int:
    """Run the command; return its exit status."""
    parser = _parser(prog)
    options = parser.parse_args(arguments)
    check_onnx_options(parser, options)
    for name in ("anyway", "fold"):
        if options.reader is None and getattr(options, name):
            parser.error(f"--{name} goes with --for")
    if options.reader is None and options.weights and not is_onnx(options):
        parser.error("--weights goes with --for, or with -o FILE.onnx")

    def command() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always", SpecWarning)
            warnings.showwarning = _show_warning
            net = (_of_model if is_model_file(options.file) else _of_net)(options)
            if options.reader is not None:
                _write_for(net, options)
                return
            if not is_onnx(options):
                _tell_of_readers(net)
        if is_onnx(options):
            keep_sources([Path(options.output)], [options.file])
            write_onnx(net, options)
        elif options.output is None:
            sys.stdout.write(to_text(net))
        else:
            write_message(options.output, net, source=options.file)

    return run(command, options)


def _of_model(options: Any) -> NetParameter:
    return load_model(
        options.file,
        net=options.net,
        deploy=options.deploy,
        phase=PHASES.get(options.phase),
        batch_size=options.batch_size,
        settings=options.set,
        shapes=dict(options.shape),
    )


def _of_net(options: Any) -> NetParameter:
    """Return the net of a prototxt or caffemodel, with values only where they go on."""
    given = {"--set": options.set, "--net": options.net}
    wrong = [name for name, value in given.items() if value]
    if wrong:
        raise SpecError(
            f"{options.file}: {' and '.join(wrong)} can be given for a model file "
            f"only, which ends in .py"
        )
    other = other_format(options.file)
    derived = {"--shape": options.shape, "--batch-size": options.batch_size}
    wrong = [name for name, value in derived.items() if value]
    if wrong and not options.deploy and other is None:
        raise SpecError(
            f"{options.file}: {' and '.join(wrong)} can be given for the inputs of a "
            f"net for use only; add --deploy, or change the data layers"
        )
    kept = options.output is not None and is_binary(options.output)
    others = options.reader is not None or is_onnx(options)
    kept |= others and options.weights is None
    if kept and values_apart(options.file):
        if not others:
            raise SpecError(
                f"{options.file}: a message cannot hold the values of this file; write "
                f"it with python -m netspec.weights {options.file} {options.output}"
            )
        options.weights, kept = options.file, False
    shapes, size = dict(options.shape), options.batch_size
    if other is not None:
        model = other(options.file, shapes=shapes, batch_size=size)
        net = model.to_proto() if kept else model.net
        shapes, size = {}, None
    else:
        net = current(options.file, values=kept)
        if not kept:
            drop_blobs(net)  # shapes without values are no parameters
    if options.deploy:
        net = deploy(net, shapes=shapes, batch_size=size)
    return one_phase(net, PHASES[options.phase]) if options.phase else net


def _write_for(net: NetParameter, options: Any) -> None:
    """Write the files for a reader, and say what was changed."""
    from netspec.readers import export_for

    if options.output is None:
        raise SpecError("--for needs -o FOLDER: it writes several files")
    output = Path(options.output)
    if output.is_file() or output.suffix == ".prototxt" or is_binary(output):
        raise SpecError(
            f"-o {output}: --for writes several files, into a folder; name one"
        )
    if options.phase == "TRAIN":
        raise SpecError("--phase TRAIN: --for writes what is for use, the phase TEST")
    done = export_for(
        net,
        options.reader,
        options.weights,
        anyway=options.anyway,
        fold=options.fold,
    )
    name = Path(options.file).stem
    targets = [output / f"{name}{end}" for end in (".prototxt", ".caffemodel")]
    keep_sources(targets, [options.file, options.weights])
    paths = done.save(output, name)
    print(done.report)
    print("\n".join(map(str, paths)))


def _tell_of_readers(net: NetParameter) -> None:
    """Warn of what others would compute wrongly, if a net is for use by them."""
    sources = {x.type for x in net.layer if brings_data(x.type, len(x.bottom))}
    losses = any(layer.type.endswith("Loss") for layer in net.layer)
    for_use = "Input" in sources and sources <= {"Input", "DummyData"} and not losses
    if not for_use:
        return
    from netspec.readers import warn_of_readers  # with NumPy, so not for other nets

    warn_of_readers(net)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Write the net of a Python file, or of another net file, as "
        "prototxt or binary.",
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        help="a .py file with a net function, a .prototxt, .caffemodel or .onnx",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="file to write; .caffemodel, .binaryproto and .pb are binary, .onnx is "
        "ONNX; without it prototxt goes to standard output",
    )
    parser.add_argument(
        "--deploy", action="store_true", help="the net for use, without data and losses"
    )
    parser.add_argument(
        "--phase", choices=list(PHASES), help="keep the layers of one phase only"
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="set parameter batch_size, or the first axis of derived inputs",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set any parameter of the net function; repeat for several",
    )
    add_shape_option(parser, only="with --deploy: ")
    parser.add_argument(
        "--for",
        dest="reader",
        metavar="READER",
        help="write what this reader computes as Caffe does: opencv, mnn, ncnn, "
        "openvino, rknn, x2paddle or caffe; OUT is a folder",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="values of parameters, with --for or -o FILE.onnx",
    )
    parser.add_argument(
        "--fold",
        action="store_true",
        help="with --for: make BatchNorm and Scale a part of the weights before them",
    )
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="with --for: warn of what the reader cannot do, and write it nevertheless",
    )
    add_fork_options(parser)
    parser.add_argument("--net", metavar="FUNCTION", help="the function to call")
    add_onnx_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
