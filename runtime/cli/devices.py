"""`python -m runtime devices`: what this machine can compute on."""

from __future__ import annotations

import argparse
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import MachineError
from runtime.backends import BACKENDS, Backend, get_backend
from runtime.backends.cpu import CpuBackend
from runtime.backends.cuda.found import NOT_FOUND, Gpu, found_gpus, found_libraries
from runtime.cli.options import amount

# Distribution, and the extra of netspec that installs it.
LIBRARIES = {
    "protobuf": "",
    "numpy": "",
    "llvmlite": "cpu",
    "lmdb": "data",
    "h5py": "data",
    "pillow": "data",
    "matplotlib": "plot",
    "tqdm": "train",
}

INSTALL = "pip install 'netspec[train,cuda]'"


def add_parser(commands: Any) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "devices", help="list devices", description=__doc__, examples=("",)
    )
    parser.set_defaults(command=devices)


def devices(_: argparse.Namespace) -> int:
    """Run the command."""
    for name in BACKENDS:
        if name == "cupy":
            lines = [*_graphics(), *_graphics_libraries()]
        else:
            lines = _of_processor(get_backend(name))
        for line in lines:
            print(f"{name}: {line}")
    for library, extra in LIBRARIES.items():
        print(f"{library}: {_version(library, extra)}")
    return 0


def _of_processor(backend: Backend) -> list[str]:
    if isinstance(backend, CpuBackend):
        return [*_processor(), _kernels(backend)]
    return ["the same processor, with NumPy alone"]


def _kernels(backend: CpuBackend) -> str:
    if backend.lacks is not None:
        why, fix = backend.lacks
        return f"no compiled kernels, as {why}: {fix}"
    return f"compiled kernels on {backend.threads} threads"


def _processor() -> list[str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        nbytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        memory = f", {amount(nbytes)} memory"
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return [
        f"{_processor_name()}, {cores or os.cpu_count()} cores{memory}",
        f"NumPy {np.__version__} with {blas.get('name')} {blas.get('version')}",
    ]


def _processor_name() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _graphics() -> list[str]:
    """Say what GPUs there are, or why there are none."""
    try:
        gpus = found_gpus()
    except MachineError as error:
        return [f"not available: {error}"]
    return [f"device {number}: {_gpu(gpu)}" for number, gpu in enumerate(gpus)]


def _gpu(gpu: Gpu) -> str:
    if gpu.problem:
        return f"does not answer: {gpu.problem}"
    return (
        f"{gpu.name}, compute capability {gpu.capability}, "
        f"{amount(gpu.memory_bytes)} memory, {amount(gpu.free_bytes)} free"
    )


def _graphics_libraries() -> list[str]:
    """Say what the NVIDIA backend finds; nothing where it finds nothing at all."""
    found = found_libraries()
    if all(library.problem == NOT_FOUND for library in found):
        return [f"no library of NVIDIA is installed; {INSTALL} installs all"]
    lines = []
    for library in found:
        if library.problem:
            lines.append(
                f"{library.name}: {library.problem}; {INSTALL} installs it; "
                f"without it {library.lost}"
            )
        else:
            lines.append(f"{library.name} {library.version}")
    return lines


def _version(library: str, extra: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return f"not installed (extra netspec[{extra}])"
