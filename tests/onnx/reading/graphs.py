"""Graphs for tests, as exporters write them, and what ONNX Runtime makes of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runtime
from netspec.errors import SpecWarning
from netspec.onnx.reading import from_onnx
from netspec.weights import Model

onnx = pytest.importorskip("onnx", reason="the library onnx is not installed")
helper = onnx.helper

OPSET = 17
IR = 8
TOLERANCE = 1e-5  # of the largest value of an output


def node(kind: str, inputs: str, outputs: str = "y", **options: Any) -> Any:
    """Return a node; names of tensors are separated by blanks, `_` is none."""
    given = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(kind, given, outputs.split(), **options)


def model(
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[Any]],
    arrays: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = ("y",),
    opset: int = OPSET,
    types: Mapping[str, int] | None = None,
) -> Any:
    """Return a model with initializers `arrays`; float64 stands for float32."""
    float32 = onnx.TensorProto.FLOAT
    kinds = types or {}
    held = {
        name: np.asarray(each, np.float32)
        if np.asarray(each).dtype == np.float64 and kinds.get(name) is None
        else np.asarray(each)
        for name, each in (arrays or {}).items()
    }
    graph = helper.make_graph(
        list(nodes),
        "main_graph",
        [
            helper.make_tensor_value_info(name, kinds.get(name, float32), shape)
            for name, shape in inputs.items()
        ],
        [
            helper.make_tensor_value_info(name, kinds.get(name, float32), None)
            for name in outputs
        ],
        [onnx.numpy_helper.from_array(each, name) for name, each in held.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR
    )


def values(seed: int, *shape: int) -> np.ndarray:
    """Return random numbers about 0."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def saved(tmp_path: Path, made: Any, name: str = "net.onnx") -> Path:
    """Write a model."""
    path = tmp_path / name
    path.write_bytes(made.SerializeToString())
    return path


def by_onnx_runtime(
    path: Path, data: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the outputs that ONNX Runtime computes."""
    ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(data)), strict=True))


def by_us(read: Model, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the outputs of the net that was read, in phase TEST."""
    net = runtime.Net(read.to_proto(), phase="TEST", backend="portable")
    given = {name: each.astype(np.float32) for name, each in data.items()}
    return {name: np.array(each) for name, each in net.forward(**given).items()}


def agrees(
    tmp_path: Path,
    made: Any,
    data: Mapping[str, np.ndarray] | None = None,
    *,
    warned: bool = False,
    tolerance: float = TOLERANCE,
) -> Model:
    """Read a model, compare it with ONNX Runtime, and return it.

    data: of inputs; random numbers where not given. warned: whether a warning is right.
    """
    path = saved(tmp_path, made)
    stored = {each.name for each in made.graph.initializer}
    given = dict(data or {})
    for seed, each in enumerate(made.graph.input):
        dims = [dim.dim_value or 1 for dim in each.type.tensor_type.shape.dim]
        if each.name not in stored:
            given.setdefault(each.name, values(seed + 100, *dims))
    with warnings.catch_warnings():
        if warned:
            warnings.simplefilter("ignore", SpecWarning)
        read = from_onnx(path)
    wanted, found = by_onnx_runtime(path, given), by_us(read, given)
    assert set(found) == set(wanted)
    for name, want in wanted.items():
        got = found[name]
        assert got.shape == want.shape
        assert np.all(np.isfinite(got)) or not np.all(np.isfinite(want))
        largest = np.abs(want[np.isfinite(want)]).max(initial=1e-30)
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * largest)
    return read


def types(read: Model) -> list[str]:
    """Return the types of the layers behind the inputs."""
    return [layer.type for layer in read.net.layer if layer.type != "Input"]


def names(read: Model) -> list[str]:
    """Return the names of the layers behind the inputs."""
    return [layer.name for layer in read.net.layer if layer.type != "Input"]


def layer(read: Model, name: str) -> Any:
    """Return the layer of a name."""
    return next(each for each in read.net.layer if each.name == name)


IMAGE = (2, 3, 16, 16)


def block(path, x, inner, arrays, seed, **options):
    """Nodes of a convolution, its normalization and ReLU, as torch.onnx names them."""
    channels = inner[1]
    name = path.split("/")[-1].replace("/", ".")
    keys = {key: f"{name}.{key}" for key in ("weight", "bn_w", "bn_b", "mean", "var")}
    arrays[keys["weight"]] = values(seed, channels, inner[0], 3, 3) * 0.3
    arrays[keys["bn_w"]] = np.abs(values(seed + 1, channels)) + 0.5
    arrays[keys["bn_b"]] = values(seed + 2, channels)
    arrays[keys["mean"]] = values(seed + 3, channels) * 0.1
    arrays[keys["var"]] = np.abs(values(seed + 4, channels)) + 0.5
    made = f"{path}/conv/Conv_output_0"
    normal = f"{path}/bn/BatchNormalization_output_0"
    last = f"{path}/relu/Relu_output_0"
    bn = " ".join([made, *(keys[k] for k in ("bn_w", "bn_b", "mean", "var"))])
    return [
        node(
            "Conv",
            f"{x} {keys['weight']}",
            made,
            name=f"{path}/conv/Conv",
            pads=[1, 1, 1, 1],
            **options,
        ),
        node(
            "BatchNormalization",
            bn,
            normal,
            name=f"{path}/bn/BatchNormalization",
            momentum=0.9,
        ),
        node("Relu", normal, last, name=f"{path}/relu/Relu"),
    ], last


def residual_net():
    """A residual net of two stages, one block each, with a classifier."""
    arrays: dict = {}
    first, a = block("/stem/stem.0", "input.1", (3, 4), arrays, 10, strides=[2, 2])
    second, b = block("/layer1/layer1.0", a, (4, 4), arrays, 20)
    nodes = [*first, *second]
    nodes.append(
        node(
            "Add",
            f"{b} {a}",
            "/layer1/layer1.0/Add_output_0",
            name="/layer1/layer1.0/Add",
        )
    )
    nodes += [
        node(
            "GlobalAveragePool",
            "/layer1/layer1.0/Add_output_0",
            "/avgpool/GlobalAveragePool_output_0",
            name="/avgpool/GlobalAveragePool",
        ),
        node("Flatten", "/avgpool/GlobalAveragePool_output_0", "flat", name="/Flatten"),
        node("Gemm", "flat fc.weight fc.bias", "495", name="/fc/Gemm", transB=1),
    ]
    arrays["fc.weight"], arrays["fc.bias"] = values(1, 5, 4), values(2, 5)
    return model(nodes, {"input.1": IMAGE}, arrays, outputs=("495",))
