"""Inputs and outputs of the net: what readers lose, and how they name them."""

from __future__ import annotations

from netspec.readers.draft import Place
from netspec.readers.rule import Rule, refused, silent


def _is_named_by_another(place: Place) -> bool:
    """Tell whether an output is written in place over what is no input of the net."""
    return any(
        blob in place.layer.bottom and place.is_output(index)
        for index, blob in enumerate(place.layer.top)
    ) and not place.draft.overwritten_outputs(place)


RULES = (
    Rule(
        name="unread-input",
        types=("Input",),
        says="an input that no layer reads",
        readers={
            "opencv": refused("does not return it; remove it"),
            "mnn": refused("leaves it out; remove it"),
        },
        applies=lambda place: place.is_output(),
    ),
    Rule(
        name="output-in-place",
        types=(
            "AbsVal",
            "BatchNorm",
            "BNLL",
            "Dropout",
            "ELU",
            "Eltwise",
            "Exp",
            "Log",
            "Power",
            "PReLU",
            "ReLU",
            "Scale",
            "Sigmoid",
            "Softmax",
            "TanH",
            "Threshold",
        ),
        says="an output that layers in place write",
        readers={"mnn": silent("names it after the last of these layers")},
        applies=_is_named_by_another,
        edit=lambda place: place.draft.own_top(place),
        instead="another name for what it is made of, and its own for the output",
    ),
)
