"""Kernels without barriers under sanitizers: of addresses, of undefined behaviour."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.backends.cuda.machine.sources import files, functions_of
from tests.backends.cuda.host_device import compiler

ROOT = Path(__file__).parents[3]


def libasan() -> str:
    """The library of the address sanitizer, or nothing where there is none."""
    found = compiler()
    if found is None or sys.platform != "linux":
        return ""
    asked = [found, "-print-file-name=libasan.so"]
    path = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    return path if Path(path).is_absolute() else ""


pytestmark = pytest.mark.skipif(
    not libasan(), reason="the address sanitizer needs a C++ compiler with libasan"
)


def run(what: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "LD_PRELOAD": libasan(),
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": str(ROOT),
        "OPENBLAS_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "tests.backends.cuda.sanitized", what],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )


def test_kernels_keep_to_their_arrays():
    done = run("steps")
    assert done.returncode == 0, done.stderr[-4000:]
    every = {
        name
        for file in files()
        for name, function in functions_of(file).items()
        if not function.waits
    }
    assert every - set(done.stdout.split()) == set()


@pytest.mark.parametrize(
    "what, said",
    [
        ("overrun", "heap-buffer-overflow"),
        ("misaligned", "store to misaligned address"),
    ],
)
def test_a_kernel_that_does_not_is_caught(what, said):
    done = run(what)
    assert done.returncode != 0
    assert said in done.stderr
    assert "fill" in done.stderr
