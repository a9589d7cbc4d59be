"""Arithmetic of tops, as layers: `n.a + n.b`, `2 * n.a`, and parts, `n.a[:, 2:5]`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

from netspec.errors import ShapeError, SpecError, shown
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

    def __add__(self, other: Any) -> Any:
        other = _operand(self, other, "+")
        if isinstance(other, Arithmetic):
            return self.layer("Eltwise", self, other, operation="SUM")
        return _power(self, other, lambda x: {"shift": x})

    def __radd__(self, other: Any) -> Any:
        return self + _operand(self, other, "+")

    def __sub__(self, other: Any) -> Any:
        other = _operand(self, other, "-")
        if isinstance(other, Arithmetic):
            return self.layer("Eltwise", self, other, operation="SUM", coeff=[1, -1])
        return _power(self, other, lambda x: {"shift": -x})

    def __rsub__(self, other: Any) -> Any:
        other = _operand(self, other, "-")
        if isinstance(other, Arithmetic):
            return other - self
        return _power(self, other, lambda x: {"scale": -1, "shift": x})

    def __mul__(self, other: Any) -> Any:
        other = _operand(self, other, "*")
        if isinstance(other, Arithmetic):
            return self.layer("Eltwise", self, other, operation="PROD")
        return _power(self, other, lambda x: {"scale": x})

    def __rmul__(self, other: Any) -> Any:
        return self * _operand(self, other, "*")

    def __truediv__(self, other: Any) -> Any:
        other = _operand(self, other, "/")
        if isinstance(other, Arithmetic):
            return self * other**-1
        if not other:
            raise _wrong_operand(self, other, "/", "expected another divisor than 0")
        return _power(self, other, lambda x: {"scale": 1 / x})

    def __rtruediv__(self, other: Any) -> Any:
        other = _operand(self, other, "/")
        if isinstance(other, Arithmetic):
            return other / self
        return _power(self**-1, other, lambda x: {"scale": x})

    def __pow__(self, exponent: Any) -> Any:
        exponent = _operand(self, exponent, "**")
        if isinstance(exponent, Arithmetic):
            fix = "expected a number; x ** y is exp(y log x), by L.Log and L.Exp"
            raise _wrong_operand(self, exponent, "**", fix)
        return _power(self, exponent, lambda x: {"power": x})

    def __rpow__(self, base: Any) -> Any:
        base = _operand(self, base, "**")
        if isinstance(base, Arithmetic) or base <= 0:
            fix = "expected a base above 0"
            raise _wrong_operand(self, base, "**", fix)
        return self.layer("Exp", self, base=_whole_or_float(base))

    def __matmul__(self, other: Any) -> Any:
        fix = "products of matrices are layers: L.InnerProduct(x, num_output=...)"
        raise _wrong_operand(self, other, "@", fix)

    __rmatmul__ = __matmul__

    def __lt__(self, other: Any) -> Any:
        fix = "values are known when the net runs; L.Threshold(x, threshold=...) tells"
        raise _wrong_operand(self, other, "a comparison", fix)

    __gt__ = __le__ = __ge__ = __lt__

    def __neg__(self) -> Any:
        return self.layer("Power", self, scale=-1)

    def __abs__(self) -> Any:
        return self.layer("AbsVal", self)


class WrongOperand(SpecError, TypeError):
    """Something else beside a top where a top or a number is expected."""


def _operand(top: Arithmetic, value: Any, sign: str) -> Any:
    """Return a top or a number for an operand; a NetSpec is its top `output`."""
    if not isinstance(value, Arithmetic):
        value = getattr(value, "output_top", None) or value
    if isinstance(value, Arithmetic):
        return value
    if _is_number(value):
        return value
    fix = "expected a top or a number"
    if hasattr(value, "shape"):
        fix += (
            "; an array is no part of a net, so feed it to an L.Input, or learn one: "
            "L.Parameter, L.Bias, L.Scale"
        )
    raise _wrong_operand(top, value, sign, fix)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _wrong_operand(top: Arithmetic, value: Any, sign: str, fix: str) -> WrongOperand:
    return WrongOperand(
        f"{user_site()}: {top.described()}: {sign} with {shown(value)}; {fix}"
    )


def _power(
    top: Arithmetic, number: Any, fields: Callable[[float], dict[str, Any]]
) -> Any:
    """Return a Power layer with what `fields` makes of a number, NumPy's included."""
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
    dots = [place for place, one in enumerate(keys) if one is Ellipsis]
    if dots:
        place = dots[0]
        axes = len(_shape(top, "an ellipsis")) - (len(keys) - 1)
        keys[place : place + 1] = [slice(None)] * axes
    for axis, one in enumerate(keys):
        if not isinstance(one, slice) or one.step not in (None, 1):
            whole = isinstance(one, int) and not isinstance(one, bool)
            end = ("" if one == -1 else one + 1) if whole else None
            fix = "use slices" if end is None else f"use {one}:{end}"
            raise SpecError(
                f"{user_site()}: {top.described()}: index {shown(one)} of axis {axis} "
                f"is no slice of step 1; {fix}"
            )
        wrong = [b for b in (one.start, one.stop) if not _is_bound(b)]
        if wrong:
            raise SpecError(
                f"{user_site()}: {top.described()}: bound {shown(wrong[0])} of axis "
                f"{axis} is no integer"
            )
    for axis, one in enumerate(keys):
        top = _along(top, axis, one)
    return top


def unstack(top: Any, axis: int = 0, size: int = 1) -> tuple[Any, ...]:
    """Return the parts of `top` along an axis, one after the other, of one Slice layer.

        for x in netspec.unstack(n.x, axis=1):    # each step of a sequence
            h = step(x, h)

    Shapes: x (..., T, ...) -> T / size parts (..., size, ...).

    top: a top, or a NetSpec, which stands for its top `output`. axis: which, from -axes
    to axes - 1. size: how much of the axis each part has. The axis stays, as it does
    for `n.x[:, t:t+1]`, which makes a Slice layer and a Silence layer each time.

    Raises `SpecError` for something else than a top or an axis, `ShapeError` where the
    size of the axis is not known or `size` does not divide it.
    """
    found = getattr(top, "output_top", None) if not isinstance(top, Arithmetic) else top
    if not isinstance(found, Arithmetic):
        raise SpecError(f"{user_site()}: unstack of {shown(top)}; expected a top")
    who = f"{user_site()}: {found.described()}"
    for name, value in (("axis", axis), ("size", size)):
        if value is None or not _is_bound(value):
            raise SpecError(f"{who}: {name} is {shown(value)}; expected an integer")
    shape = _shape(found, "unstack")
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"{who}: has shape {shape}, so no axis {axis}")
    whole = shape[axis]
    if whole is None:
        raise ShapeError(
            f"{who}: the size of axis {axis} of {shape} is not known, which unstack "
            f"needs; give the layer that makes it a shape"
        )
    if size < 1 or whole % size or not whole:
        raise ShapeError(
            f"{who}: axis {axis} of {shape} cannot be cut into parts of size {size}; "
            f"expected a divisor of {whole}"
        )
    count = whole // size
    if count == 1:
        return (found,)
    parts: tuple[Any, ...] = found.layer(
        "Slice", found, axis=int(axis) % len(shape), ntop=count
    )
    return parts


def _is_bound(value: Any) -> bool:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    return value is None or whole


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
