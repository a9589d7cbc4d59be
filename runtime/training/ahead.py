"""Iterations on a device, launched ahead of what the host knows of the last ones."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtime.arrays import Array
from runtime.backends.base import Iterations, Report
from runtime.execution.net import Net
from runtime.execution.plan import Plan, Run
from runtime.training.divergence import (
    NonFiniteGradientError,
    NonFiniteLossError,
    Watch,
    gradient,
    not_finite,
)
from runtime.training.not_finite import began_in
from runtime.training.passes import at_passes, mean_gradients
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
        self._clears = False  # whether what was not finite before is of no interest

    def begin(self, *, careful: bool) -> None:
        """Begin a run; if `careful`, what was not finite before it does not end it."""
        self._clears = careful

    def able(self) -> bool:
        """Say whether the next iteration can be launched as a whole.

        Its rate was asked for just before, so that the rule has followed its message.
        """
        if self._rule.waits or self._net.parts_vary:
            return False
        update = self._rule.update
        if update is not self._update:
            self._update = update
            losses = len(self._weighted(self._net.plan.data))
            self._iterations = self._net.backend.iterations(update, losses)
        return self._iterations is not None

    def launch(self, iteration: int, passes: int, lr: float, *, careful: bool) -> None:
        """Launch an iteration, which `waiting` has then."""
        started = self._net.backend.compilation.clock()
        iterations = self._iterations
        if iterations is None:
            raise RuntimeError("the backend has no whole iterations; ask `able` first")
        self._rule.step_to(iteration)
        if self._clears:
            iterations.clear()
            self._clears = False
        iterations.prepare(lr, iteration, careful=careful)
        size = self._rule.param.iter_size
        with at_passes(self._net, passes):
            for batch in range(size):
                runs = _Runs(self, iterations, batch == 0, batch == size - 1)
                self._net.iterate(runs, accumulate=batch > 0)
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
            if watch.warned:
                return loss
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
            size = self._rule.param.iter_size
            first = began_in(self._net, loss, done.passes, size, there=False)
            given = (done.iteration, loss, done.lr, last, None, first)
            raise NonFiniteLossError(*given)
        # Others have run since: the pass is repeated to tell which gradient it is.
        mean_gradients(self._net, done.passes, self._rule.param.iter_size)
        bad = not_finite(self._net, gradients=True) or "a parameter"
        raise NonFiniteGradientError(done.iteration, loss, bad, last)

    def whole(self, plan: Plan, runs: _Runs) -> Sequence[Run]:
        """Return the functions of a whole batch, the same as long as the plan is."""
        if plan.wholes.get("of") is not runs.iterations:
            plan.wholes.clear()
            plan.wholes["of"] = runs.iterations
        key = (runs.first, runs.last)
        if key not in plan.wholes:
            between, after = runs.calls_between(plan), runs.calls_after(plan)
            add = not runs.first
            plan.wholes[key] = plan.iteration(between, after, accumulate=add)
        made: Sequence[Run] = plan.wholes[key]
        return made

    def _weighted(self, arrays: Sequence[Array | None]) -> list[tuple[Array, float]]:
        """Return the arrays of all tops with a weight, and these."""
        return [
            (arrays[edge], weight)
            for node in self._net.graph.nodes
            for edge, weight in zip(node.tops, node.loss_weights, strict=True)
            if weight != 0 and arrays[edge] is not None
        ]

    def losses(self, plan: Plan) -> list[tuple[Array, float]]:
        """Return all tops with a weight, and these."""
        return self._weighted(plan.data)

    def seeds(self, plan: Plan) -> list[tuple[Array, float]]:
        """Return the gradients of all tops with a weight, and these."""
        return self._weighted(plan.diff)


@dataclass(frozen=True)
class _Runs:
    """What an iteration runs for its first, its last or another batch."""

    ahead: Ahead
    iterations: Iterations
    first: bool
    last: bool

    def whole(self, plan: Plan) -> Sequence[Run]:
        """Return the functions of everything."""
        return self.ahead.whole(plan, self)

    def between(self, plan: Plan) -> Sequence[Run]:
        """Return the functions between the passes."""
        return _runner(plan, self.calls_between(plan))

    def after(self, plan: Plan) -> Sequence[Run]:
        """Return the functions after the passes."""
        return _runner(plan, self.calls_after(plan))

    def calls_between(self, plan: Plan) -> list[Any]:
        """Return the calls between the passes."""
        return self.iterations.between(self.ahead.seeds(plan))

    def calls_after(self, plan: Plan) -> list[Any]:
        """Return the calls after the passes."""
        losses, seeds = self.ahead.losses(plan), self.ahead.seeds(plan)
        return self.iterations.after(losses, seeds, first=self.first, last=self.last)


def _runner(plan: Plan, calls: list[Any]) -> Sequence[Run]:
    return [plan.backend.runner(calls)] if calls else []
