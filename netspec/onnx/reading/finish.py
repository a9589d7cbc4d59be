"""Layers without names to a net: names, what is in place, what is shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netspec.onnx.reading.convert import INPUT, OUTPUT, Graph
from netspec.onnx.reading.naming import Names, Origin, origin_of, wanted_names
from netspec.onnx.reading.values import Blob, Layer, Weight
from netspec.schema import LayerParameter, NetParameter, ParamSpec
from netspec.weights import Model

# What may write over what: layers that need no more of their bottom than they keep, and
# makers whose gradient does not read what they made.
_IN_PLACE = frozenset(("BatchNorm", "Bias", "Dropout", "ELU", "PReLU", "ReLU", "Scale"))
_WRITTEN_OVER = frozenset(
    ("BatchNorm", "Bias", "Convolution", "Deconvolution", "InnerProduct", "Scale")
)


def finished(graph: Graph, name: str) -> Model:
    """Return the net of a graph, and its values by layer name."""
    layers = _with_silence(graph)
    outputs = {blob: name for name, blob in graph.outputs.items()}
    over = {id(layer) for layer in layers if _in_place(layer, outputs)}
    origins, labels = _origins(graph, layers)
    ends = _ends(layers, over)
    wanted = {
        blob: outputs[ends.get(blob, blob)]
        for layer in layers
        for blob in layer.tops
        if ends.get(blob, blob) in outputs
    }
    names = _layer_names(layers, labels, wanted, graph)
    _name_blobs(layers, names, over, wanted, graph)
    shared = _shared(layers, origins)
    net = NetParameter(name=name)
    weights = {}
    for layer, layer_name in zip(layers, names, strict=True):
        layer.message.name = layer_name
        _set_specs(layer, shared)
        net.layer.append(layer.message)
        if layer.weights:
            weights[layer_name] = [each.values for each in layer.weights]
    _warn_of_merged(graph, layers, shared)
    return Model(net, weights or None)


def _with_silence(graph: Graph) -> list[Layer]:
    """Return the layers, and one that reads what nothing else does."""
    outputs = set(graph.outputs.values())
    layers: list[Layer] = []
    build = graph.build
    for layer in list(build.layers):
        layers.append(layer)
        unread = [top for top in layer.tops if not top.readers and top not in outputs]
        if unread:
            build.node = layer.node
            message = LayerParameter(type="Silence")
            build.layers_of(message, unread, tops=0, role="rest")
            layers.append(build.layers[-1])
    return layers


def _in_place(layer: Layer, outputs: Mapping[Blob, str]) -> bool:
    """Tell whether a layer may write its result over its bottom."""
    if layer.type not in _IN_PLACE or len(layer.bottoms) != 1:
        return False
    bottom = layer.bottoms[0]
    maker = bottom.maker
    if maker is None or len(bottom.readers) != 1 or bottom in outputs:
        return False
    if maker.type == "Eltwise":
        return not maker.op.backward_tops
    dropped = layer.type == "Dropout" and maker.type == "ReLU"
    return maker.type in _WRITTEN_OVER or dropped


def _origins(
    graph: Graph, layers: Sequence[Layer]
) -> tuple[dict[int, Origin], dict[int, str]]:
    """Return where nodes that made layers come from, and the name each would like."""
    indices = dict.fromkeys(layer.node for layer in layers if layer.node >= 0)
    nodes: dict[int, Any] = {index: graph.needed[index] for index in indices}
    origins = {index: origin_of(node) for index, node in nodes.items()}
    types = {index: node.op_type for index, node in nodes.items()}
    wanted = wanted_names(origins, types)
    return origins, dict(zip(origins, wanted, strict=True))


def _layer_names(
    layers: Sequence[Layer],
    labels: Mapping[int, str],
    outputs: Mapping[Blob, str],
    graph: Graph,
) -> list[str]:
    """Return the name of every layer: that of its node, for others with their role.

    outputs: the names of blobs that are outputs in the end.
    """
    names = Names({each.name for each in graph.inputs} | set(graph.outputs))
    main = _main_layers(layers)
    given: dict[int, str] = {}
    for node, layer in main.items():
        own = next((outputs[top] for top in layer.tops if top in outputs), "")
        given[node] = names.new(labels[node], own)
    result = []
    for layer in layers:
        if layer.node in (INPUT, OUTPUT):
            result.append(layer.role)
        elif layer is main[layer.node]:
            result.append(given[layer.node])
        else:
            own = next((outputs[top] for top in layer.tops if top in outputs), "")
            role = layer.role or layer.type.lower()
            result.append(names.new(f"{given[layer.node]}/{role}", own))
    return result


def _main_layers(layers: Sequence[Layer]) -> dict[int, Layer]:
    """Return the layer of every node that has its name: the first without a role."""
    main: dict[int, Layer] = {}
    for layer in layers:
        if layer.node >= 0:
            known = main.get(layer.node)
            if known is None or (known.role and layer.type != "Silence"):
                main[layer.node] = layer
    return main


def _name_blobs(
    layers: Sequence[Layer],
    names: Sequence[str],
    over: set[int],
    outputs: Mapping[Blob, str],
    graph: Graph,
) -> None:
    """Give tops the names of their layers, outputs their own, and wire by them."""
    taken = Names([*names, *graph.outputs, *(each.name for each in graph.inputs)])
    blobs: dict[Blob, str] = {}
    for layer, name in zip(layers, names, strict=True):
        message = layer.message
        del message.bottom[:], message.top[:]
        message.bottom.extend(blobs[blob] for blob in layer.bottoms)
        for place, top in enumerate(layer.tops):
            if id(layer) in over:
                blobs[top] = blobs[layer.bottoms[0]]
            elif top in outputs:
                blobs[top] = outputs[top]
            elif layer.node == INPUT or (place == 0 and name not in graph.outputs):
                blobs[top] = name
            else:
                blobs[top] = taken.new(f"{name}_{place}")
            message.top.append(blobs[top])


def _ends(layers: Sequence[Layer], over: set[int]) -> dict[Blob, Blob]:
    """Return for every blob the last one that is written over it."""
    ends: dict[Blob, Blob] = {}
    for layer in reversed(layers):
        if id(layer) in over:
            top = layer.tops[0]
            ends[layer.bottoms[0]] = ends.get(top, top)
    return ends


def _shared(
    layers: Sequence[Layer], origins: Mapping[int, Origin]
) -> dict[str, list[tuple[Layer, int]]]:
    """Return the parameters that several layers share, by source, with their users.

    Exporters write equal arrays once, so that fresh biases or statistics of many layers
    are one. An array of one value throughout is shared only by layers of one module, or
    by such as share another array too.
    """
    users: dict[str, list[tuple[Layer, int]]] = {}
    for layer in layers:
        for slot, weight in enumerate(layer.weights):
            if weight.source:
                users.setdefault(weight.source, []).append((layer, slot))
    several = {key: found for key, found in users.items() if len(found) > 1}
    certain: dict[str, list[tuple[Layer, int]]] = {}
    pairs: set[tuple[int, ...]] = set()
    for key, found in several.items():
        if not _is_plain(found[0][0].weights[found[0][1]]):
            certain[key] = found
            pairs.add(tuple(id(layer) for layer, _ in found))
    for key, found in several.items():
        together = tuple(id(layer) for layer, _ in found)
        paths = {
            origins[layer.node].path if layer.node in origins else ()
            for layer, _ in found
        }
        of_module = len(paths) == 1 and () not in paths
        if key not in certain and (together in pairs or of_module):
            certain[key] = found
    return certain


def _is_plain(weight: Weight) -> bool:
    """Tell whether all values of a parameter are the same number."""
    values = weight.values
    return values.size < 2 or bool(np.all(values == values.reshape(-1)[0]))


def _set_specs(layer: Layer, shared: Mapping[str, Sequence[tuple[Layer, int]]]) -> None:
    """Name shared parameters, and keep from learning what is no parameter."""
    specs = []
    for weight in layer.weights:
        spec = ParamSpec()
        if weight.source in shared:
            spec.name = weight.source
        if not weight.learned or (layer.type == "BatchNorm" and spec.name):
            spec.lr_mult = spec.decay_mult = 0
        specs.append(spec)
    if any(spec.ListFields() for spec in specs):
        layer.message.param.extend(specs)


def _warn_of_merged(
    graph: Graph,
    layers: Sequence[Layer],
    shared: Mapping[str, Sequence[tuple[Layer, int]]],
) -> None:
    users: dict[str, int] = {}
    for layer in layers:
        for weight in layer.weights:
            if weight.source and weight.source not in shared:
                users[weight.source] = users.get(weight.source, 0) + 1
    several = [key for key, count in users.items() if count > 1]
    if several:
        graph.build.doubt(
            f"{len(several)} arrays of one value, such as {several[0]!r}, belong to "
            f"several layers; exporters write equal arrays once, so each layer gets "
            f"its own"
        )
