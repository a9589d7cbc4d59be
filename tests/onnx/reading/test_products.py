"""Gemm and MatMul against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from netspec.errors import UnsupportedError
from netspec.onnx.reading import from_onnx
from tests.onnx.reading.graphs import agrees, model, node, saved, types, values


@pytest.mark.parametrize(
    ("options", "b", "c"),
    [
        ({"transB": 1}, (5, 6), (5,)),
        ({}, (6, 5), (1, 5)),
        ({"alpha": 0.5, "beta": 0.25}, (6, 5), (5,)),
        ({"transB": 1, "alpha": 2.0}, (5, 6), None),
        ({"beta": 3.0}, (6, 5), (1,)),
        ({}, (6, 5), ()),
    ],
)
def test_gemm(tmp_path, options, b, c):
    held = {"b": values(1, *b)}
    if c is not None:
        held["c"] = values(2, *c)
    inputs = "x b" if c is None else "x b c"
    net = model([node("Gemm", inputs, **options)], {"x": (3, 6)}, held)
    read = agrees(tmp_path, net)
    assert types(read) == ["InnerProduct"]
    assert read.net.layer[1].inner_product_param.bias_term is (c is not None)


def test_gemm_of_a_transposed_blob(tmp_path):
    nodes = [node("Gemm", "x b", transA=1)]
    agrees(tmp_path, model(nodes, {"x": (6, 3)}, {"b": values(1, 6, 5)}))


@pytest.mark.parametrize(
    ("x", "b"),
    [
        ((3, 6), (6, 5)),
        ((2, 3, 6), (6, 5)),
        ((2, 3, 4, 6), (6, 5)),
        ((2, 3, 6), (1, 6, 5)),
        ((2, 3, 6), (6,)),
        ((6,), (6, 5)),
    ],
)
def test_mat_mul(tmp_path, x, b):
    agrees(tmp_path, model([node("MatMul", "x b")], {"x": x}, {"b": values(1, *b)}))


@pytest.mark.parametrize(
    ("nodes", "inputs", "held", "said"),
    [
        (
            [node("MatMul", "x z")],
            {"x": (2, 3), "z": (3, 2)},
            {},
            "B is computed by the net",
        ),
        ([node("MatMul", "b x")], {"x": (3, 2)}, {"b": (2, 3)}, "A is a constant"),
        (
            [node("MatMul", "x b")],
            {"x": (2, 4, 3)},
            {"b": (2, 3, 5)},
            r"B has shape \(2, 3, 5\)",
        ),
        (
            [node("Gemm", "x b c")],
            {"x": (4, 3)},
            {"b": (3, 5), "c": (4, 1)},
            r"C has shape \(4, 1\)",
        ),
    ],
)
def test_products_that_no_layer_makes_are_refused(tmp_path, nodes, inputs, held, said):
    arrays = {name: values(1, *shape) for name, shape in held.items()}
    with pytest.raises(UnsupportedError, match=said):
        from_onnx(saved(tmp_path, model(nodes, inputs, arrays)))


def test_weights_that_the_graph_transposes_itself(tmp_path):
    # As torch.onnx writes a linear layer of three axes without constant folding.
    nodes = [
        node("Transpose", "w", "t", perm=[1, 0]),
        node("MatMul", "x t", "m"),
        node("Add", "b m"),
    ]
    held = {"w": values(1, 5, 6), "b": values(2, 5)}
    read = agrees(tmp_path, model(nodes, {"x": (2, 3, 6)}, held))
    assert types(read) == ["InnerProduct"]
    assert not read.net.layer[1].param  # what a parameter was made of learns
    assert read.weights is not None
    np.testing.assert_array_equal(read.weights["m"][0], held["w"])
