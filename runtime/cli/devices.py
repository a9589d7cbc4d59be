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
from runtime.backends import BACKENDS, get_backend
from runtime.backends.cpu import CpuBackend
from runtime.cli.options import amount

# Distribution, and the extra of netspec that installs it.
LIBRARIES = {
    "protobuf": "",
    "numpy": "",
    "numba": "cpu",
    "lmdb": "data",
    "h5py": "data",
    "pillow": "data",
    "matplotlib": "plot",
    "tqdm": "train",
}


def add_parser(commands: Any) -> None:
    """Add this command to the others."""
    parser = commands.add_parser("devices", help="list devices", description=__doc__)
    parser.set_defaults(command=devices)


def devices(_: argparse.Namespace) -> int:
    """Run the command."""
    for name in BACKENDS:
        try:
            backend = get_backend(name)
        except MachineError as error:
            print(f"{name}: not available: {error}")
            continue
        if isinstance(backend, CpuBackend):
            lines = [*_processor(), _kernels(backend)]
        elif backend.xp is np:
            lines = ["the same processor, with NumPy alone"]
        else:
            lines = _graphics(backend.xp)
        for line in lines:
            print(f"{name}: {line}")
    for library, extra in LIBRARIES.items():
        print(f"{library}: {_version(library, extra)}")
    return 0


def _kernels(backend: CpuBackend) -> str:
    if not backend.compiles:
        return "no compiled kernels: they need Numba, the extra netspec[cpu]"
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


def _graphics(xp: Any) -> list[str]:
    cuda = xp.cuda.runtime
    version = cuda.runtimeGetVersion()
    lines = [
        f"CuPy {xp.__version__} with CUDA {version // 1000}.{version % 1000 // 10}"
    ]
    for index in range(cuda.getDeviceCount()):
        properties = cuda.getDeviceProperties(index)
        with xp.cuda.Device(index):
            free, total = cuda.memGetInfo()
        lines.append(
            f"device {index}: {properties['name'].decode()}, {amount(total)} memory, "
            f"{amount(free)} free, compute capability {properties['major']}."
            f"{properties['minor']}"
        )
    return lines


def _version(library: str, extra: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return f"not installed (extra netspec[{extra}])"
