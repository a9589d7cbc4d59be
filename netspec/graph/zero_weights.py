"""Layers that start with all weights zero, one above the other."""

from __future__ import annotations

from collections.abc import Callable

from netspec.errors import layer_label
from netspec.graph.types import Graph, Parameter
from netspec.schema import NetParameter

WEIGHTED = ("Convolution", "Deconvolution", "InnerProduct")  # x times parameter 0


def may_start_zero(net: NetParameter) -> bool:
    """Tell cheaply whether `zero_weights` may have to say something of a net."""
    without = 0
    for layer in net.layer:
        if layer.type in WEIGHTED and not len(layer.blobs):
            inner = layer.type == "InnerProduct"
            param = layer.inner_product_param if inner else layer.convolution_param
            filler = param.weight_filler
            without += filler.type == "constant" and filler.value == 0
    return without > 1


def starts_zero(parameter: Parameter) -> bool:
    """Tell whether a parameter is filled with zeros, as one without a filler is."""
    constant = parameter.filler.type == "constant" and parameter.filler.value == 0
    return constant and parameter.blob is None


def zero_weights(
    graph: Graph, is_zero: Callable[[Parameter], bool] = starts_zero
) -> str | None:
    """Return a sentence about layers that cannot learn as their weights are zero.

    y = W x with W = 0 gives dx = W' dy = 0, and, as y = 0, a layer above it with W = 0
    gets dW = dy x' = 0: both stay as they are, whatever the data. With biases or
    another function of 0 in between they learn the same for every channel. One such
    layer alone learns, and so does one whose input comes in part from elsewhere.

    is_zero: tells of a parameter whether it is zero; by default from its filler.
    """
    dead: dict[int, frozenset[int]] = {}  # edges that only zero layers feed, by edge
    found: set[int] = set()
    for node in graph.nodes:
        below = [dead.get(edge) for edge in node.bottoms]
        feeders = frozenset[int]()
        if below and None not in below:
            feeders = feeders.union(*(each for each in below if each is not None))
        weight = graph.parameters[node.params[0]] if node.params else None
        zero = node.type in WEIGHTED and node.learn[0] and weight is not None
        if zero and weight is not None and is_zero(weight):
            if feeders:
                found |= {node.index, *feeders}
            feeders = frozenset((node.index,))
        if feeders:
            dead |= dict.fromkeys(node.tops, feeders)
    if not found:
        return None
    names = [
        layer_label(graph.nodes[i].name, graph.nodes[i].type) for i in sorted(found)
    ]
    return (
        f"{', '.join(names[:-1])} and {names[-1]} start with all weights zero, one "
        f"above the other, so they learn nothing, or the same in every channel; give "
        f'them a weight_filler, such as weight_filler {{ type: "xavier" }}'
    )
