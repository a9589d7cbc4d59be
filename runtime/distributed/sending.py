"""Sums over ranks of several arrays, which become ready one after the other."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any, Protocol

from netspec.errors import MachineError
from runtime.distributed.communicator import Communicator, finish


class Sending(Protocol):
    """Adds up the same arrays over all ranks, in every iteration, in place."""

    def begin(self) -> None:
        """Begin an iteration: no array is ready yet."""

    def ready(self, count: int) -> None:
        """Note that the first `count` arrays are ready."""

    def wait(self) -> None:
        """Wait until the sums of all are there, with an ear for signals."""


class SendAfter:
    """Adds up arrays once all are ready, in the thread that waits for them.

    Where there is nothing to compute meanwhile, a thread would just have to be woken.
    """

    def __init__(self, communicator: Communicator, arrays: Sequence[Any]) -> None:
        self._communicator, self._arrays = communicator, arrays

    def begin(self) -> None:
        """Do nothing."""

    def ready(self, count: int) -> None:
        """Do nothing."""

    def wait(self) -> None:
        """Add up all arrays."""
        for array in self._arrays:
            finish(self._communicator.start_sum(array))


class SendBeside:
    """Adds up arrays in their order, in a thread of its own, as soon as they are ready.

    MPI moves nothing without calls, and its own waits spin on the processor that should
    compute; this thread looks at a sum, which moves it on, and sleeps. Whoever waits
    for all does so on a lock, where signals get through.

    An iteration that is left once the first array was ready cannot be repeated: other
    ranks wait for the rest. From then on `begin` raises `MachineError`.
    """

    def __init__(self, communicator: Communicator, arrays: Sequence[Any]) -> None:
        self._count = len(arrays)
        self._orders: SimpleQueue[int | None] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._told = 0
        self._open = False
        self._work = _Work(communicator, arrays, self._orders, self._done)
        self._thread = threading.Thread(
            target=self._work.run, name="netspec-sums", daemon=True
        )
        self._end = weakref.finalize(self, self._orders.put, None)

    def begin(self) -> None:
        """Begin an iteration."""
        if self._open and self._told:
            raise MachineError(
                "an iteration ended amid the sums of its gradients, so that this rank "
                "is out of step with the others; end the job, and resume from a "
                "snapshot"
            )
        if not self._thread.is_alive():
            self._thread.start()
        self._told, self._open, self._work.beside = 0, True, True

    def ready(self, count: int) -> None:
        """Let the thread go on to the first `count` arrays."""
        if self._open and count > self._told:
            self._told = count
            self._orders.put(count)

    def wait(self) -> None:
        """Wait until the thread has added up all arrays.

        Raises what the communicator raised in the thread.
        """
        self._work.beside = False
        self.ready(self._count)
        error = self._done.get()
        if error is not None:
            raise error
        self._open = False

    def close(self) -> None:
        """Let the thread end."""
        self._end()


class _Work:
    """What the thread does; it does not hold who gives the orders.

    beside: whether others compute meanwhile.
    """

    beside = False

    def __init__(
        self,
        communicator: Communicator,
        arrays: Sequence[Any],
        orders: SimpleQueue[int | None],
        done: SimpleQueue[BaseException | None],
    ) -> None:
        self._communicator, self._arrays = communicator, arrays
        self._orders, self._done = orders, done

    def run(self) -> None:
        """Add up what is ready, until the end."""
        summed = 0
        while (ready := self._orders.get()) is not None:
            try:
                while summed < ready:
                    request = self._communicator.start_sum(self._arrays[summed])
                    finish(request, lambda: self.beside)
                    summed += 1
            except BaseException as error:
                self._done.put(error)
                return
            if summed == len(self._arrays):
                summed = 0
                self._done.put(None)
