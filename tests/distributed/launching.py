"""Programs under `mpiexec`, as tests run them."""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.distributed.telling import FOLDER_VARIABLE, told_in

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")
LIMIT_S = 300  # of a launch that takes seconds on an idle machine
_FILES = Path(tempfile.mkdtemp(prefix="netspec-ranks-"))
atexit.register(shutil.rmtree, _FILES, ignore_errors=True)
PREAMBLE = "import json, os, sys\nimport numpy as np\nimport runtime\n"
PREAMBLE += "from tests.distributed.telling import tell\n"


@dataclass(frozen=True)
class Ended:
    """How a job ended: status, what its ranks wrote, and where what they told is."""

    status: int
    output: str
    errors: str
    folder: Path

    @property
    def all(self) -> str:
        """Everything that was written, for messages of tests."""
        return f"status {self.status}\n{self.output}\n{self.errors}"


def mpiexec() -> str:
    """Return the `mpiexec` of this environment; skip where something is missing."""
    if importlib.util.find_spec("mpi4py") is None:
        pytest.skip("mpi4py is not installed: pip install 'netspec[mpi]'")
    # Of the environment itself, also where `python` is a link to another one's.
    places = [Path(sys.prefix, "bin"), Path(sys.executable).parent]
    path = os.pathsep.join([*map(str, places), os.environ.get("PATH", "")])
    found = shutil.which("mpiexec", path=path)
    if found is None:
        pytest.skip("there is no mpiexec: pip install 'netspec[mpi]'")
    return found


def environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a job: one thread a rank, this checkout."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    own = {"NETSPEC_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep), **own, **(given or {})}


def launch(
    ranks: int,
    program: str | Path | Sequence[str],
    *arguments: object,
    folder: Path | None = None,
    given: Mapping[str, str] | None = None,
    limit_s: float = LIMIT_S,
) -> Ended:
    """Run a program on some ranks, and wait for its end.

    program: text in Python, which finds `json`, `os`, `sys`, `np` and `runtime`
        imported; a path to a file; or what follows `python`, such as
        `["-m", "runtime", "train", ...]`. With one rank it runs without `mpiexec`.
    folder: where it runs. given: more of the environment.

    What ranks tell by `tell`, which a text may call as well, `told` returns.

    A job that does not end is killed, with all its ranks, and fails the test.
    """
    files = Path(tempfile.mkdtemp(dir=_FILES))
    given = {**(given or {}), FOLDER_VARIABLE: str(files)}
    with start(ranks, program, *arguments, folder=folder, given=given) as job:
        try:
            output, errors = job.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            job.kill()  # of mpiexec; its ranks end with it
            output, errors = job.communicate()
            pytest.fail(f"the job hung for {limit_s} s:\n{output}\n{errors}")
    return Ended(job.returncode, output, errors, files)


def at_once(jobs: Mapping[T, Callable[[], Ended]]) -> dict[T, Ended]:
    """Return how launches ended, of which some run at a time: most of it is waiting."""
    mpiexec()  # skips here, not in a thread
    with ThreadPoolExecutor(3) as pool:
        started = {name: pool.submit(job) for name, job in jobs.items()}
        return {name: job.result() for name, job in started.items()}


def start(
    ranks: int,
    program: str | Path | Sequence[str],
    *arguments: object,
    folder: Path | None = None,
    given: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a program on some ranks, as of `launch`, without waiting for it."""
    how = [mpiexec(), "-n", str(ranks)] if ranks > 1 else []
    if isinstance(program, str):
        # A file, not `-c`: tracebacks show its lines.
        file = Path(_FILES, f"{hashlib.sha256(program.encode()).hexdigest()}.py")
        file.write_text(PREAMBLE + program)
        what = [str(file)]
    else:
        what = [str(program)] if isinstance(program, Path) else list(program)
    return subprocess.Popen(
        [*how, sys.executable, *what, *map(str, arguments)],
        cwd=folder,
        env=environment(given),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(ended: Ended) -> list[Any]:
    """Return what the ranks of a good end told by `tell`, in the order of ranks."""
    assert ended.status == 0, ended.all
    return told_in(ended.folder)
