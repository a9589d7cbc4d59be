"""Reduction and ArgMax by other layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.ops.base import count
from netspec.readers.draft import Made, Place
from netspec.readers.forms import Form
from netspec.readers.rule import Rule, chain, power, refused, reshape, silent

LONGEST = 2**20  # values of one mean, so that their number is exact in float32


def _by_mean(place: Place) -> list[Made]:
    """Return the reduction as an average over one row of an image, times its length."""
    op, x = place.op, place.bottoms[0]
    rows, length = count(x[: op.axis]), count(x[op.axis :])
    steps: list[Any] = []
    if op.operation == "ASUM":
        steps.append(("abs", "AbsVal", {}, ()))
    if op.operation == "SUMSQ":
        steps.append(("square", "Power", {"power_param": {"power": 2.0}}, ()))
    steps.append(reshape("row", x, (rows, 1, 1, length)))
    window = {"pool": "AVE", "kernel_h": 1, "kernel_w": length}
    steps.append(("mean", "Pooling", {"pooling_param": window}, ()))
    factor = op.coeff * (1 if op.operation == "MEAN" else length)
    if factor != 1:
        steps.append(power("factor", factor))
    steps.append(reshape("shape", (rows,), place.tops[0] or (1,)))
    return chain(place, *steps)


def _coeff_behind(place: Place) -> list[Made]:
    op = place.op
    param = {"operation": op.operation, "axis": op.axis}
    return chain(
        place,
        ("sum", "Reduction", {"reduction_param": param}, ()),
        power("coeff", op.coeff),
    )


def _of_rows(place: Place) -> list[Made]:
    """Return the reduction of rows, which have no other axes."""
    op, x = place.op, place.bottoms[0]
    rows, length = x[: op.axis], count(x[op.axis :])
    param = {"operation": op.operation, "axis": min(1, op.axis), "coeff": op.coeff}
    shape = (count(rows), length) if rows else (length,)
    steps: list[Any] = [reshape("row", x, shape)]
    steps.append(("sum", "Reduction", {"reduction_param": param}, ()))
    if len(rows) > 1:
        steps.append(reshape("shape", (count(rows),), rows))
    return chain(place, *steps)


# ------------------------------------------------------------------ ArgMax

# What tells the largest from the others: 1 + STEEP * (x - largest) is 1 for it, and 0
# or less for any that is smaller by 1e-24. What was chosen is lowered by FAR, more than
# values differ; their product does not overflow.
STEEP, FAR = 1e24, 1e14
MAX_RANKS = 32  # of top_k, as each is a dozen layers


def _ranks(place: Place) -> list[Made]:
    """Return layers that choose the largest value, and take it out, top_k times."""
    op, x, form = place.op, place.bottoms[0], Form(place)
    axis = 1 if op.axis is None else op.axis
    outer, inner = count(x[:axis]), 1 if op.axis is None else count(x[axis + 1 :])
    classes = count(x) // (outer * inner)
    numbers = np.arange(classes, dtype=np.float32)
    rest = form.reshape("rest", form.x, (outer, classes, 1, inner))
    column: Any = np.ones((classes, 1, 1, 1), np.float32)
    places, values = [], []
    for rank in range(op.top_k):
        largest = _largest(form, rest, (outer, 1, classes, inner))
        values.append(largest)
        if rank + 1 == op.top_k and op.out_max_val and op.axis is not None:
            break
        below = form.both("below", "SUM", rest, _spread(form, largest, -column))
        is_it = form.put("one", "ReLU", form.power("steep", below, STEEP, 1))
        scale = {"axis": 1, "num_axes": 1, "bias_term": False}
        numbered = form.put("number", "Scale", is_it, [numbers], scale_param=scale)
        places.append(_largest(form, numbered, (outer, 1, classes, inner)))
        if rank + 1 < op.top_k:
            off = form.put("off", "AbsVal", _spread(form, places[-1], column, -numbers))
            chosen = form.put("chosen", "ReLU", form.power("near", off, -1, 1))
            rest = form.both("rest", "SUM", rest, form.power("far", chosen, -FAR))
    wanted = values if op.out_max_val and op.axis is not None else places
    if op.out_max_val and op.axis is None:
        wanted = places + values
    if len(wanted) > 1:
        wanted = [form.put("all", "Concat", wanted, concat_param={"axis": 1})]
    return form.end(form.reshape("shape", wanted[0], place.tops[0]))


def _largest(form: Form, x: str, shape: Sequence[int]) -> str:
    """Add the maximum over the axis of the classes, where shape has it as rows."""
    rows = form.reshape("rows", x, shape)
    window = {"pool": "MAX", "kernel_h": shape[2], "kernel_w": 1}
    return form.put("largest", "Pooling", rows, pooling_param=window)


def _spread(form: Form, x: str, factors: Any, terms: Any = None) -> str:
    """Add one channel times a factor (plus a term) for each class."""
    arrays = [factors] if terms is None else [factors, terms]
    param = {
        "num_output": len(factors),
        "kernel_size": [1],
        "bias_term": terms is not None,
    }
    return form.put("spread", "Convolution", x, arrays, convolution_param=param)


RULES = (
    Rule(
        name="argmax-by-layers",
        types=("ArgMax",),
        says="ArgMax",
        readers={
            "opencv": refused("has none"),
            "mnn": silent("returns other numbers, or another shape"),
        },
        applies=lambda place: place.op.top_k <= MAX_RANKS,
        rewrite=_ranks,
        instead="Pooling, Convolution and what tells the largest from the others",
        needs_values=True,
    ),
    Rule(
        name="reduction",
        types=("Reduction",),
        says="Reduction",
        readers={"opencv": refused("has no Reduction")},
        applies=lambda place: count(place.bottoms[0]) <= LONGEST,
        rewrite=_by_mean,
        instead="an average by Pooling, with one axis of size 1 for a scalar",
    ),
    Rule(
        name="reduction-coeff",
        types=("Reduction",),
        says="coeff",
        readers={"mnn": silent("ignores it"), "ncnn": silent("may ignore it")},
        applies=lambda place: place.op.coeff != 1,
        rewrite=_coeff_behind,
        instead="Reduction and Power",
    ),
    Rule(
        name="reduction-many-axes",
        types=("Reduction",),
        says="a blob of more than four axes",
        readers={"mnn": silent("reduces along other axes")},
        applies=lambda place: len(place.bottoms[0]) > 4,
        rewrite=_of_rows,
        instead="rows between two Reshape",
    ),
    Rule(
        name="reduction-axis",
        types=("Reduction",),
        says="an axis counted from the end",
        readers={"mnn": silent("takes another one")},
        applies=lambda place: place.layer.reduction_param.axis < 0,
        edit=lambda place: setattr(place.layer.reduction_param, "axis", place.op.axis),
        instead="the axis from the front",
    ),
)
