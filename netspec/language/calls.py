"""What a call of a layer function leaves behind: a `Function` and its `Top`s.

Calls know the call of the module that they are in, a `Scope`, and that knows them, so
they are described together.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from netspec.catalogue import LAYER_TYPES
from netspec.errors import SpecError, did_you_mean, layer_label
from netspec.language.arithmetic import Arithmetic
from netspec.schema import NetParameter
from netspec.schema.unread import UnreadField
from netspec.site import Site, user_site

if TYPE_CHECKING:
    from netspec.ops.partial import PartialShape


class Namespace:
    """What gives tops their names: what a `NetSpec` is to its calls.

    Its attributes are those names, so that what it keeps itself stands in its
    `__dict__`: `_parent` is the one that it is a folder of, with its name there, or
    None; `_scope` the call of a module in which it was made, or None.
    """


@dataclass(eq=False)
class Scope:
    """One call of a module.

    label: the name of the module's function. name: the one given by `name=`, or "".
    calls: what was recorded in it, in order, that of inner modules included. named: the
    tops to which a NetSpec made in it gave names. results: what it returned. outside:
    the tops among these that got their name outside. assigned: the NetSpec and the key
    under which its one result is. rename: makes the published name of a layer or blob
    of the name of the call and that in it.
    """

    label: str
    name: str
    site: Site
    parent: Scope | None
    calls: list[Function] = field(default_factory=list)
    named: dict[Top | Function, tuple[Namespace, str]] = field(default_factory=dict)
    results: tuple[Top | Function | Namespace, ...] = ()
    outside: set[Top | Function] = field(default_factory=set)
    assigned: tuple[Namespace, str] | None = None
    rename: Callable[[str, str], str] | None = None

    def path_part(self) -> str:
        """Return its part of the path of its layers, as far as it is known."""
        given = self.assigned[1] if self.assigned is not None else ""
        return self.name or given or self.label

    def chain(self) -> Iterator[Scope]:
        """Yield this scope and those around it, the innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent


_SERIAL = itertools.count()


class Function:
    """One call of a layer function.

    type_name: the layer type. inputs: the tops it reads. params: its options as they
    were written, without `ntop` and `in_place`; what is changed in there before
    `to_proto` counts. tops: what it makes. site: where it was written. scope: the call
    of a module that it is in, if any. serial: which call it is, counted over all; where
    two stand in the script shows by it. share: which parameters, by place, are those of
    other calls. followers: calls without tops that go where this one goes. strict:
    whether what is wrong with it is an error, not a warning. unread: fields of a binary
    file whose names nobody here knows. before: what `netspec.freeze` found, or None.
    """

    from_file = False  # whether it was read, so that its names are as they are

    __slots__ = (
        "before",
        "followers",
        "in_place",
        "inputs",
        "ntop",
        "params",
        "scope",
        "serial",
        "share",
        "site",
        "strict",
        "tops",
        "type_name",
        "unread",
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
        self.serial = next(_SERIAL)
        self.strict = strict
        self.share: dict[int, tuple[Function, int]] = {}
        self.followers: list[Function] = []
        self.unread: Sequence[UnreadField] = ()
        self.before: Any = None
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


class Top(Arithmetic):
    """One blob that a layer makes: what layer functions take and return.

    fn: the call that made it. n: which of its tops. shape: its sizes, None in the place
    of one that only a file tells, or None if not even their number is known. label: the
    name under which a NetSpec holds it, for messages; "" if none.

    Tops add, subtract, multiply, divide and raise to a power, with each other and with
    numbers: `n.a + n.b` is an Eltwise layer, `2 * n.a` a Power layer. A part along an
    axis, `n.a[:, 2:5]`, is a Slice layer.
    """

    __slots__ = ("fn", "label", "n", "shape")

    layer: ClassVar[Callable[..., Any]]  # netspec.language.record sets it
    write: ClassVar[Callable[..., NetParameter]]  # netspec.language.emit sets it

    def __init__(self, fn: Function, n: int) -> None:
        self.fn = fn
        self.n = n
        self.shape: PartialShape | None = None
        self.label = ""

    def to_proto(self) -> NetParameter:
        """Return the net of this top and all that it needs."""
        return Top.write(self)

    def described(self) -> str:
        """Return how messages name the call that made it."""
        return describe(self.fn)

    def __repr__(self) -> str:
        shape = "unknown shape" if self.shape is None else f"shape {self.shape}"
        name = f" {self.label!r}" if self.label else ""
        return f"<Top{name} of {self.fn.type_name}, {self.fn.site}, {shape}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        known = ("fn", "label", "n", "shape", "to_proto")
        layer = {each.lower(): each for each in LAYER_TYPES}.get(name.lower())
        if name in self.fn.params:
            hint = f"; an option is {name!r} of its fn.params"
        elif layer is not None:
            hint = f"; layers are functions: L.{layer}(...)"
        else:
            hint = did_you_mean(name, known) or f"; it has {', '.join(known)}"
        raise NoSuchAttribute(f"{user_site()}: a top has no {name!r}{hint}")

    def __iter__(self) -> Iterator[Top]:
        kind = self.fn.type_name
        raise NotSeveralTops(
            f"makes {self.fn.ntop} top as it is written, which "
            f"cannot be unpacked at {user_site()}; for several, write "
            f"L.{kind}(..., ntop=2)",
            layer=describe(self.fn),
        )


class NoSuchAttribute(SpecError, AttributeError):
    """An attribute that a top does not have."""


class NotSeveralTops(SpecError, TypeError):
    """One top where several are asked for."""


def describe(fn: Function, name: str = "") -> str:
    """Return how messages name a call: `layer 'conv1' (Convolution), lenet.py:12`."""
    name = name or str(fn.params.get("name") or next(labels(fn.tops), ""))
    return described(fn.type_name, name, fn.site, fn.scope)


def described(type_name: str, name: str, site: Site, scope: Scope | None = None) -> str:
    """Return how messages name a call of a type; name: "" where it has none.

    Of one in a module, with the path of that, and the place of the outermost call.
    """
    who = layer_label(name, type_name) if name else f"{type_name} layer"
    if scope is None:
        return f"{who}, {site}"
    around = list(scope.chain())
    path = "/".join(each.path_part() for each in reversed(around))
    return f"{who}, {site}, in {path!r} of {around[-1].site}"


def labels(tops: Iterable[Top]) -> Iterator[str]:
    """Return the names under which NetSpecs hold `tops`."""
    return (top.label for top in tops if top.label)
