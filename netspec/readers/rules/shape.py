"""Layers that arrange values anew: Reshape, Flatten, Permute, Split."""

from __future__ import annotations

from netspec.readers.draft import Made, Place
from netspec.readers.rule import Rule, chain, copy, layer, refused, reshape, silent


def _has_part(place: Place) -> bool:
    """Tell whether a Reshape names a part of the axes only."""
    param = place.layer.reshape_param
    return param.axis != 0 or param.num_axes != -1


def _whole(place: Place) -> list[Made]:
    return chain(place, reshape("", place.bottoms[0], place.tops[0]))


def _is_scalar(place: Place) -> bool:
    return place.tops[0] == ()


def _scalar(place: Place) -> list[Made]:
    """Return layers that end without axes, by another way."""
    one = reshape("one", place.bottoms[0], (1,))
    return chain(place, one, ("", "Reduction", {}, ()))


def _one_axis(place: Place) -> list[Made]:
    return chain(place, reshape("", place.bottoms[0], (1,)))


def _unread(place: Place) -> list[int]:
    """Return the tops of a Split that no layer reads."""
    return [top for top in range(len(place.layer.top)) if place.is_output(top)]


def _split_without(place: Place) -> list[Made]:
    """Return the Split for the tops that are read, and a copy for each other."""
    unread = _unread(place)
    bottom, tops = place.layer.bottom[0], list(place.layer.top)
    kept = [top for index, top in enumerate(tops) if index not in unread]
    made = []
    if kept:
        made.append(Made(layer("Split", place.layer.name, [bottom], kept)))
    for index in unread:
        first = not kept and index == unread[0]
        name = place.layer.name if first else place.fresh(f"copy{index}")
        made.append(copy(name, bottom, tops[index]))
    return made


RULES = (
    Rule(
        name="reshape-part",
        types=("Reshape",),
        says="axis and num_axes",
        readers={
            "opencv": refused("refuses some of their values"),
            "mnn": silent("ignores them"),
            "ncnn": silent("ignores them"),
            "x2paddle": silent("ignores them"),
            "rknn": silent("takes the batch for one of them"),
        },
        applies=lambda place: _has_part(place) and not _is_scalar(place),
        rewrite=_whole,
        instead="all sizes",
    ),
    Rule(
        name="reshape-scalar-opencv",
        types=("Reshape",),
        says="a shape without axes",
        readers={"opencv": refused()},
        applies=_is_scalar,
        rewrite=_one_axis,
        instead="one axis of size 1",
    ),
    Rule(
        name="reshape-scalar-mnn",
        types=("Reshape",),
        says="a shape without axes",
        readers={"mnn": refused("ends the process")},
        applies=_is_scalar,
        rewrite=_scalar,
        instead="Reshape and Reduction",
    ),
    Rule(
        name="flatten-mnn",
        types=("Flatten",),
        says="Flatten",
        readers={"mnn": silent("appends axes of size 1, or takes other ones")},
        applies=lambda place: True,
        rewrite=_whole,
        instead="Reshape",
    ),
    Rule(
        name="flatten-part",
        types=("Flatten",),
        says="axis and end_axis",
        readers={
            "opencv": refused("refuses some of their values"),
            "ncnn": silent("ignores them"),
            "x2paddle": silent("ignores end_axis"),
            "rknn": silent("takes the batch for one of them"),
        },
        applies=lambda place: (
            place.op.axis != 1 or place.op.end_axis != len(place.bottoms[0]) - 1
        ),
        rewrite=_whole,
        instead="Reshape",
    ),
    Rule(
        name="split-output",
        types=("Split",),
        says="a top that no layer reads",
        readers={"opencv": refused("does not have it"), "mnn": refused("loses it")},
        applies=lambda place: bool(_unread(place)),
        rewrite=_split_without,
        instead="a copy",
    ),
)
