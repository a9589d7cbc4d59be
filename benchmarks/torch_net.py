"""A net of ours as a PyTorch module, to be measured against."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from netspec.graph import Graph, Node


class TorchNet(nn.Module):
    """The layers of a graph, run one after the other on tensors.

    A BatchNorm with the Scale that follows it is one module, as PyTorch's users write
    it. `forward` takes the input blobs in order; in training it returns the objective,
    else the first output.
    """

    def __init__(self, graph: Graph, *, train: bool) -> None:
        super().__init__()
        self.graph = graph
        self.training_objective = train
        self.parts = nn.ModuleDict()
        self._joined: set[int] = set()
        self._steps: list[tuple[Node, Any, tuple[int, ...], tuple[int, ...]]] = []
        for node in graph.nodes:
            if node.type in {"Input", "Split"} or node.index in self._joined:
                continue
            part = self._part(node)
            if part is not None:
                self.parts[f"n{node.index}"] = part
            tops = node.tops
            scale = self._scale_after(node)
            if scale is not None:
                tops = scale.tops
            self._steps.append((node, part, node.bottoms, tops))
        self._roots = self._find_roots()
        self.train(train)

    def _find_roots(self) -> dict[int, int]:
        """Say for every edge which edge it is a copy of."""
        roots = {edge.index: edge.index for edge in self.graph.edges}
        for node in self.graph.nodes:
            if node.type == "Split":
                for top in node.tops:
                    roots[top] = roots[node.bottoms[0]]
        return roots

    def _scale_after(self, node: Node) -> Node | None:
        if node.type != "BatchNorm":
            return None
        after = self.graph.nodes[node.index + 1]
        return after if after.type == "Scale" else None

    def _part(self, node: Node) -> nn.Module | None:
        op: Any = node.op
        if node.type == "Convolution":
            return nn.Conv2d(
                op.bottoms[0][1],
                op.num_output,
                op.kernel,
                op.stride,
                op.pad,
                op.dilation,
                op.group,
                bias=op.bias_term,
            )
        if node.type == "InnerProduct":
            columns = op.params[0].shape[1]
            return nn.Linear(columns, op.num_output, bias=op.bias_term)
        if node.type == "BatchNorm":
            scale = self._scale_after(node)
            if scale is not None:
                self._joined.add(scale.index)
            return nn.BatchNorm2d(op.channels, eps=op.eps, affine=scale is not None)
        if node.type == "Scale":
            return _Scale(op.scale_shape[0], op.bias_term)
        if node.type == "Dropout":
            return nn.Dropout(op.dropout_ratio)
        return None

    def load(self, net: Any) -> None:
        """Copy the parameters of a runtime net."""
        for node, part, _, _ in self._steps:
            source = net.params.get(node.name)
            if source is None:
                continue
            if node.type == "BatchNorm":
                scale = self._scale_after(node)
                if scale is not None:
                    source = net.params[scale.name]
                    part.weight.data.copy_(torch.from_numpy(source[0].data))
                    part.bias.data.copy_(torch.from_numpy(source[1].data))
                continue
            part.weight.data.copy_(torch.from_numpy(source[0].data))
            if len(source) > 1:
                part.bias.data.copy_(torch.from_numpy(source[1].data))

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Compute the objective, or the output."""
        values: dict[int, torch.Tensor] = {}
        given = iter(inputs)
        for node in self.graph.nodes:
            if node.type == "Input":
                for top in node.tops:
                    values[top] = next(given)
        objective: Any = 0.0
        y = inputs[0]
        for node, part, bottoms, tops in self._steps:
            x = [values[self._roots[bottom]] for bottom in bottoms]
            y = _run(node, part, x)
            outputs = y if isinstance(y, tuple) else (y,)
            for top, value, weight in zip(
                tops, outputs, (*node.loss_weights, 0, 0), strict=False
            ):
                values[top] = value
                if weight:
                    objective = objective + weight * value.sum()
        return objective if self.training_objective else y


class _Scale(nn.Module):
    def __init__(self, size: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = (1, -1, *([1] * (x.ndim - 2)))
        y = x * self.weight.view(shape)
        return y if self.bias is None else y + self.bias.view(shape)


def _run(node: Node, part: Any, x: list[torch.Tensor]) -> Any:
    op: Any = node.op
    kind = node.type
    if kind == "InnerProduct":
        return part(x[0].flatten(op.axis))
    if part is not None:
        return part(x[0])
    if kind == "ReLU":
        if op.negative_slope:
            return F.leaky_relu(x[0], op.negative_slope, inplace=True)
        return F.relu(x[0], inplace=True)
    if kind == "Sigmoid":
        return torch.sigmoid(x[0])
    if kind == "Pooling":
        pool = F.max_pool2d if op.pool == "MAX" else F.avg_pool2d
        return pool(x[0], op.kernel, op.stride, op.pad, ceil_mode=True)
    if kind == "LRN":
        if op.norm_region == "ACROSS_CHANNELS":
            return F.local_response_norm(x[0], op.local_size, op.alpha, op.beta, op.k)
        size = op.local_size
        energy = F.avg_pool2d(x[0] * x[0], size, stride=1, padding=size // 2)
        return x[0] * (1 + op.alpha * energy) ** -op.beta
    if kind == "Concat":
        return torch.cat(x, op.axis)
    if kind == "Eltwise":
        return x[0] + x[1]
    if kind == "Flatten":
        return x[0].flatten(1)
    return _loss(node, x)


def _loss(node: Node, x: list[torch.Tensor]) -> Any:
    op: Any = node.op
    kind = node.type
    if kind == "SoftmaxWithLoss":
        labels = x[1].long().reshape(len(x[0]), *x[0].shape[2:])
        return F.cross_entropy(x[0], labels)
    if kind == "Softmax":
        return F.softmax(x[0], op.axis)
    if kind == "SigmoidCrossEntropyLoss":
        loss = F.binary_cross_entropy_with_logits(
            x[0], x[1].view_as(x[0]), reduction="sum"
        )
        return loss / len(x[0])
    if kind == "EuclideanLoss":
        return ((x[0] - x[1].view_as(x[0])) ** 2).sum() / (2 * len(x[0]))
    raise NotImplementedError(f"no PyTorch counterpart of layer type {kind}")
