"""Ranks that join the others: MPI lets a process wait for ever for one that ended.

A process may end before it joins: its program failed ahead of `world`, or Python did
not even start. Those of this machine are children of one launcher, so that another
process can see it, while MPI has this one wait. On the machine of `mpiexec` of MPICH it
sees as well whether all ranks of another machine ended: `mpiexec` has a child for each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.distributed.launchers import launcher
from runtime.distributed.ranks import Launched, variable_of

NOTES = 2  # so many ranks say that they wait: one of them does in any case

# Kept apart from this package, to start in some milliseconds. It ends with its parent.
_WATCHER = """
import os, pathlib, signal, sys, time
parent, launcher, expected, size = map(int, sys.argv[1:5])
name, ended, waits = sys.argv[5:]

def started():
    for children in pathlib.Path(f"/proc/{launcher}/task").glob("*/children"):
        for child in children.read_text().split():
            try:
                words = pathlib.Path(f"/proc/{child}/environ").read_bytes()
            except OSError:
                continue
            if f"\\0{name}=".encode() in b"\\0" + words:
                yield child

def machines():
    try:
        stat = pathlib.Path(f"/proc/{launcher}/stat").read_text()
        above = int(stat.rpartition(")")[2].split()[1])
        if not pathlib.Path(f"/proc/{above}/comm").read_text().startswith("mpiexec"):
            return 0
        tasks = pathlib.Path(f"/proc/{above}/task").glob("*/children")
        return sum(len(one.read_text().split()) for one in tasks)
    except (OSError, ValueError):
        return 0

seen = fewer = most = looks = 0
while os.getppid() == parent:
    seen = seen + 1 if len(list(started())) < expected else 0
    found = machines()
    most = max(most, found)
    gone = found and (found < most or found == 1 and expected < size)
    fewer = fewer + 1 if gone else 0
    if (seen > 1 or fewer > 8) and os.getppid() == parent:
        sys.stderr.write(ended)
        sys.stderr.flush()
        time.sleep(0.5)
        os.kill(parent, signal.SIGKILL)
    looks += 1
    if looks == 300:  # a minute
        sys.stderr.write(waits)
        sys.stderr.flush()
    time.sleep(0.2)
"""


@contextmanager
def watched(found: Launched) -> Iterator[None]:
    """End this process, and so the job, if one beside it ends before it joins."""
    name = variable_of(found.launcher)
    above = launcher() if found.local_size else None
    if above is None or not sys.executable or not _tells_children(above):
        yield
        return
    ended = (
        f"rank {found.rank}: error: another process of this job ended before it joined "
        f"the others, which wait for it\n"
    )
    waits = (
        f"rank {found.rank}: note: waits for other ranks to join since a minute. They "
        f"are slow to start, or ended on another machine\n"
    )
    numbers = map(str, (os.getpid(), above, found.local_size, found.size))
    command = [sys.executable, "-I", "-S", "-c", _WATCHER, *numbers, name]
    command += [ended, waits if found.rank < NOTES else ""]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as watcher:
        try:
            yield
        finally:
            watcher.kill()


def _tells_children(process: int) -> bool:
    children = f"/proc/{process}/task/{process}/children"
    return process > 1 and os.access(children, os.R_OK)
