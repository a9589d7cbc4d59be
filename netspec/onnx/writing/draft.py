"""A model while its layers are written: pieces, constants, and the parameters."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from netspec.catalogue.parameters import parameter_roles
from netspec.graph import Graph
from netspec.onnx.writing.values import Piece, Value
from netspec.ops.base import Shape
from netspec.weights import Weights

SMALL = 4096  # bytes; constants up to this size are shared where they are equal


class Draft:
    """Everything that has been written so far.

    graph: the net. weights: arrays by layer name, complete. `pieces` is the list that
    new pieces join; a body of a Scan puts its own in its place for a while. `others`
    are constants beside the parameters.
    """

    def __init__(self, graph: Graph, weights: Weights, opset: int) -> None:
        self.graph, self.opset = graph, opset
        self.pieces: list[Piece] = []
        self._weights = weights
        self._parameters: dict[int, tuple[Value, Shape]] = {}
        self._constants: dict[Hashable, Value] = {}
        self._derived: dict[Hashable, Any] = {}

    def array(self, index: int) -> np.ndarray:
        """Return the values of a parameter."""
        owner = self.graph.parameters[index].owner
        held: np.ndarray = self._weights[self.graph.nodes[owner.node].name][owner.slot]
        return held

    def parameter(self, index: int, shape: Shape) -> tuple[Value, bool]:
        """Return the constant of a parameter, and whether it has `shape`.

        However many layers share it, it is one constant, in the shape that is wanted
        first.
        """
        if index not in self._parameters:
            array = self.array(index).reshape(shape)
            value = Value(self._parameter_name(index), array)
            self._parameters[index] = value, shape
        value, stored = self._parameters[index]
        return value, stored == shape

    def derived(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what `make` returned when it was first called for `key`."""
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]

    def constant(self, array: np.ndarray, hint: str) -> Value:
        """Return a constant; small ones that are equal are one."""
        if array.nbytes > SMALL:
            return Value(hint, array)
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._constants:
            self._constants[key] = Value(hint, array)
        return self._constants[key]

    def _parameter_name(self, index: int) -> str:
        """Return the name that its layers give it, or that of layer and role."""
        parameter = self.graph.parameters[index]
        node = self.graph.nodes[parameter.owner.node]
        if parameter.name:
            return parameter.name
        roles = parameter_roles(node.layer, len(node.bottoms)) or ()
        slot = parameter.owner.slot
        return f"{node.name}_{roles[slot] if slot < len(roles) else slot}"
