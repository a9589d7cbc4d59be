"""A small net for each fork of the catalogue, and what becomes of it here.

The net has every layer type that the fork adds, each with fields of its parameters, and
every field that it adds to a message of Caffe's layers. docs/forks.md shows what holds
of it, `tools/gen_fork_table.py` writes that table, and the tests check its cells.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf import text_format

from netspec import schema
from netspec.catalogue import LAYER_TYPES
from netspec.draw import draw
from netspec.errors import SpecError, SpecWarning
from netspec.forks.catalogue import BVLC, Fork, catalogue
from netspec.forks.chosen import known_meanings, schema_named
from netspec.forks.converting import is_repeated
from netspec.forks.files import as_fork, message_class, read_as_ours
from netspec.forks.keywords import params_of
from netspec.forks.telling import tell
from netspec.ops.base import READERS
from netspec.schema import LayerParameter, NetParameter
from netspec.text import parse, to_text
from runtime.data.opening import DATA_LAYERS
from runtime.layers import portable_kernels
from tools.gen_gradients import EXAMPLES

FIELDS = 6  # of a parameter, at most, beside those that must be given
DEPTH = 3
# Fields that say how a fork's own code computes, and nothing of what.
ENGINES = frozenset({"engine", "cudnn_math_override", "cudnn_convolution_algo_seeker"})

# Types of one name that compute something else in forks without its parameter.
NOT_WITHOUT = frozenset({"Normalize"})


def forks() -> list[Fork]:
    """Return the forks of the table: all but Caffe itself."""
    return [fork for fork in catalogue().forks if fork.word != BVLC]


def types_of(fork: Fork) -> list[str]:
    """Return the layer types that a fork adds, in the current form."""
    tables, bit = catalogue(), 1 << fork.place
    return [
        name
        for name, rows in tables.types.items()
        if name.isidentifier() and any(forks & bit for _, forks in rows)
    ]


@cache
def net_of(fork: Fork) -> Any:
    """Return the net of a fork, as its own message."""
    kind: Any = message_class(schema_named(fork.word), "NetParameter")
    net = kind()
    net.name = fork.word
    old = fork.form == "layers"
    add = net.layers.add if old else net.layer.add
    if old:
        message = net.layers.add().DESCRIPTOR
        del net.layers[:]
        for value in message.fields_by_name["type"].enum_type.values:
            if _is_added(fork, value.name):
                add(name=value.name.lower(), type=value.number)
    for name in types_of(fork) if not old else ():
        layer = add(name=name, type=name, top=[name])
        for param in params_of(name):
            if param in layer.DESCRIPTOR.fields_by_name:
                field = layer.DESCRIPTOR.fields_by_name[param]
                if field.message_type is not None and not is_repeated(field):
                    _fill(getattr(layer, param), DEPTH)
    for param, name in _added(fork):
        layer = add(name=f"{param}.{name}")
        target = getattr(layer, param) if param else layer
        if not old:
            layer.type, _ = _type_with(param), layer.top.append(layer.name)
        _set(target, target.DESCRIPTOR.fields_by_name[name], DEPTH)
        _require(target)
    _require(net)
    return net


def _is_added(fork: Fork, value: str) -> bool:
    bit = 1 << fork.place
    rows = catalogue().values("V1LayerParameter.LayerType")
    return any(row.name == value and row.forks & bit for row in rows)


def _added(fork: Fork) -> Iterator[tuple[str, str]]:
    """Yield the fields that a fork adds to layers, and to what Caffe has in them."""
    tables, bit = catalogue(), 1 << fork.place
    base = 1 << tables.by_word[BVLC].place
    layer = "V1LayerParameter" if fork.form == "layers" else "LayerParameter"
    theirs: Any = schema_named(fork.word).messages[layer]
    for row in tables.fields(layer):
        if row.forks & bit and row.name in theirs.fields_by_name:
            yield "", row.name
    for field in theirs.fields:
        kind = field.message_type
        if kind is None or is_repeated(field):
            continue
        message = kind.full_name.removeprefix(kind.file.package + ".")
        if tables.messages.get(message, 0) & base and field.name.endswith("_param"):
            for row in tables.fields(message):
                if row.forks & bit and not row.forks & base:
                    yield field.name, row.name


def _type_with(param: str) -> str:
    found = (name for name, row in LAYER_TYPES.items() if row.param == param)
    return next(found, "Convolution")


def _fill(message: Any, depth: int) -> None:
    """Set the first fields of a message, and those that must be set."""
    message.SetInParent()
    for field in list(message.DESCRIPTOR.fields)[:FIELDS]:
        _set(message, field, depth)
    _require(message)


def _require(message: Any) -> None:
    """Set what must be given, in the fork's schema or in ours."""
    fields = message.DESCRIPTOR.fields_by_name
    missing = message.FindInitializationErrors()
    if ours := getattr(schema, message.DESCRIPTOR.name, None):
        missing += ours().FindInitializationErrors()
    for path in missing:
        if path in fields and not _is_set(message, fields[path]):
            _set(message, fields[path], DEPTH)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if is_repeated(field) else [value]:
                _require(inner)


def _is_set(message: Any, field: Any) -> bool:
    if is_repeated(field):
        return len(getattr(message, field.name)) > 0
    return bool(message.HasField(field.name))


def _set(message: Any, field: Any, depth: int) -> None:
    """Set a field to something else than its default."""
    if field.message_type is not None:
        if depth == 0:
            return
        target = getattr(message, field.name)
        _fill(target.add() if is_repeated(field) else target, depth - 1)
        return
    if field.enum_type is not None:
        value: Any = field.enum_type.values[-1].number
    elif field.cpp_type == field.CPPTYPE_BOOL:
        value = not field.default_value
    elif field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        value = 0.625
    elif field.cpp_type == field.CPPTYPE_STRING:
        value = b"x" if field.type == field.TYPE_BYTES else "x"
    else:
        value = 3
    if is_repeated(field):
        getattr(message, field.name).extend([value, value])
    else:
        setattr(message, field.name, value)


# ---------------------------------------------------------------- what holds of it


def text_is_kept(fork: Fork) -> bool:
    """Tell whether the net as text is the same after it was read and written here."""
    net = net_of(fork)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)
        ours = parse(text_format.MessageToString(net), NetParameter)
    return bool(text_format.Parse(to_text(ours), type(net)()) == net)


def binary_is_kept(fork: Fork) -> bool:
    """Tell whether the net as a binary file is the same, and may be the fork's."""
    net = net_of(fork)
    data = net.SerializeToString(deterministic=True)
    known = known_meanings()
    whole = tell(data, "NetParameter", known).whole & known.bits[fork.word]
    ours = read_as_ours(data, NetParameter, fork.word)
    again = as_fork(ours, fork.word).SerializeToString(deterministic=True)
    return bool(whole) and again == data


def is_drawn(fork: Fork) -> bool:
    """Tell whether a drawing of the net has the names of all its layers."""
    data = net_of(fork).SerializeToString()
    net = read_as_ours(data, NetParameter, fork.word)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecWarning)
        try:
            svg = draw(net)
        except SpecError:
            return False
    layers: list[Any] = [*net.layer, *net.layers]
    return all(layer.name in svg for layer in layers)


def same_options(fork: Fork, layer_type: str) -> bool:
    """Tell whether we read all options that a type has in a fork.

    It has them in the parameter of the same name, and we have all of its fields.
    """
    row = LAYER_TYPES.get(layer_type)
    if row is None:
        return False
    tables, bit = catalogue(), 1 << fork.place
    listed = next(p for p, mask in tables.types[layer_type] if mask & bit)
    theirs: Any = schema_named(fork.word).messages["LayerParameter"]
    ours: Any = LayerParameter.DESCRIPTOR
    if row.param and listed and row.param not in listed:
        return False
    if layer_type in NOT_WITHOUT and row.param not in theirs.fields_by_name:
        return False
    for param in listed or params_of(layer_type):
        field = theirs.fields_by_name.get(param)
        if field is None or field.message_type is None:
            continue
        mine = ours.fields_by_name.get(param)
        if mine is None:
            return False
        known = {*mine.message_type.fields_by_name, *ENGINES}
        if not known.issuperset(field.message_type.fields_by_name):
            return False
    return True


def with_shapes(fork: Fork) -> list[str]:
    """Return the types of a fork whose shapes are known here."""
    return [t for t in types_of(fork) if t in READERS and same_options(fork, t)]


def running(fork: Fork) -> list[str]:
    """Return the types of a fork that run here."""
    kernels = {*portable_kernels(), *DATA_LAYERS}
    return [t for t in with_shapes(fork) if t in kernels]


def training(fork: Fork) -> list[str]:
    """Return the types of a fork whose gradients are checked, or that bring data."""
    return [t for t in running(fork) if t in EXAMPLES or t in DATA_LAYERS]
