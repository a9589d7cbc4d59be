"""Arguments that `fit` does not have, and users of other libraries give it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from netspec.errors import SpecError, did_you_mean
from runtime.training.solver_fields import SolverFields

CallT = TypeVar("CallT", bound=Callable[..., Any])

# What others call it, and what it is here.
ELSEWHERE: Mapping[str, str] = {
    "validation_data": "validation=(x, y)",
    "validation_split": "validation=0.2",
    "valid": "validation=(x, y)",
    "verbose": "progress=True or False",
    "initial_epoch": "resume=..., or a history in the place of the net",
    "steps_per_epoch": "max_iter, or data that end after an epoch",
    "learning_rate": "solver=dict(base_lr=...)",
    "lr": "solver=dict(base_lr=...)",
    "optimizer": "solver=dict(type='Adam', base_lr=0.001)",
    "loss": "a loss layer in the net, such as L.SoftmaxWithLoss",
    "metrics": "layers in the net, such as L.Accuracy(..., include='TEST')",
    "x": "data=(x, y)",
    "y": "data=(x, y)",
    "augment": "transform=...",
    "num_workers": "nothing: threads are started where they pay",
    "device": "backend='cupy'",
}


def refuse_strange(
    others: Sequence[Any], unknown: Mapping[str, Any], known: Sequence[str]
) -> None:
    """Refuse more arguments by place, and those by names that there are not.

    Raises `SpecError` that says what to write.
    """
    if others:
        raise SpecError(
            "fit takes the data as one argument: write fit(net, (x, y), ...), and "
            "everything else by its name"
        )
    for name in unknown:
        if name in ELSEWHERE:
            way = f"; here it is {ELSEWHERE[name]}"
        elif name in SolverFields.__annotations__:
            way = f"; it is a field of the solver: write solver=dict({name}=..., ...)"
        else:
            way = did_you_mean(name, known)
        raise SpecError(f"fit has no argument {name!r}{way}")


def told_without_strange(call: CallT) -> CallT:
    """Give a function a signature without what only `refuse_strange` looks at."""
    own = inspect.signature(call)
    hidden = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    kept = [one for one in own.parameters.values() if one.kind not in hidden]
    call.__signature__ = own.replace(parameters=kept)  # type: ignore[attr-defined]
    return call
