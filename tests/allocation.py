"""How much memory a step of a computation allocates."""

import tracemalloc
from collections.abc import Callable


def allocated_bytes(step: Callable[[], object]) -> int:
    """Return the peak of what a step allocates: the least of three runs.

    Threads of other business, such as messages of the tests, may allocate meanwhile.
    """
    peaks = []
    tracemalloc.start()
    try:
        for _ in range(3):
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            step()
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    return min(peaks)
