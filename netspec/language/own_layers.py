"""Layers defined in Python: a class of fields, or functions, as a layer function.

@netspec.layer
class Swish:
    start: float = 1.0
    w = netspec.learned(lambda self, x: (x[1],), filler=lambda self: self.start)

    def forward(self, c, x): ...
    def backward(self, c, dy): ...

n.act = Swish(n.conv, start=0.5)     # a Python layer, its fields as JSON
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

from netspec.catalogue import LAYER_TYPES
from netspec.errors import SpecError, shown
from netspec.language.argument_types import Tops
from netspec.language.calls import described
from netspec.language.options import LAYER_FIELDS, own_param
from netspec.language.record import layer as call_by_name
from netspec.language.record import record
from netspec.ops.own_layer import DEFINED, Definition, Filler, Learned, filler_of
from netspec.site import user_site, warn_at

_COMMON = frozenset([*LAYER_FIELDS, "ntop", "in_place", "share"])


class OwnLayer:
    """A layer function made of a class: call it with tops and fields.

    definition: what the runtime and `netspec.summarize` know of the class.
    """

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        kind = definition.kind
        self.__name__ = kind.__name__
        self.__qualname__ = definition.name
        self.__module__ = definition.module
        self.__doc__ = kind.__doc__
        own = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(field),
                annotation=definition.types.get(field.name, field.type),
            )
            for field in definition.fields
        ]
        bottoms = inspect.Parameter("bottoms", inspect.Parameter.VAR_POSITIONAL)
        common = inspect.Parameter("common", inspect.Parameter.VAR_KEYWORD)
        self.__signature__ = inspect.Signature([bottoms, *own, common])
        DEFINED[definition.module, definition.name] = definition

    def __call__(self, *bottoms: Any, **fields: Any) -> Tops:
        """Call the layer: its fields, and the options that all layers have."""
        definition = self.definition
        names = {field.name for field in definition.fields}
        # A word that is neither is the class's to refuse, with its own names.
        given = {k: v for k, v in fields.items() if k in names or k not in _COMMON}
        options = {k: v for k, v in fields.items() if k not in given}
        options["module"], options["layer"] = definition.module, definition.name
        try:
            options["param_str"] = definition.write(given)
        except SpecError as error:
            name = str(options.get("name") or "")
            who = described(definition.title, name, user_site())
            raise error.replaced(layer=who) from None
        if definition.ntop != 1:
            options.setdefault("ntop", definition.ntop)
        if definition.loss:
            options.setdefault("loss_weight", 1)
        specs = [
            {"lr_mult": one.lr_mult, "decay_mult": one.decay_mult}
            for one in definition.learned.values()
        ]
        if any(spec != {"lr_mult": 1, "decay_mult": 1} for spec in specs):
            options.setdefault("param", specs)
        return record("Python", bottoms, options)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        """Let a class derive from the one that this is made of."""
        return (self.definition.kind,)

    def backward(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Give a layer made of a function its gradient; a decorator."""
        return self._add("backward", function)

    def shapes(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Give a layer made of a function the shapes of its tops; a decorator."""
        return self._add("shapes", function)

    def _add(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        wanted = [field.name for field in self.definition.fields]
        if not hasattr(self.definition.kind, "_of_function"):
            raise SpecError(
                f"{self.__name__} is made of a class; write its method {name} there"
            )
        if _options(function) != wanted:
            raise SpecError(
                f"{name} of {self.__name__} has the options {_options(function)}; "
                f"expected {wanted}, those of the function"
            )
        setattr(self.definition.kind, name, _method(function))
        return function

    def __repr__(self) -> str:
        return f"<layer {self.__module__}.{self.__qualname__}{self.__signature__}>"


def learned(
    shape: Callable[..., Sequence[int]],
    *,
    filler: Filler | Callable[[Any], Filler] = 0.0,
    lr_mult: float = 1.0,
    decay_mult: float = 1.0,
) -> Any:
    """Declare an array that a layer learns; the class keeps it under its name.

    shape: a function of the instance and the shapes of the bottoms, as in
        `lambda self, x: (x[1],)`.
    filler: a constant, a type such as "xavier", the fields of a filler, or a function
        of the instance that returns one of these.
    lr_mult, decay_mult: what the learning rate and the weight decay are multiplied by;
        `param=` of a call says otherwise.
    """
    if not callable(shape):
        raise SpecError(
            f"learned got {shown(shape)}; expected a function that returns the "
            f"shape, as in learned(lambda self, x: (x[1],))"
        )
    if not callable(filler):
        filler_of(filler)
    return Learned(shape, filler, lr_mult, decay_mult)


@overload
def layer(kind: str, /, *bottoms: Any, **fields: Any) -> Tops: ...


@overload
def layer(kind: Callable[..., Any], /) -> OwnLayer: ...


@overload
def layer(
    *, loss: bool = False, ntop: int = 1
) -> Callable[[Callable[..., Any]], OwnLayer]: ...


def layer(kind: Any = None, /, *bottoms: Any, **fields: Any) -> Any:
    """Make a class or a function a layer; or call a layer type by its name.

    A class is made a frozen dataclass, whose annotated fields are the layer's options:
    numbers, texts, and lists of them. It has

        forward(self, c, *x)      returns the top, or as many as there are
        backward(self, c, *dy)    returns the gradient of the bottom, or one for each
        shapes(self, *x)          returns the shape of the top, or a list of shapes

    where `x` are arrays, in `shapes` their shapes. Without `shapes` the top is shaped
    as the first bottom; without `backward` there is no gradient. `c` is described in
    `runtime.Call`: the module of arrays `c.xp`, learned arrays, random numbers.

    A function `f(c, *x, *, option=...)` is such a class with `forward` only;
    `@f.shapes` and `@f.backward` add the rest, with the same options.

    Called with options only it returns a decorator. loss: whether the top counts with
    weight 1. ntop: how many tops there are.

    With a text it calls a layer type by its name, also one that is not in the
    catalogue: `layer("Foo", n.x, foo_param=dict(...))`. Options of an unknown type go
    into the message of that name if there is one.

    Raises `SpecError` for a class without `forward`, for a field that all layers have,
    and for whatever is wrong with a call.
    """
    if isinstance(kind, str):
        from netspec.text.near import near_miss

        near = near_miss(kind, LAYER_TYPES)
        if near is not None and own_param(kind) is None:
            warn_at(
                user_site(),
                f"{kind} is a type that nobody here knows; did you mean {near!r}?",
            )
        return call_by_name(kind, *bottoms, **fields)
    unknown = sorted(fields.keys() - {"loss", "ntop"})
    if unknown or bottoms:
        raise SpecError(
            f"netspec.layer of a class takes loss and ntop; got "
            f"{', '.join(unknown) or bottoms}"
        )
    if kind is None:
        return lambda kind: _define(kind, **fields)
    return _define(kind)


def _define(kind: Any, *, loss: bool = False, ntop: int = 1) -> OwnLayer:
    if inspect.isfunction(kind):
        kind = _class_of(kind)
    if not isinstance(kind, type):
        raise SpecError(
            f"netspec.layer got {shown(kind)}; expected a class, a function, or the "
            f"name of a layer type"
        )
    if not callable(getattr(kind, "forward", None)):
        raise SpecError(
            f"class {kind.__name__} has no method forward; write forward(self, c, *x)"
        )
    found = {
        name: one
        for base in reversed(kind.__mro__)
        for name, one in vars(base).items()
        if isinstance(one, Learned)
    }
    if not callable(getattr(kind, "backward", None)) and not hasattr(
        kind, "_of_function"
    ):
        for name, one in found.items():
            if one.lr_mult != 0:
                raise SpecError(
                    f"class {kind.__name__} learns {name}, but has no method backward; "
                    f"write backward(self, c, *dy), or give lr_mult=0"
                )
    for name in vars(kind).get("__annotations__", {}):
        value = vars(kind).get(name)
        if isinstance(value, list | dict):
            made = functools.partial(copy.deepcopy, value)
            setattr(kind, name, dataclasses.field(default_factory=made))
    if "__dataclass_fields__" not in vars(kind):  # those of a base do not count
        kind = dataclasses.dataclass(frozen=True, kw_only=True)(kind)
    definition = Definition(
        kind=kind,
        module=kind.__module__,
        name=_free_name(kind),
        learned=found,
        types=_types(kind),
        loss=loss,
        ntop=ntop,
    )
    common = [field.name for field in definition.fields if field.name in _COMMON]
    if common:
        raise SpecError(
            f"class {kind.__name__} has a field {common[0]}, an option that all layers "
            f"have; give it another name"
        )
    return OwnLayer(definition)


def _free_name(kind: type) -> str:
    """Return the name under which a net finds a class: its qualified name.

    One that is defined again takes the place of the one before, as in a notebook. Those
    that a function makes may differ in what is around them, so each is numbered.
    """
    name = kind.__qualname__
    if "<locals>" not in name:
        return name
    number = 1
    while (kind.__module__, name) in DEFINED:
        number += 1
        name = f"{kind.__qualname__}#{number}"
    return name


def _class_of(function: Callable[..., Any]) -> type:
    """Return a class with the options of a function as fields and it as `forward`."""
    parameters = inspect.signature(function).parameters
    fields: list[Any] = []
    for name in _options(function):
        one = parameters[name]
        hint = Any if one.annotation is inspect.Parameter.empty else one.annotation
        if one.default is inspect.Parameter.empty:
            fields.append((name, hint))
        else:
            fields.append((name, hint, dataclasses.field(default=one.default)))
    kind = dataclasses.make_dataclass(
        function.__name__,
        fields,
        namespace={"forward": _method(function), "_of_function": True},
        frozen=True,
        kw_only=True,
    )
    kind.__module__, kind.__qualname__ = function.__module__, function.__qualname__
    kind.__doc__ = function.__doc__
    return kind


def _options(function: Callable[..., Any]) -> list[str]:
    return [
        name
        for name, one in inspect.signature(function).parameters.items()
        if one.kind is inspect.Parameter.KEYWORD_ONLY
    ]


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that calls a function with the fields of its object."""
    names = _options(function)

    def method(self: Any, *arguments: Any) -> Any:
        return function(*arguments, **{name: getattr(self, name) for name in names})

    return method


def _types(kind: type) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(kind)
    except (NameError, TypeError):
        return {}  # names of another scope; what is given is taken as it is


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty
