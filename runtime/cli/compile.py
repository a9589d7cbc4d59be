"""`python -m runtime compile`: compile all kernels of this processor before their use.

For images and installations whose first start should be as fast as any other. Machine
code is kept in the system's folder for caches, or in NETSPEC_CACHE_DIR, by the source
of this version and for this processor; what is there already is left as it is.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from netspec.errors import SpecError
from runtime.backends.caches import caches
from runtime.backends.cpu import CpuBackend
from runtime.cli.compiling import Compiling


def add_parser(commands: Any) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "compile",
        help="compile all kernels ahead of their use",
        description=__doc__,
        examples=("", "--threads 8"),
    )
    parser.add_argument(
        "--threads", type=int, help="processes that compile; default: all processors"
    )
    parser.set_defaults(command=compile_kernels)


def compile_kernels(options: argparse.Namespace) -> int:
    """Run the command."""
    if options.threads is not None and options.threads < 1:
        raise SpecError(f"--threads is {options.threads}; expected a number from 1")
    backend = CpuBackend(options.threads)
    begun = time.monotonic()
    with Compiling(backend):
        every, missing = backend.compile_all()
    seconds = time.monotonic() - begun
    folder = caches() / "netspec"
    print(f"{missing} of {every} kernels compiled in {seconds:.0f} s; {folder} has all")
    return 0
