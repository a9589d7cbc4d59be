"""Planning many convolutions at once, in several processes.

cuDNN compiles kernels while it plans, a second each, and its front end keeps Python's
lock meanwhile, so that other threads would only wait. What other processes plan reaches
this one through the disk. They need the description of the device, not the device.
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

from netspec.errors import MachineError
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

    def supports(self, convolution: Convolution) -> bool:
        """Say whether there is an engine for a convolution."""

    def make(self, convolution: Convolution) -> Plan:
        """Plan a convolution anew, and keep the plan on disk."""

    def adopt(self, convolution: Convolution, plan: Plan) -> None:
        """Take a plan, or that there is none, from another process."""


def prepare(
    library: Planner, convolutions: Sequence[Convolution], processes: int
) -> None:
    """Plan those convolutions of which nothing is known yet.

    processes: how many may work at once, this one among them. Where the disk keeps
    nothing, plans are exchanged through a folder that is removed in the end.
    """
    missing = [one for one in dict.fromkeys(convolutions) if not library.knows(one)]
    workers = min(processes, MOST, len(missing) // LEAST)
    if workers < 2 or not sys.executable or getattr(sys, "frozen", False):
        settle(library, missing)
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
            settle(library, missing[::workers])
            for helper in helpers:
                helper.wait()
        finally:
            for helper in helpers:  # which have ended, unless something went wrong
                helper.kill()
                helper.wait()
        for one in missing:
            found = store.load(one.key)
            if found is not None and not library.knows(one):
                library.adopt(one, found)
        settle(library, [one for one in missing if not library.knows(one)])


def settle(library: Planner, convolutions: Sequence[Convolution]) -> None:
    """Plan convolutions one by one, or find that there is no engine for them."""
    for one in convolutions:
        with suppress(MachineError):  # who asks for its plan will be told
            if library.supports(one):
                plan = library.make(one)
                if library.store.folder is None:
                    library.adopt(one, plan)


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
