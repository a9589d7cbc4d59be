"""How many threads a process should use, where several share a machine."""

from __future__ import annotations

import os
from collections.abc import Mapping

from runtime.distributed.launchers import launcher
from runtime.distributed.ranks import launched

_SLURM_PROCESSORS = "SLURM_CPUS_ON_NODE"  # that a job has of this machine


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
    """Return how many processors the launcher has; 0 where nothing tells."""
    process = launcher()
    if process is None:
        return 0
    try:
        count = _count(process)
    except OSError:
        return 0
    slurm = environment.get(_SLURM_PROCESSORS, "")
    return min(count, int(slurm)) if slurm.isdigit() and int(slurm) else count
