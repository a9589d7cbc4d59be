"""The rate and the update rule of a solver, which follow its message."""

from __future__ import annotations

import math
from operator import attrgetter
from typing import Any

from netspec.errors import SpecError
from netspec.schema import SolverParameter
from runtime.execution.mirror import UPDATE
from runtime.execution.net import Net
from runtime.training.lr_policy import policy_of
from runtime.training.updates import settings_of, update_of
from runtime.update_rules import Update

_RATE = ("lr_policy", "base_lr", "gamma", "power", "stepsize", "max_iter")
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
_fields_of = attrgetter(*_RATE, *_SETTINGS)  # in one call: it is made in every step


def _update_of(param: SolverParameter, net: Net) -> Update:
    precision = net.context.precision
    return update_of(param, net.flat, net.graph.parameters, net.backend, precision)


class Rule:
    """The learning rate and the update, as the fields of `param` say at the moment.

    steps: how many steps of multistep are taken.
    """

    def __init__(self, param: SolverParameter, net: Net) -> None:
        self.param, self._net = param, net
        self.steps = 0
        self.policy = policy_of(param)
        self.update = _update_of(param, net)
        self._read = self._fields()

    def _fields(self) -> tuple[Any, ...]:
        fields: tuple[Any, ...] = _fields_of(self.param)
        if fields[0] == "multistep":
            fields += tuple(self.param.stepvalue)
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
        if settings_of(param) != old.settings:
            net = self._net
            self.update = _update_of(param, net)
            pairs = zip(self.update.history, old.history, strict=True)
            for array, values in pairs:
                array[...] = values
            if self.update.whole is not None and old.whole is not None:
                self.update.whole.go_on_from(old.whole)
        self._read = fields

    def rate(self, iteration: int) -> float:
        """Return the learning rate of an iteration."""
        self.follow()
        return self.policy.rate(iteration, self.steps)

    def set_rate(self, rate: float, iteration: int) -> None:
        """Change `base_lr` so that the rate of `iteration` is `rate`.

        Raises `SpecError` where the policy gives 0 or no number whatever `base_lr` is.
        """
        if not (math.isfinite(rate) and rate >= 0):
            raise SpecError(f"solver: lr must be at least 0 and finite, got {rate:g}")
        before = self.param.base_lr
        self.param.base_lr = 1.0
        factor = self.rate(iteration)
        self.param.base_lr = before
        if not (math.isfinite(factor) and factor > 0):
            raise SpecError(
                f"solver: lr cannot be set to {rate:g}: in iteration {iteration} "
                f"lr_policy {self.policy.name!r} multiplies base_lr by {factor:g}; "
                f"change lr_policy, or its fields"
            )
        self.param.base_lr = rate / factor

    def step_to(self, iteration: int) -> None:
        """Take the steps of multistep that lead to an iteration."""
        self.steps = self.policy.steps_at(iteration, self.steps)

    def apply(self, rate: float, iteration: int) -> None:
        """Update the parameters from their gradients."""
        self.step_to(iteration)
        # The gradients have just been looked at; see `Solver`.
        self._net.mirror.before_steps(UPDATE, again=True)
        self.update.apply(rate, iteration)
        self._net.mirror.after_steps()
