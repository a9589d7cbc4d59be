"""Finds a library of NVIDIA's: in packages, in CUDA's folder, or by its name."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from netspec.errors import MachineError


def file_names(stem: str, versions: Sequence[int]) -> list[str]:
    """Return what the files of a library are called here, the newest version first."""
    if sys.platform == "win32":
        return [f"{stem}64_{version}.dll" for version in versions]
    return [f"lib{stem}.so.{version}" for version in versions]


def places(names: Sequence[str], distributions: Sequence[str]) -> Iterator[str]:
    """Yield where a library may be, the likeliest place first.

    These are the files of installed distributions, `CUDA_PATH`, and the bare names,
    for which the loader searches: what CuPy or PyTorch has loaded already, and the
    folders of the system.
    """
    for distribution in distributions:
        try:
            files = metadata.files(distribution) or []
        except metadata.PackageNotFoundError:
            continue
        by_name = {file.name: file for file in files}
        for name in names:
            if name in by_name:
                yield str(by_name[name].locate())
    root = os.environ.get("CUDA_PATH")
    if root:
        for folder in ("lib64", "lib", "bin/x64", "bin"):
            for name in names:
                path = Path(root, folder, name)
                if path.exists():
                    yield str(path)
    yield from names


def load(
    title: str, stem: str, versions: Sequence[int], distributions: Sequence[str]
) -> tuple[ctypes.CDLL, str]:
    """Load a library; return it, and its file as the loader was asked for it.

    Raises `MachineError`, with what each place answered, where none has it.
    """
    failures: list[str] = []
    for place in places(file_names(stem, versions), distributions):
        try:
            return ctypes.CDLL(place), place
        except OSError as error:
            failures.append(f"{place}: {error}")
    raise MachineError(
        f"{title} is not found; install the extra netspec[cuda] or set CUDA_PATH "
        f"({'; '.join(failures)})"
    )
