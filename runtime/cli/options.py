"""Options that several commands have."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from netspec.commands.net_argument import (
    add_batch_size,
    add_net_argument,
    add_state_options,
    net_to_run,
)
from netspec.errors import SpecError
from netspec.files import is_file
from netspec.nets.phases import PHASES
from netspec.reading.located import located
from runtime.backends import KERNELS, PRECISIONS, full_name
from runtime.execution.net import Net
from runtime.execution.weights import copy_into
from runtime.training.doubts import portable_only
from runtime.training.solver import Solver
from runtime.training.solver_param import weight_files


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add --backend and --gpu."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--backend",
        type=_backend,
        default="numpy",
        metavar="NAME",
        help="where to compute: numpy (the processor, default), cupy (the first NVIDIA "
        "GPU), cupy:1 (the second), or portable (the processor, with NumPy alone)",
    )
    where.add_argument(
        "--gpu",
        type=_gpu,
        dest="backend",
        default=argparse.SUPPRESS,
        metavar="N",
        help="compute on NVIDIA GPU number N, from 0, as --backend cupy:N does",
    )


def _backend(name: str) -> str:
    try:
        return full_name(name)
    except SpecError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _gpu(number: str) -> str:
    if not (number.isascii() and number.isdecimal()):
        raise argparse.ArgumentTypeError(
            f"expected the number of one GPU, from 0, not {number!r}; "
            "`python -m runtime devices` lists them"
        )
    return _backend(f"cupy:{number}")


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add --precision."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="of products and blobs, on a GPU: float32 (default), tf32 (products of "
        "tensor cores), bf16 or fp16 (blobs of 16 bits, parameters of float32)",
    )


def add_ways(parser: argparse.ArgumentParser) -> None:
    """Add --no-graph and --kernels."""
    parser.add_argument(
        "--no-graph",
        action="store_true",
        help="on a GPU, make every call by itself instead of all of them as one graph",
    )
    parser.add_argument(
        "--kernels",
        choices=KERNELS,
        default="own",
        help="on a GPU: own (default), or portable, slower ones to compare with",
    )


def add_sync_batch_norm(parser: argparse.ArgumentParser) -> None:
    """Add --sync-batch-norm, for several ranks."""
    parser.add_argument(
        "--sync-batch-norm",
        action="store_true",
        help="under mpiexec: BatchNorm takes statistics over the batches of all ranks",
    )


def ways(options: argparse.Namespace) -> dict[str, Any]:
    """Return where and how to compute, as arguments of `Net` and `Solver`."""
    return {
        "backend": options.backend,
        "kernels": options.kernels,
        "graphs": not options.no_graph,
        "precision": options.precision,
    }


def add_allow_python(parser: argparse.ArgumentParser) -> None:
    """Add --allow-python and --allow-links: what a file may not decide by itself."""
    parser.add_argument(
        "--allow-python",
        action="append",
        default=[],
        metavar="MODULE",
        help="let Python layers of the net import this module; may be repeated",
    )
    parser.add_argument(
        "--allow-links",
        action="store_true",
        help="let HDF5 files refer to other files",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the net, as an argument or as --model, and what goes with it."""
    add_net_argument(parser, model=True, forks=False)
    add_batch_size(parser)


def add_state(parser: argparse.ArgumentParser, phase: str) -> None:
    """Add --phase, --level and --stage."""
    add_state_options(
        parser,
        default=phase,
        phase_help=f"which layers to keep: TRAIN or TEST (default {phase})",
    )


def say_memory(solver: Solver) -> None:
    """Say into what a batch is divided, and what a limit of memory costs."""
    if solver.micro_batch > 1:
        print(f"micro_batch: {solver.micro_batch} parts of a batch", flush=True)
    if solver.net.recomputation is not None:
        print(f"memory_limit: {solver.net.recomputation}", flush=True)


def add_rename(parser: argparse.ArgumentParser) -> None:
    """Add --rename, for the layers of weight files."""
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        type=_renaming,
        metavar="OLD=NEW",
        help="copy the weights of layer OLD of each file into layer NEW of the net; "
        "may be repeated",
    )


def _renaming(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"expected OLD=NEW, got {text!r}")
    return old, new


def open_net(options: argparse.Namespace, **more: Any) -> Net:
    """Build the net that the options name; its mistakes have their places."""
    phase = PHASES[options.phase]
    given = net_to_run(options, phase=phase)
    try:
        net = Net(
            given.net,
            phase,
            level=given.level,
            stages=given.stages,
            **ways(options),
            allow_python=options.allow_python,
            **more,
        )
    except SpecError as error:
        told = located(error, given.source)
        if told is error:
            raise
        raise told from None
    if said := portable_only(net):
        print(f"warning: {said}", file=sys.stderr, flush=True)
    return net


def copy_weights(
    nets: Sequence[Net],
    paths: Sequence[str | Path],
    renamed: Sequence[tuple[str, str]] = (),
) -> None:
    """Copy the weights of files and say which; a file that gives none is an error.

    renamed: layers of every file, each with the name that it has in the nets. What
    the first net has and no file gives is said once.
    """
    left: list[str] | None = None
    for path in paths:
        report = copy_into(nets, path, dict(renamed) or None)
        if not report.copied:
            raise SpecError(
                f"{path}: no layer of the file has the name of a layer with "
                f"parameters; the file has {', '.join(report.unused) or 'none'}; "
                f"--rename OLD=NEW gives one another name"
            )
        missing = report.missing
        left = [name for name in missing if left is None or name in left]
        print(f"weights from {path}: {replace(report, missing=())}")
    if left:
        print(f"no weights for: {', '.join(left)}; they keep what they start with")


def named_files(text: str) -> list[str]:
    """Return the weight files of `--weights`, one or several with commas."""
    names = [text] if is_file(text) else weight_files(text)
    if not names:
        raise SpecError(f"--weights names no file: {text!r}")
    return names


def amount(nbytes: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if nbytes < 1024:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.1f} GiB"
