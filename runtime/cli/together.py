"""A command on each rank that `mpiexec` started: who speaks, and how all end."""

from __future__ import annotations

import faulthandler
import io
import os
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Container, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout, suppress
from operator import attrgetter
from pathlib import Path
from typing import Any

from netspec.commands.cli import DEBUG_VARIABLE
from netspec.errors import MachineError
from runtime.distributed import world
from runtime.distributed.faults import (
    FAILED,
    INTERRUPTED,
    PAUSE_S,
    end_job,
    fails_everywhere,
    say,
)
from runtime.distributed.processors import usual_threads
from runtime.distributed.ranks import Launched, forget_launch

# What all ranks do together; one of them does the others.
DIVIDED = frozenset({"train", "fit", "test", "evaluate", "predict"})
# Threads of the libraries that multiply for NumPy, which begin with its import.
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
KEPT_CHARACTERS = 100_000  # of what a rank writes to standard error


def as_rank(
    found: Launched,
    words: Sequence[str],
    commands: Container[str],
    command: Callable[[], int],
) -> int:
    """Run a command as one of several ranks, and return its exit status.

    words: the command line; commands: those that there are.
    """
    name = words[0] if words else ""
    if name not in DIVIDED:
        return _alone(found, name if name in commands else "", command)
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, str(usual_threads()))
    try:
        communicator: Any = world()
    except MachineError as error:
        return _without_mpi(found, error)
    if communicator.warned is not None:
        communicator.warned.close()  # a `Voice` tells them apart
    faulthandler.enable()
    with Voice(found.rank) as voice:
        status, end = _ended(command, voice)
        # A rank that does not end well may end amid what the others wait for.
        if end and not fails_everywhere(communicator, status, end):
            told = voice.kept or ("" if voice.lines else end)
            end_job(communicator, told, status or FAILED)
        communicator.leave(voice.lines)
        for left in sorted(communicator.leaving.left.values(), key=attrgetter("rank")):
            new = [line for line in left.said if line not in voice.lines]
            say(left.rank, "\n".join(new))
    return status


def _ended(command: Callable[[], int], voice: Voice) -> tuple[int, str]:
    """Run a command; return its status, and what it ended by unless it ended well."""
    try:
        status = command()
        return status, "" if status == 0 else voice.last_line or f"status {status}"
    except SystemExit as error:
        code = error.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
        status = code if isinstance(code, int) else FAILED if code else 0
        return status, voice.last_line or f"error: ended by sys.exit({code!r})"
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return INTERRUPTED, voice.last_line
    except BaseException:
        traceback.print_exc()
        return FAILED, voice.last_line


def _alone(found: Launched, name: str, command: Callable[[], int]) -> int:
    """Let rank 0 run a command as if it were alone; the others end at once."""
    if found.rank != 0:
        return 0
    forget_launch()
    if name:
        two = found.size == 2
        others = "the other one, started with it, ends" if two else "the others end"
        print(
            f"note: {name} runs in one process; {others} at once",
            file=sys.stderr,
            flush=True,
        )
    return command()


def _without_mpi(found: Launched, error: MachineError) -> int:
    """Tell, once a machine, that MPI cannot be used."""
    if found.local_rank == 0:
        print(f"error: {error}", file=sys.stderr, flush=True)
    if found.local_size < found.size:
        # Other machines may be in want of nothing and wait for this rank. To end by a
        # signal is the one way to end a job that takes no MPI.
        time.sleep(PAUSE_S)
        os.abort()
    return FAILED


class Voice(io.TextIOBase):
    """Standard error of a rank while a command runs, which remembers what is written.

    Rank 0 writes at once. What the others write is kept: most of it rank 0 writes as
    well. They write nothing to standard output, and read nothing from standard input.
    With NETSPEC_DEBUG all write at once.
    """

    def __init__(self, rank: int) -> None:
        self._speaks = rank == 0 or bool(os.environ.get(DEBUG_VARIABLE))
        self._rank = rank
        self._stream = sys.stderr
        self._written: deque[str] = deque()
        self._size = 0
        self._stack = ExitStack()

    def __enter__(self) -> Voice:
        self._stack.enter_context(redirect_stderr(self))
        if not self._speaks:
            nowhere = Path(os.devnull).open("w", encoding="utf-8")
            self._stack.enter_context(nowhere)
            self._stack.enter_context(redirect_stdout(nowhere))
        if self._rank:
            # MPICH gives them a pipe that has neither data nor an end.
            with Path(os.devnull).open("rb") as nothing, suppress(OSError):
                os.dup2(nothing.fileno(), 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write(self, text: str) -> int:
        """Write text, now or at the end."""
        if self._speaks:
            self._stream.write(text)
        self._written.append(text)
        self._size += len(text)
        while self._size > KEPT_CHARACTERS:
            self._size -= len(self._written.popleft())
        return len(text)

    def flush(self) -> None:
        """Write what waits."""
        if self._speaks:
            self._stream.flush()

    def isatty(self) -> bool:
        """Say whether a terminal shows it."""
        return self._speaks and self._stream.isatty()

    def fileno(self) -> int:
        """Return the number of its file."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of its file."""
        return self._stream.encoding

    @property
    def lines(self) -> list[str]:
        """What was written, by lines."""
        text = "".join(self._written)
        return [line for line in text.splitlines() if line.strip()]

    @property
    def last_line(self) -> str:
        """The last of these lines."""
        return self.lines[-1] if self.lines else ""

    @property
    def kept(self) -> str:
        """What was written and not shown yet."""
        return "" if self._speaks else "\n".join(self.lines)
