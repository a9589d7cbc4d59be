"""Layers of several blobs: Concat, Slice, Eltwise, Crop, Tile."""

from __future__ import annotations

from netspec.readers.draft import Made, Place
from netspec.readers.rule import Rule, copy, layer, refused, silent

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
    param.axis = place.options.axis


def _param(place: Place):  # type: ignore[no-untyped-def]
    return getattr(place.layer, f"{place.type.lower()}_param")


def _set_slice_points(place: Place) -> None:
    place.layer.slice_param.slice_point.extend(place.options.slice_point)


def _copy(place: Place) -> list[Made]:
    return [copy(place.layer.name, place.layer.bottom[0], place.layer.top[0])]


# ------------------------------------------------------------------ Eltwise


def _ignored_coeff(place: Place) -> bool:
    """Tell whether coeff is there, and changes nothing."""
    param = place.layer.eltwise_param
    used = place.options.operation == "SUM" and set(place.options.coeff) != {1}
    return bool(param.coeff) and not used


def _clear_coeff(place: Place) -> None:
    place.layer.eltwise_param.ClearField("coeff")


def _has_coeff(place: Place) -> bool:
    return bool(place.layer.eltwise_param.coeff) and not _ignored_coeff(place)


def _powers(place: Place) -> list[Made]:
    """Return a Power for each bottom with a coefficient, and the sum of them."""
    made, bottoms = [], []
    pairs = zip(place.layer.bottom, place.options.coeff, strict=True)
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
    param = {"operation": place.options.operation}
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


# --------------------------------------------------------------------- Crop


def _lacks_offset(place: Place) -> bool:
    return not place.layer.crop_param.offset


def _set_offset(place: Place) -> None:
    place.layer.crop_param.offset.append(0)


def _cuts_channels(place: Place) -> bool:
    """Tell whether channels would be cut, if the axis were 1."""
    op = place.options
    x, like = place.bottoms
    return bool(op.axis > 1 and x[1:2] != like[1:2])


def _slices(place: Place) -> list[Made]:
    """Return a Slice for each axis that is cut; what they cut off is left."""
    op, blob = place.options, place.layer.bottom[0]
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
    op = place.options
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
            "openvino": refused(),
        },
        applies=_names_axis_otherwise,
        edit=_set_axis,
        instead="axis",
    ),
    Rule(
        name="negative-axis",
        types=("Concat", "Slice", "Crop"),
        says="an axis counted from the end",
        readers={name: silent("may take another axis, or refuse it") for name in _ALL},
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
