"""The rate and the update rule of a solver, which follow its message."""

from __future__ import annotations

import math
from operator import attrgetter
from typing import Any

from netspec.errors import SpecError
from netspec.schema import SolverParameter
from runtime.execution.net import Net
from runtime.training.lr_policy import policy_of
from runtime.training.updates import settings_of, update_of

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
_rate_of = attrgetter(*_RATE)
_settings_of = attrgetter(*_SETTINGS)


class Rule:
    """The learning rate and the update, as the fields of `param` say at the moment.

    steps: how many steps of multistep are taken.
    """

    def __init__(self, param: SolverParameter, net: Net) -> None:
        self.param, self._net = param, net
        self.steps = 0
        self.policy = policy_of(param)
        self.update = update_of(param, net.flat, net.graph.parameters, net.backend)
        self._rate_read, self._settings_read = self._rate(), _settings_of(param)

    def _rate(self) -> tuple[Any, ...]:
        return *_rate_of(self.param), *self.param.stepvalue

    def follow(self) -> None:
        """Take over what was changed in the message.

        Running values, the momentum, stay what they are.

        Raises `SpecError` for values that cannot be, and for another `type`.
        """
        param = self.param
        rate = self._rate()
        if rate != self._rate_read:
            self.policy = policy_of(param)
            self._rate_read = rate
        settings = _settings_of(param)
        if settings != self._settings_read:
            if param.type != self.update.type:
                raise SpecError(
                    f"solver: type was changed from {self.update.type!r} to "
                    f"{param.type!r}, which keeps other values; make a new solver"
                )
            settings_of(param)  # its mistakes come before anything changes
            net, old = self._net, self.update
            new = update_of(param, net.flat, net.graph.parameters, net.backend)
            for array, values in zip(new.history, old.history, strict=True):
                array[...] = values
            self.update, self._settings_read = new, settings

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

    def apply(self, iteration: int) -> None:
        """Update the parameters from their gradients, at the rate of `iteration`."""
        rate = self.rate(iteration)
        self.steps = self.policy.steps_at(iteration, self.steps)
        self.update.apply(rate, iteration)
