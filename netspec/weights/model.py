"""A net with its values, in memory: what is exported and operated on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from netspec.errors import ShapeError, SpecError
from netspec.files import replacing
from netspec.graph import Graph, Node
from netspec.nets.current import current
from netspec.ops.base import Shape, label
from netspec.schema import LayerParameter, NetParameter
from netspec.schema.wire import Buffer, encode_layer
from netspec.weights.reading import LayerWeights, layers_with_values, read_weights

# Arrays by layer name; None where a file leaves one to a layer that shares it.
Weights: TypeAlias = dict[str, list[Any]]


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
        if not self.weights:
            return self.net
        nbytes = sum(each.nbytes for held in self.weights.values() for each in held)
        if nbytes >> 31:
            raise SpecError(
                f"the parameters have {nbytes:,} bytes, one message holds less than "
                f"2 GiB; save the model to a file"
            )
        return NetParameter.FromString(b"".join(self._pieces()))

    def save(self, path: str | Path) -> None:
        """Write the net with its values as a `.caffemodel`, whole or not at all."""
        with replacing(path) as file:
            for piece in self._pieces():
                file.write(piece)

    def _pieces(self) -> list[Buffer]:
        """Return the serialized net, with views of the arrays in between."""
        rest = NetParameter()
        rest.CopyFrom(self.net)
        del rest.layer[:]
        pieces: list[Buffer] = [rest.SerializeToString()]
        weights = self.weights or {}
        for layer in self.net.layer:
            blobs = [
                (each.shape, np.ascontiguousarray(each, "<f4").reshape(-1).data)
                for each in weights.get(layer.name, ())
            ]
            pieces.extend(encode_layer(layer.SerializeToString(), blobs))
        return pieces


def as_model(
    net: Any, weights: str | Path | Mapping[str, Sequence[Any]] | None = None
) -> Model:
    """Return a net with its values.

    net: what `netspec.load` takes, or a `Model`. weights: a weight file, or arrays by
    layer name; None takes those that the net itself has, if any.

    The net is upgraded, and keeps its layers for all phases; see `complete`.

    Raises `FileError` for files that cannot be read, `SpecError` for what is no net.
    """
    if isinstance(net, Model):
        model = Model(net.net, net.weights)
    else:
        message = NetParameter()
        message.CopyFrom(current(net))
        stored = _taken(message)
        model = Model(message, stored or None)
    if isinstance(weights, str | os.PathLike):
        model.weights = _by_name(read_weights(weights))
    elif weights is not None:
        model.weights = {
            name: [np.asarray(each, np.float32) for each in held]
            for name, held in weights.items()
        }
    return model


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
    return _by_name(layers_with_values(valued.SerializeToString()))


def _by_name(layers: Sequence[LayerWeights]) -> Weights:
    return {
        layer.name: [blob and blob.values for blob in layer.blobs]
        for layer in layers
        if layer.blobs
    }
