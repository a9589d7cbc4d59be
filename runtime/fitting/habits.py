"""Arguments that `fit` does not have, and users of other libraries give it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netspec.errors import SpecError, did_you_mean
from runtime.training.solver_fields import SolverFields

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
    "gpu": "backend='cupy'",
    "class_weight": "loss_param=dict(class_weighting=[...], "
    "weight_by_label_freqs=True) of L.SoftmaxWithLoss",
    "sample_weight": "nothing: weigh classes by loss_param of L.SoftmaxWithLoss, or "
    "write a loss of your own (netspec.layer)",
    "early_stopping": "callbacks=[runtime.callbacks.EarlyStopping('val_loss')]",
    "patience": "callbacks=[runtime.callbacks.EarlyStopping('val_loss', patience=...)]",
    "checkpoint": "callbacks=[runtime.callbacks.BestCheckpoint('best.caffemodel')], or "
    "out='folder' and snapshot=1",
    "scheduler": "solver=dict(lr_policy=..., ...)",
    "lr_scheduler": "solver=dict(lr_policy=..., ...)",
    "train_data": "data=...",
    "test_data": "validation=...",
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
