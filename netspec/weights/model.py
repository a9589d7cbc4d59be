"""A net with its values, in memory: what is exported and operated on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netspec.errors import ShapeError, SpecError
from netspec.formats import other_format
from netspec.graph import Graph, Node
from netspec.nets.current import current
from netspec.nets.filter import drop_blobs
from netspec.ops.base import Shape, label
from netspec.schema import LayerParameter, NetParameter
from netspec.text import is_binary_net
from netspec.text.messages import MESSAGE_BYTES
from netspec.weights.names import Names
from netspec.weights.reading import Weights, by_name, read_weights, wire_layers
from netspec.weights.writing import layers_of, pieces, save_weights


@dataclass
class Model:
    """A net in the current form, and the arrays of its layers.

    net: has no values. weights: the arrays of each layer by its name, in the order of
    its parameters; None where nothing is known of them. Layers that share a parameter
    each hold it.
    """

    net: NetParameter
    weights: Weights | None = None

    def to_proto(self) -> NetParameter:
        """Return the net with the values in the `blobs` of its layers.

        Raises `SpecError` where these are more than the 2 GiB that one message holds.
        """
        held = self.weights
        if not held:
            return self.net
        nbytes = sum(
            4 * each.size
            for arrays in held.values()
            for each in arrays
            if each is not None
        )
        if nbytes >= MESSAGE_BYTES:
            raise SpecError(
                f"the parameters have {nbytes:,} bytes, one message holds less than "
                f"2 GiB; save the model to a file"
            )
        parts = pieces(*layers_of(self.net, self._own()))
        return NetParameter.FromString(b"".join(parts))

    def save(self, path: str | Path, *, source: str | Path | None = None) -> None:
        """Write the net with its values as a `.caffemodel`, whole or not at all.

        Other suffixes give other formats; see `save_weights`. source: the file that the
        net is from, whose fork the file is for then.
        """
        save_weights(path, self._own(), self.net, source=source)

    def _own(self) -> Weights:
        """Return the arrays of layers that the net has; a file may name others."""
        weights = self.weights or {}
        names = {layer.name for layer in self.net.layer}
        return {name: held for name, held in weights.items() if name in names}


def as_model(
    net: Any,
    weights: Any = None,
    names: Names | None = None,
) -> Model:
    """Return a net with its values.

    net: what `netspec.load` takes, or a `Model`. weights: a weight file of any format,
    arrays by layer name, or a `runtime.Net` that has them; None takes those that the
    net itself has, if any. names: what layers of the file are called in the net, as of
    `runtime.Net.copy_from`.

    The net is upgraded, and keeps its layers for all phases; see `complete`. Files may
    have any size, as values do not go through protobuf.

    Raises `FileError` for files that cannot be read, `SpecError` for what is no net.
    """
    read = other_format(net)
    if read is not None:
        net = read(os.fspath(net))
    if isinstance(net, Model):
        model = Model(net.net, net.weights)
    elif isinstance(net, str | os.PathLike) and is_binary_net(path := os.fspath(net)):
        model = Model(drop_blobs(current(net, values=False)))
        if weights is None:
            model.weights = read_weights(path) or None
    else:
        message = NetParameter()
        message.CopyFrom(current(net))
        # A net that was read without values still has their shapes.
        stored = _taken(message) if weights is None else {}
        model = Model(drop_blobs(message), stored or None)
    if isinstance(weights, str | os.PathLike):
        ours = [layer.name for layer in model.net.layer]
        model.weights = read_weights(os.fspath(weights), names, ours)
    elif weights is not None:
        model.weights = _arrays(weights)
    return model


def _arrays(weights: Any) -> dict[str, list[np.ndarray]]:
    """Return the arrays of a mapping, or copies of those of a net that runs."""
    if isinstance(weights, Mapping):
        return {
            name: [np.asarray(each, np.float32) for each in held]
            for name, held in weights.items()
        }
    net = getattr(weights, "net", weights)  # of a solver or a history
    if not isinstance(params := getattr(net, "params", None), Mapping):
        raise SpecError(
            f"weights is a {type(weights).__name__}; expected a path of a weight file, "
            f"arrays by layer name, or a net that runs"
        )
    return {
        name: [np.array(blob.data, np.float32) for blob in held]
        for name, held in params.items()
    }


def complete(model: Model, graph: Graph) -> Model:
    """Return the model of one phase with arrays of exactly the shapes of its graph.

    graph: that of `model.net`. A parameter that another layer shares is filled in where
    only one of them has it. Old shapes with num, channels, height and width fit a shape
    that is padded with 1s in front.

    Raises `SpecError` naming the layers that have no values, `ShapeError` where numbers
    or shapes differ.
    """
    if model.weights is None:
        return model
    values: dict[int, np.ndarray] = {}
    for node in graph.nodes:
        for slot, held in enumerate(_of_node(model.weights, node)):
            if held is not None and (index := node.params[slot]) not in values:
                shape = graph.parameters[index].shape
                values[index] = _fitted(held, node, slot, shape)
    missing = [
        label(node.layer)
        for node in graph.nodes
        if any(index not in values for index in node.params)
    ]
    if missing:
        raise SpecError(
            f"there are no values for {', '.join(missing)}; layers are found by "
            f"their names"
        )
    # Sharing may be of equal counts only, so each layer has its own shape.
    whole = {
        node.name: [
            values[index].reshape(param.shape)
            for index, param in zip(node.params, node.op.params, strict=True)
        ]
        for node in graph.nodes
        if node.params
    }
    return Model(model.net, whole)


def _of_node(weights: Weights, node: Node) -> Sequence[np.ndarray | None]:
    held = weights.get(node.name, ()) if node.params else ()
    if len(held) > len(node.params):
        raise ShapeError(
            f"{label(node.layer)} has {len(node.params)} parameters, there are "
            f"{len(held)} arrays for it"
        )
    return held


def _fitted(held: np.ndarray, node: Node, slot: int, shape: Shape) -> np.ndarray:
    padded = (1,) * (4 - len(shape)) + tuple(shape)
    if held.shape not in (tuple(shape), padded):
        raise ShapeError(
            f"{label(node.layer)}, parameter {slot} has shape {tuple(shape)}, its "
            f"values have {held.shape}"
        )
    # `ascontiguousarray` would give a value without axes one.
    return np.asarray(held.reshape(shape), np.float32, order="C")


def _taken(message: NetParameter) -> Weights:
    """Return the values that a message holds, and take them out of it."""
    valued = NetParameter()
    for layer in message.layer:
        if layer.blobs:
            one = LayerParameter(name=layer.name, type=layer.type)
            one.blobs.extend(layer.blobs)
            valued.layer.append(one)
            layer.ClearField("blobs")
    return by_name(wire_layers(valued.SerializeToString()), "the net")
