"""Parameter and DummyData: blobs whose values are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.readers.draft import Made, Place
from netspec.readers.forms import Form
from netspec.readers.rule import Rule, refused


def _constants(place: Place, values: Sequence[Any]) -> list[Made]:
    """Return the values as the weights of products with 1.

    The 1 is made of an input, as every layer needs a bottom.
    """
    form = Form(place)
    source = _input(place)
    blob = source.layer.top[0] if source is not None else ""
    x = form.reshape("input", blob, (1, 1, 1, -1))
    pool = {"pool": 0, "global_pooling": True}
    x = form.put("pixel", "Pooling", x, pooling_param=pool)
    one = form.power("one", x, 0, 1)
    tops = []
    for each in values:
        y = form.product("values", one, each.reshape(-1, 1))
        tops.append(form.reshape("shape", y, each.shape))
    return form.end(*tops)


def _input(place: Place) -> Place | None:
    """Return the first input before a layer that no layer works on in place."""
    places = place.draft.places
    before = places[: places.index(place)]
    written = {top for x in places if x.type != "Input" for top in x.layer.top}
    inputs = [x for x in before if x.type == "Input"]
    return next((x for x in inputs if x.layer.top[0] not in written), None)


def _parameter(place: Place) -> list[Made]:
    return _constants(place, place.values)


def _is_known(place: Place) -> bool:
    """Tell whether there is an input, and every pass has the same values."""
    fillers = place.op.data_filler if place.type == "DummyData" else ()
    constant = all(filler.type == "constant" for filler in fillers)
    return constant and _input(place) is not None


def _dummy(place: Place) -> list[Made]:
    tops = zip(place.tops, place.op.data_filler, strict=True)
    filled = [np.full(shape, filler.value, np.float32) for shape, filler in tops]
    return _constants(place, filled)


RULES = (
    Rule(
        name="parameter",
        types=("Parameter",),
        says="Parameter",
        readers={"opencv": refused("has none"), "mnn": refused("has none")},
        applies=_is_known,
        rewrite=_parameter,
        instead="InnerProduct of a 1 with its values",
        needs_values=True,
    ),
    Rule(
        name="dummy-constants",
        types=("DummyData",),
        says="DummyData of constants",
        readers={"opencv": refused("has none"), "mnn": refused("has none")},
        applies=_is_known,
        rewrite=_dummy,
        instead="InnerProduct of a 1 with its values",
        needs_values=True,
    ),
    Rule(
        name="constant-alone",
        types=("DummyData", "Parameter"),
        says="values that are random, or a net without an Input that keeps its own",
        readers={"opencv": refused("has none"), "mnn": refused("has none")},
        applies=lambda place: not _is_known(place),
    ),
)
