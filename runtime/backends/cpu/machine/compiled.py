"""Compiled kernels: Python functions that become machine code.

A kernel is a function of a record of its arguments and of a share of the work:

    @kernel("x y count", "slope")
    def relu(record, part, parts):
        a = carray(record, 1)[0]
        ...

It does the share number `part` of `parts` and returns nothing. Shares are done in any
order, and there are as many as threads, or more where its call names `units`. A kernel
with scratch memory for every thread takes the number of the thread too, as a fourth
argument `thread`, and uses that room.

It is compiled when it is first used and kept on disk, in a folder that depends on the
source of its module and of those that it imports, so that a changed kernel is compiled
anew, and no other.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import llvmlite
import numpy as np

from runtime.backends.caches import caches
from runtime.backends.cpu.machine.kinds import ADDRESS, Record
from runtime.backends.cpu.machine.llvm import LANES, TARGET
from runtime.backends.cpu.machine.objects import kept, load, make, write
from runtime.backends.cpu.machine.parts import Function, types
from runtime.backends.cpu.machine.parts import carray as carray
from runtime.backends.cpu.machine.parts import exact as exact
from runtime.backends.cpu.machine.parts import helper as helper
from runtime.backends.cpu.machine.parts import outlined as outlined

# Modules whose code may become part of a kernel: helpers, and what they are made of.
IMPORTED = re.compile(rb"^(?:from|import) (runtime\.backends\.cpu\.\S+)", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Call:
    """A kernel with its arguments.

    serial: there is too little work for several threads. units: into how many shares
    the work can be divided without doing any of it twice; 0 for as many as there are
    threads. constant: it depends on parameters alone, and what it writes stays.
    prepare: called with the record ahead of each run of the list that this call is in.
    check: called after it, to raise what the kernel found to be wrong.
    """

    kernel: CompiledKernel
    record: np.ndarray
    arrays: tuple[np.ndarray, ...]  # kept alive as the record holds their addresses
    serial: bool
    constant: bool = False
    units: int = 0
    prepare: Callable[[np.ndarray], None] | None = None
    check: Callable[[], None] | None = None


class Compiled:
    """A function in machine code, which takes int64 and returns nothing."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    @cached_property
    def address(self) -> int:
        """The address of the machine code, which is made or loaded when first asked."""
        path = code_file(self.function)
        code = kept(path) if path else None
        if code is None:
            code = make(self.function, self.kinds())
            if path and keeps_code():
                with suppress(OSError):  # the disk is full, or somebody removes folders
                    write(path, code)
        return load(code)

    @property
    def is_ready(self) -> bool:
        """Whether the machine code is here or on the disk."""
        if "address" in vars(self):
            return True
        path = code_file(self.function)
        with suppress(OSError):  # the folder is not ours to read
            return path is not None and path.is_file()
        return False

    def kinds(self) -> list[Any]:
        """Return the types of the function's arguments."""
        return [types.int64] * self.function.__code__.co_argcount

    @cached_property
    def native(self) -> Callable[..., None]:
        """The machine code as a function; calling it lets go of Python's lock."""
        count = self.function.__code__.co_argcount
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * count)
        called: Callable[..., None] = kind(self.address)
        return called


class CompiledKernel(Compiled):
    """A function in machine code, called with a record of arguments.

    ints, floats: names of the arguments; arrays are passed as ints, their address.
    """

    def __init__(self, function: Function, ints: str, floats: str) -> None:
        super().__init__(function)
        self.fields = np.dtype(
            [(name, "i8") for name in ints.split()]
            + [(name, "f8") for name in floats.split()]
        )

    def __call__(self, **values: Any) -> Call:
        """Return the call of this kernel with these arguments.

        `serial`, `constant` and `units`, False and 0 by default, are those of the call.
        """
        serial = bool(values.pop("serial", False))
        constant = bool(values.pop("constant", False))
        units = int(values.pop("units", 0))
        names = self.fields.names or ()
        if values.keys() != set(names):
            different = sorted(set(values) ^ set(names))
            raise TypeError(f"{self.function.__name__}: wrong arguments {different}")
        arrays = []
        row = []
        for name in names:
            value = values[name]
            if isinstance(value, np.ndarray):
                if not value.flags.c_contiguous:
                    said = f"{self.function.__name__}: {name} is not contiguous"
                    raise TypeError(said)
                arrays.append(value)
                # Much faster than `ctypes.data`: a plan has thousands of arguments.
                value = value.__array_interface__["data"][0]
            row.append(value)
        record = np.array([tuple(row)], self.fields)
        return Call(self, record, tuple(arrays), serial, constant, units)

    def kinds(self) -> list[Any]:
        """Return the types of the function's arguments."""
        record = Record("record", ADDRESS, fields=self.fields)
        # Those that take no thread are called as if they did: it is in a register.
        return [record, *[types.int64] * (self.function.__code__.co_argcount - 1)]


def kernel(ints: str, floats: str = "") -> Callable[[Function], CompiledKernel]:
    """Make a function a compiled kernel with these arguments."""
    return lambda function: CompiledKernel(function, ints, floats)


def code_file(function: Function) -> Path | None:
    """Return where the machine code of a function is kept; None if there is no home.

    What is there is of use even where nothing can be written.
    """
    name = f"{function.__module__}.{function.__name__}.o"
    try:
        return cache_folder(function.__module__) / name
    except RuntimeError:
        return None


@cache
def keeps_code() -> bool:
    """Whether machine code can be written to the disk.

    If not, every run compiles what is not there yet.
    """
    try:
        folder = cache_folder(__name__)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no folder can be made there; there is no home
        return False
    return os.access(folder, os.W_OK | os.X_OK)


@cache
def cache_folder(module: str) -> Path:
    """Return the folder of the machine code of a module's source for this processor.

    `NETSPEC_CACHE_DIR`, or the system's folder for caches, holds it. It is another one
    where the source of the module has changed, or that of a module that it imports.
    """
    # What makes the code is asked itself: a frozen program knows of no distributions.
    made_by = str(llvmlite.__version__)
    digest = hashlib.sha256(repr((LANES, TARGET, made_by)).encode())
    for name in sorted(all_imported(module)):
        digest.update(source(name))
    return caches() / "netspec" / f"kernels-{digest.hexdigest()[:16]}"


def all_imported(module: str) -> set[str]:
    """Return a module and those of this package that it imports, however far."""
    found, left = {module}, [module]
    while left:
        new = {one.decode() for one in IMPORTED.findall(source(left.pop()))} - found
        found |= new
        left += new
    return found


@cache
def source(module: str) -> bytes:
    """Return the text of a module of this package."""
    path = Path(__file__).parents[1].joinpath(*module.split(".")[3:])
    return path.with_suffix(".py").read_bytes()
