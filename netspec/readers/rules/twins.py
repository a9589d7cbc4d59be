"""Layers that compute the same as another one, which readers keep once."""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.readers.draft import Made, Place
from netspec.readers.forms import Form
from netspec.readers.rule import Rule, refused
from netspec.schema import LayerParameter

_SAME_VALUES = ("Dropout", "Flatten", "Reshape", "Split")


def _work(place: Place) -> LayerParameter:
    """Return what a layer does, without the names of itself and its blobs."""
    work = LayerParameter()
    work.CopyFrom(place.layer)
    for name in ("name", "bottom", "top"):
        work.ClearField(name)  # type: ignore[arg-type]
    return work


def _source(place: Place, slot: int) -> tuple[int, str]:
    """Return where the values of a bottom were made: their layer, and its top.

    Readers look through a Reshape, and compute what is behind it only once.
    """
    blob, maker = place.layer.bottom[slot], place.producer(slot)
    while maker is not None and maker.type in _SAME_VALUES:
        blob, maker = maker.layer.bottom[0], maker.producer(0)
    return id(maker), blob


def _sources(place: Place) -> list[tuple[int, str]]:
    return [_source(place, slot) for slot in range(len(place.layer.bottom))]


def _are_equal(these: list[Any], others: list[Any]) -> bool:
    return len(these) == len(others) and all(
        np.array_equal(*pair) for pair in zip(these, others, strict=True)
    )


def _twins(place: Place) -> list[Place]:
    """Return the layers that compute the same of the same, this one among them."""
    work, sources = _work(place), _sources(place)
    return [
        other
        for other in place.draft.places
        if other.type == place.type
        and _work(other) == work
        and _sources(other) == sources
        and _are_equal(place.values, other.values)
    ]


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
