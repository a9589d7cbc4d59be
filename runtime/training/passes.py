"""The place of a net in its data: how many forward passes it has done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from runtime.execution.net import Net

UNKNOWN = -1  # passes of a net whose forward was interrupted


@contextlib.contextmanager
def at_passes(net: Net, passes: int) -> Iterator[None]:
    """Put a net where `passes` forward passes lead: its clock and its sources.

    If what follows is left by an error or an interrupt, a batch may have been taken
    that the clock did not count; then the net's place is unknown until the next time.
    """
    if net.clock.value != passes:
        net.clock.value = passes
        for source in net.sources.values():
            source.seek(passes)
    try:
        with net.feeding():
            yield
    except BaseException:
        net.clock.value = UNKNOWN
        raise


def mean_gradients(net: Net, passes: int, size: int) -> float:
    """Sum up the gradients of `size` batches and return their mean loss."""
    loss = 0.0
    with at_passes(net, passes):
        for index in range(size):
            net.forward_backward(accumulate=index > 0)
            loss += net.loss()
    return loss / size
