"""Signals during training.

Ctrl-C stops after the iteration, or at once the second time; SIGHUP takes a snapshot.
SIGUSR2 and SIGUSR1 do the same: launchers of several processes pass these on, and do
other things at the first two.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from runtime.interrupts import at_once
from runtime.training.solver import Solver


def _numbers(*names: str) -> tuple[int, ...]:
    return tuple(int(getattr(signal, name)) for name in names if hasattr(signal, name))


SIGNALS = _numbers("SIGINT", "SIGTERM", "SIGUSR2")
# A session that ends sends it; `caffe train` takes a snapshot then. Windows has none.
SNAPSHOT_SIGNALS = _numbers("SIGHUP", "SIGUSR1")


@dataclass
class Received:
    """The first signal that came, or None."""

    number: int | None = None


@contextlib.contextmanager
def graceful(solver: Solver) -> Iterator[Received]:
    """Let the first SIGINT, SIGTERM or SIGUSR2 stop `solver` after its iteration.

    A second one raises `KeyboardInterrupt` at once. SIGHUP and SIGUSR1 let it write a
    snapshot after its iteration and go on.
    """
    received = Received()

    @at_once
    def take_snapshot(number: int, frame: FrameType | None) -> None:
        solver.snapshot_soon()

    @at_once
    def handle(number: int, _: FrameType | None) -> None:
        if received.number is not None:
            raise KeyboardInterrupt
        received.number = number
        solver.stop()
        if sys.stderr.isatty():
            # Printing could come in the middle of another print; a plain write cannot.
            os.write(
                sys.stderr.fileno(),
                b"\nstopping after this iteration; press Ctrl-C again to abort\n",
            )

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    for number in SNAPSHOT_SIGNALS:
        before[number] = signal.signal(number, take_snapshot)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
