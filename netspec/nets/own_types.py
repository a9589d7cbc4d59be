"""Layers whose type is the name of a class of `netspec.layer`: Python layers of it.

A file of somebody's fork says `type: "Swish" swish_param { start: 0.5 }`. Where the
program has a class of that name, this is the layer `python_param { layer: "Swish" }`,
and the fields of its message are those of the class. Where a fork has that type too, a
warning tells once that the class takes its place: the class may be there for another
net, and only have the name by chance.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import text_format

from netspec.errors import SpecError, SpecWarning
from netspec.forks import type_owners
from netspec.forks.kept import Field, NoText, fields_in
from netspec.notebooks import warn_user
from netspec.ops import is_known_type
from netspec.ops.base import label
from netspec.ops.own_layer import DEFINED, Definition
from netspec.schema import LayerParameter

WORDS = {"true": True, "false": False}
SUFFIX = "param"

_TOLD: set[tuple[str, str]] = set()  # classes of which it was told, by module and name


def as_own(layer: LayerParameter) -> LayerParameter:
    """Return a layer of an unknown type as one of the class of that name, if any is.

    Raises `SpecError` where several modules have such a class, and where its fields do
    not take the values that are given. A `SpecWarning` tells once of each class that
    has the name of a fork's type.
    """
    if is_known_type(layer.type):
        return layer
    found = [one for one in DEFINED.values() if one.title == layer.type]
    if not found:
        return layer
    # Of those that functions make, each as often as it is called, the last one holds.
    found = [one for one in found if one.name == one.title] or found[-1:]
    if len(found) > 1:
        modules = ", ".join(one.module for one in found)
        raise SpecError(
            f"several modules have a class {layer.type!r} of netspec.layer: {modules}; "
            f"give all but one another name, or name one by a Python layer",
            layer=label(layer),
        )
    own = _python(layer, found[0])
    _tell(layer, found[0])
    return own


def _tell(layer: LayerParameter, definition: Definition) -> None:
    """Warn once that a class stands for a type that a fork has."""
    key = (definition.module, definition.name)
    forks = () if key in _TOLD else type_owners(layer.type)
    if not forks:
        return
    _TOLD.add(key)
    warn_user(
        f"{label(layer)}: the type is of {forks[0]}, and is taken for the "
        f"class {definition.title} of netspec.layer in module {definition.module}; if "
        f"that is another layer, give the class another name",
        SpecWarning,
    )


def _python(layer: LayerParameter, definition: Definition) -> LayerParameter:
    own = LayerParameter()
    own.CopyFrom(layer)
    own.ClearField("unknown_fields")
    values: dict[str, Any] = {}
    wanted = _folded(layer.type) + SUFFIX
    for text in layer.unknown_fields:
        try:
            (field,) = fields_in(text)
        except (NoText, ValueError):
            own.unknown_fields.append(text)
            continue
        is_message = len(field.values) == 1 and isinstance(field.values[0], tuple)
        if is_message and _folded(field.name) == wanted:
            values |= _options(field.values[0])
        else:
            own.unknown_fields.append(text)
    own.type = "Python"
    own.python_param.module = definition.module
    own.python_param.layer = definition.name
    try:
        own.python_param.param_str = definition.write(values)
    except SpecError as error:
        raise error.replaced(layer=label(layer)) from None
    if definition.loss and not len(own.loss_weight):
        own.loss_weight.extend([1.0] + [0.0] * (len(own.top) - 1))
    return own


def _folded(name: str) -> str:
    return name.replace("_", "").lower()


def _options(fields: tuple[Field, ...]) -> dict[str, Any]:
    """Return the fields of a message as values; one that comes again is a list."""
    found: dict[str, list[Any]] = {}
    lists = set()
    for name, values in fields:
        if name in found or len(values) != 1:
            lists.add(name)
        found.setdefault(name, []).extend(map(_value, values))
    return {k: v if k in lists else v[0] for k, v in found.items()}


def _value(value: Any) -> Any:
    if isinstance(value, tuple):
        return _options(value)
    if value[0] in "\"'":
        return unquoted(value)
    if value in WORDS:
        return WORDS[value]
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value  # the name of a value of an enum


def unquoted(text: str) -> str:
    """Return what a quoted text of a prototxt says."""
    layer = LayerParameter()
    text_format.Parse(f"name: {text}", layer)
    return str(layer.name)
