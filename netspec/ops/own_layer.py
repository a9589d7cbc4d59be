"""Layers defined by a class of the user's: fields, shapes and learned arrays.

`netspec.layer` makes a `Definition` of a class and lists it here; the file format has
it as a Python layer whose `param_str` is its fields as JSON. Nothing here runs its
arithmetic: that is the runtime's.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from netspec.errors import ShapeError, SpecError, did_you_mean
from netspec.ops.base import ParamDef, Shape, label
from netspec.ops.field_types import converted
from netspec.schema import FillerParameter, LayerParameter

Filler: TypeAlias = str | float | Mapping[str, Any]


@dataclass(frozen=True)
class Learned:
    """A learned array of a definition.

    shape: from the instance and the shapes of the bottoms to the shape of the array.
    filler: how it starts, or a function of the instance that says so.
    """

    shape: Callable[..., Sequence[int]]
    filler: Filler | Callable[[Any], Filler] = 0.0
    lr_mult: float = 1.0
    decay_mult: float = 1.0


@dataclass(frozen=True)
class Definition:
    """A class as a layer: its fields are the options.

    module, name: what files call it. learned: its arrays, in order. loss: whether its
    top counts with weight 1 unless a call says otherwise. ntop: how many tops it makes.
    """

    kind: type
    module: str
    name: str
    learned: Mapping[str, Learned]
    types: Mapping[str, Any]
    loss: bool = False
    ntop: int = 1

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.kind.__name__

    @property
    def has_backward(self) -> bool:
        """Whether it computes gradients."""
        return callable(getattr(self.kind, "backward", None))

    @property
    def fields(self) -> tuple[dataclasses.Field[Any], ...]:
        """The fields of the class."""
        return dataclasses.fields(self.kind)

    def write(self, values: Mapping[str, Any]) -> str:
        """Return an instance with these fields as JSON: what `param_str` holds.

        Raises `SpecError` for fields that are missing, unknown or of another type.
        """
        one = self.make(values)
        try:
            return json.dumps({f.name: getattr(one, f.name) for f in self.fields})
        except (TypeError, ValueError) as error:
            raise SpecError(f"a field cannot be written as JSON: {error}") from None

    def read(self, layer: LayerParameter) -> Any:
        """Return the instance that a Python layer describes.

        Raises `SpecError` where `param_str` is not an object of JSON with the fields.
        """
        text = layer.python_param.param_str or "{}"
        try:
            values = json.loads(text)
            if not isinstance(values, dict):
                raise TypeError(f"it is a {type(values).__name__}")
        except (ValueError, TypeError) as error:
            raise SpecError(
                f"param_str must hold the fields of {self.module}.{self.name} as JSON, "
                f'as in {{"scale": 2.0}}; got {text[:80]!r}: {error}',
                layer=label(layer),
            ) from None
        try:
            return self.make(values)
        except SpecError as error:
            raise error.replaced(layer=label(layer)) from None

    def make(self, values: Mapping[str, Any]) -> Any:
        """Return an instance with these fields.

        Raises `SpecError` as `write` does; what `__post_init__` raises keeps its type.
        """
        known = [field.name for field in self.fields]
        for name in values:
            if name not in known:
                hint = did_you_mean(name, known)
                raise SpecError(
                    f"{name} is no field of {self.title}"
                    f"{hint or '; its fields are ' + (', '.join(known) or 'none')}"
                )
        missing = [
            field.name
            for field in self.fields
            if field.name not in values
            and field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ]
        if missing:
            raise SpecError(f"{', '.join(missing)} is missing; it has no default")
        right = {
            name: converted(f"{name} of {self.title}", value, self.types.get(name, Any))
            for name, value in values.items()
        }
        return self.kind(**right)

    def top_shapes(
        self, one: Any, layer: LayerParameter, bottoms: Sequence[Shape]
    ) -> tuple[Shape, ...]:
        """Return the shapes of the tops of an instance: by its `shapes`, or as x.

        Raises `SpecError` for a wrong number of bottoms, `ShapeError` for what are no
        shapes or not as many as there are tops.
        """
        if hasattr(one, "shapes"):
            given = self._called(one.shapes, layer, bottoms, "shapes")
        elif bottoms and self.ntop == 1:
            given = bottoms[0]
        else:
            raise SpecError(
                f"class {self.title} has no method shapes, which tells the shapes of "
                f"tops; without it, a single top has that of the first bottom",
                layer=label(layer),
            )
        shapes = [given] if _is_shape(given) else given
        if not isinstance(shapes, list | tuple) or not all(map(_is_shape, shapes)):
            raise ShapeError(
                f"shapes of {self.title} returned {given!r}; expected a tuple of "
                f"sizes, or a list of such tuples, one for each top",
                layer=label(layer),
            )
        if len(shapes) != len(layer.top):
            raise ShapeError(
                f"shapes of {self.title} returned {len(shapes)} shapes for "
                f"{len(layer.top)} tops; write ntop={len(shapes)}",
                layer=label(layer),
            )
        return tuple(tuple(int(size) for size in shape) for shape in shapes)

    def parameters(
        self, one: Any, layer: LayerParameter, bottoms: Sequence[Shape]
    ) -> tuple[ParamDef, ...]:
        """Return the learned arrays of an instance."""
        found = []
        for name, learned in self.learned.items():
            shape = self._called(learned.shape, layer, (one, *bottoms), name)
            if not _is_shape(shape):
                raise ShapeError(
                    f"learned array {name} of {self.title} has shape {shape!r}; "
                    f"expected a tuple of sizes",
                    layer=label(layer),
                )
            start: Any = learned.filler
            if callable(start):
                start = start(one)
            found.append(ParamDef(tuple(map(int, shape)), filler_of(start)))
        return tuple(found)

    def _called(
        self,
        function: Callable[..., Any],
        layer: LayerParameter,
        arguments: Sequence[Any],
        what: str,
    ) -> Any:
        signature = inspect.signature(function)
        try:
            signature.bind(*arguments)
        except TypeError:
            raise SpecError(
                f"{what} of {self.title} takes {signature}; got {len(layer.bottom)} "
                f"bottoms {tuple(layer.bottom)}",
                layer=label(layer),
            ) from None
        try:
            return function(*arguments)
        except SpecError as error:
            raise error if error.layer else error.replaced(layer=label(layer)) from None
        except Exception as error:
            error.add_note(f"{label(layer)}: raised in {what} of {self.title}")
            raise


DEFINED: dict[tuple[str, str], Definition] = {}  # by module and name


def filler_of(given: Any) -> FillerParameter:
    """Return a filler given as a type, a constant or the fields of the message.

    Raises `SpecError` for anything else.
    """
    if isinstance(given, FillerParameter):
        return given
    if isinstance(given, str):
        return FillerParameter(type=given)
    try:
        if isinstance(given, Mapping):
            return FillerParameter(**given)
        return FillerParameter(type="constant", value=given)
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"filler is {given!r}; expected a type such as 'xavier', a number, or the "
            f"fields of FillerParameter: {error}"
        ) from None


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and all(
            isinstance(size, int) and not isinstance(size, bool) and size >= 0
            for size in value
        )
        and not (isinstance(value, list) and not value)
    )
