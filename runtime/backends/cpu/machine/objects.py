"""Machine code as files: made by LLVM, kept on the disk, loaded.

A file is the object file of one function behind a line with the digest of it and of
where it belongs, so that what was copied from elsewhere does not run. What the function
calls outside of itself is of libc or libm, which every process has.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from runtime.backends.cpu.machine.llvm import TARGET
from runtime.backends.cpu.machine.parts import Function
from runtime.backends.cpu.machine.translate import Module

ENTRY = "entry"

_loaded: list[Any] = []  # engines, whose code may run as long as the process


def make(function: Function, kinds: Sequence[Any]) -> bytes:
    """Compile a function of these types that returns nothing; returns an object file.

    Its ENTRY takes the same arguments, as C does.
    """
    made = Module(function.__name__)
    made.entry(function, kinds, ENTRY)
    target = machine()
    made.module.triple = target.triple
    made.module.data_layout = str(target.target_data)
    module = llvm.parse_assembly(str(made.module))
    module.verify()
    _optimize(module)
    return bytes(target.emit_object(module))


def _optimize(module: Any) -> None:
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_vectorization = True
    tuning.slp_vectorization = False
    builder = llvm.create_pass_builder(machine(), tuning)
    builder.getModulePassManager().run(module, builder)


def write(path: Path, code: bytes) -> None:
    """Keep an object file; a reader finds all of it or nothing.

    Raises `OSError` where that fails, and leaves nothing then.
    """
    digest = _digest(path, code)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(digest + b"\n" + code)
            file.close()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def kept(path: Path) -> bytes | None:
    """Return the object file that `write` kept; None where it is not, or not whole."""
    try:
        digest, _, code = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    return code if _digest(path, code) == digest else None


def _digest(path: Path, code: bytes) -> bytes:
    """Return the digest of a file, and of the names of its folder and itself."""
    place = f"{path.parent.name}/{path.name}\n".encode()
    return hashlib.sha256(place + code).hexdigest().encode()


def load(code: bytes) -> int:
    """Return the address of the ENTRY of an object file."""
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _loaded.append(engine)
    return int(engine.get_function_address(ENTRY))


@cache
def machine() -> Any:
    """Return LLVM's description of the processor that code is made for."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple, name, features = TARGET
    target = llvm.Target.from_triple(triple)
    reloc = "static" if target.name.startswith("x86") else "default"
    return target.create_target_machine(
        name, features, opt=3, reloc=reloc, codemodel="jitdefault", jit=True
    )
