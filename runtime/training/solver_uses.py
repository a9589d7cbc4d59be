"""What reads each field of a solver, and telling where nothing does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from netspec.errors import SpecWarning
from netspec.schema import SolverParameter
from runtime.training.divergence import warn


@dataclass(frozen=True)
class Use:
    """What reads a field; without any of these everything does.

    types, policies, momenta: the words of `type`, `lr_policy` and `momentum_policy`
    that do. needs: the field without which it means nothing. instead: why it has no
    effect here, and what does.
    """

    types: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    momenta: tuple[str, ...] = ()
    needs: str = ""
    instead: str = ""


_TESTED = Use(needs="test_iter")
USES: Mapping[str, Use] = {
    "gamma": Use(
        policies=("step", "exp", "inv", "multistep", "sigmoid", "plateau", "stepearly")
    ),
    "power": Use(policies=("inv", "poly")),
    "stepsize": Use(policies=("step", "sigmoid", "exp10")),
    "stepvalue": Use(policies=("multistep",)),
    "stagelr": Use(policies=("multifixed",)),
    "stageiter": Use(policies=("multifixed",)),
    "plateau_winsize": Use(policies=("plateau",)),
    "stepearly": Use(policies=("stepearly",)),
    "restart_iter": Use(policies=("cosine",)),
    "restart_mult": Use(policies=("cosine",), needs="restart_iter"),
    "pct_start": Use(policies=("onecycle",)),
    "div_factor": Use(policies=("onecycle",)),
    "final_div_factor": Use(policies=("onecycle",)),
    "warmup_start_lr": Use(needs="warmup_iter"),
    "rampup_lr": Use(needs="rampup_interval"),
    "momentum": Use(types=("SGD", "Nesterov", "AdaDelta", "Adam")),
    "momentum2": Use(types=("Adam",)),
    "rms_decay": Use(types=("RMSProp",)),
    "delta": Use(types=("AdaGrad", "RMSProp", "AdaDelta", "Adam")),
    "max_momentum": Use(momenta=("poly", "opt", "onecycle")),
    "momentum_power": Use(momenta=("poly",)),
    "regularization_type": Use(needs="weight_decay"),
    "test_interval": _TESTED,
    "test_compute_loss": _TESTED,
    "test_initialization": _TESTED,
    "test_state": _TESTED,
    "ap_version": _TESTED,
    "show_per_class_result": _TESTED,
    "snapshot_diff": Use(instead="gradients are not stored"),
    "debug_info": Use(instead="net.blobs and net.params have all values and gradients"),
    "solver_mode": Use(instead="backend='cupy' computes on a GPU"),
    "device_id": Use(instead="backend='cupy:1' computes on the second GPU"),
    "layer_wise_reduce": Use(instead="one device trains"),
}


def unread(param: SolverParameter, names: Iterable[str]) -> list[str]:
    """Return what of these fields nothing reads, in sentences.

    One with its default value is not told.
    """
    said = []
    fields: Any = SolverParameter.DESCRIPTOR.fields_by_name
    for name in dict.fromkeys(names):
        use = USES.get(name)
        if use is None or name not in fields or not _given(param, name):
            continue
        if not use.instead and getattr(param, name) == fields[name].default_value:
            continue
        reason = _reason(use, param)
        if reason:
            said.append(f"{name} {reason}")
    return said


def _reason(use: Use, param: SolverParameter) -> str:
    for word, readers in (
        ("type", use.types),
        ("lr_policy", use.policies),
        ("momentum_policy", use.momenta),
    ):
        value = getattr(param, word)
        if readers and value not in readers:
            return f"is not read by {word} {value!r}, only by {' and '.join(readers)}"
    if use.instead:
        return f"has no effect here: {use.instead}"
    if use.needs and not _given(param, use.needs, above=True):
        return f"means nothing without {use.needs}"
    return ""


def _given(param: SolverParameter, name: str, *, above: bool = False) -> bool:
    """Tell whether a field is given; `above`: with a number above 0, if it has one."""
    value: Any = getattr(param, name)
    if not isinstance(value, int | float | str):
        return len(value) > 0
    if above and not isinstance(value, str):
        return value > 0
    return bool(param.HasField(name))


def _doubtful(param: SolverParameter) -> list[str]:
    """Return what is said of values by which parameters grow without bound."""
    said = []
    if param.base_lr < 0:
        said.append(
            f"base_lr is {param.base_lr:g}: below 0 training makes the loss larger"
        )
    if param.type in {"SGD", "Nesterov"} and not 0 <= param.momentum < 1:
        said.append(
            f"momentum is {param.momentum:g}: outside 0 to 1 updates do not die away"
        )
    if param.weight_decay < 0:
        said.append(
            f"weight_decay is {param.weight_decay:g}: below 0 it makes weights larger"
        )
    return said


def warn_of_unread(param: SolverParameter, names: Iterable[str], backend: str) -> None:
    """Warn of fields that somebody gave in Python and nothing reads.

    And, wherever they come from, of a `test_interval` without `test_iter` and of values
    that are hardly meant.
    """
    on_gpu = backend.startswith("cupy")
    as_asked = (param.solver_mode == SolverParameter.GPU) == on_gpu
    apart = {"test_interval", "solver_mode" if as_asked else ""}
    said = unread(param, [name for name in names if name not in apart])
    if param.test_interval > 0 and len(param.test_iter) == 0:
        said.append(
            f"test_interval is {param.test_interval}, but there is no test_iter, so "
            f"nothing is tested; say of how many batches: test_iter=10"
        )
    said += _doubtful(param)
    if said:
        warn("solver: " + "; ".join(said), SpecWarning)
