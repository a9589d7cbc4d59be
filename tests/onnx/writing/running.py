"""Nets in ONNX Runtime beside the same nets in the runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pytest

import netspec
import runtime
from netspec.graph import Graph, Parameter, build
from netspec.nets.state import State
from netspec.schema import TEST, NetParameter
from netspec.text import as_net

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

Arrays = Mapping[str, np.ndarray]
Weights = dict[str, list[np.ndarray]]


def net_of(
    layer: str, shapes: Sequence[Sequence[int]], tops: int = 1
) -> tuple[NetParameter, Graph]:
    """A net of one layer; layer: all of it but its name, bottoms and tops."""
    lines = []
    for place, shape in enumerate(shapes):
        dims = " ".join(f"dim: {size}" for size in shape)
        lines.append(
            f'layer {{ name: "in{place}" type: "Input" top: "x{place}" '
            f"input_param {{ shape {{ {dims} }} }} }}"
        )
    bottoms = " ".join(f'bottom: "x{place}"' for place in range(len(shapes)))
    names = " ".join(f'top: "y{place}"' for place in range(tops))
    lines.append(f'layer {{ name: "layer" {bottoms} {names} {layer} }}')
    net = as_net("\n".join(lines))
    return net, build(net, State(TEST))


def weights_of(graph: Graph, seed: int = 0) -> Weights:
    """Values of all parameters, none of them 0 or 1, such that deep nets stay small."""
    rng = np.random.default_rng(seed)
    values = [_values(rng, graph, each) for each in graph.parameters]
    return {
        node.name: [values[index] for index in node.params]
        for node in graph.nodes
        if node.params
    }


def _values(rng: np.random.Generator, graph: Graph, parameter: Parameter) -> np.ndarray:
    node, slot = graph.nodes[parameter.owner.node], parameter.owner.slot
    shape = parameter.shape
    if node.type == "BatchNorm" and slot == 2:
        values = np.full(shape, 2.5)
    elif node.type in ("BatchNorm", "Scale", "Normalize") and slot < 2:
        values = rng.uniform(0.5, 1.5, shape)
    elif len(shape) > 1:
        fan_in = np.prod(shape[1:])
        values = rng.standard_normal(shape) * np.sqrt(2 / fan_in)
    else:
        values = rng.uniform(-0.3, 0.3, shape)
    return np.asarray(values, np.float32)


def inputs_of(graph: Graph, seed: int = 1) -> dict[str, np.ndarray]:
    """Values of all inputs, within what the layers that read them take."""
    rng = np.random.default_rng(seed)
    found = {}
    for edge in graph.edges:
        if graph.nodes[edge.producer].type != "Input":
            continue
        limits = None
        for node, place in _readers(graph, edge.index):
            limits = limits or graph.nodes[node].op.ranges.get(place)
        if limits is None:
            values = rng.standard_normal(edge.shape)
        elif limits.integer:
            values = rng.integers(int(limits.low), int(limits.high) + 1, edge.shape)
        else:
            values = rng.uniform(limits.low, limits.high, edge.shape)
        found[edge.blob] = np.asarray(values, np.float32)
    return found


def _readers(graph: Graph, edge: int) -> Iterable[tuple[int, int]]:
    """The layers that read an edge, also through Split, Slice, Reshape and Concat."""
    for node, place in graph.edges[edge].consumers:
        yield node, place
        if graph.nodes[node].type in ("Split", "Slice", "Reshape", "Concat"):
            for top in graph.nodes[node].tops:
                yield from _readers(graph, top)


def in_runtime(net: NetParameter, weights: Weights, x: Arrays) -> dict[str, np.ndarray]:
    """The outputs of a net in the runtime's portable kernels."""
    made = runtime.Net(net, runtime.TEST, backend="portable")
    for name, held in weights.items():
        for blob, values in zip(made.params[name], held, strict=True):
            blob.data[...] = values.reshape(blob.data.shape)
    for name, values in x.items():
        made.blobs[name].data[...] = values
    made.forward()
    outputs = [name for name in made.outputs if name not in x]
    return {name: np.array(made.blobs[name].data) for name in outputs}


def in_onnx(model, x: Arrays) -> dict[str, np.ndarray]:
    """The outputs of a model, which the checker of ONNX has passed before."""
    onnx.checker.check_model(model, full_check=True)
    return run(model.SerializeToString(), x)


def run(model: bytes | str, x: Arrays) -> dict[str, np.ndarray]:
    """The outputs of a model, or of a file, in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_inputs()]
    outputs = session.run(None, {name: x[name] for name in names})
    return {
        each.name: value
        for each, value in zip(session.get_outputs(), outputs, strict=True)
    }


def check_equal(got: Arrays, wanted: Arrays, tolerance: float = 1e-5) -> None:
    """Compare outputs: names, shapes, and values relative to the largest."""
    assert sorted(got) == sorted(wanted)
    for name, right in wanted.items():
        assert got[name].shape == right.shape, name
        largest = np.abs(right[np.isfinite(right)]).max(initial=0) or 1
        np.testing.assert_allclose(
            got[name], right, rtol=0, atol=tolerance * largest, err_msg=name
        )


def compare(net: NetParameter, *, opset: int = 17, seed: int = 0) -> None:
    """Check that a net gives the same numbers in ONNX Runtime as in the runtime."""
    graph = build(net, State(TEST))
    weights, x = weights_of(graph, seed), inputs_of(graph, seed + 1)
    model = netspec.to_onnx(net, weights, opset=opset)
    check_equal(in_onnx(model, x), in_runtime(net, weights, x))
