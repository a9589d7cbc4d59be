"""pycaffe's `Timer`."""

from __future__ import annotations

import time

MILLISECONDS = 1e3


class Timer:
    """Measures a time: `start()`, `stop()`, then `ms`, in milliseconds.

    `ms` is 0 before the first `stop`, and the time up to now while the timer runs.
    """

    def __init__(self) -> None:
        self._started: float | None = None
        self._seconds = 0.0

    def start(self) -> None:
        """Begin, anew if it runs already."""
        self._started = time.perf_counter()

    def stop(self) -> None:
        """End what `start` began; without it nothing changes."""
        if self._started is not None:
            self._seconds = time.perf_counter() - self._started
            self._started = None

    @property
    def ms(self) -> float:
        """The time between the last `start` and `stop`."""
        if self._started is not None:
            return (time.perf_counter() - self._started) * MILLISECONDS
        return self._seconds * MILLISECONDS
