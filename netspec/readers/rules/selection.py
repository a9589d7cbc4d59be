"""Reduction and ArgMax by other layers."""

from __future__ import annotations

from typing import Any

from netspec.ops.base import count
from netspec.readers.draft import Made, Place
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


RULES = (
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
