"""Layers of several blobs: Concat, Slice, Eltwise, Crop, Tile."""

from __future__ import annotations

from typing import Any

from netspec.ops.base import count
from netspec.readers.draft import Made, Place
from netspec.readers.forms import Form
from netspec.readers.rule import Rule, copy, layer, refused, reshape, silent
from netspec.schema import LayerParameter

_ALL = ("opencv", "mnn", "ncnn", "openvino", "rknn", "x2paddle")

# ---------------------------------------------------------- Concat and Slice


def _names_axis_otherwise(place: Place) -> bool:
    return _param(place).HasField(f"{place.type.lower()}_dim")


def _counts_from_the_end(place: Place) -> bool:
    return _param(place).axis < 0


def _set_axis(place: Place) -> None:
    param = _param(place)
    if place.type != "Crop":
        param.ClearField(f"{place.type.lower()}_dim")
    param.axis = place.op.axis


def _param(place: Place) -> Any:
    return _param_of(place.layer)


def _param_of(layer: LayerParameter) -> Any:
    return getattr(layer, f"{layer.type.lower()}_param")


def _set_slice_points(place: Place) -> None:
    place.layer.slice_param.slice_point.extend(place.op.slice_point)


def _copy(place: Place) -> list[Made]:
    return [copy(place.layer.name, place.layer.bottom[0], place.layer.top[0])]


# ------------------------------------------------------------------ Eltwise


def _ignored_coeff(place: Place) -> bool:
    """Tell whether coeff is there, and changes nothing."""
    param = place.layer.eltwise_param
    used = place.op.operation == "SUM" and set(place.op.coeff) != {1}
    return bool(param.coeff) and not used


def _clear_coeff(place: Place) -> None:
    place.layer.eltwise_param.ClearField("coeff")


def _has_coeff(place: Place) -> bool:
    return bool(place.layer.eltwise_param.coeff) and not _ignored_coeff(place)


def _powers(place: Place) -> list[Made]:
    """Return a Power for each bottom with a coefficient, and the sum of them."""
    made, bottoms = [], []
    pairs = zip(place.layer.bottom, place.op.coeff, strict=True)
    for index, (bottom, coeff) in enumerate(pairs):
        if coeff != 1:
            name = place.fresh(f"term{index}")
            param = {"scale": coeff}
            made.append(Made(layer("Power", name, [bottom], [name], power_param=param)))
            bottom = name
        bottoms.append(bottom)
    return [*made, Made(layer("Eltwise", place.layer.name, bottoms, place.layer.top))]


def _by_twos(place: Place) -> list[Made]:
    """Return a layer for the first two bottoms, and one for each other."""
    blob, *others = place.layer.bottom
    param = {"operation": place.op.operation}
    made = []
    for index, bottom in enumerate(others):
        last = index == len(others) - 1
        name = place.layer.name if last else place.fresh(f"first{index + 2}")
        top = place.layer.top[0] if last else name
        made.append(
            Made(layer("Eltwise", name, [blob, bottom], [top], eltwise_param=param))
        )
        blob = top
    return made


def _is_in_place(place: Place) -> bool:
    return bool(set(place.layer.bottom) & set(place.layer.top))


def _again(place: Place) -> list[Made]:
    """Return the layer as it is; what it overwrites has got another name by now."""
    return [Made(place.layer)]


def _joins_channelwise(place: Place) -> bool:
    """Tell whether one layer follows that has a value for each channel, in few axes."""
    following = place.consumers()
    return (
        len(place.bottoms[0]) in (2, 3)
        and len(following) == 1
        and following[0].type in ("BatchNorm", "PReLU")
    )


def _before_reshape(place: Place) -> list[Made]:
    first = LayerParameter()
    first.CopyFrom(place.layer)
    (top,) = place.layer.top
    first.name = first.top[0] = place.fresh("joined")
    shape = place.tops[0]
    _, kind, options, _ = reshape("", shape, shape)
    last = layer(kind, place.layer.name, [first.top[0]], [top], **options)
    return [Made(first), Made(last)]


# ------------------------------------------------------------------ one axis


def _has_one_axis(place: Place) -> bool:
    return len(place.bottoms[0]) == 1


def _in_rows(place: Place) -> list[Made]:
    """Return the layer over bottoms of one row, and its tops with one axis again."""
    form: list[Made] = []
    rows = {}
    for blob, shape in zip(place.layer.bottom, place.bottoms, strict=True):
        if blob not in rows:
            rows[blob] = place.fresh("row")
            param = {"shape": {"dim": [1, *shape]}}
            form.append(_reshape(rows[blob], blob, rows[blob], param))
    changed = LayerParameter()
    changed.CopyFrom(place.layer)
    changed.name = place.fresh("rows")
    changed.bottom[:] = [rows[blob] for blob in place.layer.bottom]
    changed.top[:] = [place.fresh("part") for _ in place.layer.top]
    _param_of(changed).axis = 1
    form.append(Made(changed))
    for index, top in enumerate(place.layer.top):
        name = place.fresh("shape") if index else place.layer.name
        param = {"shape": {"dim": list(place.tops[index])}}
        form.append(_reshape(name, changed.top[index], top, param))
    return form


def _reshape(name: str, bottom: str, top: str, param: dict[str, Any]) -> Made:
    return Made(layer("Reshape", name, [bottom], [top], reshape_param=param))


MOST_AXES = 5  # of an Eltwise in OpenCV


def _in_two_axes(place: Place) -> list[Made]:
    """Return the Eltwise over blobs of two axes, and its top with all axes again."""
    form, shape = Form(place), place.bottoms[0]
    rows = {
        blob: form.reshape("row", blob, (0, count(shape[1:])))
        for blob in dict.fromkeys(place.layer.bottom)
    }
    bottoms = [rows[blob] for blob in place.layer.bottom]
    y = form.again("rows", place.layer, bottoms, ())
    return form.end(form.reshape("shape", y, (0, *shape[1:])))


# --------------------------------------------------------------------- Crop


def _lacks_offset(place: Place) -> bool:
    return not place.layer.crop_param.offset


def _set_offset(place: Place) -> None:
    place.layer.crop_param.offset.append(0)


def _cuts_channels(place: Place) -> bool:
    """Tell whether channels would be cut, if the axis were 1."""
    op = place.op
    x, like = place.bottoms
    return bool(op.axis > 1 and x[1:2] != like[1:2])


def _slices(place: Place) -> list[Made]:
    """Return a Slice for each axis that is cut; what they cut off is left."""
    op, blob = place.op, place.layer.bottom[0]
    x, y = place.bottoms[0], place.tops[0]
    axes = [axis for axis in range(len(x)) if x[axis] != y[axis]]
    if not axes:
        return _copy(place)
    made = []
    for axis in axes:
        last = axis == axes[-1]
        start, end = op.offset[axis], op.offset[axis] + y[axis]
        points = [point for point in (start, end) if 0 < point < x[axis]]
        kept = place.layer.top[0] if last else place.fresh("kept")
        tops = [place.fresh("rest") for _ in points]
        tops.insert(1 if start else 0, kept)
        name = place.layer.name if last else place.fresh("cut")
        param = {"axis": axis, "slice_point": points}
        made.append(Made(layer("Slice", name, [blob], tops, slice_param=param)))
        blob = kept
    return made


# --------------------------------------------------------------------- Tile


def _repeated(place: Place) -> list[Made]:
    op = place.op
    bottoms = list(place.layer.bottom) * op.tiles
    name, tops = place.layer.name, place.layer.top
    return [Made(layer("Concat", name, bottoms, tops, concat_param={"axis": op.axis}))]


RULES = (
    Rule(
        name="tile",
        types=("Tile",),
        says="Tile",
        readers={
            "opencv": refused("has no Tile of this form"),
            "mnn": refused("has no Tile"),
            "ncnn": silent("does not repeat anything"),
        },
        applies=lambda place: True,
        rewrite=_repeated,
        instead="Concat of the same blob",
    ),
    Rule(
        name="old-axis",
        types=("Concat", "Slice"),
        says="concat_dim or slice_dim",
        readers={
            "opencv": silent("takes axis 1"),
            "mnn": silent("takes axis 1"),
            "ncnn": silent("takes axis 1"),
            "openvino": silent("takes axis 1"),
        },
        applies=_names_axis_otherwise,
        edit=_set_axis,
        instead="axis",
    ),
    Rule(
        name="negative-axis-of-parts",
        types=("Concat", "Slice", "Crop"),
        says="an axis counted from the end",
        readers={
            name: silent("may take another axis, or refuse it") for name in _ALL[1:]
        },
        applies=_counts_from_the_end,
        edit=_set_axis,
        instead="the axis from the front",
    ),
    Rule(
        name="slice-points",
        types=("Slice",),
        says="no slice_point",
        readers={
            "opencv": silent("cuts into as many parts as other layers read"),
            **{name: refused("gives no result") for name in _ALL[1:]},
        },
        applies=lambda place: (
            len(place.layer.top) > 1 and not place.layer.slice_param.slice_point
        ),
        edit=_set_slice_points,
        instead="slice_point",
    ),
    Rule(
        name="slice-one",
        types=("Slice",),
        says="one top only",
        readers={"opencv": refused(), "mnn": refused("gives no result")},
        applies=lambda place: len(place.layer.top) == 1,
        rewrite=_copy,
        instead="a copy",
    ),
    Rule(
        name="concat-one",
        types=("Concat",),
        says="one bottom only",
        readers={
            "opencv": silent("lets a layer behind it change the bottom too"),
            "mnn": refused("takes it out of the net, and its blobs at the ends"),
        },
        applies=lambda place: len(place.layer.bottom) == 1,
        rewrite=_copy,
        instead="a copy",
    ),
    Rule(
        name="eltwise-no-coeff",
        types=("Eltwise",),
        says="coeff that changes nothing",
        readers={name: silent("may take it otherwise") for name in _ALL},
        applies=_ignored_coeff,
        edit=_clear_coeff,
        instead="nothing",
    ),
    Rule(
        name="eltwise-coeff",
        types=("Eltwise",),
        says="coeff",
        readers={
            "mnn": refused("knows 1 and -1 only"),
            "openvino": silent("ignores it, with three bottoms"),
            "x2paddle": silent("ignores it, with three bottoms"),
            "rknn": silent("ignores it"),
        },
        applies=_has_coeff,
        rewrite=_powers,
        instead="Power and a plain sum",
    ),
    Rule(
        name="eltwise-many",
        types=("Eltwise",),
        says="more than two bottoms",
        readers={"rknn": refused(), "x2paddle": refused()},
        applies=lambda place: len(place.layer.bottom) > 2,
        rewrite=_by_twos,
        instead="two at a time",
    ),
    Rule(
        name="eltwise-axes",
        types=("Eltwise",),
        says=f"more than {MOST_AXES} axes",
        readers={"opencv": refused()},
        applies=lambda place: len(place.bottoms[0]) > MOST_AXES,
        rewrite=_in_two_axes,
        instead="two axes between Reshape layers",
    ),
    Rule(
        name="eltwise-in-place",
        types=("Eltwise",),
        says="an Eltwise in place",
        readers={"mnn": silent("takes another blob for the one that it overwrites")},
        applies=_is_in_place,
        rewrite=_again,
        instead="a name of its own for its top",
    ),
    Rule(
        name="eltwise-before-channels",
        types=("Eltwise",),
        says="a BatchNorm or PReLU behind an Eltwise of two or three axes",
        readers={"opencv": silent("joins the two, and takes other channels")},
        applies=_joins_channelwise,
        rewrite=_before_reshape,
        instead="a Reshape between them",
    ),
    Rule(
        name="parts-of-one-axis",
        types=("Concat", "Slice", "Crop"),
        says="blobs of one axis",
        readers={"opencv": silent("has two axes for some of them")},
        applies=_has_one_axis,
        rewrite=_in_rows,
        instead="rows between Reshape layers",
    ),
    Rule(
        name="crop-offset",
        types=("Crop",),
        says="no offset",
        readers={"mnn": refused("loses the layer")},
        applies=_lacks_offset,
        edit=_set_offset,
        instead="offset: 0",
    ),
    Rule(
        name="crop-channels",
        types=("Crop",),
        says="another number of channels of the second bottom",
        readers={"ncnn": silent("cuts the channels too")},
        applies=_cuts_channels,
        rewrite=_slices,
        instead="Slice, whose rests are outputs",
    ),
)
