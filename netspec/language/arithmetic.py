"""Arithmetic of tops, as layers: `n.a + n.b`, `2 * n.a`, and parts, `n.a[:, 2:5]`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Self

from netspec.errors import ShapeError, SpecError
from netspec.site import user_site

if TYPE_CHECKING:
    from netspec.ops.partial import PartialShape


class Arithmetic:
    """What can be calculated with; it has Python's operators.

    Required of a subclass: `layer(type, *bottoms, **options)`, which calls a layer
    type, `shape`, and `described()`, which names the value in messages.
    """

    __slots__ = ()

    layer: ClassVar[Callable[..., Any]]
    shape: PartialShape | None

    @abstractmethod
    def described(self) -> str:
        """Return how messages name what made it."""

    def __getitem__(self, key: slice | tuple[slice, ...]) -> Any:
        return part(self, key)

    # NumPy leaves its scalars to the methods here, and refuses arrays.
    __array_ufunc__ = None

    def __add__(self, other: Self | float) -> Any:
        if isinstance(other, Arithmetic):
            return self.layer("Eltwise", self, other, operation="SUM")
        return _power(self, other, lambda x: {"shift": x})

    def __radd__(self, other: float) -> Any:
        return _power(self, other, lambda x: {"shift": x})

    def __sub__(self, other: Self | float) -> Any:
        if isinstance(other, Arithmetic):
            return self.layer("Eltwise", self, other, operation="SUM", coeff=[1, -1])
        return _power(self, other, lambda x: {"shift": -x})

    def __rsub__(self, other: float) -> Any:
        return _power(self, other, lambda x: {"scale": -1, "shift": x})

    def __mul__(self, other: Self | float) -> Any:
        if isinstance(other, Arithmetic):
            return self.layer("Eltwise", self, other, operation="PROD")
        return _power(self, other, lambda x: {"scale": x})

    def __rmul__(self, other: float) -> Any:
        return _power(self, other, lambda x: {"scale": x})

    def __truediv__(self, other: Self | float) -> Any:
        if isinstance(other, Arithmetic):
            return self * other**-1
        return _power(self, other, lambda x: {"scale": 1 / x})

    def __rtruediv__(self, other: float) -> Any:
        return _power(self**-1, other, lambda x: {"scale": x})

    def __pow__(self, exponent: float) -> Any:
        return _power(self, exponent, lambda x: {"power": x})

    def __neg__(self) -> Any:
        return self.layer("Power", self, scale=-1)

    def __abs__(self) -> Any:
        return self.layer("AbsVal", self)


def _power(
    top: Arithmetic, number: Any, fields: Callable[[float], dict[str, Any]]
) -> Any:
    """Return a Power layer with what `fields` makes of a number, NumPy's included."""
    if isinstance(number, bool) or not isinstance(number, Real):
        return NotImplemented
    return top.layer("Power", top, **fields(_whole_or_float(number)))


def _whole_or_float(number: Any) -> float:
    return number if isinstance(number, int) else float(number)


def part(top: Arithmetic, key: Any) -> Any:
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
                f"{user_site()}: {top.described()}: index {one!r} of axis {axis} is "
                f"no slice of step 1; {fix}"
            )
    for axis, one in enumerate(keys):
        top = _along(top, axis, one)
    return top


def _shape(top: Arithmetic, why: str) -> PartialShape:
    if top.shape is None:
        raise _not_known(top, why)
    return top.shape


def _not_known(top: Arithmetic, why: str) -> ShapeError:
    return ShapeError(
        f"{user_site()}: {top.described()}: its shape is not known, which {why} "
        f"needs; write both bounds as numbers from 0"
    )


def _along(top: Arithmetic, axis: int, key: slice) -> Any:
    if top.shape is not None and axis >= len(top.shape):
        raise ShapeError(
            f"{user_site()}: {top.described()}: has shape {top.shape}, so no axis "
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
            f"{user_site()}: {top.described()}: {start}:{end} is no part of axis "
            f"{axis}{has}"
        )
    points = [point for point in (start, stop) if point and point != size]
    if not points:
        return top
    parts = top.layer("Slice", top, axis=axis, slice_point=points, ntop=len(points) + 1)
    place = 1 if start else 0
    rest = [each for number, each in enumerate(parts) if number != place]
    parts[place].fn.followers.append(top.layer("Silence", *rest))
    return parts[place]


def _from_zero(top: Arithmetic, bound: int, size: int | None) -> int:
    if bound >= 0:
        return bound
    if size is None:
        raise _not_known(top, "a negative bound")
    return bound + size
