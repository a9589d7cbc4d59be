"""What a net compares with targets: the scores, the targets, and what kind they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from netspec.errors import SpecError
from netspec.graph import Graph, Node
from netspec.ops.base import count, label
from runtime.data.given.values import Labels

CLASSES, VALUES, TAGS, OTHER = "classes", "values", "tags", "other"

_KINDS = {
    **dict.fromkeys(("SoftmaxWithLoss", "FocalLoss", "InfogainLoss"), CLASSES),
    **dict.fromkeys(("SoftmaxWithLossOHEM", "MultinomialLogisticLoss"), CLASSES),
    **dict.fromkeys(("HingeLoss", "Accuracy"), CLASSES),
    **dict.fromkeys(("EuclideanLoss", "L1Loss", "SmoothL1Loss"), VALUES),
    "SmoothL1LossOHEM": VALUES,
    "SigmoidCrossEntropyLoss": TAGS,
    "SigmoidCrossEntropyBalanceLoss": TAGS,
}
MEASURED = frozenset(_KINDS)
# Outputs of nets for use, by the layer that makes them.
_OUTPUTS = {"Softmax": CLASSES, "Sigmoid": TAGS}


@dataclass(frozen=True)
class Head:
    """Scores and targets of one layer.

    kind: CLASSES, scores of classes along `axis` and labels; VALUES, as many targets as
    outputs; TAGS, scores of tags that hold or not; OTHER. scores, targets: blobs; in a
    net for use, targets are no blob of the net. ignored: a label that does not count.
    loss: whether the layer is a loss.
    """

    kind: str
    node: Node
    scores: str
    targets: str
    axis: int = 1
    ignored: int | None = None
    loss: bool = True

    def of_kind(self, kind: str) -> Head:
        """Return the same head, known to be of a kind."""
        return replace(self, kind=kind)

    @property
    def who(self) -> str:
        """How messages name the layer."""
        return label(self.node.layer)

    def classes(self, graph: Graph) -> int:
        """Return how many classes, or tags, there are."""
        shape = graph.edges[graph.blobs[self.scores]].shape
        if self.kind == CLASSES and self.node.type in (
            "HingeLoss",
            "MultinomialLogisticLoss",
        ):
            return count(shape, 1)
        return shape[self.axis] if len(shape) > self.axis else 1

    def labels(self, graph: Graph) -> dict[str, Labels]:
        """Return what labels may be, where data fill them as they are."""
        if self.kind != CLASSES or self.targets not in graph.inputs:
            return {}
        ignored = () if self.ignored is None else (self.ignored,)
        return {self.targets: Labels(self.classes(graph), self.who, ignored)}


def main_head(graph: Graph) -> Head | None:
    """Return what the main loss compares, or where there is none an Accuracy layer.

    The main loss has the largest weight; of several the last one counts, as deeper
    heads stand later. None stands for a net without either.
    """
    losses = [
        (max(map(abs, node.loss_weights), default=0.0), node)
        for node in graph.nodes
        if node.bottoms and any(node.loss_weights)
    ]
    compared = [pair for pair in losses if len(pair[1].bottoms) > 1]
    if compared:
        most = max(weight for weight, _ in compared)
        node = [node for weight, node in compared if weight == most][-1]
        return head_of(graph, node)
    measures = [node for node in graph.nodes if node.type == "Accuracy"]
    if measures:
        return head_of(graph, measures[-1])
    if losses:
        return head_of(graph, losses[-1][1])
    return None


def head_of(graph: Graph, node: Node) -> Head:
    """Return what a loss or an Accuracy layer compares."""
    blobs = [graph.edges[edge].blob for edge in node.bottoms]
    kind = _KINDS.get(node.type, OTHER) if len(blobs) > 1 else OTHER
    axis = getattr(node.op, "axis", 1)
    ignored = getattr(node.op, "ignore_label", None)
    return Head(
        kind,
        node,
        unsplit(graph, node, 0),
        unsplit(graph, node, 1) if len(blobs) > 1 else "",
        axis,
        ignored,
        node.type != "Accuracy",
    )


def output_head(graph: Graph, targets: str) -> Head:
    """Return the head of a net for use: its output, to be compared with `targets`.

    Raises `SpecError` where it is not clear which output is meant.
    """
    found = []
    for name in graph.outputs:
        node = graph.nodes[graph.edges[graph.blobs[name]].producer]
        kind = _OUTPUTS.get(node.type)
        found.append((kind, name, node))
    known = [each for each in found if each[0] is not None] or found
    if len(known) != 1:
        names = ", ".join(name for _, name, _ in found)
        raise SpecError(
            f"the net has no loss, and its outputs are {names}; to measure one, give a "
            f"net that ends in a loss or an Accuracy layer"
        )
    kind, name, node = known[0]
    axis = getattr(node.op, "axis", 1)
    return Head(kind or OTHER, node, name, targets, axis, None, loss=False)


def unsplit(graph: Graph, node: Node, place: int) -> str:
    """Return the blob of a bottom by the name that the net gives it."""
    edge = graph.edges[node.bottoms[place]]
    while graph.nodes[edge.producer].type == "Split":
        inner = graph.nodes[edge.producer]
        edge = graph.edges[inner.bottoms[0]]
    return edge.blob


def shapes_of(graph: Graph, names: Sequence[str]) -> list[tuple[int, ...]]:
    """Return the shapes of blobs."""
    return [graph.edges[graph.blobs[name]].shape for name in names]
