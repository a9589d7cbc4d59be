"""Vectors and instructions are those of the processor that is compiled for."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("llvmlite")

from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize("lanes", [4, 8])
def test_vectors_of_other_processors(lanes: int) -> None:
    code = """
from tests.backends.cpu.oracle import LAYERS, compare
for name in ("direct", "winograd", "depthwise", "inner product", "pooling"):
    compare(LAYERS[name][0], [LAYERS[name][1]], accumulate=True)
"""
    environment = {**os.environ, "NETSPEC_VECTOR_LANES": str(lanes)}
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        check=True,
        timeout=PATIENCE_S,
    )


def says(code: str, features: str) -> list[str]:
    """Return what a process says that compiles for a processor with these features."""
    environment = {**os.environ, "NETSPEC_CPU_NAME": "nehalem"}
    environment.pop("NETSPEC_VECTOR_LANES", None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environment, "NETSPEC_CPU_FEATURES": features},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    return done.stdout.splitlines()


needs_x86 = pytest.mark.skipif(
    platform.machine() not in {"x86_64", "AMD64"}, reason="these are features of x86"
)


@needs_x86
def test_variables_choose_the_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
from runtime.backends.cpu.machine.compiled import cache_folder
from runtime.backends.cpu.machine.llvm import LANES
print(LANES, cache_folder("runtime.backends.cpu.updates"), sep="\\n")
"""
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+avx,+avx512f")  # ours go ahead of it
    features = ["+sse4.2,-avx", "+avx", "+avx,+avx2,+fma", "+avx,+avx2,+fma,+avx512f"]
    lanes, folders = zip(*(says(code, each) for each in features), strict=True)
    assert lanes == ("4", "8", "8", "16")
    assert len(set(folders)) == len(features)


@needs_x86
@pytest.mark.parametrize(
    ("features", "instruction"), [("+avx", "vmulps"), ("+avx,+avx2,+fma", "vfmadd")]
)
def test_sums_of_products_are_instructions(features: str, instruction: str) -> None:
    code = """
from llvmlite import binding, ir
from runtime.backends.cpu.machine.llvm import VECTOR, fma
from runtime.backends.cpu.machine.objects import machine
module = ir.Module()
function = ir.Function(module, ir.FunctionType(VECTOR, [VECTOR] * 3), "f")
builder = ir.IRBuilder(function.append_basic_block())
builder.ret(fma(builder, *function.args))
print(machine().emit_assembly(binding.parse_assembly(str(module))))
"""
    lines = says(code, features)
    assert any(instruction in line for line in lines)
    assert not any("fmaf" in line for line in lines)  # of the C library, and slow
