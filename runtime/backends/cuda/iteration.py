"""Whole iterations on the device: forward, backward, update, as one graph.

The host launches it, and reads the losses and what was not finite when the device has
come so far, which may be after it has launched the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.backends.cuda.machine.device import Fetched
from runtime.backends.cuda.machine.launch import Call, CudaKernel, Launch
from runtime.backends.cuda.tensor import IN_SOURCES, Blob, memory_of, place_of
from runtime.backends.cuda.updates import FusedUpdate, State, loss_totals

_SCALED = CudaKernel("fill.cu", "fill_scaled")


class Iterations:
    """Iterations that update the parameters of a net as one rule does.

    update: the rule; it looks at the losses too, which are those of all batches of an
    iteration. losses: how many tops have a weight.
    """

    def __init__(self, device: Any, update: FusedUpdate, losses: int) -> None:
        self._device, self._update, self._count = device, update, losses
        self._losses = device.zeros((max(1, losses),), "float32")
        update.watch(self._losses)

    def between(self, seeds: Sequence[tuple[Blob, float]]) -> list[Call]:
        """Return the calls ahead of backward: gradients of losses times their scale.

        seeds: the gradient of every weighted top, and its weight.
        """
        if self._update.scaling is None:
            return []
        return [self._seed(*one, self._update.loss_scale) for one in seeds]

    def after(
        self,
        losses: Sequence[tuple[Blob, float]],
        seeds: Sequence[tuple[Blob, float]],
        *,
        first: bool,
        last: bool,
    ) -> list[Call]:
        """Return the calls behind backward: the losses' sum, the update if `last`."""
        calls = loss_totals(self._device, losses, self._losses, add=not first)
        if last:
            calls += self._update.calls
        if self._update.scaling is not None:
            # Passes by hand find the gradients of losses as they were.
            calls += [self._seed(*one, None) for one in seeds]
        return calls

    def _seed(self, gradient: Blob, weight: float, scale: Any) -> Call:
        kernel = _SCALED.with_defines(STORE=IN_SOURCES[place_of(gradient).storage])
        size = int(np.prod(gradient.shape, dtype=np.int64))
        arguments = (memory_of(gradient), size, weight, scale)
        return Launch(self._device, kernel, (1,), (256,), arguments)

    def prepare(self, rate: float, iteration: int, *, careful: bool) -> None:
        """Say what holds for the next iteration; see `FusedUpdate`."""
        scale = 1 / self._update.iter_size
        self._update.prepare(rate, iteration, scale, careful=careful)

    def report(self) -> Report:
        """Ask for the report of the iteration that was launched last."""
        losses = self._device.fetch(self._losses)
        state = self._device.fetch(self._update.state)
        return Report(losses, state, self._count, self._update.iter_size)

    def clear(self) -> None:
        """Take steps again, after what was not finite."""
        self._update.clear()


class Report:
    """What an iteration of `size` batches came to, once the device has done it."""

    def __init__(self, losses: Fetched, state: Fetched, count: int, size: int) -> None:
        self._losses, self._state = losses, state
        self._count, self._size = count, size

    def loss(self) -> float:
        """Return the objective, the mean of all batches; waits for the device."""
        values = self._losses.result().view("float32")[: self._count]
        return float(values.sum(dtype="float64")) / self._size

    def finite(self) -> bool:
        """Say whether all was finite since `clear`; waits for the device."""
        return State.finite_in(self._state.result())
