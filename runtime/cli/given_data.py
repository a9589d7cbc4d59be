"""The data that an option of a command names, and how they come into a net."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netspec.commands.cli import positive
from netspec.commands.net_argument import add_net_argument, net_to_run
from netspec.errors import FileError, SpecError
from netspec.text import parse
from runtime.cli.options import (
    add_allow_python,
    add_backend,
    add_precision,
    add_rename,
    add_ways,
    named_files,
    ways,
)
from runtime.evaluation.subject import Subject, subject_of

TRANSFORM = "TransformationParameter"
DATA_HELP = (
    "arrays (.npz, .npy, .h5; several .npy for several inputs), an LMDB database, a "
    "folder with a folder of images for each class, or a list with a path and a label "
    "on every line"
)


def add_subject(parser: Any, doing: str) -> None:
    """Add the net, its weights, the data and what is done to them."""
    add_net_argument(parser, forks=False)
    parser.add_argument(
        "--weights",
        metavar="FILES",
        help="files of any format, separated by commas; without them the net's own",
    )
    parser.add_argument(
        "--data",
        required=True,
        nargs="+",
        metavar="DATA",
        help=f"what {doing}: {DATA_HELP}",
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="how many items at once, else as many as the net says; the result does "
        "not depend on it",
    )
    parser.add_argument(
        "--transform",
        metavar="FIELDS",
        help="what is done to images, as transform_param says it: "
        "'scale: 0.0039 mean_value: 104'",
    )
    add_rename(parser)
    add_backend(parser)
    add_precision(parser)
    add_ways(parser)
    add_allow_python(parser)


def subject(options: argparse.Namespace) -> Subject:
    """Return the net that the options name, with its weights."""
    batch_size, options.batch_size = options.batch_size, None
    given = net_to_run(options)
    options.batch_size = batch_size
    if given.stages or given.level:
        raise SpecError("--level and --stage are not known here")
    return subject_of(
        given.net,
        named_files(options.weights) if options.weights else None,
        dict(options.rename) or None,
        {**ways(options), "allow_python": options.allow_python},
    )


def data_of(options: argparse.Namespace) -> Any:
    """Return the data: a path, or the arrays of several files."""
    paths: Sequence[str] = options.data
    if len(paths) == 1:
        return paths[0]
    return tuple(_array(path) for path in paths)


def _array(path: str) -> np.ndarray:
    if Path(path).suffix != ".npy":
        raise SpecError(
            f"{path}: several files are given as data, so each has to be an array, "
            f".npy; put arrays of other files into one .npz"
        )
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise FileError(f"{path}: {error}") from error
    return array


def transform_of(options: argparse.Namespace) -> Any:
    """Return what is done to images, a message, or None."""
    if options.transform is None:
        return None
    found: Any = parse(options.transform, TRANSFORM, source="--transform")
    return found
