"""What a call of a layer function leaves behind: a `Function` and its `Top`s."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from numbers import Real
from typing import Any

from netspec.errors import SpecError
from netspec.language.scope import Scope
from netspec.ops.partial import PartialShape
from netspec.schema import NetParameter
from netspec.site import Site, user_site


class Function:
    """One call of a layer function.

    type_name: the layer type. inputs: the tops it reads. params: its options as they
    were written, without `ntop` and `in_place`; what is changed in there before
    `to_proto` counts. tops: what it makes. site: where it was written. scope: the call
    of a module that it is in, if any. share: which parameters, by place, are those of
    other calls. followers: calls without tops that go where this one goes. strict:
    whether what is wrong with it is an error, not a warning.
    """

    from_file = False  # whether it was read, so that its names are as they are

    __slots__ = (
        "followers",
        "in_place",
        "inputs",
        "ntop",
        "params",
        "scope",
        "share",
        "site",
        "strict",
        "tops",
        "type_name",
    )

    def __init__(
        self,
        type_name: str,
        inputs: Sequence[Top],
        params: dict[str, Any],
        *,
        ntop: int,
        in_place: bool,
        site: Site,
        scope: Scope | None = None,
        strict: bool = True,
    ) -> None:
        self.type_name = type_name
        self.inputs = tuple(inputs)
        self.params = params
        self.ntop = ntop
        self.in_place = in_place
        self.site = site
        self.scope = scope
        self.strict = strict
        self.share: dict[int, tuple[Function, int]] = {}
        self.followers: list[Function] = []
        self.tops = tuple(Top(self, n) for n in range(ntop))

    @property
    def fn(self) -> Function:
        """Itself, so that what makes no top can be treated like a top."""
        return self

    def writes_over(self, place: int) -> bool:
        """Tell whether the top at `place` has the blob of the bottom there."""
        return self.in_place and place < len(self.inputs)

    def __repr__(self) -> str:
        return f"<{self.type_name} of {self.site}, {self.ntop} tops>"


class Top:
    """One blob that a layer makes: what layer functions take and return.

    fn: the call that made it. n: which of its tops. shape: its sizes, None in the place
    of one that only a file tells, or None if not even their number is known. label: the
    name under which a NetSpec holds it, for messages; "" if none.

    Tops add, subtract, multiply, divide and raise to a power, with each other and with
    numbers: `n.a + n.b` is an Eltwise layer, `2 * n.a` a Power layer. A part along an
    axis, `n.a[:, 2:5]`, is a Slice layer.
    """

    __slots__ = ("fn", "label", "n", "shape")

    def __init__(self, fn: Function, n: int) -> None:
        self.fn = fn
        self.n = n
        self.shape: PartialShape | None = None
        self.label = ""

    def to_proto(self) -> NetParameter:
        """Return the net of this top and all that it needs."""
        from netspec.language.emit import to_proto

        return to_proto(self)

    def __repr__(self) -> str:
        shape = "unknown shape" if self.shape is None else f"shape {self.shape}"
        name = f" {self.label!r}" if self.label else ""
        return f"<Top{name} of {self.fn.type_name}, {self.fn.site}, {shape}>"

    def __iter__(self) -> Iterator[Top]:
        kind = self.fn.type_name
        raise NotSeveralTops(
            f"{describe(self.fn)}: makes {self.fn.ntop} top as it is written, which "
            f"cannot be unpacked at {user_site()}; for several, write "
            f"L.{kind}(..., ntop=2)"
        )

    def __getitem__(self, key: slice | tuple[slice, ...]) -> Top:
        from netspec.language.arithmetic import part

        return part(self, key)

    # NumPy leaves its scalars to the methods here, and refuses arrays.
    __array_ufunc__ = None

    def __add__(self, other: Top | float) -> Top:
        if isinstance(other, Top):
            return _layer("Eltwise", self, other, operation="SUM")
        return _power(self, other, lambda x: {"shift": x})

    def __radd__(self, other: float) -> Top:
        return _power(self, other, lambda x: {"shift": x})

    def __sub__(self, other: Top | float) -> Top:
        if isinstance(other, Top):
            return _layer("Eltwise", self, other, operation="SUM", coeff=[1, -1])
        return _power(self, other, lambda x: {"shift": -x})

    def __rsub__(self, other: float) -> Top:
        return _power(self, other, lambda x: {"scale": -1, "shift": x})

    def __mul__(self, other: Top | float) -> Top:
        if isinstance(other, Top):
            return _layer("Eltwise", self, other, operation="PROD")
        return _power(self, other, lambda x: {"scale": x})

    def __rmul__(self, other: float) -> Top:
        return _power(self, other, lambda x: {"scale": x})

    def __truediv__(self, other: Top | float) -> Top:
        if isinstance(other, Top):
            return self * other**-1
        return _power(self, other, lambda x: {"scale": 1 / x})

    def __rtruediv__(self, other: float) -> Top:
        return _power(self**-1, other, lambda x: {"scale": x})

    def __pow__(self, exponent: float) -> Top:
        return _power(self, exponent, lambda x: {"power": x})

    def __neg__(self) -> Top:
        return _layer("Power", self, scale=-1)

    def __abs__(self) -> Top:
        return _layer("AbsVal", self)


class NotSeveralTops(SpecError, TypeError):
    """One top where several are asked for."""


def describe(fn: Function, name: str = "") -> str:
    """Return how messages name a call: `layer 'conv1' (Convolution), lenet.py:12`."""
    name = name or str(fn.params.get("name") or next(labels(fn.tops), ""))
    who = f"layer {name!r} ({fn.type_name})" if name else f"{fn.type_name} layer"
    return f"{who}, {fn.site}"


def labels(tops: Iterable[Top]) -> Iterator[str]:
    """Return the names under which NetSpecs hold `tops`."""
    return (top.label for top in tops if top.label)


def _power(top: Top, number: Any, fields: Callable[[float], dict[str, Any]]) -> Top:
    """Return a Power layer with what `fields` makes of a number, NumPy's included."""
    if isinstance(number, bool) or not isinstance(number, Real):
        return NotImplemented  # type: ignore[no-any-return]
    return _layer("Power", top, **fields(_whole_or_float(number)))


def _whole_or_float(number: Any) -> float:
    return number if isinstance(number, int) else float(number)


def _layer(kind: str, *bottoms: Top, **fields: Any) -> Top:
    from netspec.language.record import layer

    top: Top = layer(kind, *bottoms, **fields)
    return top
