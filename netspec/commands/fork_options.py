"""`--fork`, `--proto`, `--strict`: whose schema the files of a command have."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from netspec import forks, schema
from netspec.text import refusing


def add_fork_options(parser: argparse.ArgumentParser) -> None:
    """Add the options; `fork_options` brings them into force."""
    parser.add_argument(
        "--fork",
        metavar="NAME",
        help="the fork of Caffe whose numbers binary files have and whose layers are "
        "meant, where these do not tell; python -m netspec.forks lists all",
    )
    parser.add_argument(
        "--proto",
        metavar="FILE",
        help="the caffe.proto of a fork of your own, or its compiled .desc",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="refuse fields that are not known here, which are kept as text otherwise",
    )


@contextmanager
def fork_options(options: Any) -> Iterator[None]:
    """Bring the options of a command into force, for a block.

    Raises `SpecError` for a fork that is not known, and what `netspec.schema.use` does.
    """
    fork, proto = getattr(options, "fork", None), getattr(options, "proto", None)
    with ExitStack() as stack:
        if getattr(options, "strict", False):
            stack.enter_context(refusing())
        if proto is not None:
            stack.enter_context(schema.use(proto))
        if fork is not None:
            stack.enter_context(forks.use(fork))
        yield
