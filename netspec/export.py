"""Write the net of a Python file, or of another net file, as prototxt or binary.

    python -m netspec.export NET [-o OUT] [--deploy] [--phase TRAIN|TEST]
        [--level N] [--stage NAME] [--batch-size N] [--set name=value ...]
        [--net function] [--shape TOP=N,C,H,W]
        [--for READER [--weights FILE] [--fold] [--anyway]]
    python -m netspec.export NET -o OUT.onnx [--weights FILE] [--opset N]
        [--batch dynamic|N] [--external-data]

A model file has a function that returns a `NetSpec` or a `NetParameter`: the one named
like the file (`lenet` in `lenet.py`), `net`, or its only public one. `--deploy` calls
the function `deploy` of the file instead, or sets the parameter `deploy` where the net
function has one; where there is neither, it derives the net for use from that for
training (`netspec.deploy`). `--net` calls any other function. A `NetSpec` at the top of
the file does as well. `--set` and `--batch-size` set parameters of the function.
`--phase` keeps the layers of one phase and drops the rules, which `--level` and
`--stage` are for; with these alone what they decide is decided, and rules for phases
stay. NET may also be the name of a model of netspec, or a solver file, for its net.

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

from netspec.commands.cli import Parser, keep_sources, positive, run, show_warnings
from netspec.commands.model_files import load_model
from netspec.commands.net_argument import (
    add_deploy,
    add_net_argument,
    add_shape_option,
    add_state_options,
    file_of,
    is_model_file,
    refuse_settings,
)
from netspec.errors import SpecError
from netspec.formats import other_format
from netspec.nets.current import current
from netspec.nets.deploy import deploy
from netspec.nets.filter import drop_blobs
from netspec.nets.of_solver import net_of_solver
from netspec.nets.phases import PHASES, one_phase
from netspec.nets.settled import settled
from netspec.onnx.command import (
    add_onnx_options,
    check_onnx_options,
    is_onnx,
    write_onnx,
)
from netspec.ops.base import brings_data
from netspec.schema import TEST, NetParameter
from netspec.text import is_solver_file, to_text, values_apart, write_message
from netspec.text.messages import is_binary


def main(
    arguments: Sequence[str] | None = None,
    *,
    prog: str = "python -m netspec.export",
) -> int:
    """Run the command; return its exit status."""
    parser = _parser(prog)
    return _run(parser, parser.parse_args(arguments))


def deploy_command(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m netspec deploy"
) -> int:
    """Run the command that writes the net for use; return its exit status."""
    parser = _parser(prog, for_use=True)
    return _run(parser, parser.parse_args(arguments))


def _run(parser: Parser, options: Any) -> int:
    check_onnx_options(parser, options)
    for name in ("anyway", "fold"):
        if options.reader is None and getattr(options, name):
            parser.error(f"--{name} goes with --for")
    if options.reader is None and options.weights and not is_onnx(options):
        parser.error("--weights goes with --for, or with -o FILE.onnx")

    def command() -> None:
        with warnings.catch_warnings():
            show_warnings()
            options.file = file_of(options.net)
            net = (_of_model if is_model_file(options.file) else _of_net)(options)
            if options.reader is not None:
                _write_for(net, options)
                return
            if not is_onnx(options):
                _tell_of_readers(net)
        if options.output is None:
            sys.stdout.write(to_text(net))
            return
        keep_sources([Path(options.output)], [options.net, options.file])
        if is_onnx(options):
            write_onnx(net, options)
        else:
            write_message(options.output, net, source=options.file)
        print(options.output)

    return run(command, options)


def _of_model(options: Any) -> NetParameter:
    return load_model(
        options.file,
        net=options.function,
        deploy=options.deploy,
        phase=PHASES.get(options.phase),
        batch_size=options.batch_size,
        settings=options.set,
        shapes=dict(options.shape),
        level=options.level,
        stages=options.stage,
    )


def _of_net(options: Any) -> NetParameter:
    """Return the net of a file, with values only where they go on."""
    refuse_settings(options)
    other = other_format(options.file)
    derived = {"--shape": options.shape, "--batch-size": options.batch_size}
    wrong = [name for name, value in derived.items() if value]
    if wrong and not options.deploy and other is None:
        raise SpecError(
            f"{options.net}: {' and '.join(wrong)} can be given for the inputs of a "
            f"net for use only; add --deploy, or change the data layers"
        )
    kept = _keeps_values(options)
    phase = PHASES.get(options.phase)
    level, stages = options.level, options.stage
    shapes, size = dict(options.shape), options.batch_size
    if other is not None:
        model = other(options.file, shapes=shapes, batch_size=size)
        net = model.to_proto() if kept else model.net
        shapes, size = {}, None
    elif is_solver_file(options.file):
        wanted = TEST if options.deploy else phase
        net, options.file, state = net_of_solver(options.file, wanted)
        net = drop_blobs(current(net))
        level, stages = level or state.level, [*state.stage, *stages]
    else:
        net = current(options.file, values=kept)
        if not kept:
            drop_blobs(net)  # shapes without values are no parameters
    if level or stages:
        net = settled(net, level, stages)
    if options.deploy:
        net = deploy(net, shapes=shapes, batch_size=size)
    return net if phase is None else one_phase(net, phase)


def _keeps_values(options: Any) -> bool:
    """Tell whether values of parameters in the file go on to what is written."""
    kept = options.output is not None and is_binary(options.output)
    others = options.reader is not None or is_onnx(options)
    kept |= others and options.weights is None
    if kept and values_apart(options.file):
        if not others:
            raise SpecError(
                f"{options.file}: a message cannot hold the values of this file; write "
                f"it with python -m netspec.weights {options.file} {options.output}"
            )
        options.weights = options.file
        return False
    return kept


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


_EXAMPLES = (
    "net.py -o train_val.prototxt",
    "googlenet --deploy -o deploy.prototxt",
    "lenet --set num_classes=5 --batch-size 100 --phase TRAIN",
    "train_val.prototxt --deploy --shape data=1,3,227,227 -o deploy.prototxt",
    "old.caffemodel -o current.caffemodel",
    "deploy.prototxt --weights net.caffemodel -o net.onnx --batch dynamic",
    "deploy.prototxt --for opencv --weights net.caffemodel -o for_opencv",
)
_EXAMPLES_OF_USE = (
    "googlenet -o deploy.prototxt",
    "train_val.prototxt --shape data=1,3,227,227 -o deploy.prototxt",
    "net.py --set depth=18 --batch-size 1 -o deploy.prototxt",
    "solver.prototxt --stage deploy",
)


def _parser(prog: str, *, for_use: bool = False) -> Parser:
    """Return the parser; for_use: of the command that is about the net for use."""
    what = (
        "Write the net for use, without data and losses, of a net for training."
        if for_use
        else "Write the net of a Python file, or of another net file, as prototxt, "
        "binary or ONNX."
    )
    examples = _EXAMPLES_OF_USE if for_use else _EXAMPLES
    parser = Parser(prog=prog, description=what, examples=examples)
    add_net_argument(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="file to write; .caffemodel, .binaryproto and .pb are binary, .onnx is "
        "ONNX; without it prototxt goes to standard output",
    )
    if for_use:
        parser.set_defaults(deploy=True, phase=None)
        add_state_options(parser)
    else:
        add_deploy(parser, "write")
        add_state_options(parser, phase_help="keep the layers of one phase only")
    parser.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="set parameter batch_size of a model file, or the first axis of inputs "
        "that are derived",
    )
    add_shape_option(parser, only="" if for_use else "with --deploy: ")
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
    add_onnx_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
