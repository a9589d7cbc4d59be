"""What `python -m netspec.export -o FILE.onnx` has beside the other formats."""

from __future__ import annotations

import argparse
from typing import Any

from netspec.schema import NetParameter


def add_onnx_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that only ONNX has."""
    group = parser.add_argument_group("with -o FILE.onnx")
    group.add_argument(
        "--opset",
        type=int,
        metavar="N",
        help="version of ONNX's operators, 17 by default",
    )
    group.add_argument(
        "--batch",
        type=_batch,
        metavar="dynamic|N",
        help="the first axis of every input: any number, or this one",
    )
    group.add_argument(
        "--external-data",
        action="store_true",
        help="write values to FILE.onnx.data, as is done anyhow above 2 GiB",
    )


def is_onnx(options: Any) -> bool:
    """Tell whether the output of the command is an ONNX file, by its name."""
    return options.output is not None and options.output.lower().endswith(".onnx")


def check_onnx_options(parser: argparse.ArgumentParser, options: Any) -> None:
    """Refuse options that only go with ONNX, or do not go with it."""
    if is_onnx(options):
        if options.reader is not None:
            parser.error(
                "--for writes a folder for a reader of Caffe's format, no ONNX"
            )
        if options.phase == "TRAIN":
            parser.error("an ONNX file has the TEST phase; leave --phase TRAIN out")
        return
    given = {
        "--opset": options.opset,
        "--batch": options.batch,
        "--external-data": options.external_data,
    }
    wrong = [name for name, value in given.items() if value]
    if wrong:
        parser.error(f"{' and '.join(wrong)} can only be given with -o FILE.onnx")


def write_onnx(net: NetParameter, options: Any) -> None:
    """Write the net of the command as ONNX.

    Raises what `to_onnx` raises.
    """
    from netspec.onnx.writing import DEFAULT_OPSET, save_onnx

    save_onnx(
        net,
        options.weights,
        options.output,
        opset=DEFAULT_OPSET if options.opset is None else options.opset,
        batch=options.batch,
        external_data=options.external_data or None,
    )


def _batch(text: str) -> int | str:
    if text == "dynamic":
        return text
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(
            f"expected a number of at least 1, or dynamic; got {text!r}"
        )
    return number
