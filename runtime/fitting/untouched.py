"""A net that is trained for a while and then is as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from runtime.execution.net import Net
from runtime.training.passes import UNKNOWN


@contextmanager
def untouched(net: Net) -> Iterator[None]:
    """Give a net back what it had, whatever a block makes of it.

    Its parameters, running statistics among them, what recurrent layers carry over,
    the values of inputs that nobody feeds, and its place in its data. Gradients and
    other blobs are not meant.
    """
    place = net.clock.value
    parameters = [(blob, blob.data.copy()) for blob in _parameters(net)]
    fed = set() if net.its_feed is None else set(net.its_feed.dataset.names)
    inputs = [(net.blobs[n], net.blobs[n].data.copy()) for n in _inputs(net) - fed]
    states = [(array, array.copy()) for array in _states(net)]
    try:
        yield
    finally:
        net.rest_feed()
        for blob, values in (*parameters, *inputs):
            blob.data[...] = values
        for array, values in states:
            array[...] = values
        net.clock.value = place
        if place != UNKNOWN:
            for source in net.sources.values():
                source.seek(place)


def _parameters(net: Net) -> Iterator[Any]:
    for parameter in net.graph.parameters:
        owner = parameter.owner
        yield net.params[net.graph.nodes[owner.node].name][owner.slot]


def _inputs(net: Net) -> set[str]:
    return {top for tops in net.input_tops.values() for top in tops}


def _states(net: Net) -> Iterator[np.ndarray]:
    """Yield what kernels keep from pass to pass, each array once."""
    seen = set()
    for kept in net.plans:
        for plan in kept.plans:
            for kernel in plan.kernels:
                for name, spec in kernel.arrays().items():
                    if spec.life != "state" or name not in kernel.work:
                        continue
                    array = kernel.work[name]
                    if id(array) not in seen:
                        seen.add(id(array))
                        yield array
