"""NVRTC, which compiles CUDA sources to machine code without a GPU or a driver."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

from netspec.errors import MachineError
from runtime.backends.cuda.machine.library import load
from runtime.backends.cuda.machine.sources import text_of

VERSIONS = (13,)
DISTRIBUTIONS = ("nvidia-cuda-nvrtc",)
# As `CupyDevice` and CuPy ask for: flush subnormal numbers to zero.
OPTIONS = ("-std=c++17", "-ftz=true")
Defines = tuple[tuple[str, str], ...]


class CompileError(Exception):
    """A source that does not compile; the message is the compiler's log."""


@cache
def library() -> ctypes.CDLL:
    """Return NVRTC; raises `MachineError` where it is not installed."""
    found, _ = load("NVRTC", "nvrtc", VERSIONS, DISTRIBUTIONS)
    found.nvrtcGetErrorString.restype = ctypes.c_char_p
    return found


def missing() -> str:
    """Say why there is no NVRTC, or nothing if there is one."""
    try:
        library()
    except MachineError as error:
        return str(error)
    return ""


def compiled(text: str, name: str, options: Sequence[str]) -> tuple[bytes, str]:
    """Compile a text; return its machine code, and what the compiler said.

    Raises `CompileError` with the log.
    """
    nvrtc, program = library(), ctypes.c_void_p()
    source, title = text.encode(), name.encode()
    created = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), source, title, 0, None, None
    )
    assert created == 0, nvrtc.nvrtcGetErrorString(created)
    try:
        words = [option.encode() for option in options]
        given = (ctypes.c_char_p * len(words))(*words)
        result = nvrtc.nvrtcCompileProgram(program, len(words), given)
        log = _got(program, "ProgramLog").rstrip(b"\0").decode()
        if result != 0:
            said = nvrtc.nvrtcGetErrorString(result).decode()
            raise CompileError(f"{name} {' '.join(options)}: {said}\n{log}")
        return _got(program, "CUBIN"), log
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _got(program: ctypes.c_void_p, what: str) -> bytes:
    nvrtc, size = library(), ctypes.c_size_t()
    result = getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    assert result == 0, nvrtc.nvrtcGetErrorString(result)
    text = ctypes.create_string_buffer(size.value)
    result = getattr(nvrtc, f"nvrtcGet{what}")(program, text)
    assert result == 0, nvrtc.nvrtcGetErrorString(result)
    return text.raw


def kernels(
    file: str, defines: Defines, architecture: str, *more: str
) -> tuple[bytes, str]:
    """Compile a file of `kernels/` as the backend does, for `sm_90` and its like."""
    macros = (f"-D{name}={value}" for name, value in defines)
    options = (f"--gpu-architecture={architecture}", *OPTIONS, *macros, *more)
    return compiled(text_of(file), file, options)
