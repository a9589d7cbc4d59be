"""`top[:, 2:5]`: parts of a blob along its axes, as Slice layers."""

from __future__ import annotations

from typing import Any

from netspec.errors import ShapeError, SpecError
from netspec.language.calls import Top, describe
from netspec.ops.partial import PartialShape
from netspec.site import user_site


def part(top: Top, key: Any) -> Top:
    """Return a part of `top`; `key` has a slice for every axis, as in NumPy.

    A Slice layer divides the blob at the ends of the part; what is left over goes to a
    Silence layer. Negative bounds and open ends need the shape of `top` to be known.

    Raises `SpecError` for anything but slices of step 1, `ShapeError` for an empty part
    or one beyond the end.
    """
    keys = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in keys:
        place = keys.index(Ellipsis)
        axes = len(_shape(top, "an ellipsis")) - (len(keys) - 1)
        keys[place : place + 1] = [slice(None)] * axes
    for axis, one in enumerate(keys):
        if not isinstance(one, slice) or one.step not in (None, 1):
            end = "" if one == -1 else one + 1 if isinstance(one, int) else None
            fix = "use slices" if end is None else f"use {one}:{end}"
            raise SpecError(
                f"{user_site()}: {describe(top.fn)}: index {one!r} of axis {axis} is "
                f"no slice of step 1; {fix}"
            )
    for axis, one in enumerate(keys):
        top = _along(top, axis, one)
    return top


def _shape(top: Top, why: str) -> PartialShape:
    if top.shape is None:
        raise _not_known(top, why)
    return top.shape


def _not_known(top: Top, why: str) -> ShapeError:
    return ShapeError(
        f"{user_site()}: {describe(top.fn)}: its shape is not known, which {why} "
        f"needs; write both bounds as numbers from 0"
    )


def _along(top: Top, axis: int, key: slice) -> Top:
    from netspec.language.record import layer

    if top.shape is not None and axis >= len(top.shape):
        raise ShapeError(
            f"{user_site()}: {describe(top.fn)}: has shape {top.shape}, so no axis "
            f"{axis}"
        )
    size = None if top.shape is None else top.shape[axis]
    start, stop = _from_zero(top, key.start or 0, size), key.stop
    if stop is not None:
        stop = _from_zero(top, stop, size)
    end = size if stop is None else stop
    if start < 0 or (end is not None and (end <= start or (size or end) < end)):
        has = "" if size is None else f", which has {size} elements"
        raise ShapeError(
            f"{user_site()}: {describe(top.fn)}: {start}:{end} is no part of axis "
            f"{axis}{has}"
        )
    points = [point for point in (start, stop) if point and point != size]
    if not points:
        return top
    parts = layer("Slice", top, axis=axis, slice_point=points, ntop=len(points) + 1)
    place = 1 if start else 0
    rest = [each for number, each in enumerate(parts) if number != place]
    parts[place].fn.followers.append(layer("Silence", *rest))
    result: Top = parts[place]
    return result


def _from_zero(top: Top, bound: int, size: int | None) -> int:
    if bound >= 0:
        return bound
    if size is None:
        raise _not_known(top, "a negative bound")
    return bound + size
