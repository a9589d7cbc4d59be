"""How many threads a process should use, where several share a machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from runtime.distributed.ranks import launched

PROCESSES = Path("/proc")
MOST_ANCESTORS = 8  # between a rank and what started it: shells, `env`, `time`
# What Slurm gives a job of this machine, and marks of what launchers start.
_SLURM_PROCESSORS = "SLURM_CPUS_ON_NODE"
_MARKS = (
    b"PMI_RANK=",
    b"OMPI_COMM_WORLD_RANK=",
    b"MV2_COMM_WORLD_RANK=",
    b"PMIX_RANK=",
)


def usual_threads() -> int:
    """Return how many processors there are for this process.

        threads = min(own, max(1, all // ranks))

    own: those that it may use; all: those that its launcher may use; ranks: how many
    processes the launcher started on this machine. So ranks that share all processors
    have a part each, and those that the launcher has bound have what it gave them.
    """
    own = _count(0)
    found = launched()
    if found is None or found.local_size < 2:
        return own
    return min(own, max(1, max(own, _of_launcher()) // found.local_size))


def _count(process: int) -> int:
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(process)) if allowed else os.cpu_count() or 1


def _of_launcher(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many processors the process has that started the ranks.

    It is the first of those above this one that is no rank itself. Where nothing tells,
    it is 0.
    """
    try:
        process = os.getppid()
        for _ in range(MOST_ANCESTORS):
            if not _is_rank(process):
                count = _count(process)
                break
            process = _parent(process)
        else:
            return 0
    except (OSError, ValueError, IndexError):
        return 0
    slurm = environment.get(_SLURM_PROCESSORS, "")
    return min(count, int(slurm)) if slurm.isdigit() and int(slurm) else count


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
