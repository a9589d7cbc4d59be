"""The rate and the update rule of a solver, which follow its message."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

from netspec.errors import SpecError, SpecWarning, shown
from netspec.schema import SolverParameter
from runtime.execution.mirror import UPDATE
from runtime.execution.net import Net
from runtime.gradient_looks import macs_of
from runtime.training.divergence import warn
from runtime.training.lr_policy import FALLING, policy_of
from runtime.training.momentum import momentum_at, moves
from runtime.training.progress import Progress
from runtime.training.records import TestRecord
from runtime.training.testing import accuracy_of
from runtime.training.updates import settings_of, update_of
from runtime.update_rules import Update

_RATE = (
    "lr_policy",
    "base_lr",
    "gamma",
    "power",
    "stepsize",
    "max_iter",
    "stepearly",
    "average_loss",
    "warmup_iter",
    "warmup_start_lr",
    "rampup_interval",
    "rampup_lr",
    "min_lr",
)
_LISTS = ("stepvalue", "plateau_winsize", "stagelr", "stageiter")
_LISTING = ("multistep", "plateau", "multifixed")  # policies that read one of them
_CYCLES = (
    "restart_iter",
    "restart_mult",
    "pct_start",
    "div_factor",
    "final_div_factor",
)
_CYCLING = ("cosine", "onecycle")  # policies that read one of them
_MOMENTUM = ("momentum_policy", "max_momentum", "momentum_power")
_SETTINGS = (
    "type",
    "momentum",
    "momentum2",
    "rms_decay",
    "delta",
    "weight_decay",
    "regularization_type",
    "clip_gradients",
    "iter_size",
)
_AROUND = ("test_interval", "snapshot", "display")  # what runs around iterations
# In one call: it is made in every step.
_fields_of = attrgetter(*_RATE, *_MOMENTUM, *_SETTINGS, *_AROUND)
# Those that count as long as they tell of a rate and a momentum that stay.
_STAYING = ("lr_policy", "warmup_iter", "rampup_interval", "momentum_policy", "type")
_staying_of = attrgetter(*_STAYING)
_few_of = attrgetter(
    *(*_STAYING, "base_lr", "min_lr", "momentum", "weight_decay"),
    *("regularization_type", "clip_gradients", "iter_size", *_AROUND),
)
_cycles_of = attrgetter(*_CYCLES)
_around_of = attrgetter(*_AROUND)


def _update_of(param: SolverParameter, net: Net, ranks: int) -> Update:
    given = (param, net.flat, net.graph.parameters, net.backend)
    macs = macs_of(net.graph)
    update = update_of(*given, net.context.precision, ranks, macs)
    if moves(param):
        # Pieces of work that have the momentum within them cannot follow it.
        update.whole = update.fused = None
    return update


class Rule:
    """The learning rate and the update, as the fields of `param` say at the moment.

    progress: what the policy of the rate remembers. ranks: how many processes add up
    their gradients.
    """

    def __init__(self, param: SolverParameter, net: Net, ranks: int = 1) -> None:
        self.param, self._net, self._ranks = param, net, ranks
        self.progress = Progress()
        self.policy = policy_of(param)
        self.update = _update_of(param, net, ranks)
        self._settings = self.update.settings
        self._moves = moves(param)
        self.changes = 0  # how often the message was another one
        self._note()
        self._rates: tuple[float, float] | None = None  # base_lr before `set_rate`, now
        self._by_hand = False

    @property
    def waits(self) -> bool:
        """Whether an iteration cannot be launched before its loss is known."""
        return self.policy.reads_losses or self._moves

    def _note(self) -> None:
        """Note what the message says."""
        policy, *growing, momentum, kind = _staying_of(self.param)
        self._stays = (policy, momentum) == ("fixed", "fixed") and not (
            any(one > 0 for one in growing) or kind not in ("SGD", "Nesterov")
        )
        self._rate = self.policy.rate(0)
        self.around = _around_of(self.param)
        self._read = self._fields()

    def _fields(self) -> tuple[Any, ...]:
        if self._stays:
            few: tuple[Any, ...] = _few_of(self.param)
            return few
        fields: tuple[Any, ...] = _fields_of(self.param)
        if fields[0] in _LISTING:
            fields += tuple(tuple(getattr(self.param, field)) for field in _LISTS)
        elif fields[0] in _CYCLING:
            fields += _cycles_of(self.param)
        return fields

    def follow(self) -> None:
        """Take over what was changed in the message.

        Running values, the momentum, stay what they are.

        Raises `SpecError` for values that cannot be, and for another `type`.
        """
        fields = self._fields()
        if fields == self._read:
            return
        param, old = self.param, self.update
        if param.type != old.type:
            raise SpecError(
                f"solver: type was changed from {old.type!r} to {param.type!r}, which "
                f"keeps other values; make a new solver"
            )
        self.policy = policy_of(param)
        settings = settings_of(param, self._ranks)
        if settings != self._settings or moves(param) != self._moves:
            self.update = _update_of(param, self._net, self._ranks)
            self._settings, self._moves = self.update.settings, moves(param)
            pairs = zip(self.update.history, old.history, strict=True)
            for array, values in pairs:
                array[...] = values
            if self.update.whole is not None and old.whole is not None:
                self.update.whole.go_on_from(old.whole)
        self._note()
        self.changes += 1

    def rate(self, iteration: int) -> float:
        """Return the learning rate of an iteration.

        Of plateau, which waits for the loss, it is the one without a further step.
        """
        self.follow()
        if self._stays:
            return self._rate
        return self.policy.rate(iteration, self.progress.steps)

    def rate_after(self, iteration: int, loss: float) -> float:
        """Return the learning rate of an iteration whose loss is known."""
        self.follow()
        if not self.policy.reads_losses:
            return self.policy.rate(iteration, self.progress.steps)
        progress = self.policy.after_loss(self.progress, iteration, loss)
        return self.policy.rate(iteration, progress.steps)

    def set_rate(self, rate: float, iteration: int, *, by_hand: bool = True) -> None:
        """Change `base_lr` so that `iteration` has this rate.

        by_hand: whether somebody else than the training does it.

        Raises `SpecError` where no `base_lr` gives it: where the policy multiplies that
        by 0 or no number, or `min_lr` or the start of a growing rate is above it.
        """
        given: Any = rate
        if isinstance(given, bool) or not isinstance(given, numbers.Real):
            raise SpecError(f"solver: lr is {shown(given)}; expected a number")
        if not (math.isfinite(rate) and rate >= 0):
            raise SpecError(f"solver: lr must be at least 0 and finite, got {rate:g}")
        self.follow()
        steps = self.progress.steps
        start, end = (
            replace(self.policy, base_lr=base, min_lr=0.0).rate(iteration, steps)
            for base in (0.0, 1.0)
        )
        factor = end - start
        if not (math.isfinite(factor) and factor > 0):
            raise SpecError(
                f"solver: lr cannot be set to {rate:g}: in iteration {iteration} "
                f"lr_policy {self.policy.name!r} multiplies base_lr by {factor:g}; "
                f"change lr_policy, or its fields"
            )
        base, least = (rate - start) / factor, self.policy.min_lr
        if self.policy.name in FALLING and not self.policy.grows(iteration):
            base = least + (rate - least) / factor
        if rate < least or base < 0:
            lowest = max(least, start)
            raise SpecError(
                f"solver: lr cannot be set to {rate:g}: in iteration {iteration} it is "
                f"at least {lowest:g}; change min_lr, warmup_start_lr or rampup_lr"
            )
        given = self._given
        self.param.base_lr = base
        self._rates, self._by_hand = (given, self.param.base_lr), by_hand

    @property
    def _given(self) -> float:
        """The `base_lr` that the solver says, whatever `set_rate` made of it since."""
        return self.rates[0] if self.rates else self.param.base_lr

    @property
    def rates(self) -> tuple[float, float] | None:
        """What `base_lr` was before `set_rate`, and is now; None if it is as given."""
        if self._rates is not None and self._rates[1] != self.param.base_lr:
            self._rates = None  # somebody wrote into the message since
        return self._rates

    def restore_rates(self, saved: Sequence[float] | None) -> None:
        """Go back to the `rates` of a snapshot, but where a rate was set by hand.

        Warns where the solver says another `base_lr` than it did then, which counts.
        """
        given = self._given
        if self.rates is not None and self._by_hand:
            return
        if saved is None:
            self.param.base_lr, self._rates = given, None
        elif saved[0] == given:
            self.param.base_lr = saved[1]
            self._rates = given, saved[1]
        else:
            warn(
                f"base_lr is {given:g}, but was {saved[0]:g} when the run began, which "
                f"made it {saved[1]:g} until the snapshot; {given:g} counts. Set "
                f"solver.lr to go on at another rate",
                SpecWarning,
            )

    def step_to(self, iteration: int) -> None:
        """Take the step of multistep that leads to an iteration."""
        if self._stays:
            return
        steps = self.policy.steps_at(iteration, self.progress.steps)
        self.progress = self.progress.with_steps(steps)

    def see_tests(
        self, iteration: int, nets: Sequence[Net], records: Sequence[TestRecord]
    ) -> None:
        """Let stepearly see the tests that were due ahead of an iteration.

        It looks at the first net. Raises `SpecError` where that measures no accuracy.
        """
        self.follow()
        if self.policy.name != "stepearly" or not records:
            return
        accuracy = accuracy_of(nets[records[0].net], records[0])
        progress = self.policy.after_test(self.progress, iteration, accuracy)
        self.progress = progress

    def apply_after_pass(self, iteration: int) -> None:
        """Update the parameters after a pass of the net that somebody else ran."""
        loss = self._net.loss() if self.policy.reads_losses else 0.0
        self.apply(self.rate_after(iteration, loss), iteration, loss)

    def tests_at(self, iteration: int) -> bool:
        """Say whether tests may be due ahead of an iteration.

        That is by the message that was followed last.
        """
        interval = self.around[0]
        return interval > 0 and iteration % interval == 0

    def apply(self, rate: float, iteration: int, loss: float) -> None:
        """Update the parameters from their gradients."""
        self.progress = self.policy.after_loss(self.progress, iteration, loss)
        if self._moves:
            moved = momentum_at(self.param, iteration, rate)
            self.update.settings = replace(self._settings, momentum=moved)
        # The gradients have just been looked at; see `Solver`.
        self._net.mirror.before_steps(UPDATE, again=True)
        self.update.apply(rate, iteration)
        self._net.mirror.after_steps()
