"""How a rank that fails ends the job, with its message first."""

from __future__ import annotations

import atexit
import hashlib
import os
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from netspec.errors import SpecWarning
from netspec.notebooks import warn_user
from runtime.distributed.leaving import DIGEST_BYTES, Leaving
from runtime.distributed.warned import Warned

FAILED, INTERRUPTED = 1, 130
# What was written just before the end of a job may be lost on its way to the terminal.
PAUSE_S = 0.5


class Job(Protocol):
    """What is asked of the communicator of a job that ends."""

    rank: int
    leaving: Leaving

    def abort(self, status: int) -> None:
        """End the processes of all ranks at once."""

    def leave(self, said: Sequence[str] = ()) -> bool:
        """Say that this rank ends, and wait until all have said so, the first time."""


def end_job(job: Job, text: str, status: int = FAILED) -> None:
    """Say why, and end the processes of all ranks."""
    if text:
        say(job.rank, text)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # none, or closed
            stream.flush()
    time.sleep(PAUSE_S)
    job.abort(status)


def say(rank: int, text: str) -> None:
    """Write lines to standard error, each with the rank that says it."""
    lines = [f"rank {rank}: {line}\n" for line in text.splitlines() if line.strip()]
    stream = sys.__stderr__ or sys.stderr  # also where a rank keeps what it writes
    with suppress(AttributeError, OSError, ValueError):
        stream.write("".join(lines))
        stream.flush()


def fails_everywhere(job: Job, status: int, reason: str) -> bool:
    """Say whether all ranks end with the same status and reason, at this time.

    So one of them can tell it, and all may end by themselves. It takes a second and
    more to see that they do not.
    """
    digest = hashlib.blake2b(f"{status} {reason}".encode(), digest_size=DIGEST_BYTES)
    return job.leaving.agreed(digest.digest())


def watch_ends(job: Job) -> Warned:
    """From now on end the whole job where this process ends amid it.

    An exception that nobody catches is printed, and ends all ranks. A process that
    ends in another way says so: the others end when they wait for it. Warnings are
    shown once, and the result lets each rank show its own again.
    """
    before = sys.excepthook
    warned = Warned(job.rank)

    def hook(
        kind: type[BaseException], error: BaseException, place: TracebackType | None
    ) -> None:
        status = INTERRUPTED if issubclass(kind, KeyboardInterrupt) else FAILED
        reason = "".join(traceback.format_exception_only(kind, error))
        alike = fails_everywhere(job, status, reason)
        if alike and job.rank:
            return
        if not alike:
            say(job.rank, "this rank ends the job:")
        before(kind, error, place)
        if not alike:
            end_job(job, "\n".join(warned.kept), status)

    def leave() -> None:
        if job.leave(warned.kept) and job.rank == 0:
            for rank, left in sorted(job.leaving.left.items()):
                said = warned.said
                say(rank, "\n".join(line for line in left.said if line not in said))

    sys.excepthook = hook
    atexit.register(leave)
    return warned


def warn_of_progress_thread() -> None:
    """Warn where MPICH is told to keep a processor busy with looking for messages."""
    value = os.environ.get("MPICH_ASYNC_PROGRESS", "0").strip().lower()
    if value not in {"", "0", "no", "off", "false", "f", "n"}:
        warn_user(
            "MPICH_ASYNC_PROGRESS is set: a thread of MPICH then takes a processor for "
            "itself, and training can take twice as long; unset it. Gradients are sent "
            "beside backward without it",
            SpecWarning,
        )
