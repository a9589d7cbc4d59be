"""Libraries that stand in for NVIDIA's driver, so that cuDNN plans without a GPU."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from netspec.errors import MachineError

SOURCE = Path(__file__).with_suffix(".c")
LIBRARIES = ("libcuda.so.1", "libcudart.so.13")


def build(folder: Path) -> dict[str, str]:
    """Compile the stand-ins into a folder; return the environment that finds them.

    Raises `MachineError` where there is no C compiler, or where it fails.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise MachineError("planning without a driver needs a C compiler, such as gcc")
    for name in LIBRARIES:
        command = [compiler, "-shared", "-fPIC", "-O1", f"-Wl,-soname,{name}"]
        done = subprocess.run(
            [*command, "-o", str(folder / name), str(SOURCE)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise MachineError(f"{SOURCE}: cannot be compiled: {done.stderr.strip()}")
    before = os.environ.get("LD_LIBRARY_PATH")
    path = os.pathsep.join([str(folder), *([before] if before else [])])
    return {**os.environ, "LD_LIBRARY_PATH": path}
