"""Values to check gradients at: random ones that are fit for the layers."""

from __future__ import annotations

import math
import zlib

import numpy as np

from netspec.graph import Graph, Parameter
from netspec.ops.base import Range
from runtime.execution.net import Net

SPREAD = 0.2  # of the values of a parameter with one axis, such as a bias


def fill_inputs(net: Net, given: dict[str, np.ndarray], seed: int) -> None:
    """Write the inputs of a net: those given, and for the others random ones."""
    for name in net.inputs:
        blob = net.blobs[name]
        values = given.get(name)
        if values is None:
            values = random_input(net.graph, name, seed)
        blob.data[...] = values


def random_input(graph: Graph, name: str, seed: int) -> np.ndarray:
    """Return random values for an input: normal ones, or of the range that readers say.

    They follow from the seed and the name, whatever else is in the net.
    """
    edge = next(e for e in graph.edges if e.blob == name)
    rng = _generator(seed, name)
    ranges = _ranges(graph, edge.index)
    if not ranges:
        return rng.normal(size=edge.shape)
    low, high = max(one.low for one in ranges), min(one.high for one in ranges)
    high = max(low, high)
    if any(one.integer for one in ranges):
        return rng.integers(int(low), int(high) + 1, size=edge.shape).astype(float)
    return rng.uniform(low, high, size=edge.shape)


def _ranges(graph: Graph, edge: int) -> list[Range]:
    """Return what the readers of an edge say of it, through Split and Reshape too."""
    found = []
    for node, place in graph.edges[edge].consumers:
        op = graph.nodes[node].op
        if op.alias:
            for top in graph.nodes[node].tops:
                found.extend(_ranges(graph, top))
        elif place in op.ranges:
            found.append(op.ranges[place])
    return found


def vary_parameters(net: Net, seed: int) -> None:
    """Add random values to learned parameters that are one number throughout.

    With a filler of 0, gradients would be 0 wherever one looks.
    """
    for parameter in net.graph.parameters:
        data = _data(net, parameter)
        if not (parameter.learn and data.size) or np.any(data != data.flat[0]):
            continue
        rng = _generator(seed, net.graph.nodes[parameter.owner.node].name)
        inputs = math.prod(parameter.shape[1:])
        spread = SPREAD if inputs <= 1 else 1 / math.sqrt(inputs)
        data += spread * rng.normal(size=data.shape)


def _data(net: Net, parameter: Parameter) -> np.ndarray:
    owner = net.graph.nodes[parameter.owner.node]
    return net.params[owner.name][parameter.owner.slot].data


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
