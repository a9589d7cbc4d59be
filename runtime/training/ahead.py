"""Iterations on a device, launched ahead of what the host knows of the last ones."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.arrays import Array
from runtime.backends.base import Iterations, Report
from runtime.execution.net import Net
from runtime.execution.plan import Plan
from runtime.training.divergence import (
    NonFiniteGradientError,
    NonFiniteLossError,
    Watch,
    gradient,
    not_finite,
)
from runtime.training.passes import at_passes
from runtime.training.rule import Rule
from runtime.training.snapshot_files import Snapshot
from runtime.update_rules import Update


@dataclass(frozen=True)
class Launched:
    """An iteration that was launched, after `passes` of its net, at the rate `lr`."""

    iteration: int
    passes: int
    lr: float
    started: float
    report: Report


class Ahead:
    """Whole iterations of a net by its backend, if that has such.

    A pass forward, one backward and the update are one piece of work, which the host
    asks for and need not wait for. `waiting` are those whose losses it has not read.
    """

    def __init__(self, net: Net, rule: Rule) -> None:
        self._net, self._rule = net, rule
        self.waiting: deque[Launched] = deque()
        self._iterations: Iterations | None = None
        self._update: Update | None = None
        self._plan: Plan | None = None
        self._runs: Sequence[Callable[[], None]] = ()

    def able(self) -> bool:
        """Say whether the next iteration can be launched as a whole."""
        if self._rule.param.iter_size != 1:
            return False
        self._rule.follow()
        update = self._rule.update
        if update is not self._update:
            self._update, self._plan = update, None
            losses = len(self._weighted(self._net.plan.data))
            self._iterations = self._net.backend.iterations(update, losses)
        return self._iterations is not None

    def launch(self, iteration: int, passes: int, lr: float, *, careful: bool) -> None:
        """Launch an iteration, which `waiting` has then."""
        started = time.perf_counter()
        iterations = self._iterations
        if iterations is None:
            raise RuntimeError("the backend has no whole iterations; ask `able` first")
        self._rule.step_to(iteration)
        iterations.prepare(lr, iteration, careful=careful)
        with at_passes(self._net, passes):
            self._net.iterate(self._runs_of)
        report = iterations.report()
        self.waiting.append(Launched(iteration, passes, lr, started, report))

    def loss(
        self, done: Launched, watch: Watch, last: Snapshot | None, careful: bool
    ) -> float:
        """Return the loss of an iteration; waits for the device.

        What is not finite is warned of once; or, if `careful`, raised, when the device
        has left out the updates from there on, so that the parameters are those before.

        Raises `NonFiniteLossError` and its children.
        """
        loss = done.report.loss()
        if done.report.finite():
            return loss
        if not careful:
            said = f"the loss of iteration {done.iteration} is {loss:g}"
            if math.isfinite(loss):
                bad = not_finite(self._net, gradients=True) or "a parameter"
                said = gradient(done.iteration, bad)
            watch.warn(said)
            return loss
        self.waiting.clear()
        if self._iterations is not None:
            self._iterations.clear()
        if not math.isfinite(loss):
            raise NonFiniteLossError(done.iteration, loss, done.lr, last)
        # Others have run since: the pass is repeated to tell which gradient it is.
        with at_passes(self._net, done.passes):
            self._net.forward_backward()
        bad = not_finite(self._net, gradients=True) or "a parameter"
        raise NonFiniteGradientError(done.iteration, loss, bad, last)

    def _runs_of(self, plan: Plan, rest: bool) -> Sequence[Callable[[], None]]:
        if rest:
            return [plan.backend.runner(self._after(plan))]
        if plan is not self._plan:
            iterations = self._iterations
            seeds = self._weighted(plan.diff)
            between = [] if iterations is None else iterations.between(seeds)
            self._runs = plan.iteration(between, self._after(plan))
            self._plan = plan
        return self._runs

    def _after(self, plan: Plan) -> list[Any]:
        if self._iterations is None:
            return []
        losses, seeds = self._weighted(plan.data), self._weighted(plan.diff)
        return self._iterations.after(losses, seeds)

    def _weighted(self, arrays: Sequence[Array | None]) -> list[tuple[Array, float]]:
        """Return the arrays of all tops with a weight, and these."""
        return [
            (arrays[edge], weight)
            for node in self._net.graph.nodes
            for edge, weight in zip(node.tops, node.loss_weights, strict=True)
            if weight != 0 and arrays[edge] is not None
        ]
