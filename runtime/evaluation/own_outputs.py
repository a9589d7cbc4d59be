"""What a net says of itself: its losses, and the means of its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.graph import Node
from runtime.evaluation.heads import unsplit
from runtime.execution.net import Net
from runtime.training.average_precision import Detections, Precision


class OwnOutputs:
    """Means over items of the losses and outputs of a net, batch after batch.

    A batch counts by its items, or by its labels where some are ignored, so that the
    mean does not depend on the size of batches.
    """

    def __init__(self, net: Net) -> None:
        self._net = net
        graph = net.graph
        self._nodes = [node for node in graph.nodes if any(node.loss_weights)]
        self._sums: dict[str, Any] = {}
        self._counts: dict[str, Any] = {}
        self._losses = np.zeros(len(self._nodes))
        self._weights = np.zeros(len(self._nodes))
        self._outputs: dict[str, Node] = {}
        self._detections: dict[str, Detections] = {}
        for name in graph.outputs:
            edge = graph.edges[graph.blobs[name]]
            node = graph.nodes[edge.producer]
            if node.type == "DetectionEvaluate":
                self._detections[name] = Detections()
            elif edge.shape in ((), (1,)) or (node.type, edge.top) == ("Accuracy", 1):
                self._outputs[name] = node

    def of_pass(self, items: int) -> list[np.ndarray]:
        """Return what a pass over so many items brings, for `add`."""
        net = self._net
        losses, weights = np.zeros((2, len(self._nodes)))
        for place, node in enumerate(self._nodes):
            factor, weights[place] = _weight(net, node, items)
            losses[place] = factor * net.loss_of(node.index, node.index)
        found = [losses, weights]
        for name, node in self._outputs.items():
            values = net.blobs[name].data.astype(np.float64)
            factor, weight = _weight(net, node, items)
            if values.size > 1:  # Accuracy by class
                factor = weight = _labels_by_class(net, node, len(values))
            found += [factor * values, np.asarray(weight, np.float64)]
        return [*found, *(net.blobs[name].data.copy() for name in self._detections)]

    def add(self, found: Sequence[np.ndarray]) -> None:
        """Take what a pass brought, batch after batch."""
        left = iter(found)
        self._losses += next(left)
        self._weights += next(left)
        for name in self._outputs:
            self._sums[name] = self._sums.get(name, 0.0) + next(left)
            self._counts[name] = self._counts.get(name, 0.0) + next(left)
        for detections in self._detections.values():
            detections.add(next(left))

    @property
    def loss(self) -> float | None:
        """The objective: the sum of all losses, weighted; None if there are none."""
        if not self._nodes:
            return None
        return float((self._losses / np.maximum(self._weights, 1)).sum())

    def outputs(self) -> dict[str, Any]:
        """Return the mean of every output: a number, or one a class."""
        result: dict[str, Any] = {}
        for name, total in self._sums.items():
            mean = total / np.maximum(self._counts[name], 1)
            result[name] = float(mean.reshape(-1)[0]) if mean.size == 1 else mean
        for name, found in self._detections.items():
            result |= {
                key: float(np.reshape(value, -1)[0])
                for key, value in found.results(name, Precision()).items()
            }
        return result


def _weight(net: Net, node: Node, items: int) -> tuple[Any, Any]:
    """Return by what the result of a batch is multiplied, and by what it counts.

    A mean over labels counts by these, one over items by those, and a sum over the
    batch is what its items add.
    """
    normalization = getattr(node.op, "normalization", "")
    if normalization in ("NONE", "PRE_FIXED"):
        return 1, items
    ignored = getattr(node.op, "ignore_label", None)
    by_label = node.type == "Accuracy" or normalization == "VALID"
    if ignored is None or not by_label or len(node.bottoms) < 2:
        return items, items
    labels = net.blobs[unsplit(net.graph, node, 1)].data
    count = int((labels.astype(np.int64) != ignored).sum())
    return count, count


def _labels_by_class(net: Net, node: Node, classes: int) -> np.ndarray:
    labels = net.blobs[unsplit(net.graph, node, 1)].data.astype(np.int64).reshape(-1)
    ignored = getattr(node.op, "ignore_label", None)
    kept = labels if ignored is None else labels[labels != ignored]
    return np.bincount(kept, minlength=classes)[:classes].astype(np.float64)
