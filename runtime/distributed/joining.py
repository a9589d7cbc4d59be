"""Ranks that join the others: MPI lets a process wait for ever for one that ended.

A process may end before it joins: its program failed ahead of `world`, or Python did
not even start. Those of this machine are children of one launcher, so that another
process can see it, while MPI has this one wait.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.distributed.ranks import Launched, variables_of

# Kept apart from this package, to start in some milliseconds. It ends with its parent.
_WATCHER = """
import os, pathlib, signal, sys, time
parent, launcher, expected, name = *map(int, sys.argv[1:4]), sys.argv[4]

def started():
    for children in pathlib.Path(f"/proc/{launcher}/task").glob("*/children"):
        for child in children.read_text().split():
            try:
                words = pathlib.Path(f"/proc/{child}/environ").read_bytes()
            except OSError:
                continue
            if f"\\0{name}=".encode() in b"\\0" + words:
                yield child

seen = 0
while os.getppid() == parent:
    seen = seen + 1 if len(list(started())) < expected else 0
    if seen > 1 and os.getppid() == parent:
        sys.stderr.write(sys.argv[5])
        sys.stderr.flush()
        time.sleep(0.5)
        os.kill(parent, signal.SIGKILL)
    time.sleep(0.2)
"""


@contextmanager
def watched(found: Launched) -> Iterator[None]:
    """End this process, and so the job, if one beside it ends before it joins."""
    name = variables_of(found.launcher)[0]
    launcher = _launcher(name)
    if launcher is None or not sys.executable or found.local_size < 2:
        yield
        return
    text = (
        f"rank {found.rank}: error: another process of this job ended before it joined "
        f"the others, which wait for it\n"
    )
    numbers = map(str, (os.getpid(), launcher, found.local_size))
    command = [sys.executable, "-I", "-S", "-c", _WATCHER, *numbers, name, text]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as watcher:
        try:
            yield
        finally:
            watcher.kill()


def _launcher(name: str) -> int | None:
    """Return the process that started the ranks of this machine, or None.

    It is the first one above this that has no rank itself.
    """
    process = os.getpid()
    try:
        while _has(process, name):
            process = _parent(process)
        found = Path(f"/proc/{process}/task/{process}/children")
        return process if process > 1 and found.exists() else None
    except (OSError, ValueError):  # of another user, or not Linux
        return None


def _has(process: int, name: str) -> bool:
    words = Path(f"/proc/{process}/environ").read_bytes()
    return f"\0{name}=".encode() in b"\0" + words


def _parent(process: int) -> int:
    stat = Path(f"/proc/{process}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])
