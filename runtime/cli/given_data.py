"""The options of commands that put data through a trained net."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from netspec.commands.cli import positive
from netspec.commands.net_argument import (
    add_net_argument,
    add_shape_option,
    add_state_options,
    net_to_run,
)
from runtime.cli.data_files import DATA_HELP
from runtime.cli.field_options import add_transform
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
    add_transform(parser)
    add_state_options(parser)
    add_shape_option(parser)
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
    found = subject_of(
        given.net,
        named_files(options.weights) if options.weights else None,
        dict(options.rename) or None,
        {**ways(options), "allow_python": options.allow_python},
        dict(options.shape) or None,
    )
    stages = (*found.stages, *given.stages)
    return replace(found, stages=stages, level=given.level or found.level)
