"""Iterations around which nothing has to run, with as little Python as there can be.

What a pass has computed has taken the place of Python in the near caches, so that each
line that runs around it costs many times what it takes in a loop of its own. All of the
arithmetic is one list of calls, which takes no step where a number is not finite.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.arrays import Array
from runtime.execution.joined_pass import JoinedPass, joined_pass
from runtime.execution.net import Net
from runtime.execution.plan import Plan
from runtime.interrupts import Held
from runtime.training.passes import UNKNOWN, at_passes
from runtime.training.rule import Rule
from runtime.update_rules import GuardedUpdate, Update


class Quick:
    """Iterations of one batch of a net."""

    def __init__(self, net: Net, rule: Rule) -> None:
        self._net, self._rule = net, rule
        self._plan: Plan | None = None
        self._changes = 0  # of the rule, that are followed
        self._update: Update | None = None
        self._joined: JoinedPass | None = None
        self._step: GuardedUpdate | None = None

    def able(self) -> bool:
        """Say whether the next iteration can run so.

        Its rate was asked for just before, so that the rule has followed its message.
        """
        net, rule = self._net, self._rule
        if net.plan is not self._plan or rule.changes != self._changes:
            self._join()
        if net.hooked or (net.its_feed is not None and net.parts_vary):
            return False
        return self._joined is not None

    def _join(self) -> None:
        """Join what an iteration computes, if it can be joined."""
        net, rule = self._net, self._rule
        update = rule.update
        if net.plan is self._plan and update is self._update and not rule.waits:
            self._changes = rule.changes
            return
        self._plan, self._update, self._changes = net.plan, update, rule.changes
        self._joined, self._step = None, update.fused
        settings = update.settings
        if (
            not rule.waits
            and update.fused is not None
            and settings.iter_size == 1
            and settings.clip_gradients < 0
            and not net.graph.gradient_errors
            and not net.graph.stale
        ):
            self._joined = joined_pass(net.plan, net.graph, self._after)

    def _after(self, losses: Sequence[Array]) -> Sequence[object]:
        """Return the calls behind a pass."""
        update = self._rule.update
        looked_at = [*(one.reshape(-1) for one in losses), *update.checked]
        return [] if update.fused is None else update.fused.guarded(looked_at)

    def run(
        self, passes: int, rate: float, iteration: int, signals: Held
    ) -> float | None:
        """Do an iteration of that number, after so many passes of the net.

        From the time on when it may update something, all signals are kept; the caller
        ends that. Returns its loss; None if nothing was updated yet, as its loss or a
        gradient may not be finite, or the net has another plan now, whose pass is done.
        """
        net, update, step, joined = self._net, self._update, self._step, self._joined
        if update is None or step is None or joined is None:
            raise RuntimeError("an iteration cannot run quickly; ask `able` first")
        update.clear()
        step.prepare(rate, iteration, 1.0)
        if net.sources or net.its_feed is not None or net.clock.value != passes:
            with at_passes(net, passes), np.errstate(all="ignore"):
                done = self._pass(joined, signals)
        else:  # what `at_passes` would do, with less Python
            try:
                done = self._pass(joined, signals)
            except BaseException:
                net.clock.value = UNKNOWN
                raise
        return joined.loss() if done and not step.stopped else None

    def _pass(self, joined: JoinedPass, signals: Held) -> bool:
        """Run a pass, as one list if the net still has its plan; say whether it has."""
        done = self._net.run_joined(joined, signals)
        if not done:
            self._net.forward_backward()
        return done
