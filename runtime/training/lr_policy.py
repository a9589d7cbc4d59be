"""The learning rate as a function of the iteration: Caffe's `lr_policy` values.

Each policy is a small pure function; `policy_of` checks the fields of a solver once and
returns the `Policy` that calls the right one. What a policy remembers is a `Progress`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from netspec.errors import SpecError, did_you_mean
from netspec.schema import SolverParameter
from runtime.training.annealing import (
    cosine,
    one_cycle,
    place_in_cycle,
    since_restart,
)
from runtime.training.progress import Progress

# The fields a policy cannot do without. `power` has the default 0, a constant rate.
POLICY_FIELDS: dict[str, tuple[str, ...]] = {
    "fixed": ("base_lr",),
    "step": ("base_lr", "gamma", "stepsize"),
    "exp": ("base_lr", "gamma"),
    "inv": ("base_lr", "gamma"),
    "multistep": ("base_lr", "gamma", "stepvalue"),
    "poly": ("base_lr", "max_iter"),
    "sigmoid": ("base_lr", "gamma", "stepsize"),
    "exp10": ("base_lr", "stepsize"),
    "multifixed": ("stagelr", "stageiter"),
    "plateau": ("base_lr", "gamma", "plateau_winsize"),
    "stepearly": ("base_lr", "gamma", "stepearly", "test_iter", "test_interval"),
    "cosine": ("base_lr", "max_iter"),  # the latter unless there is a `restart_iter`
    "onecycle": ("base_lr", "max_iter"),
}
FALLING = ("poly", "cosine")  # from base_lr to min_lr


def fixed(base_lr: float) -> float:
    """Return base_lr."""
    return base_lr


def exp(base_lr: float, gamma: float, iteration: int) -> float:
    """Return base_lr * gamma^iteration."""
    return base_lr * _power(gamma, iteration)


def exp10(base_lr: float, stepsize: int, iteration: int) -> float:
    """Return base_lr * 10^(-iteration / stepsize), of the TSN fork."""
    return base_lr * _power(10, -iteration / stepsize)


def inv(base_lr: float, gamma: float, power: float, iteration: int) -> float:
    """Return base_lr * (1 + gamma * iteration)^(-power)."""
    return base_lr * _power(1 + gamma * iteration, -power)


def stairs(base_lr: float, gamma: float, steps: int) -> float:
    """Return base_lr * gamma^steps, the steps taken so far.

    Of step, multistep, plateau and stepearly.
    """
    return base_lr * _power(gamma, steps)


def poly(
    base_lr: float, power: float, iteration: int, max_iter: int, min_lr: float = 0.0
) -> float:
    """Return min_lr + (base_lr - min_lr) * (1 - iteration / max_iter)^power.

    It is min_lr, as a rule 0, after `max_iter`, where Caffe raises a negative number to
    the power.
    """
    left = max(0.0, 1 - iteration / max_iter)
    return min_lr + (base_lr - min_lr) * _power(left, power)


def sigmoid(base_lr: float, gamma: float, stepsize: int, iteration: int) -> float:
    """Return base_lr / (1 + exp(-gamma * (iteration - stepsize)))."""
    # tanh cannot overflow, as exp would far from the middle.
    return base_lr * 0.5 * (1 + math.tanh(0.5 * gamma * (iteration - stepsize)))


def multifixed(
    rates: tuple[float, ...], ends: tuple[int, ...], iteration: int
) -> float:
    """Return the rate of the first stage that ends at `iteration` or later.

    After the last end the last rate stays. Of Intel Caffe.
    """
    for rate, end in zip(rates, ends, strict=True):
        if iteration <= end:
            return rate
    return rates[-1]


def warmup(base_lr: float, start: float, iteration: int, length: int) -> float:
    """Return start + (base_lr - start) * iteration / length, of Intel Caffe."""
    return (iteration * base_lr + (length - iteration) * start) / length


def rampup(base_lr: float, start: float, iteration: int, length: int) -> float:
    """Return start + (base_lr - start) * (iteration / length)^2, of NVCaffe."""
    return start + (base_lr - start) * (iteration / length) ** 2


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

    Some policies have memory, which is passed in and saved in snapshots. multistep
    counts the steps taken: it takes at most one an iteration, so it can lag behind
    `stepvalue` when these repeat. plateau and stepearly take a step after losses or
    tests that show no gain. In the first `warmup_iter` or `rampup_interval` iterations
    the rate grows to base_lr, and the policy neither looks nor steps. No rate is below
    `min_lr`.
    """

    name: str
    base_lr: float
    gamma: float = 0.0
    power: float = 0.0
    stepsize: int = 0
    stepvalue: tuple[int, ...] = ()
    max_iter: int = 0
    stagelr: tuple[float, ...] = ()
    stageiter: tuple[int, ...] = ()
    plateau_winsize: tuple[int, ...] = ()
    average_loss: int = 1
    stepearly: int = 0
    warmup_iter: int = 0
    warmup_start_lr: float = 0.0
    rampup_interval: int = 0
    rampup_lr: float = 0.0
    min_lr: float = 0.0
    restart_iter: int = 0
    restart_mult: float = 1.0
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 10000.0

    @property
    def reads_losses(self) -> bool:
        """Whether the rate of an iteration depends on the loss of that iteration."""
        return self.name == "plateau"

    def grows(self, iteration: int) -> bool:
        """Say whether `iteration` is one of those in which the rate grows."""
        return iteration < max(self.warmup_iter, self.rampup_interval)

    def steps_at(self, iteration: int, steps: int) -> int:
        """Return the steps taken at `iteration`, `steps` being taken before it."""
        if self.grows(iteration):
            return steps
        if self.name == "step":
            return iteration // self.stepsize
        if self.name == "multistep":
            due = steps < len(self.stepvalue) and iteration >= self.stepvalue[steps]
            return steps + due
        return steps

    def after_loss(self, progress: Progress, iteration: int, loss: float) -> Progress:
        """Return what is remembered once the loss of `iteration` is known."""
        if not self.reads_losses:
            return progress.with_steps(self.steps_at(iteration, progress.steps))
        progress = progress.with_loss(loss, self.average_loss)
        if self.grows(iteration):
            return progress
        return progress.on_plateau(iteration, self.plateau_winsize)

    def after_test(
        self, progress: Progress, iteration: int, accuracy: float
    ) -> Progress:
        """Return what is remembered after a test ahead of `iteration`."""
        return progress.with_test(iteration, accuracy, self.stepearly)

    def rate(self, iteration: int, steps: int = 0) -> float:
        """Return the learning rate of `iteration`, counted from 0.

        steps: those taken before it; of plateau, with the loss of the iteration.
        """
        return max(self.min_lr, self._rate(iteration, steps))

    def _rate(self, iteration: int, steps: int) -> float:
        base = self.base_lr
        if iteration < self.warmup_iter:
            return warmup(base, self.warmup_start_lr, iteration, self.warmup_iter)
        if iteration < self.rampup_interval:
            return rampup(base, self.rampup_lr, iteration, self.rampup_interval)
        match self.name:
            case "fixed":
                return fixed(base)
            case "step" | "multistep" | "plateau" | "stepearly":
                return stairs(base, self.gamma, self.steps_at(iteration, steps))
            case "exp":
                return exp(base, self.gamma, iteration)
            case "exp10":
                return exp10(base, self.stepsize, iteration)
            case "inv":
                return inv(base, self.gamma, self.power, iteration)
            case "poly":
                return poly(base, self.power, iteration, self.max_iter, self.min_lr)
            case "sigmoid":
                return sigmoid(base, self.gamma, self.stepsize, iteration)
            case "multifixed":
                return multifixed(self.stagelr, self.stageiter, iteration)
            case "cosine":
                return self._cosine(iteration)
            case "onecycle":
                place = place_in_cycle(iteration, self.max_iter, self.pct_start)
                return one_cycle(base, self.div_factor, self.final_div_factor, place)
        raise NotImplementedError(f"lr_policy {self.name!r} has fields but no formula")

    def _cosine(self, iteration: int) -> float:
        done, length = float(iteration), float(self.max_iter)
        if self.restart_iter > 0:
            done, length = since_restart(
                iteration, self.restart_iter, self.restart_mult
            )
        return cosine(self.base_lr, self.min_lr, done, length)


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
    if not math.isfinite(param.base_lr):
        raise SpecError(f"solver: base_lr must be finite, got {param.base_lr:g}")
    needed = POLICY_FIELDS[name]
    if name == "cosine" and param.restart_iter > 0:
        needed = ("base_lr",)
    if param.warmup_iter > 0 or param.rampup_interval > 0:
        needed = tuple(dict.fromkeys(("base_lr", *needed)))
    missing = [field for field in needed if not _given(param, field)]
    if missing:
        raise SpecError(
            f"solver: lr_policy {name!r} needs {' and '.join(missing)}; add "
            + ", ".join(f"`{field}: ...`" for field in missing)
        )
    # Zero divides by nothing in step, exp10 and poly.
    for field in ("stepsize", "max_iter", "stepearly"):
        value = getattr(param, field)
        if field in needed and value <= 0 and name != "sigmoid":
            raise SpecError(
                f"solver: lr_policy {name!r} needs a positive {field}, got {value}"
            )
    _check_lists(param, name)
    _check_start(param, name)
    _check_cycles(param, name)
    return Policy(
        name=name,
        base_lr=param.base_lr,
        gamma=param.gamma,
        power=param.power,
        stepsize=param.stepsize,
        stepvalue=tuple(param.stepvalue),
        max_iter=param.max_iter,
        stagelr=tuple(param.stagelr),
        stageiter=tuple(param.stageiter),
        plateau_winsize=tuple(param.plateau_winsize),
        average_loss=max(1, param.average_loss),
        stepearly=param.stepearly,
        warmup_iter=param.warmup_iter,
        warmup_start_lr=param.warmup_start_lr,
        rampup_interval=param.rampup_interval,
        rampup_lr=param.rampup_lr,
        min_lr=param.min_lr,
        restart_iter=param.restart_iter,
        restart_mult=param.restart_mult,
        pct_start=param.pct_start,
        div_factor=param.div_factor,
        final_div_factor=param.final_div_factor,
    )


def _check_lists(param: SolverParameter, name: str) -> None:
    """Refuse lists of iterations that cannot be."""
    field = {"multistep": "stepvalue", "multifixed": "stageiter"}.get(name)
    values = tuple(getattr(param, field)) if field else ()
    if list(values) != sorted(values):
        raise SpecError(
            f"solver: lr_policy {name!r}: {field} must not decrease, got {values}"
        )
    if name == "multifixed" and len(param.stagelr) != len(values):
        raise SpecError(
            f"solver: lr_policy 'multifixed' has {len(param.stagelr)} stagelr and "
            f"{len(values)} stageiter; give a rate and its last iteration for every "
            f"stage"
        )
    sizes = tuple(param.plateau_winsize)
    if name == "plateau" and min(sizes) < 1:
        raise SpecError(
            f"solver: lr_policy 'plateau' needs plateau_winsize of at least 1, got "
            f"{sizes}"
        )


def _check_start(param: SolverParameter, name: str) -> None:
    """Refuse fields of a growing rate and of the lowest one that cannot be."""
    fields = ("warmup_iter", "warmup_start_lr", "rampup_interval", "rampup_lr")
    for field in (*fields, "min_lr"):
        value = getattr(param, field)
        if not value >= 0:
            raise SpecError(f"solver: {field} must be at least 0, got {value:g}")
    if param.warmup_iter and param.rampup_interval:
        raise SpecError(
            f"solver: both warmup_iter {param.warmup_iter} and rampup_interval "
            f"{param.rampup_interval} are given; keep one of them"
        )
    if name in FALLING and param.min_lr > param.base_lr:
        raise SpecError(
            f"solver: min_lr {param.min_lr:g} is above base_lr {param.base_lr:g}, so "
            f"that lr_policy {name!r} would grow; lower min_lr"
        )


def _check_cycles(param: SolverParameter, name: str) -> None:
    """Refuse fields of cycles that cannot be."""
    mistakes = []
    if name == "cosine":
        if param.restart_iter < 0:
            mistakes.append(
                f"restart_iter must be at least 0, got {param.restart_iter}"
            )
        if not 1 <= param.restart_mult < math.inf:
            mistakes.append(
                f"restart_mult must be at least 1, got {param.restart_mult:g}"
            )
    if name == "onecycle":
        if not 0 <= param.pct_start <= 1:
            mistakes.append(
                f"pct_start is a part of max_iter, from 0 to 1, got {param.pct_start:g}"
            )
        for field in ("div_factor", "final_div_factor"):
            value = getattr(param, field)
            if not 1 <= value < math.inf:
                mistakes.append(f"{field} must be at least 1, got {value:g}")
        for field in ("warmup_iter", "rampup_interval"):
            if getattr(param, field) > 0:
                mistakes.append(
                    f"{field} is given, but onecycle grows by itself; remove it"
                )
    if mistakes:
        raise SpecError(f"solver: lr_policy {name!r}: " + "; ".join(mistakes))


def _given(param: SolverParameter, field: str) -> bool:
    value = getattr(param, field)
    if isinstance(value, int | float):
        return bool(param.HasField(field))
    return len(value) > 0
