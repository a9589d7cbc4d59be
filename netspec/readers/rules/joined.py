"""Layers that OpenCV joins with the one before them, and then computes wrongly."""

from __future__ import annotations

from netspec.ops.base import count
from netspec.readers.draft import Made, Place
from netspec.readers.forms import Form
from netspec.readers.rule import Rule, silent

# What OpenCV may look through when it joins two layers.
_PASSED = frozenset(("BatchNorm", "Dropout", "Power", "PReLU", "ReLU", "Scale"))
_SKIPPED = frozenset(("Dropout",))


def before(place: Place, passed: frozenset[str] = _PASSED) -> Place | None:
    """Return the layer that may be joined with one, None for an input of the net."""
    found = place.producer()
    while found is not None and found.type in passed and len(found.bottoms) == 1:
        found = found.producer()
    return None if found is None or found.type == "Input" else found


def comes_from_input(place: Place) -> bool:
    """Tell whether nothing that a layer could be joined with stands before it."""
    return before(place, _SKIPPED) is None


def _is_read_by_rows(place: Place) -> bool:
    """Tell whether factors of channels would be taken along the last axis."""
    source = before(place)
    if source is None or len(place.layer.bottom) > 1:
        return False
    return source.type == "InnerProduct" and len(source.tops[0]) > 2


def _is_affine(place: Place) -> bool:
    """Tell whether OpenCV joins a layer with a Power: one factor and term for all."""
    if place.type == "Power":
        return bool(place.layer.power_param.power == 1)
    return len(place.layer.bottom) == 1 and count(place.op.params[0].shape) == 1


def _is_behind_power(place: Place) -> bool:
    source = before(place, _SKIPPED)
    if source is None or source.type != "Power" or not _is_affine(place):
        return False
    param = source.layer.power_param
    return bool(param.power != 1 and param.shift == 0)


def _is_behind_groups(place: Place) -> bool:
    """Tell whether factors are joined with weights that lie by group."""
    source = before(place)
    if source is None or source.type != "Deconvolution":
        return False
    return bool(source.layer.convolution_param.group > 1)


def _apart(place: Place) -> list[Made]:
    """Return a Reshape to the same shape, and the layer."""
    form, shape = Form(place), place.bottoms[0]
    x = form.reshape("apart", form.x, (0, *shape[1:]))
    return form.end(form.again("one", place.layer, [x], place.arrays))


RULES = (
    Rule(
        name="joined-by-rows",
        types=("BatchNorm", "PReLU"),
        says="factors of channels behind InnerProduct of another axis",
        readers={"opencv": silent("takes them for those of its outputs")},
        applies=_is_read_by_rows,
        rewrite=_apart,
        instead="a Reshape between them, which keeps the shape",
    ),
    Rule(
        name="joined-with-power",
        types=("BatchNorm", "Power", "Scale"),
        says="a factor behind Power without a shift",
        readers={"opencv": silent("applies the factor before the power")},
        applies=_is_behind_power,
        rewrite=_apart,
        instead="a Reshape between them, which keeps the shape",
    ),
    Rule(
        name="joined-with-groups",
        types=("BatchNorm", "Scale"),
        says="factors of channels behind Deconvolution with groups",
        readers={"opencv": silent("takes weights of one group for those of others")},
        applies=_is_behind_groups,
        rewrite=_apart,
        instead="a Reshape between them, which keeps the shape",
    ),
)
