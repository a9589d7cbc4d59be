"""From a net, or a lone layer, to a net whose gradients can be checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import Message

from netspec.catalogue.table import LAYER_TYPES
from netspec.errors import ShapeError, SpecError, did_you_mean
from netspec.nets.current import current
from netspec.nets.filter import kept_net, merge_state
from netspec.nets.state import State
from netspec.ops.base import Shape, brings_data, label
from netspec.ops.families import is_known_type, op_class
from netspec.schema import LayerParameter, NetParameter
from runtime.execution.net import Net


@dataclass(frozen=True)
class Subject:
    """A net to check, for one state, all of whose bottoms are made by a layer.

    Data layers whose shapes were given have become Input layers. `values` are those of
    inputs, by blob; `parameters` those of the net that was given, by layer; `notes`
    tells what was left out.
    """

    message: NetParameter
    state: State
    values: Mapping[str, np.ndarray]
    parameters: Mapping[str, Sequence[np.ndarray]]
    notes: tuple[str, ...]


def subject_of(
    given: Any,
    *,
    inputs: Mapping[str, Any] | Sequence[Any] | None,
    shapes: Mapping[str, Sequence[int]] | Sequence[Sequence[int]] | None,
    state: tuple[int, int, Sequence[str]],
) -> Subject:
    """Read what is to be checked.

    given: a `runtime.Net`, whatever makes one, or a layer: a `LayerParameter`, or its
        text without the `layer { }` around it.
    inputs, shapes: values and shapes by blob, or in the order of the blobs that come
        from outside. state: phase, level and stages.

    Raises `SpecError` for names that are no such blob, `ShapeError` for a blob from
    outside whose shape nobody tells.
    """
    values: dict[str, Any] = {}
    if isinstance(given, Net):
        message = _copy(given.graph.message)
        kept, parameters = given.state, _parameters(given)
        for name in given.inputs:
            values[name] = given.blobs[name].data.copy()
    else:
        whole = current(_layer_of(given) or given)
        kept, parameters = merge_state(whole, state[0], state[1], tuple(state[2])), {}
        message = _copy(kept_net(whole, kept).message)
    outside = _outside(message)
    notes = _drop_sinks(message)
    values.update(_by_name(inputs, outside, "inputs"))
    sizes = {
        name: tuple(int(size) for size in shape)
        for name, shape in _by_name(shapes, outside, "shapes").items()
    }
    arrays = {name: _array(name, value) for name, value in values.items()}
    for name, array in arrays.items():
        if sizes.setdefault(name, array.shape) != array.shape:
            raise ShapeError(
                f"blob {name!r}: shapes say {sizes[name]}, but its values have shape "
                f"{array.shape}; give one of them"
            )
    _give_inputs(message, outside, sizes)
    return Subject(message, kept, arrays, parameters, notes)


def _copy(message: NetParameter) -> NetParameter:
    copied = NetParameter()
    copied.CopyFrom(message)
    return copied


def _parameters(net: Net) -> dict[str, list[np.ndarray]]:
    return {
        name: [blob.data.astype(np.float64) for blob in blobs]
        for name, blobs in net.params.items()
    }


def _layer_of(given: Any) -> NetParameter | str | None:
    """Return the net of a lone layer with its names filled in, or None."""
    if isinstance(given, str) and _is_layer_text(given):
        net = current(f"layer {{ {given}\n}}")
    elif isinstance(given, Message) and given.DESCRIPTOR.name == "LayerParameter":
        net = NetParameter()
        net.layer.add().ParseFromString(given.SerializeToString())
    else:
        return None
    for layer in net.layer:
        _complete(layer)
    return net


def _is_layer_text(text: str) -> bool:
    """Whether text has a `type` beside all braces, as a layer has and no net."""
    if is_file(text):
        return False
    plain = re.sub(r"#[^\n]*", "", re.sub(r"""("[^"\n]*")|('[^'\n]*')""", "''", text))
    depth_0, depth = [], 0
    for char in plain:
        depth += (char in "{<") - (char in "}>")
        depth_0.append(char if depth == 0 else " ")
    return re.search(r"(^|[\s;,}>])type\s*:", "".join(depth_0)) is not None


def is_file(text: str) -> bool:
    """Whether text is the name of a file; what is too long for a name is none."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def _complete(layer: LayerParameter) -> None:
    """Give a lone layer a name, bottoms and tops where it has none."""
    layer.name = layer.name or "layer"
    row = LAYER_TYPES.get(layer.type)
    if row is None:
        return
    if not layer.bottom:
        names = [*row.bottom_names, *(f"x{i}" for i in range(1, 9))]
        layer.bottom.extend(names[: row.bottoms[0]])
    if not layer.top and row.tops[0]:
        count = row.tops[0]
        layer.top.extend(["y", *(f"y{i}" for i in range(1, count))])


def _drop_sinks(message: NetParameter) -> tuple[str, ...]:
    """Leave out layers without tops, which no objective counts; return notes of them.

    A loss may have a top without a name.
    """
    whole = _copy(message)
    del message.layer[:]
    notes = []
    for layer in whole.layer:
        kind = layer.type
        if layer.top or not is_known_type(kind) or op_class(kind).is_loss:
            message.layer.append(layer)
        else:
            notes.append(f"{label(layer)} has no top, so nothing of it can be checked")
    return tuple(notes)


def _outside(message: NetParameter) -> list[str]:
    """Return the blobs that come from outside: of data, or made by no layer."""
    found: list[str] = []
    made: set[str] = set()
    for layer in message.layer:
        source = brings_data(layer.type, len(layer.bottom))
        wanted = layer.top if source else [x for x in layer.bottom if x not in made]
        found.extend(name for name in wanted if name not in found)
        made.update(layer.top)
    return found


def _by_name(given: Any, outside: Sequence[str], what: str) -> dict[str, Any]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        for name in given:
            if name not in outside:
                hint = did_you_mean(str(name), outside)
                raise SpecError(
                    f"{what}: {name!r} is no blob that comes from outside{hint} "
                    f"(there are {', '.join(outside) or 'none'})"
                )
        return dict(given)
    if len(given) > len(outside):
        raise SpecError(
            f"{what}: got {len(given)} for {len(outside)} blobs that come from outside "
            f"({', '.join(outside) or 'none'})"
        )
    return dict(zip(outside, given, strict=False))


def _array(name: str, value: Any) -> np.ndarray:
    try:
        array = np.array(value, np.float64)
    except (TypeError, ValueError) as error:
        raise SpecError(f"inputs: {name!r} is no array of numbers: {error}") from error
    if not np.all(np.isfinite(array)):
        raise SpecError(f"inputs: {name!r} holds values that are not finite")
    return array


def _give_inputs(
    message: NetParameter, outside: Sequence[str], sizes: Mapping[str, Shape]
) -> None:
    """Put Input layers in the place of data of known shape and of nothing."""
    made: set[str] = set()
    for layer in message.layer:
        if not brings_data(layer.type, len(layer.bottom)):
            continue
        made.update(layer.top)
        if not any(top in sizes for top in layer.top):
            continue
        shapes = _input_shapes(layer)
        shapes.update({top: sizes[top] for top in layer.top if top in sizes})
        missing = [top for top in layer.top if top not in shapes]
        if missing:
            raise ShapeError(
                f"its other tops need shapes too: {', '.join(missing)}",
                layer=label(layer),
            )
        make_input(layer, [shapes[top] for top in layer.top])
    for name in reversed(outside):
        reader = next((x for x in message.layer if name in x.bottom), None)
        if name in made or reader is None:
            continue
        if name not in sizes:
            raise ShapeError(
                f"bottom {name!r} comes from outside; give its shape, as in "
                f"shapes={{{name!r}: (2, 3)}}, or --shape {name}=2,3, or its values",
                layer=label(reader),
            )
        insert_input(message, name, sizes[name])


def _input_shapes(layer: LayerParameter) -> dict[str, Shape]:
    shapes = [tuple(one.dim) for one in layer.input_param.shape]
    if len(shapes) == 1:
        shapes *= len(layer.top)
    return dict(zip(layer.top, shapes, strict=False))


def make_input(layer: LayerParameter, shapes: Sequence[Shape]) -> None:
    """Turn a layer into an Input layer with its name, tops and phase."""
    name, tops = layer.name, list(layer.top)
    layer.Clear()
    layer.name, layer.type = name, "Input"
    layer.top.extend(tops)
    for shape in shapes:
        layer.input_param.shape.add().dim.extend(shape)


def insert_input(message: NetParameter, name: str, shape: Shape) -> None:
    """Add an Input layer for one blob in the first place."""
    layer = LayerParameter(name=f"{name} (input)", type="Input", top=[name])
    layer.input_param.shape.add().dim.extend(shape)
    rest = NetParameter()
    rest.layer.extend(message.layer)
    del message.layer[:]
    message.layer.append(layer)
    message.layer.extend(rest.layer)
