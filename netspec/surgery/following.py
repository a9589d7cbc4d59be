"""What layers do with a blob that was flat, (N, K), and becomes (N, C, H, W).

`follow` changes the options of a layer so that it computes the same numbers, also on
larger maps, or says why it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from netspec.graph import Node
from netspec.ops.base import count
from netspec.ops.scale import Scale
from netspec.schema import BiasParameter, LayerParameter, ScaleParameter

# The axes (C, H, W) behind the batch that a flat blob gets; None where it stays flat.
Spatial: TypeAlias = tuple[int, int, int] | None
Follow: TypeAlias = Callable[
    [Node, LayerParameter, Sequence[Spatial]], list[Spatial] | str
]

POINTWISE = frozenset(
    (
        *("AbsVal", "BNLL", "Clip", "Dropout", "ELU", "Exp", "Log", "Power", "ReLU"),
        *(
            "ReLU6",
            "ReLUX",
            "SeLu",
            "SeLuDropout",
            "Sigmoid",
            "Swish",
            "TanH",
            "Threshold",
        ),
    )
)
_ENDS = frozenset(("Silence", "HDF5Output"))
# Losses that compare blobs of as many values each, place by place.
_BY_VALUE = frozenset(
    (
        *("EuclideanLoss", "L1Loss", "SigmoidCrossEntropyBalanceLoss"),
        *("SigmoidCrossEntropyLoss", "SmoothL1Loss"),
    )
)
_OPTIONS = {
    "Accuracy": "accuracy_param",
    "InfogainLoss": "infogain_loss_param",
    "Softmax": "softmax_param",
    "SoftmaxWithLoss": "softmax_param",
}
_SPREAD = "its channels would no longer be those that it has values for"
_NOT_FLAT = "it goes along another axis than that of the channels"


def follow(
    node: Node, layer: LayerParameter, bottoms: Sequence[Spatial]
) -> list[Spatial] | str:
    """Change a layer for bottoms that get maps; return what its tops get.

    node: the layer as it was, with flat bottoms. layer: is changed. Returns the reason,
    as text, where the layer cannot follow.
    """
    if node.type in POINTWISE or node.type == "Split":
        return [bottoms[0]] * len(node.tops)
    if node.type in _ENDS:
        return []
    if node.type in _BY_VALUE:
        return [None] * len(node.tops)
    rule = _RULES.get(node.type)
    if rule is None:
        return f"it is not known to take (N, C, H, W) for (N, K) as well: {node.type}"
    return rule(node, layer, bottoms)


def _is_map(spatial: Spatial) -> bool:
    return spatial is not None and spatial[1:] != (1, 1)


def _prelu(
    node: Node, layer: LayerParameter, bottoms: Sequence[Spatial]
) -> list[Spatial] | str:
    if _is_map(bottoms[0]) and count(node.op.params[0].shape) > 1:
        return _SPREAD
    return [bottoms[0]]


def _batch_norm(
    node: Node, layer: LayerParameter, bottoms: Sequence[Spatial]
) -> list[Spatial] | str:
    return _SPREAD if _is_map(bottoms[0]) else [bottoms[0]]


def _scale(
    node: Node, layer: LayerParameter, bottoms: Sequence[Spatial]
) -> list[Spatial] | str:
    """Scale and Bias: by a parameter, or by a second bottom."""
    op: Any = node.op
    param: ScaleParameter | BiasParameter
    if isinstance(op, Scale):
        small, axis, param = op.scale_shape, op.axis, layer.scale_param
    else:
        small, axis, param = op.bias_shape, op.axis, layer.bias_param
    if len(bottoms) == 2:
        if bottoms[0] is None:
            return "its second bottom would have more axes than the first"
        if bottoms[1] is not None:
            same = bottoms[0] == bottoms[1] and axis == 0 and not node.params
            return [bottoms[0]] if same else _NOT_FLAT
        for_items = axis == 0 and len(small) == 1
        if _is_map(bottoms[0]) and not for_items:
            return _SPREAD
        param.axis = axis
        return [bottoms[0]]
    if small == ():
        return [bottoms[0]]
    if axis != 1:
        return _NOT_FLAT
    if _is_map(bottoms[0]):
        return _SPREAD
    param.axis, param.num_axes = 1, 1
    return [bottoms[0]]


def _classes(
    node: Node, layer: LayerParameter, bottoms: Sequence[Spatial]
) -> list[Spatial] | str:
    """Softmax, and what compares scores of classes with labels."""
    if any(each is not None for each in bottoms[1:]):
        return "its labels would become maps"
    op: Any = node.op
    if op.axis != 1:
        return _NOT_FLAT
    if _is_map(bottoms[0]):
        return _SPREAD
    getattr(layer, _OPTIONS[node.type]).axis = 1
    if node.type == "Softmax":
        return [bottoms[0]]
    if node.type == "Accuracy":
        return [None] * len(node.tops)
    return [None, bottoms[0]][: len(node.tops)]


def _alike(
    node: Node, layer: LayerParameter, bottoms: Sequence[Spatial]
) -> list[Spatial] | str:
    """Eltwise and ContrastiveLoss: all bottoms have one shape."""
    if node.type == "ContrastiveLoss":
        maps = [each for each in bottoms if _is_map(each)]
        return _SPREAD if maps else [None] * len(node.tops)
    if any(each != bottoms[0] for each in bottoms):
        return "its bottoms would no longer have one shape; cast all that lead to it"
    return [bottoms[0]]


def _concat(
    node: Node, layer: LayerParameter, bottoms: Sequence[Spatial]
) -> list[Spatial] | str:
    op: Any = node.op
    maps = [each for each in bottoms if each is not None]
    axis = op.axis
    first = maps[0]
    fits = all(each[1:] == first[1:] for each in maps)
    if len(maps) < len(bottoms) or not fits:
        return "its bottoms would no longer fit together; cast all that lead to it"
    layer.concat_param.ClearField("concat_dim")
    layer.concat_param.axis = axis
    if axis == 0:
        return [first]
    return [(sum(each[0] for each in maps), *first[1:])]


def _slice(
    node: Node, layer: LayerParameter, bottoms: Sequence[Spatial]
) -> list[Spatial] | str:
    op: Any = node.op
    axis = op.axis
    if axis == 1 and _is_map(bottoms[0]):
        return _SPREAD
    layer.slice_param.ClearField("slice_dim")
    layer.slice_param.axis = axis
    if axis == 0:
        return [bottoms[0]] * len(node.tops)
    return [(top[1], 1, 1) for top in node.op.tops]


def _inner_product(
    node: Node, layer: LayerParameter, bottoms: Sequence[Spatial]
) -> list[Spatial] | str:
    """One that stays: it flattens maps as they were flattened before."""
    op: Any = node.op
    layer.inner_product_param.axis = op.axis
    return [None]


def _arg_max(
    node: Node, layer: LayerParameter, bottoms: Sequence[Spatial]
) -> list[Spatial] | str:
    param = layer.argmax_param
    if _is_map(bottoms[0]):
        return _SPREAD
    if not param.HasField("axis") and param.out_max_val:
        return "with axis, which maps need, it gives no places beside the values"
    if param.HasField("axis") and param.axis not in (1, -1):
        return _NOT_FLAT
    param.axis = 1
    return [(param.top_k, 1, 1)]


_RULES: dict[str, Follow] = {
    "Accuracy": _classes,
    "ArgMax": _arg_max,
    "BN": _batch_norm,
    "BatchNorm": _batch_norm,
    "Bias": _scale,
    "Concat": _concat,
    "ContrastiveLoss": _alike,
    "Eltwise": _alike,
    "InfogainLoss": _classes,
    "InnerProduct": _inner_product,
    "PReLU": _prelu,
    "Scale": _scale,
    "Slice": _slice,
    "Softmax": _classes,
    "SoftmaxWithLoss": _classes,
}
