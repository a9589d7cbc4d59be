"""What a solver takes that is made in Python and does not say it."""

from __future__ import annotations

from typing import Any

from netspec.errors import SpecError
from netspec.schema import SolverParameter
from runtime.training.lr_policy import POLICY_FIELDS

POLICY = "fixed"
# Caffe's default is 0 for all of them, which its own examples never use.
MOMENTUM = {"Nesterov": 0.9, "AdaDelta": 0.95, "Adam": 0.9}
# Fields that mean nothing without a policy that reads them.
_CLUES = (
    "gamma",
    "power",
    "stepsize",
    "stepvalue",
    "stagelr",
    "stageiter",
    "plateau_winsize",
    "stepearly",
)


def fill(param: SolverParameter) -> None:
    """Give a solver what it does not say: a policy, and the momentum of its type.

    That is `lr_policy: "fixed"`, and a momentum of 0.9 for Adam and Nesterov and of
    0.95 for AdaDelta. Raises `SpecError` where `base_lr` is missing, and where there
    are fields of other policies, but none is named.
    """
    if not param.HasField("lr_policy"):
        clues = [field for field in _CLUES if given(param, field)]
        if clues:
            raise SpecError(
                f"solver: {' and '.join(clues)} {'is' if len(clues) == 1 else 'are'} "
                f"given, but no lr_policy that reads them; "
                f"{_policies_with(clues)}"
            )
        param.lr_policy = POLICY
    needed = POLICY_FIELDS.get(param.lr_policy, ())
    if "base_lr" in needed and not param.HasField("base_lr"):
        raise SpecError(
            "solver: base_lr, the learning rate, is missing; often base_lr=0.01 does "
            "with momentum=0.9, and base_lr=0.001 with type='Adam'"
        )
    if param.type in MOMENTUM and not param.HasField("momentum"):
        param.momentum = MOMENTUM[param.type]


def given(param: SolverParameter, field: str) -> bool:
    """Tell whether a solver has a field, or a value in a list."""
    value: Any = getattr(param, field)
    if isinstance(value, int | float | str | bool):
        return bool(param.HasField(field))
    return len(value) > 0


def _policies_with(clues: list[str]) -> str:
    names = [
        repr(name)
        for name, fields in POLICY_FIELDS.items()
        if set(clues) <= {*fields, *(("power",) if name in {"inv", "poly"} else ())}
    ]
    return f"say lr_policy={' or '.join(names) or '...'}"
