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
        if node.type == "Embed" and not op.bias_term:
            return nn.Embedding(op.input_dim, op.num_output)
        if node.type == "LSTM" and len(op.bottoms) == 2:
            return nn.LSTM(op.bottoms[0][2], op.num_output)
        return None

    def load(self, net: Any) -> None:
        """Copy the parameters of a runtime net."""
        for node, part, _, _ in self._steps:
            source = net.params.get(node.name)
            if source is None:
                continue
            if node.type == "BatchNorm":
                factor = float(source[2].data[0]) or 1.0
                for theirs, ours in (
                    (part.running_mean, source[0]),
                    (part.running_var, source[1]),
                ):
                    theirs.copy_(torch.from_numpy(ours.data / factor))
                scale = self._scale_after(node)
                if scale is not None:
                    source = net.params[scale.name]
                    part.weight.data.copy_(torch.from_numpy(source[0].data))
                    part.bias.data.copy_(torch.from_numpy(source[1].data))
                continue
            if node.type == "LSTM":
                load_lstm(part, *(torch.from_numpy(blob.data) for blob in source))
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


def traced(net: TorchNet) -> torch.fx.GraphModule:
    """Return the same module, with the same parameters, as straight lines of calls.

    What a reader of the graph would write by hand: nothing of it is looked up while it
    runs, and `torch.compile` has no tables of ours to guard.
    """
    inputs = sum(len(node.tops) for node in net.graph.nodes if node.type == "Input")
    return torch.fx.symbolic_trace(_WITH_INPUTS[inputs](net))


class _Wrapped(nn.Module):
    """A net whose number of inputs is known, which tracing needs."""

    def __init__(self, net: TorchNet) -> None:
        super().__init__()
        self.net = net


class _One(_Wrapped):
    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return self.net(a)


class _Two(_Wrapped):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.net(a, b)


class _Three(_Wrapped):
    def forward(
        self, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor
    ) -> torch.Tensor:
        return self.net(a, b, c)


_WITH_INPUTS: dict[int, type[_Wrapped]] = {1: _One, 2: _Two, 3: _Three}


def load_lstm(
    part: nn.LSTM, w_x: torch.Tensor, bias: torch.Tensor, w_h: torch.Tensor
) -> None:
    """Copy parameters of an LSTM; our gates are i, f, o, g, PyTorch's i, f, g, o."""
    for theirs, ours in (
        (part.weight_ih_l0, w_x),
        (part.bias_ih_l0, bias),
        (part.weight_hh_l0, w_h),
    ):
        i, f, o, g = ours.chunk(4)
        theirs.data.copy_(torch.cat([i, f, g, o]))
    part.bias_hh_l0.data.zero_()


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
    if kind == "Embed":
        return part(x[0].long())
    if kind == "LSTM":  # of sequences that all begin with the first step
        return part(x[0])[0]
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
        return _cross_entropy(op, x[0], x[1].long())
    if kind == "Softmax":
        return F.softmax(x[0], op.axis)
    if kind == "SigmoidCrossEntropyLoss":
        loss = F.binary_cross_entropy_with_logits(
            x[0], x[1].view_as(x[0]), reduction="sum"
        )
        return loss / op.bottoms[0][0]
    if kind == "EuclideanLoss":
        return ((x[0] - x[1].view_as(x[0])) ** 2).sum() / (2 * op.bottoms[0][0])
    raise NotImplementedError(f"no PyTorch counterpart of layer type {kind}")


def _cross_entropy(op: Any, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    shape = op.bottoms[0]
    options = {} if op.ignore_label is None else {"ignore_index": op.ignore_label}
    if op.axis == len(shape) - 1:
        return F.cross_entropy(scores.flatten(0, -2), labels.flatten(), **options)
    if op.axis != 1:
        raise NotImplementedError(f"no PyTorch counterpart of axis {op.axis}")
    return F.cross_entropy(scores, labels.reshape(shape[0], *shape[2:]), **options)
