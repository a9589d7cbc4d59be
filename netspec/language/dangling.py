"""Blobs of a net with a loss that no layer reads and that are no predictions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netspec.catalogue import LAYER_TYPES
from netspec.language.calls import Top, describe
from netspec.schema import NetParameter
from netspec.site import warn_at

# What a net with a loss may well leave unread: measures and predictions.
_OUTPUTS = frozenset(
    (
        "Accuracy",
        "ArgMax",
        "DetectionEvaluate",
        "DetectionOutput",
        "LSTM",
        "Parameter",
        "Python",
        "RNN",
        "Sigmoid",
        "Softmax",
    )
)


def dangling(net: NetParameter, outputs: Iterable[Top]) -> Iterator[Top]:
    """Yield the `outputs` that a net with a loss hardly means to have.

    A net without a loss may have any outputs. What only a rule with a phase or a stage
    lets in is there to be looked at.
    """
    if not any(_is_loss(layer.type, layer.loss_weight) for layer in net.layer):
        return
    for top in outputs:
        fn = top.fn
        if _is_loss(fn.type_name, fn.params.get("loss_weight", ())):
            continue
        if fn.type_name in _OUTPUTS or fn.type_name not in LAYER_TYPES:
            continue
        if "include" not in fn.params:
            yield top


def _is_loss(kind: str, weights: object) -> bool:
    row = LAYER_TYPES.get(kind)
    if row is not None and row.auto_top:
        return True
    values = weights if isinstance(weights, Iterable) else (weights,)
    return any(values)


def warn_unused(top: Top, blob: str) -> None:
    """Warn of an output that is hardly meant to be one."""
    who = describe(top.fn, str(top.fn.params.get("name", blob)))
    warn_at(
        top.fn.site,
        f"{who}: no layer reads blob {blob!r}, so it is an output "
        f"of the net beside its losses; use it, delete it, or give it to L.Silence",
    )
