"""Passes of a `Net` over its layers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np

from runtime.execution.fitting import refuse_if_ran_out
from runtime.execution.joined_pass import JoinedPass
from runtime.execution.limits import check_whole
from runtime.execution.net_feed import NetFeed
from runtime.execution.net_gradients import NetGradients
from runtime.execution.plan import IterationRuns, Step
from runtime.execution.ran import BackwardRan
from runtime.execution.repeated_pass import RepeatedPass, repeated_pass
from runtime.execution.unwritten import Unwritten
from runtime.interrupts import Held, whole
from runtime.layers.base import TopsChanged

Pass: TypeAlias = Literal["forward", "backward", "accumulate"]  # steps of a plan


class NetPasses(NetGradients, NetFeed):
    """How a `Net` runs the steps of its plan."""

    hooked: bool = False  # whether somebody's code runs between layers
    _ran: BackwardRan
    unwritten: Unwritten
    _repeats: RepeatedPass | None = None

    def _repeated(self) -> OrderedDict[str, np.ndarray] | None:
        """Do a pass forward as the last one if nothing has changed since.

        Returns the outputs.
        """
        repeats, copies = self._repeats, self.mirror.parameters
        if (
            repeats is None
            or repeats.plan is not self.plan
            or self._pending
            or self.sources
            or copies.loans
            or copies.exposed
            or not repeats.plan.is_ready(copies.versions)
        ):
            return None
        self._ran.forward()
        self.unwritten.before_pass(whole=True, lent=False)
        for run in repeats.runs:
            run()
        self.unwritten.after_whole_pass()
        self.clock.go_on()
        return OrderedDict(repeats.outputs)

    def _note_pass(self, outputs: Mapping[str, np.ndarray]) -> None:
        """Note a pass over all layers, which may be repeated."""
        if self.backend.on_host and not (self.sources or self.hooked):
            self._repeats = repeated_pass(self.plan, self.graph, dict(outputs))

    def forget_pass(self) -> None:
        """Repeat no pass, but do it anew."""
        self._repeats = None

    def iterate(self, runs: IterationRuns, *, accumulate: bool = False) -> None:
        """Run a pass forward and backward, and what is around them, of training.

        accumulate: add the gradients of parameters to what is there.
        """
        self._check_gradients()
        last = len(self.graph.nodes) - 1
        self._take_shapes(0, last)
        self.mirror.before_steps(feeds=self._fed)
        self._ran.forward()
        self._ran.backward(self.graph, 0, last)
        try:
            with np.errstate(all="ignore"):
                for run in runs.whole(self.plan):
                    run()
            self.clock.go_on()
        except TopsChanged as change:
            self._run_forward(self.follow(change, last), last)
            for run in runs.between(self.plan):
                run()
            self._run_pass("accumulate" if accumulate else "backward", 0, last)
            for run in runs.after(self.plan):
                run()
        except MemoryError as error:
            refuse_if_ran_out(error, self.graph, self.context, self._keep)
            raise
        finally:
            self.mirror.after_steps()

    def run_joined(self, joined: JoinedPass, signals: Held) -> bool:
        """Run a training pass as one list, with what follows it there.

        Returns False, and has run nothing, where the net has another plan now. Whoever
        calls holds signals, which are all kept once there is no way back.
        """
        if self.sources or self._pending or self.graph.stale:
            self._take_shapes(0, len(self.graph.nodes) - 1)
        if self.plan is not joined.plan:
            return False
        self.mirror.parameters_changed()
        self._ran.both(kept=self._keep is None)
        self._factors = {}
        try:
            if self.sources or not joined.by_hand:
                with np.errstate(all="ignore"):
                    for run in joined.feeds:
                        run()
            signals.keep_all(True)
            for run in joined.runs:
                run()
        except MemoryError as error:
            refuse_if_ran_out(error, self.graph, self.context, self._keep)
            raise
        self.clock.go_on()
        return True

    @whole
    def forward_steps(self) -> None:
        """Run forward without fetching any output."""
        last = len(self.graph.nodes) - 1
        self._take_shapes(0, last)
        self._run_forward(0, last)

    def loss(self) -> float:
        """Return the objective of the last forward: the sum of weight * sum(top)."""
        return self.loss_of(0, len(self.graph.nodes) - 1)

    def loss_of(self, first: int, last: int) -> float:
        """Return what the layers number `first` to `last` add to the objective."""
        total = 0.0
        for node in self.graph.nodes[first : last + 1]:
            for edge, weight in zip(node.tops, node.loss_weights, strict=True):
                if weight != 0:
                    weight *= self._factors.get(edge, 1.0)
                    total += weight * self.backend.total(self.plan.data[edge])
        return total

    def _run_forward(self, first: int, last: int) -> None:
        """Run the forward steps of the nodes `first` to `last` as one pass."""
        self._factors = {}
        self._run_through(first, last)
        self.clock.go_on()

    def _run_pass(
        self, kind: Pass, first: int, last: int, *, again: bool = False
    ) -> None:
        """Run the steps of a kind of the nodes `first` to `last`.

        again: nobody's code has run since another pass.
        """
        whole = (first, last) == (0, len(self.graph.nodes) - 1)
        passes = self.plan.passes
        steps_of = passes.wholes if whole else passes.parts
        feeds = self._fed and kind == "forward"
        if kind == "forward":
            self._ran.forward()
            self.plan.note_forward(first, last, self.clock.value)
            lent = self.mirror.lends_parameters
            self.unwritten.before_pass(whole=whole, lent=lent)
        else:
            if not whole:
                check_whole(self.plan.recomputation, first, last)
            if self._keep is not None:
                self._ran.backward(self.graph, first, last)
        self.mirror.before_steps(steps_of[kind], again=again, feeds=feeds)
        try:
            # The logarithm of 0 is the net's own affair; it shows in the loss.
            with np.errstate(all="ignore"):
                if whole:
                    self.plan.run(kind, self.mirror.parameters_version())
                    if kind == "forward":
                        self.unwritten.after_whole_pass()
                    return
                self.plan.forget_prepared()
                steps: tuple[Step, ...] = getattr(self.plan, kind)
                for step in steps:
                    if first <= step.node <= last:
                        step.run()
        except MemoryError as error:
            refuse_if_ran_out(error, self.graph, self.context, self._keep)
            raise
        finally:
            self.mirror.after_steps()
