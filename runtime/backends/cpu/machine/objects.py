"""Machine code as files: made by Numba, kept on the disk, loaded without it.

A file is the object file of one function behind a line with the digest of it and of
where it belongs, so that what was copied from elsewhere does not run. What the function
calls outside of itself is of libc or libm, which every process has; what Numba calls
where errors are raised, which do not arise here, is replaced by traps.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from runtime.backends.cpu.machine.llvm import TARGET
from runtime.backends.cpu.machine.parts import FAST, Function, fill_in, types

ENTRY = "entry"
RUNTIME = ("NRT_", "Py", "_Py", "numba_")  # how names of Numba's runtime begin
GROUP = re.compile(r"#\d+")  # of attributes, which are those of another module

_loaded: list[Any] = []  # engines, whose code may run as long as the process


def make(function: Function, kinds: Sequence[Any]) -> bytes:
    """Compile a function of these types that returns nothing; returns an object file.

    Its ENTRY takes the same arguments, as C does.
    """
    import numba

    fill_in(function)
    made = numba.njit(**FAST)(function)
    with _lean() as optimize:
        made.compile(types.void(*kinds))
    result = made.overloads[tuple(kinds)]
    name = result.fndesc.mangled_name
    module = llvm.parse_assembly(result.library.get_llvm_str())
    # Ahead of its own arguments are the places of the result and of an error.
    takes = [str(one.type) for one in module.get_function(name).arguments]
    named = [f"{kind} %a{number}" for number, kind in enumerate(takes)]
    text = [
        f'declare i32 @"{name}"({", ".join(takes)})',
        "declare void @llvm.trap()",
        f"define void @{ENTRY}({', '.join(named[2:])}) {{",
        f"  %a0 = alloca {_target_of(takes[0])}",
        f"  %a1 = alloca {_target_of(takes[1])}",
        f'  %status = call i32 @"{name}"({", ".join(named)})',
        "  ret void",
        "}",
    ]
    for one in module.functions:
        if one.is_declaration and one.name.startswith(RUNTIME):
            start = GROUP.sub("", str(one)).strip().replace("declare", "define", 1)
            text.append(f"{start} {{ call void @llvm.trap() unreachable }}")
    module.link_in(llvm.parse_assembly("\n".join(text)))
    module.verify()
    optimize(module)
    return bytes(_machine().emit_object(module))


@contextmanager
def _lean() -> Iterator[Callable[[Any], None]]:
    """Let Numba turn functions into LLVM's code only, and tell how to optimise that.

    Numba optimises every part of a kernel twice, then the whole that it becomes part
    of, and makes machine code of each, which takes as long as all the rest. Here the
    whole is optimised, and its machine code made, once.
    """
    from numba.core import codegen
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.registry import cpu_target

    def lay_out(library: Any, module: Any) -> None:
        module.data_layout = library.codegen._data_layout  # noqa: SLF001

    def nothing(*_: Any) -> None:
        pass

    def optimize(module: Any) -> None:
        made = cpu_target.target_context.codegen()._module_pass_manager()  # noqa: SLF001
        passes, builder = made
        passes.run(module, builder)

    changes: list[tuple[Any, str, Any]] = [
        (codegen.JITCodeLibrary, "_finalize_specific", nothing),
        (codegen.JITCPUCodegen, "_add_module", nothing),
        (codegen.JITCPUCodegen, "set_env", nothing),
        (codegen.CPUCodeLibrary, "_optimize_functions", lay_out),
        (codegen.CPUCodeLibrary, "_optimize_final_module", nothing),
    ]
    if not all(hasattr(kind, name) for kind, name, _ in changes):
        yield nothing  # another version of Numba, which does more than it must
        return
    with global_compiler_lock:
        before = [(kind, name, getattr(kind, name)) for kind, name, _ in changes]
        try:
            for kind, name, change in changes:
                setattr(kind, name, change)
            yield optimize
        finally:
            for kind, name, method in before:
                setattr(kind, name, method)


def _target_of(pointer: str) -> str:
    """Return what a pointer of LLVM points to: with names of its own, any pointer."""
    return pointer.removesuffix("*") if pointer.endswith("*") else pointer


def write(path: Path, code: bytes) -> None:
    """Keep an object file; a reader finds all of it or nothing."""
    digest = _digest(path, code)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(digest + b"\n" + code)
    Path(file.name).replace(path)


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
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _loaded.append(engine)
    return int(engine.get_function_address(ENTRY))


@cache
def _machine() -> Any:
    """Return LLVM's description of the processor that code is made for."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple, name, features = TARGET
    target = llvm.Target.from_triple(triple)
    reloc = "static" if target.name.startswith("x86") else "default"
    return target.create_target_machine(
        name, features, opt=3, reloc=reloc, codemodel="jitdefault", jit=True
    )
