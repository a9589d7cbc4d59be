"""Every CUDA source becomes machine code, with the macros that nets really ask for."""

from __future__ import annotations

import re

import pytest

from runtime.backends.cuda.machine.sources import files, functions_of
from runtime.backends.cuda.table import KERNELS
from tests.backends.cuda import nvrtc, taken_kernels
from tests.backends.cuda.taken_kernels import covering

# Of a thread. Two registers that a launch bound costs do no harm; an array that is
# indexed by a variable is many more.
SPILL_BYTES = 8
ELF = b"\x7fELF"
REPORT = "--ptxas-options=-v"
SPILL = re.compile(r"Function properties for (\w+)\s[^\n]*?(\d+) bytes spill stores")

pytestmark = pytest.mark.skipif(bool(nvrtc.missing()), reason=nvrtc.missing())


def check(code: bytes, file: str) -> None:
    """It is machine code of all the kernels that the file declares."""
    assert code.startswith(ELF)
    for name in functions_of(file):
        assert name.encode() in code


def test_sources_compile_with_all_values_of_macros_and_keep_to_registers():
    # One test: what nets take is found out once, whatever number of processes there is.
    found, types = taken_kernels.taken()
    assert types == set(KERNELS)  # the nets have every layer with own kernels
    assert set(found) == set(files())
    for file, combinations in found.items():
        for defines in covering(combinations):
            code, log = nvrtc.kernels(file, defines, "sm_90", REPORT)
            check(code, file)
            spilled = {name: int(many) for name, many in SPILL.findall(log)}
            assert set(spilled) >= set(functions_of(file)), log
            worst = max(spilled.values())
            assert worst <= SPILL_BYTES, f"{file} {defines}: registers spill\n{log}"


@pytest.mark.parametrize("architecture", ["sm_80", "sm_100", "sm_120"])
@pytest.mark.parametrize("file", files())
def test_a_source_compiles_with_its_defaults_for_other_devices(file, architecture):
    code, log = nvrtc.kernels(file, (), architecture)
    check(code, file)
    assert log == ""  # no warning


def test_what_does_not_compile_shows_the_log():
    with pytest.raises(nvrtc.CompileError, match=r"(?s)x\.cu .*sm_90.*\n.*unknown_n"):
        nvrtc.compiled(
            'extern "C" __global__ void f(float* x) { *x = unknown_name; }',
            "x.cu",
            ["--gpu-architecture=sm_90"],
        )


def test_registers_that_spill_are_seen():
    text = """extern "C" __global__ void __launch_bounds__(1024, 2) f(float* x, int n) {
      float held[64];
      for (int k = 0; k < 64; k++) held[k] = x[k * n];
      for (int i = 0; i < n; i++)
        for (int k = 0; k < 64; k++) held[k] = held[k] * held[(k + 7) % 64] + x[i];
      for (int k = 0; k < 64; k++) x[k * n] = held[k];
    }"""
    _, log = nvrtc.compiled(text, "x.cu", ["--gpu-architecture=sm_90", REPORT])
    ((name, many),) = SPILL.findall(log)
    assert name == "f"
    assert int(many) > SPILL_BYTES
