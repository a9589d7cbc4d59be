"""The learning rate as a function of the iteration: Caffe's `lr_policy` values.

Each policy is a small pure function; `policy_of` checks the fields of a solver once and
returns the `Policy` that calls the right one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from netspec.errors import SpecError, did_you_mean
from netspec.schema import SolverParameter

# The fields a policy cannot do without. `power` has the default 0, a constant rate.
POLICY_FIELDS: dict[str, tuple[str, ...]] = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma",),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("max_iter",),
    "sigmoid": ("gamma", "stepsize"),
}


def fixed(base_lr: float) -> float:
    """Return base_lr."""
    return base_lr


def exp(base_lr: float, gamma: float, iteration: int) -> float:
    """Return base_lr * gamma^iteration."""
    return base_lr * _power(gamma, iteration)


def inv(base_lr: float, gamma: float, power: float, iteration: int) -> float:
    """Return base_lr * (1 + gamma * iteration)^(-power)."""
    return base_lr * _power(1 + gamma * iteration, -power)


def stairs(base_lr: float, gamma: float, steps: int) -> float:
    """Return base_lr * gamma^steps, the steps taken so far (step, multistep)."""
    return base_lr * _power(gamma, steps)


def poly(base_lr: float, power: float, iteration: int, max_iter: int) -> float:
    """Return base_lr * (1 - iteration / max_iter)^power, and 0 after `max_iter`.

    Caffe raises a negative number to the power after `max_iter`.
    """
    return base_lr * _power(max(0.0, 1 - iteration / max_iter), power)


def sigmoid(base_lr: float, gamma: float, stepsize: int, iteration: int) -> float:
    """Return base_lr / (1 + exp(-gamma * (iteration - stepsize)))."""
    # tanh cannot overflow, as exp would far from the middle.
    return base_lr * 0.5 * (1 + math.tanh(0.5 * gamma * (iteration - stepsize)))


def _power(base: float, exponent: float) -> float:
    """Return base^exponent; infinite or not a number where Python would raise."""
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.inf if base == 0 else math.nan


@dataclass(frozen=True)
class Policy:
    """A solver's learning rate, its fields read and checked.

    Only multistep has memory, the number of steps taken: it takes at most one an
    iteration, so it can lag behind `stepvalue` when these repeat, and it is saved in
    snapshots. That number is passed in, and `steps_at` returns the next one.
    """

    name: str
    base_lr: float
    gamma: float = 0.0
    power: float = 0.0
    stepsize: int = 0
    stepvalue: tuple[int, ...] = ()
    max_iter: int = 0

    def steps_at(self, iteration: int, steps: int) -> int:
        """Return the steps taken at `iteration`, `steps` being taken before it."""
        if self.name == "step":
            return iteration // self.stepsize
        if self.name == "multistep":
            due = steps < len(self.stepvalue) and iteration >= self.stepvalue[steps]
            return steps + due
        return steps

    def rate(self, iteration: int, steps: int = 0) -> float:
        """Return the learning rate of `iteration`, counted from 0.

        steps: those taken before it.
        """
        match self.name:
            case "fixed":
                return fixed(self.base_lr)
            case "step" | "multistep":
                taken = self.steps_at(iteration, steps)
                return stairs(self.base_lr, self.gamma, taken)
            case "exp":
                return exp(self.base_lr, self.gamma, iteration)
            case "inv":
                return inv(self.base_lr, self.gamma, self.power, iteration)
            case "poly":
                return poly(self.base_lr, self.power, iteration, self.max_iter)
            case "sigmoid":
                return sigmoid(self.base_lr, self.gamma, self.stepsize, iteration)
        raise NotImplementedError(f"lr_policy {self.name!r} has fields but no formula")


def policy_of(param: SolverParameter) -> Policy:
    """Read the learning rate policy of a solver.

    Raises `SpecError` for an unknown policy, for a field that the policy needs and the
    solver lacks, and for values that give no rate.
    """
    name = param.lr_policy
    if name not in POLICY_FIELDS:
        what = f"lr_policy is {name!r}" if name else "lr_policy is missing"
        raise SpecError(
            f"solver: {what}{did_you_mean(name, POLICY_FIELDS) if name else ''}; "
            f"expected one of {', '.join(POLICY_FIELDS)}"
        )
    needed = ("base_lr", *POLICY_FIELDS[name])
    missing = [field for field in needed if not _given(param, field)]
    if missing:
        raise SpecError(
            f"solver: lr_policy {name!r} needs {' and '.join(missing)}; add "
            + ", ".join(f"`{field}: ...`" for field in missing)
        )
    # Zero divides by nothing in step and poly.
    for field in ("stepsize", "max_iter"):
        value = getattr(param, field)
        if field in needed and value <= 0 and name != "sigmoid":
            raise SpecError(
                f"solver: lr_policy {name!r} needs a positive {field}, got {value}"
            )
    values = tuple(param.stepvalue)
    if name == "multistep" and list(values) != sorted(values):
        raise SpecError(
            f"solver: lr_policy 'multistep': stepvalue must not decrease, got {values}"
        )
    return Policy(
        name=name,
        base_lr=param.base_lr,
        gamma=param.gamma,
        power=param.power,
        stepsize=param.stepsize,
        stepvalue=values,
        max_iter=param.max_iter,
    )


def _given(param: SolverParameter, field: str) -> bool:
    if field == "stepvalue":
        return len(param.stepvalue) > 0
    return bool(param.HasField(field))
