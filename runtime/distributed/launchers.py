"""The process that started the ranks of this machine, as /proc tells."""

from __future__ import annotations

import os
from pathlib import Path

PROCESSES = Path("/proc")
MOST_ANCESTORS = 8  # between a rank and what started it: shells, `env`, `time`
_MARKS = (
    b"PMI_RANK=",
    b"OMPI_COMM_WORLD_RANK=",
    b"MV2_COMM_WORLD_RANK=",
    b"PMIX_RANK=",
)


def launcher() -> int | None:
    """Return the first process above this one that is no rank itself.

    None where nothing tells.
    """
    try:
        process = os.getppid()
        for _ in range(MOST_ANCESTORS):
            if not _is_rank(process):
                return process
            process = _parent(process)
    except (OSError, ValueError, IndexError):  # not Linux, or it ended
        pass
    return None


def _is_rank(process: int) -> bool:
    try:
        words = (PROCESSES / str(process) / "environ").read_bytes().split(b"\0")
    except PermissionError:  # of another user, as Slurm's
        return False
    return any(word.startswith(_MARKS) for word in words)


def _parent(process: int) -> int:
    # "pid (name) state parent ...", where the name may have blanks and brackets.
    text = (PROCESSES / str(process) / "stat").read_text()
    return int(text.rpartition(")")[2].split()[1])
