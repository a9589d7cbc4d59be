"""Who measures outputs against targets: one for each kind of head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netspec.errors import SpecError, SpecWarning
from netspec.graph import Graph
from netspec.notebooks import warn_user
from netspec.ops.base import count
from runtime.distributed import Communicator
from runtime.evaluation.confusion import Confusion, class_names
from runtime.evaluation.heads import CLASSES, TAGS, VALUES, Head
from runtime.evaluation.item_losses import item_losses
from runtime.evaluation.measures import ClassCounts, TagCounts, ValueSums
from runtime.evaluation.results import PerClass
from runtime.evaluation.sharing import Share
from runtime.execution.net import Net

MAX_OUTPUTS = 1000  # values an item, up to which each has a row of measures


class Judge:
    """Measures nothing but what the net says itself; others add to it.

    kind: what the results are called. keep: whether outputs and targets of all items
    are wanted at the end.
    """

    kind = "other"

    def __init__(self, head: Head, graph: Graph, *, keep: bool) -> None:
        self.head, self._keep = head, keep
        self._losses: list[np.ndarray] | None = []
        self._outputs: list[np.ndarray] = []
        self._targets: list[np.ndarray] = []
        edge = graph.edges[graph.blobs[head.scores]]
        self._shape = edge.shape

    def add(self, net: Net, batch: Mapping[str, np.ndarray], before: int) -> bool:
        """Take the results of a batch; return whether the outputs are finite."""
        scores, targets = self._read(net, batch)
        if self._keep:
            self._outputs.append(scores.copy())
            self._targets.append(targets.copy())
        each = self._add(scores, targets, before)
        if each is None or len(each) != len(next(iter(batch.values()))):
            self._losses = None  # rows of the head are no items
        elif self._losses is not None:
            self._losses.append(each)
        return bool(np.isfinite(scores).all())

    def share(self, share: Share) -> None:
        """Take what the judges of all ranks found, if there are several."""
        ranks = share.ranks
        if ranks is None:
            return
        unknown = any(ranks.gather(self._losses is None))
        self._losses = None if unknown else [share.rows(self._losses or [])]
        if self._keep:
            self._outputs = [share.rows(self._outputs)]
            self._targets = [share.rows(self._targets)]
        self._share(ranks)

    def _share(self, ranks: Communicator) -> None:
        """Add up what all ranks counted."""

    def _read(
        self, net: Net, batch: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        head = self.head
        if not head.targets:
            raise SpecError(
                "compares nothing with targets, so there is nothing to measure by "
                "metrics=; take the loss and the outputs",
                layer=head.who,
            )
        scores = net.blobs[head.scores].data
        known = net.blobs.get(head.targets)
        targets = batch[head.targets] if known is None else known.data
        return scores, targets

    def _add(
        self, scores: np.ndarray, targets: np.ndarray, before: int
    ) -> np.ndarray | None:
        """Measure a batch; return the loss of each item, where that is known."""
        raise NotImplementedError

    def names(self) -> list[str]:
        """Return the names of the measures."""
        return []

    def measures(self) -> dict[str, float]:
        """Return the measures of all items."""
        return {}

    def top_k(self) -> dict[int, float]:
        """Return the shares of labels among the k best, by k."""
        return {}

    def per_class(self) -> PerClass | None:
        """Return the measures of each class, tag or output."""
        return None

    def confusion(self) -> Confusion | None:
        """Return which class was taken for which."""
        return None

    def item_losses(self) -> np.ndarray | None:
        """Return the loss of each item, (N,), or None."""
        return np.concatenate(self._losses) if self._losses else None

    def loss(self) -> float | None:
        """Return the mean loss of a net without a loss layer, where that is known."""
        losses = self.item_losses()
        known = self.head.node.type == "Softmax" and losses is not None
        return float(losses.mean()) if known and losses is not None else None

    def all(self) -> tuple[np.ndarray, np.ndarray]:
        """Return outputs and targets of all items."""
        return np.concatenate(self._outputs), np.concatenate(self._targets)


class OtherJudge(Judge):
    """For losses whose outputs are not compared here."""

    def add(self, net: Net, batch: Mapping[str, np.ndarray], before: int) -> bool:
        """Keep outputs and targets if they are wanted."""
        self._losses = None
        if self._keep:
            scores, targets = self._read(net, batch)
            self._outputs.append(scores.copy())
            self._targets.append(targets.copy())
        return True


class ClassJudge(Judge):
    """Scores of classes against labels, one an item or one a position."""

    def __init__(
        self,
        head: Head,
        graph: Graph,
        top_k: Sequence[int],
        names: Any,
        *,
        keep: bool,
    ) -> None:
        super().__init__(head, graph, keep=keep)
        classes = head.classes(graph)
        for k in top_k:
            if k > classes:
                raise SpecError(
                    f"top_k is {k}, but the net tells {classes} classes apart"
                )
        self._names = _names_of(names, classes, "class")
        self._counts = ClassCounts(classes, top_k, head.ignored, head.targets)
        positions = count(self._shape) // (
            classes * max(1, self._items_of(self._shape))
        )
        self.kind = "segmentation" if positions > 1 else "classes"

    def _items_of(self, shape: Sequence[int]) -> int:
        return count(tuple(shape[: self.head.axis]))

    def _add(
        self, scores: np.ndarray, targets: np.ndarray, before: int
    ) -> np.ndarray | None:
        rows, classes = self._items_of(scores.shape), self._counts.classes
        scores = scores.reshape(rows, classes, -1)  # (N, C, P)
        labels = targets.reshape(rows, -1)  # (N, P)
        counts = self._counts.add(scores, labels, before)
        return item_losses(self.head, scores, labels, counts)

    def _share(self, ranks: Communicator) -> None:
        self._counts.share(ranks)

    def names(self) -> list[str]:
        """Return the names of the measures."""
        ranks = [f"top_{k}" for k in self._counts.top_k]
        means = ["precision", "recall", "f1"]
        if self.kind == "segmentation":
            return ["accuracy", *ranks, "balanced_accuracy", "mean_iou", *means]
        return ["accuracy", *ranks, "balanced_accuracy", *means]

    def measures(self) -> dict[str, float]:
        """Return the measures of all items."""
        counts, means = self._counts, self._counts.means()
        found = {
            "accuracy": counts.accuracy,
            "balanced_accuracy": counts.balanced_accuracy(),
            "mean_iou": means.pop("iou"),
            **means,
            **{f"top_{k}": counts.within(k) for k in counts.top_k},
        }
        return {name: found[name] for name in self.names()}

    def top_k(self) -> dict[int, float]:
        """Return the shares of labels among the k best, by k."""
        return {k: self._counts.within(k) for k in self._counts.top_k}

    def per_class(self) -> PerClass:
        """Return the measures of each class."""
        columns = self._counts.table()
        if self.kind == "classes":
            del columns["iou"]
        columns["items"] = self._counts.labelled
        return PerClass(self._names, columns)

    def confusion(self) -> Confusion | None:
        """Return which class was taken for which."""
        matrix = self._counts.matrix
        return None if matrix is None else Confusion(matrix, self._names)


class TagJudge(Judge):
    """Scores of tags, of which any number may hold."""

    kind = "tags"

    def __init__(
        self, head: Head, graph: Graph, names: Any, threshold: float, *, keep: bool
    ) -> None:
        super().__init__(head, graph, keep=keep)
        tags = self._shape[1] if len(self._shape) > 1 else 1
        self._names = _names_of(names, tags, "tag")
        self._counts = TagCounts(tags, threshold, head.ignored)
        self._are_scores = head.loss  # a net for use has probabilities

    def _add(
        self, scores: np.ndarray, targets: np.ndarray, before: int
    ) -> np.ndarray | None:
        del before
        shape = (len(scores), self._counts.tags, -1)
        scores, targets = scores.reshape(shape), targets.reshape(shape)
        x = scores.astype(np.float64)
        probabilities = 1 / (1 + np.exp(-x)) if self._are_scores else x
        counts = self._counts.add(probabilities, targets)
        return item_losses(self.head, scores, targets, counts)

    def _share(self, ranks: Communicator) -> None:
        self._counts.share(ranks)

    def names(self) -> list[str]:
        """Return the names of the measures."""
        pooled = [f"micro_{name}" for name in ("precision", "recall", "f1")]
        return ["accuracy", "exact_match", "precision", "recall", "f1", *pooled]

    def measures(self) -> dict[str, float]:
        """Return the measures of all items."""
        counts, pooled = self._counts, self._counts.pooled()
        found = {
            **counts.means(),
            **{f"micro_{name}": value for name, value in pooled.items()},
            "accuracy": counts.accuracy,
            "exact_match": counts.exact_match,
        }
        return {name: found[name] for name in self.names()}

    def per_class(self) -> PerClass:
        """Return the measures of each tag."""
        columns = self._counts.table()
        del columns["iou"]
        columns["items"] = self._counts.labelled
        return PerClass(self._names, columns, "tag")


class ValueJudge(Judge):
    """Values against as many targets."""

    kind = "values"

    def __init__(self, head: Head, graph: Graph, names: Any, *, keep: bool) -> None:
        super().__init__(head, graph, keep=keep)
        outputs = max(1, count(self._shape, 1)) if self._shape else 1
        self._names = _names_of(names, outputs, "output")
        self._sums = ValueSums(outputs)

    def _add(
        self, scores: np.ndarray, targets: np.ndarray, before: int
    ) -> np.ndarray | None:
        del before
        rows = len(scores)
        scores, targets = scores.reshape(rows, -1), targets.reshape(rows, -1)
        self._sums.add(scores, targets)
        return item_losses(self.head, scores, targets, None)

    def _share(self, ranks: Communicator) -> None:
        self._sums.share(ranks)

    def names(self) -> list[str]:
        """Return the names of the measures."""
        return ["mse", "rmse", "mae", "r2"]

    def measures(self) -> dict[str, float]:
        """Return the measures of all items."""
        return self._sums.measures()

    def per_class(self) -> PerClass | None:
        """Return the measures of each output, where there are several, and not many."""
        if not 1 < len(self._names) <= MAX_OUTPUTS:
            return None
        return PerClass(self._names, self._sums.table(), "output")


def judge_of(
    head: Head,
    graph: Graph,
    top_k: Sequence[int],
    names: Any,
    threshold: float,
    *,
    keep: bool,
) -> Judge:
    """Return who measures a head.

    Raises `SpecError` for what its kind does not have.
    """
    if top_k and head.kind != CLASSES:
        raise SpecError(
            "top_k is for nets that tell classes apart, which this one does not",
            layer=head.who,
        )
    if head.kind == CLASSES:
        return ClassJudge(head, graph, top_k, names, keep=keep)
    if head.kind == TAGS:
        return TagJudge(head, graph, names, threshold, keep=keep)
    if head.kind == VALUES:
        return ValueJudge(head, graph, names, keep=keep)
    return OtherJudge(head, graph, keep=keep)


def _names_of(names: Any, count: int, kind: str) -> tuple[str, ...]:
    """Return names in order; raises `SpecError` for another number of them."""
    if names is None:
        return class_names(count, ())
    if isinstance(names, Mapping):
        wrong = [each for each in names if each not in range(count)]
        if wrong:
            raise SpecError(
                f"class_names has {wrong[0]!r}, but there are {count}, from 0 to "
                f"{count - 1}"
            )
        return tuple(str(names.get(place, place)) for place in range(count))
    given = tuple(map(str, names))
    if len(given) != count:
        raise SpecError(
            f"class_names has {len(given)} names, but the net has {count} "
            f"{kind}{'es' if kind == 'class' else 's'}"
        )
    if twice := sorted({name for name in given if given.count(name) > 1}):
        warn_user(
            f"class_names has {twice[0]!r} more than once; by that name the first "
            f"is found, so give each {kind} its own",
            SpecWarning,
        )
    return given
