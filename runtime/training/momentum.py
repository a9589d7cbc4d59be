"""The momentum as a function of the iteration: NVCaffe's `momentum_policy` values."""

from __future__ import annotations

import math

from netspec.errors import SpecError, did_you_mean
from netspec.schema import SolverParameter
from runtime.training.annealing import mirrored, place_in_cycle

POLICIES = ("fixed", "poly", "opt", "onecycle")
MOVING_TYPES = ("SGD", "Nesterov")  # update rules whose momentum may move
CYCLE_TYPES = (*MOVING_TYPES, "Adam")
CYCLE_MOMENTUM = 0.95  # at both ends of onecycle, without `max_momentum`


def moves(param: SolverParameter) -> bool:
    """Say whether the momentum changes from iteration to iteration.

    Raises `SpecError` for a policy that is none or cannot be followed.
    """
    name = param.momentum_policy
    if name not in POLICIES:
        raise SpecError(
            f"solver: momentum_policy is {name!r}{did_you_mean(name, POLICIES)}; "
            f"expected one of {', '.join(POLICIES)}"
        )
    if name == "fixed":
        return False
    types = CYCLE_TYPES if name == "onecycle" else MOVING_TYPES
    if param.type not in types:
        raise SpecError(
            f"solver: momentum_policy {name!r} is for type "
            f"{' and '.join(types)}, not {param.type!r}; remove it"
        )
    if name == "onecycle" and param.lr_policy != "onecycle":
        raise SpecError(
            f"solver: momentum_policy 'onecycle' mirrors the rate of lr_policy "
            f"'onecycle', but that is {param.lr_policy!r}; choose others"
        )
    if name == "onecycle" and param.momentum > _ends(param):
        raise SpecError(
            f"solver: momentum_policy 'onecycle' goes down from {_ends(param):g}, but "
            f"momentum is {param.momentum:g}; lower it, often to 0.85"
        )
    if name == "poly" and param.max_iter <= 0:
        raise SpecError(
            f"solver: momentum_policy 'poly' needs a positive max_iter, got "
            f"{param.max_iter}"
        )
    if not 0 <= param.max_momentum < 1:
        raise SpecError(
            f"solver: max_momentum must be at least 0 and below 1, got "
            f"{param.max_momentum:g}"
        )
    if not param.momentum_power >= 0:
        raise SpecError(
            f"solver: momentum_power must be at least 0, got {param.momentum_power:g}"
        )
    return True


def momentum_at(param: SolverParameter, iteration: int, rate: float) -> float:
    """Return the momentum of an iteration, given its learning rate.

        poly: m + (max_momentum - m) (iteration / max_iter)^momentum_power
        opt:  (1 - sqrt(rate) / 2)^2, at most max_momentum where that is given

    with m the solver's `momentum`. After `max_iter` poly stays at max_momentum.
    `onecycle` is `annealing.mirrored`.
    """
    if param.momentum_policy == "onecycle":
        place = place_in_cycle(iteration, param.max_iter, param.pct_start)
        return mirrored(param.momentum, _ends(param), place)
    if param.momentum_policy == "poly":
        done = min(1.0, iteration / param.max_iter)
        part = math.pow(done, param.momentum_power)
        return param.momentum + (param.max_momentum - param.momentum) * part
    best = (1 - 0.5 * math.sqrt(rate)) ** 2
    if param.HasField("max_momentum"):
        return min(param.max_momentum, best)
    return best


def _ends(param: SolverParameter) -> float:
    """Return the momentum at both ends of onecycle."""
    given = param.HasField("max_momentum")
    return param.max_momentum if given else CYCLE_MOMENTUM
