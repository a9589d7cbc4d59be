"""The learning rates of a solver before it trains."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from netspec.errors import SpecError
from netspec.schema import SolverParameter
from runtime.training.keywords import takes_fields
from runtime.training.lr_policy import policy_of
from runtime.training.solver_fields import SolverFields
from runtime.training.solver_source import solver_of

_UNKNOWN = {"plateau": "losses", "stepearly": "tests"}


@takes_fields
def rates(
    param: Any = None,
    iterations: int | None = None,
    **fields: Unpack[SolverFields],
) -> np.ndarray:
    """Return the learning rate of every iteration, without training.

        runtime.rates(lr_policy="cosine", base_lr=0.1, max_iter=1000, warmup_iter=50)

    param: a solver, or what one is made of; no net is needed. iterations: how many;
        `max_iter` by default.

    Shapes: (iterations), float64.

    Raises `SpecError` for a policy that waits for losses or tests, and where neither
    `iterations` nor `max_iter` is given.
    """
    of_solver = getattr(param, "param", None)
    given = of_solver if isinstance(of_solver, SolverParameter) else param
    return rates_of(solver_of(given, fields)[0], iterations)


def rates_of(param: SolverParameter, iterations: int | None = None) -> np.ndarray:
    """Return what `rates` does, of the message of a solver."""
    policy = policy_of(param)
    if policy.name in _UNKNOWN:
        raise SpecError(
            f"solver: the rates of lr_policy {policy.name!r} follow from the "
            f"{_UNKNOWN[policy.name]} of a run; history.train has them afterwards"
        )
    if iterations is None and not param.HasField("max_iter"):
        raise SpecError("solver: max_iter is missing; say how many iterations")
    count = param.max_iter if iterations is None else iterations
    if not isinstance(count, int) or count < 0:
        raise SpecError(f"iterations is {count!r}; expected an integer from 0")
    found, steps = np.empty(count), 0
    for iteration in range(count):
        found[iteration] = policy.rate(iteration, steps)
        steps = policy.steps_at(iteration, steps)
    return found
