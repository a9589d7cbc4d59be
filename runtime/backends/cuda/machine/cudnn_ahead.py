"""Planning many convolutions at once, those for which cuDNN compiles in processes.

It takes a second or two for each of them, and its front end keeps Python's lock
meanwhile, so that other threads would only wait. What other processes plan reaches this
one through the disk. They need the description of the device, not the device.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol

from runtime.backends.cuda.machine.convolutions import Convolution
from runtime.backends.cuda.machine.plan_store import Plan, PlanStore

WORKER = f"{__package__}.cudnn_worker"  # by name: it imports what imports this file

LEAST = 3  # plans that are worth another process, which has to load cuDNN first
MOST = 16  # processes, each of which takes some 400 MB


class Planner(Protocol):
    """What `prepare` needs of `Cudnn`, which has it as a method."""

    store: PlanStore
    description: str

    def knows(self, convolution: Convolution) -> bool:
        """Say whether a plan is here or on disk, or that there is none."""

    def settle(self, convolution: Convolution, *, compiling: bool = True) -> bool:
        """Plan a convolution or find that it has no engine; False if that waits."""

    def adopt(self, convolution: Convolution, plan: Plan) -> None:
        """Take a plan, or that there is none, from another process."""


def prepare(
    library: Planner, convolutions: Sequence[Convolution], processes: int
) -> None:
    """Plan those convolutions of which nothing is known yet, the quick ones here.

    processes: how many may work at once, this one among them. Where the disk keeps
    nothing, plans are exchanged through a folder that is removed in the end.
    """
    missing = [one for one in dict.fromkeys(convolutions) if not library.knows(one)]
    missing = [one for one in missing if not library.settle(one, compiling=False)]
    workers = min(processes, MOST, len(missing) // LEAST)
    if workers < 2 or not sys.executable or getattr(sys, "frozen", False):
        for one in missing:
            library.settle(one)
        return
    with ExitStack() as stack:
        store = library.store
        if store.folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            store = PlanStore(Path(folder))
        helpers = []
        try:
            with suppress(OSError):  # no more processes: the rest is planned here
                for number in range(1, workers):
                    share = missing[number::workers]
                    helpers.append(_helper(library, store, share))
            for one in missing[::workers]:
                library.settle(one)
            for helper in helpers:
                helper.wait()
        finally:
            for helper in helpers:  # which have ended, unless something went wrong
                helper.kill()
                helper.wait()
        for one in missing:
            if library.knows(one):
                continue
            found = store.load(one.key)
            if found is not None:
                library.adopt(one, found)
            else:  # its helper did not come to it
                library.settle(one)


def _helper(
    library: Planner, store: PlanStore, share: Sequence[Convolution]
) -> subprocess.Popen[bytes]:
    """Start a process that makes some plans. What it cannot do is done here."""
    order = {
        "device": library.description,
        "folder": str(store.folder),
        "convolutions": [one.key for one in share],
    }
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    helper = subprocess.Popen(
        [sys.executable, "-P", "-m", WORKER],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with suppress(OSError):  # it died at once
        if helper.stdin is not None:
            helper.stdin.write(json.dumps(order).encode())
            helper.stdin.close()
    return helper
