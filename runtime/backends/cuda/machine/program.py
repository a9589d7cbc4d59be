"""Lists of calls as one piece of work: run one by one at first, then as a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runtime.backends.cuda.machine.device import Device
from runtime.backends.cuda.machine.launch import Call


class Program:
    """Calls that run in order.

    The first run does them one by one, which compiles what is not compiled yet. The
    second records them as a graph, which is what every later run launches: one call of
    the driver for all of them. With `graphs` false each run does them one by one.
    """

    def __init__(
        self, device: Device, calls: Sequence[Call], *, graphs: bool = True
    ) -> None:
        self._device, self._graphs = device, graphs
        self._outside = [call for call in calls if call.outside]
        self._inside = [call for call in calls if not call.outside]
        self._runs = 0
        self._replay: Callable[[], None] | None = None

    def __call__(self) -> None:
        """Do all calls; the device may still be at it afterwards."""
        self._device.enter()
        for call in self._outside:
            call()
        if self._replay is None:
            if not self._graphs or self._runs == 0 or len(self._inside) < 2:
                self._runs = 1
                self._one_by_one()
                return
            self._replay = self._device.capture(self._one_by_one)
        self._replay()

    def _one_by_one(self) -> None:
        for call in self._inside:
            call()
