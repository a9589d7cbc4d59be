"""From a solver to its update rule, bound to the arrays of a net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netspec.errors import SpecError, did_you_mean
from netspec.graph import Parameter
from netspec.schema import SolverParameter
from runtime.arena import Flat
from runtime.backends import Backend
from runtime.update_rules import UPDATES, Settings, Update


def settings_of(param: SolverParameter, ranks: int = 1) -> Settings:
    """Read and check what the update rules need of a solver.

    ranks: how many processes add up their gradients.

    Raises `SpecError` listing every value that cannot be.
    """
    if param.type not in UPDATES:
        raise SpecError(
            f"solver: unknown type {param.type!r}{did_you_mean(param.type, UPDATES)}; "
            f"expected one of {', '.join(UPDATES)}"
        )
    rule = UPDATES[param.type]
    kind = param.regularization_type
    if param.weight_decay and kind not in {"L1", "L2"}:
        raise SpecError(
            f"solver: regularization_type is {kind!r}; expected 'L2' or 'L1'"
        )
    mistakes = []
    if not rule.takes_momentum and param.momentum != 0:
        mistakes.append(
            f"type {rule.type!r} has no momentum, so momentum must be 0, got "
            f"{param.momentum:g}; remove it"
        )
    for field in rule.decays:
        value = getattr(param, field)
        if not 0 <= value < 1:
            mistakes.append(f"{field} must be at least 0 and below 1, got {value:g}")
    if param.iter_size < 1:
        mistakes.append(f"iter_size must be at least 1, got {param.iter_size}")
    if mistakes:
        raise SpecError("solver: " + "; ".join(mistakes))
    return Settings(
        momentum=param.momentum,
        momentum2=param.momentum2,
        rms_decay=param.rms_decay,
        delta=param.delta,
        weight_decay=param.weight_decay,
        regularization_type=kind,
        clip_gradients=param.clip_gradients,
        iter_size=param.iter_size * ranks,
    )


def update_of(
    param: SolverParameter,
    flat: Flat,
    parameters: Sequence[Parameter],
    backend: Backend,
    precision: str = "float32",
    ranks: int = 1,
    macs: Mapping[int, int] | None = None,
) -> Update:
    """Return the rule of a solver's `type`, bound to the arrays of a net.

    macs: the multiply-adds of one pass forward, by parameter; see
        `runtime.gradient_looks.macs_of`.

    Where the backend can do it as one piece of work, it does.
    """
    settings = settings_of(param, ranks)
    update = UPDATES[param.type](flat, parameters, settings, backend)
    if macs is not None:
        update.look_for({index: one * param.iter_size for index, one in macs.items()})
    update.whole = backend.whole_update(update, precision)
    if update.whole is None:
        update.fused = backend.fused_update(update.type, update.blocks, settings)
    return update
