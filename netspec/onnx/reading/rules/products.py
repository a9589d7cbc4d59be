"""Gemm and MatMul with constant matrices: InnerProduct."""

from __future__ import annotations

import numpy as np

from netspec.onnx.reading.build import Build, as_weight
from netspec.onnx.reading.node import Node
from netspec.onnx.reading.rules.table import rule
from netspec.onnx.reading.values import Blob, Constant, Weight
from netspec.schema import InnerProductParameter, LayerParameter


@rule("Gemm")
def gemm(node: Node, net: Build) -> Blob:
    """Make alpha A B + beta C with a constant B an InnerProduct."""
    x = net.blob(node, 0, "A")
    if len(x.shape) != 2:
        node.refuse(f"A has shape {x.shape}; expected two axes")
    if node.flag("transA"):
        x = net.permute(x, (1, 0))
    matrix = node.constant(1, "B")
    if len(matrix.shape) != 2:
        node.refuse(f"B has shape {matrix.shape}; expected two axes")
    alpha, beta = node.option("alpha"), node.option("beta")
    weights = _rows(matrix, transposed=node.flag("transB"), factor=alpha)
    bias = None
    if node.has(2):
        bias = _bias(node, node.constant(2, "C"), weights.values.shape[0], beta)
    return _inner_product(node, net, x, weights, bias, axis=1)


@rule("MatMul")
def mat_mul(node: Node, net: Build) -> Blob:
    """Multiply by a constant matrix: InnerProduct on the last axis."""
    x = net.blob(node, 0, "A")
    matrix = node.constant(1, "B")
    if not x.shape:
        node.refuse("A is a scalar")
    values, shape = matrix.values, matrix.shape
    if len(shape) > 2 and set(shape[:-2]) == {1} and len(shape) <= len(x.shape):
        shape = shape[-2:]
    if len(shape) == 1:
        shape = (*shape, 1)
    if len(shape) != 2:
        node.refuse(
            f"B has shape {matrix.shape} for A of shape {x.shape}; expected one matrix"
        )
    held = Constant(values.reshape(shape), matrix.source, matrix.learned)
    weights = _rows(held, transposed=False, factor=1.0)
    before = x.shape
    if len(before) == 1:
        x = net.reshape(x, (1, *before))
    y = _inner_product(node, net, x, weights, None, axis=len(x.shape) - 1)
    wanted = before[:-1] if len(matrix.shape) == 1 else (*before[:-1], shape[1])
    return net.reshape(y, wanted, "shape")


def _rows(matrix: Constant, *, transposed: bool, factor: float) -> Weight:
    """Return a matrix as Caffe has it, a row for every output."""
    done = []
    values = matrix.real()
    if not transposed:
        values = np.ascontiguousarray(values.T)
        done.append("transposed")
    if factor != 1:
        values = values * np.float32(factor)
        done.append(f"times {factor:g}")
    return as_weight(matrix, values, " ".join(done))


def _bias(node: Node, constant: Constant, outputs: int, factor: float) -> Weight:
    """Return C as a bias: the same for every row."""
    shape = (1,) * (2 - len(constant.shape)) + constant.shape
    if len(shape) != 2 or shape[0] != 1 or shape[1] not in (1, outputs):
        node.refuse(
            f"C has shape {constant.shape}; expected ({outputs},), the same for all "
            f"items"
        )
    values = constant.real().reshape(-1)
    done = "" if factor == 1 else f"times {factor:g}"
    if values.size != outputs:
        values = np.broadcast_to(values, (outputs,)).copy()
        done += " spread"
    return as_weight(constant, values * np.float32(factor), done)


def _inner_product(
    node: Node, net: Build, x: Blob, weights: Weight, bias: Weight | None, axis: int
) -> Blob:
    outputs, inputs = weights.values.shape
    if x.shape[axis] != inputs:
        node.refuse(
            f"A has shape {x.shape}, the matrix is for {inputs} values in a row"
        )
    param = InnerProductParameter(num_output=outputs)
    if axis != 1:
        param.axis = axis
    if bias is None:
        param.bias_term = False
    message = LayerParameter(type="InnerProduct", inner_product_param=param)
    return net.layer(message, [x], [weights] if bias is None else [weights, bias])
