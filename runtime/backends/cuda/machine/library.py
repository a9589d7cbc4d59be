"""Libraries of NVIDIA's, found in packages, in CUDA's folder, or by their names."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module, metadata
from pathlib import Path

from netspec.errors import MachineError


def file_names(stem: str, versions: Sequence[int]) -> list[str]:
    """Return what the files of a library are called here, the newest version first."""
    if sys.platform == "win32":
        return [f"{stem}64_{version}.dll" for version in versions]
    return [f"lib{stem}.so.{version}" for version in versions]


def places(
    stem: str, versions: Sequence[int], distributions: Sequence[str]
) -> Iterator[str]:
    """Yield where a library may be, the likeliest place first.

    These are the files of installed distributions, `CUDA_PATH`, where CuPy finds its
    libraries, and the bare names, for which the loader searches: what is loaded
    already, and the folders of the system.
    """
    names = file_names(stem, versions)
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
    yield from _as_cupy_finds(stem)
    yield from names


def _as_cupy_finds(stem: str) -> Iterator[str]:
    try:
        found = import_module("cuda.pathfinder").load_nvidia_dynamic_lib(stem)
    except Exception:  # not installed, not found, or a name that it does not know
        return
    if found.abs_path:
        yield str(found.abs_path)


class MissingLibrary(MachineError):
    """A library that is nowhere."""


def load(
    title: str, stem: str, versions: Sequence[int], distributions: Sequence[str]
) -> tuple[ctypes.CDLL, str]:
    """Load a library; return it, and its file as the loader was asked for it.

    Raises `MissingLibrary` where no place has it, and `MachineError`, with what the
    loader says, where one has a file that does not load.
    """
    names, failures = file_names(stem, versions), []
    for place in places(stem, versions, distributions):
        try:
            return ctypes.CDLL(place), place
        except OSError as error:
            if place not in names:
                failures.append(f"{place}: {error}")
    if failures:
        raise MachineError(f"{title} does not load: {'; '.join(failures)}")
    raise MissingLibrary(
        f"{title} is not found ({', '.join(names)}); install the extra netspec[cuda], "
        "or set CUDA_PATH"
    )
