"""Whether the items of a batch stay apart in a net, which a batch in parts needs.

Axis 0 of every blob must be that of the items, up to losses that are means, or sums,
over them. Types that are not listed are refused: nobody looked at them.
"""

from __future__ import annotations

from collections.abc import Sequence

from netspec.errors import UnsupportedError
from netspec.graph import Graph, Node
from netspec.ops.base import label

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


def refuse_meetings(graph: Graph) -> None:
    """Refuse a net in which items of a batch meet before the loss.

    Raises `UnsupportedError` that names the layer.
    """
    items: set[int] = set()  # the edges whose axis 0 is that of the items
    for node in graph.nodes:
        if node.op.is_source:
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
    for user in graph.nodes:
        for index, weight in enumerate(user.loss_weights):
            node, top = user, index
            while node.type == "Split":  # has the weight of what it splits
                edge = graph.edges[node.bottoms[0]]
                node, top = graph.nodes[edge.producer], edge.top
            one = graph.edges[node.tops[top]].shape == () and node.type in _MEANS
            mean = one and getattr(node.op, "normalization", "") not in _SUMS
            if weight and not mean and node.op.is_loss and node is not user:
                raise _refused(node, "is a sum over items that another layer reads")
            if weight and not mean:
                found.setdefault(node.name, (len(node.tops), set()))[1].add(top)
    return found


def draws(graph: Graph) -> list[str]:
    """Return the layers that draw numbers for each item, as messages name them."""
    return [
        label(node.layer)
        for node in graph.nodes
        if node.type in ("Dropout", "SeLuDropout")
        or (node.type == "Pooling" and "STOCHASTIC" in str(node.op.pool))  # type: ignore[attr-defined]
    ]


def _refused(node: Node, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"{why}, so that micro_batch cannot divide the batch", layer=label(node.layer)
    )
