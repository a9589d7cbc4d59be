"""Values that a net can be compared with: such that every layer has something to do."""

from __future__ import annotations

from typing import Any

import numpy as np

import runtime

SEED = 1


def fill_inputs(net: runtime.Net) -> None:
    """Fill images with normal numbers, and labels with classes from 0 to 9."""
    rng = np.random.default_rng(SEED)
    for name in net.inputs:
        blob = net.blobs[name]
        if len(blob.shape) == 1:
            blob.data[...] = rng.integers(10, size=blob.shape)
        else:
            blob.data[...] = rng.normal(size=blob.shape)


def trained_values(param: Any) -> dict[str, list[np.ndarray]]:
    """Return parameters as training leaves them: blobs of about unit variance.

    Weights are those of He et al. (2015), biases small. BatchNorm has the statistics of
    what arrives there, so that nothing saturates or overflows however deep the net is.
    """
    net = runtime.Net(param, runtime.TEST, seed=SEED)
    fill_inputs(net)
    rng = np.random.default_rng(SEED)
    done: str | None = None
    for node in net.graph.nodes:
        blobs = net.params.get(node.name)
        if blobs is None:
            continue
        shapes = [blob.shape for blob in blobs]
        if node.type == "BatchNorm":
            net.forward(start=done, end=_before(net, node))
            x = net.blobs[net.graph.edges[node.bottoms[0]].blob].data
            axes = (0, *range(2, x.ndim))
            values = [x.mean(axes), x.var(axes) + 1e-3, np.ones(1)]
            done = node.name
        elif node.type == "Scale":
            values = [rng.uniform(0.5, 1, shapes[0]), rng.normal(0, 0.1, shapes[0])]
        else:
            fan_in = int(np.prod(shapes[0][1:]))
            values = [rng.normal(0, np.sqrt(2 / fan_in), shapes[0])]
            values += [rng.normal(0, 0.1, shape) for shape in shapes[1:]]
        for blob, value in zip(blobs, values, strict=False):
            blob.data[...] = value
    return {name: [b.data.copy() for b in bs] for name, bs in net.params.items()}


def _before(net: runtime.Net, node: Any) -> str:
    """Return the name of the layer ahead of a node."""
    nodes = [one for one in net.graph.nodes[: node.index] if one.type != "Split"]
    return str(nodes[-1].name)


def give(net: runtime.Net, values: dict[str, list[np.ndarray]]) -> None:
    """Copy parameters into a net."""
    for name, arrays in values.items():
        for blob, value in zip(net.params[name], arrays, strict=True):
            blob.data[...] = value
