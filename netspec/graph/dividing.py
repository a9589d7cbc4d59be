"""Whether the items of a batch stay apart in a net, which a batch in parts needs.

Axis 0 of every blob must be that of the items, up to losses that are means, or sums,
over them. Types that are not listed are refused: nobody looked at them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, Literal, TypeAlias

from netspec.errors import SpecError, UnsupportedError, shown
from netspec.graph.types import Graph, Node
from netspec.ops.base import label
from netspec.schema import LayerParameter, NetParameter

Parts: TypeAlias = int | Literal["auto"]

# Layers that are refused as the net is read, and why.
REFUSED = {
    "Input": "is filled by you; give it the parts one after the other, and the solver "
    "iter_size",
    "Python": "may do anything with the items of a batch",
    "Filter": "takes a number of items that only the data tells",
    "WindowData": "draws the windows of a batch together",
}

# Each item of a top is made of the same item of the bottoms.
_APART = frozenset(
    {
        "AbsVal",
        "ArgMax",
        "Axpy",
        "BNLL",
        "BatchNorm",
        "BN",
        "Bias",
        "Clip",
        "Concat",
        "Convolution",
        "Crop",
        "Deconvolution",
        "Dropout",
        "ELU",
        "Eltwise",
        "Embed",
        "Exp",
        "Flatten",
        "Im2col",
        "InnerProduct",
        "Interp",
        "LRN",
        "Local",
        "Log",
        "MVN",
        "Normalize",
        "PReLU",
        "Permute",
        "Pooling",
        "Power",
        "ReLU",
        "ReLU6",
        "Reduction",
        "Reorg",
        "Reshape",
        "SPP",
        "Scale",
        "SeLu",
        "SeLuDropout",
        "ShuffleChannel",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Swish",
        "TanH",
        "Threshold",
        "Tile",
        "Upsample",
    }
)
# Means over the items, if `loss_param` does not say otherwise.
_MEANS = frozenset(
    {
        "ContrastiveLoss",
        "EuclideanLoss",
        "FocalLoss",
        "HingeLoss",
        "InfogainLoss",
        "L1Loss",
        "MultinomialLogisticLoss",
        "SigmoidCrossEntropyLoss",
        "SmoothL1Loss",
        "SoftmaxWithLoss",
    }
)
_WATCHING = frozenset({"Accuracy", "Silence", "HDF5Output"})  # change no gradient
_WITH_PARAMETER = frozenset({"Bias", "Scale"})  # whose second bottom may have no items
_SUMS = frozenset({"NONE", "PRE_FIXED"})


def parts_of(given: Any) -> Parts:
    """Return a number of parts, or "auto", as a caller gives it; None is 1."""
    if given is None or given == "auto":
        return given or 1
    if isinstance(given, int) and not isinstance(given, bool) and given >= 1:
        return given
    raise SpecError(
        f"micro_batch is {shown(given)}; expected the number of parts of a batch, at "
        f"least 1, or 'auto'"
    )


def refuse_layers(net: NetParameter, fed: Collection[str]) -> None:
    """Refuse a net with layers whose batches cannot be divided, before it is built.

    fed: the tops of Input layers that data fill, which can be divided.

    Raises `UnsupportedError` that names the layer.
    """
    for layer in net.layer:
        if layer.type == "Input" and set(layer.top) <= set(fed):
            continue
        if layer.type in REFUSED:
            raise refused(layer, REFUSED[layer.type])


def batches_of(graph: Graph) -> dict[str, int]:
    """Return the number of items of every layer that brings data, by name.

    Raises `UnsupportedError` where a batch cannot be divided.
    """
    found: dict[str, int] = {}
    for node in graph.nodes:
        if not (node.op.is_source or node.type == "Input"):
            continue
        layer, shapes = node.layer, node.op.tops
        if node.type == "DummyData":
            fillers = node.op.data_filler  # type: ignore[attr-defined]
            if any(filler.type != "constant" for filler in fillers):
                raise refused(layer, "draws other values for each part")
        if any(not shape or shape[0] != shapes[0][0] for shape in shapes):
            raise refused(layer, f"has tops without an axis of items: {list(shapes)}")
        found[node.name] = shapes[0][0]
    if not found:
        raise UnsupportedError(
            "micro_batch: the net to train has no data layer whose batch could be "
            "divided; feed parts, and give the solver iter_size"
        )
    return found


def check_divides(layer: LayerParameter, batch: int, parts: int) -> None:
    """Refuse a batch that is not so many equal parts.

    Raises `SpecError` that tells which numbers can be.
    """
    if batch % parts:
        able = [str(k) for k in range(1, batch + 1) if batch % k == 0]
        raise SpecError(
            f"its batch of {batch} items cannot be divided into {parts} equal "
            f"parts; micro_batch may be {', '.join(able)}",
            layer=label(layer),
        )


def divisors(batches: Collection[int]) -> list[int]:
    """Return the numbers of equal parts that batches of these sizes have, from 1 on."""
    common = math.gcd(*batches)
    return [k for k in range(1, common + 1) if common % k == 0]


def refuse_meetings(graph: Graph) -> None:
    """Refuse a net in which items of a batch meet before the loss.

    Raises `UnsupportedError` that names the layer.
    """
    items: set[int] = set()  # the edges whose axis 0 is that of the items
    for node in graph.nodes:
        if node.op.is_source or node.type == "Input":
            items.update(node.tops)
            continue
        if node.type == "Parameter" or node.type in _WATCHING:
            continue
        apart = [edge in items for edge in node.bottoms]
        if node.type == "Split" and not all(apart):
            continue
        why = _why(graph, node, apart)
        if why:
            raise _refused(node, why)
        for top in node.tops:
            if not node.op.is_loss or graph.edges[top].shape:
                items.add(top)


def _why(graph: Graph, node: Node, apart: Sequence[bool]) -> str:
    """Return why the items do not stay apart in a layer, or ""."""
    op = node.op
    needed = apart[:1] if node.type in _WITH_PARAMETER else apart
    if not all(needed):
        return "reads a blob without the items of the batch"
    if node.type in _MEANS:
        return _why_loss(node)
    if node.type not in _APART:
        return "is not known to keep the items of a batch apart"
    if node.type in ("BatchNorm", "BN") and getattr(op, "statistics", "") == "batch":
        return "normalizes by the statistics of the whole batch"
    if getattr(op, "axis", 1) == 0:
        return "works across axis 0, that of the items"
    if node.type == "Permute" and op.order[0] != 0:  # type: ignore[attr-defined]
        return "moves axis 0, that of the items"
    if node.type == "Reshape":
        param = op.layer.reshape_param
        fixed = [int(size) for size in param.shape.dim[:1]]
        first = param.axis in (0, -len(op.bottoms[0]) - 1)
        if first and fixed and fixed[0] > 0:
            return "fixes the number of items; let the first size be 0"
    shapes = [graph.edges[edge].shape for edge in (*node.bottoms[:1], *node.tops)]
    if any(not shape or shape[0] != shapes[0][0] for shape in shapes):
        return "changes axis 0, that of the items"
    return ""


def _why_loss(node: Node) -> str:
    op = node.op
    if getattr(op, "axis", 1) == 0:
        return "works across axis 0, that of the items"
    if getattr(op, "by_frequency", False):
        return "weighs classes by how often the whole batch has them"
    normalization = getattr(op, "normalization", "")
    if normalization == "VALID" and getattr(op, "ignore_label", None) is not None:
        return (
            "is divided by the labels of the whole batch that count (VALID with "
            "ignore_label); normalization: BATCH_SIZE or FULL is not"
        )
    given = op.layer.loss_param
    if node.type == "SmoothL1Loss" and given.normalization in (
        given.NONE,
        given.PRE_FIXED,
    ):
        return "is divided by no number of items"
    return ""


def summed(graph: Graph) -> dict[str, tuple[int, set[int]]]:
    """Return which tops have a loss that is a sum over items, by layer.

    The mean over k parts is a k-th of such a sum. With them comes the number of tops.
    """
    found: dict[str, tuple[int, set[int]]] = {}
    for user, index in _weighted(graph):
        node, top = _counted(graph, user, index)
        if _is_mean(graph, node, top):
            continue
        if node.op.is_loss and node is not user:
            raise _refused(node, "is a sum over items that another layer reads")
        found.setdefault(node.name, (len(node.tops), set()))[1].add(top)
    return found


def part_factors(graph: Graph, mean: float, total: float) -> dict[int, float]:
    """Return what losses of a part count, by edge: means and sums over its items."""
    factors = {}
    for user, index in _weighted(graph):
        is_mean = _is_mean(graph, *_counted(graph, user, index))
        factors[user.tops[index]] = mean if is_mean else total
    return factors


def _weighted(graph: Graph) -> list[tuple[Node, int]]:
    """Return the tops that count as losses, by node and place."""
    return [
        (node, index)
        for node in graph.nodes
        for index, weight in enumerate(node.loss_weights)
        if weight
    ]


def _counted(graph: Graph, node: Node, top: int) -> tuple[Node, int]:
    """Return the top whose weight a node has: a Split that of what it splits."""
    while node.type == "Split":
        edge = graph.edges[node.bottoms[0]]
        node, top = graph.nodes[edge.producer], edge.top
    return node, top


def _is_mean(graph: Graph, node: Node, top: int) -> bool:
    one = graph.edges[node.tops[top]].shape == () and node.type in _MEANS
    return one and getattr(node.op, "normalization", "") not in _SUMS


def draws(graph: Graph) -> list[str]:
    """Return the layers that draw numbers for each item, as messages name them."""
    return [
        label(node.layer)
        for node in graph.nodes
        if node.type in ("Dropout", "SeLuDropout")
        or (node.type == "Pooling" and "STOCHASTIC" in str(node.op.pool))  # type: ignore[attr-defined]
    ]


def _refused(node: Node, why: str) -> UnsupportedError:
    return refused(node.layer, why)


def refused(layer: LayerParameter, why: str) -> UnsupportedError:
    """Return the error of a layer because of which a batch cannot be divided."""
    return UnsupportedError(
        f"{why}, so that micro_batch cannot divide the batch", layer=label(layer)
    )
