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

from runtime.distributed.launchers import launcher
from runtime.distributed.ranks import Launched, variable_of

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
    name = variable_of(found.launcher)
    above = launcher() if found.local_size > 1 else None
    if above is None or not sys.executable or not _tells_children(above):
        yield
        return
    text = (
        f"rank {found.rank}: error: another process of this job ended before it joined "
        f"the others, which wait for it\n"
    )
    numbers = map(str, (os.getpid(), above, found.local_size))
    command = [sys.executable, "-I", "-S", "-c", _WATCHER, *numbers, name, text]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as watcher:
        try:
            yield
        finally:
            watcher.kill()


def _tells_children(process: int) -> bool:
    children = f"/proc/{process}/task/{process}/children"
    return process > 1 and os.access(children, os.R_OK)
