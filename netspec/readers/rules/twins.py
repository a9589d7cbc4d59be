"""Layers that compute the same as another one, which readers keep once."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from netspec.ops.base import fields_of
from netspec.readers.draft import Made, Place
from netspec.readers.forms import Form
from netspec.readers.rule import Rule, refused

_SAME_VALUES = ("Dropout", "Flatten", "Reshape", "Split")


# Fields of an op that are not its options.
_SHAPES = ("bottoms", "tops", "params", "macs")


def _work(place: Place) -> str:
    """Return what a layer does, whether its options are written or left out."""
    fields = fields_of(place.op).items()
    return repr((place.type, [each for each in fields if each[0] not in _SHAPES]))


def _are_equal(these: list[Any], others: list[Any]) -> bool:
    return len(these) == len(others) and all(
        np.array_equal(*pair) for pair in zip(these, others, strict=True)
    )


def _twins(place: Place) -> list[Place]:
    """Return the layers that compute the same of the same, this one among them.

    Readers look through a Reshape, and compute what is behind it only once.
    """
    groups: dict[Any, list[list[Place]]] = defaultdict(list)
    values: dict[str, Any] = {}  # by blob: what tells apart those of different values
    found = [place]
    for each in place.draft.places:
        sources = tuple(values.get(blob, blob) for blob in each.layer.bottom)
        alike = groups[_work(each), sources]
        group = next((x for x in alike if _are_equal(x[0].values, each.values)), None)
        if group is None or not sources:
            group = []
            alike.append(group)
        group.append(each)
        if each is place:
            found = group
        same = each.type in _SAME_VALUES
        for index, top in enumerate(each.layer.top):
            values[top] = sources[0] if same else (id(group), index)
    return found


def _is_output_with_twin(place: Place) -> bool:
    return (
        len(place.layer.top) == 1
        and len(place.layer.bottom) > 0
        and place.is_output()
        and len(_twins(place)) > 1
    )


def _behind_powers(place: Place) -> list[Made]:
    """Return the layer, with a copy of its top that no twin makes in the same way.

    Powers of 2 cancel without an error.
    """
    form = Form(place)
    y = form.again("one", place.layer, list(place.layer.bottom), place.arrays)
    number = next(n for n, each in enumerate(_twins(place)) if each is place)
    if number:
        y = form.power("copy", y, 2.0**number)
    return form.end(form.power("end", y, 2.0**-number))


RULES = (
    Rule(
        name="twin-output",
        types=(
            "AbsVal",
            "BatchNorm",
            "BNLL",
            "Concat",
            "Convolution",
            "Deconvolution",
            "ELU",
            "Eltwise",
            "Exp",
            "Flatten",
            "InnerProduct",
            "Log",
            "LRN",
            "Pooling",
            "PReLU",
            "Power",
            "Reduction",
            "ReLU",
            "Reshape",
            "Scale",
            "Sigmoid",
            "Softmax",
            "TanH",
            "Threshold",
        ),
        says="an output that another layer computes too",
        readers={"mnn": refused("keeps one of the two, and drops its output")},
        applies=_is_output_with_twin,
        rewrite=_behind_powers,
        instead="Power behind it, which passes it on",
    ),
)
