"""Inputs and outputs of the net: what readers lose, and how they name them."""

from __future__ import annotations

from netspec.catalogue import LAYER_TYPES
from netspec.readers.draft import Place
from netspec.readers.rule import Rule, refused, silent


def _is_named_by_another(place: Place) -> bool:
    """Tell whether an output is written in place over what is no input of the net."""
    return any(
        blob in place.layer.bottom and place.is_output(index)
        for index, blob in enumerate(place.layer.top)
    ) and not place.draft.overwritten_outputs(place)


def _has_name_of_blob(place: Place) -> bool:
    """Tell whether another layer writes a blob with the name of this layer."""
    name = place.layer.name
    return name not in place.layer.top and any(
        name in other.layer.top for other in place.draft.places
    )


def _has_other_name(place: Place) -> bool:
    (top,) = place.layer.top
    return (
        place.is_output() and top not in place.layer.bottom and place.layer.name != top
    )


def _name_after_top(place: Place) -> None:
    """Give a layer the name of its top, and a layer that has that another one."""
    top = place.layer.top[0]
    for other in place.draft.places:
        if other.layer.name == top:
            other.layer.name = place.draft.fresh(f"{top}_{other.type.lower()}")
    place.layer.name = top


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
    Rule(
        name="name-of-blob",
        types=tuple(LAYER_TYPES),
        says="a layer with the name of another layer's top",
        readers={"mnn": silent("gives that another name")},
        applies=_has_name_of_blob,
        edit=lambda place: setattr(
            place.layer, "name", place.fresh(place.type.lower())
        ),
        instead="another name for the layer",
    ),
    Rule(
        name="output-name",
        types=("Exp", "Log", "Power", "Reduction"),
        says="an output with another name than its layer",
        readers={"mnn": silent("names it after the layer")},
        applies=_has_other_name,
        edit=_name_after_top,
        instead="the name of the output for both",
    ),
)
